"""What ranks hold of a model's intensity brought together: all voxels on the root, as a map."""

from __future__ import annotations

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import map_from_voxels
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.scattering.models import Model
from hpc_diffuser.system.arrays import Floats, Integers


def collecting_bytes(voxels: int, per_voxel: int) -> list[float]:
    """Bytes of each array of `collect`, on the root, from parts of so many bytes for each value."""
    return [(8 + per_voxel) * voxels]


def collect(model: Model, values: Floats, n_voxels: int) -> Floats | None:
    """All V voxels' values from the ranks that hold them, on the group's root."""
    group = model.group
    lengths = group.gather_to_all(len(model.rows))
    rows = group.concatenated_on_root(model.rows, lengths)
    parts = group.concatenated_on_root(values.astype(np.float64), lengths)
    if parts is None:
        return None
    whole = np.full(n_voxels, np.nan)
    whole[rows] = parts
    return whole


def whole_map(
    model: Model, modes: Modes, grid: HklGrid, indices: Integers, values: Floats
) -> DiffuseMap | None:
    """The map of a model's values, on the root; None on the other ranks."""
    collected = collect(model, values, len(indices))
    if collected is None:
        return None
    return map_from_voxels(grid, indices, collected, modes.space_group)
