"""What small displacements add to a density that is drawn on a grid: the gradients of its atoms."""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.density import DEGREE, Shapes
from hpc_diffuser.system.arrays import Floats, Integers

AT_ONCE = 32  # fields drawn together: an atom's gradient is computed once for them
LANES = 8  # a row of an atom's own box has a multiple of so many points

Sides = tuple[int, int]

# See `draw_gradients`.
Copies = tuple[Integers, Integers, Floats]


@njit(cache=True, parallel=True)
def draw_gradients(
    steps: Floats, copies: Copies, fields: Floats, shapes: Shapes, box: Integers, densities: Floats
) -> None:
    """What displacements along each of some fields add to a density: Σ_a −Δ_a·∇ρ_a.

    Parameters
    ----------
    steps : (C, 3) float64
        Positions of copies of N atoms in grid steps from the box's middle.
    copies : (first (N + 1,) int, kinds (C,) int, occupancies (C,) float32)
        Those of atom a are from the first of a up to the first of a + 1.
    fields : (M, N, 3) float32
        Displacements Δ in steps.
    shapes
        See `density.draw`.
    box : (3,) int
        Grid points.
    densities : (M, x·y·z + LANES) float32
        Of every field, overwritten. An atom's row may run, with zeros, into the row behind it.
    """
    for part in prange((len(fields) + AT_ONCE - 1) // AT_ONCE):
        first, last = part * AT_ONCE, min((part + 1) * AT_ONCE, len(fields))
        densities[first:last] = 0
        for a in range(fields.shape[1]):
            own = slice(copies[0][a], copies[0][a + 1])
            corner, gradient = _gradient(steps[own], copies[1][own], copies[2][own], shapes, box)
            _add_along(fields[first:last, a], corner, gradient, box, densities[first:last])


@njit(cache=True)
def _gradient(
    steps: Floats, kinds: Integers, occupancies: Floats, shapes: Shapes, box: Integers
) -> tuple[Integers, Floats]:
    """−∇ρ of an atom's copies: where its own box begins, and its three components there."""
    coefficients, metric, reach = shapes
    places = np.empty_like(steps)
    corner, sides = np.empty(3, np.int64), np.empty(3, np.int64)
    for c in range(3):
        places[:, c] = steps[:, c] + 0.5 * (box[c] - 1)
        corner[c] = int(np.ceil(places[:, c].min() - reach))
        sides[c] = int(np.floor(places[:, c].max() + reach)) + 1 - corner[c]
    width = (sides[2] + LANES - 1) // LANES * LANES
    gradient = np.zeros((sides[0], sides[1], 3, width), np.float32)
    derivative, slope = np.empty(DEGREE, np.float32), np.empty(width, np.float32)
    for copy in range(len(steps)):
        for c in range(DEGREE):
            derivative[c] = 2 * (c + 1) * occupancies[copy] * coefficients[kinds[copy], c]
        (x0, x1), (y0, y1), (z0, z1) = _own_sides(places[copy], corner, reach)
        z0 = z0 // LANES * LANES
        own, dz = slope[: z1 - z0], np.float32(corner[2] + z0 - places[copy, 2])
        for i in range(x0, x1):
            dx = np.float32(corner[0] + i - places[copy, 0])
            for j in range(y0, y1):
                dy = np.float32(corner[1] + j - places[copy, 1])
                m = metric
                top = np.float32(1) - m[0, 0] * dx * dx - 2 * m[0, 1] * dx * dy - m[1, 1] * dy * dy
                across = m[0, 2] * dx + m[1, 2] * dy
                if top * m[2, 2] + across * across > 0:
                    _slope(own, top, across, m[2, 2], dz, derivative)
                    x, y = m[0, 0] * dx + m[0, 1] * dy, m[0, 1] * dx + m[1, 1] * dy
                    _add_components(gradient[i, j, :, z0:z1], own, x, y, across, m, dz)
    return corner, gradient


@njit(cache=True)
def _own_sides(place: Floats, corner: Integers, reach: float) -> tuple[Sides, Sides, Sides]:
    """Where a copy's own points begin and end in its atom's box."""
    first, last = np.ceil(place - reach), np.floor(place + reach)
    x = (int(first[0]) - corner[0], int(last[0]) + 1 - corner[0])
    y = (int(first[1]) - corner[1], int(last[1]) + 1 - corner[1])
    z = (int(first[2]) - corner[2], int(last[2]) + 1 - corner[2])
    return x, y, z


@njit(cache=True)
def _slope(
    row: Floats, top: float, across: float, m_zz: float, start: np.float32, derivative: Floats
) -> None:
    """2 p'(v) = 2 Σ_j (j+1) c_j vʲ along a row, 0 where v < 0; see `density._add_row`."""
    c0, c1, c2, c3 = derivative[0], derivative[1], derivative[2], derivative[3]
    c4, c5, c6, c7 = derivative[4], derivative[5], derivative[6], derivative[7]
    c8, c9, c10, c11 = derivative[8], derivative[9], derivative[10], derivative[11]
    for n in range(len(row)):
        dz = start + np.float32(n)
        v = top - dz * (np.float32(2) * across + m_zz * dz)
        inside = v > np.float32(0)
        v = v if inside else np.float32(0)
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
        row[n] = value if inside else np.float32(0)


@njit(cache=True)
def _add_components(
    gradient: Floats, slope: Floats, x: float, y: float, z: float, m: Floats, start: np.float32
) -> None:
    """Add p'(v) 2Md to a row's components, with d the distance from the atom; x, y, z at dz = 0."""
    for n in range(len(slope)):
        dz = start + np.float32(n)
        gradient[0, n] += slope[n] * (x + m[0, 2] * dz)
        gradient[1, n] += slope[n] * (y + m[1, 2] * dz)
        gradient[2, n] += slope[n] * (z + m[2, 2] * dz)


@njit(cache=True)
def _add_along(
    fields: Floats, corner: Integers, gradient: Floats, box: Integers, densities: Floats
) -> None:
    """Add Δ·gradient of one atom to the density of every field: fields (M, 3)."""
    width = gradient.shape[3]
    for m in range(len(fields)):
        x, y, z = fields[m, 0], fields[m, 1], fields[m, 2]
        for i in range(gradient.shape[0]):
            for j in range(gradient.shape[1]):
                start = ((corner[0] + i) * box[1] + corner[1] + j) * box[2] + corner[2]
                row, of = densities[m, start : start + width], gradient[i, j]
                for n in range(width):
                    row[n] += x * of[0, n] + y * of[1, n] + z * of[2, n]
