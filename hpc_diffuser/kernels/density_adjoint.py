"""The adjoint of `density`: what moving the atoms of a drawn density does to a sum over its F.

`density` goes from atoms to a density, by matrix products along x, y and z to F. Here the same
steps are gone back, each transposed: from the objective's derivative by F along z, y and x to that
by the density, block of planes by block, and from there to forces on the atoms, as what is drawn is
a function of their positions.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.density import (
    DEGREE,
    ROW,
    Atoms,
    Shapes,
)
from hpc_diffuser.kernels.fused import fused, lanes_dot
from hpc_diffuser.kernels.transforms import Planes, Tables, Waves, centre_phases, fold
from hpc_diffuser.system.arrays import Floats, Integers

TILE = 8  # rows of k per last product: prunes columns, and its results stay in cache

Buffers = tuple[Floats, Floats, Floats, Floats]


@njit(cache=True, parallel=True)
def pull_back(
    sample_weights: Floats,
    densities: Floats,
    tables: Tables,
    planes: Planes,
    shares: Integers,
    pulls: Floats,
    pulled: Floats,
) -> None:
    """Derivatives, by each density, of an objective that F pulls at by w (κ F + c).

    Parameters
    ----------
    sample_weights, densities, tables, planes, shares
        As of `density.add_moments`: densities that are folded in x.
    pulls : (3, V) float32
        κ and the real and imaginary part of c, at every stored value; 0 where none is a voxel.
    pulled : (B, S, x·y·z + BEHIND) float32
        Of each block's part of the objective, by densities that are not folded: overwritten.
    """
    for share in prange(len(shares)):
        for b in shares[share]:
            if b < 0:
                continue
            buffers = block_buffers(len(densities), tables, planes, b)
            transform_xy(densities, tables, planes, b, buffers)
            _back_along_z(sample_weights, tables, planes, b, buffers, pulls)
            _back_along_xy(tables, planes, b, buffers, pulled[b])


@njit(cache=True)
def block_buffers(n_samples: int, tables: Tables, planes: Planes, b: int) -> Buffers:
    """Intermediate results of a block: after x, folded in y and z; of all samples after y, z."""
    first, n = planes[0][b], planes[0][b + 1] - planes[0][b]
    rows, columns = planes[2][first, 0] + 1, planes[2][first, 1] + 1
    half_y, half_z = tables[1].shape[2], tables[2].shape[1]
    after_x = np.empty((2, n, 4 * half_y * half_z), np.float32)
    parts = np.empty((2, 2, half_y, 2 * n * half_z), np.float32)
    after_y = np.empty((n_samples, 2, 2, rows, 2 * n * half_z), np.float32)
    after_z = np.empty((n_samples, 2, 2, TILE * 2 * n * columns), np.float32)
    return after_x, parts, after_y, after_z


@njit(cache=True)
def transform_xy(
    densities: Floats, tables: Tables, planes: Planes, b: int, buffers: Buffers
) -> None:
    """Transform densities along x and y on one block: `after_y` of all samples."""
    after_x, parts, after_y, _ = buffers
    phases = centre_phases(tables, planes, b)
    first, last = planes[0][b], planes[0][b + 1]
    half_x, rows = tables[0].shape[2], after_y.shape[3]
    for s in range(len(densities)):
        density = densities[s, : 2 * half_x * after_x.shape[2]].reshape(2 * half_x, -1)
        np.dot(tables[0][0, first:last], density[half_x:], after_x[0])
        np.dot(tables[0][1, first:last], density[:half_x], after_x[1])
        fold(after_x, phases, parts)
        for y_odd in range(2):
            for z_odd in range(2):
                np.dot(tables[1][y_odd, :rows], parts[y_odd, z_odd], after_y[s, y_odd, z_odd])


@njit(cache=True)
def _back_along_z(
    sample_weights: Floats, tables: Tables, planes: Planes, b: int, buffers: Buffers, pulls: Floats
) -> None:
    """Derivatives by `after_y`, in its place: tile by tile to F, to its pull, and back again."""
    _, _, after_y, after_z = buffers
    first, last = planes[0][b], planes[0][b + 1]
    n, rows, columns = last - first, after_y.shape[3], planes[2][first, 1] + 1
    reaches = planes[4][planes[5][first] : planes[5][first + 1]]
    starts = np.empty(4, np.int64)
    for top in range(0, rows, TILE):
        n_rows = min(TILE, rows - top)
        n_columns = reaches[top : top + n_rows].max() + 1
        if n_columns == 0:
            after_y[:, :, :, top : top + n_rows] = 0
            continue
        _multiply_along_z(tables[2], after_y, after_z, (top, n_rows, n_columns), False)
        for plane in range(n):
            for k in range(n_rows):
                place = (k * n + plane) * 2 * n_columns
                for quadrant in range(4):
                    starts[quadrant] = quadrant * rows + top + k
                starts[:] = planes[3][first + plane] + starts * columns
                n_inside = reaches[top + k] + 1
                for s in range(len(after_y)):
                    w = sample_weights[s]
                    _pull_row(w, after_z[s], place, n_columns, n_inside, pulls, starts)
        _multiply_along_z(tables[2], after_y, after_z, (top, n_rows, n_columns), True)


@njit(cache=True)
def _multiply_along_z(
    table: Floats, after_y: Floats, after_z: Floats, tile: tuple[int, int, int], back: bool
) -> None:
    """The products along z of a tile of rows of every sample, or the transposed ones back.

    A tile is its first row, how many there are, and how many columns.
    """
    (top, n_rows, n_columns), half_z = tile, table.shape[1]
    size = n_rows * after_y.shape[4] // half_z
    for z_odd in range(2):
        along_z = table[z_odd, :, :n_columns].copy()
        for s in range(len(after_y)):
            for y_odd in range(2):
                left = after_y[s, y_odd, z_odd, top : top + n_rows].reshape(size, half_z)
                out = after_z[s, y_odd, z_odd, : size * n_columns].reshape(size, n_columns)
                if back:
                    np.dot(out, along_z.T, left)
                else:
                    np.dot(left, along_z, out)


@njit(cache=True)
def _pull_row(
    w: float,
    products: Floats,
    first: int,
    n_columns: int,
    n_inside: int,
    pulls: Floats,
    starts: Integers,
) -> None:
    """Derivatives by the eight products of the rows (±k, ±l), in their place; see `_sum_row`."""
    for i in range(n_inside):
        re, im = first + i, first + n_columns + i
        cc, cs = products[0, 0, re], products[0, 1, re]
        sc, ss = products[1, 0, re], products[1, 1, re]
        icc, ics = products[0, 0, im], products[0, 1, im]
        isc, iss = products[1, 0, im], products[1, 1, im]
        a, b, c, d = cc - ss, cc + ss, ics + isc, ics - isc
        e, f, g, h = icc - iss, icc + iss, cs + sc, cs - sc
        v = starts[0] + i
        r0 = w * (pulls[0, v] * (a - c) + pulls[1, v])
        i0 = w * (pulls[0, v] * (e + g) + pulls[2, v])
        v = starts[1] + i
        r1 = w * (pulls[0, v] * (b + d) + pulls[1, v])
        i1 = w * (pulls[0, v] * (f - h) + pulls[2, v])
        v = starts[2] + i
        r2 = w * (pulls[0, v] * (b - d) + pulls[1, v])
        i2 = w * (pulls[0, v] * (f + h) + pulls[2, v])
        v = starts[3] + i
        r3 = w * (pulls[0, v] * (a + c) + pulls[1, v])
        i3 = w * (pulls[0, v] * (e - g) + pulls[2, v])
        a, b, c, d = r0 + r3, r1 + r2, r3 - r0, r1 - r2
        e, f, g, h = i0 + i3, i1 + i2, i0 - i3, i2 - i1
        products[0, 0, re], products[1, 1, re] = a + b, b - a
        products[0, 1, re], products[1, 0, re] = g + h, g - h
        products[0, 0, im], products[1, 1, im] = e + f, f - e
        products[0, 1, im], products[1, 0, im] = c + d, c - d
    for i in range(n_inside, n_columns):
        for y_odd in range(2):
            for z_odd in range(2):
                products[y_odd, z_odd, first + i] = 0
                products[y_odd, z_odd, first + n_columns + i] = 0


@njit(cache=True)
def _back_along_xy(
    tables: Tables, planes: Planes, b: int, buffers: Buffers, pulled: Floats
) -> None:
    """From derivatives by `after_y` to those by the density, of every sample: (S, ·)."""
    after_x, parts, after_y, _ = buffers
    phases = centre_phases(tables, planes, b)
    first, last = planes[0][b], planes[0][b + 1]
    half_x, rows = tables[0].shape[2], after_y.shape[3]
    n_yz = after_x.shape[2]
    for s in range(len(after_y)):
        for y_odd in range(2):
            for z_odd in range(2):
                along_y = tables[1][y_odd, :rows]
                np.dot(along_y.T, after_y[s, y_odd, z_odd], parts[y_odd, z_odd])
        _unfold(parts, phases, after_x)
        half = half_x * n_yz
        low = pulled[s, :half].reshape(half_x, n_yz)
        high = pulled[s, half : 2 * half].reshape(half_x, n_yz)
        np.dot(tables[0][0, first:last].T, after_x[0], high)
        np.dot(tables[0][1, first:last].T, after_x[1], low)
        for below in range(half_x):
            up, down = high[half_x - 1 - below], low[below]
            for i in range(n_yz):
                even, odd = up[i], down[i]
                up[i], down[i] = even + odd, even - odd
        pulled[s, 2 * half :] = 0


@njit(cache=True)
def _unfold(parts: Floats, phases: Waves, after_x: Floats) -> None:
    """The transpose of `density._fold`."""
    along_y, along_z = phases
    half_y, half_z = along_y.shape[1] // 2, along_z.shape[1] // 2
    rows = np.empty((2, 2, 2 * half_z), np.float32)
    for plane in range(len(along_y)):
        re = after_x[0, plane].reshape(2 * half_y, 2 * half_z)
        im = after_x[1, plane].reshape(2 * half_y, 2 * half_z)
        wave_re, wave_im = along_z[plane].real.copy(), along_z[plane].imag.copy()
        for m in range(half_y):
            for part in range(2):
                above, below = rows[0, part], rows[1, part]
                at = (2 * plane + part) * half_z
                for i in range(half_z):
                    up, down = half_z + i, half_z - 1 - i
                    even, odd = parts[0, 0, m, at + i], parts[1, 0, m, at + i]
                    even_z, odd_z = parts[0, 1, m, at + i], parts[1, 1, m, at + i]
                    above[up] = (even + even_z) + (odd + odd_z)
                    above[down] = (even - even_z) + (odd - odd_z)
                    below[up] = (even + even_z) - (odd + odd_z)
                    below[down] = (even - even_z) - (odd - odd_z)
            for side in range(2):
                y = half_y + m if side == 0 else half_y - 1 - m
                c, s = along_y[plane, y].real, along_y[plane, y].imag
                for z in range(2 * half_z):
                    w_re = c * wave_re[z] - s * wave_im[z]
                    w_im = s * wave_re[z] + c * wave_im[z]
                    re[y, z] = rows[side, 0, z] * w_re + rows[side, 1, z] * w_im
                    im[y, z] = rows[side, 1, z] * w_re - rows[side, 0, z] * w_im


@njit(cache=True, parallel=True)
def gather(
    steps: Floats,
    atoms: Atoms,
    shapes: Shapes,
    dimming: Floats,
    box: Integers,
    pulled: Floats,
    forces: Floats,
) -> None:
    """What atoms feel of derivatives by their density, from each block of planes.

    Parameters
    ----------
    steps, atoms, shapes
        See `density.draw`.
    dimming : (E, DEGREE) float32, or (0, DEGREE)
        Coefficients, like the shapes', of what a shape changes by with its atom's B-factor.
    box : (3,) int
        Grid points.
    pulled : (B, S, x·y·z + BEHIND) float32
        See `pull_back`.
    forces : (B, S, N, 4) float64
        Derivatives by the positions in steps, and last by the B-factor: overwritten.
    """
    for own in prange(len(steps)):
        s = np.int64(own)  # of one type in every pass: else what it is given to is compiled twice
        for a in range(steps.shape[1]):
            _gather_atom(steps, s, a, atoms, shapes, dimming, box, pulled, forces)


@njit(cache=True)
def _gather_atom(
    steps: Floats,
    s: np.int64,
    a: int,
    atoms: Atoms,
    shapes: Shapes,
    dimming: Floats,
    box: Integers,
    pulled: Floats,
    forces: Floats,
) -> None:
    """The same of atom a in configuration s.

    With ρ = p(v), v = 1 − ΔᵀMΔ and Δ from the atom to a point, ∂ρ/∂r = 2 p'(v) MΔ.
    """
    m, reach = shapes[1], shapes[2]
    places, first = np.empty(3), np.empty(3, np.int64)
    for c in range(3):
        places[c] = steps[s, a, c] + 0.5 * (box[c] - 1)
        first[c] = int(np.ceil(places[c] - reach))
    derivative, dimmed = _derivatives(atoms[0][a], atoms[1][a], shapes[0], dimming)
    row = np.zeros((3, ROW), np.float32)
    own = row.reshape(-1)
    start = np.float32(first[2] - places[2])
    sums = np.zeros((pulled.shape[0], 4))
    whole, size = pulled.reshape(-1), pulled.shape[1] * pulled.shape[2]
    for i in range(first[0], int(np.floor(places[0] + reach)) + 1):
        dx = np.float32(i - places[0])
        for j in range(first[1], int(np.floor(places[1] + reach)) + 1):
            dy = np.float32(j - places[1])
            both = np.float32(2) * m[0, 1] * dx * dy
            top = np.float32(1) - m[0, 0] * dx * dx - both - m[1, 1] * dy * dy
            across = m[0, 2] * dx + m[1, 2] * dy
            if top * m[2, 2] + across * across <= 0:
                continue
            _polynomial(row[0], top, across, m[2, 2], start, derivative)
            if len(dimming):
                _polynomial(row[2], top, across, m[2, 2], start, dimmed)
            for n in range(ROW):
                row[1, n] = row[0, n] * (start + np.float32(n))
            at = s * pulled.shape[2] + (i * box[1] + j) * box[2] + first[2]
            _add_products(sums, own, whole, at, size, dx, dy, len(dimming) > 0)
    for b in range(len(sums)):
        for c in range(3):
            products = m[c, 0] * sums[b, 0] + m[c, 1] * sums[b, 1] + m[c, 2] * sums[b, 2]
            forces[b, s, a, c] = products
        forces[b, s, a, 3] = sums[b, 3]


@njit(cache=True)
def _derivatives(
    kind: int, occupancy: float, coefficients: Floats, dimming: Floats
) -> tuple[Floats, Floats]:
    """Coefficients of 2 p'(v), and of what p changes by with the B-factor: (DEGREE + 1,) each."""
    derivative, dimmed = np.zeros(DEGREE + 1, np.float32), np.zeros(DEGREE + 1, np.float32)
    for c in range(DEGREE):
        derivative[c] = 2 * (c + 1) * occupancy * coefficients[kind, c]
        if len(dimming):
            dimmed[c + 1] = occupancy * dimming[kind, c]
    return derivative, dimmed


