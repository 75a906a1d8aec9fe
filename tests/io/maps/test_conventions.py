"""Maps as other programs write them beside the plain case: masks, steps, orders, packings.

The map is that of test_map_files: a triclinic cell, 3, 2, 2 samples per reciprocal-lattice unit.
"""

import gzip
import struct
from pathlib import Path

import gemmi
import h5py
import numpy as np
import pytest
from builders import atom
from layouts import (
    AXES,
    CELL,
    DIVISIONS,
    EXTENT,
    GRID,
    LAYOUTS,
    LENGTHS,
    RECIPROCAL,
    ROWS,
    SHAPE,
    VALUES,
    assert_is_the_map,
    at,
    ccp4,
    lattice,
    mdx2_map,
    mdx2_table,
    mdx_lib,
    table,
)

from hpc_diffuser.commands.measured_map import MapSource, load_map
from hpc_diffuser.io.maps.common import masks_of
from hpc_diffuser.io.maps.files import Given, is_map, read_any_map, write_any_map
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.system.errors import InputError

OURS = Given(unit_cell=CELL)


def refusal(path: Path, given: Given = OURS) -> str:
    """The message, one line that begins with the path."""
    with pytest.raises(InputError) as caught:
        read_any_map(path, given)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def told(path: Path, given: Given = OURS) -> tuple[DiffuseMap, str]:
    """The map and all that was said of it."""
    found = read_any_map(path, given)
    return found.diffuse, " | ".join(found.assumed)


# Numbers that stand for none.


