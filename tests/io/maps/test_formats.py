"""Maps of other programs, written here byte by byte from the description of each layout.

The map in all of them: a triclinic cell, 3, 2 and 2 samples per reciprocal-lattice unit, |h| ≤ 2,
|k| ≤ 2.5, |l| ≤ 3.5, random intensities of which a tenth is masked. The rows of `RECIPROCAL` are
a*, b*, c*, by cross products of the real axes.
"""

import struct
from pathlib import Path

import gemmi
import h5py
import layouts
import numpy as np
import pytest
from layouts import (
    AXES,
    CELL,
    DIVISIONS,
    EXTENT,
    GRID,
    LAYOUTS,
    LENGTHS,
    RECIPROCAL,
    SHAPE,
    SIGMA,
    VALUES,
    assert_is_the_map,
    ccp4,
    diffuser,
    eryx,
    lattice,
    mdx2_map,
    mdx2_table,
    mdx_lib,
    random_values,
    supercell_mtz,
    table,
)

from hpc_diffuser.crystal.lattice import HklGrid, laue_operations
from hpc_diffuser.io.format import Format, at, format_of_content
from hpc_diffuser.io.maps.files import Given, is_map, read_any_map, write_any_map
from hpc_diffuser.io.maps.formats import FORMATS, MAPS, WRITTEN, markdown
from hpc_diffuser.io.maps.mtz import symmorphic_group
from hpc_diffuser.io.opened import opened
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import TargetOptions, make_target
from hpc_diffuser.system.errors import InputError

# Writers from the layouts' descriptions.


# Readers.


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_layout(tmp_path, kind):
    """The same map from each, under a name that tells nothing of its format."""
    write, given = LAYOUTS[kind]
    path = write(tmp_path / "map.data")
    found = read_any_map(path, given)
    assert found.kind == kind and is_map(path)
    assert found.assumed or kind == "native map"  # in which everything is said
    row = row_of(path)
    assert_is_the_map(found.diffuse, divisions=(1, 1, 1) if row.integer_hkl else DIVISIONS)


def row_of(path: Path) -> Format:
    """The row that knows a file by its content."""
    with opened(path, "diffuse map") as file:
        return format_of_content(file, MAPS)


def test_a_layout_for_every_row(tmp_path):
    """Every format that is read is also written by hand, from its description."""
    found = {row_of(write(tmp_path / "map.data")).name for write, _ in LAYOUTS.values()}
    missing = [row.name for row in MAPS if row.name not in found]
    assert not missing, f"write these formats in LAYOUTS of tests/layouts.py: {missing}"


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mask", [-32768.0, -32767.0])
def test_lattice_byte_orders_and_masks(tmp_path, order, mask):
    """Neither is stored: the sizes tell the first, and both of lunus's masks are masks."""
    found = read_any_map(lattice(tmp_path / "a.lat", order, mask), Given(unit_cell=CELL))
    assert_is_the_map(found.diffuse)


def test_big_endian_lattice_with_zero_as_mask(tmp_path):
    """Where all corners are 0 and there is no other mask; told."""
    values = VALUES.copy()
    for corner in np.ndindex(2, 2, 2):
        values[tuple(-i for i in corner)] = np.nan
    path = lattice(tmp_path / "a.lat", ">", 0.0, values)
    found = read_any_map(path, Given(unit_cell=CELL))
    assert_is_the_map(found.diffuse, values)
    assert any("0 stands for masked" in line for line in found.assumed)


def test_lattice_without_a_cell(tmp_path):
    """Right-angled, one voxel for each integer hkl: edges are 1/step."""
    found = read_any_map(lattice(tmp_path / "a.lat"))
    assert found.diffuse.grid.divisions == (1, 1, 1) and not found.has_cell
    edges = np.array(DIVISIONS) / LENGTHS
    np.testing.assert_allclose(found.diffuse.grid.unit_cell, (*edges, 90, 90, 90), rtol=1e-5)


