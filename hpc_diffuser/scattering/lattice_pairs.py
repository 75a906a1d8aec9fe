"""The second order of what neighbours have in common: W(k) at a map's k, and its derivatives."""

from dataclasses import replace

import numpy as np

from hpc_diffuser.kernels.rounding import large_number
from hpc_diffuser.motion.lattice.correlations import (
    Correlations,
    Divisions,
    correlation_changes,
    correlation_slopes,
    zone_divisions,
)
from hpc_diffuser.motion.lattice.pairs import pair_basis, pair_slopes, pair_table
from hpc_diffuser.motion.lattice.rigid_lattice import Lengths, RigidLattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.system.arrays import Complexes, Floats


class NeighbourPairs:
    """W of the combinations of g gᵀ that matter most; see `motion.lattice.pairs`.

    Parameters
    ----------
    modes : Modes
    lattice : RigidLattice
    divisions : 3 ints
        Samples of the map to a reciprocal-lattice unit.

    Attributes
    ----------
    duals : (21, r) float32
    """

    def __init__(self, modes: Modes, lattice: RigidLattice, divisions: Divisions):
        self._lattice, self._divisions = lattice, zone_divisions(divisions)
        alike = lattice.correlations(1.0, self._divisions)
        self._basis = pair_basis(modes.structure, lattice.springs.centre, alike)
        self.duals: Floats = self._basis.packed_duals

    def tables(self, lengths_A: Lengths, points: list[Floats]) -> list[Complexes]:
        """W at each of some lists of k (K, 3): (K, rZ, rZ)."""
        return self._split(self._lattice.correlations(lengths_A, self._divisions), points)

    def changes(
        self, lengths_A: Lengths, stiffer: Floats, wider: Floats, points: list[Floats]
    ) -> list[Complexes]:
        """Derivatives of these along a change of K (I, 6, 6) and so of C (6, 6).

        W is a quadratic form of C(R): its derivative along dC is (W(C + dC) − W(C − dC))/2.
        """
        springs, own = self._lattice.springs, self._lattice.correlations(lengths_A, self._divisions)
        stiffness = self._lattice.stiffness(lengths_A)
        change = correlation_changes(springs, stiffness, stiffer, wider, self._divisions).values
        more, less = (
            self._split(replace(own, values=own.values + sign * change), points) for sign in (1, -1)
        )
        return [(high - low) / 2 for high, low in zip(more, less, strict=True)]

    def _split(self, correlations: Correlations, points: list[Floats]) -> list[Complexes]:
        every = pair_table(self._basis.forms, correlations, np.concatenate(points))
        return np.split(every, np.cumsum([len(hkl) for hkl in points])[:-1])

    def stiffness_slopes(self, lengths_A: Lengths, hkl: Floats, by_table: Complexes) -> Floats:
        """An objective's derivatives by K (I, 6, 6), from those by W.

        Parameters
        ----------
        lengths_A
        hkl : (K, 3) float
        by_table : (K, rZ, rZ) complex
            X of dO = Σ_k Re tr(X dW).
        """
        correlations = self._lattice.correlations(lengths_A, self._divisions)
        by_values = pair_slopes(self._basis.forms, correlations, hkl, by_table)
        stiffness = self._lattice.stiffness(lengths_A)
        return correlation_slopes(self._lattice.springs, stiffness, by_values)


def large_products(largest: list[float], n_all: int) -> Floats:
    """What sums of products of G are rounded with, no smaller than any of them can be: (6, 6).

    Parameters
    ----------
    largest : 12 floats
        Of slopes, of q, and of F, the three of S and the six of Q, at all ranks' voxels.
    n_all : int
        Voxels of all ranks.
    """
    slope, q, of_f, *others = largest
    moved, turned = q * of_f, 2 * q * max(others[:3])
    bounds = np.array([moved**2, moved * turned, turned**2]) * slope * n_all
    of_rotations = np.repeat([0, 1], 3)
    steps = np.array([large_number(float(bound)) for bound in bounds])
    every: Floats = steps[of_rotations[:, None] + of_rotations]
    return every


def large_pair_products(largest: list[float], duals: Floats, n_all: int) -> Floats:
    """The same of products of h: (r, r).

    Parameters
    ----------
    largest, n_all
        As of `large_products`.
    duals : (21, r) float
    """
    slope, q, of_f, *others = largest
    packed = q**2 * (of_f + 2 * max(others[:3]) + 4 * max(others[3:]))
    bounds = np.abs(duals).sum(axis=0).astype(float) * packed
    every = np.outer(bounds, bounds) * slope * n_all
    return np.array([[large_number(float(bound)) for bound in row] for row in every])
