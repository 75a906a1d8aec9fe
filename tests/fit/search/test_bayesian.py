"""Proposals are a pure function of history, bounds and stream."""

from itertools import pairwise

import numpy as np
import pytest

from hpc_diffuser.fit.run.checkpoints import read_checkpoint, write_checkpoint
from hpc_diffuser.fit.search import bayesian
from hpc_diffuser.fit.search.bayesian import propose
from hpc_diffuser.fit.search.history import Hedge, History, new_history
from hpc_diffuser.motion.sampling import generator

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


def as_bytes(history: History) -> list[bytes]:
    """All arrays of a history."""
    hedge = history.hedge
    arrays = (history.points, history.objectives, hedge.gains, hedge.candidates, hedge.theta)
    return [a.tobytes() for a in arrays]


def test_resumed_search_proposes_the_same(tmp_path):
    """Read from its file after every evaluation, a search continues with the same bits."""
    whole = search(new_history(2), 14)
    resumed = new_history(2)
    for n in range(1, 15):
        write_checkpoint(tmp_path / "c.h5", search(resumed, n))
        resumed = read_checkpoint(tmp_path / "c.h5")
    assert as_bytes(resumed) == as_bytes(whole)


def test_proposal_is_a_pure_function():
    """Asked again, in another order: the same bits."""
    histories = [search(new_history(2), 5)]
    while len(histories[-1]) < 12:
        histories.append(search(histories[-1], len(histories[-1]) + 1))
    for before, after in reversed(list(pairwise(histories))):
        assert as_bytes(search(before, len(after))) == as_bytes(after)


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
    remembered = Hedge(np.array([gains, 0.0, 0.0]), history.hedge.candidates, history.hedge.theta)
    changed = History(history.points, history.objectives, remembered)
    _, hedge = propose(changed, BOUNDS, 6, generator(1, 0, 8))
    assert hedge.gains[0] >= gains - 700.0
    assert hedge.gains.shape == (3,) and hedge.candidates.shape == (3, 2)
