"""Liquid-like motion of the whole crystal: correlation does not end at a molecule's surface.

All atoms of the crystal move with ⟨u uᵀ⟩ = U e^{−r/γ} between any two of them (Caspar et al.,
Nature 332, 659, 1988; Clarage et al., Proteins 12, 145, 1992). With x = qᵀUq and y = e^{−r/γ},

    I = e^{−x} Σ_{ab,R} f_a f_b cos q·(r_a − r_b + R) (e^{xy} − 1)  per cell,

over all pairs of atoms a, b of the cell and all lattice vectors R. Their Patterson function is
periodic, and known from the cell's transform at the reciprocal lattice, A(G) = |F(G)|². So for a
function b of distance

    Σ_{ab,R} f_a f_b b(r) cos q·(r_a − r_b + R) = S ∫ p(u) b(|u|) e^{iq·u} du,
    p(u) = 1/V Σ_G A(G)/S(G) e^{−iG·u},   S = Σ_a f_a².

On samples that divide the reciprocal lattice into n parts along each axis the integral is over n³
cells, of p times b with its images: one transform for each term of the separated series of
`liquid`. Over S, A is that of points, and 1 where it is not computed. So p holds every atom with
itself and with its lattice copies as peaks without a width; the first is taken off, as S is no
part of the series: I = S − e^{−x}S + e^{−x}S series.

Where atoms move inside their molecules too, independently of other molecules, A is |⟨F⟩|² of the
average molecules and S their atoms' own, S''; what one molecule's ⟨|F|²⟩ − |⟨F⟩|² adds is in
`molecule`. Where molecules move as wholes, this is dimmed by e^{−qᵀUq}; the rest, too, is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy.fft

from hpc_diffuser.crystal.lattice import HklGrid, along_hkl, fractionalization, grid_to_resolution
from hpc_diffuser.crystal.placed import placed_molecules
from hpc_diffuser.crystal.symmetry import operators
from hpc_diffuser.kernels.folding import fold_radial
from hpc_diffuser.motion.configurations import rigid_covariance, sampled_squares
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.intensity import terms_left
from hpc_diffuser.scattering.liquid import Strength, along_indices, of_steps, separated
from hpc_diffuser.scattering.liquid_level import IsotropicLevel
from hpc_diffuser.scattering.moments import Moments
from hpc_diffuser.system.arrays import Complexes, Floats, Integers
from hpc_diffuser.system.errors import InputError

SERIES_ERROR = 3e-5  # of the separated series: at the Bragg peaks many cells add up
_REACH = 16.0  # in correlation lengths: e^{-16} = 1e-7
_TABLE = 1 << 14  # distances up to there
_NEAR_A = 8.0  # points nearer to the origin are counted one by one
_BEYOND_A = 10.0  # the molecule's size, for the isotropic level
_ALIKE = 1e-3  # of the motion: a cell's edges are measured to about that
_MOST_PAIRS = 8  # of terms: up to a σ of more than 1 Å
_KEPT_BYTES = 1 << 28  # of folded functions that are kept for the next evaluation

MakeMoments = Callable[[HklGrid, Integers], Moments]


class CrystalLiquid:
    """What pairs of atoms of the crystal scatter, on samples of a map.

    Parameters
    ----------
    modes : Modes
    grid : HklGrid
        The map's.
    indices : (V, 3) int
        Of all ranks' voxels, h ≥ 0.
    rows : (v,) int
        Those that this rank wants.
    group : Ranks
    make_moments : callable
        (grid, (E, 3) sample indices) → `Moments` of one molecule there.
    gamma_A : float, Å
        The shortest correlation length.
    """

    def __init__(
        self,
        modes: Modes,
        grid: HklGrid,
        indices: Integers,
        rows: Integers,
        group: Ranks,
        make_moments: MakeMoments,
        gamma_A: float,
    ):
        self._grid, self._group = grid, group
        self._indices = indices[rows].astype(np.int64)
        self._s_squared = grid.inverse_d_squared(self._indices)
        self._s_squared_max = float(grid.inverse_d_squared(indices).max())
        s_max = float(np.sqrt(self._s_squared_max)) + edge_margin(gamma_A)
        peaks, self._box = boxes(grid, self._s_squared_max, gamma_A)
        self._peaks_grid = peaks
        self._peaks = peaks.indices_between(np.inf, 1 / s_max)
        self._s_squared_of_peaks = peaks.inverse_d_squared(self._peaks)
        cell = grid.unit_cell
        self._placed = placed_molecules(self._peaks, (1, 1, 1), cell, modes.space_group)
        expanded = self._placed.expanded
        self.moments = make_moments(peaks.holding(expanded), expanded)
        to_fraction = fractionalization(cell)
        self._turns = np.linalg.inv(to_fraction) @ self._placed.rotations @ to_fraction
        self._lengths = group.gather_to_all(len(self.moments.rows))
        self._filled = group.concatenated(self.moments.rows, self._lengths)
        self._points = _points(peaks)
        positions = modes.structure.positions
        reach = float(np.linalg.norm(np.ptp(positions, axis=0))) + _BEYOND_A
        places = point_places(cell, self._points, reach)
        self._level = IsotropicLevel(positions, self.moments.factors, 2 * np.pi * s_max, places)
        self._kept: tuple[tuple[float, float], list[tuple[Complexes, complex]]] | None = None

    def intensity(self, parameters: Parameters, normals: Floats | None) -> Floats:
        """What they scatter beside independent atoms: e^{−qᵀVq} S times the series.

        Parameters
        ----------
        parameters : Parameters
        normals : (S, ·) float or None
            As of `Moments.of`; None for the mean structure.

        Returns
        -------
        (v,) float64
            At the voxels `rows`, in electrons² per molecule.
        """
        average = self.moments.mean_transform(parameters, normals)
        modes, disorder, factors = self.moments.modes, parameters.disorder, self.moments.factors
        inside: Floats = np.zeros(len(modes.structure))
        if normals is not None:
            inside = sampled_squares(modes, parameters.sampled)
        rigid = rigid_covariance(parameters)
        atoms = terms_left(factors, inside, self._s_squared_of_peaks)
        pairs = self._pairs(*self._dimmed_apart(average, atoms, rigid))
        x, gamma_A = self._strength(disorder), disorder.crystal_llm_gamma_A
        dimmed = terms_left(factors, inside, self._s_squared, self._s_squared_max)
        series = dimmed * self._series(pairs, x, gamma_A)
        u, q_squared = disorder.crystal_covariance(), 4 * np.pi**2 * self._s_squared
        series += self._level.lacking_along(factors, q_squared, self._along_q(u), u, gamma_A)
        own = disorder.own_covariance()
        alike = own * np.eye(3) if not isinstance(own, np.ndarray) else own
        return series * np.exp(-self._along_q(alike + self._of_crystal(rigid)))

    def _of_crystal(self, covariance_A2: Floats) -> Floats:
        """The average over all molecules of a covariance (3, 3) that each has in its own frame."""
        mean: Floats = np.mean(self._turns @ covariance_A2 @ self._turns.swapaxes(1, 2), axis=0)
        return mean

    def _dimmed_apart(
        self, average: Complexes, atoms: Floats, covariance_A2: Floats
    ) -> tuple[Complexes, Floats]:
        """⟨F⟩ and S dimmed by what a molecule's own motion differs by from that average."""
        apart = covariance_A2 - self._of_crystal(covariance_A2)
        if not covariance_A2.any() or np.abs(apart).max() < _ALIKE**2 * np.trace(covariance_A2):
            return average, atoms
        form = along_indices(self._peaks_grid, apart)
        i = self._placed.expanded.astype(np.float64)
        dimming = np.exp(-np.einsum("vi,ij,vj->v", i, form, i, optimize=True))
        of_molecules = np.mean([dimming[rows] for rows in self._placed.rows], axis=0)
        left: Complexes = average * np.sqrt(dimming[self.moments.rows]).astype(np.float32)
        return left, atoms * of_molecules

    def _pairs(self, own: Complexes, atoms: Floats) -> Floats:
        """A/S at the reciprocal lattice, from this rank's part of ⟨F⟩ of one molecule: (P,).

        Of the average atoms, S (P,) too.
        """
        every = np.empty(len(self._filled), np.complex64)
        every[self._filled] = self._group.concatenated(own, self._lengths)
        cell = self._placed.cell(every, self.moments.transform.origin)
        pairs: Floats = np.abs(cell) ** 2 / (self._placed.n_molecules * atoms)
        return pairs

    def _strength(self, disorder: Disorder) -> Strength:
        covariance = disorder.crystal_covariance()
        return Strength.along(self._grid, self._indices, covariance, self._s_squared_max)

    def _along_q(self, covariance_A2: Floats) -> Floats:
        """qᵀCq at the voxels: (v,)."""
        form, i = along_indices(self._grid, covariance_A2), self._indices.astype(np.float64)
        squares: Floats = np.einsum("vi,ij,vj->v", i, form, i, optimize=True)
        return squares

    def _series(self, pairs: Floats, x: Strength, gamma_A: float) -> Floats:
        """Σ_{n≥1} xⁿ/n! of all pairs, over S, from A/S (P,): (v,)."""
        total = np.zeros(len(self._indices))
        if not len(total):
            return total
        of_x, of_y = separated(x.x_max, SERIES_ERROR)
        patterson = self._patterson(pairs)
        functions = self._functions(x.x_max, gamma_A, of_y)
        for two, (function, at_origin) in enumerate(functions):
            term = self._at_voxels(patterson, function, at_origin)
            total += of_steps(of_x[2 * two], x) * term.real
            total += of_steps(of_x[2 * two + 1], x) * term.imag
        return total

    def _patterson(self, pairs: Floats) -> Floats:
        """p at the points of the cell, times the volume of one: (N_h, N_k, N_l) float32."""
        whole = np.ones(self._points, np.complex64)
        for mates in (self._peaks, -self._peaks):
            whole[tuple((mates % self._points).T)] = pairs
        points: Floats = scipy.fft.fftn(whole).real / np.float32(whole.size)
        return points

    def _functions(
        self, x_max: float, gamma_A: float, of_y: Floats
    ) -> Iterator[tuple[Complexes, complex]]:
        """Each two b_k with their images as one complex function; and both at no distance."""
        if self._kept is not None and self._kept[0] == (x_max, gamma_A):
            yield from self._kept[1]
            return
        self._kept, made = None, []
        keeps = 4 * len(of_y) * math.prod(self._box) < _KEPT_BYTES
        distances = np.linspace(0, _REACH * gamma_A, _TABLE)
        y, steps = np.exp(-distances / gamma_A), np.linspace(0, 1, of_y.shape[1])
        for one, other in zip(of_y[::2], of_y[1::2], strict=True):
            table = (np.interp(y, steps, one) + 1j * np.interp(y, steps, other)).astype(
                np.complex64
            )
            folded = self._with_images(table, float(distances[1]))
            made += [(folded, complex(table[0]))] * keeps
            yield folded, complex(table[0])
        if keeps:
            self._kept = (x_max, gamma_A), made

    def _with_images(self, table: Complexes, step: float) -> Complexes:
        """A function of distance at the points of n³ cells: (n N_h, ...) complex64."""
        to_fraction = fractionalization(self._grid.unit_cell)
        vectors = np.linalg.inv(to_fraction).T / np.array(self._points)[:, None]
        radius = len(table) * step
        reach = radius * np.linalg.norm(to_fraction, axis=1) * np.array(self._points)
        folded = np.empty(self._box, np.complex64)
        fold_radial(table, step, vectors @ vectors.T, np.ceil(reach).astype(np.int64), folded)
        return folded

    def _at_voxels(self, patterson: Floats, function: Complexes, at_origin: complex) -> Complexes:
        """∫ p b e^{iq·u} at the voxels, without every atom with itself: (v,) complex."""
        n, m = self._grid.whole_divisions(), self._points
        cells = function.reshape(n[0], m[0], n[1], m[1], n[2], m[2])
        product = (cells * patterson[None, :, None, :, None]).reshape(self._box)
        product[0, 0, 0] -= at_origin
        rows = scipy.fft.fft(product, axis=0, overwrite_x=True)
        planes, starts = np.unique(self._indices[:, 0], return_index=True)
        parts = np.split(self._indices[:, 1:] % self._box[1:], starts[1:])
        return np.concatenate(
            [scipy.fft.fft2(rows[h])[tuple(part.T)] for h, part in zip(planes, parts, strict=True)]
        )


