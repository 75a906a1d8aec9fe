"""Contacts of a crystal against gemmi's operators, image by image, and by hand."""

from itertools import product

import gemmi
import numpy as np
import pytest
from builders import TRICLINIC, random_structure

from hpc_diffuser.crystal.contacts import SAME_PLACE_A, crystal_contacts
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.packing import crystal_packing
from hpc_diffuser.system.errors import InputError

CELLS = {
    "P 1": (13.1, 14.3, 12.7, 82.0, 101.0, 113.0),
    "P 1 21 1": (13.0, 14.0, 17.0, 90.0, 104.0, 90.0),
    "C 1 2 1": (24.0, 13.0, 15.0, 90.0, 98.0, 90.0),
    "P 43 21 2": (19.0, 19.0, 27.0, 90.0, 90.0, 90.0),
    "P 61": (20.0, 20.0, 25.0, 90.0, 90.0, 120.0),
    "R 3:H": (31.0, 31.0, 20.0, 90.0, 90.0, 120.0),
}


def by_gemmi(positions: np.ndarray, cell: tuple, group: str, reach_A: float) -> list[tuple]:
    """(atom, mate, distance) of every pair with an image, by gemmi's operators in 343 cells."""
    box, found = gemmi.UnitCell(*cell), []
    fractions = [box.fractionalize(gemmi.Position(*p)).tolist() for p in positions]
    for op, n in product(gemmi.SpaceGroup(group).operations(), product(range(-3, 4), repeat=3)):
        if op == gemmi.Op("x,y,z") and n == (0, 0, 0):
            continue
        for mate, fraction in enumerate(fractions):
            image = box.orthogonalize(gemmi.Fractional(*(np.array(op.apply_to_xyz(fraction)) + n)))
            distances = np.linalg.norm(positions - image.tolist(), axis=1)
            near = (distances < reach_A) & (distances >= SAME_PLACE_A)
            found += [(int(a), mate, float(distances[a])) for a in np.flatnonzero(near)]
    return sorted(found)


@pytest.mark.parametrize("group", CELLS)
def test_contacts_are_those_that_gemmi_makes(group):
    """Each, with its distance, once from either side."""
    positions = random_structure(np.random.default_rng(4), 12, 4.0).positions
    contacts = crystal_contacts(positions, CELLS[group], group, 7.0)
    distances = np.linalg.norm(contacts.steps, axis=1).tolist()
    found = sorted(zip(contacts.atoms.tolist(), contacts.mates.tolist(), distances, strict=True))
    expected = by_gemmi(positions, CELLS[group], group, 7.0)
    assert len(found) > 15
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_contacts_by_hand():
    """One atom in a cell of 4 x 20 x 20 Å: its images at ±4 and ±8 Å along a, within 10 Å."""
    contacts = crystal_contacts(np.zeros((1, 3)), (4, 20, 20, 90, 90, 90), "P 1", 10.0)
    np.testing.assert_allclose(sorted(contacts.steps[:, 0]), [-8, -4, 4, 8], atol=1e-12)
    np.testing.assert_allclose(contacts.turns, np.tile(np.eye(3), (4, 1, 1)), atol=1e-12)


def test_atom_on_a_special_position():
    """On a twofold axis an atom is its own image: no contact; its lattice images are ones."""
    cell = (9.0, 30.0, 30.0, 90.0, 90.0, 90.0)
    contacts = crystal_contacts(np.zeros((1, 3)), cell, "P 1 2 1", 10.0)
    assert len(contacts) == 4  # ±9 Å along a, as translations and as rotations
    assert np.linalg.norm(contacts.steps, axis=1).min() == pytest.approx(9.0)


@pytest.mark.parametrize("shift", [(0.3, -1.4, 2.2), (1.0, 0.0, -2.0)])
def test_origin_of_the_cell_does_not_matter(shift):
    """In P 1 a molecule may lie anywhere: the same contacts."""
    positions = random_structure(np.random.default_rng(4), 15, 4.0).positions
    moved = positions + np.linalg.solve(fractionalization(TRICLINIC), np.array(shift))
    one, other = (crystal_contacts(p, TRICLINIC, "P 1", 6.0) for p in (positions, moved))
    rows = [np.lexsort((*np.round(c.steps, 6).T, c.mates, c.atoms)) for c in (one, other)]
    np.testing.assert_array_equal(one.atoms[rows[0]], other.atoms[rows[1]])
    np.testing.assert_allclose(one.steps[rows[0]], other.steps[rows[1]], atol=1e-9)


def test_renamed_axes_do_not_matter():
    """b, c, a instead of a, b, c, with the atoms turned along: the same distances and pairs."""
    a, b, c, alpha, beta, gamma = TRICLINIC
    renamed = (b, c, a, beta, gamma, alpha)
    positions = random_structure(np.random.default_rng(4), 15, 4.0).positions
    fractional = positions @ fractionalization(TRICLINIC).T
    turned = np.linalg.solve(fractionalization(renamed), fractional[:, [1, 2, 0]].T).T
    found = [
        sorted(np.round(np.linalg.norm(crystal_contacts(p, cell, "P 1", 6.0).steps, axis=1), 6))
        for p, cell in ((positions, TRICLINIC), (turned, renamed))
    ]
    assert len(found[0]) > 20 and found[0] == found[1]


def test_no_neighbours():
    """A cell that is much larger than the molecule: none, of the right shapes."""
    contacts = crystal_contacts(np.zeros((2, 3)), (90, 90, 90, 90, 90, 90), "P 1", 10.0)
    assert len(contacts) == 0 and contacts.turns.shape == (0, 3, 3)


def test_more_than_the_asymmetric_unit_is_refused():
    """A dimer and the twofold axis that makes one half of the other, some cells away."""
    half = random_structure(np.random.default_rng(4), 30, 6.0).positions + np.array([9.0, 3.0, 8.0])
    cell = (40.0, 25.0, 40.0, 90.0, 90.0, 90.0)
    both = np.concatenate([half, half * [-1, 1, -1] + [40.0, 0.0, 80.0] + 0.2])
    for made in (crystal_contacts, crystal_packing):
        with pytest.raises(
            InputError, match=r"100 % of the atoms lie on others, .* P 1 2 1"
        ) as told:
            made(both, cell, "P 1 2 1", 6.0)
        assert "\n" not in str(told.value)


def test_cell_that_holds_no_such_molecule():
    """1000 atoms in 1000 Å³: a cell by mistake, which would have thousands of images."""
    positions = random_structure(np.random.default_rng(4), 1000, 20.0).positions
    with pytest.raises(InputError, match=r"1000 Å³ do not hold 1 copies .* of 1000 atoms"):
        crystal_contacts(positions, (10, 10, 10, 90, 90, 90), "P 1", 10.0)
