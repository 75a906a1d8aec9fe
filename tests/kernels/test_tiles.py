"""Products of tiles and of lanes, against the same in plain Python and in exact arithmetic."""

import numpy as np
from numba import njit
from test_fused import exact
from test_vectors import numbers

from hpc_diffuser.kernels.tiles import TILE, multiply_tile, sum_products


@njit
def _multiply_tile(product, i, wide, left, j, long, right, k, width, n):
    multiply_tile(product, i, wide, left, j, long, right, k, width, n)


@njit
def _sum_products(totals, one, other, n):
    sum_products(totals, one, other, n)


def test_order_of_a_tile():
    """Every number of the product is summed in the order of t, each time rounded once."""
    rows, columns = TILE
    n, wide, long, width = 5, columns + 3, 7, columns + 9
    left, right = numbers(1, rows * long + 2), numbers(2, n * width + 4)
    found, plain = np.zeros((2, rows * wide + 1), np.float32)
    place = (1, wide, left, 2, long, right, 4, width, n)
    _multiply_tile(found, *place)
    multiply_tile(plain, *place)
    for r in range(rows):
        for c in range(0, columns, 7):
            total = np.float32(0)
            for t in range(n):
                total = exact(left[2 + r * long + t], right[4 + t * width + c], total)
            assert found[1 + r * wide + c] == total
    np.testing.assert_allclose(plain, found, rtol=1e-4, atol=1e-5)


def test_order_of_products_of_lanes():
    """In double precision, in the order of t: to the last bit; the rest is left as it is."""
    n, width = 7, TILE[1]
    one, other = numbers(1, n * width + 3), numbers(2, n * width + 1)
    found, plain = np.full((2, width + 2), 5.0)
    _sum_products(found, one, other, n)
    sum_products(plain, one, other, n)
    expected = np.full(width + 2, 5.0)
    for c in range(width):
        total = 0.0
        for t in range(n):
            total += float(one[t * width + c]) * float(other[t * width + c])
        expected[c] = total
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(plain, expected)
