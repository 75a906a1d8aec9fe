"""Models whose closed form is more than one pair sum: ensembles, and molecules on a lattice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracles import COUPLED, HALO, coupling, random_voxels, shell_cc, solvent_by_hand

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.crystal.atom_factors import atom_factors, form_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.solvent import displaced_volumes
from hpc_diffuser.io.modes_from_files import modes_from_trajectory
from hpc_diffuser.io.trajectories.in_crystal import TrajectoryFiles, crystal_frames
from hpc_diffuser.motion.configurations import residual_b_factors
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes, with_frames
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

NONE = np.empty(0)
ENSEMBLE = Parameters(
    NONE,
    Disorder((0.2, 0.3, 0.4), 0.15, (0.3, -0.2, 0.4), 0.3, 8.0),
    residual_b_fraction=0.5,
    k_sol_eA3=0.3,
    b_sol_A2=20.0,
)


def lysozyme_files(data: Path) -> TrajectoryFiles:
    """The real trajectory."""
    names = ("trajectory.xtc", "topology.pdb", "6o2h.pdb")
    return TrajectoryFiles(*(data / "lysozyme" / name for name in names))


class Case:
    """A molecule at random voxels, with what its atoms scatter there."""

    def __init__(self, modes: Modes, parameters: Parameters, n_voxels: int):
        self.modes, self.parameters = modes, parameters
        self.grid, self.indices = random_voxels(modes, n_voxels)
        self.hkl = self.indices / np.array(self.grid.divisions)
        self.s = self.hkl @ fractionalization(modes.unit_cell)
        self.s_squared = np.sum(self.s**2, axis=1)
        solvent = parameters.k_sol_eA3, parameters.b_sol_A2
        by_hand = solvent_by_hand(displaced_volumes(modes.structure), self.s_squared, *solvent)
        factors = form_factors(modes.structure.elements, self.s_squared) - by_hand
        self.factors = factors * modes.structure.occupancies

    def mean(self, positions: np.ndarray, variances: np.ndarray) -> np.ndarray:
        """⟨F⟩ of atoms that move by qᵀU_a q (V, N) about positions (N, 3)."""
        waves = np.exp(2j * np.pi * self.s @ positions.T - variances / 2)
        return np.sum(self.factors * waves, axis=1)

    def agrees(self, expected: np.ndarray, normals: np.ndarray) -> None:
        """1 − CC < 1e-3 after shell-mean subtraction, scale within 1 %."""
        p = self.parameters
        solvent = p.k_sol_eA3, p.b_sol_A2
        how = Computation(
            0.5,
            liquid_gamma_A=p.disorder.llm_gamma_A,
            factors=atom_factors(self.modes.structure, *solvent) if solvent[0] else None,
            many_kinds=p.residual_b_fraction > 0,
        )
        model = forward_model(self.modes, self.grid, self.indices, Ranks(), how)
        found = model.internal_motion(p, normals)
        assert 1 - shell_cc(found, expected, self.s_squared) < 1e-3
        assert abs(found @ expected / (expected @ expected) - 1) < 0.01


def ensemble_agrees(modes: Modes, n_voxels: int) -> None:
    """Weighted frames with every motion but libration, whose law is a mixture of Gaussians.

    Frame c has P_c = ⟨|F|²⟩ − |F_c|² by the pair sum, and F_c = ⟨F⟩ within it. Over all frames
    ⟨|F|²⟩ = Σ w_c (P_c + |F_c|²) and ⟨F⟩ = Σ w_c F_c.
    """
    modes = replace(modes, crystal_b_A2=np.linspace(20, 80, len(modes.structure)))
    case, disorder = Case(modes, ENSEMBLE, n_voxels), ENSEMBLE.disorder
    own_b = residual_b_factors(modes, ENSEMBLE)
    own = disorder.uncorrelated_sigma_A**2 + disorder.llm_sigma_A**2 + own_b / (8 * np.pi**2)
    q = 2 * np.pi * case.s
    common = np.einsum("vi,ij,vj->v", q, disorder.translation_covariance(), q)
    variances = common[:, None] + np.outer(np.sum(q**2, axis=1), own)
    squares, mean, nothing = 0.0, 0.0, np.empty((0, len(own), 3))
    for weight, frame in zip(modes.weights, modes.frames, strict=True):
        of_frame = case.mean(frame, variances)
        pairs = pair_sum_intensity(frame, case.factors, case.s, nothing, disorder, own_b)
        squares += weight * (pairs + np.abs(of_frame) ** 2)
        mean += weight * of_frame
    case.agrees(squares - np.abs(mean) ** 2, np.empty((len(modes.frames), 0)))


def lattice_agrees(modes: Modes, amplitudes_A: np.ndarray, n_voxels: int) -> None:
    """Translation coupled from cell to cell: the pair sum, and |⟨F⟩|² times the lattice's sum."""
    parameters = Parameters(amplitudes_A, Disorder(0.2, halo_sigma_A=HALO, halo_gamma_A=COUPLED))
    case = Case(modes, parameters, n_voxels)
    fields = amplitudes_A[:, None, None] * modes.vectors
    q = 2 * np.pi * case.s
    q2, whole = np.sum(q**2, axis=1), 0.2**2 + HALO**2
    pairs = pair_sum_intensity(
        modes.structure.positions, case.factors, case.s, fields, Disorder(np.sqrt(whole))
    )
    variances = np.sum((fields @ q.T) ** 2, axis=0).T + whole * q2[:, None]
    mean = case.mean(modes.structure.positions, variances)
    halo = coupling(case.hkl, q2, modes.unit_cell, "P 1")
    normals = normal_samples("sobol", 256, len(amplitudes_A), generator(1))
    case.agrees(pairs + np.abs(mean) ** 2 * halo, normals)


def test_weighted_ensemble_of_the_example():
    """Three frames, 0.4 Å along each mode."""
    modes = example_modes()
    z = np.random.default_rng(4).normal(size=(3, len(modes.vectors)))
    frames = modes.structure.positions + 0.4 * np.tensordot(z, modes.vectors, 1)
    ensemble_agrees(with_frames(modes, frames, np.array([5.0, 1.0, 2.0])), 200)


def test_lattice_of_the_example():
    """Its cell, P 1."""
    modes = replace(example_modes(), space_group="P 1")
    lattice_agrees(modes, np.array([0.2, 0.15, 0.1]), 400)


@pytest.mark.slow
def test_weighted_ensemble_of_lysozyme(data):
    """Three frames of the real trajectory, at 1000 random voxels."""
    found = crystal_frames(lysozyme_files(data))
    structure, frames, crystal = found.structure, found.positions, found.crystal
    frames = frames[::40]
    structure = replace(structure, positions=frames.mean(axis=0))
    modes = Modes(structure, np.empty((0, len(structure), 3)), NONE, *crystal)
    ensemble_agrees(with_frames(modes, frames, np.array([3.0, 1.0, 2.0])), 1000)


@pytest.mark.slow
def test_lattice_of_lysozyme(data):
    """Ten principal components of it, 0.25 Å in all."""
    modes = modes_from_trajectory(lysozyme_files(data), 10)
    lattice_agrees(modes, modes.amplitudes_A * 0.25 / np.linalg.norm(modes.amplitudes_A), 1000)