def require_crystal_axes(
    disorder: Disorder, space_group: str, unit_cell: tuple[float, ...]
) -> None:
    """Raise InputError where liquid-like motion of the crystal has not the crystal's symmetry."""
    u, to_fraction = disorder.crystal_covariance(), fractionalization(unit_cell)
    turns = np.linalg.inv(to_fraction) @ operators(space_group, unit_cell)[0] @ to_fraction
    if np.abs(turns @ u @ turns.swapaxes(1, 2) - u).max() > _ALIKE * np.trace(u):
        raise InputError(
            f'parameters.crystal_llm_sigma_A: the rotations of space group "{space_group}" would '
            "change this motion: expected one number for every axis; where a single axis has order "
            "3, 4 or 6, two ranges [[of x and y], [of z]]; three of orthorhombic, monoclinic and "
            "triclinic crystals, whose correlations are those that the symmetry leaves"
        )


def boxes(
    grid: HklGrid, s_squared_max: float, gamma_A: float
) -> tuple[HklGrid, tuple[int, int, int]]:
    """The reciprocal lattice as far as it is needed, and the points of all n³ cells.

    Parameters
    ----------
    grid : HklGrid
        A map's.
    s_squared_max : float, Å⁻²
        Of its voxels.
    gamma_A : float, Å
        The shortest correlation length.
    """
    s_max = float(np.sqrt(s_squared_max)) + edge_margin(gamma_A)
    peaks = grid_to_resolution(grid.unit_cell, (1, 1, 1), 1 / s_max)
    every = zip(grid.whole_divisions(), _points(peaks), strict=True)
    return peaks, along_hkl(n * m for n, m in every)


