"""The quadratic forms of lattice dynamics at the voxels of a map, G†WG + h†Wh, and the transpose.

G has six numbers of every molecule of the cell, h those of second order: see `lattice_molecule`. A
voxel is computed by one thread, in the same order always; the forms of those of one k side by side,
in single precision, the transpose one by one, in double.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.lattice_molecule import (
    fill_first,
    fill_second,
    numbers_of_motion,
    place_phase,
    products_of_places,
    pull_first,
    pull_second,
    wavevector,
)
from hpc_diffuser.kernels.rounding import rounded
from hpc_diffuser.kernels.tiles import TILE, multiply_tile, sum_products
from hpc_diffuser.system.arrays import Complexes, Floats, Integers, Mask

Where = tuple[Integers, Mask, Floats, Floats, Floats]  # see `quadratic_forms`

BLOCK = 2048  # voxels that a thread works on at once: their scalars stay in its cache
LANES = TILE[1]  # of one k, side by side
WAVE = 7  # of a molecule: cosine and sine of its phase, q, −1 where k is turned, and of a mate


@njit(cache=True, parallel=True)
def quadratic_forms(
    scalars: Complexes,
    duals: Floats,
    where: Where,
    tables: tuple[Complexes, Complexes],
    points: Integers,
    turned: Mask,
    values: Floats,
) -> None:
    """Σ_ij Ḡ_i W_ij G_j + Σ_ij h̄_i W_ij h_j at every voxel, into `values`.

    Parameters
    ----------
    scalars : (10, E) complex64
        F, the three components of S, and of Q: xx, yy, zz, xy, xz, yz.
    duals : (21, r) float32
        What each of g_i g_j, i ≤ j, counts in h.
    where : tuple
        rows (v, Z) int, where the scalars of each molecule are for each voxel; mated (v, Z) bool,
        whether these are of the Friedel mate; hkl (v, 3) float64; to_q (Z, 3, 3) float64, which
        hkl as a row vector is multiplied by for q in the molecule's own frame, Å⁻¹; places (Z, 3)
        float64, where the molecules are, in fractions.
    tables : (K, 6Z, 6Z) and (K, rZ, rZ) complex128
        W of either order at K points, Hermitian.
    points : (v,) int
        Which of them is each voxel's k,
    turned : (v,) bool
        and whether it is −k: W(−k) is the conjugate.
    values : (v,) float64
    """
    z, r = where[0].shape[1], duals.shape[1]
    first, second = _in_rows(tables[0]), _in_rows(tables[1])
    across = np.zeros(_padded(r) * 21, np.float32)
    across.reshape(-1, 21)[:r] = duals.T
    for block in prange((len(values) + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        order = _by_point(points, start, min(start + BLOCK, len(values)), len(first))
        g, by_g = _lanes(6 * z)
        h, by_h = _lanes(r * z)
        raw, waves, begun = _room(z, 20), _room(z, WAVE), 0
        parts, packed = _room(z, 20), _room(1, 21)[0]
        of_g, of_h, rows = np.empty(LANES), np.empty(LANES), np.zeros(LANES, np.uint64)
        for place in range(len(order)):
            k, end = points[order[place]], place + 1
            if end - begun < LANES and end < len(order) and points[order[end]] == k:
                continue
            _gather(raw, waves, rows, scalars, where, order, begun, end, turned)
            for m in range(z):
                _turn(parts[m], raw[m], waves[m])
            for own in range(2 * z):  # in this order: see `_combine`
                part, m = own // z, own % z
                _first_order(g, 6 * own * LANES, parts[m], part, waves[m])
                _second_order(packed, parts[m], part, waves[m])
                _combine(h, own * r, packed, across, r)
            _multiply(by_g, first[k], g, 12 * z)
            _multiply(by_h, second[k], h, 2 * r * z)
            sum_products(of_g, g, by_g, 12 * z)
            sum_products(of_h, h, by_h, 2 * r * z)
            for one in range(begun, end):
                values[order[one]] = of_g[one - begun] + of_h[one - begun]
            begun = end


@njit(cache=True)
def _by_point(points: Integers, start: int, end: int, n: int) -> Integers:
    """The voxels of a block in the order of their points, of n, and of one point as they come."""
    places = np.zeros(n + 1, np.int64)
    for v in range(start, end):
        places[points[v] + 1] += 1
    for k in range(n):
        places[k + 1] += places[k]
    order = np.empty(end - start, np.int64)
    for v in range(start, end):
        order[places[points[v]]] = v
        places[points[v]] += 1
    return order


@njit(cache=True)
def _in_rows(table: Complexes) -> Floats:
    """W of every k as it multiplies real and imaginary parts one below the other, row by row.

    All of it at and below the diagonal, as what is above is the same again. In single precision,
    with rows of 0 to a multiple of `TILE`: (K, rows * 2 n) float32.
    """
    n = table.shape[1]
    rows = _padded(2 * n)
    found = np.zeros((len(table), rows * 2 * n), np.float32)
    for k in range(len(table)):
        whole = found[k].reshape(rows, 2 * n)
        for i in range(n):
            for j in range(n):
                whole[n + i, j] = 2 * table[k, i, j].imag
                if j <= i:
                    times = 1 if i == j else 2
                    whole[i, j] = whole[n + i, n + j] = times * table[k, i, j].real
    return found


@njit(cache=True)
def _padded(n: int) -> int:
    return (n + TILE[0] - 1) // TILE[0] * TILE[0]


@njit(cache=True)
def _lanes(n: int) -> tuple[Floats, Floats]:
    """Room for n complex numbers of `LANES` voxels, (2 n, lanes), and for their products."""
    rows = _padded(2 * n) + TILE[0]  # `_combine` goes on for less than a tile
    return np.zeros(rows * LANES, np.float32), np.zeros(rows * LANES, np.float32)


@njit(cache=True)
def _room(of: int, rows: int) -> Floats:
    return np.zeros((of, rows * LANES), np.float32)


@njit(cache=True)
def _gather(
    raw: Floats,
    waves: Floats,
    at: Integers,
    scalars: Complexes,
    where: Where,
    order: Integers,
    begun: int,
    end: int,
    turned: Mask,
) -> None:
    """Scalars of all molecules at some voxels, one a lane, and what they are multiplied by."""
    rows, mated, hkl, to_q, places = where
    index = np.zeros(3 * LANES)
    for lane in range(end - begun):
        v = order[begun + lane]
        for axis in range(3):
            index[axis * LANES + lane] = hkl[v, axis]
    for m in range(rows.shape[1]):
        own, wave = raw[m], waves[m]
        for lane in range(LANES):
            one = index[lane], index[LANES + lane], index[2 * LANES + lane]
            wave[lane], wave[LANES + lane] = place_phase(places, m, one)
            (
                wave[2 * LANES + lane],
                wave[3 * LANES + lane],
                wave[4 * LANES + lane],
            ) = wavevector(one, to_q[m])
        for lane in range(end - begun):
            v = order[begun + lane]
            at[lane] = rows[v, m]
            wave[5 * LANES + lane] = -1.0 if turned[v] else 1.0  # as well as the conjugate of W
            wave[6 * LANES + lane] = -1.0 if mated[v, m] else 1.0
        for n in range(10):
            values = scalars[n]
            for lane in range(end - begun):
                value = values[at[lane]]
                own[n * LANES + lane] = value.real
                own[(10 + n) * LANES + lane] = value.imag


@njit(cache=True)
def _turn(parts: Floats, raw: Floats, waves: Floats) -> None:
    """Times the phase, and conjugated where k is turned."""
    for n in range(10):
        for lane in range(LANES):
            c, s = waves[lane], waves[LANES + lane]
            a = raw[n * LANES + lane]
            b = raw[(10 + n) * LANES + lane] * waves[6 * LANES + lane]
            parts[n * LANES + lane] = a * c - b * s
            parts[(10 + n) * LANES + lane] = (a * s + b * c) * waves[5 * LANES + lane]


@njit(cache=True)
def _q_of(waves: Floats, lane: int) -> tuple[float, float, float]:
    return waves[2 * LANES + lane], waves[3 * LANES + lane], waves[4 * LANES + lane]


@njit(cache=True)
def _f_and_s(parts: Floats, at: int) -> tuple[float, float, float, float]:
    return parts[at], parts[LANES + at], parts[2 * LANES + at], parts[3 * LANES + at]


@njit(cache=True)
def _products_of(parts: Floats, at: int) -> tuple[float, float, float, float, float, float]:
    """Q: xx, yy, zz, xy, xz, yz."""
    squares = parts[4 * LANES + at], parts[5 * LANES + at], parts[6 * LANES + at]
    return (*squares, parts[7 * LANES + at], parts[8 * LANES + at], parts[9 * LANES + at])


@njit(cache=True)
def _first_order(g: Floats, start: int, parts: Floats, part: int, waves: Floats) -> None:
    """The six numbers of a molecule, from one part of its scalars."""
    own = 10 * LANES * part
    for lane in range(LANES):
        (
            g[start + lane],
            g[start + LANES + lane],
            g[start + 2 * LANES + lane],
            g[start + 3 * LANES + lane],
            g[start + 4 * LANES + lane],
            g[start + 5 * LANES + lane],
        ) = numbers_of_motion(_f_and_s(parts, own + lane), _q_of(waves, lane))


@njit(cache=True)
def _second_order(packed: Floats, parts: Floats, part: int, waves: Floats) -> None:
    """Σ f g_i g_j of a molecule, i ≤ j row by row, from one part of its scalars."""
    own = 10 * LANES * part
    for lane in range(LANES):
        (
            packed[0 * LANES + lane],
            packed[1 * LANES + lane],
            packed[2 * LANES + lane],
            packed[3 * LANES + lane],
            packed[4 * LANES + lane],
            packed[5 * LANES + lane],
            packed[6 * LANES + lane],
            packed[7 * LANES + lane],
            packed[8 * LANES + lane],
            packed[9 * LANES + lane],
            packed[10 * LANES + lane],
            packed[11 * LANES + lane],
            packed[12 * LANES + lane],
            packed[13 * LANES + lane],
            packed[14 * LANES + lane],
            packed[15 * LANES + lane],
            packed[16 * LANES + lane],
            packed[17 * LANES + lane],
            packed[18 * LANES + lane],
            packed[19 * LANES + lane],
            packed[20 * LANES + lane],
        ) = products_of_places(
            _f_and_s(parts, own + lane) + _products_of(parts, own + lane), _q_of(waves, lane)
        )


@njit(cache=True)
def _combine(h: Floats, to: int, packed: Floats, across: Floats, r: int) -> None:
    """h of a molecule, row `to` and on, from Σ f g_i g_j: whole tiles, into what comes next."""
    for row in range(0, r, TILE[0]):
        multiply_tile(h, (to + row) * LANES, LANES, across, row * 21, 21, packed, 0, LANES, 21)


@njit(cache=True)
def _multiply(product: Floats, rows: Floats, lanes: Floats, n: int) -> None:
    """W times all lanes, some rows of it at a time; n numbers each, those up to the diagonal."""
    for row in range(0, n, TILE[0]):
        to = min(row + TILE[0], n)
        multiply_tile(product, row * LANES, LANES, rows, row * n, n, lanes, 0, LANES, to)


@njit(cache=True, parallel=True)
def form_slopes(
    scalars: Complexes,
    duals: Floats,
    where: Where,
    tables: tuple[Complexes, Complexes],
    points: tuple[Integers, Integers],
    turned: Mask,
    slopes: Floats,
    large: tuple[Floats, Floats],
    products: tuple[Complexes, Complexes],
    pulls: Complexes,
) -> None:
    """The transpose of `quadratic_forms`: from derivatives by its values to those by W and scalars.

    Parameters
    ----------
    scalars, duals, where, tables, turned
        As of `quadratic_forms`.
    points : (order (v,) int, starts (K + 1,) int)
        Voxels in the order of their k, and where those of each begin.
    slopes : (v,) float64
        An objective's derivatives by the values.
    large : (6, 6) and (r, r) float64
        See `rounding`: of products of any two numbers of a molecule.
    products : (K, 6Z, 6Z) and (K, rZ, rZ) complex128
        Σ s G G† and Σ s h h†: by W, so that dO = Re Σ tr(X dW). Overwritten; the same in any order
        of voxels.
    pulls : (v, Z, 10) complex64
        By real and imaginary part of each molecule's scalars. Overwritten.
    """
    z, r, (order, starts) = where[0].shape[1], duals.shape[1], points
    first_real, first_imaginary = tables[0].real.copy(), tables[0].imag.copy()
    second_real, second_imaginary = tables[1].real.copy(), tables[1].imag.copy()
    for point in prange(len(starts) - 1):
        g, by_g = np.empty((2, 6 * z)), np.empty((2, 6 * z))
        h, by_h = np.empty((2, r * z)), np.empty((2, r * z))
        packed, by_scalars = np.empty((21, 2)), np.empty((2, 10))
        products[0][point] = 0
        products[1][point] = 0
        for place in range(starts[point], starts[point + 1]):
            v = order[place]
            _fill(g, h, packed, scalars, duals, where, v, turned[v])
            _add_products(products[0][point], g, slopes[v], large[0])
            _add_products(products[1][point], h, slopes[v], large[1])
            _by_form(by_g, g, first_real[point], first_imaginary[point], slopes[v], turned[v])
            _by_form(by_h, h, second_real[point], second_imaginary[point], slopes[v], turned[v])
            _pull(by_g, by_h, packed, by_scalars, duals, where, v, pulls[v])


@njit(cache=True)
def _fill(
    g: Floats,
    h: Floats,
    packed: Floats,
    scalars: Complexes,
    duals: Floats,
    where: Where,
    v: int,
    turned: bool,
) -> None:
    """G, but for the factor i, and h of all molecules at one voxel."""
    rows, mated, hkl, to_q, places = where
    at = (hkl[v, 0], hkl[v, 1], hkl[v, 2])
    for m in range(rows.shape[1]):
        q, phase = wavevector(at, to_q[m]), place_phase(places, m, at)
        sign = -1.0 if mated[v, m] else 1.0
        fill_first(g, 6 * m, scalars, rows[v, m], sign, phase, q)
        fill_second(h, duals.shape[1] * m, packed, scalars, rows[v, m], sign, phase, q, duals)
    if turned:  # as well as the conjugate of the matrix
        g[1] *= -1
        h[1] *= -1


@njit(cache=True)
def _pull(
    by_g: Floats,
    by_h: Floats,
    packed: Floats,
    by_scalars: Floats,
    duals: Floats,
    where: Where,
    v: int,
    pulls: Complexes,
) -> None:
    """The transpose of `_fill`: by the scalars of all molecules, (Z, 10) complex64."""
    _, mated, hkl, to_q, places = where
    at = (hkl[v, 0], hkl[v, 1], hkl[v, 2])
    for m in range(len(pulls)):
        q, phase = wavevector(at, to_q[m]), place_phase(places, m, at)
        sign = -1.0 if mated[v, m] else 1.0
        pull_second(by_h, duals.shape[1] * m, packed, by_scalars, sign, phase, q, duals, pulls[m])
        pull_first(by_g, 6 * m, by_scalars, sign, phase, q, pulls[m])


@njit(cache=True)
def _by_form(
    by_g: Floats, g: Floats, real: Floats, imaginary: Floats, slope: float, turned: bool
) -> None:
    """By real and imaginary part of all numbers, as they are before `_fill` turns them."""
    _multiply_hermitian(g, by_g, real, imaginary)
    by_g *= 2 * slope
    if turned:
        by_g[1] *= -1


@njit(cache=True)
def _add_products(own: Complexes, g: Floats, slope: float, large: Floats) -> None:
    """Add s G G† of one voxel."""
    r = len(large)
    for i in range(g.shape[1]):
        for j in range(g.shape[1]):
            step = large[i % r, j % r]
            real = rounded(slope * (g[0, i] * g[0, j] + g[1, i] * g[1, j]), step)
            imaginary = rounded(slope * (g[1, i] * g[0, j] - g[0, i] * g[1, j]), step)
            own[i, j] += complex(real, imaginary)


@njit(cache=True)
def _multiply_hermitian(g: Floats, product: Floats, real: Floats, imaginary: Floats) -> None:
    """W G with W Hermitian, added up column by column."""
    n = g.shape[1]
    product[:] = 0
    for i in range(n):
        a, b = g[0, i], g[1, i]
        # A column is the conjugate of a row.
        for j in range(n):
            product[0, j] += real[i, j] * a + imaginary[i, j] * b
            product[1, j] += real[i, j] * b - imaginary[i, j] * a
