"""Phonons of rigid molecules against a crystal whose waves are known by hand."""

import numpy as np
import pytest
from builders import random_structure

from hpc_diffuser.motion.lattice.phonons import (
    dispersion,
    frequencies,
    mass_matrix,
    sound_velocities,
)
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.lattice.springs import contact_springs

CUBE = (10.0, 10.0, 10.0, 90.0, 90.0, 90.0)
KT = 8.31446261815324e-3 * 300 * 100  # Da Å²/ps² at 300 K


def cube():
    """Eight atoms of a cube of 6 Å in a cell of 10 Å: four contacts across each face, 4 Å long."""
    corners = np.array(np.meshgrid(*[(-3.0, 3.0)] * 3)).reshape(3, -1).T
    structure = random_structure(np.random.default_rng(1), 8, elements=("C",))
    structure.positions[:], structure.occupancies[:] = corners, 1.0
    return structure, rigid_lattice(structure, CUBE, "P 1", contact_A=4.1)


def test_waves_of_a_cubic_crystal():
    """Along a*, translation along x of molecules that do not turn: ω = 2 √(κ/m) |sin πh|.

    κ is that of four springs across a face. Across the others molecules move alike.
    """
    structure, lattice = cube()
    assert lattice.springs.n_interfaces == 3
    masses = mass_matrix(structure, lattice.springs.centre)
    mass = 8 * 12.011
    np.testing.assert_allclose(masses[:3, :3], mass * np.eye(3), rtol=1e-4)
    kappa, h = 1 / 0.5**2, np.array([0.05, 0.2, 0.5])
    hkl = h[:, None] * np.eye(3)[0]
    found = frequencies(lattice.springs, lattice.stiffness(0.5), masses, hkl, 300.0)
    expected = 2 * np.sqrt(4 * kappa * KT / mass) * np.sin(np.pi * h) / (2 * np.pi)
    for own, wave in zip(found, expected, strict=True):
        assert np.abs(own - wave).min() < 1e-4 * wave  # gemmi's carbon has 12.0107 Da
    velocity = np.sqrt(4 * kappa * KT / mass) * 10.0 * 100
    sound = sound_velocities(lattice.springs, lattice.stiffness(0.5), masses, CUBE, 300.0)
    np.testing.assert_allclose(sound[:, 2], velocity, rtol=1e-3)


def test_three_branches_begin_at_0():
    """And the others do not."""
    structure, lattice = cube()
    masses = mass_matrix(structure, lattice.springs.centre)
    along, found = dispersion(lattice.springs, lattice.stiffness(1.0), masses, 300.0, 5)
    assert found.shape == (3, 5, 6) and along[-1] == 0.5
    assert np.abs(found[:, 0, :3]).max() < 1e-5 * found.max() and found[:, 0, 3:].min() > 0.01


def test_reference_point_does_not_matter():
    """Masses and springs about another centre: the same frequencies."""
    structure, lattice = cube()
    other = contact_springs(lattice.springs.packing, np.array([4.0, 1.0, -2.0]))
    hkl = np.array([[0.1, 0.3, -0.2]])
    found = [
        frequencies(s, lattice.stiffness(1.0), mass_matrix(structure, s.centre), hkl, 300.0)
        for s in (lattice.springs, other)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-9)
