"""What a search that takes steps knows of the objective, besides its history.

All of it in φ of the refined parameters: the square of all amplitudes, in which intensities are
nearly linear, and otherwise the value itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.priors.penalty import Penalty


@dataclass(frozen=True)
class Linearised:
    """The data's part of the objective about a point, of a map that is linear in φ.

    Attributes
    ----------
    gradient : (D,) float
    matrix : (D, D) float
        Second derivatives where the gradient vanishes: of what a map's own scale cannot make up
        for.
    scaling : (D,) float
        By what part of itself the map grows with each parameter.
    change : (D,) float
        Second derivatives if scores knew the map's scale: they measure how far it changes in all.
    scatter : float
        The gradient's covariance, from one data set of N independent numbers to another, is the
        matrix times this over N.
    """

    gradient: np.ndarray
    matrix: np.ndarray
    scaling: np.ndarray
    change: np.ndarray
    scatter: float


@dataclass(frozen=True)
class About:
    """What a method is told besides the history, where it asks for more than that.

    Attributes
    ----------
    squared : (D,) bool
        Of which refined parameters φ is the square.
    start : (D,) float or None
        Where to begin, where that is known.
    linearised : Linearised or None
        The data's objective about the row of the history that the method wants it of.
    n_independent : float
        How many independent numbers the data are.
    penalty : callable or None
        Point (D,) → what the prior adds to the objective there.
    possible : callable or None
        Point (D,) → whether a map can be calculated there; None where it can anywhere.
    """

    squared: np.ndarray
    start: np.ndarray | None = None
    linearised: Linearised | None = None
    n_independent: float = 1.0
    penalty: Callable[[np.ndarray], Penalty] | None = None
    possible: Callable[[np.ndarray], bool] | None = None


def phi_of(values: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """φ of parameters' values (..., D)."""
    return np.where(squared, values**2, values)


def values_of(phi: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """The values of φ (..., D)."""
    return np.where(squared, np.sqrt(np.maximum(phi, 0.0)), phi)
