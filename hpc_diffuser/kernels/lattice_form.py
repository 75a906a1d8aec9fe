"""The quadratic form of lattice dynamics at the voxels of a map: G†WG.

Of every molecule of the cell six numbers, translation's and rotation's part of what rigid motion
does to its transform,

    G_t = iq F,   G_r = i S × q,

times the phase of its place, which are made where they are needed. A voxel is computed by one
thread, in the same order always.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.rounding import rounded
from hpc_diffuser.system.arrays import Complexes, Floats, Integers, Mask

BLOCK = 512  # voxels that a thread works on at once


@njit(cache=True, parallel=True)
def quadratic_form(
    scalars: Complexes,
    rows: Integers,
    mated: Mask,
    hkl: Floats,
    to_q: Floats,
    places: Floats,
    table: Complexes,
    points: Integers,
    turned: Mask,
    values: Floats,
) -> None:
    """Σ_ij Ḡ_i W_ij G_j at every voxel, into `values`.

    Parameters
    ----------
    scalars : (4, E) complex64
        F and the three components of S.
    rows : (v, Z) int
        Where the scalars of each molecule are for each voxel,
    mated : (v, Z) bool
        and whether these are of the Friedel mate.
    hkl : (v, 3) float64
    to_q : (Z, 3, 3) float64
        hkl as a row vector times this is q in the molecule's own frame, Å⁻¹.
    places : (Z, 3) float64
        Where the molecules are, in fractions.
    table : (K, 6Z, 6Z) complex128
        W at K points, Hermitian.
    points : (v,) int
        Which of them is each voxel's k,
    turned : (v,) bool
        and whether it is −k: W(−k) is the conjugate.
    values : (v,) float64
    """
    z = rows.shape[1]
    real_part, imaginary_part = table.real.copy(), table.imag.copy()
    for block in prange((len(values) + BLOCK - 1) // BLOCK):
        g, product = np.empty((2, 6 * z)), np.empty((2, 6 * z))
        for v in range(block * BLOCK, min((block + 1) * BLOCK, len(values))):
            h, k, l = hkl[v, 0], hkl[v, 1], hkl[v, 2]  # noqa: E741
            for m in range(z):
                angle = _angle(places, m, (h, k, l))
                sign = -1.0 if mated[v, m] else 1.0
                _fill(g, 6 * m, scalars, rows[v, m], sign, (h, k, l), to_q[m], angle)
            if turned[v]:  # as well as the conjugate of the matrix
                g[1] *= -1
            values[v] = hermitian_form(g, product, real_part[points[v]], imaginary_part[points[v]])


@njit(cache=True, parallel=True)
def form_slopes(
    scalars: Complexes,
    rows: Integers,
    mated: Mask,
    hkl: Floats,
    to_q: Floats,
    places: Floats,
    table: Complexes,
    points: tuple[Integers, Integers],
    turned: Mask,
    slopes: Floats,
    large: Floats,
    products: Complexes,
    pulls: Complexes,
) -> None:
    """The transpose of `quadratic_form`: from derivatives by its values to those by W and scalars.

    Parameters
    ----------
    scalars, rows, mated, hkl, to_q, places, table, turned
        As of `quadratic_form`.
    points : (order (v,) int, starts (K + 1,) int)
        Voxels in the order of their k, and where those of each begin.
    slopes : (v,) float64
        An objective's derivatives by the values.
    large : (3,) float64
        See `rounding`; of products of two translations, of one, and of none.
    products : (K, 6Z, 6Z) complex128
        Σ s G G†: by W, so that dO = Re Σ tr(X dW). Overwritten; the same in any order of voxels.
    pulls : (v, Z, 4) complex64
        By real and imaginary part of each molecule's scalars. Overwritten.
    """
    z, (order, starts) = rows.shape[1], points
    real_part, imaginary_part = table.real.copy(), table.imag.copy()
    for point in prange(len(starts) - 1):
        g, product = np.empty((2, 6 * z)), np.empty((2, 6 * z))
        own = products[point]
        own[:] = 0
        for place in range(starts[point], starts[point + 1]):
            v = order[place]
            at = (hkl[v, 0], hkl[v, 1], hkl[v, 2])
            for m in range(z):
                sign = -1.0 if mated[v, m] else 1.0
                angle = _angle(places, m, at)
                _fill(g, 6 * m, scalars, rows[v, m], sign, at, to_q[m], angle)
            if turned[v]:
                g[1] *= -1
            hermitian_form(g, product, real_part[point], imaginary_part[point])
            _add_products(own, g, slopes[v], large)
            product *= 2 * slopes[v]
            if turned[v]:
                product[1] *= -1
            for m in range(z):
                sign = -1.0 if mated[v, m] else 1.0
                angle = _angle(places, m, at)
                _pull(product, 6 * m, sign, at, to_q[m], angle, pulls[v, m])


@njit(cache=True)
def _add_products(own: Complexes, g: Floats, slope: float, large: Floats) -> None:
    """Add s G G† of one voxel."""
    for i in range(g.shape[1]):
        for j in range(g.shape[1]):
            step = large[(i % 6 >= 3) + (j % 6 >= 3)]
            real = rounded(slope * (g[0, i] * g[0, j] + g[1, i] * g[1, j]), step)
            imaginary = rounded(slope * (g[1, i] * g[0, j] - g[0, i] * g[1, j]), step)
            own[i, j] += complex(real, imaginary)


@njit(cache=True)
def _pull(
    by_g: Floats,
    first: int,
    sign: float,
    hkl: tuple[float, float, float],
    to_q: Floats,
    angle: float,
    out: Complexes,
) -> None:
    """The transpose of `_fill`: derivatives by F and S of one molecule."""
    c, s = np.cos(angle), np.sin(angle)
    qx = hkl[0] * to_q[0, 0] + hkl[1] * to_q[1, 0] + hkl[2] * to_q[2, 0]
    qy = hkl[0] * to_q[0, 1] + hkl[1] * to_q[1, 1] + hkl[2] * to_q[2, 1]
    qz = hkl[0] * to_q[0, 2] + hkl[1] * to_q[1, 2] + hkl[2] * to_q[2, 2]
    turned = np.empty((2, 4))
    for part in range(2):
        tx, ty, tz = by_g[part, first], by_g[part, first + 1], by_g[part, first + 2]
        rx, ry, rz = by_g[part, first + 3], by_g[part, first + 4], by_g[part, first + 5]
        turned[part, 0] = qx * tx + qy * ty + qz * tz
        turned[part, 1] = qy * rz - qz * ry
        turned[part, 2] = qz * rx - qx * rz
        turned[part, 3] = qx * ry - qy * rx
    for n in range(4):
        real = c * turned[0, n] + s * turned[1, n]
        imaginary = sign * (c * turned[1, n] - s * turned[0, n])
        out[n] = complex(real, imaginary)


@njit(cache=True)
def _angle(places: Floats, m: int, hkl: tuple[float, float, float]) -> float:
    """Of a molecule's place; the phase of a single one makes no difference."""
    turns = hkl[0] * places[m, 0] + hkl[1] * places[m, 1] + hkl[2] * places[m, 2]
    return 2 * np.pi * turns if len(places) > 1 else 0.0


