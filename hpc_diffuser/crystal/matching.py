"""Which atoms of two structures are the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from hpc_diffuser.crystal.assignment import Assignment, Link
from hpc_diffuser.crystal.chains import (
    Chain,
    Residue,
    polymer_chains,
    tell_chains_apart,
    unbonded_parts,
)
from hpc_diffuser.crystal.copies import order_by_fit
from hpc_diffuser.crystal.ligands import ligand_pairs
from hpc_diffuser.crystal.residues import is_cap, is_nucleotide
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.system.arrays import Floats, Integers, Mask
from hpc_diffuser.system.errors import InputError

BACKBONE = ("N", "CA", "C", "O")
_NUCLEIC_BACKBONE = ("P", "O5'", "C5'", "C4'", "C3'", "O3'")
_LEAST_CHAIN = 3  # residues: fewer are amino acids of the solution
_LEAST_PART = 10  # of a chain that is cut: shorter ones fit by chance
_NAMED = 6  # residues or ranges, before the rest is counted


@dataclass(frozen=True)
class Match:
    """Atoms that are the same in a trajectory and in its reference.

    Attributes
    ----------
    mobile_rows, reference_rows : (K,) int
        Rows of either structure, in the mobile's order.
    backbone : (K,) bool
        Those to superpose on.
    notes : tuple of str
        What was assumed, and what either lacks: lines to be said.
    """

    mobile_rows: Integers
    reference_rows: Integers
    backbone: Mask
    notes: tuple[str, ...] = ()


def match_atoms(
    mobile: Structure,
    reference: Structure,
    box: Floats | None = None,
    lettered: bool = True,
) -> Match:
    """The atoms that a trajectory and its reference have in common.

    Residues of a chain are the same by number and insertion code, whatever their protonation or
    force field calls them; where the numbers do not agree, by the alignment of the sequences. Of
    one chain on both sides the letter does not matter; of several it tells equal chains apart, and
    where letters do not, how they lie. Either may lack residues, and a tenth may be mutated.
    Ligands are the same by name and number, or where both have as many of one name; copies that
    lie elsewhere by these are paired as they lie. Waters have no partner.

    Parameters
    ----------
    mobile, reference : Structure
    box : (3, 3) float, Å, or None
        Vectors of the mobile's periodic box as rows: its molecules may be in any image.
    lettered : bool
        Whether its chains' letters are those of its file.

    Raises
    ------
    InputError
        Where the reference lacks a chain, or half of the residues; where it is another protein;
        where several placements are as good; for an atom that is there twice.
    """
    mobile, told = tell_chains_apart(mobile)
    reference, told_reference = tell_chains_apart(reference)
    ours, theirs = polymer_chains(mobile), polymer_chains(reference)
    assignment = _assigned(mobile, ours, theirs, lettered)
    _require_partners(assignment)
    pose = order_by_fit(assignment, mobile, reference, box)
    pairs, backbone = _polymer_pairs(assignment)
    if len(backbone) < 3:
        raise InputError("fewer than three backbone atoms (N, CA, C, O): nothing to superpose on")
    ligands, told_ligands = ligand_pairs(mobile, reference, assignment, pose)
    pairs |= ligands
    rows = np.array(sorted(pairs))
    notes = [
        *(f"trajectory: {note}" for note in told),
        *(f"reference: {note}" for note in told_reference),
        *assignment.notes,
        *_numbering_notes(assignment),
        *told_ligands,
        _mutation_note(assignment),
        _superposed_note(assignment, len(backbone)),
    ]
    partners = np.array([pairs[row] for row in rows.tolist()])
    kept = np.isin(rows, list(backbone))
    return Match(rows, partners, kept, tuple(note for note in notes if note))


def _assigned(
    mobile: Structure, ours: list[Chain], theirs: list[Chain], lettered: bool
) -> Assignment:
    """Chains and their partners; of a chain without one, the parts that no bond joins."""
    assignment = Assignment(ours, theirs, lettered)
    if not _without_partner(assignment):
        return assignment
    parts = [part for chain in ours for part in unbonded_parts(chain, mobile.positions)]
    if len(parts) == len(ours) or min(map(len, parts)) < _LEAST_PART:
        return assignment
    again = Assignment(parts, theirs, lettered)
    return assignment if _without_partner(again) else again


def match_backbone(mobile: Structure, reference: Structure) -> tuple[Integers, Integers]:
    """Backbone atoms that both have, as of `match_atoms`: rows of either, (K,) int."""
    match = match_atoms(mobile, reference)
    return match.mobile_rows[match.backbone], match.reference_rows[match.backbone]


def same_atoms(structure: Structure, reference: Structure) -> Integers:
    """The row of every atom in a reference, matched as in `match_atoms`: (N,) int.

    −1 for atoms that it lacks, chains without a certain partner among them.
    """
    structure, reference = (tell_chains_apart(s)[0] for s in (structure, reference))
    assignment = Assignment(polymer_chains(structure), polymer_chains(reference))
    pairs, _ = _polymer_pairs(assignment)
    pairs |= ligand_pairs(structure, reference, assignment)[0]
    return np.array([pairs.get(row, -1) for row in range(len(structure))], int)


def _without_partner(assignment: Assignment) -> list[int]:
    """Chains of the trajectory that the reference has not."""
    linked = assignment.linked()
    return [
        i
        for i, chain in enumerate(assignment.ours)
        if i not in linked and not (linked and len(chain) < _LEAST_CHAIN)
    ]


def _require_partners(assignment: Assignment) -> None:
    """Raise InputError for a chain without a partner, or where too little has one."""
    for i in _without_partner(assignment):
        chain, doubt = assignment.ours[i], assignment.doubts.get(i)
        why = f": {doubt}" if doubt else ""
        raise InputError(
            f"chain {chain.letter} of the trajectory ({len(chain)} residues from "
            f"{chain.residues[0].label} on) is not in the reference structure{why}: give the "
            "structure of the same molecule, or leave the chain out (modes --select)"
        )
    paired = sum(len(link.pairing.pairs) for link in assignment.links)
    total = sum(map(len, assignment.ours))
    if 2 * paired < total:
        raise InputError(
            f"the reference structure has {paired} of the trajectory's {total} residues: expected "
            "half of them at least: give a more complete structure, or leave out what it lacks "
            "(modes --select)"
        )


def _polymer_pairs(assignment: Assignment) -> tuple[dict[int, int], set[int]]:
    """Partners of the polymers' atoms; and which of these are backbone."""
    pairs: dict[int, int] = {}
    backbone: set[int] = set()
    for residue, other in _residue_pairs(assignment):
        trace = _NUCLEIC_BACKBONE if is_nucleotide(residue.name) else BACKBONE
        mutated = residue.name != other.name
        for atom, row in residue.atoms.items():
            if atom not in other.atoms or (mutated and atom not in trace):
                continue
            pairs[row] = other.atoms[atom]
            if atom in trace and _has_trace(residue):
                backbone.add(row)
    return pairs, backbone


