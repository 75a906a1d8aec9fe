"""Weights of an ensemble's frames, found again in a map that was made of three of them."""

import json
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from builders import direct_sum, history_arrays, s_vectors
from closed_loop import Alone, problem_of, searched
from frames_loop import (
    CONFIG,
    N_FRAMES,
    TRUE,
    TRUE_TRANSLATION_A,
    TRUE_WEIGHTS,
    frames_of_example,
    write_frames_loop,
)
from report_pages import unfounded_numbers, wrong_cells

from hpc_diffuser.fit.citations import citations
from hpc_diffuser.fit.config import PriorConfig, parse_config
from hpc_diffuser.fit.footprint import Node, predict, refusal
from hpc_diffuser.fit.frame_weights import carrying, frame_weights
from hpc_diffuser.fit.inputs import require_refinable
from hpc_diffuser.fit.priors.choice import ENTROPY_WEIGHTS, PriorPath
from hpc_diffuser.fit.priors.entropy import (
    effective_frames,
    entropy_penalty,
    relative_entropy,
    sum_penalty,
)
from hpc_diffuser.fit.priors.prior import prior_of
from hpc_diffuser.fit.priors.weight import prior_path
from hpc_diffuser.fit.problem import compare, shrunk_problem
from hpc_diffuser.fit.refinement import RestartSearch
from hpc_diffuser.fit.run.checkpoints import read_checkpoint, write_checkpoint
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.simulation import simulated_map
from hpc_diffuser.fit.stepping.gradient import score_and_gradient
from hpc_diffuser.fit.stepping.steps import Steps
from hpc_diffuser.interface.calculation import simulate
from hpc_diffuser.interface.run import open_run
from hpc_diffuser.interface.used import used_in
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.report.sections.frames import weights_of_frames
from hpc_diffuser.report.sections.prior import weight_of_prior
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.memory import Limit

