"""What liquid-like motion's series is parted into: functions of x = q²σ² and of y = e^{−r/γ}."""

import numpy as np
import pytest

from hpc_diffuser.scattering.liquid import SERIES_ERROR, separated

# σ² q² at 1.6 Å, of whose grid the margins of interpolation and of γ = 5 Å widen the sphere.
WIDEST = 4 * np.pi**2 * (1 / 1.6 + 0.06) ** 2


@pytest.mark.parametrize("x_max", [1e-20, 0.1, 3.0, WIDEST, 4 * WIDEST])
def test_products_add_up_to_the_series(x_max):
    """Σ_n xⁿyⁿ/n! = e^{xy} − 1 from n = 1, to SERIES_ERROR of e^x, the whole intensity.

    Twice that between the nodes, and in tables of 2049 that are read at places between.
    """
    of_x, of_y = separated(x_max)
    rng = np.random.default_rng(0)
    x, y = x_max * rng.uniform(size=2000), rng.uniform(size=2000)
    steps = np.linspace(0, 1, of_x.shape[1])
    found = sum(
        np.interp(x, x_max * steps, a) * np.interp(y, steps, b)
        for a, b in zip(of_x, of_y, strict=True)
    )
    assert np.max(np.abs(found - np.expm1(x * y)) * np.exp(-x)) < 2 * SERIES_ERROR


@pytest.mark.parametrize(("sigma_A", "n_terms"), [(0.4, 4), (0.6, 6), (1.0, 8)])
def test_few_terms_are_enough(sigma_A, n_terms):
    """Two to a transform, which costs as much as three samples: twelve for σ = 1 Å."""
    assert len(separated(sigma_A**2 * WIDEST)[0]) <= n_terms
