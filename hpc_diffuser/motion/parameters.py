"""One set of values of the model's parameters; what is to be known of each, `registry` says."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.lattice.rigid_lattice import (
    Lengths,
    RigidLattice,
    RigidMotion,
    rigid_motion,
)
from hpc_diffuser.motion.registry import FRAME_WEIGHT, PARAMETERS
from hpc_diffuser.system.arrays import Floats

Value = float | list[float]
_DISORDER = tuple(f.name for f in fields(Disorder))


@dataclass(frozen=True)
class Sampled:
    """What the Monte Carlo ensemble depends on: with equal ones the configurations are the same.

    Attributes
    ----------
    mode_amplitudes_A : M floats, Å
    mode_correlation : k(k−1)/2 floats
    libration_sigma_deg : float
        As of `Parameters`.
    screw_A : 9 floats, Å, or none
        c L row by row, the part of the translation's factor that goes along with a libration.
    frame_weights : F floats, or none
        As of `Parameters`.
    turn_rad : 9 floats, or none
        W row by row: the rotation vector is W z. Instead of an angle that is alike about all axes.
    """

    mode_amplitudes_A: tuple[float, ...] = ()
    mode_correlation: tuple[float, ...] = ()
    libration_sigma_deg: float = 0.0
    screw_A: tuple[float, ...] = ()
    frame_weights: tuple[float, ...] = ()
    turn_rad: tuple[float, ...] = ()

    @property
    def librates(self) -> bool:
        """Whether the molecule turns, exactly, by three normal points."""
        return bool(self.libration_sigma_deg) or bool(self.turn_rad)

    def turn(self) -> Floats:
        """W: (3, 3) radians."""
        if self.turn_rad:
            return np.array(self.turn_rad).reshape(3, 3)
        alike: Floats = np.radians(self.libration_sigma_deg) * np.eye(3)
        return alike

    def screw(self) -> Floats:
        """c L: (3, 3) Å."""
        return np.array(self.screw_A or (0.0,) * 9).reshape(3, 3)


@dataclass(frozen=True)
class Parameters:
    """One set of values of the model.

    Attributes
    ----------
    mode_amplitudes_A : (M,) float, Å
    disorder : Disorder
    mode_correlation : k(k−1)/2 floats
        Partial correlations of the first k modes; see `disorder.correlation_factor`.
    libration_sigma_deg : float
        Rms rotation about any axis through the centre of mass.
    screw_correlation : float
        Of the translation along an axis with the rotation about it.
    residual_b_fraction : float
        Of what the other motions leave of the crystal's B-factors, that every atom has on its own.
    k_sol_eA3, b_sol_A2 : float
        Density and blur of the displaced solvent.
    frame_weight : F floats, or none
        Of an ensemble's frames, on any scale, in place of those that it has.
    lattice_spring_A : float, or floats, Å
        Lengths of the springs between molecules, see `RigidLattice`: of all, or of each interface.
    lattice_shape : floats, or none
        How the springs of interfaces differ from those of their pairs of atoms: 21 for each.
    lattice : RigidLattice or None
        What these springs hold; needed where they are not 0.
    """

    mode_amplitudes_A: Floats
    disorder: Disorder = field(default_factory=Disorder)
    mode_correlation: tuple[float, ...] = ()
    libration_sigma_deg: float = 0.0
    screw_correlation: float = 0.0
    residual_b_fraction: float = 0.0
    k_sol_eA3: float = 0.0
    b_sol_A2: float = 0.0
    frame_weight: tuple[float, ...] = ()
    lattice_spring_A: float | tuple[float, ...] = 0.0
    lattice_shape: tuple[float, ...] = ()
    lattice: RigidLattice | None = None

    @property
    def lattice_motion(self) -> RigidMotion | None:
        """How the lattice moves the molecule as a whole; None without."""
        if not np.any(self.lattice_spring_A):
            return None
        if self.lattice is None:
            raise ValueError("springs without the lattice that they hold")
        return rigid_motion(self.lattice.covariance(self.springs))

    @property
    def springs(self) -> Lengths:
        """Lengths, and after those of all interfaces their springs' shapes: see `RigidLattice`."""
        if not len(self.lattice_shape) or self.lattice is None:
            return self.lattice_spring_A
        lengths = np.broadcast_to(self.lattice_spring_A, self.lattice.springs.n_interfaces)
        return (*lengths.tolist(), *self.lattice_shape)

    @property
    def sampled(self) -> Sampled:
        """What the Monte Carlo ensemble depends on; of a translation, what a screw takes along."""
        amplitudes = tuple(np.asarray(self.mode_amplitudes_A).tolist())
        of_modes = amplitudes, tuple(self.mode_correlation)
        weights, moved = tuple(self.frame_weight), self.lattice_motion
        if moved is not None:
            screw_A, turn_rad = (tuple(x.ravel().tolist()) for x in (moved.screw, moved.turn))
            return Sampled(*of_modes, 0.0, screw_A, weights, turn_rad)
        screw_A = ()
        if self.libration_sigma_deg and self.screw_correlation:
            screw = self.screw_correlation * self.disorder.translation_factor()
            screw_A = tuple(screw.ravel().tolist())
        return Sampled(*of_modes, self.libration_sigma_deg, screw_A, weights)


def values_of(parameters: Parameters) -> dict[str, Any]:
    """The values under the config's names, in the order of the registry: `parameters_from` back."""
    flat = {**vars(parameters), **vars(parameters.disorder)}
    flat["mode_amplitude_A"] = parameters.mode_amplitudes_A
    rows = (*PARAMETERS, FRAME_WEIGHT) if len(parameters.frame_weight) else PARAMETERS
    return {row.name: flat[row.name] for row in rows}


def parameters_from(values: dict[str, Value], lattice: RigidLattice | None = None) -> Parameters:
    """Parameters from plain values under the config's names; what is not named is absent.

    Those of a lattice's springs need the lattice.
    """
    # Which of them are several numbers, the registry says.
    fields_: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    amplitudes = np.array(fields_.pop("mode_amplitude_A", ()), dtype=np.float64)
    of_disorder = {name: fields_.pop(name) for name in _DISORDER if name in fields_}
    return Parameters(amplitudes, Disorder(**of_disorder), **fields_, lattice=lattice)
