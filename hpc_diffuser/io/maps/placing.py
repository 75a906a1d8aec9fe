"""A file's samples, whatever box they fill, on a grid that is symmetric about 000."""

import math

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, along_hkl
from hpc_diffuser.io.plausible import check_grid, check_numbers
from hpc_diffuser.system.errors import InputError

MOST_DIVISIONS = 1000
MOST_INDEX = 1e5
MOST_VALUE = 1e30  # squares and sums of such are still numbers


def grid_of_axes(
    unit_cell: tuple[float, ...], axes: list[np.ndarray]
) -> tuple[HklGrid, tuple[slice, ...]]:
    """The grid that holds axes of fractional Miller indices, and where they lie on it.

    The place of an axis that descends runs backwards.
    """
    divisions, spans = zip(
        *(_samples(axis, name) for axis, name in zip(axes, "hkl", strict=True)), strict=True
    )
    return grid_of_box(unit_cell, divisions, spans, "axes h, k, l")


def grid_of_box(
    unit_cell: tuple[float, ...],
    divisions: tuple[int, int, int],
    spans: tuple[tuple[int, int], ...],
    what: str,
) -> tuple[HklGrid, tuple[slice, ...]]:
    """The grid that holds a box of samples, and where the box lies on it.

    Parameters
    ----------
    unit_cell : 6 floats, Å and degrees
    divisions : 3 ints
        Samples per reciprocal-lattice unit.
    spans : three pairs of int
        First and last sample along h, k, l; 000 need not be among them. The last may be below
        the first.
    what : str
        For the message: "axes h, k, l".
    """
    extent = along_hkl(max(abs(first), abs(last)) for first, last in spans)
    grid = HklGrid(unit_cell, divisions, extent)
    check_grid(grid.shape, math.prod(abs(last - first) + 1 for first, last in spans), what)
    place = tuple(
        _slice(first + e, last + e) for (first, last), e in zip(spans, extent, strict=True)
    )
    return grid, place


def _slice(first: int, last: int) -> slice:
    """From the first to the last, up or down."""
    if last >= first:
        return slice(first, last + 1)
    return slice(first, last - 1 if last else None, -1)


def embedded(values: np.ndarray, grid: HklGrid, place: tuple[slice, ...]) -> np.ndarray:
    """A box of values on the whole grid, NaN around it: float32."""
    whole = np.full(grid.shape, np.nan, np.float32)
    whole[place] = as_float(values, np.float32)
    return _quiet(whole)


def grid_of_rows(
    unit_cell: tuple[float, ...], divisions: tuple[int, int, int], indices: np.ndarray, what: str
) -> HklGrid:
    """The grid that holds a table's sample indices (V, 3) int.

    Raises
    ------
    InputError
        Where the table is empty, or has a sample twice.
    """
    if not len(indices):
        raise InputError(f"{what}: there are none")
    check_numbers(indices, what, MOST_INDEX * MOST_DIVISIONS)
    spans = tuple(zip(indices.min(axis=0).tolist(), indices.max(axis=0).tolist(), strict=True))
    extent = along_hkl(max(abs(first), abs(last)) for first, last in spans)
    grid = HklGrid(unit_cell, divisions, extent)
    check_grid(grid.shape, len(indices), what)
    places = np.ravel_multi_index(tuple((indices + np.array(extent)).T), grid.shape)
    if len(np.unique(places)) < len(places):
        raise InputError(f"{what}: some come twice: expected each once")
    return grid


def scattered(values: np.ndarray, grid: HklGrid, indices: np.ndarray) -> np.ndarray:
    """A table's values (V,) on the grid, NaN elsewhere: float32."""
    whole = np.full(grid.shape, np.nan, np.float32)
    whole[tuple((indices + np.array(grid.extent)).T)] = as_float(values, np.float32)
    return _quiet(whole)


def _quiet(values: np.ndarray) -> np.ndarray:
    """The same, every NaN the usual one: others, of damaged files, warn where they are used."""
    values[np.isnan(values)] = np.nan
    return values


def as_float(values: np.ndarray, dtype: type) -> np.ndarray:
    """Numbers in another precision; a damaged file's signalling NaN is a NaN, without a warning."""
    with np.errstate(invalid="ignore"):
        return values.astype(dtype, copy=False)


def check_values(values: np.ndarray, name: str, expected: tuple[int, ...]) -> None:
    """Raise InputError unless these are as many numbers as the axes have points, all believable."""
    if values.dtype.kind not in "iuf":
        raise InputError(f"{name}: expected numbers, found text")
    if values.shape != expected:
        raise InputError(
            f"{name} has shape {values.shape}, but its axes h, k, l have {expected} points"
        )
    # NaN is a masked voxel; infinite ones are refused where a target is made or read.
    finite = np.isfinite(values)
    least, most = (float(f(values, where=finite, initial=0)) for f in (np.min, np.max))
    if max(most, -least) > MOST_VALUE:
        raise InputError(f"{name} holds numbers beyond {MOST_VALUE:g}: the file is damaged")


def _samples(axis: np.ndarray, name: str) -> tuple[int, tuple[int, int]]:
    """Samples per reciprocal-lattice unit along an axis, up or down; its first and last index."""
    expected = f"axis {name}: expected equal steps of 1/n that pass through 0"
    if axis.ndim != 1 or len(axis) < 2:
        raise InputError(f"{expected}, found an array of shape {axis.shape}")
    check_numbers(axis, f"axis {name}", MOST_INDEX)
    step = abs(float(axis[-1]) - float(axis[0])) / (len(axis) - 1)
    n = round(1 / step) if step > 0.5 / MOST_DIVISIONS else 0
    if n < 1 or not np.allclose(axis * n, np.rint(axis * n), atol=1e-2):
        raise InputError(f"{expected}, found {axis[0]:g}, {axis[1]:g} ... {axis[-1]:g}")
    indices = np.rint(axis * n).astype(int)
    if (np.diff(indices) != np.sign(indices[-1] - indices[0])).any():
        raise InputError(f"{expected}, found steps of {np.unique(np.diff(indices)) / n}")
    return n, (int(indices[0]), int(indices[-1]))
