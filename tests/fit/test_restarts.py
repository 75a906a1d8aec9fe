"""The answer of made-up restarts: median, spread, best, and who is left out and why."""

import json

import numpy as np
import pytest

from hpc_diffuser.fit.clusters import clusters
from hpc_diffuser.fit.config import ParametersConfig
from hpc_diffuser.fit.restarts import failed_restarts, summarise
from hpc_diffuser.fit.search.history import History, new_history
from hpc_diffuser.fit.space import SearchSpace, search_space
from hpc_diffuser.fit.summary import AtBounds
from hpc_diffuser.fit.summary_file import summary_data

N_EVALUATIONS = 6
LAYOUT = (("mode_amplitude_A", 2), ("translation_sigma_A", None), ("uncorrelated_sigma_A", None))
CCS = [0.600, 0.601, 0.599, 0.602, 0.598]  # median 0.6, median absolute deviation 0.001


@pytest.fixture
def space() -> SearchSpace:
    """Two modes and the translation refined, uncorrelated motion held at 0.1 Å."""
    config = ParametersConfig(
        mode_amplitude_A=(0.0, 0.6),
        translation_sigma_A=(0.1, 0.8),
        uncorrelated_sigma_A=(0.1, 0.1),
    )
    return search_space(config, np.zeros(2))


def history(answer, cc: float, n: int = N_EVALUATIONS) -> History:
    """A search whose third evaluation found `answer` with a CC; the others are 0.1 worse."""
    points = np.random.default_rng(0).uniform(0, 1, (n, len(answer)))
    objectives = np.full(n, 1 - cc + 0.1)
    points[2], objectives[2] = answer, 1 - cc
    return History(points, objectives, new_history(len(answer)).hedge)


def ended(ccs) -> dict[int, History]:
    """Restarts that ended at the same place, but for their CC."""
    return {r: history([0.2, 0.3, 0.4], cc) for r, cc in enumerate(ccs)}


def answers(n: int) -> np.ndarray:
    """Answers of n restarts, spread differently along the three refined parameters."""
    rng = np.random.default_rng(1)
    return np.array([0.2, 0.3, 0.4]) + rng.normal(size=(n, 3)) * np.array([0.01, 0.03, 0.02])


def test_median_over_restarts(space):
    """The median of each parameter on its own; what is held, as it is held."""
    found = answers(5)
    histories = {r: history(found[r], CCS[r]) for r in range(5)}
    median = summarise(space, histories, 5, N_EVALUATIONS).findings.median
    expected = np.sort(found, axis=0)[2]
    assert median == {
        "mode_amplitude_A": expected[:2].tolist(),
        "translation_sigma_A": expected[2],
        "uncorrelated_sigma_A": 0.1,
    }


def test_spread_is_half_the_central_68_percent(space):
    """For 2001 normal answers it is their standard deviation to 1/√2001: five of these.

    (68.26 % lie within one standard deviation.) Of what is held there is none.
    """
    found = answers(2001)
    histories = {r: history(found[r], 0.6) for r in range(2001)}
    spread = summarise(space, histories, 2001, N_EVALUATIONS).findings.spread
    widths = np.array([*spread["mode_amplitude_A"], spread["translation_sigma_A"]])
    np.testing.assert_allclose(widths, [0.01, 0.03, 0.02], rtol=5 / np.sqrt(2001))
    assert spread["uncorrelated_sigma_A"] == 0


def test_spread_of_equal_answers_is_zero(space):
    """Restarts that agree to the bit."""
    histories = {r: history([0.2, 0.3, 0.4], 0.6) for r in range(4)}
    summary = summarise(space, histories, 4, N_EVALUATIONS)
    assert summary.findings.spread["mode_amplitude_A"] == [0, 0]
    assert summary.findings.spread["translation_sigma_A"] == 0


