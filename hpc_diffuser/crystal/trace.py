"""The residues of a structure's polymers one by one, each with the atom that stands for it."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.chains import polymer_chains, unbonded_parts
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.system.arrays import Integers

_STANDING = ("CA", "C1'")  # of amino acids and of nucleotides


@dataclass(frozen=True)
class Trace:
    """Residues in the file's order.

    Attributes
    ----------
    labels : tuple of str
        As people write them: `A/SER 52A`.
    atoms : tuple of dict of str → int
        Of each residue, the row of every atom by its canonical name.
    standing : (n,) int
        Row of the atom that stands for it: Cα, or C1' of a nucleotide.
    chain : (n,) int
        Which residues are bonded to each other, one after the other: numbers from 0.
    """

    labels: tuple[str, ...]
    atoms: tuple[dict[str, int], ...]
    standing: Integers
    chain: Integers

    def __len__(self) -> int:
        return len(self.labels)

    def of_atom(self, n_atoms: int) -> Integers:
        """The residue of every atom: (N,) int, −1 where it is of none of them."""
        found = np.full(n_atoms, -1)
        for i, atoms in enumerate(self.atoms):
            found[list(atoms.values())] = i
        return found


def trace(structure: Structure) -> Trace:
    """The residues of proteins and nucleic acids that have an atom to stand for them.

    Ligands, caps and solvent are left out.
    """
    labels, atoms, standing, chain = [], [], [], []
    parts = [
        part
        for letter in polymer_chains(structure)
        for part in unbonded_parts(letter, structure.positions)
    ]
    for number, part in enumerate(parts):
        for residue in part.residues:
            row = next((residue.atoms[name] for name in _STANDING if name in residue.atoms), None)
            if row is not None:
                labels.append(residue.label)
                atoms.append(residue.atoms)
                standing.append(row)
                chain.append(number)
    return Trace(tuple(labels), tuple(atoms), np.array(standing, int), np.array(chain, int))