@njit(cache=True)
def _polynomial(
    row: Floats, top: float, across: float, m_zz: float, start: np.float32, c: Floats
) -> None:
    """Σ_j c_j vʲ, j = 0, ..., DEGREE, along a row; 0 where v < 0."""
    c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
    c4, c5, c6, c7 = c[4], c[5], c[6], c[7]
    c8, c9, c10, c11, c12 = c[8], c[9], c[10], c[11], c[12]
    for n in range(ROW):
        dz = start + np.float32(n)
        v = fused(-dz, fused(m_zz, dz, np.float32(2) * across), top)
        inside = v > np.float32(0)
        v = v if inside else np.float32(0)
        value = fused(c12, v, c11)
        value = fused(value, v, c10)
        value = fused(value, v, c9)
        value = fused(value, v, c8)
        value = fused(value, v, c7)
        value = fused(value, v, c6)
        value = fused(value, v, c5)
        value = fused(value, v, c4)
        value = fused(value, v, c3)
        value = fused(value, v, c2)
        value = fused(value, v, c1)
        value = fused(value, v, c0)
        row[n] = value if inside else np.float32(0)


@njit(cache=True)
def _add_products(
    sums: Floats,
    row: Floats,
    whole: Floats,
    at: int,
    size: int,
    dx: np.float32,
    dy: np.float32,
    dimming: bool,
) -> None:
    """Add Σ 2p'·(Δx, Δy, Δz)ρ̄ and Σ ∂p/∂B ρ̄ of one row to the sums of every block: (B, 4)."""
    for b in range(len(sums)):
        of_slope = lanes_dot(row, 0, whole, b * size + at, ROW)
        sums[b, 0] += dx * of_slope
        sums[b, 1] += dy * of_slope
        sums[b, 2] += lanes_dot(row, ROW, whole, b * size + at, ROW)
        if dimming:
            sums[b, 3] += lanes_dot(row, 2 * ROW, whole, b * size + at, ROW)
