"""Which chain of a trajectory is which of the reference."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

from hpc_diffuser.crystal.chains import Chain, Residue
from hpc_diffuser.crystal.sequences import Pairing, pair_residues

# Chains whose part of equal residues differs by less are as good as each other.
_AS_GOOD = 0.03
# Copies in the reference that hold so many more residues than the trajectory's: it lacks one.
_TOO_MANY = 1.25


@dataclass(frozen=True)
class Link:
    """A chain of the trajectory, its partner, and their residues' pairing; by index."""

    ours: int
    theirs: int
    pairing: Pairing


class Assignment:
    """Chains and residues that have a partner, found one chain after the other.

    Chains of one letter first, where they are the same sequence; then, in the files' order,
    whichever fits. A chain may be the partner of several parts of one, and the other way round.

    Parameters
    ----------
    ours, theirs : sequence of Chain
        Of the trajectory, and of the reference.
    lettered : bool
        Whether the letters of the trajectory's chains are those of its file.

    Attributes
    ----------
    links : list of Link
    doubts : dict of int → str
        Why a chain of the trajectory has no partner, where more is known than that none fits.
    notes : list of str
    """

    def __init__(self, ours: Sequence[Chain], theirs: Sequence[Chain], lettered: bool = True):
        self.ours, self.theirs, self._lettered = ours, theirs, lettered
        self.links: list[Link] = []
        self.doubts: dict[int, str] = {}
        self.notes: list[str] = []
        self._free = [list(range(len(chain))) for chain in ours]
        self._free_theirs = [list(range(len(chain))) for chain in theirs]
        self._by_letter()
        for first in (True, False):  # whole chains, then what is left of chains that have partners
            self._by_sequence(first)

    def linked(self) -> set[int]:
        """Chains of the trajectory that have a partner."""
        return {link.ours for link in self.links}

    def partners(self, link: Link) -> Iterator[tuple[Residue, Residue]]:
        """Residues of two chains that are paired."""
        ours, theirs = self.ours[link.ours].residues, self.theirs[link.theirs].residues
        return ((ours[i], theirs[j]) for i, j in link.pairing.pairs)

    def _by_letter(self) -> None:
        only = len(self.ours) == len(self.theirs) == 1
        for i, chain in enumerate(self.ours):
            for j, other in enumerate(self.theirs):
                if only or chain.letter == other.letter:
                    self._take(i, j, self._pairing(i, j))

    def by_letter(self, i: int) -> bool:
        """Whether a chain of the trajectory is the reference's of the same letter, by its file."""
        letters = {self.theirs[link.theirs].letter for link in self.links if link.ours == i}
        return self._lettered and letters == {self.ours[i].letter}

    def tell_order(self, chains: Sequence[int]) -> None:
        """Say that nothing but their order tells which of several equal chains is which."""
        theirs = {link.ours: self.theirs[link.theirs].letter for link in self.links}
        self.notes.append(
            f"chains {', '.join(self.ours[i].letter for i in chains)} of the trajectory have one "
            f"sequence: taken for chains {', '.join(theirs[i] for i in chains)} of the reference, "
            "in this order"
        )

    def tell_other_copies(self, told: Collection[int]) -> None:
        """Say where a chain could be another one of the reference; of `told` it was said why."""
        for link in self.links:
            ours, theirs = self.ours[link.ours], self.theirs[link.theirs]
            copies = ", ".join(self.theirs[j].letter for j in self._free_copies(link.ours))
            if not copies:
                continue
            why = " by its letter" if self.by_letter(link.ours) else ", the first that fits"
            self.notes.append(
                f"chain {ours.letter} is taken for the reference's chain {theirs.letter}"
                f"{'' if link.ours in told else why}; chain {copies} of it has the same sequence"
                f"{'' if self._lettered else ', and the topology names no chains'}"
            )

    def _free_copies(self, i: int) -> list[int]:
        """Chains of the reference without a partner that would be one of this chain, too."""
        taken = {link.theirs for link in self.links}
        residues = self.ours[i].residues
        return [
            j
            for j, chain in enumerate(self.theirs)
            if j not in taken and pair_residues(residues, chain.residues, self.needed(i, j)).pairs
        ]

    def _by_sequence(self, whole: bool) -> None:
        linked = self.linked()
        waiting = [i for i in range(len(self.ours)) if (i not in linked) == whole]
        fitting = {i: self._as_good(i) for i in waiting}
        for i in waiting:
            alike = [k for k in waiting if fitting[k] == fitting[i]]
            if self._one_too_many(alike, fitting[i]):
                letters = " and ".join(self.theirs[j].letter for j in fitting[i])
                self.doubts[i] = (
                    f"it may be any of the chains {letters} of the reference, which have the "
                    "same sequence: give it the letter of one of them, or a reference without "
                    "the others"
                )
                continue
            for j in fitting[i]:
                if self._take(i, j, self._pairing(i, j)) and whole:
                    break

    def _one_too_many(self, alike: list[int], fitting: list[int]) -> bool:
        if len(fitting) < 2 or not self._lettered:
            return False
        residues = sum(len(self._free[k]) for k in alike)
        return sum(len(self._free_theirs[j]) for j in fitting) > _TOO_MANY * residues

    def _as_good(self, i: int) -> list[int]:
        """Partners that fit a chain, but for those that fit worse than others."""
        found = {j: self._pairing(i, j) for j in range(len(self.theirs))}
        best = max((pairing.identity for pairing in found.values()), default=0.0)
        doubts = [pairing.doubt for pairing in found.values() if pairing.doubt]
        if not best and doubts:
            self.doubts[i] = doubts[0]
        return [j for j, p in found.items() if p.pairs and p.identity > best - _AS_GOOD]

    def needed(self, i: int, j: int) -> int:
        """Pairs that there must be of two chains' residues: half of the shorter one."""
        return ceil(min(len(self.ours[i]), len(self.theirs[j])) / 2)

    def _pairing(self, i: int, j: int) -> Pairing:
        """Of residues without a partner, by their index in the whole chain."""
        free, theirs, needed = self._free[i], self._free_theirs[j], self.needed(i, j)
        if min(len(free), len(theirs)) < needed:
            return Pairing()
        found = pair_residues(
            [self.ours[i].residues[k] for k in free],
            [self.theirs[j].residues[k] for k in theirs],
            needed,
        )
        pairs = tuple((free[a], theirs[b]) for a, b in found.pairs)
        return replace(found, pairs=pairs)

    def _take(self, i: int, j: int, pairing: Pairing) -> bool:
        if not pairing.pairs:
            return False
        self.links.append(Link(i, j, pairing))
        gone, gone_theirs = (set(column) for column in zip(*pairing.pairs, strict=True))
        self._free[i] = [k for k in self._free[i] if k not in gone]
        self._free_theirs[j] = [k for k in self._free_theirs[j] if k not in gone_theirs]
        return True
