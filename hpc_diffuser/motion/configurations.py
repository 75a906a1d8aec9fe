"""Configurations of the molecule: along its modes, or from an ensemble; and turned as a whole."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from hpc_diffuser.crystal.structure import centre_of_mass
from hpc_diffuser.motion.disorder import correlation_factor
from hpc_diffuser.motion.ensemble import weights_of
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, Sampled
from hpc_diffuser.system.arrays import Floats, Integers


def configurations(modes: Modes, sampled: Sampled, normals: Floats, rows: Integers) -> Floats:
    """One configuration for each row of standard normal points.

    Parameters
    ----------
    modes : Modes
    sampled : Sampled
    normals : (S, M) or (S, M + 3) float
        With libration, the last three are its rotation's.
    rows : (S,) int
        Their numbers in the whole ensemble: which frame each configuration starts from.

    Returns
    -------
    (S, N, 3) float, Å
    """
    n_modes = len(modes.amplitudes_A)
    if modes.frames is not None:
        moved = modes.frames[rows % len(modes.frames)]
    else:
        fields = independent_fields(modes, sampled)
        moved = modes.structure.positions + np.tensordot(normals[:, :n_modes], fields, 1)
    return librated(modes, moved, sampled, normals[:, n_modes:])


def independent_fields(modes: Modes, sampled: Sampled) -> Floats:
    """Displacements (M, N, 3), Å, that are independent: along modes, or combinations of them."""
    fields: Floats = np.tensordot(mode_factor(sampled).T, modes.vectors, 1)
    return fields


def linear_fields(modes: Modes, sampled: Sampled) -> Floats:
    """The same with a lattice's rotation, and its screw, to first order in the angle."""
    fields = independent_fields(modes, sampled)
    if not sampled.turn_rad:
        return fields
    return np.concatenate([fields, _turned(modes, sampled).swapaxes(0, 1)])


def mode_factor(sampled: Sampled) -> Floats:
    """(M, M) F in Å, lower triangular: the modes' coefficients are F z with z standard normal."""
    amplitudes = np.array(sampled.mode_amplitudes_A, dtype=np.float64)
    return amplitudes[:, None] * correlation_factor(sampled.mode_correlation, len(amplitudes))


def librated(modes: Modes, positions: Floats, sampled: Sampled, normals: Floats) -> Floats:
    """Every configuration turned about the mean structure's centre of mass, and screwed.

    The rotation vector is σ z with z normal in three dimensions: exact rotations, about axes of
    all directions alike; a lattice's is W z. A screw takes the part c of the translation along:
    t = c L z, where L is the translation's factor.

    Parameters
    ----------
    modes : Modes
    positions : (S, N, 3) float, Å
    sampled : Sampled
    normals : (S, 3) float
        Unused without libration.

    Returns
    -------
    (S, N, 3) float, Å
    """
    if not sampled.librates:
        return positions
    if sampled.turn_rad:
        turns = normals @ sampled.turn().T
    else:
        turns = np.radians(sampled.libration_sigma_deg) * normals
    rotations = Rotation.from_rotvec(turns).as_matrix()
    centre = centre_of_mass(modes.structure)
    shifts = centre + normals @ sampled.screw().T
    turned: Floats = np.einsum("sij,snj->sni", rotations, positions - centre) + shifts[:, None]
    return turned


def mean_square_displacements(modes: Modes, parameters: Parameters) -> Floats:
    """⟨|u|²⟩ of every atom by all motions but the residual: (N,) Å².

    Exact for Gaussian motion; of libration to second order in its angle: a rotation by σz moves
    an atom at distance r by 2σ²r² in the square. A screw couples both: see `_turned`.
    """
    disorder, moved = parameters.disorder, parameters.lattice_motion
    left = 1 - parameters.screw_correlation**2 * bool(parameters.libration_sigma_deg)
    common = left * np.trace(disorder.translation_covariance())
    if moved is not None:
        common = np.trace(moved.rest)
    inside = sampled_squares(modes, parameters.sampled)
    total: Floats = inside + common + disorder.own_mean_square()
    return total


def displacement_covariances(modes: Modes, parameters: Parameters) -> Floats:
    """⟨u uᵀ⟩ of every atom by all motions but the residual: (N, 3, 3) Å².

    Its trace is `mean_square_displacements`, exact and approximate where that is.
    """
    sampled, disorder = parameters.sampled, parameters.disorder
    turned = _turned(modes, sampled)
    own = disorder.own_covariance()
    alike = own * np.eye(3) if isinstance(own, float) else own
    librations: Floats = np.einsum("nki,nkj->nij", turned, turned)
    total: Floats = (
        inside_covariances(modes, sampled) + librations + alike + rigid_covariance(parameters)
    )
    return total