@njit(cache=True)
def _fill(
    g: Floats,
    first: int,
    scalars: Complexes,
    row: int,
    sign: float,
    hkl: tuple[float, float, float],
    to_q: Floats,
    angle: float,
) -> None:
    """G of one molecule but for the factor i, which all have: real and imaginary part."""
    c, s = np.cos(angle), np.sin(angle)
    qx = hkl[0] * to_q[0, 0] + hkl[1] * to_q[1, 0] + hkl[2] * to_q[2, 0]
    qy = hkl[0] * to_q[0, 1] + hkl[1] * to_q[1, 1] + hkl[2] * to_q[2, 1]
    qz = hkl[0] * to_q[0, 2] + hkl[1] * to_q[1, 2] + hkl[2] * to_q[2, 2]
    for part in range(2):
        f, x, y, z = (
            turned_part(scalars[0, row], sign, c, s, part),
            turned_part(scalars[1, row], sign, c, s, part),
            turned_part(scalars[2, row], sign, c, s, part),
            turned_part(scalars[3, row], sign, c, s, part),
        )
        out = g[part]
        out[first], out[first + 1], out[first + 2] = qx * f, qy * f, qz * f
        out[first + 3] = y * qz - z * qy
        out[first + 4] = z * qx - x * qz
        out[first + 5] = x * qy - y * qx


@njit(cache=True)
def turned_part(scalar: complex, sign: float, c: float, s: float, part: int) -> float:
    """Real or imaginary part of a scalar, or its conjugate, times c + is."""
    a, b = np.float64(scalar.real), sign * np.float64(scalar.imag)
    return a * c - b * s if part == 0 else a * s + b * c


@njit(cache=True)
def hermitian_form(g: Floats, product: Floats, real: Floats, imaginary: Floats) -> float:
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
