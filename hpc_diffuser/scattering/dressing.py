"""Atoms blurred by their own motion: a few displaced copies of each stand for its Gaussian.

The mean transform of atoms with covariances U_a is

    m(q) = Σ_a f_a e^{−½ qᵀU_a q} e^{iq·r_a}.

The part of U_a that is alike in all directions, its smallest eigenvalue, is a B-factor. What is
left acts along two axes, and there a Gaussian is the mean over n Gauss-Hermite points: exact for
polynomials up to degree 2n − 1, so that with x = q²λ

    |e^{−x/2} − Σ_k w_k cos(√x z_k)| ≤ n! xⁿ/(2n)!.

At an angle to the axis x is smaller, as the angle's squared cosine, and so it is at lower
resolution: over the resolution sphere the rms of xⁿ is √(3/((4n+1)(4n+3))) of the largest.

Where motion is so large that this takes more than a dozen, the points are equidistant, between
±L and 2π/(√x + L) apart: what they repeat, and what they leave out, is e^{−L²/2}.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from hpc_diffuser.system.arrays import Floats, Integers

DRESSING_ERROR = 5e-4  # of an atom's factor, rms over the resolution sphere
MOST_COPIES = 64  # of an atom, on average: where they move so far, the first order is of no use
HERMITE_POINTS = 12  # at most, along an axis
_FARTHEST = 3.9  # L, in standard deviations


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
    for pair in np.unique(numbers, axis=0):
        of_pair = np.flatnonzero((numbers == pair).all(axis=1))
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
    n = np.ones(np.shape(x), np.int64)
    for fewer in range(1, HERMITE_POINTS + 1):
        sphere = math.sqrt(3 / ((4 * fewer + 1) * (4 * fewer + 3)))
        largest = math.factorial(fewer) / math.factorial(2 * fewer) * np.asarray(x) ** fewer
        error = sphere * largest
        n = np.where((n == fewer) & (error >= DRESSING_ERROR), fewer + 1, n)
    equidistant = np.ceil(_FARTHEST * (np.sqrt(x) + _FARTHEST) / np.pi).astype(np.int64) + 1
    return np.where(n > HERMITE_POINTS, np.maximum(equidistant, HERMITE_POINTS + 1), n)


def _alike_and_left(variances: Floats) -> tuple[Floats, Floats]:
    """Of eigenvalues (N, 3), ascending: the part alike in all directions, and what is left."""
    least = np.maximum(variances[:, 0], 0.0)
    return least, np.maximum(variances[:, 1:] - least[:, None], 0.0)


@cache
def _normal_points(n: int) -> tuple[Floats, Floats]:
    """Points and weights of a standard normal distribution."""
    if n <= HERMITE_POINTS:
        points, weights = np.polynomial.hermite_e.hermegauss(n)
    else:
        points = np.linspace(-_FARTHEST, _FARTHEST, n)
        weights = np.exp(-0.5 * points**2)
    return points, weights / weights.sum()
