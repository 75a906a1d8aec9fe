"""Proposals are a pure function of history, bounds and stream."""

import numpy as np
import pytest

from hpc_diffuser.sampling import generator
from hpc_diffuser.search.bayesian import propose
from hpc_diffuser.search.history import History, new_history

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


def test_resumed_search_proposes_the_same():
    """A copy of the arrays after any evaluation continues with the same bits."""
    whole = search(new_history(2), 14)
    for cut in (0, 3, 6, 7, 11):
        first = search(new_history(2), cut)
        resumed = search(History(first.points.copy(), first.objectives.copy(), first.hedge), 14)
        assert resumed.points.tobytes() == whole.points.tobytes()
        assert resumed.hedge.gains.tobytes() == whole.hedge.gains.tobytes()


def test_restarts_differ():
    """Another restart begins elsewhere."""
    assert not np.array_equal(
        search(new_history(2), 2, restart=0).points, search(new_history(2), 2, restart=1).points
    )


def test_initial_points_fill_the_bounds():
    """The first points are uniform: none outside, and 200 of them reach near each bound."""
    history = new_history(2)
    points = np.array([propose(history, BOUNDS, 1, generator(1, i))[0] for i in range(200)])
    assert (points >= BOUNDS[:, 0]).all() and (points <= BOUNDS[:, 1]).all()
    span = BOUNDS[:, 1] - BOUNDS[:, 0]
    np.testing.assert_allclose(points.min(axis=0), BOUNDS[:, 0], atol=0.05 * span.max())
    np.testing.assert_allclose(points.max(axis=0), BOUNDS[:, 1], atol=0.05 * span.max())


def test_finds_the_minimum():
    """25 evaluations bring a two-dimensional quadratic to within 0.02 of its minimum."""
    history = search(new_history(2), 25)
    np.testing.assert_allclose(history.points[history.best], [0.3, 0.4], atol=0.02)


def test_perfect_agreement_is_no_obstacle():
    """An objective of 0 (CC = 1, self-comparison) has a logarithm that is cut, not infinite."""
    history = search(new_history(2), 7)
    history = history.extended(np.array([0.3, 0.4]), 0.0, history.hedge)
    point, _ = propose(history, BOUNDS, 6, generator(1, 0, 8))
    assert np.isfinite(point).all()


@pytest.mark.parametrize("gains", [0.0, 700.0])
def test_hedge_is_part_of_the_state(gains):
    """gp_hedge's gains decide which acquisition function is followed: they are carried along."""
    history = search(new_history(2), 8)
    changed = History(
        history.points,
        history.objectives,
        type(history.hedge)(np.array([gains, 0.0, 0.0]), history.hedge.candidates),
    )
    _, hedge = propose(changed, BOUNDS, 6, generator(1, 0, 8))
    assert hedge.gains[0] >= gains - 700.0
    assert hedge.gains.shape == (3,) and hedge.candidates.shape == (3, 2)
