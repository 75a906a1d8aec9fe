"""A transform to first order in motion, through a density that is drawn on a grid."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from hpc_diffuser.kernels import squares
from hpc_diffuser.kernels.curvatures import draw_curvatures
from hpc_diffuser.kernels.gradients import draw_gradients
from hpc_diffuser.kernels.threads import n_threads
from hpc_diffuser.kernels.transforms import BEHIND, Planes, Tables
from hpc_diffuser.scattering.boxes import curvatures_at_once, drawn_at_once, moved_at_once
from hpc_diffuser.scattering.drawing import Drawing, planes_of
from hpc_diffuser.scattering.dressing import dressing_copies, field_covariances
from hpc_diffuser.scattering.exact_sums import ExactSums, expansion_bound
from hpc_diffuser.system.arrays import Floats, Integers


class DensityPhonons:
    """The molecule's transform to first order in its motion: a `transform.Phonons`.

    Moving atoms are drawn as displaced copies (`dressing`), H_i from the gradients of their
    densities.

    Parameters
    ----------
    drawing : Drawing
        Of the molecule.
    fields : (M, N, 3) float, Å
        Independent motions of its atoms, each by its standard deviation.
    """

    def __init__(self, drawing: Drawing, fields: Floats):
        self._still, slab = drawing, drawing.slab
        copies = dressing_copies(field_covariances(fields), slab.d_min)
        self._dressed = drawing.of_copies(copies)
        places, factors = self._dressed.structure.positions, self._dressed.factors
        steps = self._dressed.steps(places[None])
        self._half_box = self._dressed.half_box(steps)
        self._folded: Floats | None = None
        self._mean_density = self._dressed.draw(steps, np.zeros(2 * self._half_box, np.float32))
        self.mean = self._structure_factors(self._mean_density[0])
        first = np.searchsorted(copies.atoms, np.arange(len(drawing.structure) + 1))
        self._copies = (first, factors.kind, factors.occupancies.astype(np.float32))
        self._places = (places - drawing.origin) @ drawing.to_steps
        self._fields = (fields @ drawing.to_steps).astype(np.float32)
        self._at_once = drawn_at_once(float(np.prod(2.0 * self._half_box)))
        self._bound = expansion_bound(drawing.factors, fields, slab.d_min)
        self._all: Floats | None = None

    def sums(self) -> ExactSums:
        """Zeros, to add squares and remainders to."""
        return ExactSums.of([self._bound], self._still.slab.size)

    def add_squares(self, first: int, last: int, sums: ExactSums) -> None:
        """Add Σ |H_i|² over the fields from `first` up to `last`."""
        for start in range(first, last, self._at_once) if self._dressed.slab.size else ():
            for density in self._of_fields(start, min(start + self._at_once, last)):
                self._add_square(density, sums)

    def _add_square(self, density: Floats, sums: ExactSums) -> None:
        """Add |F|² of a density."""
        exact = (self._dressed.sharpen, sums.large[0], sums.values[0])
        squares.add_square(self._fold(density), *self._inputs, *exact)

    def _structure_factors(self, density: Floats) -> tuple[Floats, Floats]:
        """Real and imaginary part of a density's F: (V,) float32 both."""
        size = self._dressed.slab.size
        real, imaginary = np.zeros(size, np.float32), np.zeros(size, np.float32)
        if size:
            squares.structure_factors(self._fold(density), *self._inputs, real, imaginary)
        real *= self._dressed.sharpen
        imaginary *= self._dressed.sharpen
        return real, imaginary

    def _fold(self, density: Floats) -> Floats:
        """As the kernels of `squares` take a density: one array for all, overwritten."""
        if self._folded is None:
            self._folded = np.zeros(density.size + BEHIND, np.float32)
        squares.fold_into(density, *planes_of(self._half_box), self._folded)
        return self._folded

    @cached_property
    def _inputs(self) -> tuple[Tables, Planes, Integers]:
        """What its densities are transformed with."""
        return self._dressed.inputs(self._half_box)

    def add_remainders(
        self,
        configurations: Floats,
        normals: Floats,
        weight: float,
        sums: ExactSums,
        own: slice = slice(None),
    ) -> None:
        """Add Σ w |F_s − m − Σ_i z_si H_i|² over some of a chunk's configurations."""
        drawing = self._still
        if not drawing.slab.size:
            return
        steps, expected = drawing.steps(configurations), self._first_order(normals)
        half_box = np.maximum(drawing.half_box(steps), self._half_box)
        steps, expected = steps[own], expected[own]
        at_once = moved_at_once(8.0 * np.prod(half_box))
        for first in range(0, len(steps), at_once):
            some = slice(first, first + at_once)
            densities = drawing.draw(steps[some], np.zeros(2 * half_box, np.float32))
            inner = [slice(n, -n or None) for n in half_box - self._half_box]
            whole = densities[:, :-BEHIND].reshape(-1, *2 * half_box)
            drawn = expected[some, :-BEHIND].reshape(-1, *(2 * self._half_box))
            whole[:, *inner] -= drawn
            drawing.add(densities, half_box, sums, np.full(len(densities), weight))

    def slopes(self, fields: Floats, released: Floats) -> Iterator[Floats]:
        """|h|² and Re(m* k) for each of some fields: (2, V) float32, one after the other."""
        at_once = curvatures_at_once(float(np.prod(2.0 * self._half_box)))
        n_parts = max(1, -(-len(fields) // at_once))
        if not self._dressed.slab.size:
            yield from np.empty((len(fields), 2, 0), np.float32)
            return
        for some in np.array_split(fields, n_parts):
            densities = self._curvatures(some, released)
            for along, curved in densities:
                of_first = self.sums()
                self._add_square(along, of_first)
                real, imaginary = self._structure_factors(curved)
                crossed = self.mean[0] * real + self.mean[1] * imaginary
                yield np.stack([of_first.values[0].astype(np.float32), crossed])

    def _curvatures(self, fields: Floats, released: Floats) -> Floats:
        """Densities of h and k for some fields (M, N, 3): (M, 2, ·) float32."""
        drawing = self._dressed
        box = 2 * self._half_box
        spreads = np.einsum("mni,mnj->mnij", fields, fields)
        alike = released * np.sum(fields**2, axis=2)
        spreads -= alike[..., None, None] * np.eye(3)
        spreads = drawing.to_steps.T @ spreads @ drawing.to_steps
        i, j = np.array([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]).T
        twice = np.where(i == j, 1, 2)
        densities = np.empty((len(fields), 2, int(np.prod(box)) + BEHIND), np.float32)
        draw_curvatures(
            self._places,
            self._copies,
            (fields @ drawing.to_steps).astype(np.float32),
            np.ascontiguousarray(spreads[..., i, j] * twice, np.float32),
            drawing.curved(),
            box,
            min(n_threads(), len(fields)),
            densities,
        )
        return densities

    def _first_order(self, normals: Floats) -> Floats:
        """Densities of m + Σ_i z_i H_i, which is linear in the atoms' displacements: (S, ·)."""
        coefficients = normals.astype(np.float32)
        if len(self._fields) <= self._at_once:
            densities: Floats = coefficients @ self._all_fields()
        else:  # to keep a box for every field would take more memory than there is
            densities = self._gradients(np.tensordot(coefficients, self._fields, 1))
        densities += self._mean_density
        return densities

    def _all_fields(self) -> Floats:
        """Densities of all H_i, which are kept: (M, ·) float32."""
        if self._all is None:
            self._all = self._gradients(self._fields)
        return self._all

    def _of_fields(self, first: int, last: int) -> Floats:
        """The same from `first` up to `last`."""
        if self._all is None:
            return self._gradients(self._fields[first:last])
        return self._all[first:last]

    def _gradients(self, displacements: Floats) -> Floats:
        """What displacements (F, N, 3), in steps, add to the density: (F, ·) float32."""
        box = 2 * self._half_box
        densities = np.empty((len(displacements), int(np.prod(box)) + BEHIND), np.float32)
        shapes = self._dressed.shapes
        draw_gradients(self._places, self._copies, displacements, shapes, box, densities)
        return densities
