"""The molecular transform on planes of constant h, as an exact sum over atoms.

    F(h,k,l) = Σ_e f_e(s) Σ_{a∈e} o_a exp 2πi(h x_a + k y_a + l z_a)

The exponential is a product of three, one for each index, so that a plane is a matrix product
over the atoms of each element. Rows ±k and columns ±l share the cosines and sines: a plane is
computed as four quadrants about a centre (k_c, l_c) that sits in the middle of the resolution
sphere's section, and every array over a plane has the shape (4, K+1, L+1), quadrants in the
order (+k,+l), (+k,−l), (−k,+l), (−k,−l).

Every plane is computed by one thread, in the same order of operations whoever asks for it:
results do not depend on the number of threads or ranks. BLAS must run on one thread.
"""

import numpy as np
from numba import njit, prange

from hpc_diffuser.kernels.rounding import rounded
from hpc_diffuser.system.arrays import Floats, Integers

TILE = 16  # rows of k per matrix product: 64 x atoms x L is near the peak rate, and prunes well

# See `add_moments`.
Atoms = tuple[Integers, Floats]
Planes = tuple[Integers, Integers, Integers, Integers, Integers, Integers]
FormFactors = tuple[Floats, float, Floats]


@njit(cache=True, parallel=True)
def phase_tables(turns: Floats, axis: int, extent: int, element_offsets: Integers) -> Floats:
    """Cosines and sines of 2π n x for n = 0..extent, for every sample and atom.

    Parameters
    ----------
    turns : (S, N, 3) float64
        Fractional coordinates over the divisions: x/n_h, y/n_k, z/n_l.
    axis, extent : int
    element_offsets : (E+1,) int
        Atoms of element e are those from offset e up to offset e+1.

    Returns
    -------
    (S, 2·(extent+1)·N) float32
        For each element a block of cosines (extent+1, n_e), then one of sines.
    """
    n_samples, n_atoms = turns.shape[:2]
    rows = extent + 1
    table = np.empty((n_samples, 2 * rows * n_atoms), np.float32)
    for s in prange(n_samples):
        for e in range(len(element_offsets) - 1):
            first, last = element_offsets[e], element_offsets[e + 1]
            n = last - first
            cosines = table[s, 2 * rows * first : 2 * rows * first + rows * n]
            sines = table[s, 2 * rows * first + rows * n : 2 * rows * last]
            for a in range(n):
                # e^{2πinx} by repeated multiplication in double: 200 steps cost 1e-14.
                angle = 2 * np.pi * turns[s, first + a, axis]
                step_c, step_s = np.cos(angle), np.sin(angle)
                c, d = 1.0, 0.0
                for i in range(rows):
                    cosines[i * n + a] = c
                    sines[i * n + a] = d
                    c, d = c * step_c - d * step_s, c * step_s + d * step_c
    return table


@njit(cache=True, parallel=True)
def structure_factors(
    turns: Floats,
    k_table: Floats,
    l_table: Floats,
    k_rows: int,
    l_rows: int,
    atoms: Atoms,
    planes: Planes,
    form_factors: FormFactors,
    real: Floats,
    imaginary: Floats,
) -> None:
    """F of one configuration on all planes, in electrons, into `real` and `imaginary`: (V,) float.

    See `add_moments` for the other arguments.
    """
    offsets = planes[3]
    for plane in prange(len(offsets) - 1):
        p = np.int64(plane)  # see `density_adjoint.gather`
        shape = (4, planes[2][p, 0] + 1, planes[2][p, 1] + 1)
        weights = _plane_form_factors(p, planes, form_factors, shape)
        f_re = real[offsets[p] : offsets[p + 1]].reshape(shape)
        f_im = imaginary[offsets[p] : offsets[p + 1]].reshape(shape)
        _transform(
            turns[0], k_table[0], l_table[0], k_rows, l_rows, atoms, p, planes, weights, f_re, f_im
        )


