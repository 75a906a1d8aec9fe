"""Molecular transforms of many configurations on slabs of reciprocal space.

A slab is a set of h-planes, each cut to the section of the resolution sphere. Planes are
independent of each other: they are what ranks and threads share out.
"""

from dataclasses import dataclass
from functools import cached_property

import gemmi
import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.kernels import direct_sum
from hpc_diffuser.lattice import HklGrid, fractionalization
from hpc_diffuser.structure import Structure

SAMPLES_AT_ONCE = 4  # their phase tables, 1-2 MB each for 1000 atoms, stay in a shared cache
BLOCK = 16  # neighbouring planes with one section: the unit of work that ranks share out
_TABLE_STEPS = 8192


def form_factors(elements: np.ndarray, s_squared: np.ndarray) -> np.ndarray:
    """IT92 form factors f(s) in electrons, from gemmi.

    Parameters
    ----------
    elements : (E,) str
    s_squared : (V,) float, Å⁻²
        |s|² = 1/d².

    Returns
    -------
    (V, E) float

    Raises
    ------
    InputError
        For an element without IT92 coefficients.
    """
    columns = []
    for name in elements:
        element = gemmi.Element(str(name))
        if element.atomic_number == 0 or element.it92 is None:
            raise InputError(f'element "{name}" has no IT92 form factor: correct the structure')
        coefficients = element.it92.get_coefs()
        a, b, c = coefficients[:4], coefficients[4:8], coefficients[8]
        terms = np.exp(-np.outer(s_squared, b) / 4)  # gemmi: stol² = s²/4
        columns.append(terms @ np.array(a) + c)
    return np.stack(columns, axis=1)


def atomic_numbers(structure: Structure) -> np.ndarray:
    """Electrons of every atom, times its occupancy: (N,) float."""
    elements, kind = np.unique(structure.elements, return_inverse=True)
    numbers = np.array([gemmi.Element(str(name)).atomic_number for name in elements])
    return numbers[kind] * structure.occupancies


@dataclass(frozen=True)
class Scatterers:
    """A structure's atoms in the order of the transform: sorted by element.

    Attributes
    ----------
    order : (N,) int
        Row of the structure of each atom.
    elements : (E,) str
    element_offsets : (E+1,) int
    occupancies : (N,) float32
    """

    order: np.ndarray
    elements: np.ndarray
    element_offsets: np.ndarray
    occupancies: np.ndarray


