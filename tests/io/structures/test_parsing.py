"""Packed files, models, columns and B-factors, in the ways that programs write structures."""

import gzip
import itertools
from functools import partial

import numpy as np
import pytest
from builders import atom
from hypothesis import given, settings
from hypothesis import strategies as st
from structure_text import (
    ATOMS,
    CELL,
    CRYST1,
    ORTHORHOMBIC,
    PLACES,
    atoms,
    cif,
    refusal,
    scale,
    told,
    written,
)

from hpc_diffuser.fit.config import load_config
from hpc_diffuser.io.structures.files import read_models, read_structure
from hpc_diffuser.io.structures.pdb_records import _PLAIN, check_atom
from hpc_diffuser.system.errors import InputError


@pytest.fixture
def write(tmp_path):
    """Write a file of these parts; its path."""
    return partial(written, tmp_path)


def test_packed_is_as_not_packed(write, tmp_path):
    """By the first bytes, whatever the name: the same structure, the same refusals."""
    good, bad = CRYST1 + ATOMS, CRYST1 + ATOMS.replace("-2.500", "-2.x00")
    for name, (pieces, text) in itertools.product(("a.pdb", "a.gz", "a"), ((1, good), (2, good))):
        middle = len(text) // pieces
        packed = gzip.compress(text[:middle].encode()) + gzip.compress(text[middle:].encode())
        (tmp_path / name).write_bytes(packed + b"\0" * 512)
        np.testing.assert_array_equal(read_structure(tmp_path / name)[0].positions, PLACES)
    (tmp_path / "bad.pdb.gz").write_bytes(gzip.compress(bad.encode()))
    messages = [refusal(write(bad, name="bad.pdb")), refusal(tmp_path / "bad.pdb.gz")]
    assert messages[0] == messages[1].replace(".pdb.gz", ".pdb")


PACKED_REFUSED = {
    "cut": (gzip.compress((CRYST1 + ATOMS).encode())[:-30], "break off"),
    "damaged": (gzip.compress((CRYST1 + ATOMS).encode())[:30] + b"\xff" * 99, "damaged gzip"),
    "bomb": (gzip.compress(bytes(200 << 20)), "more than such a file can hold"),
    "bzip2": (b"BZh91AY&SY", "bunzip2"),
    "xz": (b"\xfd7zXZ\0\0\0", "unxz"),
    "compress": (b"\x1f\x9d\x90abc", "uncompress"),
    "zip": (b"PK\x03\x04abc", "unzip"),
    "zstd": (b"\x28\xb5\x2f\xfdabc", "unzstd"),
}


@pytest.mark.parametrize("name", PACKED_REFUSED)
def test_packed_refused(tmp_path, name):
    """Damaged, made to fill the memory, or packed by something else."""
    content, word = PACKED_REFUSED[name]
    (tmp_path / "a.pdb").write_bytes(content)
    assert word in refusal(tmp_path / "a.pdb")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_marks_and_line_ends(write, mark, end):
    """Of Windows and old Macs, with what DOS and fixed-size blocks append."""
    for name, text in (
        ("a.pdb", ORTHORHOMBIC.format("P 21") + ATOMS + "END\n"),
        ("a.cif", cif("_symmetry.space_group_name_H-M 'P 21'")),
    ):
        content = mark + text.replace("\n", end) + "\x1a" + "\0" * 99
        structure, crystal = read_structure(write(content, name=name))
        assert crystal == ((30, 32, 34, 90, 90, 90), "P 21") and len(structure) > 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(write, encoding):
    """With and without a mark; of configs with one."""
    assert "UTF-16" in refusal(write(CRYST1, ATOMS, encoding=encoding))
    with pytest.raises(InputError, match=r"not UTF-8|not valid TOML"):
        load_config(write("[run]\n", name="a.toml", encoding=encoding))


def test_config_with_a_mark(write):
    """As Windows' editor writes it."""
    assert load_config(write("\ufeff[model]\nsamples = 7\n", name="a.toml")).model.samples == 7


def models_of(*shifts: float) -> list[str]:
    return [atoms(PLACES + x) for x in shifts]


A, B, C = models_of(0, 1, 2)


