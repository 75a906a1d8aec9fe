"""Halos of crystals whose molecules have several orientations, all of which move together.

`halos` couples the translations of molecules of one orientation. Where those of all molecules of
the crystal are correlated, ⟨t t'⟩ = σ² e^{−d/γ} along any axis with the distance d of their centres
of mass, molecules of different orientation scatter in phase besides,

    1/Z Σ_{m≠n} F_m F̄_n Σ_R (exp(q²σ² e^{−|c_m + R − c_n|/γ}) − 1) e^{2πi hkl·R}

per molecule, with F of average molecules at their places, dimmed by all that moves them. Around a
Bragg peak all add up to the cell's transform: where that is absent, so is most of the halo. At
equal q² this, too, averages to nothing over a Brillouin zone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from hpc_diffuser.crystal.lattice import Centring, HklGrid, centring, fractionalization
from hpc_diffuser.crystal.placed import placed_molecules
from hpc_diffuser.crystal.structure import centre_of_mass
from hpc_diffuser.crystal.symmetry import operators
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.scattering.halos import period, power_series, series_terms, zone_positions
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

_REACH = 16.0  # in correlation lengths: e^{-16} = 1e-7
_KEPT_BYTES = 1 << 26  # of lattice points that are kept for the next evaluation, at most
_POINT_BYTES = 16
_MORE = 1 + 1e-9  # no point at the edge is lost by rounding


class CellHalos:
    """What molecules of different orientation add at some voxels of a map.

    Parameters
    ----------
    modes : Modes
        In a space group with more than one rotation.
    grid : HklGrid
    indices : (V, 3) int
        Of all ranks' voxels.
    rows : (v,) int
        Which of them are this rank's.
    expanded : (E, 3) int
        All voxels and their mates, as of `symmetry.laue_expansion`.
    """

    def __init__(
        self,
        modes: Modes,
        grid: HklGrid,
        indices: Integers,
        rows: Integers,
        expanded: Integers,
    ):
        cell, positions = grid.unit_cell, modes.structure.positions
        self._lattice = centring(modes.space_group, cell)
        voxels = indices[rows]
        placed = placed_molecules(voxels, grid.divisions, cell, modes.space_group)
        # Of molecules that the centring makes of each other, one: the others are lattice points.
        flat = placed.rotations.reshape(placed.n_molecules, -1)
        self._molecules = np.sort(np.unique(flat, axis=0, return_index=True)[1])
        self._placed, self._rows = placed, _rows_of(placed.expanded, expanded)
        to_fraction = fractionalization(cell)
        centre = to_fraction @ centre_of_mass(modes.structure)
        self._centres = placed.rotations @ centre + placed.translations
        self.middle: Floats = (positions.min(axis=0) + positions.max(axis=0)) / 2
        shape = period(grid.whole_divisions(), self._lattice)
        n = len(self._molecules)
        most = _KEPT_BYTES // (_POINT_BYTES * max(1, n * (n - 1) // 2))
        self._points = {
            (i, j): NearPoints(
                self._centres[m] - self._centres[k], shape, cell, self._lattice, most
            )
            for i, m in enumerate(self._molecules)
            for j, k in enumerate(self._molecules[:i])
        }
        self._places = zone_positions(voxels, shape)
        self._q_squared = 4 * np.pi**2 * grid.inverse_d_squared(voxels)
        self._largest = 4 * np.pi**2 * float(grid.inverse_d_squared(indices).max())

    def intensity(self, every: Complexes, sigma_A: float, gamma_A: float) -> Floats:
        """Per molecule, at this rank's voxels: (v,) float64, electrons².

        Parameters
        ----------
        every : (E,) complex64
            ⟨F⟩ of one molecule about `middle`, dimmed by all its motion, at all expanded voxels.
        sigma_A, gamma_A : float, Å
        """
        own = every[self._rows]
        placed = [self._placed.transform(m, own, self.middle) for m in self._molecules]
        x, terms = self._q_squared * sigma_A**2, series_terms(self._largest * sigma_A**2)
        total = np.zeros(len(x))
        for (i, j), points in self._points.items():
            waves = coupling_waves(points, gamma_A, terms)
            both = placed[i] * placed[j].conj()
            total += both.real * self._series(waves.real, x)
            total -= both.imag * self._series(waves.imag, x)
        mean: Floats = 2 * total / len(self._molecules)
        return mean

    def _series(self, waves: Floats, x: Floats) -> Floats:
        factorials = np.exp(gammaln(np.arange(len(waves)) + 2.0))
        return power_series(waves / factorials[:, None], self._places, x)


@dataclass(frozen=True)
class CellHaloSizes:
    """What does not go with a rank's voxels.

    Attributes
    ----------
    molecules, orientations : int
        Of a cell, and of those the ones that no centring makes of each other.
    points : float
        Lattice points in reach of the longest correlation.
    """

    molecules: int
    orientations: int
    points: float

    @property
    def pairs(self) -> int:
        """Of molecules of two orientations."""
        return self.orientations * (self.orientations - 1) // 2


def halo_sizes(modes: Modes, gamma_A: float) -> CellHaloSizes:
    """Of a crystal, and the longest correlation length."""
    molecules = len(operators(modes.space_group, modes.unit_cell)[0])
    centred = len(centring(modes.space_group, modes.unit_cell).points)
    a_point = 1 / float(np.linalg.det(fractionalization(modes.unit_cell))) / centred
    points = 4 / 3 * np.pi * (_REACH * gamma_A) ** 3 / a_point
    return CellHaloSizes(molecules, molecules // centred, float(points))


def kept_bytes(voxels: int, expanded: int, sizes: CellHaloSizes) -> list[float]:
    """Bytes of each array that `CellHalos` keeps for so many voxels of a rank, and all mates."""
    of_molecules = [4 * sizes.molecules * voxels, sizes.molecules * voxels]
    points = min(_POINT_BYTES * sizes.points * sizes.pairs, _KEPT_BYTES)
    return [24 * voxels, 4 * voxels, 8 * voxels, *of_molecules, 24 * expanded, 8 * expanded, points]


def intensity_bytes(
    voxels: int, expanded: int, computed: int, all_expanded: int, sizes: CellHaloSizes
) -> list[float]:
    """The same of `intensity`, and of the average transform that it is given.

    Parameters
    ----------
    voxels, expanded, computed : int
        Of a rank: asked for, those with their mates, and those that its molecule is computed at.
    all_expanded : int
        Of all ranks.
    sizes : CellHaloSizes
    """
    average = [24 * computed, *[16 * computed] * 3, *[8 * all_expanded] * 3]
    placed = [16 * voxels] * (sizes.orientations + 5)
    return [*average, 8 * expanded, *placed, 2 * _POINT_BYTES * sizes.points]


class NearPoints:
    """|R + d| of the lattice vectors R near to −d, and where each R is in a `halos.period`.

    They depend on no parameter: up to some cells away those that were made last are kept.

    Parameters
    ----------
    apart : (3,) float
        d, in fractions of the cell.
    shape : 3 ints
        Of the period.
    unit_cell : 6 floats, Å and degrees
    lattice : Centring
    most : int
        So many are kept, at most.
    """

    def __init__(
        self,
        apart: Floats,
        shape: tuple[int, int, int],
        unit_cell: tuple[float, ...],
        lattice: Centring,
        most: int,
    ):
        self.shape, self._apart, self._lattice, self._most = shape, apart, lattice, most
        to_fraction = fractionalization(unit_cell)
        to_cartesian = np.linalg.inv(to_fraction)
        self._metric: Floats = to_cartesian.T @ to_cartesian
        self._planes: Floats = np.linalg.norm(to_fraction, axis=1)  # to an Å, along each axis
        self._kept: tuple[list[int], Floats, Integers] | None = None

    def within(self, radius_A: float) -> tuple[Floats, Integers]:
        """|R + d| in Å up to a radius, and the places of R."""
        # The sphere's largest u = R·a* is at R ∥ a*.
        reach = np.ceil(radius_A * self._planes).astype(int) + 1
        if self._kept is not None and self._kept[0] == reach.tolist():
            squared, places = self._kept[1:]
        else:
            squared, places = self._made(reach, _MORE * float(((reach - 1) / self._planes).min()))
            kept = reach.tolist(), squared, places
            self._kept = kept if len(squared) <= self._most else None
        near = squared < radius_A**2
        return np.sqrt(squared[near]), places[near]

    def _made(self, reach: Integers, radius_A: float) -> tuple[Floats, Integers]:
        """|R + d|² and places of all that are so many cells away, up to a radius."""
        steps, found = self._lattice.steps, list[tuple[Floats, Integers]]()
        for point in np.array(self._lattice.points):
            start = np.floor(-self._apart - point / steps).astype(int)
            axes = [np.arange(s - r, s + r + 2) for s, r in zip(start, reach, strict=True)]
            for u in axes[0]:
                planes = np.meshgrid([u], axes[1], axes[2], indexing="ij")
                cells = np.stack(planes, -1).reshape(-1, 3)
                away = cells + point / steps + self._apart
                squared = np.einsum("ri,ij,rj->r", away, self._metric, away, optimize=True)
                near = squared <= radius_A**2
                places = tuple((steps * cells[near] + point).T)
                found.append((squared[near], np.ravel_multi_index(places, self.shape, "wrap")))
        squares, of_all = zip(*found, strict=True)
        return np.concatenate(squares), np.concatenate(of_all)


def coupling_waves(points: NearPoints, gamma_A: float, terms: int) -> Complexes:
    """Σ_R e^{−n|R + d|/γ} e^{2πi hkl·R} for n = 1, 2, ... at every position in a `halos.period`.

    Parameters
    ----------
    points : NearPoints
    gamma_A : float, Å
    terms : int
        Largest n.

    Returns
    -------
    (terms, P) complex
    """
    lengths, bins = points.within(_REACH * gamma_A)
    found = np.zeros((terms, int(np.prod(points.shape))), complex)
    for n in range(1, terms + 1):
        near = lengths < _REACH * gamma_A / n
        lengths, bins = lengths[near], bins[near]
        folded = np.bincount(bins, np.exp(-n / gamma_A * lengths), found.shape[1])
        found[n - 1] = np.fft.fftn(folded.reshape(points.shape)).conj().ravel()
    return found


def _rows_of(some: Integers, every: Integers) -> Integers:
    """Where samples (E', 3) are among all, (E, 3) and sorted, h ≥ 0."""
    low = every.min(axis=0)
    sides = every.max(axis=0) - low + 1
    keys, own = (np.ravel_multi_index(tuple((x - low).T), tuple(sides)) for x in (every, some))
    rows: Integers = np.searchsorted(keys, own)
    return rows
