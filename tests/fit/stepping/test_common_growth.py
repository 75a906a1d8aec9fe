"""Columns of the Jacobian that are right for all motion that grows alike."""

from dataclasses import replace

import numpy as np
import pytest
from builders import random_structure

from hpc_diffuser.fit.stepping.common_growth import corrected, shares_of_motion
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.lattice import blurring

CELL = (17.0, 18.0, 19.0, 88.0, 105.0, 98.0)


def test_columns_add_up_to_what_maps_change_by():
    """Along all φ; one that does not move is left as it is, as is what stays."""
    rng, point = np.random.default_rng(1), np.array([0.5, 0.0, 2.0, 0.7])
    flat, bent = rng.normal(size=(2, 4, 50))

    def calculated(at: np.ndarray) -> np.ndarray:
        phi = at**2
        return phi @ flat - (phi @ bent) ** 2 / 10

    columns = [(i, flat[i].copy()) for i in (0, 1, 2)]
    shares = {0: 0.25, 1: 0.0, 2: 0.75}
    found = dict(corrected(columns, point, shares, calculated))
    along = np.array([1, 1, 1, 0]) * point**2
    expected = along @ flat - (point**2 @ bent) * (along @ bent) / 5
    total = sum(point[i] ** 2 * column for i, column in found.items())
    np.testing.assert_allclose(total, expected, rtol=1e-9)
    np.testing.assert_array_equal(found[1], flat[1])
    moved = {i: (found[i] - flat[i]) * point[i] ** 2 for i in (0, 2)}
    np.testing.assert_allclose(moved[2], 3 * moved[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("lengths", [1.5, (1.6, 1.2, 1.8)])
def test_shares_are_those_of_squared_displacements(lengths):
    """Of rigid motion all: U is that of all springs; of a mode its variance."""
    structure = random_structure(np.random.default_rng(1), 30)
    lattice = rigid_lattice(structure, CELL, "P 1", contact_A=11.0)
    vectors = np.ones((2, 30, 3)) / np.sqrt(3)
    modes = Modes(structure, vectors, np.full(2, 0.2), CELL, "P 1", lattice=lattice)
    parameters = Parameters(np.array([0.3, 0.4]), lattice_spring_A=lengths, lattice=lattice)
    springs = {5 + i: i for i in range(np.size(lengths))}
    shares = shares_of_motion(modes, parameters, {0: 0, 3: 1}, springs)
    still = replace(parameters, mode_amplitudes_A=np.zeros(2))
    rigid = np.trace(blurring(modes, lattice, still), axis1=1, axis2=2).mean()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[0] == pytest.approx(0.09 / (0.25 + rigid))
    assert sum(shares[i] for i in springs) == pytest.approx(rigid / (0.25 + rigid))
