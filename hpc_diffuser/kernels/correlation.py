"""Sums over the voxels of two maps, plane by plane.

Every plane's sums are made by one thread, in the order of its voxels: results do not depend on
the number of threads or ranks.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numba import njit, prange

from hpc_diffuser.system.arrays import Floats, Integers, read_only


def _reading_two_maps(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel, compiled once, with its first two arrays as such that may not be written.

    A target that the ranks of a node share may not be, any other map may: for each of the two
    kinds numba would compile it anew.
    """

    @wraps(kernel)
    def call(x: Floats, y: Floats, *others: Any) -> Any:
        return kernel(read_only(x), read_only(y), *others)

    return call


@_reading_two_maps
@njit(cache=True, parallel=True)
def moment_sums(
    x: Floats, y: Floats, weights: Floats | None, bins: Integers, starts: Integers, n_bins: int
) -> Floats:
    """Σwx, Σwx² and Σwxy in every bin of every plane, in double precision.

    Parameters
    ----------
    x, y : (V,) float
    weights : (V,) float64, or None for 1
    bins : (V,) int
        Each voxel's bin in its plane.
    starts : (P+1,) int
        Where the voxels of each plane start.
    n_bins : int

    Returns
    -------
    (P, n_bins, 3) float64
    """
    sums = np.zeros((len(starts) - 1, n_bins, 3))
    for p in prange(len(starts) - 1):
        own = sums[p]
        for v in range(starts[p], starts[p + 1]):
            value = np.float64(x[v])
            weighted = value if weights is None else weights[v] * value
            own[bins[v], 0] += weighted
            own[bins[v], 1] += weighted * value
            own[bins[v], 2] += weighted * y[v]
    return sums


@_reading_two_maps
@njit(cache=True, parallel=True)
def binned_slopes(
    x: Floats,
    y: Floats,
    weights: Floats | None,
    bins: Integers,
    starts: Integers,
    of_bins: Floats,
    slopes: Floats,
) -> None:
    """w (a y + b x + c) of every voxel, with a, b, c those of its bin.

    Parameters
    ----------
    x, y, weights, bins, starts
        As of `moment_sums`.
    of_bins : (n_bins, 3) float64
    slopes : (V,) float64
        Overwritten.
    """
    for p in prange(len(starts) - 1):
        for v in range(starts[p], starts[p + 1]):
            own = of_bins[bins[v]]
            slope = own[0] * np.float64(y[v]) + own[1] * np.float64(x[v]) + own[2]
            slopes[v] = slope if weights is None else weights[v] * slope
