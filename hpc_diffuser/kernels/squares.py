"""Structure factors of densities, and Σ|F|² alone: what the first order in motion is made of.

As `density.add_moments`, without the sums of both, and with products in the processor's vectors:
they need no matrix copied into another order, and |F|² is added where it is computed.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.density import Planes, Tables, Waves, centre_phases, fold
from hpc_diffuser.kernels.rounding import rounded
from hpc_diffuser.kernels.vectors import ROW, TILE, add_squares, multiply_tile, put_waves
from hpc_diffuser.system.arrays import Floats, Integers

Steps = tuple[Floats, Floats, Waves, Floats, Floats]  # see `_block_steps`


@njit(cache=True)
def fold_into(density: Floats, n_x: int, n_yz: int, into: Floats) -> None:
    """As `density.fold_x`, of one density, into another array."""
    for below in range(n_x // 2):
        low = density[below * n_yz : (below + 1) * n_yz]
        high = density[(n_x - 1 - below) * n_yz : (n_x - below) * n_yz]
        odd = into[below * n_yz : (below + 1) * n_yz]
        even = into[(n_x - 1 - below) * n_yz : (n_x - below) * n_yz]
        for i in range(n_yz):
            odd[i] = high[i] - low[i]
        for i in range(n_yz):
            even[i] = high[i] + low[i]


@njit(cache=True, parallel=True)
def add_square(
    density: Floats,
    tables: Tables,
    planes: Planes,
    shares: Integers,
    sharpen: Floats,
    large: float,
    sums: Floats,
) -> None:
    """Add |F|² of a density, sharpened and rounded, to a running sum on all blocks.

    One density at a time: it is read once for every block, and stays in cache.

    Parameters
    ----------
    density : (x·y·z + TILE[1],) float32
        By `fold_into`, and any finite numbers behind.
    tables, planes, shares
        As of `density.add_moments`.
    sharpen : (V,) float32
        What F is the density's transform times.
    large : float
        See `rounding`.
    sums : (V,) float64
        Changed in place.
    """
    along_z = _along_z(tables)
    for share in prange(len(shares)):
        for b in shares[share]:
            if b >= 0:
                steps, after_y = _block_steps(tables, planes, b)
                squares = _block_rows(planes, b, along_z)
                _transform_xy(density, steps, after_y)
                _add_rows(after_y, planes, b, along_z, squares)
                _add_rounded(squares, planes, b, sharpen, large, sums)


@njit(cache=True, parallel=True)
def structure_factors(
    density: Floats,
    tables: Tables,
    planes: Planes,
    shares: Integers,
    real: Floats,
    imaginary: Floats,
) -> None:
    """F of a density on all blocks.

    Parameters
    ----------
    density, tables, planes, shares
        As of `add_square`.
    real, imaginary : (V,) float32
        0 before.
    """
    along_z = _along_z(tables)
    for share in prange(len(shares)):
        for b in shares[share]:
            if b >= 0:
                steps, after_y = _block_steps(tables, planes, b)
                parts = _block_rows(planes, b, along_z), _block_rows(planes, b, along_z)
                _transform_xy(density, steps, after_y)
                _put_rows(after_y, planes, b, along_z, *parts)
                _add_block(parts[0], planes, b, real)
                _add_block(parts[1], planes, b, imaginary)


@njit(cache=True)
def _along_z(tables: Tables) -> Floats:
    """Cosines and sines along z (2, half z, ·), the columns filled with zeros to whole rows."""
    half_z, columns = tables[2].shape[1:]
    along_z = np.zeros((2, half_z, _whole(columns, ROW)), np.float32)
    along_z[:, :, :columns] = tables[2]
    return along_z


@njit(cache=True)
def _whole(number: int, unit: int) -> int:
    """The least multiple of a unit that is no smaller."""
    return (number + unit - 1) // unit * unit


@njit(cache=True)
def _block_steps(tables: Tables, planes: Planes, b: int) -> tuple[Steps, Floats]:
    """What a block is transformed with along x and y, room for it, and for what comes of it."""
    first, last = planes[0][b], planes[0][b + 1]
    half_y, half_z = tables[1].shape[2], tables[2].shape[1]
    along_x = _with_whole_tiles(tables[0][:, first:last])
    along_y = _with_whole_tiles(tables[1][:, : planes[2][first, 0] + 1])
    after_x = np.empty((2, along_x.shape[1], _whole(4 * half_y * half_z, TILE[1])), np.float32)
    columns = _whole(2 * (last - first) * half_z, TILE[1])
    parts = np.zeros((2, 2, half_y, columns), np.float32)
    after_y = np.empty((2, 2, along_y.shape[1], columns), np.float32)
    return (along_x, along_y, centre_phases(tables, planes, b), after_x, parts), after_y


@njit(cache=True)
def _block_rows(planes: Planes, b: int, along_z: Floats) -> Floats:
    """Zeros for a block's planes, quadrants, rows and more columns than there are."""
    first, last = planes[0][b], planes[0][b + 1]
    return np.zeros((last - first, 4, planes[2][first, 0] + 1, along_z.shape[2]), np.float32)


