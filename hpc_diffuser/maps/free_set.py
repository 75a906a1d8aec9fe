"""Which voxels are never shown to a fit: whole Brillouin zones, or the inside of blocks of them.

Neighbouring voxels are correlated: single random voxels would leak into the working set. Those
at the edge of a free zone still have working neighbours, those inside a block have none.
"""

from collections.abc import Iterable
from itertools import product

import numpy as np

from hpc_diffuser.crystal.lattice import (
    HklGrid,
    canonical_mates,
    centring,
    laue_operations,
    laue_zones,
)
from hpc_diffuser.crystal.symmetry import one_of_each_inverse
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.system.arrays import Integers, Mask
from hpc_diffuser.system.errors import InputError


def free_set(
    indices: Integers, grid: HklGrid, space_group: str, fraction: float, seed: int
) -> Mask:
    """Mask of the voxels in whole Brillouin zones of a random `fraction` of the Bragg peaks.

    A zone's Friedel and Laue mates go with it. Of samples (V, 3) int: (V,) bool.
    """
    crystal = (space_group, grid.unit_cell)
    zones = laue_zones(
        indices, grid.whole_divisions(), laue_operations(*crystal), centring(*crystal)
    )
    unique, zone = np.unique(zones, axis=0, return_inverse=True)
    return _chosen(len(unique), fraction, seed)[zone.reshape(-1)]


def free_blocks(
    indices: Integers, grid: HklGrid, space_group: str, fraction: float, seed: int, size: int
) -> tuple[Mask, Mask]:
    """The free set of blocks, and their rims, which are neither fitted nor scored.

    A block is what lies within `size`/2 of a point whose h, k and l are multiples of `size`: `size`
    zones along each axis, of a primitive lattice. Its inner part ends a whole reciprocal-lattice
    unit before its surface, and before those of its mates, which hexagonal axes do not map onto
    each other. A random `fraction` of the blocks with inner voxels is free, with all Friedel and
    Laue mates.

    Parameters
    ----------
    indices : (V, 3) int
        One of each set of Laue mates.
    grid : HklGrid
    space_group : str
    fraction : float
    seed : int
    size : int
        At least 3.

    Returns
    -------
    free, rim : (V,) bool
        The voxels with a mate in the inner part of a chosen block; the others with a mate in one.

    Raises
    ------
    InputError
        Where the fraction of the blocks is none at all.
    """
    operations = laue_operations(space_group, grid.unit_cell)
    blocks, inner = _blocks(indices, grid, size, operations)
    unique = np.unique(canonical_mates(blocks[inner], operations), axis=0)
    chosen = unique[_chosen(len(unique), fraction, seed)]
    if fraction and not len(chosen):
        raise InputError(
            f"a free fraction of {fraction:g} of the range's {len(unique)} blocks of {size} zones "
            "along h, k and l is none: expected a larger --free-fraction, or a smaller --free-block"
        )
    reach = int(np.abs(blocks @ operations).max(initial=0)) + 1
    table = np.zeros((2 * reach + 1,) * 3, bool)
    table[tuple((chosen @ operations).reshape(-1, 3).T + reach)] = True
    within = np.zeros(len(indices), bool)
    for operation in one_of_each_inverse(operations):
        blocks, _ = _blocks(indices @ operation, grid, size)
        within |= table[tuple(blocks.T + reach)]
    return within & inner, within & ~inner


def touching(indices: Integers, free: Mask, operations: Integers) -> float:
    """Part of the free voxels that have a working one among their 26 neighbours.

    Parameters
    ----------
    indices : (V, 3) int
        One of each set of Laue mates.
    free : (V,) bool
    operations : (G, 3, 3) int
        Laue operations.
    """
    working = indices[~free]
    extent = 1 + np.max([np.abs(indices @ w).max(axis=0) for w in operations], axis=0)
    table = np.zeros(2 * extent + 1, bool)
    for operation in operations:
        table[tuple((working @ operation + extent).T)] = True
    own = indices[free] + extent
    found = np.zeros(len(own), bool)
    for offset in product((-1, 0, 1), repeat=3):
        found |= table[tuple((own + offset).T)]
    return float(found.mean())


def _chosen(n: int, fraction: float, seed: int) -> Mask:
    """Mask (n,) of a random fraction."""
    chosen = np.zeros(n, bool)
    chosen[generator(seed).permutation(n)[: round(fraction * n)]] = True
    return chosen


def _blocks(
    indices: Integers, grid: HklGrid, size: int, operations: Iterable[Integers] = ()
) -> tuple[Integers, Mask]:
    """Of samples (V, 3) the blocks (V, 3), and whether they are inner ones by all operations (V,).

    Samples half-way between two blocks go to the even one, as mates do.
    """
    hkl = indices / np.array(grid.divisions)
    blocks = np.rint(hkl / size).astype(np.int64)
    inner = np.ones(len(hkl), bool)
    for operation in operations:
        away = np.abs((hkl - size * blocks) @ operation).max(axis=1, initial=0)
        inner &= away <= size / 2 - 1 + 1e-9
    return blocks, inner
