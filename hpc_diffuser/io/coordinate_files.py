"""PDB and mmCIF as gemmi reads them, after a look at what gemmi would take as it is."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import gemmi
import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.crystal_records import CrystalRecords, known_name
from hpc_diffuser.io.packed import plain_bytes
from hpc_diffuser.io.pdb_copies import letters_of_copies
from hpc_diffuser.io.pdb_records import (
    check_atom,
    crystal_records,
    is_atom,
    pdb_text,
    split_models,
)
from hpc_diffuser.io.text import plain_text
from hpc_diffuser.residues import element_of

_EXPECTED = "PDB or mmCIF structure"
_OF_POLYMERS = {"H", "D", "C", "N", "O", "S", "Se"}
_MMCIF = re.compile(r"^\s*(data_|_atom_site\.|\{)", re.IGNORECASE | re.MULTILINE)
_NAMES = ("_symmetry.space_group_name_H-M", "_space_group.name_H-M_alt")
_OTHER_NAMES = ("_space_group.name_H-M_ref", "_space_group.name_H-M_full")
_HALLS = ("_symmetry.space_group_name_Hall", "_space_group.name_Hall")
_GROUP_NUMBERS = ("_symmetry.Int_Tables_number", "_space_group.IT_number")
_OPERATORS = ("_symmetry_equiv.pos_as_xyz", "_space_group_symop.operation_xyz")
_SYMBOL = "_atom_site.type_symbol"
_COLUMNS = (
    ("label_alt_id", "."),
    ("occupancy", "1"),
    ("B_iso_or_equiv", "?"),
    ("type_symbol", "X"),
)
_TWICE = ("atom_id", "comp_id", "asym_id", "seq_id")  # as label_* or auth_*, each


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
    n_atoms = len(block.find_values("_atom_site.Cartn_x"))
    b_factors = block.find_values("_atom_site.B_iso_or_equiv")
    without_b = sum(b in (".", "?") for b in b_factors) if b_factors else n_atoms
    without_elements = not block.find_values(_SYMBOL)
    _add_columns(block)
    models = gemmi.make_structure_from_block(block)
    if without_elements:
        _name_elements(models)
    elif any(cra.atom.element.name == "X" for model in models for cra in model.all()):
        _drop_charges(block)
        models = gemmi.make_structure_from_block(block)
    notes = [f"{len(blocks)} structures: that of block {block.name}"] if len(blocks) > 1 else []
    notes += ["elements: by the names of atoms"] if without_elements and n_atoms else []
    notes += _copies_notes(models)
    return Parsed(models, _mmcif_records(block, models), without_b, notes)


def _add_columns(block: gemmi.cif.Block) -> None:
    """Those without which gemmi finds no atoms; programs leave them out where all are the same.

    Raises
    ------
    InputError
        Naming what nothing else tells.
    """
    loop = block.find_loop("_atom_site.Cartn_x").get_loop()
    if not loop:
        return
    for name in _TWICE:
        label, auth = (f"_atom_site.{kind}_{name}" for kind in ("label", "auth"))
        if label not in loop.tags and auth not in loop.tags:
            raise InputError(f"no {label}: expected the names and places of atoms")
        if label not in loop.tags:
            loop.add_columns([label], "?")
            found, values = block.find_values(label), list(block.find_values(auth))
            for row, value in enumerate(values):
                found[row] = value
    for name, value in _COLUMNS:
        if f"_atom_site.{name}" not in loop.tags:
            loop.add_columns([f"_atom_site.{name}"], value)


def _name_elements(models: gemmi.Structure) -> None:
    """Elements by the names of atoms, where those tell one."""
    for residue in (x for model in models for chain in model for x in chain):
        names = [atom.name for atom in residue]
        for row, atom in enumerate(residue):
            others = names[:row] + names[row + 1 :]
            element = element_of(atom.name, residue.name, others)
            atom.element = gemmi.Element(element or "X")


def _drop_charges(block: gemmi.cif.Block) -> None:
    """Those that mmCIF may append to elements: O1-, Zn2+."""
    symbols = block.find_values(_SYMBOL)
    for row, symbol in enumerate(symbols):
        symbols[row] = symbol.strip("'\"").rstrip("+-0123456789") or "X"


def _mmcif_records(block: gemmi.cif.Block, models: gemmi.Structure) -> CrystalRecords:
    numbers = [text for tag in _GROUP_NUMBERS for text in _texts(block, tag)]
    if numbers and not numbers[0].isdigit():
        raise InputError(f"space group number {numbers[0]}: expected 1 to 230")
    cell = models.cell.parameters
    halls = [text for tag in _HALLS for text in _texts(block, tag)]
    operators = next((found for tag in _OPERATORS if (found := _texts(block, tag))), [])
    return CrystalRecords(
        unit_cell=cell,
        names=tuple(_group_names(block, cell, bool(numbers or halls or operators))),
        halls=tuple(halls),
        number=int(numbers[0]) if numbers else None,
        operators=tuple(operators),
        frame=_frame(block),
        frame_name="_atom_sites.fract_transf_matrix",
    )


def _group_names(block: gemmi.cif.Block, unit_cell: tuple, others: bool) -> list[str]:
    """Usual names; without them the reference's or a full one, if others tell the group, known."""
    names = [text for tag in _NAMES for text in _texts(block, tag)]
    if names:
        return names
    found = [text for tag in _OTHER_NAMES for text in _texts(block, tag)]
    known = [name for name in found if known_name(name, unit_cell)]
    return known if known or others else found


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
