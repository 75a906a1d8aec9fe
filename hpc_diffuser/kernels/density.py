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
from hpc_diffuser.kernels.transforms import (
    Planes,
    Tables,
    block_steps,
    columns_along_z,
    transform_xy,
)
from hpc_diffuser.kernels.vectors import ROW as VECTOR
from hpc_diffuser.kernels.vectors import put_waves
from hpc_diffuser.system.arrays import Floats, Integers

ROW = 16  # points drawn along z at once: whole SIMD registers, and at least any atom's width
DEGREE = 12  # of the polynomials

# See `draw`.
Atoms = tuple[Integers, Floats]
Shapes = tuple[Floats, Floats, float]
# Where a row of a quadrant begins, from one to the next, its columns, and those of a row of sums.
Place = tuple[int, int, int, int]


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
    background, densities : (x, y, z), (S, x·y·z + BEHIND) float32
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
    along_z = columns_along_z(tables)
    for share in prange(len(shares)):
        for b in shares[share]:
            if b >= 0:
                steps, one = block_steps(tables, planes, b)
                after_y = np.empty((len(densities), *one.shape), np.float32)
                for s in range(len(densities)):
                    transform_xy(densities[s], steps, after_y[s])
                _add_block(sample_weights, planes, b, after_y, along_z, sharpen, exact)


@njit(cache=True)
def _add_block(
    sample_weights: Floats,
    planes: Planes,
    b: int,
    after_y: Floats,
    along_z: Floats,
    sharpen: Floats,
    exact: tuple[int, Floats, Floats],
) -> None:
    """Transform all samples along z on one block, row by row, and add them to the sums.

    Arrays are not sliced inside: that would cost as much as the sums.
    """
    first, last = planes[0][b], planes[0][b + 1]
    rows, columns = planes[2][first, 0] + 1, planes[2][first, 1] + 1
    half_z, width = along_z.shape[1:]
    reaches = planes[4][planes[5][first] : planes[5][first + 1]]
    halves, table = after_y.reshape(-1), along_z.reshape(-1)
    parity, odd = after_y.shape[3] * after_y.shape[4], half_z * width
    real, imaginary = np.zeros(4 * width, np.float32), np.zeros(4 * width, np.float32)
    row_sums = np.empty((3, 4 * width), np.float32)
    row_total = np.empty((len(exact[2]), 4 * width), np.float64)
    for k in range(rows):
        n = reaches[k] + 1
        for plane in range(last - first if n else 0):
            start = planes[3][first + plane] + k * columns
            row_total[:] = 0
            for s in range(0, len(after_y), exact[0]):
                row_sums[:] = 0
                for sample in range(s, min(s + exact[0], len(after_y))):
                    j = 4 * sample * parity + k * after_y.shape[4] + 2 * plane * half_z
                    of = halves, j, parity, table, odd
                    _put_row(real, imaginary, n, width, of, half_z)
                    _add(row_sums, sample_weights[sample], real, imaginary)
                place = (start, rows * columns, n, width)
                _add_rounded(row_sums, sharpen, place, exact[1], row_total)
            _add_total(row_total, (start, rows * columns, n, width), exact[2])


@njit(cache=True)
def _put_row(
    real: Floats,
    imaginary: Floats,
    n: int,
    width: int,
    of: tuple[Floats, int, int, Floats, int],
    half_z: int,
) -> None:
    """F in a row of each quadrant, n columns and more; see `vectors.put_waves`."""
    halves, j, parity, table, odd = of
    for c in range(0, n, VECTOR):
        put_waves(real, imaginary, c, width, halves, j, parity, table, c, odd, width, half_z)


@njit(cache=True)
def _add(sums: Floats, w: float, real: Floats, imaginary: Floats) -> None:
    """Add w Re F, w Im F and w |F|² of a row of each quadrant to three sums."""
    for i in range(len(real)):
        re, im = real[i], imaginary[i]
        sums[0, i] = fused(w, re, sums[0, i])
        sums[1, i] = fused(w, im, sums[1, i])
        sums[2, i] = fused(w, fused(re, re, im * im), sums[2, i])


@njit(cache=True)
def _add_rounded(
    row_sums: Floats, sharpen: Floats, place: Place, large: Floats, row_total: Floats
) -> None:
    """Sharpen a row of each quadrant, and add it, rounded: of three sums the last ones."""
    start, quadrant, n, width = place
    left_out = 3 - len(large)
    for c in range(len(large)):
        step, of = large[c], left_out + c
        for q in range(4):
            to, at = q * width, start + q * quadrant
            if of < 2:
                for i in range(n):
                    value = np.float64(row_sums[of, to + i] * sharpen[at + i])
                    row_total[c, to + i] += rounded(value, step)
            else:
                for i in range(n):
                    twice = sharpen[at + i] * sharpen[at + i]
                    value = np.float64(row_sums[of, to + i] * twice)
                    row_total[c, to + i] += rounded(value, step)


@njit(cache=True)
def _add_total(row_total: Floats, place: Place, sums: Floats) -> None:
    """Add a row of each quadrant to the sums."""
    start, quadrant, n, width = place
    for c in range(len(sums)):
        for q in range(4):
            to, at = q * width, start + q * quadrant
            for i in range(n):
                sums[c, at + i] += row_total[c, to + i]
