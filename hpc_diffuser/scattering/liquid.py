"""Liquid-like motion: displacements of atoms that are correlated over a distance, e^{−r/γ}.

Its diffuse intensity is a series (Caspar et al., Nature 332, 659, 1988; Clarage et al., Proteins
12, 145, 1992): (q²σ²)ⁿ/n! times the pairs' intensity A − S, convolved with Γ_n. The convolution
multiplies the pairs' Patterson function by e^{−n|u|/γ}, so that the whole series from n = 1 is

    F[P(u) (e^{xy} − 1)],   x = q²σ² or qᵀUq,   y = e^{−|u|/γ} between 0 and 1,

summed over n before any transform. Only x and y have to be parted,

    e^{x(y−1)} − e^{−x} = Σ_k a_k(x) b_k(y),

for each term costs a transform. The fewest are the singular functions of the left side: two to
six do for σ up to 1 Å, where the series itself takes dozens and Chebyshev's polynomials twelve.
S stays out of it: the Patterson function's origin peak has a width, that of the resolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft

from hpc_diffuser.crystal.lattice import HklGrid, fractionalization
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

SERIES_ERROR = 3e-4  # of e^{x(y−1)}, beside 1: the whole intensity
_NODES = 64  # of each variable where the singular functions are found
_STEPS = 2048  # of their tables
_NEAR_A = 8.0  # points nearer to the origin are told apart by 0.02 Å, others by 0.1 Å
_FINE = 1 << 16  # places that y is rounded to: by 8e-6, times x


@dataclass(frozen=True)
class Strength:
    """x = qᵀUq at some voxels of a grid, in steps of tables from 0 to the largest.

    Attributes
    ----------
    x_max : float
        At the largest |s| of all ranks' voxels, in whatever direction: it says how many terms are
        needed.
    steps : (v,) float
        x at the voxels.
    form : (3, 3) float
        With iᵀ (form) i of sample indices i, over `largest`, in units of x_max.
    largest : float
    """

    x_max: float
    steps: Floats
    form: Floats
    largest: float

    @classmethod
    def alike(
        cls, grid: HklGrid, q_squared: Floats, sigma_A: float, s_squared_max: float
    ) -> Strength:
        """Of σ along any axis, at voxels with |q|² (v,) in Å⁻²."""
        x_max = float(4 * np.pi**2 * sigma_A**2 * s_squared_max)
        steps = q_squared * (sigma_A**2 * _STEPS / x_max)
        return cls(x_max, steps, grid.metric(), s_squared_max)

    @classmethod
    def along(
        cls, grid: HklGrid, indices: Integers, covariance_A2: Floats, s_squared_max: float
    ) -> Strength:
        """Of U (3, 3) Å², at sample indices (v, 3)."""
        largest = 4 * np.pi**2 * np.linalg.eigvalsh(covariance_A2)[-1] * s_squared_max
        x_max = one_of_few(float(largest))
        form = along_indices(grid, covariance_A2)
        i = indices.astype(np.float64)
        x = np.einsum("vi,ij,vj->v", i, form, i, optimize=True)
        return cls(x_max, np.clip(x * (_STEPS / x_max), 0, _STEPS), form, x_max)


def one_of_few(x_max: float) -> float:
    """An end of tables at or above the largest x.

    With an end of its own for every U the terms, which are cut, would have a derivative by U
    beside that by x.
    """
    return float(2 ** (np.ceil(2 * np.log2(x_max)) / 2))


def along_indices(grid: HklGrid, covariance_A2: Floats) -> Floats:
    """(3, 3) matrix with qᵀUq = iᵀ M i for sample indices i, of U (3, 3) Å²."""
    to_q = 2 * np.pi * fractionalization(grid.unit_cell) / np.array(grid.divisions)[:, None]
    form: Floats = to_q @ covariance_A2 @ to_q.T
    return form


class LiquidMotion:
    """The series on some planes of a grid that holds the molecule's Patterson function.

    Parameters
    ----------
    grid : HklGrid
        Fine enough for the longest vector between two atoms: a band grid.
    indices : (v, 3) int
        Sample indices of the voxels wanted, sorted.
    """

    def __init__(self, grid: HklGrid, indices: Integers):
        grid.require(indices)
        self._grid = grid
        self._shape = padded_shape(grid)
        indices = indices.astype(np.int64)
        self._planes, starts = np.unique(indices[:, 0], return_index=True)
        self._parts = np.split(indices[:, 1:] % self._shape[1:], starts[1:])
        self._indices = indices
        none = np.empty((0, 0, 0), np.float32)
        self._distances = _distances(grid, self._shape) if len(indices) else none

    def places(self) -> tuple[Floats, Floats]:
        """Points of the Patterson function by their distance from the origin: (U,) Å, (U,) Å³.

        The volume of all points of a distance; of nearly equal ones together.
        """
        if not self._distances.size:
            return np.empty(0), np.empty(0)
        u = self._distances.ravel()
        cell = 1 / np.linalg.det(fractionalization(self._grid.unit_cell))
        point = cell * np.prod(self._grid.divisions) / len(u)
        bins = np.where(u < _NEAR_A, u / 0.02, _NEAR_A / 0.02 + (u - _NEAR_A) / 0.1)
        bins = bins.astype(np.int32)
        counts, sums = np.bincount(bins), np.bincount(bins, u)
        there = counts > 0
        return sums[there] / counts[there], counts[there] * point

    def series(self, pairs: Floats, x: Strength, gamma_A: float) -> Floats:
        """Σ_{n≥1} xⁿ/n! [(A−S) ∗ Γ_n] at the voxels.

        Parameters
        ----------
        pairs : (H, K, L) float32
            A − S on the grid, both Friedel mates; 0 where not computed.
        x : Strength
            At the voxels.
        gamma_A : float, Å

        Returns
        -------
        (v,) float64
        """
        if not len(self._indices):
            return np.empty(0)
        return self._summed(pairs, x, gamma_A, separated(x.x_max))

    def series_by_x(self, pairs: Floats, x: Strength, gamma_A: float) -> Floats:
        """The derivative of `series` by x: (v,) float64."""
        if not len(self._indices):
            return np.empty(0)
        of_x, of_y = separated(x.x_max)
        slopes = np.gradient(of_x, x.x_max / _STEPS, axis=1)
        return self._summed(pairs, x, gamma_A, (slopes, of_y))

    def series_by_gamma(self, pairs: Floats, x: Strength, gamma_A: float) -> Floats:
        """The derivative of `series` by γ: of y = e^{−u/γ} it is −y ln y/γ; per Å."""
        if not len(self._indices):
            return np.empty(0)
        of_x, of_y = separated(x.x_max)
        y = np.linspace(0, 1, of_y.shape[1])
        by_gamma = -y * np.log(np.maximum(y, np.finfo(float).tiny)) / gamma_A
        slopes = np.gradient(of_y, y, axis=1) * by_gamma
        return self._summed(pairs, x, gamma_A, (of_x, slopes))

    def _summed(
        self, pairs: Floats, x: Strength, gamma_A: float, tables: tuple[Floats, Floats]
    ) -> Floats:
        """Σ_k a_k(x) F[P b_k(y)] at the voxels, of tables as `separated` makes them."""
        of_x, of_y = tables
        total = np.zeros(len(self._indices))
        for k, term in enumerate(self._terms(pairs, gamma_A, of_y)):
            total += of_steps(of_x[k], x) * term
        return total

    def series_transposed(self, slopes: Floats, x: Strength, gamma_A: float) -> Floats:
        """The transpose of `series`: from an objective's derivative by it to that by the pairs.

        Parameters
        ----------
        slopes : (H, K, L) float32
            By the series at the voxels of all ranks, both Friedel mates; 0 elsewhere.
        x : Strength
        gamma_A : float, Å

        Returns
        -------
        (v,) float64
            By A − S at the voxels, each together with its mate.
        """
        if not len(self._indices):
            return np.empty(0)
        of_x, of_y = separated(x.x_max)
        place = np.minimum(squares_on(self._grid, x.form) / x.largest, 1) * _STEPS
        # The origin is its own mate.
        slopes = slopes.copy()
        slopes[tuple(self._grid.extent)] *= 2
        patterson = np.zeros(self._shape, np.float32)
        rows = np.ix_(
            *(np.arange(-e, e + 1) % n for e, n in zip(self._grid.extent, self._shape, strict=True))
        )
        of_u = self._places(gamma_A)
        steps = np.arange(_STEPS + 1)
        for two, table in zip(_fine_tables(of_y), of_x[::2] + 1j * of_x[1::2], strict=True):
            whole = np.zeros(self._shape, np.complex64)
            whole[rows] = slopes * np.interp(place, steps, table)
            transform = scipy.fft.fftn(whole, overwrite_x=True)
            patterson += (two[of_u].conj() * transform).real
        picked = scipy.fft.fftn(patterson)[tuple((self._indices % self._shape).T)]
        both: Floats = picked.real.astype(np.float64) / patterson.size
        both[(self._indices == 0).all(axis=1)] /= 2
        return both

    def _places(self, gamma_A: float) -> Integers:
        """Where in fine tables of y every point of the Patterson function is: uint16."""
        place = np.exp(self._distances / np.float32(-gamma_A))
        places: Integers = (place * np.float32(_FINE - 1)).astype(np.uint16)
        return places

    def _terms(self, pairs: Floats, gamma_A: float, of_y: Floats) -> Iterator[Floats]:
        """F[P b_k(y)] at the voxels, one after the other.

        These functions and their transforms are real: two of them are one complex transform.
        """
        patterson = self._patterson(pairs)
        place = self._places(gamma_A)
        for two in _fine_tables(of_y):
            product = two[place]
            product *= patterson
            planes = scipy.fft.fft(product, axis=0, overwrite_x=True)
            both = np.concatenate(
                [
                    scipy.fft.fft2(planes[h])[tuple(part.T)]
                    for h, part in zip(self._planes, self._parts, strict=True)
                ]
            )
            yield both.real
            yield both.imag

    def _patterson(self, pairs: Floats) -> Floats:
        """The inverse transform, real and even: (n_h, n_k, n_l) float32, the origin first."""
        h, k = (
            np.arange(-e, e + 1) % n
            for e, n in zip(self._grid.extent[:2], self._shape[:2], strict=True)
        )
        last = self._grid.extent[2]
        half = np.zeros((*self._shape[:2], self._shape[2] // 2 + 1), np.float32)
        half[h[:, None], k, : last + 1] = pairs[:, :, last:]
        patterson: Floats = scipy.fft.irfftn(half, s=self._shape)
        return patterson


def of_steps(table: Floats, x: Strength) -> Floats:
    """A function of x, in a table as `separated` makes them, at the voxels: (v,)."""
    below = np.minimum(x.steps.astype(np.int32), _STEPS - 1)
    part = x.steps - below
    values: Floats = table[below] + part * np.diff(table)[below]
    return values


def padded_shape(grid: HklGrid) -> tuple[int, ...]:
    """Points of the Patterson function of a grid: lengths that transform fast."""
    return tuple(scipy.fft.next_fast_len(n, real=True) for n in grid.shape)


def kept_bytes(points: int) -> list[float]:
    """Bytes of each array that `LiquidMotion` keeps for so many points of a Patterson function."""
    return [4 * points]


def series_bytes(voxels: int, points: int) -> list[float]:
    """The same of what the series is computed with: real and complex functions of u."""
    return [*[8 * voxels] * 7, *[4 * points] * 3, *[8 * points] * 2]


def squares_on(grid: HklGrid, m: Floats) -> Floats:
    """iᵀ M i at every point of a grid: (H, K, L); |s|² in Å⁻² of its metric."""
    axes = (np.arange(-e, e + 1) for e in grid.extent)
    h, k, l = np.meshgrid(*axes, indexing="ij", sparse=True)  # noqa: E741
    squares: Floats = m[0, 0] * h * h + m[1, 1] * k * k + m[2, 2] * l * l
    squares = squares + 2 * (m[0, 1] * h * k + m[0, 2] * h * l + m[1, 2] * k * l)
    return squares


def _distances(grid: HklGrid, shape: tuple[int, ...]) -> Floats:
    """|u| in Å at every point of the Patterson function: (n_h, n_k, n_l) float32."""
    # A step of 1/n in h makes the function repeat after n cells.
    axes = [
        scipy.fft.fftfreq(n) * divisions for n, divisions in zip(shape, grid.divisions, strict=True)
    ]
    to_cartesian = np.linalg.inv(fractionalization(grid.unit_cell))
    metric = to_cartesian.T @ to_cartesian
    u, v, w = (axis.reshape([-1 if i == j else 1 for j in range(3)]) for i, axis in enumerate(axes))
    squared = metric[0, 0] * u**2 + metric[1, 1] * v**2 + metric[2, 2] * w**2
    squared = squared + 2 * (metric[0, 1] * u * v + metric[0, 2] * u * w + metric[1, 2] * v * w)
    distances: Floats = np.sqrt(np.maximum(squared, 0)).astype(np.float32)
    return distances


def separated(x_max: float, error: float = SERIES_ERROR) -> tuple[Floats, Floats]:
    """Tables of e^x a_k(x) and of b_k(y), k = 1, ..., n, whose products add up to e^{xy} − 1.

    The singular value decomposition on Chebyshev's nodes gives the best functions there; their
    integrals with the kernel give them everywhere.

    Parameters
    ----------
    x_max : float
    error : float
        Of their sum, times e^{−x}.

    Returns
    -------
    of_x : (n, 2049) float
        At equal steps from 0 to x_max.
    of_y : (n, 2049) float
        At equal steps from 0 to 1; n is even.
    """
    turn = np.pi * (np.arange(_NODES) + 0.5) / _NODES
    nodes, weights = (1 - np.cos(turn)) / 2, np.sqrt(np.sin(turn))
    steps = np.linspace(0, 1, _STEPS + 1)
    kernel = _kernel(x_max * nodes, nodes)
    left, singular, right = np.linalg.svd(weights[:, None] * kernel * weights)
    left, right = weights[:, None] * left, weights[:, None] * right.T
    n = 2
    while _largest_error(kernel, left, singular, right, n, weights) > error:
        n += 2
    of_x = _kernel(x_max * steps, nodes) @ right[:, :n] * np.exp(x_max * steps)[:, None]
    of_y = _kernel(x_max * nodes, steps).T @ (
        left[:, :n] / np.maximum(singular[:n], np.finfo(float).tiny)
    )
    return of_x.T, of_y.T


def _kernel(x: Floats, y: Floats) -> Floats:
    """e^{x(y−1)} − e^{−x}: (X, Y)."""
    return np.exp(np.outer(x, y - 1)) - np.exp(-x)[:, None]


def _largest_error(
    kernel: Floats, left: Floats, singular: Floats, right: Floats, n: int, weights: Floats
) -> float:
    """Of the kernel by the first n terms, at the nodes."""
    found = (left[:, :n] * singular[:n]) @ right[:, :n].T
    return float(np.abs(found / np.outer(weights, weights) ** 2 - kernel).max())


def _fine_tables(of_y: Floats) -> Iterator[Complexes]:
    """Each two functions of y as one complex table of `_FINE` places: (65536,) complex64."""
    fine, steps = np.linspace(0, 1, _FINE), np.linspace(0, 1, of_y.shape[1])
    for one, other in zip(of_y[::2], of_y[1::2], strict=True):
        both = np.interp(fine, steps, one) + 1j * np.interp(fine, steps, other)
        yield both.astype(np.complex64)
