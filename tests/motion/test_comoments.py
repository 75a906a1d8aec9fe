"""Means and co-moments of batches against numpy's covariance of all the rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.motion.comoments import (
    CoMoments,
    Moments,
    band_costs,
    bands,
    block_moments,
    merged,
    moments_of,
)
from hpc_diffuser.parallel.decomposition import share_planes


def rows_of(seed: int, n_rows: int, n_columns: int, offset: float = 40.0) -> np.ndarray:
    """Correlated rows far from the origin, as coordinates are."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n_columns, n_columns))
    return offset + rng.standard_normal((n_rows, n_columns)) @ mixing


def assert_moments(found: Moments, rows: np.ndarray) -> None:
    """Of all the rows, by numpy's own covariance."""
    assert found.count == len(rows)
    np.testing.assert_allclose(found.mean, np.mean(rows, axis=0), rtol=1e-12)
    expected = np.atleast_2d(np.cov(rows.T, bias=True)) * len(rows)
    scale = max(np.abs(expected).max(), 1e-9)
    np.testing.assert_allclose(found.comoment, expected, atol=1e-11 * scale)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 6), st.data())
def test_any_split_and_any_tree(seed, n_rows, n_columns, data):
    """However rows are split and in whatever order batches are merged, two at a time."""
    rows = rows_of(seed, n_rows, n_columns)
    cuts = data.draw(st.sets(st.integers(1, n_rows - 1), max_size=12))
    batches = [moments_of(part) for part in np.split(rows, sorted(cuts))]
    rng = np.random.default_rng(seed)
    while len(batches) > 1:
        one, other = (batches.pop(int(rng.integers(len(batches)))) for _ in range(2))
        batches.append(merged(one, other))
    assert_moments(batches[0], rows)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 90), st.integers(1, 7))
def test_bands_of_any_sharers(seed, n_rows, n_columns, n_sharers):
    """Batch by batch, band by band: numpy's covariance; the same bits, whoever holds a band."""
    rows = rows_of(seed, n_rows, n_columns)
    batches = np.array_split(rows, min(4, n_rows))
    alone = CoMoments(n_columns, range(len(bands(n_columns))))
    shares = share_planes(band_costs(n_columns), n_sharers)
    sharers = [CoMoments(n_columns, share.tolist()) for share in shares]
    for batch in batches:
        for each in (alone, *sharers):
            each.add(batch)
    together = {band: part for each in sharers for band, part in each.parts.items()}
    whole = np.zeros((n_columns, n_columns))
    for band, some in enumerate(bands(n_columns)):
        np.testing.assert_array_equal(together[band], alone.parts[band])
        whole[some, some.start :] = alone.parts[band]
    whole = np.triu(whole) + np.triu(whole, 1).T
    assert_moments(Moments(alone.count, alone.mean, whole), rows)
    np.testing.assert_allclose(alone.squares, np.diag(whole), rtol=1e-10, atol=1e-8)


def test_far_from_the_origin():
    """Spread 1 at 1e8: Σxxᵀ − n x̄x̄ᵀ keeps no digit of it; brute force about the mean does.

    Rows are whole numbers, so that the oracle is exact.
    """
    rng = np.random.default_rng(5)
    small = rng.integers(-3, 4, (300, 4)).astype(float)
    small -= np.round(small.mean(axis=0))
    found = CoMoments(4, range(len(bands(4))))
    for batch in np.array_split(small + 1e8, 7):
        found.add(batch)
    expected = np.var(small, axis=0) * 300
    np.testing.assert_allclose(found.squares, expected, rtol=1e-6)
    naive = np.sum((small + 1e8) ** 2, axis=0) - 300 * np.mean(small + 1e8, axis=0) ** 2
    assert np.abs(naive / expected - 1).max() > 1e-2


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 7])
def test_blocks_together_are_all(n_blocks):
    """Halves, thirds: blocks of all the rows, in their order."""
    rows = rows_of(1, 50, 5)
    blocks = block_moments(rows, n_blocks)
    sizes = [block.count for block in blocks]
    assert len(blocks) == n_blocks and max(sizes) - min(sizes) <= 1
    total = blocks[0]
    for block in blocks[1:]:
        total = merged(total, block)
    assert_moments(total, rows)
    np.testing.assert_allclose(blocks[-1].mean, rows[-sizes[-1] :].mean(axis=0))


@pytest.mark.parametrize("n_columns", [1, 5, 63, 64, 65, 300])
def test_bands_cover_the_upper_triangle(n_columns):
    """Each row in one band."""
    rows = [row for band in bands(n_columns) for row in range(band.start, band.stop)]
    assert rows == list(range(n_columns))
    assert band_costs(n_columns).sum() >= n_columns * (n_columns + 1) // 2
