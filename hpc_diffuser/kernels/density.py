"""Structure factors by way of the electron density: atoms drawn on a grid, three matrix products.

Every atom is drawn as a radial polynomial of compact support. The density of a molecule fills a
small box, and its transform is wanted in a small sphere: a dense matrix for each axis (along y
and z over half the box, cosines for what is even about its middle, sines for what is odd) makes
fewer passes over memory than a fast Fourier transform of the zero-padded cell, and runs at the
rate of a matrix product.

Grid points lie at ±½, ±1½, ... steps from the box's middle. Slabs are transformed in blocks of
planes with sections of one size: every product has the same shape whoever computes it, so
results do not depend on the number of threads or ranks. BLAS must run on one thread.
"""

import numpy as np
from numba import njit, prange

ROW = 16  # points drawn along z at once: whole SIMD registers, and at least any atom's width
DEGREE = 12  # of the polynomials
TILE = 16  # rows of k per last product: prunes columns well


@njit(cache=True)
def axis_tables(extent, divisions, points):
    """Cosines and sines of 2π i x for i = 0..extent at the half grid x = ½, 1½, ... steps.

    Parameters
    ----------
    extent : int
    divisions : float
        Steps per period of i = 1.
    points : int
        Grid points in the half box.

    Returns
    -------
    (2, extent + 1, points) float32
    """
    table = np.empty((2, extent + 1, points), np.float32)
    for i in range(extent + 1):
        for m in range(points):
            angle = 2 * np.pi * i * (m + 0.5) / divisions
            table[0, i, m] = np.cos(angle)
            table[1, i, m] = np.sin(angle)
    return table


@njit(cache=True, parallel=True)
def draw(steps, atoms, shapes, background, densities):
    """Densities of configurations on top of a common background.

    Parameters
    ----------
    steps : (S, N, 3) float64
        Positions in grid steps from the box's middle.
    atoms : (kinds (N,) int, occupancies (N,) float32)
        Neighbours in space should be neighbours here: they share cached rows of the grid.
    shapes : (coefficients (E, DEGREE) float32, metric (3, 3) float32, reach)
        The density of an atom of kind e is Σ_j c_ej vʲ⁺¹ with v = 1 − ΔᵀMΔ ≥ 0, Δ in steps;
        it is 0 beyond `reach` steps along any axis, at most (ROW − 1)/2.
    background, densities : (x, y, z), (S, x·y·z + ROW) float32
        An atom's row may run, with zeros, into the row behind it.
    """
    for s in prange(len(steps)):
        densities[s, : background.size] = background.reshape(-1)
        densities[s, background.size :] = 0
        _draw(steps[s], atoms, shapes, background.shape, densities[s])


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _draw(steps, atoms, shapes, box, density):
    """Add the atoms of one configuration to a density."""
    kinds, occupancies = atoms
    coefficients, m, reach = shapes
    middle_x, middle_y, middle_z = 0.5 * (box[0] - 1), 0.5 * (box[1] - 1), 0.5 * (box[2] - 1)
    one = np.float32(1)
    shape = np.empty(DEGREE, np.float32)
    for a in range(len(kinds)):
        for c in range(DEGREE):
            shape[c] = occupancies[a] * coefficients[kinds[a], c]
        x, y, z = middle_x + steps[a, 0], middle_y + steps[a, 1], middle_z + steps[a, 2]
        first = int(np.ceil(z - reach))
        start = np.float32(first - z)
        for i in range(int(np.ceil(x - reach)), int(np.floor(x + reach)) + 1):
            dx = np.float32(i - x)
            for j in range(int(np.ceil(y - reach)), int(np.floor(y + reach)) + 1):
                dy = np.float32(j - y)
                # r² = across + 2 slope dz + m_zz dz², least where dz = −slope / m_zz.
                across = m[0, 0] * dx * dx + 2 * m[0, 1] * dx * dy + m[1, 1] * dy * dy
                slope = m[0, 2] * dx + m[1, 2] * dy
                if (one - across) * m[2, 2] + slope * slope > 0:
                    at = (i * box[1] + j) * box[2] + first
                    row = density[at : at + ROW]
                    _add_row(row, one - across, slope, m[2, 2], start, shape)