SEPARATED = {
    "MODEL and ENDMDL": "".join(f"MODEL {i:8d}\n{m}TER\nENDMDL\n" for i, m in enumerate((A, B, C))),
    "MODEL alone": f"MODEL        1\n{A}MODEL        2\n{B}MODEL        3\n{C}END\n",
    "ENDMDL alone": f"{A}ENDMDL\n{B}ENDMDL\n{C}ENDMDL\nEND\n",
    "END": f"{A}END\n{B}END\n{C}END\n",
    "END and END": f"{A}TER\nENDMDL\nEND\n{B}TER\nENDMDL\nEND\n{C}ENDMDL\nEND\n",
    "END without the last": f"{A}END   \n{B}END   \n{C}",
    "CRYST1": f"{A}{CRYST1}{B}{CRYST1}{C}",
    "CRYST1 and MODEL": CRYST1.join(f"MODEL        1\n{m}TER\nENDMDL\n" for m in (A, B, C)),
    "same number": "".join(f"MODEL        1\n{m}ENDMDL\n" for m in (A, B, C)),
}


@pytest.mark.parametrize("how", SEPARATED)
def test_models_however_separated(write, how):
    """Three models by every separator that programs write; a single structure is the first."""
    path = write(CRYST1, SEPARATED[how])
    _, frames, crystal, _ = told(path, read_models)
    np.testing.assert_allclose(frames, [PLACES, PLACES + 1, PLACES + 2], atol=1e-9)
    assert crystal[0] == CELL
    structure, _, said = told(path)
    np.testing.assert_array_equal(structure.positions, PLACES)
    assert "the first of 3 models" in said


def test_one_end_is_no_second_model(write):
    """What follows END and is no atom: one model."""
    path = write(CRYST1, A, "END\nCONECT    1    2\nMASTER\nEND\n")
    assert "models" not in told(path)[2]
    assert "expected an ensemble of several models, found one" in refusal(path, read_models)


def test_atoms_after_end_are_told(write):
    """A ligand put behind END would be lost without a word."""
    ligand = atom(9, "O1", (9, 9, 9), "O", "LIG", 201, record="HETATM")
    structure, _, said = told(write(CRYST1, A, "END\n", ligand, "END\n"))
    assert len(structure) == 4 and "2 models of 1 to 4 atoms, which END or CRYST1" in said


def shifted(text: str, by: int) -> str:
    lines = text.splitlines()
    return "\n".join(line[-by:] if by < 0 else line[:6] + " " * by + line[6:] for line in lines)


@pytest.mark.parametrize("by", [-2, -1, 1, 2])
def test_shifted_columns(write, by):
    """Every number off its column: the line and the columns are named."""
    text = ATOMS.splitlines(keepends=True)
    line = text[2][:13] + (" " * by + text[2][13:] if by > 0 else text[2][13 - by :])
    message = refusal(write(CRYST1, *text[:2], line, *text[3:]))
    assert "line 4" in message and "columns" in message


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("  1.00 10.00", "   1.00 10.0", "55-66"),
        ("  1.00 10.00", "  1.00 ab.00", "55-66"),
        ("A   1 ", "A  x1 ", "23-26"),
        ("ATOM      2  CA", "ATOM\t2  CA", "tabs"),
        ("  1.00 10.00", "******10.00", "55-66"),
    ],
)
def test_columns_beside_the_coordinates(write, old, new, word):
    """gemmi takes what is no number as 0, and half a number as a number."""
    assert old in ATOMS
    message = refusal(write(CRYST1, ATOMS.replace(old, new)))
    assert word in message and "line " in message


def test_other_decimals_are_no_shift(write):
    """Two or four decimals that fill their columns; numbers that touch; hybrid-36 numbers."""
    for form in ("{:8.2f}", "{:8.4f}", "{:8.0f}"):
        places = "".join(form.format(x) for x in (12, -3, 45))
        path = write(CRYST1, ATOMS, atom(5, "CB", places))
        np.testing.assert_array_equal(read_structure(path)[0].positions[-1], [12, -3, 45])
    touching = atom(5, "CB", "-100.125-200.250-300.500").replace("A   1", "AA0Z1")
    structure, _ = read_structure(write(CRYST1, ATOMS, touching))
    np.testing.assert_array_equal(structure.positions[-1], [-100.125, -200.25, -300.5])
    assert structure.residue_numbers[-1] == 10000 + 35 * 36 + 1


def test_records_in_small_letters(write):
    """As gemmi takes them: the cell, the frame and the atoms."""
    text = (CRYST1 + scale(np.zeros((3, 3))) + ATOMS).replace("ATOM", "atom")
    text = text.replace("CRYST1", "cryst1").replace("SCALE", "scale")
    structure, crystal, said = told(write(text))
    assert len(structure) == 4 and crystal[0] == CELL and "zeros" in said


def test_remarks_in_another_encoding(tmp_path):
    """What is not used need not be readable."""
    remark = "REMARK   3 RESOLUTION 1.2 \xc5\n".encode("latin-1")
    (tmp_path / "a.pdb").write_bytes(remark + (CRYST1 + ATOMS).encode())
    assert read_structure(tmp_path / "a.pdb")[1][0] == CELL


