"""PDB and mmCIF structures: what is taken, what is left out, what is refused."""

import gzip
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from builders import atom

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.io.structures.b_column import anisotropic_notes
from hpc_diffuser.io.structures.files import read_structure, write_pdb
from hpc_diffuser.system.errors import DiffuserError, InputError

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


def test_mmcif(pdb):
    """The same atoms, as mmCIF written by gemmi."""
    import gemmi

    path = pdb(CRYST1, BACKBONE)
    cif = path.with_suffix(".cif")
    gemmi.read_structure(str(path)).make_mmcif_document().write_file(str(cif))
    (a, crystal_a), (b, crystal_b) = read_structure(path), read_structure(cif)
    assert crystal_a == crystal_b and a.names() == b.names()
    np.testing.assert_array_equal(a.positions, b.positions)


CIF_CELL = """\
_cell.length_a 27.424
_cell.length_b 32.134
_cell.length_c 34.513
_cell.angle_alpha 88.66
_cell.angle_beta 108.46
_cell.angle_gamma 111.88
_symmetry.space_group_name_H-M 'P 1'
"""
CIF_ATOMS = """\
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.auth_asym_id
_atom_site.auth_seq_id
ATOM 1 N1+ N . GLU A 7 1 2 3 1 10 B 7
ATOM 2 C CA . GLU A 7 2 2 3 1 10 B 7
ATOM 3 O1- OE1 A GLU A 7 3 2 3 0.4 10 B 7
ATOM 4 O1- OE1 B GLU A 7 4 2 3 0.6 10 B 7
HETATM 5 Zn2+ ZN . ZN C . 5 2 3 0.5 10 B 301
"""


def test_mmcif_by_hand(tmp_path):
    """Charges behind the element, conformers, the authors' chain and numbers, no cell."""
    path = tmp_path / "model.cif"
    path.write_text(f"data_x\n{CIF_ATOMS}")
    structure, crystal = read_structure(path, conformer="occupancy")
    assert crystal is None
    assert structure.elements.tolist() == ["N", "C", "O", "Zn"]
    assert structure.positions[:, 0].tolist() == [1, 2, 4, 5]
    assert structure.occupancies.tolist() == [1, 1, 1, 0.5]
    assert set(structure.names()) == {
        ("B", 7, "", "N"), ("B", 7, "", "CA"), ("B", 7, "", "OE1"), ("B", 301, "", "ZN"),
    }  # fmt: skip


CIF_ITEMS = ["id", "type_symbol", "label_atom_id", "label_comp_id", "label_asym_id", "label_seq_id"]
CIF_ROWS = (
    ("1", "N", "N", "GLU", "A", "7"),
    ("2", "C", "CA", "GLU", "A", "7"),
    ("3", "C", '"C\'"', "HEM", "B", "9"),
    ("4", "Fe", "FE", "HEM", "B", "9"),
    ("5", "Ca", "CA", "CA", "C", "10"),
)


def cif_of(items: list[str], leave: str = "", authors: bool = False, unknown: str = "") -> str:
    """Five atoms with some items left out, unknown, or named by the authors' items."""
    tags = [tag for tag in items if tag not in leave.split()]
    rows = [
        " ".join("?" if tag == unknown else row[CIF_ITEMS.index(tag)] for tag in tags)
        + f" {number} 2 3"
        for number, row in enumerate(CIF_ROWS)
    ]
    named = [tag.replace("label", "auth") if authors else tag for tag in tags]
    head = "".join(f"_atom_site.{tag}\n" for tag in (*named, "Cartn_x", "Cartn_y", "Cartn_z"))
    return f"data_x\nloop_\n{head}" + "\n".join(rows) + "\n"


CIF_SPARSE = {
    "all": {},
    "no element": {"leave": "type_symbol"},
    "element unknown": {"unknown": "type_symbol"},
    "no number": {"leave": "id"},
    "the authors' alone": {"authors": True},
    "hardly any": {"leave": "id type_symbol", "authors": True},
}


@pytest.mark.parametrize("sparse", CIF_SPARSE)
def test_mmcif_of_few_items(tmp_path, sparse):
    """Elements by the atoms' names, CA of a residue of one atom being calcium, and the authors'
    names alone: the same atoms as of the whole list."""
    path = tmp_path / "model.cif"
    path.write_text(cif_of(CIF_ITEMS, **CIF_SPARSE[sparse]))
    said = []
    structure, _ = read_structure(path, tell=said.append)
    assert structure.elements.tolist() == ["N", "C", "C", "Fe", "Ca"]
    assert structure.names() == [
        ("A", 7, "", "N"), ("A", 7, "", "CA"), ("B", 9, "", "C'"), ("B", 9, "", "FE"),
        ("C", 10, "", "CA"),
    ]  # fmt: skip
    assert structure.residue_names.tolist() == ["GLU", "GLU", "HEM", "HEM", "CA"]
    by_name = "type_symbol" in str(CIF_SPARSE[sparse])
    assert (
        "elements: by the names of atoms, as the file gives none of 5" in " ".join(said)
    ) == by_name


@pytest.mark.parametrize("item", ["label_atom_id", "label_comp_id", "label_seq_id", "Cartn_z"])
def test_mmcif_says_which_item_it_lacks(tmp_path, item):
    """Without names or places of the atoms there is no reading them: the item is named."""
    text = cif_of(CIF_ITEMS, leave=item)
    if item == "Cartn_z":
        text = text.replace("_atom_site.Cartn_z", "_atom_site.fract_z")
    (tmp_path / "model.cif").write_text(text)
    assert f"the atoms have no _atom_site.{item}" in assert_refused(tmp_path / "model.cif")


