"""What structure files say of their crystal and models, in the ways that programs write it."""

import gzip
import itertools
from pathlib import Path

import gemmi
import numpy as np
import pytest
from builders import atom
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.fit.config import load_config
from hpc_diffuser.io.structures.crystal_records import CrystalRecords, space_group, standard_frame
from hpc_diffuser.io.structures.files import read_models, read_structure
from hpc_diffuser.io.structures.pdb_records import _PLAIN, check_atom
from hpc_diffuser.system.errors import InputError

CELL = (27.4, 32.1, 34.5, 88.7, 108.5, 111.9)
CRYST1 = "CRYST1   27.400   32.100   34.500  88.70 108.50 111.90 P 1           1\n"
ORTHORHOMBIC = "CRYST1   30.000   32.000   34.000  90.00  90.00  90.00 {:11s}\n"
PLACES = np.array([[1.0, 2, 3], [2, -2.5, 3], [-3, 4, 5.25], [4, 1, -2]])
BACKBONE = (("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O"))


def atoms(places: np.ndarray = PLACES, number: int = 1) -> str:
    """One residue's backbone at these places."""
    return "".join(
        atom(i, name, tuple(place), element, number=number)
        for i, ((name, element), place) in enumerate(zip(BACKBONE, places, strict=True), 1)
    )


ATOMS = atoms()


def scale(matrix: np.ndarray, vector=(0.0, 0.0, 0.0)) -> str:
    """SCALEn as the PDB's description has them: six and five decimals."""
    return "".join(
        f"SCALE{i}    {''.join(f'{x:10.6f}' for x in row)}     {v:10.5f}\n"
        for i, (row, v) in enumerate(zip(matrix, vector, strict=True), 1)
    )


def fractional(cell: tuple[float, ...] = CELL) -> np.ndarray:
    """From the PDB's standard frame: the inverse of columns a along x, b in the xy plane, c."""
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.radians(cell[3:]))
    sg = np.sqrt(1 - cg**2)
    z = (ca - cb * cg) / sg
    columns = [[a, 0, 0], [b * cg, b * sg, 0], [c * cb, c * z, c * np.sqrt(1 - cb**2 - z**2)]]
    return np.linalg.inv(np.array(columns).T)


def rotation(seed: int) -> np.ndarray:
    """A random one: the Q of a random matrix, made proper."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.linalg.det(q)


@pytest.fixture
def write(tmp_path):
    """Write a file of these parts; its path."""

    def written(*parts: str, name: str = "model.pdb", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes("".join(parts).encode(encoding))
        return path

    return written


def told(path: Path, read=read_structure, **options):
    """Structure, crystal and what was said."""
    said: list[str] = []
    return *read(path, tell=said.append, **options), " | ".join(said)


def refusal(path: Path, read=read_structure) -> str:
    """The message, one line that begins with the path."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


# The frame of the coordinates.


@pytest.mark.parametrize("seed", range(4))
def test_another_frame_by_scale(write, seed):
    """r = Q(r₀ − o) in the file and SCALE = M Qᵀ with the vector M o give back r₀.

    Six decimals of a 34 Å cell leave 34 · 5e-7 of a coordinate, three decimals 5e-4 Å.
    """
    q, offset = rotation(seed), np.array([3.0, -1.0, 2.0])
    moved = (PLACES - offset) @ q.T
    text = scale(fractional() @ q.T, fractional() @ offset)
    structure, crystal, said = told(write(CRYST1, text, atoms(moved)))
    np.testing.assert_allclose(structure.positions, PLACES, atol=2e-3)
    assert crystal[0] == CELL and "not the standard one, by SCALEn" in said


def test_another_frame_of_mmcif_and_of_models(write):
    """The same by fract_transf_matrix, for one structure and for all models."""
    q = rotation(5)
    text = CRYST1 + "".join(f"MODEL {n:8d}\n{atoms((PLACES + n) @ q.T)}ENDMDL\n" for n in (0, 1, 2))
    document = gemmi.read_pdb_string(text).make_mmcif_document()
    block = document[0]
    for i, row in enumerate(fractional() @ q.T, 1):
        for j, x in enumerate(row, 1):
            block.set_pair(f"_atom_sites.fract_transf_matrix[{i}][{j}]", f"{x:.6f}")
        block.set_pair(f"_atom_sites.fract_transf_vector[{i}]", "0.00000")
    path = write(document.as_string(), name="model.cif")
    structure, _, said = told(path)
    np.testing.assert_allclose(structure.positions, PLACES, atol=2e-3)
    assert "fract_transf_matrix" in said
    mean, frames, _, _ = told(path, read_models)
    for n, frame in enumerate(frames):
        np.testing.assert_allclose(frame, PLACES + n, atol=2e-3)
    np.testing.assert_allclose(mean.positions, PLACES + 1, atol=2e-3)


