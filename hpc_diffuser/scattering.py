"""Molecular transforms of many configurations on slabs of reciprocal space.

A slab is a set of h-planes, each cut to the section of the resolution sphere. Planes are
independent of each other: they are what ranks and threads share out.
"""

from dataclasses import dataclass
from functools import cached_property

import gemmi
import numpy as np

from hpc_diffuser.disorder import SelfTerms
from hpc_diffuser.errors import InputError
from hpc_diffuser.kernels import direct_sum
from hpc_diffuser.lattice import HklGrid, fractionalization
from hpc_diffuser.solvent import displaced_volumes, solvent_factors
from hpc_diffuser.structure import Structure

SAMPLES_AT_ONCE = 4  # their phase tables, 1-2 MB each for 1000 atoms, stay in a shared cache
BLOCK = 16  # neighbouring planes with one section: the unit of work that ranks share out
_TABLE_STEPS = 8192
_SELF_STEPS = 4096
B_STEP_A2 = 0.1  # of residual B-factors: at 1.6 Å a step dims by 0.5 % of 2 %


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
    names, column = np.unique(elements, return_inverse=True)
    columns = []
    for name in names:
        element = gemmi.Element(str(name))
        if element.atomic_number == 0 or element.it92 is None:
            raise InputError(f'element "{name}" has no IT92 form factor: correct the structure')
        coefficients = element.it92.get_coefs()
        a, b, c = coefficients[:4], coefficients[4:8], coefficients[8]
        terms = np.exp(-np.outer(s_squared, b) / 4)  # gemmi: stol² = s²/4
        columns.append(terms @ np.array(a) + c)
    return np.stack(columns, axis=1)[:, column]


def atomic_numbers(structure: Structure) -> np.ndarray:
    """Electrons of every atom, times its occupancy: (N,) float."""
    elements, kind = np.unique(structure.elements, return_inverse=True)
    numbers = np.array([gemmi.Element(str(name)).atomic_number for name in elements])
    return numbers[kind] * structure.occupancies


@dataclass(frozen=True)
class AtomFactors:
    """What each atom of a structure scatters, as one of a few kinds.

    Attributes
    ----------
    kind : (N,) int
        Of every atom.
    occupancies : (N,) float
    elements : (K,) str
        Of each kind.
    volumes_A3 : (K,) float
        Of the solvent that it displaces.
    b_factors_A2 : (K,) float
        Of motion on its own, that dims it in the sum over all atoms.
    k_sol_eA3, b_sol_A2 : float
        Density and blur of the solvent.
    """

    kind: np.ndarray
    occupancies: np.ndarray
    elements: np.ndarray
    volumes_A3: np.ndarray
    b_factors_A2: np.ndarray
    k_sol_eA3: float = 0.0
    b_sol_A2: float = 0.0

    def at(self, s_squared: np.ndarray) -> np.ndarray:
        """The kinds' factors (S, K) at |s|² (S,) in Å⁻², in electrons."""
        return self.still(s_squared) * np.exp(-np.outer(s_squared, self.b_factors_A2) / 4)

    def still(self, s_squared: np.ndarray) -> np.ndarray:
        """The same without the dimming."""
        found = form_factors(self.elements, s_squared)
        if self.k_sol_eA3:
            solvent = (self.k_sol_eA3, self.b_sol_A2)
            found = found - solvent_factors(self.volumes_A3, s_squared, *solvent)
        return found


def atom_factors(
    structure: Structure,
    k_sol_eA3: float = 0.0,
    b_sol_A2: float = 0.0,
    b_factors_A2: np.ndarray | None = None,
) -> AtomFactors:
    """The factors of a structure's atoms: of each element, volume and B-factor once.

    Parameters
    ----------
    structure : Structure
    k_sol_eA3, b_sol_A2 : float
        See `solvent`.
    b_factors_A2 : (N,) float or None
        Rounded to `B_STEP_A2`; none dims.
    """
    n_atoms = len(structure)
    volumes = displaced_volumes(structure) if k_sol_eA3 else np.zeros(n_atoms)
    b = np.zeros(n_atoms) if b_factors_A2 is None else np.rint(b_factors_A2 / B_STEP_A2)
    elements, element = np.unique(structure.elements, return_inverse=True)
    rows = np.stack([element, volumes, b * B_STEP_A2], axis=1)
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    return AtomFactors(
        kind=kind.reshape(-1),
        occupancies=structure.occupancies,
        elements=elements[kinds[:, 0].astype(np.int64)],
        volumes_A3=kinds[:, 1],
        b_factors_A2=kinds[:, 2],
        k_sol_eA3=k_sol_eA3,
        b_sol_A2=b_sol_A2,
    )


