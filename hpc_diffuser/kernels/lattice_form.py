"""The quadratic forms of lattice dynamics at the voxels of a map, G†WG + h†Wh, and the transpose.

G has six numbers of every molecule of the cell, h those of second order: see `lattice_molecule`. A
voxel is computed by one thread, in the same order always.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.lattice_molecule import (
    fill_first,
    fill_second,
    place_phase,
    pull_first,
    pull_second,
    wavevector,
)
from hpc_diffuser.kernels.rounding import rounded
from hpc_diffuser.system.arrays import Complexes, Floats, Integers, Mask

Where = tuple[Integers, Mask, Floats, Floats, Floats]  # see `quadratic_forms`

BLOCK = 512  # voxels that a thread works on at once


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
    first_real, first_imaginary = tables[0].real.copy(), tables[0].imag.copy()
    # A small term: single precision is enough, and twice as fast.
    second_real = tables[1].real.astype(np.float32)
    second_imaginary = tables[1].imag.astype(np.float32)
    for block in prange((len(values) + BLOCK - 1) // BLOCK):
        g, by_g = np.empty((2, 6 * z)), np.empty((2, 6 * z))
        h, by_h = np.empty((2, r * z), np.float32), np.empty((2, r * z), np.float32)
        packed = np.empty((21, 2))
        for v in range(block * BLOCK, min((block + 1) * BLOCK, len(values))):
            _fill(g, h, packed, scalars, duals, where, v, turned[v])
            k = points[v]
            values[v] = _hermitian_form(g, by_g, first_real[k], first_imaginary[k])
            values[v] += _hermitian_form(h, by_h, second_real[k], second_imaginary[k])


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
    _hermitian_form(g, by_g, real, imaginary)
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
def _hermitian_form(g: Floats, product: Floats, real: Floats, imaginary: Floats) -> float:
    """Re Ḡ W G with W Hermitian: W G is added up column by column."""
    n = g.shape[1]
    product[:] = 0
    for i in range(n):
        a, b = g[0, i], g[1, i]
        # A column is the conjugate of a row.
        for j in range(n):
            product[0, j] += real[i, j] * a + imaginary[i, j] * b
            product[1, j] += real[i, j] * b - imaginary[i, j] * a
    total = 0.0
    for j in range(n):
        total += g[0, j] * product[0, j] + g[1, j] * product[1, j]
    return total
