"""How atoms are drawn on a grid, so that the grid's transform is the molecule's.

An atom of element e is drawn as a radial polynomial of compact support whose transform is
f_e(s)·B(s), with one function B for all elements, up to the resolution limit, and nearly
nothing where the grid's periodicity folds it back. Dividing the grid's transform by B gives F:
the classical calculation of structure factors by Fourier transform of a blurred density
(Ten Eyck, Acta Cryst. A33, 486, 1977), with shapes that are fitted instead of Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.kernels import density as kernel
from hpc_diffuser.kernels.threads import thread_shares
from hpc_diffuser.lattice import HklGrid, fractionalization, reciprocal_metric
from hpc_diffuser.scattering import (
    SAMPLES_AT_ONCE,
    DirectTransform,
    Slab,
    form_factors,
    plane_costs,
)
from hpc_diffuser.structure import Structure

DRAWING_ERROR = 1e-3  # rms of |F| over the resolution sphere, relative to its rms
SAMPLING = 1.2  # grid points per Nyquist's
SHARPNESS = (1.0, 1.1, 1.2)  # of their profiles, about the optimum for one element
WIDTHS = (8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0)  # diameter of an atom in grid steps
_STEPS = 8192
# Points of a cubic lattice: squared distance from the origin, how many.
_SHELLS = np.array([(1, 6), (2, 12), (3, 8), (4, 6), (5, 24), (6, 24)])


@dataclass(frozen=True)
class AtomShapes:
    """The radial densities of the elements.

    Attributes
    ----------
    width : float
        Diameter in grid steps.
    radius_A : float
    coefficients : (E, J) float
        The density of element e is Σ_j c_ej vʲ⁺¹, v = 1 − (r/R)², in electrons per Å³.
    blur : (T,) float
        What the transform is larger by than F, at |s| = `s`.
    s : (T,) float, Å⁻¹
    error : float
        Relative rms error of F: of the fit up to the resolution limit, and of what is folded back.
    """

    width: float
    radius_A: float
    coefficients: np.ndarray
    blur: np.ndarray
    s: np.ndarray
    error: float


def fit_shapes(structure: Structure, unit_cell: tuple[float, ...], d_min: float) -> AtomShapes:
    """The narrowest shapes whose error is below `DRAWING_ERROR`; else the best.

    Parameters
    ----------
    structure : Structure
        Its elements, each counting by what its atoms contribute to F.
    unit_cell : 6 floats
        Atoms in a skewed grid are wider, and there is a limit.
    d_min : float, Å
    """
    elements, counts = np.unique(structure.elements, return_counts=True)
    widest = (kernel.ROW - 1) / _skewness(unit_cell)
    best = None
    for width in [w for w in WIDTHS if w <= widest]:
        found = [_fit(elements, counts, d_min, width, sharpness) for sharpness in SHARPNESS]
        best = min(found + [best] * (best is not None), key=lambda shapes: shapes.error)
        if best.error <= DRAWING_ERROR:
            break
    return best


def radial_transform(radius: float, degree: int, s: np.ndarray) -> np.ndarray:
    """Transforms of vʲ, v = 1 − (r/R)², j = 1..degree, over the ball: (S, degree), Å³.

    4π ∫ r² vʲ sin(2πsr)/(2πsr) dr by Gauss-Legendre quadrature.
    """
    t, weight = _quadrature(100, 1.0)
    powers = (1 - t**2)[:, None] ** np.arange(1, degree + 1)
    waves = np.sinc(2 * np.outer(s, t * radius))
    return 4 * np.pi * radius**3 * (waves * (weight * t**2)) @ powers


def choose_transform(
    structure: Structure, grid: HklGrid, d_min: float, choice: str
) -> type[DirectTransform] | type[DensityTransform]:
    """The cheaper way to transform a structure on a grid, or the one asked for.

    Parameters
    ----------
    structure : Structure
    grid : HklGrid
    d_min : float, Å
    choice : {"auto", "direct", "density"}
    """
    if choice == "auto":
        direct, density = transform_costs(structure, grid, d_min)
        exact = fit_shapes(structure, grid.unit_cell, d_min).error <= DRAWING_ERROR
        choice = "density" if density < direct and exact else "direct"
    return {"direct": DirectTransform, "density": DensityTransform}[choice]


def transform_costs(structure: Structure, grid: HklGrid, d_min: float) -> tuple[float, float]:
    """Seconds, roughly, of one configuration on a core: by the direct sum, through the density.

    Rates as measured on one machine with a matrix product at 90 GFLOP/s: only their ratios count.
    """
    quarter = float(plane_costs(grid, d_min).sum())
    direct = 16 * len(structure) * quarter / 50e9
    per_cell = _grid_points_per_cell(grid.unit_cell, d_min)
    fractional = structure.positions @ fractionalization(grid.unit_cell).T
    box = np.ptp(fractional, axis=0) * per_cell + WIDTHS[2] + 2
    planes = grid.extent[0] + 1
    flops = _product_flops(box, planes, planes * grid.extent[1], quarter)
    return direct, flops / 70e9 + 0.8e-6 * len(structure) + 6e-9 * quarter


def _product_flops(box: np.ndarray, planes: float, rows: float, quarter: float) -> float:
    """Of the products along x, y and z for a box of points, all folded; real at first."""
    x, y, z = box
    return float(2 * planes * x * y * z + 4 * rows * y * z + 8 * quarter * z)


class DensityTransform:
    """Structure factors and ensemble moments of one structure on one slab, through a grid.

    The interface of `scattering.DirectTransform`, but F has a phase e^{−2πi s·r₀} common to all
    configurations: r₀ is the middle of the structure.

    Parameters
    ----------
    structure : Structure
        Its positions are the mean, F₀, that moments are taken about.
    slab : Slab
    """

    def __init__(self, structure: Structure, slab: Slab):
        self.slab = slab
        kinds = np.unique(structure.elements, return_inverse=True)[1]
        self.shapes = fit_shapes(structure, slab.grid.unit_cell, slab.d_min)
        cell = slab.grid.unit_cell
        per_cell = _grid_points_per_cell(cell, slab.d_min)
        to_steps = fractionalization(cell).T * per_cell
        middle = (structure.positions.min(axis=0) + structure.positions.max(axis=0)) / 2
        self._to_steps, self.origin = to_steps, middle
        self._divisions = per_cell * np.array(slab.grid.divisions)
        per_step = np.linalg.inv(to_steps)
        metric = per_step @ per_step.T / self.shapes.radius_A**2
        volume = abs(np.linalg.det(per_step))
        self._reach = self.shapes.radius_A * float(np.linalg.norm(to_steps, axis=0).max())
        coefficients = (self.shapes.coefficients * volume).astype(np.float32)
        self._drawn = (coefficients, metric.astype(np.float32), self._reach)
        self._sharpen = self._sharpening()
        # Neighbours in space draw on the same rows of the grid.
        self._order = np.argsort((structure.positions @ to_steps)[:, 0], kind="stable")
        occupancies = structure.occupancies[self._order].astype(np.float32)
        self._atoms = (kinds[self._order], occupancies)
        self._mean_positions = structure.positions
        self.mean = self.structure_factors(structure.positions)

    def structure_factors(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """F of one configuration: positions (N, 3) Å → real and imaginary part, (V,) float32."""
        sums = np.zeros((3, self.slab.size), np.float32)
        if self.slab.size:
            steps = self._steps(positions[None])
            half_box = self._half_box(steps)
            density = self._draw(steps, np.zeros(2 * half_box, np.float32))
            kernel.fold_x(density, *self._planes_of(half_box))
            kernel.add_moments(density, *self._inputs(half_box), *sums)
        return sums[0] * self._sharpen, sums[1] * self._sharpen

    def moments(self, configurations: np.ndarray) -> np.ndarray:
        """Sums over configurations about the mean structure.

        Parameters
        ----------
        configurations : (S, N, 3) float, Å

        Returns
        -------
        (3, V) float32
            Σ Re D, Σ Im D and Σ |D|² with D = F − F₀.
        """
        sums = np.zeros((3, self.slab.size), np.float32)
        if not self.slab.size or not len(configurations):
            return sums
        steps, mean = self._steps(configurations), self._steps(self._mean_positions[None])
        half_box = np.maximum(self._half_box(steps), self._half_box(mean))
        inputs = self._inputs(half_box)
        # The transform is linear: D is that of the difference of densities.
        mean_density = self._draw(mean, np.zeros(2 * half_box, np.float32))[0]
        background = -mean_density[: -kernel.ROW].reshape(2 * half_box)
        for first in range(0, len(steps), SAMPLES_AT_ONCE):
            densities = self._draw(steps[first : first + SAMPLES_AT_ONCE], background)
            kernel.fold_x(densities, *self._planes_of(half_box))
            kernel.add_moments(densities, *inputs, *sums)
        sums *= (self._sharpen, self._sharpen, self._sharpen**2)
        return sums

    @property
    def flops(self) -> float:
        """Operations of the matrix products for one configuration."""
        s = self.slab
        box = 2 * self._half_box(self._steps(self._mean_positions[None]))
        return _product_flops(box, len(s.h), len(s.row_halves), float((s.row_halves + 1).sum()))

    def _steps(self, configurations: np.ndarray) -> np.ndarray:
        return (configurations[:, self._order] - self.origin) @ self._to_steps

    def _half_box(self, steps: np.ndarray) -> np.ndarray:
        """Half the grid points that hold all configurations (S, N, 3), in steps: (3,) int."""
        farthest = np.abs(steps).max(axis=(0, 1))
        return np.ceil(farthest + self._reach + 1).astype(np.int64)

    @staticmethod
    def _planes_of(half_box: np.ndarray) -> tuple[int, int]:
        """How many planes of constant x a box has, and how many points each of them."""
        return 2 * half_box[0], 4 * half_box[1] * half_box[2]

    def _draw(self, steps: np.ndarray, background: np.ndarray) -> np.ndarray:
        densities = np.empty((len(steps), background.size + kernel.ROW), np.float32)
        kernel.draw(steps, self._atoms, self._drawn, background, densities)
        return densities

    def _inputs(self, half_box: np.ndarray) -> tuple:
        """The transform kernels' common arguments for a box."""
        s = self.slab
        extents = (int(s.h.max()), *s.table_extent)
        x, y, z = (
            kernel.axis_tables(extent, divisions, points)
            for extent, divisions, points in zip(extents, self._divisions, half_box, strict=True)
        )
        along_x = np.stack([x[0, s.h], x[1, s.h, ::-1]])
        tables = (along_x, y, np.ascontiguousarray(z.swapaxes(1, 2)), *self._divisions[1:])
        planes = (s.blocks, s.centres, s.halves, s.offsets, s.row_halves, s.row_offsets)
        sizes = np.diff(s.offsets[s.blocks])
        return tables, planes, thread_shares(sizes)

    def _sharpening(self) -> np.ndarray:
        """1/B at every stored value: (V,) float32."""
        s = np.sqrt(self.slab.s_squared())
        return np.interp(s, self.shapes.s, 1 / self.shapes.blur).astype(np.float32)


