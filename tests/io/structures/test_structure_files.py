"""Structures: what is taken, what is left out, what is refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from builders import atom
from structure_text import refusal

from hpc_diffuser.io.structures.b_column import anisotropic_notes
from hpc_diffuser.io.structures.files import read_structure
from hpc_diffuser.system.errors import InputError

CRYST1 = "CRYST1   27.424   32.134   34.513  88.66 108.46 111.88 P 1           1\n"
CRYSTAL = ((27.424, 32.134, 34.513, 88.66, 108.46, 111.88), "P 1")


BACKBONE = (
    atom(1, "N", (1, 2, 3), "N")
    + atom(2, "CA", (2, 2, 3), "C")
    + atom(3, "C", (3, 2, 3), "C")
    + atom(4, "O", (4, -2.5, 3), "O")
)


def names_of(path: Path, **options) -> list[str]:
    """Atom names that are read."""
    return read_structure(path, **options)[0].atom_names.tolist()


@pytest.fixture
def pdb(tmp_path):
    """Write a PDB file of these lines; its path."""

    def write(*parts: str, name: str = "model.pdb") -> Path:
        path = tmp_path / name
        path.write_text("".join(parts))
        return path

    return write


def test_plain_structure(pdb):
    """Every column of every atom, and the crystal."""
    structure, crystal = read_structure(pdb(CRYST1, BACKBONE, "END\n"))
    assert crystal == CRYSTAL
    assert structure.atom_names.tolist() == ["N", "CA", "C", "O"]
    assert structure.elements.tolist() == ["N", "C", "C", "O"]
    assert set(structure.residue_names) == {"ALA"} and set(structure.chain_ids) == {"A"}
    assert structure.residue_numbers.tolist() == [1] * 4
    np.testing.assert_array_equal(
        structure.positions, [[1, 2, 3], [2, 2, 3], [3, 2, 3], [4, -2.5, 3]]
    )
    assert (structure.occupancies == 1).all() and (structure.b_factors_A2 == 10).all()


def test_one_conformer_of_alternates(pdb):
    """Atoms without alternates and those of conformer A, which count in full; B on demand.

    A single conformation is what one molecule has: half an atom belongs to an average.
    """
    path = pdb(
        CRYST1,
        BACKBONE,
        atom(5, "CB", (5, 0, 0), alternate="A", occupancy=0.6),
        atom(6, "CB", (6, 0, 0), alternate="B", occupancy=0.4),
    )
    for letter, x in (("A", 5), ("B", 6)):
        structure, _ = read_structure(path, conformer=letter)
        assert structure.atom_names.tolist() == ["N", "CA", "C", "O", "CB"]
        assert structure.positions[-1, 0] == x
        assert structure.occupancies[-1] == 1


def test_partial_occupancy_without_alternates_stays(pdb):
    """An ion or ligand that is there in half of the molecules."""
    path = pdb(
        BACKBONE,
        atom(5, "CL", (5, 0, 0), "CL", "CL", 201, occupancy=0.5, record="HETATM"),
    )
    structure, _ = read_structure(path)
    assert structure.elements.tolist()[-1] == "Cl"
    assert structure.occupancies.tolist() == [1, 1, 1, 1, 0.5]


def test_waters_and_hydrogens_are_left_out(pdb):
    """Also deuterium and DOD; ligands and ions stay."""
    path = pdb(
        BACKBONE,
        atom(5, "H", (5, 0, 0), "H"),
        atom(6, "D", (5, 1, 0), "D"),
        atom(7, "O", (6, 0, 0), "O", "HOH", 301, record="HETATM"),
        atom(8, "O", (7, 0, 0), "O", "DOD", 302, record="HETATM"),
        atom(9, "N", (8, 0, 0), "N", "NO3", 303, record="HETATM"),
    )
    structure, _ = read_structure(path)
    assert structure.residue_names.tolist() == ["ALA"] * 4 + ["NO3"]


@pytest.mark.parametrize("name", ["SOL", "WAT", "TIP", "TP3", "SPC"])
def test_waters_of_simulations_are_left_out(pdb, name):
    """Under the names of force fields, too."""
    water = [
        atom(6, "OW", (6, 0, 0), "O", name, 301),
        atom(7, "HW1", (6, 1, 0), "H", name, 301),
    ]
    structure, _ = read_structure(pdb(BACKBONE, *water), hydrogens=True)
    assert structure.residue_names.tolist() == ["ALA"] * 4


def test_hydrogens_on_request(pdb):
    """Waters stay out; deuterium is hydrogen to X-rays; charges and lower case change nothing."""
    path = pdb(
        BACKBONE,
        atom(5, "H", (5, 0, 0), "H"),
        atom(6, "D", (5, 1, 0), "D"),
        atom(7, "CL", (6, 1, 0), "CL", "CL", 201, record="HETATM").rstrip() + "1-\n",
        atom(8, "ZN", (7, 1, 0), "zn", "ZN", 202, record="HETATM").rstrip() + "2+\n",
        atom(9, "O", (8, 0, 0), "O", "HOH", 301, record="HETATM"),
        atom(10, "H1", (9, 0, 0), "H", "HOH", 301, record="HETATM"),
    )
    structure, _ = read_structure(path, hydrogens=True)
    assert structure.elements.tolist() == ["N", "C", "C", "O", "H", "H", "Cl", "Zn"]
    assert structure.atom_names.tolist()[4:6] == ["H", "D"]


def test_first_model_of_several(pdb):
    """Of an ensemble, the first: mixing them would make a molecule of double atoms."""
    path = pdb(
        "MODEL        1\n", BACKBONE, "ENDMDL\n", "MODEL        2\n", BACKBONE, "ENDMDL\nEND\n"
    )
    assert len(read_structure(path)[0]) == 4


@pytest.mark.parametrize(
    "header",
    ["", "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n"],
    ids=["none", "unit cube"],
)
def test_no_cell(pdb, header):
    """Without CRYST1, or with the cube of 1 Å that NMR and predicted models have: no crystal."""
    structure, crystal = read_structure(pdb(header, BACKBONE))
    assert crystal is None and len(structure) == 4


OLD_HEADER = "HEADER    HYDROLASE(PHOSPHORIC DIESTER)           17-FEB-93   1STN      1STN   2\n"


@pytest.mark.parametrize("column_73", ["", "      1STN{:4d}"], ids=["cut", "entry and line"])
def test_old_format_without_element_columns(pdb, column_73):
    """Files of the 1990s end after the B-factor, or have the entry's name and a line number.

    The element comes from the atom's name: CA of a residue is carbon, CA of the ion calcium.
    """
    ion = atom(5, "CA", (9, 9, 9), "CA", "CA", 150, record="HETATM")
    lines = [
        line[:66] + column_73.format(serial) + "\n"
        for serial, line in enumerate((BACKBONE + ion).splitlines(), 98)
    ]
    structure, crystal = read_structure(pdb(OLD_HEADER, CRYST1, *lines))
    assert structure.elements.tolist() == ["N", "C", "C", "O", "Ca"]
    assert crystal == CRYSTAL


def test_old_entry_of_the_pdb(data):
    """PDB entry 1STN: P 41, 136 residues in the model, no hydrogens, waters left out."""
    structure, (cell, space_group) = read_structure(data / "nuclease" / "1stn.pdb")
    assert space_group == "P 41"
    assert cell == pytest.approx((48.5, 48.5, 63.5, 90, 90, 90))
    assert set(structure.elements) == {"C", "N", "O", "S"}
    assert len(set(structure.residue_numbers)) == 136


def test_triclinic_lysozyme(data):
    """PDB entry 6O2H: 129 residues with alternates; 1001 atoms of the protein's conformer A."""
    structure, (cell, space_group) = read_structure(data / "lysozyme" / "6o2h.pdb")
    assert (cell, space_group) == CRYSTAL
    assert "HOH" not in structure.residue_names and "H" not in structure.elements
    protein = structure.residue_numbers <= 129
    assert len(set(structure.residue_numbers[protein])) == 129
    assert protein.sum() == 1001
    assert len(set(structure.names())) == len(structure), "no atom twice"


