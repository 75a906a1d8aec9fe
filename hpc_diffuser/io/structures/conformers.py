"""One conformation of a model: alternates chosen residue by residue, with gemmi's atoms."""

from collections import defaultdict
from itertools import groupby
from string import ascii_lowercase, ascii_uppercase

import gemmi

from hpc_diffuser.system.errors import InputError

BY_OCCUPANCY = "occupancy"
_NO_LETTER = "\0"

# Atoms of one position of a chain, of two residues where those alternate (microheterogeneity).
Position = list[gemmi.CRA]


def one_conformation(model: gemmi.Model, conformer: str) -> tuple[list[gemmi.CRA], list[str]]:
    """Atoms of one conformation, every residue of the polymer in one of its conformers.

    Parameters
    ----------
    model : gemmi.Model
        Its entities set up: polymers are told from ligands.
    conformer : str
        A letter, or "occupancy": that of the largest occupancy, summed over the residue's atoms.
        Polymer residues without the letter take their most occupied conformer, since a chain has
        no gaps. Atoms without a letter beside others of their name that have one are conformer A,
        or, where there is an A, one more. A ligand or ion all of whose atoms are alternates may
        be absent: from conformers that it has not, and by occupancy where most molecules lack it.

    Returns
    -------
    atoms : list of gemmi.CRA
        In the file's order.
    absent : list of str
        Ligands that this conformation lacks.

    Raises
    ------
    InputError
        For an atom that is there twice.
    """
    atoms, absent = [], []
    for _, found in groupby(model.all(), _position):
        position = list(found)
        _refuse_duplicates(position)
        _give_blanks_a_letter(position)
        letter = _letter(position, conformer)
        taken = [cra for cra in position if cra.atom.altloc in (_NO_LETTER, letter)]
        atoms += taken
        absent += [] if taken else [_residue_label(position[0])]
    return atoms, absent


def _position(cra: gemmi.CRA) -> tuple[str, str, str]:
    return cra.chain.name, str(cra.residue.seqid), cra.residue.segment


def _give_blanks_a_letter(position: Position) -> None:
    """An atom without a letter beside one that has one is a conformer: A, where there is no A."""
    letters = {cra.atom.altloc for cra in position} - {_NO_LETTER}
    alternating = {cra.atom.name for cra in position if cra.atom.altloc != _NO_LETTER}
    blank = [cra for cra in position if cra.atom.altloc == _NO_LETTER]
    twins = [cra for cra in blank if cra.atom.name in alternating]
    # Of two kinds of residue at one position, all atoms of one are one conformer's.
    kinds = {cra.residue.name for cra in twins}
    if len({cra.residue.name for cra in position}) > 1:
        twins = [cra for cra in blank if cra.residue.name in kinds]
    unused = next(letter for letter in ascii_uppercase + ascii_lowercase if letter not in letters)
    for cra in twins:
        cra.atom.altloc = unused


def _letter(position: Position, conformer: str) -> str:
    """The conformer of one position; of a letter that no atom has, for a ligand's absence."""
    occupancies = _summed_occupancies(position)
    if not occupancies or conformer in occupancies:
        return conformer
    if _may_be_absent(position):
        if conformer != BY_OCCUPANCY:
            return conformer
        left = len({cra.atom.name for cra in position}) - sum(occupancies.values())
        occupancies[next(c for c in ascii_uppercase if c not in occupancies)] = left
    return max(sorted(occupancies), key=occupancies.__getitem__)  # of equal ones the first letter


def _summed_occupancies(position: Position) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for cra in position:
        if cra.atom.altloc != _NO_LETTER:
            sums[cra.atom.altloc] += cra.atom.occ
    return dict(sums)


def _may_be_absent(position: Position) -> bool:
    return all(
        cra.atom.altloc != _NO_LETTER and cra.residue.entity_type != gemmi.EntityType.Polymer
        for cra in position
    )


def _refuse_duplicates(position: Position) -> None:
    seen = set()
    for cra in position:
        key = cra.atom.name, cra.atom.altloc
        if key in seen:
            raise InputError(
                f"atom {_residue_label(cra)}/{cra.atom.name} is there twice: expected it once, "
                "or alternates with a letter each; give copies of a molecule other chain names"
            )
        seen.add(key)


def _residue_label(cra: gemmi.CRA) -> str:
    return f"{cra.chain.name}/{cra.residue.name} {cra.residue.seqid}"
