"""Liquid-like motion that is other along x, y and z: every q²σ² is then qᵀUq."""

import numpy as np
import pytest
from builders import s_vectors

from hpc_diffuser.crystal.atom_factors import atom_factors, form_factors
from hpc_diffuser.crystal.lattice import laue_operations
from hpc_diffuser.crystal.solvent import displaced_volumes
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.fit.b_factors import motion
from hpc_diffuser.fit.config import ParametersConfig
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity
from hpc_diffuser.system.errors import InputError

SIGMAS, PARTIAL, GAMMA = (0.25, 0.5, 0.35), (0.5, -0.3, 0.4), 6.0
TENSOR = Disorder(0.2, llm_sigma_A=SIGMAS, llm_gamma_A=GAMMA, llm_correlation=PARTIAL)
NO_MODES = np.zeros((0, 12, 3))


def covariance() -> np.ndarray:
    """From the textbook's partial correlations: (3, 3) Å²."""
    a, b, z = PARTIAL
    c = z * np.sqrt((1 - a**2) * (1 - b**2)) + a * b
    return np.array([[1, a, b], [a, 1, c], [b, c, 1]]) * np.outer(SIGMAS, SIGMAS)


def scattering(modes, indices, grid, solvent=(0.0, 0.0)):
    """Scattering vectors and form factors at samples: (V, 3) Å⁻¹, (V, N)."""
    s = s_vectors(grid, indices)
    s2 = np.sum(s**2, axis=1)
    factors = form_factors(modes.structure.elements, s2)
    if solvent[0]:
        v = displaced_volumes(modes.structure)
        blur = np.outer(s2, np.pi * v ** (2 / 3) + solvent[1] / 4)
        factors = factors - solvent[0] * v * np.exp(-blur)
    return s, factors


def rms(found, exact) -> float:
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


def test_pair_sum_against_every_pair_by_hand(modes, diffuse):
    """One pair after the other, C_ab = U_t + U_l e^{−r/γ} as matrices."""
    u_t, u_l = 0.2**2 * np.eye(3), covariance()
    indices = diffuse.grid.indices_between(4, 2.5)[::97]
    s, factors = scattering(modes, indices, diffuse.grid)
    r, expected = modes.structure.positions, np.zeros(len(s))
    for v, q in enumerate(2 * np.pi * s):
        for a in range(12):
            for b in range(12):
                c = u_t + u_l * np.exp(-np.linalg.norm(r[a] - r[b]) / GAMMA)
                moving = np.exp(q @ (c - u_t - u_l) @ q) - np.exp(-(q @ (u_t + u_l) @ q))
                expected[v] += factors[v, a] * factors[v, b] * np.cos(q @ (r[a] - r[b])) * moving
    found = pair_sum_intensity(r, factors, s, NO_MODES, TENSOR)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("solvent", [(0.0, 0.0), (0.334, 20.0)])
def test_model_is_the_pair_sum(modes, diffuse, solvent):
    """Relative rms of 1 %, where axes exchanged are off by more than 10 %: as with one number."""
    indices = diffuse.grid.indices_between(6, 2.5)
    factors = atom_factors(modes.structure, *solvent) if solvent[0] else None
    how = Computation(liquid_gamma_A=GAMMA, factors=factors)
    model = forward_model(modes, diffuse.grid, indices, Ranks(), how)
    of_solvent = dict(zip(("k_sol_eA3", "b_sol_A2"), solvent, strict=True))
    found = model.rigid(Parameters(np.zeros(2), TENSOR, **of_solvent))
    s, f = scattering(modes, indices, diffuse.grid, solvent)
    exchanged = Disorder(0.2, llm_sigma_A=SIGMAS[::-1], llm_gamma_A=GAMMA, llm_correlation=PARTIAL)
    exact, other = (
        pair_sum_intensity(modes.structure.positions, f, s, NO_MODES, disorder)
        for disorder in (TENSOR, exchanged)
    )
    assert found.mean() == pytest.approx(exact.mean(), rel=5e-3)
    assert rms(found, exact) < 0.01 and rms(other, exact) > 0.1


def test_mates_move_along_their_own_axes(modes, diffuse):
    """In P 1 21 1 each mate has x along its own direction: the mean of two molecules' pair sums."""
    cell = (20.0, 21.0, 22.0, 90.0, 95.0, 90.0)
    twins = Modes(modes.structure, modes.vectors, modes.amplitudes_A, cell, "P 1 21 1")
    grid = diffuse.grid.__class__(cell, (2, 2, 2), (16, 17, 18))
    indices = unique_indices(grid, 6, 2.5, grid_operations(grid, "P 1 21 1"))
    model = forward_model(twins, grid, indices, Ranks(), Computation(liquid_gamma_A=GAMMA))
    found = model.rigid(Parameters(np.zeros(2), TENSOR))
    exact = np.zeros(len(indices))
    operations = laue_operations("P 1 21 1", cell)
    for operation in operations:
        s, f = scattering(twins, indices @ operation, grid)
        sums = pair_sum_intensity(twins.structure.positions, f, s, NO_MODES, TENSOR)
        exact += sums / len(operations)
    assert rms(found, exact) < 0.01


def test_equal_axes_are_the_isotropic_motion(modes, diffuse):
    """Three equal numbers: the same intensity but for what the series is cut by, and B-factor."""
    indices = diffuse.grid.indices_between(6, 2.5)
    model = forward_model(modes, diffuse.grid, indices, Ranks(), Computation(liquid_gamma_A=GAMMA))
    one, three, nearly = (
        Parameters(np.zeros(2), Disorder(0.2, llm_sigma_A=sigma, llm_gamma_A=GAMMA))
        for sigma in (0.4, (0.4, 0.4, 0.4), (0.4, 0.4, 0.4001))
    )
    expected = model.rigid(one)
    for others in (three, nearly):
        assert rms(model.rigid(others), expected) < 5e-4
    for parameters in (one, three):
        found = motion(modes, parameters).kinds["liquid-like"].mean_b_A2
        assert found == pytest.approx(8 * np.pi**2 * 0.4**2)


def test_no_motion_at_all_is_none(modes, diffuse):
    """Three zeros, as a search may propose: what is without liquid-like motion."""
    indices = diffuse.grid.indices_between(6, 4)
    model = forward_model(modes, diffuse.grid, indices, Ranks(), Computation(liquid_gamma_A=GAMMA))
    still = Disorder(0.2, llm_sigma_A=(0.0, 0.0, 0.0), llm_gamma_A=GAMMA)
    found, expected = (model.rigid(Parameters(np.zeros(2), d)) for d in (still, Disorder(0.2)))
    np.testing.assert_array_equal(found, expected)
    along_x = Disorder(0.2, llm_sigma_A=(0.3, 0.0, 0.0), llm_gamma_A=GAMMA)
    assert np.isfinite(model.rigid(Parameters(np.zeros(2), along_x))).all()


def test_correlations_need_axes():
    """One line says what is missing."""
    config = ParametersConfig(
        llm_sigma_A=(0.1, 0.4), llm_gamma_A=(8.0, 8.0), llm_correlation=(-0.5, 0.5)
    )
    with pytest.raises(InputError, match=r"llm_correlation: expected llm_sigma_A = \[x, y, z\]"):
        search_space(config, np.zeros(0))
