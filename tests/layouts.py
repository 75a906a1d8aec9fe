"""Diffuse maps written byte by byte from the description of each layout."""

import struct
from pathlib import Path

import gemmi
import h5py
import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.io.maps.files import Given
from hpc_diffuser.maps.diffuse_map import DiffuseMap

CELL = (14.0, 15.0, 16.0, 88.0, 105.0, 98.0)
DIVISIONS, EXTENT = (3, 2, 2), (6, 5, 7)
SHAPE = tuple(2 * e + 1 for e in EXTENT)


def real_axes(cell: tuple[float, ...]) -> np.ndarray:
    """Rows a, b, c in Å: a along x, b in the xy plane (the PDB's convention)."""
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.radians(cell[3:]))
    sg = np.sqrt(1 - cg**2)
    z = (ca - cb * cg) / sg
    return np.array(
        [[a, 0, 0], [b * cg, b * sg, 0], [c * cb, c * z, c * np.sqrt(1 - cb**2 - z**2)]]
    )


A, B, C = real_axes(CELL)
RECIPROCAL = np.array([np.cross(B, C), np.cross(C, A), np.cross(A, B)]) / np.dot(A, np.cross(B, C))
LENGTHS = np.linalg.norm(RECIPROCAL, axis=1)
GRID = HklGrid(CELL, DIVISIONS, EXTENT)


def random_values(seed: int, masked: float = 0.1) -> np.ndarray:
    """Intensities [h, k, l] with NaN."""
    rng = np.random.default_rng(seed)
    values = rng.normal(100, 30, SHAPE).astype(np.float32)
    values[rng.uniform(size=SHAPE) < masked] = np.nan
    return values


VALUES, SIGMA = random_values(1), np.abs(random_values(2, 0.0)) + 1
SIGMA[np.isnan(VALUES)] = np.nan
ROWS = np.argwhere(~np.isnan(VALUES)) - np.array(EXTENT)
AXES = [np.arange(-e, e + 1) / n for e, n in zip(EXTENT, DIVISIONS, strict=True)]


def at(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(VALUES)]


def assert_is_the_map(
    found: DiffuseMap, values: np.ndarray = VALUES, divisions: tuple[int, ...] = DIVISIONS
) -> None:
    assert found.grid.divisions == divisions and found.grid.extent == EXTENT
    np.testing.assert_allclose(found.grid.unit_cell, CELL, rtol=1e-5)
    np.testing.assert_array_equal(found.intensity, values)


