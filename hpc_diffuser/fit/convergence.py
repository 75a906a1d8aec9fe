"""How many samples are enough: the error of an evaluation, from independent randomisations.

Maps from n samples that are randomised independently are the same map with independent errors,
x_i = t + ε_i. Then CC(x_i, x_j) ≈ 1 − ε²/σ² and CC(x_i, t) ≈ 1 − ε²/2σ²: what a map lacks
towards the limit of infinitely many samples is half of what two maps differ by.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hpc_diffuser.fit.config import ModelConfig
from hpc_diffuser.fit.sampling_error import Convergence, SamplingError
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.motion.ensemble import Sampler
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.models import Model

RANDOMISATIONS = 4
FEWEST, MOST = 32, 4096
PARTS = (16, 8, 4, 2)  # of the samples: with so many fewer the error is measured too
FEWEST_TOLD = 4


def convergence(
    model: Model, comparison: Comparison, parameters: Parameters, draws: list[np.ndarray]
) -> Convergence:
    """The error of an evaluation, on every rank of the model's group.

    Parameters
    ----------
    model : Model
    comparison : Comparison
        With a target at the model's voxels.
    parameters : Parameters
    draws : list of (S, M) float
        Independent randomisations of the sample points, the same on all ranks.
    """
    maps = [model.internal_motion(parameters, normals) for normals in draws]
    return error_of_maps(comparison, maps, len(draws[0]))


def error_of_maps(comparison: Comparison, maps: list[np.ndarray], samples: int) -> Convergence:
    """The same from maps (v,) of independent randomisations of so many samples."""
    differences = [
        1 - comparison.agreement(one, other)
        for one, other in zip(maps, [*maps[1:], maps[0]], strict=True)
    ]
    scores = [comparison.score(intensity).merit for intensity in maps]
    error, spread = float(np.mean(differences)) / 2, float(np.std(scores, ddof=1))
    return Convergence(samples, error, spread)


def samples_needed(
    model: Model,
    comparison: Comparison,
    parameters: Parameters,
    options: ModelConfig,
    sampler: Sampler,
    *purpose: int,
) -> Convergence:
    """The configured number of samples, or as many as the accuracy asks for, and their error.

    Parameters
    ----------
    model, comparison, parameters
        As of `convergence`.
    options : ModelConfig
        Of its `samples`, and of its `map_error` where they are "auto".
    sampler : Sampler
    *purpose : int
        What the points are drawn for; the number of the randomisation comes behind.
    """

    def draw(n_samples: int, randomisation: int) -> np.ndarray:
        return sampler.draw(n_samples, *purpose, randomisation)

    if options.samples == "auto":
        return enough_samples(model, comparison, parameters, draw, options.map_error)
    draws = [draw(options.samples, i) for i in range(RANDOMISATIONS)]
    return convergence(model, comparison, parameters, draws)


def enough_samples(
    model: Model,
    comparison: Comparison,
    parameters: Parameters,
    draw: Callable[[int, int], np.ndarray],
    map_error: float,
) -> Convergence:
    """The least power of two of samples whose map error is small enough; at most `MOST`.

    Parameters
    ----------
    model, comparison, parameters
        As of `convergence`.
    draw : callable
        Number of samples, number of the randomisation → (S, M) float.
    map_error : float
        1 − CC asked for.
    """
    samples = FEWEST
    while True:
        draws = [draw(samples, i) for i in range(RANDOMISATIONS)]
        found = convergence(model, comparison, parameters, draws)
        if found.map_error <= map_error or samples >= MOST:
            return found
        samples *= 2


def with_fewer(
    found: Convergence,
    model: Model,
    comparison: Comparison,
    parameters: Parameters,
    draw: Callable[[int, int], np.ndarray],
) -> Convergence:
    """The same, with the errors of fewer samples: how it falls as they become more.

    All together take as long as the number itself does once more. Where nothing is sampled, or an
    ensemble has as many configurations whatever is asked for, there is nothing to add.

    Parameters
    ----------
    found : Convergence
    model, comparison, parameters
        As of `convergence`.
    draw : callable
        Number of samples, number of the randomisation → (S, M) float.
    """
    if not found.map_error:
        return found
    measured = []
    for part in PARTS:
        draws = [draw(found.samples // part, i) for i in range(RANDOMISATIONS)]
        if FEWEST_TOLD <= len(draws[0]) < found.samples:
            one = convergence(model, comparison, parameters, draws)
            measured.append(SamplingError(one.samples, one.map_error, one.objective_error))
    return replace(found, measured=tuple(measured))
