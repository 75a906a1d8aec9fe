"""Ligands, and ions that are no salt of the solution, that two structures have in common."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from hpc_diffuser.crystal.assignment import Assignment
from hpc_diffuser.crystal.chains import polymer_rows
from hpc_diffuser.crystal.copies import Pose
from hpc_diffuser.crystal.residues import canonical_atom, canonical_residue, is_salt, is_water
from hpc_diffuser.crystal.structure import Structure, residue_label
from hpc_diffuser.system.arrays import Floats

# Copies farther from their places are paired otherwise, if that brings them twice as near.
_AWAY_A = 4.0

# Rows of a residue's atoms by name; residues by their place: chain, number, insertion code.
_Atoms = dict[str, int]
_Residues = dict[tuple[str, int, str], _Atoms]


def ligand_pairs(
    mobile: Structure, reference: Structure, assignment: Assignment, pose: Pose | None = None
) -> tuple[dict[int, int], list[str]]:
    """Partners of the atoms of ligands and of ions that are no salt of the solution.

    Parameters
    ----------
    mobile, reference : Structure
    assignment : Assignment
        Of their chains.
    pose : Pose or None
        Where the reference lies in the mobile: of several copies it tells which is which.

    Returns
    -------
    pairs : dict of int → int
        Rows of the mobile and of the reference.
    notes : list of str
        Which copies were told by where they lie.
    """
    letters: dict[str, str] = {}
    for link in assignment.links:
        ours, theirs = assignment.ours[link.ours], assignment.theirs[link.theirs]
        letters.setdefault(ours.letter, theirs.letter)
    ligands, others = _ligands(mobile), _ligands(reference)
    pairs: dict[int, int] = {}
    notes = []
    for name, left in ligands.items():
        right = others.get(name, {})
        salt = is_salt(name) and all(len(atoms) == 1 for atoms in left.values())
        found = _by_name(left, right, letters, salt)
        if pose is not None and not salt and len(right) > 1:
            nearer = _by_place(found, list(right.values()), mobile, reference, pose)
            notes += _told(found, nearer, mobile, reference)
            found = nearer
        for atoms, partners in found:
            pairs |= {row: partners[atom] for atom, row in atoms.items() if atom in partners}
    return pairs, notes


def _by_name(
    left: _Residues, right: _Residues, letters: dict[str, str], salt: bool
) -> list[tuple[_Atoms, _Atoms]]:
    """Residues of one name: of one chain and number; the others in order, if both have as many."""
    if salt and len(left) > len(right):
        return []
    ours, theirs, found = dict(left), dict(right), []
    for place in left:
        letter, number, code = place
        partner = letters.get(letter, letter), number, code
        if partner in theirs:
            found.append((ours.pop(place), theirs.pop(partner)))
    if len(ours) == len(theirs) and not salt:
        found += zip(ours.values(), theirs.values(), strict=True)
    return found


def _by_place(
    found: Sequence[tuple[_Atoms, _Atoms]],
    partners: Sequence[_Atoms],
    mobile: Structure,
    reference: Structure,
    pose: Pose,
) -> list[tuple[_Atoms, _Atoms]]:
    """The same residues, each with the partner that it lies at, where names are clearly wrong."""
    if not found:
        return []
    centres = np.array([_centre(mobile, atoms) for atoms, _ in found])
    places = np.array([_centre(reference, atoms) for atoms in partners])
    away = pose.away(centres[:, None], places[None])
    named = [partners.index(partner) for _, partner in found]
    nearest = linear_sum_assignment(away**2)[1]
    every = np.arange(len(found))
    first, best = (np.sqrt(np.mean(away[every, of] ** 2)) for of in (named, nearest))
    if first < _AWAY_A or best > first / 2:
        return list(found)
    return [(atoms, partners[i]) for (atoms, _), i in zip(found, nearest.tolist(), strict=True)]


def _told(
    found: Sequence[tuple[_Atoms, _Atoms]],
    nearer: Sequence[tuple[_Atoms, _Atoms]],
    mobile: Structure,
    reference: Structure,
) -> list[str]:
    named = [
        f"{_label(mobile, atoms)} is {_label(reference, partner)}"
        for (atoms, partner), (_, before) in zip(nearer, found, strict=True)
        if partner is not before
    ]
    if not named:
        return []
    return [f"equal ligands are paired as they lie in the first frame: {', '.join(named)}"]


def _centre(structure: Structure, atoms: _Atoms) -> Floats:
    centre: Floats = structure.positions[list(atoms.values())].mean(axis=0)
    return centre


def _label(structure: Structure, atoms: _Atoms) -> str:
    return residue_label(structure, next(iter(atoms.values())))


def _ligands(structure: Structure) -> dict[str, _Residues]:
    """Residues by their name."""
    found: dict[str, _Residues] = {}
    for row, name in _named_rows(structure):
        s = structure
        place = str(s.chain_ids[row]), int(s.residue_numbers[row]), str(s.insertion_codes[row])
        atoms = found.setdefault(name, {}).setdefault(place, {})
        atoms.setdefault(canonical_atom(str(s.atom_names[row]), name), int(row))
    return found


def _named_rows(structure: Structure) -> Iterable[tuple[int, str]]:
    for row in np.flatnonzero(~polymer_rows(structure)):
        name = canonical_residue(str(structure.residue_names[row]))
        if not is_water(name):
            yield int(row), name
