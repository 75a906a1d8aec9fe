"""Averages of D⁻¹(k) over the Brillouin zone: how a molecule of the lattice moves.

D⁻¹ has a pole 1/k² at k = 0, which can be integrated. On a grid of n³ points that goes around it,
at (i + ½)/n, the average is off by a term that falls as 1/n: 2C(2n) − C(n) is without it.
"""

from collections.abc import Iterator

import numpy as np

from hpc_diffuser.crystal.lattice import canonical_mates
from hpc_diffuser.motion.lattice.springs import Springs
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

POINTS = (8, 16)  # along each axis: C is right to 1e-3
_AT_ONCE_BYTES = 2**26


def zone_grid(n: int, rotations: Integers) -> tuple[Floats, Floats]:
    """Points (i + ½)/n of the Brillouin zone, one of each set of symmetry mates.

    Parameters
    ----------
    n : int
    rotations : (Z, 3, 3) int
        Of the space group, for hkl W.

    Returns
    -------
    hkl : (k, 3) float
        Between −½ and ½.
    weights : (k,) float
        How many points each stands for, of all: they add up to 1.
    """
    odd = 2 * np.arange(n) + 1 - n + (n % 2)
    points = np.stack(np.meshgrid(odd, odd, odd, indexing="ij"), axis=-1).reshape(-1, 3)
    both = np.unique(np.concatenate([rotations, -rotations]), axis=0)
    # Hexagonal axes take such a grid to others: there, only −k is the mate of k.
    closed = all(np.isin(np.abs(points @ w), np.abs(odd)).all() for w in both)
    mates = canonical_mates(points, both if closed else np.array([np.eye(3), -np.eye(3)], int))
    one_of_each, counts = np.unique(mates, axis=0, return_counts=True)
    return one_of_each / (2 * n), counts / len(points)


def mean_covariance(springs: Springs, stiffness: Floats) -> Floats:
    """C = ⟨ξ ξᵀ⟩ of a molecule in the lattice: (6, 6) Å², Å and 1, extrapolated.

    Parameters
    ----------
    springs : Springs
    stiffness : (I, 6, 6) float
        K of each interface.
    """
    coarse, fine = (_mean_on(springs, stiffness, n) for n in POINTS)
    return 2 * fine - coarse


def covariance_slopes(springs: Springs, stiffness: Floats, by_covariance: Floats) -> Floats:
    """The chain rule through it: an objective's derivatives by K, from those by C.

    With dD⁻¹ = −D⁻¹ dD D⁻¹.

    Parameters
    ----------
    springs, stiffness
        As of `mean_covariance`.
    by_covariance : (6, 6) float
        Symmetric.

    Returns
    -------
    (I, 6, 6) float
    """
    z, total = springs.packing.n_molecules, np.zeros_like(stiffness)
    by_block = np.kron(np.eye(z), by_covariance) / z
    for n, weight in zip(POINTS, (-1.0, 2.0), strict=True):
        for hkl, weights, inverses in _inverses(springs, stiffness, n):
            pulled = -inverses @ by_block @ inverses * (weight * weights)[:, None, None]
            total += springs.stiffness_slopes(pulled, hkl)
    return total


def covariance_changes(springs: Springs, stiffness: Floats, changes: Floats) -> Floats:
    """What C changes by with K, along some directions: (P, 6, 6).

    Parameters
    ----------
    springs, stiffness
        As of `mean_covariance`.
    changes : (P, I, 6, 6) float
        dK.
    """
    z, found = springs.packing.n_molecules, np.zeros((len(changes), 6, 6))
    for n, weight in zip(POINTS, (-1.0, 2.0), strict=True):
        for hkl, weights, inverses in _inverses(springs, stiffness, n):
            for total, change in zip(found, changes, strict=True):
                moved = inverses @ springs.dynamical_matrices(change, hkl) @ inverses
                blocks = moved.reshape(-1, z, 6, z, 6).real
                of_all = np.einsum("k,kminj,mn->ij", weight * weights, blocks, np.eye(z))
                total -= (of_all + of_all.T) / (2 * z)
    return found


def _mean_on(springs: Springs, stiffness: Floats, n: int) -> Floats:
    z, total = springs.packing.n_molecules, np.zeros((6, 6))
    for _, weights, inverses in _inverses(springs, stiffness, n):
        blocks = inverses.reshape(-1, z, 6, z, 6)
        total += np.einsum("k,kminj,mn->ij", weights, blocks.real, np.eye(z)) / z
    symmetric: Floats = (total + total.T) / 2
    return symmetric


def _inverses(
    springs: Springs, stiffness: Floats, n: int
) -> Iterator[tuple[Floats, Floats, Complexes]]:
    """Points of a grid, some at a time, their weights and D⁻¹ there."""
    hkl, weights = zone_grid(n, springs.packing.rotations)
    at_once = max(1, _AT_ONCE_BYTES // (16 * (6 * springs.packing.n_molecules) ** 2))
    for first in range(0, len(hkl), at_once):
        own = slice(first, first + at_once)
        matrices = springs.dynamical_matrices(stiffness, hkl[own])
        yield hkl[own], weights[own], np.linalg.inv(matrices)
