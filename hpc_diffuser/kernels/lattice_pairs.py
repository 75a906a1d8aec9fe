"""The second order of lattice dynamics at the voxels of a map: a quadratic form of g gᵀ.

Of every molecule of the cell r numbers, h_s = Σ_a f_a (g_aᵀY_s g_a), g_a = (q, (r_a − c) × q),
which are made where they are needed from ten transforms: those of the atoms, of their places and
of the products of these.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.lattice_form import BLOCK, hermitian_form, turned_part
from hpc_diffuser.kernels.rounding import rounded
from hpc_diffuser.system.arrays import Complexes, Floats, Integers, Mask


@njit(cache=True, parallel=True)
def add_pair_form(
    scalars: Complexes,
    rows: Integers,
    mated: Mask,
    hkl: Floats,
    to_q: Floats,
    places: Floats,
    duals: Floats,
    table: Complexes,
    points: Integers,
    turned: Mask,
    values: Floats,
) -> None:
    """Σ_ij h̄_i W_ij h_j of every voxel, added to `values`.

    Parameters
    ----------
    scalars : (10, E) complex64
        F, the three components of S, and of Q: xx, yy, zz, xy, xz, yz.
    rows, mated, hkl, to_q, places, points, turned
        As of `lattice_form.quadratic_form`.
    duals : (21, r) float32
        What each of g_i g_j, i ≤ j, counts in h.
    table : (K, rZ, rZ) complex128
        W at K points, Hermitian.
    values : (v,) float64
    """
    z, r = rows.shape[1], duals.shape[1]
    # A small term: single precision is enough, and twice as fast.
    real_part, imaginary_part = table.real.astype(np.float32), table.imag.astype(np.float32)
    for block in prange((len(values) + BLOCK - 1) // BLOCK):
        h, product = np.empty((2, r * z), np.float32), np.empty((2, r * z), np.float32)
        packed = np.empty((21, 2))
        for v in range(block * BLOCK, min((block + 1) * BLOCK, len(values))):
            at = (hkl[v, 0], hkl[v, 1], hkl[v, 2])
            for m in range(z):
                sign = -1.0 if mated[v, m] else 1.0
                phase = _phase(places, m, at)
                _fill(packed, scalars, rows[v, m], sign, phase, at, to_q[m])
                _combine(h, r * m, packed, duals)
            if turned[v]:
                h[1] *= -1
            values[v] += hermitian_form(h, product, real_part[points[v]], imaginary_part[points[v]])


@njit(cache=True, parallel=True)
def pair_form_slopes(
    scalars: Complexes,
    rows: Integers,
    mated: Mask,
    hkl: Floats,
    to_q: Floats,
    places: Floats,
    duals: Floats,
    table: Complexes,
    points: tuple[Integers, Integers],
    turned: Mask,
    slopes: Floats,
    large: Floats,
    products: Complexes,
    pulls: Complexes,
) -> None:
    """The transpose of `add_pair_form`: from derivatives by its values to those by W and scalars.

    Parameters
    ----------
    scalars, rows, mated, hkl, to_q, places, duals, table, turned
        As of `add_pair_form`.
    points, slopes
        As of `lattice_form.form_slopes`.
    large : (r, r) float64
        See `rounding`: of products of any two of h.
    products : (K, rZ, rZ) complex128
        Σ s h h†: by W. Overwritten; the same in any order of voxels.
    pulls : (v, Z, 10) complex64
        By real and imaginary part of each molecule's scalars. Overwritten.
    """
    z, r, (order, starts) = rows.shape[1], duals.shape[1], points
    real_part, imaginary_part = table.real.copy(), table.imag.copy()
    for point in prange(len(starts) - 1):
        h, product = np.empty((2, r * z)), np.empty((2, r * z))
        packed, by_scalars = np.empty((21, 2)), np.empty((2, 10))
        products[point] = 0
        for place in range(starts[point], starts[point + 1]):
            v = order[place]
            at = (hkl[v, 0], hkl[v, 1], hkl[v, 2])
            for m in range(z):
                sign = -1.0 if mated[v, m] else 1.0
                phase = _phase(places, m, at)
                _fill(packed, scalars, rows[v, m], sign, phase, at, to_q[m])
                _combine(h, r * m, packed, duals)
            if turned[v]:
                h[1] *= -1
            hermitian_form(h, product, real_part[point], imaginary_part[point])
            _add_products(products[point], h, slopes[v], large)
            product *= 2 * slopes[v]
            if turned[v]:
                product[1] *= -1
            for m in range(z):
                c, s = _phase(places, m, at)
                for part in range(2):
                    _expand(packed[:, part], product[part, r * m : r * (m + 1)], duals)
                    _unpack(by_scalars[part], packed[:, part], at, to_q[m])
                sign = -1.0 if mated[v, m] else 1.0
                for n in range(10):
                    real = c * by_scalars[0, n] + s * by_scalars[1, n]
                    imaginary = sign * (c * by_scalars[1, n] - s * by_scalars[0, n])
                    pulls[v, m, n] = complex(real, imaginary)


@njit(cache=True)
def _phase(places: Floats, m: int, hkl: tuple[float, float, float]) -> tuple[float, float]:
    """Of a molecule's place; that of a single one makes no difference."""
    if len(places) == 1:
        return 1.0, 0.0
    turns = hkl[0] * places[m, 0] + hkl[1] * places[m, 1] + hkl[2] * places[m, 2]
    return np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)


