"""Trial points of least squares: the least of what a linear map and the prior lead to expect."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize

from hpc_diffuser.fit.priors.penalty import Penalty
from hpc_diffuser.fit.priors.prior import log_normal
from hpc_diffuser.fit.search.history import new_history
from hpc_diffuser.fit.search.least_squares import MOST_IDLE, next_step
from hpc_diffuser.fit.search.linearised import About, Linearised
from hpc_diffuser.fit.search.trial_step import LEAST_DAMPING, braked, relieved, trial_point

FAR = np.array([[-1e3, 1e3]] * 4)
LINEAR = np.zeros(4, bool)  # φ is the value itself


class Maps:
    """A CC of one shell, of maps that are linear in four parameters."""

    def __init__(self, noise: float):
        rng = np.random.default_rng(5)
        fields = rng.normal(size=(5, 400))
        self.fields = fields - fields.mean(axis=1, keepdims=True)
        self.truth = np.array([0.7, 0.4, 0.9, 0.2])
        y = self.of(self.truth) + noise * rng.normal(size=400)
        self.y = y - y.mean()

    def of(self, point: np.ndarray) -> np.ndarray:
        return self.fields[0] + point @ self.fields[1:]

    def objective(self, point: np.ndarray) -> float:
        x = self.of(point)
        return float(1 - x @ self.y / np.sqrt((x @ x) * (self.y @ self.y)))

    def linearised(self, point: np.ndarray) -> Linearised:
        x, j = self.of(point), self.fields[1:]
        rho, beta = 1 - self.objective(point), j @ x / (x @ x)
        gradient = rho * beta - j @ self.y / np.sqrt((x @ x) * (self.y @ self.y))
        whole = rho * j @ j.T / (x @ x)
        matrix = whole - rho * np.outer(beta, beta)
        return Linearised(gradient, matrix, beta, np.diag(whole), (1 - rho**2) / rho)


@pytest.mark.parametrize("noise", [0.1, 5.0])
def test_one_step_leads_to_the_least_of_a_linear_map(noise):
    """Whatever the CC is there, 0.99 or 0.3; scipy finds the same from its own gradients."""
    maps, start = Maps(noise), np.array([0.9, 0.1, 0.5, 0.4])
    found, gain = trial_point(start, FAR, LINEAR, maps.linearised(start), None, 1e-12)
    best = minimize(maps.objective, found, tol=1e-12)
    assert maps.objective(found) == pytest.approx(best.fun, rel=1e-5)
    assert 0 < gain < 3 * (maps.objective(start) - best.fun)


def test_a_step_that_leaves_nothing_of_the_map_is_shortened():
    """By the slopes alone a parameter would go to its bound, where the map is below 0.

    The numbers are those of liquid-like motion of a crystal, at γ 17.5 Å instead of 8.4 Å.
    """
    matrix = np.array([[334, -58, -1, 0.3], [0, 256, -1, 0.2], [0, 0, 0.5, 0.001], [0] * 4]) / 1e3
    about = Linearised(
        np.array([-0.0763, 0.0883, 0.0099, 0.0001]),
        np.triu(matrix, 1) + np.triu(matrix, 1).T + np.diag([0.334, 0.256, 5e-4, 2e-6]),
        np.array([-0.2707, -0.0174, 0.1622, 0.0021]),
        np.array([0.3749, 0.2566, 0.0151, 3e-6]),
        1.25,
    )
    bounds = np.array([[0.2, 1.2], [0.2, 1.2], [5.0, 30.0], [0.0, 200.0]])
    squared = np.array([True, True, False, False])
    start = np.array([0.7, 0.7, 17.5, 100.0])
    there, gain = trial_point(start, bounds, squared, about, None, 1e-2)
    assert gain > 0 and 8 < there[2] < 15


def test_damping_holds_the_scale_which_a_cc_does_not_know():
    """A map that hardly does more than grow with a parameter: damped, it grows by no more."""
    maps = Maps(0.1)
    maps.fields[1] = 0.3 * maps.fields[0] + 1e-3 * maps.fields[1]
    start = np.array([1.0, 0.4, 0.9, 0.2])
    about = maps.linearised(start)
    freely, _ = trial_point(start, FAR, LINEAR, about, None, 1e-12)
    damped, _ = trial_point(start, FAR, LINEAR, about, None, 1.0)
    assert abs(freely[0] - start[0]) > 5 * abs(damped[0] - start[0])


@pytest.mark.parametrize("factor", [0.01, 0.2, 5.0, 30.0])
def test_the_log_normal_prior_is_taken_as_it_is(factor):
    """It is not convex in σ²; from far too small or large weights a step leads to its least."""
    source = np.array([0.3, 0.2, 0.1, 0.05])
    start = source * np.array([1, factor, 1, 1])
    bounds, squared = np.array([[0.0, 10.0]] * 4), np.ones(4, bool)
    flat = Linearised(np.zeros(4), 1e-9 * np.eye(4), np.zeros(4), np.full(4, 1e-9), 1.0)

    def prior(point: np.ndarray) -> Penalty:
        return log_normal(point**2, source, 0.5)[0]

    found, _ = trial_point(start, bounds, squared, flat, prior, LEAST_DAMPING)
    # Rounds end where another one promises no more than 1e-4 of what was gained.
    assert prior(found).value < 1e-4 * prior(start).value
    np.testing.assert_allclose(np.diff(np.log(found / source)), 0, atol=0.03)


def test_prior_and_data_together():
    """The least of a parabola and the prior, within bounds, is scipy's."""
    rng = np.random.default_rng(1)
    j = rng.normal(size=(9, 4))
    about = Linearised(rng.normal(size=4), j.T @ j, np.zeros(4), np.diag(j.T @ j), 1.0)
    source, squared = np.array([0.5, 0.4, 0.6, 0.2]), np.ones(4, bool)
    bounds, start = np.array([[0.1, 0.9]] * 4), np.array([0.2, 0.8, 0.3, 0.3])

    def prior(point: np.ndarray) -> Penalty:
        return log_normal(point**2, source, 0.5)[0].times(0.2)

    def whole(point: np.ndarray) -> float:
        move = point**2 - start**2
        return float(about.gradient @ move + move @ about.matrix @ move / 2 + prior(point).value)

    found, gain = trial_point(start, bounds, squared, about, prior, 0.0)
    starts = (found, start, np.full(4, 0.5))
    best = min(minimize(whole, x, bounds=bounds, tol=1e-12).fun for x in starts)
    assert whole(found) == pytest.approx(best, abs=1e-4)
    assert gain == pytest.approx(whole(start) - whole(found))


