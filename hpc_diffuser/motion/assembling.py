"""Chains and ligands of a simulation brought beside each other, as they are in the crystal.

What no bonds join may be written in different images of the periodic box, each of them whole. In
the crystal they touch: where a translation of the box brings one beside the other as there, and
no second one nearly so, they are brought together; else they are refused.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from hpc_diffuser.crystal.matching import Match
from hpc_diffuser.crystal.periodic_box import box_heights, translations, usable
from hpc_diffuser.crystal.structure import Structure, atom_label, best_rotations, residue_label
from hpc_diffuser.motion.wholeness import REMEDY
from hpc_diffuser.system.arrays import Floats, Integers, Mask
from hpc_diffuser.system.errors import InputError

_CONTACTS = 24  # nearest pairs of atoms that tell where a fragment belongs
_STRAY_A = 10.0  # from its place beside its neighbour, and a quarter of their distance
_CERTAIN = 0.35  # of the box: another image is twice as far

_MOVED = "it has left its place: give the reference of this simulation, or fewer frames"


@dataclass(frozen=True)
class Link:
    """A fragment and the one that it belongs beside.

    Attributes
    ----------
    fragment : int
    rows, beside : (K,) int
        Its atoms nearest to the other, and those they are nearest to; of the matched atoms.
    """

    fragment: int
    rows: Integers
    beside: Integers


@dataclass(frozen=True)
class Brought:
    """A fragment that was brought beside another, in how many frames, and which of them is first.

    Attributes
    ----------
    fragment, beside : str
        Their first and last residues.
    frames, first : int
        Frames are counted from 1.
    """

    fragment: str
    beside: str
    frames: int
    first: int


def bring_together(
    frames: Floats,
    boxes: Floats,
    fragments: Integers,
    match: Match,
    structure: Structure,
    reference: Structure,
    source: str,
    numbers: Integers | None = None,
) -> list[Brought]:
    """Bring fragments into the image of the box where the crystal has them.

    Parameters
    ----------
    frames : (F, N, 3) float, Å
        Of whole molecules; changed where one has to be moved.
    boxes : (F, 3, 3) float, Å
    fragments : (N,) int
        Which one every atom belongs to.
    match : Match
        Atoms that the crystal has, of the fragments that matter.
    structure, reference : Structure
    source : str
        The file, for messages.
    numbers : (F,) int or None
        The frames' numbers in it; by default 1, 2, 3 …

    Returns
    -------
    list of Brought
        What was brought where.

    Raises
    ------
    InputError
        Naming frame, fragment and remedy, where no image, or more than one, is beside the other.
    """
    places = reference.positions[match.reference_rows]
    of_atom = fragments[match.mobile_rows]
    links = _links(places, of_atom)
    if not links:
        return []
    counted = np.arange(len(frames)) + 1 if numbers is None else numbers
    turns = _turns(frames[:, match.mobile_rows], places, of_atom)
    told = (_bring(frames, boxes, fragments, x, turns, match, places) for x in links)
    brought, heights = [], box_heights(boxes)
    for link, (moved, before, after) in zip(links, told, strict=True):
        rows = match.mobile_rows[[link.rows[0], link.beside[0]]]
        name, neighbour = (_name(structure, fragments == fragments[row]) for row in rows)
        offset = np.linalg.norm(_offset(places, link.rows, link.beside))
        wrong = after > _STRAY_A + offset / 4
        wrong |= moved & (after > _CERTAIN * heights)
        if wrong.any():
            frame = int(np.argmax(wrong))
            nearest = f"in the nearest image of the periodic box {after[frame]:.1f} Å"
            has_box = usable(boxes[frame : frame + 1])[0]
            torn = moved[frame] or not has_box or after[frame] > _CERTAIN * heights[frame]
            raise InputError(
                f"{source}: frame {counted[frame]}: {name} lies {before[frame]:.1f} Å from its "
                f"place beside {neighbour} in the reference, "
                f"{nearest if has_box else 'and the file tells no box'}: "
                f"{REMEDY if torn else _MOVED}; or leave it out (--select)"
            )
        if moved.any():
            first = int(counted[np.argmax(moved)])
            brought.append(Brought(name, neighbour, int(moved.sum()), first))
    return brought


def _bring(
    frames: Floats,
    boxes: Floats,
    fragments: Integers,
    link: Link,
    turns: Floats,
    match: Match,
    places: Floats,
) -> tuple[Mask, Floats, Floats]:
    """Move a fragment, in place, into the image that is nearest to its place beside the other.

    Returns
    -------
    moved : (F,) bool
    before, after : (F,) float, Å
        How far from that place it was, and is.
    """
    of_atom = fragments[match.mobile_rows]
    whole = np.flatnonzero(of_atom == of_atom[link.beside[0]])
    # Where the nearest atoms are a floppy tail's, the place beside the whole fragment tells more.
    strays, shifts = zip(
        *(
            _stray(frames, boxes, link.rows, beside, turns, match, places)
            for beside in (link.beside, whole)
        ),
        strict=True,
    )
    left = np.linalg.norm(np.subtract(strays, shifts), axis=2)
    best, every = np.argmin(left, axis=0), np.arange(len(frames))
    stray, shift = np.array(strays)[best, every], np.array(shifts)[best, every]
    where = np.flatnonzero(shift.any(axis=1))
    atoms = np.flatnonzero(fragments == link.fragment)
    frames[np.ix_(where, atoms)] -= shift[where, None]
    return shift.any(axis=1), np.linalg.norm(stray, axis=1), left[best, every]


def _stray(
    frames: Floats,
    boxes: Floats,
    rows: Integers,
    beside: Integers,
    turns: Floats,
    match: Match,
    places: Floats,
) -> tuple[Floats, Floats]:
    """From a fragment's place beside others to where it is; the translations in that: (F, 3)."""
    there = frames[:, match.mobile_rows[beside]].mean(axis=1)
    found = frames[:, match.mobile_rows[rows]].mean(axis=1) - there
    stray = found - np.einsum("fab,a->fb", turns, _offset(places, rows, beside))
    return stray, translations(stray[:, None], boxes)[:, 0]


