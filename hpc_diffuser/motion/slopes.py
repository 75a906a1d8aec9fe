"""From forces on atoms to an objective's derivatives by the model's parameters.

The chain rule through `configurations` and `disorder`: an objective O with forces φ_sa = dO/dr_sa
on the atoms of configuration s has, along modes with the factor F and normal points z,

    dO/dF_ij = Σ_s z_sj Σ_a Δ_ia·φ_sa,

and under a libration, r = R(σz)(r' − c) + c + t with t = C z, the torque along z, the forces
Rᵀφ on r', and dO/dC_ij = Σ_s z_sj Σ_a φ_sai.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from hpc_diffuser.crystal.structure import centre_of_mass
from hpc_diffuser.motion.configurations import (
    independent_fields,
    residual_b_factors,
    rigid_covariance,
)
from hpc_diffuser.motion.disorder import correlation_factor
from hpc_diffuser.motion.lattice.rigid import cross_matrix, displacements
from hpc_diffuser.motion.lattice.rigid_lattice import RigidMotion, rigid_motion_slopes
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, Sampled, parameters_from, values_of
from hpc_diffuser.motion.registry import BY_NAME, CORRELATION
from hpc_diffuser.system.arrays import Floats

_STEP = 1e-5  # of a number that covariances are smooth functions of, mostly squares


@dataclass(frozen=True)
class MotionSlopes:
    """An objective's derivatives by what configurations are made of.

    Attributes
    ----------
    factor : (M,) or (M, M) float
        By the modes' factor; where modes are not correlated, by its diagonal.
    turn : (3, 3) float
        By W of the rotation vector W z, in radians: of one that is alike about all axes, its trace.
    screw : (3, 3) float
        By what a libration takes along.
    dims : (N,) float, or none
        By the atoms' B-factors, which dim what they scatter.
    """

    factor: Floats
    turn: Floats
    screw: Floats
    dims: Floats

    def flat(self) -> Floats:
        """All of them in a row."""
        parts = self.factor.ravel(), self.turn.ravel(), self.screw.ravel(), self.dims
        return np.concatenate(parts)

    def like(self, flat: Floats) -> "MotionSlopes":
        """The same from a row of numbers."""
        n = self.factor.size
        factor, turn = flat[:n].reshape(self.factor.shape), flat[n : n + 9].reshape(3, 3)
        return MotionSlopes(factor, turn, flat[n + 9 : n + 18].reshape(3, 3), flat[n + 18 :])


def no_motion_slopes(modes: Modes, sampled: Sampled, dimming: bool) -> MotionSlopes:
    """Zeros, in the form that a model's derivatives have."""
    shape = (len(modes.amplitudes_A),) * (2 if sampled.mode_correlation else 1)
    n_dims = len(modes.structure) if dimming else 0
    return MotionSlopes(np.zeros(shape), np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(n_dims))


def motion_slopes(
    modes: Modes,
    sampled: Sampled,
    normals: Floats,
    moved: Floats,
    forces: Floats,
    dimming: bool,
) -> MotionSlopes:
    """Derivatives by motion, from those by the atoms of some configurations.

    Parameters
    ----------
    modes, sampled, normals
        As of `configurations`.
    moved : (S, N, 3) float, Å
        Its result.
    forces : (S, N, 4) float
        By positions, and by B-factors.
    dimming : bool
    """
    n_modes = len(modes.amplitudes_A)
    along, turning = normals[:, :n_modes], normals[:, n_modes:]
    inside, turn, screw = forces[..., :3], np.zeros((3, 3)), np.zeros((3, 3))
    if turning.shape[1] and sampled.librates:
        vectors = turning @ sampled.turn().T
        rotations = Rotation.from_rotvec(vectors)
        shifts = centre_of_mass(modes.structure) + turning @ sampled.screw().T
        torques = np.sum(np.cross(moved - shifts[:, None], inside), axis=1)
        turn = np.einsum("sji,sj->si", _turned_by(vectors), torques).T @ turning
        screw = inside.sum(axis=1).T @ turning
        inside = inside @ rotations.as_matrix()
    fields = modes.vectors.reshape(n_modes, inside[0].size)
    work = inside.reshape(len(inside), -1) @ fields.T
    factor = work.T @ along if sampled.mode_correlation else np.sum(work * along, axis=0)
    dims = forces[..., 3].sum(axis=0) if dimming else np.empty(0)
    return MotionSlopes(factor, turn, screw, dims)


def _turned_by(vectors: Floats) -> Floats:
    """What changes of rotation vectors ω (S, 3) turn by: (S, 3, 3) J with R(ω + dω) = R(J dω)R(ω).

    J = 1 + (1 − cos θ)/θ² [ω] + (θ − sin θ)/θ³ [ω]², the left Jacobian of rotations.
    """
    angles = np.maximum(np.linalg.norm(vectors, axis=1), 1e-4)[:, None, None]
    cross = cross_matrix(vectors)
    once, twice = (1 - np.cos(angles)) / angles**2, (angles - np.sin(angles)) / angles**3
    jacobians: Floats = np.eye(3) + once * cross + twice * (cross @ cross)
    return jacobians


