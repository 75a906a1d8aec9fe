"""D⁻¹(k) − blockdiag C of a lattice at the k of a map's voxels, what it changes by, and back.

At a Bragg peak, where D⁻¹ is infinite, it is averaged over the voxel. Where a centred cell has none
D⁻¹ is finite but for the translation of all molecules alike, which scatters nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, along_hkl
from hpc_diffuser.motion.lattice.correlations import PARTS, half_steps
from hpc_diffuser.motion.lattice.rigid_lattice import Lengths, RigidLattice
from hpc_diffuser.system.arrays import Complexes, Floats, Integers, Mask

_PRIMITIVE = np.zeros((1, 3))
STEPS = tuple(2 * i + 1 - PARTS for i in range(PARTS))  # in 2·PARTS of a voxel


def parts_of_voxels(divisions: tuple[float, float, float]) -> int:
    """How many points each voxel is computed at: 1, unless one is a whole Brillouin zone.

    Of that, points within and the peak.
    """
    return PARTS**3 + 1 if min(divisions) == 1 else 1


def points_of_voxels(
    grid: HklGrid, indices: Integers, whole: bool
) -> tuple[HklGrid, list[Integers]]:
    """The grid and the voxels on it; with `whole`, the points of each, and the peak."""
    if not whole:
        return grid, [indices]
    n, reach = 2 * PARTS, max(STEPS)
    fine = HklGrid(
        grid.unit_cell,
        along_hkl(n * d for d in grid.divisions),
        along_hkl(n * e + reach for e in grid.extent),
    )
    within = [n * indices + np.array(step) for step in product(STEPS, repeat=3)]
    return fine, [*within, n * indices]


@dataclass(frozen=True)
class ZonePoints:
    """The different k of some voxels, one of ±k.

    Attributes
    ----------
    hkl : (K, 3) float
        In reciprocal-lattice units, from 0 to 1: 0 at Bragg peaks; whole numbers that are not at
        whole hkl without a peak.
    rows : (v,) int
        Which of them is each voxel's,
    turned : (v,) bool
        and whether it is −k.
    """

    hkl: Floats
    rows: Integers
    turned: Mask

    @classmethod
    def of(
        cls, indices: Integers, divisions: tuple[int, int, int], centring: Floats = _PRIMITIVE
    ) -> ZonePoints:
        """Of samples.

        Parameters
        ----------
        indices : (v, 3) int
        divisions : 3 ints
            So many to a reciprocal-lattice unit.
        centring : (C, 3) float
            Where lattice points are in the cell: see `Packing.centring`.
        """
        n = np.array(divisions)
        own, mate = indices % n, -indices % n
        place, other = (np.ravel_multi_index(tuple(x.T), divisions) for x in (own, mate))
        one_of_both = np.minimum(place, other)
        one_of_both[_absent(indices, n, centring)] = n.prod()
        points, rows = np.unique(one_of_both, return_inverse=True)
        hkl = np.stack(np.unravel_index(points % n.prod(), divisions), axis=1) / n
        hkl[points == n.prod()] = 1.0
        return cls(hkl, rows.reshape(-1), place > other)


def _absent(indices: Integers, n: Integers, centring: Floats) -> Mask:
    """Mask of samples at whole hkl where a centred cell has no Bragg peak."""
    phases = (indices / n) @ centring.T
    off = np.abs(phases - np.rint(phases)).max(axis=1) > 0.1  # halves and thirds
    found: Mask = off & (indices % n == 0).all(axis=1)
    return found


@dataclass(frozen=True)
class Terms:
    """Which of D⁻¹(k) − blockdiag C count."""

    coupled: bool = True  # D⁻¹
    own: bool = True  # C


ALL = Terms()


def zone_matrices(
    lattice: RigidLattice,
    lengths_A: Lengths,
    points: Floats,
    divisions: tuple[int, int, int],
    terms: Terms = ALL,
) -> Complexes:
    """D⁻¹(k) − blockdiag C at some k (K, 3): (K, 6Z, 6Z).

    At k = 0, where D⁻¹ is infinite, its average over the voxel, in which each molecule's phase is
    that of its place.
    """
    stiffness, covariance = lattice.stiffness(lengths_A), lattice.covariance(lengths_A)
    z = lattice.springs.packing.n_molecules
    found = np.zeros((len(points), 6 * z, 6 * z), complex)
    if terms.coupled:
        at_peak = ~points.any(axis=1)
        found[~at_peak] = _inverses(lattice, stiffness, points[~at_peak])
        if at_peak.any():
            around = _around_peak(divisions)
            slow = _inverses(lattice, stiffness, around) * lattice.springs.between_places(around)
            found[at_peak] = slow.mean(axis=0)
    between: Complexes = found - terms.own * np.kron(np.eye(z), covariance)
    return between


def zone_changes(
    lattice: RigidLattice,
    lengths_A: Lengths,
    points: Floats,
    divisions: tuple[int, int, int],
    change: Floats,
    of_covariance: Floats,
    terms: Terms = ALL,
) -> Complexes:
    """What `zone_matrices` changes by with K, (I, 6, 6), and C, (6, 6): −D⁻¹ dD D⁻¹ − dC."""
    springs, stiffness = lattice.springs, lattice.stiffness(lengths_A)

    def moved(hkl: Floats) -> Complexes:
        inverses = _inverses(lattice, stiffness, hkl)
        found: Complexes = -inverses @ springs.dynamical_matrices(change, hkl) @ inverses
        return found

    found = np.zeros((len(points), *(6 * springs.packing.n_molecules,) * 2), complex)
    if terms.coupled:
        at_peak = ~points.any(axis=1)
        found[~at_peak] = moved(points[~at_peak])
        if at_peak.any():
            around = _around_peak(divisions)
            found[at_peak] = (moved(around) * springs.between_places(around)).mean(axis=0)
    own = np.kron(np.eye(springs.packing.n_molecules), of_covariance)
    whole: Complexes = found - terms.own * own
    return whole


def zone_slopes(
    lattice: RigidLattice,
    lengths_A: Lengths,
    points: Floats,
    divisions: tuple[int, int, int],
    by_matrices: Complexes,
    terms: Terms = ALL,
) -> tuple[Floats, Floats]:
    """The transpose of `zone_matrices`: by K of each interface (I, 6, 6), and by C (6, 6).

    Parameters
    ----------
    lattice, lengths_A, points, divisions, terms
        As of `zone_matrices`.
    by_matrices : (K, 6Z, 6Z) complex
        X of dO = Σ_k Re tr(X dW).
    """
    springs, stiffness = lattice.springs, lattice.stiffness(lengths_A)
    z = springs.packing.n_molecules
    own = by_matrices.reshape(-1, z, 6, z, 6).real
    by_covariance = -terms.own * np.einsum("kminj,mn->ij", own, np.eye(z))
    if not terms.coupled:
        by_matrices, points = by_matrices[:0], points[:0]
    at_peak = ~points.any(axis=1)
    hkl, pulled = points[~at_peak], by_matrices[~at_peak]
    if at_peak.any():
        around = _around_peak(divisions)
        share = by_matrices[at_peak] * springs.between_places(around).conj() / len(around)
        hkl, pulled = np.concatenate([hkl, around]), np.concatenate([pulled, share])
    inverses = _inverses(lattice, stiffness, hkl)
    by_stiffness = springs.stiffness_slopes(-inverses @ pulled @ inverses, hkl)
    return by_stiffness, (by_covariance + by_covariance.T) / 2


def _around_peak(divisions: tuple[int, int, int]) -> Floats:
    """Points of the voxel at a Bragg peak, in reciprocal-lattice units."""
    around: Floats = half_steps(PARTS) / np.array(divisions)
    return around


def _inverses(lattice: RigidLattice, stiffness: Floats, hkl: Floats) -> Complexes:
    """D⁻¹; at whole hkl the pseudoinverse, without the translation of all molecules alike."""
    matrices = lattice.springs.dynamical_matrices(stiffness, hkl)
    absent = np.flatnonzero((hkl == np.rint(hkl)).all(axis=1))
    alike = lattice.springs.all_alike()
    # As stiff as the rest: any stiffness is taken away again.
    held = np.trace(matrices[absent], axis1=1, axis2=2).real[:, None, None] / matrices.shape[1]
    matrices[absent] += held * alike
    inverses: Complexes = np.linalg.inv(matrices)
    inverses[absent] -= alike / held
    return inverses
