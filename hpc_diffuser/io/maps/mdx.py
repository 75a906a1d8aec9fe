"""mdx2 (NeXus tables and maps) and its forerunner mdx-lib (MATLAB).

mdx2: /entry/hkl_table with fractional `h`, `k`, `l`, samples per unit `ndiv`, columns; or a map,
/entry/NAME with the attributes `signal` and `axes`. The cell is often in another file. NXRefine's
maps are such, with axes Ql, Qk, Qh in this order, in reciprocal-lattice units.
mdx-lib: /maps/NAME with `grid_size`, `grid_ori`, `grid_delta` in hkl; MATLAB's arrays [h, k, l]
show as (l, k, h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpc_diffuser import __version__
from hpc_diffuser.io.hdf5 import Arrays, hdf5_image, read_arrays
from hpc_diffuser.io.maps.common import (
    Found,
    Given,
    masks_of,
    measured_rows,
    space_group_by_number,
    space_group_of,
    unit_cell_of,
    without_mask,
)
from hpc_diffuser.io.maps.placing import (
    check_values,
    embedded,
    grid_of_axes,
    grid_of_rows,
    scattered,
)
from hpc_diffuser.io.opened import Opened
from hpc_diffuser.io.plausible import check_numbers
from hpc_diffuser.maps.diffuse_map import DiffuseMap, values_at
from hpc_diffuser.system.errors import InputError

if TYPE_CHECKING:
    import h5py

TABLE = "entry/hkl_table"
_CRYSTAL = ("entry/crystal/unit_cell", "entry/crystal/space_group")
_SAMPLE = tuple(
    f"entry/sample/{name}"
    for name in (
        *(f"unitcell_{x}" for x in ("a", "b", "c", "alpha", "beta", "gamma")),
        "space_group",
    )
)
# Of tables that mdx2 has integrated or corrected, but not scaled and merged.
_UNMERGED = ("op", "counts", "rs_volume")
_LATTICE = ("a", "b", "c", "alpha", "beta", "gamma")
_CELL = tuple(f"crystal@{name}" for name in _LATTICE)


def looks_like_table(file: Opened) -> bool:
    """Whether it has the table, or a part of it."""
    return f"{TABLE}/ndiv" in file.names or f"{TABLE}/h" in file.names


def looks_like_mdx_lib(file: Opened) -> bool:
    """Whether it has such a map, by the attributes of its grid."""
    return bool(_members(file, "maps", "grid_delta"))


def looks_like_map(file: Opened) -> bool:
    """Whether it has such a map, and is no file of this program's."""
    return "@format" not in file.names and bool(_members(file, "entry", "signal"))


def _members(file: Opened, group: str, attribute: str) -> list[str]:
    """What in a group has an attribute, sorted."""
    inside = (name.removeprefix(f"{group}/") for name in file.names if name.startswith(f"{group}/"))
    ends = f"@{attribute}"
    return sorted(n.removesuffix(ends) for n in inside if n.endswith(ends) and "/" not in n)


def read_table(file: Opened, given: Given) -> Found:
    """An mdx2 table of hkl: intensity, its errors, and halves where there are any."""
    column = given.column or "intensity"
    wanted = (column, f"{column}_error", "group_0_intensity", "group_1_intensity")
    columns = ("h", "k", "l", "ndiv", *wanted, *_UNMERGED)
    names = [f"{TABLE}/{name}" for name in columns] + [*_CRYSTAL]

    def build(arrays: Arrays) -> Found:
        table = {k.removeprefix(f"{TABLE}/"): v for k, v in arrays.items()}
        return _build_table(table, wanted, given)

    return read_arrays(file, "mdx2 table", names, build)


def read_map(file: Opened, given: Given) -> Found:
    """A map of mdx2 or NXRefine: the group /entry/NAME, its axes in the order that it names.

    NAME is `--column`, or "intensity", or the first one.
    """
    maps = _members(file, "entry", "signal")
    name = given.column or ("intensity" if "intensity" in maps else maps[0])
    if name not in maps:
        raise InputError(f"holds the maps {', '.join(maps)}: name one with --column")
    group = f"entry/{name}"
    tags = (f"{group}@signal", f"{group}@axes")
    labels = read_arrays(file, "mdx2 map", tags, lambda arrays: [arrays[tag] for tag in tags])
    signal, axes = str(labels[0]), [str(axis) for axis in np.atleast_1d(labels[1])]
    axes = axes[0].strip("[]").replace(":", ",").split(",") if len(axes) == 1 else axes
    letters = "".join(axis.lower().removeprefix("q") for axis in axes)
    if sorted(letters) != ["h", "k", "l"]:
        raise InputError(f"axes {axes} of {group}: expected h, k, l or Qh, Qk, Ql")
    errors = f"{signal}_errors"
    names = [f"{group}/{n}" for n in (*axes, signal, errors)] + [*_CRYSTAL, *_SAMPLE]

    def build(arrays: Arrays) -> Found:
        assumed = ["NaN where masked"]
        if axes != ["h", "k", "l"]:
            assumed.append(f"axes {', '.join(axes)} in this order, in reciprocal-lattice units")
        unit_cell, space_group = _crystal(arrays, given, assumed)
        found = [arrays[f"{group}/{n}"] for n in axes]
        values = [arrays[f"{group}/{signal}"], arrays.get(f"{group}/{errors}")]
        for array in values:
            if array is not None:
                _check_order(array, tuple(axis.size for axis in found), axes)
                check_values(array, signal, tuple(axis.size for axis in found))
        to_hkl = [letters.index(letter) for letter in "hkl"]
        grid, place = grid_of_axes(unit_cell, [found[i] for i in to_hkl])
        masks = masks_of(values[0], (), assumed)
        intensity, sigma = (
            None if v is None else embedded(without_mask(v.transpose(to_hkl), masks), grid, place)
            for v in values
        )
        kind = "mdx2 map" if axes[0] in "hkl" else "NXRefine map"
        return Found(DiffuseMap(grid, intensity, space_group, sigma), kind, assumed)

    return read_arrays(file, "mdx2 map", names, build)


