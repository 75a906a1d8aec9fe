"""Which point a fit leads with, by made-up objectives; and what it warns of."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from summaries import outcome, samples, translation_alone

from hpc_diffuser.commands.pages.report import _of_translation, report_text
from hpc_diffuser.fit.answer import AS_GOOD, Answer, choose_answer, with_answer
from hpc_diffuser.fit.b_factors import motion
from hpc_diffuser.fit.cautions import cautions
from hpc_diffuser.fit.config import ParametersConfig, SearchConfig
from hpc_diffuser.fit.restarts import summarise
from hpc_diffuser.fit.scoring import Score
from hpc_diffuser.fit.search.history import new_history
from hpc_diffuser.fit.space import SearchSpace, search_space
from hpc_diffuser.fit.summary import AtBounds, Scores, Summary
from hpc_diffuser.motion.parameters import Parameters


def space_of(**ranges) -> SearchSpace:
    """Without modes."""
    return search_space(ParametersConfig(**ranges), np.empty(0))


SPACE = space_of(translation_sigma_A=(0.0, 1.0))


def summary_of(answers: list[float], cc, space: SearchSpace = SPACE) -> Summary:
    """Of restarts that ended at these values of the only parameter; `cc` is the truth there."""
    start = new_history(1)
    histories = {
        r: start.extended(np.array([x]), 1 - cc(x), start.hedge) for r, x in enumerate(answers)
    }
    return summarise(space, histories, len(answers), 1)


def choose(summary: Summary, cc) -> Answer:
    """By a model whose map is its translation, and whose CC_free would say the opposite."""
    model = SimpleNamespace(
        internal_motion=lambda p, _normals: np.array([p.disorder.translation_sigma_A])
    )
    comparison = SimpleNamespace(
        score=lambda x: Score(cc(x[0]), 1 - cc(x[0]), np.empty(0), np.empty(0))
    )
    config = SimpleNamespace(model=SimpleNamespace(final_samples=8))
    problem = SimpleNamespace(
        config=config,
        normals=lambda *_: np.zeros((8, 0)),
        prior=None,
        modes=SimpleNamespace(lattice=None),
    )
    return choose_answer(problem, model, comparison, summary.findings)


def finished(summary: Summary, answer: Answer, **known) -> Summary:
    """With an outcome at the answer that was chosen."""
    own = {"answer": answer.chosen.values, "answer_is": answer.chosen.text}
    own |= {"scores": answer.scores, "cc_work": answer.score.cc_work}
    return replace(
        summary,
        findings=with_answer(summary.findings, answer.chosen),
        outcome=outcome(**own | known),
    )


def two_optima(x: float) -> float:
    """0.50 at 0.2, 0.48 at 0.8, and 0.2 less for every 0.3 away from them: 0.30 half way."""
    return max(0.50 - abs(x - 0.2) / 1.5, 0.48 - abs(x - 0.8) / 1.5)


def test_median_where_restarts_agree():
    """0.19, 0.2 and 0.21: the median, whose scores are those of the final map, is the answer."""
    answer = choose(summary_of([0.19, 0.2, 0.21], two_optima), two_optima)
    assert answer.chosen.values["translation_sigma_A"] == 0.2
    assert answer.chosen.text == "the median of all 3 restarts"
    assert answer.score.cc_work == 0.5 and answer.intensity == [0.2]
    assert answer.scores["median"] == Scores(cc_work=0.5, cc_free=0.5)


def test_best_restart_where_two_do_not_agree():
    """The median of 0.2 and 0.8 is 0.5, where nothing fits: CC 0.30 against 0.50; told beside."""
    answer = choose(summary_of([0.8, 0.2], two_optima), two_optima)
    assert answer.chosen.values["translation_sigma_A"] == 0.2
    assert answer.chosen.text == "the best restart, number 1"
    assert answer.scores["median"].cc_work == pytest.approx(0.3)
    assert answer.scores["best"].cc_work == answer.score.cc_work == 0.5


def test_median_of_the_best_cluster():
    """Three restarts about 0.2, four about 0.8: the best one, 0.2002, has CC 0.4999.

    The median of its cluster, 0.201, has 0.5 − 0.001/1.5 = 0.4993, which is as good.
    """
    found = [0.8, 0.201, 0.81, 0.2002, 0.79, 0.203, 0.8]
    summary = summary_of(found, two_optima)
    answer = choose(summary, two_optima)
    assert answer.chosen.values["translation_sigma_A"] == 0.201
    assert answer.chosen.text == "the median of the best cluster, 3 of 7 restarts"
    assert answer.scores["cluster"].cc_work == answer.score.cc_work
    at_bounds = with_answer(summary.findings, answer.chosen).at_bounds
    assert at_bounds["answer"] == AtBounds(lower=(), upper=())


@pytest.mark.parametrize(("loss", "kind"), [(0.9, "median of all"), (1.1, "best restart")])
def test_a_median_that_is_not_as_good(loss, kind):
    """Restarts at 0.42, 0.5 and 0.58 agree, but the hollow at 0.5 costs more than `AS_GOOD`."""

    def cc(x: float) -> float:
        return 0.5 if abs(x - 0.5) > 0.01 else 0.5 - loss * AS_GOOD

    answer = choose(summary_of([0.42, 0.5, 0.58], cc), cc)
    assert kind in answer.chosen.text


def test_restarts_around_one_optimum_that_none_has_found():
    """0.3 and 0.71 do not agree; the optimum lies between them, where nobody has been.

    The best of what was found leads. That the median's CC, 0.5, is above its 0.46 is told, as a
    sign that the search has not converged.
    """

    def cc(x: float) -> float:
        return 0.5 - (x - 0.505) ** 2 * 0.04 / 0.205**2

    summary = summary_of([0.71, 0.3], cc)
    answer = choose(summary, cc)
    assert answer.chosen.values["translation_sigma_A"] == 0.71
    assert answer.scores["median"].cc_work == pytest.approx(0.5)
    text = warnings(finished(summary, answer))
    assert "CC_work of their median is 0.5000, of the best 0.4600" in text
    assert "so that the search has not converged" in text and "raise [search] evaluations" in text


def test_one_restart_is_its_own_answer():
    """Nothing to choose from, and nothing said of agreement."""
    summary = summary_of([0.3], two_optima)
    answer = choose(summary, two_optima)
    assert answer.chosen.text == "the only restart"
    text = report_text(finished(summary, answer))
    assert "agree" not in text and "restarts ended" not in text
    assert "  translation (Å)        0.3000        —   0.3000\n" in text


def test_map_without_variation_is_never_preferred():
    """An undefined CC, NaN, loses against any."""

    def cc(x: float) -> float:
        return float("nan") if x == 0.5 else 0.1

    answer = choose(summary_of([0.45, 0.5, 0.55], lambda x: 0.1 - abs(x - 0.55)), cc)
    assert answer.chosen.text == "the best restart, number 2"
    assert answer.scores["median"].cc_work is None


def warnings(summary: Summary, evaluations: int = 100, **more) -> str:
    """All in one text, of a search with ten random starting points."""
    summary = replace(summary, **more)
    return "\n".join(cautions(summary, SearchConfig(evaluations=evaluations)))


def test_nothing_to_warn_of():
    """Restarts that agree inside their ranges, with accurate samples and a gain."""
    sampling = samples(1e-4, 1e-4)
    known = outcome(translation_alone=translation_alone(0.4))
    summary = summary_of([0.19, 0.2, 0.21], two_optima)
    assert warnings(summary, sampling=sampling, outcome=known) == ""


@pytest.mark.parametrize(("evaluations", "warned"), [(9, True), (10, True), (11, False)])
def test_fewer_evaluations_than_random_points(evaluations, warned):
    """With ten initial points the eleventh evaluation is the first that is proposed."""
    text = warnings(summary_of([0.19, 0.2, 0.21], two_optima), evaluations)
    assert ("nothing was searched; raise evaluations" in text) == warned


def test_restarts_that_disagree_are_warned_of():
    """CC 0.50 against 0.48: a difference of 0.02, between errors of √2 x 2 x 0.001 and 0.01."""
    summary = summary_of([0.2, 0.8], two_optima)
    alone = translation_alone(0.1)
    summary = finished(summary, choose(summary, two_optima), translation_alone=alone)
    for error, known in ((0.001, True), (0.01, False)):
        sampling = samples(1e-4, error)
        text = warnings(summary, sampling=sampling)
        assert "the 2 restarts ended at 2 different places" in text
        assert "median is no answer (CC_work 0.3000 against 0.5000 of the best)" in text
        assert ("it is not known which is right" in text) != known
        assert "not converged" not in text


def test_restarts_that_differ_in_what_does_not_matter():
    """A CC of 0.5 everywhere: the median is as good, and the parameter not determined."""
    summary = summary_of([0.2, 0.8], lambda _: 0.5)
    answer = choose(summary, lambda _: 0.5)
    text = warnings(finished(summary, answer))
    assert "is 0.5000, of the best 0.5000, so that what they differ in is not determined" in text


def test_one_restart_is_warned_of():
    """But not of a model that is wholly held, which is scored once."""
    assert "one restart only" in warnings(summary_of([0.2], two_optima))
    start = new_history(0)
    held = {0: start.extended(np.empty(0), 0.5, start.hedge)}
    space = space_of(translation_sigma_A=(0.4, 0.4))
    assert warnings(summarise(space, held, 1, 1), evaluations=1) == ""


@pytest.mark.parametrize(("error", "warned"), [(0.004, False), (0.006, True)])
def test_samples_against_the_gain(error, warned):
    """A gain of 0.01 over translation alone, and twice an error of 0.004 or 0.006."""
    sampling = samples(1e-4, error)
    summary = summary_of([0.19, 0.2, 0.21], two_optima)
    known = outcome(cc_work=0.5, translation_alone=translation_alone(0.49))
    text = warnings(summary, sampling=sampling, outcome=known)
    assert ("differs from that of translation alone by 0.0100" in text) == warned
    assert ("raise [model] samples, now 64" in text) == warned


@pytest.mark.parametrize(("error", "warned"), [(0.004, False), (0.006, True)])
def test_samples_against_what_the_fit_lacks(error, warned):
    """CC 0.995 lacks 0.005; maps that are wrong by more cannot tell."""
    sampling = samples(error, 1e-5)
    summary = summary_of([0.19, 0.2, 0.21], two_optima)
    known = outcome(cc_work=0.995, translation_alone=translation_alone(0.9))
    text = warnings(summary, sampling=sampling, outcome=known)
    assert ("more than the fit lacks to CC 1, 5.0e-03" in text) == warned


def test_what_is_not_sampled_has_no_error():
    """Translation alone is exact: equal to itself, which is no lack of samples."""
    sampling = samples(0.0, 0.0, 1)
    summary = summary_of([0.19, 0.2, 0.21], two_optima)
    known = outcome(cc_work=0.5, translation_alone=translation_alone(0.5))
    found = warnings(summary, sampling=sampling, outcome=known)
    assert found == ""


@pytest.mark.parametrize(
    ("name", "bounds", "answer", "told"),
    [
        ("translation_sigma_A", (0.0, 1.0), 0.995, "upper bound of its range: widen it"),
        ("translation_sigma_A", (0.2, 1.0), 0.2, "lower bound of its range: widen it"),
        ("translation_sigma_A", (0.0, 1.0), 0.0, "at 0, the lower bound, and nothing else moves"),
        ("residual_b_fraction", (0.0, 1.0), 0.0, "at 0, the lower bound"),
        ("residual_b_fraction", (0.0, 1.0), 1.0, "at the end of what is possible"),
        ("residual_b_fraction", (0.0, 0.5), 0.5, "upper bound of its range: widen it"),
    ],
)
def test_bounds_are_warned_of_with_what_to_do(name, bounds, answer, told):
    """A range may be too narrow, a motion not needed, a fraction complete."""
    summary = summary_of([answer] * 3, lambda _: 0.5, space_of(**{name: bounds}))
    assert f"{name} (median and best) is at" in warnings(summary)
    assert told in warnings(summary)


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({}, "nothing else moves"),
        ({"k_sol_eA3": (0.3, 0.3), "b_sol_A2": (40.0, 40.0)}, "nothing else moves"),
        ({"uncorrelated_sigma_A": (0.2, 0.2)}, "the map asks for none of it"),
        ({"libration_sigma_deg": (2.0, 2.0)}, "the map asks for none of it"),
        ({"llm_sigma_A": (0.2, 0.2), "llm_gamma_A": (9.0, 9.0)}, "the map asks for none of it"),
    ],
)
def test_a_motion_at_0_among_others_and_alone(others, told):
    """1 − exp(−q²σ²) → q²σ²: of the only motion the pattern is left, whatever the size.

    Without it nothing would be left, so that it is not to be left out. Solvent does not move.
    """
    space = space_of(translation_sigma_A=(0.0, 1.0), **others)
    text = warnings(summary_of([0.005] * 3, lambda _: 0.5, space))
    assert told in text and text.count("at 0") == 1
    assert ("leave it out" in text) == (told != "nothing else moves")


@pytest.mark.parametrize("correlated", [0, 2])
def test_all_motions_at_0(correlated):
    """Three modes and the translation at 0: none is said not to be asked for."""
    ranges = ParametersConfig(
        mode_amplitude_A=(0.0, 1.0),
        mode_correlation=(0.4, 0.4) if correlated else (0.0, 0.0),
        translation_sigma_A=(0.0, 1.0),
    )
    space, start = search_space(ranges, np.zeros(3), correlated), new_history(4)
    one = {0: start.extended(np.array([0.001, 0, 0, 0.005]), 0.5, start.hedge)}
    text = warnings(summarise(space, one, 1, 1))
    assert "mode 3, translation_sigma_A (median and best) are at 0, the lower bound, and" in text
    assert "the map asks for none" not in text


def test_frames_move_beside_what_is_at_0(modes):
    """An ensemble's frames are no parameter: they are in the table of its motions."""
    frames = modes.structure.positions + np.array([0.0, 0.4]).reshape(2, 1, 1)
    ensemble = replace(
        modes,
        frames=frames,
        weights=np.full(2, 0.5),
        vectors=modes.vectors[:0],
        amplitudes_A=modes.amplitudes_A[:0],
    )
    found = motion(ensemble, Parameters(np.empty(0)))
    text = warnings(summary_of([0.0] * 3, lambda _: 0.5), outcome=outcome(motion=found))
    assert "the map asks for none of it" in text


