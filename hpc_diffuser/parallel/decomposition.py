"""Who does what: pure arithmetic, no communication.

The world is divided into groups, each of which works on one restart at a time. A group is a
rectangle of ranks: sample batches by q-slabs. The batches and planes are the same whatever
the number of ranks; only their owners change.
"""

from dataclasses import dataclass

import numpy as np

SAMPLE_BATCHES = 4  # a power of two; moments are added over batches as a fixed binary tree


@dataclass(frozen=True)
class Layout:
    """A group's ranks as a rectangle.

    Attributes
    ----------
    sample_ranks : int
        1, 2 or 4: how many ranks share the samples of a slab.
    slab_ranks : int
        How many ranks share the h-planes.
    """

    sample_ranks: int
    slab_ranks: int

    def place(self, rank: int) -> tuple[int, int]:
        """(sample rank, slab rank) of a rank of the group."""
        return divmod(rank, self.slab_ranks)

    def sharing(self, slab_rank: int) -> range:
        """The ranks that share a slab, in the order of their samples."""
        return range(slab_rank, self.sample_ranks * self.slab_ranks, self.slab_ranks)

    def time(self, plane_costs: np.ndarray) -> float:
        """How long the busiest rank works, in the costs' unit."""
        slabs = share_planes(plane_costs, self.slab_ranks)
        return float(max(plane_costs[s].sum() for s in slabs)) / self.sample_ranks


def group_of(rank: int, n_ranks: int, n_groups: int) -> int:
    """Group of a rank: contiguous blocks whose sizes differ by at most one."""
    return ((rank + 1) * n_groups - 1) // n_ranks


def choose_layout(n_ranks: int, plane_costs: np.ndarray) -> Layout:
    """The rectangle that evaluates fastest: the least of (largest slab's cost) / sample ranks.

    Ties go to fewer sample ranks, which need no reduction.
    """
    best = Layout(1, n_ranks)
    least = np.inf
    for sample_ranks in (1, 2, SAMPLE_BATCHES):
        if n_ranks % sample_ranks:
            continue
        layout = Layout(sample_ranks, n_ranks // sample_ranks)
        time = layout.time(plane_costs)
        if time < 0.99 * least:
            best, least = layout, time
    return best


def share_planes(costs: np.ndarray, n_shares: int) -> list[np.ndarray]:
    """Planes of each share, ascending: the costliest plane first, to whoever has least."""
    load = np.zeros(n_shares)
    owner = np.empty(len(costs), dtype=np.int64)
    for plane in np.argsort(-costs, kind="stable"):
        owner[plane] = load.argmin()
        load[owner[plane]] += costs[plane]
    return [np.flatnonzero(owner == share) for share in range(n_shares)]


def batch_edges(n_samples: int) -> np.ndarray:
    """Where each batch of samples starts, and the end: (SAMPLE_BATCHES + 1,) int."""
    return np.arange(SAMPLE_BATCHES + 1) * n_samples // SAMPLE_BATCHES


def batches_of(sample_rank: int, sample_ranks: int) -> range:
    """The batches that a sample rank computes: a whole branch of the binary tree."""
    n = SAMPLE_BATCHES // sample_ranks
    return range(sample_rank * n, (sample_rank + 1) * n)


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
