"""What a search that takes steps knows of the objective, besides its history."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Linearised:
    """The objective about a point of a search: what it is to first order, as a sum of squares.

    In φ of the refined parameters, the square of all amplitudes and otherwise the value itself.

    Attributes
    ----------
    gradient : (D,) float
    matrix : (D, D) float
        Of Gauss and Newton: the products of the residual's first derivatives.
    """

    gradient: np.ndarray
    matrix: np.ndarray


@dataclass(frozen=True)
class About:
    """What a method is told besides the history, where it asks for more than that.

    Attributes
    ----------
    squared : (D,) bool
        Of which refined parameters φ is the square.
    n_independent : float
        How many independent numbers the data are.
    start : (D,) float or None
        Where to begin, where that is known.
    linearised : Linearised or None
        The objective about the row of the history that the method wants it of.
    """

    squared: np.ndarray
    n_independent: float
    start: np.ndarray | None = None
    linearised: Linearised | None = None
