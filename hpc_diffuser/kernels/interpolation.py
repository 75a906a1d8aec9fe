"""Separable interpolation from a coarse volume onto chosen points of a finer grid.

    values(h, k, l) = Σ_i Σ_j Σ_m  w_i(h) w_j(k) w_m(l)  volume(f(h)+i, f(k)+j, f(l)+m)

One axis after the other, plane by plane: coarse planes are mixed into one, its rows into one row
for each row of points, and the row's samples into the points. Only the stretch of a row that its
points need is computed.

Every plane is computed by one thread, in the same order of operations whoever asks for it:
results do not depend on the number of threads or ranks.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.fused import fused, lanes_dot
from hpc_diffuser.system.arrays import Floats, Integers

AxisKernel = tuple[Integers, Floats]  # see `interpolate_planes`


@njit(cache=True, parallel=True)
def interpolate_planes(
    volume: Floats,
    h_kernel: AxisKernel,
    k_kernel: AxisKernel,
    l_kernel: AxisKernel,
    planes: Integers,
    starts: Integers,
    columns: Integers,
    values: Floats,
) -> None:
    """Interpolate the points of all planes into `values`.

    Parameters
    ----------
    volume : (H, K, L) float32
        C-contiguous.
    h_kernel, k_kernel, l_kernel : (first (n,) int, weights (n, taps) float32)
        For each of the n points of a fine axis, its first coarse sample and the weights from
        there on; taps a multiple of 4, the same along all axes.
    planes : (P,) int
        Each plane's place on the fine h axis.
    starts : (P, n_k + 1) int
        Where the points of each fine row of a plane start in `columns` and `values`.
    columns : (V,) int
        Each point's place on the fine l axis, increasing within a row.
    values : (V,) float32
        Changed in place.
    """
    taps = h_kernel[1].shape[1]
    for p in prange(len(planes)):
        low, high = _reach(k_kernel[0], l_kernel[0], taps, starts[p], columns, volume.shape)
        first = h_kernel[0][planes[p]]
        coarse = volume[first : first + taps]
        mixed = np.zeros((volume.shape[1], 1, volume.shape[2]), np.float32)
        for k in range(len(mixed)):
            _add_rows(coarse, k, h_kernel[1][planes[p]], low[k], high[k], mixed[k, 0])
        row = np.empty(volume.shape[2], np.float32)
        for k in range(starts.shape[1] - 1):
            own = columns[starts[p, k] : starts[p, k + 1]]
            if len(own) == 0:
                continue
            left, right = l_kernel[0][own[0]], l_kernel[0][own[-1]] + taps
            row[left:right] = 0
            first = k_kernel[0][k]
            _add_rows(mixed[first : first + taps], 0, k_kernel[1][k], left, right, row)
            _interpolate_row(row, l_kernel, own, values[starts[p, k] : starts[p, k + 1]])


@njit(cache=True, parallel=True)
def spread_rows(
    values: Floats,
    k_kernel: AxisKernel,
    l_kernel: AxisKernel,
    starts: Integers,
    columns: Integers,
    mixed: Floats,
) -> None:
    """The transpose along k and l: from points to the mixed coarse plane of each of their planes.

    Parameters
    ----------
    values : (V,) float32
    k_kernel, l_kernel, starts, columns
        As of `interpolate_planes`.
    mixed : (P, K, L) float32
        Overwritten.
    """
    taps = k_kernel[1].shape[1]
    for p in prange(len(mixed)):
        mixed[p] = 0
        row = np.empty(mixed.shape[2], np.float32)
        for k in range(starts.shape[1] - 1):
            own = columns[starts[p, k] : starts[p, k + 1]]
            if len(own) == 0:
                continue
            left, right = l_kernel[0][own[0]], l_kernel[0][own[-1]] + taps
            row[left:right] = 0
            _spread_row(values[starts[p, k] : starts[p, k + 1]], l_kernel, own, row)
            for t in range(taps):
                weight, out = k_kernel[1][k, t], mixed[p, k_kernel[0][k] + t]
                for i in range(left, right):
                    out[i] += weight * row[i]


@njit(cache=True, parallel=True)
def spread_planes(
    mixed: Floats, order: Integers, h_kernel: AxisKernel, planes: Integers, volume: Floats
) -> None:
    """The transpose along h: mixed planes added to the coarse ones that they were mixed from.

    Parameters
    ----------
    mixed : (P, K, L) float32
    order : (P,) int
        In which they are added, to every coarse plane.
    h_kernel, planes
        As of `interpolate_planes`.
    volume : (H, K, L) float32
        Overwritten.
    """
    taps = h_kernel[1].shape[1]
    for h in prange(len(volume)):
        volume[h] = 0
        for p in order:
            t = h - h_kernel[0][planes[p]]
            if 0 <= t < taps:
                weight = h_kernel[1][planes[p], t]
                for k in range(volume.shape[1]):
                    for i in range(volume.shape[2]):
                        volume[h, k, i] += weight * mixed[p, k, i]


@njit(cache=True)
def _spread_row(values: Floats, l_kernel: AxisKernel, columns: Integers, row: Floats) -> None:
    """Add the points of one row to the samples about each."""
    for v in range(len(columns)):
        first, weights = l_kernel[0][columns[v]], l_kernel[1][columns[v]]
        for t in range(len(weights)):
            row[first + t] += weights[t] * values[v]


@njit(cache=True)
def _reach(
    k_first: Integers,
    l_first: Integers,
    taps: int,
    starts: Integers,
    columns: Integers,
    shape: tuple[int, ...],
) -> tuple[Integers, Integers]:
    """From where to where each coarse row of a plane is needed: two of (K,) int."""
    low, high = np.full(shape[1], shape[2]), np.zeros(shape[1], np.int64)
    for k in range(len(starts) - 1):
        own = columns[starts[k] : starts[k + 1]]
        if len(own) > 0:
            for row in range(k_first[k], k_first[k] + taps):
                low[row] = min(low[row], l_first[own[0]])
                high[row] = max(high[row], l_first[own[-1]] + taps)
    return low, high


@njit(cache=True)
def _add_rows(stack: Floats, row: int, weights: Floats, low: int, high: int, out: Floats) -> None:
    """out += Σ_t w_t stack[t, row], from low to high."""
    total = out[low:high]
    for t in range(0, len(weights), 4):
        # Four at a time: `total` is read and written a quarter as often.
        a, b = stack[t, row, low:high], stack[t + 1, row, low:high]
        c, d = stack[t + 2, row, low:high], stack[t + 3, row, low:high]
        w_a, w_b, w_c, w_d = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for i in range(len(total)):
            value = fused(w_a, a[i], fused(w_b, b[i], total[i]))
            total[i] = fused(w_d, d[i], fused(w_c, c[i], value))


@njit(cache=True)
def _interpolate_row(row: Floats, l_kernel: AxisKernel, columns: Integers, values: Floats) -> None:
    """The points of one row from the samples about each."""
    firsts, taps = l_kernel[0], l_kernel[1].shape[1]
    weights = l_kernel[1].reshape(-1)
    for v in range(len(columns)):
        values[v] = lanes_dot(row, firsts[columns[v]], weights, columns[v] * taps, taps)
