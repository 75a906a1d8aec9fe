"""What one molecule of the cell counts in the forms of lattice dynamics, and the transposes.

To first order six numbers, translation's and rotation's part of what rigid motion does to its
transform, but for a factor i that all have:

    g_t = q F,   g_r = S × q.

To second order r numbers, h_s = Σ_a f_a (g_aᵀY_s g_a), g_a = (q, (r_a − c) × q), from ten
transforms, its scalars: F, those of the atoms' places, S, and Q of the products of these. All of
them times the phase of its place, which are made where they are needed.
"""

import numpy as np
from numba import njit

from hpc_diffuser.system.arrays import Complexes, Floats

Triple = tuple[float, float, float]
Phase = tuple[float, float]  # cosine and sine


@njit(cache=True)
def wavevector(hkl: Triple, to_q: Floats) -> Triple:
    """q in a molecule's own frame, Å⁻¹: hkl as a row vector times (3, 3)."""
    return (
        hkl[0] * to_q[0, 0] + hkl[1] * to_q[1, 0] + hkl[2] * to_q[2, 0],
        hkl[0] * to_q[0, 1] + hkl[1] * to_q[1, 1] + hkl[2] * to_q[2, 1],
        hkl[0] * to_q[0, 2] + hkl[1] * to_q[1, 2] + hkl[2] * to_q[2, 2],
    )


@njit(cache=True)
def place_phase(places: Floats, m: int, hkl: Triple) -> Phase:
    """Of a molecule's place; that of a single one makes no difference."""
    if len(places) == 1:
        return 1.0, 0.0
    quarters = 4 * (hkl[0] * places[m, 0] + hkl[1] * places[m, 1] + hkl[2] * places[m, 2])
    whole = np.rint(quarters)
    x = (np.pi / 2) * (quarters - whole)
    y = x * x
    # Taylor's series, right to 2e-9 at π/4: of as many voxels at once as the processor's vectors
    # hold, where the library's functions take one.
    sine = x * (1 + y * (-1 / 6 + y * (1 / 120 + y * (-1 / 5040 + y / 362880))))
    cosine = 1 + y * (-1 / 2 + y * (1 / 24 + y * (-1 / 720 + y * (1 / 40320 - y / 3628800))))
    quadrant = np.int64(whole) & 3
    a, b = (sine, cosine) if quadrant & 1 else (cosine, sine)
    return -a if quadrant == 1 or quadrant == 2 else a, -b if quadrant >= 2 else b


@njit(cache=True)
def fill_first(
    g: Floats, first: int, scalars: Complexes, row: int, sign: float, phase: Phase, q: Triple
) -> None:
    """g of one molecule, from `first` on: real and imaginary part.

    Parameters
    ----------
    g : (2, 6Z) float
    first : int
    scalars : (10, E) complex64
    row : int
        Which of them are the molecule's,
    sign : float
        and −1 if these are of the Friedel mate.
    phase, q
        As of `place_phase` and `wavevector`.
    """
    for part in range(2):
        own = (
            _turned_part(scalars[0, row], sign, phase, part),
            _turned_part(scalars[1, row], sign, phase, part),
            _turned_part(scalars[2, row], sign, phase, part),
            _turned_part(scalars[3, row], sign, phase, part),
        )
        for n, number in enumerate(numbers_of_motion(own, q)):
            g[part, first + n] = number


@njit(cache=True)
def numbers_of_motion(own: tuple[float, ...], q: Triple) -> tuple[float, ...]:
    """q F and S × q of one molecule, six, from one part of its F and S."""
    f, x, y, z = own
    qx, qy, qz = q
    return qx * f, qy * f, qz * f, y * qz - z * qy, z * qx - x * qz, x * qy - y * qx


@njit(cache=True)
def pull_first(
    by_g: Floats,
    first: int,
    by_scalars: Floats,
    sign: float,
    phase: Phase,
    q: Triple,
    out: Complexes,
) -> None:
    """The transpose of `fill_first`: derivatives by F and S are added to `out`, (10,) complex64.

    `by_scalars` (2, 10) is overwritten.
    """
    qx, qy, qz = q
    for part in range(2):
        tx, ty, tz = by_g[part, first], by_g[part, first + 1], by_g[part, first + 2]
        rx, ry, rz = by_g[part, first + 3], by_g[part, first + 4], by_g[part, first + 5]
        by_scalars[part, 0] = qx * tx + qy * ty + qz * tz
        by_scalars[part, 1] = qy * rz - qz * ry
        by_scalars[part, 2] = qz * rx - qx * rz
        by_scalars[part, 3] = qx * ry - qy * rx
    for n in range(4):
        out[n] += np.complex64(_turned_back(by_scalars, n, sign, phase))