@pytest.mark.parametrize("element", ["  ", "CA", " X"])
def test_elements_of_names_that_begin_one_column_early(write, element):
    """`CA` in the columns of calcium, without an element, or with that of a careless program: the
    Cα of an amino acid is carbon, and that is told; a calcium ion stays one."""
    calpha = "".join(
        f"ATOM  {n:5d} CA   ALA A{n:4d}    {3.8 * n:8.3f}{0:8.3f}{0:8.3f}  1.00 1{n}.00          "
        f"{element}\n"
        for n in (1, 2, 3)
    )
    ion = atom(9, "CA", (9, 9, 9), "CA", "CA", 201, record="HETATM")
    structure, _, said = told(write(CRYST1, calpha, ion))
    assert structure.elements.tolist() == ["C", "C", "C", "Ca"]
    assert "elements of 3 atoms: by their names" in said


def with_b(values: list[str]) -> str:
    lines = []
    for residue in range(1, len(values) // 4 + 1):
        lines += atoms(PLACES + 1.5 * residue, residue).splitlines()
    return "\n".join(
        line[:60] + f"{b:>6s}" + line[66:] for line, b in zip(lines, values, strict=True)
    )


B_COLUMNS = {
    "all 0 Å²": ["0.00"] * 8,
    "all 20 Å²": ["20.00"] * 8,
    "look like <u²>": [f"{0.1 + 0.05 * i:.2f}" for i in range(8)],
    "down to -3": ["-3.00", *["10.00"] * 7],
    "confidences": [f"{50 + 3 * (i // 4):.2f}" for i in range(40)],
    "has none: 0": [""] * 8,
    "has none for 2 atoms": ["10.00"] * 6 + [""] * 2,
}


@pytest.mark.parametrize("words", B_COLUMNS)
def test_b_columns_that_are_something_else(write, words):
    """Each is told; ordinary ones are not."""
    path = write(CRYST1, with_b(B_COLUMNS[words]))
    structure, _, said = told(path)
    assert words in said
    if words == "has none: 0":
        assert not structure.b_factors_A2.any()
    ordinary = [f"{10 + i % 7:.2f}" for i in range(40)]
    assert "B-factors" not in told(write(CRYST1, with_b(ordinary)))[2]


def test_a_cell_without_a_space_group_in_the_config(write, call):
    """[crystal] unit_cell for a file without a crystal: P 1 is an assumption, and said."""
    write(with_b(["10.00"] * 40), name="model.pdb")
    text = '[structure]\nfile = "model.pdb"\n[grid]\noversampling = [1, 1, 1]\nd_min_A = 8.0\n'
    text += "[crystal]\nunit_cell = [30, 32, 34, 90, 90, 90]\n"
    write(text, "[parameters]\ntranslation_sigma_A = 0.3\n", name="a.toml")
    made = call("simulate", "a.toml", "-o", "a.nxs")
    assert made.returncode == 0, made.stderr
    assert 'assumed space group "P 1": neither it nor the structure names one' in made.stderr


def test_info_and_modes_tell(write, call):
    """On standard output of `info`, before the crystal; on standard error elsewhere."""
    write(ORTHORHOMBIC.format(""), with_b(["10.00"] * 40), name="model.pdb")
    page = call("info", "model.pdb")
    assert page.returncode == 0 and not page.stderr
    lines = page.stdout.splitlines()
    assert lines[1:3] == [
        'assumed      space group "P 1": the file names none',
        "assumed      B-factors: all 10 Å² in the file",
    ]
    assert lines[-1].startswith("unit cell    30 32 34")
    made = call("modes", "--reference", "model.pdb", "--n-modes", "2", "-o", "modes.h5")
    assert made.returncode == 0, made.stderr
    assert 'model.pdb: assumed space group "P 1": the file names none' in made.stderr


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-999, 9999).map(lambda x: f"{x:8.3f}"), min_size=3, max_size=3),
    st.integers(-999, 9999),
    st.integers(0, 66),
    st.sampled_from(list(" -.0A\t")),
)
def test_one_look_passes_what_the_careful_look_passes(places, number, column, other):
    """Any ordinary line, and one with another character in any column: never only the quick one."""
    line = atom(1, "CA", "".join(places), number=number).rstrip("\n")
    check_atom(line, 1)
    changed = line[:column] + other + line[column + 1 :]
    if _PLAIN.match(changed):
        numbers = [float(changed[s:e]) for s, e in ((30, 38), (38, 46), (46, 54), (54, 60))]
        assert len(numbers) == 4 and int(changed[22:26]) is not None
        assert [changed[p] for p in (34, 42, 50)] == ["."] * 3
