"""Boxes of grid points that molecules are drawn in: how large, and how many at once."""

from __future__ import annotations

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.kernels.gradients import AT_ONCE
from hpc_diffuser.motion.configurations import motion_along
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.exact_sums import CHUNK
from hpc_diffuser.scattering.shapes import fit_shapes, grid_points_per_cell
from hpc_diffuser.scattering.slab import Slab
from hpc_diffuser.system.arrays import Floats, Integers

FARTHEST = 3.0  # standard deviations that an atom moves, in boxes that hold all samples
_GRADIENT_BYTES = 2**26  # of densities drawn together, where they are not fewer than samples are
MOST_POINTS = 1e8  # of a box: 1.6 GB for the configurations drawn at once


def product_flops(box: Integers | Floats, planes: float, rows: float, quarter: float) -> float:
    """Of the products along x, y and z for a box of points, all folded; real at first."""
    x, y, z = box
    return float(2 * planes * x * y * z + 4 * rows * y * z + 8 * quarter * z)


def moved_at_once(points: float) -> int:
    """How many configurations on so many grid points are drawn and transformed together."""
    return CHUNK if 4 * points * CHUNK <= _GRADIENT_BYTES else CHUNK // 2


def drawn_at_once(points: float) -> int:
    """How many densities of so many grid points are drawn from the same gradients."""
    return int(np.clip(_GRADIENT_BYTES / (4 * points), CHUNK // 2, AT_ONCE))


def curvatures_at_once(points: float) -> int:
    """How many fields' first and second derivatives, on so many grid points, are drawn at once."""
    return drawn_at_once(2 * points)


def farthest_box(
    modes: Modes, slab: Slab, farthest: Parameters, factors: AtomFactors | None = None
) -> Floats:
    """Points (3,) of the box that holds the molecule as it moves with its largest amplitudes."""
    structure, cell = modes.structure, slab.grid.unit_cell
    shapes = fit_shapes(factors or atom_factors(structure), cell, slab.d_min)
    per_cell = grid_points_per_cell(cell, slab.d_min)
    to_steps = fractionalization(cell).T * per_cell
    reach = shapes.radius_A * np.linalg.norm(to_steps, axis=0).max()
    middle = (structure.positions.min(axis=0) + structure.positions.max(axis=0)) / 2
    motion = motion_along(to_steps, modes, farthest.sampled)
    away = (np.abs((structure.positions - middle) @ to_steps) + FARTHEST * motion).max(axis=0)
    box = 2 * np.ceil(away + reach + 1)
    # Beyond that many points a fit ends with an error.
    held: Floats = box * min(1.0, (MOST_POINTS / box.prod()) ** (1 / 3))
    return held
