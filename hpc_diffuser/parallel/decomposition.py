"""Who does what: pure arithmetic, no communication.

The world is divided into groups, each of which works on one restart at a time. The work of a
group's evaluation is a rectangle of parts: a few samples, or a mode, by a block of planes. Its
ranks form a rectangle, too, and each of them does neighbouring parts by some blocks. Parts are the
same whatever the number of ranks; only their owners change.
"""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.system.arrays import Floats

MOST_BATCHES = 64  # of samples, whose sums are kept apart where their order matters


@dataclass(frozen=True)
class Layout:
    """A group's ranks as a rectangle.

    Attributes
    ----------
    sample_ranks : int
        How many ranks share the samples of a slab.
    slab_ranks : int
        How many ranks share the h-planes. Ranks beyond the rectangle have nothing to do.
    """

    sample_ranks: int
    slab_ranks: int

    def place(self, rank: int) -> tuple[int, int] | None:
        """(sample rank, slab rank) of a rank of the group; None beyond the rectangle."""
        within = rank < self.sample_ranks * self.slab_ranks
        return divmod(rank, self.slab_ranks) if within else None


@dataclass(frozen=True)
class Work:
    """What a part of an evaluation, as a few samples, takes.

    Attributes
    ----------
    blocks : (B,) float
        On each block of planes.
    drawing : float
        Before that, on every rank that has any of the blocks; in the same unit.
    gathering : float
        At the end of an evaluation, to send and to add sums on all blocks, where several ranks
        have parts of the samples.
    """

    blocks: Floats
    drawing: float = 0.0
    gathering: float = 0.0

    def time(self, layout: Layout, n_parts: int) -> float:
        """How long the busiest rank works on so many parts."""
        slabs = share_planes(self.blocks, layout.slab_ranks)
        most = max(float(self.blocks[own].sum()) for own in slabs)
        gathered = self.gathering * most / float(self.blocks.sum() or 1)
        busiest = -(-n_parts // layout.sample_ranks)
        return busiest * (self.drawing + most) + gathered * (layout.sample_ranks > 1)


def group_of(rank: int, n_ranks: int, n_groups: int) -> int:
    """Group of a rank: contiguous blocks whose sizes differ by at most one."""
    return ((rank + 1) * n_groups - 1) // n_ranks


def choose_layout(n_ranks: int, work: Work, n_parts: int) -> Layout:
    """The rectangle that evaluates so many parts fastest.

    Ties go to fewer sample ranks, which send fewer sums.
    """
    most = max(1, min(n_ranks, n_parts))
    layouts = [Layout(n, n_ranks // n) for n in range(1, most + 1)]
    times = [work.time(layout, n_parts) for layout in layouts]
    return next(of for of, time in zip(layouts, times, strict=True) if 0.99 * time <= min(times))


def share_planes(costs: np.ndarray, n_shares: int) -> list[np.ndarray]:
    """Planes of each share, ascending: the costliest plane first, to whoever has least."""
    load = np.zeros(n_shares)
    owner = np.empty(len(costs), dtype=np.int64)
    for plane in np.argsort(-costs, kind="stable"):
        owner[plane] = load.argmin()
        load[owner[plane]] += costs[plane]
    return [np.flatnonzero(owner == share) for share in range(n_shares)]


def batch_edges(n_parts: int) -> np.ndarray:
    """Where each batch of parts starts, and the end: (≤ MOST_BATCHES + 1,) int."""
    n_batches = min(n_parts, MOST_BATCHES)
    return np.arange(n_batches + 1) * n_parts // max(n_batches, 1)


def own_parts(n_parts: int, sharer: int, n_sharers: int) -> range:
    """The neighbouring parts that one of several sharers does: differing by one at most."""
    return range(sharer * n_parts // n_sharers, (sharer + 1) * n_parts // n_sharers)


def branch_points(rank: int, size: int) -> list[int]:
    """The ranks right above this one in a binary tree that grows from rank 0, lowest first.

    The tree that binary numbers make: a rank hangs on the one without its last 1 bit. The ranks of
    a branch are neighbours, so what is gathered along it comes in the order of the ranks.
    """
    room = rank & -rank or size
    points, step = [], 1
    while step < room and rank + step < size:
        points.append(rank + step)
        step *= 2
    return points


def branch_of(rank: int, size: int) -> range:
    """The ranks of the branch that begins at this one."""
    return range(rank, min(rank + (rank & -rank or size), size))


def tree_height(size: int) -> int:
    """How many messages lie between rank 0 and the farthest of so many ranks."""
    return max(size - 1, 0).bit_length()
