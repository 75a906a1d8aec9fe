"""Every rank, plane and sample is somebody's, and nobody has much more than the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_diffuser.parallel.decomposition import (
    MOST_BATCHES,
    Layout,
    Work,
    batch_edges,
    branch_of,
    branch_points,
    choose_layout,
    group_of,
    own_parts,
    share_planes,
    tree_height,
)

COSTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=80).map(np.array)


@given(st.data())
def test_groups_are_contiguous_and_balanced(data):
    """Every group has ranks, neighbours are together, sizes differ by at most one."""
    n_ranks = data.draw(st.integers(1, 300))
    n_groups = data.draw(st.integers(1, n_ranks))
    groups = [group_of(rank, n_ranks, n_groups) for rank in range(n_ranks)]
    assert groups == sorted(groups)
    sizes = np.bincount(groups)
    assert len(sizes) == n_groups
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= 1


@given(COSTS, st.integers(1, 100))
def test_every_plane_has_one_owner(costs, n_shares):
    """The shares together are all planes, each once, ascending within a share."""
    shares = share_planes(costs, n_shares)
    assert len(shares) == n_shares
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(len(costs)))
    assert all((np.diff(share) > 0).all() for share in shares)


@given(COSTS, st.integers(1, 20))
def test_shares_differ_by_at_most_the_costliest_plane(costs, n_shares):
    """A plane goes to whoever has least: nobody gets further ahead than by one plane."""
    loads = [costs[share].sum() for share in share_planes(costs, n_shares)]
    assert max(loads) - min(loads) <= costs.max()


@pytest.mark.parametrize(
    "costs, loads", [([1, 1, 1, 1, 4], [4, 4]), ([4, 3, 2, 1], [5, 5]), ([3, 6, 3], [6, 6])]
)
def test_costliest_plane_goes_first(costs, loads):
    """What can be shared equally is: small planes fill up what the large ones leave.

    Smallest first would end with 2 + 4 against 2, dealt out in turn 4 + 2 against 3 + 1.
    """
    costs = np.array(costs)
    assert [costs[share].sum() for share in share_planes(costs, 2)] == loads


@given(COSTS, st.integers(1, 130), st.integers(1, 100))
def test_ranks_of_a_layout_do_every_part_once(costs, n_ranks, n_parts):
    """Sample ranks x slab ranks are at most the group, each with a place and parts of its own."""
    layout = choose_layout(n_ranks, Work(costs), n_parts)
    used = layout.sample_ranks * layout.slab_ranks
    assert 1 <= layout.sample_ranks <= n_parts and used <= n_ranks
    places = [layout.place(rank) for rank in range(n_ranks)]
    rectangle = {(i, j) for i in range(layout.sample_ranks) for j in range(layout.slab_ranks)}
    assert set(places[:used]) == rectangle and set(places[used:]) <= {None}
    shares = [own_parts(n_parts, i, layout.sample_ranks) for i in range(layout.sample_ranks)]
    assert [part for share in shares for part in share] == list(range(n_parts))
    sizes = [len(share) for share in shares]
    assert min(sizes) >= 1 and max(sizes) <= min(sizes) + 1


@given(COSTS, st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_layout_is_the_fastest(costs, n_ranks, n_parts, drawing):
    """No other rectangle is faster by more than the 1 % that fewer sums are worth."""

    def time(sample_ranks: int) -> float:
        most = max(costs[share].sum() for share in share_planes(costs, n_ranks // sample_ranks))
        return np.ceil(n_parts / sample_ranks) * (most + drawing * costs.sum())

    chosen = choose_layout(n_ranks, Work(costs, drawing * costs.sum()), n_parts)
    possible = range(1, min(n_ranks, n_parts) + 1)
    assert 0.99 * time(chosen.sample_ranks) <= min(map(time, possible)) * (1 + 1e-12)


def test_more_ranks_than_planes_share_the_samples():
    """Eight ranks for two equal planes: two slabs, each with four ranks for its samples."""
    assert choose_layout(8, Work(np.array([100, 100])), 32) == Layout(4, 2)


def test_planes_alone_need_no_reduction():
    """Eight ranks and eight equal planes: nothing is gained by sharing samples, were it not for
    what drawing takes on every rank."""
    assert choose_layout(8, Work(np.full(8, 100)), 32) == Layout(1, 8)
    assert choose_layout(8, Work(np.full(8, 100), 50), 32) == Layout(8, 1)


# Voxels of a section of each 8 planes of lysozyme to 1.6 Å, and what drawing takes beside them.
LYSOZYME = Work(np.array([32.2, 31.7, 30.2, 27.9, 24.2, 20.1, 14.0, 6.9]) * 1e3, 15e3)


def test_lysozyme_divides_into_256_parts():
    """64 samples, two in a part, by eight blocks; on 64 ranks nobody has a twentieth more."""
    n_parts = 32
    assert n_parts * len(LYSOZYME.blocks) >= 256
    whole = LYSOZYME.time(Layout(1, 1), n_parts)
    for ranks, most in ((2, 1.0), (8, 1.05), (64, 1.1)):
        layout = choose_layout(ranks, LYSOZYME, n_parts)
        slabs = share_planes(LYSOZYME.blocks, layout.slab_ranks)
        loads = [LYSOZYME.blocks[own].sum() + LYSOZYME.drawing for own in slabs]
        parts = [
            len(own_parts(n_parts, i, layout.sample_ranks)) for i in range(layout.sample_ranks)
        ]
        imbalance = max(loads) * max(parts) / (np.mean(loads) * np.mean(parts))
        assert imbalance <= most
        assert layout.sample_ranks * layout.slab_ranks == ranks
        assert whole / LYSOZYME.time(layout, n_parts) >= 0.85 * ranks


@given(st.integers(0, 5000))
def test_batches_cover_all_parts(n_parts):
    """From the first to the last without a gap; none is empty, sizes differ by at most one."""
    edges = batch_edges(n_parts)
    assert len(edges) == min(n_parts, MOST_BATCHES) + 1
    assert (edges[0], edges[-1]) == (0, n_parts)
    sizes = np.diff(edges)
    assert n_parts == 0 or 1 <= sizes.min() <= sizes.max() <= sizes.min() + 1


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13, 32, 100])
def test_tree_of_ranks(size):
    """Every rank hangs on one other, its branch is what hangs on it, and none is far from rank 0.

    How far is counted by walking.
    """
    parents = {point: rank for rank in range(size) for point in branch_points(rank, size)}
    assert set(parents) == set(range(1, size)) and len(parents) == size - 1
    below: dict[int, set[int]] = {rank: {rank} for rank in range(size)}
    farthest = 0
    for rank in range(size):
        at, steps = rank, 0
        while at:
            at, steps = parents[at], steps + 1
            below[at].add(rank)
        farthest = max(farthest, steps)
    assert all(below[rank] == set(branch_of(rank, size)) for rank in range(size))
    assert farthest <= tree_height(size) < np.log2(size) + 1
