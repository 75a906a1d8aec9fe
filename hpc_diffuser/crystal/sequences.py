"""Which residues of two chains are the same: by their numbers, or else by their sequence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import gemmi

from hpc_diffuser.crystal.chains import Residue

IDENTITY = 0.9  # of the residues that are paired; below it is another protein
_REMEDY_PLACES = "its sequence fits at more than one place: give both the same residue numbers"
# For other gaps than where the reference's numbers jump: one is worth three residues.
_OPEN, _JUMP = -15, -2


@dataclass(frozen=True)
class Pairing:
    """Residues of one chain and their partners in another.

    Attributes
    ----------
    pairs : tuple of (int, int)
        Indices into both lists of residues, ascending.
    same : int
        Pairs that are the same residue, not a mutated one.
    shift : int or None
        What is added to the numbers of the first; None where it is not one number for all.
    doubt : str
        Why there are none, where something is known about it.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    same: int = 0
    shift: int | None = 0
    doubt: str = ""

    @property
    def identity(self) -> float:
        """The part of the pairs that are the same residue."""
        return self.same / len(self.pairs) if self.pairs else 0.0


def pair_residues(ours: Sequence[Residue], theirs: Sequence[Residue], needed: int) -> Pairing:
    """Pair the residues of two chains.

    Parameters
    ----------
    ours, theirs : sequence of Residue
    needed : int
        Pairs that there must be.

    Returns
    -------
    Pairing
        By numbers where nine of ten residues of one number are the same; else with numbers that
        are shifted by one amount, else by an alignment of the sequences. Without pairs where none
        of these finds so many residues, nine of ten the same, or several places are as good.
    """
    by_number = _shifted(ours, theirs, 0)
    if _fits(by_number, needed) and not _leaves_much(by_number, ours, theirs):
        return by_number
    found = [by_number, _best_shift(ours, theirs), _aligned(ours, theirs)]
    fitting = [pairing for pairing in found if _fits(pairing, needed)]
    if fitting:
        return max(fitting, key=lambda pairing: pairing.same)  # of equal ones the first
    doubts = [pairing.doubt for pairing in found if pairing.doubt]
    return Pairing(doubt=doubts[0] if doubts else _difference(by_number, ours, theirs, needed))


def _fits(pairing: Pairing, needed: int) -> bool:
    return len(pairing.pairs) >= max(needed, 1) and pairing.identity >= IDENTITY


def _leaves_much(pairing: Pairing, ours: Sequence[Residue], theirs: Sequence[Residue]) -> bool:
    """Whether a tenth of both chains has no partner: their numbers may agree in a part only."""
    shorter = min(len(ours), len(theirs))
    return shorter - len(pairing.pairs) > shorter / 10


def _shifted(ours: Sequence[Residue], theirs: Sequence[Residue], shift: int) -> Pairing:
    places = {residue.place: j for j, residue in enumerate(theirs)}
    pairs = []
    for i, residue in enumerate(ours):
        j = places.get((residue.place[0] + shift, residue.place[1]))
        if j is not None:
            pairs.append((i, j))
    return _pairing(ours, theirs, pairs, shift)


def _best_shift(ours: Sequence[Residue], theirs: Sequence[Residue]) -> Pairing:
    """The shift of numbers under which most residues are the same, if there is one such."""
    places: dict[tuple[str, str], list[int]] = {}
    for residue in theirs:
        places.setdefault((residue.name, residue.place[1]), []).append(residue.place[0])
    votes = Counter(
        number - residue.place[0]
        for residue in ours
        for number in places.get((residue.name, residue.place[1]), ())
    )
    best = votes.most_common(2)
    if not best:
        return Pairing()
    if len(best) > 1 and best[0][1] == best[1][1]:
        likely = best[0][1] >= IDENTITY * min(len(ours), len(theirs))
        return Pairing(doubt=_REMEDY_PLACES if likely else "")
    return _shifted(ours, theirs, best[0][0])


def _aligned(ours: Sequence[Residue], theirs: Sequence[Residue]) -> Pairing:
    """Pairs on which alignments from either end agree: elsewhere a gap may lie here or there."""
    names, others = ([r.name for r in chain] for chain in (ours, theirs))
    gaps = _gap_penalties(theirs)
    forward = _alignment(names, others, gaps)
    n, m = len(ours) - 1, len(theirs) - 1
    backward = {(n - i, m - j) for i, j in _alignment(names[::-1], others[::-1], gaps[::-1])}
    return _pairing(ours, theirs, [pair for pair in forward if pair in backward], None)


def _gap_penalties(chain: Sequence[Residue]) -> list[int]:
    """What it costs to begin a gap before each residue, and behind the last."""
    numbers = [residue.place[0] for residue in chain]
    inner = [_OPEN if 0 <= after - before <= 1 else _JUMP for before, after in pairwise(numbers)]
    return [0, *inner, 0]


def _alignment(ours: list[str], theirs: list[str], gaps: list[int]) -> list[tuple[int, int]]:
    scoring = gemmi.AlignmentScoring()
    scoring.match, scoring.mismatch = 5, -4
    scoring.gapo, scoring.gape = _OPEN, -1
    result = gemmi.align_string_sequences(ours, theirs, gaps, scoring)
    pairs, i, j, length = [], 0, 0, ""
    for letter in result.cigar_str():
        if letter.isdigit():
            length += letter
            continue
        count, length = int(length), ""
        if letter == "M":
            pairs += [(i + k, j + k) for k in range(count)]
        i += count if letter in "MI" else 0
        j += count if letter in "MD" else 0
    return pairs


def _pairing(
    ours: Sequence[Residue],
    theirs: Sequence[Residue],
    pairs: list[tuple[int, int]],
    shift: int | None,
) -> Pairing:
    same = sum(ours[i].name == theirs[j].name for i, j in pairs)
    if shift is None and pairs:
        shifts = {theirs[j].place[0] - ours[i].place[0] for i, j in pairs}
        codes = all(theirs[j].place[1] == ours[i].place[1] for i, j in pairs)
        shift = shifts.pop() if len(shifts) == 1 and codes else None
    return Pairing(tuple(pairs), same, shift)


def _difference(
    by_number: Pairing, ours: Sequence[Residue], theirs: Sequence[Residue], needed: int
) -> str:
    """What is wrong with two chains whose numbers agree; nothing where they do not."""
    if len(by_number.pairs) < max(needed, 1):
        return ""
    i, j = next((i, j) for i, j in by_number.pairs if ours[i].name != theirs[j].name)
    return (
        f"{ours[i].label} of the trajectory is {theirs[j].label} in the reference, and of "
        f"{len(by_number.pairs)} residues of the same numbers {by_number.same} are the same"
    )
