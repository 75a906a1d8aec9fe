"""Random maps in crystals of many space groups, and what a target should have of them."""

import gemmi
import numpy as np
from builders import TRICLINIC, gemmi_inverse_d_squared

from hpc_diffuser.crystal.lattice import HklGrid, grid_to_resolution
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import TargetOptions

OPTIONS = TargetOptions(d_max_A=6.0, d_min_A=2.9, n_shells=5)
CELL_OF = {
    "P 1": TRICLINIC,
    "P 1 21 1": (13.0, 12.0, 11.0, 90.0, 103.0, 90.0),
    "P 41": (12.0, 12.0, 17.0, 90.0, 90.0, 90.0),
    "P 43 21 2": (12.0, 12.0, 17.0, 90.0, 90.0, 90.0),
    "P 21 21 21": (12.0, 13.0, 14.0, 90.0, 90.0, 90.0),
    "P 6": (12.0, 12.0, 15.0, 90.0, 90.0, 120.0),
    "R 3:H": (12.0, 12.0, 15.0, 90.0, 90.0, 120.0),
    "I 2 3": (12.0, 12.0, 12.0, 90.0, 90.0, 90.0),
}


def random_map(
    divisions: tuple[int, int, int] = (5, 5, 5),
    space_group: str = "P 1",
    with_errors: bool = True,
    missing: float = 0.2,
) -> DiffuseMap:
    """Intensities of 1 to 2 and errors of 0.1 to 0.2, some voxels not measured."""
    rng = np.random.default_rng(0)
    grid = grid_to_resolution(CELL_OF[space_group], divisions, OPTIONS.d_min_A)
    intensity = rng.uniform(1, 2, grid.shape).astype(np.float32)
    intensity[rng.random(grid.shape) < missing] = np.nan
    errors = rng.uniform(0.1, 0.2, grid.shape).astype(np.float32)
    return DiffuseMap(grid, intensity, space_group, errors if with_errors else None)


def all_indices(grid: HklGrid) -> np.ndarray:
    """Every sample of a map, both Friedel mates: (V, 3) int, in the order of the array."""
    return np.argwhere(np.ones(grid.shape, bool)) - np.array(grid.extent)


def as_set(indices: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, indices.tolist()))


def wanted(grid: HklGrid, options: TargetOptions, space_group: str = "P 1") -> np.ndarray:
    """Mask of `all_indices`: in the resolution range and outside all halos.

    The nearest Bragg peak is looked for among the eight corners of the unit of hkl that a sample
    lies in, of which a centred lattice has only those with whole hkl·t for all its translations t.
    """
    indices = all_indices(grid)
    hkl = indices / np.array(grid.divisions)
    corners = np.floor(hkl)[:, None] + np.argwhere(np.ones((2, 2, 2)))
    translations = np.array(gemmi.SpaceGroup(space_group).operations().cen_ops) / gemmi.Op.DEN
    phases = corners @ translations.T
    extinct = (np.abs(phases - np.rint(phases)) > 1e-6).any(axis=-1)
    away = np.linalg.norm(hkl[:, None] - corners, axis=-1)
    away = np.where(extinct, np.inf, away).min(axis=1)
    s2 = gemmi_inverse_d_squared(indices, grid.unit_cell, grid.divisions)
    in_range = (s2 >= 1 / options.d_max_A**2) & (s2 <= 1 / options.d_min_A**2)
    return in_range & (away > options.halo_radius + 1e-9)


def value(array: np.ndarray, grid: HklGrid, index) -> float:
    """A map's value at a sample index."""
    return float(array[tuple(np.asarray(index) + grid.extent)])
