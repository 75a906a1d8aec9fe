"""What displacements add to a density that is drawn on a grid, to first and to second order."""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.density import DEGREE, Shapes
from hpc_diffuser.kernels.fused import fused
from hpc_diffuser.kernels.gradients import Copies
from hpc_diffuser.system.arrays import Floats, Integers, Mask

LANES = 8  # a row of an atom's own box has a multiple of so many points
_COMPONENTS = 9  # −∇ρ along x, y, z; ∂²ρ along xx, yy, zz, xy, xz, yz


@njit(cache=True, parallel=True)
def draw_curvatures(
    steps: Floats,
    copies: Copies,
    fields: Floats,
    spreads: Floats,
    shapes: Shapes,
    box: Integers,
    n_parts: int,
    densities: Floats,
) -> None:
    """What each of some fields adds: Σ_a −Δ_a·∇ρ_a, and Σ_a W_a:∇∇ρ_a.

    Parameters
    ----------
    steps, copies, shapes, box
        See `gradients.draw_gradients`. The shapes' coefficient of v must be 0: where it is not,
        ∇ρ has a jump at an atom's edge, and what ∇∇ρ has there is on no grid.
    fields : (M, N, 3) float32
        Displacements Δ in steps.
    spreads : (M, N, 6) float32
        W in steps², symmetric: xx, yy, zz, and twice xy, xz, yz.
    n_parts : int
        Threads that share the fields; each computes the atoms' derivatives once.
    densities : (M, 2, x·y·z + LANES) float32
        Of every field both, overwritten. An atom's row may run, with zeros, into the row behind it.
    """
    for part in prange(n_parts):
        first, last = part * len(fields) // n_parts, (part + 1) * len(fields) // n_parts
        densities[first:last] = 0
        for a in range(fields.shape[1]):
            own = slice(copies[0][a], copies[0][a + 1])
            corner, inside, derivatives = _derivatives(
                steps[own], copies[1][own], copies[2][own], shapes, box
            )
            for m in range(first, last):
                _add(fields[m, a], spreads[m, a], corner, inside, derivatives, box, densities[m])


@njit(cache=True, parallel=True)
def gather_curvatures(
    steps: Floats,
    copies: Copies,
    weights: Floats,
    shapes: Shapes,
    box: Integers,
    pulled: Floats,
    found: Floats,
) -> None:
    """The transpose of `draw_curvatures`: Σ_j w_ja Σ ρ̄_j ∇∇ρ_a, of derivatives ρ̄ by densities.

    Parameters
    ----------
    steps, copies, shapes, box
        See `draw_curvatures`.
    weights : (K, N) float64
        w, of each density that the atoms are drawn into.
    pulled : (B, K, ≥ x·y·z + LANES) float32
        Of each block of planes: see `density_adjoint.pull_back`.
    found : (B, N, 6) float64
        xx, yy, zz, xy, xz, yz in steps⁻². Overwritten.
    """
    size = pulled.shape[1] * pulled.shape[2]
    whole = pulled.reshape(-1)
    for a in prange(weights.shape[1]):
        own = slice(copies[0][a], copies[0][a + 1])
        corner, inside, derivatives = _derivatives(
            steps[own], copies[1][own], copies[2][own], shapes, box
        )
        row = np.empty(derivatives.shape[3], np.float32)
        for b in range(len(pulled)):
            found[b, a] = 0
            for i in range(derivatives.shape[0]):
                for j in range(derivatives.shape[1]):
                    if inside[i, j]:
                        start = ((corner[0] + i) * box[1] + corner[1] + j) * box[2] + corner[2]
                        row[:] = 0
                        for k in range(len(weights)):
                            w, at = np.float32(weights[k, a]), b * size + k * pulled.shape[2]
                            for n in range(len(row)):
                                row[n] = fused(w, whole[at + start + n], row[n])
                        for c in range(6):
                            of_row = derivatives[i, j, 3 + c]
                            total = 0.0
                            for n in range(len(row)):
                                total += np.float64(of_row[n] * row[n])
                            found[b, a, c] += total


@njit(cache=True)
def _derivatives(
    steps: Floats, kinds: Integers, occupancies: Floats, shapes: Shapes, box: Integers
) -> tuple[Integers, Mask, Floats]:
    """Of an atom's copies: where its own box begins, which rows it touches, `_COMPONENTS` there."""
    coefficients, metric, reach = shapes
    places = np.empty_like(steps)
    corner, sides = np.empty(3, np.int64), np.empty(3, np.int64)
    for c in range(3):
        places[:, c] = steps[:, c] + 0.5 * (box[c] - 1)
        corner[c] = int(np.ceil(places[:, c].min() - reach))
        sides[c] = int(np.floor(places[:, c].max() + reach)) + 1 - corner[c]
    width = (sides[2] + LANES - 1) // LANES * LANES
    found = np.zeros((sides[0], sides[1], _COMPONENTS, width), np.float32)
    inside = np.zeros((sides[0], sides[1]), np.bool_)
    derivative = np.empty(DEGREE, np.float32)
    once, twice = np.empty(width, np.float32), np.empty(width, np.float32)
    m = metric
    for copy in range(len(steps)):
        for c in range(DEGREE):
            derivative[c] = 2 * (c + 1) * occupancies[copy] * coefficients[kinds[copy], c]
        dz = np.float32(corner[2] - places[copy, 2])
        for i in range(sides[0]):
            dx = np.float32(corner[0] + i - places[copy, 0])
            for j in range(sides[1]):
                dy = np.float32(corner[1] + j - places[copy, 1])
                x, y = m[0, 0] * dx + m[0, 1] * dy, m[0, 1] * dx + m[1, 1] * dy
                across = m[0, 2] * dx + m[1, 2] * dy
                top = np.float32(1) - dx * x - dy * y
                if top * m[2, 2] + across * across > 0:
                    inside[i, j] = True
                    _differentiate(once, twice, top, across, m[2, 2], dz, derivative)
                    _add_components(found[i, j], once, twice, x, y, across, m, dz)
    return corner, inside, found