def inside_covariances(modes: Modes, sampled: Sampled) -> Floats:
    """⟨u uᵀ⟩ of every atom by modes, or frames, alone: (N, 3, 3) Å²."""
    fields = independent_fields(modes, sampled)
    weights = weights_of(modes, sampled)
    if modes.frames is not None and weights is not None:
        away = modes.frames - np.average(modes.frames, axis=0, weights=weights)
        fields = away * np.sqrt(weights)[:, None, None]
    inside: Floats = np.einsum("mni,mnj->nij", fields, fields)
    return inside


def rigid_covariance(parameters: Parameters) -> Floats:
    """⟨t tᵀ⟩ of the translations that no libration takes along, the lattice's too: (3, 3) Å²."""
    disorder, moved = parameters.disorder, parameters.lattice_motion
    if moved is not None:
        return moved.rest
    left = 1 - parameters.screw_correlation**2 * bool(parameters.libration_sigma_deg)
    lattice = disorder.halo_sigma_A**2 * np.eye(3)
    covariance: Floats = left * disorder.translation_covariance() + lattice
    return covariance


def sampled_squares(modes: Modes, sampled: Sampled) -> Floats:
    """⟨|u|²⟩ of every atom by what is sampled: (N,) Å²."""
    fields = independent_fields(modes, sampled)
    internal: Floats = np.sum(fields**2, axis=(0, 2))
    weights = weights_of(modes, sampled)
    if modes.frames is not None and weights is not None:
        away = modes.frames - np.average(modes.frames, axis=0, weights=weights)
        internal = np.einsum("f,fnx->n", weights, away**2)
    total: Floats = internal + np.sum(_turned(modes, sampled) ** 2, axis=(1, 2))
    return total


def _turned(modes: Modes, sampled: Sampled) -> Floats:
    """What each of libration's three normal points moves every atom by: (N, 3, 3) Å.

    To first order in the angle, with the part c of the translation that goes along,

        u = σ z × r + c L z,   ⟨|u|²⟩ = 2σ²r² + c² tr LLᵀ + 2cσ Σ_ijk ε_ijk L_ij r_k.

    The last term is 0 where L is diagonal: only correlated translations have it. Its mean over a
    molecule is nearly 0, but not over the atoms of one side.
    """
    if not sampled.librates:
        return np.zeros((len(modes.structure), 3, 3))
    lever = modes.structure.positions - centre_of_mass(modes.structure)
    moved: Floats = np.cross(sampled.turn().T, lever[:, None]) + sampled.screw().T
    return moved


def rms_motion_A(modes: Modes, sampled: Sampled) -> float:
    """Rms displacement per atom, Å, by modes, or frames, and libration.

    Without the translation that a screw takes along: that moves all atoms alike.
    """
    inside = replace(sampled, screw_A=())
    return float(np.sqrt(np.mean(sampled_squares(modes, inside))))


def motion_along(axes: Floats, modes: Modes, sampled: Sampled) -> Floats:
    """Rms displacement of every atom along axes, by what is sampled.

    Parameters
    ----------
    axes : (3, 3) float
        Columns that Å are projected on.
    modes : Modes
    sampled : Sampled

    Returns
    -------
    (N, 3) float
    """
    away = independent_fields(modes, sampled)
    weights = weights_of(modes, sampled)
    if modes.frames is not None and weights is not None:
        away = modes.frames - modes.structure.positions
        away = away * np.sqrt(weights)[:, None, None]
    squares = np.sum((away @ axes) ** 2, axis=0)
    turned = _turned(modes, sampled) @ axes
    rms: Floats = np.sqrt(squares + np.sum(turned**2, axis=1))
    return rms


def residual_b_factors(modes: Modes, parameters: Parameters) -> Floats:
    """What the model's motions leave of the crystal's B-factors, times the fraction: (N,) Å².

    None where they leave nothing, or the crystal structure lacks the atom.
    """
    if modes.crystal_b_A2 is None:
        raise ValueError("the crystal's B-factors are not known: see `why_no_b_factors`")
    explained = 8 * np.pi**2 / 3 * mean_square_displacements(modes, parameters)
    left = np.nan_to_num(np.maximum(modes.crystal_b_A2 - explained, 0.0))
    return parameters.residual_b_fraction * left