def test_damping_after_good_and_bad_steps():
    """Less after a good step, but not after one that took several; ever more after bad ones."""
    assert relieved(1e-2, 0) == pytest.approx(1e-3) and relieved(1e-2, 2) == 1e-2
    assert relieved(LEAST_DAMPING, 0) == LEAST_DAMPING
    assert [braked(1e-2, n) for n in range(3)] == pytest.approx([0.1, 1.0, 10.0])


def test_a_step_to_where_nothing_can_be_calculated_is_halved():
    """Until something can: twice here, as a quarter of its way is."""
    maps, start = Maps(0.1), np.array([0.9, 0.1, 0.5, 0.4])
    history = new_history(4).extended(start, maps.objective(start), new_history(4).hedge)

    def to(possible: Callable[[np.ndarray], bool] | None) -> np.ndarray:
        about = About(LINEAR, None, maps.linearised(start), 1e9, None, possible)
        return next_step(history, FAR, np.random.default_rng(0), about, 1).point - start

    whole = to(None)
    far = 0.3 * np.linalg.norm(whole)
    np.testing.assert_array_equal(to(lambda point: True), whole)
    np.testing.assert_allclose(to(lambda p: np.linalg.norm(p - start) < far), whole / 4)
    np.testing.assert_array_equal(to(lambda point: False), np.zeros(4))


def test_steps_that_lead_nowhere_are_no_convergence():
    """With slopes that point the wrong way: another stage at first, then it stands still."""
    maps, start = Maps(0.1), np.array([0.9, 0.1, 0.5, 0.4])
    right = maps.linearised(start)
    wrong = Linearised(-right.gradient, right.matrix, right.scaling, right.change, right.scatter)
    history = new_history(4).extended(start, maps.objective(start), new_history(4).hedge)
    about, stream = About(LINEAR, None, wrong, 1e4), np.random.default_rng(0)
    stages = []
    while not history.ended:
        proposal = next_step(history, FAR, stream, about, 1)
        stages.append(proposal.new_stage)
        point, hedge, *how = proposal
        history = history.extended(point, maps.objective(point), hedge, 0.0, *how)
    assert history.stands_still and history.stage_starts == (1 + MOST_IDLE,)
    assert history.best >= 1 + MOST_IDLE and stages.count(True) == 1