@njit(cache=True)
def _differentiate(
    once: Floats,
    twice: Floats,
    top: np.float32,
    across: np.float32,
    m_zz: np.float32,
    start: np.float32,
    derivative: Floats,
) -> None:
    """2 p'(v) = 2 Σ_j (j+1) c_j vʲ and 4 p''(v) along a row, 0 where v < 0; `density._add_row`."""
    c0, c1, c2, c3 = derivative[0], derivative[1], derivative[2], derivative[3]
    c4, c5, c6, c7 = derivative[4], derivative[5], derivative[6], derivative[7]
    c8, c9, c10, c11 = derivative[8], derivative[9], derivative[10], derivative[11]
    for n in range(len(once)):
        dz = start + np.float32(n)
        v = fused(-dz, fused(m_zz, dz, np.float32(2) * across), top)
        inside = v > np.float32(0)
        v = v if inside else np.float32(0)
        value, slope = fused(c11, v, c10), c11
        slope, value = fused(slope, v, value), fused(value, v, c9)
        slope, value = fused(slope, v, value), fused(value, v, c8)
        slope, value = fused(slope, v, value), fused(value, v, c7)
        slope, value = fused(slope, v, value), fused(value, v, c6)
        slope, value = fused(slope, v, value), fused(value, v, c5)
        slope, value = fused(slope, v, value), fused(value, v, c4)
        slope, value = fused(slope, v, value), fused(value, v, c3)
        slope, value = fused(slope, v, value), fused(value, v, c2)
        slope, value = fused(slope, v, value), fused(value, v, c1)
        slope, value = fused(slope, v, value), fused(value, v, c0)
        once[n] = value if inside else np.float32(0)
        twice[n] = np.float32(2) * slope if inside else np.float32(0)


@njit(cache=True)
def _add_components(
    found: Floats,
    once: Floats,
    twice: Floats,
    x: np.float32,
    y: np.float32,
    z: np.float32,
    m: Floats,
    start: np.float32,
) -> None:
    """Add 2 p' Md and 4 p'' (Md)(Md)ᵀ − 2 p' M to a row, d the distance; x, y, z: Md at dz = 0."""
    # One component a loop: of several, compilers make no vectors.
    _add_slope(found[0], once, x, m[0, 2], start)
    _add_slope(found[1], once, y, m[1, 2], start)
    _add_slope(found[2], once, z, m[2, 2], start)
    _add_bend(found[3], once, twice, (x, m[0, 2]), (x, m[0, 2]), m[0, 0], start)
    _add_bend(found[4], once, twice, (y, m[1, 2]), (y, m[1, 2]), m[1, 1], start)
    _add_bend(found[5], once, twice, (z, m[2, 2]), (z, m[2, 2]), m[2, 2], start)
    _add_bend(found[6], once, twice, (x, m[0, 2]), (y, m[1, 2]), m[0, 1], start)
    _add_bend(found[7], once, twice, (x, m[0, 2]), (z, m[2, 2]), m[0, 2], start)
    _add_bend(found[8], once, twice, (y, m[1, 2]), (z, m[2, 2]), m[1, 2], start)


@njit(cache=True)
def _add_slope(
    row: Floats, once: Floats, at: np.float32, step: np.float32, start: np.float32
) -> None:
    for n in range(len(once)):
        dz = start + np.float32(n)
        row[n] = fused(once[n], fused(step, dz, at), row[n])


@njit(cache=True)
def _add_bend(
    row: Floats,
    once: Floats,
    twice: Floats,
    one: tuple[np.float32, np.float32],
    other: tuple[np.float32, np.float32],
    m: np.float32,
    start: np.float32,
) -> None:
    for n in range(len(once)):
        dz = start + np.float32(n)
        both = fused(one[1], dz, one[0]) * fused(other[1], dz, other[0])
        row[n] = fused(-m, once[n], fused(twice[n], both, row[n]))


@njit(cache=True)
def _add(
    field: Floats,
    spread: Floats,
    corner: Integers,
    inside: Mask,
    derivatives: Floats,
    box: Integers,
    densities: Floats,
) -> None:
    """Add Δ·(−∇ρ) and W:∇∇ρ of one atom to both densities of a field."""
    width = derivatives.shape[3]
    x, y, z = field[0], field[1], field[2]
    xx, yy, zz = spread[0], spread[1], spread[2]
    xy, xz, yz = spread[3], spread[4], spread[5]
    for i in range(derivatives.shape[0]):
        for j in range(derivatives.shape[1]):
            if inside[i, j]:
                start = ((corner[0] + i) * box[1] + corner[1] + j) * box[2] + corner[2]
                first = densities[0, start : start + width]
                second = densities[1, start : start + width]
                of = derivatives[i, j]
                for n in range(width):
                    total = fused(x, of[0, n], first[n])
                    total = fused(y, of[1, n], total)
                    first[n] = fused(z, of[2, n], total)
                for n in range(width):
                    total = fused(xx, of[3, n], second[n])
                    total = fused(yy, of[4, n], total)
                    total = fused(zz, of[5, n], total)
                    total = fused(xy, of[6, n], total)
                    total = fused(xz, of[7, n], total)
                    second[n] = fused(yz, of[8, n], total)
