"""Which copy of a chain is which, where its sequence leaves it open: as they fit in space."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from hpc_diffuser.assignment import Assignment, Link
from hpc_diffuser.sequences import pair_residues
from hpc_diffuser.structure import Structure, superpose

_MOST_COPIES = 5  # 120 orders
# Another order is taken where it fits as one molecule and the first one does not. Copies in other
# images of a periodic box fit in no order so well.
_FITS_A, _DOES_NOT_A = 2.0, 4.0
_TRACE = ("CA", "C4'", "P")


def order_by_fit(assignment: Assignment, mobile: Structure, reference: Structure) -> None:
    """Exchange the partners of equal chains, in place, where the first order is clearly wrong."""
    for group in _groups(assignment):
        others = [link for link in assignment.links if link not in group]
        if _rmsd(assignment, [*others, *group], mobile, reference) < _DOES_NOT_A:
            continue
        orders = (_relinked(assignment, group, order) for order in permutations(group))
        fits = [(_rmsd(assignment, [*others, *o], mobile, reference), o) for o in orders if o]
        rmsd, best = min(fits, key=lambda fit: fit[0])
        if rmsd < _FITS_A:
            assignment.links = [*others, *best]
            assignment.notes.append(
                "equal chains are paired as they lie in the first frame, to "
                f"{rmsd:.1f} Å: {', '.join(_named(assignment, link) for link in best)}"
            )


def _groups(assignment: Assignment) -> list[list[Link]]:
    """Links of whole chains of one sequence, whose partners may be exchanged."""
    ours, theirs = ([getattr(x, name) for x in assignment.links] for name in ("ours", "theirs"))
    single = [x for x in assignment.links if ours.count(x.ours) == theirs.count(x.theirs) == 1]
    groups: list[list[Link]] = []
    for link in single:
        for group in groups:
            if _relink(assignment, group[0].ours, link.theirs) is not None:
                group.append(link)
                break
        else:
            groups.append([link])
    return [group for group in groups if 2 <= len(group) <= _MOST_COPIES]


def _relinked(
    assignment: Assignment, group: Sequence[Link], order: Sequence[Link]
) -> list[Link] | None:
    """The group's chains with the partners of another order; None where one does not fit."""
    links = [_relink(assignment, a.ours, b.theirs) for a, b in zip(group, order, strict=True)]
    return None if None in links else links


def _relink(assignment: Assignment, i: int, j: int) -> Link | None:
    chain, other = assignment.ours[i].residues, assignment.theirs[j].residues
    pairing = pair_residues(chain, other, assignment.needed(i, j))
    return Link(i, j, pairing) if pairing.pairs else None


def _rmsd(
    assignment: Assignment, links: Sequence[Link], mobile: Structure, reference: Structure
) -> float:
    """Of one atom of each residue, superposed."""
    rows = [
        (residue.atoms[name], partner.atoms[name])
        for link in links
        for residue, partner in assignment.partners(link)
        for name in _TRACE
        if name in residue.atoms and name in partner.atoms
    ]
    if len(rows) < 3:
        return 0.0
    moving, fixed = np.array(rows).T
    target = reference.positions[fixed]
    found = superpose(mobile.positions[moving][None], target, np.arange(len(target)))[0]
    return float(np.sqrt(np.mean(np.sum((found - target) ** 2, axis=1))))


def _named(assignment: Assignment, link: Link) -> str:
    ours, theirs = assignment.ours[link.ours], assignment.theirs[link.theirs]
    return f"{ours.letter} is {theirs.letter}"
