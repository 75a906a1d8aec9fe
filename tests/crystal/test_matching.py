"""Chains, residues and atoms of two structures that are the same, and what to say of the others."""

from dataclasses import replace

import numpy as np
import pytest
from builders import peptide_chain
from hypothesis import given, settings
from hypothesis import strategies as st
from molecules import OTHER, SEQUENCE, copies, joined, ligand, origin, refusal, renamed

from hpc_diffuser.commands.examples.protein import residue_positions
from hpc_diffuser.crystal.chains import solvent_rows, tell_chains_apart
from hpc_diffuser.crystal.matching import match_atoms, same_atoms
from hpc_diffuser.crystal.structure import Structure, atom_label


def without(structure: Structure, *numbers: int) -> Structure:
    """All but the residues of these numbers."""
    return structure.select(~np.isin(structure.residue_numbers, numbers))


def test_all_atoms_of_the_same_chain():
    """Every atom has itself for a partner; N, CA, C, O of each residue are the backbone."""
    chain = peptide_chain(SEQUENCE)
    match = match_atoms(chain, chain)
    np.testing.assert_array_equal(match.mobile_rows, np.arange(len(chain)))
    np.testing.assert_array_equal(match.reference_rows, match.mobile_rows)
    assert match.backbone.sum() == 4 * len(SEQUENCE)
    assert match.notes == ("superposed on 160 backbone atoms of 40 residues",)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    "names",
    [
        {"HIS": "HISE", "LYS": "LYN", "CYS": "CYX", "GLU": "GLH", "ASP": "ASPH"},
        {"HIS": "HSD", "MET": "MSE"},
        {"MET": "NMET", "ALA": "NALA", "LYS": "CLYS"},
    ],
)
def test_spellings_of_residues(names, swap):
    """On either side, the same residues."""
    plain, spelt = peptide_chain(SEQUENCE), renamed(peptide_chain(SEQUENCE), names)
    mobile, reference = (spelt, plain) if swap else (plain, spelt)
    match = match_atoms(mobile, reference)
    assert len(match.mobile_rows) == len(plain)
    assert len(match.notes) == 1


def test_spellings_of_atoms():
    """OT1 and OT2 of the last residue, CD of isoleucine, SE of selenomethionine."""
    crystal = peptide_chain("MAI", atoms=("N", "CA", "C", "O", "CB", "SD", "CD1", "OXT"))
    names = {"O": "OT1", "OXT": "OT2", "CD1": "CD", "SD": "SE"}
    origin(match_atoms(renamed(crystal, names, "atom_names"), crystal), crystal, crystal)
    match = match_atoms(renamed(crystal, names, "atom_names"), crystal)
    found = set(crystal.atom_names[match.reference_rows])
    assert found == set(crystal.atom_names)  # SE of MET, CD of ILE among them


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ((1, 2), "A 1-2"),
        ((1, 2, 3, 18, 19, 20, 40), "A 1-3, A 18-20, A 40"),
        ((39, 40), "A 39-40"),
    ],
)
def test_crystal_that_lacks_residues(lacking, said):
    """Superposed on the others; what is missing is said, of either side."""
    whole = peptide_chain(SEQUENCE)
    part = without(whole, *lacking)
    match = match_atoms(whole, part)
    origin(match, whole, part)
    n = len(SEQUENCE) - len(lacking)
    expected = f"superposed on {4 * n} backbone atoms of {n} residues"
    assert match.notes == (f"{expected}; the reference lacks residues {said}",)
    match = match_atoms(part, whole)
    origin(match, part, whole)
    assert match.notes == (f"{expected}; the trajectory lacks residues {said}",)


def test_crystal_that_lacks_half():
    """20 of 40 residues are enough, 19 are not."""
    whole = peptide_chain(SEQUENCE)
    assert match_atoms(whole, without(whole, *range(1, 21))).backbone.sum() == 80
    text = refusal(whole, without(whole, *range(1, 22)))
    assert "the reference structure has 19 of the trajectory's 40 residues" in text
    assert "--select" in text


@settings(max_examples=40, deadline=None)
@given(st.integers(-500, 500), st.sets(st.integers(1, 40), max_size=12), st.booleans())
def test_shifted_numbers(shift, lacking, gap):
    """Whatever the shift, and whichever residues are missing, partners are the same atoms.

    With a gap the crystal's numbers jump by 100 in the middle: no one shift explains it.
    """
    mobile = peptide_chain(SEQUENCE)
    numbers = [i + shift + (100 if gap and i > 20 else 0) for i in range(1, 41)]
    reference = peptide_chain(SEQUENCE, numbers=numbers)
    missing = [numbers[i - 1] for i in lacking]
    reference = without(reference, *missing)
    match = match_atoms(mobile, reference)
    origin(match, mobile, reference)
    common = 40 - len(lacking)
    # Beside a gap a residue may have no certain partner: of equal neighbours, either.
    assert match.backbone.sum() >= 4 * (common - 4)
    if shift and not gap:
        assert f"chain A: numbers shifted by {shift:+d}: matched by sequence" in match.notes


