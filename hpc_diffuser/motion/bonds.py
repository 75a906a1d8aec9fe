"""Which atoms of a simulation are bonded, and how long the bonds are: what must hold together.

Bonds are those of the crystal structure, by its distances, and what the topology tells besides. A
bond between residues counts only along a polymer: a disulphide of the crystal may be open in the
simulation, and metals come and go.
"""

from dataclasses import dataclass

import gemmi
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from hpc_diffuser.crystal.matching import Match
from hpc_diffuser.crystal.periodic_box import translations
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.system.arrays import Floats, Integers, Mask

_SLACK_A = 0.45  # from the sum of covalent radii: a bond of a poor model; nearer, a clash
_TRACE_A = 4.2  # CA to CA of neighbours along a chain: 3.8 Å, in cis 2.9 Å
_HYDROGEN_A = 1.6  # to the atom that it is bonded to: of silicon 1.5 Å
_ORGANIC = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I")
_LINKS = ({"C", "N"}, {"O3'", "P"}, {"O3*", "P"})


@dataclass(frozen=True)
class Bonds:
    """Bonds among a simulation's atoms.

    Attributes
    ----------
    pairs : (B, 2) int
        Rows of the atoms.
    lengths_A : (B,) float
        In the crystal; of atoms that it lacks, the sum of covalent radii.
    known : (B,) bool
        Whether the crystal has both atoms. Of the others the topology may be wrong, where one
        chain's end is followed by the next one's beginning.
    """

    pairs: Integers
    lengths_A: Floats
    known: Mask

    def select(self, kept: Mask) -> "Bonds":
        """Those of a mask (B,)."""
        return Bonds(self.pairs[kept], self.lengths_A[kept], self.known[kept])


def expected_bonds(
    structure: Structure, stated: Floats, match: Match, reference: Structure
) -> Bonds:
    """The bonds that hold a simulation's molecules together.

    Parameters
    ----------
    structure : Structure
        Of the simulation; its positions are not used.
    stated : (B, 2) int
        Bonds that its topology knows.
    match : Match
        Its atoms in the reference.
    reference : Structure
    """
    partner = np.full(len(structure), -1)
    partner[match.mobile_rows] = match.reference_rows
    near = KDTree(reference.positions[match.reference_rows]).query_pairs(
        _TRACE_A, output_type="ndarray"
    )
    pairs = np.concatenate([match.mobile_rows[near], stated]).reshape(-1, 2)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    usual = _radii(structure)[pairs].sum(axis=1)
    known = (partner[pairs] >= 0).all(axis=1)
    lengths = usual.copy()
    ends = reference.positions[partner[pairs[known]]]
    lengths[known] = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    trace = known & _neighbours_in_trace(structure, pairs)
    chemical = (np.abs(lengths - usual) <= _SLACK_A) & _holds(structure, pairs)
    return Bonds(pairs, lengths, known).select(chemical | trace)


def bonds_of_hydrogens(structure: Structure, stated: Floats, box: Floats) -> Integers:
    """Bonds for hydrogens that have none: to the nearest heavy atom of their residue.

    A topology without bonds has those that its reader knows of standard residues, by names.

    Parameters
    ----------
    structure : Structure
        A frame of the simulation, its atoms in any image of its box.
    stated : (B, 2) int
        Bonds that are known.
    box : (3, 3) float, Å
        Vectors as rows; 0: none.

    Returns
    -------
    (H, 2) int
    """
    hydrogen = structure.elements == "H"
    bonded = np.zeros(len(structure), bool)
    bonded[stated.ravel()] = True
    residues = _residue_index(structure)
    pairs = []
    for residue in np.unique(residues[hydrogen & ~bonded]):
        rows = np.flatnonzero(residues == residue)
        lonely, heavy = rows[hydrogen[rows] & ~bonded[rows]], rows[~hydrogen[rows]]
        steps = structure.positions[lonely][:, None] - structure.positions[heavy]
        shifts = translations(steps.reshape(1, -1, 3), box[None]).reshape(steps.shape)
        lengths = np.linalg.norm(steps - shifts, axis=2)
        for row, away in zip(lonely, lengths, strict=True):
            if len(heavy) and away.min() < _HYDROGEN_A:
                pairs.append((row, heavy[np.argmin(away)]))
    return np.array(pairs, int).reshape(-1, 2)


def fragments(n_atoms: int, bonds: Bonds) -> Integers:
    """Which fragment every atom belongs to, as bonds hold them together: (N,) int."""
    ones = np.ones(len(bonds.pairs), bool)
    graph = coo_matrix((ones, bonds.pairs.T), shape=(n_atoms, n_atoms))
    return connected_components(graph, directed=False)[1]


def _holds(structure: Structure, pairs: Integers) -> Mask:
    """Whether atoms so near are bonded for good: within a residue or along a polymer: (B,)."""
    organic = np.isin(structure.elements, _ORGANIC)
    step = np.diff(_residue_index(structure)[pairs], axis=1)[:, 0]
    names = structure.atom_names[pairs]
    linked = [set(pair) in _LINKS for pair in names.tolist()]
    both_organic = organic[pairs].all(axis=1)
    held: Mask = both_organic & ((step == 0) | ((np.abs(step) == 1) & np.array(linked, bool)))
    return held


def _neighbours_in_trace(structure: Structure, pairs: Integers) -> Mask:
    carbons = (structure.atom_names == "CA") & (structure.elements == "C")
    step = np.diff(_residue_index(structure)[pairs], axis=1)[:, 0]
    neighbours: Mask = carbons[pairs].all(axis=1) & (np.abs(step) == 1)
    return neighbours


def _residue_index(structure: Structure) -> Integers:
    """Residues counted in the file's order: (N,) int."""
    s = structure
    changes = np.zeros(len(s), bool)
    for names in (s.chain_ids, s.residue_numbers, s.insertion_codes, s.residue_names):
        changes[1:] |= np.asarray(names)[1:] != np.asarray(names)[:-1]
    return np.cumsum(changes)


def _radii(structure: Structure) -> Floats:
    """Covalent radii: (N,) Å."""
    symbols, of_atom = np.unique(structure.elements, return_inverse=True)
    return np.array([gemmi.Element(str(name)).covalent_r for name in symbols])[of_atom]
