"""The isotropic background, against functions that it can represent, and moments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.maps.background import isotropic_background


def voxels(n: int = 4000, seed: int = 0) -> np.ndarray:
    """1/d of voxels between 3.3 and 1.6 Å, as many as their shells' volumes hold."""
    rng = np.random.default_rng(seed)
    return np.cbrt(rng.uniform(1 / 3.3**3, 1 / 1.6**3, n))


@settings(max_examples=30, deadline=None)
@given(a=st.floats(-100, 100), b=st.floats(-100, 100), n=st.integers(1, 3000))
def test_straight_line_is_its_own_background(a, b, n):
    """The mean of a + b|s| over any voxels is a + b times their mean |s|: exact between the nodes.

    Of a single shell, fewer than 100 voxels, the background is its mean.
    """
    s = voxels(n)
    intensity = a + b * s
    expected = intensity if n >= 100 else np.full(n, intensity.mean())
    np.testing.assert_allclose(isotropic_background(intensity, s), expected, atol=1e-9)


def test_smooth_function_is_followed():
    """exp(−10 s²): straight lines over shells of width w miss w² f''/8 at most, here 1e-3 of it.

    80 shells of (1/1.6 − 1/3.3)/80 = 0.004 Å⁻¹; |f''| < 20.
    """
    s = voxels()
    found = isotropic_background(np.exp(-10 * s**2), s)
    assert np.abs(found - np.exp(-10 * s**2)).max() < 3 * 0.004**2 * 20 / 8


def test_anisotropic_part_stays():
    """What is left of background and zero-mean noise is the noise, but for 1 in 50 of its variance.

    Each shell's mean takes one degree of freedom of about 50.
    """
    s = voxels()
    noise = np.random.default_rng(2).normal(size=len(s))
    left = 50 + 20 * s + noise
    left = left - isotropic_background(left, s)
    assert np.var(left) == pytest.approx(np.var(noise), rel=0.04)
    assert np.corrcoef(left, noise)[0, 1] > 0.98
    assert abs(left.mean()) < 0.01


def test_voxels_at_one_resolution():
    """All of one |s|: the mean."""
    found = isotropic_background(np.arange(200.0), np.full(200, 0.5))
    np.testing.assert_allclose(found, 99.5)
