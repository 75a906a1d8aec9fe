"""A crystal of rigid molecules on springs of given lengths: what moves them, and how far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hpc_diffuser.crystal.packing import CONTACT_A, crystal_packing
from hpc_diffuser.crystal.structure import Structure, centre_of_mass
from hpc_diffuser.motion.lattice.averages import mean_covariance
from hpc_diffuser.motion.lattice.springs import Springs, contact_springs
from hpc_diffuser.system.arrays import Floats

_KEPT = 8  # covariances: of the springs that were asked for last
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

    def stiffness(self, lengths_A: Lengths) -> Floats:
        """K of each interface (I, 6, 6) of one length of all springs, or one for each interface."""
        lengths = np.maximum(np.broadcast_to(lengths_A, self.springs.n_interfaces), SHORTEST_A)
        return self.springs.of_pairs(1 / lengths**2)

    def covariance(self, lengths_A: Lengths) -> Floats:
        """C = ⟨ξ ξᵀ⟩ of a molecule about the springs' centre: (6, 6) Å², Å and 1."""
        key = tuple(np.atleast_1d(lengths_A).tolist())
        if key not in self._covariances:
            while len(self._covariances) >= _KEPT:
                del self._covariances[next(iter(self._covariances))]
            self._covariances[key] = mean_covariance(self.springs, self.stiffness(lengths_A))
        return self._covariances[key]


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
