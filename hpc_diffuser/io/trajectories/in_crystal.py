"""A trajectory in its crystal: whole, superposed, of the crystal's atoms; looked at on the way."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.crystal.matching import Match, match_atoms
from hpc_diffuser.crystal.residues import canonical_residue, is_polymer
from hpc_diffuser.crystal.structure import Structure, residue_label, superpose
from hpc_diffuser.io.structures.files import read_structure
from hpc_diffuser.io.trajectories.files import Trajectory, read_trajectory
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.motion.assembling import bring_together
from hpc_diffuser.motion.bonds import Bonds, bonds_of_hydrogens, expected_bonds, fragments
from hpc_diffuser.motion.wholeness import believed, make_whole
from hpc_diffuser.system.errors import InputError

_UNRELATED = 0.8  # rmsd by radius of gyration: two folds of one size 1.1 to 1.4, a mirror image 0.9
_FAR_A, _FAR = 5.0, 0.4  # more than folded proteins move; of small ones by radius of gyration
_MIRROR_A = 1.5  # rmsd above which a mirror image that fits twice as well is one
_NAMED = 6  # residues, before the rest is counted


@dataclass(frozen=True)
class CrystalFrames:
    """The frames of a trajectory in the crystal.

    Attributes
    ----------
    structure : Structure
        The atoms that were chosen.
    positions : (F, N, 3) float, Å
    crystal : (unit cell, space group)
    crystal_b_A2 : (N,) float, Å²
        The reference's B-factors; NaN of atoms that it lacks.
    notes : tuple of str
        What was left out, mended and assumed, and how far the frames are from the reference.
    crystal_positions : (N, 3) float, Å
        The reference's; NaN of atoms that it lacks.
    places : (N,) int
        Where the atoms stand among all of the topology's, from 0.
    """

    structure: Structure
    positions: np.ndarray
    crystal: tuple
    crystal_b_A2: np.ndarray
    notes: tuple[str, ...]
    crystal_positions: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class _Parts:
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


def crystal_frames(files: TrajectoryFiles) -> CrystalFrames:
    """All frames of a trajectory, superposed on the crystal structure by their backbone.

    Raises
    ------
    InputError
        For files that cannot be read or do not belong together, molecules that are broken across
        the periodic box and cannot be mended, and frames that are no motion of the reference.
    """
    reference, crystal = read_structure(files.reference, files.conformer, files.hydrogens)
    if crystal is None:
        raise InputError(f"{files.reference}: no unit cell: expected a crystal structure")
    found = read_trajectory(files.trajectory, files.topology, files.selection, files.hydrogens)
    parts = _parts(found, reference)
    mended = _made_whole(files, found, parts)
    if mended:  # equal chains and ligands of whole molecules can be told by where they lie
        parts = _parts(found, reference)
    match, rows, backbone = parts.match, parts.rows, parts.backbone
    notes = [*found.notes, *match.notes, *_left_out(found, match, rows, reference), *mended]
    notes += _brought_together(files, found, parts, reference)
    moving, fixed = match.mobile_rows[backbone], match.reference_rows[backbone]
    target = reference.positions[fixed]
    notes += _distances(str(files.trajectory), found.frames[:, moving], target)
    partner = np.full(len(found.structure), -1)
    partner[match.mobile_rows] = match.reference_rows
    kept = partner[rows]
    return CrystalFrames(
        found.structure.select(rows),
        superpose(found.frames, target, moving)[:, rows],
        crystal,
        np.where(kept >= 0, reference.b_factors_A2[kept], np.nan),
        tuple(notes),
        np.where(kept[:, None] >= 0, reference.positions[kept], np.nan),
        found.places[rows],
    )


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


def _parts(found: Trajectory, reference: Structure) -> _Parts:
    """Match a trajectory with its crystal: what of it matters."""
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
    return _Parts(match, rows, labels, bonds, chosen, backbone)


def _made_whole(files: TrajectoryFiles, found: Trajectory, parts: _Parts) -> list[str]:
    """Mend molecules, in place: what is to be said of it."""
    source = str(files.trajectory)
    torn = make_whole(found.frames, found.boxes, parts.bonds, found.structure, source)
    if torn is None:
        return []
    return [
        f"{source}: molecules with atoms in several images of the periodic box were made "
        f"whole in {torn.frames} of {len(found.frames)} frames: the first is frame "
        f"{torn.first}, where the bond {torn.bond} was {torn.length_A:.1f} Å long"
    ]


def _brought_together(
    files: TrajectoryFiles, found: Trajectory, parts: _Parts, reference: Structure
) -> list[str]:
    """Bring the molecules beside each other, in place: what is to be said of it."""
    match, chosen = parts.match, parts.chosen
    part = Match(match.mobile_rows[chosen], match.reference_rows[chosen], match.backbone[chosen])
    labels, source = parts.labels, str(files.trajectory)
    return bring_together(
        found.frames, found.boxes, labels, part, found.structure, reference, source
    )


def _distances(source: str, frames: np.ndarray, target: np.ndarray) -> list[str]:
    """How far the frames are from the reference, if that can be motion.

    Raises
    ------
    InputError
        Naming the first frame for which it cannot.
    """
    every = np.arange(len(target))
    rmsd, mirrored = (_rmsd(superpose(sign * frames, target, every), target) for sign in (1, -1))
    size = float(np.sqrt(np.mean(np.sum((target - target.mean(axis=0)) ** 2, axis=1))))
    mirror = (rmsd > _MIRROR_A) & (mirrored < rmsd / 2)
    wrong = np.flatnonzero(mirror | (rmsd > _UNRELATED * size))
    if len(wrong):
        frame = wrong[0]
        why = (
            f"its mirror image fits to {mirrored[frame]:.1f} Å: an axis of the coordinates is "
            "turned round"
            if mirror[frame]
            else f"as of another structure, whose radius of gyration is {size:.1f} Å too: give "
            "the reference of this simulation, and a topology with the trajectory's order of "
            "atoms; molecules that unfold have no modes in a crystal"
        )
        raise InputError(
            f"{source}: frame {frame + 1}: rmsd of {rmsd[frame]:.1f} Å to the reference: {why}"
        )
    worst = int(np.argmax(rmsd))
    text = (
        f"rmsd to the reference {rmsd[0]:.2f} Å in the first frame, median {np.median(rmsd):.2f}, "
        f"largest {rmsd[worst]:.2f} in frame {worst + 1}, of {len(target)} backbone atoms"
    )
    if rmsd[worst] > min(_FAR_A, _FAR * size):
        text += ": more than a folded protein moves: look whether these frames are meant"
    return [text]


def _rmsd(frames: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.sum((frames - target) ** 2, axis=2), axis=1))


def _left_out(found: Trajectory, match: Match, rows: np.ndarray, reference: Structure) -> list[str]:
    """Lines about what the trajectory and the reference do not have in common."""
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
    """`14 of A/LYS 33, A/ARG 45`, `3 NO3`: a polymer's atoms by residue, others by name."""
    names = structure.names()
    of = [tuple(residue) for *residue, _ in names]
    sizes, found = Counter(of), Counter(of[row] for row in rows)
    labels = {of[row]: residue_label(structure, row) for row in rows}
    name = {of[row]: str(structure.residue_names[row]) for row in rows}
    polymer = [x for x in found if is_polymer(name[x])]
    atoms = sum(found[x] for x in polymer)
    parts = [f"{atoms} of {_some([labels[x] for x in polymer])}"] if polymer else []
    others = [x for x in found if not is_polymer(name[x])]
    whole = Counter(name[x] for x in others if found[x] == sizes[x])
    parts += [f"{count} {kind}" for kind, count in whole.items()]
    return parts + [f"{found[x]} of {labels[x]}" for x in others if found[x] < sizes[x]]


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more residues" if rest > 0 else "")
