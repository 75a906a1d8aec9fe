"""Which copy of a molecule lies where a model of it does, against gemmi's operators."""

import gemmi
import numpy as np
import pytest
from builders import random_structure

from hpc_diffuser.crystal.copy_beside import copy_beside, distance_A
from hpc_diffuser.crystal.lattice import fractionalization

CELLS = {
    "P 1 21 1": (33.0, 24.0, 37.0, 90.0, 104.0, 90.0),
    "R 3:H": (56.0, 56.0, 37.0, 90.0, 90.0, 120.0),
    "P 43 21 2": (49.0, 49.0, 57.0, 90.0, 90.0, 90.0),
}


@pytest.mark.parametrize("group", CELLS)
def test_every_copy_is_found(group):
    """Many cells away, whichever operator made it; to what the model differs by."""
    cell, rng = CELLS[group], np.random.default_rng(4)
    model = random_structure(rng, 40, 8.0).positions + np.array([5.0, 11.0, 6.0])
    moved = model + rng.normal(scale=0.5, size=model.shape)
    to_fraction = fractionalization(cell)
    for op in gemmi.SpaceGroup(group).operations():
        fractions = [op.apply_to_xyz(f) for f in (moved @ to_fraction.T).tolist()]
        there = (np.array(fractions) + rng.integers(-9, 9, 3)) @ np.linalg.inv(to_fraction).T
        copy = copy_beside(there, model, cell, group)
        np.testing.assert_allclose(copy.of(there), moved, atol=1e-9)
        back = np.array(
            [gemmi.Op(copy.label).apply_to_xyz(f) for f in (there @ to_fraction.T).tolist()]
        )
        np.testing.assert_allclose(back @ np.linalg.inv(to_fraction).T, moved, atol=1e-9)


def test_what_is_near_stays():
    """A model that has moved by some Å is no other copy."""
    model = random_structure(np.random.default_rng(4), 40, 8.0).positions
    copy = copy_beside(model + 2.0, model, CELLS["P 1 21 1"], "P 1 21 1")
    assert copy.label == "x,y,z" and distance_A(copy.of(model), model) == 0