@njit(cache=True, fastmath={"contract"})
def _add_row(row, top, slope, m_zz, start, shape):
    """Add Σ_j c_j vʲ⁺¹, v = top − dz (2 slope + m_zz dz) ≥ 0, to a row; DEGREE is unrolled."""
    c0, c1, c2, c3, c4 = shape[0], shape[1], shape[2], shape[3], shape[4]
    c5, c6, c7, c8, c9 = shape[5], shape[6], shape[7], shape[8], shape[9]
    c10, c11 = shape[10], shape[11]
    for n in range(ROW):
        dz = start + np.float32(n)
        v = top - dz * (np.float32(2) * slope + m_zz * dz)
        v = v if v > np.float32(0) else np.float32(0)
        value = c11 * v + c10
        value = value * v + c9
        value = value * v + c8
        value = value * v + c7
        value = value * v + c6
        value = value * v + c5
        value = value * v + c4
        value = value * v + c3
        value = value * v + c2
        value = value * v + c1
        value = value * v + c0
        row[n] += value * v


@njit(cache=True, parallel=True)
def structure_factors(density, tables, planes, shares, real, imaginary):
    """The transform of one density on all blocks, added to `real` and `imaginary`.

    See `add_moments` for the arguments.
    """
    for share in prange(len(shares)):
        for b in shares[share]:
            if b < 0:
                continue
            buffers = _buffers(tables, planes, b)
            phases = _phases(tables, planes, b)
            unused = np.empty_like(real)
            _add_block(density, tables, planes, b, phases, buffers, real, imaginary, unused)


@njit(cache=True, parallel=True)
def add_moments(densities, tables, planes, shares, sum_re, sum_im, sum_sq):
    """Add Σ D and Σ |D|² over densities to running sums on all blocks.

    Parameters
    ----------
    densities : (S, ·) float32
        As of `draw`.
    tables : (x (2·P, x), y (2, K+1, half y), z (2, half z, L+1), divisions of y, of z)
        `axis_tables`, for z transposed; for x a cosine and a sine for each plane.
    planes : (blocks (B+1,), centres (P, 2), halves (P, 2), offsets (P+1,), row_halves (R,), \
row_offsets (P+1,))
        The planes of each block; of each plane the centre and half-size in sample indices, where
        its values start, how far each row 0..K reaches from the centre.
    shares : (T, ·) int
        The blocks of each thread; −1 fills up.
    sum_re, sum_im, sum_sq : (V,) float32
        Changed in place. A block's values lie as (plane, quadrant, K+1, L+1).
    """
    for share in prange(len(shares)):
        for b in shares[share]:
            if b < 0:
                continue
            buffers = _buffers(tables, planes, b)
            phases = _phases(tables, planes, b)
            for s in range(len(densities)):
                _add_block(densities[s], tables, planes, b, phases, buffers, sum_re, sum_im, sum_sq)


@njit(cache=True)
def _buffers(tables, planes, b):
    """Intermediate results of a block: after x, folded in y and z, after y, after z."""
    first, n = planes[0][b], planes[0][b + 1] - planes[0][b]
    rows, columns = planes[2][first, 0] + 1, planes[2][first, 1] + 1
    half_y, half_z = tables[1].shape[2], tables[2].shape[1]
    after_x = np.empty((2 * n, 4 * half_y * half_z), np.float32)
    parts = np.empty((2, 2, half_y, 2 * n * half_z), np.float32)
    after_y = np.empty((2, 2, rows, 2 * n * half_z), np.float32)
    after_z = np.empty((2, 2, TILE * 2 * n * columns), np.float32)
    return after_x, parts, after_y, after_z


