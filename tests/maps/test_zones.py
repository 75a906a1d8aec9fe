"""Zones and their resampling: against voxels copied by hand, and against truth made anew."""

from dataclasses import replace

import numpy as np
import pytest
from random_maps import CELL_OF, OPTIONS, random_map

from hpc_diffuser.crystal.lattice import centring, grid_to_resolution, laue_operations, laue_zones
from hpc_diffuser.maps.statistics import correlation_sums, pooled_cc, shell_mean_cc
from hpc_diffuser.maps.target import Target, make_target
from hpc_diffuser.maps.zones import (
    blocks_of,
    error_and_interval,
    resampled_cc,
    zones_of,
)
from hpc_diffuser.motion.random_numbers import generator


@pytest.mark.parametrize("space_group", CELL_OF)
def test_zones_are_those_of_the_free_set(space_group):
    """Two voxels share a unit where `laue_zones` gives them one hkl; free ones keep apart."""
    target = make_target(random_map(space_group=space_group), OPTIONS)
    crystal = (space_group, target.grid.unit_cell)
    expected = laue_zones(
        target.indices, target.grid.whole_divisions(), laue_operations(*crystal), centring(*crystal)
    )
    found = zones_of(target)
    named = np.unique(np.column_stack([expected, target.free, found.unit]), axis=0)
    assert len(named) == len(np.unique(expected, axis=0)) == len(found.free)
    np.testing.assert_array_equal(found.free[found.unit], target.free)


