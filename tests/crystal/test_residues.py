"""Names of residues and atoms in all their spellings, and the elements that they tell."""

import gemmi
import pytest

from hpc_diffuser.crystal.residues import (
    canonical_atom,
    canonical_residue,
    element_of,
    ion_element,
    is_ion,
    is_polymer,
    is_salt,
    is_water,
    same_residue,
)

# By the manuals: what PDB calls it, and GROMACS, Amber, CHARMM, OPLS.
SPELLINGS = {
    "HIS": "HID HIE HIP HSD HSE HSP HISD HISE HISH HISA HISB HIS1 HIS2 NHIE CHID",
    "LYS": "LYN LYSH LYP NLYS CLYN",
    "CYS": "CYX CYM CYS2 CYSH CYN CYC NCYX",
    "ASP": "ASH ASPH ASPP CASP",
    "GLU": "GLH GLUH GLUP NGLU",
    "ARG": "ARGN CARG",
    "TYR": "TYM",
    "MET": "MSE NMET CMET",
    "ALA": "NALA CALA",
    "HOH": "WAT SOL TIP3 TIP4 T3P T4P SPC SPCE H2O DOD OH2 TP3 TIP tip3",
    "A": "DA DA5 DA3 DAN RA RA5 A3 ADE",
    "HEM": "HEME heme",
    "DT": "DT5 DT3 THY",
    "U": "RU RU5 U3 URA",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_are_one_residue(name):
    """Every one has the canonical name, and is the same as every other."""
    for alias in SPELLINGS[name].split():
        assert canonical_residue(alias) == name
        assert same_residue(alias, name)


def test_twenty_residues_are_twenty():
    """No two amino acids of gemmi's table are the same, nor any a nucleotide or water."""
    names = gemmi.expand_one_letter_sequence("ACDEFGHIKLMNPQRSTVWY", gemmi.ResidueKind.AA)
    assert len({canonical_residue(name) for name in names}) == 20
    assert all(is_polymer(name) and not is_water(name) and not is_ion(name) for name in names)


@pytest.mark.parametrize("name", ["PTR", "SEP", "TPO", "M3L", "MSE", "ACE", "NME", "NH2", "DG3"])
def test_modified_residues_and_caps_are_polymers(name):
    """What is part of a chain."""
    assert is_polymer(name)


@pytest.mark.parametrize("name", ["HEM", "NAG", "LIG", "SO4", "SOL", "NA", "ZN", "CL"])
def test_ligands_are_not(name):
    """What is none."""
    assert not is_polymer(name)


@pytest.mark.parametrize(
    ("residue", "atom", "element"),
    [
        ("NA", "NA", "Na"),
        ("NA+", "NA+", "Na"),
        ("SOD", "SOD", "Na"),
        ("CL", "CL", "Cl"),
        ("Cl-", "Cl-", "Cl"),
        ("CLA", "CLA", "Cl"),
        ("CAL", "CAL", "Ca"),
        ("CA", "CA", "Ca"),
        ("MG2", "MG", "Mg"),
        ("ZN", "ZN", "Zn"),
        ("K", "K", "K"),
        ("POT", "POT", "K"),
        ("FE2", "FE", "Fe"),
        ("I-", "I-", "I"),
    ],
)
def test_ions(residue, atom, element):
    """A residue of one atom that has its name."""
    assert is_ion(residue)
    assert element_of(atom, residue) == ion_element(residue, atom) == element


def test_metals_are_no_salt():
    """A crystal's zinc is one atom; a solution's sodium may be any."""
    assert is_salt("NA+") and is_salt("CLA") and not is_salt("ZN") and not is_salt("HEM")


# Names of a GRO file: of carbon, not calcium; hydrogen, not mercury; and so on.
@pytest.mark.parametrize(
    ("atom", "residue", "element"),
    [
        ("CA", "ALA", "C"),
        ("CD", "GLU", "C"),
        ("CE", "LYS", "C"),
        ("HG", "SER", "H"),
        ("HE21", "GLN", "H"),
        ("1HB", "ALA", "H"),
        ("NE", "ARG", "N"),
        ("SG", "CYX", "S"),
        ("SE", "MSE", "Se"),
        ("OXT", "CALA", "O"),
        ("CB", "HISE", "C"),
        ("P", "DA5", "P"),
        ("OP1", "RU", "O"),
        ("OW", "SOL", "O"),
        ("HW1", "SOL", "H"),
        ("CA", "TPO", "C"),
        ("P", "SEP", "P"),
        ("D", "ALA", "H"),
        ("MW", "SOL", None),
        ("LP1", "ALA", None),
    ],
)
def test_elements_of_polymers_and_water(atom, residue, element):
    """The first letter, but selenium."""
    others = {"N", "C", "O"}
    assert element_of(atom, residue, others) == element


HEME = {"FE", "NA", "NB", "NC", "ND", "CHA", "CMA", "CAA", "C1A", "O1A"}
NUCLEOTIDE = {"PG", "PB", "PA", "O1G", "O5'", "N9"}


@pytest.mark.parametrize(
    ("atom", "residue", "others", "element"),
    [
        *((name, "HEM", HEME, "Fe" if name == "FE" else name[0]) for name in sorted(HEME)),
        ("PB", "ATP", NUCLEOTIDE, "P"),
        ("CL2", "LIG", {"C1"}, "Cl"),
        ("BR1", "LIG", {"C1"}, "Br"),
        ("SE1", "LIG", {"C1"}, "Se"),
        ("F1", "LIG", {"C1"}, "F"),
        ("FE3", "SF4", {"S1"}, "Fe"),
        ("HG", "LIG", {"C1"}, "H"),
        ("HG", "MMC", {"C"}, "Hg"),
        ("CD", "LIG", {"CG", "CE"}, "C"),
        ("CD", "LIG", {"S1"}, None),
        ("Pt1", "LIG", {"N1"}, "Pt"),
        ("NA", "ION", set(), "Na"),
        ("MG", "CLA", {"NA", "CHA"}, "Mg"),
        ("CO", "B12", {"N21"}, None),
        ("CU1", "CUA", {"CU2"}, None),
        ("Q1", "LIG", {"C1"}, None),
        ("PB", "LIG", {"C1"}, None),
    ],
)
def test_elements_of_ligands(atom, residue, others, element):
    """None where the name may be of two: cobalt or a carbon, cadmium or the delta carbon."""
    assert element_of(atom, residue, others - {atom}) == element


@pytest.mark.parametrize(
    ("atom", "residue", "name"),
    [
        ("CD", "ILE", "CD1"),
        ("CD", "GLU", "CD"),
        ("OT1", "LYS", "O"),
        ("OC2", "GLY", "OXT"),
        ("O1", "ALA", "O"),
        ("O1", "LIG", "O1"),
        ("SE", "MSE", "SD"),
        ("HN", "ALA", "H"),
        ("O1P", "DA5", "OP1"),
        ("O5*", "G", "O5'"),
        ("C5M", "DT", "C7"),
    ],
)
def test_atoms_in_the_spelling_of_the_pdb(atom, residue, name):
    """What force fields call them, and what the PDB does."""
    assert canonical_atom(atom, residue) == name
