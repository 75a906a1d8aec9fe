"""MTZ files: integer hkl, or a supercell whose integer HKL are samples between the Bragg peaks."""

import gemmi
import numpy as np

from hpc_diffuser.crystal.lattice import along_hkl, canonical_mates, laue_operations
from hpc_diffuser.io.maps.common import (
    Found,
    Given,
    divisions_of,
    masks_of,
    measured_rows,
    numbers_text,
    space_group_of,
    unit_cell_of,
    without_mask,
)
from hpc_diffuser.io.maps.placing import check_values, grid_of_rows, scattered
from hpc_diffuser.io.opened import Opened
from hpc_diffuser.maps.diffuse_map import DiffuseMap, values_at
from hpc_diffuser.system.errors import InputError

# Of decaf, lunus, mdx2, phenix.diffuse and others, the likeliest first.
_INTENSITIES = ("IDFF", "ID", "IMEAN", "I", "IOBS", "Iobs", "ITOT")
_NOTE = "hpc-diffuser samples per reciprocal-lattice unit"
# The symmorphic group of each Laue class: its point group alone, without screws and glides.
_SYMMORPHIC = {
    "-1": "P 1", "2/m": "P 1 2 1", "mmm": "P 2 2 2", "4/m": "P 4", "4/mmm": "P 4 2 2",
    "-3": "P 3", "-3m": "P 3 2 1", "6/m": "P 6", "6/mmm": "P 6 2 2", "m-3": "P 2 3",
    "m-3m": "P 4 3 2",
}  # fmt: skip


def read_mtz(file: Opened, given: Given) -> Found:
    """One column of intensities, and SIG and _half1, _half2 of the same name."""
    arrays = file.run(_load, given.column, what="an MTZ file")
    column, note = str(arrays["column"]), str(arrays["note"])
    assumed = [f"column {column}; rows that are missing are not measured"]
    unit_cell, divisions = _cell_and_divisions(arrays["cell"], note, given, assumed)
    space_group = space_group_of(given, str(arrays["space_group"]), assumed)
    indices = arrays["hkl"].astype(np.int64)
    grid = grid_of_rows(unit_cell, divisions, indices, "HKL")
    values, masks = {}, _masks(arrays, assumed)
    for name in ("intensity", "errors", "half1", "half2"):
        if name in arrays:
            column_values = without_mask(arrays[name], masks)
            check_values(column_values, name, (len(indices),))
            values[name] = scattered(column_values, grid, indices)
    halves = (values["half1"], values["half2"]) if {"half1", "half2"} <= values.keys() else None
    diffuse = DiffuseMap(grid, values["intensity"], space_group, values.get("errors"), halves)
    kind = "MTZ" if divisions == (1, 1, 1) else "supercell MTZ"
    known = given.unit_cell is not None or given.divisions is not None or _noted(note) is not None
    return Found(diffuse, kind, assumed, known)


def _masks(arrays: dict[str, np.ndarray], assumed: list[str]) -> tuple[float, ...]:
    """What stands for a missing number: the header's VALM, and what stands out besides."""
    valm = float(arrays["missing"])
    named = () if np.isnan(valm) else (valm,)
    if named and (arrays["intensity"] == np.float32(valm)).any():
        assumed.append(f"{valm:g}, VALM of the header, where not measured")
    return masks_of(arrays["intensity"], named, assumed)


def mtz_bytes(diffuse: DiffuseMap) -> bytes:
    """A supercell MTZ: cell times samples per unit; IMEAN, SIGIMEAN, halves.

    One of each set of Laue mates where all that were measured agree, else all of them.
    """
    grid = diffuse.grid
    operations = laue_operations(diffuse.space_group, grid.unit_cell)
    indices = _rows(diffuse, operations)
    mtz = gemmi.Mtz(with_base=True)
    mtz.title = "diffuse intensity, a supercell's integer HKL"
    divisions = [int(n) for n in grid.divisions]
    mtz.history = [f"{_NOTE}: {divisions[0]} {divisions[1]} {divisions[2]}"]
    mtz.spacegroup = gemmi.SpaceGroup(symmorphic_group(diffuse.space_group, grid.unit_cell))
    lengths = np.array(grid.unit_cell[:3]) * divisions
    mtz.add_dataset("diffuse")
    mtz.set_cell_for_all(gemmi.UnitCell(*lengths, *grid.unit_cell[3:]))
    columns = [indices.astype(np.float32)]
    for name, kind, array in (
        ("IMEAN", "J", diffuse.intensity),
        ("SIGIMEAN", "Q", diffuse.errors),
        *((f"IMEAN_half{i}", "J", half) for i, half in enumerate(diffuse.halves or (), 1)),
    ):
        if array is not None:
            mtz.add_column(name, kind)
            columns.append(values_at(array, indices).astype(np.float32)[:, None])
    mtz.set_data(np.hstack(columns))
    return mtz.write_to_bytes()