def parameter_slopes(
    modes: Modes,
    parameters: Parameters,
    motion: MotionSlopes,
    own: Floats,
    rigid: Floats,
    names: tuple[str, ...],
) -> dict[str, Floats]:
    """Derivatives by the model's parameters.

    Parameters
    ----------
    modes : Modes
    parameters : Parameters
    motion : MotionSlopes
    own, rigid : (3, 3) float
        By the covariances of what atoms do each beside its molecule, and of the translation.
    names : tuple of str
        Of the parameters asked for.

    Returns
    -------
    dict of (n,) float
        By name: as many as the parameter's numbers.
    """
    slopes = np.concatenate([m.ravel() for m in (own, rigid, motion.screw, motion.dims)])

    def made_of(changed: Parameters) -> Floats:
        return np.concatenate([*_matrices(changed), _dims(modes, changed, motion)])

    values = values_of(parameters)
    found = {}
    for name in names:
        if BY_NAME[name].term == "lat":
            moved = RigidMotion(motion.turn, motion.screw, rigid)
            found[name] = _by_springs(modes, parameters, moved, motion.dims, name)
            continue
        direct = _through_configurations(parameters, motion, name)
        places = range(np.size(values[name])) if _counts(name, motion) else ()
        by_places = [slopes @ _derivative(made_of, parameters, name, place) for place in places]
        found[name] = direct + np.array(by_places) if by_places else direct
    return found


def _by_springs(
    modes: Modes, parameters: Parameters, by: RigidMotion, dims: Floats, name: str
) -> Floats:
    """By the springs' lengths, or shapes, from derivatives by the motion that they make: (n,)."""
    moved, lattice = parameters.lattice_motion, parameters.lattice
    if moved is None or lattice is None:  # springs of length 0 move nothing
        return np.zeros(np.size(getattr(parameters, name)))
    by_covariance = rigid_motion_slopes(moved, by)
    if len(dims):
        by_covariance += _through_residuals(modes, parameters, dims)
    return _of_springs(parameters, lattice.length_slopes(parameters.springs, by_covariance), name)


def _of_springs(parameters: Parameters, slopes: Floats, name: str) -> Floats:
    """Those by lengths, or by shapes, of derivatives by all numbers of springs."""
    if not len(parameters.lattice_shape):
        return slopes if name == "lattice_spring_A" else np.empty(0)
    n = len(slopes) - len(parameters.lattice_shape)
    if name != "lattice_spring_A":
        return slopes[n:]
    alike = np.ndim(parameters.lattice_spring_A) == 0
    return slopes[:n].sum(keepdims=True) if alike else slopes[:n]


def _through_residuals(modes: Modes, parameters: Parameters, dims: Floats) -> Floats:
    """By C (6, 6), as far as residual B-factors lose what it adds: 8π²/3 tr P_a C P_aᵀ."""
    assert parameters.lattice is not None
    loses = dims * parameters.residual_b_fraction * (residual_b_factors(modes, parameters) > 0)
    p = displacements(modes.structure.positions, parameters.lattice.springs.centre)
    lost: Floats = -8 * np.pi**2 / 3 * np.einsum("a,aki,akj->ij", loses, p, p)
    return lost


@dataclass(frozen=True)
class NeighbourSlopes:
    """An objective's derivatives by what neighbours on springs add to the intensity.

    Attributes
    ----------
    stiffness : (I, 6, 6) float
        By K of each interface, in D(k).
    covariance : (6, 6) float
        By C, symmetric.
    places : (M, 3) float, Å
        Of the atoms; of an ensemble those of every frame.
    atoms : (M, 3, 3) float, Å⁻²
        By U_a, which they are blurred by.
    """

    stiffness: Floats
    covariance: Floats
    places: Floats
    atoms: Floats


def neighbour_slopes(
    modes: Modes, parameters: Parameters, by: NeighbourSlopes, names: tuple[str, ...]
) -> dict[str, Floats]:
    """Derivatives by the model's parameters, of what neighbours on springs add.

    Parameters
    ----------
    modes, parameters, names
        As of `parameter_slopes`.
    by : NeighbourSlopes
    """
    lattice = parameters.lattice
    if lattice is None:
        raise ValueError("neighbours are those of a lattice: see `rigid_lattice`")
    dims = np.empty(0)
    if parameters.residual_b_fraction or "residual_b_fraction" in names:
        of_frames = np.trace(by.atoms, axis1=1, axis2=2).reshape(-1, len(modes.structure))
        dims = of_frames.sum(axis=0) / (8 * np.pi**2)
    none = np.zeros((3, 3))
    motion = MotionSlopes(_by_factor(modes, parameters.sampled, by.atoms), none, none, dims)
    own = by.atoms.sum(axis=0)
    found = parameter_slopes(modes, parameters, motion, own, none, names)
    p = displacements(by.places, lattice.springs.centre)
    by_covariance = by.covariance + np.einsum("aki,akl,alj->ij", p, by.atoms, p, optimize=True)
    for name in names:
        if BY_NAME[name].term == "lat":
            of = (parameters.springs, by_covariance, by.stiffness)
            more = _of_springs(parameters, lattice.length_slopes(*of), name)
            found[name] = found[name] + more
    return found


