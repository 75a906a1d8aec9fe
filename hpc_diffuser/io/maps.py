"""Native diffuse maps (NeXus) and targets, which are such maps with a free set."""

from pathlib import Path

import h5py
import numpy as np

from hpc_diffuser import __version__
from hpc_diffuser.errors import InputError
from hpc_diffuser.io.storage import read_hdf5, require_format, write_hdf5
from hpc_diffuser.lattice import HklGrid, check_unit_cell
from hpc_diffuser.target import DiffuseMap, Target

_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def write_map(path: Path, diffuse: DiffuseMap, provenance: dict[str, str]) -> None:
    """Write a map that mdx2, nexusformat, NeXpy and h5web open."""
    axes = [diffuse.grid.axis(i) for i in range(3)]

    def fill(file: h5py.File) -> None:
        file.attrs.update(format="hpc-diffuser/map", version=1)
        _fill_map(file, axes, diffuse.intensity, diffuse.errors)
        _fill_crystal(file, diffuse.grid, diffuse.space_group, provenance)

    write_hdf5(path, fill)


def read_map(path: Path) -> DiffuseMap:
    """Read a native map, whatever part of reciprocal space it covers, onto a symmetric grid."""
    return read_hdf5(path, "diffuse map", _read_map)


def write_target(path: Path, target: Target, provenance: dict[str, str]) -> None:
    """Write a target: a map of the half with h ≥ 0, a free-set mask and the shells' edges."""
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

    write_hdf5(path, fill)


def read_target(path: Path) -> Target:
    """Read a target.

    Raises
    ------
    InputError
        For another format, or a file without voxels.
    """
    return read_hdf5(path, "target", _read_target)


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
    file: h5py.File, grid: HklGrid, space_group: str, provenance: dict[str, str]
) -> None:
    file.attrs.update(creator="hpc-diffuser", creator_version=__version__)
    entry = file["entry"]
    entry.attrs.update(provenance)
    crystal = entry.create_group("crystal")
    crystal.attrs["NX_class"] = "NXsample"
    crystal["unit_cell"] = np.array(grid.unit_cell)
    crystal["space_group"] = space_group


def _read_map(file: h5py.File) -> DiffuseMap:
    data = file["entry/intensity"]
    unit_cell, space_group = _crystal(file)
    axes, intensity, errors = _arrays(data)
    grid, place = _symmetric_grid(unit_cell, axes)
    return DiffuseMap(
        grid=grid,
        intensity=_embed(intensity, grid, place),
        space_group=space_group,
        errors=None if errors is None else _embed(errors, grid, place),
    )


def _read_target(file: h5py.File) -> Target:
    require_format(file, "target")
    data = file["entry/intensity"]
    unit_cell, space_group = _crystal(file)
    axes, intensity, errors = _arrays(data)
    grid, (start, *_) = _symmetric_grid(unit_cell, axes)
    free, edges = file["entry/free_set"][()], file["entry/shell_edges"][()]
    if free.shape != intensity.shape:
        raise InputError(f"free_set has shape {free.shape}, expected {intensity.shape}")
    if edges.ndim != 1 or len(edges) < 2 or edges[0] < 0 or not (np.diff(edges) > 0).all():
        raise InputError("shell_edges should be two or more ascending numbers in 1/angstrom")
    place = np.nonzero(np.isfinite(intensity))
    if not len(place[0]):
        raise InputError("the target has no unmasked voxel: make it again with hpc-diffuser target")
    indices = np.stack(place, axis=1) + np.array([start.start, 0, 0]) - np.array(grid.extent)
    return Target(
        grid=grid,
        indices=indices,
        intensity=intensity[place],
        errors=None if errors is None else errors[place],
        free=free[place].astype(bool),
        shell_edges=edges,
        space_group=space_group,
    )


def _arrays(data: h5py.Group) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
    """Axes, intensity and, where there are any, its errors; their shapes agree."""
    axes = [data[name][()] for name in "hkl"]
    expected = tuple(len(axis) for axis in axes)
    intensity = data["intensity"][()]
    errors = data["intensity_errors"][()] if "intensity_errors" in data else None
    for name, array in (("intensity", intensity), ("intensity_errors", errors)):
        if array is not None and array.shape != expected:
            raise InputError(
                f"{name} has shape {array.shape}, but its axes h, k, l have {expected} points"
            )
    return axes, intensity, errors


def _crystal(file: h5py.File) -> tuple[tuple[float, ...], str]:
    unit_cell = tuple(float(x) for x in file["entry/crystal/unit_cell"][()])
    check_unit_cell(unit_cell, "entry/crystal/unit_cell")
    space_group = file["entry/crystal/space_group"][()]
    return unit_cell, space_group.decode() if isinstance(space_group, bytes) else str(space_group)


def _symmetric_grid(
    unit_cell: tuple[float, ...], axes: list[np.ndarray]
) -> tuple[HklGrid, tuple[slice, ...]]:
    """The grid, symmetric about 000, that holds the axes, and where they lie on it."""
    divisions, spans = zip(
        *(_samples(axis, name) for axis, name in zip(axes, "hkl", strict=True)), strict=True
    )
    extent = tuple(max(abs(first), abs(last)) for first, last in spans)
    place = tuple(
        slice(first + e, last + e + 1) for (first, last), e in zip(spans, extent, strict=True)
    )
    return HklGrid(unit_cell, divisions, extent), place


def _samples(axis: np.ndarray, name: str) -> tuple[int, tuple[int, int]]:
    """Samples per reciprocal-lattice unit along an axis, and its first and last index."""
    expected = f"axis {name}: expected equal steps of 1/n that pass through 0"
    if axis.ndim != 1 or len(axis) < 2 or not np.isfinite(axis).all():
        raise InputError(f"{expected}, found an array of shape {axis.shape}")
    step = (axis[-1] - axis[0]) / (len(axis) - 1)
    n = int(np.rint(1 / step)) if step > 0 else 0
    if n < 1 or not np.allclose(axis * n, np.rint(axis * n), atol=1e-2):
        raise InputError(f"{expected}, found {axis[0]:g}, {axis[1]:g} ... {axis[-1]:g}")
    indices = np.rint(axis * n).astype(int)
    if (np.diff(indices) != 1).any():
        raise InputError(f"{expected}, found steps of {np.unique(np.diff(indices)) / n}")
    return n, (int(indices[0]), int(indices[-1]))


def _embed(values: np.ndarray, grid: HklGrid, place: tuple[slice, ...]) -> np.ndarray:
    if values.shape == grid.shape:
        return values
    whole = np.full(grid.shape, np.nan, np.float32)
    whole[place] = values
    return whole
