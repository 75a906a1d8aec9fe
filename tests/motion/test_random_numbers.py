"""Random numbers: normal, the same for the same key, and different for any other."""

import numpy as np
import pytest
from scipy.special import ndtr

from hpc_diffuser.motion.random_numbers import (
    SAMPLERS,
    generator,
    normal_samples,
    sobol_normals,
    standardised,
)

KEYS = [(1,), (2,), (0,), (1, 0), (1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (2**32 + 1,), (2**63,)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_key_same_bits(sampler):
    """A point depends on its key and place alone: drawn again it has the same bits."""
    first, second = (normal_samples(sampler, 100, 5, generator(3, 1, 4)) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_other_keys_other_numbers():
    """Every seed and purpose has a stream of its own, also those that differ by trailing zeros.

    Two of 10 x 8 numbers agree in their 53 bits with a probability of 1e-13.
    """
    drawn = np.concatenate([generator(*key).random(8) for key in KEYS])
    assert len(np.unique(drawn)) == drawn.size


def test_streams_are_not_correlated():
    """1024 plain random points of two restarts: |r| < 5/√1024.

    (Sobol points of two scramblings visit their strata in a similar order by construction.)
    """
    one, other = (normal_samples("random", 1024, 1, generator(1, restart)) for restart in (0, 1))
    assert abs(np.corrcoef(one[:, 0], other[:, 0])[0, 1]) < 5 / np.sqrt(1024)


def test_random_points_are_normal():
    """Of n points the mean is off by 1/√n, the standard deviation by 1/√(2n): 5 of these.

    Between two of ten modes the correlation is off by 1/√n.
    """
    n = 4096
    points = normal_samples("random", n, 10, generator(1))
    assert points.shape == (n, 10)
    assert np.abs(points.mean(axis=0)).max() < 5 / np.sqrt(n)
    assert np.abs(points.std(axis=0) - 1).max() < 5 / np.sqrt(2 * n)
    assert np.abs(np.corrcoef(points.T) - np.eye(10)).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize("seed", range(5))
def test_sobol_points_are_normal(seed):
    """One point in each of n strata of equal probability, along every mode.

    Then a mean over the points is off by at most 1/n of the function's variation (Koksma). From
    the first stratum to the last x rises by 2·3.1, so the mean is off by 6/n, and by up to 1/n
    for each of the two infinite ends. x² varies by 2·3.1², of which the standard deviation
    feels half: 10/n, and as much for the ends. Sobol points are balanced in pairs of modes too.
    """
    n = 1024
    points = sobol_normals(n, 10, generator(seed))
    assert np.abs(points.mean(axis=0)).max() < 8 / n
    assert np.abs(points.std(axis=0) - 1).max() < 20 / n
    assert np.abs(np.corrcoef(points.T) - np.eye(10)).max() < 0.05


def test_sobol_points_are_stratified():
    """Of 64 points exactly one lies in each 64th of the normal distribution, in every mode."""
    strata = np.floor(64 * ndtr(sobol_normals(64, 7, generator(2)))).astype(int)
    np.testing.assert_array_equal(np.sort(strata, axis=0), np.tile(np.arange(64), (7, 1)).T)


@pytest.mark.parametrize("n", [1, 2, 3, 16, 100, 128])
def test_fewer_points_are_the_first_of_more(n):
    """The sequences do not depend on how far they are followed, power of two or not."""
    for drawn in (
        lambda n: normal_samples("random", n, 4, generator(1, 2)),
        lambda n: sobol_normals(n, 4, generator(1, 2)),
    ):
        assert drawn(n).shape == (n, 4)
        assert drawn(n).tobytes() == drawn(257)[:n].tobytes()


@pytest.mark.parametrize(("n", "modes"), [(8, 4), (64, 10), (100, 3), (128, 64)])
def test_sampled_points_have_the_moments_of_the_distribution(n, modes):
    """Mean 0 and covariance 1 to rounding, from twice as many points as modes on."""
    points = normal_samples("sobol", n, modes, generator(4))
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(points.T @ points / n, np.eye(modes), atol=1e-11)


def test_too_few_points_are_left_as_they_are():
    """Below that the covariance may be singular, and points would be moved far."""
    few = normal_samples("sobol", 7, 4, generator(4))
    np.testing.assert_array_equal(few, sobol_normals(7, 4, generator(4)))


def test_standardising_moves_points_little():
    """Of 256 Sobol points, whose moments are nearly right, by a few percent of a deviation."""
    points = sobol_normals(256, 6, generator(3))
    assert np.abs(standardised(points) - points).max() < 0.25
    assert np.std(standardised(points) - points) < 0.05


def test_motion_of_first_order_is_averaged_exactly():
    """Σ|Σ_i α_i G_i|²/S = Σ_i |G_i|² for any complex G_i, to rounding."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=(6, 50)) + 1j * rng.normal(size=(6, 50))
    points = normal_samples("sobol", 16, 6, generator(1))
    found = np.mean(np.abs(points @ g) ** 2, axis=0)
    np.testing.assert_allclose(found, np.sum(np.abs(g) ** 2, axis=0), rtol=1e-12)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_points_are_finite(sampler):
    """No point falls on the ends of the distribution, where the normal variable is infinite."""
    points = np.concatenate([normal_samples(sampler, 256, 3, generator(i)) for i in range(50)])
    assert np.isfinite(points).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_modes(sampler):
    """A structure without modes has points without coordinates."""
    assert normal_samples(sampler, 12, 0, generator(1)).shape == (12, 0)