LIKELY = CONFIG.replace("[target]", '[target]\nscore = "likelihood"\nbackground_knots = 3')


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An ensemble and a target."""
    return write_frames_loop(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize(("restart", "config"), [(0, CONFIG), (1, CONFIG), (2, LIKELY)])
def test_weights_are_found_from_anywhere(folder, restart, config):
    """From the given ones and from random ones, within 20 evaluations, beside a translation."""
    history = searched(problem_of(folder, config), restart)
    found = history.points[history.best]
    assert history.ended and len(history) <= 20
    np.testing.assert_allclose(found[1:].sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(found[1:], TRUE_WEIGHTS, atol=0.01)
    np.testing.assert_allclose(found[0], TRUE_TRANSLATION_A, rtol=0.02)


def test_restarts_begin_where_they_are_said_to(folder):
    """The first at the given weights, the others at random ones that add up to 1."""
    given = (np.arange(N_FRAMES) + 1.0) / np.arange(N_FRAMES + 1).sum()
    text = CONFIG.replace('"refine"', f'"refine"\ngiven_weights = {given.tolist()}')
    problem = problem_of(folder, text)
    model, comparison = compare(problem, Ranks())
    steps = Steps(problem, model, comparison, lambda: None)
    starts = [steps._start(restart)[1:] for restart in range(3)]
    np.testing.assert_allclose(starts[0], given, rtol=1e-12)
    for start in starts[1:]:
        assert start.sum() == pytest.approx(1) and np.abs(start - given).max() > 0.03
    assert not np.array_equal(*starts[1:])
    on_path = replace(problem, on_path=tuple([0.3, *TRUE_WEIGHTS]))
    again = Steps(on_path, model, comparison, lambda: None)._start(1)
    np.testing.assert_array_equal(again[1:], TRUE_WEIGHTS)


def test_a_strong_prior_gives_the_given_weights(folder):
    """As θ grows: to a part in a thousand, whatever the map says."""
    given = (np.arange(N_FRAMES) + 5.0) / (np.arange(N_FRAMES) + 5.0).sum()
    text = CONFIG.replace('"refine"', f'"refine"\ngiven_weights = {given.tolist()}')
    history = searched(problem_of(folder, text.replace("1e-4", "1e4")), 1)
    np.testing.assert_allclose(history.points[history.best][1:], given, rtol=1e-3)


def test_the_gradient_is_that_of_a_sum_over_atoms(folder):
    """Of 1 − CC by the weights, by differences of structure factors in double precision."""
    problem = problem_of(folder, CONFIG.replace("[search]", '[model]\ngrid = "target"\n[search]'))
    third = problem.target.at(problem.target.indices[:, 0] % 3 == 0)
    problem = replace(problem, target=third)
    model, comparison = compare(problem, Ranks())
    point = np.array([0.3, *np.random.default_rng(1).dirichlet(np.ones(N_FRAMES))])
    _, found = score_and_gradient(problem.space, model, comparison, point, problem.normals(1))
    target, modes = problem.target, problem.modes
    s = s_vectors(target.grid, target.indices)
    of_frames = direct_sum(modes.structure, s, modes.frames)
    left = np.exp(-4 * np.pi**2 * np.sum(s**2, axis=1) * point[0] ** 2)

    def objective(weights: np.ndarray) -> float:
        w = weights / weights.sum()
        values = w @ np.abs(of_frames) ** 2 - left * np.abs(w @ of_frames) ** 2
        shells, own = target.shells(), ~target.free
        ccs = [
            np.corrcoef(values[own & (shells == i)], target.intensity[own & (shells == i)])[0, 1]
            for i in range(target.n_shells)
        ]
        return 1 - float(np.mean(ccs))

    expected = np.empty(N_FRAMES)
    for i, one in enumerate(np.eye(N_FRAMES)):
        sides = [objective(point[1:] + sign * 1e-5 * one) for sign in (1, -1)]
        expected[i] = (sides[0] - sides[1]) / 2e-5
    np.testing.assert_allclose(found[1:], expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("patience", [34, pytest.param(29, marks=pytest.mark.slow)])
def test_interrupted_anywhere_it_ends_with_the_same_bits(folder, tmp_path, patience):
    """Stopped between evaluations, and between the slopes of a linearisation."""
    problem = problem_of(folder, CONFIG.replace("1e-4", "1e-2"))
    whole, path, sessions = searched(problem, 2), tmp_path / "c.h5", 0
    resumed: History | None = None
    while resumed is None or not resumed.finished(100):
        told = Alone(lambda call: call >= patience)
        search = RestartSearch(
            problem, Ranks(), told, lambda _, found: write_checkpoint(path, found)
        )
        search.run(2, resumed)
        resumed, sessions = read_checkpoint(path), sessions + 1
    assert sessions > 3
    assert history_arrays(resumed) == history_arrays(whole)


def test_the_path_goes_on_with_the_same_numbers(folder):
    """From any weight on; and its points lead from the given weights to those of the map."""
    problem = problem_of(folder, CONFIG.replace("1e-4", '"auto"'))
    kept: list[PriorPath] = []
    whole = prior_path(problem, Ranks(), PriorPath(), kept.append)
    assert [p.weight for p in whole.points] == list(ENTROPY_WEIGHTS)
    assert whole.complete and whole.of_frames and not kept[4].complete
    assert prior_path(problem, Ranks(), kept[4]) == whole
    effective = [p.effective_frames for p in whole.points]
    assert effective == sorted(effective, reverse=True)
    assert effective[0] > 0.95 * N_FRAMES and effective[-1] < 3.2
    assert 0 < whole.chosen.weight < 0.1


def test_a_fit_and_what_it_leaves(folder, tmp_path, call, quick_figures):
    """θ by CC_free where nothing is said; the frames that matter, in all that a fit leaves."""
    for name in ("frames.pdb", "target.h5"):
        (tmp_path / name).symlink_to(folder / name)
    text = CONFIG.replace("[prior]\nweights = 1e-4\n", "")
    (tmp_path / "fit.toml").write_text(text)
    done = call("fit", "fit.toml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "on the entropy of frames' weights, of 12 tried" in done.stderr
    true = [i + 1 for i in TRUE]
    assert "Nine tenths are on 3 frames, half on 2: 4 (0.4" in done.stdout
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    said = summary["frame_weights"]
    assert sorted(said["carry_most"]) == sorted(true)
    assert len(said["weights"]) == N_FRAMES and sum(said["weights"]) == pytest.approx(1)
    run = open_run(tmp_path / "run")
    assert said["theta"] == run.prior_path.chosen.weight == summary["prior"]["weights"]
    assert summary["cc_free"] > said["cc_free_given"] + 0.1
    errors = summary["standard_errors"]["frame_weight"]
    assert all(0 < errors[i] < 0.01 for i in TRUE)
    assert summary["clusters"][0]["restarts"] == [0, 1, 2]
    assert max(summary["spread"]["frame_weight"]) < 1e-3
    assert not any("lower bound" in warning for warning in summary["warnings"])
    contents = weights_of_frames(run)
    assert weight_of_prior(run) is None
    assert [row[0] for row in contents.tables[0].rows][:3] == [4, 9, 16]
    assert len(contents.tables[0].rows) == N_FRAMES and len(contents.tables[1].rows) == 12
    bars, path = (figure.draw().axes[0] for figure in contents.figures)
    heights = sorted(patch.get_height() for patch in bars.patches)
    np.testing.assert_allclose(heights, sorted(said["weights"]))
    assert len(path.lines[0].get_xdata()) == 12
    done = call("report", "run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    tables = tmp_path / "run" / "report" / "tables"
    files = (tmp_path / "run" / name for name in ("summary.json", "manifest.json"))
    assert not unfounded_numbers(tables.parent, *files) and not wrong_cells(tables.parent)
    assert (tables / "frame-weights.csv").read_text().splitlines()[1].startswith("4,0.4")
    done = call("export", "run", "out.pdb", "--write", "frames", folder=tmp_path)
    assert "model 1: frame 4, weight 0.4" in done.stdout, done.stderr
    found = gemmi.read_structure(str(tmp_path / "out.pdb"))
    places = [[cra.atom.pos.tolist() for cra in model.all()] for model in found]
    np.testing.assert_allclose(places, frames_of_example()[[3, 8, 15]], atol=1e-3)
    done = call("export", "run", "two.pdb", "--write", "frames", "--models", "2", folder=tmp_path)
    assert "2 of 20 frames" in done.stdout, done.stderr
    remarks = [x for x in (tmp_path / "two.pdb").read_text().splitlines() if "REMARK" in x]
    assert len(remarks) == 2 and remarks[0].startswith("REMARK  99 FRAME 4, WEIGHT 0.4")
    done = call("export", "run", "99.pdb", "--write", "frames", "--models", "99", folder=tmp_path)
    assert "20 of 20 frames" in done.stdout and "99 is more than there are" in done.stdout
    assert "hummer2015" in {reference.key for reference in citations(used_in(run))}
    again = simulate(run)
    assert np.isfinite(again.intensity).any()


def test_frames_are_of_runs_that_refined_them(finished, call, tmp_path):
    done = call("export", finished / "run", "a.pdb", "--write", "frames", folder=tmp_path)
    assert done.returncode == 65 and "has no refined weights of frames" in done.stderr


def test_entropy_by_hand():
    """Σ w ln(w/w⁰), and e to Σ −w ln w, of three frames."""
    w, w0 = np.array([0.5, 0.5, 0.0]), np.array([0.2, 0.3, 0.5])
    expected = 0.5 * np.log(2.5) + 0.5 * np.log(0.5 / 0.3)
    assert relative_entropy(2 * w, w0) == pytest.approx(expected)
    assert effective_frames(w) == pytest.approx(2)
    assert entropy_penalty(w, w0).value == pytest.approx(expected, abs=0.01)
    assert entropy_penalty(w0, w0).value == pytest.approx(0, abs=1e-15)
    assert carrying(np.array([0.1, 0.6, 0.3]), 0.9) == (2, 3)
    assert carrying(np.array([0.1, 0.6, 0.3]), 0.5) == (2,)
    found = frame_weights([0.5, 0.5], [0.5, 0.5], 0.1, (0.5, None))
    assert found.effective == pytest.approx(2) and found.relative_entropy == pytest.approx(0)


@pytest.mark.parametrize("weights", [[0.2, 0.3, 0.5], [0.0, 0.6, 0.4], [0.4, 0.6, 1.0]])
def test_penalties_are_differences(weights):
    """Gradient and curvature of the entropy and of what holds the sum, by differences."""
    w, w0, h = np.array(weights), np.array([0.3, 0.3, 0.4]), 1e-6
    for penalty in (lambda x: entropy_penalty(x, w0), sum_penalty):
        found = penalty(w)
        sides = [(penalty(w + h * one), penalty(w - h * one)) for one in np.eye(3)]
        slope = [(a.value - b.value) / (2 * h) for a, b in sides]
        np.testing.assert_allclose(found.gradient, slope, rtol=1e-5, atol=1e-6)
        if w.sum() == 1:  # along directions that keep the sum
            keeping = np.eye(3) - 1 / 3
            sides = [(penalty(w + h * one), penalty(w - h * one)) for one in keeping]
            curved = np.array([(a.gradient - b.gradient) / (2 * h) for a, b in sides]) @ keeping
            expected = keeping @ found.matrix @ keeping
            np.testing.assert_allclose(curved, expected, rtol=1e-4, atol=1e-5)
        assert np.linalg.eigvalsh(found.matrix).min() > -1e-9


REFUSED = {
    "no ensemble": (
        ('ensemble = "frames.pdb"', 'file = "frames.pdb"'),
        "structure.weights: expected it with an ensemble only",
    ),
    "another method": (
        ('method = "least-squares"', 'method = "bayesian"'),
        'expected [search] method = "least-squares"',
    ),
    "another word": (('"refine"', '"refined"'), 'a list of numbers above 0, or "refine"'),
    "no weight": (('"refine"', "[0.0, 0.0]"), "structure.weights are all 0"),
    "below 0": (('"refine"', "[1.0, -1.0]"), "structure.weights cannot be negative, found -1"),
    "given 0": (
        ('"refine"', '"refine"\ngiven_weights = [1.0, 0.0]'),
        "structure.given_weights should be above 0",
    ),
    "a parameter": (
        ("[prior]", "frame_weight = [0, 1]\n[prior]"),
        "weights of an ensemble's frames are [structure] weights",
    ),
    "no sum": (
        ('"refine"', '"refine"\ngiven_weights = [0.5, 0.4]'),
        "structure.given_weights should add up to 1, but they add up to 0.9",
    ),
    "too few": (
        ('"refine"', '"refine"\ngiven_weights = [0.5, 0.5]'),
        "structure.given_weights has 2 entries for the 20 models",
    ),
    "given to what is held": (
        ('weights = "refine"', "given_weights = [0.5, 0.5]"),
        'expected it with weights = "refine"',
    ),
    "prior of nothing": (('weights = "refine"\n', ""), "prior.weights: no weights of frames"),
    "negative": (("weights = 1e-4", "weights = -1"), "prior.weights is a weight and cannot be"),
    "crystal liquid": (
        (
            "translation_sigma_A = [0.1, 0.6]",
            "crystal_llm_sigma_A = 0.3\ncrystal_llm_gamma_A = 20",
        ),
        "what parameters.crystal_llm_sigma_A does changes with every weight",
    ),
    "residual": (
        ("[prior]", "residual_b_fraction = 0.5\n[crystal]\nfile = 'frames.pdb'\n[prior]"),
        "what parameters.residual_b_fraction does changes with every weight",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(folder, case):
    (old, new), message = REFUSED[case]
    assert old in CONFIG
    with pytest.raises(InputError) as refused:
        problem_of(folder, CONFIG.replace(old, new))
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_held_weights_may_be_0(folder, capsys):
    """A refined answer given back: frames without weight are left out, which is said."""
    weights = [float(w) for w in TRUE_WEIGHTS]
    text = CONFIG.replace('"refine"', str(weights)).replace("[prior]\nweights = 1e-4\n", "")
    modes = problem_of(folder, text).modes
    np.testing.assert_allclose(modes.weights, [0.5, 0.3, 0.2])
    np.testing.assert_allclose(modes.frames, frames_of_example()[[3, 8, 15]], atol=1e-6)
    assert "17 of 20 frames have no weight and are left out" in capsys.readouterr().err
    ranged = text.replace("[search]", "mode_amplitude_A = [0, 1]\n[search]")
    problem_of(folder, ranged)
    assert "mode_amplitude_A plays no part" in capsys.readouterr().err


def test_frames_that_tell_nothing_are_refused():
    """One alone; several that are the same."""
    with pytest.raises(InputError, match="the ensemble has one frame"):
        require_refinable(np.zeros((1, 4, 3)))
    with pytest.raises(InputError, match="all 3 frames are identical"):
        require_refinable(np.ones((3, 4, 3)))


def test_a_simulation_has_no_weights_to_refine(folder):
    text = CONFIG.replace("[0.1, 0.6]", "0.3")
    with pytest.raises(InputError, match="is of a fit alone"):
        simulated_map(parse_config(text, folder), None, Ranks())


def test_memory_grows_with_the_frames(folder):
    """What is kept of every frame is its slope at the voxels; a limit refuses it as any fit."""
    problem = problem_of(folder, CONFIG)
    few = problem_of(
        folder,
        CONFIG.replace('weights = "refine"\n', "").replace("weights = 1e", "b_factors = 0 #"),
    )
    footprint, without = predict(problem, 1), predict(few, 1)
    more = footprint.of_rank(0) - without.of_rank(0)
    own = 4 * N_FRAMES * (~problem.target.free).sum() / 1e6
    assert more > own
    between = (footprint.of_rank(0) + without.of_rank(0)) / 2
    node = Node("here", Limit(between, "a limit"), None)
    refused = refusal(footprint, [node])
    assert refused is not None and "not enough memory" in refused and "\n" not in refused
    assert refusal(without, [node]) is None


def test_a_test_run_follows_no_path(folder):
    """`--test` takes a θ in the middle."""
    problem = shrunk_problem(problem_of(folder, CONFIG.replace("1e-4", '"auto"')))
    assert problem.config.prior.weights == 1e-2


def test_no_prior_without_frames(folder):
    """θ left open is none where nothing is refined."""
    held = problem_of(
        folder, CONFIG.replace('weights = "refine"\n', "").replace("weights = 1e-4", "")
    )
    assert prior_of(PriorConfig(), held.modes, held.space, 10) is None
