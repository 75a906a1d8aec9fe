"""How many configurations an ensemble has, which points make them, and what each counts."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Sampled
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.system.arrays import Floats, Integers


@dataclass(frozen=True)
class Sampler:
    """Draws an ensemble's standard normal points, always the same for the same purpose.

    Attributes
    ----------
    modes : Modes
    librates : bool
        Whether there is libration, which takes points of its own.
    kind : {"sobol", "random"}
    seed : int
    """

    modes: Modes
    librates: bool
    kind: str
    seed: int

    def draw(self, n_samples: int, *purpose: int) -> Floats:
        """The points for one purpose: (S, M), with libration (S, M + 3); see `ensemble_points`.

        Parameters
        ----------
        n_samples : int
        *purpose : int
            See `random_numbers.generator`.
        """
        stream = generator(self.seed, *purpose)
        return ensemble_points(self.modes, self.librates, self.kind, n_samples, stream)


def ensemble_points(
    modes: Modes, librates: bool, sampler: str, n_samples: int, stream: np.random.Generator
) -> Floats:
    """Standard normal points of an ensemble: (S, M) float, with libration (S, M + 3).

    Frames are an ensemble already, whatever the samples asked for; to be turned, each is taken
    equally often, in the order that `configurations` takes them. What does not move inside is a
    single configuration.

    Parameters
    ----------
    modes : Modes
    librates : bool
    sampler : {"sobol", "random"}
    n_samples : int
    stream : numpy.random.Generator
    """
    if modes.frames is not None:
        return _turns_of_frames(len(modes.frames), librates, sampler, n_samples, stream)
    n_columns = len(modes.amplitudes_A) + 3 * librates
    n_points = n_configurations(modes, librates, n_samples)
    return normal_samples(sampler, n_points, n_columns, stream)


def n_configurations(modes: Modes, librates: bool, n_samples: int) -> int:
    """How many configurations are computed where so many samples are asked for; see above."""
    if modes.frames is not None:
        n_frames = len(modes.frames)
        return -(-n_samples // n_frames) * n_frames if librates else n_frames
    return n_samples if len(modes.amplitudes_A) or librates else 1


def _turns_of_frames(
    n_frames: int, librates: bool, sampler: str, n_samples: int, stream: np.random.Generator
) -> Floats:
    """Points (S, 3), or (F, 0) without libration: row i is a rotation of frame i mod F.

    Successive Sobol points lie in different parts of space, so that every F-th would turn a frame
    to one side. A coordinate more deals the points to frames: the slices of it that are equally
    full have rotations to all sides, each and together.
    """
    if not librates:
        return np.zeros((n_frames, 0))
    turns = -(-n_samples // n_frames)
    points = normal_samples(sampler, turns * n_frames, 4, stream)
    slices = points[np.argsort(points[:, 0], kind="stable"), 1:].reshape(n_frames, turns, 3)
    return slices.swapaxes(0, 1).reshape(-1, 3)


def weights_of(modes: Modes, sampled: Sampled) -> Floats | None:
    """The frames' weights, which add up to 1: the model's own, or the ensemble's; None of modes."""
    if modes.frames is None or not sampled.frame_weights:
        return modes.weights
    given = np.array(sampled.frame_weights, dtype=np.float64)
    weights: Floats = given / given.sum()
    return weights


def frame_weights(modes: Modes, sampled: Sampled, rows: Integers) -> Floats | None:
    """How much each configuration of `configurations` counts, 1 on average: (S,) float.

    None where all count alike.
    """
    weights = weights_of(modes, sampled)
    if weights is None or np.all(weights == weights[0]):
        return None
    return (weights * len(weights))[rows % len(weights)]