def _check_order(array: np.ndarray, expected: tuple[int, ...], axes: list[str]) -> None:
    """Raise InputError for an array whose axes are there in the reverse of their order."""
    if array.shape == expected[::-1] != expected:
        raise InputError(
            f"the array has shape {array.shape}, its axes {', '.join(axes)} have {expected} "
            f"points: it is transposed; correct the attribute axes to {', '.join(axes[::-1])}"
        )


def table_bytes(diffuse: DiffuseMap) -> bytes:
    """An mdx2 table (`HKLTable`) of the measured voxels, and the cell, in one NeXus file."""
    grid, indices = diffuse.grid, measured_rows(diffuse)
    columns = {"intensity": diffuse.intensity, "intensity_error": diffuse.errors}
    for number, half in enumerate(diffuse.halves or ()):
        columns[f"group_{number}_intensity"] = half

    def fill(file: h5py.File) -> None:
        file.attrs.update(creator="hpc-diffuser", creator_version=__version__, default="entry")
        entry = file.create_group("entry")
        entry.attrs.update(NX_class="NXentry", default="hkl_table")
        table = entry.create_group("hkl_table")
        table.attrs.update(NX_class="NXgroup", mdx2_module="mdx2.data", mdx2_class="HKLTable")
        for i, name in enumerate("hkl"):
            table[name] = indices[:, i] / grid.divisions[i]
        table["ndiv"] = np.array(grid.divisions, np.int64)
        for name, array in columns.items():
            if array is not None:
                table[name] = values_at(array, indices).astype(np.float32)
        crystal = entry.create_group("crystal")
        crystal.attrs["NX_class"] = "NXsample"
        crystal["unit_cell"] = np.array(grid.unit_cell)
        crystal["space_group"] = diffuse.space_group

    return hdf5_image(fill)


def read_mdx_lib(file: Opened, given: Given) -> Found:
    """A map of mdx-lib: `--column`, or "total", or the only one."""
    names = _members(file, "maps", "grid_delta")
    name = given.column or ("total" if "total" in names else names[0])
    if name not in names or (given.column is None and "total" not in names and len(names) > 1):
        raise InputError(f"holds the maps {', '.join(names)}: name one with --column")
    group = f"maps/{name}"
    tags = ("grid_size", "grid_ori", "grid_delta")
    fields = ("I", "sigma", "I1", "I2", "sigma1", "sigma2")
    wanted = [f"{group}@{tag}" for tag in tags] + [f"{group}/{field}" for field in fields]

    def build(arrays: Arrays) -> Found:
        short = {k.split("@" if "@" in k else "/")[-1]: v for k, v in arrays.items()}
        return _build_mdx_lib(short, given)

    wanted += [*_CELL, "crystal@spaceGroupNumber"]
    return read_arrays(file, "mdx-lib map", wanted, build)


def _build_table(table: Arrays, columns: tuple[str, ...], given: Given) -> Found:
    assumed = ["one voxel for each row; mates that have none are not measured"]
    unit_cell, space_group = _crystal(table, given, assumed)
    indices, divisions = _sample_indices(table)
    _refuse_unmerged(table, columns[0], indices)
    grid = grid_of_rows(unit_cell, divisions, indices, "h, k, l of the table")
    for name in columns:
        if name in table:
            check_values(table[name], name, (len(indices),))
    if columns[0] not in table:
        raise KeyError(f"{TABLE}/{columns[0]}")
    masks = masks_of(table[columns[0]], (), assumed)
    intensity, errors, *halves = (
        scattered(without_mask(table[name], masks), grid, indices) if name in table else None
        for name in columns
    )
    pair = None if any(half is None for half in halves) else tuple(halves)
    return Found(DiffuseMap(grid, intensity, space_group, errors, pair), "mdx2 table", assumed)


