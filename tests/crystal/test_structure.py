"""Atoms are matched by name and superposed by proper rotations only."""

from dataclasses import fields, replace

import numpy as np
import pytest
from builders import random_structure
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from hpc_diffuser.crystal.matching import match_backbone
from hpc_diffuser.crystal.structure import Structure, atom_label, require_same_atoms, superpose
from hpc_diffuser.system.errors import InputError

ATOMS = ("N", "CA", "C", "O", "CB")


def peptide(chains: str = "A", residues: tuple[str, ...] = ("LYS", "VAL", "PHE")) -> Structure:
    """Chains of residues numbered from 1, of backbone and CB, at random places."""
    rows = [(c, i + 1, r, a) for c in chains for i, r in enumerate(residues) for a in ATOMS]
    chain_ids, numbers, residue_names, atom_names = map(np.array, zip(*rows, strict=True))
    return Structure(
        positions=np.random.default_rng(0).uniform(-9, 9, (len(rows), 3)),
        elements=np.array([name[0] for name in atom_names]),
        atom_names=atom_names,
        residue_names=residue_names,
        residue_numbers=numbers,
        chain_ids=chain_ids,
        occupancies=np.ones(len(rows)),
        b_factors_A2=np.zeros(len(rows)),
    )


def joined(*structures: Structure) -> Structure:
    """The atoms of all, one structure after the other."""
    names = [f.name for f in fields(Structure)]
    return Structure(*(np.concatenate([getattr(s, name) for s in structures]) for name in names))


def lone_atom(name: str, residue: str, number: int, chain: str = "A") -> Structure:
    """One atom, such as an ion or the oxygen of a water."""
    one = peptide().select(np.array([0]))
    return replace(
        one,
        atom_names=np.array([name]),
        residue_names=np.array([residue]),
        residue_numbers=np.array([number]),
        chain_ids=np.array([chain]),
    )


def matched_names(mobile: Structure, reference: Structure) -> list[tuple]:
    """(number, atom name) of the matched rows, having checked that partners agree."""
    moving, fixed = match_backbone(mobile, reference)
    pairs = [m[1:] for m in mobile.select(moving).names()]
    assert pairs == [r[1:] for r in reference.select(fixed).names()]
    return [(number, name) for number, _, name in pairs]


def test_selected_atoms_keep_their_fields():
    """Indices select in their order, masks in the structure's; every field goes along."""
    structure = random_structure(np.random.default_rng(0), 6)
    chosen = structure.select(np.array([4, 1]))
    assert len(chosen) == 2
    for f in fields(Structure):
        before, after = getattr(structure, f.name), getattr(chosen, f.name)
        np.testing.assert_array_equal(after, before[[4, 1]])
    mask = np.array([False, True, False, False, True, False])
    np.testing.assert_array_equal(structure.select(mask).positions, structure.positions[[1, 4]])


def test_labels_are_as_people_write_them():
    """Chain, residue and number, atom."""
    assert atom_label(peptide(), 1) == "A/LYS 1/CA"


def test_backbone_is_matched_by_name():
    """N, CA, C, O of each residue, in the mobile's order, wherever they stand in the reference."""
    mobile, reference = peptide(), peptide()
    shuffled = reference.select(np.random.default_rng(1).permutation(len(reference)))
    expected = [(i, name) for i in (1, 2, 3) for name in ("N", "CA", "C", "O")]
    assert matched_names(mobile, shuffled) == expected


def test_reference_may_have_more():
    """A trajectory of residues 2 and 3 of the crystal's three matches these."""
    part = peptide().select(peptide().residue_numbers > 1)
    assert {number for number, _ in matched_names(part, peptide())} == {2, 3}


def test_chain_letter_does_not_matter_for_one_chain():
    """Chain A of a simulation is chain X of the crystal where both have one."""
    assert len(matched_names(peptide("A"), peptide("X"))) == 12


def test_chain_letters_matter_for_several():
    """Atoms of equal number in chains A and B are told apart."""
    mobile = peptide("AB")
    reference = mobile.select(np.argsort(mobile.chain_ids == "A", kind="stable"))
    assert reference.chain_ids[0] == "B"
    moving, fixed = match_backbone(mobile, reference)
    np.testing.assert_array_equal(mobile.chain_ids[moving], reference.chain_ids[fixed])


@pytest.mark.parametrize("side", ["mobile", "reference"])
def test_waters_and_ions_are_ignored(side):
    """A calcium ion is an atom CA, a water's is an O: neither is a backbone, in any chain."""
    solvent = joined(
        lone_atom("CA", "CA", 201), lone_atom("O", "HOH", 301), lone_atom("CA", "CA", 1, "B")
    )
    structures = {"mobile": peptide(), "reference": peptide()}
    structures[side] = joined(structures[side], solvent)
    assert len(matched_names(**structures)) == 12


def test_side_chains_need_not_agree():
    """Other atoms than the backbone play no part."""
    reference = peptide().select(peptide().atom_names != "CB")
    assert len(matched_names(peptide(), reference)) == 12