def test_solvent_at_its_ends():
    """B = 0 is solvent that nothing damps; a density of 0 is none."""
    ranges = {"k_sol_eA3": (0.3, 0.3), "translation_sigma_A": (0.4, 0.4)}
    space = space_of(b_sol_A2=(0.0, 150.0), **ranges)
    text = warnings(summary_of([0.0] * 3, lambda _: 0.5, space))
    assert "b_sol_A2 (median and best) is at 0, the end of what is possible: solvent that" in text
    assert "none of it" not in text and "leave it out" not in text
    space = space_of(k_sol_eA3=(0.0, 0.4), b_sol_A2=(40.0, 40.0), translation_sigma_A=(0.4, 0.4))
    assert "the map asks for none" in warnings(summary_of([0.0] * 3, lambda _: 0.5, space))


@pytest.mark.parametrize(
    ("sigma", "told"),
    [
        (0.0007, "below 0.05 Å: as small as can be"),
        (0.3, "0.300 Å"),
        (3.9995, "4 Å: the end of the range"),
    ],
)
def test_translation_alone_at_an_end_of_its_range(sigma, told):
    """The range is 0 to 4 Å; q²σ² at 0.05 Å and 1.6 Å is 4 %, of which the pattern sees half."""
    alone = translation_alone(0.4, sigma, k_sol_eA3=0.3)
    assert _of_translation(alone) == f"its own best sigma, {told}, the answer's solvent"


