"""Atoms blurred by their own motion: a few displaced copies of each stand for its Gaussian.

The mean transform of atoms with covariances U_a is

    m(q) = Σ_a f_a e^{−½ qᵀU_a q} e^{iq·r_a}.

The part of U_a that is alike in all directions, its smallest eigenvalue, is a B-factor. What is
left acts along two axes, and there a Gaussian is the mean over a few points,

    e^{−x/2} ≈ Σ_k w_k cos(√x z_k),      x = λ q² cos²θ,

with λ the variance along the axis and θ the angle to it: all x up to that of the resolution limit
count, as often as they are in the sphere of q. Points and weights of `_RULES` are least squares
over the sphere, which do with the same error for twice the x of Gauss and Hermite's.

Where motion is so large that this takes more than ten, the points are equidistant, between ±L and
2π/(√x + L) apart: what they repeat, and what they leave out, is e^{−L²/2}.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from hpc_diffuser.system.arrays import Floats, Integers

DRESSING_ERROR = 5e-4  # of an atom's factor, rms over the resolution sphere
MOST_COPIES = 32  # of an atom, on average: where they move so far, the first order is of no use
_FARTHEST = 3.9  # L, in standard deviations
# By their number, the largest x at the limit for which points have `DRESSING_ERROR`; the points at
# 0 and on one side, and the weights of both sides: by tests/campaigns/dressing_points.py.
_RULES = {
    1: (0.003388, (0.0,), (1.0,)),
    2: (0.2991, (0.98859,), (1.0,)),
    3: (1.677, (0.0, 1.64444), (0.63298, 0.36702)),
    4: (4.515, (0.66587, 2.09192), (0.85969, 0.14031)),
    5: (8.822, (0.0, 1.14705, 2.40698), (0.45187, 0.48672, 0.06141)),
    6: (14.78, (0.49319, 1.50594, 2.62866), (0.69982, 0.26883, 0.03135)),
    7: (22.1, (0.0, 0.87513, 1.78443, 2.79425), (0.34714, 0.48182, 0.15307, 0.01798)),
    8: (31.59, (0.38788, 1.17356, 1.9941, 2.90328), (0.57534, 0.31982, 0.09301, 0.01183)),
    9: (
        42.48,
        (0.0, 0.70132, 1.4163, 2.16451, 2.99035),
        (0.27897, 0.44032, 0.21294, 0.05948, 0.0083),
    ),
    10: (
        55.2,
        (0.31816, 0.95893, 1.61447, 2.30056, 3.05428),
        (0.48325, 0.3256, 0.1447, 0.04022, 0.00622),
    ),
}


@dataclass(frozen=True)
class Copies:
    """Copies of atoms that stand for the atoms' motion.

    Attributes
    ----------
    atoms : (C,) int
        Which atom each is a copy of.
    offsets : (C, 3) float, Å
        From its atom's mean position.
    weights : (C,) float
        Of each; those of an atom add up to 1.
    b_factors_A2 : (N,) float
        Of the atoms, beside that.
    """

    atoms: Integers
    offsets: Floats
    weights: Floats
    b_factors_A2: Floats


def dressing_copies(covariances_A2: Floats, d_min: float) -> Copies:
    """Copies for atoms that move with given covariances.

    Parameters
    ----------
    covariances_A2 : (N, 3, 3) float
        U_a.
    d_min : float, Å
        Up to this resolution the copies scatter as the moving atoms do.
    """
    variances, axes = np.linalg.eigh(covariances_A2)
    least, left = _alike_and_left(variances)
    along = np.sqrt(left)[:, None] * axes[:, :, 1:]  # (N, 3, 2): one standard deviation
    numbers = points_needed((2 * np.pi / d_min) ** 2 * left)
    parts = []
    pairs, which = np.unique(numbers @ (numbers.max() + 1, 1), return_inverse=True)
    for number in range(len(pairs)):
        of_pair = np.flatnonzero(which == number)
        pair = numbers[of_pair[0]]
        (x, of_x), (y, of_y) = (_normal_points(int(n)) for n in pair)
        grid = np.stack([np.repeat(x, len(y)), np.tile(y, len(x))])
        offsets = (along[of_pair] @ grid).swapaxes(1, 2)
        weights = np.tile(np.outer(of_x, of_y).ravel(), len(of_pair))
        parts.append((np.repeat(of_pair, grid.shape[1]), offsets.reshape(-1, 3), weights))
    atoms, places, shares = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(atoms, kind="stable")
    return Copies(atoms[order], places[order], shares[order], 8 * np.pi**2 * least)


def field_covariances(fields: Floats) -> Floats:
    """U_a = Σ_i Δ_ia Δ_iaᵀ of independent motions (M, N, 3) in Å: (N, 3, 3) Å²."""
    covariances: Floats = np.einsum("mni,mnj->nij", fields, fields)
    return covariances


def copies_needed(covariances_A2: Floats, d_min: float) -> int:
    """How many copies `dressing_copies` makes of all atoms together."""
    _, left = _alike_and_left(np.linalg.eigvalsh(covariances_A2))
    return int(points_needed((2 * np.pi / d_min) ** 2 * left).prod(axis=1).sum())


def can_be_dressed(covariances_A2: Floats, d_min: float) -> bool:
    """Whether atoms move so little that their copies are few."""
    return copies_needed(covariances_A2, d_min) <= MOST_COPIES * len(covariances_A2)


def points_needed(x: Floats) -> Integers:
    """The fewest points whose mean is e^{−x/2} to `DRESSING_ERROR`; x at the limit, on the axis."""
    limits = [largest for largest, _, _ in _RULES.values()]
    n = 1 + np.searchsorted(limits, x)
    equidistant = np.ceil(_FARTHEST * (np.sqrt(x) + _FARTHEST) / np.pi).astype(np.int64) + 1
    return np.where(n > len(_RULES), np.maximum(equidistant, len(_RULES) + 1), n)


def _alike_and_left(variances: Floats) -> tuple[Floats, Floats]:
    """Of eigenvalues (N, 3), ascending: the part alike in all directions, and what is left."""
    least = np.maximum(variances[:, 0], 0.0)
    return least, np.maximum(variances[:, 1:] - least[:, None], 0.0)


@cache
def _normal_points(n: int) -> tuple[Floats, Floats]:
    """Points that stand for a standard normal distribution, and their weights."""
    if n in _RULES:
        _, places, shares = (np.array(numbers) for numbers in _RULES[n])
        middle = n % 2  # the point at 0 has no mirror image
        points = np.concatenate([-places[:0:-1] if middle else -places[::-1], places])
        halves = np.where(places > 0, shares / 2, shares)
        weights = np.concatenate([halves[:0:-1] if middle else halves[::-1], halves])
    else:
        points = np.linspace(-_FARTHEST, _FARTHEST, n)
        weights = np.exp(-0.5 * points**2)
    return points, weights / weights.sum()
