"""A crystal of rigid molecules on springs of given lengths: what moves them, and how far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hpc_diffuser.crystal.packing import CONTACT_A, crystal_packing
from hpc_diffuser.crystal.structure import Structure, centre_of_mass
from hpc_diffuser.motion.lattice.averages import (
    covariance_changes,
    covariance_slopes,
    mean_covariance,
)
from hpc_diffuser.motion.lattice.correlations import (
    Correlations,
    Divisions,
    lattice_correlations,
)
from hpc_diffuser.motion.lattice.full_springs import (
    N_SHAPE,
    changed_stiffness,
    changed_stiffness_slopes,
)
from hpc_diffuser.motion.lattice.springs import (
    Springs,
    computable,
    contact_springs,
    require_computable,
)
from hpc_diffuser.system.arrays import Floats

K = TypeVar("K")
V = TypeVar("V")
_KEPT = 8  # covariances: of the springs that were asked for last
_KEPT_LARGE = 2  # correlations
_SMALL_TURN_DEG = 10.0  # rms: linear dynamics is of small angles, of which sin x is x to 0.5 %
SHORTEST_A = 1e-3  # a spring that varies by less is as stiff as this one

Lengths = float | tuple[float, ...]


@dataclass(frozen=True, eq=False)
class RigidLattice:
    """The springs of a crystal, and what they make of given lengths.

    A spring's length is what its two atoms' distance would vary by along any axis, rms, if it held
    them alone: ℓ = 1/√κ, κ in kT/Å². All covariances go with ℓ².

    Attributes
    ----------
    springs : Springs
    """

    springs: Springs
    _covariances: dict[tuple[float, ...], Floats] = field(default_factory=dict)
    _correlations: dict[tuple[tuple[float, ...], Divisions], Correlations] = field(
        default_factory=dict
    )

    def stiffness(self, lengths_A: Lengths) -> Floats:
        """K of each interface (I, 6, 6) of one length of all springs, or one for each interface.

        After those of all interfaces may come 21 numbers of each: see `full_springs`.
        """
        lengths_A, shape = self._parts(lengths_A)
        if shape is not None:
            return changed_stiffness(self.stiffness(lengths_A), shape)
        lengths = np.maximum(np.broadcast_to(lengths_A, self.springs.n_interfaces), SHORTEST_A)
        return self.springs.of_pairs(1 / lengths**2)

    def stiffness_slopes(self, lengths_A: Lengths) -> Floats:
        """Derivatives of K by each number: (n, I, 6, 6), of one length for all n = 1."""
        lengths_A, shape = self._parts(lengths_A)
        if shape is not None:
            return self._shaped_slopes(lengths_A, shape)
        n = self.springs.n_interfaces
        lengths = np.maximum(np.broadcast_to(lengths_A, n), SHORTEST_A)
        slopes = self.springs.of_pairs(-2 / lengths**3)
        if not np.ndim(lengths_A):
            return slopes[None]
        each: Floats = np.eye(n)[:, :, None, None] * slopes
        return each

    def _parts(self, lengths_A: Lengths) -> tuple[Lengths, Floats | None]:
        n = self.springs.n_interfaces
        if isinstance(lengths_A, tuple) and len(lengths_A) == n * (1 + N_SHAPE):
            return lengths_A[:n], np.array(lengths_A[n:]).reshape(n, N_SHAPE)
        return lengths_A, None

    def _shaped_slopes(self, lengths_A: Lengths, shape: Floats) -> Floats:
        """By all lengths, which scale K, and then by all numbers of shape."""
        n, geometric = self.springs.n_interfaces, self.stiffness(lengths_A)
        scaled = -2 / np.maximum(lengths_A, SHORTEST_A)[:, None, None]
        by_lengths, each = scaled * changed_stiffness(geometric, shape), np.arange(n)
        found = np.zeros((n * (1 + N_SHAPE), n, 6, 6))
        found[each, each] = by_lengths
        of_shape = found[n:].reshape(n, N_SHAPE, n, 6, 6)
        of_shape[each, :, each] = changed_stiffness_slopes(geometric, shape)
        return found

    def length_slopes(
        self, lengths_A: Lengths, by_covariance: Floats, by_stiffness: Floats | float = 0.0
    ) -> Floats:
        """An objective's derivatives by each length (n,), from those by C and beside it by K.

        Parameters
        ----------
        lengths_A
            As of `stiffness`.
        by_covariance : (6, 6) float
            Symmetric.
        by_stiffness : (I, 6, 6) float
        """
        through = covariance_slopes(self.springs, self.stiffness(lengths_A), by_covariance)
        slopes: Floats = np.tensordot(
            self.stiffness_slopes(lengths_A), by_stiffness + through, axes=3
        )
        return slopes

    def covariance_slopes(self, lengths_A: Lengths) -> Floats:
        """Derivatives of C by each length: (n, 6, 6); see `stiffness_slopes`."""
        slopes = self.stiffness_slopes(lengths_A)
        return covariance_changes(self.springs, self.stiffness(lengths_A), slopes)

    def covariance(self, lengths_A: Lengths) -> Floats:
        """C = ⟨ξ ξᵀ⟩ of a molecule about the springs' centre: (6, 6) Å², Å and 1.

        Raises
        ------
        InputError
            Of springs so unlike each other that rounding is all that is left of it.
        """
        key = _key(lengths_A)
        if key not in self._covariances:
            stiffness = self.stiffness(lengths_A)
            require_computable(self.springs, stiffness)
            _make_room(self._covariances, _KEPT)
            self._covariances[key] = mean_covariance(self.springs, stiffness)
        return self._covariances[key]

    def computable(self, lengths_A: Lengths) -> bool:
        """Whether springs are alike enough for `covariance`."""
        return computable(self.springs, self.stiffness(lengths_A))

    def correlations(self, lengths_A: Lengths, divisions: Divisions) -> Correlations:
        """C(R) = ⟨ξ(R) ξ(0)ᵀ⟩ of all molecules of the cell, from a grid of the Brillouin zone."""
        key = (_key(lengths_A), divisions)
        if key not in self._correlations:
            _make_room(self._correlations, _KEPT_LARGE)
            of = self.stiffness(lengths_A), self.covariance(lengths_A), divisions
            self._correlations[key] = lattice_correlations(self.springs, *of)
        return self._correlations[key]


def turn_deg(covariance: Floats) -> float:
    """Rms angle that a molecule of covariance C (6, 6) turns by about any axis, in degrees."""
    return float(np.degrees(np.sqrt(np.trace(covariance[3:, 3:]) / 3)))


def why_turned_too_far(turn: float) -> str | None:
    """Why an rms angle (degrees) is none that rigid-body dynamics holds for; None where it is."""
    if turn <= _SMALL_TURN_DEG:
        return None
    return (
        f"molecules turn by {turn:.0f}° rms about any axis: dynamics of rigid bodies is of small "
        f"angles, up to some {_SMALL_TURN_DEG:g}°"
    )


def _key(lengths_A: Lengths) -> tuple[float, ...]:
    return tuple(np.atleast_1d(lengths_A).tolist())


def _make_room(kept: dict[K, V], at_most: int) -> None:
    """Forget what was asked for first."""
    while len(kept) >= at_most:
        del kept[next(iter(kept))]


@dataclass(frozen=True)
class RigidMotion:
    """A Gaussian rigid motion ξ = (t, ω) as independent parts.

    With z of three normal points ω = W z, and t = T z + t', where t' is independent of z.

    Attributes
    ----------
    turn : (3, 3) float
        W in radians, lower triangular.
    screw : (3, 3) float, Å
        T.
    rest : (3, 3) float, Å²
        ⟨t' t'ᵀ⟩.
    """

    turn: Floats
    screw: Floats
    rest: Floats


def rigid_motion(covariance: Floats) -> RigidMotion:
    """Of a covariance ⟨ξ ξᵀ⟩ (6, 6)."""
    turn = np.linalg.cholesky(covariance[3:, 3:])
    screw = np.linalg.solve(turn, covariance[3:, :3]).T
    return RigidMotion(turn, screw, covariance[:3, :3] - screw @ screw.T)


def rest_changes(covariance: Floats, changes: Floats) -> Floats:
    """What `RigidMotion.rest` = tt − X rt, X = tr rr⁻¹, changes by: (P, 3, 3).

    Parameters
    ----------
    covariance : (6, 6) float
    changes : (P, 6, 6) float
        Of it, symmetric.
    """
    x = np.linalg.solve(covariance[3:, 3:], covariance[3:, :3]).T
    along = np.concatenate([np.eye(3), -x], axis=1)
    found: Floats = along @ changes @ along.T
    return found


def rigid_motion_slopes(motion: RigidMotion, by: RigidMotion) -> Floats:
    """The transpose of `rigid_motion`: by the covariance (6, 6), symmetric.

    With the covariance's blocks tt, tr and rr, W Wᵀ = rr, T Wᵀ = tr and rest = tt − T Tᵀ.

    Parameters
    ----------
    motion : RigidMotion
    by : RigidMotion
        An objective's derivatives by its parts.
    """
    by_rest = (by.rest + by.rest.T) / 2
    by_screw = by.screw - 2 * by_rest @ motion.screw
    inverse = np.linalg.inv(motion.turn)
    by_turn = by.turn - inverse.T @ by_screw.T @ motion.screw
    lower = np.tril(motion.turn.T @ by_turn)  # of Cholesky's factor
    lower[np.diag_indices(3)] /= 2
    found = np.zeros((6, 6))
    found[:3, :3] = by_rest
    found[:3, 3:] = by_screw @ inverse / 2
    found[3:, :3] = found[:3, 3:].T
    found[3:, 3:] = inverse.T @ (lower + lower.T) @ inverse / 2
    return found


def rigid_lattice(
    structure: Structure,
    unit_cell: tuple[float, ...],
    space_group: str,
    touching: Floats | None = None,
    contact_A: float = CONTACT_A,
) -> RigidLattice:
    """The lattice of a molecule in its crystal, about its centre of mass.

    Parameters
    ----------
    structure : Structure
        Of the asymmetric unit, which moves as one body.
    unit_cell : 6 floats, Å and degrees
    space_group : str
    touching : (N, 3) float, Å, or None
        Places of the atoms that make contacts, where these are others than the structure's: also
        of other conformers.
    contact_A : float, Å
        Nearer than this they do.

    Raises
    ------
    InputError
        Where the contacts do not hold the crystal together.
    """
    positions = structure.positions if touching is None else touching
    packing = crystal_packing(positions, unit_cell, space_group, contact_A)
    return RigidLattice(contact_springs(packing, centre_of_mass(structure)))