def test_scale_of_the_standard_frame_changes_nothing(write):
    """Its six decimals, of a large cell too, are no other frame: coordinates stay to the bit."""
    for cell in (CELL, (412.31, 287.77, 689.04, 90, 97.43, 90)):
        record = "CRYST1" + "".join(f"{x:9.3f}" for x in cell[:3])
        record += "".join(f"{x:7.2f}" for x in cell[3:]) + " P 1\n"
        structure, _, said = told(write(record, scale(fractional(cell)), ATOMS))
        np.testing.assert_array_equal(structure.positions, PLACES)
        assert "frame" not in said and "SCALE" not in said


@pytest.mark.parametrize(("matrix", "word"), [(np.zeros((3, 3)), "zeros"), (np.eye(3), "unit")])
def test_scale_that_is_a_placeholder(write, matrix, word):
    """All zeros, or the unit matrix: not used, and told."""
    structure, _, said = told(write(CRYST1, scale(matrix), ATOMS))
    np.testing.assert_array_equal(structure.positions, PLACES)
    assert word in said


FRAMES_REFUSED = {
    "another cell": scale(fractional((28.4, *CELL[1:]))),
    "mirror": scale(fractional() * [-1, 1, 1]),
    "two rows": scale(fractional())[:60],
    "word": scale(fractional()).replace("0.0", "o.o", 1),
}


@pytest.mark.parametrize("name", FRAMES_REFUSED)
def test_scale_that_contradicts(write, name):
    """A matrix of another cell (by 1 Å of 27), a mirror image, records that break off."""
    assert "SCALE" in refusal(write(CRYST1, FRAMES_REFUSED[name], ATOMS))


def test_scale_a_little_off_is_told(write):
    """0.4 % in one edge, as after a refinement of the cell: the cell's own frame, and a word."""
    path = write(CRYST1, scale(fractional((27.51, *CELL[1:]))), ATOMS)
    structure, _, said = told(path)
    np.testing.assert_array_equal(structure.positions, PLACES)
    assert "0.4 % off the unit cell" in said


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(5, 300), st.floats(50, 130))
def test_every_frame_is_undone(seed, edge, angle):
    """Any rotation and origin, any cell: r' are the coordinates that the cell's own frame has."""
    cell = (edge, 40.0, 60.0, 90.0, angle, 90.0)
    q, offset = rotation(seed), np.array([5.0, 0.5, -7.0])
    frame = np.column_stack([fractional(cell) @ q.T, fractional(cell) @ offset])
    notes: list[str] = []
    moved = standard_frame(CrystalRecords(cell, frame=frame), notes)
    assert moved is not None and len(notes) == 1
    found = (PLACES - offset) @ q.T @ moved[0].T + moved[1]
    np.testing.assert_allclose(found, PLACES, atol=1e-9 * edge + 1e-9)


# The space group.


def cif(crystal: str) -> str:
    """mmCIF of a 30 x 32 x 34 Å cell with these lines about its crystal."""
    cell = "".join(f"_cell.length_{e} {x}\n" for e, x in zip("abc", (30, 32, 34), strict=True))
    cell += "".join(f"_cell.angle_{name} 90\n" for name in ("alpha", "beta", "gamma"))
    columns = "group_PDB id type_symbol label_atom_id label_comp_id label_asym_id label_seq_id"
    columns += " Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv"
    loop = "loop_\n" + "".join(f"_atom_site.{name}\n" for name in columns.split())
    rows = "ATOM 1 N N ALA A 1 1 2 3 1 10\nATOM 2 C CA ALA A 1 2 2 3 1 12\n"
    return f"data_x\n{cell}{crystal}\n{loop}{rows}"


