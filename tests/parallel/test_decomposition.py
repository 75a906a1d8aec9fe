"""Every rank, plane and sample is somebody's, and nobody has much more than the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_diffuser.parallel.decomposition import (
    SAMPLE_BATCHES,
    batch_edges,
    batches_of,
    branch_of,
    branch_points,
    choose_layout,
    group_of,
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


@given(COSTS, st.integers(1, 130))
def test_layout_uses_all_ranks(costs, n_ranks):
    """Sample ranks x slab ranks is the group, and each rank has a place of its own."""
    layout = choose_layout(n_ranks, costs)
    assert layout.sample_ranks in (1, 2, SAMPLE_BATCHES)
    assert layout.sample_ranks * layout.slab_ranks == n_ranks
    places = {layout.place(rank) for rank in range(n_ranks)}
    rectangle = {(i, j) for i in range(layout.sample_ranks) for j in range(layout.slab_ranks)}
    assert places == rectangle


@given(COSTS, st.integers(1, 130))
def test_layout_is_the_fastest(costs, n_ranks):
    """No other rectangle is faster by more than the 1 % that a reduction is worth."""

    def time(sample_ranks: int) -> float:
        shares = share_planes(costs, n_ranks // sample_ranks)
        return max(costs[share].sum() for share in shares) / sample_ranks

    chosen = choose_layout(n_ranks, costs).sample_ranks
    possible = [n for n in (1, 2, SAMPLE_BATCHES) if n_ranks % n == 0]
    assert 0.99 * time(chosen) <= min(map(time, possible))


def test_more_ranks_than_planes_share_the_samples():
    """Eight ranks for two equal planes: two slabs, each with four ranks for its samples."""
    layout = choose_layout(8, np.array([100, 100]))
    assert (layout.sample_ranks, layout.slab_ranks) == (4, 2)


def test_planes_alone_need_no_reduction():
    """Eight ranks and eight equal planes: nothing is gained by sharing samples."""
    layout = choose_layout(8, np.full(8, 100))
    assert (layout.sample_ranks, layout.slab_ranks) == (1, 8)


@given(st.integers(0, 5000))
def test_batches_cover_all_samples(n_samples):
    """From the first to the last without a gap; sizes differ by at most one."""
    edges = batch_edges(n_samples)
    assert len(edges) == SAMPLE_BATCHES + 1
    assert (edges[0], edges[-1]) == (0, n_samples)
    sizes = np.diff(edges)
    assert sizes.min() >= 0
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("sample_ranks", [1, 2, SAMPLE_BATCHES])
def test_batches_are_shared_out_as_branches(sample_ranks):
    """All batches, each once, in order; a rank's are neighbours that start a whole branch."""
    owned = [batches_of(rank, sample_ranks) for rank in range(sample_ranks)]
    assert [batch for batches in owned for batch in batches] == list(range(SAMPLE_BATCHES))
    for batches in owned:
        assert len(batches) == SAMPLE_BATCHES // sample_ranks
        assert batches[0] % len(batches) == 0


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