@njit(cache=True)
def _transform_xy(density: Floats, steps: Steps, after_y: Floats) -> None:
    """Transform a density along x and y on one block; see `density.transform_xy`."""
    along_x, along_y, phases, after_x, parts = steps
    n_yz = phases[0].shape[1] * phases[1].shape[1]
    _multiply(along_x[0], density[along_x.shape[2] * n_yz :], n_yz, after_x[0])
    _multiply(along_x[1], density, n_yz, after_x[1])
    fold(after_x, phases, parts)
    for y_odd in range(2):
        for z_odd in range(2):
            part = parts[y_odd, z_odd].reshape(-1)
            _multiply(along_y[y_odd], part, parts.shape[3], after_y[y_odd, z_odd])


@njit(cache=True)
def _with_whole_tiles(table: Floats) -> Floats:
    """A table (2, ·, ·) with rows of zeros behind it, so that they fill tiles."""
    filled = np.zeros((2, _whole(table.shape[1], TILE[0]), table.shape[2]), np.float32)
    filled[:, : table.shape[1]] = table
    return filled


@njit(cache=True)
def _multiply(left: Floats, right: Floats, width: int, product: Floats) -> None:
    """The product of a matrix (M, N) and one of rows every `width` numbers: (M, columns).

    M and the columns fill whole tiles; the last ones may lie in the next row.
    """
    of, to, n = left.reshape(-1), product.reshape(-1), left.shape[1]
    for column in range(0, product.shape[1], TILE[1]):
        for row in range(0, len(left), TILE[0]):
            to_row = row * product.shape[1] + column
            multiply_tile(to, to_row, product.shape[1], of, row * n, n, right, column, width, n)


@njit(cache=True)
def _add_rows(after_y: Floats, planes: Planes, b: int, along_z: Floats, squares: Floats) -> None:
    """Transform one density along z on a block, as far as its rows reach, and add its |F|²."""
    first, (n, _, rows, width) = planes[0][b], squares.shape
    half_z = along_z.shape[1]
    reaches = planes[4][planes[5][first] : planes[5][first + 1]]
    halves, table, to = after_y.reshape(-1), along_z.reshape(-1), squares.reshape(-1)
    parity, odd = after_y.shape[2] * after_y.shape[3], half_z * width
    for k in range(rows):
        for plane in range(n):
            i, j = (4 * plane * rows + k) * width, k * after_y.shape[3] + 2 * plane * half_z
            for c in range(0, reaches[k] + 1, ROW):
                add_squares(
                    to, i + c, rows * width, halves, j, parity, table, c, odd, width, half_z
                )


@njit(cache=True)
def _put_rows(
    after_y: Floats, planes: Planes, b: int, along_z: Floats, real: Floats, imaginary: Floats
) -> None:
    """The same with F itself; see `_add_rows`."""
    first, (n, _, rows, width) = planes[0][b], real.shape
    half_z = along_z.shape[1]
    reaches = planes[4][planes[5][first] : planes[5][first + 1]]
    halves, table = after_y.reshape(-1), along_z.reshape(-1)
    to_real, to_imaginary = real.reshape(-1), imaginary.reshape(-1)
    parity, odd = after_y.shape[2] * after_y.shape[3], half_z * width
    for k in range(rows):
        for plane in range(n):
            i, j = (4 * plane * rows + k) * width, k * after_y.shape[3] + 2 * plane * half_z
            for c in range(0, reaches[k] + 1, ROW):
                to = i + c
                put_waves(
                    to_real,
                    to_imaginary,
                    to,
                    rows * width,
                    halves,
                    j,
                    parity,
                    table,
                    c,
                    odd,
                    width,
                    half_z,
                )


@njit(cache=True)
def _add_block(squares: Floats, planes: Planes, b: int, sums: Floats) -> None:
    """Add a block's squares (n, 4, K+1, ·) where they lie among all values."""
    first = planes[0][b]
    rows, columns = planes[2][first, 0] + 1, planes[2][first, 1] + 1
    reaches = planes[4][planes[5][first] : planes[5][first + 1]]
    for plane in range(len(squares)):
        for quadrant in range(4):
            for k in range(rows):
                start = planes[3][first + plane] + (quadrant * rows + k) * columns
                of = squares[plane, quadrant, k]
                row = sums[start : start + reaches[k] + 1]
                for i in range(len(row)):
                    row[i] += of[i]


@njit(cache=True)
def _add_rounded(
    squares: Floats, planes: Planes, b: int, sharpen: Floats, large: float, sums: Floats
) -> None:
    """The same of sharpened squares, each of which is rounded."""
    first = planes[0][b]
    rows, columns = planes[2][first, 0] + 1, planes[2][first, 1] + 1
    reaches = planes[4][planes[5][first] : planes[5][first + 1]]
    for plane in range(len(squares)):
        for quadrant in range(4):
            for k in range(rows):
                start = planes[3][first + plane] + (quadrant * rows + k) * columns
                row, of = sums[start : start + reaches[k] + 1], squares[plane, quadrant, k]
                factor = sharpen[start : start + reaches[k] + 1]
                for i in range(len(row)):
                    twice = np.float64(factor[i]) * factor[i]
                    row[i] += rounded(np.float64(of[i]) * twice, large)
