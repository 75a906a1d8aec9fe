"""Harmonics that a Laue class leaves: how many, and that its operations do not change them."""

import numpy as np
import pytest

from hpc_diffuser.crystal.lattice import fractionalization, laue_operations
from hpc_diffuser.maps.harmonics import laue_harmonics

# Of degree 2 and of degree 4 together, by group theory.
COUNTS = {
    "P 1": ((17.0, 18.0, 19.0, 88.0, 105.0, 98.0), 14),
    "P 1 21 1": ((17.0, 18.0, 19.0, 90.0, 105.0, 90.0), 8),
    "P 21 21 21": ((17.0, 18.0, 19.0, 90.0, 90.0, 90.0), 5),
    "P 41": ((17.0, 17.0, 19.0, 90.0, 90.0, 90.0), 4),
    "P 43 21 2": ((17.0, 17.0, 19.0, 90.0, 90.0, 90.0), 3),
    "P 31": ((17.0, 17.0, 19.0, 90.0, 90.0, 120.0), 4),
    "P 61": ((17.0, 17.0, 19.0, 90.0, 90.0, 120.0), 2),
    "P 21 3": ((17.0, 17.0, 17.0, 90.0, 90.0, 90.0), 1),
}


@pytest.mark.parametrize("space_group", COUNTS)
def test_as_many_as_the_symmetry_leaves(space_group):
    """Independent, unchanged by every operation, and without a mean over the sphere."""
    cell, count = COUNTS[space_group]
    rng = np.random.default_rng(1)
    hkl = rng.normal(size=(200, 3))
    found = laue_harmonics(hkl @ fractionalization(cell), space_group, cell)
    assert found.shape == (200, count)
    assert np.linalg.matrix_rank(np.column_stack([np.ones(200), found])) == count + 1
    for operation in laue_operations(space_group, cell):
        mates = laue_harmonics(hkl @ operation @ fractionalization(cell), space_group, cell)
        np.testing.assert_allclose(mates, found, atol=1e-9)
    cosines, weights = np.polynomial.legendre.leggauss(12)
    turns = 2 * np.pi * np.arange(24) / 24
    sines = np.sqrt(1 - cosines**2)[:, None]
    z = np.broadcast_to(cosines[:, None], (12, 24))
    sphere = np.stack([sines * np.cos(turns), sines * np.sin(turns), z], axis=-1).reshape(-1, 3)
    values = laue_harmonics(sphere, space_group, cell).reshape(12, 24, count)
    assert np.abs(np.einsum("a,abk->k", weights, values)).max() < 1e-9


def test_the_origin_has_no_direction():
    """All are 0 there."""
    cell = COUNTS["P 1"][0]
    assert not laue_harmonics(np.zeros((1, 3)), "P 1", cell).any()
