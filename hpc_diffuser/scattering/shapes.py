"""The shapes that atoms are drawn with on a grid, so that its transform is the molecule's.

An atom of element e is drawn as a radial polynomial of compact support whose transform is
f_e(s)·B(s), with one function B for all elements, up to the resolution limit, and nearly
nothing where the grid's periodicity folds it back. Dividing the grid's transform by B gives F:
the classical calculation of structure factors by Fourier transform of a blurred density
(Ten Eyck, Acta Cryst. A33, 486, 1977), with shapes that are fitted instead of Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, form_factors
from hpc_diffuser.crystal.lattice import fractionalization, reciprocal_metric
from hpc_diffuser.kernels.density import DEGREE, ROW
from hpc_diffuser.system.arrays import Floats, Integers

DRAWING_ERROR = 1e-3  # rms of |F| over the resolution sphere, relative to its rms
# The same with displaced solvent, which is wider than the shapes: an error at low resolution
# mostly, of which 1 − CC < 2e-4 is left between 3.3 and 1.6 Å.
SOLVENT_ERROR = 0.02
SAMPLING = 1.2  # grid points per Nyquist's
SHARPNESS = (1.0, 1.1, 1.2)  # of their profiles, about the optimum for one element
WIDTHS = (8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0)  # diameter of an atom in grid steps
_STEPS = 8192
# Points of a cubic lattice: squared distance from the origin, how many.
_SHELLS = np.array([(1, 6), (2, 12), (3, 8), (4, 6), (5, 24), (6, 24)])


@dataclass(frozen=True)
class AtomShapes:
    """The radial densities of the kinds of atoms.

    Attributes
    ----------
    width : float
        Diameter in grid steps.
    sharpness : float
        Of the profile, about the optimum for one element.
    radius_A : float
    coefficients : (E, J) float
        The density of kind e is Σ_j c_ej vʲ⁺¹, v = 1 − (r/R)², in electrons per Å³.
    blur : (T,) float
        What the transform is larger by than F, at |s| = `s`.
    s : (T,) float, Å⁻¹
    error : float
        Relative rms error of F: of the fit up to the resolution limit, and of what is folded back.
    """

    width: float
    sharpness: float
    radius_A: float
    coefficients: Floats
    blur: Floats
    s: Floats
    error: float


def fit_shapes(factors: AtomFactors, unit_cell: tuple[float, ...], d_min: float) -> AtomShapes:
    """The narrowest shapes whose error is below `DRAWING_ERROR`; else the best.

    Parameters
    ----------
    factors : AtomFactors
        Its kinds, each counting by what its atoms contribute to F.
    unit_cell : 6 floats
        Atoms in a skewed grid are wider, and there is a limit: see `can_be_drawn`.
    d_min : float, Å
    """
    counts = np.bincount(factors.kind)
    found: list[AtomShapes] = []
    for width in _widths(unit_cell):
        found += [_fit(factors, counts, d_min, width, sharpness) for sharpness in SHARPNESS]
        if min(shapes.error for shapes in found) <= DRAWING_ERROR:
            break
    return min(found, key=lambda shapes: shapes.error)


def can_be_drawn(unit_cell: tuple[float, ...]) -> bool:
    """Whether any shape fits into the rows that are drawn at once: not in very skewed cells.

    A rhombohedral one of 32° and a monoclinic one of 151° are beyond the limit.
    """
    return bool(_widths(unit_cell))


def _widths(unit_cell: tuple[float, ...]) -> list[float]:
    return [w for w in WIDTHS if w <= (ROW - 1) / _skewness(unit_cell)]


def shapes_of_kinds(
    base: AtomShapes,
    d_min: float,
    factors: AtomFactors,
    dimming: bool = False,
    curved: bool = False,
) -> Floats:
    """The same shapes' coefficients for other factors: (K, J) float.

    Parameters
    ----------
    base : AtomShapes
        Width, sharpness and blur stay.
    d_min : float, Å
    factors : AtomFactors
    dimming : bool
        Instead, those of what the factors change by with their B-factor: −s²/4 of them.
    curved : bool
        To be differentiated twice: errors count as of second derivatives, by s² where they are,
        beyond the limit too; and without v itself, whose slope jumps at the edge.
    """
    solution, s, share, blob = _solution(d_min, base.width, base.sharpness, curved)
    of_s = np.interp(s, base.s, base.blur) / blob
    relative = factors.at(s**2) * (of_s * (-(s**2) / 4 if dimming else 1))[:, None]
    coefficients: Floats = solution @ (relative * np.sqrt(share)[:, None])
    return np.pad(coefficients, ((int(curved), 0), (0, 0))).T


@cache
def _solution(
    d_min: float, width: float, sharpness: float, curved: bool
) -> tuple[Floats, Floats, Floats, Floats]:
    """What gives coefficients (J, T) of wanted transforms; |s|, share and blob's transform, (T,).

    It depends on no atom: kept, for factors change at every evaluation.
    """
    rows, s, share = _design(d_min, width, sharpness, 2 if curved else 0)
    rows = rows[:, curved:]
    scale = np.linalg.norm(rows, axis=0)
    solution = np.linalg.pinv(rows / scale, rcond=1e-13)[:, : len(s)] / scale[:, None]
    return solution, s, share, _blob_transform(*_profile(d_min, width, sharpness), s)


def radial_transform(radius: float, degree: int, s: Floats) -> Floats:
    """Transforms of vʲ, v = 1 − (r/R)², j = 1..degree, over the ball: (S, degree), Å³.

    4π ∫ r² vʲ sin(2πsr)/(2πsr) dr by Gauss-Legendre quadrature.
    """
    t, weight = _quadrature(100, 1.0)
    powers = (1 - t**2)[:, None] ** np.arange(1, degree + 1)
    waves = np.sinc(2 * np.outer(s, t * radius))
    transforms: Floats = 4 * np.pi * radius**3 * (waves * (weight * t**2)) @ powers
    return transforms


def grid_points_per_cell(unit_cell: tuple[float, ...], d_min: float) -> Floats:
    """Spheres of the resolution limit lie `SAMPLING` of their diameters apart: (3,) float."""
    spacing = np.sqrt(np.diag(reciprocal_metric(unit_cell)))
    return 2 * SAMPLING / d_min / spacing * _skewness(unit_cell)


def _fit(
    factors: AtomFactors, counts: Integers, d_min: float, width: float, sharpness: float
) -> AtomShapes:
    """Least squares: the wanted transform up to the limit, none where the grid folds it back."""
    rows, s, share = _design(d_min, width, sharpness)
    target = np.zeros((len(rows), len(counts)))
    relative = factors.at(s**2) / _rms_factor(factors, counts, s)[:, None]
    target[: len(s)] = relative * np.sqrt(share)[:, None]
    scale = np.linalg.norm(rows, axis=0)
    coefficients = np.linalg.lstsq(rows / scale, target, rcond=1e-13)[0] / scale[:, None]
    squares = np.sum((rows @ coefficients - target) ** 2, axis=0)
    s = np.linspace(0, 1 / d_min, _STEPS)
    radius, alpha = _profile(d_min, width, sharpness)
    return AtomShapes(
        width=width,
        sharpness=sharpness,
        radius_A=radius,
        coefficients=coefficients.T,
        blur=_blob_transform(radius, alpha, s) / _rms_factor(factors, counts, s),
        s=s,
        error=float(np.sqrt(squares @ counts / counts.sum())),
    )


def _design(
    d_min: float, width: float, sharpness: float, order: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Rows of the fit, over the blob's transform; |s| and share of the first of them.

    Of derivatives of an order, both count by s to its power, over the limit's.
    """
    limit = 1 / d_min
    radius, alpha = _profile(d_min, width, sharpness)
    s, share = _inside(limit)
    blob = _blob_transform(radius, alpha, s)
    wanted = radial_transform(radius, DEGREE, s) / blob[:, None]
    unwanted = _folded_back(radius, limit, s, share / blob**2, order)
    rounded = np.diag(_rounding(radius, width) * np.sqrt(np.sum(share / blob**2)))
    share = share * (s / limit) ** (2 * order)
    rows = np.concatenate([wanted * np.sqrt(share)[:, None], unwanted, rounded])
    return rows, s, share


