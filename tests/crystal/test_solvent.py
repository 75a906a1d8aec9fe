"""The volume that atoms displace: with the hydrogens that a residue has under any of its names."""

import gemmi
import numpy as np
import pytest
from builders import peptide_chain
from molecules import SEQUENCE, ligand, renamed

from hpc_diffuser.crystal.solvent import VOLUMES_A3, bare_residues, displaced_volumes
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.fit.config import Config, CrystalConfig, ParametersConfig, StructureConfig
from hpc_diffuser.fit.inputs import load_modes
from hpc_diffuser.io.structures.files import write_pdb

HYDROGEN = VOLUMES_A3["H"]


def hydrogens(structure: Structure) -> np.ndarray:
    """How many are counted on each atom."""
    bare = np.array([VOLUMES_A3[e] for e in structure.elements])
    return np.round((displaced_volumes(structure) - bare) / HYDROGEN).astype(int)


# Heavy atoms of the whole residue, without OXT.
HEAVY = {
    "ALA": "CB", "ARG": "CB CG CD NE CZ NH1 NH2", "ASN": "CB CG OD1 ND2", "ASP": "CB CG OD1 OD2",
    "CYS": "CB SG", "GLN": "CB CG CD OE1 NE2", "GLU": "CB CG CD OE1 OE2", "GLY": "",
    "HIS": "CB CG ND1 CD2 CE1 NE2", "ILE": "CB CG1 CG2 CD1", "LEU": "CB CG CD1 CD2",
    "LYS": "CB CG CD CE NZ", "MET": "CB CG SD CE", "PHE": "CB CG CD1 CD2 CE1 CE2 CZ",
    "PRO": "CB CG CD", "SER": "CB OG", "THR": "CB OG1 CG2",
    "TRP": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2", "TYR": "CB CG CD1 CD2 CE1 CE2 CZ OH",
    "VAL": "CB CG1 CG2",
}  # fmt: skip
# Of the free acid at neutral pH, in gemmi's table, less those of the amino and acid groups' ends.
CHARGE = {"ARG": 0, "LYS": 0, "ASP": -1, "GLU": -1, "CYS": -1, "HIS": -1}


@pytest.mark.parametrize("name", HEAVY)
def test_hydrogens_of_residues(name):
    """As many as gemmi's table has for the free acid, H2O less; side chains of neutral pH.

    A free acid has NH2 and COOH, or one less on proline, where a residue in the chain has NH and
    CO: two fewer. Acids lose one, histidine and cysteine are counted without theirs.
    """
    atoms = ("N", "CA", "C", "O", *HEAVY[name].split())
    count = hydrogens(peptide_chain("", names=[name], atoms=atoms)).sum()
    info = gemmi.find_tabulated_residue(name)
    assert count == info.hydrogen_count - 2 + CHARGE.get(name, 0)


@pytest.mark.parametrize(
    ("name", "alias"),
    [("HIS", "HIE"), ("HIS", "HSD"), ("LYS", "LYN"), ("CYS", "CYX"), ("ASP", "ASH"),
     ("GLU", "GLH"), ("ALA", "NALA"), ("MET", "MSE")],
)  # fmt: skip
def test_volume_of_residues_under_other_names(name, alias):
    """The same atoms in the same residue displace as much."""
    atoms = ("N", "CA", "C", "O", *HEAVY[name].split())
    residue = peptide_chain("", names=[name], atoms=atoms)
    other = renamed(residue, {name: alias})
    np.testing.assert_array_equal(displaced_volumes(other), displaced_volumes(residue))
    assert bare_residues(other) == []


BASE = "P OP1 OP2 O5' C5' C4' O4' C3' O3' C2' C1' N9 C8 N7 C5 C6 N6 N1 C2 N3 C4"


@pytest.mark.parametrize(("name", "extra", "on_c2"), [("DA", "", 2), ("A", " O2'", 1)])
def test_nucleotides(name, extra, on_c2):
    """As gemmi's table for the free 5'-phosphate, less two on the phosphate and one on O3'."""
    adenosine = peptide_chain("", names=[name], atoms=(BASE + extra).split())
    count = dict(zip(adenosine.atom_names, hydrogens(adenosine), strict=True))
    assert count["C2'"] == on_c2
    assert sum(count.values()) == gemmi.find_tabulated_residue(name).hydrogen_count - 3


def test_residues_without_known_hydrogens():
    """Their heavy atoms' volumes, and their names, once each, without ions."""
    chain = renamed(peptide_chain("GA"), {"ALA": "SEP"})
    zinc = ligand("ZN", 9, atoms=("ZN",))
    assert bare_residues(chain) == ["SEP"] and bare_residues(zinc) == []
    assert hydrogens(chain.select(chain.residue_names == "SEP")).sum() == 0


@pytest.mark.parametrize("k_sol", [0.0, 0.334])
def test_they_are_told(tmp_path, capsys, k_sol):
    """In a line that names them, where the model has solvent."""
    chain = renamed(peptide_chain(SEQUENCE), {"TYR": "PTR", "SER": "SEP"})
    write_pdb(tmp_path / "m.pdb", chain, ((90.0, 90.0, 90.0, 90.0, 90.0, 90.0), "P 1"))
    load_modes(
        Config(
            StructureConfig(file=tmp_path / "m.pdb"),
            CrystalConfig(),
            parameters=ParametersConfig(k_sol_eA3=(k_sol, k_sol)),
        )
    )
    told = [line for line in capsys.readouterr().err.splitlines() if "hydrogens" in line]
    assert len(told) == bool(k_sol)
    assert not told or "the hydrogens of PTR, SEP are not known" in told[0]
