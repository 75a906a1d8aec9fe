"""Springs between the molecules of a crystal, and the dynamical matrix that they make.

Molecules are rigid bodies with ξ = (t, ω) about a centre. An interface is a spring K (6, 6), in
kT per Å², Å and 1, between the motions that its two molecules have at the middle of their contacts,

    ½ δᵀKδ,   δ = A ξ − B ξ',

so that with M(k) = A − e^{ik·R}B, where R is the lattice vector to the neighbour's cell,

    D(k) = Σ M†KM,   ⟨ξ(R) ξ(0)ᵀ⟩ = mean_k D⁻¹(k) e^{ik·R}:

Hermitian and positive semidefinite by construction, with three zero modes at k = 0 (Meisburger,
Case & Ando 2020, Nat. Commun. 11, 1271; 2023, Nat. Commun. 14, 1228).

Every motion is in the frame of its own molecule, as it lies in the asymmetric unit: the blocks of
all molecules of the cell on their own are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.packing import Packing
from hpc_diffuser.motion.lattice.rigid import displacements, moved_centre, turned
from hpc_diffuser.system.arrays import Complexes, Floats
from hpc_diffuser.system.errors import InputError

_GENERIC = np.array([[0.217, 0.339, 0.471], [0.5, 0.5, 0.5], [0.113, 0.0, 0.0]])
_LOOSE = 1e-9  # of D's eigenvalues beside the largest
_ROUNDED = 1e-12  # beside the largest: D⁻¹ of smaller ones is rounded to worse than C's own 1e-3


@dataclass(frozen=True)
class Springs:
    """The interfaces of a crystal as springs between rigid bodies.

    Attributes
    ----------
    packing : Packing
    centre : (3,) float, Å
        Of the molecule in the asymmetric unit, which its motion is a rotation about.
    units : (I, 6, 6) float
        Of each interface the K of one isotropic spring of 1 kT/Å² between any two atoms that
        touch, which acts half-way between them.
    near, far : (I, 6, 6) float
        A and B, to the middle of its contacts.
    shares : (I,) float
        ½ of an interface that is the same from both sides, which every molecule has counted.
    """

    packing: Packing
    centre: Floats
    units: Floats
    near: Floats
    far: Floats
    shares: Floats

    @property
    def n_interfaces(self) -> int:
        """How many different ones."""
        return len(self.units)

    def dynamical_matrices(self, stiffness: Floats, hkl: Floats) -> Complexes:
        """D(k) of all molecules of the cell: (k, 6Z, 6Z) complex, kT.

        Parameters
        ----------
        stiffness : (I, 6, 6) float
            K of each interface.
        hkl : (k, 3) float
            k in reciprocal-lattice units; the phase is e^{2πi hkl·R}.
        """
        z = self.packing.n_molecules
        found = np.zeros((len(hkl), z, 6, z, 6), complex)
        for i, first in enumerate(self._first_rows()):
            k, near, far = self.shares[i] * stiffness[i], self.near[i], self.far[i]
            own, other, between = near.T @ k @ near, far.T @ k @ far, near.T @ k @ far
            for m, n in enumerate(self.packing.targets[:, first]):
                phase = np.exp(2j * np.pi * (hkl @ self.packing.cells[m, first]))
                found[:, m, :, m] += own
                found[:, n, :, n] += other
                found[:, m, :, n] -= phase[:, None, None] * between
                found[:, n, :, m] -= phase.conj()[:, None, None] * between.T
        return found.reshape(len(hkl), 6 * z, 6 * z)

    def stiffness_slopes(self, by_matrices: Complexes, hkl: Floats) -> Floats:
        """The transpose of `dynamical_matrices`: an objective's derivatives by K, (I, 6, 6).

        Parameters
        ----------
        by_matrices : (k, 6Z, 6Z) complex
            X of dO = Σ_k Re tr(X dD).
        hkl : (k, 3) float
        """
        z = self.packing.n_molecules
        x = by_matrices.reshape(len(hkl), z, 6, z, 6)
        found = np.zeros((self.n_interfaces, 6, 6))
        for i, first in enumerate(self._first_rows()):
            near, far = self.near[i], self.far[i]
            for m, n in enumerate(self.packing.targets[:, first]):
                phase = np.exp(2j * np.pi * (hkl @ self.packing.cells[m, first]))
                both = near @ x[:, m, :, m].sum(axis=0) @ near.T
                both = both + far @ x[:, n, :, n].sum(axis=0) @ far.T
                both = both - far @ np.einsum("k,kij->ij", phase, x[:, n, :, m]) @ near.T
                both = both - near @ np.einsum("k,kij->ij", phase.conj(), x[:, m, :, n]) @ far.T
                # tr(X AᵀdK A) = tr(A X Aᵀ dK): by dK_ij it is the transpose.
                found[i] += self.shares[i] * both.T.real
        return found

    def between_places(self, hkl: Floats) -> Complexes:
        """e^{ik·(r_n − r_m)} of molecules at their places: (k, 6Z, 6Z).

        D⁻¹(k) goes as its conjugate and slowly besides: times this it can be averaged over some k,
        whichever of its copies the lattice has a molecule for.
        """
        places = self.packing.places
        waves = np.exp(2j * np.pi * ((places - places[:, None]) @ hkl.T))
        found: Complexes = np.moveaxis(waves, 2, 0).repeat(6, axis=1).repeat(6, axis=2)
        return found

    def all_alike(self) -> Floats:
        """The projection on translations of all molecules alike, D's zero modes: (6Z, 6Z)."""
        z = self.packing.n_molecules
        moved = np.zeros((z, 6, 3))
        moved[:, :3] = self.packing.turns.swapaxes(1, 2) / np.sqrt(z)
        found: Floats = moved.reshape(6 * z, 3) @ moved.reshape(6 * z, 3).T
        return found

    def of_pairs(self, stiffness: Floats) -> Floats:
        """K of one stiffness for all atom pairs of each interface (I,), kT/Å²: (I, 6, 6)."""
        return stiffness[:, None, None] * self.units

    def _first_rows(self) -> list[int]:
        return [int(np.argmax(self.packing.interfaces == i)) for i in range(len(self.units))]


