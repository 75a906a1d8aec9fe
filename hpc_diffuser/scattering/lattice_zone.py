"""D⁻¹(k) − blockdiag C of a lattice at the k of a map's voxels, what it changes by, and back.

At a Bragg peak, where D⁻¹ is infinite, it is averaged over the voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, along_hkl
from hpc_diffuser.motion.lattice.correlations import PARTS, half_steps
from hpc_diffuser.motion.lattice.rigid_lattice import Lengths, RigidLattice
from hpc_diffuser.system.arrays import Complexes, Floats, Integers, Mask

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
        In reciprocal-lattice units.
    rows : (v,) int
        Which of them is each voxel's,
    turned : (v,) bool
        and whether it is −k.
    """

    hkl: Floats
    rows: Integers
    turned: Mask

    @classmethod
    def of(cls, indices: Integers, divisions: tuple[int, int, int]) -> ZonePoints:
        """Of samples (v, 3) so many to a reciprocal-lattice unit."""
        n = np.array(divisions)
        own, mate = indices % n, -indices % n
        place, other = (np.ravel_multi_index(tuple(x.T), divisions) for x in (own, mate))
        points, rows = np.unique(np.minimum(place, other), return_inverse=True)
        hkl = np.stack(np.unravel_index(points, divisions), axis=1) / n
        return cls(hkl, rows.reshape(-1), place > other)


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

    At k = 0, where D⁻¹ is infinite, its average over the voxel.
    """
    stiffness, covariance = lattice.stiffness(lengths_A), lattice.covariance(lengths_A)
    z = lattice.springs.packing.n_molecules
    found = np.zeros((len(points), 6 * z, 6 * z), complex)
    if terms.coupled:
        at_peak = ~points.any(axis=1)
        found[~at_peak] = _inverses(lattice, stiffness, points[~at_peak])
        if at_peak.any():
            found[at_peak] = _inverses(lattice, stiffness, _around_peak(divisions)).mean(axis=0)
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
            found[at_peak] = moved(_around_peak(divisions)).mean(axis=0)
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
        share = np.repeat(by_matrices[at_peak] / len(around), len(around), axis=0)
        hkl, pulled = np.concatenate([hkl, around]), np.concatenate([pulled, share])
    inverses = _inverses(lattice, stiffness, hkl)
    by_stiffness = springs.stiffness_slopes(-inverses @ pulled @ inverses, hkl)
    return by_stiffness, (by_covariance + by_covariance.T) / 2


def _around_peak(divisions: tuple[int, int, int]) -> Floats:
    """Points of the voxel at a Bragg peak, in reciprocal-lattice units."""
    around: Floats = half_steps(PARTS) / np.array(divisions)
    return around


def _inverses(lattice: RigidLattice, stiffness: Floats, hkl: Floats) -> Complexes:
    matrices = lattice.springs.dynamical_matrices(stiffness, hkl)
    inverses: Complexes = np.linalg.inv(matrices)
    return inverses
