"""Which restarts ended at the same place, of made-up searches where that is known."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from made_up_searches import bowl, searches, two_wells, unit_bounds

from hpc_diffuser.fit.clusters import clusters, joined
from hpc_diffuser.fit.config import ParametersConfig
from hpc_diffuser.fit.restarts import summarise
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.search.surrogate import Surrogate
from hpc_diffuser.fit.space import SearchSpace, search_space


def modes_space(n_modes: int) -> SearchSpace:
    """Modes between 0 and 1 Å, and nothing else refined."""
    ranges = ParametersConfig(mode_amplitude_A=(0.0, 1.0))
    return search_space(ranges, np.zeros(n_modes))


def places(histories: list[History], error: float = 0.0, n: int = 40) -> list[tuple[int, ...]]:
    """The restarts of each cluster, in the order of the summary."""
    space = modes_space(histories[0].points.shape[1])
    summary = summarise(space, dict(enumerate(histories)), len(histories), n, error)
    return [cluster.restarts for cluster in summary.findings.clusters]


def test_two_basins_of_equal_depth():
    """Mode 1 at 0.3 or 0.7 Å, equally good, and worse by 0.1 in between: two places."""

    def lacks(x):
        return 0.3 + two_wells(x[:, 0], 0.3, 0.7) + bowl(x[:, 1:])

    ends = [[0.3, 0.5, 0.5], [0.7, 0.5, 0.5], [0.3, 0.51, 0.5], [0.7, 0.5, 0.51]]
    histories = searches(lacks, ends)
    assert sorted(places(histories)) == [(0, 2), (1, 3)]


def test_two_basins_in_one_parameter_of_ten():
    """0.3 apart in one of ten are 0.095 rms, less than a tenth, and two places nevertheless."""

    def lacks(x):
        return 0.3 + two_wells(x[:, 0], 0.35, 0.65) + bowl(x[:, 1:])

    ends = np.full((4, 10), 0.5)
    ends[:, 0] = [0.35, 0.65, 0.35, 0.65]
    histories = searches(lacks, ends, n=60)
    assert sorted(places(histories, n=60)) == [(0, 2), (1, 3)]


@pytest.mark.parametrize("n_flat", [1, 2])
def test_parameters_that_do_not_matter_part_nobody(n_flat):
    """Two modes are determined, the others are wherever a search left them: one place.

    By their parameters alone the restarts are several groups.
    """

    def lacks(x):
        return 0.3 + bowl(x[:, :2])

    ends = np.full((4, 2 + n_flat), 0.5)
    ends[:, 2:] = np.array([[0.02, 0.9], [0.35, 0.1], [0.65, 0.95], [0.98, 0.5]])[:, :n_flat]
    histories = searches(lacks, ends)
    assert len(clusters(ends, unit_bounds(2 + n_flat))) == 4
    assert places(histories) == [(0, 1, 2, 3)]


def joined_places(answers, cc, tolerance: float = 0.002) -> list[list[int]]:
    """Where CC is known everywhere, and all answers are apart by their parameters."""
    answers = np.array(answers, dtype=float)
    apart = [[row] for row in range(len(answers))]
    known = SimpleNamespace(cc=cc)
    return joined(apart, answers, cc(answers), cast(Surrogate, known), tolerance)


def test_a_valley_is_one_place():
    """Two modes of which only the sum matters: from one end of the valley to the other."""
    valley = [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]
    assert joined_places(valley, lambda x: 0.7 - (x.sum(axis=1) - 1) ** 2) == [[0, 1, 2]]


@pytest.mark.parametrize(("tolerance", "n_places"), [(0.019, 2), (0.021, 1)])
def test_a_search_that_is_not_done_is_not_at_the_same_place(tolerance, n_places):
    """Downhill to the optimum all the way, but CC is 0.02 lower: by √0.02 = 0.141 from it."""
    ends = [[0.5, 0.5], [0.5 + np.sqrt(0.02), 0.5]]
    assert len(joined_places(ends, lambda x: 0.7 - bowl(x), tolerance)) == n_places


@pytest.mark.parametrize(("tolerance", "n_places"), [(0.019, 2), (0.021, 1)])
def test_a_barrier_no_higher_than_the_tolerance_is_none(tolerance, n_places):
    """0.02 between two equal optima, at the middle of their line."""

    def cc(x):
        return 0.7 - two_wells(x[:, 0], 0.2, 0.8) / 5

    assert len(joined_places([[0.2, 0.5], [0.8, 0.5]], cc, tolerance)) == n_places


def test_neighbours_are_joined_in_a_row():
    """Where a straight line leaves a ring, from one restart to the next it hardly does.

    On a ring of radius 0.4 a chord of 20° is 0.4 (1 − cos 10°) = 0.006 inside, at 0.1 CC: 0.0006
    lower; one of 180° leads through the middle, 0.04 lower.
    """

    def cc(x):
        return 0.7 - 0.1 * np.abs(np.linalg.norm(x - 0.5, axis=1) - 0.4)

    def around(step):
        turns = np.radians(np.arange(0, 360, step))
        return 0.5 + 0.4 * np.stack([np.cos(turns), np.sin(turns)], axis=1)

    assert joined_places(around(180), cc) == [[0], [1]]
    assert joined_places(around(20), cc) == [list(range(18))]


def test_all_at_different_places():
    """Four of the sixteen equal minima of an egg box: none is like another."""
    ends = [[0.125, 0.125], [0.875, 0.125], [0.375, 0.625], [0.625, 0.875]]

    def cc(x):
        return 0.6 - 0.1 * np.sum(np.cos(8 * np.pi * x), axis=1)

    assert joined_places(ends, cc) == [[0], [1], [2], [3]]


def test_order_of_restarts_does_not_matter():
    """The same restarts together, whatever their numbers."""
    ends = np.array([[0.25, 0.1], [0.75, 0.2], [0.25, 0.9], [0.75, 0.8], [0.25, 0.5]])
    expected = {frozenset({0, 2, 4}), frozenset({1, 3})}
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 1, 2], [4, 3, 2, 1, 0]):
        found = joined_places(ends[order], lambda x: 0.7 - two_wells(x[:, 0], 0.25, 0.75))
        assert {frozenset(order[i] for i in rows) for rows in found} == expected


def test_one_restart_is_one_place():
    """There is nothing to compare it with."""
    assert places(searches(lambda x: 0.3 + bowl(x), [[0.5, 0.5]])) == [(0,)]


def test_ties():
    """Restarts that are the same to the bit, in the order of their numbers."""
    assert places(searches(lambda x: 0.3 + bowl(x), [[0.5, 0.5]]) * 5) == [(0, 1, 2, 3, 4)]


def test_one_that_deviates_among_128():
    """127 restarts about one optimum, one at another that is as good: a place of its own."""

    def lacks(x):
        return 0.3 + two_wells(x[:, 0], 0.2, 0.8) + bowl(x[:, 1:])

    rng = np.random.default_rng(8)
    lone, many = searches(lacks, [[0.8, 0.5], [0.2, 0.5]])
    histories = []
    for _ in range(127):
        points = many.points.copy()
        points[-1] = rng.normal([0.2, 0.5], 0.005)
        histories.append(History(points, lacks(points), many.hedge))
    histories.insert(60, lone)
    assert sorted(map(len, places(histories, error=0.001))) == [1, 127]
    assert (60,) in places(histories, error=0.001)


def test_without_a_surrogate_parameters_decide():
    """Random points alone have learned nothing: restarts that are apart are apart."""
    found = searches(lambda x: 0.3 + bowl(x[:, :1]), [[0.5, 0.1], [0.5, 0.9]])
    blank = [History(h.points, h.objectives, type(h.hedge)(*[np.empty(0)] * 3)) for h in found]
    assert places(found) == [(0, 1)]
    assert sorted(places(blank)) == [(0,), (1,)]