def scatterers(structure: Structure) -> Scatterers:
    """Sort a structure's atoms by element."""
    elements, kind, counts = np.unique(structure.elements, return_inverse=True, return_counts=True)
    order = np.argsort(kind, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Scatterers(order, elements, offsets, structure.occupancies[order].astype(np.float32))


def self_term(structure: Structure, s_squared: np.ndarray) -> np.ndarray:
    """S = Σ_a o_a² f_a², the intensity of independent atoms: (V,) float."""
    elements, kind = np.unique(structure.elements, return_inverse=True)
    weights = np.bincount(kind, structure.occupancies**2)
    return form_factors(elements, s_squared) ** 2 @ weights


@dataclass(frozen=True)
class Slab:
    """Some h-planes of a grid, each cut to its section of the resolution sphere.

    The values of all planes lie one behind the other in one array. A plane is stored as four
    quadrants (4, K+1, L+1) about its centre: see `kernels.direct_sum`. Planes 16n to 16n+15 are a
    block, and share the size and shape of the largest section.

    Attributes
    ----------
    grid : HklGrid
    d_min : float, Å
    h : (P,) int
        Sample index of each plane.
    centres, halves : (P, 2) int
        Centre (k_c, l_c) and half-size (K, L) of each section, in sample indices.
    offsets : (P+1,) int
        Where each plane's values start.
    row_halves, row_offsets : (R,), (P+1,) int
        For the rows k_c ± 0..K of each plane, how far the section reaches from l_c (−1: empty).
    """

    grid: HklGrid
    d_min: float
    h: np.ndarray
    centres: np.ndarray
    halves: np.ndarray
    offsets: np.ndarray
    row_halves: np.ndarray
    row_offsets: np.ndarray

    @cached_property
    def blocks(self) -> np.ndarray:
        """Where in `h` each block of planes starts, and the end: (B+1,) int."""
        starts = np.flatnonzero(np.diff(self.h // BLOCK, prepend=-1))
        return np.append(starts, len(self.h)).astype(np.int64)

    @property
    def size(self) -> int:
        """Number of stored values."""
        return int(self.offsets[-1])

    @cached_property
    def table_extent(self) -> tuple[int, int]:
        """Largest K and L of any plane."""
        k, l = self.halves.max(axis=0, initial=0)  # noqa: E741
        return int(k), int(l)

    def s_squared(self) -> np.ndarray:
        """|s|² at every stored value: (V,) float, Å⁻²."""
        metric, found = self.grid.metric(), [np.empty(0)]
        for h, (k_c, l_c), (rows, columns) in zip(self.h, self.centres, self.halves, strict=True):
            sign = np.array([1, -1])
            k = k_c + sign[:, None, None, None] * np.arange(rows + 1)[:, None]
            l = l_c + sign[:, None, None] * np.arange(columns + 1)  # noqa: E741
            indices = np.stack(np.broadcast_arrays(h, k, l), axis=-1).reshape(-1, 3)
            found.append(np.einsum("vi,ij,vj->v", indices, metric, indices))
        return np.concatenate(found)

    def position_of(self, indices: np.ndarray) -> np.ndarray:
        """Where the value of each sample index (V, 3) lies in the slab's arrays: (V,) int."""
        plane = np.searchsorted(self.h, indices[:, 0])
        away = indices[:, 1:] - self.centres[plane]
        rows, columns = np.abs(away).T
        quadrant = 2 * (away[:, 0] < 0) + (away[:, 1] < 0)
        n_rows, n_columns = (self.halves[plane] + 1).T
        return self.offsets[plane] + (quadrant * n_rows + rows) * n_columns + columns


def slab(grid: HklGrid, d_min: float, planes: np.ndarray) -> Slab:
    """The section of the sphere 1/d_min on each of the h-planes `planes` (ascending indices)."""
    planes = np.array(planes, dtype=np.int64)
    sections = [_section(grid.metric(), int(h), 1 / d_min**2) for h in planes]
    centres = np.array([s[0] for s in sections], dtype=np.int64).reshape(-1, 2)
    row_halves = _largest_in_block([s[1] for s in sections], planes // BLOCK)
    halves = np.array([(len(r) - 1, max(r.max(), 0)) for r in row_halves], dtype=np.int64)
    halves = halves.reshape(-1, 2)
    return Slab(
        grid=grid,
        d_min=d_min,
        h=planes,
        centres=centres,
        halves=halves,
        offsets=_starts(4 * np.prod(halves + 1, axis=1)),
        row_halves=np.concatenate([np.empty(0, np.int64), *row_halves]),
        row_offsets=_starts([len(r) for r in row_halves]),
    )


def plane_costs(grid: HklGrid, d_min: float) -> np.ndarray:
    """Relative cost of the planes h = 0..extent: the voxels of each section."""
    planes = slab(grid, d_min, np.arange(grid.extent[0] + 1))
    return np.add.reduceat(planes.row_halves + 1, planes.row_offsets[:-1])


class DirectTransform:
    """Structure factors and ensemble moments of one structure on one slab: the sum over atoms.

    Parameters
    ----------
    structure : Structure
        Its positions are the mean, F₀, that moments are taken about.
    slab : Slab
    """

    def __init__(self, structure: Structure, slab: Slab):
        self.slab = slab
        self.atoms = scatterers(structure)
        self._to_turns = fractionalization(slab.grid.unit_cell).T / np.array(slab.grid.divisions)
        self._form_factors = _form_factor_table(self.atoms.elements, slab)
        self.mean = self.structure_factors(structure.positions)

    def structure_factors(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """F of one configuration: positions (N, 3) Å → real and imaginary part, (V,) float32."""
        real, imaginary = np.zeros((2, self.slab.size), np.float32)
        if self.slab.size:
            inputs = self._inputs(positions[None])
            direct_sum.structure_factors(*inputs, real, imaginary)
        return real, imaginary

    def moments(self, configurations: np.ndarray) -> np.ndarray:
        """Sums over configurations about the mean structure.

        Parameters
        ----------
        configurations : (S, N, 3) float, Å

        Returns
        -------
        (3, V) float32
            Σ Re D, Σ Im D and Σ |D|² with D = F − F₀.
        """
        sums = np.zeros((3, self.slab.size), np.float32)
        if self.slab.size:
            for first in range(0, len(configurations), SAMPLES_AT_ONCE):
                inputs = self._inputs(configurations[first : first + SAMPLES_AT_ONCE])
                direct_sum.add_moments(*inputs, *self.mean, *sums)
        return sums

    @property
    def flops(self) -> float:
        """Operations of the matrix products for one configuration."""
        return 16.0 * len(self.atoms.order) * float((self.slab.row_halves + 1).sum())

    def _inputs(self, configurations: np.ndarray) -> tuple:
        """The kernels' common arguments."""
        turns = configurations[:, self.atoms.order] @ self._to_turns
        k_extent, l_extent = self.slab.table_extent
        offsets = self.atoms.element_offsets
        s = self.slab
        return (
            turns,
            direct_sum.phase_tables(turns, 1, k_extent, offsets),
            direct_sum.phase_tables(turns, 2, l_extent, offsets),
            k_extent + 1,
            l_extent + 1,
            (offsets, self.atoms.occupancies),
            (s.h, s.centres, s.halves, s.offsets, s.row_halves, s.row_offsets),
            self._form_factors,
        )


def variance_and_mean_squared(
    sums: np.ndarray, mean: tuple[np.ndarray, np.ndarray], n_samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """⟨|F|²⟩ − |⟨F⟩|² and |⟨F⟩|², both (V,) float64, from sums about the mean structure.

    Var F = ⟨|D|²⟩ − |⟨D⟩|² for any constant F₀ = F − D: small numbers from small numbers.
    """
    d_re, d_im, d_sq = sums.astype(np.float64) / n_samples
    variance = d_sq - d_re**2 - d_im**2
    return variance, (mean[0] + d_re) ** 2 + (mean[1] + d_im) ** 2


def _largest_in_block(row_halves: list[np.ndarray], block: np.ndarray) -> list[np.ndarray]:
    """For each plane, the farthest reach of every row on any plane of its block."""
    found = {}
    for b, reach in zip(block, row_halves, strict=True):
        largest = found.setdefault(b, np.full(len(reach), -1))
        if len(largest) < len(reach):
            largest = np.append(largest, np.full(len(reach) - len(largest), -1))
        largest[: len(reach)] = np.maximum(largest[: len(reach)], reach)
        found[b] = largest
    return [found[b] for b in block]


def _section(metric: np.ndarray, h: int, s2_max: float) -> tuple[tuple[int, int], np.ndarray]:
    """Centre of the ellipse hᵀMh ≤ s2_max in the plane h, and reach in l of its rows."""
    m = metric[1:, 1:]
    centre = -np.linalg.solve(m, metric[1:, 0]) * h
    k_c, l_c = (int(n) for n in np.rint(centre))
    left = s2_max * (1 + 1e-12) - (metric[0, 0] * h * h - centre @ m @ centre)
    if left < 0:
        return (k_c, l_c), np.array([-1])
    # Extreme k of  (x−c)ᵀ m (x−c) = left  is c_k ± √(left (m⁻¹)_kk).
    reach = np.sqrt(left * np.linalg.inv(m)[0, 0])
    n_rows = int(np.floor(reach + abs(centre[0] - k_c))) + 1
    k = k_c + np.arange(-n_rows + 1, n_rows) - centre[0]
    # Along a row: m_ll (l−c_l)² + 2 m_kl k (l−c_l) + m_kk k² = left.
    inside = (m[0, 1] * k) ** 2 - m[1, 1] * (m[0, 0] * k**2 - left)
    root = np.sqrt(np.maximum(inside, 0))
    middle = centre[1] - m[0, 1] * k / m[1, 1]
    low, high = middle - root / m[1, 1], middle + root / m[1, 1]
    half = np.floor(np.maximum(high - l_c, l_c - low)).astype(np.int64)
    half[inside < 0] = -1
    upper, lower = half[n_rows - 1 :], half[n_rows - 1 :: -1]
    return (k_c, l_c), np.maximum(upper, lower)


def _form_factor_table(elements: np.ndarray, slab: Slab) -> tuple[np.ndarray, float, np.ndarray]:
    """f_e on equidistant |s|²: linear interpolation between 8192 steps is good to 1e-7."""
    s2_max = 1 / slab.d_min**2 * 1.01
    per_s2 = _TABLE_STEPS / s2_max
    table = form_factors(elements, np.arange(_TABLE_STEPS + 1) / per_s2)
    return table.astype(np.float32), per_s2, slab.grid.metric()


def _starts(sizes: np.ndarray | list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