@pytest.mark.parametrize(
    ("score", "told"),
    [("shell-mean", "(mean over the shells)"), ("pooled", "(one CC over all shells, each less")],
)
def test_report_says_what_a_cc_is_over(call, project, edit, score, told):
    """Beside the answer's CC, as `score` says it."""
    edit(project / "fit.toml", "[target]", f'[target]\nscore = "{score}"')
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 0, result.stderr
    (line,) = [x for x in result.stdout.splitlines() if x.startswith("  the answer  ")]
    assert told in line


def test_parameters_at_the_same_bound_share_a_sentence():
    """Two of three modes at 0 in both median and best."""
    space = search_space(ParametersConfig(mode_amplitude_A=(0.0, 1.0)), np.zeros(3))
    start = new_history(3)
    point = np.array([0.0, 0.5, 0.001])
    histories = {r: start.extended(point, 0.5, start.hedge) for r in range(2)}
    text = warnings(summarise(space, histories, 2, 1))
    assert "mode 1, mode 3 (median and best) are at 0, the lower bound" in text


def test_report_leads_with_warnings_and_shows_clusters():
    """The answer, the median beside it, the clusters side by side with their best CC."""
    summary = summary_of([0.8, 0.2], two_optima)
    summary = finished(summary, choose(summary, two_optima))
    text = report_text(replace(summary, warnings=tuple(cautions(summary, SearchConfig()))))
    assert text.startswith("Warnings\n  1. the 2 restarts ended at 2 different places")
    assert (
        "The 2 restarts ended at 2 different places (clusters): 1 at the best one, restart 0 "
        "elsewhere\nThe answer is the best restart, number 1\n" in text
    )
    assert "  answer  scatter   median     best" in text
    assert "  translation (Å)        0.2000   0.2048   0.5000   0.2000\n" in text
    assert "  best CC_search         0.5000   0.4800\n" in text
    assert "no standard error" in text and "spread" not in text