def test_compressed(tmp_path):
    """Files as databases serve them."""
    path = tmp_path / "model.pdb.gz"
    path.write_bytes(gzip.compress((CRYST1 + BACKBONE).encode()))
    assert names_of(path) == ["N", "CA", "C", "O"]


def place(x: str) -> str:
    """An atom with this text as its x."""
    return BACKBONE + atom(5, "CB", f"{x:>8s}   1.000   2.000")


REFUSED = {
    "empty": "",
    "no atoms": CRYST1 + "REMARK nothing\nEND\n",
    "only waters": atom(1, "O", (1, 2, 3), "O", "HOH", 1, record="HETATM"),
    "a web page": "<!DOCTYPE html>\n<html>404 not found</html>\n" * 20,
    "text": "This is not a structure.\n" * 20,
    "cut short": BACKBONE + atom(5, "CB", (1, 2, 3))[:40] + "\n",
    "NaN": place("nan"),
    "infinite": place("inf"),
    "overflow": place("********"),
    "word": place("hello"),
    "no element": BACKBONE + atom(5, "X1", (1, 2, 3), "X"),
    "far away": place("9999999."),
    "huge cell": CRYST1.replace("   27.424", "99999.999") + BACKBONE,
    "control characters": CRYST1.replace("P 1  ", "P\x1b[2J") + BACKBONE,
    "B of nothing": BACKBONE.replace(" 10.00 ", "   nan "),
    "cell cut short": CRYST1[:40] + "\n" + BACKBONE,
    "cell of zeros": "CRYST1" + "    0.000" * 3 + "  90.00" * 3 + " P 1\n" + BACKBONE,
    "atom twice": BACKBONE + atom(5, "CA", (9, 9, 9), "C"),
    "angle of zero": CRYST1.replace("88.66", " 0.00") + BACKBONE,
}


