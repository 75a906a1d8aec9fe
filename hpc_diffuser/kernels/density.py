"""Structure factors by way of the electron density: atoms drawn on a grid, three matrix products.

Every atom is drawn as a radial polynomial of compact support. The density of a molecule fills a
small box, and its transform is wanted in a small sphere: a dense matrix for each axis, over half
the box (cosines for what is even about its middle, sines for what is odd), makes fewer passes
over memory than a fast Fourier transform of the zero-padded cell, and runs at the rate of a
matrix product.

Grid points lie at ±½, ±1½, ... steps from the box's middle. Slabs are transformed in blocks of
planes with sections of one size: every product has the same shape whoever computes it, so
results do not depend on the number of threads or ranks. BLAS must run on one thread.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.fused import fused
from hpc_diffuser.kernels.rounding import rounded
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

ROW = 16  # points drawn along z at once: whole SIMD registers, and at least any atom's width
DEGREE = 12  # of the polynomials
TILE = 8  # rows of k per last product: prunes columns, and its results stay in cache

# See `draw` and `add_moments`.
Atoms = tuple[Integers, Floats]
Shapes = tuple[Floats, Floats, float]
Tables = tuple[Floats, Floats, Floats, float, float]
Planes = tuple[Integers, Integers, Integers, Integers, Integers, Integers]
Buffers = tuple[Floats, Floats, Floats, Floats]
Waves = tuple[Complexes, Complexes]


@njit(cache=True)
def axis_tables(extent: int, divisions: float, points: int) -> Floats:
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
def draw(
    steps: Floats, atoms: Atoms, shapes: Shapes, background: Floats, densities: Floats
) -> None:
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


@njit(cache=True, parallel=True)
def fold_x(densities: Floats, n_x: int, n_yz: int) -> None:
    """Put ρ(x) − ρ(−x) into the half box below the middle, ρ(x) + ρ(−x) above: (S, ·) float32."""
    for s in prange(len(densities)):
        for below in range(n_x // 2):
            low = densities[s, below * n_yz : (below + 1) * n_yz]
            high = densities[s, (n_x - 1 - below) * n_yz : (n_x - below) * n_yz]
            for i in range(n_yz):
                b, a = low[i], high[i]
                low[i], high[i] = a - b, a + b


@njit(cache=True)
def _draw(
    steps: Floats, atoms: Atoms, shapes: Shapes, box: tuple[int, ...], density: Floats
) -> None:
    """Add the atoms of one configuration to a density."""
    kinds, occupancies = atoms
    coefficients, metric, reach = shapes
    shape = np.empty(DEGREE, np.float32)
    most = int(2 * reach + 1) ** 2
    starts = np.empty(most, np.int64)
    tops, slopes = np.empty(most, np.float32), np.empty(most, np.float32)
    for a in range(len(kinds)):
        for c in range(DEGREE):
            shape[c] = occupancies[a] * coefficients[kinds[a], c]
        n, dz = _rows(steps[a], metric, reach, box, starts, tops, slopes)
        for r in range(n):
            row = density[starts[r] : starts[r] + ROW]
            _add_row(row, tops[r], slopes[r], metric[2, 2], dz, shape)


@njit(cache=True, error_model="numpy")
def _rows(
    step: Floats,
    m: Floats,
    reach: float,
    box: tuple[int, ...],
    starts: Integers,
    tops: Floats,
    slopes: Floats,
) -> tuple[int, np.float32]:
    """The rows along z that an atom touches, and where its first point lies from it.

    r² = (1 − top) + 2 slope dz + m_zz dz², least where dz = −slope / m_zz.
    """
    x, y, z = (
        0.5 * (box[0] - 1) + step[0],
        0.5 * (box[1] - 1) + step[1],
        0.5 * (box[2] - 1) + step[2],
    )
    first = int(np.ceil(z - reach))
    n = 0
    for i in range(int(np.ceil(x - reach)), int(np.floor(x + reach)) + 1):
        dx = np.float32(i - x)
        for j in range(int(np.ceil(y - reach)), int(np.floor(y + reach)) + 1):
            dy = np.float32(j - y)
            across = fused(-m[0, 0] * dx, dx, np.float32(1))
            both = fused(-2.0 * m[0, 1] * dx, np.float64(dy), np.float64(across))
            top = both - m[1, 1] * dy * dy
            slope = fused(m[1, 2], dy, m[0, 2] * dx)
            if fused(top, np.float64(m[2, 2]), np.float64(slope * slope)) > 0:
                starts[n] = (i * box[1] + j) * box[2] + first
                tops[n] = top
                slopes[n] = slope
                n += 1
    return n, np.float32(first - z)


@njit(cache=True)
def _add_row(
    row: Floats, top: float, slope: float, m_zz: float, start: np.float32, shape: Floats
) -> None:
    """Add Σ_j c_j vʲ⁺¹, v = top − dz (2 slope + m_zz dz) ≥ 0, to a row; DEGREE is unrolled."""
    c0, c1, c2, c3, c4 = shape[0], shape[1], shape[2], shape[3], shape[4]
    c5, c6, c7, c8, c9 = shape[5], shape[6], shape[7], shape[8], shape[9]
    c10, c11 = shape[10], shape[11]
    for n in range(ROW):
        dz = start + np.float32(n)
        v = fused(-dz, fused(m_zz, dz, np.float32(2) * slope), top)
        v = v if v > np.float32(0) else np.float32(0)
        value = fused(c11, v, c10)
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
        row[n] = fused(value, v, row[n])


@njit(cache=True, parallel=True)
def add_moments(
    sample_weights: Floats,
    densities: Floats,
    tables: Tables,
    planes: Planes,
    shares: Integers,
    sharpen: Floats,
    exact: tuple[int, Floats, Floats],
) -> None:
    """Add Σ w D and Σ w |D|² over densities to running sums on all blocks.

    Parameters
    ----------
    sample_weights : (S,) float32
        w; with 1 everywhere the sums have the bits of plain ones.
    densities : (S, ·) float32
        As of `draw`, then `fold_x`.
    tables : (x (2, P, half x), y (2, K+1, half y), z (2, half z, L+1), divisions of y, of z)
        `axis_tables`, for z transposed; for x of the slab's planes, the sines from the farthest
        point to the middle.
    planes : (blocks (B+1,), centres (P, 2), halves (P, 2), offsets (P+1,), row_halves (R,), \
row_offsets (P+1,))
        The planes of each block; of each plane the centre and half-size in sample indices, where
        its values start, how far each row 0..K reaches from the centre.
    shares : (T, ·) int
        The blocks of each thread; −1 fills up.
    sharpen : (V,) float32
        What D is the transform of a density times.
    exact : (together, large (K,) float64, sums (K, V) float64)
        How many densities are added before they are rounded; see `rounding`. Of Re D, Im D and
        |D|², or of |D|² alone; changed in place. A block's values lie as
        (plane, quadrant, K+1, L+1).
    """
    for share in prange(len(shares)):
        for b in shares[share]:
            if b < 0:
                continue
            buffers = block_buffers(len(densities), tables, planes, b)
            transform_xy(densities, tables, planes, b, buffers)
            _add_block(sample_weights, tables, planes, b, buffers, sharpen, exact)


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
def _add_block(
    sample_weights: Floats,
    tables: Tables,
    planes: Planes,
    b: int,
    buffers: Buffers,
    sharpen: Floats,
    exact: tuple[int, Floats, Floats],
) -> None:
    """Transform all samples along z on one block, tile by tile, and add them to the sums."""
    _, _, after_y, after_z = buffers
    first, last = planes[0][b], planes[0][b + 1]
    n, rows, columns = last - first, after_y.shape[3], planes[2][first, 1] + 1
    half_z = tables[2].shape[1]
    reaches = planes[4][planes[5][first] : planes[5][first + 1]]
    row_sums = np.empty((4, 3, columns), np.float32)
    row_total = np.empty((4, len(exact[2]), columns), np.float64)
    starts = np.empty(4, np.int64)
    for top in range(0, rows, TILE):
        n_rows = min(TILE, rows - top)
        n_columns = reaches[top : top + n_rows].max() + 1
        if n_columns == 0:
            continue
        size = n_rows * 2 * n
        for z_odd in range(2):
            along_z = tables[2][z_odd, :, :n_columns].copy()
            for s in range(len(after_y)):
                for y_odd in range(2):
                    left = after_y[s, y_odd, z_odd, top : top + n_rows].reshape(size, half_z)
                    out = after_z[s, y_odd, z_odd, : size * n_columns].reshape(size, n_columns)
                    np.dot(left, along_z, out)
        for plane in range(n):
            for k in range(n_rows):
                n_inside = reaches[top + k] + 1
                place = (k * n + plane) * 2 * n_columns
                for quadrant in range(4):
                    row = quadrant * rows + top + k
                    starts[quadrant] = planes[3][first + plane] + row * columns
                row_total[:, :, :n_inside] = 0
                for s in range(0, len(after_z), exact[0]):
                    some = (s, min(s + exact[0], len(after_z)))
                    _sum_row(sample_weights, after_z, some, place, n_columns, n_inside, row_sums)
                    _add_rounded(row_sums, sharpen, starts, n_inside, exact[1], row_total)
                _add_total(row_total, starts, n_inside, exact[2])


@njit(cache=True)
def _add_rounded(
    row_sums: Floats, sharpen: Floats, starts: Integers, n: int, large: Floats, row_total: Floats
) -> None:
    """Sharpen a row of each quadrant, and add it, rounded: of three sums the last ones."""
    left_out = 3 - len(large)
    for quadrant in range(4):
        start = starts[quadrant]
        for c in range(len(large)):
            step, row, total = large[c], row_sums[quadrant, left_out + c], row_total[quadrant, c]
            if left_out + c < 2:
                for i in range(n):
                    total[i] += rounded(np.float64(row[i] * sharpen[start + i]), step)
            else:
                for i in range(n):
                    twice = sharpen[start + i] * sharpen[start + i]
                    total[i] += rounded(np.float64(row[i] * twice), step)


@njit(cache=True)
def _add_total(row_total: Floats, starts: Integers, n: int, sums: Floats) -> None:
    """Add a row of each quadrant to the sums."""
    for quadrant in range(4):
        start = starts[quadrant]
        for c in range(len(sums)):
            total, of = row_total[quadrant, c], sums[c]
            for i in range(n):
                of[start + i] += total[i]


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
def _sum_row(
    sample_weights: Floats,
    products: Floats,
    some: tuple[int, int],
    first: int,
    n_columns: int,
    n_inside: int,
    sums: Floats,
) -> None:
    """Σ w Re F, Σ w Im F, Σ w |F|² over some samples for the rows (±k, ±l), from eight products.

    With c, s for the parities of y and z, F(±k, ±l) = cc ∓∓ ss + i(±_l cs ±_k sc); each product
    is a row of real parts from `first` on, and one of imaginary parts behind it.
    """
    sums[:] = 0
    for s in range(some[0], some[1]):
        w = sample_weights[s]
        for i in range(n_inside):
            re, im = first + i, first + n_columns + i
            cc, cs = products[s, 0, 0, re], products[s, 0, 1, re]
            sc, ss = products[s, 1, 0, re], products[s, 1, 1, re]
            icc, ics = products[s, 0, 0, im], products[s, 0, 1, im]
            isc, iss = products[s, 1, 0, im], products[s, 1, 1, im]
            a, b, c, d = cc - ss, cc + ss, ics + isc, ics - isc
            e, f, g, h = icc - iss, icc + iss, cs + sc, cs - sc
            _add(sums[0], i, w, a - c, e + g)
            _add(sums[1], i, w, b + d, f - h)
            _add(sums[2], i, w, b - d, f + h)
            _add(sums[3], i, w, a + c, e - g)


@njit(cache=True)
def _add(sums: Floats, i: int, w: float, re: float, im: float) -> None:
    """Add w Re F, w Im F and w |F|² of one voxel."""
    sums[0, i] = fused(w, re, sums[0, i])
    sums[1, i] = fused(w, im, sums[1, i])
    sums[2, i] = fused(w, fused(re, re, im * im), sums[2, i])
