"""Helices and strands, beside those of mdtraj's DSSP."""

from dataclasses import replace

import mdtraj
import numpy as np
import pytest
from builders import peptide_chain
from molecules import joined, ligand

from hpc_diffuser.crystal.secondary_structure import UNKNOWN, secondary_structure
from hpc_diffuser.crystal.trace import trace
from hpc_diffuser.io.structures.files import read_structure

KINDS = {"H": "helix", "G": "helix", "I": "helix", "E": "strand"}


@pytest.mark.parametrize("name", ["nuclease/1stn.pdb", "lysozyme/193l.pdb", "lysozyme/6o2h.pdb"])
def test_as_mdtraj_has_it(data, name):
    """Letter by letter; α, 3₁₀ and π helices are one, bridges by themselves none of strands."""
    structure, _ = read_structure(data / name)
    found = secondary_structure(structure, trace(structure))
    moving = mdtraj.load_pdb(str(data / name))
    moving = moving.atom_slice(moving.topology.select("protein"))
    letters = mdtraj.compute_dssp(moving, simplified=False)[0]
    assert found.tolist() == [KINDS.get(letter, "") for letter in letters]
    assert {"helix", "strand", ""} == {*found.tolist()}


def test_nothing_reaches_over_a_break(data):
    """With residues cut out, the rest is as of a structure that never had them."""
    structure, _ = read_structure(data / "nuclease/1stn.pdb")
    numbers = structure.residue_numbers
    cut = structure.select((numbers < 60) | (numbers > 64))
    apart = replace(cut, chain_ids=np.where(cut.residue_numbers < 60, "A", "B"))
    one, other = (secondary_structure(s, trace(s)) for s in (cut, apart))
    assert one.tolist() == other.tolist()


def test_without_a_backbone_it_is_not_known():
    """Of Cα alone; the residues' atoms, and which are bonded, are told all the same."""
    structure = joined(peptide_chain("AGP", atoms=("CA",)), ligand("GOL", 9))
    found = trace(structure)
    assert found.labels == ("A/ALA 1", "A/GLY 2", "A/PRO 3")
    assert found.standing.tolist() == [0, 1, 2] and found.chain.tolist() == [0, 0, 0]
    assert found.of_atom(len(structure)).tolist() == [0, 1, 2, -1, -1]
    assert secondary_structure(structure, found).tolist() == [UNKNOWN] * 3
    empty = trace(ligand("GOL", 1))
    assert not len(empty) and not len(secondary_structure(ligand("GOL", 1), empty))