CIF_REFUSED = {
    "cut short": (CIF_CELL + CIF_ATOMS[:-12], "not a readable structure"),
    "no atoms": (CIF_CELL, "no atoms found"),
    "negative edge": (CIF_CELL.replace("27", "-27") + CIF_ATOMS, "unit cell: expected a, b, c > 0"),
    "word as edge": (CIF_CELL.replace("27.424", "big") + CIF_ATOMS, "unit cell: expected a, b, c"),
    "flat cell": (CIF_CELL.replace("88.66", "188.66") + CIF_ATOMS, "unit cell: expected a, b, c"),
    "element X": (CIF_ATOMS.replace(" C CA", " X CA"), "atom B/GLU 7/CA has no known element"),
    "atom twice": (CIF_ATOMS.replace(" B GLU", " A GLU"), "atom B/GLU 7/OE1 is there twice"),
    "word as place": (CIF_ATOMS.replace(" 2 2 3", " x 2 3"), "coordinates are not all finite"),
}


@pytest.mark.parametrize("content", CIF_REFUSED)
def test_mmcif_refused(tmp_path, content):
    """Damaged or impossible mmCIF: one line that names the file, and the atom or the cell."""
    text, message = CIF_REFUSED[content]
    (tmp_path / "model.cif").write_text(f"data_x\n{text}")
    assert message in assert_refused(tmp_path / "model.cif")


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
    assert_refused(pdb(REFUSED[content]))


@pytest.mark.parametrize("name", ["model.pdb", "model.cif"])
def test_empty_file_is_called_empty(tmp_path, name):
    """The commonest damage, in words that help: not an error number of the reading library."""
    (tmp_path / name).write_bytes(b"")
    for _ in range(3):
        with pytest.raises(InputError, match=r"empty|no atoms"):
            read_structure(tmp_path / name)


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
    assert_refused(tmp_path / name)


def test_atom_name_in_another_encoding(tmp_path):
    """A byte that is no UTF-8, in the name of an atom or chain."""
    line = atom(1, "N", (1, 2, 3), "N").encode()
    for old, new in ((b" N   ALA", b" \xe9   ALA"), (b"ALA A", b"ALA \xe9")):
        assert old in line
        (tmp_path / "model.pdb").write_bytes(line.replace(old, new))
        assert_refused(tmp_path / "model.pdb")


@pytest.mark.parametrize("make", ["missing", "folder"])
def test_no_file(tmp_path, make):
    """Missing, or a folder."""
    path = tmp_path / "model.pdb"
    if make == "folder":
        path.mkdir()
    assert_refused(path)


def assert_refused(path: Path) -> str:
    """InputError: one line that begins with the file; it is returned."""
    with pytest.raises(InputError) as caught:
        read_structure(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def test_write_pdb_round_trip(tmp_path):
    """To the format's 0.001 Å and 0.01 Å²; names, numbers, occupancies and the crystal exactly."""
    protein = build_protein()
    rng = np.random.default_rng(3)
    structure = replace(
        protein,
        b_factors_A2=rng.uniform(2, 90, len(protein)),
        occupancies=np.round(rng.uniform(0.1, 1, len(protein)), 2),
        residue_numbers=protein.residue_numbers - 3,
    )
    write_pdb(tmp_path / "m.pdb", structure, CRYSTAL)
    found, crystal = read_structure(tmp_path / "m.pdb")
    assert crystal == CRYSTAL
    np.testing.assert_allclose(found.positions, structure.positions, atol=5.01e-4)
    np.testing.assert_allclose(found.b_factors_A2, structure.b_factors_A2, atol=5.01e-3)
    np.testing.assert_allclose(found.occupancies, structure.occupancies, atol=1e-6)
    for field in fields(structure):
        if field.name not in ("positions", "b_factors_A2", "occupancies"):
            np.testing.assert_array_equal(
                getattr(found, field.name), getattr(structure, field.name)
            )


def test_write_pdb_of_several_chains(tmp_path, modes):
    """Chains and residues keep their order and their bounds."""
    structure = replace(
        modes.structure,
        chain_ids=np.repeat(["A", "B", "A"], 4),
        residue_numbers=np.repeat([1, 1, 2], 4),
    )
    write_pdb(tmp_path / "m.pdb", structure, CRYSTAL)
    found, _ = read_structure(tmp_path / "m.pdb")
    assert sorted(found.names()) == sorted(structure.names())


def test_write_pdb_of_large_numbers(tmp_path, modes):
    """Effective B-factors beyond 999 Å² and residues beyond 9999 leave the columns in place."""
    structure = replace(
        modes.structure,
        b_factors_A2=np.full(12, 1234.5),
        residue_numbers=np.repeat([9999, 10000, 10001], 4),
    )
    write_pdb(tmp_path / "m.pdb", structure, CRYSTAL)
    found, _ = read_structure(tmp_path / "m.pdb")
    np.testing.assert_allclose(found.positions, structure.positions, atol=5.01e-4)
    np.testing.assert_array_equal(found.residue_numbers, structure.residue_numbers)
    assert (found.b_factors_A2 > 999).all()


def test_write_pdb_of_a_long_chain_name(tmp_path, modes):
    """mmCIF allows names that PDB has no room for: written or refused, never a crash."""
    structure = replace(modes.structure, chain_ids=np.full(12, "AAA"))
    try:
        write_pdb(tmp_path / "m.pdb", structure, CRYSTAL)
    except DiffuserError:
        return
    found, _ = read_structure(tmp_path / "m.pdb")
    np.testing.assert_allclose(found.positions, structure.positions, atol=5.01e-4)


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
