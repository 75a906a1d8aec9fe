"""Helices and strands by their hydrogen bonds: Kabsch & Sander (1983), Biopolymers 22, 2577 (DSSP).

Helices are α, 3₁₀ and π, strands those of two bridges or more, with their bulges, as that paper has
them; turns, bends and bridges by themselves are not told from the rest.
"""

import numpy as np

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.crystal.trace import Trace
from hpc_diffuser.system.arrays import Floats, Integers, Mask, Names

HELIX, STRAND, OTHER, UNKNOWN = "helix", "strand", "", "unknown"
_BACKBONE = ("N", "CA", "C", "O")
_ENERGY = 0.42 * 0.20 * 332  # kcal/mol · Å
_BOND = -0.5  # kcal/mol, and below
_CLOSE_A = 0.5  # nearer atoms than this are an error of the structure, and a bond
_N_H_A = 1.0
_REACH_A = 9.0  # between the Cα of residues that may be bonded
_APART = 3  # residues that a bridge lies between, at least

_BRIDGE = "bridge"  # by itself: no helix but an α helix goes there

_Bridge = tuple[int, int]


def secondary_structure(structure: Structure, trace: Trace) -> Names:
    """Of every residue `HELIX`, `STRAND` or `OTHER`; `UNKNOWN` where it lacks N, Cα, C or O.

    Parameters
    ----------
    structure : Structure
    trace : Trace
        Its residues.

    Returns
    -------
    (n,) str
    """
    found = np.full(len(trace), UNKNOWN, dtype=object)
    rows = [i for i, atoms in enumerate(trace.atoms) if all(name in atoms for name in _BACKBONE)]
    found[rows] = OTHER
    if rows:
        found[rows] = _assigned(structure, trace, np.array(rows))
    return found.astype(str)


def _assigned(structure: Structure, trace: Trace, rows: Integers) -> Names:
    places = {name: structure.positions[[trace.atoms[i][name] for i in rows]] for name in _BACKBONE}
    after = np.zeros(len(rows), bool)  # bonded to the one before it
    after[1:] = (np.diff(rows) == 1) & (np.diff(trace.chain[rows]) == 0)
    segment = np.cumsum(~after)
    proline = structure.residue_names[trace.standing[rows]] == "PRO"
    bonded = _hydrogen_bonds(places, after, after & ~proline)
    found = np.full(len(rows), OTHER, dtype=object)
    for parallel in (True, False):
        bridges = _bridges(bonded, segment, parallel)
        for residue in {i for bridge in bridges for i in bridge} - {*np.flatnonzero(found)}:
            found[residue] = _BRIDGE
        found[_ladders(bridges, segment, 1 if parallel else -1)] = STRAND
    _set_helices(found, bonded, segment)
    found[found == _BRIDGE] = OTHER
    return found


def _hydrogen_bonds(places: dict[str, Floats], after: Mask, donates: Mask) -> Mask:
    """Whether the N-H of one residue (row) is bonded to the C=O of another (column): (n, n) bool.

    The hydrogen lies 1 Å from N, opposite to the O before it.
    """
    n, c, o = places["N"], places["C"], places["O"]
    along = np.zeros_like(n)
    along[1:] = c[:-1] - o[:-1]
    lengths = np.linalg.norm(along, axis=1, keepdims=True)
    h = n + _N_H_A * along / np.where(lengths > 0, lengths, 1)
    with np.errstate(divide="ignore"):
        inverse = [1 / _distances(a, b) for a, b in ((n, o), (h, c), (h, o), (n, c))]
    nearest = 1 / np.max(inverse, axis=0)
    energy = _ENERGY * (inverse[0] + inverse[1] - inverse[2] - inverse[3])
    bonded: Mask = (energy < _BOND) | (nearest < _CLOSE_A)
    bonded &= _distances(places["CA"], places["CA"]) < _REACH_A
    np.fill_diagonal(bonded, False)
    before = np.flatnonzero(after)
    bonded[before, before - 1] = False
    bonded[~donates] = False
    return bonded


def _distances(a: Floats, b: Floats) -> Floats:
    """(n, n) Å, without the (n, n, 3) of all differences; 0 where they vanish."""
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
    found: Floats = np.sqrt(np.maximum(squares, 0.0))
    return found


def _set_helices(found: Names, bonded: Mask, segment: Integers) -> None:
    """Two turns of n residues, one after the other, are a helix: α first, then 3₁₀ and π.

    These are as long as the turn where nothing else is, so that they give way.
    """
    for length in (4, 3, 5):
        turns = np.zeros(len(found), bool)
        n_turns = max(len(found) - length, 0)
        start = np.arange(n_turns)
        turns[:n_turns] = bonded[start + length, start] & (segment[length:] == segment[:n_turns])
        taken = found != OTHER
        for i in np.flatnonzero(turns[1:] & turns[:-1]) + 1:
            span = slice(i, i + length)
            if length == 4 or not taken[span].any():
                found[span] = HELIX


def _ladders(bridges: list[_Bridge], segment: Integers, sign: int) -> list[int]:
    """Residues of bridges that follow each other, and what bulges between them."""
    known = set(bridges)
    return sorted({i for bridge in bridges for i in _rung(bridge, known, segment, sign)})


def _bridges(bonded: Mask, segment: Integers, parallel: bool) -> list[_Bridge]:
    """Pairs i < j of residues, both with neighbours on either side."""
    inner = np.flatnonzero((segment[2:] == segment[1:-1]) & (segment[1:-1] == segment[:-2])) + 1
    donor = bonded.T  # [i, j]: the C=O of i takes the N-H of j
    i, j = inner[:, None], inner[None, :]
    if parallel:
        there = (donor[i - 1, j] & donor[j, i + 1]) | (donor[j - 1, i] & donor[i, j + 1])
    else:
        there = (donor[i, j] & donor[j, i]) | (donor[i - 1, j + 1] & donor[j - 1, i + 1])
    there &= j - i >= _APART
    first, second = np.nonzero(there)
    return list(zip(inner[first].tolist(), inner[second].tolist(), strict=True))


def _rung(bridge: _Bridge, known: set[_Bridge], segment: Integers, sign: int) -> set[int]:
    """From a bridge to the next of its ladder, none if there is none.

    Between them lie one residue at most on one strand, four on the other.
    """
    i, j = bridge
    for a in range(1, 6):
        for b in range(1, 6 if a < 3 else 3):
            other = (i + a, j + sign * b)
            if other in known and segment[i] == segment[i + a] and segment[j] == segment[other[1]]:
                low, high = sorted((j, other[1]))
                return {*range(i, i + a + 1), *range(low, high + 1)}
    return set()