@njit(cache=True)
def _phases(tables, planes, b):
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
def _add_block(density, tables, planes, b, phases, buffers, sum_re, sum_im, sum_sq):
    """Transform one density on one block, and add it to the sums."""
    after_x, parts, after_y, after_z = buffers
    first, last = planes[0][b], planes[0][b + 1]
    n, rows, columns = last - first, after_y.shape[2], planes[2][first, 1] + 1
    along_x = tables[0][2 * first : 2 * last]
    points = along_x.shape[1] * after_x.shape[1]
    np.dot(along_x, density[:points].reshape(along_x.shape[1], -1), after_x)
    _fold(after_x, phases, parts)
    for y_odd in range(2):
        for z_odd in range(2):
            np.dot(tables[1][y_odd, :rows], parts[y_odd, z_odd], after_y[y_odd, z_odd])
    half_z = tables[2].shape[1]
    reaches = planes[4][planes[5][first] : planes[5][first + 1]]
    for top in range(0, rows, TILE):
        n_rows = min(TILE, rows - top)
        n_columns = reaches[top : top + n_rows].max() + 1
        if n_columns == 0:
            continue
        size = n_rows * 2 * n
        for z_odd in range(2):
            along_z = tables[2][z_odd, :, :n_columns].copy()
            for y_odd in range(2):
                left = after_y[y_odd, z_odd, top : top + n_rows].reshape(size, half_z)
                out = after_z[y_odd, z_odd, : size * n_columns].reshape(size, n_columns)
                np.dot(left, along_z, out)
        for plane in range(n):
            base = planes[3][first + plane]
            for k in range(n_rows):
                at = (k * n + plane) * 2 * n_columns
                _add_quadrants(
                    after_z[:, :, at : at + 2 * n_columns],
                    n_columns,
                    reaches[top + k] + 1,
                    base + (top + k) * columns,
                    rows * columns,
                    sum_re,
                    sum_im,
                    sum_sq,
                )


@njit(cache=True, fastmath={"contract"})
def _fold(after_x, phases, parts):
    """Move each plane's centre to the origin, and separate what is even and odd in y and in z."""
    along_y, along_z = phases
    half_y, half_z = along_y.shape[1] // 2, along_z.shape[1] // 2
    rows = np.empty((2, 2, 2 * half_z), np.float32)
    for plane in range(len(along_y)):
        re = after_x[2 * plane].reshape(2 * half_y, 2 * half_z)
        im = after_x[2 * plane + 1].reshape(2 * half_y, 2 * half_z)
        wave_re, wave_im = along_z[plane].real.copy(), along_z[plane].imag.copy()
        for m in range(half_y):
            for side in range(2):
                y = half_y + m if side == 0 else half_y - 1 - m
                c, s = along_y[plane, y].real, along_y[plane, y].imag
                for z in range(2 * half_z):
                    w_re = c * wave_re[z] - s * wave_im[z]
                    w_im = c * wave_im[z] + s * wave_re[z]
                    rows[side, 0, z] = re[y, z] * w_re - im[y, z] * w_im
                    rows[side, 1, z] = re[y, z] * w_im + im[y, z] * w_re
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


@njit(cache=True, fastmath={"contract"})
def _add_quadrants(products, imaginary, n, start, stride, sum_re, sum_im, sum_sq):
    """One row k of one plane: F at (±k, ±l) from its eight products, into the sums.

    With c, s for the parities of y and z, and each product a complex number whose imaginary
    part lies `imaginary` places behind: F(±k, ±l) = cc ∓∓ ss + i(±_l cs ±_k sc).
    """
    cc, cs, sc, ss = products[0, 0], products[0, 1], products[1, 0], products[1, 1]
    for quadrant in range(4):
        k = np.float32(1 - 2 * (quadrant // 2))
        l = np.float32(1 - 2 * (quadrant % 2))  # noqa: E741
        first = start + quadrant * stride
        out_re, out_im = sum_re[first : first + n], sum_im[first : first + n]
        out_sq = sum_sq[first : first + n]
        for i in range(n):
            j = imaginary + i
            re = cc[i] - k * l * ss[i] - l * cs[j] - k * sc[j]
            im = cc[j] - k * l * ss[j] + l * cs[i] + k * sc[i]
            out_re[i] += re
            out_im[i] += im
            out_sq[i] += re * re + im * im
