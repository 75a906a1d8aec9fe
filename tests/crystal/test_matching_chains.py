"""Which chains of two structures are the same: copies, letters, numbers that go on."""

from dataclasses import replace

import numpy as np
import pytest
from builders import peptide_chain
from molecules import OTHER, SEQUENCE, copies, joined, origin, refusal, renamed
from scipy.spatial.transform import Rotation

from hpc_diffuser.commands.examples.protein import residue_positions
from hpc_diffuser.crystal.matching import match_atoms
from hpc_diffuser.crystal.structure import Structure


@pytest.mark.parametrize("n", [2, 3, 6])
def test_copies_without_chains(n):
    """Copies under one letter, as a GRO has them, are chains in the crystal's order."""
    crystal = joined(*copies(*"ABCDEF"[:n]))
    gro = replace(crystal, chain_ids=np.full(len(crystal), "A"))
    for mobile, reference in ((gro, crystal), (crystal, gro), (gro, gro)):
        match = match_atoms(mobile, reference)
        origin(match, mobile, reference)
        assert len(match.mobile_rows) == len(crystal)
    notes = match_atoms(gro, crystal).notes
    letters = ", ".join("ABCDEF"[:n])
    assert any(f"taken for chains {letters}" in note for note in notes)


@pytest.mark.parametrize("order", ["BA", "ABC", "CAB", "BCA", "DCBA"])
def test_copies_in_another_order(order):
    """Copies that a simulation has in another order than the crystal: told by where they lie.

    The rows of copies are at (0, 0, 0), (1, 1, 1), (3, 3, 0) ... times 30 Å: no order but one
    superposes.
    """
    places = 30.0 * np.array([(0, 0, 0), (1, 1, 1), (3, 3, 0), (0, 7, 2)])
    letters = sorted(order)
    chains = {
        x: replace(peptide_chain(SEQUENCE, letter=x), positions=moved)
        for x, place in zip(letters, places, strict=False)
        for moved in [turned(peptide_chain(SEQUENCE).positions, place)]
    }
    crystal = joined(*(chains[x] for x in letters))
    gro = joined(*(chains[x] for x in order))
    gro = replace(gro, chain_ids=np.full(len(gro), "A"))
    match = match_atoms(gro, crystal)
    origin(match, gro, crystal)
    told = [note for note in match.notes if "as they lie in the first frame" in note]
    assert len(told) == (order != "".join(letters))


