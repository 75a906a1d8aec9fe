"""Overlaps of modes and of covariance matrices: by hand, by Hess' own sum, and by chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from hpc_diffuser.motion.overlap import (
    alike,
    covariance_overlap,
    dependent,
    leading_axes,
    rmsip,
)

SEEDS = st.integers(0, 2**32 - 1)


def axes(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Orthonormal rows in random directions."""
    return np.linalg.qr(rng.standard_normal((dimensions, count)))[0].T


def covariance(rng: np.random.Generator, rank: int, dimensions: int) -> np.ndarray:
    """Of so many random displacements, of unequal size."""
    steps = rng.standard_normal((rank, dimensions)) * np.geomspace(1, 0.1, rank)[:, None]
    return steps.T @ steps


def test_rmsip_of_one_space_is_one():
    """Other axes in the same space span the same."""
    rng = np.random.default_rng(0)
    one, turn = axes(rng, 4, 12), axes(rng, 4, 4)
    assert rmsip(one, turn @ one) == pytest.approx(1, abs=1e-14)


def test_rmsip_of_orthogonal_spaces_is_zero():
    """Nothing in common."""
    assert rmsip(np.eye(6)[:3], np.eye(6)[3:]) == 0


def test_rmsip_by_hand():
    """x, y against y, z: one of two directions, √½; x against 60° from it: cos 60°."""
    assert rmsip(np.eye(3)[:2], np.eye(3)[1:]) == pytest.approx(np.sqrt(0.5))
    assert rmsip(np.eye(2)[:1], np.array([[0.5, np.sqrt(0.75)]])) == pytest.approx(0.5)


def test_rmsip_counts_modes_that_are_missing():
    """One direction against two that hold it; and none against any."""
    assert rmsip(np.eye(3)[:1], np.eye(3)[:2]) == pytest.approx(np.sqrt(0.5))
    assert rmsip(np.eye(3)[:0], np.eye(3)[:2]) == rmsip(np.eye(3)[:0], np.eye(3)[:0]) == 0


def test_rmsip_by_chance():
    """Five random directions in forty: the square is 5/40 on average.

    Its variance is 2 K² (D−K)²/(K² D² (D−1)(D+2)) = 9e-4 for one pair; four errors of the mean.
    """
    rng = np.random.default_rng(1)
    squares = [rmsip(axes(rng, 5, 40), axes(rng, 5, 40)) ** 2 for _ in range(400)]
    assert np.mean(squares) == pytest.approx(5 / 40, abs=4 * 0.03 / 20)


@given(SEEDS, st.integers(1, 6), st.integers(1, 6))
def test_rmsip_is_bounded_symmetric_and_turns_with_the_coordinates(seed, one, other):
    """0 to 1; the same either way; the same in any coordinates."""
    rng = np.random.default_rng(seed)
    a, b, turn = axes(rng, one, 8), axes(rng, other, 8), axes(rng, 8, 8)
    found = rmsip(a, b)
    assert 0 <= found <= 1
    assert rmsip(b, a) == pytest.approx(found, abs=1e-13)
    assert rmsip(a @ turn, b @ turn) == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # Roots (2, 1) and (1, 2) differ by (1, -1): 1 - √(2/10).
        (np.diag([4.0, 1]), np.diag([1.0, 4]), 1 - np.sqrt(0.2)),
        # 4 along x, 4 along the diagonal: roots [[2, 0], [0, 0]] and [[1, 1], [1, 1]]: 1 - √(4/8).
        (np.diag([4.0, 0]), np.full((2, 2), 2.0), 1 - np.sqrt(0.5)),
        # Twice as far along the same: 1 - √(tr A (1 - 2)²/(tr A (1 + 4))).
        (np.diag([3.0, 2]), np.diag([12.0, 8]), 1 - np.sqrt(0.2)),
        (np.diag([4.0, 0]), np.diag([0.0, 7]), 0),
        (np.diag([4.0, 1]), np.diag([4.0, 1]), 1),
        (np.zeros((2, 2)), np.diag([4.0, 1]), 0),
        (np.zeros((2, 2)), np.zeros((2, 2)), 1),
    ],
)
def test_covariance_overlap_by_hand(one, other, expected):
    """Of matrices of two coordinates."""
    assert covariance_overlap(one, other) == pytest.approx(expected, abs=1e-15)


