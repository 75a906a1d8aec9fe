"""Slopes of first order along springs and modes, made right for all motion that grows alike.

A CC knows nothing of a map's scale: of motion that grows in proportion it sees only what is of
second order, of which slopes of first order have a part. So steps along that direction would be
several times too long. One difference of maps tells how they change there; the columns of the
Jacobian are corrected by what theirs lack (Broyden 1965, Math. Comput. 19, 577), each by its share
of the atoms' mean square displacement.
"""

from collections.abc import Callable, Iterator

import numpy as np

from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters

STEP = 0.05  # of all φ

Column = tuple[int, np.ndarray]


def corrected(
    columns: list[Column],
    point: np.ndarray,
    shares: dict[int, float],
    calculated: Callable[[np.ndarray], np.ndarray],
) -> Iterator[Column]:
    """The columns, whose sum over φ dI/dφ is that of the maps.

    Parameters
    ----------
    columns : list of (int, (v,) float)
        Of the parameters that grow, all of them amplitudes, by their places: dI/dφ.
    point : (D,) float
    shares : dict of float
        Of each, of the mean square displacement; they add up to 1.
    calculated : callable
        Point (D,) → map (v,).
    """
    places = [i for i, _ in columns]
    ends = []
    for factor in (1 - STEP, 1 + STEP):
        moved = point.copy()
        moved[places] *= np.sqrt(factor)
        ends.append(calculated(moved))
    lacking = (ends[1] - ends[0]) / (2 * STEP)
    for i, column in columns:
        lacking -= point[i] ** 2 * column
    for i, column in columns:
        share = shares[i] / point[i] ** 2 if point[i] else 0.0
        yield i, column + share * lacking


def shares_of_motion(
    modes: Modes, parameters: Parameters, along: dict[int, int], springs: dict[int, int]
) -> dict[int, float]:
    """What each mode and length of springs has of the atoms' mean square displacement.

    Parameters
    ----------
    modes : Modes
        With its lattice.
    parameters : Parameters
    along, springs : dict of int
        Which mode, and which length, is at each place.
    """
    lattice = parameters.lattice
    assert lattice is not None
    lengths = np.atleast_1d(parameters.lattice_spring_A)
    p = displacements(modes.structure.positions, lattice.springs.centre)
    wider = lattice.covariance_slopes(parameters.lattice_spring_A)
    squares = np.einsum("nki,pij,nkj->p", p, wider, p, optimize=True) / len(p)
    # C is homogeneous in the squares of lengths: Σ φ ∂C/∂φ = C.
    moved = {i: float(parameters.mode_amplitudes_A[mode] ** 2) for i, mode in along.items()}
    moved |= {i: float(squares[n] * lengths[n] / 2) for i, n in springs.items()}
    total = sum(moved.values())
    return {i: square / total for i, square in moved.items()}
