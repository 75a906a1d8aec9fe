"""How the motions of two molecules of a lattice are correlated: C(R) = ⟨ξ(R) ξ(0)ᵀ⟩.

The mean of D⁻¹(k) e^{ik·R} over a grid of n³ points of the Brillouin zone that holds k = 0, where
D⁻¹ is infinite: there it is averaged over the grid's cell. What such a mean lacks falls as 1/n, and
is a translation of all molecules alike: known from C(0), which is extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from hpc_diffuser.motion.lattice.averages import covariance_slopes
from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.motion.lattice.springs import Springs
from hpc_diffuser.system.arrays import Complexes, Floats

PARTS = 4  # of a cell of a grid along each axis, at k = 0
_LEAST, _MOST = 7, 12  # points along an axis: right to some percent, and not dear
_AT_ONCE_BYTES = 2**26

Divisions = tuple[int, int, int]


@dataclass(frozen=True)
class Correlations:
    """C(R) of all molecules of the cell, in a crystal that repeats after n³ cells.

    Attributes
    ----------
    values : (n_a, n_b, n_c, 6Z, 6Z) float
        ⟨ξ_m(R) ξ_n(0)ᵀ⟩, each in its molecule's own frame; at R = 0 its own too.
    places : (Z, 3) float
        Of the molecules, as of `Packing.places`.
    """

    values: Floats
    places: Floats

    @property
    def divisions(self) -> Divisions:
        """n: points of the zone's grid along each axis."""
        a, b, c = self.values.shape[:3]
        return a, b, c


