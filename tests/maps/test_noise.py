"""Noise of a simulated map: its size by shell, its independence, what it leaves alone."""

import numpy as np
import pytest

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.noise import with_noise

D_MIN_A = 2.5


@pytest.fixture(scope="module")
def exact() -> DiffuseMap:
    """Intensity that falls with resolution, without a part of the sphere."""
    grid = grid_to_resolution((29.0, 28.0, 31.0, 87.0, 104.0, 97.0), (3, 3, 3), D_MIN_A)
    points = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in grid.extent), indexing="ij"), -1)
    inverse_d = np.sqrt(grid.inverse_d_squared(points.reshape(-1, 3))).reshape(points.shape[:3])
    intensity = np.exp(-20 * inverse_d**2) * (1 + 0.5 * np.sin(points[..., 0]))
    intensity[(inverse_d > 1 / D_MIN_A) | (points[..., 2] > 10)] = np.nan
    return DiffuseMap(grid, intensity.astype(np.float32), "P 1")


def test_size_and_independence(exact):
    """A tenth of the mean between 1/d of equal steps, of Friedel mates independently."""
    noisy = with_noise(exact, 0.1, D_MIN_A, np.random.default_rng(1))
    there = np.isfinite(exact.intensity)
    np.testing.assert_array_equal(np.isfinite(noisy.intensity), there)
    np.testing.assert_array_equal(np.isfinite(noisy.errors), there)
    indices = np.argwhere(there) - np.array(exact.grid.extent)
    inverse_d = np.sqrt(exact.grid.inverse_d_squared(indices))
    values, errors = exact.intensity[there], noisy.errors[there]
    for i in range(20):
        shell = (inverse_d >= i / 20 / D_MIN_A) & (inverse_d < (i + 1) / 20 / D_MIN_A)
        np.testing.assert_allclose(errors[shell], 0.1 * values[shell].mean(), rtol=1e-4)
    deviates = (noisy.intensity - exact.intensity) / noisy.errors
    n = there.sum()
    assert abs(np.nanmean(deviates)) < 4 / np.sqrt(n)
    assert abs(np.nanstd(deviates) - 1) < 4 / np.sqrt(2 * n)
    pairs = np.isfinite(deviates) & np.isfinite(deviates[::-1, ::-1, ::-1])
    mates = np.corrcoef(deviates[pairs], deviates[::-1, ::-1, ::-1][pairs])[0, 1]
    assert abs(mates) < 4 / np.sqrt(pairs.sum() / 2)


def test_the_same_stream_gives_the_same(exact):
    """And another one another; the exact map stays as it was."""
    before = exact.intensity.copy()
    one, again, other = (
        with_noise(exact, 0.1, D_MIN_A, np.random.default_rng(s)) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.intensity, again.intensity)
    assert not np.array_equal(one.intensity, other.intensity, equal_nan=True)
    np.testing.assert_array_equal(exact.intensity, before)
