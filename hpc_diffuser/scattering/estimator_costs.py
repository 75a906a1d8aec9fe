"""What each estimator of the moments costs: counts of what is drawn and multiplied, at usual rates.

Never by the clock: the same on any ranks, and at any other time. Only their ratios count.
"""

from __future__ import annotations

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.scattering.density import drawn_at_once
from hpc_diffuser.scattering.dressing import dressing_copies, field_covariances
from hpc_diffuser.scattering.shapes import WIDTHS
from hpc_diffuser.scattering.slab import plane_costs
from hpc_diffuser.scattering.transform import (
    ATOM_S,
    density_products_s,
    steps_per_A,
    transform_costs,
)
from hpc_diffuser.system.arrays import Floats

_COPY_S = 1.2e-6  # a copy's gradient: 34 operations a grid point, where drawing it has 24
_POINT_S = 1.2e-9  # to add a gradient to a field's density
_BOX_POINT_S = 2e-10  # of a product with densities that lie in memory
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


def _drawn(
    structure: Structure, grid: HklGrid, d_min: float, fields: Floats
) -> tuple[float, float]:
    """Of m and all H_i, and of a sample's remainder."""
    copies = dressing_copies(field_covariances(fields), d_min)
    to_steps = steps_per_A(grid.unit_cell, d_min)
    places = (structure.positions[copies.atoms] + copies.offsets) @ to_steps
    first = np.searchsorted(copies.atoms, np.arange(len(structure)))
    width = WIDTHS[2] + 1
    sides = np.maximum.reduceat(places, first) - np.minimum.reduceat(places, first) + width
    box = np.ptp(places, axis=0) + width + 1
    n_fields, at_once = len(fields), drawn_at_once(float(np.prod(box)))
    products = density_products_s(box, grid, d_min)
    gradients, adding = _COPY_S * len(copies.atoms), _POINT_S * float(np.prod(sides, axis=1).sum())
    drawings = 1 + -(-n_fields // at_once)
    first_order = drawings * gradients + n_fields * adding + (1 + n_fields) * products
    if n_fields <= at_once:
        expected = _BOX_POINT_S * n_fields * float(np.prod(box))
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
