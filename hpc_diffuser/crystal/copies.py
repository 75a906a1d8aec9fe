"""Which copy of a chain is which, where its sequence leaves it open: as they fit in space."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from hpc_diffuser.crystal.assignment import Assignment, Link
from hpc_diffuser.crystal.periodic_box import translations
from hpc_diffuser.crystal.sequences import pair_residues
from hpc_diffuser.crystal.structure import Structure, best_rotations, superpose
from hpc_diffuser.system.arrays import Floats

# Another order than the files' is taken where its rmsd is smaller by so much ...
_BETTER = 0.9
# ... and other partners than those of the same letters only where these do not fit at all.
_DOES_NOT_FIT_A, _FAR_BETTER = 4.0, 0.5
_TRACE = ("CA", "C4'", "P")
_NEVER = 1e12  # Å², for chains of other sequences


@dataclass(frozen=True)
class Pose:
    """Where a reference lies in a frame of a simulation.

    Attributes
    ----------
    turn : (3, 3) float
    centre, place : (3,) float, Å
        What of the reference is turned about, and where that comes to lie.
    box : (3, 3) float, Å
        Vectors of the periodic box as rows; 0: none.
    """

    turn: Floats
    centre: Floats
    place: Floats
    box: Floats

    @classmethod
    def of(cls, moving: Floats, fixed: Floats, box: Floats) -> "Pose":
        """The one that brings points (K, 3) of the reference, `fixed`, nearest to the frame's."""
        centre, place = fixed.mean(axis=0), moving.mean(axis=0)
        turn = best_rotations(((moving - place).T @ (fixed - centre))[None])[0]
        return cls(turn, centre, place, box)

    def stray(self, points: Floats, fixed: Floats) -> Floats:
        """From places of the reference to points of the frame: (..., 3) Å."""
        return points - ((fixed - self.centre) @ self.turn.T + self.place)

    def shifts(self, points: Floats, fixed: Floats) -> Floats:
        """The box's translations in that: (..., 3) Å."""
        stray = self.stray(points, fixed)
        return translations(stray.reshape(1, -1, 3), self.box[None]).reshape(stray.shape)

    def away(self, points: Floats, fixed: Floats) -> Floats:
        """How far that is, in the nearest image: (...) Å."""
        strays = self.stray(points, fixed) - self.shifts(points, fixed)
        distances: Floats = np.linalg.norm(strays, axis=-1)
        return distances


def order_by_fit(
    assignment: Assignment, mobile: Structure, reference: Structure, box: Floats | None = None
) -> Pose | None:
    """Exchange the partners of equal chains, in place, where others fit better; say which.

    Of chains that have the letters of their partners only where these do not fit at all.

    Parameters
    ----------
    assignment : Assignment
    mobile, reference : Structure
    box : (3, 3) float, Å, or None
        Vectors of the mobile's periodic box as rows: chains may be in any of its images.

    Returns
    -------
    Pose or None
        Of the reference in the mobile; None where there are too few atoms for one.
    """
    fit = _Fit(assignment, mobile, reference, np.zeros((3, 3)) if box is None else box)
    pose = fit.pose(assignment.links)
    if pose is None:
        return None
    alike = fit.alike()
    lettered = {i for i, group in alike.items() if all(map(assignment.by_letter, group))}
    told = _exchange(fit, alike.keys() - lettered, 0.0, _BETTER)
    told |= _exchange(fit, alike.keys(), _DOES_NOT_FIT_A, _FAR_BETTER)
    for group in dict.fromkeys(alike.values()):
        if len(group) > 1 and not told & set(group) and not lettered & set(group):
            assignment.tell_order(group)
    assignment.tell_other_copies(told)
    return fit.pose(assignment.links)


def _exchange(fit: "_Fit", chains: Collection[int], least_A: float, better: float) -> set[int]:
    """Take the best order, if it is that much better: the chains whose partners are others then."""
    assignment = fit.assignment
    before = fit.rmsd(assignment.links)
    orders = list(fit.orders(chains)) if chains and before > least_A else []
    fits = [fit.rmsd(links) for links in orders]
    if not fits or min(fits) >= better * before:
        return set()
    partners = {(x.ours, x.theirs) for x in assignment.links}
    assignment.links = orders[int(np.argmin(fits))]
    changed = [x for x in assignment.links if (x.ours, x.theirs) not in partners]
    ours, theirs = assignment.ours, assignment.theirs
    named = (f"{ours[x.ours].letter} is {theirs[x.theirs].letter}" for x in changed)
    assignment.notes.append(
        f"equal chains are paired as they lie in the first frame, to {min(fits):.1f} Å (by letters "
        f"and order {before:.1f} Å): {', '.join(named)}"
    )
    return {x.ours for x in changed}