def test_insertion_codes_against_plain_numbers():
    """52, 52A, 52B, 53 in the crystal are 52, 53, 54, 55 of the simulation: told by sequence."""
    mobile = peptide_chain(SEQUENCE)
    places = [(i, "") for i in range(1, 11)] + [(10, "A"), (10, "B")]
    places += [(i, "") for i in range(11, 39)]
    numbers, codes = zip(*places, strict=True)
    reference = peptide_chain(SEQUENCE, numbers=numbers, codes=codes)
    match = match_atoms(mobile, reference)
    origin(match, mobile, reference)
    assert len(match.mobile_rows) == len(mobile)
    assert "chain A: other residue numbers: matched by sequence" in match.notes
    same = match_atoms(reference, reference)
    assert len(same.notes) == 1 and len(same.mobile_rows) == len(reference)


@pytest.mark.parametrize("number", [-5, 0, 900])
def test_any_first_number(number):
    """Negative residue numbers are numbers like any other."""
    chain = peptide_chain(SEQUENCE, first=number)
    assert len(match_atoms(chain, chain).notes) == 1


def test_point_mutations_are_named():
    """Up to a tenth of the residues; of these the backbone is the same, the side chain not."""
    mobile = peptide_chain(SEQUENCE)
    mutated = peptide_chain(SEQUENCE.replace("MKVD", "MKLD"))
    match = match_atoms(mobile, mutated)
    assert match.notes[0] == "other residues in the reference: A/VAL 3 is LEU 3"
    assert match.backbone.sum() == 160 and len(match.mobile_rows) == len(mobile) - 1


def test_another_protein():
    """Equal numbers, other residues: the first one is named, with how many are the same."""
    text = refusal(peptide_chain(SEQUENCE), peptide_chain(OTHER))
    assert "A/MET 1 of the trajectory is A/GLY 1 in the reference" in text
    same = sum(a == b for a, b in zip(SEQUENCE, OTHER, strict=True))
    assert f"of 40 residues of the same numbers {same} are the same" in text


def test_sequence_that_fits_twice():
    """Polyalanine with other numbers may lie anywhere."""
    text = refusal(peptide_chain("A" * 20), peptide_chain("A" * 18, first=101))
    assert "its sequence fits at more than one place: give both the same residue numbers" in text


def test_waters_that_begin_again():
    """A box of water is numbered over 9999: its numbers meet the protein's, and play no part."""
    protein = peptide_chain(SEQUENCE)
    water = protein.select(np.arange(len(protein)))
    water = replace(
        water,
        residue_names=np.full(len(water), "SOL"),
        atom_names=np.full(len(water), "OW"),
        residue_numbers=np.arange(len(water)) % 50,
    )
    box = joined(protein, water)
    assert tell_chains_apart(box)[1] == []
    assert len(match_atoms(box, protein).mobile_rows) == len(protein)


def test_protein_beyond_9999():
    """The number after 9999 is 0, and not a second chain."""
    chain = peptide_chain(SEQUENCE, first=9980)
    long = joined(peptide_chain("GAV", first=1), chain)
    wrapped = replace(
        long,
        residue_numbers=np.where(
            long.residue_numbers > 9999, long.residue_numbers - 10000, long.residue_numbers
        ),
    )
    found, notes = tell_chains_apart(wrapped)
    assert notes == []
    np.testing.assert_array_equal(found.residue_numbers, long.residue_numbers)


def test_atom_that_is_there_twice():
    """Two residues of one number and name, without insertion codes: which is which?"""
    chain = peptide_chain("MAAK", numbers=[1, 2, 2, 3])
    for mobile, reference in ((chain, peptide_chain("MAAK")), (peptide_chain("MAAK"), chain)):
        assert "atom A/ALA 2/N is there twice" in refusal(mobile, reference)


def test_ligands():
    """By name and number; by name alone where both have one; salt by number alone."""
    crystal = joined(
        peptide_chain(SEQUENCE),
        ligand("NAG", 201),
        ligand("ZN", 301, atoms=("ZN",)),
        ligand("CL", 401, atoms=("CL",)),
    )
    mobile = joined(
        peptide_chain(SEQUENCE),
        ligand("ZN", 41, atoms=("ZN",)),
        ligand("NAG", 42),
        ligand("CL", 43, atoms=("CL",)),
    )
    partners = same_atoms(mobile, crystal)
    told = {atom_label(mobile, i): atom_label(crystal, j) for i, j in enumerate(partners) if j >= 0}
    assert told["A/ZN 41/ZN"] == "A/ZN 301/ZN" and told["A/NAG 42/O1"] == "A/NAG 201/O1"
    assert "A/CL 43/CL" not in told