def native(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "hpc-diffuser/map"
        for name, axis in zip("hkl", AXES, strict=True):
            file[f"entry/intensity/{name}"] = axis
        file["entry/intensity/intensity"] = VALUES
        file["entry/crystal/unit_cell"], file["entry/crystal/space_group"] = np.array(CELL), "P 1"
    return path


def mdx2_table(path: Path, crystal: bool = True, halves: bool = False) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["mdx2_version"] = "1.0.0"
        table = file.create_group("entry/hkl_table")
        table.attrs.update(mdx2_module="mdx2.data", mdx2_class="HKLTable")
        for i, name in enumerate("hkl"):
            table[name] = ROWS[:, i] / DIVISIONS[i]
        table["ndiv"] = np.array(DIVISIONS)
        table["intensity"], table["intensity_error"] = at(VALUES), at(SIGMA)
        table["count"] = np.ones(len(ROWS), np.int32)
        if halves:
            table["group_0_intensity"], table["group_1_intensity"] = at(VALUES), at(SIGMA)
        if crystal:
            sample = file.create_group("entry/crystal")
            sample.attrs["NX_class"] = "NXsample"
            sample["unit_cell"], sample["space_group"] = np.array(CELL), "P 1"
    return path


def mdx2_map(path: Path, axes: tuple[str, ...] = ("h", "k", "l")) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/intensity")
        data.attrs.update(NX_class="NXdata", signal="signal", axes=list(axes))
        data["signal"] = VALUES
        for name, axis in zip("hkl", AXES, strict=True):
            data[name] = axis
    return path


def mdx_lib(path: Path, transposed: bool = True, names: tuple[str, ...] = ("total",)) -> Path:
    """MATLAB's [h, k, l] as h5py shows it."""
    with h5py.File(path, "w") as file:
        crystal = file.create_group("crystal")
        crystal.attrs["spaceGroupNumber"] = 1.0
        for name, value in zip(("a", "b", "c", "alpha", "beta", "gamma"), CELL, strict=True):
            crystal.attrs[name] = value
        for name in names:
            group = file.create_group(f"maps/{name}")
            group.attrs["grid_size"] = np.array(SHAPE, float)
            group.attrs["grid_ori"] = np.array([axis[0] for axis in AXES])
            group.attrs["grid_delta"] = 1 / np.array(DIVISIONS)
            group.attrs["type"] = "intensity"
            for field, values in (("I", VALUES), ("sigma", SIGMA), ("I1", VALUES), ("I2", SIGMA)):
                group[field] = values.T if transposed else values
    return path


def diffuser(path: Path, steps: np.ndarray | None = RECIPROCAL.T / DIVISIONS) -> Path:
    with h5py.File(path, "w") as file:
        file["diff_intens"] = VALUES
        if steps is not None:
            file["q_voxel_size"] = steps
    return path


def lattice(path: Path, order: str = "<", mask: float = -32768.0, values=None) -> Path:
    """x fastest: C order of [z][y][x]."""
    values = VALUES if values is None else values
    body = np.where(np.isnan(values), np.float32(mask), values)
    reach = np.array(EXTENT) * LENGTHS / DIVISIONS
    limits = np.stack([-reach, reach], axis=1).ravel()
    data = struct.pack(f"{order}3I6f", *SHAPE, *limits)
    x_fastest = [body[x, y, z] for z in range(SHAPE[2]) for y in range(SHAPE[1])
                 for x in range(SHAPE[0])]  # fmt: skip
    path.write_bytes(data + struct.pack(f"{order}{body.size}f", *x_fastest))
    return path


def table(path: Path) -> Path:
    lines = [f"{r[0]} {r[1]} {r[2]} {v:.9g}" for r, v in zip(ROWS, at(VALUES), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def supercell_mtz(path: Path, column: str = "IDFF", divisions=DIVISIONS) -> Path:
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 1")
    mtz.add_dataset("diffuse")
    mtz.set_cell_for_all(gemmi.UnitCell(*np.array(CELL[:3]) * divisions, *CELL[3:]))
    for name in ("ITOT", "IBRG", column):
        mtz.add_column(name, "J")
    other = np.zeros((len(ROWS), 2))
    mtz.set_data(np.column_stack([ROWS, other, at(VALUES)]).astype(np.float32))
    mtz.write_to_file(str(path))
    return path


def ccp4(path: Path, start: bool = True, order: tuple[int, ...] = (1, 2, 3)) -> Path:
    """The header's 256 words, then columns fastest; the reciprocal cell, with its own angles."""
    angles = [
        np.degrees(np.arccos(RECIPROCAL[i] @ RECIPROCAL[j] / LENGTHS[i] / LENGTHS[j]))
        for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    axes = [axis - 1 for axis in order]
    begins = [-EXTENT[axis] if start else 0 for axis in axes]
    header = struct.pack("<10i", *(SHAPE[a] for a in axes), 2, *begins, *DIVISIONS)
    header += struct.pack("<6f3i3f2i", *LENGTHS, *angles, *order, 0, 0, 0, 1, 0)
    header = header.ljust(208, b"\0") + b"MAP DA\0\0" + struct.pack("<fi", 1.0, 0)
    body = np.where(np.isnan(VALUES), np.float32(-1000), VALUES).transpose(axes)
    path.write_bytes(header.ljust(1024, b"\0") + body.astype("<f4").tobytes(order="F"))
    return path


def eryx(path: Path, n: tuple[int, ...] = DIVISIONS) -> Path:
    np.save(path, VALUES)
    triples = [f"[{axis[0]}, {axis[-1]}, {m}]" for axis, m in zip(AXES, n, strict=True)]
    path.with_suffix(".yaml").write_text(
        f"setup:\n  pdb_path: model.pdb\n  hsampling: {triples[0]}\n  ksampling: {triples[1]}\n"
        f"  lsampling:\n    - {AXES[2][0]}\n    - {AXES[2][-1]}\n    - {n[2]}\n"
    )
    return path


# By the kind that the reader calls it; one at least of every format in `maps.formats`.
LAYOUTS = {
    "native map": (native, Given()),
    "mdx2 table": (mdx2_table, Given()),
    "mdx2 map": (mdx2_map, Given(unit_cell=CELL)),
    "mdx-lib map": (mdx_lib, Given()),
    "diffuser map": (diffuser, Given(unit_cell=CELL)),
    "lunus lattice": (lattice, Given(unit_cell=CELL)),
    "supercell MTZ": (supercell_mtz, Given(unit_cell=CELL)),
    "CCP4 map": (ccp4, Given()),
    "lunus table of h k l I": (table, Given(unit_cell=CELL)),
    "eryx array": (lambda path: eryx(path.with_suffix(".npy")), Given(unit_cell=CELL)),
}
