"""What is told and kept of the samples' error; apart from its computation, which loads kernels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingError:
    """The error that a number of samples leaves; fields as of `Convergence`."""

    samples: int
    map_error: float
    objective_error: float


@dataclass(frozen=True)
class Convergence:
    """What a number of samples is good for, at one point of the search.

    Attributes
    ----------
    samples : int
    map_error : float
        1 − CC of a calculated map with the one from infinitely many samples, after each shell's
        mean is subtracted.
    objective_error : float
        Standard deviation of the search's objective, 1 − CC with the target, from one
        randomisation to another.
    measured : tuple of SamplingError
        The same for fewer samples, ascending; empty in a file that is older.
    """

    samples: int
    map_error: float
    objective_error: float
    measured: tuple[SamplingError, ...] = ()
