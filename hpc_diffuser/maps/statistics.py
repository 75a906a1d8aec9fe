"""Correlation of two maps by resolution shell, from sums that can be added plane by plane."""

from collections.abc import Iterator

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, grid_to_resolution
from hpc_diffuser.system.arrays import Floats, Integers

N_SUMS = 6  # Σw, Σwx, Σwy, Σwx², Σwy², Σwxy


def shell_edges(d_max: float, d_min: float, n_shells: int) -> Floats:
    """(n+1,) edges in 1/d (Å⁻¹), equally wide, from low to high resolution (Å)."""
    return np.linspace(1 / d_max, 1 / d_min, n_shells + 1)


def shell_index(inverse_d: Floats, edges: Floats) -> Integers:
    """Shell, from 0, of voxels at 1/d (V,) Å⁻¹ between edges (n+1,) Å⁻¹: (V,) int.

    The outermost edges belong to the outermost shells, and what lies beyond them too.
    """
    return np.clip(np.searchsorted(edges, inverse_d, side="right") - 1, 0, len(edges) - 2)


def correlation_sums(
    x: Floats, y: Floats, weights: Floats | None, bins: Integers, n_bins: int
) -> Floats:
    """The six sums a weighted Pearson correlation needs, in double precision, per bin.

    `np.bincount` adds in the order of the voxels, so that equal input gives equal bits.

    Parameters
    ----------
    x, y : (V,) float
    weights : (V,) float, or None for 1
    bins : (V,) int
    n_bins : int

    Returns
    -------
    (n_bins, 6) float
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    w = np.ones_like(x) if weights is None else weights.astype(np.float64)
    terms = (w, w * x, w * y, w * x * x, w * y * y, w * x * y)
    return np.stack([np.bincount(bins, term, n_bins) for term in terms], axis=1)


def shell_statistics(
    intensity: Floats, grid: HklGrid, edges: Floats
) -> tuple[Integers, Integers, Floats, Floats]:
    """What a map holds in each resolution shell; voxels beyond the map count as not measured.

    Parameters
    ----------
    intensity : (H, K, L) float
        NaN where not measured.
    grid : HklGrid
    edges : (n+1,) float, Å⁻¹
        In 1/d.

    Returns
    -------
    possible, measured : (n,) int
        Voxels of reciprocal space, all mates counted, and those that are not NaN.
    mean, deviation : (n,) float
        Of the measured intensities; NaN in empty shells.
    """
    n = len(edges) - 1
    sums = np.zeros((3, n))
    for plane, s in zip(intensity, inverse_d_planes(grid), strict=True):
        inside = np.isfinite(plane) & (s >= edges[0]) & (s <= edges[-1])
        values, shells = plane[inside].astype(np.float64), shell_index(s[inside], edges)
        sums += [np.bincount(shells, w, n) for w in (np.ones_like(values), values, values**2)]
    possible = np.zeros(n, np.int64)
    for s in inverse_d_planes(grid_to_resolution(grid.unit_cell, grid.divisions, 1 / edges[-1])):
        possible += np.histogram(s, edges)[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums[1] / sums[0]
        variance = np.maximum(sums[2] / sums[0] - mean**2, 0)
    return possible, sums[0].astype(np.int64), mean, np.sqrt(variance)


def resolution_range(intensity: Floats, grid: HklGrid) -> tuple[float, float]:
    """Least and largest 1/d (Å⁻¹) of the measured voxels of a map (H, K, L); one must be there."""
    found = [
        s[np.isfinite(plane)] for plane, s in zip(intensity, inverse_d_planes(grid), strict=True)
    ]
    ends = [(s.min(), s.max()) for s in found if len(s)]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def inverse_d_planes(grid: HklGrid) -> Iterator[Floats]:
    """1/d in Å⁻¹ of all samples of a grid, plane by plane: (K, L)."""
    h, k, l = (np.arange(-e, e + 1) for e in grid.extent)  # noqa: E741
    m = grid.metric()
    plane = m[1, 1] * k[:, None] ** 2 + m[2, 2] * l**2 + 2 * m[1, 2] * k[:, None] * l
    for i in h:
        s2 = m[0, 0] * i * i + 2 * i * (m[0, 1] * k[:, None] + m[0, 2] * l) + plane
        yield np.sqrt(np.maximum(s2, 0))


def correlations(sums: Floats) -> Floats:
    """Weighted Pearson CC from sums (..., 6); NaN where a map has no variation."""
    return _pearson(*_central_moments(sums))


def cc_star(cc_half: Floats | float) -> Floats:
    """CC* = √(2 CC½ / (1 + CC½)) (Karplus & Diederichs 2012); NaN where CC½ is negative.

    Of a number or an array, of the same shape.

    An estimate of the CC of the whole data with the signal in them, which no model can pass,
    if the errors of the two halves are independent.
    """
    known = np.asarray(cc_half, np.float64)
    positive = np.where(known >= 0, known, np.nan)
    cc_true: Floats = np.sqrt(2 * positive / (1 + positive))
    return cc_true


def shell_mean_cc(sums: Floats) -> float:
    """Mean over the shells of the CC in each (the paper's Eq. 13); sums (n_shells, 6).

    Empty shells do not count; a shell without variation makes the score NaN.
    """
    filled = sums[sums[:, 0] > 0]
    return float(np.mean(correlations(filled))) if len(filled) else float("nan")


def pooled_cc(sums: Floats) -> float:
    """One CC over all voxels, after the mean of each shell is subtracted; sums (n_shells, 6)."""
    filled = sums[sums[:, 0] > 0]
    return float(_pearson(*(moment.sum() for moment in _central_moments(filled))))


def score_slopes(sums: Floats, rule: str) -> Floats:
    """What a score changes by with the first map's voxels.

    With u = x − x̄ and t = y − ȳ of the shells, ρ = C_ut/√(C_uu C_tt) and

        ∂ρ/∂x_v = w_v [t_v/√(C_uu C_tt) − ρ u_v/C_uu].

    Parameters
    ----------
    sums : (n_shells, 6) float
        Without empty shells.
    rule : {"shell-mean", "pooled"}

    Returns
    -------
    (n_shells, 3) float
        a, b and c of each shell: ∂score/∂x = w (a y + b x + c); 0 where a map has no variation.
    """
    w, x, y = sums[:, 0], sums[:, 1], sums[:, 2]
    covariance, var_x, var_y = (
        np.broadcast_to(moment.sum() if rule == "pooled" else moment, w.shape)
        for moment in _central_moments(sums)
    )
    varied = (var_x > 0) & (var_y > 0)
    var_x, var_y = np.where(varied, var_x, 1.0), np.where(varied, var_y, 1.0)
    count = 1 if rule == "pooled" else len(w)
    of_y = np.where(varied, 1 / np.sqrt(var_x * var_y), 0.0) / count
    of_x = -of_y * covariance / var_x
    return np.stack([of_y, of_x, -(of_y * y + of_x * x) / w], axis=1)


SCORES = {"shell-mean": shell_mean_cc, "pooled": pooled_cc}


def _central_moments(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Covariance and the two variances, each times Σw."""
    w, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        moments = xy - x * y / w, xx - x * x / w, yy - y * y / w
    # What rounding leaves of a constant map's variance is not variance.
    floor = 1e-13
    return moments[0], _above(moments[1], xx * floor), _above(moments[2], yy * floor)


def _pearson(covariance: Floats, var_x: Floats, var_y: Floats) -> Floats:
    product = np.asarray(var_x * var_y)
    varied = product > 0
    return np.where(varied, covariance / np.sqrt(np.where(varied, product, 1)), np.nan)


def _above(variance: Floats, floor: Floats) -> Floats:
    return np.where(variance > floor, variance, 0.0)
