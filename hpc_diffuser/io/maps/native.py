"""Native diffuse maps (NeXus) and targets, which are such maps with a free set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_diffuser import __version__
from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.io.hdf5 import Arrays, hdf5_image, read_arrays, require_format, write_hdf5
from hpc_diffuser.io.maps.common import Found, Given
from hpc_diffuser.io.maps.placing import MOST_VALUE, check_values, embedded, grid_of_axes
from hpc_diffuser.io.opened import Opened
from hpc_diffuser.io.plausible import check_crystal, check_numbers
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.statistics import N_SUMS
from hpc_diffuser.maps.target import Target
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.storage import write_bytes

if TYPE_CHECKING:
    import h5py

_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_DATA = "entry/intensity"
HALVES = ("intensity_half1", "intensity_half2")
_MAP = (
    *(f"{_DATA}/{name}" for name in ("h", "k", "l", "intensity", "intensity_errors")),
    *(f"{_DATA}/{name}" for name in HALVES),
    "entry/crystal/unit_cell",
    "entry/crystal/space_group",
)
_TARGET = ("@format", "@version", *_MAP, "entry/free_set", "entry/shell_edges", "entry/half_sums")
_LEAST_D_MIN_A, _MOST_SHELLS = 0.1, 10_000


def write_map(path: Path, diffuse: DiffuseMap, provenance: dict[str, str]) -> None:
    """Write a map that mdx2, nexusformat, NeXpy and h5web open."""
    write_bytes(path, map_bytes(diffuse, provenance))


def map_bytes(diffuse: DiffuseMap, provenance: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """The same as the file's bytes."""
    axes = [diffuse.grid.axis(i) for i in range(3)]

    def fill(file: h5py.File) -> None:
        file.attrs.update(format="hpc-diffuser/map", version=1)
        _fill_map(file, axes, diffuse.intensity, diffuse.errors)
        for name, half in zip(HALVES, diffuse.halves or (), strict=False):
            file["entry/intensity"].create_dataset(
                name, data=half.astype(np.float32), **_COMPRESSED
            )
        _fill_crystal(file, diffuse.grid, diffuse.space_group, provenance)

    return hdf5_image(fill)


def looks_native(file: Opened) -> bool:
    """Whether it is a map of this program, or one laid out like it that is not of mdx2."""
    others = any(name.startswith("entry/") and name.endswith("@signal") for name in file.names)
    return f"{_DATA}/h" in file.names and ("@format" in file.names or not others)


def read_native(file: Opened, given: Given) -> Found:
    """Such a map as any other."""
    return Found(read_map(file, given.unit_cell, given.space_group), "native map")


def read_map(
    source: Path | Opened,
    unit_cell: tuple[float, ...] | None = None,
    space_group: str | None = None,
) -> DiffuseMap:
    """Read a native map, whatever part of reciprocal space it covers, onto a symmetric grid.

    A cell (Å, degrees) and a space group come before those of the file.
    """

    def build(arrays: Arrays) -> DiffuseMap:
        stored = _crystal(arrays)
        return _build_map(arrays, unit_cell or stored[0], space_group or stored[1])

    return read_arrays(source, "diffuse map", _MAP, build)