def turned(positions: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A copy about an axis through its middle, by an angle that its place gives."""
    return Rotation.from_rotvec(0.7 * place).apply(positions) + place


def scattered(*letters: str) -> Structure:
    """Copies at (0, 0, 0), (1, 1, 1), (3, 3, 0) ... times 30 Å: one order superposes, no other."""
    places = 30.0 * np.array([(0, 0, 0), (1, 1, 1), (3, 3, 0), (0, 7, 2)])
    chains = [peptide_chain(SEQUENCE, letter=x) for x in letters]
    return joined(
        *(
            replace(chain, positions=turned(chain.positions, place))
            for chain, place in zip(chains, places, strict=False)
        )
    )


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("lettered", [False, True])
def test_copies_that_moved_in_another_order(lettered, images):
    """Three chains, in the crystal C, B, A in the file's order, every atom moved by 2.5 Å or so.

    Letters are no help, where they are others or where the file names none; and each may be in an
    image of the box of its own. Partners are told by the rows that they are made from.
    """
    crystal = scattered("A", "B", "C")
    n = len(crystal) // 3
    rows = np.concatenate([np.arange(2 * n, 3 * n), np.arange(n, 2 * n), np.arange(n)])
    noise = np.random.default_rng(5).normal(scale=1.5, size=(len(crystal), 3))
    mobile = crystal.select(rows)
    letters = "XYZ" if lettered else "ABC"
    box = 300 * np.eye(3)
    steps = np.array([(0, 0, 0), (1, 0, -1), (0, 2, 0)]) * images
    mobile = replace(
        mobile,
        positions=mobile.positions + noise + np.repeat(steps @ box, n, axis=0),
        chain_ids=np.repeat(list(letters), n),
    )
    match = match_atoms(mobile, crystal, box if images else None, lettered)
    np.testing.assert_array_equal(match.reference_rows, rows[match.mobile_rows])
    (told,) = (note for note in match.notes if "as they lie" in note)
    assert told.endswith(f"{letters[0]} is C, {letters[2]} is A")
    assert not any("in this order" in note for note in match.notes)


def test_letters_are_believed():
    """Two chains that fit each other's places better, to 1.7 Å instead of 3.6, keep their letters.

    Without letters of the file's own they do not.
    """
    rng = np.random.default_rng(6)
    crystal = scattered("A", "A")
    n = len(crystal) // 2
    half = np.eye(3) * [-1, -1, 1]
    second = crystal.positions[:n] @ half + [60, 0, 0] + rng.normal(scale=1.7, size=(n, 3))
    positions = np.concatenate([crystal.positions[:n], second])
    crystal = replace(crystal, positions=positions, chain_ids=np.repeat(["A", "B"], n))
    swapped = np.concatenate([positions[n:], positions[:n]])
    mobile = replace(crystal, positions=swapped + rng.normal(scale=1.0, size=(2 * n, 3)))
    rows = np.arange(2 * n)
    believed = match_atoms(mobile, crystal)
    np.testing.assert_array_equal(believed.reference_rows, rows)
    fitted = match_atoms(mobile, crystal, lettered=False)
    np.testing.assert_array_equal(fitted.reference_rows, np.roll(rows, n))
    assert any("A is B, B is A" in note for note in fitted.notes)


def test_one_chain_without_a_letter():
    """Of a crystal's two chains the first: said, and not by a letter that the file has not."""
    crystal = renamed(joined(*copies("A", "B")), {"A": "C", "B": "A"}, "chain_ids")
    mobile = peptide_chain(SEQUENCE, letter="X")
    notes = match_atoms(mobile, crystal, lettered=False).notes
    assert notes[0] == (
        "chain X is taken for the reference's chain C, the first that fits; chain A of it has the "
        "same sequence, and the topology names no chains"
    )


def test_different_chains_without_letters():
    """A complex of two proteins, numbered from 1 each; and numbered on, with a terminal oxygen."""
    first, second = copies("H", "L", sequence=SEQUENCE)[0], peptide_chain(OTHER, letter="L")
    second = replace(second, positions=second.positions + 70)
    crystal = joined(first, second)
    blank = replace(crystal, chain_ids=np.full(len(crystal), "A"))
    origin(match_atoms(blank, crystal), blank, crystal)
    assert len(match_atoms(blank, crystal).mobile_rows) == len(crystal)
    on = replace(blank, residue_numbers=blank.residue_numbers + 40 * (crystal.chain_ids == "L"))
    match = match_atoms(on, crystal)
    origin(match, on, crystal)
    assert len(match.mobile_rows) == len(crystal)


def test_copies_numbered_on():
    """A PRMTOP numbers both copies of a dimer through: chain A, residues 1 to 80."""
    crystal = joined(*copies("A", "B"))
    on = replace(
        crystal,
        chain_ids=np.full(len(crystal), "A"),
        residue_numbers=crystal.residue_numbers + 40 * (crystal.chain_ids == "B"),
    )
    match = match_atoms(on, crystal)
    origin(match, on, crystal)
    assert len(match.mobile_rows) == len(crystal)


def test_complex_numbered_on_without_ends():
    """Two different chains twice, one after the other in one chain, as a PRMTOP may have them.

    Their numbers are no help, since the crystal's have insertion codes; no bond joins them.
    """
    helix = residue_positions(np.full(40, -62.0), np.full(40, -42.0)).reshape(-1, 3)
    places = [(i, "") for i in range(1, 11)] + [(10, "A"), *((i, "") for i in range(11, 40))]
    numbers, codes = zip(*places, strict=True)
    crystal = joined(
        *(
            replace(peptide_chain(x, c, numbers=numbers, codes=codes), positions=helix + 25.0 * i)
            for i, (x, c) in enumerate(zip((SEQUENCE, OTHER) * 2, "HLIM", strict=True))
        )
    )
    through = replace(
        crystal,
        chain_ids=np.full(len(crystal), "A"),
        residue_numbers=np.repeat(np.arange(1, 161), 5),
        insertion_codes=np.full(len(crystal), ""),
    )
    match = match_atoms(through, crystal)
    origin(match, through, crystal)
    assert len(match.mobile_rows) == len(crystal)


def test_other_letters():
    """Chains P and Q of the simulation are A and B, by their sequences."""
    crystal = joined(peptide_chain(SEQUENCE, letter="A"), peptide_chain(OTHER, letter="B"))
    mobile = renamed(crystal, {"A": "Q", "B": "P"}, "chain_ids")
    match = match_atoms(mobile, crystal)
    origin(match, mobile, crystal)
    assert "chain Q of the trajectory is chain A of the reference" in match.notes
    swapped = renamed(crystal, {"A": "B", "B": "A"}, "chain_ids")
    origin(match_atoms(swapped, crystal), swapped, crystal)


def test_one_chain_of_a_crystal_with_two():
    """Which of them, only a letter tells: said, or refused."""
    crystal = joined(*copies("A", "B"))
    for letter in "AB":
        mobile = crystal.select(crystal.chain_ids == letter)
        match = match_atoms(mobile, crystal)
        origin(match, mobile, crystal)
        assert f"chain {letter} is taken for the reference's chain {letter}" in match.notes[0]
    text = refusal(peptide_chain(SEQUENCE, letter="X"), crystal)
    assert "it may be any of the chains A and B of the reference" in text


def test_dimer_of_which_the_crystal_has_one():
    """The modes would be of a molecule that the crystal has not."""
    text = refusal(joined(*copies("A", "B")), peptide_chain(SEQUENCE))
    assert text.startswith("chain B of the trajectory (40 residues from B/MET 1 on) is not in")


def test_only_chain_b_in_the_reference():
    """Of one chain on both sides the letter does not matter."""
    reference = peptide_chain(SEQUENCE, letter="B")
    assert len(match_atoms(peptide_chain(SEQUENCE), reference).notes) == 1


def test_chain_in_two_segments():
    """A chain that a simulation's builder has cut at a loop is one chain of the crystal."""
    crystal = peptide_chain(SEQUENCE)
    cut = np.where(crystal.residue_numbers > 22, "B", "A")
    mobile = replace(crystal, chain_ids=cut)
    match = match_atoms(mobile, crystal)
    origin(match, mobile, crystal)
    assert len(match.mobile_rows) == len(crystal)
