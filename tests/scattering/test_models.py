"""Every model against explicit sums over configurations: what `Model`, `MoleculeModel` promise."""

import numpy as np
import pytest
from builders import TRICLINIC, direct_sum, random_structure, s_vectors

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.motion.configurations import configurations
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.interpolated import (
    INTERPOLATION_ERROR,
    InterpolatedModel,
    molecule_model,
)
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation, DirectModel

GRID = grid_to_resolution(TRICLINIC, (5, 4, 6), 2.5)
INDICES = GRID.indices_between(6.0, 2.5)[::7]
N_ATOMS = 30
SIGMA_A = 0.3


def moving_molecule() -> Modes:
    """Thirty atoms and two random modes."""
    vectors = np.random.default_rng(3).normal(size=(2, N_ATOMS, 3))
    vectors *= np.sqrt(N_ATOMS / np.sum(vectors**2, axis=(1, 2)))[:, None, None]
    structure = random_structure(np.random.default_rng(2), N_ATOMS, radius_A=4.0)
    return Modes(structure, vectors, np.array([0.3, 0.2]), TRICLINIC, "P 1")


MODES = moving_molecule()
MOVING = Parameters(np.array([0.3, 0.2]), Disorder(SIGMA_A), libration_sigma_deg=2.0)
NORMALS = normal_samples("sobol", 8, 5, generator(1))

# Each with the rms error that it may have. The transform's is 1e-5 at most, see there.
MODELS = {
    "at the voxels": ("target", 1e-5),
    "interpolated": ("band-limited", 2 * INTERPOLATION_ERROR),
}
every_model = pytest.mark.parametrize("name", MODELS)


def how(name):
    """A molecule at the voxels, or on a coarse grid; always by the exact transform."""
    return Computation(motion_A=0.6, grid=MODELS[name][0], transform="direct")


def factors(positions):
    """F at the voxels, in double precision."""
    return direct_sum(MODES.structure, s_vectors(GRID, INDICES), positions)


def seen_of_translation():
    """How much of |⟨F⟩|² the translation turns into diffuse intensity: 1 − e^{−q²σ²}, (V,)."""
    q = 2 * np.pi * s_vectors(GRID, INDICES)
    return -np.expm1(-np.sum(q**2, axis=1) * SIGMA_A**2)


def expected_in_motion():
    """⟨|F|²⟩ − |⟨F⟩|² e^{−q²σ²} over eight explicit configurations, turned and moved."""
    moved = factors(configurations(MODES, MOVING.sampled, NORMALS, np.arange(8)))
    squared_mean = np.abs(moved.mean(axis=0)) ** 2
    variance = np.mean(np.abs(moved) ** 2, axis=0) - squared_mean
    return variance + squared_mean * seen_of_translation()


def expected_at_rest():
    """|F|² (1 − e^{−q²σ²}) of the mean structure."""
    return np.abs(factors(MODES.structure.positions[None])[0]) ** 2 * seen_of_translation()


def agrees(found, expected, name):
    """Equal within the model's error."""
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert found.shape == expected.shape
    assert error < MODELS[name][1]


@every_model
def test_one_molecule(name):
    """A rank alone holds all voxels; parts of the intensity are brought to them alike."""
    model = molecule_model(MODES, GRID, INDICES, Ranks(), how(name))
    assert isinstance(model, InterpolatedModel if name == "interpolated" else DirectModel)
    np.testing.assert_array_equal(model.rows, np.arange(len(INDICES)))
    for part, expected in (
        (model.internal_motion(MOVING, NORMALS), expected_in_motion()),
        (model.rigid(MOVING), expected_at_rest()),
    ):
        assert len(part.internal) == len(part.rigid) == len(model.moments.rows)
        agrees(model.at_voxels(part.internal + part.rigid), expected, name)


@every_model
def test_crystal_of_one_molecule(name):
    """In P 1 without halos a crystal's intensity per molecule is the molecule's."""
    model = forward_model(MODES, GRID, INDICES, Ranks(), how(name))
    np.testing.assert_array_equal(model.rows, np.arange(len(INDICES)))
    assert model.group.size == 1
    agrees(model.internal_motion(MOVING, NORMALS), expected_in_motion(), name)
    agrees(model.rigid(MOVING), expected_at_rest(), name)