def test_nuclease_lattice(data):
    """The measured map: 62 x 62 x 80, steps of 1/48.5 and 1/63.5 Å⁻¹, 62 % masked."""
    found = read_any_map(data / "nuclease" / "snc_diffuse_reference.lat")
    np.testing.assert_allclose(found.diffuse.grid.unit_cell[:3], (48.5, 48.5, 63.5), rtol=1e-3)
    assert found.diffuse.grid.extent == (31, 31, 40)
    assert np.isfinite(found.diffuse.intensity).sum() == round(0.3804955776 * 62 * 62 * 80)


def test_table_of_integer_hkl(tmp_path):
    """h k l I: one voxel for each hkl of the cell that has to be given."""
    path = table(tmp_path / "a.hkl")
    with pytest.raises(InputError, match="names no unit cell: give --cell"):
        read_any_map(path)
    found = read_any_map(path, Given(unit_cell=CELL, space_group="P 1")).diffuse
    assert found.grid.divisions == (1, 1, 1)
    np.testing.assert_array_equal(found.intensity, VALUES)


def test_mtz_of_integer_hkl(tmp_path):
    """Without a cell its own is the crystal's; with the same one too."""
    path = supercell_mtz(tmp_path / "a.mtz", "ID", (1, 1, 1))
    for given in (Given(), Given(unit_cell=CELL)):
        found = read_any_map(path, given)
        assert found.kind == "MTZ" and found.diffuse.grid.divisions == (1, 1, 1)
        np.testing.assert_array_equal(found.diffuse.intensity, VALUES)


def test_mtz_columns(tmp_path):
    """By name; the diffuse one before the total; what is not there is named."""
    path = supercell_mtz(tmp_path / "a.mtz")
    total = read_any_map(path, Given(unit_cell=CELL, column="ITOT")).diffuse
    assert np.nansum(total.intensity) == 0
    with pytest.raises(InputError, match="no column IMEAN: it has ITOT, IBRG, IDFF"):
        read_any_map(path, Given(column="IMEAN"))


def test_errors_and_halves(tmp_path):
    """mdx2's groups and mdx-lib's I1, I2 are the halves."""
    for path in (mdx2_table(tmp_path / "a.nxs", halves=True), mdx_lib(tmp_path / "b.h5")):
        found = read_any_map(path).diffuse
        np.testing.assert_array_equal(found.errors, SIGMA)
        np.testing.assert_array_equal(found.halves[0], VALUES)
        np.testing.assert_array_equal(found.halves[1], SIGMA)


def test_which_map_of_mdx_lib(tmp_path):
    """The total; another by name; where there is no telling, it has to be named."""
    several = mdx_lib(tmp_path / "a.h5", names=("total", "variational"))
    assert_is_the_map(read_any_map(several, Given(column="variational")).diffuse)
    assert_is_the_map(read_any_map(several).diffuse)
    with pytest.raises(InputError, match="maps half, whole: name one with --column"):
        read_any_map(mdx_lib(tmp_path / "b.h5", names=("half", "whole")))


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_ccp4_axis_orders(tmp_path, order):
    """Columns, rows and sections may be any axes; the sampling is always that of x, y, z."""
    assert_is_the_map(read_any_map(ccp4(tmp_path / "a.map", order=order)).diffuse)


def test_ccp4_without_start(tmp_path):
    """000 is then at the middle; told."""
    found = read_any_map(ccp4(tmp_path / "a.map", start=False))
    assert_is_the_map(found.diffuse)
    assert any("middle of the array" in line for line in found.assumed)


