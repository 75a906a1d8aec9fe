"""Atoms drawn on a grid, and the box around them transformed on a slab."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, copied_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.kernels import density as kernel
from hpc_diffuser.kernels.rounding import TOGETHER
from hpc_diffuser.kernels.threads import thread_shares
from hpc_diffuser.kernels.transforms import BEHIND, Planes, Tables
from hpc_diffuser.scattering.boxes import MOST_POINTS
from hpc_diffuser.scattering.direct import sample_weights
from hpc_diffuser.scattering.dressing import Copies
from hpc_diffuser.scattering.exact_sums import ExactSums
from hpc_diffuser.scattering.shapes import fit_shapes, grid_points_per_cell, shapes_of_kinds
from hpc_diffuser.scattering.slab import Slab
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

Shapes = tuple[Floats, Floats, float]  # coefficients, metric and reach; see `kernels.density.draw`


class Drawing:
    """What draws a structure's configurations on a grid, and transforms what is drawn on a slab.

    Parameters
    ----------
    structure : Structure
    slab : Slab
    factors : AtomFactors
        Of the structure's atoms.

    Attributes
    ----------
    base : AtomShapes
        Of the atoms that it was first made for; all that come after have the same widths.
    origin : (3,) float, Å
        The middle of the structure, which the middle of every box is at.
    to_steps : (3, 3) float
        Å as a row vector times this are steps of the grid.
    reach : float
        Of an atom, in steps along the axis where it reaches farthest.
    order : (N,) int
        That of the atoms as they are drawn: neighbours in space on the same rows of the grid.
    atoms : (kind (N,) int, occupancies (N,) float32)
        In that order.
    shapes : Shapes
        Of the kinds of atoms.
    sharpen : (V,) float32
        What F is the transform of the density times, at every stored value.
    """

    def __init__(self, structure: Structure, slab: Slab, factors: AtomFactors):
        cell = slab.grid.unit_cell
        self.slab, self.base = slab, fit_shapes(factors, cell, slab.d_min)
        per_cell = grid_points_per_cell(cell, slab.d_min)
        to_steps = fractionalization(cell).T * per_cell
        middle = (structure.positions.min(axis=0) + structure.positions.max(axis=0)) / 2
        self.origin: Floats = middle
        self.to_steps: Floats = to_steps
        self._divisions = per_cell * np.array(slab.grid.divisions)
        per_step = np.linalg.inv(to_steps)
        self._metric = (per_step @ per_step.T / self.base.radius_A**2).astype(np.float32)
        self._volume = abs(np.linalg.det(per_step))
        self.reach = self.base.radius_A * float(np.linalg.norm(to_steps, axis=0).max())
        s = np.sqrt(slab.s_squared())
        sharpen = np.interp(s, self.base.s, 1 / self.base.blur)
        self.sharpen: Floats = sharpen.astype(np.float32)
        self._take(structure, factors)
        self.shapes = self._drawn(self.base.coefficients)

    def of(self, structure: Structure, factors: AtomFactors) -> Drawing:
        """What draws other atoms at about the same places, with the same shapes."""
        other = copy(self)
        other._take(structure, factors)
        other.shapes = other._fitted()
        return other

    def _take(self, structure: Structure, factors: AtomFactors) -> None:
        self.structure, self.factors = structure, factors
        along_x = (structure.positions @ self.to_steps)[:, 0]
        self.order: Integers = np.argsort(along_x, kind="stable")
        self.atoms = factors.kind[self.order], factors.occupancies[self.order].astype(np.float32)

    def dimming(self) -> Shapes:
        """What shapes change by with their atoms' B-factors."""
        return self._fitted(dimming=True)

    def curved(self) -> Shapes:
        """Shapes that are to be differentiated twice."""
        return self._fitted(curved=True)

    def _fitted(self, **how: bool) -> Shapes:
        return self._drawn(shapes_of_kinds(self.base, self.slab.d_min, self.factors, **how))

    def _drawn(self, coefficients: Floats) -> Shapes:
        # In one order always, or kernels would be compiled for each.
        in_order = np.ascontiguousarray(coefficients * self._volume, np.float32)
        return in_order, self._metric, self.reach

    def of_copies(self, copies: Copies) -> Drawing:
        """What draws displaced copies of atoms."""
        moved = self.structure.select(copies.atoms)
        moved = replace(moved, positions=moved.positions + copies.offsets)
        occupancies = self.factors.occupancies[copies.atoms] * copies.weights
        dims = copies.b_factors_A2
        return self.of(moved, copied_factors(self.factors, copies.atoms, occupancies, dims))

    def weigh(self, occupancies: Floats) -> None:
        """From now on draw atoms with these occupancies, (N,)."""
        self.atoms = self.atoms[0], occupancies[self.order].astype(np.float32)

    def steps(self, configurations: Floats) -> Floats:
        """Places in steps from the middle, of configurations (S, N, 3) Å; atoms in `order`."""
        return (configurations[:, self.order] - self.origin) @ self.to_steps

    def half_box(self, steps: Floats) -> Integers:
        """Half the grid points that hold all configurations (S, N, 3), in steps: (3,) int.

        Raises
        ------
        InputError
            Where atoms move too far for a grid.
        """
        farthest = np.abs(steps).max(axis=(0, 1))
        half_box = np.ceil(farthest + self.reach + 1)
        if np.prod(2 * half_box) > MOST_POINTS:
            raise InputError(
                f"atoms move too far to be drawn on a grid ({farthest.max():.0f} steps from the "
                'middle): give narrower ranges of [parameters], or [model] transform = "direct"'
            )
        points: Integers = half_box.astype(np.int64)
        return points

    def draw(self, steps: Floats, background: Floats) -> Floats:
        """Densities on a background (x, y, z): (S, x y z + BEHIND) float32."""
        densities = np.empty((len(steps), background.size + BEHIND), np.float32)
        kernel.draw(steps, self.atoms, self.shapes, background, densities)
        return densities

    def add(
        self,
        densities: Floats,
        half_box: Integers,
        sums: ExactSums,
        weights: Floats | None = None,
        together: int = TOGETHER,
    ) -> None:
        """Add the transforms of densities (S, ·), which are folded."""
        kernel.fold_x(densities, *planes_of(half_box))
        counts = sample_weights(weights, len(densities))
        exact = (together, sums.large, sums.values)
        kernel.add_moments(counts, densities, *self.inputs(half_box), self.sharpen, exact)

    def inputs(self, half_box: Integers) -> tuple[Tables, Planes, Integers]:
        """The transform kernels' common arguments for a box."""
        s = self.slab
        extents = (int(s.h.max(initial=0)), *s.table_extent)
        x, y, z = (
            kernel.axis_tables(extent, divisions, points)
            for extent, divisions, points in zip(extents, self._divisions, half_box, strict=True)
        )
        along_x = np.stack([x[0, s.h], x[1, s.h, ::-1]])
        tables = (along_x, y, np.ascontiguousarray(z.swapaxes(1, 2)), *self._divisions[1:])
        planes = (s.blocks, s.centres, s.halves, s.offsets, s.row_halves, s.row_offsets)
        sizes = np.diff(s.offsets[s.blocks])
        return tables, planes, thread_shares(sizes)


def planes_of(half_box: Integers) -> tuple[int, int]:
    """How many planes of constant x a box has, and how many points each of them."""
    return 2 * half_box[0], 4 * half_box[1] * half_box[2]
