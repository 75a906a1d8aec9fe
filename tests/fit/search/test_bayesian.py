"""Proposals are a pure function of history, bounds and stream."""

import numpy as np
import pytest

from hpc_diffuser.fit.search import bayesian
from hpc_diffuser.fit.search.bayesian import propose
from hpc_diffuser.fit.search.history import Hedge, History, new_history
from hpc_diffuser.motion.random_numbers import generator

BOUNDS = np.array([[0.0, 0.5], [0.1, 0.9]])


def valley(point: np.ndarray) -> float:
    """1 − CC of a made-up model: a narrow minimum of 0.004 at (0.3, 0.4)."""
    return 0.004 + float((point[0] - 0.3) ** 2 + 0.5 * (point[1] - 0.4) ** 2)


def search(history: History, n: int, restart: int = 0) -> History:
    """Continue a search until it has n evaluations."""
    for iteration in range(len(history), n):
        point, hedge = propose(history, BOUNDS, 6, generator(1, restart, iteration))
        history = history.extended(point, valley(point), hedge)
    return history


def test_fit_starts_from_the_last_kernel():
    """Only from the stored theta, brought back from its bounds; the first from ones."""
    theta = np.array([-0.5, np.log(100.0), 0.3])
    first = search(new_history(2), 6)
    hedge = Hedge(first.hedge.gains, first.hedge.candidates, theta)
    later = History(first.points, first.objectives, hedge)
    for history, expected in ((first, np.zeros(3)), (later, [-0.5, 1.5, 0.3])):
        process = bayesian._process(history, [tuple(b) for b in BOUNDS])
        assert process.n_restarts_optimizer == 0
        np.testing.assert_allclose(process.kernel.theta, expected, rtol=1e-12)


def test_kernel_is_part_of_the_state():
    """theta is that of the fitted kernel; beginning with another, a fit ends with other bits."""
    history = search(new_history(2), 9)
    assert history.hedge.theta.shape == (3,)
    process = bayesian._process(history, [tuple(b) for b in BOUNDS])
    unit = (history.points - BOUNDS[:, 0]) / (BOUNDS[:, 1] - BOUNDS[:, 0])
    process.fit(unit, np.log(history.objectives))
    _, hedge = propose(history, BOUNDS, 6, generator(1, 0, 9))
    np.testing.assert_allclose(hedge.theta, process.kernel_.k1.theta, rtol=1e-6)
    other = Hedge(history.hedge.gains, history.hedge.candidates, np.array([0.5, 1.0, -1.0]))
    changed = History(history.points, history.objectives, other)
    assert (
        propose(changed, BOUNDS, 6, generator(1, 0, 9))[1].theta.tobytes() != hedge.theta.tobytes()
    )


def test_fast_variance_is_that_of_skopt():
    """Mean and deviation at many points, against skopt's own; at points tried there is none."""
    history = search(new_history(2), 12)
    process = bayesian._process(history, [tuple(b) for b in BOUNDS])
    process.fit(history.points, np.log(history.objectives))
    points = np.random.default_rng(0).uniform(*BOUNDS.T, (500, 2))
    found = process.predict(points, return_std=True)
    expected = super(type(process), process).predict(points, return_std=True)
    # The variance is a difference of nearly equal numbers.
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-9)
    np.testing.assert_allclose(found[1] ** 2, expected[1] ** 2, rtol=1e-6, atol=1e-7)
    assert (process.predict(history.points, return_std=True)[1] < 1e-2).all()


@pytest.mark.parametrize("gains", [0.0, 700.0])
def test_hedge_is_part_of_the_state(gains):
    """gp_hedge's gains decide which acquisition function is followed: they are carried along."""
    history = search(new_history(2), 8)
    remembered = Hedge(np.array([gains, 0.0, 0.0]), history.hedge.candidates, history.hedge.theta)
    changed = History(history.points, history.objectives, remembered)
    _, hedge = propose(changed, BOUNDS, 6, generator(1, 0, 8))
    assert hedge.gains[0] >= gains - 700.0
    assert hedge.gains.shape == (3,) and hedge.candidates.shape == (3, 2)