def test_ccp4_of_an_octant_without_start(tmp_path):
    """Read about its middle, mates of a map that falls with resolution are opposite: said.

    exp(-h - k - l) from 0 on has CC < 0 with itself reversed, exp(-|h| - |k| - |l|) has 1.
    """
    i = np.arange(-4, 5)
    for indices, doubted in ((np.arange(9), True), (i, False)):
        fall = np.exp(-np.abs(indices) / 3)
        grid = gemmi.Ccp4Map()
        grid.grid = gemmi.FloatGrid(np.einsum("i,j,k->ijk", fall, fall, fall).astype("f4"))
        grid.grid.unit_cell = gemmi.UnitCell(9 / 20, 9 / 20, 9 / 20, 90, 90, 90)
        grid.grid.spacegroup = gemmi.SpaceGroup("P 1")
        grid.update_ccp4_header(2)
        grid.write_ccp4_map(str(tmp_path / "a.ccp4"))
        found = read_any_map(tmp_path / "a.ccp4", Given(unit_cell=(20, 20, 20, 90, 90, 90)))
        said = " ".join(found.assumed)
        assert "000 at the middle" in said and ("NSTART -1" in said) == doubted


def test_eryx_counts(tmp_path):
    """n may count all samples of an axis instead of those of a unit."""
    path = eryx(tmp_path / "a.npy", SHAPE)
    assert_is_the_map(read_any_map(path, Given(unit_cell=CELL)).diffuse)


def test_given_comes_first(tmp_path):
    """A cell and a space group on the command line replace the file's."""
    cell = (*CELL[:2], 16.1, *CELL[3:])
    found = read_any_map(mdx2_table(tmp_path / "a.nxs"), Given(cell, "P -1")).diffuse
    assert found.grid.unit_cell == cell and found.space_group == "P -1"


def test_diffuser_without_steps(tmp_path):
    """Cell and divisions tell the same as `q_voxel_size`."""
    path = diffuser(tmp_path / "a.h5", None)
    with pytest.raises(InputError, match="no q_voxel_size: give --divisions"):
        read_any_map(path, Given(unit_cell=CELL))
    assert_is_the_map(read_any_map(path, Given(unit_cell=CELL, divisions=DIVISIONS)).diffuse)


# Malformed variants: one line each, which begins with the file.


def cut(write, part: float = 0.6):
    def written(path: Path) -> Path:
        path = write(path)
        path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
        return path

    return written


def empty(path: Path) -> Path:
    path.touch()
    return path


