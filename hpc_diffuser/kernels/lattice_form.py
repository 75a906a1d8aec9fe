"""The quadratic form of lattice dynamics at the voxels of a map: G†WG.

Of every molecule of the cell six numbers, translation's and rotation's part of what rigid motion
does to its transform,

    G_t = iq F,   G_r = i S × q,

times the phase of its place, which are made where they are needed. A voxel is computed by one
thread, in the same order always.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.system.arrays import Complexes, Floats, Integers, Mask


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
    for v in prange(len(values)):
        real, imaginary = np.empty(6 * z), np.empty(6 * z)
        h, k, l = hkl[v, 0], hkl[v, 1], hkl[v, 2]  # noqa: E741
        for m in range(z):
            _fill(
                real[6 * m : 6 * m + 6],
                imaginary[6 * m : 6 * m + 6],
                scalars[:, rows[v, m]],
                -1.0 if mated[v, m] else 1.0,
                (h, k, l),
                to_q[m],
                2 * np.pi * (h * places[m, 0] + k * places[m, 1] + l * places[m, 2]),
            )
        values[v] = _form(real, imaginary, table[points[v]], -1.0 if turned[v] else 1.0)


@njit(cache=True)
def _fill(
    real: Floats,
    imaginary: Floats,
    scalars: Complexes,
    sign: float,
    hkl: tuple[float, float, float],
    to_q: Floats,
    angle: float,
) -> None:
    """G of one molecule but for the factor i, which all have."""
    c, s = np.cos(angle), np.sin(angle)
    qx = hkl[0] * to_q[0, 0] + hkl[1] * to_q[1, 0] + hkl[2] * to_q[2, 0]
    qy = hkl[0] * to_q[0, 1] + hkl[1] * to_q[1, 1] + hkl[2] * to_q[2, 1]
    qz = hkl[0] * to_q[0, 2] + hkl[1] * to_q[1, 2] + hkl[2] * to_q[2, 2]
    for part in range(2):
        out = real if part == 0 else imaginary
        f, x, y, w = 0.0, 0.0, 0.0, 0.0
        for i in range(4):
            a, b = np.float64(scalars[i].real), sign * np.float64(scalars[i].imag)
            value = a * c - b * s if part == 0 else a * s + b * c
            if i == 0:
                f = value
            elif i == 1:
                x = value
            elif i == 2:
                y = value
            else:
                w = value
        out[0], out[1], out[2] = qx * f, qy * f, qz * f
        out[3], out[4], out[5] = y * qz - w * qy, w * qx - x * qz, x * qy - y * qx


@njit(cache=True)
def _form(real: Floats, imaginary: Floats, matrix: Complexes, sign: float) -> float:
    """Ḡ W G, with the conjugate of W where the sign is −1; by the upper triangle of W."""
    total = 0.0
    for i in range(len(real)):
        a, b = real[i], imaginary[i]
        total += matrix[i, i].real * (a * a + b * b)
        x, y = 0.0, 0.0
        for j in range(i + 1, len(real)):
            u, w = matrix[i, j].real, sign * matrix[i, j].imag
            x += u * real[j] - w * imaginary[j]
            y += u * imaginary[j] + w * real[j]
        total += 2 * (a * x + b * y)
    return total