def _refuse_unmerged(table: Arrays, column: str, indices: np.ndarray) -> None:
    """Raise InputError for tables of mdx2's earlier steps: what to do with them."""
    if column not in table and "counts" in table:
        raise InputError(
            "a table of counts, integrated but not corrected: expected a merged one: run "
            "mdx2.correct, mdx2.scale and mdx2.merge"
        )
    distinct = len(np.unique(indices, axis=0)) if len(indices) else 0
    if distinct < len(indices):
        raise InputError(
            f"an unmerged table: {len(indices)} rows for {distinct} voxels: run mdx2.scale and "
            "mdx2.merge"
        )
    if any(name in table for name in _UNMERGED):
        raise InputError("an unmerged table, not yet scaled: run mdx2.scale and mdx2.merge")


def _crystal(arrays: Arrays, given: Given, assumed: list[str]) -> tuple[tuple[float, ...], str]:
    cell, group = (arrays.get(name) for name in _CRYSTAL)
    *sample, sample_group = (arrays.get(name) for name in _SAMPLE)
    if cell is None and all(x is not None for x in sample):
        cell, group = np.array([float(np.ravel(x)[0]) for x in sample]), sample_group
    stored = None if group is None else str(np.ravel(group)[0])
    return (
        unit_cell_of(given, None if cell is None else np.ravel(cell)),
        space_group_of(given, stored, assumed),
    )


def _sample_indices(table: Arrays) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Sample indices (V, 3), and how many samples a reciprocal-lattice unit has."""
    ndiv = np.ravel(table["ndiv"])
    if ndiv.shape != (3,) or not (np.isfinite(ndiv) & (ndiv >= 1) & (ndiv == np.rint(ndiv))).all():
        raise InputError(f"ndiv = {ndiv.tolist()}: expected three whole numbers above 0")
    hkl = [table[name] for name in "hkl"]
    if any(x.ndim != 1 or len(x) != len(hkl[0]) for x in hkl):
        raise InputError(f"h, k, l have shapes {[x.shape for x in hkl]}: expected equal columns")
    for name, column in zip("hkl", hkl, strict=True):
        check_numbers(column, name)
    exact = np.stack(hkl, axis=1) * ndiv
    indices = np.rint(exact)
    if len(exact) and np.abs(exact - indices).max() > 0.05:
        raise InputError(f"h, k, l are no multiples of 1/{ndiv.tolist()}: expected ndiv's samples")
    return indices.astype(np.int64), tuple(int(n) for n in ndiv)


def _build_mdx_lib(arrays: Arrays, given: Given) -> Found:
    size, origin, delta = (
        np.ravel(arrays[n]).astype(float) for n in ("grid_size", "grid_ori", "grid_delta")
    )
    if not size.shape == origin.shape == delta.shape == (3,):
        raise InputError(
            "grid_size, grid_ori, grid_delta: expected three numbers each, for h, k, l"
        )
    if not (np.isfinite(size).all() and size.min() >= 2 and size.max() < 1e5):
        raise InputError(f"grid_size {size.tolist()}: expected three whole numbers")
    expected = tuple(int(n) for n in size[::-1])
    values = {n: arrays.get(n) for n in ("I", "sigma", "I1", "I2")}
    if values["I"] is None:
        raise KeyError("I")
    for name, array in values.items():
        _check_mdx_lib(name, array, expected)
    stored = [float(np.ravel(arrays[n])[0]) for n in _LATTICE] if "a" in arrays else None
    assumed = ["axes (l, k, h) in the file, as MATLAB writes [h, k, l]; NaN where masked"]
    axes = [o + d * np.arange(int(n)) for o, d, n in zip(origin, delta, size, strict=True)]
    grid, place = grid_of_axes(unit_cell_of(given, stored), axes)
    number = arrays.get("spaceGroupNumber")
    group = None if number is None else space_group_by_number(int(np.ravel(number)[0]))

    masks = masks_of(values["I"], (), assumed)

    def on_grid(name: str) -> np.ndarray | None:
        if values[name] is None:
            return None
        return embedded(without_mask(values[name].T, masks), grid, place)

    halves = (on_grid("I1"), on_grid("I2"))
    diffuse = DiffuseMap(
        grid,
        on_grid("I"),
        space_group_of(given, group, assumed),
        on_grid("sigma"),
        None if any(half is None for half in halves) else halves,
    )
    return Found(diffuse, "mdx-lib map", assumed)


def _check_mdx_lib(name: str, array: np.ndarray | None, expected: tuple[int, ...]) -> None:
    if array is None:
        return
    if array.shape == expected[::-1] != expected:
        raise InputError(
            f"{name} has axes (h, k, l), shape {array.shape}: expected (l, k, h), as MATLAB writes "
            "them"
        )
    if array.shape != expected:
        raise InputError(f"{name} has shape {array.shape}: expected grid_size reversed, {expected}")
    check_values(array, name, expected)