def _offset(places: Floats, rows: Integers, beside: Integers) -> Floats:
    """From other atoms to a fragment's, in the crystal: (3,) Å."""
    offset: Floats = places[rows].mean(axis=0) - places[beside].mean(axis=0)
    return offset


def _turns(frames: Floats, places: Floats, of_atom: Integers) -> Floats:
    """Rotations from frames to the crystal, whichever image fragments are in: (F, 3, 3).

    Each fragment about its own centre; where most are single atoms, all about one.
    """
    _, index, sizes = np.unique(of_atom, return_inverse=True, return_counts=True)
    if 2 * sizes[sizes > 3].sum() < len(of_atom):
        index = np.zeros(len(of_atom), int)
    correlation = np.zeros((len(frames), 3, 3))
    for fragment in range(index.max() + 1):
        rows = np.flatnonzero(index == fragment)
        there = places[rows] - places[rows].mean(axis=0)
        here = frames[:, rows] - frames[:, rows].mean(axis=1, keepdims=True)
        correlation += np.einsum("ka,fkb->fab", there, here)
    return best_rotations(correlation)


def _links(places: Floats, of_atom: Integers) -> list[Link]:
    """A tree over the fragments: from the largest on, always the one nearest to those before."""
    labels, sizes = np.unique(of_atom, return_counts=True)
    added = labels[np.argmax(sizes)]
    distances, partners = np.full(len(places), np.inf), np.zeros(len(places), int)
    open_ = np.ones(len(places), bool)
    links: list[Link] = []
    while True:
        inside = np.flatnonzero(of_atom == added)
        open_[inside] = False
        rest = np.flatnonzero(open_)
        if not len(rest):
            return links
        found, nearest = map(np.asarray, KDTree(places[inside]).query(places[rest]))
        nearer = found < distances[rest]
        distances[rest[nearer]] = found[nearer]
        partners[rest[nearer]] = inside[nearest[nearer]]
        added = of_atom[rest[np.argmin(distances[rest])]]
        rows = np.flatnonzero(of_atom == added)
        rows = rows[np.argsort(distances[rows], kind="stable")[:_CONTACTS]]
        links.append(Link(int(added), rows, partners[rows]))


def _name(structure: Structure, atoms: Mask) -> str:
    """Its first and last residue; an atom of a residue that has others, by its own name."""
    rows = np.flatnonzero(atoms)
    first, last = (residue_label(structure, row) for row in (rows[0], rows[-1]))
    if len(rows) == 1:
        near = range(max(rows[0] - 1, 0), min(rows[0] + 2, len(structure)))
        if sum(residue_label(structure, row) == first for row in near) > 1:
            return atom_label(structure, rows[0])
    return first if first == last else f"{first} to {last}"
