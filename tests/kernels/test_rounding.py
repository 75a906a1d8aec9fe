"""Sums of rounded numbers: exact, so the same in any order, and near to those of plain ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpc_diffuser.kernels.rounding import large_number, rounded

BOUNDS = st.floats(1e-30, 1e30)


@given(BOUNDS, st.integers(0, 2**32))
def test_the_order_does_not_matter(bound, seed):
    """Numbers of any size whose absolute values add up to the bound: against Python's integers."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=200) * 10.0 ** rng.uniform(-12, 0, 200)
    numbers *= bound / np.abs(numbers).sum()
    large = large_number(bound)
    step = np.spacing(large)
    parts = rounded(numbers, large)
    assert np.abs(parts - numbers).max() <= step / 2
    assert step <= bound * 2.0**-50
    exact = sum(int(part / step) for part in parts)
    for order in (np.arange(200), rng.permutation(200), np.argsort(numbers)):
        total = 0.0
        for part in parts[order]:
            total += part
        assert total == exact * step
    first, second = parts[::2].sum(), parts[1::2].sum()
    assert first + second == parts.sum() == exact * step


def test_nothing_is_lost_of_what_is_no_number():
    """A sum with a NaN is one."""
    assert np.isnan(rounded(np.nan, large_number(1.0)))
