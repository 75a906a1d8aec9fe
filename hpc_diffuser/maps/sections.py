"""Central sections of a map that is held as one of each set of Laue mates."""

from itertools import product

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.maps.diffuse_map import inside
from hpc_diffuser.system.arrays import Floats, Integers

_AT_ONCE = 1 << 20  # voxels whose mates are held in memory


def central_sections(
    grid: HklGrid, indices: Integers, values: Floats, operations: Integers, across: int
) -> Floats:
    """Values in the plane through 000 where one of h, k and l is 0, all Laue mates expanded.

    Parameters
    ----------
    grid : HklGrid
    indices : (V, 3) int
        Sample indices, one of each set of mates.
    values : (N, V) float
        Of N maps.
    operations : (G, 3, 3) int
        Laue operations, the negative of each among them.
    across : int
        0 for h = 0, 1 for k = 0, 2 for l = 0.

    Returns
    -------
    (N, ·, ·) float
        Along the two other axes in their order, as in the map's array; NaN where nothing is.
    """
    u, v = in_plane(across)
    shape = grid.shape[u], grid.shape[v]
    planes = np.full((len(values), *shape), np.nan)
    extent = np.array([grid.extent[u], grid.extent[v]])
    for first in range(0, len(indices), _AT_ONCE):
        some = indices[first : first + _AT_ONCE]
        for operation in operations:
            rows = np.flatnonzero(some @ operation[:, across] == 0)
            place = some[rows] @ operation[:, [u, v]] + extent
            there = inside(place, shape)
            i, j = place[there].T
            planes[:, i, j] = values[:, first + rows[there]]
    return planes


def in_plane(across: int) -> tuple[int, int]:
    """The two axes of the section across an axis."""
    return [(1, 2), (0, 2), (0, 1)][across]


def distinct_sections(operations: Integers) -> tuple[int, ...]:
    """Of l = 0, k = 0 and h = 0 (2, 1, 0) those that no Laue operation maps onto one before.

    Parameters
    ----------
    operations : (G, 3, 3) int
        Which take a sample i to i W.
    """
    kept: list[int] = []
    for across in (2, 1, 0):
        if not any(_mapped(across, other, w) for other, w in product(kept, operations)):
            kept.append(across)
    return tuple(kept)


def _mapped(one: int, other: int, operation: Integers) -> bool:
    """Whether an operation takes the section across one axis to that across the other."""
    return not operation[list(in_plane(one)), other].any()
