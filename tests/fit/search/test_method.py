"""Every search method: what it proposes follows from history, bounds and stream; and it finds."""

from itertools import pairwise

import numpy as np
import pytest
from builders import history_arrays

from hpc_diffuser.fit.config import SearchConfig
from hpc_diffuser.fit.run.checkpoints import read_checkpoint, write_checkpoint
from hpc_diffuser.fit.search.history import History, Proposal, new_history
from hpc_diffuser.fit.search.least_squares import replayed
from hpc_diffuser.fit.search.linearised import About, Linearised
from hpc_diffuser.fit.search.method import METHODS, search_method
from hpc_diffuser.motion.random_numbers import generator

BOUNDS = np.array([[0.0, 0.5], [0.1, 0.9]])

SQUARED = np.array([True, False])

every_method = pytest.mark.parametrize("name", METHODS)


def valley(point: np.ndarray) -> float:
    """1 − CC of a made-up model: a narrow minimum of 0.004 at (0.3, 0.4)."""
    return 0.004 + float((point[0] - 0.3) ** 2 + 0.5 * (point[1] - 0.4) ** 2)


def linearised(point: np.ndarray) -> Linearised:
    """The valley about a point, in the first parameter's square: of a sum of two squares."""
    off = np.array([point[0] - 0.3, np.sqrt(0.5) * (point[1] - 0.4)])
    slopes = np.sqrt(2) * np.diag([1 / (2 * point[0]), np.sqrt(0.5)])
    matrix = slopes @ slopes
    return Linearised(slopes @ (np.sqrt(2) * off), matrix, np.zeros(2), np.diag(matrix), 1.0)


def proposed(name: str, history: History, n_initial: int, stream: np.random.Generator) -> Proposal:
    """The next point, of a search that is told what its method asks for."""
    after = METHODS[name].steps_after
    about = None
    if after is not None and len(history) >= after(n_initial):
        row = replayed(history, after(n_initial)).accepted
        about = About(SQUARED, None, linearised(history.points[row]), 1e9)
    return search_method(name)(history, BOUNDS, n_initial, stream, about)


def search(name: str, history: History, n: int, restart: int = 0) -> History:
    """Continue a search until it has n evaluations, or ends."""
    while not history.finished(n):
        proposal = proposed(name, history, 6, generator(1, restart, len(history)))
        point, hedge, *of_stage = proposal
        history = history.extended(point, valley(point), hedge, 0.0, *of_stage)
    return history


def test_the_method_of_a_config_is_one_of_them():
    """What is not asked for otherwise."""
    assert SearchConfig().method in METHODS


@every_method
def test_resumed_search_proposes_the_same(name, tmp_path):
    """Read from its file after every evaluation, a search continues with the same bits."""
    whole = search(name, new_history(2), 14)
    resumed = new_history(2)
    for n in range(1, 15):
        write_checkpoint(tmp_path / "c.h5", search(name, resumed, n))
        resumed = read_checkpoint(tmp_path / "c.h5")
    assert history_arrays(resumed) == history_arrays(whole)


@every_method
def test_proposal_is_a_pure_function(name):
    """Asked again, in another order: the same bits; and what it was given is as before."""
    histories = [search(name, new_history(2), 5)]
    while not histories[-1].finished(12):
        histories.append(search(name, histories[-1], len(histories[-1]) + 1))
    before_all = [history_arrays(history) for history in histories]
    for before, after in reversed(list(pairwise(histories))):
        assert history_arrays(search(name, before, len(after))) == history_arrays(after)
    assert [history_arrays(history) for history in histories] == before_all


@every_method
def test_restarts_differ(name):
    """Another restart begins elsewhere."""
    one, other = (search(name, new_history(2), 2, restart).points for restart in (0, 1))
    assert not np.array_equal(one, other)


@every_method
def test_initial_points_fill_the_bounds(name):
    """The first points are uniform: none outside, and 200 of them reach near each bound."""
    history = new_history(2)
    points = np.array([proposed(name, history, 1, generator(1, i)).point for i in range(200)])
    assert (points >= BOUNDS[:, 0]).all() and (points <= BOUNDS[:, 1]).all()
    span = BOUNDS[:, 1] - BOUNDS[:, 0]
    np.testing.assert_allclose(points.min(axis=0), BOUNDS[:, 0], atol=0.05 * span.max())
    np.testing.assert_allclose(points.max(axis=0), BOUNDS[:, 1], atol=0.05 * span.max())


@every_method
def test_finds_the_minimum(name):
    """25 evaluations bring a two-dimensional quadratic to within 0.02 of it, inside the bounds."""
    history = search(name, new_history(2), 25)
    np.testing.assert_allclose(history.points[history.best], [0.3, 0.4], atol=0.02)
    assert history.finished(25) and history.points.shape == (len(history), 2)
    assert (history.points >= BOUNDS[:, 0]).all() and (history.points <= BOUNDS[:, 1]).all()


@every_method
def test_perfect_agreement_is_no_obstacle(name):
    """An objective of 0 (CC = 1, self-comparison) has a logarithm that is cut, not infinite."""
    history = search(name, new_history(2), 7)
    history = history.extended(np.array([0.3, 0.4]), 0.0, history.hedge)
    assert np.isfinite(proposed(name, history, 6, generator(1, 0, 8)).point).all()
