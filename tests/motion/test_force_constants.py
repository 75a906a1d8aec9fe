"""Force constants against wells that are sampled, and the correction against a solved crystal."""

import numpy as np
import pytest

from hpc_diffuser.motion.restraints import (
    KCAL_A2,
    force_constants,
    rms_fluctuations,
    updated_restraints,
)

TEMPERATURE_K = 310.0
# k_B and N_A of the SI, exact.
KT = 1.380649e-23 * 6.02214076e23 * TEMPERATURE_K / 1000  # kJ/mol
ATOMS, STEPS = 60, 20_000


def sampled_wells(constants: np.ndarray) -> np.ndarray:
    """Mean square displacements (N,) nm² along x, y, z of atoms in wells ½ F |r − r₀|².

    Metropolis's Monte Carlo in the energy itself: it knows nothing of equipartition.
    """
    rng = np.random.default_rng(11)
    place = np.zeros((len(constants), 3))
    reach = 2.4 * np.sqrt(KT / constants)[:, None]  # of a trial: any would do
    squares = np.zeros_like(place)
    for _ in range(STEPS):
        trial = place + reach * rng.uniform(-1, 1, place.shape)
        rise = 0.5 * constants[:, None] * (trial**2 - place**2)
        accepted = rng.random(place.shape) < np.exp(-rise / KT)
        place = np.where(accepted, trial, place)
        squares += place**2
    return squares.mean(axis=1) / STEPS


def test_wells_are_found_again():
    """An Einstein crystal sampled by Monte Carlo: B = 8π²⟨x²⟩ gives its force constants.

    Some 4000 independent samples for each atom: 2.5 % each, 0.3 % in the mean.
    """
    constants = np.geomspace(200.0, 5000.0, ATOMS)
    b_factors_A2 = 8 * np.pi**2 * 100 * sampled_wells(constants)
    found = force_constants(b_factors_A2, TEMPERATURE_K)
    np.testing.assert_allclose(found, constants, rtol=0.12)
    assert np.mean(found / constants) == pytest.approx(1, abs=0.012)


def test_units():
    """A B-factor of 8π² Å² is 1 Å² along each axis, 3^½ Å in space, and kT per Å²."""
    b = np.array([8 * np.pi**2])
    assert rms_fluctuations(b)[0] == pytest.approx(np.sqrt(3))
    in_kcal_A2 = force_constants(b, TEMPERATURE_K)[0] * KCAL_A2
    assert in_kcal_A2 == pytest.approx(KT / 4.184)


def test_no_b_factor_no_number():
    """An atom that does not move is held by an infinite force; of NaN there is none."""
    found = force_constants(np.array([0.0, np.nan]), 300.0)
    assert np.isposinf(found[0]) and np.isnan(found[1])


def test_single_pass_is_a_correction_of_nothing():
    """scale · max(F_exp − F_MD, 0): nothing where the atom moves less than in the crystal."""
    crystal, moving = np.array([900.0, 300.0]), np.array([100.0, 400.0])
    found = updated_restraints(np.zeros(2), crystal, moving, 1 / 200)
    np.testing.assert_allclose(found, [4.0, 0.0])
    assert updated_restraints(np.array([1.0, 1.0]), crystal, moving, 1 / 200)[1] == 0.5


def test_independent_wells_need_one_pass():
    """Where atoms do not know of each other, scale 1 gives the crystal's B-factors at once."""
    own, crystal = np.array([50.0, 200.0, 700.0]), np.array([600.0, 250.0, 800.0])
    restraint = updated_restraints(np.zeros(3), crystal, own, 1.0)
    np.testing.assert_allclose(own + restraint, crystal)


def springs(atoms: int) -> np.ndarray:
    """Second derivatives (N, N), kJ/mol/nm², of a chain that is held softly everywhere."""
    stiff = 2000.0 * (2 * np.eye(atoms) - np.eye(atoms, k=1) - np.eye(atoms, k=-1))
    return stiff + np.diag(np.full(atoms, 60.0))


def test_corrections_converge_in_a_chain():
    """Atoms that restrain each other: the exact ⟨x²⟩ = kT H⁻¹ comes to a crystal that there is.

    The crystal is the same chain under restraints that the corrections have to find. The whole
    correction at once would overshoot: each atom would be held by its neighbours' share as well.
    """
    chain = springs(12)
    true = np.random.default_rng(3).uniform(100, 900, 12)

    def well(restraints: np.ndarray) -> np.ndarray:
        squares = KT * np.diag(np.linalg.inv(chain + np.diag(restraints)))
        return force_constants(8 * np.pi**2 * 100 * squares, TEMPERATURE_K)

    crystal, restraints = well(true), np.zeros(12)
    once = updated_restraints(restraints, crystal, well(restraints), 1.0)
    assert np.mean(well(once)) > np.mean(crystal)
    distance = []
    for _ in range(400):
        restraints = updated_restraints(restraints, crystal, well(restraints), 0.2)
        distance.append(np.abs(well(restraints) / crystal - 1).max())
    assert distance[-1] < 1e-3 and distance[0] > 10 * distance[-1]
    np.testing.assert_allclose(restraints, true, rtol=0.05)