def _fit(elements, counts, d_min, width, sharpness) -> AtomShapes:
    """Least squares: the wanted transform up to the limit, none where the grid folds it back."""
    limit = 1 / d_min
    radius = width / (4 * SAMPLING * limit)
    alpha = sharpness * np.pi * width * (1 - 0.5 / SAMPLING)
    s, weight = _quadrature(30, limit)
    # By volume, but more at low resolution, where the errors of all atoms add up in phase.
    share = weight * (s**2 + (limit / 3) ** 2)
    share /= share.sum()
    factors = form_factors(elements, s**2)
    mean = np.sqrt(factors**2 @ counts / counts.sum())
    blob = _blob_transform(radius, alpha, s)
    wanted = radial_transform(radius, kernel.DEGREE, s) / blob[:, None]
    # What is at s + G, for the points G of the grid's reciprocal lattice at any angle to s.
    cosine, cosine_share = _quadrature(20, 2.0)
    g = 2 * SAMPLING * limit * np.sqrt(_SHELLS[:, 0])[:, None, None]
    folded = np.sqrt(s[:, None] ** 2 + g**2 + 2 * g * s[:, None] * (cosine - 1))
    folded_share = _SHELLS[:, 1, None, None] / 2 * cosine_share * (share / blob**2)[:, None]
    unwanted = radial_transform(radius, kernel.DEGREE, folded.ravel())
    # Each term of the polynomial is rounded to 2⁻²⁴ at every point, in random directions.
    t, shell = _quadrature(100, 1.0)
    squared = 3 * (shell * t**2) @ (1 - t**2)[:, None] ** (2 * np.arange(1, kernel.DEGREE + 1))
    point_volume, points = (2 * radius / width) ** 3, np.pi / 6 * width**3
    rounding = 2.0**-24 * point_volume * np.sqrt(points * squared * np.sum(share / blob**2))
    rows = np.concatenate(
        [
            wanted * np.sqrt(share)[:, None],
            unwanted * np.sqrt(folded_share).reshape(-1, 1),
            np.diag(rounding),
        ]
    )
    target = np.zeros((len(rows), len(elements)))
    target[: len(s)] = factors / mean[:, None] * np.sqrt(share)[:, None]
    scale = np.linalg.norm(rows, axis=0)
    coefficients = np.linalg.lstsq(rows / scale, target, rcond=1e-13)[0] / scale[:, None]
    squares = np.sum((rows @ coefficients - target) ** 2, axis=0)
    s = np.linspace(0, limit, _STEPS)
    factors = form_factors(elements, s**2)
    return AtomShapes(
        width=width,
        radius_A=radius,
        coefficients=coefficients.T,
        blur=_blob_transform(radius, alpha, s) / np.sqrt(factors**2 @ counts / counts.sum()),
        s=s,
        error=float(np.sqrt(squares @ counts / counts.sum())),
    )