OPERATORS = ["x,y,z", "-x+1/2,-y,z+1/2", "-x,y+1/2,-z+1/2", "x+1/2,-y+1/2,-z"]
SPELLINGS = (
    "_symmetry.space_group_name_H-M 'P 21 21 21'",
    "_space_group.name_H-M_alt 'P 21 21 21'",
    "_symmetry.Int_Tables_number 19",
    "_space_group.IT_number 19",
    '_symmetry.space_group_name_Hall "P 2ac 2ab"',
    "_space_group.name_Hall 'P 2ac 2ab'",
    "_space_group.name_H-M_full 'P 21 21 21'",
    "_space_group_name_H-M_full 'P 21 21 21'",
    "_symmetry.pdbx_full_space_group_name_H-M 'P 21 21 21'",
    "_symmetry.space_group_name_H-M P212121",
    "_symmetry.space_group_name_H-M P_21_21_21",
    "_symmetry.space_group_name_H-M 'p 21  21 21 '",
    "_symmetry.space_group_name_H-M 'P 2(1) 2(1) 2(1)'",
    "_symmetry.space_group_name_H-M ?\n_symmetry.Int_Tables_number 19",
    "_symmetry_space_group_name_H-M 'P 21 21 21'",
    "loop_\n_symmetry_equiv.pos_as_xyz\n" + "\n".join(f"'{op}'" for op in OPERATORS),
    "loop_\n_space_group_symop.id\n_space_group_symop.operation_xyz\n"
    + "\n".join(f"{i} {op}" for i, op in enumerate(OPERATORS)),
)


@pytest.mark.parametrize("crystal", SPELLINGS)
def test_mmcif_space_groups(write, crystal):
    """By its name in any spelling, its number, its Hall symbol, its operators: the same group."""
    _, (_, name), said = told(write(cif(crystal), name="a.cif"))
    assert gemmi.find_spacegroup_by_name(name).hm == "P 21 21 21"
    assert ("space group" in said) == ("H-M" not in crystal or "?" in crystal)


@pytest.mark.parametrize(
    ("crystal", "expected", "is_assumed"),
    [
        ("_space_group.name_H-M_ref 'C 1 2 1'", "C 1 2 1", True),
        ("_space_group.name_H-M_full 'P 2_1/x'\n_space_group.name_H-M_ref 'C 2'", "C 1 2 1", True),
        ("_space_group.name_H-M_alt 'I 1 2 1'\n_space_group.name_H-M_ref 'C 2'", "I 1 2 1", False),
        ("_space_group.name_H-M_full 'I 1 2 1'\n_space_group.name_H-M_ref 'C 2'", "I 1 2 1", False),
        ("_space_group.IT_number 47\n_space_group.name_H-M_full 'P 2/m 2/m 2/m'", "P m m m", True),
    ],
)
def test_mmcif_reference_and_full_names(write, crystal, expected, is_assumed):
    """A reference setting need not be the file's own, which a name tells; alone it is assumed.

    A full symbol that is not known does no harm beside a number.
    """
    _, (_, name), said = told(write(cif(crystal), name="a.cif"))
    assert gemmi.find_spacegroup_by_name(name).hm == expected
    assert ("space group" in said) == is_assumed


CONTRADICTIONS = (
    "_symmetry.space_group_name_H-M 'P 21 21 21'\n_symmetry.Int_Tables_number 18",
    "_symmetry.space_group_name_H-M 'P 1'\n_space_group.name_H-M_alt 'P 21 21 21'",
    "_symmetry.space_group_name_H-M 'P 41'\n" + SPELLINGS[-1],
    "_symmetry.space_group_name_H-M 'P 77 77'",
    "_space_group.name_H-M_full 'P 1 21 1'\n_space_group.name_H-M_ref 'P 21 21 21'",
    "_space_group.name_H-M_full 'P 77 77'",
    "_space_group.name_H-M_ref 'P 77 77'",
    "_symmetry.Int_Tables_number 231",
    "_symmetry.Int_Tables_number nineteen",
)


@pytest.mark.parametrize("crystal", CONTRADICTIONS)
def test_mmcif_space_groups_that_contradict(write, crystal):
    """Names, numbers and operators of two groups, and of none."""
    assert "space group" in refusal(write(cif(crystal), name="a.cif"))