def test_best_restart(space):
    """The one with the highest CC: its own parameters, and its number."""
    found = answers(5)
    histories = {r: history(found[r], CCS[r]) for r in range(5)}
    best = summarise(space, histories, 5, N_EVALUATIONS).findings.best
    assert best.restart == 3
    assert best.cc_work == pytest.approx(0.602, abs=1e-12)
    assert [*best.values["mode_amplitude_A"], best.values["translation_sigma_A"]] == found[
        3
    ].tolist()


def test_failed_restart_is_excluded(space):
    """CC 0.5 among 0.6: not in the answer, but named with its CC and that of the others."""
    found = answers(6)
    found[5] = 9.0
    histories = {r: history(found[r], cc) for r, cc in enumerate([*CCS, 0.5])}
    summary = summarise(space, histories, 6, N_EVALUATIONS)
    without = summarise(space, {r: histories[r] for r in range(5)}, 6, N_EVALUATIONS)
    assert [e.restart for e in summary.excluded] == [5]
    assert "0.5000" in summary.excluded[0].reason
    for key in ("median", "spread", "best"):
        assert getattr(summary.findings, key) == getattr(without.findings, key)
    assert summary.restarts_finished == 6


def test_threshold_of_failure():
    """Five robust standard deviations of 1.4826 x 0.001 below 0.6: at 0.592587."""
    for cc, failed in ((0.5930, False), (0.5920, True)):
        # The two that are added, above and below, leave median and deviation as they are.
        found = [*CCS, 0.601, cc]
        assert np.median(found) == 0.6
        assert set(failed_restarts(ended(found))) == ({6} if failed else set())


def test_small_differences_are_no_failure():
    """Restarts that agree to 1e-6: one 0.004 below is still within five times 0.001."""
    ccs = [0.6, 0.600001, 0.6, 0.599999, 0.596]
    assert not failed_restarts(ended(ccs))
    assert set(failed_restarts(ended([*ccs, 0.5949]))) == {5}


def test_better_than_the_others_is_no_failure():
    """Only those below the median are left out."""
    assert not failed_restarts(ended([*CCS, 0.9]))


@pytest.mark.parametrize("ccs", [[], [0.6], [0.6, 0.1]])
def test_too_few_to_call_one_a_failure(ccs):
    """Of two that differ nobody knows which has failed."""
    assert failed_restarts(ended(ccs)) == {}


def flat(cc: float, n: int = 12, varied: float = 0.0) -> History:
    """A search whose CC were all about the same: the first the best, then lower."""
    points = np.random.default_rng(0).uniform(0, 1, (n, 3))
    objectives = 1 - cc + np.linspace(0, varied, n)
    return History(points, objectives, new_history(3).hedge)


@pytest.mark.parametrize("n_stuck", [1, 9])
def test_restart_that_never_left_a_plateau(space, n_stuck):
    """All its CC are 0.1, where another found 0.6: failed, by its own history.

    However many are like it, and also where one only is not.
    """
    histories = {0: history([0.2, 0.3, 0.4], 0.6, n=12)}
    histories |= {r: flat(0.1) for r in range(1, 1 + n_stuck)}
    summary = summarise(space, histories, 1 + n_stuck, 12)
    assert [e.restart for e in summary.excluded] == [*range(1, 1 + n_stuck)]
    assert "never left a plateau" in summary.excluded[0].reason
    assert "0.1000" in summary.excluded[0].reason and "0.6000" in summary.excluded[0].reason
    assert summary.findings.median["translation_sigma_A"] == 0.4


@pytest.mark.parametrize(("varied", "failed"), [(0.049, True), (0.051, False)])
def test_what_a_plateau_is(varied, failed):
    """CC that vary by less than a tenth of the 0.5 that they lack to the best."""
    found = failed_restarts({0: history([0.2, 0.3, 0.4], 0.6, n=12), 1: flat(0.1, varied=varied)})
    assert set(found) == ({1} if failed else set())