def zone_divisions(divisions: Divisions) -> Divisions:
    """The grid for a map that has so many samples to a reciprocal-lattice unit.

    One that has the map's own points, if these are few enough: between them W is interpolated.
    """
    a, b, c = (min(d * -(-_LEAST // d), _MOST) for d in divisions)
    return a, b, c


def half_steps(parts: int) -> Floats:
    """Points of a cell around 0, none of them there: (parts³, 3) in cells, −½ to ½."""
    odd = [2 * i + 1 - parts for i in range(parts)]
    return np.array(list(product(odd, repeat=3))) / (2 * parts)


def lattice_correlations(
    springs: Springs, stiffness: Floats, covariance: Floats, divisions: Divisions
) -> Correlations:
    """C(R) of all cells.

    Parameters
    ----------
    springs : Springs
    stiffness : (I, 6, 6) float
        K of each interface.
    covariance : (6, 6) float
        C(0) of a molecule, extrapolated: see `averages.mean_covariance`.
    divisions : 3 ints
        n.
    """
    points, around = _points(divisions)
    inverses = _inverses(springs, stiffness, points)
    inverses[0] = _mean(springs, around, _inverses(springs, stiffness, around))
    return _of_inverses(springs, inverses, covariance, divisions)


def correlation_changes(
    springs: Springs, stiffness: Floats, stiffer: Floats, wider: Floats, divisions: Divisions
) -> Correlations:
    """What C(R) changes by, to first order.

    Parameters
    ----------
    springs, stiffness, divisions
        As of `lattice_correlations`.
    stiffer : (I, 6, 6) float
        What K changes by,
    wider : (6, 6) float
        and C(0).
    """
    points, around = _points(divisions)
    changes = _inverse_changes(springs, stiffness, stiffer, points)
    changes[0] = _mean(springs, around, _inverse_changes(springs, stiffness, stiffer, around))
    return _of_inverses(springs, changes, wider, divisions)


def _of_inverses(
    springs: Springs, inverses: Complexes, covariance: Floats, divisions: Divisions
) -> Correlations:
    """From D⁻¹ at half of the zone's grid."""
    shape = (*divisions[:2], divisions[2] // 2 + 1, *inverses.shape[1:])
    values = np.fft.irfftn(inverses.reshape(shape), s=divisions, axes=(0, 1, 2))
    at_contacts = _at_contacts(springs)
    alike = at_contacts @ (covariance - values[0, 0, 0, :6, :6]) @ at_contacts.T
    return Correlations(values + _of_all(springs, alike), springs.packing.places)


def _inverse_changes(
    springs: Springs, stiffness: Floats, stiffer: Floats, hkl: Floats
) -> Complexes:
    """−D⁻¹ dD D⁻¹; 0 at k = 0."""
    inverses = _inverses(springs, stiffness, hkl)
    return -inverses @ springs.dynamical_matrices(stiffer, hkl) @ inverses


def correlation_slopes(springs: Springs, stiffness: Floats, by_values: Floats) -> Floats:
    """The chain rule through it: an objective's derivatives by K (I, 6, 6), from those by C(R).

    Parameters
    ----------
    springs, stiffness
        As of `lattice_correlations`.
    by_values : (n_a, n_b, n_c, 6Z, 6Z) float
    """
    a, b, c = by_values.shape[:3]
    at_contacts = _at_contacts(springs)
    by_alike = at_contacts.T @ _sum_of_all(springs, by_values) @ at_contacts
    by_values = by_values.copy()
    by_values[0, 0, 0, :6, :6] -= by_alike
    by_inverses = np.fft.ifftn(by_values, axes=(0, 1, 2))[:, :, : c // 2 + 1]
    # Of ±k one has been computed, but on the planes that are their own mates.
    by_inverses[:, :, 1 : (c + 1) // 2] *= 2
    by_inverses = by_inverses.reshape(-1, *by_values.shape[3:])
    points, around = _points((a, b, c))
    by_around = by_inverses[:1] * springs.between_places(around) / len(around)
    found = covariance_slopes(springs, stiffness, (by_alike + by_alike.T) / 2)
    for hkl, by in ((points[1:], by_inverses[1:]), (around, by_around)):
        inverses = _inverses(springs, stiffness, hkl)
        found = found + springs.stiffness_slopes(-inverses @ by.swapaxes(1, 2) @ inverses, hkl)
    return found


def _points(divisions: Divisions) -> tuple[Floats, Floats]:
    """Half of the zone's grid, k = 0 first; and the points of the cell around that."""
    a, b, c = divisions
    indices = np.array(list(product(range(a), range(b), range(c // 2 + 1))))
    return indices / np.array(divisions), half_steps(PARTS) / np.array(divisions)


def _inverses(springs: Springs, stiffness: Floats, hkl: Floats) -> Complexes:
    """D⁻¹, some points at a time; 0 at k = 0."""
    size = 6 * springs.packing.n_molecules
    found: Complexes = np.zeros((len(hkl), size, size), complex)
    at_once = max(1, _AT_ONCE_BYTES // (16 * size**2))
    there = np.flatnonzero(hkl.any(axis=1))
    for first in range(0, len(there), at_once):
        own = there[first : first + at_once]
        found[own] = np.linalg.inv(springs.dynamical_matrices(stiffness, hkl[own]))
    return found


def _mean(springs: Springs, around: Floats, inverses: Complexes) -> Complexes:
    """Of D⁻¹ around k = 0, between molecules where they are: (6Z, 6Z)."""
    mean: Complexes = (inverses * springs.between_places(around)).mean(axis=0)
    return mean


def _at_contacts(springs: Springs) -> Floats:
    """How the middle of a molecule's contacts moves with it: (3, 6), about any centre the same."""
    middle = np.concatenate([n.points for n in springs.packing.firsts()]).mean(axis=0)
    found: Floats = displacements(middle, springs.centre)
    return found


def _of_all(springs: Springs, alike: Floats) -> Floats:
    """A translation ⟨t tᵀ⟩ (3, 3) that all molecules share, in their own frames: (6Z, 6Z)."""
    turns = springs.packing.turns
    found = np.zeros((len(turns), 6, len(turns), 6))
    found[:, :3, :, :3] = np.einsum("mki,kl,nlj->minj", turns, alike, turns)
    return found.reshape(6 * len(turns), -1)


def _sum_of_all(springs: Springs, by_values: Floats) -> Floats:
    """The transpose of `_of_all`, at all R: (3, 3)."""
    turns = springs.packing.turns
    z = len(turns)
    total = by_values.sum(axis=(0, 1, 2)).reshape(z, 6, z, 6)[:, :3, :, :3]
    found: Floats = np.einsum("mki,minj,nlj->kl", turns, total, turns)
    return found
