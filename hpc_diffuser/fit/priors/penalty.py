"""A sum of squares that an objective carries beside the map's, with what least squares needs."""

from dataclasses import dataclass

import numpy as np

TOLERANCE = 0.1  # of a B-factor, or a mean square: an excess by so much is one standard error


@dataclass(frozen=True)
class Penalty:
    """A sum of squares in D parameters about a point.

    Attributes
    ----------
    value : float
    gradient : (D,) float
        In φ.
    matrix : (D, D) float
        Gauss-Newton: the second derivatives without those of the residuals.
    """

    value: float
    gradient: np.ndarray
    matrix: np.ndarray

    def times(self, factor: float) -> "Penalty":
        """With another unit."""
        return Penalty(factor * self.value, factor * self.gradient, factor * self.matrix)

    def plus(self, other: "Penalty") -> "Penalty":
        """Both together."""
        return Penalty(
            self.value + other.value, self.gradient + other.gradient, self.matrix + other.matrix
        )
