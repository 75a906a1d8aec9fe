"""Atoms as arrays, and their superposition."""

from dataclasses import dataclass, field, fields, replace
from typing import SupportsIndex

import gemmi
import numpy as np

from hpc_diffuser.system.arrays import Floats, Integers, Mask, Names
from hpc_diffuser.system.errors import InputError


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
    insertion_codes : (N,) str
        Of residues that share a number: 52, 52A. Empty where there is none, and by default.
    u_A2 : (N, 3, 3) float, Å²
        Anisotropic displacements ⟨u uᵀ⟩, of ANISOU records; NaN where there are none, and by
        default.
    """

    positions: Floats
    elements: Names
    atom_names: Names
    residue_names: Names
    residue_numbers: Integers
    chain_ids: Names
    occupancies: Floats
    b_factors_A2: Floats
    insertion_codes: Names = field(default_factory=lambda: np.empty(0, str))
    u_A2: Floats = field(default_factory=lambda: np.empty((0, 3, 3)))

    def __post_init__(self) -> None:
        if not len(self.insertion_codes):
            object.__setattr__(self, "insertion_codes", np.full(len(self.positions), ""))
        if not len(self.u_A2):
            object.__setattr__(self, "u_A2", np.full((len(self.positions), 3, 3), np.nan))

    def __len__(self) -> int:
        return len(self.positions)

    def __repr__(self) -> str:
        residues = len({name[:3] for name in self.names()})
        return f"Structure({len(self)} atoms of {residues} residues)"

    def select(self, index: Integers | Mask) -> "Structure":
        """The atoms at `index` (integers or a mask), in that order."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def names(self) -> list[tuple[str, int, str, str]]:
        """(chain, residue number, insertion code, atom name): an atom's identity across files."""
        fields_ = self.chain_ids, self.residue_numbers, self.insertion_codes, self.atom_names
        keys = zip(*(field.tolist() for field in map(np.asarray, fields_)), strict=True)
        return [(str(chain), int(number), code, str(name)) for chain, number, code, name in keys]


def residue_label(structure: Structure, index: SupportsIndex) -> str:
    """The residue of an atom as people write it: `A/LYS 1`, `A/SER 52A`."""
    s, i = structure, index
    chain = f"{s.chain_ids[i]}/" if str(s.chain_ids[i]).strip() else ""
    return f"{chain}{s.residue_names[i]} {s.residue_numbers[i]}{s.insertion_codes[i]}"


def atom_label(structure: Structure, index: SupportsIndex) -> str:
    """An atom as people write it: `A/LYS 1/CA`."""
    return f"{residue_label(structure, index)}/{structure.atom_names[index]}"


def centre_of_mass(structure: Structure) -> Floats:
    """Of the atoms as far as they are there: (3,) Å."""
    masses = np.array([gemmi.Element(str(e)).weight for e in structure.elements])
    return np.average(structure.positions, axis=0, weights=masses * structure.occupancies)


def require_occupied(structure: Structure, where: str) -> None:
    """Raise InputError unless some occupancies are above 0, and none is below."""
    occupancies = structure.occupancies
    if occupancies.min(initial=0) < 0:
        worst = atom_label(structure, int(np.argmin(occupancies)))
        raise InputError(
            f"{where}: occupancy {occupancies.min():g} of {worst}: expected none below 0"
        )
    if not occupancies.any():
        raise InputError(
            f"{where}: all {len(structure)} occupancies are 0, and nothing would scatter: expected "
            "occupancies above 0, 1 for atoms that are always there; correct their column"
        )


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


def superpose(frames: Floats, target: Floats, index: Integers) -> Floats:
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
    turns = best_rotations(correlation)
    moved: Floats = np.einsum("fab,fnb->fna", turns, frames - centres) + target_centre
    return moved


def best_rotations(correlation: Floats) -> Floats:
    """The proper rotation nearest to each matrix Σ y xᵀ, which turns x onto y: (F, 3, 3)."""
    u, _, vt = np.linalg.svd(correlation)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    turns: Floats = u @ vt
    return turns
