"""PDB and mmCIF as gemmi reads them, after a look at what gemmi would take as it is."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import gemmi
import numpy as np

from hpc_diffuser.crystal.residues import element_of
from hpc_diffuser.io.packed import plain_bytes
from hpc_diffuser.io.structures.crystal_records import CrystalRecords
from hpc_diffuser.io.structures.pdb_copies import letters_of_copies
from hpc_diffuser.io.structures.pdb_records import (
    check_atom,
    crystal_records,
    is_atom,
    pdb_text,
    split_models,
)
from hpc_diffuser.io.text import plain_text
from hpc_diffuser.system.errors import InputError

_EXPECTED = "PDB or mmCIF structure"
_OF_POLYMERS = {"H", "D", "C", "N", "O", "S", "Se"}
_MMCIF = re.compile(r"^\s*(data_|_atom_site\.|\{)", re.IGNORECASE | re.MULTILINE)
_NAMES = ("_symmetry.space_group_name_H-M", "_space_group.name_H-M_alt")
_FULL = ("_symmetry.pdbx_full_space_group_name_H-M", "_space_group.name_H-M_full")
_REFERENCES = ("_space_group.name_H-M_ref",)
_HALLS = ("_symmetry.space_group_name_Hall", "_space_group.name_Hall")
_GROUP_NUMBERS = ("_symmetry.Int_Tables_number", "_space_group.IT_number")
_OPERATORS = ("_symmetry_equiv.pos_as_xyz", "_space_group_symop.operation_xyz")
_COLUMNS = (("label_alt_id", "."), ("occupancy", "1"), ("B_iso_or_equiv", "?"))
_PLACES = ("Cartn_x", "Cartn_y", "Cartn_z")
_UNKNOWN = (".", "?", "")


@dataclass
class Parsed:
    """A file's models, what it says of its crystal, and what is to be told about it.

    Attributes
    ----------
    models : gemmi.Structure
    records : CrystalRecords
    without_b : int
        Atoms of the first model whose B-factor the file does not give.
    notes : list of str
    """

    models: gemmi.Structure
    records: CrystalRecords
    without_b: int = 0
    notes: list[str] = field(default_factory=list)


def parse(path: Path) -> Parsed:
    """By content: PDB where lines look like it, else what gemmi finds.

    Raises
    ------
    InputError
        Beginning with the path or not.
    """
    text = plain_text(path, plain_bytes(path), _EXPECTED)
    lines = text.split("\n")
    if any(map(is_atom, lines)) and not _MMCIF.search(text):
        return _parse_pdb(path, lines)
    if not _MMCIF.search(text):
        raise InputError(f"{path}: no atoms found: expected a {_EXPECTED}, with ATOM records")
    return _parse_mmcif(_encoded(path, text))


def _encoded(path: Path, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        message = f"{path}: not UTF-8 text: save it as such: expected a {_EXPECTED}"
        raise InputError(message) from None
    return text


def _parse_pdb(path: Path, lines: list[str]) -> Parsed:
    for number, line in enumerate(lines, 1):
        if is_atom(line):
            check_atom(line, number)
    # Letters of other encodings do not matter in remarks.
    lines = [
        x if x.isascii() or is_atom(x) else x.encode("ascii", "replace").decode() for x in lines
    ]
    records = crystal_records(lines)
    heading, models, by_end = split_models(lines)
    copies = [letters_of_copies(model) for model in models]
    models = [model for model, _ in copies]
    text = _encoded(path, pdb_text(heading, models))
    try:
        found = gemmi.read_pdb_string(text)
    except RuntimeError:
        # Before 1996, columns 73-80 held the entry's name and a line number.
        found = gemmi.read_pdb_string("\n".join(line[:72] for line in text.split("\n")))
    without_b = sum(is_atom(line) and not line[60:66].strip() for line in models[0])
    notes = [*_pdb_notes(lines, models, by_end), *(copies[0][1] if copies else ())]
    notes += [*_mend_elements(found), *_copies_notes(found)]
    return Parsed(found, records, without_b, notes)


def _pdb_notes(lines: list[str], models: list[list[str]], by_end: bool) -> list[str]:
    notes = []
    if by_end:
        counts = sorted({sum(map(is_atom, model)) for model in models})
        atoms = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        notes.append(f"{len(models)} models of {atoms} atoms, which END or CRYST1 separates")
    cells = {line[:54] for line in lines if line.startswith("CRYST1")}
    if len(cells) > 1:
        notes.append(f"unit cell: the first of the {len(cells)} that the file has")
    return notes


def _mend_elements(models: gemmi.Structure) -> list[str]:
    """Of standard residues, whose Cα is no calcium: names one column off leave gemmi to guess."""
    mended = 0
    for cra in (cra for model in models for cra in model.all()):
        if cra.atom.element.name in _OF_POLYMERS:
            continue
        element = element_of(cra.atom.name, cra.residue.name) if _is_standard(cra.residue) else None
        if element is not None and element != cra.atom.element.name:
            cra.atom.element = gemmi.Element(element)
            mended += 1
    return [f"elements of {mended} atoms: by their names in residues of proteins"] if mended else []


def _is_standard(residue: gemmi.Residue) -> bool:
    info = gemmi.find_tabulated_residue(residue.name)
    return info.is_standard() and info.is_amino_acid()


def _copies_notes(models: gemmi.Structure) -> list[str]:
    """Of molecules that the file leaves to its reader to make."""
    missing = sum(not copy.given for copy in models.ncs)
    if not missing:
        return []
    return [
        f"{missing} copies by non-crystallographic symmetry, which the file tells but does not "
        "hold: they are not made"
    ]


def _parse_mmcif(text: str) -> Parsed:
    document = (
        gemmi.cif.read_mmjson_string(text.encode())
        if text.lstrip().startswith("{")
        else gemmi.cif.read_string(text)
    )
    blocks = [block for block in document if block.find_values("_atom_site.Cartn_x")]
    block = (blocks or [*document, gemmi.cif.Block("none")])[0]
    _require_items(block)
    n_atoms = len(block.find_values("_atom_site.Cartn_x"))
    b_factors = block.find_values("_atom_site.B_iso_or_equiv")
    without_b = sum(b in (".", "?") for b in b_factors) if b_factors else n_atoms
    _add_columns(block)
    told = _add_elements(block)
    models = gemmi.make_structure_from_block(block)
    if any(cra.atom.element.name == "X" for model in models for cra in model.all()):
        _drop_charges(block)
        models = gemmi.make_structure_from_block(block)
    notes = [f"{len(blocks)} structures: that of block {block.name}"] if len(blocks) > 1 else []
    notes += [*told, *_copies_notes(models)]
    return Parsed(models, _mmcif_records(block, models), without_b, notes)


def _require_items(block: gemmi.cif.Block) -> None:
    """Raise InputError naming what a list of atoms lacks; a block without any is left to gemmi."""
    if "_atom_site." not in block.get_mmcif_category_names():
        return
    named = [(f"label_{item}", f"auth_{item}") for item in ("atom_id", "comp_id", "seq_id")]
    for names in (*((place,) for place in _PLACES), *named):
        if not any(len(block.find_values(f"_atom_site.{name}")) for name in names):
            raise InputError(
                f"the atoms have no _atom_site.{' or '.join(names)}: expected it of each: write "
                "the file again with it, or as PDB"
            )


def _add_columns(block: gemmi.cif.Block) -> None:
    """Those without which gemmi finds no atoms; programs leave them out where all are the same.

    Names that the file gives by the authors' items alone are those.
    """
    loop = block.find_loop("_atom_site.Cartn_x").get_loop()
    for name, value in _COLUMNS if loop else ():
        _add_column(loop, name, value)
    for item in ("atom_id", "comp_id", "asym_id", "seq_id") if loop else ():
        if _add_column(loop, f"label_{item}", "."):
            labels = block.find_values(f"_atom_site.label_{item}")
            for row, value in enumerate(block.find_values(f"_atom_site.auth_{item}")):
                labels[row] = value
    if loop and _add_column(loop, "id", "."):
        ids = block.find_values("_atom_site.id")
        for row in range(len(ids)):
            ids[row] = str(row + 1)


def _add_column(loop: gemmi.cif.Loop, name: str, value: str) -> bool:
    """Whether it was missing, and has now this value throughout."""
    if f"_atom_site.{name}".lower() in (tag.lower() for tag in loop.tags):
        return False
    loop.add_columns([f"_atom_site.{name}"], value)
    return True


def _add_elements(block: gemmi.cif.Block) -> list[str]:
    """Those that the file does not give, by the atoms' names; X where these tell none."""
    loop = block.find_loop("_atom_site.Cartn_x").get_loop()
    if not loop:
        return []
    _add_column(loop, "type_symbol", ".")
    symbols = block.find_values("_atom_site.type_symbol")
    missing = [row for row, symbol in enumerate(symbols) if symbol in _UNKNOWN]
    if not missing:
        return []
    names, residues, chains, numbers = (
        _texts_of(block, item) for item in ("atom_id", "comp_id", "asym_id", "seq_id")
    )
    inserted = _column(block, "pdbx_PDB_ins_code", len(names))
    places = list(zip(chains, numbers, inserted, residues, strict=True))
    members: dict[tuple, set[str]] = {}
    for name, place in zip(names, places, strict=True):
        members.setdefault(place, set()).add(name)
    for row in missing:
        others = members[places[row]] - {names[row]}
        symbols[row] = element_of(names[row], residues[row], others) or "X"
    return [f"elements: by the names of atoms, as the file gives none of {len(missing)}"]


