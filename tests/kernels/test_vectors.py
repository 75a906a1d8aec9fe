"""Sums of products in vectors, against the same in plain Python and in exact arithmetic."""

import numpy as np
from numba import njit
from test_fused import exact

from hpc_diffuser.kernels.vectors import (
    ROW,
    WIDE,
    add_squares,
    add_three,
    mix_rows,
    put_waves,
)


@njit
def _add_three(total, i, x, y, z, rows, j):
    add_three(total, i, x, y, z, rows, j)


@njit
def _add_squares(sums, i, quadrant, halves, j, parity, table, k, odd, width, n):
    add_squares(sums, i, quadrant, halves, j, parity, table, k, odd, width, n)


@njit
def _put_waves(real, imaginary, i, quadrant, halves, j, parity, table, k, odd, width, n):
    put_waves(real, imaginary, i, quadrant, halves, j, parity, table, k, odd, width, n)


@njit
def _mix_rows(mixed, i, rows, j, stride, weights, k, n):
    mix_rows(mixed, i, rows, j, stride, weights, k, n)


def numbers(seed, size):
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def test_order_of_three_products():
    """To the last bit as its description says, and nothing but the row is changed."""
    total, rows = numbers(1, 30), numbers(2, 80)
    i, j, factors = 5, 3, (np.float32(0.3), np.float32(-1.7), np.float32(0.01))
    expected, plain = total.copy(), total.copy()
    for n in range(ROW):
        for row, factor in enumerate(factors):
            expected[i + n] = exact(factor, rows[j + row * ROW + n], expected[i + n])
    add_three(plain, i, *factors, rows, j)
    _add_three(total, i, *factors, rows, j)
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_allclose(plain, expected, rtol=1e-5, err_msg="as plain Python")


def test_order_of_mixed_rows():
    """To the last bit as its description says: of four rows the second first."""
    rows, weights = numbers(1, 9 * (WIDE + 5)), numbers(2, 12)
    found, plain = np.zeros((2, WIDE + 3), np.float32)
    _mix_rows(found, 2, rows, 4, WIDE + 5, weights, 3, 8)
    mix_rows(plain, 2, rows, 4, WIDE + 5, weights, 3, 8)
    for c in range(WIDE):
        total = np.float32(0)
        for t in (1, 0, 2, 3, 5, 4, 6, 7):
            total = exact(weights[3 + t], rows[4 + t * (WIDE + 5) + c], total)
        assert found[2 + c] == total
    np.testing.assert_allclose(plain, found, rtol=1e-4, atol=1e-5)


def test_transform_along_z():
    """F of the four quadrants, and |F|², are of a sum over the whole box of a complex density."""
    n, width, n_k = 6, 2 * ROW, 3
    rng = np.random.default_rng(3)
    box = rng.normal(size=(2 * n_k, 2 * n)) + 1j * rng.normal(size=(2 * n_k, 2 * n))
    y, z = np.arange(2 * n_k) - n_k + 0.5, np.arange(2 * n) - n + 0.5
    k, l = 0.3, np.arange(ROW) * 0.11  # noqa: E741
    halves = np.empty((4, 2, n))
    for number, (y_odd, z_odd) in enumerate(np.ndindex(2, 2)):
        along_y = (np.sin if y_odd else np.cos)(k * y) @ box
        upper, lower = along_y[n:], along_y[n - 1 :: -1]
        part = upper - lower if z_odd else upper + lower
        halves[number] = part.real, part.imag
    table = np.zeros((2, n, width))
    table[0, :, :ROW], table[1, :, :ROW] = np.cos(np.outer(z[n:], l)), np.sin(np.outer(z[n:], l))
    found, plain = np.ones((2, 4 * ROW), np.float32)
    arrays = [a.astype(np.float32).ravel() for a in (halves, table)]
    place = (0, ROW, arrays[0], 0, 2 * n, arrays[1], 0, n * width, width, n)
    _add_squares(found, *place)
    add_squares(plain, *place)
    parts = np.zeros((2, 2, 4 * ROW), np.float32)
    _put_waves(*parts[0], *place)
    put_waves(*parts[1], *place)
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    for quadrant, (of_k, of_l) in enumerate(signs):
        waves = np.exp(1j * of_k * k * y) @ box @ np.exp(1j * of_l * np.outer(z, l))
        own = slice(quadrant * ROW, (quadrant + 1) * ROW)
        np.testing.assert_allclose(found[own], 1 + np.abs(waves) ** 2, rtol=1e-4)
        np.testing.assert_allclose(parts[0][0, own] + 1j * parts[0][1, own], waves, rtol=1e-4)
    np.testing.assert_allclose(plain, found, rtol=1e-4)
    np.testing.assert_allclose(parts[1], parts[0], rtol=1e-3, atol=1e-4)