def write_target(path: Path, target: Target, provenance: dict[str, Any]) -> None:
    """Write a target: a map of the half with h ≥ 0, a free-set mask and the shells' edges.

    What is said of its provenance is texts and numbers.
    """
    grid = target.grid
    shape = (grid.extent[0] + 1, *grid.shape[1:])
    place = tuple((target.indices + np.array([0, *grid.extent[1:]])).T)
    axes = [grid.axis(0)[grid.extent[0] :], grid.axis(1), grid.axis(2)]

    def on_grid(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        array = np.full(shape, np.nan, np.float32)
        array[place] = values
        return array

    def fill(file: h5py.File) -> None:
        file.attrs.update(format="hpc-diffuser/target", version=1)
        _fill_map(file, axes, on_grid(target.intensity), on_grid(target.errors))
        _fill_crystal(file, grid, target.space_group, provenance)
        free = np.zeros(shape, np.uint8)
        free[place] = target.free
        file["entry"].create_dataset("free_set", data=free, **_COMPRESSED)
        file["entry/shell_edges"] = target.shell_edges
        file["entry/shell_edges"].attrs["units"] = "1/angstrom"
        if target.half_sums is not None:
            file["entry/half_sums"] = target.half_sums

    write_hdf5(path, fill)


def read_target(source: Path | Opened) -> Target:
    """Read a target.

    Raises
    ------
    InputError
        For another format, or a file without voxels.
    """
    return read_arrays(source, "target", _TARGET, _build_target)


def reading_bytes(voxels: int, points: int, has_errors: bool) -> list[float]:
    """Bytes of each of the arrays that `read_target` works with at once.

    Half a box of the file's arrays, three arrays of indices.

    Parameters
    ----------
    voxels, points : int
        Of the target, of its whole grid.
    has_errors : bool
    """
    box, v = points / 2, voxels
    return [4 * box, 4 * box * has_errors, box, box, 24 * v, 24 * v, 24 * v, 4 * v, v]


def writing_bytes(voxels: int, points: int, expanded: int) -> list[list[float]]:
    """The same of the crowded moments of `write_map`: on the whole grid, an HDF5 file's image.

    Parameters
    ----------
    voxels, points, expanded : int
        Of the target, of its whole grid, of the target with all mates.
    """
    stored = 7 * expanded  # all mates, and Friedel's, compressed
    return [
        [4 * points, 24 * voxels, 24 * voxels],
        [4 * points, 4 * points, stored],
        [4 * points, stored, stored],
    ]


def _fill_map(
    file: h5py.File, axes: list[np.ndarray], intensity: np.ndarray, errors: np.ndarray | None
) -> None:
    entry = file.create_group("entry")
    entry.attrs.update(NX_class="NXentry", default="intensity")
    file.attrs["default"] = "entry"
    data = entry.create_group("intensity")
    data.attrs.update(NX_class="NXdata", signal="intensity", axes=["h", "k", "l"])
    data.attrs.update(mdx2_module="mdx2.geometry", mdx2_class="GridData")
    for name, axis in zip("hkl", axes, strict=True):
        data[name] = axis
    data.create_dataset("intensity", data=intensity.astype(np.float32), **_COMPRESSED)
    if errors is not None:
        data.create_dataset("intensity_errors", data=errors.astype(np.float32), **_COMPRESSED)


def _fill_crystal(
    file: h5py.File, grid: HklGrid, space_group: str, provenance: dict[str, Any]
) -> None:
    file.attrs.update(creator="hpc-diffuser", creator_version=__version__)
    entry = file["entry"]
    entry.attrs.update(provenance)
    crystal = entry.create_group("crystal")
    crystal.attrs["NX_class"] = "NXsample"
    crystal["unit_cell"] = np.array(grid.unit_cell)
    crystal["space_group"] = space_group


def _build_map(arrays: Arrays, unit_cell: tuple[float, ...], space_group: str) -> DiffuseMap:
    axes, intensity, errors = _axes_and_values(arrays)
    grid, place = grid_of_axes(unit_cell, axes)
    halves = [arrays[f"{_DATA}/{name}"] for name in HALVES if f"{_DATA}/{name}" in arrays]
    for half in halves:
        check_values(half, HALVES[0], intensity.shape)
    return DiffuseMap(
        grid=grid,
        intensity=embedded(intensity, grid, place),
        space_group=space_group,
        errors=None if errors is None else embedded(errors, grid, place),
        halves=tuple(embedded(half, grid, place) for half in halves) if len(halves) == 2 else None,
    )


def _build_target(arrays: Arrays) -> Target:
    require_format(arrays, "target")
    unit_cell, space_group = _crystal(arrays)
    axes, intensity, errors = _axes_and_values(arrays)
    grid, place = grid_of_axes(unit_cell, axes)
    if any(axis.step for axis in place):
        raise InputError("axes h, k, l: expected ascending, as hpc-diffuser target makes them")
    start = place[0].start
    free = arrays["entry/free_set"]
    if free.shape != intensity.shape:
        raise InputError(f"free_set has shape {free.shape}, expected {intensity.shape}")
    place = np.nonzero(~np.isnan(intensity))
    if not len(place[0]):
        raise InputError("the target has no unmasked voxel: make it again with hpc-diffuser target")
    indices = np.stack(place, axis=1) + np.array([start, 0, 0]) - np.array(grid.extent)
    if indices[:, 0].min() < 0:
        raise InputError("axis h: expected the half with h ≥ 0, as hpc-diffuser target makes it")
    target = Target(
        grid=grid,
        indices=indices,
        intensity=intensity[place],
        errors=None if errors is None else errors[place],
        free=free[place].astype(bool),
        shell_edges=arrays["entry/shell_edges"],
        space_group=space_group,
        half_sums=arrays.get("entry/half_sums"),
    )
    _check_target(target)
    return target


def _check_target(target: Target) -> None:
    """Raise InputError unless the shells are such, and every voxel has numbers."""
    edges, errors = target.shell_edges, target.errors
    if edges.ndim != 1 or len(edges) < 2 or edges[0] < 0 or not (np.diff(edges) > 0).all():
        raise InputError("shell_edges should be two or more ascending numbers in 1/angstrom")
    if len(edges) > _MOST_SHELLS:
        raise InputError(f"{len(edges) - 1} shells: expected at most {_MOST_SHELLS}")
    inverse_d = np.sqrt(target.grid.inverse_d_squared(target.indices).max())
    if not max(edges[-1], inverse_d) <= 1 / _LEAST_D_MIN_A:
        raise InputError(
            f"shells to {1 / edges[-1]:.2g} Å, voxels to {1 / inverse_d:.2g} Å: "
            f"expected a limit above {_LEAST_D_MIN_A} Å"
        )
    sums = target.half_sums
    if sums is not None and (
        sums.shape != (2, len(edges) - 1, N_SUMS) or not np.isfinite(sums).all()
    ):
        raise InputError(f"half_sums should be numbers of shape {(2, len(edges) - 1, N_SUMS)}")
    check_numbers(target.intensity, "intensity", MOST_VALUE)
    if errors is not None:
        check_numbers(errors, "intensity_errors", MOST_VALUE)
        wrong = int((errors <= 0).sum())
        if wrong:
            raise InputError(
                "intensity_errors should be above 0 wherever there is an intensity: "
                f"{wrong} of {len(errors)} are not; correct the map, and make the target again"
            )


def _axes_and_values(
    arrays: Arrays,
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
    """Axes, intensity and, where there are any, its errors; their shapes agree."""
    axes = [arrays[f"{_DATA}/{name}"] for name in "hkl"]
    expected = tuple(axis.size for axis in axes)
    intensity = arrays[f"{_DATA}/intensity"]
    errors = arrays.get(f"{_DATA}/intensity_errors")
    for name, array in (("intensity", intensity), ("intensity_errors", errors)):
        if array is not None:
            check_values(array, name, expected)
    return axes, intensity, errors


def _crystal(arrays: Arrays) -> tuple[tuple[float, ...], str]:
    unit_cell = tuple(float(x) for x in arrays["entry/crystal/unit_cell"])
    space_group = str(arrays["entry/crystal/space_group"])
    check_crystal(unit_cell, space_group, "entry/crystal/unit_cell")
    return unit_cell, space_group
