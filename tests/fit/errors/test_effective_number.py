"""How many independent voxels a map's are worth: residuals of known correlation, by pair sums."""

from dataclasses import replace

import numpy as np
import pytest
from random_maps import CELL_OF

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.curvature import Curvature
from hpc_diffuser.fit.errors.effective_number import effective_voxels
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import zones_of

TAPS = 3  # voxels along each axis that a moving average is over


@pytest.fixture(scope="module")
def target() -> Target:
    """Three samples per reciprocal-lattice unit, one shell."""
    grid = grid_to_resolution(CELL_OF["P 1"], (3, 3, 3), 2.0)
    indices = grid.indices_between(6.0, 2.0)
    empty = np.zeros(len(indices))
    edges = np.array([1 / 6, 1 / 2])
    return Target(grid, indices, empty, None, empty.astype(bool), edges, "P 1")


def white(target: Target, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=len(target.indices))


def averaged(target: Target, rng: np.random.Generator) -> np.ndarray:
    """A moving average over 3 x 3 x 3 voxels: correlated by Π (1 − |Δ|/3)."""
    reach = np.abs(target.indices).max(axis=0)
    box = rng.normal(size=2 * reach + TAPS)
    for axis in range(3):
        summed = [np.take(box, np.arange(n, box.shape[axis] - 2 + n), axis) for n in range(TAPS)]
        box = sum(summed)
    return box[tuple((target.indices + reach).T)] / TAPS**1.5


def of_zones(target: Target, rng: np.random.Generator) -> np.ndarray:
    """The same in all of a zone."""
    unit = zones_of(target).unit
    return rng.normal(size=unit.max() + 1)[unit]


def bend_of(
    target: Target, residual: np.ndarray, slopes: list[np.ndarray], seed: int, size: int = 2
) -> Bend:
    """Of a right model whose map's pattern is white, at its minimum but for the noise's pull."""
    x = 10 * white(target, np.random.default_rng([seed, 1]))
    noisy = replace(target, intensity=x + residual)
    found = Curvature(noisy, x, zones_of(target, size), "pooled")
    for slope in slopes:
        found.add(slope, np.zeros_like(slope))
    return found.bend()


def all_pairs(target: Target, slopes: list[np.ndarray]) -> float:
    """Σ r_e(v − v') d_v d_v' over all pairs of voxels, over Σ d²: of the average."""
    reach = np.abs(target.indices).max(axis=0)
    places = tuple((target.indices + reach).T)
    lags = np.stack(np.meshgrid(*[np.arange(1 - TAPS, TAPS)] * 3), axis=-1).reshape(-1, 3)
    total = 0.0
    for d in slopes:
        box = np.zeros(2 * reach + 1)
        box[places] = d
        for lag in lags:
            moved = np.pad(box, TAPS)
            moved = np.roll(moved, lag, axis=(0, 1, 2))[TAPS:-TAPS, TAPS:-TAPS, TAPS:-TAPS]
            total += np.prod(1 - np.abs(lag) / TAPS) * (box * moved).sum() / (d @ d)
    return total / len(slopes)


def mean_number(
    target: Target, residual, slopes: list[np.ndarray], n: int = 20, size: int = 2
) -> float:
    """Over data sets: of their inflations, which are what is averaged."""
    found = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        found.append(effective_voxels(bend_of(target, residual(target, rng), slopes, seed, size)))
        assert found[-1].voxels == len(target.indices)
        assert 0 < found[-1].error < found[-1].independent
    return 1 / np.mean([1 / one.independent for one in found])


def test_independent_residuals_count_once_each(target):
    """Whatever the slopes are like: 5 % is three standard errors of the mean of 20 data sets.

    What faces seem to share by chance is never below nothing: up to a tenth fewer.
    """
    rng = np.random.default_rng(7)
    for kind in (white, averaged):
        slopes = [kind(target, rng) for _ in range(4)]
        found = mean_number(target, white, slopes) / len(target.indices)
        assert 0.9 < found < 1.05


def test_correlated_residuals_count_as_the_pair_sum_says(target):
    """Noise averaged over 27 voxels: no loss where slopes are white, ninefold where they are not.

    Σ r_e r_d over all space is (1 + 2 (4/9 + 1/9))³ = 9.4 for slopes averaged alike; a shell of
    finite width has fewer pairs. Single zones, as wide as the noise, miss most of them without
    their faces; larger blocks are fewer, and what they share is less well known.
    """
    rng = np.random.default_rng(8)
    rough, smooth = ([kind(target, rng) for _ in range(4)] for kind in (white, averaged))
    n = len(target.indices)
    fewer = [all_pairs(target, slopes) for slopes in (rough, smooth)]
    for slopes, times in zip((rough, smooth), fewer, strict=True):
        for size, far in ((1, 0.1), (2, 0.2)):
            found = mean_number(target, averaged, slopes, size=size)
            assert found == pytest.approx(n / times, rel=far)
    assert fewer[0] == pytest.approx(1, abs=0.1) and 6 < fewer[1] < 9.4


def test_what_zones_share_counts_once_a_zone(target):
    """Residuals and slopes that are one number in all of a zone."""
    rng = np.random.default_rng(9)
    slopes = [of_zones(target, rng) for _ in range(4)]
    size = np.bincount(zones_of(target).unit)
    once = size.sum() / ((size**2).sum() / size.sum())  # zones at the edge are smaller
    assert mean_number(target, of_zones, slopes) == pytest.approx(once, rel=0.1)


def test_numbers_do_not_depend_on_units_and_mixtures(target):
    """Of parameters in other units, and of their sums and differences."""
    rng = np.random.default_rng(3)
    slopes = np.array([averaged(target, rng) for _ in range(3)])
    residual = averaged(target, rng)
    mixed = np.array([[1000.0, 0, 0], [3, 1, 0], [-2, 0.5, 1e-3]]) @ slopes
    one, other = (
        effective_voxels(bend_of(target, residual, list(each), 0)) for each in (slopes, mixed)
    )
    assert other.independent == pytest.approx(one.independent, rel=1e-4)


def test_errors_tell_how_well_it_is_known(target):
    """The scatter over data sets is no more than each says of its own number, and not half.

    Each says what other zones would change; here they are the same ones, some large, some small.
    """
    rng = np.random.default_rng(5)
    slopes = [averaged(target, rng) for _ in range(3)]
    found = [
        effective_voxels(bend_of(target, averaged(target, rng), slopes, seed)) for seed in range(40)
    ]
    scatter = np.std([one.independent for one in found], ddof=1)
    assert 0.9 * scatter < np.mean([one.error for one in found]) < 2 * scatter


def test_without_single_voxels_there_is_no_number():
    """Nor where one parameter pulls at nothing."""
    pulls = np.random.default_rng(0).normal(size=(40, 2))
    assert effective_voxels(Bend(np.zeros(2), np.eye(2), pulls)) is None
    nothing = Bend(np.zeros(2), np.eye(2), pulls, 100, np.diag([1.0, 0.0]))
    assert effective_voxels(nothing) is None