def hess_sum(one: np.ndarray, other: np.ndarray) -> float:
    """Hess (2002): 1 − √([Σ(λ+μ) − 2 Σ_ij √(λ_i μ_j) (v_i·w_j)²]/Σ(λ+μ))."""
    (λ, v), (μ, w) = np.linalg.eigh(one), np.linalg.eigh(other)
    both = λ.sum() + μ.sum()
    common = sum(
        np.sqrt(max(λ[i] * μ[j], 0)) * (v[:, i] @ w[:, j]) ** 2
        for i in range(len(λ))
        for j in range(len(μ))
    )
    return float(1 - np.sqrt((both - 2 * common) / both))


@given(SEEDS, st.integers(1, 9), st.integers(1, 9))
def test_covariance_overlap_is_hess_sum_bounded_and_turns(seed, one, other):
    """The sum over eigenvectors; 0 to 1; symmetric; the same in any coordinates and units."""
    rng = np.random.default_rng(seed)
    a, b, turn = covariance(rng, one, 7), covariance(rng, other, 7), axes(rng, 7, 7)
    found = covariance_overlap(a, b)
    assert 0 <= found <= 1
    assert found == pytest.approx(hess_sum(a, b), abs=1e-6)
    assert covariance_overlap(b, a) == found
    turned = covariance_overlap(turn.T @ a @ turn, turn.T @ b @ turn)
    assert turned == pytest.approx(found, abs=1e-6)
    assert covariance_overlap(100 * a, 100 * b) == pytest.approx(found, abs=1e-6)


def test_leading_axes():
    """The largest variances' directions, largest first; none along which nothing moves."""
    turn = ortho_group.rvs(5, random_state=2)
    matrix = turn.T @ np.diag([5.0, 3, 2, 0, 0]) @ turn
    np.testing.assert_allclose(np.abs(leading_axes(matrix, 2) @ turn.T), np.eye(2, 5), atol=1e-12)
    assert leading_axes(matrix, 5, still=1e-12).shape == (3, 5)
    assert leading_axes(np.zeros((5, 5)), 2).shape == (0, 5)


def test_dependent_fields_are_those_whose_products_are():
    """Against the rank of all products Δ Δᵀ written out; and the weights that change none of them.

    Three fields of two directions are independent, four are not; the others are not named.
    """
    fields = np.random.default_rng(4).normal(size=(5, 4, 3))
    mixed = np.array([fields[1] + 0.4 * fields[3], fields[1] - 2 * fields[3]])
    for some, expected in (
        (fields, ()),
        (np.concatenate([fields, mixed[:1]]), ()),
        (np.concatenate([fields, mixed]), (1, 3, 5, 6)),
        (np.concatenate([fields, mixed, 3 * mixed[:1]]), (1, 3, 5, 6)),
        (fields[:1], ()),
    ):
        rows = some.reshape(len(some), 12)
        products = np.einsum("ki,kj->kij", rows, rows).reshape(len(rows), 144)
        assert dependent(some) == expected
        rank = np.linalg.matrix_rank(products)
        assert bool(expected) == (rank < len(rows))
        if expected:
            own = products[list(expected)]
            assert np.linalg.matrix_rank(own) == len(own) - 1


def test_alike_fields_are_named():
    """Turned over, of another size, and off by 1e-4: the same to a millionth, or not."""
    rng = np.random.default_rng(0)
    fields = rng.normal(size=(4, 30, 3))
    assert alike(fields) is None
    assert alike(np.concatenate([fields, -2 * fields[1:2]])) == (1, 4)
    assert alike(np.concatenate([fields, fields[2:3] + 0.01 * fields[3]])) is None


@pytest.mark.parametrize("shape", [(0, 5, 3), (0, 0, 3), (1, 5, 3)])
def test_of_fewer_than_two_none_are_alike(shape):
    """A model without modes has none that least squares could not tell apart."""
    assert alike(np.ones(shape)) is None
