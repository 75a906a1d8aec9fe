"""What each estimator of the moments costs in time and memory.

Time by counts of what is drawn and multiplied, at usual rates, and never by the clock: it is the
same on any ranks, and at any other time. Only ratios count.
"""

from __future__ import annotations

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.configurations import independent_fields
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Sampled
from hpc_diffuser.scattering.boxes import drawn_at_once
from hpc_diffuser.scattering.dressing import (
    can_be_dressed,
    dressing_copies,
    field_covariances,
)
from hpc_diffuser.scattering.shapes import WIDTHS
from hpc_diffuser.scattering.slab import Slab, plane_costs
from hpc_diffuser.scattering.transform import (
    ATOM_S,
    density_products_s,
    steps_per_A,
    transform_costs,
)
from hpc_diffuser.system.arrays import Floats

COPY_BYTES = 400.0  # of an atom's copy: its place in Å and in steps, its names, its factors
# Beside `density_products_s`, as `python tests/campaigns/estimator_rates.py bench.toml` measures.
_COPY_S = 0.95e-6  # to draw a copy, and its gradient
_POINT_S = 2.7e-10  # to add a gradient to a field's density
_SQUARES = 0.65  # of `density_products_s`, where |F|² alone is asked for: see `kernels.squares`
_BOX_POINT_S = 6.5e-11  # of a product with densities that lie in memory
_WAVE_S = 6e-8  # of an atom at a voxel, in double precision
_ALONG_S = 2.4e-9  # the same of each field


def estimator_costs(
    structure: Structure,
    grid: HklGrid,
    d_min: float,
    fields: Floats,
    n_samples: int,
    drawn: bool,
) -> dict[str, float]:
    """Seconds, roughly, of the moments on a core, by each estimator.

    Parameters
    ----------
    structure : Structure
    grid : HklGrid
    d_min : float, Å
    fields : (M, N, 3) float, Å
        Independent motions, each by its standard deviation.
    n_samples : int
    drawn : bool
        By way of the density; otherwise as sums over atoms.
    """
    direct, density = transform_costs(structure, grid, d_min)
    first, remainder = (_drawn if drawn else _summed)(structure, grid, d_min, fields)
    return {
        "sampled": n_samples * (density if drawn else direct),
        "one-phonon": first,
        "control-variate": first + n_samples * remainder,
    }


def expanding_bytes(
    modes: Modes, slab: Slab, farthest: Sampled, drawn: bool
) -> tuple[list[float], list[float]]:
    """Bytes of each of the arrays that only the estimators with an expansion work with.

    Parameters
    ----------
    modes : Modes
    slab : Slab
        All planes that are computed, by whichever rank.
    farthest : Sampled
        The largest motions. Where these have no expansion, it is as for the largest that has one.
    drawn : bool
        By way of the density; otherwise as sums over atoms.

    Returns
    -------
    whole, per_value : list of float
        Of those that are as large on every rank, and of the others for each stored value.
    """
    fields = independent_fields(modes, farthest)
    of_fields: list[float] = [8 * fields.size] * 3
    if not drawn:
        return of_fields, [8 * (1 + len(fields)), *[8] * 4]
    covariances = field_covariances(fields)
    while not can_be_dressed(covariances, slab.d_min):
        covariances = covariances * 0.9
    grid = slab.grid
    n_copies, box, _ = _dressed(modes.structure, grid.unit_cell, slab.d_min, covariances)
    points = float(np.prod(box))
    of_boxes = [4 * points * drawn_at_once(points)] * 2 + [4 * points]
    return [*of_fields, 4 * fields.size, COPY_BYTES * n_copies, *of_boxes], [12, 12, 8]


def _dressed(
    structure: Structure, unit_cell: tuple[float, ...], d_min: float, covariances: Floats
) -> tuple[int, Floats, Floats]:
    """How many copies, the points (3,) of the box that holds them, and (N, 3) those of atoms'."""
    copies = dressing_copies(covariances, d_min)
    places = (structure.positions[copies.atoms] + copies.offsets) @ steps_per_A(unit_cell, d_min)
    first = np.searchsorted(copies.atoms, np.arange(len(structure)))
    width = WIDTHS[2] + 1
    own = np.maximum.reduceat(places, first) - np.minimum.reduceat(places, first) + width
    return len(copies.atoms), np.ptp(places, axis=0) + width + 1, own


def _drawn(
    structure: Structure, grid: HklGrid, d_min: float, fields: Floats
) -> tuple[float, float]:
    """Of m and all H_i, and of a sample's remainder."""
    covariances = field_covariances(fields)
    n_copies, box, own = _dressed(structure, grid.unit_cell, d_min, covariances)
    points = float(np.prod(box))
    n_fields, at_once = len(fields), drawn_at_once(points)
    products = density_products_s(box, grid, d_min)
    gradients, adding = _COPY_S * n_copies, _POINT_S * float(np.prod(own, axis=1).sum())
    drawings = -(-n_fields // at_once)
    squares = (1 + n_fields) * _SQUARES * products
    first_order = drawings * gradients + n_fields * adding + squares
    if n_fields <= at_once:
        expected = _BOX_POINT_S * n_fields * points
    else:
        expected = gradients / at_once + adding
    return first_order, products + ATOM_S * len(structure) + expected


def _summed(
    structure: Structure, grid: HklGrid, d_min: float, fields: Floats
) -> tuple[float, float]:
    """The same of sums over atoms."""
    values = 4 * float(plane_costs(grid, d_min).sum())
    n_fields, n_atoms = len(fields), len(structure)
    direct, _ = transform_costs(structure, grid, d_min)
    first_order = values * n_atoms * (_WAVE_S + _ALONG_S * n_fields)
    return first_order, direct + 4 * _BOX_POINT_S * n_fields * values