def rank_two(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["diff_intens"] = VALUES[0]
    return path


def pickled(path: Path) -> Path:
    with path.open("wb") as file:
        np.save(file, np.array([{"a": 1}]), allow_pickle=True)
    return path


def extended(row: str):
    def written(path: Path) -> Path:
        path = table(path)
        path.write_text(path.read_text() + row)
        return path

    return written


def eryx_with_header(old: bytes, new: bytes):
    """The array's header, a Python literal, with something else of the same length in it."""

    def written(path: Path) -> Path:
        path = eryx(path.with_suffix(".npy"))
        assert len(old) == len(new) and path.read_bytes().count(old) == 1
        path.write_bytes(path.read_bytes().replace(old, new))
        return path

    return written


def shifted_lattice(path: Path) -> Path:
    raw = bytearray(lattice(path).read_bytes())
    raw[12:20] = struct.pack("<2f", -0.3, 0.33)
    path.write_bytes(bytes(raw))
    return path


WRONG_CELL = (14.0, 15.0, 21.0, 88.0, 105.0, 98.0)
MALFORMED = {
    "empty": (empty, Given(), "empty file|no diffuse map"),
    "text": (lambda p: (p.write_text("hello\n"), p)[1], Given(), "no diffuse map of a known"),
    "truncated mdx2": (cut(mdx2_table), Given(), "could not be read"),
    "truncated mdx-lib": (cut(mdx_lib), Given(), "could not be read"),
    "truncated diffuser": (cut(diffuser), Given(), "could not be read"),
    "truncated lattice": (cut(lattice), Given(), "no diffuse map of a known"),
    "truncated MTZ": (cut(supercell_mtz), Given(), "could not be read as an MTZ"),
    "truncated CCP4": (cut(ccp4), Given(), "could not be read as a CCP4"),
    "truncated array": (cut(lambda p: eryx(p.with_suffix(".npy"))), Given(), "not an array"),
    "mdx2 without cell": (lambda p: mdx2_table(p, False), Given(), "names no unit cell"),
    "mdx2 axes": (lambda p: mdx2_map(p, ("l", "k", "h")), Given(unit_cell=CELL), "is transposed"),
    "mdx-lib axes": (lambda p: mdx_lib(p, False), Given(), r"expected \(l, k, h\)"),
    "diffuser rank": (rank_two, Given(unit_cell=CELL), "expected three axes"),
    "diffuser 2 pi": (
        lambda p: diffuser(p, 2 * np.pi * RECIPROCAL.T / DIVISIONS),
        Given(unit_cell=CELL),
        "without 2π",
    ),
    "diffuser cell": (diffuser, Given(unit_cell=WRONG_CELL), "--cell"),
    "diffuser steps": (lambda p: diffuser(p, np.zeros((2, 3))), Given(unit_cell=CELL), "3 x 3"),
    "diffuser huge": (
        lambda p: diffuser(p, np.diag([0.01, 1e200, 0.01])),
        Given(unit_cell=CELL),
        "beyond 1000",
    ),
    "diffuser tiny": (
        lambda p: diffuser(p, np.diag([0.01, 1e-200, 0.01])),
        Given(unit_cell=CELL),
        "3 x 3",
    ),
    "lattice cell": (lattice, Given(unit_cell=WRONG_CELL), "expected whole numbers"),
    "lattice centre": (shifted_lattice, Given(), "000 lies between samples"),
    "MTZ cell": (supercell_mtz, Given(unit_cell=WRONG_CELL), "expected whole numbers"),
    "CCP4 cell": (ccp4, Given(unit_cell=WRONG_CELL), "is not that of the given cell"),
    "table twice": (extended("0 0 1 5\n0 0 1 6\n"), Given(unit_cell=CELL), "some come twice"),
    "table huge index": (extended("1e200 0 0 5\n"), Given(unit_cell=CELL), "hkl holds .* beyond"),
    "table huge value": (extended("9 9 9 1e39\n"), Given(unit_cell=CELL), "intensity holds .* bey"),
    "no numbers": (pickled, Given(unit_cell=CELL), "not an array of numbers"),
    "eryx open header": (
        eryx_with_header(b"), }", b" , }"),
        Given(unit_cell=CELL),
        "not an array of numbers",
    ),
    "eryx huge shape": (
        eryx_with_header(b"(13, 11, 15), ", b"(9999,99,9999)"),
        Given(unit_cell=CELL),
        "not an array of numbers",
    ),
    "eryx samples": (
        lambda p: eryx(p.with_suffix(".npy"), (5, 2, 2)),
        Given(unit_cell=CELL),
        "but the array has",
    ),
    "impossible cell": (mdx2_table, Given(unit_cell=(1, 2, 3, 170, 10, 90)), "three possible"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(tmp_path, name):
    """What is wrong, in one line."""
    write, given, reason = MALFORMED[name]
    path = write(tmp_path / "map.data")
    with pytest.raises(InputError, match=reason) as caught:
        read_any_map(path, given)
    message = str(caught.value)
    assert message.startswith(str(path)) or str(path.with_suffix(".yaml")) in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", LAYOUTS)
def test_all_masked(tmp_path, monkeypatch, kind):
    """A table without rows, or a box of nothing but masks: refused by a target at the latest."""
    monkeypatch.setattr(layouts, "VALUES", np.full(SHAPE, np.nan, np.float32))
    monkeypatch.setattr(layouts, "ROWS", np.empty((0, 3), int))
    write, given = LAYOUTS[kind]
    path = write(tmp_path / "map.data")
    with pytest.raises(InputError) as caught:
        make_target(read_any_map(path, given).diffuse, TargetOptions(6.0, 3.0, halo_radius=0.0))
    assert "\n" not in str(caught.value)


def test_wrong_rank(tmp_path):
    """A plane in place of a map, an axis that is none: the array and its shape are named."""
    np.save(tmp_path / "a.npy", VALUES[0])
    with pytest.raises(InputError, match=r"a.npy: an array of shape \(11, 15\)"):
        read_any_map(tmp_path / "a.npy", Given(unit_cell=CELL))
    path = mdx2_map(tmp_path / "a.nxs")
    with h5py.File(path, "r+") as file:
        del file["entry/intensity/signal"]
        file["entry/intensity/signal"] = VALUES[0]
    with pytest.raises(InputError, match=r"shape \(11, 15\), but its axes h, k, l have"):
        read_any_map(path, Given(unit_cell=CELL))


# Writers: what comes back is the same to the bit, in single precision.


def symmetric_map(space_group: str = "P 1") -> DiffuseMap:
    """A map whose Friedel mates agree, with errors and halves."""

    def mated(values: np.ndarray) -> np.ndarray:
        half = np.arange(values.size) > values.size // 2
        return np.where(half.reshape(values.shape), values, values[::-1, ::-1, ::-1])

    halves = (mated(random_values(3)), mated(random_values(4)))
    return DiffuseMap(GRID, mated(VALUES), space_group, mated(SIGMA), halves)


@pytest.mark.parametrize("name", FORMATS)
def test_round_trip(tmp_path, name):
    """Written and read again; measured mates that disagree are all kept."""
    integer = HklGrid(CELL, (1, 1, 1), EXTENT)
    row = WRITTEN[name]
    grid = integer if row.integer_hkl else GRID
    diffuse = DiffuseMap(grid, VALUES, "P 1", SIGMA, (random_values(3), random_values(4)))
    path = tmp_path / "map"
    used, left_out = write_any_map(path, diffuse, name)
    assert used == name
    given = Given(unit_cell=CELL) if "unit cell" in left_out else Given()
    found = read_any_map(path, given).diffuse
    np.testing.assert_allclose(found.grid.unit_cell, CELL, rtol=1e-6)
    assert (found.grid.divisions, found.grid.extent) == (grid.divisions, EXTENT)
    np.testing.assert_array_equal(found.intensity, VALUES)
    kept = [] if "errors" in left_out else [(found.errors, SIGMA)]
    kept += [] if "halves" in left_out else zip(found.halves, diffuse.halves, strict=True)
    for array, expected in kept:
        where = ~np.isnan(VALUES) if row.measured_only else np.ones(SHAPE, bool)
        np.testing.assert_array_equal(array[where], expected[where])


def test_mtz_holds_one_of_each_pair_that_agrees(tmp_path):
    """Half the rows, in gemmi's eyes a supercell of the symmorphic group; the same values."""
    diffuse = symmetric_map()
    write_any_map(tmp_path / "a.mtz", diffuse)
    mtz = gemmi.read_mtz_file(str(tmp_path / "a.mtz"))
    measured = np.isfinite(diffuse.intensity).sum()
    assert mtz.nreflections == (measured + 1) // 2
    assert mtz.spacegroup.hm == "P 1" and mtz.column_labels()[3:5] == ["IMEAN", "SIGIMEAN"]
    np.testing.assert_allclose(mtz.cell.parameters[:3], np.array(CELL[:3]) * DIVISIONS)
    found = read_any_map(tmp_path / "a.mtz").diffuse.intensity
    both = np.where(np.isnan(found), found[::-1, ::-1, ::-1], found)
    np.testing.assert_array_equal(both, diffuse.intensity)


GROUPS = {
    "P 1": "P 1", "P 21": "P 1 2 1", "P 41": "P 4", "P 21 21 21": "P 2 2 2", "P 43 21 2": "P 4 2 2",
    "I 2 3": "P 2 3", "P 31 1 2": "P 3 1 2", "P 61 2 2": "P 6 2 2", "P 1 1 21": "P 1 1 2",
}  # fmt: skip


@pytest.mark.parametrize("space_group", GROUPS)
def test_symmorphic_groups(space_group):
    """The same Laue operations, and no translations."""
    cell = (20, 20, 20, 90, 90, 120 if "3 1" in space_group or "6" in space_group else 90)
    name = symmorphic_group(space_group, cell)
    assert name == GROUPS[space_group]
    ours, theirs = (laue_operations(group, cell) for group in (space_group, name))
    np.testing.assert_array_equal(ours, theirs)


def test_ccp4_in_gemmis_eyes(tmp_path):
    """Header and values, read by gemmi: the reciprocal cell, sampling, start, −1000."""
    write_any_map(tmp_path / "a.ccp4", symmetric_map())
    ccp4 = gemmi.read_ccp4_map(str(tmp_path / "a.ccp4"))
    # gemmi rounds the grid's own cell to five decimals.
    found = [ccp4.header_float(11 + i) for i in range(3)]
    np.testing.assert_allclose(found, LENGTHS, rtol=1e-6)
    assert [ccp4.header_i32(5 + i) for i in range(6)] == [*(-e for e in EXTENT), *DIVISIONS]
    expected = symmetric_map().intensity
    np.testing.assert_array_equal(ccp4.grid.array, np.where(np.isnan(expected), -1000, expected))


def test_nexus_in_nexusformats_eyes(tmp_path):
    """Signal, axes and cell by the library that NeXpy and mdx2 stand on, the way mdx2 asks it."""
    nexus = pytest.importorskip("nexusformat.nexus")
    diffuse = symmetric_map()
    write_any_map(tmp_path / "a.nxs", diffuse)
    entry = nexus.nxload(str(tmp_path / "a.nxs"), "r")["/entry"]
    data = entry["intensity"]
    assert (data.attrs["mdx2_module"], data.attrs["mdx2_class"]) == ("mdx2.geometry", "GridData")
    np.testing.assert_array_equal(data[data.attrs["signal"]].nxvalue, diffuse.intensity)
    for name, axis in zip(data.attrs["axes"], AXES, strict=True):
        np.testing.assert_allclose(data[name].nxvalue, axis)
    np.testing.assert_allclose(entry["crystal/unit_cell"].nxvalue, CELL)
    write_any_map(tmp_path / "b.nxs", diffuse, "mdx2")
    table = nexus.nxload(str(tmp_path / "b.nxs"), "r")["/entry/hkl_table"]
    assert (table.attrs["mdx2_module"], table.attrs["mdx2_class"]) == ("mdx2.data", "HKLTable")
    measured = np.isfinite(diffuse.intensity)
    np.testing.assert_array_equal(table["intensity"].nxdata, diffuse.intensity[measured])
    np.testing.assert_allclose(table["ndiv"].nxdata, DIVISIONS)


def test_format_by_ending(tmp_path):
    """Endings that mean one; others are told what there is."""
    diffuse = symmetric_map()
    assert write_any_map(tmp_path / "a.mrc", diffuse)[0] == "ccp4"
    with pytest.raises(InputError, match=r"a\.h5: its ending does not tell the format"):
        write_any_map(tmp_path / "a.h5", diffuse)
    assert not (tmp_path / "a.h5").exists()


def test_what_a_format_cannot_hold(tmp_path):
    """Fractional hkl in a table of integers; a value that means "masked"."""
    with pytest.raises(InputError, match="cannot hold"):
        write_any_map(tmp_path / "a.hkl", symmetric_map())
    values = VALUES.copy()
    values[0, 0, 0] = -1000
    with pytest.raises(InputError, match="-1000, which stands for none"):
        write_any_map(tmp_path / "a.ccp4", DiffuseMap(GRID, values, "P 1"))


def test_every_row_has_its_functions():
    """What a row names is there, and no two rows share a name or an ending."""
    for row in MAPS:
        assert all(callable(at(place)) for place in (row.read, row.looks, row.write) if place)
        assert bool(row.looks) != bool(row.starts)
    for words in ([row.name for row in MAPS], [e for row in MAPS for e in row.endings]):
        assert len(words) == len(set(words))


def test_documentation_shows_the_rows():
    """The table of formats is what `table.markdown` makes of the rows, on one page."""
    root = Path(__file__).parents[3]
    pages = [root / "README.md", *root.glob("docs/**/*.md")]
    shown = sum(markdown() in page.read_text(encoding="utf-8") for page in pages)
    assert shown == 1, f"on {shown} pages is the table of formats: run: python docs/tables.py"
