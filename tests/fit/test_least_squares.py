"""Least squares on a small protein whose motions are known: right, soon, and always the same."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import history_arrays
from closed_loop import (
    CONFIG,
    TRUE_A,
    TRUE_TRANSLATION_A,
    Alone,
    problem_of,
    searched,
    write_closed_loop,
)
from scipy.optimize import lsq_linear

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.refinement import RestartSearch
from hpc_diffuser.fit.run.checkpoints import read_checkpoint, write_checkpoint
from hpc_diffuser.fit.search.history import History, evaluations_in_all, new_history
from hpc_diffuser.fit.search.least_squares import replayed, within_errors
from hpc_diffuser.fit.search.linearised import Linearised
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.search.trial_step import bounded_step
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Modes and a target."""
    return write_closed_loop(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize("restart", [1, *(pytest.param(r, marks=SLOW) for r in (2, 3))])
def test_weights_are_found_soon_from_anywhere(folder, restart):
    """From the source's amplitudes and from random ones: within 2 % in 20 evaluations; and it ends.

    With 10 % noise on 7290 voxels all four are 0.3 to 1.5 % small, as what they have in common
    changes the scale of the map most, which the CC does not know.
    """
    history = searched(problem_of(folder), restart)
    assert history.ended and len(history) <= 20 and history.stage_starts
    found = history.points[history.best]
    np.testing.assert_allclose(found, [*TRUE_A, TRUE_TRANSLATION_A], rtol=0.02)


def test_the_one_phonon_start_is_near(folder):
    """Where its own map is nearest: a step or two away, where the middle of the ranges is far."""
    problem = problem_of(folder)
    history = searched(problem, 0)
    assert history.ended and len(history) <= 12
    assert history.objectives[0] < 2 * history.objectives[history.best]
    np.testing.assert_allclose(history.points[0], [*TRUE_A, TRUE_TRANSLATION_A], rtol=0.3)
    np.testing.assert_allclose(
        history.points[history.best], [*TRUE_A, TRUE_TRANSLATION_A], rtol=0.02
    )


def _kept(path: Path, _restart: int, history: History) -> None:
    write_checkpoint(path, history)


@pytest.mark.parametrize("patience", [11, pytest.param(14, marks=SLOW)])
def test_interrupted_anywhere_it_ends_with_the_same_bits(folder, tmp_path, patience):
    """Stopped between evaluations and between the maps of a linearisation, in many sessions.

    Each stops when it asks so often whether it should: of a linearisation, between its four slopes.
    First what the data count as is measured again, from as many.
    """
    problem = problem_of(folder, CONFIG.replace("samples = 32", "samples = 8"))
    whole, path, sessions = searched(problem, 3), tmp_path / "c.h5", 0
    resumed: History | None = None
    while resumed is None or not resumed.finished(100):
        told = Alone(lambda call: call >= patience)
        search = RestartSearch(
            problem, Ranks(), told, lambda _, found: write_checkpoint(path, found)
        )
        search.run(3, resumed)
        resumed, sessions = read_checkpoint(path), sessions + 1
    assert sessions > 3
    assert history_arrays(resumed) == history_arrays(whole)


@pytest.mark.parametrize("method", ["least-squares", "bayesian"])
def test_a_search_leaves_with_its_model(folder, method):
    """At once, not when cycles are collected: the final map is made beside what is left of it."""
    problem = problem_of(folder, CONFIG.replace('"least-squares"', f'"{method}"'))
    search = RestartSearch(problem, Ranks(), Alone(lambda call: call > 2), lambda *_: None)
    search.run(0)
    model = weakref.ref(search._model)
    gc.disable()
    try:
        del search
        assert model() is None
    finally:
        gc.enable()


def test_a_weight_that_begins_at_zero_leaves_it(folder):
    """In the variance it has a slope there, where in σ it has none."""
    problem = problem_of(folder)
    start = new_history(4).extended(np.array([0.2, 0.0, 0.2, 0.4]), 0.5, new_history(4).hedge)
    kept = {}
    search = RestartSearch(problem, Ranks(), Alone(lambda call: call > 40), kept.__setitem__)
    search.run(0, start)
    assert kept[0].points[1:, 1].max() > 0.1


def test_bayesian_search_comes_first_where_asked_for(folder):
    """So many points as it learns from, three times; then steps from their best."""
    text = CONFIG.replace('"least-squares"', '"bayesian+least-squares"\ninitial_points = 2')
    history = searched(problem_of(folder, text), 0)
    assert history.ended and history.stage_starts[0] > 6
    found = history.points[history.best]
    np.testing.assert_allclose(found, [*TRUE_A, TRUE_TRANSLATION_A], rtol=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_modes_that_are_the_same_are_named(folder, tmp_path, method):
    """No data tell them apart, however they are searched for."""
    modes = example_modes()
    vectors = np.concatenate([modes.vectors, -modes.vectors[:1]])
    amplitudes = np.append(modes.amplitudes_A, 0.1)
    write_modes(tmp_path / "modes.h5", replace(modes, vectors=vectors, amplitudes_A=amplitudes), {})
    (tmp_path / "target.h5").symlink_to(folder / "target.h5")
    with pytest.raises(InputError, match="modes 1 and 4 move all atoms alike"):
        problem_of(tmp_path, CONFIG.replace("least-squares", method))


def test_a_model_without_any_derivative_is_refused(folder):
    """Modes that do not move, whose correlation is asked for: one line, on the third evaluation."""
    text = CONFIG.replace("mode_amplitude_A = [0.0, 0.6]", "mode_amplitude_A = [0.0, 0.0, 0.2]")
    text = text.replace("translation_sigma_A = [0.1, 0.8]", "mode_correlation = [-0.5, 0.5]")
    text = text.replace("[target]", "correlated_modes = 2\n[target]")
    with pytest.raises(InputError, match=r"no derivative: nothing that is refined \(modes 2-1\)"):
        searched(problem_of(folder, text), 0)


def test_modes_that_mix_each_other_are_named(folder, tmp_path):
    """The first two, and the same turned into each other: of four weights three are determined."""
    modes = example_modes()
    one, other = modes.vectors[:2] / np.linalg.norm(modes.vectors[:2], axis=(1, 2), keepdims=True)
    c, s = np.cos(0.6), np.sin(0.6)
    turned = np.array([c * one + s * other, c * other - s * one])
    turned *= np.sqrt(len(modes.structure))
    vectors = np.concatenate([modes.vectors, turned])
    amplitudes = np.append(modes.amplitudes_A, [0.1, 0.1])
    write_modes(tmp_path / "modes.h5", replace(modes, vectors=vectors, amplitudes_A=amplitudes), {})
    (tmp_path / "target.h5").symlink_to(folder / "target.h5")
    with pytest.raises(InputError, match="modes 1, 2, 4 and 5 are dependent"):
        problem_of(tmp_path)


def test_restarts_depend_on_the_method(folder):
    """Starts that all end at one point need no hundred; what is asked for is made."""
    assert parse_config(CONFIG, folder).search.restarts == 5
    assert parse_config(CONFIG + "restarts = 7", folder).search.restarts == 7
    assert parse_config(CONFIG.replace("least-squares", "bayesian"), folder).search.restarts == 128


def test_replay():
    """Better, worse, worse, better; then another stage, and a step that made it worse."""
    history = new_history(1)
    for objective, new_stage in (
        (0.5, False),
        (0.4, False),
        (0.45, False),
        (0.41, False),
        (0.3, False),
        (0.35, True),
        (0.36, False),
    ):
        point = np.array([objective])
        history = history.extended(point, objective, history.hedge, 0.0, new_stage)
    states = [
        replayed(History(history.points[:n], history.objectives[:n], history.hedge), 1)
        for n in range(1, 6)
    ]
    assert [state.accepted for state in states] == [0, 1, 1, 1, 4]
    assert [state.rejected for state in states] == [0, 0, 1, 2, 0]
    dampings = [state.damping for state in states]
    np.testing.assert_allclose(dampings, [1e-2, 1e-3, 1e-2, 1, 1])
    last = replayed(history, 1)
    assert (last.accepted, last.rejected, last.idle, last.fresh) == (5, 1, 1, True)
    assert last.damping == pytest.approx(0.1)  # a stage begins with no more than the first's
    assert history.best == 5 and history.stage_of(4) == 0 and history.stage_of(5) == 1
    so_far = [0.5, 0.6, 0.6, 0.6, 0.7, 0.65, 0.65]
    np.testing.assert_allclose(history.best_cc_so_far(), so_far)
    told = replace(history, cc_work=np.arange(7) / 10)  # with a likelihood
    np.testing.assert_allclose(told.best_cc_so_far(), [0, 0.1, 0.1, 0.1, 0.4, 0.5, 0.5])


def parabola(gradient: np.ndarray, matrix: np.ndarray, scatter: float = 1.0) -> Linearised:
    return Linearised(gradient, matrix, 0 * gradient, np.diag(matrix), scatter)


@pytest.mark.parametrize("damping", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("seed", range(3))
def test_bounded_step_is_that_of_scipy(seed, damping):
    """40 parameters of other sizes, half of them at bounds; scipy's own bounded least squares.

    Damped, a parameter's own length is one more residual.
    """
    rng = np.random.default_rng(seed)
    units = 10.0 ** rng.uniform(-3, 3, 40)
    jacobian, residual = rng.normal(size=(100, 40)) / units, rng.normal(size=100)
    low, high = -rng.uniform(0, 0.1, 40) * units, rng.uniform(0, 0.1, 40) * units
    step = bounded_step(jacobian.T @ residual, jacobian.T @ jacobian, damping, low, high)
    damped = np.diag(np.sqrt(damping) * np.linalg.norm(jacobian, axis=0))
    jacobian, residual = np.vstack([jacobian, damped]), np.append(residual, np.zeros(40))
    expected = lsq_linear(jacobian, -residual, (low, high), tol=1e-14, method="bvls").x
    np.testing.assert_allclose(step / units, expected / units, atol=1e-6)
    assert ((step >= low) & (step <= high)).all()


def test_a_parameter_without_effect_stays(folder):
    """Its row and column are 0: the others step as if it were not there."""
    matrix = np.array([[4.0, 0.0], [0.0, 0.0]])
    step = bounded_step(np.array([-2.0, 0.0]), matrix, 0.0, -np.ones(2), np.ones(2))
    np.testing.assert_allclose(step, [0.5, 0.0], rtol=1e-6)
    assert within_errors(np.array([0.1, 0.0]), parabola(np.zeros(2), matrix), 20.0)


def test_standard_errors_are_those_of_refits():
    """Of a straight line through noisy data, refitted 400 times."""
    rng = np.random.default_rng(2)
    x, truth = np.linspace(0, 1, 50), np.array([1.0, 2.0])
    jacobian = np.stack([np.ones(50), x], axis=1)
    off = []
    for _ in range(400):
        y = jacobian @ truth + 0.1 * rng.normal(size=50)
        found = np.linalg.lstsq(jacobian, y, rcond=None)
        size = y @ y  # the objective is half of the squared residual, in units of the data's
        about = parabola(np.zeros(2), jacobian.T @ jacobian / size, float(found[1][0]) / size)
        one = np.array([found[0][0] - truth[0], 0.0])
        off.append(within_errors(one, about, 50.0))
    assert np.mean(off) == pytest.approx(0.68, abs=0.07)


def test_evaluations_to_come_leave_out_what_ended():
    """Of three restarts of ten: one ended after four, one is under way."""
    ended = replace(new_history(1), objectives=np.ones(4), points=np.ones((4, 1)), ended=True)
    under_way = replace(ended, ended=False)
    assert evaluations_in_all({0: ended, 1: under_way}, 3, 10) == 24
    assert ended.finished(10) and not under_way.finished(10) and under_way.finished(4)