def mtz_with(path: Path, missing: float, valm: float = np.nan, sigma: bool = False) -> Path:
    """A supercell MTZ with a row for every sample, masked ones marked by this number."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 1")
    mtz.add_dataset("diffuse")
    mtz.set_cell_for_all(gemmi.UnitCell(*np.array(CELL[:3]) * DIVISIONS, *CELL[3:]))
    mtz.add_column("IMEAN", "J")
    columns = [np.argwhere(np.isfinite(VALUES) | True) - np.array(EXTENT)]
    columns.append(np.where(np.isnan(VALUES), missing, VALUES).reshape(-1, 1))
    if sigma:
        mtz.add_column("SIGIMEAN", "Q")
        columns.append(np.where(np.isnan(VALUES), missing, 2.0).reshape(-1, 1))
    mtz.set_data(np.hstack(columns).astype(np.float32))
    mtz.valm = valm
    mtz.write_to_file(str(path))
    return path


@pytest.mark.parametrize("valm", [np.nan, -9999.0, 0.0, -1.0, 1e10])
def test_mtz_missing_values_by_its_header(tmp_path, valm):
    """VALM may be any number, also one that no list has; in errors too."""
    found, said = told(mtz_with(tmp_path / "a.mtz", valm, valm, sigma=True))
    assert_is_the_map(found)
    assert (np.isnan(found.errors[np.isnan(VALUES)]).all() and "VALM" in said) or np.isnan(valm)


@pytest.mark.parametrize("missing", [-999.0, -1000.0, -9999.0, -32768.0, -99999.0])
def test_usual_marks_that_no_header_names(tmp_path, missing):
    """Far from all intensities, exact and repeated: they are masks, in every format, and told."""
    found, said = told(mtz_with(tmp_path / "a.mtz", missing))
    assert_is_the_map(found)
    assert f"{missing:g}, which {np.isnan(VALUES).sum()} voxels have, stands for masked" in said
    marked = np.where(np.isnan(VALUES), np.float32(missing), VALUES)
    for write in (mdx2_map, mdx_lib):
        path = write(tmp_path / "a.nxs")
        with h5py.File(path, "r+") as file:
            name = "entry/intensity/signal" if write is mdx2_map else "maps/total/I"
            file[name][...] = marked if write is mdx2_map else marked.T
        assert_is_the_map(told(path)[0])
    assert_is_the_map(told(lattice(tmp_path / "a.lat", mask=missing))[0])


def test_numbers_among_the_others_are_intensities():
    """−999 beside −998.5 and −1001 is one of many; what fills a twentieth is told."""
    rng = np.random.default_rng(1)
    values = rng.normal(-1000, 30, 5000).round()
    assert masks_of(values, (), []) == ()
    said: list[str] = []
    assert masks_of(np.r_[rng.normal(10, 1, 900), np.full(100, -1.0)], (), said) == ()
    assert said == [
        "-1, which 10 % of the voxels have, is an intensity: if it stands for masked ones, make "
        "them NaN"
    ]
    said.clear()
    assert masks_of(np.r_[rng.normal(10, 1, 900), np.zeros(100)], (), said) == ()
    assert "0, which 10 %" in said[0]
    assert masks_of(np.r_[rng.normal(10, 1, 900), [-9999.0]], (), said) == ()


# CCP4 and MRC.


def mrc(
    path: Path,
    cell: np.ndarray | None = None,
    sampling: tuple[int, ...] = DIVISIONS,
    start: tuple[int, ...] | None = None,
    origin: tuple[float, ...] = (0, 0, 0),
    group: int = 1,
    order: str = "<",
    mode: int = 2,
    values: np.ndarray | None = None,
    mask: float = -1000.0,
    symmetry: bytes = b"",
    axes: tuple[int, ...] = (1, 2, 3),
) -> Path:
    """A header word by word; the reciprocal cell unless another is given."""
    angles = [
        np.degrees(np.arccos(RECIPROCAL[i] @ RECIPROCAL[j] / LENGTHS[i] / LENGTHS[j]))
        for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    values = VALUES if values is None else values
    cell = [*LENGTHS, *angles] if cell is None else [*cell, *angles][:6]
    start = tuple(-e for e in EXTENT) if start is None else start
    header = struct.pack(f"{order}10i", *values.shape, mode, *start, *sampling)
    header += struct.pack(f"{order}6f3i3f2i", *cell, *axes, 0, 0, 0, group, len(symmetry))
    header = header.ljust(196, b"\0") + struct.pack(f"{order}3f", *origin) + b"MAP "
    header += (b"DD\0\0" if order == "<" else b"\x11\x11\0\0").ljust(812, b"\0")
    kind = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}.get(mode, "f4")
    body = np.where(np.isnan(values), mask, values).astype(f"{order}{kind}")
    path.write_bytes(header + symmetry + body.tobytes(order="F"))
    return path


STEPS = LENGTHS / np.array(DIVISIONS)
# The same steps, told in four ways: cell, MX MY MZ, and what is said.
CONVENTIONS = {
    "decaf": (LENGTHS, DIVISIONS, "its cell is reciprocal"),
    "whole box": (STEPS * SHAPE, SHAPE, "that of the whole box"),
    "one step": (STEPS, SHAPE, "that of one step"),
    "one step of one": (STEPS, (1, 1, 1), "that of the whole box"),
    "other unit": (LENGTHS * 7.3, DIVISIONS, "not in 1/Å"),
}


@pytest.mark.parametrize("how", CONVENTIONS)
def test_mrc_steps(tmp_path, how):
    """Where the step is in the header, whichever way: 3, 2, 2 samples of the given cell."""
    cell, sampling, words = CONVENTIONS[how]
    found, said = told(mrc(tmp_path / "a.mrc", cell, sampling))
    assert_is_the_map(found)
    assert words in said
    found, said = told(mrc(tmp_path / "a.mrc", cell, sampling), Given(CELL, divisions=DIVISIONS))
    assert_is_the_map(found)


def test_mrc_steps_without_the_crystals_cell(tmp_path):
    """decaf's cell is the crystal's; a box's or a step's is refused, or used with --divisions."""
    assert_is_the_map(told(mrc(tmp_path / "a.mrc"), Given())[0])
    path = mrc(tmp_path / "b.mrc", STEPS * SHAPE, SHAPE)
    assert "give the crystal's --cell, or --divisions" in refusal(path, Given())
    assert_is_the_map(told(path, Given(divisions=DIVISIONS))[0])


def test_mrc_that_can_be_read_in_two_ways(tmp_path):
    """A cell of 2 a* with MX = 6: six samples of an odd unit, or three of 1/Å: not decided."""
    path = mrc(tmp_path / "a.mrc", 2 * LENGTHS, tuple(2 * n for n in DIVISIONS))
    message = refusal(path)
    assert "3,2,2 or 6,4,4 samples" in message and "--divisions" in message
    assert_is_the_map(told(path, Given(CELL, divisions=DIVISIONS))[0])


def test_mrc_of_a_library_without_angles(tmp_path):
    """90° thrice, beside steps that are the crystal's: refused, and used with --divisions."""
    path = mrc(tmp_path / "a.mrc", np.array([*(STEPS * SHAPE), 90, 90, 90]), SHAPE)
    assert "give --divisions" in refusal(path)
    assert_is_the_map(told(path, Given(CELL, divisions=DIVISIONS))[0])
    assert "give --divisions" in refusal(path, Given(CELL, divisions=(4, 2, 2)))


