"""The whole forward model against the closed form of Gaussian motion."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracles import SHELLS, random_voxels, shell_cc, solvent_by_hand

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.crystal.atom_factors import atom_factors, form_factors
from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.crystal.solvent import displaced_volumes
from hpc_diffuser.io.modes_from_files import modes_from_trajectory
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.maps.statistics import shell_edges, shell_index
from hpc_diffuser.motion.configurations import residual_b_factors
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes, with_frames
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import ForwardModel, forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity


def deviation(
    modes: Modes,
    disorder: Disorder,
    internal_A: float,
    n_samples: int,
    n_voxels: int = 1000,
    **others,
):
    """1 − CC after shell-mean subtraction, rms deviation over rms signal, and scale.

    At random voxels; modes of `internal_A` rms in all, in the proportions of their ensemble.
    """
    amplitudes = modes.amplitudes_A * internal_A / np.linalg.norm(modes.amplitudes_A)
    parameters = Parameters(amplitudes, disorder, **others)
    modes = replace(modes, crystal_b_A2=np.linspace(5, 60, len(modes.structure)))
    grid, indices = random_voxels(modes, n_voxels)
    s2 = grid.inverse_d_squared(indices)
    solvent = parameters.k_sol_eA3, parameters.b_sol_A2
    atoms = atom_factors(modes.structure, *solvent) if solvent[0] else None
    volumes = displaced_volumes(modes.structure)
    factors = form_factors(modes.structure.elements, s2) - solvent_by_hand(volumes, s2, *solvent)
    exact = pair_sum_intensity(
        modes.structure.positions,
        factors * modes.structure.occupancies,
        indices / np.array(grid.divisions) @ fractionalization(modes.unit_cell),
        mode_fields(modes, parameters),
        disorder,
        residual_b_factors(modes, parameters),
    )
    normals = normal_samples("sobol", n_samples, len(amplitudes), generator(1))
    how = Computation(
        internal_A,
        "auto" if disorder.llm_sigma_A else "target",
        liquid_gamma_A=disorder.llm_gamma_A,
        factors=atoms,
        many_kinds=parameters.residual_b_fraction > 0,
    )
    model = forward_model(modes, grid, indices, Ranks(), how)
    calculated = model.internal_motion(parameters, normals)
    shells = shell_index(np.sqrt(s2), shell_edges(3.3, 1.6, SHELLS))
    mean = np.bincount(shells, exact, SHELLS) / np.bincount(shells, minlength=SHELLS)
    error = np.sqrt(np.mean((calculated - exact) ** 2) / np.mean((exact - mean[shells]) ** 2))
    return 1 - shell_cc(calculated, exact, s2), error, float(calculated @ exact / (exact @ exact))


def mode_fields(modes: Modes, parameters: Parameters) -> np.ndarray:
    """Independent displacement fields of correlated modes: (M, N, 3) Å.

    By the spectrum of the covariance, built from partial correlations as in the three-variable
    textbook case: c₃₂ = z₃₂ √((1 − c₂₁²)(1 − c₃₁²)) + c₂₁ c₃₁.
    """
    correlation = np.eye(len(modes.amplitudes_A))
    if parameters.mode_correlation:
        c21, c31, z32 = parameters.mode_correlation
        c32 = z32 * np.sqrt((1 - c21**2) * (1 - c31**2)) + c21 * c31
        for i, j, c in ((1, 0, c21), (2, 0, c31), (2, 1, c32)):
            correlation[i, j] = correlation[j, i] = c
    amplitudes = parameters.mode_amplitudes_A
    variances, axes = np.linalg.eigh(correlation * np.outer(amplitudes, amplitudes))
    return np.tensordot((axes * np.sqrt(np.maximum(variances, 0))).T, modes.vectors, 1)


@pytest.fixture(scope="module")
def lysozyme(data: Path) -> Modes:
    """Ten principal components of the real trajectory, 1001 atoms."""
    folder = data / "lysozyme"
    files = TrajectoryFiles(folder / "trajectory.xtc", folder / "topology.pdb", folder / "6o2h.pdb")
    return modes_from_trajectory(files, 10)


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


@pytest.mark.slow
def test_lysozyme_agrees_with_the_closed_form(lysozyme):
    """The same for the real molecule."""
    loss, error, scale = deviation(lysozyme, Disorder(0.46), 0.25, 256)
    assert loss < 2e-4
    assert error < 0.01
    assert abs(scale - 1) < 1e-3


def on_target_grid(modes, grid, indices, transform: str = "auto") -> ForwardModel:
    """The model without interpolation."""
    how = Computation(grid="target", transform=transform)
    return forward_model(modes, grid, indices, Ranks(), how)


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
    model = on_target_grid(modes, grid, indices, transform)
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
    # Single precision rounds F by some 1e-6 of its rms, whatever F is: |F|² by 2|F| times that.
    rounding = 2 * np.sqrt(expected * expected.mean()) * 1e-5
    assert (np.abs(model.rigid(still) - sampled) <= rounding + 1e-9 * expected.mean()).all()


@pytest.mark.parametrize("transform", ["direct", "density"])
def test_ensemble_of_two_states_is_their_difference(transform: str):
    """Two conformations, equally likely: ⟨|F|²⟩ − |⟨F⟩|² = |F₁ − F₂|²/4."""
    modes = example_modes()
    grid = grid_to_resolution(modes.unit_cell, (2, 2, 2), 3.0)
    indices = grid.indices_between(10.0, 3.0)
    states = modes.structure.positions + 0.5 * np.array([[[[1.0]]], [[[-1.0]]]]) * modes.vectors[:1]
    two = with_frames(modes, states.reshape(2, -1, 3))
    model = on_target_grid(two, grid, indices, transform)
    intensity = model.internal_motion(Parameters(np.empty(0)), np.empty((2, 0)))
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
        on_target_grid(m, grid, indices).internal_motion(parameters, normals)
        for m in (modes, shuffled)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * one.mean())


MODELS = {
    "translation along x, y, z": (
        Disorder((0.3, 0.4, 0.6), 0.0, (0.5, -0.3, 0.4)),
        {},
    ),
    "uncorrelated": (Disorder(0.46, 0.3), {}),
    "correlated modes": (Disorder(0.46), {"mode_correlation": (0.7, -0.5, 0.3)}),
    "residual B": (Disorder(0.3), {"residual_b_fraction": 0.8}),
    "solvent": (Disorder(0.46), {"k_sol_eA3": 0.334, "b_sol_A2": 20.0}),
    "liquid": (Disorder(0.0, 0.0, (), 0.4, 10.0), {}),
    "translation and liquid": (Disorder(0.3, 0.0, (), 0.4, 5.0), {}),
    "all": (
        Disorder((0.2, 0.3, 0.4), 0.15, (0.2, 0.1, -0.3), 0.25, 8.0),
        {
            "mode_correlation": (0.7, -0.5, 0.3),
            "residual_b_fraction": 0.5,
            "k_sol_eA3": 0.3,
            "b_sol_A2": 40.0,
        },
    ),
}


# Liquid-like motion alone is what it is beside translation.
QUICK = [pytest.param(n, marks=[pytest.mark.slow] if n == "liquid" else []) for n in MODELS]


@pytest.mark.parametrize("name", QUICK)
def test_every_model_agrees_with_the_closed_form(name):
    """1 − CC < 1e-3, scale within 1 %: the example's protein, at 400 random voxels."""
    disorder, others = MODELS[name]
    modes = example_modes()
    loss, _, scale = deviation(modes, disorder, 0.25, 256, 400, **others)
    assert loss < 1e-3
    assert abs(scale - 1) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_lysozyme_agrees_with_the_closed_form(name, lysozyme):
    """The same for ten principal components of the real trajectory, at 1000 random voxels."""
    disorder, others = MODELS[name]
    loss, _, scale = deviation(lysozyme, disorder, 0.25, 256, **others)
    assert loss < 1e-3
    assert abs(scale - 1) < 0.01


def test_weighted_ensemble():
    """Two conformations with weights w and 1 − w: w(1 − w)|F₁ − F₂|², here 3/16 of it."""
    modes = example_modes()
    grid = grid_to_resolution(modes.unit_cell, (2, 2, 2), 3.0)
    indices = grid.indices_between(10.0, 3.0)
    states = modes.structure.positions + 0.5 * np.array([[[1.0]], [[-1.0]]]) * modes.vectors[0]
    s = indices / 2 @ fractionalization(modes.unit_cell)
    factors = form_factors(modes.structure.elements, grid.inverse_d_squared(indices))
    one, other = (np.sum(factors * np.exp(2j * np.pi * s @ x.T), axis=1) for x in states)
    two = with_frames(modes, states, np.array([3.0, 1.0]))
    model = on_target_grid(two, grid, indices, "direct")
    found = model.internal_motion(Parameters(np.empty(0)), np.empty((2, 0)))
    assert_agrees("direct", found, 3 / 16 * np.abs(one - other) ** 2)
