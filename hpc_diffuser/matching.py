"""Which atoms of two structures are the same."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.residues import canonical_atom, same_residue
from hpc_diffuser.structure import Structure, atom_label

BACKBONE = ("N", "CA", "C", "O")


@dataclass(frozen=True)
class Match:
    """Atoms that are the same in a trajectory and in its reference.

    Attributes
    ----------
    mobile_rows, reference_rows : (K,) int
        Rows of either structure, in the mobile's order.
    backbone : (K,) bool
        Those to superpose on.
    notes : tuple of str
        What was assumed, and what either lacks: lines to be said.
    """

    mobile_rows: np.ndarray
    reference_rows: np.ndarray
    backbone: np.ndarray
    notes: tuple[str, ...] = ()


def match_atoms(mobile: Structure, reference: Structure) -> Match:
    """The atoms that a trajectory and its reference have in common.

    Matched by chain, residue number, insertion code and atom name; where both are one chain, its
    letter does not matter (topologies of simulations often have none).

    Raises
    ------
    InputError
        Where a backbone atom of `mobile` is missing from `reference`, or is another residue.
    """
    moving, fixed = match_backbone(mobile, reference)
    partners = same_atoms(mobile, reference)
    partners[moving] = fixed
    rows = np.flatnonzero(partners >= 0)
    return Match(rows, partners[rows], np.isin(rows, moving))


def match_backbone(mobile: Structure, reference: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Backbone atoms of the mobile structure and their partners in the reference: (K,) int."""
    mobile_rows, reference_rows = _backbone(mobile), _backbone(reference)
    one_chain = len(_chains(mobile, mobile_rows)) == len(_chains(reference, reference_rows)) == 1
    partners = {_identity(reference, row, one_chain): row for row in reference_rows}
    pairs = []
    for row in mobile_rows:
        partner = partners.get(_identity(mobile, row, one_chain))
        if partner is None:
            raise InputError(
                f"atom {atom_label(mobile, row)} of the trajectory is not in the reference "
                "structure: give the structure of the same protein with the same numbering"
            )
        if not same_residue(str(mobile.residue_names[row]), str(reference.residue_names[partner])):
            raise InputError(
                f"atom {atom_label(mobile, row)} of the trajectory is "
                f"{atom_label(reference, partner)} in the reference structure: "
                "expected the same residues"
            )
        pairs.append((row, partner))
    if len(pairs) < 3:
        raise InputError("fewer than three backbone atoms (N, CA, C, O): nothing to superpose on")
    mobile_index, reference_index = np.array(pairs).T
    return mobile_index, reference_index


def same_atoms(structure: Structure, reference: Structure) -> np.ndarray:
    """The row of every atom in a reference, by name as in `match_backbone`: (N,) int.

    −1 for atoms that it lacks.
    """
    every, all_reference = range(len(structure)), range(len(reference))
    one_chain = len(_chains(structure, every)) == len(_chains(reference, all_reference)) == 1
    partners = {_identity(reference, row, one_chain): row for row in all_reference}
    return np.array([partners.get(_identity(structure, row, one_chain), -1) for row in every])


def _backbone(structure: Structure) -> list[int]:
    """Rows of backbone atoms: of residues that have N and CA, which waters and ions do not."""
    have = {name: set() for name in ("N", "CA")}
    for *residue, name in structure.names():
        if name in have:
            have[name].add(tuple(residue))
    residues = have["N"] & have["CA"]
    return [
        row
        for row, (*residue, name) in enumerate(structure.names())
        if name in BACKBONE and tuple(residue) in residues
    ]


def _chains(structure: Structure, rows: Iterable[int]) -> set[str]:
    return {str(structure.chain_ids[row]) for row in rows}


def _identity(structure: Structure, row: int, one_chain: bool) -> tuple[str, int, str, str]:
    s = structure
    chain = "" if one_chain else str(s.chain_ids[row])
    name = canonical_atom(str(s.atom_names[row]), str(s.residue_names[row]))
    return chain, int(s.residue_numbers[row]), str(s.insertion_codes[row]), name
