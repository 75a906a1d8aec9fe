"""Transforms of all molecules of a cell against sums over the atoms of their copies."""

import gemmi
import numpy as np
import pytest

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.placed import placed_molecules
from hpc_diffuser.system.errors import InputError

CELLS = {
    "P 1": (11.0, 12.0, 13.0, 85.0, 100.0, 95.0),
    "P 1 21 1": (11.0, 12.0, 13.0, 90.0, 100.0, 90.0),
    "P 43 21 2": (12.0, 12.0, 17.0, 90.0, 90.0, 90.0),
    "P 31 2 1": (12.0, 12.0, 17.0, 90.0, 90.0, 120.0),
    "C 1 2 1": (14.0, 12.0, 13.0, 90.0, 100.0, 90.0),
}


@pytest.mark.parametrize("space_group", CELLS)
def test_every_molecule_at_its_place(space_group):
    """Every operator of gemmi's on every atom: F_m, and of integer hkl gemmi's extinctions."""
    cell, rng = CELLS[space_group], np.random.default_rng(0)
    divisions = (2, 2, 3)
    atoms = rng.uniform(0, 0.6, (7, 3))
    weights = rng.uniform(1, 3, 7)
    indices = np.unique(rng.integers(-7, 8, (60, 3)), axis=0)
    placed = placed_molecules(indices, divisions, cell, space_group)
    origin = rng.normal(size=3) * 4
    about = atoms - fractionalization(cell) @ origin
    expanded = placed.expanded
    assert (expanded[:, 0] >= 0).all() and len(np.unique(expanded, axis=0)) == len(expanded)
    own = np.exp(2j * np.pi * (expanded / np.array(divisions)) @ about.T) @ weights
    hkl, total = indices / np.array(divisions), 0
    operators = list(gemmi.SpaceGroup(space_group).operations())
    assert placed.n_molecules == len(operators)
    for m, operator in enumerate(operators):
        copies = np.array([operator.apply_to_xyz(list(x)) for x in atoms])
        expected = np.exp(2j * np.pi * hkl @ copies.T) @ weights
        np.testing.assert_allclose(placed.transform(m, own, origin), expected, atol=1e-9)
        total = total + expected
    np.testing.assert_allclose(placed.cell(own, origin), total, atol=1e-9)
    whole = (indices % np.array(divisions) == 0).all(axis=1)
    absent = [
        gemmi.SpaceGroup(space_group).operations().is_systematically_absent(h)
        for h in np.rint(hkl[whole]).astype(int).tolist()
    ]
    assert np.abs(total[whole][absent]).max(initial=0) < 1e-9


def test_axes_that_are_mixed_are_divided_alike():
    """One line says which."""
    with pytest.raises(InputError, match="mixes h and k"):
        placed_molecules(np.zeros((1, 3), int), (2, 3, 2), CELLS["P 43 21 2"], "P 43 21 2")