@pytest.mark.parametrize("content", REFUSED)
def test_refused(pdb, content):
    """Bad input, in one line that names the file; coordinates are never guessed."""
    refusal(pdb(REFUSED[content]))


@pytest.mark.parametrize("name", ["model.pdb", "model.cif"])
def test_empty_file_is_called_empty(tmp_path, name):
    """The commonest damage, in words that help: not an error number of the reading library."""
    (tmp_path / name).write_bytes(b"")
    for _ in range(3):
        with pytest.raises(InputError, match=r"empty|no atoms"):
            read_structure(tmp_path / name)


@pytest.mark.parametrize("name", ["no atoms", "a web page", "text"])
def test_files_without_atoms_are_called_so(tmp_path, name):
    """Not what an mmCIF parser would have liked to see in its first line."""
    (tmp_path / "model.pdb").write_text(REFUSED[name])
    with pytest.raises(InputError, match=r"model.pdb: no atoms found: expected a PDB or mmCIF"):
        read_structure(tmp_path / "model.pdb")


def test_unknown_element_names_the_atom(pdb):
    """So that it can be found in the file."""
    path = pdb(REFUSED["no element"])
    with pytest.raises(InputError, match="A/ALA 1/X1 has no known element"):
        read_structure(path)


@pytest.mark.parametrize("name", ["model.cif", "model.ent", "model.txt", "model", "model.json"])
@pytest.mark.parametrize("content", ["", "garbage\n", "\0\1\2\3"])
def test_not_a_structure(tmp_path, name, content):
    """Whatever the file is called."""
    (tmp_path / name).write_text(content)
    refusal(tmp_path / name)


def test_atom_name_in_another_encoding(tmp_path):
    """A byte that is no UTF-8, in the name of an atom or chain."""
    line = atom(1, "N", (1, 2, 3), "N").encode()
    for old, new in ((b" N   ALA", b" \xe9   ALA"), (b"ALA A", b"ALA \xe9")):
        assert old in line
        (tmp_path / "model.pdb").write_bytes(line.replace(old, new))
        refusal(tmp_path / "model.pdb")


@pytest.mark.parametrize("make", ["missing", "folder"])
def test_no_file(tmp_path, make):
    """Missing, or a folder."""
    path = tmp_path / "model.pdb"
    if make == "folder":
        path.mkdir()
    refusal(path)


@pytest.mark.parametrize(
    ("occupancies", "named"),
    [((0.0, 0.0), "all 2 occupancies are 0"), ((1.0, -0.5), "occupancy -0.5 of")],
)
def test_what_does_not_scatter_is_refused(pdb, occupancies, named):
    """A column that some programs leave empty: one line that says so, and not a division by 0."""
    lines = [
        atom(i, name, (i, 0, 0), occupancy=o)
        for i, (name, o) in enumerate(zip(("CA", "CB"), occupancies, strict=True), 1)
    ]
    path = pdb(CRYST1, *lines)
    with pytest.raises(InputError, match=named) as refused:
        read_structure(path)
    assert str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)


@pytest.mark.parametrize("share", [0.3, 1.0, 1.6])
def test_displacements_that_are_not_the_b_factors(share):
    """A refinement's TLS part may be missing in ANISOU records: they are compared with B."""
    u = np.tile(0.2 * np.eye(3), (6, 1, 1))
    u[2] = np.nan
    b = np.full(6, 8 * np.pi**2 * 0.2 / share)
    said = anisotropic_notes(b, u)
    assert len(said) == (share != 1.0)
    assert all(f"ANISOU records: {100 * share:.0f} % of the B-factors" in line for line in said)
    assert anisotropic_notes(b, np.full((6, 3, 3), np.nan)) == []