@njit(cache=True)
def _add_products(own: Complexes, h: Floats, slope: float, large: Floats) -> None:
    """Add s h h† of one voxel."""
    r = len(large)
    for i in range(h.shape[1]):
        for j in range(h.shape[1]):
            step = large[i % r, j % r]
            real = rounded(slope * (h[0, i] * h[0, j] + h[1, i] * h[1, j]), step)
            imaginary = rounded(slope * (h[1, i] * h[0, j] - h[0, i] * h[1, j]), step)
            own[i, j] += complex(real, imaginary)


@njit(cache=True)
def _expand(packed: Floats, by_h: Floats, duals: Floats) -> None:
    """The transpose of `_combine`, of one part."""
    for n in range(21):
        packed[n] = 0
        for s in range(duals.shape[1]):
            packed[n] += duals[n, s] * by_h[s]


@njit(cache=True)
def _fill(
    packed: Floats,
    scalars: Complexes,
    row: int,
    sign: float,
    phase: tuple[float, float],
    hkl: tuple[float, float, float],
    to_q: Floats,
) -> None:
    """Σ f g_i g_j of one molecule: real and imaginary part, (21, 2)."""
    for part in range(2):
        of_part = (
            turned_part(scalars[0, row], sign, phase[0], phase[1], part),
            turned_part(scalars[1, row], sign, phase[0], phase[1], part),
            turned_part(scalars[2, row], sign, phase[0], phase[1], part),
            turned_part(scalars[3, row], sign, phase[0], phase[1], part),
            turned_part(scalars[4, row], sign, phase[0], phase[1], part),
            turned_part(scalars[5, row], sign, phase[0], phase[1], part),
            turned_part(scalars[6, row], sign, phase[0], phase[1], part),
            turned_part(scalars[7, row], sign, phase[0], phase[1], part),
            turned_part(scalars[8, row], sign, phase[0], phase[1], part),
            turned_part(scalars[9, row], sign, phase[0], phase[1], part),
        )
        _pack(packed[:, part], of_part, hkl, to_q)


@njit(cache=True)
def _combine(h: Floats, first: int, packed: Floats, duals: Floats) -> None:
    """h of one molecule from Σ f g_i g_j: both parts."""
    r = duals.shape[1]
    for s in range(r):
        h[0, first + s] = h[1, first + s] = 0
    for n in range(21):
        real, imaginary = np.float32(packed[n, 0]), np.float32(packed[n, 1])
        for s in range(r):
            h[0, first + s] += duals[n, s] * real
            h[1, first + s] += duals[n, s] * imaginary


