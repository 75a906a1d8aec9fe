"""The whole forward model against the closed form of Gaussian motion."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_diffuser.disorder import Disorder, pair_sum_intensity
from hpc_diffuser.example import example_modes
from hpc_diffuser.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.model import DirectModel
from hpc_diffuser.modes import Modes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parameters import Parameters
from hpc_diffuser.prepare import TrajectoryFiles, modes_from_trajectory
from hpc_diffuser.sampling import generator, normal_samples
from hpc_diffuser.scattering import form_factors
from hpc_diffuser.statistics import correlation_sums, pooled_cc, shell_edges, shell_index

SHELLS = 20


def deviation(modes: Modes, disorder: Disorder, internal_A: float, n_samples: int):
    """1 − CC after shell-mean subtraction, rms deviation over rms signal, and scale.

    At 1000 random voxels of 3.3-1.6 Å on twelve h-planes, 7 samples per reciprocal-lattice
    unit; modes of `internal_A` rms in all, in the proportions of their ensemble.
    """
    rng = np.random.default_rng(1)
    amplitudes = modes.amplitudes_A * internal_A / np.linalg.norm(modes.amplitudes_A)
    grid = grid_to_resolution(modes.unit_cell, (7, 7, 7), 1.6)
    indices = grid.indices_between(3.3, 1.6)
    planes = rng.choice(grid.extent[0] + 1, 12, replace=False)
    indices = indices[np.isin(indices[:, 0], planes)]
    indices = indices[np.sort(rng.choice(len(indices), 1000, replace=False))]
    s2 = grid.inverse_d_squared(indices)
    exact = pair_sum_intensity(
        modes.structure.positions,
        form_factors(modes.structure.elements, s2) * modes.structure.occupancies,
        indices / np.array(grid.divisions) @ fractionalization(modes.unit_cell),
        amplitudes[:, None, None] * modes.vectors,
        disorder,
    )
    normals = normal_samples("sobol", n_samples, len(amplitudes), generator(1))
    model = DirectModel(modes, grid, indices, Ranks())
    calculated = model.internal_motion(Parameters(amplitudes, disorder), normals)
    shells = shell_index(np.sqrt(s2), shell_edges(3.3, 1.6, SHELLS))
    mean = np.bincount(shells, exact, SHELLS) / np.bincount(shells, minlength=SHELLS)
    cc = pooled_cc(correlation_sums(calculated, exact, None, shells, SHELLS))
    error = np.sqrt(np.mean((calculated - exact) ** 2) / np.mean((exact - mean[shells]) ** 2))
    return 1 - cc, error, float(calculated @ exact / (exact @ exact))


@pytest.mark.parametrize(
    "disorder", [Disorder(0.46), Disorder(0.46, 0.3), Disorder(0.0, 0.3)], ids=str
)
def test_example_protein_agrees_with_the_closed_form(disorder):
    """256 Sobol samples of 0.25 Å: 1 % rms of the signal, 1 − CC < 2e-4, scale within 0.3 %.

    Without translation the internal motion is all the signal, so its sampling error weighs
    more: three times as much is allowed there.
    """
    loss, error, scale = deviation(example_modes(), disorder, 0.25, 256)
    allowed = 1 if disorder.translation_sigma_A else 3
    assert loss < 2e-4 * allowed
    assert error < 0.01 * allowed
    assert abs(scale - 1) < 3e-3 * allowed


def test_lysozyme_agrees_with_the_closed_form(data: Path):
    """The same for ten principal components of the real trajectory, 1001 atoms."""
    folder = data / "lysozyme"
    files = TrajectoryFiles(folder / "trajectory.xtc", folder / "topology.pdb", folder / "6o2h.pdb")
    modes = modes_from_trajectory(files, 10)
    loss, error, scale = deviation(modes, Disorder(0.46), 0.25, 256)
    assert loss < 2e-4
    assert error < 0.01
    assert abs(scale - 1) < 1e-3


def assert_agrees(transform: str, found: np.ndarray, expected: np.ndarray) -> None:
    """The direct sum to 1e-3 everywhere; drawn atoms, good to 1e-3 of F, to 2e-3 by rms."""
    if transform == "direct":
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.mean())
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert error < (1e-5 if transform == "direct" else 2e-3)


@pytest.mark.parametrize("transform", ["direct", "density"])
def test_rigid_body_needs_no_samples(transform: str):
    """No internal motion: exactly |F|²(1 − e^{−q²σ²}), whatever the samples."""
    modes = example_modes()
    still = Parameters(np.zeros(len(modes.amplitudes_A)), Disorder(0.46))
    grid = grid_to_resolution(modes.unit_cell, (2, 2, 2), 3.0)
    indices = grid.indices_between(10.0, 3.0)
    model = DirectModel(modes, grid, indices, Ranks(), transform)
    normals = normal_samples("sobol", 8, len(modes.amplitudes_A), generator(1))
    sampled = model.internal_motion(still, normals)
    s2 = grid.inverse_d_squared(indices)
    phases = np.exp(
        2j
        * np.pi
        * (indices / 2 @ fractionalization(modes.unit_cell))
        @ modes.structure.positions.T
    )
    factors = np.sum(form_factors(modes.structure.elements, s2) * phases, axis=1)
    expected = np.abs(factors) ** 2 * -np.expm1(-4 * np.pi**2 * s2 * 0.46**2)
    assert_agrees(transform, sampled, expected)
    scale = 1e-6 * expected.mean()
    np.testing.assert_allclose(model.rigid(still.disorder), sampled, rtol=1e-5, atol=scale)


@pytest.mark.parametrize("transform", ["direct", "density"])
def test_ensemble_of_two_states_is_their_difference(transform: str):
    """Two conformations, equally likely: ⟨|F|²⟩ − |⟨F⟩|² = |F₁ − F₂|²/4."""
    modes = example_modes()
    grid = grid_to_resolution(modes.unit_cell, (2, 2, 2), 3.0)
    indices = grid.indices_between(10.0, 3.0)
    states = modes.structure.positions + 0.5 * np.array([[[[1.0]]], [[[-1.0]]]]) * modes.vectors[:1]
    model = DirectModel(modes, grid, indices, Ranks(), transform)
    intensity = model.ensemble(states.reshape(2, -1, 3), Disorder())
    s_vectors = indices / 2 @ fractionalization(modes.unit_cell)
    factors = form_factors(modes.structure.elements, grid.inverse_d_squared(indices))
    first, second = (
        np.sum(factors * np.exp(2j * np.pi * s_vectors @ x.T), axis=1)
        for x in states.reshape(2, -1, 3)
    )
    expected = np.abs(first - second) ** 2 / 4
    assert_agrees(transform, intensity, expected)


def test_weights_in_another_order_change_nothing():
    """The intensity is invariant to the order of the atoms."""
    modes = example_modes()
    order = np.random.default_rng(2).permutation(len(modes.structure))
    shuffled = replace(
        modes, structure=modes.structure.select(order), vectors=modes.vectors[:, order]
    )
    grid = grid_to_resolution(modes.unit_cell, (2, 2, 2), 4.0)
    indices = grid.indices_between(10.0, 4.0)
    parameters = Parameters(np.array([0.2, 0.1, 0.1]), Disorder(0.3))
    normals = normal_samples("sobol", 8, 3, generator(1))
    one, other = (
        DirectModel(m, grid, indices, Ranks()).internal_motion(parameters, normals)
        for m in (modes, shuffled)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * one.mean())