@njit(cache=True, parallel=True)
def add_moments(
    sample_weights: Floats,
    turns: Floats,
    k_table: Floats,
    l_table: Floats,
    k_rows: int,
    l_rows: int,
    atoms: Atoms,
    planes: Planes,
    form_factors: FormFactors,
    mean_re: Floats,
    mean_im: Floats,
    exact: tuple[int, Floats, Floats],
) -> None:
    """Add Σ w D and Σ w |D|² over configurations, D = F − F₀, to running sums on all planes.

    Parameters
    ----------
    sample_weights : (S,) float32
        w; with 1 everywhere the sums have the bits of plain ones.
    turns : (S, N, 3) float64
        Fractional coordinates over the divisions.
    k_table, l_table : (S, ·) float32
        `phase_tables` of axes 1 and 2.
    k_rows, l_rows : int
        Their extent + 1.
    atoms : (element_offsets (E+1,) int, occupancies (N,) float32)
    planes : (h (P,), centres (P, 2), halves (P, 2), offsets (P+1,), row_halves, row_offsets (P+1,))
        Integer sample indices: the plane's h; its centre k_c, l_c; its half-sizes K, L; where
        its values start; for each row 0..K how far l reaches from the centre (−1: nowhere).
    form_factors : (table (T, E) float32, steps per Å⁻², metric (3, 3) Å⁻²)
        f_e on equidistant |s|², and |s|² of the indices.
    mean_re, mean_im : (V,) float32
        F₀.
    exact : (together, large (3,) float64, sums (3, V) float64)
        As of `density.add_moments`.
    """
    offsets = planes[3]
    for plane in prange(len(offsets) - 1):
        p = np.int64(plane)  # see `density_adjoint.gather`
        shape = (4, planes[2][p, 0] + 1, planes[2][p, 1] + 1)
        first, last = offsets[p], offsets[p + 1]
        weights = _plane_form_factors(p, planes, form_factors, shape)
        f_re, f_im = np.empty(shape, np.float32), np.empty(shape, np.float32)
        part = np.zeros((3, last - first), np.float32)
        for s in range(len(turns)):
            _transform(
                turns[s],
                k_table[s],
                l_table[s],
                k_rows,
                l_rows,
                atoms,
                p,
                planes,
                weights,
                f_re,
                f_im,
            )
            re, im = f_re.reshape(-1), f_im.reshape(-1)
            weight = sample_weights[s]
            for v in range(last - first):
                d_re = re[v] - mean_re[first + v]
                d_im = im[v] - mean_im[first + v]
                part[0, v] += weight * d_re
                part[1, v] += weight * d_im
                part[2, v] += weight * (d_re * d_re + d_im * d_im)
            if (s + 1) % exact[0] == 0 or s == len(turns) - 1:
                for c in range(3):
                    for v in range(last - first):
                        exact[2][c, first + v] += rounded(np.float64(part[c, v]), exact[1][c])
                part[:] = 0


