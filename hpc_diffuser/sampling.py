"""Standard normal coefficients for the ensemble, keyed by what they are for.

A random number depends on the seed, the restart and its place in the sequence, never on the
rank that draws it.
"""

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

SAMPLERS = ("sobol", "random")


def generator(seed: int, *purpose: int) -> np.random.Generator:
    """A stream of its own for each (seed, purpose...): restart, iteration and so on."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=purpose)))


def normal_samples(
    sampler: str, n_samples: int, n_modes: int, stream: np.random.Generator
) -> np.ndarray:
    """Standard normal points: (n_samples, n_modes) float.

    Parameters
    ----------
    sampler : {"sobol", "random"}
        Scrambled Sobol points (Owen 1998) through the inverse normal distribution, or plain
        pseudo-random numbers, as the paper used.
    n_samples : int
        For Sobol points best a power of two.
    n_modes : int
    stream : numpy.random.Generator
    """
    if n_modes == 0:
        return np.zeros((n_samples, 0))
    if sampler == "random":
        return stream.standard_normal((n_samples, n_modes))
    # `random_base2` keeps scipy from warning; the first points of the sequence are the same.
    points = qmc.Sobol(n_modes, rng=stream).random_base2(int(np.ceil(np.log2(max(n_samples, 1)))))
    return ndtri(np.clip(points[:n_samples], 1e-12, 1 - 1e-12))