def _quadrature(n: int, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss and Legendre's points and weights on 0..end."""
    t, weight = np.polynomial.legendre.leggauss(n)
    return (t + 1) / 2 * end, weight / 2 * end


def _blob_transform(radius: float, alpha: float, s: np.ndarray) -> np.ndarray:
    """Transform of the Kaiser-Bessel blob I₀(α√v), to a constant (Lewitt, JOSA A 7, 1834, 1990).

    Nearly the largest share of a compact function's transform that can lie inside a sphere.
    """
    z = np.sqrt(((2 * np.pi * radius * s) ** 2 - alpha**2).astype(complex))
    value = ((np.sin(z) - z * np.cos(z)) / z**3).real
    peak = (alpha * np.cosh(alpha) - np.sinh(alpha)) / alpha**3
    return value / peak


def _grid_points_per_cell(unit_cell: tuple[float, ...], d_min: float) -> np.ndarray:
    """Spheres of the resolution limit lie `SAMPLING` of their diameters apart: (3,) float."""
    spacing = np.sqrt(np.diag(reciprocal_metric(unit_cell)))
    return 2 * SAMPLING / d_min / spacing * _skewness(unit_cell)


def _skewness(unit_cell: tuple[float, ...]) -> float:
    """How much finer a skewed grid must be than its axes tell: the shortest diagonal counts."""
    axes = fractionalization(unit_cell)
    axes = axes / np.linalg.norm(axes, axis=1)[:, None]
    combinations = np.array(list(np.ndindex(3, 3, 3))) - 1
    lengths = np.linalg.norm(combinations @ axes, axis=1)
    return float(1 / lengths[lengths > 1e-9].min())
