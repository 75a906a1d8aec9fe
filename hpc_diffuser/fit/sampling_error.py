"""What is told and kept of the samples' error; apart from its computation, which loads kernels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingError:
    """The error that a number of samples leaves; fields as of `Convergence`."""

    samples: int
    map_error: float
    objective_error: float


@dataclass(frozen=True)
class EstimatorError:
    """What an estimator of the moments costs, and the error that it leaves in a map.

    Attributes
    ----------
    estimator : str
        One of `moments.ESTIMATORS`.
    samples : int
        0 for the first order alone.
    map_error : float
        As of `Convergence`.
    cost : float
        Over that of the samples that the fit would take without an expansion.
    farthest_map_error : float or None
        With all parameters at the upper ends of their ranges; None where that was not looked at.
    """

    estimator: str
    samples: int
    map_error: float
    cost: float
    farthest_map_error: float | None = None


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
        randomisation to another; of the first order alone, what its objective differs by.
    measured : tuple of SamplingError
        The same for fewer samples, ascending; empty in a file that is older.
    estimator : str
        Of the moments, whose errors these are.
    estimators : tuple of EstimatorError
        All that it was chosen among; empty where it was not.
    """

    samples: int
    map_error: float
    objective_error: float
    measured: tuple[SamplingError, ...] = ()
    estimator: str = "sampled"
    estimators: tuple[EstimatorError, ...] = ()


def final_estimator(of_search: str) -> str:
    """The final map's: what the first order leaves is sampled there, so that no error of it is
    in the answer's map."""
    return "control-variate" if of_search == "one-phonon" else of_search
