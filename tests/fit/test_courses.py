"""Every restart's state, how CC rose, and which parameters depend on each other."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from hpc_diffuser.fit.config import ParametersConfig
from hpc_diffuser.fit.couplings import couplings, slice_through, strongest_pairs
from hpc_diffuser.fit.courses import course, restarts_of, still_rising
from hpc_diffuser.fit.restarts import summarise
from hpc_diffuser.fit.search.history import History, new_history
from hpc_diffuser.fit.search.surrogate import Surrogate
from hpc_diffuser.fit.space import search_space

SPACE = search_space(
    ParametersConfig(translation_sigma_A=(0.0, 1.0), uncorrelated_sigma_A=(0.0, 0.5)), np.empty(0)
)


def history(point, cc: list[float]) -> History:
    """Of a search that was at one point all the time."""
    points = np.repeat(np.array([point], dtype=float), len(cc), axis=0)
    return History(points, 1 - np.array(cc), new_history(2).hedge)


HISTORIES = {
    0: history([0.4, 0.1], [0.1, 0.3, 0.2, 0.60, 0.5]),
    1: history([0.9, 0.4], [0.2, 0.2, 0.3, 0.30, 0.59]),
    2: history([0.4, 0.1], [0.3, 0.601, 0.2, 0.5, 0.4]),
    3: history([0.5, 0.2], [0.1, 0.1, 0.1, 0.1, 0.101]),
    5: history([0.6, 0.2], [0.4, 0.5]),
}


def test_states_of_restarts():
    """Two at the best place, one elsewhere, one far below the median, one that is not done.

    CC 0.101 beside 0.59, 0.6 and 0.601: the median is 0.595, its deviation 0.0055.
    """
    found = restarts_of(HISTORIES, summarise(SPACE, HISTORIES, 8, 5))
    assert [r.number for r in found] == [0, 1, 2, 3, 5]
    states = ["best cluster", "deviates", "best cluster", "failed", "not finished"]
    assert [r.state for r in found] == states
    assert [r.cluster for r in found] == [1, 2, 1, None, None]
    assert [r.found_at for r in found] == [4, 5, 2, 5, 2]
    assert [r.cc for r in found] == pytest.approx([0.6, 0.59, 0.601, 0.101, 0.5])
    assert [bool(r.reason) for r in found] == [False, False, False, True, False]
    assert found[1].point.tolist() == [0.9, 0.4]


def test_before_one_is_finished():
    """Without a summary none is finished."""
    assert {r.state for r in restarts_of(HISTORIES, None)} == {"not finished"}


def test_best_so_far():
    """Only ever upwards; of another objective, the CC of the best point, wherever it is."""
    objectives = 1 - np.array([0.1, 0.3, 0.2, 0.6])
    by_cc = History(np.zeros((4, 1)), objectives, new_history(1).hedge)
    np.testing.assert_allclose(by_cc.best_cc_so_far(), [0.1, 0.3, 0.3, 0.6])
    other = replace(by_cc, cc_work=np.array([0.5, 0.2, 0.9, 0.4]))
    np.testing.assert_array_equal(other.best_cc_so_far(), [0.5, 0.2, 0.2, 0.4])
    assert len(new_history(1, keeps_cc=True).best_cc_so_far()) == 0


def test_course():
    """Of evaluations 1, 2 and 5, by hand; the restart that made two is not among the last."""
    rows = course(HISTORIES)
    assert [row[:2] for row in rows] == [(1, 5), (2, 5), (5, 4)]
    assert rows[0][2:] == pytest.approx((0.1, 0.2, 0.4))
    assert rows[1][2:] == pytest.approx((0.1, 0.3, 0.601))
    assert rows[2][2:] == pytest.approx((0.101, 0.595, 0.601))
    assert course({}) == []


def test_who_was_still_rising():
    """The best among the last tenth of twenty evaluations: 19 and 20, not 18."""
    found = restarts_of(HISTORIES, summarise(SPACE, HISTORIES, 8, 5))
    longer = [replace(found[0], evaluations=20, found_at=at) for at in (18, 19, 20)]
    failed = replace(longer[2], cluster=None)
    assert [r.found_at for r in still_rising([*longer, failed])] == [19, 20]
    assert still_rising(found) == []  # five evaluations have no tenth


def known(cc, n: int) -> Surrogate:
    """CC that is known everywhere."""
    bounds = np.array([[0.0, 1.0]] * (n - 1) + [[-5.0, 5.0]])
    return cast(Surrogate, SimpleNamespace(cc=cc, bounds=bounds))


def test_couplings_of_a_product():
    """CC = 0.5 + 2 x y + z²: a product of steps of 0.1, one of them of a range of 10, times 2.

    |2 (±0.1)(±1)| over the four corners is 4 x 0.2 / 4; z depends on nobody.
    """
    surrogate = known(lambda p: 0.5 + 2 * p[:, 0] * p[:, 2] + p[:, 1] ** 2, 3)
    found = couplings(surrogate, np.array([0.0, 0.5, 5.0]))  # at bounds too
    np.testing.assert_allclose(found, [[0, 0, 0.2], [0, 0, 0], [0.2, 0, 0]], atol=1e-15)
    assert strongest_pairs(found)[0] == (0, 2, pytest.approx(0.2))
    assert [pair[:2] for pair in strongest_pairs(found)] == [(0, 2), (0, 1), (1, 2)]


def test_slice_keeps_the_other_parameters():
    """A row for each y; the middle parameter as it is."""
    surrogate = known(lambda p: p[:, 0] + 10 * p[:, 1] + 100 * p[:, 2], 3)
    x, y, cc = slice_through(surrogate, np.array([0.3, 0.7, 0.1]), 0, 2)
    np.testing.assert_allclose(cc, x[None] + 7 + 100 * y[:, None])
    assert (x[-1], y[0]) == (1.0, -5.0)
