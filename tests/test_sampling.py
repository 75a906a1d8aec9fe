"""Random numbers: normal, the same for the same key, and different for any other."""

import numpy as np
import pytest
from scipy.special import ndtr

from hpc_diffuser.sampling import SAMPLERS, generator, normal_samples

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
    points = normal_samples("sobol", n, 10, generator(seed))
    assert np.abs(points.mean(axis=0)).max() < 8 / n
    assert np.abs(points.std(axis=0) - 1).max() < 20 / n
    assert np.abs(np.corrcoef(points.T) - np.eye(10)).max() < 0.05


def test_sobol_points_are_stratified():
    """Of 64 points exactly one lies in each 64th of the normal distribution, in every mode."""
    strata = np.floor(64 * ndtr(normal_samples("sobol", 64, 7, generator(2)))).astype(int)
    np.testing.assert_array_equal(np.sort(strata, axis=0), np.tile(np.arange(64), (7, 1)).T)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("n", [1, 2, 3, 16, 100, 128])
def test_fewer_points_are_the_first_of_more(sampler, n):
    """The sequence does not depend on how far it is followed, power of two or not."""
    few = normal_samples(sampler, n, 4, generator(1, 2))
    many = normal_samples(sampler, 257, 4, generator(1, 2))
    assert few.shape == (n, 4)
    assert few.tobytes() == many[:n].tobytes()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_points_are_finite(sampler):
    """No point falls on the ends of the distribution, where the normal variable is infinite."""
    points = np.concatenate([normal_samples(sampler, 256, 3, generator(i)) for i in range(50)])
    assert np.isfinite(points).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_modes(sampler):
    """A structure without modes has points without coordinates."""
    assert normal_samples(sampler, 12, 0, generator(1)).shape == (12, 0)
