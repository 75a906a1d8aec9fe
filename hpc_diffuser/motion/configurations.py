"""Configurations of the molecule: along its modes, or from an ensemble; and turned as a whole."""

from dataclasses import replace

import gemmi
import numpy as np
from scipy.spatial.transform import Rotation

from hpc_diffuser.motion.disorder import Disorder, correlation_factor
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.sampling import normal_samples
from hpc_diffuser.system.arrays import Floats, Integers


def ensemble_points(
    modes: Modes, librates: bool, sampler: str, n_samples: int, stream: np.random.Generator
) -> Floats:
    """Standard normal points of an ensemble: (S, M) float, with libration (S, M + 3).

    Frames are an ensemble already, whatever the samples asked for; to be turned, each is taken
    equally often, in the order that `configurations` takes them. What does not move inside is a
    single configuration.

    Parameters
    ----------
    modes : Modes
    librates : bool
    sampler : {"sobol", "random"}
    n_samples : int
    stream : numpy.random.Generator
    """
    if modes.frames is not None:
        return _turns_of_frames(len(modes.frames), librates, sampler, n_samples, stream)
    n_columns = len(modes.amplitudes_A) + 3 * librates
    n_points = n_configurations(modes, librates, n_samples)
    return normal_samples(sampler, n_points, n_columns, stream)


