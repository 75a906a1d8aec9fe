"""Standard normal coefficients for the ensemble, keyed by what they are for.

A random number depends on the seed, the restart and its place in the sequence, never on the
rank that draws it.
"""

import numpy as np

from hpc_diffuser.system.arrays import Floats

SAMPLERS = ("sobol", "random")


def generator(seed: int, *purpose: int) -> np.random.Generator:
    """A stream of its own for each (seed, purpose...): restart, iteration and so on."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=purpose)))


def normal_samples(
    sampler: str, n_samples: int, n_modes: int, stream: np.random.Generator
) -> Floats:
    """Standard normal points: (n_samples, n_modes) float.

    Parameters
    ----------
    sampler : {"sobol", "random"}
        Scrambled Sobol points (Owen 1998) through the inverse normal distribution, with their
        mean and covariance made exact; or plain pseudo-random numbers, as the paper used.
    n_samples : int
        For Sobol points best a power of two, and at least twice the modes.
    n_modes : int
    stream : numpy.random.Generator
    """
    if n_modes == 0:
        return np.zeros((n_samples, 0))
    if sampler == "random":
        return stream.standard_normal((n_samples, n_modes))
    normals = sobol_normals(n_samples, n_modes, stream)
    return standardised(normals) if n_samples >= 2 * n_modes else normals


def sobol_normals(n_samples: int, n_modes: int, stream: np.random.Generator) -> Floats:
    """The first points of a scrambled Sobol sequence as normals: (n_samples, n_modes)."""
    # Loaded here: those who ask for a stream only, as a target's free set does, need none of it.
    from scipy.special import ndtri
    from scipy.stats import qmc

    # `random_base2` keeps scipy from warning; the first points of the sequence are the same.
    points = qmc.Sobol(n_modes, rng=stream).random_base2(int(np.ceil(np.log2(max(n_samples, 1)))))
    return ndtri(np.clip(points[:n_samples], 1e-12, 1 - 1e-12))


def standardised(normals: Floats) -> Floats:
    """Points (S, M) of mean 0 and covariance 1, as near to the given ones as can be.

    What the motion does to F to first order is then averaged without error, whatever the modes
    and their amplitudes: Σ|Σ_i α_i G_i|²/S = Σ_i |G_i|². The symmetric inverse square root of
    the covariance changes the points least.
    """
    centred = normals - normals.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(normals))
    whitened: Floats = centred @ (axes / np.sqrt(variances)) @ axes.T
    return whitened
