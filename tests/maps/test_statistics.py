"""Correlations against numpy's, and what they must not depend on."""

import itertools
from types import SimpleNamespace

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.crystal.lattice import HklGrid, grid_to_resolution
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.maps.plane_sums import PlaneSums
from hpc_diffuser.maps.statistics import (
    N_SUMS,
    SCORES,
    correlation_sums,
    correlations,
    pooled_cc,
    shell_edges,
    shell_index,
    shell_mean_cc,
    shell_statistics,
)
from hpc_diffuser.maps.target import Target
from hpc_diffuser.parallel.communicator import Ranks

N_SHELLS = 5


def two_maps(seed: int = 0, n_voxels: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two partly correlated maps whose mean falls off with the shell, and the shells."""
    rng = np.random.default_rng(seed)
    shells = rng.integers(0, N_SHELLS, n_voxels)
    common = rng.normal(size=n_voxels)
    x = 20 / (1 + shells) + common + rng.normal(size=n_voxels)
    y = 70 / (1 + shells) + 3 * common + 2 * rng.normal(size=n_voxels)
    return x, y, shells


def weighted_cc(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    """cov(x, y)/√(var x var y) with means and moments weighted by w."""
    x, y = x - np.average(x, weights=w), y - np.average(y, weights=w)
    return np.sum(w * x * y) / np.sqrt(np.sum(w * x * x) * np.sum(w * y * y))


def one_bin(x, y, weights=None) -> float:
    """CC of all voxels together."""
    sums = correlation_sums(x, y, weights, np.zeros(len(x), np.int64), 1)
    return float(correlations(sums)[0])


def test_correlation_in_each_shell():
    """Pearson's coefficient in each bin, as numpy.corrcoef has it, to rounding."""
    x, y, shells = two_maps()
    found = correlations(correlation_sums(x, y, None, shells, N_SHELLS))
    expected = [np.corrcoef(x[shells == i], y[shells == i])[0, 1] for i in range(N_SHELLS)]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_weighted_correlation_in_each_shell():
    """The same with weighted means and moments."""
    x, y, shells = two_maps()
    w = np.random.default_rng(1).uniform(0.1, 10, len(x))
    found = correlations(correlation_sums(x, y, w, shells, N_SHELLS))
    expected = [
        weighted_cc(x[shells == i], y[shells == i], w[shells == i]) for i in range(N_SHELLS)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_weights_count_voxels():
    """A voxel of weight 3 is as good as three voxels."""
    x, y, _ = two_maps(n_voxels=30)
    times = np.random.default_rng(1).integers(1, 4, len(x))
    repeated = one_bin(np.repeat(x, times), np.repeat(y, times))
    assert one_bin(x, y, times) == pytest.approx(repeated, rel=1e-12)


def test_single_precision_maps_are_summed_in_double():
    """10⁵ voxels with a mean of 100 standard deviations: float32 sums would lose the CC.

    In double the mean's square, 10⁴ variances, leaves 1e-12 of every addition: 1e-9 for all.
    """
    rng = np.random.default_rng(0)
    x = (100 + rng.normal(size=100_000)).astype(np.float32)
    y = (100 + rng.normal(size=100_000)).astype(np.float32)
    expected = np.corrcoef(x.astype(np.float64), y.astype(np.float64))[0, 1]
    assert one_bin(x, y) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(1e-6, 1e6),
    offset=st.floats(-100, 100),
    sign=st.sampled_from([1, -1]),
    weighted=st.booleans(),
)
def test_scale_and_offset_do_not_matter(scale, offset, sign, weighted):
    """CC(ax + b, y) = sign(a) CC(x, y).

    An offset of 100 standard deviations costs 100² of the sixteen digits: 1e-10 is safe.
    """
    x, y, _ = two_maps(n_voxels=100)
    w = np.linspace(0.5, 2, len(x)) if weighted else None
    changed = one_bin(sign * scale * (x + offset * x.std()), y, w)
    assert changed == pytest.approx(sign * one_bin(x, y, w), abs=1e-10)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_scores_do_not_depend_on_scale(score):
    """A map times 10⁶, or divided by it, correlates as before; with itself perfectly."""
    x, y, shells = two_maps()

    def scored(a, b):
        return score(correlation_sums(a, b, None, shells, N_SHELLS))

    assert scored(1e6 * x, y / 1e6) == pytest.approx(scored(x, y), rel=1e-11)
    assert scored(x, x) == pytest.approx(1, rel=1e-12)
    assert scored(x, 7 - x) == pytest.approx(-1, rel=1e-12)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_scores_ignore_the_fall_off_with_resolution(score):
    """Both subtract the mean of each shell: any function of the shell may be added."""
    x, y, shells = two_maps()
    radial = np.array([5.0, -3.0, 40.0, 0.0, 1.0])[shells]
    before = score(correlation_sums(x, y, None, shells, N_SHELLS))
    after = score(correlation_sums(x + radial, y, None, shells, N_SHELLS))
    assert after == pytest.approx(before, rel=1e-10)


def test_sums_add_over_parts():
    """The sums of the whole are those of its parts added up: ranks each hold some planes."""
    x, y, shells = two_maps()
    w = np.random.default_rng(1).uniform(0.1, 10, len(x))
    part = np.random.default_rng(2).integers(0, 3, len(x))
    whole = correlation_sums(x, y, w, shells, N_SHELLS)
    added = sum(
        correlation_sums(x[part == i], y[part == i], w[part == i], shells[part == i], N_SHELLS)
        for i in range(3)
    )
    assert whole.shape == (N_SHELLS, N_SUMS)
    np.testing.assert_allclose(added, whole, rtol=1e-12)


STARTS = np.array([0, 90, 90, 91, 250, 400])  # a plane without voxels, and one with a single one


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_sums_by_plane_have_the_bits_of_the_plain_ones(weighted, precision):
    """Each plane's six sums are those of its voxels alone: equal products, added in order."""
    x, y, shells = two_maps()
    x, y = x.astype(precision), y.astype(np.float32)
    w = np.random.default_rng(1).uniform(0.1, 10, len(x)) if weighted else None
    sums = PlaneSums(y, w, shells, STARTS, N_SHELLS)
    for map_ in (x, 3 * x, y, np.ones_like(x)):
        found = sums.of(map_)
        assert found.shape == (len(STARTS) - 1, N_SHELLS, N_SUMS)
        for plane, first, last in zip(found, STARTS, STARTS[1:], strict=False):
            own = slice(first, last)
            weights = None if w is None else w[own]
            expected = correlation_sums(map_[own], y[own], weights, shells[own], N_SHELLS)
            np.testing.assert_array_equal(plane, expected)


def test_a_rank_without_planes_has_no_sums():
    """Ranks outside the first row of a group hold no intensity."""
    none = PlaneSums(np.empty(0), None, np.empty(0, np.int64), np.array([0]), N_SHELLS)
    assert none.of(np.empty(0)).shape == (0, N_SHELLS, N_SUMS)


@pytest.mark.parametrize("weighted", [False, True])
def test_comparison_correlates_working_and_free_voxels_apart(weighted):
    """Every shell's CC as from the definition, over all voxels of its set at once."""
    grid = grid_to_resolution((12.0, 13.0, 14.0, 85.0, 95.0, 100.0), (3, 3, 3), 3.0)
    indices = grid.indices_between(9.0, 3.0)
    rng = np.random.default_rng(3)
    x, y = rng.normal(5, 1, (2, len(indices)))
    errors = rng.uniform(0.5, 2, len(indices)) if weighted else None
    free = rng.random(len(indices)) < 0.3
    edges = shell_edges(9.0, 3.0, 4)
    target = Target(grid, indices, x + y, errors, free, edges, "P 1")
    model = SimpleNamespace(rows=np.arange(len(indices)), group=Ranks())
    found = Comparison(target, model, "shell-mean", "errors" if weighted else "none").score(x)
    w = 1 / errors**2 if weighted else np.ones(len(x))
    for subset, cc, by_shell in (
        (~free, found.cc_work, found.shells_work),
        (free, found.cc_free, found.shells_free),
    ):
        own = [subset & (target.shells() == i) for i in range(4)]
        expected = [weighted_cc(x[m], (x + y)[m], w[m]) for m in own]
        np.testing.assert_allclose(by_shell, expected, rtol=1e-10)
        assert cc == pytest.approx(np.mean(expected), rel=1e-10)


def test_shell_mean_is_the_mean_over_shells():
    """Eq. 13 of the paper: every shell counts the same, however many voxels it has."""
    x, y, _ = two_maps()
    shells = np.minimum(np.arange(len(x)) // 30, N_SHELLS - 1)
    expected = np.mean([np.corrcoef(x[shells == i], y[shells == i])[0, 1] for i in range(5)])
    found = shell_mean_cc(correlation_sums(x, y, None, shells, N_SHELLS))
    assert found == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("weighted", [False, True])
def test_pooled_is_one_correlation_after_shell_means(weighted):
    """Subtract from both maps their (weighted) mean in each shell; then one CC of everything."""
    x, y, shells = two_maps()
    w = np.random.default_rng(1).uniform(0.1, 10, len(x)) if weighted else np.ones(len(x))
    flat_x, flat_y = x.copy(), y.copy()
    for i in range(N_SHELLS):
        own = shells == i
        flat_x[own] -= np.average(x[own], weights=w[own])
        flat_y[own] -= np.average(y[own], weights=w[own])
    found = pooled_cc(correlation_sums(x, y, w if weighted else None, shells, N_SHELLS))
    assert found == pytest.approx(weighted_cc(flat_x, flat_y, w), rel=1e-11)
    if not weighted:
        assert found == pytest.approx(np.corrcoef(flat_x, flat_y)[0, 1], rel=1e-11)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_empty_shells_do_not_count(score):
    """Shells without voxels, before, between and after the others, change nothing."""
    x, y, shells = two_maps()
    sums = correlation_sums(x, y, None, shells, N_SHELLS)
    spread_out = correlation_sums(x, y, None, 2 * shells + 1, 2 * N_SHELLS + 3)
    assert score(spread_out) == score(sums)
    assert np.isnan(correlations(spread_out)[0])


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_no_voxels_have_no_score(score):
    """Nothing to compare is NaN, not an error."""
    assert np.isnan(score(np.zeros((N_SHELLS, N_SUMS))))


@pytest.mark.parametrize("constant", [0.0, 0.1, -1.7, 1e6])
@pytest.mark.parametrize("weighted", [False, True])
def test_constant_map_has_no_correlation(constant, weighted):
    """NaN where either map has no variation, also when rounding leaves some of it."""
    rng = np.random.default_rng(0)
    for n_voxels in range(10, 60):
        w = rng.uniform(0.1, 10, n_voxels) if weighted else None
        flat, y = np.full(n_voxels, constant), rng.normal(size=n_voxels)
        assert np.isnan(one_bin(flat, y, w))
        assert np.isnan(one_bin(y, flat, w))
        assert np.isnan(one_bin(flat, flat, w))


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_constant_map_has_no_score(score):
    """The same for the scores: a model without intensity must not look like a perfect one."""
    _, y, shells = two_maps()
    assert np.isnan(score(correlation_sums(np.full(len(y), 0.1), y, None, shells, N_SHELLS)))


def test_flat_shell_spoils_the_shell_mean():
    """A shell without variation has no CC, so neither has the mean over all."""
    x, y, shells = two_maps()
    flat = np.where(shells == 2, 0.1, x)
    assert np.isnan(shell_mean_cc(correlation_sums(flat, y, None, shells, N_SHELLS)))


def test_flat_shell_is_part_of_the_pool():
    """Pooled, the flat shell is 0 after its mean is subtracted: no covariance, but y's variance."""
    x, y, shells = two_maps()
    flat = np.where(shells == 2, 0.1, x)
    means = [[m[shells == i].mean() for i in range(N_SHELLS)] for m in (flat, y)]
    expected = np.corrcoef(
        *(m - np.take(mean, shells) for m, mean in zip((flat, y), means, strict=True))
    )[0, 1]
    found = pooled_cc(correlation_sums(flat, y, None, shells, N_SHELLS))
    assert found == pytest.approx(expected, rel=1e-11)


def test_shells_are_equally_wide_in_inverse_d():
    """From 1/3.3 to 1/1.6 Å⁻¹ in four steps of the same size."""
    edges = shell_edges(3.3, 1.6, 4)
    assert (edges[0], edges[-1]) == (1 / 3.3, 1 / 1.6)
    np.testing.assert_allclose(np.diff(edges), (1 / 1.6 - 1 / 3.3) / 4, rtol=1e-12)
    assert shell_edges(np.inf, 2.0, 2).tolist() == [0, 0.25, 0.5]


def test_voxels_on_the_edges_of_shells():
    """An edge belongs to the shell that it opens; the last, to the shell that it closes."""
    edges = np.array([0.25, 0.5, 0.75, 1.0])
    inverse_d = np.array([0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0])
    assert shell_index(inverse_d, edges).tolist() == [0, 0, 1, 1, 2, 2, 2]


def test_rounding_at_the_outermost_edges_is_forgiven():
    """A voxel one bit outside the range is in its first or last shell."""
    edges = shell_edges(3.3, 1.6, 7)
    outside = np.array([np.nextafter(edges[0], 0), np.nextafter(edges[-1], 9)])
    assert shell_index(outside, edges).tolist() == [0, 6]


def test_shell_statistics_by_counting():
    """Every sample of a small oblique grid, one after the other, with gemmi's 1/d.

    Beyond the box nothing is measured, but possible: the larger box of ±9 holds the whole sphere.
    """
    cell = (10.0, 11.0, 12.0, 80.0, 95.0, 100.0)
    grid = HklGrid(cell, (2, 1, 1), (6, 3, 4))
    values = np.random.default_rng(1).normal(50, 9, grid.shape)
    values[np.random.default_rng(2).uniform(size=grid.shape) < 0.3] = np.nan
    edges = np.array([0.05, 0.15, 0.25, 0.3])
    counted, found = np.zeros(3, int), [[] for _ in range(3)]
    unit = gemmi.UnitCell(*cell)
    for index in itertools.product(range(-18, 19), range(-9, 10), range(-9, 10)):
        h, k, l = index[0] / 2, index[1], index[2]  # noqa: E741
        s = np.linalg.norm(np.array(unit.frac.mat.tolist()).T @ (h, k, l))
        if not edges[0] <= s <= edges[-1]:
            continue
        shell = int(np.searchsorted(edges, s, side="right")) - 1
        counted[shell] += 1
        place = tuple(np.array(index) + grid.extent)
        if all(0 <= p < n for p, n in zip(place, grid.shape, strict=True)):
            found[shell] += [values[place]] if np.isfinite(values[place]) else []
    possible, measured, mean, deviation = shell_statistics(values, grid, edges)
    np.testing.assert_array_equal(possible, counted)
    np.testing.assert_array_equal(measured, [len(f) for f in found])
    np.testing.assert_allclose(mean, [np.mean(f) for f in found])
    np.testing.assert_allclose(deviation, [np.std(f) for f in found])