def _profile(d_min: float, width: float, sharpness: float) -> tuple[float, float]:
    """Radius in Å and parameter of the blob."""
    return width / (4 * SAMPLING / d_min), sharpness * np.pi * width * (1 - 0.5 / SAMPLING)


def _inside(limit: float) -> tuple[Floats, Floats]:
    """|s| up to the limit, and what each counts: by volume, but more at low resolution.

    There the errors of all atoms add up in phase.
    """
    s, weight = _quadrature(30, limit)
    share = weight * (s**2 + (limit / 3) ** 2)
    return s, share / share.sum()


def _folded_back(radius: float, limit: float, s: Floats, weights: Floats, order: int) -> Floats:
    """Transforms at s + G, for the points G of the grid's reciprocal lattice at any angle to s."""
    cosine, cosine_weight = _quadrature(20, 2.0)
    g = 2 * SAMPLING * limit * np.sqrt(_SHELLS[:, 0])[:, None, None]
    folded = np.sqrt(s[:, None] ** 2 + g**2 + 2 * g * s[:, None] * (cosine - 1))
    weights = _SHELLS[:, 1, None, None] / 2 * cosine_weight * weights[:, None]
    weights = weights * (folded / limit) ** (2 * order)
    return radial_transform(radius, DEGREE, folded.ravel()) * np.sqrt(weights).reshape(-1, 1)


