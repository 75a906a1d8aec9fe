"""The whole model of a crystal against its molecules one by one: an expansion to P 1."""

from dataclasses import replace
from functools import cache

import gemmi
import numpy as np
import pytest
from oracles import COUPLED, HALO, coupling

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

CRYSTALS = {
    "P 41": (38.0, 38.0, 44.0, 90.0, 90.0, 90.0),
    "P 21 21 21": (36.0, 40.0, 44.0, 90.0, 90.0, 90.0),
    "P 43 21 2": (38.0, 38.0, 44.0, 90.0, 90.0, 90.0),
    "I 2 3": (60.0, 60.0, 60.0, 90.0, 90.0, 90.0),
    "R 3:H": (55.0, 55.0, 40.0, 90.0, 90.0, 120.0),
}
AMPLITUDES = np.array([0.25, 0.2, 0.15])
SIGMAS, PARTIAL = (0.2, 0.3, 0.45), (0.4, -0.2, 0.3)
OWN, LIQUID, RANGE = 0.15, 0.25, 8.0


@cache
def molecule() -> Modes:
    """Every third atom of the example's protein."""
    modes = example_modes()
    kept = np.arange(0, len(modes.structure), 3)
    return replace(modes, structure=modes.structure.select(kept), vectors=modes.vectors[:, kept])


def translation_covariance() -> np.ndarray:
    """(3, 3) Å², by the textbook's partial correlations."""
    a, b, z = PARTIAL
    c = z * np.sqrt((1 - a**2) * (1 - b**2)) + a * b
    return np.array([[1, a, b], [a, 1, c], [b, c, 1]]) * np.outer(SIGMAS, SIGMAS)


def expanded_intensity(modes: Modes, hkl: np.ndarray) -> np.ndarray:
    """Every molecule of the primitive cell, turned with its motions: pair sum and halo, (V,)."""
    to_fractional = fractionalization(modes.unit_cell)
    q = 2 * np.pi * hkl @ to_fractional
    q2 = np.sum(q**2, axis=1)
    factors = form_factors(modes.structure.elements, q2 / (4 * np.pi**2))
    factors = factors * modes.structure.occupancies
    halo = coupling(hkl, q2, modes.unit_cell, modes.space_group)
    covariance = translation_covariance() + HALO**2 * np.eye(3)
    operations = gemmi.find_spacegroup_by_name(modes.space_group).operations().sym_ops
    total = np.zeros(len(hkl))
    for operation in operations:
        rotation = np.linalg.inv(to_fractional) @ (np.array(operation.rot) / 24) @ to_fractional
        positions = modes.structure.positions @ rotation.T
        fields = AMPLITUDES[:, None, None] * modes.vectors @ rotation.T
        common = rotation @ covariance @ rotation.T
        distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
        liquid = LIQUID**2 * np.exp(-distances / RANGE) + OWN**2 * np.eye(len(positions))
        for v in range(len(hkl)):
            along = fields @ q[v]
            c = along.T @ along + q[v] @ common @ q[v] + q2[v] * liquid
            f = factors[v] * np.exp(1j * (positions @ q[v]) - np.diag(c) / 2)
            total[v] += (f.conj() @ np.expm1(c) @ f).real + np.abs(f.sum()) ** 2 * halo[v]
    return total / len(operations)


@pytest.mark.parametrize("space_group", CRYSTALS)
def test_all_motions_and_halos_of_a_crystal(space_group):
    """Modes, anisotropic translation, liquid-like and uncorrelated motion, coupled to the lattice.

    1 − CC < 1e-3 and scale within 1 %, at 60 random voxels, between Bragg peaks and at them.
    """
    cell = CRYSTALS[space_group]
    modes = replace(molecule(), unit_cell=cell, space_group=space_group)
    grid = grid_to_resolution(cell, (3, 3, 3), 2.5)
    indices = unique_indices(grid, 5.0, 2.5, grid_operations(grid, space_group))
    some = np.random.default_rng(0).choice(len(indices), 60, replace=False)
    indices = indices[np.sort(some)]
    expected = expanded_intensity(modes, indices / 3)
    disorder = Disorder(SIGMAS, OWN, PARTIAL, LIQUID, RANGE, HALO, COUPLED)
    model = forward_model(modes, grid, indices, Ranks(), Computation(0.35, liquid_gamma_A=RANGE))
    normals = normal_samples("sobol", 256, 3, generator(1))
    found = model.internal_motion(Parameters(AMPLITUDES, disorder), normals)
    assert 1 - np.corrcoef(found, expected)[0, 1] < 1e-3
    assert abs(found @ expected / (expected @ expected) - 1) < 0.01
