"""Chains and residues of a structure's polymers, told apart where a file's names do not."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from string import ascii_lowercase, ascii_uppercase, digits
from typing import SupportsIndex

import numpy as np

from hpc_diffuser.crystal.residues import (
    canonical_atom,
    canonical_residue,
    is_cap,
    is_ion,
    is_polymer,
    is_water,
)
from hpc_diffuser.crystal.structure import Structure, atom_label, residue_label
from hpc_diffuser.system.arrays import Floats, Integers, Mask, Names
from hpc_diffuser.system.errors import InputError

# After the last number that a PDB's or a GRO's columns hold, residues are counted from 0.
_WRAPS = (9999, 99999)
_LONGEST_BOND_A = 3.0  # stretched, in one frame of a simulation
_LETTERS = ascii_uppercase + ascii_lowercase + digits

_Key = tuple[str, int, str, str]  # a residue's chain, number, insertion code and canonical name


@dataclass(frozen=True)
class Residue:
    """A residue of a polymer.

    Attributes
    ----------
    label : str
        As people write it: `A/SER 52A`.
    place : (int, str)
        Its number and insertion code.
    name : str
        The canonical one.
    atoms : dict of str → int
        Row of every atom by its canonical name.
    """

    label: str
    place: tuple[int, str]
    name: str
    atoms: dict[str, int]


@dataclass(frozen=True)
class Chain:
    """Residues in the file's order, under the letter that the file gives them."""

    letter: str
    residues: tuple[Residue, ...]

    def __len__(self) -> int:
        return len(self.residues)


def polymer_rows(structure: Structure) -> Mask:
    """Which atoms are of proteins and nucleic acids: (N,) bool.

    By the residue's name; of an unknown name, a residue that has N, CA and C.
    """
    known = _where(structure.residue_names, is_polymer)
    other = ~known & ~solvent_rows(structure)
    trace = other & np.isin(structure.atom_names, ("N", "CA", "C"))
    count: dict[_Key, int] = {}
    for row in np.flatnonzero(trace):
        key = _key(structure, row)
        count[key] = count.get(key, 0) + 1
    for row in np.flatnonzero(other):
        known[row] = count.get(_key(structure, row), 0) >= 3
    return known


def solvent_rows(structure: Structure) -> Mask:
    """Which atoms are of water and of monatomic ions: (N,) bool."""
    water = _where(structure.residue_names, is_water)
    ions = np.flatnonzero(_where(structure.residue_names, is_ion))
    keys = [_key(structure, row) for row in ions]
    count = Counter(keys)  # chlorophyll is CLA, too
    water[[row for row, key in zip(ions, keys, strict=True) if count[key] == 1]] = True
    return water


def polymer_chains(structure: Structure) -> list[Chain]:
    """The chains of proteins and nucleic acids, whose atoms are told apart by their names.

    A residue with a terminal oxygen, or a cap, ends its chain: another one may follow under the
    same letter.
    """
    chains: dict[str, dict[_Key, list[int]]] = {}
    for row in np.flatnonzero(polymer_rows(structure)):
        key = _key(structure, row)
        chains.setdefault(key[0], {}).setdefault(key, []).append(int(row))
    return [
        Chain(letter, tuple(part))
        for letter, residues in chains.items()
        for part in _ended([_residue(structure, rows) for rows in residues.values()])
    ]


def chain_letters(structure: Structure) -> list[str]:
    """Of the chains of proteins and nucleic acids, in the file's order."""
    return list(dict.fromkeys(structure.chain_ids[polymer_rows(structure)].tolist()))


def unbonded_parts(chain: Chain, positions: Floats) -> list[Chain]:
    """A chain, cut where C and the next N, or O3' and the next P, are no bond apart.

    Parameters
    ----------
    chain : Chain
    positions : (N, 3) float, Å
        Of the structure that the chain is of.
    """
    parts: list[list[Residue]] = [[]]
    for residue in chain.residues:
        if parts[-1] and not _bonded(parts[-1][-1], residue, positions):
            parts.append([])
        parts[-1].append(residue)
    return [Chain(chain.letter, tuple(part)) for part in parts]


def _bonded(first: Residue, second: Residue, positions: Floats) -> bool:
    """Whether two residues may be neighbours: also where an atom that would tell is missing."""
    for end, start in (("C", "N"), ("O3'", "P")):
        if end in first.atoms and start in second.atoms:
            bond = positions[second.atoms[start]] - positions[first.atoms[end]]
            return float(np.linalg.norm(bond)) < _LONGEST_BOND_A
    return True


