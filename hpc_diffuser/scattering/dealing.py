"""From the ranks that compute planes to those that hold their voxels, and back.

A rank computes some samples, or modes, on a slab that others compute the rest of; what they found
is added up where its voxels are held: each plane on one rank, however the computing is divided.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.kernels.rounding import TOGETHER
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import Layout, Work, share_planes
from hpc_diffuser.scattering.exact_sums import CHUNK
from hpc_diffuser.scattering.slab import BLOCK, Slab
from hpc_diffuser.scattering.transform import ATOM_S, transform_costs
from hpc_diffuser.system.arrays import Floats, Integers

_SUM_S = 4e-9  # to send a voxel's sum to another rank, and to add it there


class Dealing:
    """Which numbers go from where to where.

    Parameters
    ----------
    group : Ranks
    layout : Layout
        Of those that compute.
    slabs : (H,) int
        Which slab rank computes each h-plane; −1 for none.
    holders : (H,) int
        Which rank holds each h-plane's voxels; −1 for none.
    indices : (V, 3) int
        Sample indices of all voxels, sorted.
    own : Slab
        That of this rank.
    """

    def __init__(
        self,
        group: Ranks,
        layout: Layout,
        slabs: Integers,
        holders: Integers,
        indices: Integers,
        own: Slab,
    ):
        self._group, self._layout = group, layout
        planes = indices[:, 0].astype(np.int64)
        computed = np.flatnonzero(np.isin(planes, own.h))
        takers = holders[planes[computed]]
        order = np.argsort(takers, kind="stable")
        # Where on the own slab the voxels of rank 0 are, then those of rank 1, ...
        self._places = own.position_of(indices[computed[order]].astype(np.int64))
        self._given = np.bincount(takers, minlength=group.size)
        held = np.flatnonzero(holders[planes] == group.rank)
        of_slab = slabs[planes[held]]
        self._stored, self._held = own.size, len(held)
        # Where among the own voxels those of slab 0 are, then those of slab 1, ...
        self._rows = np.argsort(of_slab, kind="stable")
        self._taken = np.bincount(of_slab, minlength=layout.slab_ranks)

    def summed(self, values: Floats) -> Floats:
        """Sums of what all samples' ranks have at their slabs (K, ·), at the own voxels: (K, v)."""
        total = None
        for found in self.collected(values):
            total = found if total is None else total + found
        assert total is not None
        return total

    def collected(self, values: Floats) -> Iterator[Floats]:
        """The same of one sample rank after the other, not added."""
        if self._group.size == 1:
            return iter([np.take(values, self._places, axis=1)])
        width, n = len(values), self._layout.slab_ranks
        sent = np.empty(width * len(self._places), values.dtype)
        ends = np.cumsum(width * self._given)
        for places, part in zip(self._by_taker(), np.split(sent, ends[:-1]), strict=True):
            part.reshape(width, -1)[:] = values[:, places]
        sources = width * self._sources()
        came = self._group.exchanged(sent, (width * self._given).tolist(), sources.tolist())
        pieces = np.split(came, np.cumsum(sources)[:-1])
        rounds = range(0, self._layout.sample_ranks * n, n)
        return (self._at_rows(pieces[first : first + n], width) for first in rounds)

    def spread(self, values: Floats) -> Floats:
        """Values at the own voxels (K, v) where they are computed: (K, ·) on the own slab."""
        stored = np.zeros((len(values), self._stored), values.dtype)
        if self._group.size == 1:
            stored[:, self._places] = values
            return stored
        width, sources = len(values), self._sources()
        of_slabs = np.split(values[:, self._rows], np.cumsum(self._taken)[:-1], axis=1)
        n_used = self._layout.sample_ranks
        flat = self._group.exchanged(
            np.concatenate([part.ravel() for part in of_slabs * n_used]),
            (width * sources).tolist(),
            (width * self._given).tolist(),
        )
        pieces = np.split(flat, np.cumsum(width * self._given)[:-1])
        for places, piece in zip(self._by_taker(), pieces, strict=True):
            stored[:, places] = piece.reshape(width, -1)
        return stored

    def _by_taker(self) -> list[Integers]:
        """Places of the voxels that each rank takes."""
        return np.split(self._places, np.cumsum(self._given)[:-1])

    def _sources(self) -> Integers:
        """How many voxels come from each rank: (R,) int; none from those that compute nothing."""
        from_ranks = np.tile(self._taken, self._layout.sample_ranks)
        return np.pad(from_ranks, (0, self._group.size - len(from_ranks)))

    def _at_rows(self, of_slabs: list[Floats], width: int) -> Floats:
        whole = np.concatenate([piece.reshape(width, -1) for piece in of_slabs], axis=1)
        found = np.empty_like(whole)
        found[:, self._rows] = whole
        return found


def work_of(
    structure: Structure, grid: HklGrid, d_min: float, plane_work: Floats, drawn: bool
) -> Work:
    """What a part of an evaluation takes, `TOGETHER` samples, from that on each plane.

    Parameters
    ----------
    structure : Structure
    grid : HklGrid
    d_min : float, Å
    plane_work : (H,) float
        As of `slab.plane_costs`; 0 of planes that are not computed.
    drawn : bool
        By way of the density.
    """
    blocks = np.add.reduceat(plane_work, np.arange(0, len(plane_work), BLOCK)).astype(float)
    direct, density = transform_costs(structure, grid, d_min)
    drawing = ATOM_S * len(structure) if drawn else 0.0
    unit = blocks.sum() / (TOGETHER * ((density if drawn else direct) - drawing))
    sums = 3 * 4 * plane_work.sum()
    return Work(blocks, TOGETHER * drawing * unit, _SUM_S * sums * unit)


def holders_of(voxels: Integers, n_ranks: int) -> Integers:
    """Which rank holds each plane of so many voxels: (H,) int; −1 where there are none."""
    holders = np.full(len(voxels), -1)
    planes = np.flatnonzero(voxels)
    for rank, own in enumerate(share_planes(voxels[planes], n_ranks)):
        holders[planes[own]] = rank
    return holders


def computed_planes(work: Work, layout: Layout, n_planes: int) -> Integers:
    """Which slab rank computes each plane: (H,) int."""
    slabs = np.empty(n_planes, np.int64)
    for number, own in enumerate(share_planes(work.blocks, layout.slab_ranks)):
        slabs[np.isin(np.arange(n_planes) // BLOCK, own)] = number
    return slabs


def n_parts(n_samples: int) -> int:
    """How many parts samples are divided into: a few in each, see `kernels.rounding`."""
    return -(-n_samples // TOGETHER)


def chunks_of(first: int, last: int, n_samples: int) -> Iterator[tuple[Integers, slice]]:
    """The chunks that hold some parts: the rows of all their samples, and which are the parts'."""
    per_chunk = CHUNK // TOGETHER
    for chunk in range(first // per_chunk, -(-last // per_chunk)):
        rows = np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, n_samples))
        start = max(first - chunk * per_chunk, 0) * TOGETHER
        yield rows, slice(start, (last - chunk * per_chunk) * TOGETHER)


def kept_bytes(given: int, taken: int) -> list[float]:
    """Bytes of each array that a `Dealing` keeps, of so many voxels computed and held."""
    return [8 * given, 8 * taken]


def summing_bytes(given: int, taken: int) -> list[float]:
    """The same of sums on their way, of so many voxels that go and that come."""
    return [24 * given, 24 * given, 24 * taken]  # what is picked out, what is sent, what comes
