"""A function of distance, added up over the images of every point of a periodic box.

    folded(u) = Σ_R b(|u + R|),   R the box's lattice vectors, up to a reach.

Every plane is computed by one thread, its images in one order: the bits do not depend on the
number of threads.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.system.arrays import Complexes, Floats, Integers


@njit(cache=True, parallel=True)
def fold_radial(
    table: Complexes, step: float, metric: Floats, reach: Integers, folded: Complexes
) -> None:
    """Add up the images of all points into `folded`.

    Parameters
    ----------
    table : (n,) complex64
        b at distances 0, step, 2 step, ...: what lies at (n − 2) steps or farther is left out.
    step : float, Å
    metric : (3, 3) float, Å²
        Products of the vectors from a point to its next along each axis.
    reach : (3,) int
        Points along each axis that the sphere of that radius holds, to one side.
    folded : (N, K, L) complex64
        Changed in place.
    """
    n_h, n_k, n_l = folded.shape
    radius = (len(table) - 2) * step
    for h in prange(n_h):
        plane = np.zeros((n_k, n_l), np.complex128)
        first = h - (h + reach[0]) // n_h * n_h
        for i in range(first, reach[0] + 1, n_h):
            for j in range(-reach[1], reach[1] + 1):
                along = metric[0, 2] * i + metric[1, 2] * j
                rest = metric[0, 0] * i * i + 2 * metric[0, 1] * i * j + metric[1, 1] * j * j
                middle = -along / metric[2, 2]
                left = (radius * radius - rest) / metric[2, 2] + middle * middle
                if left <= 0:
                    continue
                half = np.sqrt(left)
                low, high = int(np.ceil(middle - half)), int(np.floor(middle + half))
                k, l = j % n_k, low % n_l  # noqa: E741
                for m in range(low, high + 1):
                    squared = rest + (2 * along + metric[2, 2] * m) * m
                    place = np.sqrt(max(squared, 0.0)) / step
                    below = int(place)
                    if below < len(table) - 1:
                        part = place - below
                        plane[k, l] += (1 - part) * table[below] + part * table[below + 1]
                    l += 1  # noqa: E741
                    if l == n_l:
                        l = 0  # noqa: E741
        for k in range(n_k):
            for l in range(n_l):  # noqa: E741
                folded[h, k, l] = plane[k, l]