def _has_trace(residue: Residue) -> bool:
    """Whether its N, CA ... are a backbone's, which those of caps are not; CA alone may be."""
    return is_nucleotide(residue.name) or ("CA" in residue.atoms and not is_cap(residue.name))


def _residue_pairs(assignment: Assignment) -> Iterable[tuple[Residue, Residue]]:
    for link in assignment.links:
        yield from assignment.partners(link)


def _chains(assignment: Assignment, link: Link) -> tuple[Chain, Chain]:
    return assignment.ours[link.ours], assignment.theirs[link.theirs]


def _numbering_notes(assignment: Assignment) -> Iterable[str]:
    several = len(assignment.ours) > 1 or len(assignment.theirs) > 1
    for link in assignment.links:
        ours, theirs = _chains(assignment, link)
        if several and ours.letter != theirs.letter:
            yield f"chain {ours.letter} of the trajectory is chain {theirs.letter} of the reference"
        if link.pairing.shift is None:
            yield f"chain {ours.letter}: other residue numbers: matched by sequence"
        elif link.pairing.shift:
            yield (
                f"chain {ours.letter}: numbers shifted by {link.pairing.shift:+d}: "
                "matched by sequence"
            )


def _mutation_note(assignment: Assignment) -> str:
    other = [
        f"{residue.label} is {partner.label.partition('/')[2]}"
        for residue, partner in _residue_pairs(assignment)
        if residue.name != partner.name
    ]
    return f"other residues in the reference: {_some(other)}" if other else ""


def _superposed_note(assignment: Assignment, atoms: int) -> str:
    residues = sum(len(link.pairing.pairs) for link in assignment.links)
    text = f"superposed on {atoms} backbone atoms of {residues} residues"
    pairs = [(x.ours, x.theirs, *pair) for x in assignment.links for pair in x.pairing.pairs]
    lacking = _lacking(assignment.ours, {(chain, i) for chain, _, i, _ in pairs})
    extra = _lacking(assignment.theirs, {(chain, j) for _, chain, _, j in pairs})
    if lacking:
        text += f"; the reference lacks residues {_some(lacking)}"
    if extra:
        text += f"; the trajectory lacks residues {_some(extra)}"
    return text


def _lacking(chains: Sequence[Chain], paired: set[tuple[int, int]]) -> list[str]:
    """Ranges of residues without a partner: `A 1-3`; `paired` by chain and residue."""
    ranges = []
    for index, chain in enumerate(chains):
        has_partner = [(index, i) in paired for i in range(len(chain))]
        for has, run in groupby(range(len(chain)), has_partner.__getitem__):
            if not has:
                ranges.append(f"{chain.letter} {_range([chain.residues[i] for i in run])}".strip())
    return ranges


def _range(run: list[Residue]) -> str:
    first, last = (f"{r.place[0]}{r.place[1]}" for r in (run[0], run[-1]))
    between = " to " if last.startswith("-") else "-"
    return first if len(run) == 1 else f"{first}{between}{last}"


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
