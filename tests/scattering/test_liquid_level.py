"""The isotropic level of liquid-like motion against the sum over pairs of atoms."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.crystal.atom_factors import atom_factors, form_factors
from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.crystal.solvent import displaced_volumes
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

SIGMA_A, K_SOL, B_SOL = 0.4, 0.334, 20.0
# Resolution range of the voxels compared, and edges that the map is computed to.
RANGES = ((3.1, 2.8, 2.8), (3.1, 2.8, 1.7), (9.0, 6.2, 6.2), (9.0, 6.2, 2.8), (30.0, 9.0, 4.0))


def still() -> Modes:
    """The example's protein, which moves like a liquid only."""
    modes = example_modes()
    n_atoms = len(modes.structure)
    return replace(modes, vectors=np.empty((0, n_atoms, 3)), amplitudes_A=np.empty(0))


def pair_sum(modes: Modes, s: np.ndarray, disorder: Disorder, k_sol: float) -> np.ndarray:
    """Every pair of atoms, of form factors less the solvent that they displace."""
    structure, s2 = modes.structure, np.sum(s**2, axis=1)
    factors = form_factors(structure.elements, s2)
    if k_sol:
        v = displaced_volumes(structure)
        blurred = np.exp(-np.pi * v ** (2 / 3) * s2[:, None] - B_SOL * s2[:, None] / 4)
        factors = factors - k_sol * v * blurred
    nothing = np.zeros((0, len(structure), 3))
    return pair_sum_intensity(
        structure.positions, factors * structure.occupancies, s, nothing, disorder
    )


# Any two of range, γ and solvent are there together; the other half are slow.
EVERY_TWO = [
    pytest.param(*of_range, gamma, k_sol, marks=[pytest.mark.slow] if (i + j + k) % 2 else [])
    for i, of_range in enumerate(RANGES)
    for j, gamma in enumerate([5.0, 15.0])
    for k, k_sol in enumerate([0.0, K_SOL])
]


@pytest.mark.parametrize(("d_max", "d_min", "edge", "gamma_A", "k_sol"), EVERY_TWO)
def test_level_does_not_depend_on_the_edge(d_max, d_min, edge, gamma_A, k_sol):
    """Mean intensity at 300 voxels within 0.5 % of the pair sum's, wherever the map ends.

    It was 1.023 and 0.998 of it at 3.1-2.8 Å and γ = 5 Å, for edges of 2.8 and 1.7 Å, and 0.85
    beyond 6.2 Å with solvent.
    """
    modes = still()
    grid = grid_to_resolution(modes.unit_cell, (3, 3, 3), edge)
    inside = grid.indices_between(d_max, d_min)
    some = np.random.default_rng(0).choice(len(inside), 300, replace=False)
    # A last voxel makes the map end at the edge.
    whole = grid.indices_between(np.inf, edge)
    last = whole[[np.argmax(grid.inverse_d_squared(whole))]]
    indices = np.unique(np.concatenate([inside[some], last]), axis=0)
    d = 1 / np.sqrt(grid.inverse_d_squared(indices))
    compared = (d <= d_max * 1.0001) & (d >= d_min * 0.9999)
    factors = atom_factors(modes.structure, k_sol, B_SOL) if k_sol else None
    how = Computation(0.3, "band-limited", "direct", gamma_A, factors=factors)
    model = forward_model(modes, grid, indices, Ranks(), how)
    disorder = Disorder(llm_sigma_A=SIGMA_A, llm_gamma_A=gamma_A)
    parameters = Parameters(np.empty(0), disorder, k_sol_eA3=k_sol, b_sol_A2=B_SOL)
    found = model.rigid(parameters)[compared]
    s = indices[compared] / 3 @ fractionalization(modes.unit_cell)
    exact = pair_sum(modes, s, disorder, k_sol)
    assert found.mean() == pytest.approx(exact.mean(), rel=5e-3)
