"""Σ|F|² of densities alone: what the first order in motion is made of.

As `density.add_moments`, without the sums of F, and with its products in the processor's vectors:
they need no matrix copied into another order, and |F|² is added where it is computed.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.density import Planes, Tables, centre_phases, fold
from hpc_diffuser.kernels.vectors import ROW, TILE, add_squares, multiply_tile
from hpc_diffuser.system.arrays import Floats, Integers


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
def sum_squares(
    densities: Floats, tables: Tables, planes: Planes, shares: Integers, sums: Floats
) -> None:
    """Add Σ|F|² over densities to a running sum on all blocks.

    Parameters
    ----------
    densities : (S, x·y·z + TILE[1]) float32
        By `fold_into`, and any finite numbers behind.
    tables, planes, shares
        As of `density.add_moments`.
    sums : (V,) float32
        Changed in place.
    """
    half_z, columns = tables[2].shape[1:]
    width = _whole(columns, ROW)
    along_z = np.zeros((2, half_z, width), np.float32)
    along_z[:, :, :columns] = tables[2]
    for share in prange(len(shares)):
        for b in shares[share]:
            if b >= 0:
                squares = _block_squares(densities, tables, planes, b, along_z)
                _add_block(squares, planes, b, sums)


@njit(cache=True)
def _whole(number: int, unit: int) -> int:
    """The least multiple of a unit that is no smaller."""
    return (number + unit - 1) // unit * unit


@njit(cache=True)
def _block_squares(
    densities: Floats, tables: Tables, planes: Planes, b: int, along_z: Floats
) -> Floats:
    """Σ|F|² on a block: (planes, 4, K+1, ·), with more columns than there are."""
    first, last = planes[0][b], planes[0][b + 1]
    n, rows = last - first, planes[2][first, 0] + 1
    half_y, half_z = tables[1].shape[2], tables[2].shape[1]
    n_yz = 4 * half_y * half_z
    phases = centre_phases(tables, planes, b)
    along_x = _with_whole_tiles(tables[0][:, first:last])
    along_y = _with_whole_tiles(tables[1][:, :rows])
    after_x = np.empty((2, along_x.shape[1], _whole(n_yz, TILE[1])), np.float32)
    parts = np.zeros((2, 2, half_y, _whole(2 * n * half_z, TILE[1])), np.float32)
    after_y = np.empty((2, 2, along_y.shape[1], parts.shape[3]), np.float32)
    squares = np.zeros((n, 4, rows, along_z.shape[2]), np.float32)
    middle = along_x.shape[2] * n_yz
    for s in range(len(densities)):
        _multiply(along_x[0], densities[s, middle:], n_yz, after_x[0])
        _multiply(along_x[1], densities[s], n_yz, after_x[1])
        fold(after_x, phases, parts)
        for y_odd in range(2):
            for z_odd in range(2):
                part = parts[y_odd, z_odd].reshape(-1)
                _multiply(along_y[y_odd], part, parts.shape[3], after_y[y_odd, z_odd])
        _add_rows(after_y, planes, b, along_z, squares)
    return squares


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
