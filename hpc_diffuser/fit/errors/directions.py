"""Along which directions the map's second derivatives are taken, beside an answer.

Where the model is incomplete they matter: the residual is large, and parameters that can stand in
for each other leave a direction in which little bends the objective but they. D parameters have
D(D + 1)/2 of them. Along the D directions v_k in which the objective bends without mixing, by Gauss
and Newton's part λ_k of its curvature, the mixed ones matter to second order only: what they add
to λ_k is S_kl²/λ_l. Along parameters' own axes they would be as large as all else, and 0 in their
place is a wrong number: of a direction that is flat the axes' second derivatives nearly cancel
against the mixed ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.coordinates import Coordinate


@dataclass(frozen=True)
class Direction:
    """A direction in φ, and values of all parameters to its sides.

    Attributes
    ----------
    weights : (D,) float
        v/h, see `Curvature.add_along`.
    move : (D,) float
        v h.
    left, right : (D,) float
        Parameters' values to either side.
    far : float
        To there, in x = φ/h.
    """

    weights: np.ndarray
    move: np.ndarray
    left: np.ndarray
    right: np.ndarray
    far: float


def free_on_both_sides(found: Sequence[Coordinate]) -> list[int]:
    """Places of the parameters that have room to both sides of the answer."""
    return [i for i, c in enumerate(found) if c.value not in c.sides]


def directions(
    found: Sequence[Coordinate], rows: Sequence[int], hessian: np.ndarray
) -> list[Direction]:
    """In which the objective bends without mixing, of some parameters; the others stay.

    Parameters
    ----------
    found : sequence of Coordinate
    rows : sequence of int
        Places of those with room to both sides.
    hessian : (D, D) float
        Gauss and Newton's.
    """
    phi = np.array([c.phi(c.value) for c in found])
    step = np.zeros(len(found))
    step[rows] = [_step(found[i]) for i in rows]
    scale = step[rows]
    _, vectors = np.linalg.eigh(hessian[np.ix_(rows, rows)] * np.outer(scale, scale))
    made = []
    for v in vectors.T:
        far = 1 / np.abs(v).max()
        move, weights = np.zeros(len(found)), np.zeros(len(found))
        move[rows], weights[rows] = scale * v, v / scale
        left, right = (_values(found, phi + sign * far * move) for sign in (-1, 1))
        made.append(Direction(weights, move, left, right, far))
    return made


def _step(of_one: Coordinate) -> float:
    """In φ, what both sides have room for."""
    middle = of_one.phi(of_one.value)
    left, right = (of_one.phi(side) for side in of_one.sides)
    return min(middle - left, right - middle)


def _values(found: Sequence[Coordinate], phi: np.ndarray) -> np.ndarray:
    return np.array([c.back(p) for c, p in zip(found, phi, strict=True)])