@njit(cache=True)
def fill_second(
    h: Floats,
    first: int,
    packed: Floats,
    scalars: Complexes,
    row: int,
    sign: float,
    phase: Phase,
    q: Triple,
    duals: Floats,
) -> None:
    """h of one molecule, from `first` on: real and imaginary part.

    Parameters
    ----------
    h : (2, rZ) float
    packed : (21, 2) float64
        Overwritten.
    first, scalars, row, sign, phase, q
        As of `fill_first`.
    duals : (21, r) float32
        What each of g_i g_j, i ≤ j, counts in h.
    """
    for part in range(2):
        own = (
            _turned_part(scalars[0, row], sign, phase, part),
            _turned_part(scalars[1, row], sign, phase, part),
            _turned_part(scalars[2, row], sign, phase, part),
            _turned_part(scalars[3, row], sign, phase, part),
            _turned_part(scalars[4, row], sign, phase, part),
            _turned_part(scalars[5, row], sign, phase, part),
            _turned_part(scalars[6, row], sign, phase, part),
            _turned_part(scalars[7, row], sign, phase, part),
            _turned_part(scalars[8, row], sign, phase, part),
            _turned_part(scalars[9, row], sign, phase, part),
        )
        for n, product in enumerate(products_of_places(own, q)):
            packed[n, part] = product
    _combine(h, first, packed, duals)


@njit(cache=True)
def pull_second(
    by_h: Floats,
    first: int,
    packed: Floats,
    by_scalars: Floats,
    sign: float,
    phase: Phase,
    q: Triple,
    duals: Floats,
    out: Complexes,
) -> None:
    """The transpose of `fill_second`: derivatives by the ten scalars, into `out`, complex64.

    `packed` (21, 2) and `by_scalars` (2, 10) are overwritten.
    """
    for part in range(2):
        _expand(packed[:, part], by_h[part, first : first + duals.shape[1]], duals)
        _unpack(by_scalars[part], packed[:, part], q)
    for n in range(10):
        out[n] = _turned_back(by_scalars, n, sign, phase)


@njit(cache=True)
def _turned_part(scalar: complex, sign: float, phase: Phase, part: int) -> float:
    """Real or imaginary part of a scalar, or its conjugate, times the phase."""
    c, s = phase
    a, b = np.float64(scalar.real), sign * np.float64(scalar.imag)
    return a * c - b * s if part == 0 else a * s + b * c


@njit(cache=True)
def _turned_back(by_scalars: Floats, n: int, sign: float, phase: Phase) -> complex:
    """The transpose of `_turned_part`, of both parts (2, ·) of one scalar."""
    c, s = phase
    real = c * by_scalars[0, n] + s * by_scalars[1, n]
    return complex(real, sign * (c * by_scalars[1, n] - s * by_scalars[0, n]))


@njit(cache=True)
def _combine(h: Floats, first: int, packed: Floats, duals: Floats) -> None:
    """h of one molecule from Σ f g_i g_j, (21, 2): both parts."""
    r = duals.shape[1]
    for s in range(r):
        h[0, first + s] = h[1, first + s] = 0
    for n in range(21):
        real, imaginary = np.float32(packed[n, 0]), np.float32(packed[n, 1])
        for s in range(r):
            h[0, first + s] += duals[n, s] * real
            h[1, first + s] += duals[n, s] * imaginary


@njit(cache=True)
def _expand(packed: Floats, by_h: Floats, duals: Floats) -> None:
    """The transpose of `_combine`, of one part."""
    for n in range(21):
        packed[n] = 0
        for s in range(duals.shape[1]):
            packed[n] += duals[n, s] * by_h[s]


@njit(cache=True)
def products_of_places(own: tuple[float, ...], q: Triple) -> tuple[float, ...]:
    """Σ f g_i g_j of one molecule, i ≤ j row by row, 21, from one part of its ten scalars."""
    x, y, z = q
    # S × q
    tx = own[2] * z - own[3] * y
    ty = own[3] * x - own[1] * z
    tz = own[1] * y - own[2] * x
    f = own[0]
    xx, yy, zz, xy, xz, yz = own[4], own[5], own[6], own[7], own[8], own[9]
    # q × Q of its columns, row by row; then q × each row.
    ax, ay, az = y * xz - z * xy, y * yz - z * yy, y * zz - z * yz
    bx, by, bz = z * xx - x * xz, z * xy - x * yz, z * xz - x * zz
    cx, cy = x * xy - y * xx, x * yy - y * xy
    along_x = x * x * f, x * y * f, x * z * f, x * tx, x * ty, x * tz
    along_y = y * y * f, y * z * f, y * tx, y * ty, y * tz
    along_z = z * z * f, z * tx, z * ty, z * tz
    about_x = y * az - z * ay, z * ax - x * az, x * ay - y * ax
    about = *about_x, z * bx - x * bz, x * by - y * bx, x * cy - y * cx
    return along_x + along_y + along_z + about


@njit(cache=True)
def _unpack(own: Floats, packed: Floats, q: Triple) -> None:
    """The transpose of `_pack`: by the ten scalars."""
    x, y, z = q
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
