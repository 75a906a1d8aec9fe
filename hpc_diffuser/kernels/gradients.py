"""What small displacements add to a density that is drawn on a grid: the gradients of its atoms."""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.density import DEGREE, Shapes
from hpc_diffuser.kernels.fused import fused
from hpc_diffuser.kernels.vectors import ROW, add_three
from hpc_diffuser.system.arrays import Floats, Integers

AT_ONCE = 32  # fields drawn together: an atom's gradient is computed once for them

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
    densities : (M, x·y·z + ROW) float32
        Of every field, overwritten. An atom's row may run, with zeros, into the row behind it.
    """
    for part in prange((len(fields) + AT_ONCE - 1) // AT_ONCE):
        first, last = part * AT_ONCE, min((part + 1) * AT_ONCE, len(fields))
        densities[first:last] = 0
        for a in range(fields.shape[1]):
            own = slice(copies[0][a], copies[0][a + 1])
            starts, places, gradient = _gradient(
                steps[own], copies[1][own], copies[2][own], shapes, box
            )
            _add_along(fields[first:last, a], starts, places, gradient, densities[first:last])


@njit(cache=True)
def _gradient(
    steps: Floats, kinds: Integers, occupancies: Floats, shapes: Shapes, box: Integers
) -> tuple[Integers, Integers, Floats]:
    """−∇ρ of an atom's copies, in the rows of `ROW` points of the box that holds all of them.

    Returns
    -------
    starts, places : (R,) int
        Of the rows that any of them touches: where they begin in the density, and in `gradient`.
    gradient : (·,) float32
        Three times ROW numbers a row: x, y and z.
    """
    coefficients, m, reach = shapes
    corner, sides = _own_box(steps, reach, box)
    n_rows = (sides[2] + ROW - 1) // ROW
    touched = np.zeros(sides[0] * sides[1] * n_rows, np.bool_)
    gradient = np.zeros(len(touched) * 3 * ROW, np.float32)
    derivative = np.empty(DEGREE, np.float32)
    for copy in range(len(steps)):
        for c in range(DEGREE):
            derivative[c] = 2 * (c + 1) * occupancies[copy] * coefficients[kinds[copy], c]
        place = steps[copy] + 0.5 * (box - 1)
        first, last = np.ceil(place - reach) - corner, np.floor(place + reach) - corner
        place -= corner
        for i in range(int(first[0]), int(last[0]) + 1):
            dx = np.float32(i - place[0])
            for j in range(int(first[1]), int(last[1]) + 1):
                dy = np.float32(j - place[1])
                x, y = m[0, 0] * dx + m[0, 1] * dy, m[0, 1] * dx + m[1, 1] * dy
                z = m[0, 2] * dx + m[1, 2] * dy
                top = np.float32(1) - dx * x - dy * y
                if top * m[2, 2] + z * z <= 0:
                    continue
                for k in range(int(first[2]) // ROW, int(last[2]) // ROW + 1):
                    row = (i * sides[1] + j) * n_rows + k
                    own = gradient[row * 3 * ROW : (row + 1) * 3 * ROW]
                    _add_slope(own, top, (x, y, z), m, np.float32(k * ROW - place[2]), derivative)
                    touched[row] = True
    places = np.flatnonzero(touched)
    x_y, k = places // n_rows, places % n_rows
    starts = ((corner[0] + x_y // sides[1]) * box[1] + corner[1] + x_y % sides[1]) * box[2]
    return starts + corner[2] + k * ROW, places * (3 * ROW), gradient


@njit(cache=True)
def _own_box(steps: Floats, reach: float, box: Integers) -> tuple[Integers, Integers]:
    """Where the box of an atom's copies begins in the density's, and its sides: (3,) int both."""
    corner, sides = np.empty(3, np.int64), np.empty(3, np.int64)
    for c in range(3):
        places = steps[:, c] + 0.5 * (box[c] - 1)
        corner[c] = int(np.ceil(places.min() - reach))
        sides[c] = int(np.floor(places.max() + reach)) + 1 - corner[c]
    return corner, sides


@njit(cache=True)
def _add_slope(
    row: Floats,
    top: np.float32,
    at: tuple[np.float32, np.float32, np.float32],
    m: Floats,
    start: np.float32,
    derivative: Floats,
) -> None:
    """Add 2 p'(v) Md along a row, 0 where v < 0, with d the distance from the atom.

    p'(v) = Σ_j (j+1) c_j vʲ; `top` is v, and `at` Md, at dz = 0; see `density._add_row`.
    """
    x, y, z = at
    m_x, m_y, m_z = m[0, 2], m[1, 2], m[2, 2]
    c0, c1, c2, c3 = derivative[0], derivative[1], derivative[2], derivative[3]
    c4, c5, c6, c7 = derivative[4], derivative[5], derivative[6], derivative[7]
    c8, c9, c10, c11 = derivative[8], derivative[9], derivative[10], derivative[11]
    for n in range(ROW):
        dz = start + np.float32(n)
        v = fused(-dz, fused(m_z, dz, np.float32(2) * z), top)
        inside = v > np.float32(0)
        v = v if inside else np.float32(0)
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
        value = value if inside else np.float32(0)
        row[n] = fused(value, fused(m_x, dz, x), row[n])
        row[ROW + n] = fused(value, fused(m_y, dz, y), row[ROW + n])
        row[2 * ROW + n] = fused(value, fused(m_z, dz, z), row[2 * ROW + n])


@njit(cache=True)
def _add_along(
    fields: Floats, starts: Integers, places: Integers, gradient: Floats, densities: Floats
) -> None:
    """Add Δ·gradient of one atom to the density of every field: fields (M, 3)."""
    for m in range(len(fields)):
        x, y, z = fields[m, 0], fields[m, 1], fields[m, 2]
        density = densities[m]
        for row in range(len(starts)):
            add_three(density, starts[row], x, y, z, gradient, places[row])
