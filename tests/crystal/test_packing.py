"""Which molecules of a crystal touch, against gemmi's operators in 27 cells, and by hand."""

from itertools import product

import gemmi
import numpy as np
import pytest
from builders import random_structure

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.packing import CONTACT_A, crystal_packing
from hpc_diffuser.system.errors import InputError

CELLS = {
    "P 1": (13.1, 14.3, 12.7, 82.0, 101.0, 113.0),
    "P 1 21 1": (13.0, 14.0, 17.0, 90.0, 104.0, 90.0),
    "C 1 2 1": (24.0, 13.0, 15.0, 90.0, 98.0, 90.0),
    "P 43 21 2": (19.0, 19.0, 27.0, 90.0, 90.0, 90.0),
    "P 61": (16.0, 16.0, 24.0, 90.0, 90.0, 120.0),
    "R 3:H": (26.0, 26.0, 17.0, 90.0, 90.0, 120.0),
}
REACH_A = 7.0


def molecule() -> np.ndarray:
    """Twenty atoms, off the special positions."""
    return random_structure(np.random.default_rng(4), 20, 4.5).positions + np.array([1.0, 2.0, 1.5])


def by_gemmi(positions, cell, group, reach_A):
    """Pairs of atoms by operator and cell, in 3 x 3 x 3 cells."""
    box, found = gemmi.UnitCell(*cell), {}
    fractions = [box.fractionalize(gemmi.Position(*p)).tolist() for p in positions]
    operators = list(gemmi.SpaceGroup(group).operations())
    for (number, op), n in product(enumerate(operators), product((-1, 0, 1), repeat=3)):
        if number == 0 and n == (0, 0, 0):
            continue
        image = [
            box.orthogonalize(gemmi.Fractional(*(np.array(op.apply_to_xyz(f)) + n))).tolist()
            for f in fractions
        ]
        distances = np.linalg.norm(positions[:, None] - np.array(image), axis=-1)
        if (distances < reach_A).any():
            found[number, n] = int(np.sum((distances < reach_A) & (distances >= 1.0)))
    return found


@pytest.mark.parametrize("group", CELLS)
def test_neighbours_are_those_that_gemmi_makes(group):
    """Each with its number of contacts; an interface is one with its other side."""
    positions, cell = molecule(), CELLS[group]
    packing = crystal_packing(positions, cell, group, REACH_A)
    found = {n.place: len(n.atoms) for n in packing.neighbours}
    assert found == by_gemmi(positions, cell, group, REACH_A)
    to_fraction = gemmi.UnitCell(*cell)
    for image, first in zip(packing.images(), packing.firsts(), strict=True):
        there = to_fraction.fractionalize(gemmi.Position(*first.turn @ positions[0] + first.shift))
        here = to_fraction.fractionalize(gemmi.Position(*positions[0])).tolist()
        np.testing.assert_allclose(gemmi.Op(image).apply_to_xyz(here), there.tolist(), atol=1e-9)
    sides = np.bincount(packing.interfaces)
    assert set(sides) <= {1, 2} and len(sides) == packing.n_interfaces
    for i in np.flatnonzero(sides == 2):
        one, other = (
            n for n, of in zip(packing.neighbours, packing.interfaces, strict=True) if of == i
        )
        assert len(one.atoms) == len(other.atoms)
        # There and back again.
        place = one.turn @ (other.turn @ positions[0] + other.shift) + one.shift
        np.testing.assert_allclose(place, positions[0], atol=1e-9)


@pytest.mark.parametrize("group", CELLS)
def test_every_molecule_has_the_same_neighbours(group):
    """Where the tables say that a molecule's neighbour is, its operator puts it."""
    positions, cell = molecule(), CELLS[group]
    packing = crystal_packing(positions, cell, group, REACH_A)
    to_fraction = fractionalization(cell)
    points = positions @ to_fraction.T
    for m, n in np.ndindex(packing.targets.shape):
        neighbour, target = packing.neighbours[n], packing.targets[m, n]
        seen = (positions @ neighbour.turn.T + neighbour.shift) @ to_fraction.T
        there = seen @ packing.rotations[m].T + packing.translations[m]
        named = points @ packing.rotations[target].T + packing.translations[target]
        np.testing.assert_allclose(there, named + packing.cells[m, n], atol=1e-9)


def test_turning_onto_itself():
    """A twofold axis between two molecules: one interface, which both see alike."""
    positions = np.array([[2.0, 0.0, 0.0], [6.0, 3.0, 1.0], [6.0, 6.0, 5.0]])
    packing = crystal_packing(positions, (9.0, 9.0, 9.0, 90.0, 90.0, 90.0), "P 1 2 1", 6.0)
    own = [i for i, n in enumerate(packing.neighbours) if n.place == (1, (0, 0, 0))]
    assert len(own) == 1 and np.sum(packing.interfaces == packing.interfaces[own[0]]) == 1


@pytest.mark.parametrize(
    ("cell", "group"),
    [
        ((5.0, 5.0, 30.0, 90.0, 90.0, 90.0), "P 1"),  # layers
        ((8.0, 8.0, 8.0, 90.0, 90.0, 90.0), "P 1"),  # nothing touches
        ((4.0, 4.0, 60.0, 90.0, 90.0, 90.0), "P 1 1 2"),
    ],
)
def test_what_falls_apart_is_refused(cell, group):
    """In one line that says by which distance."""
    with pytest.raises(InputError, match=r"hold together by atoms nearer than 5\.5 Å") as told:
        crystal_packing(np.array([[0.5, 0.5, 10.0]]), cell, group, 5.5)
    assert "\n" not in str(told.value)


def test_two_lattices_through_each_other_are_refused():
    """Atoms at the corners that touch across the body diagonals only make two nets of P 1."""
    cell = (10.0, 10.0, 10.0, 90.0, 90.0, 90.0)
    arms = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]) * 9.0
    ends = np.concatenate([arms, -arms])
    with pytest.raises(InputError, match="hold together"):
        crystal_packing(ends, cell, "P 1", 1.9)


COUNTS = {
    "all alternates": (33, 16, 31, 63, 9, 53),
    "one conformer": (20, 12, 21, 26, 9, 36),
}


@pytest.mark.parametrize("atoms", COUNTS)
def test_triclinic_lysozyme(data, atoms):
    """Six interfaces, with the contacts that an independent script counted."""
    path = data / "lysozyme" / "6o2h.pdb"
    model = gemmi.read_structure(str(path))[0]
    positions = np.array(
        [
            a.pos.tolist()
            for r in model["A"]
            for a in r
            if not r.is_water() and a.element.name != "H"
            if atoms == "all alternates"
            or (a.altloc in "\0A" and gemmi.find_tabulated_residue(r.name).is_amino_acid())
        ]
    )
    cell = (27.424, 32.134, 34.513, 88.66, 108.46, 111.88)
    packing = crystal_packing(positions, cell, "P 1", CONTACT_A)
    firsts = packing.firsts()
    expected = [(-1, -1, 0), (-1, 0, -1), (-1, 0, 0), (0, -1, 0), (0, -1, 1), (0, 0, -1)]
    assert [n.cell for n in firsts] == expected
    assert tuple(len(n.atoms) for n in firsts) == COUNTS[atoms]
    assert packing.labels()[0] == "-1 -1 0"
