"""Slow and obvious ways to compute, and to compare, diffuse intensity."""

import gemmi
import numpy as np

from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.lattice import HklGrid, fractionalization, grid_to_resolution
from hpc_diffuser.maps.statistics import correlation_sums, pooled_cc, shell_edges, shell_index
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

SHELLS = 20
HALO, COUPLED = 0.3, 25.0  # Å: translation that is coupled between molecules


def random_voxels(modes: Modes, n_voxels: int) -> tuple[HklGrid, np.ndarray]:
    """Of 3.3-1.6 Å on five h-planes, 7 samples per reciprocal-lattice unit."""
    rng = np.random.default_rng(1)
    grid = grid_to_resolution(modes.unit_cell, (7, 7, 7), 1.6)
    indices = grid.indices_between(3.3, 1.6)
    planes = rng.choice(grid.extent[0] + 1, 5, replace=False)
    indices = indices[np.isin(indices[:, 0], planes)]
    return grid, indices[np.sort(rng.choice(len(indices), n_voxels, replace=False))]


def shell_cc(calculated: np.ndarray, exact: np.ndarray, s_squared: np.ndarray) -> float:
    """CC after each shell's mean is subtracted."""
    shells = shell_index(np.sqrt(s_squared), shell_edges(3.3, 1.6, SHELLS))
    return pooled_cc(correlation_sums(calculated, exact, None, shells, SHELLS))


def solvent_by_hand(volumes, s_squared, k_sol, b_sol) -> np.ndarray:
    """k V exp(−πV^⅔s²) exp(−Bs²/4), as design and paper write it: (V, N)."""
    s2 = s_squared[:, None]
    return k_sol * volumes * np.exp(-np.pi * volumes ** (2 / 3) * s2) * np.exp(-b_sol * s2 / 4)


def coupling(hkl: np.ndarray, q_squared: np.ndarray, cell, space_group: str) -> np.ndarray:
    """Σ_{R≠0} (exp(q²σ² e^{−|R|/γ}) − 1) cos 2π hkl·R over all lattice points, to 14 γ."""
    translations = gemmi.find_spacegroup_by_name(space_group).operations().cen_ops
    reach = int(14 * COUPLED / min(cell[:3])) + 3
    cells = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1)
    lattice = np.concatenate([cells.reshape(-1, 3) + np.array(c) / 24 for c in translations])
    r = np.linalg.norm(lattice @ np.linalg.inv(fractionalization(cell)).T, axis=1)
    near = (r > 0) & (r < 14 * COUPLED)
    coupled, lattice = np.exp(-r[near] / COUPLED), lattice[near]
    return np.array(
        [
            np.expm1(x * coupled) @ np.cos(2 * np.pi * lattice @ i)
            for x, i in zip(q_squared * HALO**2, hkl, strict=True)
        ]
    )


def exact_target(modes: Modes, parameters: Parameters) -> Target:
    """Some 1200 voxels between 12 and 3 Å with the closed form's intensity; none is free."""
    grid = grid_to_resolution(modes.unit_cell, (2, 2, 2), 3.0)
    indices = grid.indices_between(12.0, 3.0)[::12]
    factors = form_factors(modes.structure.elements, grid.inverse_d_squared(indices))
    displacements = parameters.mode_amplitudes_A[:, None, None] * modes.vectors
    intensity = pair_sum_intensity(
        modes.structure.positions,
        factors,
        indices / 2 @ fractionalization(modes.unit_cell),
        displacements,
        parameters.disorder,
    )
    free = np.zeros(len(indices), bool)
    return Target(grid, indices, intensity, None, free, shell_edges(12.0, 3.0, 5), "P 1")
