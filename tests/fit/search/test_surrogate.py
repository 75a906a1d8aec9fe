"""What searches have learned of CC between their points, against scikit-optimize and the truth."""

import numpy as np
import pytest
from made_up_searches import bowl, searches, unit_bounds

from hpc_diffuser.fit.search import bayesian
from hpc_diffuser.fit.search.history import History, new_history
from hpc_diffuser.fit.search.surrogate import MOST_POINTS, pooled_surrogate, surrogate_of

BOUNDS = np.array([[0.0, 2.0], [-1.0, 1.0], [5.0, 6.0]])


def lacks(points: np.ndarray) -> np.ndarray:
    """1 − CC: best, 0.2, in the middle."""
    return 0.2 + bowl(points)


def in_units(history: History, bounds: np.ndarray) -> History:
    """The same search of other ranges than from 0 to 1."""
    low, high = bounds.T
    return History(low + history.points * (high - low), history.objectives, history.hedge)


def test_mean_is_that_of_scikit_optimize():
    """The same kernel, held, on the same points: at 50 others the same CC to 1e-8."""
    (history,) = searches(lacks, [[0.5, 0.5, 0.5]])
    process = bayesian._process(history, [(0.0, 1.0)] * 3)
    held = process.kernel.clone_with_theta(history.hedge.theta)
    process.set_params(kernel=held, optimizer=None).fit(history.points, np.log(history.objectives))
    cube = np.random.default_rng(0).uniform(size=(50, 3))
    low, high = BOUNDS.T
    found = surrogate_of(in_units(history, BOUNDS), BOUNDS).cc(low + cube * (high - low))
    np.testing.assert_allclose(found, 1 - np.exp(process.predict(cube)), rtol=1e-8)


def test_pooled_points_tell_more_than_one_restart():
    """Of searches that closed in on three points, CC between them: to 0.01 of what it is."""
    ends = np.array([[0.2, 0.5], [0.8, 0.5], [0.5, 0.8]])
    every = searches(lacks, ends)
    between = np.array([[0.5, 0.5], [0.35, 0.6], [0.65, 0.6]])
    found = pooled_surrogate(every, unit_bounds(2)).cc(between)
    np.testing.assert_allclose(found, 1 - lacks(between), atol=0.01)


def test_restarts_with_other_samples_do_not_agree_to_the_bit():
    """CC that are off by 0.003 from restart to restart are smoothed, not run through.

    With the noise of one restart's own points, the mean would swing by many times that.
    """
    rng, every = np.random.default_rng(5), []
    for history in searches(lacks, [[0.5, 0.5]] * 5):
        offset = rng.normal(scale=0.003)
        every.append(History(history.points, history.objectives + offset, history.hedge))
    points = rng.uniform(0.4, 0.6, size=(200, 2))
    found = pooled_surrogate(every, unit_bounds(2)).cc(points)
    np.testing.assert_allclose(found, 1 - lacks(points), atol=0.01)


def test_points_of_many_restarts_are_thinned():
    """No more than about MOST_POINTS, each restart's best among them."""
    (history,) = searches(lacks, [[0.5, 0.5]], n=40)
    surrogate = pooled_surrogate([history] * 60, unit_bounds(2))
    assert len(surrogate.tried) <= MOST_POINTS + 60
    best = history.points[history.best] / surrogate.lengths
    assert np.isclose(surrogate.tried, best).all(axis=1).sum() == 60


@pytest.mark.parametrize("n_tried", [0, 6])
def test_before_a_search_has_learned(n_tried):
    """Random points have no kernel: there is nothing to tell."""
    history = new_history(2)
    for point in np.random.default_rng(0).uniform(size=(n_tried, 2)):
        history = history.extended(point, 0.5, history.hedge)
    assert surrogate_of(history, unit_bounds(2)) is None
    assert pooled_surrogate([history, history], unit_bounds(2)) is None


def test_a_constant_objective_is_learned_too():
    """On a plateau the surrogate is one."""
    (plateau,) = searches(lambda points: np.full(len(points), 0.9), [[0.5, 0.5]])
    np.testing.assert_allclose(surrogate_of(plateau, unit_bounds(2)).cc(plateau.points), 0.1)