def _by_factor(modes: Modes, sampled: Sampled, by_atoms: Floats) -> Floats:
    """By the modes' factor F, from derivatives by U_a = Σ_i Δ_ia Δ_iaᵀ, Δ_i = Σ_j F_ji v_j."""
    if modes.frames is not None:
        return np.zeros(len(modes.amplitudes_A))
    pulled = 2 * np.einsum("mni,nij->mnj", independent_fields(modes, sampled), by_atoms)
    if not sampled.mode_correlation:
        alone: Floats = np.einsum("mnj,mnj->m", pulled, modes.vectors)
        return alone
    by_factor: Floats = np.einsum("inj,mnj->mi", pulled, modes.vectors)
    return by_factor


def liquid_slopes(
    parameters: Parameters, by_covariance: Floats, names: tuple[str, ...]
) -> dict[str, Floats]:
    """By σ and correlations of liquid-like motion, from derivatives by its covariance (3, 3)."""

    def made_of(changed: Parameters) -> Floats:
        return changed.disorder.liquid_covariance().ravel()

    found, values = {}, values_of(parameters)
    for name in {"llm_sigma_A", "llm_correlation"} & set(names):
        places = range(np.size(values[name]))
        by_place = [_derivative(made_of, parameters, name, place) for place in places]
        found[name] = np.array([by_covariance.ravel() @ slope for slope in by_place])
    return found


def _counts(name: str, motion: MotionSlopes) -> bool:
    """Whether a parameter has a part in covariances, or in what is left of B-factors."""
    return bool(len(motion.dims)) or BY_NAME[name].term not in ("int", "sol")


def _through_configurations(parameters: Parameters, motion: MotionSlopes, name: str) -> Floats:
    """What a parameter does to the objective by the modes' factor, or by rotation: (n,)."""
    if name == "mode_amplitude_A":
        sampled = parameters.sampled
        if not sampled.mode_correlation:
            return motion.factor
        n = len(sampled.mode_amplitudes_A)
        by_row: Floats = np.sum(motion.factor * correlation_factor(sampled.mode_correlation, n), 1)
        return by_row
    if name == "mode_correlation":
        return _by_correlation(parameters.sampled, motion.factor)
    if name == "libration_sigma_deg":
        return np.array([np.radians(motion.turn.trace())])
    return np.zeros(np.size(values_of(parameters)[name]))


def _by_correlation(sampled: Sampled, by_factor: Floats) -> Floats:
    """By the partial correlations of the modes."""
    amplitudes = np.array(sampled.mode_amplitudes_A)
    by_shape = by_factor * amplitudes[:, None]
    partial = np.array(sampled.mode_correlation)
    found = np.empty(len(partial))
    for place in range(len(partial)):
        low, high = _sides(partial[place], True)
        ends = []
        for value in (low, high):
            moved = partial.copy()
            moved[place] = value
            ends.append(correlation_factor(moved, len(amplitudes)))
        found[place] = np.sum(by_shape * (ends[1] - ends[0])) / (high - low)
    return found


def _matrices(parameters: Parameters) -> list[Floats]:
    """Covariances of atoms on their own and of the molecule; what a libration takes along.

    Of a lattice nothing but its springs changes those of the molecule.
    """
    own = parameters.disorder.own_covariance()
    alike = own * np.eye(3) if isinstance(own, float) else own
    screw = parameters.screw_correlation * parameters.disorder.translation_factor()
    found = alike, rigid_covariance(parameters), screw
    return [matrix.ravel() for matrix in found]


def _dims(modes: Modes, parameters: Parameters, motion: MotionSlopes) -> Floats:
    """Residual B-factors, where they are asked for."""
    return residual_b_factors(modes, parameters) if len(motion.dims) else np.empty(0)


def _derivative(
    made_of: Callable[[Parameters], Floats], parameters: Parameters, name: str, place: int
) -> Floats:
    """Central difference of what parameters make, by one number of one of them."""
    value = np.atleast_1d(values_of(parameters)[name])[place]
    low, high = _sides(value, BY_NAME[name].quantity is CORRELATION)
    ends = [made_of(with_number(parameters, name, place, end)) for end in (low, high)]
    difference: Floats = (ends[1] - ends[0]) / (high - low)
    return difference


def _sides(value: float, correlation: bool) -> tuple[float, float]:
    """Numbers to both sides; of a correlation, between −1 and 1."""
    low, high = value - _STEP, value + _STEP
    return (max(low, -1.0), min(high, 1.0)) if correlation else (low, high)


def with_number(parameters: Parameters, name: str, place: int, number: float) -> Parameters:
    """The same parameters with another value of one number of one of them."""
    plain = {}
    for key, value in values_of(parameters).items():
        numbers = [float(x) for x in np.atleast_1d(value)]
        if key == name:
            numbers[place] = float(number)
        plain[key] = numbers if np.ndim(value) else numbers[0]
    return parameters_from(plain, parameters.lattice)