def _points(peaks: HklGrid) -> tuple[int, int, int]:
    """Of a cell, for peaks as far as these: numbers that transform fast."""
    return along_hkl(scipy.fft.next_fast_len(2 * e + 1) for e in peaks.extent)


def kept_bytes(points: int) -> list[float]:
    """Bytes of each array that `CrystalLiquid` keeps for so many points of all cells."""
    return [min(8.0 * _MOST_PAIRS * points, float(_KEPT_BYTES))]


def series_bytes(voxels: int, points: int) -> list[float]:
    """The same of what the series is computed with."""
    return [*[8 * points] * 4, *[16 * voxels] * 4]


def edge_margin(gamma_A: float) -> float:
    """How far beyond the map's resolution limit the cell's transform is needed: Å⁻¹.

    What is convolved at the limit comes from beyond it, as far as the kernel K_γ is wide. That is
    farther than for one molecule, `interpolated.liquid_margin`: the cell has its transform at few
    points.
    """
    return 1.5 / max(gamma_A, 5.0)


def point_places(
    unit_cell: tuple[float, ...], points: tuple[int, int, int], reach_A: float
) -> tuple[Floats, Floats]:
    """Points of a grid by their distance from the origin, as of `LiquidMotion.places`.

    Parameters
    ----------
    unit_cell : 6 floats, Å and degrees
    points : 3 ints
        To a cell, along each axis.
    reach_A : float, Å
        How far they go; those that are not near are shells of space.
    """
    to_fraction = fractionalization(unit_cell)
    axes = [
        np.arange(-n, n + 1)
        for n in np.ceil(_NEAR_A * np.linalg.norm(to_fraction, axis=1) * points).astype(int)
    ]
    steps = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) / np.array(points)
    u = np.linalg.norm(steps @ np.linalg.inv(to_fraction).T, axis=1)
    bins = (u[u < _NEAR_A] / 0.02).astype(np.int64)
    counts, sums = np.bincount(bins), np.bincount(bins, u[u < _NEAR_A])
    there = counts > 0
    point = 1 / np.linalg.det(to_fraction) / np.prod(points)
    edges = np.arange(_NEAR_A, max(reach_A, _NEAR_A) + 0.1, 0.1)
    middles, shells = (edges[1:] + edges[:-1]) / 2, 4 / 3 * np.pi * np.diff(edges**3)
    return (
        np.concatenate([sums[there] / counts[there], middles]),
        np.concatenate([counts[there] * point, shells]),
    )
