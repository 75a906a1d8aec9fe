"""Sums with the same bits in any order and on any ranks: of numbers rounded to multiples of a step.

A sum of multiples of one step is exact in double precision while it has less than 2⁵³ of them. So
it is the same whoever adds what first: work can be divided as finely, and as unevenly, as it likes.
"""

import math
from typing import Any

from numba.extending import register_jitable

TOGETHER = 2  # configurations that are added in single precision before their sum is rounded


def large_number(bound: float) -> float:
    """What `rounded` takes for sums that no part of is larger than `bound`.

    The step is 2⁻⁵¹ of the bound at most, 2⁻⁵² at least; sums up to four times the bound are exact.
    """
    return 1.5 * 2.0 ** (math.ceil(math.log2(max(bound, 1e-200))) + 1)


@register_jitable
def rounded(x: Any, large: float) -> Any:
    """x to the nearest multiple of a step, which is the last digit of a large number (Dekker)."""
    return (x + large) - large
