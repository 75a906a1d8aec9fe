"""χ² with its scale and background solved for, against least squares over all voxels."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import nnls

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.scoring import Comparison, score_at_voxels
from hpc_diffuser.maps.likelihood import (
    background_knots,
    between_knots,
    pseudo_inverse,
    standard_deviations,
)
from hpc_diffuser.maps.statistics import correlation_sums, shell_edges
from hpc_diffuser.maps.target import Target
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError

CELL = (12.0, 13.0, 14.0, 85.0, 95.0, 100.0)
KNOTS = 7


def noisy_target(seed: int = 3, negative: bool = False) -> tuple[Target, np.ndarray]:
    """Data of a map on a bent background, with errors as their σ says; and the map."""
    grid = grid_to_resolution(CELL, (3, 3, 3), 3.0)
    indices = grid.indices_between(9.0, 3.0)
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 50.0, len(indices))
    s = np.sqrt(grid.inverse_d_squared(indices))
    errors = rng.uniform(2.0, 9.0, len(indices))
    level = -60.0 if negative else 100.0
    y = 0.3 * x + level * np.exp(-2 * s) + rng.normal(0, errors)
    free = rng.random(len(indices)) < 0.2
    return Target(grid, indices, y, errors, free, shell_edges(9.0, 3.0, 4), "P 1"), x


def hats(target: Target, n_knots: int) -> np.ndarray:
    """(V, K) the background's functions, by numpy's own interpolation."""
    s = np.sqrt(target.grid.inverse_d_squared(target.indices))
    knots = np.linspace(target.shell_edges[0], target.shell_edges[-1], n_knots)
    return np.stack([np.interp(s, knots, row) for row in np.eye(n_knots)], axis=1)


def by_lstsq(target: Target, x: np.ndarray, n_knots: int) -> tuple[np.ndarray, float, float]:
    """Solution, χ² of the working and of the free voxels."""
    basis = np.column_stack([x, hats(target, n_knots)])
    work, sigma = ~target.free, target.errors
    rows = basis[work] / sigma[work, None]
    solved, *_ = np.linalg.lstsq(rows, target.intensity[work] / sigma[work], rcond=None)
    squares = ((target.intensity - basis @ solved) / sigma) ** 2
    return solved, squares[work].sum(), squares[~work].sum()


def likelihood(target: Target, x: np.ndarray, knots: int = KNOTS):
    return score_at_voxels(target, x, "shell-mean", "none", knots).likelihood


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("knots", [2, 7, 20])
def test_least_squares_over_all_voxels(knots, negative):
    """numpy's lstsq finds the same scale, background, χ² and free χ²; negatives are kept."""
    target, x = noisy_target(negative=negative)
    assert (target.intensity < 0).any() == negative
    found = likelihood(target, x, knots)
    solved, chi, free = by_lstsq(target, x, knots)
    assert found.scale == pytest.approx(solved[0], rel=1e-9)
    np.testing.assert_allclose(found.background, solved[1:], rtol=1e-7, atol=1e-7)
    assert found.chi_squared == pytest.approx(chi, rel=1e-9)
    assert found.free_chi_squared == pytest.approx(free, rel=1e-9)
    alone = hats(target, knots)
    _, null, _ = by_lstsq(target, np.zeros_like(x), knots)
    assert found.background_alone == pytest.approx(null, rel=1e-9)
    assert found.objective == pytest.approx(chi / null, rel=1e-9)
    assert alone.sum(axis=1) == pytest.approx(1.0)
    assert found.work == pytest.approx(1.0, abs=0.2 if knots > 2 else 5.0)


def test_the_scale_is_not_negative():
    """A map that rises where the data fall is not turned over: scipy's NNLS finds the same."""
    target, x = noisy_target()
    found = likelihood(target, x.max() - x)
    assert found.scale == 0.0 and found.objective == 1.0
    work, sigma = ~target.free, target.errors
    both = hats(target, KNOTS)
    basis = np.column_stack([x.max() - x, both, -both])[work] / sigma[work, None]
    _, norm = nnls(basis, target.intensity[work] / sigma[work])
    assert found.chi_squared == pytest.approx(norm**2, rel=1e-8)


def test_scale_and_background_of_the_data_do_not_matter():
    """y → a y + any background of the same knots, σ → a σ: as before, whatever x's unit."""
    target, x = noisy_target()
    here = likelihood(target, x)
    moved = 17.0 * target.intensity + hats(target, KNOTS) @ np.linspace(-900, 2000, KNOTS)
    other = replace(target, intensity=moved, errors=17.0 * target.errors)
    there = likelihood(other, 1e-3 * x)
    assert there.objective == pytest.approx(here.objective, rel=1e-9)
    assert there.work == pytest.approx(here.work, rel=1e-9)
    assert there.free == pytest.approx(here.free, rel=1e-9)
    assert there.scale == pytest.approx(17e3 * here.scale, rel=1e-9)


