"""What a prior adds to a fit's objective, about a point: a number, its gradient, its curvature."""

from dataclasses import dataclass

import numpy as np

TOLERANCE = 0.1  # of a B-factor, or a mean square: an excess by so much is one standard error


@dataclass(frozen=True)
class Penalty:
    """A convex function of D parameters about a point.

    Attributes
    ----------
    value : float
    gradient : (D,) float
        In φ.
    matrix : (D, D) float
        Of a sum of squares that of Gauss and Newton, without second derivatives of residuals.
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
