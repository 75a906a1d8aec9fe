"""Averages over symmetry mates that ranks hold in shares, and the transpose of averaging."""

from __future__ import annotations

import numpy as np

from hpc_diffuser.crystal.symmetry import (
    average_over_mates,
    laue_expansion,
    spread_over_mates,
)
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import share_planes
from hpc_diffuser.system.arrays import Complexes, Floats, Integers


class Mates:
    """Samples and their symmetry mates, on a group of ranks.

    Parameters
    ----------
    indices : (V, 3) int
        Sample indices, h ≥ 0, sorted, the same on all ranks; no two of them symmetry mates.
    divisions, operations
        As of `symmetry.laue_expansion`.
    mates : (V, G/2) int
        Where each sample's mates are among all expanded voxels, from the same.
    own : (e,) int
        Which of the expanded voxels this rank holds; every one is one rank's.
    group : Ranks

    Attributes
    ----------
    rows : (v,) int
        Which of the samples this rank holds the averages of.
    """

    def __init__(
        self,
        indices: Integers,
        divisions: tuple[float, float, float],
        operations: Integers,
        mates: Integers,
        own: Integers,
        group: Ranks,
    ):
        self._group, self._own = group, own
        self._expansion = indices, divisions, operations
        planes, voxels = np.unique(indices[:, 0], return_counts=True)
        planes = planes[share_planes(voxels, group.size)[group.rank]]
        self.rows: Integers = np.flatnonzero(np.isin(indices[:, 0], planes))
        # Where each mate is among all ranks' voxels, one rank's behind the other's.
        self._lengths = group.gather_to_all(len(own))
        held = np.argsort(group.concatenated(own, self._lengths))
        self._mates = held[mates[self.rows]]
        self._orbits: tuple[Integers, Floats] | None = None

    def averaged(self, values: Floats) -> Floats:
        """Values at this rank's expanded voxels (e,) → averages at the samples `rows`: (v,)."""
        every = self._group.concatenated(values.astype(np.float32), self._lengths)
        return average_over_mates(every, self._mates)

    def of_all(self, values: Complexes) -> Complexes:
        """All ranks' values, complex64, in the order of the expanded voxels: (e,) → (E,)."""
        every = self._group.concatenated(values.astype(np.complex64), self._lengths)
        found = np.empty_like(every)
        found[self._group.concatenated(self._own, self._lengths)] = every
        return found

    def spread(self, slope: Floats) -> Floats:
        """The transpose of averaging: (v,) at the samples → (e,) at the expanded voxels."""
        group, n_samples = self._group, len(self._expansion[0])
        sample, counts = self._orbits_of()
        lengths = group.gather_to_all(len(self.rows))
        rows = group.concatenated(self.rows, lengths)
        by_sample = np.empty(n_samples)
        by_sample[rows] = group.concatenated(slope.astype(np.float64), lengths)
        spread: Floats = by_sample[sample] * counts
        return spread

    def _orbits_of(self) -> tuple[Integers, Floats]:
        """Of this rank's expanded voxels: whose mates they are, and how many times."""
        if self._orbits is None:
            expanded, mates = laue_expansion(*self._expansion)
            numbers = np.arange(len(mates), dtype=np.float64)
            counts = spread_over_mates(np.ones(len(numbers)), mates, len(expanded))
            # No two samples are mates: of each place there is one sample.
            of_place = np.rint(spread_over_mates(numbers, mates, len(expanded)) / counts)
            self._orbits = of_place[self._own].astype(np.int32), counts[self._own]
        return self._orbits


def mates_bytes(expanded: int, mates: int, own: int) -> list[float]:
    """Bytes of each array that `Mates` keeps.

    Parameters
    ----------
    expanded : int
        Voxels and all their mates.
    mates : int
        Of each voxel, itself included.
    own : int
        Voxels of this rank.
    """
    return [24 * expanded, 8 * mates * own]


def averaging_bytes(expanded: int) -> list[float]:
    """The same of an average over mates: every rank averages from all expanded voxels."""
    return [4 * expanded] * 3
