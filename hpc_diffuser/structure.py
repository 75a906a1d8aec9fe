"""Atoms as arrays, the matching of two structures by name, and their superposition."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

from hpc_diffuser.errors import InputError

BACKBONE = ("N", "CA", "C", "O")


@dataclass(frozen=True)
class Structure:
    """Atoms of one model, in the crystal's Cartesian frame (PDB convention).

    Attributes
    ----------
    positions : (N, 3) float, Å
    elements, atom_names, residue_names, chain_ids : (N,) str
    residue_numbers : (N,) int
    occupancies : (N,) float
    b_factors_A2 : (N,) float, Å²
    """

    positions: np.ndarray
    elements: np.ndarray
    atom_names: np.ndarray
    residue_names: np.ndarray
    residue_numbers: np.ndarray
    chain_ids: np.ndarray
    occupancies: np.ndarray
    b_factors_A2: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, index: np.ndarray) -> "Structure":
        """The atoms at `index` (integers or a mask), in that order."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def names(self) -> list[tuple[str, int, str]]:
        """(chain, residue number, atom name) of every atom: its identity across files."""
        keys = zip(self.chain_ids, self.residue_numbers, self.atom_names, strict=True)
        return [(str(chain), int(number), str(name)) for chain, number, name in keys]


def atom_label(structure: Structure, index: int) -> str:
    """An atom as people write it: `A/LYS 1/CA`."""
    s, i = structure, index
    return f"{s.chain_ids[i]}/{s.residue_names[i]} {s.residue_numbers[i]}/{s.atom_names[i]}"


def match_backbone(mobile: Structure, reference: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Backbone atoms of the mobile structure and their partners in the reference.

    Matched by chain, residue number and atom name; where both are one chain, its letter does
    not matter (topologies of simulations often have none).

    Returns
    -------
    mobile_index, reference_index : (K,) int
        Rows of either structure that are the same atom.

    Raises
    ------
    InputError
        Where a backbone atom of `mobile` is missing from `reference`, or is another residue.
    """
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
        if mobile.residue_names[row] != reference.residue_names[partner]:
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
    for chain, number, name in structure.names():
        if name in have:
            have[name].add((chain, number))
    residues = have["N"] & have["CA"]
    return [
        row
        for row, (chain, number, name) in enumerate(structure.names())
        if name in BACKBONE and (chain, number) in residues
    ]


def _chains(structure: Structure, rows: Iterable[int]) -> set[str]:
    return {str(structure.chain_ids[row]) for row in rows}


def _identity(structure: Structure, row: int, one_chain: bool) -> tuple[str, int, str]:
    chain = "" if one_chain else str(structure.chain_ids[row])
    return chain, int(structure.residue_numbers[row]), str(structure.atom_names[row])


def require_same_atoms(found: Structure, expected: Structure, what: str) -> None:
    """Raise InputError naming the first atom in which two structures differ."""
    for row, (a, b) in enumerate(zip(found.names(), expected.names(), strict=False)):
        if a != b or found.elements[row] != expected.elements[row]:
            raise InputError(
                f"{what}: atom {row + 1} is {atom_label(found, row)}, "
                f"expected {atom_label(expected, row)}"
            )
    if len(found) != len(expected):
        raise InputError(f"{what}: {len(found)} atoms, expected {len(expected)}")


def superpose(frames: np.ndarray, target: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Rigidly move every frame so that its atoms `index` fit `target` best (Kabsch 1976).

    Parameters
    ----------
    frames : (F, N, 3) float, Å
    target : (K, 3) float, Å
        Where the atoms `index` should come to lie.
    index : (K,) int

    Returns
    -------
    (F, N, 3) float, Å
    """
    target_centre = target.mean(axis=0)
    fitted = frames[:, index]
    centres = fitted.mean(axis=1, keepdims=True)
    # Best rotation R of x − x̄ onto y − ȳ: the proper orthogonal factor of Σ (y−ȳ)(x−x̄)ᵀ.
    correlation = np.einsum("ka,fkb->fab", target - target_centre, fitted - centres)
    u, _, vt = np.linalg.svd(correlation)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return np.einsum("fab,fnb->fna", u @ vt, frames - centres) + target_centre