@pytest.mark.parametrize("size", [2, 3])
def test_blocks_are_of_as_many_zones_each_way(size):
    """In P 1, each zone by its own hkl: -1, 0 and 1 together, 2 to 4, and so on; fewer if need be.

    Of two, -1 and 0, 1 and 2: all blocks hold as many (rounded to even, every other had three).

    Of the mates hkl and -h-k-l the larger one counts, which a target's voxels need not have.
    """
    target = make_target(random_map(), OPTIONS)
    hkl = np.rint(target.indices / np.array(target.grid.divisions)).astype(int)
    mates = np.array([max(tuple(z), tuple(-z)) for z in hkl])
    expected = np.column_stack([(mates + size // 2) // size, target.free])
    found = zones_of(target, size)
    named = np.unique(np.column_stack([expected, found.unit]), axis=0)
    assert len(named) == len(np.unique(expected, axis=0)) == len(found.free)
    chosen = blocks_of(target)
    assert (~chosen.free).sum() >= 100 and chosen.size < 3 < (~zones_of(target).free).sum()


@pytest.mark.parametrize(("rule", "score"), [("shell-mean", shell_mean_cc), ("pooled", pooled_cc)])
def test_a_resampling_is_the_cc_of_copied_voxels(rule, score):
    """Voxels of the zones drawn, as often as they are drawn; the same draw from the same seed."""
    target = make_target(random_map(), replace(OPTIONS, free_fraction=0.3))
    rng = np.random.default_rng(0)
    x = target.intensity + rng.normal(0, 0.3, len(target.indices))
    weights = rng.uniform(0.5, 2, len(x))
    zones, shells = zones_of(target), target.shells()
    found = resampled_cc(target, x, zones, rule, weights, replicates=3)
    for kind, scores, by_shell in (
        (False, found.work, found.shells_work),
        (True, found.free, found.shells_free),
    ):
        units = np.flatnonzero(zones.free == kind)
        stream = generator(1, int(kind))
        for b in range(3):
            drawn = units[stream.integers(len(units), size=len(units))]
            rows = np.concatenate([np.flatnonzero(zones.unit == unit) for unit in drawn])
            y, w, bins = target.intensity[rows], weights[rows], shells[rows]
            sums = correlation_sums(x[rows], y, w, bins, target.n_shells)
            assert scores[b] == pytest.approx(score(sums), abs=1e-9)
            for shell in np.unique(bins):
                own = bins == shell
                covariance = np.cov(x[rows][own], y[own], aweights=w[own])
                cc = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
                assert by_shell[b, shell] == pytest.approx(cc, abs=1e-6)


def synthetic(rng: np.random.Generator) -> tuple[Target, np.ndarray]:
    """Maps whose voxels share most of their signal and of their noise with their zone."""
    grid = grid_to_resolution(CELL_OF["P 1"], (3, 3, 3), 2.5)
    indices = grid.indices_between(8.0, 2.5)
    edges = np.linspace(1 / 8, 1 / 2.5, 3)
    empty = np.zeros(len(indices))
    target = Target(grid, indices, empty, None, empty.astype(bool), edges, "P 1")
    unit = zones_of(target).unit

    def field() -> np.ndarray:
        return rng.normal(size=unit.max() + 1)[unit] + 0.5 * rng.normal(size=len(unit))

    x = field()
    free = (np.arange(unit.max() + 1) % 5 == 0)[unit]
    return replace(target, intensity=x + field(), free=free), x


def test_errors_are_those_of_repeated_experiments():
    """The scatter of CC over 100 data sets is what each one's resampling says of itself.

    Voxels taken for independent would say a third of it.
    """
    rng = np.random.default_rng(3)
    ccs, errors = [], []
    for _ in range(100):
        target, x = synthetic(rng)
        sums = correlation_sums(
            x, target.intensity, None, target.free * 2 + target.shells(), 4
        ).reshape(2, 2, 6)
        found = resampled_cc(target, x, zones_of(target), "shell-mean", replicates=40)
        ccs.append([shell_mean_cc(of_kind) for of_kind in sums])
        errors.append([error_and_interval(r)[0] for r in (found.work, found.free)])
    scatter, said = np.std(ccs, axis=0), np.mean(errors, axis=0)
    np.testing.assert_allclose(said, scatter, rtol=0.2)
    independent = (1 - np.mean(ccs) ** 2) / np.sqrt(len(x) * 0.8)
    assert scatter[0] > 2.5 * independent


def test_intervals_of_what_is_not_known():
    """Undefined replicates are left out; more than half of them, and nothing is said."""
    values = np.arange(200, dtype=float)
    values[::3] = np.nan
    error, low, high = error_and_interval(values)
    known = values[np.isfinite(values)]
    assert error == pytest.approx(np.std(known, ddof=1))
    assert (low, high) == pytest.approx(tuple(np.quantile(known, [0.025, 0.975])))
    values[:150] = np.nan
    assert np.isnan(error_and_interval(values)).all()


@pytest.mark.parametrize("space_group", ["P 1", "P 41", "P 6"])
@pytest.mark.parametrize("size", [1, 2])
def test_neighbours_have_a_face_in_common(space_group, size):
    """Units with voxels, or mates of them, in zones that are one step along one axis apart."""
    target = make_target(random_map((3, 3, 3), space_group), OPTIONS)
    found = zones_of(target, size)
    zones = np.rint(target.indices / 3).astype(int)
    own = {tuple(hkl): u for hkl, u in zip(zones.tolist(), found.unit.tolist(), strict=True)}
    own = {hkl: u for hkl, u in own.items() if not found.free[u]}
    every = {}
    for op in laue_operations(space_group, target.grid.unit_cell):
        every |= {tuple((np.array(hkl) @ op).tolist()): u for hkl, u in own.items()}
    expected = set()
    for hkl, unit in every.items():
        for step in np.eye(3, dtype=int):
            other = every.get(tuple((np.array(hkl) + step).tolist()), unit)
            expected |= {(unit, other), (other, unit)} if other != unit else set()
    pairs = [(i, j) for _, i, j in found.neighbours.tolist()]
    assert set(pairs) == {(j, i) for i, j in pairs} and len(set(pairs)) == len(pairs) > 0
    # On hexagonal axes mates of zones have corners where these have faces.
    assert set(pairs) <= expected if space_group == "P 6" else set(pairs) == expected
    assert set(found.neighbours[:, 0]) == {0, 1, 2}
