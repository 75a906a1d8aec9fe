"""Copies of a chain under one letter in a PDB file, told apart before gemmi merges them.

gemmi takes residues of one letter, number and name for one residue, wherever they stand.
"""

import numpy as np

from hpc_diffuser.crystal.chains import tell_chains_apart
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.structures.pdb_records import is_atom
from hpc_diffuser.system.errors import InputError


def letters_of_copies(model: list[str]) -> tuple[list[str], list[str]]:
    """A model's lines with a chain letter for each copy, and notes that say so.

    Lines whose atoms no restart of residue numbers tells apart are left as they are.
    """
    atoms = [line for line in model if is_atom(line)]
    keys = {(line[12:17], line[20:27], line[72:76]) for line in atoms}
    if len(keys) == len(atoms) or not all(_is_integer(line[22:26]) for line in atoms):
        return model, []
    before = _structure(atoms)
    try:
        after, notes = tell_chains_apart(before)
    except InputError:
        return model, []
    if not notes:
        return model, []
    letters = iter(after.chain_ids.tolist())
    lines, letter = [], ""
    for line in model:
        letter = next(letters) if is_atom(line) else letter
        lines.append(f"{line[:20]}{letter:>2s}{line[22:]}")
    return lines, notes


def _is_integer(text: str) -> bool:
    return text.strip().lstrip("-").isdigit()


def _structure(lines: list[str]) -> Structure:
    """Names and numbers alone; alternates are atoms of other names here."""
    n = len(lines)
    return Structure(
        positions=np.zeros((n, 3)),
        elements=np.full(n, "X"),
        atom_names=np.array([line[12:16].strip() + line[16].strip() for line in lines]),
        residue_names=np.array([line[17:20].strip() for line in lines]),
        residue_numbers=np.array([int(line[22:26]) for line in lines]),
        chain_ids=np.array([line[20:22].strip() for line in lines]),
        occupancies=np.ones(n),
        b_factors_A2=np.zeros(n),
        insertion_codes=np.array([line[26:27].strip() for line in lines]),
    )