def test_mrc_without_a_cell(tmp_path):
    """Zeros in the header, as of arrays that were saved without a word: both have to be given."""
    path = mrc(tmp_path / "a.mrc", np.zeros(6), (0, 0, 0))
    assert "give the crystal's --cell and --divisions" in refusal(path)
    found, said = told(path, Given(CELL, divisions=DIVISIONS))
    assert_is_the_map(found)
    assert "as given" in said


def test_mrc_origin(tmp_path):
    """ORIGIN in the cell's unit serves where NSTART is 0; what contradicts 000 is refused."""
    shifted = VALUES[2:, :-3, 1:]
    first = np.array([2, 0, 1]) - np.array(EXTENT)
    none = (0, 0, 0)
    for cell, sampling in ((LENGTHS, DIVISIONS), (STEPS * shifted.shape, shifted.shape)):
        path = mrc(tmp_path / "a.mrc", cell, sampling, none, tuple(first * STEPS), values=shifted)
        found, said = told(path)
        expected = np.full(SHAPE, np.nan, np.float32)
        expected[2:, :-3, 1:] = shifted
        np.testing.assert_array_equal(found.intensity, expected)
        assert "by ORIGIN" in said
    for wrong in (-first * STEPS, (first + 0.5) * STEPS):
        path = mrc(tmp_path / "a.mrc", start=none, origin=tuple(wrong), values=shifted)
        assert "ORIGIN" in refusal(path)


def test_mrc_start_before_origin(tmp_path):
    """NSTART counts; an ORIGIN that agrees is silent, and one that does not is told."""
    agrees, differs = (tuple(-np.array(e) * STEPS) for e in (EXTENT, (1, 2, 3)))
    for origin, words in ((agrees, False), (differs, True)):
        found, said = told(mrc(tmp_path / "a.mrc", origin=origin))
        assert_is_the_map(found)
        assert ("by NSTART; ORIGIN differs" in said) == words


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "P 1"), (1, "P 1"), (19, "P 21 21 21"), (1018, "P 21212(a)"), (401, "P 1"),
     (4321, "P 1"), (-1, "P 1")],
)  # fmt: skip
def test_mrc_space_group_numbers(tmp_path, number, name):
    """CCP4's own of other settings; what is none is left aside, and told."""
    found, said = told(mrc(tmp_path / "a.mrc", group=number))
    assert found.space_group == name
    assert ("no space group's number" in said) == (number in (401, 4321, -1))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", [0, 1, 2, 6, 12])
def test_mrc_modes_and_byte_orders(tmp_path, mode, order):
    """Whole numbers and half precision, both byte orders, symmetry records in between."""
    values = np.clip(np.rint(np.nan_to_num(VALUES, nan=50)), 1, 100).astype(np.float32)
    path = mrc(tmp_path / "a.mrc", mode=mode, order=order, values=values, symmetry=b"X,Y,Z" * 16)
    assert_is_the_map(told(path)[0], values)


@pytest.mark.parametrize("mode", [3, 4, 101, -1])
def test_mrc_modes_refused(tmp_path, mode):
    """Complex and packed ones."""
    assert f"mode {mode}: expected one of 0, 1, 2, 6, 12" in refusal(mrc(tmp_path / "a", mode=mode))


@pytest.mark.parametrize("mask", [-1000.0, -32768.0, -32767.0, np.nan, -9999.0])
def test_mrc_masks(tmp_path, mask):
    """decaf's, lunus's and the usual ones."""
    assert_is_the_map(told(mrc(tmp_path / "a.mrc", mask=mask))[0])


def test_mrc_without_an_axis_order(tmp_path):
    """Zeros are the plain order; two axes of one name are none."""
    assert_is_the_map(told(mrc(tmp_path / "a.mrc", axes=(0, 0, 0)))[0])
    assert "axis order" in refusal(mrc(tmp_path / "a.mrc", axes=(1, 1, 3)))