def test_too_few_atoms_to_superpose():
    """Three points make a rotation; a water has no backbone at all."""
    water = lone_atom("O", "HOH", 1)
    with pytest.raises(InputError, match="fewer than three backbone atoms"):
        match_backbone(water, peptide())


def test_same_atoms_pass():
    """Positions, B-factors and occupancies may differ."""
    one = peptide()
    require_same_atoms(replace(one, positions=one.positions + 1), one, "file")


@pytest.mark.parametrize(
    "field, value, found",
    [
        ("atom_names", "CG", "A/VAL 2/CG"),
        ("residue_numbers", 7, "A/VAL 7/CA"),
        ("chain_ids", "B", "B/VAL 2/CA"),
    ],
)
def test_first_difference_is_named(field, value, found):
    """Row 7 of 15 (and one later): its number from 1, what it is and what it should be."""
    expected = peptide()
    values = getattr(expected, field).copy()
    values[[6, 9]] = value
    with pytest.raises(InputError, match=f"top.pdb: atom 7 is {found}, expected A/VAL 2/CA"):
        require_same_atoms(replace(expected, **{field: values}), expected, "top.pdb")


def test_other_element_is_a_difference():
    """An atom CA of calcium is not one of carbon."""
    expected = peptide()
    elements = expected.elements.astype("U2")
    elements[6] = "Ca"
    with pytest.raises(InputError, match=r"top\.pdb: atom 7 is "):
        require_same_atoms(replace(expected, elements=elements), expected, "top.pdb")


@pytest.mark.parametrize("n_found, n_expected", [(10, 15), (15, 10)])
def test_other_number_of_atoms(n_found, n_expected):
    """Where all that both have agrees, the counts are given."""
    found, expected = (peptide().select(np.arange(n)) for n in (n_found, n_expected))
    with pytest.raises(InputError, match=f"top.pdb: {n_found} atoms, expected {n_expected}"):
        require_same_atoms(found, expected, "top.pdb")


def moved(positions: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n copies, each turned and shifted at random: (n, N, 3)."""
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(n, rng=rng).as_matrix()
    return positions @ rotations.transpose(0, 2, 1) + rng.uniform(-50, 50, (n, 1, 3))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_rigid_motion_is_undone(seed):
    """Frames that are turned and shifted copies come back onto the target, all atoms of them."""
    positions = np.random.default_rng(seed).uniform(-10, 10, (12, 3))
    index = np.array([0, 3, 4, 8])
    found = superpose(moved(positions, 4, seed), positions[index], index)
    np.testing.assert_allclose(found, np.broadcast_to(positions, found.shape), atol=1e-11)


def test_superposition_is_the_best():
    """For frames that also deform, the rotation is that of scipy's independent solution."""
    rng = np.random.default_rng(0)
    positions = rng.uniform(-10, 10, (20, 3))
    frames = moved(positions, 5, 1) + rng.normal(0, 1.0, (5, 20, 3))
    index = np.arange(3, 15)
    target = positions[index]
    found = superpose(frames, target, index)
    for frame, fitted in zip(frames, found, strict=True):
        centre = frame[index].mean(axis=0)
        rotation, _ = Rotation.align_vectors(target - target.mean(axis=0), frame[index] - centre)
        expected = rotation.apply(frame - centre) + target.mean(axis=0)
        np.testing.assert_allclose(fitted, expected, atol=1e-9)


@pytest.mark.parametrize("shape", ["mirror image", "planar", "planar and mirrored"])
def test_superposition_never_mirrors(shape):
    """Distances stay, and so does the hand: det of the map from frame to result is +1.

    Onto its mirror image, or a plane's two faces, a reflection would fit at least as well.
    """
    rng = np.random.default_rng(2)
    frames = moved(rng.uniform(-10, 10, (10, 3)), 6, 3)
    index = np.arange(5)
    target = frames[0, index] * np.array([1, 1, -1])
    if shape != "mirror image":
        flat = rng.uniform(-10, 10, (5, 3)) * np.array([1, 1, 0])
        frames[:, index] = moved(flat, 6, 4)
        target = flat * np.array([1, -1 if "mirrored" in shape else 1, 1])
    found = superpose(frames, target, index)
    for before, after in zip(frames, found, strict=True):
        np.testing.assert_allclose(pdist(after), pdist(before), rtol=1e-10)
        matrix, *_ = np.linalg.lstsq(before - before.mean(0), after - after.mean(0), rcond=None)
        assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-9)


def test_planar_set_takes_the_others_along():
    """Atoms of a ring are enough to bring an atom above it back to its own side."""
    angles = np.linspace(0, 2 * np.pi, 7)[:-1]
    ring = np.stack([np.cos(angles), 1.3 * np.sin(angles), 0 * angles], axis=1)
    ring[0] *= 1.2  # without this, half a turn would fit as well
    positions = np.concatenate([ring, [[0.3, 0.1, 1.5]]])
    found = superpose(moved(positions, 8, 5), ring, np.arange(6))
    np.testing.assert_allclose(found, np.broadcast_to(positions, found.shape), atol=1e-11)