@pytest.mark.parametrize("box", [None, 200 * np.eye(3)])
def test_equal_ligands_in_another_order(box):
    """Two of one name, numbered the other way round: told by where they lie, 40 Å apart.

    One that is in no place at all keeps its name.
    """
    places = 5.0, 28.0
    both = [ligand("BNZ", number, at=at) for number, at in zip((301, 302), places, strict=True)]
    helix = residue_positions(np.full(40, -62.0), np.full(40, -42.0)).reshape(-1, 3)
    protein = replace(peptide_chain(SEQUENCE), positions=helix)
    crystal = joined(protein, *both)
    n = len(protein)
    swapped = np.concatenate([np.arange(n), [n + 2, n + 3, n, n + 1]])
    mobile = replace(crystal, positions=crystal.positions[swapped])
    if box is not None:
        mobile.positions[n:] += 2 * box[1]
    match = match_atoms(mobile, crystal, box)
    np.testing.assert_array_equal(match.reference_rows[n:], swapped[n:])
    assert "A/BNZ 301 is A/BNZ 302, A/BNZ 302 is A/BNZ 301" in match.notes[-2]
    mobile.positions[n:] += 70.0
    match = match_atoms(mobile, crystal)
    np.testing.assert_array_equal(match.reference_rows, np.arange(len(crystal)))


def test_chlorophyll_is_no_chloride():
    """Both are CLA; what has one atom is an ion."""
    pigment, salt = ligand("CLA", 201, atoms=("MG", "NA", "NB")), ligand("CLA", 300, atoms=("CLA",))
    np.testing.assert_array_equal(solvent_rows(joined(pigment, salt)), [False, False, False, True])
    crystal = joined(peptide_chain(SEQUENCE), ligand("CLA", 500, atoms=("MG", "NA", "NB")))
    partners = same_atoms(joined(peptide_chain(SEQUENCE), pigment), crystal)
    np.testing.assert_array_equal(partners, np.arange(len(crystal)))


def test_caps_that_the_crystal_lacks():
    """Amber counts them: ACE 1, MET 2 ... NME 42."""
    crystal = peptide_chain(SEQUENCE)
    names = ["ACE", *crystal.residue_names[::5].tolist(), "NME"]
    mobile = peptide_chain("", names=names)
    match = match_atoms(mobile, crystal)
    assert match.notes[0] == "chain A: numbers shifted by -1: matched by sequence"
    assert match.notes[1].endswith("of 40 residues; the reference lacks residues A 1, A 42")
    assert match.backbone.sum() == 160


def test_amino_acid_of_the_solution():
    """A free glycine behind the chain's end is no chain that the crystal lacks."""
    atoms = ("N", "CA", "C", "O", "CB", "OXT")
    crystal = peptide_chain(SEQUENCE)
    ended = joined(crystal, peptide_chain("G", first=41, atoms=atoms), peptide_chain("G", first=50))
    match = match_atoms(ended, crystal)
    assert len(match.mobile_rows) == len(crystal)
    assert match.notes[-1].endswith("the reference lacks residues A 41, A 50")


def test_dna():
    """Two strands under Amber's names; their backbone is of sugar and phosphate."""
    atoms = ("P", "O5'", "C5'", "C4'", "C3'", "O3'", "N1")
    strands = [
        peptide_chain(f"{x}", letter=x, atoms=atoms, names=names)
        for x, names in (("A", ["DA", "DC", "DG", "DT"] * 3), ("B", ["DG", "DT", "DT", "DC"] * 3))
    ]
    crystal = joined(*(replace(s, positions=s.positions + 50 * i) for i, s in enumerate(strands)))
    amber = {"DA": "DA5", "DC": "DC3", "O5'": "O5*"}
    mobile = renamed(renamed(crystal, amber), amber, "atom_names")
    mobile = replace(mobile, chain_ids=np.full(len(mobile), "A"))
    match = match_atoms(mobile, crystal)
    origin(match, mobile, crystal)
    assert len(match.mobile_rows) == len(crystal) and match.backbone.sum() == 24 * 6


def test_same_atoms_refuses_nothing():
    """B-factors of what the crystal has; of chains and residues that it lacks there are none."""
    dimer, one = joined(*copies("A", "B")), peptide_chain(SEQUENCE)
    partners = same_atoms(dimer, one)
    np.testing.assert_array_equal(partners[: len(one)], np.arange(len(one)))
    assert (partners[len(one) :] == -1).all()
    assert (same_atoms(peptide_chain(OTHER), one) == -1).all()
