"""What steps are made with: slopes of every kind of parameter, against differences of the score."""

from pathlib import Path

import numpy as np
import pytest
from closed_loop import CONFIG, problem_of, searched, write_closed_loop

from hpc_diffuser.fit.problem import compare
from hpc_diffuser.fit.results import objective
from hpc_diffuser.fit.stepping.slopes import expanded_modes, slopes
from hpc_diffuser.fit.stepping.steps import Steps
from hpc_diffuser.parallel.communicator import Ranks

TERMS = {
    "liquid-like and uncorrelated": """
llm_sigma_A = [0.0, 0.5]
llm_gamma_A = [5.0, 20.0]
uncorrelated_sigma_A = [0.0, 0.4]
""",
    "libration and solvent": """
libration_sigma_deg = [0.0, 4.0]
k_sol_eA3 = [0.0, 0.4]
b_sol_A2 = [0.0, 60.0]
""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Modes and a target."""
    return write_closed_loop(tmp_path_factory.mktemp("inputs"))


def with_terms(text: str, samples: int = 8) -> str:
    config = CONFIG.replace("[model]", f"{text}\n[model]")
    return config.replace("samples = 32", f"samples = {samples}")


def differences(steps: Steps, problem, point: np.ndarray) -> np.ndarray:
    """dO/dφ in the second stage, from the scores of two maps for each parameter."""
    squared, found = problem.space.squared, []
    for i, (low, high) in enumerate(problem.space.bounds):
        step, values = 2e-3 * (high - low), []
        for sign in (-1, 1):
            moved = point.copy()
            moved[i] += sign * step
            values.append(objective(steps.score(moved, 0, 1)))
        ends = [(point[i] + sign * step) ** (2 if squared[i] else 1) for sign in (-1, 1)]
        found.append((values[1] - values[0]) / (ends[1] - ends[0]))
    return np.array(found)


@pytest.mark.parametrize("text", ["", *TERMS.values()], ids=["modes", *TERMS])
def test_gradient_is_that_of_the_score(folder, text):
    """In the second stage, of all parameters; in units of their standard deviations' slopes.

    Of modes by the exact gradient, with libration by differences; both leave less than 1 % of a
    step that changes the objective as much as one standard deviation of the map.
    """
    problem = problem_of(folder, with_terms(text, samples=32 if "libration" in text else 8))
    model, comparison = compare(problem, Ranks())
    steps = Steps(problem, model, comparison, lambda: None)
    low, high = problem.space.bounds.T
    point = low + 0.4 * (high - low)
    found = steps.of_map(point, 0, 1)
    size = np.sqrt(np.diag(found.matrix))
    by_hand = differences(steps, problem, point)
    np.testing.assert_allclose(found.gradient / size, by_hand / size, atol=0.01)


def test_gradient_of_an_expansion_is_that_of_its_score(folder):
    """By the control variate's map and the slopes of its samples, which are no more than samples.

    One-phonon slopes alone leave 0.011 here: what a search would end away from the minimum by.
    """
    config = CONFIG.replace("[search]", 'estimator = "control-variate"\n[search]')
    problem = problem_of(folder, config)
    model, comparison = compare(problem, Ranks())
    steps = Steps(problem, model, comparison, lambda: None)
    low, high = problem.space.bounds.T
    point = low + 0.4 * (high - low)
    found = steps.of_map(point, 0, 1)
    size = np.sqrt(np.diag(found.matrix))
    by_hand = differences(steps, problem, point)
    np.testing.assert_allclose(found.gradient / size, by_hand / size, atol=0.002)
    assert model.molecule.moments.estimator == "control-variate"


def test_correlated_modes_are_not_expanded(folder):
    """Their slopes are differences; the third mode's is of one-phonon order."""
    text = with_terms("mode_correlation = [-0.5, 0.5]")
    problem = problem_of(folder, text.replace("[target]", "correlated_modes = 2\n[target]"))
    model, _ = compare(problem, Ranks())
    point = problem.space.bounds.mean(axis=1) * 0.6
    parameters = problem.space.parameters(point)
    assert expanded_modes(problem.modes, problem.space, parameters) == {2: 2}
    normals = problem.normals(64, 0)
    found = dict(slopes(model, problem.modes, problem.space, point, normals))
    assert sorted(found) == list(range(len(point)))
    for i in range(3):
        moved = [point.copy(), point.copy()]
        moved[0][i] -= 0.01
        moved[1][i] += 0.01
        low, high = (model.internal_motion(problem.space.parameters(x), normals) for x in moved)
        by_hand = (high - low) / (moved[1][i] ** 2 - moved[0][i] ** 2)
        assert np.corrcoef(found[i], by_hand)[0, 1] > (0.9 if i == 2 else 0.999)


@pytest.mark.parametrize("text", TERMS.values(), ids=TERMS)
def test_every_term_is_searched(folder, text):
    """Three steps make the objective better, whatever is refined."""
    text = with_terms(text).replace("[search]", "[search]\nevaluations = 4")
    history = searched(problem_of(folder, text), 2)
    assert len(history) == 4
    assert history.objectives.min() < 0.8 * history.objectives[0]
