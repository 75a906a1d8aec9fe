"""Configurations to look at: along one mode, or drawn from all of a model's motions together.

A fit needs no drawing of what its intensity knows exactly; eyes do.
"""

import numpy as np

from hpc_diffuser.motion.configurations import configurations, rigid_covariance
from hpc_diffuser.motion.ensemble import weights_of
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, Sampled
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.memory import require_room

# What random streams are for: the first number after the seed.
_WHOLE, _OWN, _FRAMES = 0, 1, 2
_MODEL_BYTES = 96  # of an atom of a model, as measured


def mode_path(modes: Modes, row: int, reach_A: float, n_models: int) -> Floats:
    """Positions along one mode, there and back: the last is followed by the first.

    Their coefficients are reach · sin(2πt/n): of a multiple of four models, one is at either end.

    Parameters
    ----------
    modes : Modes
    row : int
        The mode's, from 0.
    reach_A : float
        The largest coefficient: rms displacement per atom in Å at either end.
    n_models : int

    Returns
    -------
    (n_models, N, 3) float, Å
    """
    _require_room(modes, n_models)
    coefficients = reach_A * np.sin(2 * np.pi * np.arange(n_models) / n_models)
    moved: Floats = modes.structure.positions + coefficients[:, None, None] * modes.vectors[row]
    return moved


def drawn_ensemble(
    modes: Modes,
    parameters: Parameters,
    n_models: int,
    seed: int,
    residual_b_A2: Floats | None = None,
) -> Floats:
    """Configurations by all motions of a model, alike in weight.

    Modes, translation and libration have the model's mean and covariance exactly where there are
    at least twice as many models as these have coefficients (`random_numbers.normal_samples`). What
    every atom does beside its molecule is random.

    Parameters
    ----------
    modes : Modes
        Its frames, if it has such, are drawn by their weights.
    parameters : Parameters
    n_models : int
    seed : int
        The same one draws the same ensemble.
    residual_b_A2 : (N,) float, Å², or None
        B-factors that every atom has besides, as of `residual_b_factors`.

    Returns
    -------
    (n_models, N, 3) float, Å
    """
    n_modes = len(modes.amplitudes_A)
    is_liquid = bool(parameters.disorder.liquid_of_either()[0].any())
    _require_room(modes, n_models, 24.0 * len(modes.structure) ** 2 * is_liquid)
    normals = normal_samples("sobol", n_models, n_modes + 6, generator(seed, _WHOLE))
    rows = _frame_rows(modes, parameters.sampled, n_models, seed)
    moved = configurations(modes, parameters.sampled, normals[:, : n_modes + 3], rows)
    shifts = normals[:, n_modes + 3 :] @ _root(rigid_covariance(parameters))
    own = _own_displacements(modes, parameters, n_models, seed, residual_b_A2)
    ensemble: Floats = moved + shifts[:, None] + own
    return ensemble


def _require_room(modes: Modes, n_models: int, besides: float = 0.0) -> None:
    n_atoms = len(modes.structure)
    what = f"{n_models} models of {n_atoms} atoms"
    require_room(_MODEL_BYTES * n_models * n_atoms + besides, what, "make fewer models")


def _frame_rows(modes: Modes, sampled: Sampled, n_models: int, seed: int) -> Integers:
    """Which frame each model starts from; of no meaning without frames."""
    weights = weights_of(modes, sampled)
    if weights is None:
        return np.arange(n_models)
    stream = generator(seed, _FRAMES)
    return stream.choice(len(weights), n_models, p=weights)


def _own_displacements(
    modes: Modes, parameters: Parameters, n_models: int, seed: int, residual_b_A2: Floats | None
) -> Floats:
    """What atoms do beside their molecule, liquid-like and each alone: (S, N, 3) Å."""
    disorder, positions = parameters.disorder, modes.structure.positions
    stream = generator(seed, _OWN)
    shape = (n_models, *positions.shape)
    found: Floats = stream.standard_normal(shape) * np.broadcast_to(
        disorder.uncorrelated_sigma_A, 3
    )
    if residual_b_A2 is not None:
        sigmas = np.sqrt(residual_b_A2 / (8 * np.pi**2))
        found = found + stream.standard_normal(shape) * sigmas[:, None]
    covariance, gamma_A = disorder.liquid_of_either()
    if covariance.any():
        factor = _liquid_factor(positions, gamma_A)
        found = found + factor @ stream.standard_normal(shape) @ _root(covariance)
    return found


def _liquid_factor(positions: Floats, gamma_A: float) -> Floats:
    """(N, N) L, lower triangular, with L Lᵀ = e^{−r/γ} of all pairs of atoms."""
    squares = np.sum(positions**2, axis=1)
    products = squares[:, None] + squares - 2 * positions @ positions.T
    correlation = np.exp(-np.sqrt(np.maximum(products, 0.0)) / gamma_A)
    np.fill_diagonal(correlation, 1 + 1e-9)  # two atoms may lie at one place
    factor: Floats = np.linalg.cholesky(correlation)
    return factor


def _root(covariance: Floats) -> Floats:
    """The symmetric square root, of a singular matrix too."""
    variances, axes = np.linalg.eigh(covariance)
    root: Floats = axes * np.sqrt(np.maximum(variances, 0.0)) @ axes.T
    return root