def test_plateaus_do_not_hide_who_is_far_below():
    """Six of thirteen are stuck; of the seven that are left one is far below the others.

    With the six among them, the deviation from the median would be as wide as what they lack.
    """
    histories = dict(enumerate([*(flat(0.0) for _ in range(6)), *ended([*CCS, 0.6, 0.5]).values()]))
    assert set(failed_restarts(histories)) == {*range(6), 12}


@pytest.mark.parametrize("n", [1, 9])
def test_few_evaluations_are_no_plateau(n):
    """A search that has hardly begun has not failed."""
    assert failed_restarts({0: flat(0.6, n), 1: flat(0.1, n)}) == {}


def test_all_on_the_same_plateau(space):
    """A map that asks for none of the motions: nobody found better, so that nobody failed."""
    summary = summarise(space, {r: flat(0.3) for r in range(5)}, 5, 12)
    assert summary.excluded == ()


def test_restarts_of_different_length(space):
    """One with more evaluations than the others counts by its best point, wherever that is."""
    longer = history([0.25, 0.3, 0.4], 0.6, n=3 * N_EVALUATIONS)
    longer.objectives[-1] = 1 - 0.7
    longer.points[-1] = [0.21, 0.31, 0.41]
    histories = {0: history([0.2, 0.3, 0.4], 0.6), 1: longer}
    findings = summarise(space, histories, 2, N_EVALUATIONS).findings
    assert (findings.best.restart, findings.best.values["translation_sigma_A"]) == (1, 0.41)
    assert findings.clusters[0].restarts == (0, 1)


def test_unfinished_restarts_do_not_count(space):
    """Restarts with fewer evaluations than asked for are counted in these alone."""
    found = answers(3)
    histories = {
        0: history(found[0], 0.6),
        1: history(found[1], 0.9, n=N_EVALUATIONS - 1),
        4: history(found[2], 0.5, n=N_EVALUATIONS),
    }
    summary = summarise(space, histories, 8, N_EVALUATIONS)
    assert summary.restarts == 8
    assert summary.restarts_finished == 2
    assert summary.evaluations == 3 * N_EVALUATIONS - 1
    assert summary.findings.best.restart == 0
    assert summary.findings.median["translation_sigma_A"] == pytest.approx(
        (found[0, 2] + found[2, 2]) / 2, rel=1e-12
    )


def test_before_the_first_restart_is_finished(space):
    """There is no answer yet, only how far the run is."""
    summary = summarise(space, {0: history([0.2, 0.3, 0.4], 0.6, n=3)}, 8, N_EVALUATIONS)
    assert summary.restarts_finished == 0
    assert summary.evaluations == 3
    assert summary.excluded == ()
    assert summary.findings is None
    assert not {"best", "median", "spread"} & set(summary_data(summary))


def test_summary_is_plain_json(space):
    """It is written as JSON and names what was refined."""
    histories = {r: history(answers(6)[r], cc) for r, cc in enumerate([*CCS, 0.5])}
    summary = summarise(space, histories, 6, N_EVALUATIONS)
    data = summary_data(summary)
    assert json.loads(json.dumps(data)) == data
    assert data["refined"] == ["mode 1", "mode 2", "translation_sigma_A"]


