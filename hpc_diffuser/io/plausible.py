"""What no real file holds: numbers that are finite, but that computing with would explode."""

import math

import numpy as np

from hpc_diffuser.crystal.lattice import check_unit_cell
from hpc_diffuser.system.errors import InputError

MOST_EDGE_A = 1e4  # the largest cells known are of viruses, some 1500 Å
MOST_COORDINATE_A = 1e5
MOST_POINTS = 1 << 31  # of a grid: 8 GB in single precision
_MOST_NAME = 40  # letters


def check_crystal(unit_cell: tuple[float, ...], space_group: str, where: str) -> None:
    """Raise InputError unless the cell is possible and the space group's name can be one."""
    check_unit_cell(unit_cell, where)
    if not all(0.1 <= edge <= MOST_EDGE_A for edge in unit_cell[:3]):
        raise InputError(
            f"{where}: expected edges up to {MOST_EDGE_A:g} Å, found {list(unit_cell)}"
        )
    if not (space_group.isascii() and space_group.isprintable()) or len(space_group) > _MOST_NAME:
        raise InputError(f'{where}: expected a space group like "P 21", found {space_group!r:.60}')


def check_numbers(values: np.ndarray, what: str, most: float = MOST_COORDINATE_A) -> None:
    """Raise InputError unless an array holds finite numbers no farther from 0 than `most`."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"{what}: expected numbers, found text")
    if not np.isfinite(values).all():
        raise InputError(f"{what} holds NaN or infinite numbers")
    if values.size and max(float(values.max()), -float(values.min())) > most:
        raise InputError(f"{what} holds numbers beyond {most:g}: the file is damaged")


def check_names(names: np.ndarray, what: str) -> None:
    """Raise InputError unless every text is short printable ASCII, as PDB files can hold it."""
    if names.dtype.kind != "U":
        raise InputError(f"{what}: expected text, found numbers")
    for name in np.unique(names).tolist():
        if not (name.isascii() and name.isprintable()) or len(name) > _MOST_NAME:
            raise InputError(f"{what}: expected short names in ASCII, found {name!r:.60}")


def check_grid(shape: tuple[int, ...], n_stored: int, what: str) -> None:
    """Raise InputError where a grid has more points than memory, or the data in it, account for.

    Parameters
    ----------
    shape : 3 ints
    n_stored : int
        Numbers that a file gives for it: it may be an octant of the grid, and a part of that.
    what : str
    """
    points = math.prod(shape)
    if points > min(MOST_POINTS, max(1 << 24, 1000 * n_stored)):
        raise InputError(
            f"{what}: a grid of {' x '.join(map(str, shape))} points for {n_stored} numbers"
        )
