"""Structure factors through a density that is drawn on a grid."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors, copied_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.kernels import density as kernel
from hpc_diffuser.kernels import density_adjoint as adjoint
from hpc_diffuser.kernels import squares
from hpc_diffuser.kernels.curvatures import draw_curvatures, gather_curvatures
from hpc_diffuser.kernels.gradients import draw_gradients
from hpc_diffuser.kernels.rounding import TOGETHER
from hpc_diffuser.kernels.threads import n_threads, thread_shares
from hpc_diffuser.kernels.transforms import BEHIND, Planes, Tables
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.boxes import (
    MOST_POINTS,
    curvatures_at_once,
    drawn_at_once,
    farthest_box,
    moved_at_once,
    product_flops,
)
from hpc_diffuser.scattering.direct import sample_weights
from hpc_diffuser.scattering.dressing import Copies, dressing_copies, field_covariances
from hpc_diffuser.scattering.exact_sums import CHUNK, ExactSums, expansion_bound, moment_bounds
from hpc_diffuser.scattering.shapes import fit_shapes, grid_points_per_cell, shapes_of_kinds
from hpc_diffuser.scattering.slab import BLOCK, Slab
from hpc_diffuser.system.arrays import Complexes, Floats, Integers
from hpc_diffuser.system.errors import InputError


class DensityTransform:
    """Structure factors and ensemble moments of one structure on one slab, through a grid.

    A `transform.Transform`. F has a phase e^{−2πi s·r₀} common to all configurations: r₀, its
    `origin`, is the middle of the structure.

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
        self.structure = structure
        factors = factors or atom_factors(structure)
        self.factors = factors
        self.shapes = fit_shapes(factors, slab.grid.unit_cell, slab.d_min)
        cell = slab.grid.unit_cell
        per_cell = grid_points_per_cell(cell, slab.d_min)
        to_steps = fractionalization(cell).T * per_cell
        middle = (structure.positions.min(axis=0) + structure.positions.max(axis=0)) / 2
        self.origin: Floats = middle
        self._to_steps = to_steps
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
        self._still: tuple[Integers, Floats] | None = None
        self.mean = self.structure_factors(structure.positions)

    def with_factors(self, factors: AtomFactors) -> DensityTransform:
        """The same molecule with other factors, no harder to draw than those it was made for."""
        other = self._of(self.structure, factors)
        other.mean = other.structure_factors(self.structure.positions)
        return other

    def of_atoms(self, structure: Structure, factors: AtomFactors) -> DensityTransform:
        """That of other atoms, only to be `dressed`; see `transform.Transform`."""
        return self._of(structure, factors)

    def _of(self, structure: Structure, factors: AtomFactors) -> DensityTransform:
        """What draws other atoms at about the same places, with the same shapes; without a mean."""
        other = copy(self)
        other.structure, other.factors, other._still = structure, factors, None
        coefficients = shapes_of_kinds(self.shapes, self.slab.d_min, factors)
        other._drawn = ((coefficients * self._volume).astype(np.float32), *self._drawn[1:])
        # Neighbours in space draw on the same rows of the grid.
        other._order = np.argsort((structure.positions @ self._to_steps)[:, 0], kind="stable")
        occupancies = factors.occupancies[other._order].astype(np.float32)
        other._atoms = (factors.kind[other._order], occupancies)
        return other

    def phonons(self, fields: Floats) -> DensityPhonons:
        """The transform to first order in motion along fields (M, N, 3) in Å."""
        return DensityPhonons(self, fields)

    def dressed(self, covariances: Floats, weights: Floats) -> Complexes:
        """Of atoms blurred by their motion, and weighted; see `transform.Transform`.

        Drawn as displaced copies.
        """
        drawing, atoms = self._of_copies(dressing_copies(covariances, self.slab.d_min))
        found = np.empty((len(weights), self.slab.size), np.complex64)
        kinds, order = drawing.factors.kind[drawing._order], drawing._order
        for own, of_atoms in zip(found, weights, strict=True):
            occupancies = (drawing.factors.occupancies * of_atoms[atoms])[order].astype(np.float32)
            drawing._atoms = (kinds, occupancies)
            own.real, own.imag = drawing.structure_factors(drawing.structure.positions)
        return found

    def _of_copies(self, copies: Copies) -> tuple[DensityTransform, Integers]:
        """What draws displaced copies of atoms, and which atom each is a copy of."""
        moved = self.structure.select(copies.atoms)
        moved = replace(moved, positions=moved.positions + copies.offsets)
        occupancies = self.factors.occupancies[copies.atoms] * copies.weights
        dims = copies.b_factors_A2
        factors = copied_factors(self.factors, copies.atoms, occupancies, dims)
        return self._of(moved, factors), copies.atoms

    def dressed_slopes(self, covariances: Floats, weights: Floats, pulls: Complexes) -> Floats:
        """By the atoms' covariances; see `transform.Transform`.

        dT = ½ Σ_a w_a dU_a:∇∇ρ_a, transformed.
        """
        drawing, atoms = self._of_copies(dressing_copies(covariances, self.slab.d_min))
        n_blocks, n_atoms = len(self.slab.blocks) - 1, len(covariances)
        gathered = np.zeros((n_blocks, n_atoms, 6))
        if n_blocks:
            places = (drawing.structure.positions - self.origin) @ self._to_steps
            half_box = drawing._half_box(places[None])
            shapes = shapes_of_kinds(drawing.shapes, self.slab.d_min, drawing.factors, curved=True)
            drawn = ((shapes * self._volume).astype(np.float32), *drawing._drawn[1:])
            first = np.searchsorted(atoms, np.arange(n_atoms + 1))
            copies = first, drawing.factors.kind, drawing.factors.occupancies.astype(np.float32)
            pulled = drawing._pulled(pulls, half_box)
            gather_curvatures(places, copies, weights, drawn, 2 * half_box, pulled, gathered)
        in_steps = gathered[..., [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
        slopes: Floats = 0.5 * self._to_steps @ in_steps @ self._to_steps.T
        return slopes

    def _pulled(self, pulls: Complexes, half_box: Integers) -> Floats:
        """Of derivatives by F (K, V) those by densities: (B, K, ·) float32, of each block."""
        nothing = np.zeros((1, int(np.prod(2 * half_box)) + kernel.ROW), np.float32)
        found = np.empty((len(self.slab.blocks) - 1, len(pulls), nothing.size), np.float32)
        for j, own in enumerate(pulls):
            constant = np.stack([0 * own.real, own.real, own.imag]) * self._sharpen
            of_one = np.empty((len(found), 1, nothing.size), np.float32)
            counts = np.ones(1, np.float32)
            given = constant.astype(np.float32)
            adjoint.pull_back(counts, nothing, *self._inputs(half_box), given, of_one)
            found[:, j] = of_one[:, 0]
        return found

    def structure_factors(self, positions: Floats) -> tuple[Floats, Floats]:
        """F of one configuration: positions (N, 3) Å → real and imaginary part, (V,) float32."""
        sums = self.sums(1.0)
        if self.slab.size:
            steps = self._steps(positions[None])
            half_box = self._half_box(steps)
            self._add(self._draw(steps, np.zeros(2 * half_box, np.float32)), half_box, sums)
        real, imaginary, _ = sums.values.astype(np.float32)
        return real, imaginary

    def sums(self, weight: float) -> ExactSums:
        """Zeros, to add moments to of configurations that weigh so much together."""
        return ExactSums.of(moment_bounds(self.factors, weight), self.slab.size)

    def moments(self, configurations: Floats, weights: Floats | None = None) -> Floats:
        """Weighted sums over all configurations about the mean; see `add_moments`."""
        weights = sample_weights(weights, len(configurations))
        sums = self.sums(float(np.abs(weights).sum()))
        for first in range(0, len(configurations), CHUNK):
            some = slice(first, first + CHUNK)
            self.add_moments(configurations[some], weights[some], sums)
        return sums.values

    def add_moments(
        self, configurations: Floats, weights: Floats, sums: ExactSums, own: slice = slice(None)
    ) -> None:
        """Add some of a chunk's configurations; see `transform.Transform`.

        Raises
        ------
        InputError
            Where atoms move too far for a grid.
        """
        if not self.slab.size:
            return
        steps = self._steps(configurations)
        least, mean_density = self._still_density()
        half_box = np.maximum(self._half_box(steps), least)
        # The transform is linear: D is that of the difference of densities.
        background = np.pad(-mean_density, [(n, n) for n in half_box - least])
        steps, weights = steps[own], weights[own]
        at_once = moved_at_once(float(background.size))
        for first in range(0, len(steps), at_once):
            some = slice(first, first + at_once)
            self._add(self._draw(steps[some], background), half_box, sums, weights[some])

    def _add(
        self,
        densities: Floats,
        half_box: Integers,
        sums: ExactSums,
        weights: Floats | None = None,
        together: int = TOGETHER,
    ) -> None:
        """Add the transforms of densities (S, ·), which are folded."""
        kernel.fold_x(densities, *self._planes_of(half_box))
        counts = sample_weights(weights, len(densities))
        exact = (together, sums.large, sums.values)
        kernel.add_moments(counts, densities, *self._inputs(half_box), self._sharpen, exact)

    def _still_density(self) -> tuple[Integers, Floats]:
        """Half the box of the mean structure, and its density there."""
        if self._still is None:
            steps = self._steps(self.structure.positions[None])
            half_box = self._half_box(steps)
            density = self._draw(steps, np.zeros(2 * half_box, np.float32))[0]
            self._still = half_box, density[:-BEHIND].reshape(2 * half_box)
        return self._still

    def forces(
        self,
        configurations: Floats,
        pulls: Floats,
        weights: Floats | None = None,
        dimming: bool = False,
        own: slice = slice(None),
    ) -> Floats:
        """What moving atoms does to an objective that F pulls at; see `transform.Transform`.

        The exact derivative of what is drawn and transformed here.
        """
        steps = self._steps(configurations)
        half_box = self._half_box(steps) if len(steps) else np.ones(3, np.int64)
        steps = steps[own]
        n_blocks, shape = len(self.slab.blocks) - 1, steps.shape[:2]
        forces = np.zeros((n_blocks, *shape, 4))
        counts = sample_weights(weights, len(configurations))[own]
        pulls = pulls * np.stack([self._sharpen**2, self._sharpen, self._sharpen])
        changes = self._dimming() if dimming else np.empty((0, kernel.DEGREE), np.float32)
        nothing, inputs = np.zeros(2 * half_box, np.float32), self._inputs(half_box)
        # Made once: the system gives every large array new pages, which takes as long as products.
        room = np.empty((n_blocks, min(TOGETHER, len(steps)), nothing.size + BEHIND), np.float32)
        for first in range(0, len(steps), TOGETHER) if n_blocks else ():
            some = slice(first, first + TOGETHER)
            densities = self._draw(steps[some], nothing)
            kernel.fold_x(densities, *self._planes_of(half_box))
            pulled = room if len(densities) == room.shape[1] else room[:, :1].copy()
            adjoint.pull_back(counts[some], densities, *inputs, pulls, pulled)
            found = np.empty((n_blocks, *steps[some].shape[:2], 4))
            adjoint.gather(
                steps[some], self._atoms, self._drawn, changes, 2 * half_box, pulled, found
            )
            forces[:, some, self._order] = found
        forces[..., :3] = forces[..., :3] @ self._to_steps.T
        return forces

    def _dimming(self) -> Floats:
        """Coefficients of what shapes change by with their atoms' B-factors."""
        coefficients = shapes_of_kinds(self.shapes, self.slab.d_min, self.factors, dimming=True)
        dimming: Floats = (coefficients * self._volume).astype(np.float32)
        return dimming

    drawn = True
    kept_values = 3  # at every stored value, float32: F₀ and what sharpens it

    @staticmethod
    def working_bytes(
        modes: Modes, slab: Slab, farthest: Parameters, factors: AtomFactors | None = None
    ) -> list[float]:
        """Bytes of each of the arrays that the kernels work with; see `transform.MakeTransform`."""
        x, y, z = farthest_box(modes, slab, farthest, factors)
        k = slab.table_extent[0] + 1
        box, planes = 4 * x * y * z, min(BLOCK, len(slab.h))
        # `kernels.transforms.block_steps`: after x, its parts; after y of all samples.
        block = 4 * (2 * planes * y * z + 2 * planes * y * z)
        at_once = moved_at_once(box / 4)
        block += 4 * at_once * 4 * 2 * planes * k * z / 2
        return [at_once * box, *[box] * 3, *[block] * n_threads()]

    slope_values = 10  # two transforms, |h|² and Re(m* k) twice, m

    @staticmethod
    def slope_bytes(
        modes: Modes, slab: Slab, farthest: Parameters, factors: AtomFactors | None = None
    ) -> list[float]:
        """Of fields drawn together, and of their transforms; see `transform.MakeTransform`."""
        points = float(np.prod(farthest_box(modes, slab, farthest, factors)))
        working = DensityTransform.working_bytes(modes, slab, farthest, factors)
        return [8 * curvatures_at_once(points) * points, 4 * points, *working[4:]]

    @staticmethod
    def force_bytes(
        modes: Modes, slab: Slab, farthest: Parameters, factors: AtomFactors | None = None
    ) -> tuple[list[float], list[float]]:
        """Of what is drawn, and of each block's pulls and forces; see `transform.MakeTransform`."""
        box = 4 * TOGETHER * float(np.prod(farthest_box(modes, slab, farthest, factors)))
        working = DensityTransform.working_bytes(modes, slab, farthest, factors)
        forces = 32.0 * len(modes.structure)
        return [box, *working[4:]], [box, CHUNK * forces, 0.75 * CHUNK * forces, TOGETHER * forces]

    @property
    def flops(self) -> float:
        """Operations of the matrix products for one configuration."""
        s = self.slab
        box = 2 * self._half_box(self._steps(self.structure.positions[None]))
        return product_flops(box, len(s.h), len(s.row_halves), float((s.row_halves + 1).sum()))

    def _steps(self, configurations: Floats) -> Floats:
        return (configurations[:, self._order] - self.origin) @ self._to_steps

    def _half_box(self, steps: Floats) -> Integers:
        """Half the grid points that hold all configurations (S, N, 3), in steps: (3,) int."""
        farthest = np.abs(steps).max(axis=(0, 1))
        half_box = np.ceil(farthest + self._reach + 1)
        if np.prod(2 * half_box) > MOST_POINTS:
            raise InputError(
                f"atoms move too far to be drawn on a grid ({farthest.max():.0f} steps from the "
                'middle): give narrower ranges of [parameters], or [model] transform = "direct"'
            )
        points: Integers = half_box.astype(np.int64)
        return points

    @staticmethod
    def _planes_of(half_box: Integers) -> tuple[int, int]:
        """How many planes of constant x a box has, and how many points each of them."""
        return 2 * half_box[0], 4 * half_box[1] * half_box[2]

    def _draw(self, steps: Floats, background: Floats) -> Floats:
        densities = np.empty((len(steps), background.size + BEHIND), np.float32)
        kernel.draw(steps, self._atoms, self._drawn, background, densities)
        return densities

    def _inputs(self, half_box: Integers) -> tuple[Tables, Planes, Integers]:
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

    def _sharpening(self) -> Floats:
        """1/B at every stored value: (V,) float32."""
        s = np.sqrt(self.slab.s_squared())
        return np.interp(s, self.shapes.s, 1 / self.shapes.blur).astype(np.float32)


class DensityPhonons:
    """The molecule's transform to first order in its motion: a `transform.Phonons`.

    Moving atoms are drawn as displaced copies (`dressing`), H_i from the gradients of their
    densities.

    Parameters
    ----------
    transform : DensityTransform
    fields : (M, N, 3) float, Å
        Independent motions of the transform's atoms, each by its standard deviation.
    """

    def __init__(self, transform: DensityTransform, fields: Floats):
        self._still = transform
        structure, slab = transform.structure, transform.slab
        copies = dressing_copies(field_covariances(fields), slab.d_min)
        occupancies = structure.occupancies[copies.atoms] * copies.weights
        moved = structure.select(copies.atoms)
        moved = replace(moved, positions=moved.positions + copies.offsets, occupancies=occupancies)
        dims = copies.b_factors_A2
        self._dressed = transform._of(
            moved, copied_factors(transform.factors, copies.atoms, occupancies, dims)
        )
        steps = self._dressed._steps(moved.positions[None])
        self._half_box = self._dressed._half_box(steps)
        self._folded: Floats | None = None
        self._mean_density = self._dressed._draw(steps, np.zeros(2 * self._half_box, np.float32))
        self.mean = self._structure_factors(self._mean_density[0])
        first = np.searchsorted(copies.atoms, np.arange(len(structure) + 1))
        kinds = self._dressed.factors.kind
        self._copies = (first, kinds, occupancies.astype(np.float32))
        self._places = (moved.positions - transform.origin) @ transform._to_steps
        self._fields = (fields @ transform._to_steps).astype(np.float32)
        self._at_once = drawn_at_once(float(np.prod(2.0 * self._half_box)))
        self._bound = expansion_bound(transform.factors, fields, slab.d_min)
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
        exact = (self._dressed._sharpen, sums.large[0], sums.values[0])
        squares.add_square(self._fold(density), *self._inputs, *exact)

    def _structure_factors(self, density: Floats) -> tuple[Floats, Floats]:
        """Real and imaginary part of a density's F: (V,) float32 both."""
        size = self._dressed.slab.size
        real, imaginary = np.zeros(size, np.float32), np.zeros(size, np.float32)
        if size:
            squares.structure_factors(self._fold(density), *self._inputs, real, imaginary)
        real *= self._dressed._sharpen
        imaginary *= self._dressed._sharpen
        return real, imaginary

    def _fold(self, density: Floats) -> Floats:
        """As the kernels of `squares` take a density: one array for all, overwritten."""
        if self._folded is None:
            self._folded = np.zeros(density.size + BEHIND, np.float32)
        squares.fold_into(density, *self._dressed._planes_of(self._half_box), self._folded)
        return self._folded

    @cached_property
    def _inputs(self) -> tuple[Tables, Planes, Integers]:
        """What its densities are transformed with."""
        return self._dressed._inputs(self._half_box)

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
        steps, expected = drawing._steps(configurations), self._first_order(normals)
        half_box = np.maximum(drawing._half_box(steps), self._half_box)
        steps, expected = steps[own], expected[own]
        at_once = moved_at_once(8.0 * np.prod(half_box))
        for first in range(0, len(steps), at_once):
            some = slice(first, first + at_once)
            densities = drawing._draw(steps[some], np.zeros(2 * half_box, np.float32))
            inner = [slice(n, -n or None) for n in half_box - self._half_box]
            whole = densities[:, :-BEHIND].reshape(-1, *2 * half_box)
            drawn = expected[some, :-BEHIND].reshape(-1, *(2 * self._half_box))
            whole[:, *inner] -= drawn
            drawing._add(densities, half_box, sums, np.full(len(densities), weight))

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
        drawing, slab = self._dressed, self._dressed.slab
        box = 2 * self._half_box
        spreads = np.einsum("mni,mnj->mnij", fields, fields)
        alike = released * np.sum(fields**2, axis=2)
        spreads -= alike[..., None, None] * np.eye(3)
        spreads = drawing._to_steps.T @ spreads @ drawing._to_steps
        i, j = np.array([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]).T
        twice = np.where(i == j, 1, 2)
        shapes = shapes_of_kinds(drawing.shapes, slab.d_min, drawing.factors, curved=True)
        drawn = ((shapes * drawing._volume).astype(np.float32), *drawing._drawn[1:])
        densities = np.empty((len(fields), 2, int(np.prod(box)) + BEHIND), np.float32)
        draw_curvatures(
            self._places,
            self._copies,
            (fields @ drawing._to_steps).astype(np.float32),
            (spreads[..., i, j] * twice).astype(np.float32),
            drawn,
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
        shapes = self._dressed._drawn
        draw_gradients(self._places, self._copies, displacements, shapes, box, densities)
        return densities