def _texts_of(block: gemmi.cif.Block, item: str) -> list[str]:
    """An item of every atom, the authors' where there is one, which is what gemmi takes."""
    labels = [gemmi.cif.as_string(x) for x in block.find_values(f"_atom_site.label_{item}")]
    authors = _column(block, f"auth_{item}", len(labels))
    return [author or label for author, label in zip(authors, labels, strict=True)]


def _column(block: gemmi.cif.Block, name: str, n_atoms: int) -> list[str]:
    """An item of every atom, empty where the file does not give it."""
    found = [gemmi.cif.as_string(x) for x in block.find_values(f"_atom_site.{name}")]
    return found or [""] * n_atoms


def _drop_charges(block: gemmi.cif.Block) -> None:
    """Those that mmCIF may append to elements: O1-, Zn2+."""
    symbols = block.find_values("_atom_site.type_symbol")
    for row, symbol in enumerate(symbols):
        symbols[row] = symbol.strip("'\"").rstrip("+-0123456789") or "X"


def _mmcif_records(block: gemmi.cif.Block, models: gemmi.Structure) -> CrystalRecords:
    numbers = [text for tag in _GROUP_NUMBERS for text in _texts(block, tag)]
    if numbers and not numbers[0].isdigit():
        raise InputError(f"space group number {numbers[0]}: expected 1 to 230")
    return CrystalRecords(
        unit_cell=models.cell.parameters,
        names=_all_texts(block, _NAMES),
        full_names=_all_texts(block, _FULL),
        reference_names=_all_texts(block, _REFERENCES),
        halls=_all_texts(block, _HALLS),
        number=int(numbers[0]) if numbers else None,
        operators=next((tuple(found) for t in _OPERATORS if (found := _texts(block, t))), ()),
        frame=_frame(block),
        frame_name="_atom_sites.fract_transf_matrix",
    )


def _all_texts(block: gemmi.cif.Block, tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for tag in tags for text in _texts(block, tag))


def _texts(block: gemmi.cif.Block, tag: str) -> list[str]:
    """Values of a tag, or of its older spelling without a dot; none where they are ? or ."""
    for name in (tag, tag.replace(".", "_", 1)):
        values = [gemmi.cif.as_string(value).strip() for value in block.find_values(name)]
        if any(values):
            return [value for value in values if value]
    return []


def _frame(block: gemmi.cif.Block) -> np.ndarray | None:
    """The matrix and vector to fractional coordinates; None where the file has none."""
    stem = "_atom_sites.fract_transf_"
    tags = [[f"{stem}matrix[{i}][{j}]" for j in "123"] + [f"{stem}vector[{i}]"] for i in "123"]
    found = [[_texts(block, tag) for tag in row] for row in tags]
    if not any(row[:3] != [[]] * 3 for row in found):
        return None
    # What is not given is not 0 in a matrix; in a vector it is.
    rows = [
        [x[0] if x else "nan" for x in row[:3]] + [row[3][0] if row[3] else "0"] for row in found
    ]
    return np.array([[gemmi.cif.as_number(x) for x in row] for row in rows])