def test_mrc_of_another_length(tmp_path):
    """Cut, and with a symmetry block that is not there: never read off its place."""
    path = mrc(tmp_path / "a.mrc")
    for content in (path.read_bytes()[:-4], path.read_bytes() + bytes(4)):
        path.write_bytes(content)
        assert "could not be read as a CCP4 map" in refusal(path)


def test_mrc_with_a_signalling_nan_in_its_header(tmp_path):
    """A damaged cell: refused, without a warning of its conversion."""
    path = mrc(tmp_path / "a.mrc")
    raw = bytearray(path.read_bytes())
    raw[40:44] = struct.pack("<I", 0x7F9271FC)
    path.write_bytes(bytes(raw))
    assert "expected three lengths and angles" in refusal(path)


def test_gemmis_own_map_comes_back(tmp_path):
    """The grid's writer of gemmi, whose header has no start: 000 at the first sample is refused
    to be guessed: it is put in the middle, and told."""
    grid = gemmi.Ccp4Map()
    grid.grid = gemmi.FloatGrid(np.where(np.isnan(VALUES), np.float32(-1000), VALUES))
    grid.grid.unit_cell = gemmi.UnitCell(*(STEPS * SHAPE), *gemmi_angles())
    grid.grid.spacegroup = gemmi.SpaceGroup("P 1")
    grid.update_ccp4_header(2)
    grid.write_ccp4_map(str(tmp_path / "a.ccp4"))
    found, said = told(tmp_path / "a.ccp4")
    assert_is_the_map(found)
    assert "000 at the middle" in said and "whole box" in said


def gemmi_angles() -> tuple[float, ...]:
    return gemmi.UnitCell(*CELL).reciprocal().parameters[3:]


# mdx2 and NXRefine.


@pytest.mark.parametrize("extra", ["op", "rs_volume", "repeated", "counts"])
def test_mdx2_tables_that_are_not_merged(tmp_path, extra):
    """Of mdx2.integrate and mdx2.correct: which of its commands is to be run."""
    path = mdx2_table(tmp_path / "a.nxs")
    with h5py.File(path, "r+") as file:
        rows = file["entry/hkl_table"]
        if extra == "repeated":
            for name in [n for n in rows if n != "ndiv"]:
                column = rows[name][()]
                del rows[name]
                rows[name] = np.r_[column, column[:7]]
        else:
            rows[extra] = np.ones(len(ROWS))
        if extra == "counts":
            del rows["intensity"]
    message = refusal(path)
    assert "mdx2.merge" in message and ("mdx2.correct" in message) == (extra == "counts")
    assert (f"{len(ROWS) + 7} rows for {len(ROWS)} voxels" in message) == (extra == "repeated")


def nxrefine(path: Path, transposed: bool = True, link: bool = False) -> Path:
    """Axes Ql, Qk, Qh, the data [l, k, h]; the cell in entry/sample, field by field."""
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/transform")
        data.attrs.update(NX_class="NXdata", signal="data", axes=["Ql", "Qk", "Qh"])
        if link:
            data["data"] = h5py.ExternalLink("scan/transform.nxs", "/entry/data/v")
        else:
            data["data"] = VALUES.T if transposed else VALUES
        for name, axis in zip("hkl", AXES, strict=True):
            data[f"Q{name}"] = axis
        names = ("a", "b", "c", "alpha", "beta", "gamma")
        for name, x in zip(names, CELL, strict=True):
            file[f"entry/sample/unitcell_{name}"] = x
        file["entry/sample/space_group"] = "P -1"
    return path


def test_nxrefine_map(tmp_path):
    """By its axes' names and order; cell and space group of its sample."""
    path = nxrefine(tmp_path / "a.nxs")
    found = read_any_map(path)
    assert found.kind == "NXRefine map" and found.diffuse.space_group == "P -1"
    assert_is_the_map(found.diffuse)
    assert any("axes Ql, Qk, Qh in this order" in line for line in found.assumed)


def test_nxrefine_map_refused(tmp_path):
    """An array in the other order than its axes say; one that lies in another file."""
    assert "is transposed" in refusal(nxrefine(tmp_path / "a.nxs", transposed=False))
    assert "link to elsewhere" in refusal(nxrefine(tmp_path / "b.nxs", link=True))


