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
from hpc_diffuser.kernels.vectors import WIDE, mix_rows
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
    taps, coarse = h_kernel[1].shape[1], volume.reshape(-1)
    for p in prange(len(planes)):
        low, high = _reach(k_kernel[0], l_kernel[0], taps, starts[p], columns, volume.shape)
        n_k, n_l = volume.shape[1:]
        mixed, row = np.empty(n_k * n_l, np.float32), np.empty(n_l, np.float32)
        plane = h_kernel[0][planes[p]] * n_k * n_l
        for k in range(n_k):
            if low[k] < high[k]:
                own = mixed[k * n_l : (k + 1) * n_l]
                weights = h_kernel[1][planes[p]]
                _mix(coarse, plane + k * n_l, n_k * n_l, weights, low[k], high[k], own)
        for k in range(starts.shape[1] - 1):
            places = columns[starts[p, k] : starts[p, k + 1]]
            if len(places) == 0:
                continue
            left, right = l_kernel[0][places[0]], l_kernel[0][places[-1]] + taps
            _mix(mixed, k_kernel[0][k] * n_l, n_l, k_kernel[1][k], left, right, row)
            _interpolate_row(row, l_kernel, places, values[starts[p, k] : starts[p, k + 1]])


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
def _mix(
    rows: Floats, first: int, stride: int, weights: Floats, low: int, high: int, out: Floats
) -> None:
    """out[i] = Σ_t w_t rows[first + t stride + i] from low to high, and maybe for some before."""
    if len(out) >= WIDE:
        for i in range(low, high, WIDE):
            i = max(min(i, high - WIDE), 0)  # the last ones once more, not what is behind the row
            mix_rows(out, i, rows, first + i, stride, weights, 0, len(weights))
        return
    for i in range(low, high):
        total = np.float32(0)
        for t in range(0, len(weights), 4):
            for u in (t + 1, t, t + 2, t + 3):  # as `mix_rows` adds
                total = fused(weights[u], rows[first + u * stride + i], total)
        out[i] = total


@njit(cache=True)
def _interpolate_row(row: Floats, l_kernel: AxisKernel, columns: Integers, values: Floats) -> None:
    """The points of one row from the samples about each."""
    taps = l_kernel[1].shape[1]
    # With a number that is known the compiler unrolls them: each of `scattering.interpolation`'s.
    if taps == 8:
        _dots(row, l_kernel, columns, 8, values)
    elif taps == 12:
        _dots(row, l_kernel, columns, 12, values)
    elif taps == 16:
        _dots(row, l_kernel, columns, 16, values)
    elif taps == 20:
        _dots(row, l_kernel, columns, 20, values)
    else:
        _dots(row, l_kernel, columns, taps, values)


@njit(cache=True, inline="always")
def _dots(row: Floats, l_kernel: AxisKernel, columns: Integers, taps: int, values: Floats) -> None:
    firsts, weights = l_kernel[0], l_kernel[1].reshape(-1)
    for v in range(len(columns)):
        values[v] = lanes_dot(row, firsts[columns[v]], weights, columns[v] * taps, taps)
