"""AyyerLab/diffuser: `diff_intens` (x, y, z), 000 at size//2, NaN where masked; `q_voxel_size`.

The columns of `q_voxel_size` (3, 3) are the steps along the array's axes in Å⁻¹, |q| = 1/d: no 2π.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.io.hdf5 import Arrays, hdf5_image, read_arrays
from hpc_diffuser.io.maps.common import (
    Found,
    Given,
    divisions_of,
    masks_of,
    numbers_text,
    reciprocal_lengths,
    space_group_of,
    unit_cell_of,
    without_mask,
)
from hpc_diffuser.io.maps.placing import check_values, embedded, grid_of_box
from hpc_diffuser.io.opened import Opened
from hpc_diffuser.io.plausible import check_numbers
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.system.errors import InputError

if TYPE_CHECKING:
    import h5py

INTENSITY, STEPS = "diff_intens", "q_voxel_size"
_ANGLE = 1.0  # degrees
_MOST_STEP = 1e3  # 1/Å


def looks_like_diffuser(file: Opened) -> bool:
    """Whether it holds what diffuser calls its intensities."""
    return INTENSITY in file.names


def read_diffuser(file: Opened, given: Given) -> Found:
    """A map of the reference implementation; the cell has to be given."""
    return read_arrays(
        file, "diffuser map", (INTENSITY, STEPS), lambda arrays: _build(arrays, given)
    )


def diffuser_bytes(diffuse: DiffuseMap) -> bytes:
    """Such a file, with NaN where masked."""
    # Rows of the fractionalization matrix are a*, b*, c*: here they are the columns.
    steps = fractionalization(diffuse.grid.unit_cell).T / np.array(diffuse.grid.divisions)

    def fill(file: h5py.File) -> None:
        data = diffuse.intensity.astype(np.float32)
        file.create_dataset(INTENSITY, data=data, compression="gzip", compression_opts=1)
        file[STEPS] = steps

    return hdf5_image(fill)


def _build(arrays: Arrays, given: Given) -> Found:
    intensity = arrays[INTENSITY]
    if intensity.ndim != 3 or min(intensity.shape, default=0) < 2:
        raise InputError(f"{INTENSITY} has shape {intensity.shape}: expected three axes")
    check_values(intensity, INTENSITY, intensity.shape)
    unit_cell = unit_cell_of(given)
    assumed = ["000 at the middle of the array (size // 2); axes along a*, b*, c*"]
    divisions = _divisions(arrays.get(STEPS), unit_cell, given, assumed)
    spans = tuple((-(n // 2), n - 1 - n // 2) for n in intensity.shape)
    grid, place = grid_of_box(unit_cell, divisions, spans, f"axes of {INTENSITY}")
    space_group = space_group_of(given, None, assumed)
    intensity = without_mask(intensity, masks_of(intensity, (), assumed))
    diffuse = DiffuseMap(grid, embedded(intensity, grid, place), space_group)
    return Found(diffuse, "diffuser map", assumed)


def _divisions(
    steps: np.ndarray | None, unit_cell: tuple[float, ...], given: Given, assumed: list[str]
) -> tuple[int, int, int]:
    if steps is None:
        if given.divisions is None:
            raise InputError(
                f"there is no {STEPS}: give --divisions, the samples per reciprocal-lattice unit "
                "along h, k, l, as 7,7,7"
            )
        return given.divisions
    expected = f"{STEPS}: expected 3 x 3 numbers, the columns steps in 1/Å"
    if steps.shape != (3, 3):
        raise InputError(expected)
    check_numbers(steps, STEPS, _MOST_STEP)
    lengths = np.linalg.norm(steps, axis=0)
    if not lengths.all():
        raise InputError(expected)
    assumed.append(f"columns of {STEPS} in 1/Å, without 2π")
    _check_angles(steps / lengths, unit_cell)
    per_unit = np.array(reciprocal_lengths(unit_cell)) / lengths
    return divisions_of(per_unit, f"steps of {numbers_text(lengths)} 1/Å")


def _check_angles(directions: np.ndarray, unit_cell: tuple[float, ...]) -> None:
    """Raise InputError unless the axes meet as the reciprocal cell's do."""
    axes = fractionalization(unit_cell)
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    found, expected = directions.T @ directions, axes @ axes.T
    for i, j in ((1, 2), (0, 2), (0, 1)):
        angles = [math.degrees(math.acos(np.clip(c[i, j], -1, 1))) for c in (found, expected)]
        if abs(angles[0] - angles[1]) > _ANGLE:
            raise InputError(
                f"columns {i + 1} and {j + 1} of {STEPS} meet at {angles[0]:.1f}°, reciprocal axes "
                f"of the cell at {angles[1]:.1f}°: give the crystal's --cell"
            )
