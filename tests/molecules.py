"""Structures of made-up proteins, pieces of them beside each other, and how they match."""

from dataclasses import fields, replace

import numpy as np
import pytest
from builders import peptide_chain

from hpc_diffuser.crystal.matching import match_atoms
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.system.errors import InputError

SEQUENCE = "MKVDEFGHIRLPNSTWYQACKEDLVGSRTFNIHWQPYMAK"
OTHER = "GSHTEYKLPVWNAQRDFMICEGKLTSVYADHRPNQEWFIK"


def joined(*structures: Structure) -> Structure:
    """The atoms of all, one structure after the other."""
    names = [f.name for f in fields(Structure)]
    return Structure(*(np.concatenate([getattr(s, name) for s in structures]) for name in names))


def renamed(structure: Structure, names: dict[str, str], field: str = "residue_names") -> Structure:
    """Other names for residues, atoms or chains."""
    found = [names.get(name, name) for name in getattr(structure, field).tolist()]
    return replace(structure, **{field: np.array(found)})


def copies(*letters: str, sequence: str = SEQUENCE) -> list[Structure]:
    """The chain under each of these letters, at a place of its own."""
    return [
        replace(chain, positions=chain.positions + 50.0 * i)
        for i, chain in enumerate(peptide_chain(sequence, letter=letter) for letter in letters)
    ]


def ligand(name: str, number: int, letter: str = "A", atoms=("C1", "O1"), at=80.0) -> Structure:
    """A residue of its own."""
    one = peptide_chain("", names=[name], atoms=atoms, letter=letter, first=number)
    return replace(one, positions=one.positions + at)


def origin(match, mobile: Structure, reference: Structure) -> None:
    """Check by position, which `peptide_chain` makes unique, that partners are the same atom."""
    np.testing.assert_array_equal(
        mobile.positions[match.mobile_rows], reference.positions[match.reference_rows]
    )


def refusal(mobile: Structure, reference: Structure) -> str:
    """The one line of a refusal."""
    with pytest.raises(InputError) as caught:
        match_atoms(mobile, reference)
    assert "\n" not in str(caught.value)
    return str(caught.value)