@pytest.mark.parametrize("axes", ["hkl", "lkh", "klh", "h:k:l", "[l,k,h]"])
def test_axes_in_any_order_that_is_named(tmp_path, axes):
    """mdx2's layout with its axes permuted; one text of all names, as NeXus once had them."""
    path = tmp_path / "a.nxs"
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/intensity")
        names = axes if len(axes) > 3 else list(axes)
        data.attrs.update(NX_class="NXdata", signal="signal", axes=names)
        data["signal"] = VALUES.transpose(["hkl".index(a) for a in axes if a in "hkl"])
        for name, axis in zip("hkl", AXES, strict=True):
            data[name] = axis
    assert_is_the_map(told(path)[0])


def test_what_the_structure_of_a_map_does_not_say(tmp_path):
    """Its lack of a space group is told among what was assumed about the map."""
    record = (
        "CRYST1" + "".join(f"{x:9.3f}" for x in CELL[:3]) + "".join(f"{x:7.2f}" for x in CELL[3:])
    )
    (tmp_path / "a.pdb").write_text(f"{record}\n{atom(1, 'CA', (1, 2, 3))}")
    loaded = load_map(MapSource(mdx2_table(tmp_path / "a.nxs"), structure=tmp_path / "a.pdb"))
    line = f'{tmp_path / "a.pdb"}: assumed space group "P 1": the file names none'
    assert line in loaded.said


# Packed, marked, renamed.


# Half of a text is whole too; an eryx array has a file beside it.
@pytest.mark.parametrize("kind", [k for k in LAYOUTS if not k.startswith(("eryx", "lunus table"))])
def test_packed_maps(tmp_path, kind):
    """By their first bytes: the same map under any name; a damaged one is named as it is."""
    write, given = LAYOUTS[kind]
    plain = write(tmp_path / "map.data")
    for name in ("map.data.gz", "map"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(plain.read_bytes()))
        found = read_any_map(path, given)
        assert found.kind == kind and is_map(path)
        assert_is_the_map(found.diffuse)
    path.write_bytes(gzip.compress(plain.read_bytes()[: plain.stat().st_size // 2]))
    assert "/tmp" not in refusal(path, given).replace(str(path), "")


def test_packed_by_another_program(tmp_path):
    """What to do with it."""
    (tmp_path / "a.mtz").write_bytes(b"BZh91AY&SY" + bytes(99))
    assert "unpack it first, as with bunzip2" in refusal(tmp_path / "a.mtz")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_table_of_a_windows_program(tmp_path, encoding):
    """Marks and line ends of a text table."""
    path = table(tmp_path / "a.hkl")
    path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    if encoding == "utf-16":
        assert "no diffuse map" in refusal(path)
        return
    found = read_any_map(path, OURS).diffuse
    np.testing.assert_array_equal(found.intensity[~np.isnan(VALUES)], at(VALUES))


@pytest.mark.parametrize("line", ["1 2-10 5.0", "1 2 3", "1 2 3 5 6", "1 2 3 ****", "h k l I"])
def test_lines_of_a_table_that_are_none(tmp_path, line):
    """Columns that touch, are missing, are too many, or hold no numbers: line and text."""
    path = table(tmp_path / "a.hkl")
    rows = path.read_text().splitlines()
    path.write_text("\n".join(["# a comment", *rows[:9], line, *rows[9:]]) + "\n")
    message = refusal(path)
    assert "line 11: expected four numbers h k l I" in message and repr(line) in message


@pytest.mark.parametrize("name", ["A.MTZ", "A.CCP4", "A.Map", "A.LAT", "A.NXS"])
def test_endings_in_capitals(tmp_path, name):
    """Written by what the ending means, read by content."""
    used, left_out = write_any_map(tmp_path / name, DiffuseMap(GRID, VALUES, "P 1"))
    assert used == {"map": "ccp4", "nxs": "native"}.get(ending := name[2:].lower(), ending)
    given = OURS if "unit cell" in left_out else Given()
    assert_is_the_map(read_any_map(tmp_path / name, given).diffuse)


def test_ccp4_of_a_quarter_in_memory_order(tmp_path):
    """decaf's own layout, columns along l, is untouched by all this."""
    assert_is_the_map(read_any_map(ccp4(tmp_path / "a.map", order=(3, 2, 1))).diffuse)