def test_a_better_map_has_less():
    """The objective falls from 1 to what noise leaves as a map comes nearer to the true one."""
    target, x = noisy_target()
    wrong = np.random.default_rng(9).gamma(2.0, 50.0, len(x))
    found = [likelihood(target, p * x + (1 - p) * wrong).objective for p in (0, 0.5, 0.9, 1)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5 < 0.9 < found[0] <= 1


def test_a_map_that_does_not_vary_explains_nothing():
    target, x = noisy_target()
    for flat in (np.zeros_like(x), np.full_like(x, 0.1), np.full_like(x, 1e6)):
        found = likelihood(target, flat)
        assert found.scale == 0.0 and found.objective == pytest.approx(1.0, rel=1e-12)


def test_knots_without_voxels_are_left_out():
    """More knots than there are voxels near: what is left is what the voxels determine."""
    target, x = noisy_target()
    few = target.at(np.flatnonzero(~target.free)[::9])
    few = replace(few, free=np.zeros(len(few.indices), bool))
    found = likelihood(few, x[~target.free][::9], 120)
    _, chi, _ = by_lstsq(few, x[~target.free][::9], 120)
    assert found.chi_squared == pytest.approx(chi, rel=1e-6, abs=1e-6)
    assert np.isnan(found.free) and found.free_voxels == 0


def test_a_comparison_has_the_same_bits():
    """On a group, and at all voxels of one rank; the CC is what it is without a likelihood."""
    target, x = noisy_target()
    model = SimpleNamespace(rows=np.arange(len(x)), group=Ranks())
    found = Comparison(target, model, "shell-mean", "none", KNOTS).score(x)
    alone = Comparison(target, model, "shell-mean", "none").score(x)
    assert (found.cc_work, found.cc_free) == (alone.cc_work, alone.cc_free)
    assert alone.likelihood is None
    here, there = found.likelihood, likelihood(target, x)
    np.testing.assert_array_equal(here.background, there.background)
    assert replace(here, background=0) == replace(there, background=0)


def test_places_between_knots():
    """As numpy interpolates, and at the ends beyond them."""
    knots = background_knots(np.array([0.1, 0.2, 0.5]), 5)
    np.testing.assert_allclose(knots, np.linspace(0.1, 0.5, 5))
    s = np.array([0.05, 0.1, 0.15, 0.33, 0.5, 0.6])
    place, part = between_knots(s, knots)
    values = np.array([3.0, -1, 4, 1, 5])
    found = values[place] * (1 - part) + values[place + 1] * part
    np.testing.assert_allclose(found, np.interp(s, knots, values))


def test_pseudo_inverse_of_rows_without_voxels():
    matrix = np.diag([4.0, 0.0, 1e-3])
    np.testing.assert_allclose(pseudo_inverse(matrix), np.diag([0.25, 0, 1e3]))


def with_halves(target: Target, halves: np.ndarray) -> Target:
    """The target without errors, with half-maps (2, V) of its voxels."""
    n = target.n_shells
    sums = correlation_sums(*halves, None, target.free * n + target.shells(), 2 * n)
    return replace(target, errors=None, half_sums=sums.reshape(2, n, -1))


def test_sigma_from_half_maps():
    """Half of the rms difference in a shell, whose mean a background is blind to."""
    target, _ = noisy_target()
    rng = np.random.default_rng(0)
    truth, sigma = 5 + target.shells(), 1.0 + target.shells()
    noise = rng.normal(0, np.sqrt(2) * sigma, (2, len(truth)))
    found = standard_deviations(with_halves(target, truth + noise + [[3.0], [0.0]]))
    for shell in range(target.n_shells):
        own = target.shells() == shell
        assert found[own] == pytest.approx(np.std(noise[0, own] - noise[1, own]) / 2)
        assert found[own] == pytest.approx(sigma[own], rel=0.2)


def test_sigma_of_a_map_s_errors():
    """They come before half-maps."""
    target, _ = noisy_target()
    both = replace(with_halves(target, np.ones((2, len(target.indices)))), errors=target.errors)
    np.testing.assert_array_equal(standard_deviations(both), target.errors)


def test_what_has_no_sigma_is_refused():
    """One line, with the remedy, and with how many voxels are wrong."""
    target, _ = noisy_target()
    with pytest.raises(InputError, match=r"map\.h5 has neither intensity_errors nor half-maps"):
        standard_deviations(replace(target, errors=None), "map.h5")
    errors = target.errors.copy()
    errors[:3], errors[5] = 0.0, -1.0
    with pytest.raises(InputError, match=rf"negative .* at 4 of {len(errors)} voxels"):
        standard_deviations(replace(target, errors=errors))
    same = np.tile(np.random.default_rng(0).normal(size=len(errors)), (2, 1))
    with pytest.raises(InputError, match=rf"is 0 at {len(errors)} of {len(errors)} voxels"):
        standard_deviations(with_halves(target, same))
