"""Rigid motions ξ = (t, ω): a translation in Å and a rotation about a centre in radians.

A point p moves by u = t + ω × (p − c), to first order in ω.
"""

import numpy as np

from hpc_diffuser.system.arrays import Floats


def cross_matrix(vectors: Floats) -> Floats:
    """[v] with [v] w = v × w: (..., 3, 3) of vectors (..., 3)."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def displacements(points: Floats, centre: Floats) -> Floats:
    """P with u = P ξ at each point: (..., 3, 6) of points (..., 3) in Å."""
    turned = -cross_matrix(points - centre)
    still = np.broadcast_to(np.eye(3), turned.shape)
    return np.concatenate([still, turned], axis=-1)


def moved_centre(shift: Floats) -> Floats:
    """(6, 6): the same motion about a centre that lies by `shift` (3,) Å from the old one."""
    moved = np.eye(6)
    moved[:3, 3:] = -cross_matrix(shift)
    return moved


def turned(turn: Floats) -> Floats:
    """(6, 6): a motion as it is after a rotation, or an inversion, of all (3, 3).

    ω is an axial vector: a reflection turns it around.
    """
    both = np.zeros((6, 6))
    both[:3, :3], both[3:, 3:] = turn, np.round(np.linalg.det(turn)) * turn
    return both


def atom_covariances(covariance: Floats, positions: Floats, centre: Floats) -> Floats:
    """U_a = P_a C P_aᵀ of atoms of a body whose motion has the covariance C: (N, 3, 3) Å².

    Parameters
    ----------
    covariance : (6, 6) float
        ⟨ξ ξᵀ⟩ in Å², Å and 1.
    positions : (N, 3) float, Å
    centre : (3,) float, Å
    """
    p = displacements(positions, centre)
    covariances: Floats = p @ covariance @ p.swapaxes(1, 2)
    return covariances
