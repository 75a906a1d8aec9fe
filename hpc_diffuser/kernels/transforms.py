"""A density's transform along x and y on a block of planes, by products in the processor's vectors.

What moments (`density`), single densities (`squares`) and forces (`density_adjoint`) begin with.
"""

import numpy as np
from numba import njit

from hpc_diffuser.kernels.fused import fused
from hpc_diffuser.kernels.tiles import TILE, multiply_tile
from hpc_diffuser.kernels.vectors import ROW
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

BEHIND = TILE[1]  # numbers behind a density, which rows and tiles may run into

# See `density.add_moments`.
Tables = tuple[Floats, Floats, Floats, float, float]
Planes = tuple[Integers, Integers, Integers, Integers, Integers, Integers]
Waves = tuple[Complexes, Complexes]
Steps = tuple[Floats, Floats, Waves, Floats, Floats]  # see `block_steps`


@njit(cache=True)
def centre_phases(tables: Tables, planes: Planes, b: int) -> Waves:
    """Waves e^{2πi k_c y} and e^{2πi l_c z} of every plane: they move its centre to the origin."""
    first, last = planes[0][b], planes[0][b + 1]
    n_y, n_z = 2 * tables[1].shape[2], 2 * tables[2].shape[1]
    along_y, along_z = (
        np.empty((last - first, n_y), np.complex64),
        np.empty((last - first, n_z), np.complex64),
    )
    for p in range(last - first):
        k_c, l_c = planes[1][first + p]
        for y in range(n_y):
            along_y[p, y] = np.exp(2j * np.pi * k_c * (y - 0.5 * (n_y - 1)) / tables[3])
        for z in range(n_z):
            along_z[p, z] = np.exp(2j * np.pi * l_c * (z - 0.5 * (n_z - 1)) / tables[4])
    return along_y, along_z


@njit(cache=True)
def fold(after_x: Floats, phases: Waves, parts: Floats) -> None:
    """Move each plane's centre to the origin, and separate what is even and odd in y and in z."""
    along_y, along_z = phases
    half_y, half_z = along_y.shape[1] // 2, along_z.shape[1] // 2
    rows = np.empty((2, 2, 2 * half_z), np.float32)
    for plane in range(len(along_y)):
        re = after_x[0, plane, : 4 * half_y * half_z].reshape(2 * half_y, 2 * half_z)
        im = after_x[1, plane, : 4 * half_y * half_z].reshape(2 * half_y, 2 * half_z)
        wave_re, wave_im = along_z[plane].real.copy(), along_z[plane].imag.copy()
        for m in range(half_y):
            for side in range(2):
                y = half_y + m if side == 0 else half_y - 1 - m
                c, s = along_y[plane, y].real, along_y[plane, y].imag
                for z in range(2 * half_z):
                    w_re = fused(c, wave_re[z], -s * wave_im[z])
                    w_im = fused(s, wave_re[z], c * wave_im[z])
                    rows[side, 0, z] = fused(re[y, z], w_re, -im[y, z] * w_im)
                    rows[side, 1, z] = fused(re[y, z], w_im, im[y, z] * w_re)
            for part in range(2):
                above, below = rows[0, part], rows[1, part]
                to = (2 * plane + part) * half_z
                for i in range(half_z):
                    up, down = half_z + i, half_z - 1 - i
                    even_up, even_down = above[up] + below[up], above[down] + below[down]
                    odd_up, odd_down = above[up] - below[up], above[down] - below[down]
                    parts[0, 0, m, to + i] = even_up + even_down
                    parts[0, 1, m, to + i] = even_up - even_down
                    parts[1, 0, m, to + i] = odd_up + odd_down
                    parts[1, 1, m, to + i] = odd_up - odd_down


@njit(cache=True)
def columns_along_z(tables: Tables) -> Floats:
    """Cosines and sines along z (2, half z, ·), the columns filled with zeros to whole rows."""
    half_z, columns = tables[2].shape[1:]
    along_z = np.zeros((2, half_z, whole(columns, ROW)), np.float32)
    along_z[:, :, :columns] = tables[2]
    return along_z


@njit(cache=True)
def block_steps(tables: Tables, planes: Planes, b: int) -> tuple[Steps, Floats]:
    """What a block is transformed with along x and y, room for it, and for what comes of it."""
    first, last = planes[0][b], planes[0][b + 1]
    half_y, half_z = tables[1].shape[2], tables[2].shape[1]
    along_x = with_whole_tiles(tables[0][:, first:last])
    along_y = with_whole_tiles(tables[1][:, : planes[2][first, 0] + 1])
    after_x = np.empty((2, along_x.shape[1], whole(4 * half_y * half_z, TILE[1])), np.float32)
    columns = whole(2 * (last - first) * half_z, TILE[1])
    parts = np.zeros((2, 2, half_y, columns), np.float32)
    after_y = np.empty((2, 2, along_y.shape[1], columns), np.float32)
    return (along_x, along_y, centre_phases(tables, planes, b), after_x, parts), after_y


@njit(cache=True)
def transform_xy(density: Floats, steps: Steps, after_y: Floats) -> None:
    """Transform a density along x and y on one block; each axis a product."""
    along_x, along_y, phases, after_x, parts = steps
    n_yz = phases[0].shape[1] * phases[1].shape[1]
    multiply(along_x[0], density[along_x.shape[2] * n_yz :], n_yz, after_x[0])
    multiply(along_x[1], density, n_yz, after_x[1])
    fold(after_x, phases, parts)
    for y_odd in range(2):
        for z_odd in range(2):
            part = parts[y_odd, z_odd].reshape(-1)
            multiply(along_y[y_odd], part, parts.shape[3], after_y[y_odd, z_odd])


@njit(cache=True)
def with_whole_tiles(table: Floats) -> Floats:
    """A table (2, ·, ·) with rows of zeros behind it, so that they fill tiles."""
    filled = np.zeros((2, whole(table.shape[1], TILE[0]), table.shape[2]), np.float32)
    filled[:, : table.shape[1]] = table
    return filled


@njit(cache=True)
def multiply(left: Floats, right: Floats, width: int, product: Floats) -> None:
    """The product of a matrix (M, N) and one of rows every `width` numbers: (M, columns).

    M and the columns fill whole tiles; the last ones may lie in the next row.
    """
    of, to, n = left.reshape(-1), product.reshape(-1), left.shape[1]
    for column in range(0, product.shape[1], TILE[1]):
        for row in range(0, len(left), TILE[0]):
            to_row = row * product.shape[1] + column
            multiply_tile(to, to_row, product.shape[1], of, row * n, n, right, column, width, n)


@njit(cache=True)
def whole(number: int, unit: int) -> int:
    """The least multiple of a unit that is no smaller."""
    return (number + unit - 1) // unit * unit