def test_one_restart_has_no_spread(space):
    """Unknown, and not 0, of what is refined; what is held cannot scatter."""
    summary = summarise(space, {0: history([0.2, 0.3, 0.4], 0.6)}, 1, N_EVALUATIONS)
    assert summary.findings.spread == {
        "mode_amplitude_A": [None, None],
        "translation_sigma_A": None,
        "uncorrelated_sigma_A": 0,
    }
    data = summary_data(summary)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_restarts_at_two_places_are_two_clusters(space):
    """Three restarts near one point, two near another with a higher CC, ranges 0.6, 0.6, 0.7 Å.

    Inside a cluster no parameter differs by more than 0.02 Å, 0.033 of its range. Between them
    mode 1 differs by at least 0.38 Å: √((0.38/0.6)²/3) = 0.37 rms, more than a tenth. The one
    with the higher CC comes first; medians by hand.
    """
    found = [[0.10, 0.3, 0.4], [0.50, 0.3, 0.4], [0.11, 0.31, 0.41], [0.49, 0.3, 0.42]]
    found.append([0.12, 0.30, 0.40])
    ccs = [0.600, 0.610, 0.601, 0.611, 0.599]
    histories = {r: history(found[r], ccs[r]) for r in range(5)}
    first, second = summarise(space, histories, 5, N_EVALUATIONS).findings.clusters
    assert (first.restarts, first.best_restart) == ((1, 3), 3)
    assert first.cc_search == pytest.approx(0.611, abs=1e-12)
    assert first.median["mode_amplitude_A"] == pytest.approx([0.495, 0.3])
    assert first.median["translation_sigma_A"] == pytest.approx(0.41)
    assert first.best["translation_sigma_A"] == 0.42
    assert (second.restarts, second.best_restart) == ((0, 2, 4), 2)
    assert second.median["mode_amplitude_A"] == [0.11, 0.30]


@pytest.mark.parametrize(("step", "n_clusters"), [(0.17, 1), (0.18, 4)])
def test_neighbours_join_to_clusters(step, n_clusters):
    """Four restarts in a row along one of three parameters of range 1.

    Steps of 0.17 are 0.17/√3 = 0.098 rms, less than a tenth: a chain, whose ends are 0.29 rms
    apart. Steps of 0.18 are 0.104: nobody has a neighbour.
    """
    answers = np.full((4, 3), 0.5)
    answers[:, 1] = step * np.arange(4)
    bounds = np.array([[0.0, 1.0]] * 3)
    assert len(clusters(answers, bounds)) == n_clusters
    scaled = answers * [1, 50, 3] - [0, 25, 7]
    units = np.array([[0, 1], [-25, 25], [-7, -4]])
    assert clusters(scaled, units) == clusters(answers, bounds)


def test_clusters_do_not_depend_on_the_order():
    """Every restart is in one cluster, and with the same others in any order."""
    rng = np.random.default_rng(3)
    answers, order = rng.uniform(size=(40, 2)), rng.permutation(40)
    bounds = np.array([[0.0, 1.0]] * 2)
    found = {frozenset(rows) for rows in clusters(answers, bounds)}
    again = {frozenset(order[rows].tolist()) for rows in clusters(answers[order], bounds)}
    assert found == again and 1 < len(found) < 40
    assert sorted(row for rows in found for row in rows) == list(range(40))


def test_nothing_refined_is_one_cluster():
    """A model that is held has one answer, whatever the number of restarts."""
    assert clusters(np.empty((3, 0)), np.empty((0, 2))) == [[0, 1, 2]]
    assert clusters(np.zeros((1, 2)), np.array([[0, 1]] * 2)) == [[0]]


def test_parameters_at_their_bounds_are_named():
    """The last and the first hundredth of [0, 0.6] are cut off: 0.598 and 0.004, not 0.5.

    Of the median, 0.5 of mode 1 and 0.003 of mode 2, and of the best restart.
    """
    space = SearchSpace(LAYOUT, np.zeros(4), np.array([0.6, 0.6, 0.0, 0.0]))
    found = [[0.598, 0.003], [0.5, 0.004], [0.4, 0.002]]
    histories = {
        r: new_history(2).extended(np.array(point), 0.1 + 0.001 * r, new_history(2).hedge)
        for r, point in enumerate(found)
    }
    summary = summarise(space, histories, 3, 1)
    assert summary.findings.at_bounds["median"] == AtBounds(lower=("mode 2",), upper=())
    assert summary.findings.at_bounds["best"] == AtBounds(lower=("mode 2",), upper=("mode 1",))
    assert summary.findings.at_upper_bound == ()
    assert summary.bounds == {"mode 1": (0, 0.6), "mode 2": (0, 0.6)}
