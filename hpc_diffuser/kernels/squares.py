"""Structure factors of densities, and Σ|F|² alone: what the first order in motion is made of.

As `density.add_moments`, without the sums of both: |F|² is added where it is computed.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.rounding import rounded
from hpc_diffuser.kernels.transforms import (
    Planes,
    Tables,
    block_steps,
    columns_along_z,
    transform_xy,
)
from hpc_diffuser.kernels.vectors import ROW, add_squares, put_waves
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
    density : (x·y·z + BEHIND,) float32
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
    along_z = columns_along_z(tables)
    for share in prange(len(shares)):
        for b in shares[share]:
            if b >= 0:
                steps, after_y = block_steps(tables, planes, b)
                squares = _block_rows(planes, b, along_z)
                transform_xy(density, steps, after_y)
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
    along_z = columns_along_z(tables)
    for share in prange(len(shares)):
        for b in shares[share]:
            if b >= 0:
                steps, after_y = block_steps(tables, planes, b)
                parts = _block_rows(planes, b, along_z), _block_rows(planes, b, along_z)
                transform_xy(density, steps, after_y)
                _put_rows(after_y, planes, b, along_z, *parts)
                _add_block(parts[0], planes, b, real)
                _add_block(parts[1], planes, b, imaginary)


@njit(cache=True)
def _block_rows(planes: Planes, b: int, along_z: Floats) -> Floats:
    """Zeros for a block's planes, quadrants, rows and more columns than there are."""
    first, last = planes[0][b], planes[0][b + 1]
    return np.zeros((last - first, 4, planes[2][first, 0] + 1, along_z.shape[2]), np.float32)


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