def symmorphic_group(space_group: str, unit_cell: tuple[float, ...]) -> str:
    """The space group without translations that has the same Laue class and axes.

    Raises
    ------
    InputError
        Where gemmi does not know the space group.
    """
    ours = _as_set(laue_operations(space_group, unit_cell))
    group = gemmi.find_spacegroup_by_name(space_group, unit_cell[3], unit_cell[5])
    first = _SYMMORPHIC[group.laue_str()]
    others = (g.hm for g in gemmi.spacegroup_table() if g.is_symmorphic() and "P" in g.hm[:1])
    for name in (first, "P 3 1 2", "R 3:R", "R 3 2:R", "P 1 1 2", "P 2 1 1", *others):
        if _as_set(laue_operations(name, unit_cell)) == ours:
            return name
    return space_group


def _as_set(operations: np.ndarray) -> set[bytes]:
    return {operation.tobytes() for operation in np.ascontiguousarray(operations)}


def _rows(diffuse: DiffuseMap, operations: np.ndarray) -> np.ndarray:
    """Sample indices to be written: (V, 3) int."""
    indices = measured_rows(diffuse)
    mates = canonical_mates(indices, operations)
    _, first, group = np.unique(mates, axis=0, return_index=True, return_inverse=True)
    values = values_at(diffuse.intensity, indices)
    agree = (values == values[first][group.reshape(-1)]).all()
    # Of each set the first that was measured; it is the canonical one where that was.
    return indices[np.sort(first)] if agree else indices


def _load(path: str, column: str | None) -> dict[str, np.ndarray]:
    """Runs in a child process: everything that gemmi has to read."""
    mtz = gemmi.read_mtz_file(path)
    if mtz.batches:
        raise InputError(f"{path}: an unmerged MTZ: expected merged intensities")
    name = _column(path, mtz, column)
    note = next((line for line in mtz.history if line.startswith(_NOTE)), "")
    found = {
        "column": np.array(name),
        "cell": np.array(mtz.get_cell().parameters),
        "space_group": np.array(mtz.spacegroup.hm if mtz.spacegroup else ""),
        "note": np.array(note),
        "missing": np.array(mtz.valm, float),
        "hkl": np.array(mtz.make_miller_array()),
    }
    for key, label in (
        ("intensity", name),
        ("errors", f"SIG{name}"),
        ("half1", f"{name}_half1"),
        ("half2", f"{name}_half2"),
    ):
        if label in mtz.column_labels():
            found[key] = np.array(mtz.column_with_label(label).array, np.float32)
    return found


def _column(path: str, mtz: gemmi.Mtz, column: str | None) -> str:
    labels = mtz.column_labels()
    if column is not None:
        if column not in labels[3:]:
            raise InputError(f"{path}: no column {column}: it has {', '.join(labels[3:])}")
        return column
    likely = [name for name in _INTENSITIES if name in labels]
    intensities = likely or [c.label for c in mtz.columns_with_type("J")]
    if not intensities or (not likely and len(intensities) > 1):
        raise InputError(
            f"{path}: which of its columns ({', '.join(labels[3:])}) is the diffuse intensity? "
            "Name it with --column"
        )
    return intensities[0]


def _cell_and_divisions(
    stored: np.ndarray, note: str, given: Given, assumed: list[str]
) -> tuple[tuple[float, ...], tuple[int, int, int]]:
    """The crystal's cell, and how many times it is in the file's along each axis."""
    if given.unit_cell is not None:
        unit_cell = unit_cell_of(given)
        if np.abs(np.array(unit_cell[3:]) - stored[3:]).max() > 0.5:
            raise InputError(
                f"its cell has angles {numbers_text(stored[3:])}, the given one "
                f"{numbers_text(unit_cell[3:])}: expected the same"
            )
        ratio = stored[:3] / np.array(unit_cell[:3])
        return unit_cell, divisions_of(ratio, f"edges of {numbers_text(stored[:3])} Å")
    divisions = given.divisions or _noted(note)
    if divisions is None:
        assumed.append(
            f"one voxel for each integer hkl of the cell {numbers_text(stored)}: for a supercell "
            "give --cell or --divisions"
        )
        divisions = (1, 1, 1)
    return unit_cell_of(given, (*(stored[:3] / np.array(divisions)), *stored[3:])), divisions


def _noted(note: str) -> tuple[int, int, int] | None:
    words = note.removeprefix(f"{_NOTE}:").split()
    if len(words) != 3 or not all(w.isdigit() and int(w) > 0 for w in words):
        return None
    return along_hkl(int(w) for w in words)