def contact_springs(packing: Packing, centre: Floats) -> Springs:
    """The springs of a crystal whose molecules touch.

    Parameters
    ----------
    packing : Packing
    centre : (3,) float, Å
        Any point of the molecule: intensities do not know it.

    Raises
    ------
    InputError
        Where they do not hold the molecules: one may turn without a spring that resists.
    """
    units, near, far, shares = [], [], [], []
    for i, neighbour in enumerate(packing.firsts()):
        middle = neighbour.points.mean(axis=0)
        p = displacements(neighbour.points, middle)
        units.append(np.einsum("pki,pkj->ij", p, p))
        near.append(moved_centre(middle - centre))
        there = neighbour.turn @ centre + neighbour.shift
        far.append(moved_centre(middle - there) @ turned(neighbour.turn))
        shares.append(1.0 if np.sum(packing.interfaces == i) == 2 else 0.5)
    found = Springs(packing, centre, *map(np.array, (units, near, far, shares)))
    _require_held(found)
    return found


def computable(springs: Springs, stiffness: Floats) -> bool:
    """Whether D of stiffnesses K (I, 6, 6) can be inverted in double precision.

    e^S of `full_springs` of 21 numbers of 10 has an eigenvalue e⁴⁵.
    """
    levels = np.linalg.eigvalsh(springs.dynamical_matrices(stiffness, _GENERIC))
    return bool((levels[:, 0] >= _ROUNDED * levels[:, -1]).all())


def require_computable(springs: Springs, stiffness: Floats) -> None:
    """Raise InputError where D cannot be inverted: see `computable`."""
    if not computable(springs, stiffness):
        raise InputError(
            "springs so unlike each other that what they hold cannot be computed: the loosest "
            f"motion is held by less than {_ROUNDED:g} of the stiffest: expected numbers of "
            "parameters.lattice_shape nearer to 0 (2 is a factor of e² already), or "
            "lattice_spring_A nearer to each other"
        )


def _require_held(springs: Springs) -> None:
    levels = np.linalg.eigvalsh(springs.dynamical_matrices(springs.units, _GENERIC))
    # Turns count as they move atoms at some 10 Å: rotations have larger eigenvalues, not smaller.
    if (levels[:, 0] < _LOOSE * levels[:, -1]).any():
        pairs = sum(len(n.atoms) for n in springs.packing.firsts())
        raise InputError(
            f"the {pairs} contacts of {springs.n_interfaces} interfaces do not hold the molecules: "
            "they can move without a spring that resists; expected three contacts or more, not on "
            "a line, in enough directions: correct structure, cell or space group"
        )