def n_configurations(modes: Modes, librates: bool, n_samples: int) -> int:
    """How many configurations are computed where so many samples are asked for; see above."""
    if modes.frames is not None:
        n_frames = len(modes.frames)
        return -(-n_samples // n_frames) * n_frames if librates else n_frames
    return n_samples if len(modes.amplitudes_A) or librates else 1


def _turns_of_frames(
    n_frames: int, librates: bool, sampler: str, n_samples: int, stream: np.random.Generator
) -> Floats:
    """Points (S, 3), or (F, 0) without libration: row i is a rotation of frame i mod F.

    Successive Sobol points lie in different parts of space, so that every F-th would turn a frame
    to one side. A coordinate more deals the points to frames: the slices of it that are equally
    full have rotations to all sides, each and together.
    """
    if not librates:
        return np.zeros((n_frames, 0))
    turns = -(-n_samples // n_frames)
    points = normal_samples(sampler, turns * n_frames, 4, stream)
    slices = points[np.argsort(points[:, 0], kind="stable"), 1:].reshape(n_frames, turns, 3)
    return slices.swapaxes(0, 1).reshape(-1, 3)


def configurations(modes: Modes, parameters: Parameters, normals: Floats, rows: Integers) -> Floats:
    """One configuration for each row of standard normal points.

    Parameters
    ----------
    modes : Modes
    parameters : Parameters
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
        fields = np.tensordot(mode_factor(parameters).T, modes.vectors, 1)
        moved = modes.structure.positions + np.tensordot(normals[:, :n_modes], fields, 1)
    return librated(modes, moved, parameters, normals[:, n_modes:])


def frame_weights(modes: Modes, rows: Integers) -> Floats | None:
    """How much each configuration of `configurations` counts, 1 on average: (S,) float.

    None where all count alike.
    """
    weights = modes.weights
    if weights is None or np.all(weights == weights[0]):
        return None
    return (weights * len(weights))[rows % len(weights)]


def mode_factor(parameters: Parameters) -> Floats:
    """(M, M) F in Å, lower triangular: the modes' coefficients are F z with z standard normal."""
    amplitudes = parameters.mode_amplitudes_A
    return amplitudes[:, None] * correlation_factor(parameters.mode_correlation, len(amplitudes))


def librated(modes: Modes, positions: Floats, parameters: Parameters, normals: Floats) -> Floats:
    """Every configuration turned about the mean structure's centre of mass, and screwed.

    The rotation vector is σ z with z normal in three dimensions: exact rotations, about axes of
    all directions alike. With a screw correlation c, the part c of the translation goes along:
    t = c L z, where L is the translation's factor.

    Parameters
    ----------
    modes : Modes
    positions : (S, N, 3) float, Å
    parameters : Parameters
    normals : (S, 3) float
        Unused without libration.

    Returns
    -------
    (S, N, 3) float, Å
    """
    if not parameters.libration_sigma_deg:
        return positions
    turns = np.radians(parameters.libration_sigma_deg) * normals
    rotations = Rotation.from_rotvec(turns).as_matrix()
    centre = centre_of_mass(modes)
    screw = parameters.screw_correlation * parameters.disorder.translation_factor()
    shifts = centre + normals @ screw.T
    turned: Floats = np.einsum("sij,snj->sni", rotations, positions - centre) + shifts[:, None]
    return turned


def centre_of_mass(modes: Modes) -> Floats:
    """Of the mean structure: (3,) Å."""
    structure = modes.structure
    masses = np.array([gemmi.Element(str(e)).weight for e in structure.elements])
    return np.average(structure.positions, axis=0, weights=masses * structure.occupancies)


def mean_square_displacements(modes: Modes, parameters: Parameters) -> Floats:
    """⟨|u|²⟩ of every atom by all motions but the residual: (N,) Å².

    Exact for Gaussian motion; of libration to second order in its angle: a rotation by σz moves
    an atom at distance r by 2σ²r² in the square. A screw couples both: see `_turned`.
    """
    disorder = parameters.disorder
    fields = np.tensordot(mode_factor(parameters).T, modes.vectors, 1)
    internal: Floats = np.sum(fields**2, axis=(0, 2))
    if modes.frames is not None and modes.weights is not None:
        away = modes.frames - np.average(modes.frames, axis=0, weights=modes.weights)
        internal = np.einsum("f,fnx->n", modes.weights, away**2)
    turned = np.sum(_turned(modes, parameters) ** 2, axis=(1, 2))
    left = 1 - parameters.screw_correlation**2 * bool(parameters.libration_sigma_deg)
    common = left * np.trace(disorder.translation_covariance())
    total: Floats = internal + turned + common + disorder.own_mean_square()
    return total


def _turned(modes: Modes, parameters: Parameters) -> Floats:
    """What each of libration's three normal points moves every atom by: (N, 3, 3) Å.

    To first order in the angle, with the part c of the translation that goes along,

        u = σ z × r + c L z,   ⟨|u|²⟩ = 2σ²r² + c² tr LLᵀ + 2cσ Σ_ijk ε_ijk L_ij r_k.

    The last term is 0 where L is diagonal: only correlated translations have it. Its mean over a
    molecule is nearly 0, but not over the atoms of one side.
    """
    if not parameters.libration_sigma_deg:
        return np.zeros((len(modes.structure), 3, 3))
    turn = np.radians(parameters.libration_sigma_deg)
    lever = modes.structure.positions - centre_of_mass(modes)
    screw = parameters.screw_correlation * parameters.disorder.translation_factor()
    moved: Floats = np.cross(turn * np.eye(3), lever[:, None]) + screw.T
    return moved


def rms_motion_A(modes: Modes, parameters: Parameters) -> float:
    """Rms displacement per atom, Å, by what is sampled: modes, or frames, and libration."""
    sampled = replace(parameters, disorder=Disorder())
    return float(np.sqrt(np.mean(mean_square_displacements(modes, sampled))))


def motion_along(axes: Floats, modes: Modes, parameters: Parameters) -> Floats:
    """Rms displacement of every atom along axes, by what is sampled.

    Parameters
    ----------
    axes : (3, 3) float
        Columns that Å are projected on.
    modes : Modes
    parameters : Parameters

    Returns
    -------
    (N, 3) float
    """
    away: Floats = np.tensordot(mode_factor(parameters).T, modes.vectors, 1)
    if modes.frames is not None and modes.weights is not None:
        away = modes.frames - modes.structure.positions
        away = away * np.sqrt(modes.weights)[:, None, None]
    squares = np.sum((away @ axes) ** 2, axis=0)
    turned = _turned(modes, parameters) @ axes
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
