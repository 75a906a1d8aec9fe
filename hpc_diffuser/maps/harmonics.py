"""Smooth functions of direction that a crystal's symmetry lets its data be multiplied by.

Real spherical harmonics of degree 2 and 4, averaged over the Laue class: those of odd degree
change their sign between Friedel mates. Triclinic crystals have fourteen, monoclinic eight, 4/m
four, cubic ones one.
"""

import numpy as np

from hpc_diffuser.crystal.lattice import fractionalization, laue_operations
from hpc_diffuser.system.arrays import Floats

_TOLERANCE = 1e-6  # of a function's length: what is left of it where it is one of the others
_DIRECTIONS = 64  # at which functions are compared: four times as many as there are


def laue_harmonics(s_vectors: Floats, space_group: str, unit_cell: tuple[float, ...]) -> Floats:
    """The independent functions, each 0 on average over all directions: (V, K) float.

    Parameters
    ----------
    s_vectors : (V, 3) float
        Cartesian scattering vectors, of any length; where it is 0 the functions are 0.
    space_group : str
    unit_cell : 6 floats, Å and degrees
    """
    to_fraction = fractionalization(unit_cell)
    operations = laue_operations(space_group, unit_cell)
    turns = np.linalg.inv(to_fraction) @ operations @ to_fraction
    tried = np.random.default_rng(0).normal(size=(_DIRECTIONS, 3))
    kept = _independent(_averaged(tried, turns))
    return _averaged(s_vectors, turns)[:, kept]


def _averaged(vectors: Floats, turns: Floats) -> Floats:
    """All fourteen, averaged over rotations: (V, 14)."""
    total = np.zeros((len(vectors), 14))
    for turn in turns:
        total += _harmonics(vectors @ turn)
    return total / len(turns)


def _independent(values: Floats) -> list[int]:
    """Columns of (D, 14) that are no sums of those before."""
    kept: list[int] = []
    basis = np.empty((len(values), 0))
    for column, value in enumerate(values.T):
        left = value - basis @ (basis.T @ value)
        left -= basis @ (basis.T @ left)
        length = float(np.linalg.norm(left))
        if length > _TOLERANCE * np.sqrt(len(values)):
            kept.append(column)
            basis = np.column_stack([basis, left / length])
    return kept


def _harmonics(vectors: Floats) -> Floats:
    """Five of degree 2 and nine of degree 4 at directions of vectors (V, 3): (V, 14).

    Those that are functions of the angle with z come first, so that they are kept where others
    are sums of them.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    x, y, z = (vectors / np.where(lengths > 0, lengths, 1)[:, None]).T
    xx, yy, zz = x * x, y * y, z * z
    columns = [
        (3 * zz - 1) / 2,
        (35 * zz**2 - 30 * zz + 3) / 8,
        xx - yy,
        x * y,
        x * z,
        y * z,
        xx * (xx - 3 * yy) - yy * (3 * xx - yy),
        x * y * (xx - yy),
        (xx - yy) * (7 * zz - 1),
        x * y * (7 * zz - 1),
        x * z * (7 * zz - 3),
        y * z * (7 * zz - 3),
        x * (xx - 3 * yy) * z,
        y * (3 * xx - yy) * z,
    ]
    found: Floats = np.stack(columns, axis=1) * (lengths > 0)[:, None]
    return found
