"""From the ranks that compute planes to those that hold their voxels, and back.

A rank computes some samples, or modes, on a slab that others compute the rest of; what they found
is added up where its voxels are held: each plane on one rank, however the computing is divided.
"""

from __future__ import annotations

import numpy as np

from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import Layout
from hpc_diffuser.scattering.slab import Slab
from hpc_diffuser.system.arrays import Floats, Integers


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
        planes = indices[:, 0]
        computed = np.flatnonzero(np.isin(planes, own.h))
        takers = holders[planes[computed]]
        order = np.argsort(takers, kind="stable")
        # Where on the own slab the voxels of rank 0 are, then those of rank 1, ...
        self._places = own.position_of(indices[computed[order]])
        self._given = np.bincount(takers, minlength=group.size)
        held = np.flatnonzero(holders[planes] == group.rank)
        of_slab = slabs[planes[held]]
        self._stored, self._held = own.size, len(held)
        # Where among the own voxels those of slab 0 are, then those of slab 1, ...
        self._rows = np.argsort(of_slab, kind="stable")
        self._taken = np.bincount(of_slab, minlength=layout.slab_ranks)

    def summed(self, values: Floats) -> Floats:
        """Sums of what all samples' ranks have at their slabs (K, ·), at the own voxels: (K, v)."""
        if self._group.size == 1:
            return np.take(values, self._places, axis=1)
        found = self.collected(values)
        total = found[0]
        for other in found[1:]:
            total += other
        return total

    def collected(self, values: Floats) -> list[Floats]:
        """The same of each sample rank, not added."""
        width, counts = len(values), self._given
        if self._group.size == 1:
            return [self.summed(values)]
        parts = [values[:, own].ravel() for own in self._by_taker()]
        sources = self._sources()
        flat = self._group.exchanged(
            np.concatenate(parts), (width * counts).tolist(), (width * sources).tolist()
        )
        pieces = np.split(flat, np.cumsum(width * sources)[:-1])
        n = self._layout.slab_ranks
        return [
            self._at_rows([piece.reshape(width, -1) for piece in pieces[i * n : (i + 1) * n]])
            for i in range(self._layout.sample_ranks)
        ]

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

    def _at_rows(self, of_slabs: list[Floats]) -> Floats:
        whole = np.concatenate(of_slabs, axis=1)
        found = np.empty_like(whole)
        found[:, self._rows] = whole
        return found