def tell_chains_apart(structure: Structure) -> tuple[Structure, list[str]]:
    """Give copies of a chain under one letter a letter each, where their numbers start again.

    Returns
    -------
    structure : Structure
    notes : list of str
        Which chains these are.

    Raises
    ------
    InputError
        For an atom of a polymer that is there twice, nevertheless.
    """
    polymer = polymer_rows(structure)
    numbers, chain_ids = structure.residue_numbers.copy(), structure.chain_ids.astype(object)
    notes = []
    for letter in dict.fromkeys(structure.chain_ids[polymer].tolist()):
        rows = np.flatnonzero(polymer & (structure.chain_ids == letter))
        if _first_twice(structure, rows) is None:
            continue
        pieces = _pieces(structure, rows, numbers)
        structure = replace(structure, residue_numbers=numbers.copy())
        names = _new_letters(letter, len(pieces), set(chain_ids.tolist()))
        for name, piece in zip(names, pieces, strict=True):
            _require_once(structure, piece)
            chain_ids[piece] = name
        _letter_ligands(structure, letter, names, chain_ids)
        if len(pieces) > 1:
            starts = ", ".join(residue_label(structure, piece[0]) for piece in pieces[1:])
            notes.append(
                f"residue numbers start again at {starts}: taken for chains {', '.join(names)}"
            )
    return replace(structure, chain_ids=chain_ids.astype(str)), notes


def _letter_ligands(structure: Structure, letter: str, names: list[str], chain_ids: Names) -> None:
    """Give the copies of a ligand the letters of the chain's, in their order, in `chain_ids`."""
    s = structure
    others = (s.chain_ids == letter) & ~polymer_rows(s) & ~_where(s.residue_names, is_water)
    copy: dict[_Key, int] = {}
    seen: set[tuple[_Key, str, int]] = set()
    for row in np.flatnonzero(others):
        residue = _key(s, row)
        name, number = str(s.atom_names[row]), copy.setdefault(residue, 0)
        if (residue, name, number) in seen:
            copy[residue] = number = number + 1
        seen.add((residue, name, number))
        if copy[residue] < len(names):
            chain_ids[row] = names[copy[residue]]


def letters_of_segments(chain_ids: Names, segments: Names) -> Names:
    """Chains of a file that names segments instead: a letter for each: (N,) str."""
    if any(x.strip() for x in set(chain_ids.tolist())) or not any(set(segments.tolist())):
        return chain_ids
    names = list(dict.fromkeys(segments.tolist()))
    letter = dict(zip(names, _new_letters("", len(names), set()), strict=True))
    return np.array([letter[segment] for segment in segments.tolist()])


def _pieces(structure: Structure, rows: Integers, numbers: Integers) -> list[Integers]:
    """Rows of each copy; numbers that a format's columns cut off are mended in `numbers`."""
    pieces: list[list[int]] = []
    before: int | None = None
    beyond = 0
    for number, group in groupby(rows, lambda row: int(structure.residue_numbers[row])):
        piece = list(group)
        if before is not None and before in _WRAPS and number in (0, 1):
            beyond += before + 1 - number
        elif before is None or number < before:
            pieces.append([])
            beyond = 0
        numbers[piece] += beyond
        pieces[-1] += piece
        before = number
    return [np.array(piece) for piece in pieces]


def _first_twice(structure: Structure, rows: Integers) -> int | None:
    """The first row, of one chain, whose atom is there before."""
    seen = set()
    for row in rows:
        key = (
            int(structure.residue_numbers[row]),
            str(structure.insertion_codes[row]),
            str(structure.atom_names[row]),
        )
        if key in seen:
            return int(row)
        seen.add(key)
    return None


def _require_once(structure: Structure, rows: Integers) -> None:
    twice = _first_twice(structure, rows)
    if twice is not None:
        raise InputError(
            f"atom {atom_label(structure, twice)} is there twice: expected it once: give copies of "
            "a molecule chain letters, and residues of one number insertion codes, as PDB has them"
        )


def _new_letters(letter: str, count: int, used: set[str]) -> list[str]:
    """Names for the copies of a chain, of which the first keeps its own, if it has one."""
    several = (a + b for a in _LETTERS for b in _LETTERS)
    unused = (name for source in (_LETTERS, several) for name in source if name not in used)
    if count == 1 or letter.strip():
        return [letter, *(next(unused) for _ in range(count - 1))]
    return [next(unused) for _ in range(count)]


def _ended(residues: list[Residue]) -> Iterator[list[Residue]]:
    """A list of residues, cut behind chain ends."""
    part: list[Residue] = []
    for residue in residues:
        if part and residue.name in ("ACE", "FOR"):
            yield part
            part = []
        part.append(residue)
        if "OXT" in residue.atoms or (is_cap(residue.name) and len(part) > 1):
            yield part
            part = []
    if part:
        yield part


def _residue(structure: Structure, rows: list[int]) -> Residue:
    s, first = structure, rows[0]
    name = str(s.residue_names[first])
    atoms: dict[str, int] = {}
    for row in rows:
        atom = canonical_atom(str(s.atom_names[row]), name)
        if atom not in atoms or atom == s.atom_names[row]:
            atoms[atom] = row
    place = int(s.residue_numbers[first]), str(s.insertion_codes[first])
    return Residue(residue_label(s, first), place, canonical_residue(name), atoms)


def _key(structure: Structure, row: SupportsIndex) -> _Key:
    s = structure
    name = canonical_residue(str(s.residue_names[row]))
    return str(s.chain_ids[row]), int(s.residue_numbers[row]), str(s.insertion_codes[row]), name


def _where(names: Names, what: Callable[[str], bool]) -> Mask:
    """A function of a residue's name for every atom: (N,) bool."""
    unique, inverse = np.unique(names, return_inverse=True)
    return np.array([what(str(name)) for name in unique], np.bool_)[inverse]
