"""Whole models against plain Monte Carlo: every displacement of every atom is drawn here.

Nothing but the definition of each motion is shared with the program: Rodrigues' formula turns,
Cholesky factors correlate, F is summed atom by atom, and I_D = ⟨|F|²⟩ − |⟨F⟩|² is its variance.
Only what each atom does on its own, by ⟨w²⟩ along any axis, is averaged exactly, because it
would make most of the noise: then ⟨F⟩_w = Σ f e^{−q²⟨w²⟩/2} e^{iq·r}, and ⟨|F|²⟩_w is its square
and Σ f² (1 − e^{−q²⟨w²⟩}) more, of the pairs of each atom with itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from oracles import random_voxels, shell_cc, solvent_by_hand

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.crystal.atom_factors import atom_factors, form_factors
from hpc_diffuser.crystal.lattice import HklGrid, fractionalization
from hpc_diffuser.crystal.solvent import displaced_volumes
from hpc_diffuser.io.modes_from_files import modes_from_trajectory
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.motion.configurations import residual_b_factors
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.ensemble import ensemble_points
from hpc_diffuser.motion.modes import Modes, with_frames
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

Draw = Callable[[np.random.Generator], np.ndarray]
ANISOTROPIC = (0.2, 0.3, 0.4)
PARTIAL = (0.3, -0.2, 0.4)


def correlation(partial: tuple[float, ...]) -> np.ndarray:
    """Of two or three variables; c₃₂ = z₃₂ √((1 − c₂₁²)(1 − c₃₁²)) + c₂₁ c₃₁ by the textbook."""
    if len(partial) == 1:
        return np.array([[1, partial[0]], [partial[0], 1]])
    a, b, z = partial or (0.0, 0.0, 0.0)
    c = z * np.sqrt((1 - a * a) * (1 - b * b)) + a * b
    return np.array([[1, a, b], [a, 1, c], [b, c, 1]])


def drawn_inside(modes: Modes, parameters: Parameters) -> Draw:
    """Conformations: along correlated modes, or frames by their weights."""
    if modes.frames is not None:
        return lambda rng: modes.frames[rng.choice(len(modes.frames), p=modes.weights)]
    coefficients = np.eye(len(parameters.mode_amplitudes_A))
    if parameters.mode_correlation:
        of_first = correlation(parameters.mode_correlation)
        coefficients[: len(of_first), : len(of_first)] = of_first
    root = parameters.mode_amplitudes_A[:, None] * np.linalg.cholesky(coefficients)

    def draw(rng):
        weights = root @ rng.normal(size=len(root))
        return modes.structure.positions + np.tensordot(weights, modes.vectors, 1)

    return draw


def turned(lever: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rodrigues' formula for a rotation vector in radians."""
    angle = np.linalg.norm(rotation)
    if angle == 0:
        return lever
    axis = rotation / angle
    along = np.outer(lever @ axis, axis)
    return along + np.cos(angle) * (lever - along) + np.sin(angle) * np.cross(axis, lever)


