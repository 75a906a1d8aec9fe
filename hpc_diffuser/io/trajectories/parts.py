"""What of a trajectory is the crystal's: atoms, bonds, and those to superpose on."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.crystal.matching import Match, match_atoms
from hpc_diffuser.crystal.residues import canonical_residue, is_polymer
from hpc_diffuser.crystal.structure import Structure, atom_label, residue_label
from hpc_diffuser.io.trajectories.files import Trajectory
from hpc_diffuser.motion.bonds import Bonds, bonds_of_hydrogens, expected_bonds, fragments
from hpc_diffuser.motion.wholeness import believed
from hpc_diffuser.system.errors import InputError

_NAMED = 6  # residues, before the rest is counted


@dataclass(frozen=True)
class Parts:
    """What of a trajectory matters.

    Attributes
    ----------
    match : Match
    rows : (K,) int
        The atoms that are asked for.
    labels : (N,) int
        The fragment of every atom.
    bonds : Bonds
        Of the fragments that matter.
    chosen, backbone : (M,) bool
        The matched atoms that are of these fragments; and those to superpose on: of these
        fragments, if they have a backbone.
    """

    match: Match
    rows: np.ndarray
    labels: np.ndarray
    bonds: Bonds
    chosen: np.ndarray
    backbone: np.ndarray


def find_parts(found: Trajectory, reference: Structure) -> Parts:
    """Match a trajectory with its crystal: what of it matters.

    Parameters
    ----------
    found : Trajectory
        With some of its frames; all of them in the first one's order of atoms.
    reference : Structure

    Raises
    ------
    InputError
        Where the two are not of one molecule.
    """
    match = _match(found, reference)
    structure = replace(found.structure, positions=found.frames[0])
    hydrogens = bonds_of_hydrogens(structure, found.bonds, found.boxes[0])
    stated = np.concatenate([found.bonds, hydrogens])
    bonds = expected_bonds(structure, stated, match, reference)
    bonds = believed(found.frames, found.boxes, bonds)
    rows = _rows(found, match, bonds) if found.rows is None else found.rows
    labels = fragments(len(found.structure), bonds)
    of_match = labels[match.mobile_rows]
    chosen = np.isin(of_match, labels[rows])
    backbone = match.backbone & chosen
    if backbone.sum() < 3:
        backbone, chosen = match.backbone, chosen | match.backbone
    matter = np.union1d(labels[rows], of_match[backbone])
    bonds = bonds.select(np.isin(labels[bonds.pairs[:, 0]], matter))
    return Parts(match, rows, labels, bonds, chosen, backbone)


def _match(found: Trajectory, reference: Structure) -> Match:
    """The atoms that the reference has, of the chains that were chosen from."""
    structure = replace(found.structure, positions=found.frames[0])
    how = reference, found.boxes[0], found.lettered
    if found.rows is None:
        return match_atoms(structure, *how)
    chains = np.unique(structure.chain_ids[found.rows])
    part = np.flatnonzero(np.isin(structure.chain_ids, chains))
    try:
        match = match_atoms(structure.select(part), *how)
    except InputError as exc:
        # The chosen residues may be all that the two have in common.
        part = _whole_residues(structure, found.rows)
        try:
            match = match_atoms(structure.select(part), *how)
        except InputError:
            raise exc from None
    return Match(part[match.mobile_rows], match.reference_rows, match.backbone, match.notes)


def _whole_residues(structure: Structure, rows: np.ndarray) -> np.ndarray:
    """All atoms of the residues that these atoms are of."""
    residues = [tuple(residue) for *residue, _ in structure.names()]
    chosen = {residues[row] for row in rows}
    return np.array([row for row, residue in enumerate(residues) if residue in chosen])


def _rows(found: Trajectory, match: Match, bonds: Bonds) -> np.ndarray:
    """What the reference has, and the hydrogens on it: (K,) int, ascending."""
    kept = np.zeros(len(found.structure), bool)
    kept[match.mobile_rows] = True
    hydrogen = found.structure.elements == "H"
    first, second = bonds.pairs.T
    for a, b in ((first, second), (second, first)):
        kept[a] |= hydrogen[a] & kept[b]
    return np.flatnonzero(kept)


def left_out(found: Trajectory, match: Match, rows: np.ndarray, reference: Structure) -> list[str]:
    """Lines about what the trajectory and the reference do not have in common.

    Parameters
    ----------
    found : Trajectory
    match : Match
    rows : (K,) int
        The atoms that are asked for.
    reference : Structure
    """
    notes = []
    if found.rows is None:
        others = np.setdiff1d(np.arange(len(found.structure)), rows)
        parts = [*found.left_out, *_counted(found.structure, others)]
        notes += [f"left out of {found.n_atoms} atoms: {', '.join(parts)}"] if parts else []
    lacking = np.setdiff1d(np.arange(len(reference)), match.reference_rows)
    names = [canonical_residue(part.split(" ", 1)[1]) for part in found.left_out]
    of_both = np.isin([canonical_residue(str(x)) for x in reference.residue_names[lacking]], names)
    if of_both.any():
        ions = ", ".join(_counted(reference, lacking[of_both]))
        notes.append(
            f"ions that the reference has, too: {ions}: left out like all ions; --select takes "
            'those that are bound, as in "protein or resname ZN"'
        )
    missing = _counted(reference, lacking[~of_both])
    return notes + ([f"atoms not in the trajectory: {', '.join(missing)}"] if missing else [])


def _counted(structure: Structure, rows: np.ndarray) -> list[str]:
    """`14 of A/LYS 33, A/ARG 45`, `3 NO3`: a polymer's atoms by residue, others by name.

    Few of a polymer are named each: `A/LEU 129/OXT`.
    """
    names = structure.names()
    of = [tuple(residue) for *residue, _ in names]
    sizes, found = Counter(of), Counter(of[row] for row in rows)
    labels = {of[row]: residue_label(structure, row) for row in rows}
    name = {of[row]: str(structure.residue_names[row]) for row in rows}
    polymer = [x for x in found if is_polymer(name[x])]
    atoms = sum(found[x] for x in polymer)
    parts = [f"{atoms} of {_some([labels[x] for x in polymer])}"] if polymer else []
    if 0 < atoms <= _NAMED:
        parts = [atom_label(structure, row) for row in rows if of[row] in polymer]
    others = [x for x in found if not is_polymer(name[x])]
    whole = Counter(name[x] for x in others if found[x] == sizes[x])
    parts += [f"{count} {kind}" for kind, count in whole.items()]
    return parts + [f"{found[x]} of {labels[x]}" for x in others if found[x] < sizes[x]]


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more residues" if rest > 0 else "")