@pytest.mark.parametrize("missing", ["type_symbol", "label_atom_id label_comp_id label_seq_id"])
def test_mmcif_without_columns(write, missing):
    """The element is that of the name; names and numbers are the authors'."""
    text = cif(SPELLINGS[0])
    whole, _, _ = told(write(text, name="a.cif"))
    if missing == "type_symbol":
        text = text.replace("_atom_site.type_symbol\n", "")
        text = text.replace("1 N N ALA", "1 N ALA").replace("2 C CA ALA", "2 CA ALA")
    for name in missing.split()[missing == "type_symbol" :]:
        text = text.replace(f"_atom_site.{name}", f"_atom_site.{name.replace('label', 'auth')}")
    found, _, said = told(write(text, name="b.cif"))
    assert found.names() == whole.names()
    np.testing.assert_array_equal(found.elements, ["N", "C"])
    assert ("elements: by the names of atoms" in said) == (missing == "type_symbol")


def test_mmcif_without_names(write):
    """What nothing else tells is named."""
    text = cif(SPELLINGS[0]).replace("_atom_site.label_atom_id", "_atom_site.other")
    assert "no _atom_site.label_atom_id" in refusal(write(text, name="a.cif"))


def test_every_space_group_by_number_and_operators(write):
    """All 230 by their number, Hall symbol and operators: the rotations are gemmi's own."""
    for number in range(1, 231):
        cell = (30.0, 30.0, 30.0, 90.0, 90.0, 120.0 if 143 <= number <= 194 else 90.0)
        group = gemmi.find_spacegroup_by_number(number)
        operators = tuple(op.triplet() for op in group.operations())
        for records in (
            CrystalRecords(cell, number=number),
            CrystalRecords(cell, halls=(group.hall,)),
            CrystalRecords(cell, operators=operators),
            CrystalRecords(cell, names=(group.hm,), operators=operators),
            CrystalRecords(cell, names=(group.short_name(),)),
        ):
            name = space_group(records, [])
            assert gemmi.find_spacegroup_by_name(name, *cell[3::2]).number == number


@pytest.mark.parametrize("name", ["P 21 21 21", "P212121", "p 21 21 21", "P 21  21 21"])
def test_cryst1_space_groups(write, name):
    """Spellings in columns 56-66, and one column off."""
    for record in (ORTHORHOMBIC.format(name), ORTHORHOMBIC.replace(" {", "{").format(name)):
        _, (_, found), said = told(write(record, ATOMS))
        assert gemmi.find_spacegroup_by_name(found).hm == "P 21 21 21" and "space" not in said


def test_cryst1_without_and_with_an_unknown_space_group(write):
    """P 1 is an assumption, and said; a name that is none is refused, and quoted."""
    _, (_, found), said = told(write(ORTHORHOMBIC.format(""), ATOMS))
    assert found == "P 1" and 'space group "P 1": the file names none' in said
    for name in ("P 22 22 22", "P \x1b[2J", "P \u00e9"):
        assert repr(name.replace("\u00e9", "?")) in refusal(write(ORTHORHOMBIC.format(name), ATOMS))


def test_unit_cube_with_a_space_group(write):
    """No crystal, and said so: the name that stands beside it is not used."""
    record = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 21\n"
    _, crystal, said = told(write(record, ATOMS))
    assert crystal is None and "nor is there a space group" in said


def test_copies_that_the_file_does_not_hold(write):
    """MTRIX without the mark of given copies: they are missing from the molecule, and told."""
    rows = ["MTRIX1   {} -1.000000  0.000000  0.000000        0.00000    {}\n",
            "MTRIX2   {}  0.000000 -1.000000  0.000000        0.00000    {}\n",
            "MTRIX3   {}  0.000000  0.000000  1.000000        0.00000    {}\n"]  # fmt: skip
    for mark, expected in ((" ", True), ("1", False)):
        text = "".join(row.format(2, mark) for row in rows)
        said = told(write(CRYST1, text, ATOMS))[2]
        assert ("1 copies by non-crystallographic symmetry" in said) == expected


def test_remark_290_contradicts(write):
    """Operators of P 21 beside the name P 21 21 21; those of the name are fine."""
    lines = [f"REMARK 290     {i}555   {op.upper()}\n" for i, op in enumerate(OPERATORS, 1)]
    record = ORTHORHOMBIC.format("P 21 21 21")
    assert told(write(*lines, record, ATOMS))[1][1] == "P 21 21 21"
    assert "operators" in refusal(write(*lines[::2], record, ATOMS))


# Packed files, byte order marks, line ends.


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


# Several models.


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


# Columns.


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


# The column of B-factors.


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
