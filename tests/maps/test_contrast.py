"""Maps as a score compares them: against plain regressions, shell by shell."""

import numpy as np
import pytest
from random_maps import OPTIONS, random_map

from hpc_diffuser.maps.contrast import contrast, full_scale
from hpc_diffuser.maps.target import make_target


@pytest.fixture
def maps():
    """A target, and a map that has something of it, in another unit and with another offset."""
    target = make_target(random_map(), OPTIONS)
    noise = np.random.default_rng(1).normal(size=len(target.indices))
    return target, 40 * (target.intensity + 0.3 * noise) + 500 * (1 + target.shells())


def test_each_shell_has_its_least_squares_line(maps):
    """Slope and intercept are numpy's, of the working voxels, and what is left is 1 − CC²."""
    target, calculated = maps
    found, shells = contrast(target, calculated, "shell-mean"), target.shells()
    for shell in range(target.n_shells):
        own = (shells == shell) & ~target.free
        x, y = calculated[own], target.intensity[own].astype(float)
        slope, intercept = np.polyfit(x, y, 1)
        assert found.scale[shell] == pytest.approx(slope, rel=1e-6)
        line = slope * calculated[shells == shell] + intercept
        residual = target.intensity[shells == shell] - line
        np.testing.assert_allclose(found.difference[shells == shell], residual, atol=1e-6)
        left = np.var(found.difference[own]) / np.var(found.measured[own])
        assert left == pytest.approx(1 - np.corrcoef(x, y)[0, 1] ** 2, rel=1e-6)


def test_the_pooled_score_has_one_scale(maps):
    """The slope through all shells, each less its mean; weights count."""
    target, calculated = maps
    weights = np.random.default_rng(2).uniform(0.5, 2, len(calculated))
    found, shells = contrast(target, calculated, "pooled", weights), target.shells()
    above = below = 0.0
    for shell in range(target.n_shells):
        own = (shells == shell) & ~target.free
        w, x, y = weights[own], calculated[own], target.intensity[own].astype(float)
        x, y = x - np.average(x, weights=w), y - np.average(y, weights=w)
        above, below = above + w @ (x * y), below + w @ (x * x)
    np.testing.assert_allclose(found.scale, above / below, rtol=1e-6)


def test_what_runs_against_the_data_is_shown_as_nothing(maps):
    """A map of the opposite contrast has a scale of 0, not below."""
    target, calculated = maps
    found = contrast(target, -calculated, "shell-mean")
    np.testing.assert_array_equal(found.scale, 0)
    np.testing.assert_array_equal(found.calculated, 0)


def test_whole_maps_are_brought_onto_each_other(maps):
    """Of a map that is the target in another unit and with an offset, these come back."""
    target, _ = maps
    calculated = 8.0 * target.intensity - 3.0
    found = contrast(target, calculated, "shell-mean")
    scale, offset = full_scale(found, target.shells(), calculated)
    np.testing.assert_allclose(scale * calculated + offset, target.intensity, rtol=1e-5)