@njit(cache=True)
def _plane_form_factors(
    p: np.int64, planes: Planes, form_factors: FormFactors, shape: tuple[int, int, int]
) -> Floats:
    """f_e at every voxel of plane p: (E, 4, K+1, L+1), by linear interpolation in |s|²."""
    table, per_s2, metric = form_factors
    h, k_c, l_c = planes[0][p], planes[1][p, 0], planes[1][p, 1]
    n_elements, last = table.shape[1], len(table) - 2
    weights = np.empty((n_elements, *shape), np.float32)
    for quadrant in range(4):
        k_sign, l_sign = 1 - 2 * (quadrant // 2), 1 - 2 * (quadrant % 2)
        for k_row in range(shape[1]):
            k = k_c + k_sign * k_row
            for l_row in range(shape[2]):
                l = l_c + l_sign * l_row  # noqa: E741
                s2 = (
                    metric[0, 0] * h * h
                    + metric[1, 1] * k * k
                    + metric[2, 2] * l * l
                    + 2 * (metric[0, 1] * h * k + metric[0, 2] * h * l + metric[1, 2] * k * l)
                )
                position = s2 * per_s2
                # Corners of the section beyond the resolution limit are never used.
                i = min(int(position), last)
                fraction = min(position - i, 1.0)
                for e in range(n_elements):
                    low, high = table[i, e], table[i + 1, e]
                    weights[e, quadrant, k_row, l_row] = low + fraction * (high - low)
    return weights


@njit(cache=True)
def _transform(
    turns: Floats,
    k_table: Floats,
    l_table: Floats,
    k_rows: int,
    l_rows: int,
    atoms: Atoms,
    p: np.int64,
    planes: Planes,
    weights: Floats,
    f_re: Floats,
    f_im: Floats,
) -> None:
    """F of one configuration on plane p, into f_re, f_im of shape (4, K+1, L+1)."""
    element_offsets, occupancies = atoms
    phase_c, phase_s = _plane_phases(turns, occupancies, planes[0][p], planes[1][p])
    row_halves = planes[4][planes[5][p] : planes[5][p + 1]]
    f_re[:] = 0
    f_im[:] = 0
    for top in range(0, f_re.shape[1], TILE):
        n_rows = min(TILE, f_re.shape[1] - top)
        n_cols = row_halves[top : top + n_rows].max() + 1
        if n_cols == 0:
            continue
        for e in range(len(element_offsets) - 1):
            first, last = element_offsets[e], element_offsets[e + 1]
            n = last - first
            if n == 0:
                continue
            start = 2 * k_rows * first + top * n
            k_cos = k_table[start : start + n_rows * n].reshape(n_rows, n)
            start += k_rows * n
            k_sin = k_table[start : start + n_rows * n].reshape(n_rows, n)
            left = _left_factor(phase_c[first:last], phase_s[first:last], k_cos, k_sin)
            start = 2 * l_rows * first
            l_cos = l_table[start : start + n_cols * n].reshape(n_cols, n)
            start += l_rows * n
            l_sin = l_table[start : start + n_cols * n].reshape(n_cols, n)
            with_cos, with_sin = np.dot(left, l_cos.T), np.dot(left, l_sin.T)
            _add_quadrants(with_cos, with_sin, weights[e], top, f_re, f_im)


@njit(cache=True)
def _plane_phases(
    turns: Floats, occupancies: Floats, h: int, centre: Integers
) -> tuple[Floats, Floats]:
    """o_a times cosine and sine of 2π(h x + k_c y + l_c z)."""
    n_atoms = len(turns)
    cosine, sine = np.empty(n_atoms, np.float32), np.empty(n_atoms, np.float32)
    for a in range(n_atoms):
        angle = 2 * np.pi * (h * turns[a, 0] + centre[0] * turns[a, 1] + centre[1] * turns[a, 2])
        cosine[a] = occupancies[a] * np.cos(angle)
        sine[a] = occupancies[a] * np.sin(angle)
    return cosine, sine


@njit(cache=True)
def _left_factor(phase_c: Floats, phase_s: Floats, k_cos: Floats, k_sin: Floats) -> Floats:
    """The rows cos φ cos ky, sin φ cos ky, cos φ sin ky, sin φ sin ky: (4·rows, n) float32."""
    rows, n = k_cos.shape
    left = np.empty((4 * rows, n), np.float32)
    for k in range(rows):
        for a in range(n):
            left[k, a] = phase_c[a] * k_cos[k, a]
            left[rows + k, a] = phase_s[a] * k_cos[k, a]
            left[2 * rows + k, a] = phase_c[a] * k_sin[k, a]
            left[3 * rows + k, a] = phase_s[a] * k_sin[k, a]
    return left


@njit(cache=True)
def _add_quadrants(
    with_cos: Floats, with_sin: Floats, weights: Floats, top: int, f_re: Floats, f_im: Floats
) -> None:
    """Combine the eight real products into F at (±k, ±l), times the form factor.

    e^{iφ}(P ± iQ)(C ± iS) with P, Q = cos, sin ky and C, S = cos, sin lz. A column of
    `with_cos` holds cφPC, sφPC, cφQC, sφQC; `with_sin` the same with S.
    """
    rows = len(with_cos) // 4
    n_cols = with_cos.shape[1]
    for k in range(rows):
        for column in range(n_cols):
            cpc, spc = with_cos[k, column], with_cos[rows + k, column]
            cqc, sqc = with_cos[2 * rows + k, column], with_cos[3 * rows + k, column]
            cps, sps = with_sin[k, column], with_sin[rows + k, column]
            cqs, sqs = with_sin[2 * rows + k, column], with_sin[3 * rows + k, column]
            f_re[0, top + k, column] += weights[0, top + k, column] * (cpc - cqs - sqc - sps)
            f_im[0, top + k, column] += weights[0, top + k, column] * (spc - sqs + cqc + cps)
            f_re[1, top + k, column] += weights[1, top + k, column] * (cpc + cqs - sqc + sps)
            f_im[1, top + k, column] += weights[1, top + k, column] * (spc + sqs + cqc - cps)
            f_re[2, top + k, column] += weights[2, top + k, column] * (cpc + cqs + sqc - sps)
            f_im[2, top + k, column] += weights[2, top + k, column] * (spc + sqs - cqc + cps)
            f_re[3, top + k, column] += weights[3, top + k, column] * (cpc - cqs + sqc + sps)
            f_im[3, top + k, column] += weights[3, top + k, column] * (spc - sqs - cqc - cps)