def self_terms(factors: AtomFactors, s_squared: np.ndarray) -> SelfTerms:
    """S = Σ_a o_a² f_a², the intensity of independent atoms, with and without the dimming."""
    weights = np.bincount(factors.kind, factors.occupancies**2)
    if not factors.b_factors_A2.any():
        still = factors.still(s_squared) ** 2 @ weights
        return SelfTerms(still, still)
    # There may be as many kinds as atoms, for a million voxels: sums are functions of |s| alone.
    table = np.linspace(0, s_squared.max(initial=0), _SELF_STEPS)
    bare = factors.still(table)
    dimming = np.exp(-np.outer(table, factors.b_factors_A2) / 4)
    still, dimmed = (f**2 @ weights for f in (bare, bare * dimming))
    return SelfTerms(np.interp(s_squared, table, still), np.interp(s_squared, table, dimmed))


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
        """Where the value of each sample index (V, 3) lies in the slab's arrays: (V,) int.

        Raises
        ------
        IndexError
            For samples on other planes, or beyond their sections.
        """
        if not np.isin(indices[:, 0], self.h).all():
            raise IndexError("samples on planes that are not computed")
        plane = np.searchsorted(self.h, indices[:, 0])
        away = indices[:, 1:] - self.centres[plane]
        rows, columns = np.abs(away).T
        quadrant = 2 * (away[:, 0] < 0) + (away[:, 1] < 0)
        n_rows, n_columns = (self.halves[plane] + 1).T
        if (rows >= n_rows).any() or (columns >= n_columns).any():
            raise IndexError("samples beyond the sections of the resolution sphere")
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
    factors : AtomFactors or None
        Of the structure's atoms; plain form factors without.
    """

    def __init__(self, structure: Structure, slab: Slab, factors: AtomFactors | None = None):
        self.slab = slab
        factors = factors or atom_factors(structure)
        self._structure = structure
        self._order = np.argsort(factors.kind, kind="stable")
        counts = np.bincount(factors.kind, minlength=len(factors.elements))
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        self._occupancies = factors.occupancies[self._order].astype(np.float32)
        self._to_turns = fractionalization(slab.grid.unit_cell).T / np.array(slab.grid.divisions)
        self._form_factors = _form_factor_table(factors, slab)
        self.mean = self.structure_factors(structure.positions)

    def with_factors(self, factors: AtomFactors) -> "DirectTransform":
        """The same molecule with other factors."""
        return DirectTransform(self._structure, self.slab, factors)

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
        return 16.0 * len(self._order) * float((self.slab.row_halves + 1).sum())

    def _inputs(self, configurations: np.ndarray) -> tuple:
        """The kernels' common arguments."""
        turns = configurations[:, self._order] @ self._to_turns
        k_extent, l_extent = self.slab.table_extent
        offsets = self._offsets
        s = self.slab
        return (
            turns,
            direct_sum.phase_tables(turns, 1, k_extent, offsets),
            direct_sum.phase_tables(turns, 2, l_extent, offsets),
            k_extent + 1,
            l_extent + 1,
            (offsets, self._occupancies),
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


def _form_factor_table(factors: AtomFactors, slab: Slab) -> tuple[np.ndarray, float, np.ndarray]:
    """f of each kind on equidistant |s|²: linear interpolation of 8192 steps is good to 1e-7."""
    s2_max = 1 / slab.d_min**2 * 1.01
    per_s2 = _TABLE_STEPS / s2_max
    table = factors.at(np.arange(_TABLE_STEPS + 1) / per_s2)
    return table.astype(np.float32), per_s2, slab.grid.metric()


def _starts(sizes: np.ndarray | list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