@njit(cache=True)
def _pack(
    packed: Floats, own: tuple[float, ...], hkl: tuple[float, float, float], to_q: Floats
) -> None:
    """Σ f g_i g_j of one molecule, i ≤ j row by row, from one part of its ten scalars."""
    x = hkl[0] * to_q[0, 0] + hkl[1] * to_q[1, 0] + hkl[2] * to_q[2, 0]
    y = hkl[0] * to_q[0, 1] + hkl[1] * to_q[1, 1] + hkl[2] * to_q[2, 1]
    z = hkl[0] * to_q[0, 2] + hkl[1] * to_q[1, 2] + hkl[2] * to_q[2, 2]
    # S × q
    tx = own[2] * z - own[3] * y
    ty = own[3] * x - own[1] * z
    tz = own[1] * y - own[2] * x
    f = own[0]
    packed[0], packed[1], packed[2] = x * x * f, x * y * f, x * z * f
    packed[3], packed[4], packed[5] = x * tx, x * ty, x * tz
    packed[6], packed[7] = y * y * f, y * z * f
    packed[8], packed[9], packed[10] = y * tx, y * ty, y * tz
    packed[11] = z * z * f
    packed[12], packed[13], packed[14] = z * tx, z * ty, z * tz
    xx, yy, zz, xy, xz, yz = own[4], own[5], own[6], own[7], own[8], own[9]
    # q × Q of its columns, row by row; then q × each row.
    ax, ay, az = y * xz - z * xy, y * yz - z * yy, y * zz - z * yz
    bx, by, bz = z * xx - x * xz, z * xy - x * yz, z * xz - x * zz
    cx, cy = x * xy - y * xx, x * yy - y * xy
    packed[15], packed[16], packed[17] = y * az - z * ay, z * ax - x * az, x * ay - y * ax
    packed[18], packed[19] = z * bx - x * bz, x * by - y * bx
    packed[20] = x * cy - y * cx


@njit(cache=True)
def _unpack(own: Floats, packed: Floats, hkl: tuple[float, float, float], to_q: Floats) -> None:
    """The transpose of `_pack`: by the ten scalars."""
    x = hkl[0] * to_q[0, 0] + hkl[1] * to_q[1, 0] + hkl[2] * to_q[2, 0]
    y = hkl[0] * to_q[0, 1] + hkl[1] * to_q[1, 1] + hkl[2] * to_q[2, 1]
    z = hkl[0] * to_q[0, 2] + hkl[1] * to_q[1, 2] + hkl[2] * to_q[2, 2]
    own[0] = x * x * packed[0] + x * y * packed[1] + x * z * packed[2]
    own[0] += y * y * packed[6] + y * z * packed[7] + z * z * packed[11]
    tx = x * packed[3] + y * packed[8] + z * packed[12]
    ty = x * packed[4] + y * packed[9] + z * packed[13]
    tz = x * packed[5] + y * packed[10] + z * packed[14]
    own[1], own[2], own[3] = y * tz - z * ty, z * tx - x * tz, x * ty - y * tx
    # What xx, yy, zz, xy, xz, yz of r rᵀ count in each of (q × r)(q × r)ᵀ.
    aa, ab, ac, bb, bc, cc = packed[15], packed[16], packed[17], packed[18], packed[19], packed[20]
    own[4] = z * z * bb - y * z * bc + y * y * cc
    own[5] = z * z * aa - x * z * ac + x * x * cc
    own[6] = y * y * aa - x * y * ab + x * x * bb
    own[7] = -z * z * ab + y * z * ac + x * z * bc - 2 * x * y * cc
    own[8] = y * z * ab - y * y * ac - 2 * x * z * bb + x * y * bc
    own[9] = -2 * y * z * aa + x * z * ab + x * y * ac - x * x * bc
