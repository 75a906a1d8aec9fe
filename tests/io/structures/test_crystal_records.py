"""Frames and space groups of structure files, in the ways that programs write them."""

from dataclasses import replace
from functools import partial

import gemmi
import numpy as np
import pytest
from builders import random_structure
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

from hpc_diffuser.io.structures.crystal_records import CrystalRecords, space_group, standard_frame
from hpc_diffuser.io.structures.files import pdb_bytes, read_models, read_structure


@pytest.fixture
def write(tmp_path):
    """Write a file of these parts; its path."""
    return partial(written, tmp_path)


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


def test_displacements_in_another_frame(tmp_path):
    """⟨u uᵀ⟩ of u' = Q u is Q U Qᵀ: ANISOU records are turned back with the coordinates."""
    q = rotation(6)
    structure = random_structure(np.random.default_rng(6), 5)
    factors = np.random.default_rng(7).normal(size=(5, 3, 3))
    u = 0.1 * factors @ factors.transpose(0, 2, 1)
    moved = replace(structure, positions=structure.positions @ q.T)
    path = tmp_path / "turned.pdb"
    text = pdb_bytes(path, moved, (CELL, "P 1"), covariances_A2=q @ u @ q.T).decode()
    lines = [line for line in text.splitlines(True) if not line.startswith("SCALE")]
    first = next(i for i, line in enumerate(lines) if line.startswith(("ATOM", "HETATM", "MODEL")))
    lines.insert(first, scale(fractional() @ q.T, np.zeros(3)))
    path.write_text("".join(lines))
    found, _ = read_structure(path, tell=lambda line: None)
    np.testing.assert_allclose(found.positions, structure.positions, atol=2e-3)
    np.testing.assert_allclose(found.u_A2, u, atol=3e-4)


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
