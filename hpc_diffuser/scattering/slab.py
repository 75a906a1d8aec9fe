"""Slabs of reciprocal space: sets of h-planes, each cut to its section of the resolution sphere.

Planes are independent of each other: they are what ranks and threads share out.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.system.arrays import Floats, Integers

BLOCK = 8  # neighbouring planes with one section: the unit of work that ranks share out


@dataclass(frozen=True)
class Slab:
    """Some h-planes of a grid, each cut to its section of the resolution sphere.

    The values of all planes lie one behind the other in one array. A plane is stored as four
    quadrants (4, K+1, L+1) about its centre: see `kernels.direct_sum`. Planes 8n to 8n+7 are a
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
    h: Integers
    centres: Integers
    halves: Integers
    offsets: Integers
    row_halves: Integers
    row_offsets: Integers

    @cached_property
    def blocks(self) -> Integers:
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

    def s_squared(self) -> Floats:
        """|s|² at every stored value: (V,) float, Å⁻²."""
        metric, found = self.grid.metric(), [np.empty(0)]
        for plane in range(len(self.h)):
            indices = self.indices_of(plane)
            found.append(np.einsum("vi,ij,vj->v", indices, metric, indices))
        return np.concatenate(found)

    def indices_of(self, plane: int) -> Integers:
        """Sample indices of all values that a plane stores: (v, 3) int."""
        (k_c, l_c), (rows, columns) = self.centres[plane], self.halves[plane]
        sign = np.array([1, -1])
        k = k_c + sign[:, None, None, None] * np.arange(rows + 1)[:, None]
        l = l_c + sign[:, None, None] * np.arange(columns + 1)  # noqa: E741
        return np.stack(np.broadcast_arrays(self.h[plane], k, l), axis=-1).reshape(-1, 3)

    def position_of(self, indices: Integers) -> Integers:
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
        places: Integers = self.offsets[plane] + (quadrant * n_rows + rows) * n_columns + columns
        return places


def squared_bytes(stored: int) -> list[float]:
    """Bytes of each of the arrays that `Slab.s_squared` works with at once."""
    return [8 * stored] * 4


def position_bytes(voxels: int) -> list[float]:
    """Bytes of each of the arrays that `Slab.position_of` works with at once."""
    return [*[24 * voxels] * 2, *[16 * voxels] * 3, *[8 * voxels] * 5]


def slab(grid: HklGrid, d_min: float, planes: Integers) -> Slab:
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


def plane_costs(grid: HklGrid, d_min: float) -> Integers:
    """Relative cost of the planes h = 0..extent: the voxels of each section."""
    planes = slab(grid, d_min, np.arange(grid.extent[0] + 1))
    return np.add.reduceat(planes.row_halves + 1, planes.row_offsets[:-1])


def _largest_in_block(row_halves: list[Integers], block: Integers) -> list[Integers]:
    """For each plane, the farthest reach of every row on any plane of its block."""
    found: dict[int, Integers] = {}
    for b, reach in zip(block.tolist(), row_halves, strict=True):
        largest = found.setdefault(b, np.full(len(reach), -1))
        if len(largest) < len(reach):
            largest = np.append(largest, np.full(len(reach) - len(largest), -1))
        largest[: len(reach)] = np.maximum(largest[: len(reach)], reach)
        found[b] = largest
    return [found[b] for b in block.tolist()]


def _section(metric: Floats, h: int, s2_max: float) -> tuple[tuple[int, int], Integers]:
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


def _starts(sizes: Integers | list[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
