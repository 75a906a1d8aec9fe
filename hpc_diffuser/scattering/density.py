"""Structure factors through a drawn density, and the choice between that and the direct sum."""

from __future__ import annotations

from copy import copy

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors
from hpc_diffuser.crystal.lattice import HklGrid, fractionalization
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.kernels import density as kernel
from hpc_diffuser.kernels.threads import thread_shares
from hpc_diffuser.scattering.direct import SAMPLES_AT_ONCE, DirectTransform
from hpc_diffuser.scattering.shapes import (
    DRAWING_ERROR,
    SOLVENT_ERROR,
    WIDTHS,
    can_be_drawn,
    fit_shapes,
    grid_points_per_cell,
    shapes_of_kinds,
)
from hpc_diffuser.scattering.slab import Slab, plane_costs
from hpc_diffuser.system.errors import InputError

MOST_POINTS = 1e8  # of a box: 1.6 GB for the configurations drawn at once


def choose_transform(
    structure: Structure,
    grid: HklGrid,
    d_min: float,
    choice: str,
    factors: AtomFactors | None = None,
    many_kinds: bool = False,
) -> type[DirectTransform] | type[DensityTransform]:
    """The cheaper way to transform a structure on a grid, or the one asked for.

    Parameters
    ----------
    structure : Structure
    grid : HklGrid
    d_min : float, Å
    choice : {"auto", "direct", "density"}
    factors : AtomFactors or None
        Those that are hardest to draw; plain form factors without.
    many_kinds : bool
        Nearly every atom may be of a kind of its own, with a B-factor of its own: for the direct
        sum, whose products are kind by kind, that is a hundred times the work.

    Raises
    ------
    InputError
        For "density" in a cell that is too skewed for it, where "auto" takes the direct sum.
    """
    drawable = can_be_drawn(grid.unit_cell)
    if choice == "density" and not drawable:
        raise _too_skewed(grid.unit_cell)
    if choice == "auto" and many_kinds and drawable:
        choice = "density"
    if choice == "auto":
        direct, density = transform_costs(structure, grid, d_min)
        pays = drawable and density < direct
        factors = factors or atom_factors(structure)
        tolerance = SOLVENT_ERROR if factors.k_sol_eA3 else DRAWING_ERROR
        exact = pays and fit_shapes(factors, grid.unit_cell, d_min).error <= tolerance
        choice = "density" if exact else "direct"
    return {"direct": DirectTransform, "density": DensityTransform}[choice]


def _too_skewed(unit_cell: tuple[float, ...]) -> InputError:
    return InputError(
        f"the unit cell {[round(float(x), 3) for x in unit_cell]} is too skewed to draw atoms on a "
        'grid along its axes: set [model] transform = "auto" or "direct", which sum over atoms, or '
        "describe the crystal by a reduced cell"
    )


def transform_costs(structure: Structure, grid: HklGrid, d_min: float) -> tuple[float, float]:
    """Seconds, roughly, of one configuration on a core: by the direct sum, through the density.

    Rates as measured on one machine with a matrix product at 90 GFLOP/s: only their ratios count.
    """
    quarter = float(plane_costs(grid, d_min).sum())
    direct = 16 * len(structure) * quarter / 50e9
    per_cell = grid_points_per_cell(grid.unit_cell, d_min)
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

    The interface of `direct.DirectTransform`, but F has a phase e^{−2πi s·r₀} common to all
    configurations: r₀ is the middle of the structure.

    Parameters
    ----------
    structure : Structure
        Its positions are the mean, F₀, that moments are taken about.
    slab : Slab
    factors : AtomFactors or None
        Of the structure's atoms; plain form factors without.
    """

    def __init__(self, structure: Structure, slab: Slab, factors: AtomFactors | None = None):
        self.slab = slab
        self._structure = structure
        factors = factors or atom_factors(structure)
        self.shapes = fit_shapes(factors, slab.grid.unit_cell, slab.d_min)
        cell = slab.grid.unit_cell
        per_cell = grid_points_per_cell(cell, slab.d_min)
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
        self._atoms = (factors.kind[self._order], occupancies)
        self._volume = volume
        self.mean = self.structure_factors(structure.positions)

    def with_factors(self, factors: AtomFactors) -> DensityTransform:
        """The same molecule with other factors, no harder to draw than those it was made for."""
        other = copy(self)
        coefficients = shapes_of_kinds(self.shapes, self.slab.d_min, factors)
        other._drawn = ((coefficients * self._volume).astype(np.float32), *self._drawn[1:])
        other._atoms = (factors.kind[self._order], self._atoms[1])
        other.mean = other.structure_factors(self._structure.positions)
        return other

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
        """Σ Re D, Σ Im D, Σ |D|² over configurations (S, N, 3) Å, D = F − F₀: (3, V) float32.

        Raises
        ------
        InputError
            Where atoms move too far for a grid.
        """
        sums = np.zeros((3, self.slab.size), np.float32)
        if not self.slab.size or not len(configurations):
            return sums
        steps, mean = self._steps(configurations), self._steps(self._structure.positions[None])
        least = self._half_box(mean)
        # The transform is linear: D is that of the difference of densities.
        mean_density = self._draw(mean, np.zeros(2 * least, np.float32))[0]
        mean_density = mean_density[: -kernel.ROW].reshape(2 * least)
        for first in range(0, len(steps), SAMPLES_AT_ONCE):
            some = steps[first : first + SAMPLES_AT_ONCE]
            half_box = np.maximum(self._half_box(some), least)
            margin = [(n, n) for n in half_box - least]
            densities = self._draw(some, np.pad(-mean_density, margin))
            kernel.fold_x(densities, *self._planes_of(half_box))
            kernel.add_moments(densities, *self._inputs(half_box), *sums)
        sums *= (self._sharpen, self._sharpen, self._sharpen**2)
        return sums

    @property
    def flops(self) -> float:
        """Operations of the matrix products for one configuration."""
        s = self.slab
        box = 2 * self._half_box(self._steps(self._structure.positions[None]))
        return _product_flops(box, len(s.h), len(s.row_halves), float((s.row_halves + 1).sum()))

    def _steps(self, configurations: np.ndarray) -> np.ndarray:
        return (configurations[:, self._order] - self.origin) @ self._to_steps

    def _half_box(self, steps: np.ndarray) -> np.ndarray:
        """Half the grid points that hold all configurations (S, N, 3), in steps: (3,) int."""
        farthest = np.abs(steps).max(axis=(0, 1))
        half_box = np.ceil(farthest + self._reach + 1)
        if np.prod(2 * half_box) > MOST_POINTS:
            raise InputError(
                f"atoms move too far to be drawn on a grid ({farthest.max():.0f} steps from the "
                'middle): give narrower ranges of [parameters], or [model] transform = "direct"'
            )
        return half_box.astype(np.int64)

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