def _rounding(radius: float, width: float) -> Floats:
    """What rounding does to F for each term vʲ: 2⁻²⁴ of it at every point, at random: (J,)."""
    t, weight = _quadrature(100, 1.0)
    mean_squares = 3 * (weight * t**2) @ (1 - t**2)[:, None] ** (2 * np.arange(1, DEGREE + 1))
    point_volume, points = (2 * radius / width) ** 3, np.pi / 6 * width**3
    return 2.0**-24 * point_volume * np.sqrt(points * mean_squares)


def _rms_factor(factors: AtomFactors, counts: Integers, s: Floats) -> Floats:
    # Of bare atoms: what the solvent leaves of them at low resolution is nearly nothing, and the
    # wrong measure of errors.
    rms: Floats = np.sqrt(form_factors(factors.elements, s**2) ** 2 @ counts / counts.sum())
    return rms


def _quadrature(n: int, end: float) -> tuple[Floats, Floats]:
    """Gauss and Legendre's points and weights on 0..end."""
    t, weight = np.polynomial.legendre.leggauss(n)
    return (t + 1) / 2 * end, weight / 2 * end


def _blob_transform(radius: float, alpha: float, s: Floats) -> Floats:
    """Transform of the Kaiser-Bessel blob I₀(α√v), to a constant (Lewitt, JOSA A 7, 1834, 1990).

    Nearly the largest share of a compact function's transform that can lie inside a sphere.
    """
    z = np.sqrt(((2 * np.pi * radius * s) ** 2 - alpha**2).astype(complex))
    value = ((np.sin(z) - z * np.cos(z)) / z**3).real
    peak = (alpha * np.cosh(alpha) - np.sinh(alpha)) / alpha**3
    transform: Floats = value / peak
    return transform


def _skewness(unit_cell: tuple[float, ...]) -> float:
    """How much finer a skewed grid must be than its axes tell: the shortest diagonal counts."""
    axes = fractionalization(unit_cell)
    axes = axes / np.linalg.norm(axes, axis=1)[:, None]
    combinations = np.array(list(np.ndindex(3, 3, 3))) - 1
    lengths = np.linalg.norm(combinations @ axes, axis=1)
    return float(1 / lengths[lengths > 1e-9].min())
