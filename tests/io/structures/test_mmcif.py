"""mmCIF structures: what is taken from which items, and what is refused."""

import gemmi
import numpy as np
import pytest
from structure_text import ATOMS, CRYST1, refusal, written

from hpc_diffuser.io.structures.files import read_structure


def test_mmcif(tmp_path):
    """The same atoms, as mmCIF written by gemmi."""
    path = written(tmp_path, CRYST1, ATOMS)
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
    assert f"the atoms have no _atom_site.{item}" in refusal(tmp_path / "model.cif")


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
    assert message in refusal(tmp_path / "model.cif")