class _Fit:
    """How well the chains of an assignment superpose, by one atom of each residue."""

    def __init__(
        self, assignment: Assignment, mobile: Structure, reference: Structure, box: Floats
    ):
        self.assignment = assignment
        self.mobile, self.reference, self.box = mobile, reference, box
        self._found: dict[tuple[int, int], Link | None] = {
            (x.ours, x.theirs): x for x in assignment.links
        }

    def alike(self) -> dict[int, tuple[int, ...]]:
        """Of every chain that could have another partner: which chains could have the same."""
        links = self.assignment.links
        ours, theirs = ([getattr(x, name) for x in links] for name in ("ours", "theirs"))
        parts = {x.theirs for x in links if ours.count(x.ours) > 1 or theirs.count(x.theirs) > 1}
        single = [x.ours for x in links if x.theirs not in parts]
        places = [j for j in range(len(self.assignment.theirs)) if j not in parts]
        fitting = {i: {j for j in places if self._link(i, j)} for i in single}
        return {
            i: tuple(k for k in single if fitting[k] & fitting[i])
            for i in single
            if len(fitting[i]) > 1
        }

    def orders(self, chains: Collection[int]) -> Iterator[list[Link]]:
        """Partners for these chains: those they lie at, if the largest chain is put on any."""
        links = self.assignment.links
        fixed = [x for x in links if x.ours not in chains]
        taken = {x.theirs for x in fixed}
        places = [j for j in range(len(self.assignment.theirs)) if j not in taken]
        largest = max(links, key=lambda x: len(x.pairing.pairs))
        for first in places if largest.ours in chains else [largest.theirs]:
            anchor = self._link(largest.ours, first)
            pose = self.pose([anchor]) if anchor else None
            if pose is None:
                continue
            costs = [[self._cost(pose, self._link(i, j)) for j in places] for i in sorted(chains)]
            found = linear_sum_assignment(costs)[1]
            pairs = zip(sorted(chains), (places[k] for k in found), strict=True)
            moved = [link for i, j in pairs if (link := self._link(i, j)) is not None]
            if len(moved) == len(chains):
                yield [*fixed, *moved]

    def rmsd(self, links: Sequence[Link]) -> float:
        """Of all chains, superposed as one, each in the image that fits best: Å."""
        moving, fixed = self._together(links)
        found = superpose(moving[None], fixed, np.arange(len(fixed)))[0]
        return float(np.sqrt(np.mean(np.sum((found - fixed) ** 2, axis=1))))

    def pose(self, links: Sequence[Link]) -> Pose | None:
        """Of the reference in the frame, by these chains."""
        if not links:
            return None
        moving, fixed = self._together(links)
        return Pose.of(moving, fixed, self.box) if len(fixed) >= 3 else None

    def _together(self, links: Sequence[Link]) -> tuple[Floats, Floats]:
        """Atoms of the frame, all chains in the images that are nearest; and the reference's."""
        traces = sorted(map(self._trace, links), key=lambda trace: -len(trace[0]))
        pose = Pose.of(*traces[0], self.box) if len(traces[0][0]) >= 3 else None
        if pose is not None:
            traces = [
                (x - pose.shifts(x.mean(axis=0), y.mean(axis=0)), y) for x, y in traces if len(x)
            ]
        moving, fixed = (np.concatenate(part) for part in zip(*traces, strict=True))
        return moving, fixed

    def _cost(self, pose: Pose, link: Link | None) -> float:
        """The square of how far a chain is from its place: Å²."""
        if link is None:
            return _NEVER
        moving, fixed = self._trace(link)
        return float(pose.away(moving.mean(axis=0), fixed.mean(axis=0))) ** 2

    def _trace(self, link: Link) -> tuple[Floats, Floats]:
        """The same atoms of the frame and of the reference, (K, 3) Å each."""
        rows = [
            (residue.atoms[name], partner.atoms[name])
            for residue, partner in self.assignment.partners(link)
            for name in _TRACE
            if name in residue.atoms and name in partner.atoms
        ]
        moving, fixed = np.array(rows, int).reshape(-1, 2).T
        return self.mobile.positions[moving], self.reference.positions[fixed]

    def _link(self, i: int, j: int) -> Link | None:
        """Two chains as partners; None where they are none."""
        if (i, j) not in self._found:
            a = self.assignment
            needed = a.needed(i, j)
            pairing = pair_residues(a.ours[i].residues, a.theirs[j].residues, needed)
            self._found[i, j] = Link(i, j, pairing) if pairing.pairs else None
        return self._found[i, j]