def drawn_configurations(
    modes: Modes, parameters: Parameters, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """All motions of a model but the atoms' own, one configuration after the other: (N, 3) Å."""
    disorder, structure = parameters.disorder, modes.structure
    masses = np.array([gemmi.Element(str(e)).weight for e in structure.elements])
    centre = np.average(structure.positions, axis=0, weights=masses)
    sigmas = np.broadcast_to(disorder.translation_sigma_A, 3)
    covariance = correlation(disorder.translation_correlation) * np.outer(sigmas, sigmas)
    screw = parameters.screw_correlation
    # The square root that correlates with rotations is the lower triangular one.
    root = np.linalg.cholesky(covariance + 1e-12 * np.eye(3))
    liquid = np.zeros((len(structure),) * 2)
    if disorder.llm_sigma_A:
        distances = np.linalg.norm(structure.positions[:, None] - structure.positions, axis=-1)
        correlated = np.exp(-distances / disorder.llm_gamma_A) + 1e-9 * np.eye(len(distances))
        liquid = disorder.llm_sigma_A * np.linalg.cholesky(correlated)
    inside = drawn_inside(modes, parameters)
    while True:
        z = rng.normal(size=3)
        rotation = np.radians(parameters.libration_sigma_deg) * z
        moved = turned(inside(rng) - centre, rotation) + centre
        moved = moved + root @ (screw * z + np.sqrt(1 - screw**2) * rng.normal(size=3))
        yield moved + (liquid @ rng.normal(size=moved.shape) if disorder.llm_sigma_A else 0)


def drawn_intensity(
    modes: Modes, parameters: Parameters, grid: HklGrid, indices: np.ndarray, n: int
) -> np.ndarray:
    """Variance of F over n configurations: (V,) electrons²."""
    s2 = grid.inverse_d_squared(indices)
    solvent = solvent_by_hand(
        displaced_volumes(modes.structure), s2, parameters.k_sol_eA3, parameters.b_sol_A2
    )
    factors = (form_factors(modes.structure.elements, s2) - solvent) * modes.structure.occupancies
    b = residual_b_factors(modes, parameters) if parameters.residual_b_fraction else 0.0
    own = np.broadcast_to(
        parameters.disorder.uncorrelated_sigma_A**2 + b / (8 * np.pi**2), len(modes.structure)
    )
    dimming = np.exp(-2 * np.pi**2 * np.outer(s2, own))  # q² = 4π²s²
    alone = np.sum(factors**2 * (1 - dimming**2), axis=1)
    factors = (factors * dimming).astype(np.float32)
    s = indices / np.array(grid.divisions) @ fractionalization(modes.unit_cell)
    total, squares = np.zeros(len(s), complex), np.zeros(len(s))
    moving = drawn_configurations(modes, parameters, np.random.default_rng(3))
    for _, moved in zip(range(n), moving, strict=False):
        waves = np.exp((2j * np.pi * ((s @ moved.T) % 1)).astype(np.complex64))
        f = np.einsum("va,va->v", factors, waves)
        total += f
        squares += np.abs(f) ** 2
    return alone + (squares - np.abs(total) ** 2 / n) / (n - 1)


def deviation(
    modes: Modes, parameters: Parameters, n_voxels: int, n_drawn: int, n_samples: int = 1024
) -> tuple[float, float]:
    """1 − CC after shell-mean subtraction, and scale, of the program's model."""
    grid, indices = random_voxels(modes, n_voxels)
    expected = drawn_intensity(modes, parameters, grid, indices, n_drawn)
    solvent = parameters.k_sol_eA3, parameters.b_sol_A2
    how = Computation(
        grid="auto" if parameters.disorder.llm_sigma_A else "target",
        motion_A=0.5,
        liquid_gamma_A=parameters.disorder.llm_gamma_A,
        factors=atom_factors(modes.structure, *solvent) if solvent[0] else None,
        many_kinds=parameters.residual_b_fraction > 0,
    )
    librates = parameters.libration_sigma_deg > 0
    normals = ensemble_points(modes, librates, "sobol", n_samples, generator(1))
    found = forward_model(modes, grid, indices, Ranks(), how).internal_motion(parameters, normals)
    loss = 1 - shell_cc(found, expected, grid.inverse_d_squared(indices))
    return loss, float(found @ expected / (expected @ expected))


def every_third_atom() -> Modes:
    """Of the example's protein, B-factors from 20 to 80 Å²: few, so that many can be drawn."""
    modes = example_modes()
    kept = np.arange(0, len(modes.structure), 3)
    return replace(
        modes,
        structure=modes.structure.select(kept),
        vectors=modes.vectors[:, kept],
        crystal_b_A2=np.linspace(20, 80, len(kept)),
    )


def few_frames(modes: Modes, n_frames: int, spread: float, weights=None) -> Modes:
    """Frames along the modes, `spread` Å rms along each."""
    z = np.random.default_rng(4).normal(size=(n_frames, len(modes.vectors)))
    frames = modes.structure.positions + spread * np.tensordot(z, modes.vectors, 1)
    return with_frames(modes, frames, weights)


MODES = np.array([0.2, 0.15, 0.1])
NONE = np.empty(0)
WEIGHTS = np.array([5.0, 1.0, 2.0, 1.0, 3.0])
MOVING = {
    "TLS, correlated modes": (
        every_third_atom(),
        Parameters(
            MODES,
            Disorder(ANISOTROPIC, 0.1, PARTIAL),
            mode_correlation=(0.7,),
            libration_sigma_deg=3.0,
            screw_correlation=0.6,
        ),
    ),
    "all": (
        every_third_atom(),
        Parameters(
            MODES,
            Disorder(ANISOTROPIC, 0.1, PARTIAL, 0.3, 8.0),
            mode_correlation=(0.7,),
            libration_sigma_deg=3.0,
            screw_correlation=-0.6,
            residual_b_fraction=0.6,
            k_sol_eA3=0.334,
            b_sol_A2=30.0,
        ),
    ),
    "two frames, libration": (
        few_frames(every_third_atom(), 2, 0.6),
        Parameters(NONE, Disorder(0.1), libration_sigma_deg=4.0),
    ),
    "weighted frames, libration": (
        few_frames(every_third_atom(), 5, 0.4, WEIGHTS),
        Parameters(NONE, Disorder(0.3), libration_sigma_deg=3.0),
    ),
}


@pytest.mark.parametrize(
    "name",
    ["TLS, correlated modes", pytest.param("weighted frames, libration", marks=pytest.mark.slow)],
)
def test_example_protein_agrees_with_plain_monte_carlo(name):
    """1 − CC < 1e-3, scale within 1 %.

    Where |F|² is distributed exponentially, its mean over n is good to 1/√n of itself: from 4000
    configurations 1 − CC is about 1/2n = 1.3e-4 times ⟨I²⟩/var I, which is 2 to 5.
    """
    agrees(*MOVING[name], 250, 4000)


@pytest.mark.slow
@pytest.mark.parametrize("name", MOVING)
def test_example_protein_agrees_with_much_monte_carlo(name):
    """The same, with a fifth of the noise."""
    agrees(*MOVING[name], 250, 20000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "voxels", "drawn", "samples"),
    [("TLS, correlated modes", 250, 4000, 1024), ("all", 1000, 20000, 4096)],
)
def test_lysozyme_agrees_with_plain_monte_carlo(name, voxels, drawn, samples, data: Path):
    """The real molecule with ten principal components, two of them correlated.

    With all motions the noise of 4000 configurations is as large as what is allowed; of 20000,
    which take twenty minutes, 1 − CC was 7.6e-4 and the scale 1.001.
    """
    folder = data / "lysozyme"
    files = TrajectoryFiles(folder / "trajectory.xtc", folder / "topology.pdb", folder / "6o2h.pdb")
    modes = modes_from_trajectory(files, 10)
    modes = replace(modes, crystal_b_A2=np.linspace(5, 60, len(modes.structure)))
    amplitudes = modes.amplitudes_A * 0.2 / np.linalg.norm(modes.amplitudes_A)
    of = MOVING[name][1]
    parameters = replace(of, mode_amplitudes_A=amplitudes, libration_sigma_deg=1.5)
    agrees(modes, parameters, voxels, drawn, samples)


def agrees(
    modes: Modes, parameters: Parameters, n_voxels: int, n_drawn: int, n_samples: int = 1024
) -> None:
    """1 − CC < 1e-3, scale within 1 %."""
    loss, scale = deviation(modes, parameters, n_voxels, n_drawn, n_samples)
    assert loss < 1e-3
    assert abs(scale - 1) < 0.01
