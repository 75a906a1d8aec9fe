"""Structure factors through a density that is drawn on a grid."""

from __future__ import annotations

from copy import copy

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.kernels import density as kernel
from hpc_diffuser.kernels import density_adjoint as adjoint
from hpc_diffuser.kernels.curvatures import gather_curvatures
from hpc_diffuser.kernels.rounding import TOGETHER
from hpc_diffuser.kernels.threads import n_threads
from hpc_diffuser.kernels.transforms import BEHIND
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.boxes import (
    curvatures_at_once,
    farthest_box,
    moved_at_once,
    product_flops,
)
from hpc_diffuser.scattering.density_phonons import DensityPhonons
from hpc_diffuser.scattering.direct import sample_weights
from hpc_diffuser.scattering.drawing import Drawing, planes_of
from hpc_diffuser.scattering.dressing import dressing_copies
from hpc_diffuser.scattering.exact_sums import CHUNK, ExactSums, moment_bounds
from hpc_diffuser.scattering.slab import BLOCK, Slab
from hpc_diffuser.system.arrays import Complexes, Floats, Integers


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
        self.slab, self.structure = slab, structure
        self.factors = factors or atom_factors(structure)
        self.drawing = Drawing(structure, slab, self.factors)
        self.origin: Floats = self.drawing.origin
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
        """Of other atoms at about the same places, drawn with the same shapes; without a mean."""
        other = copy(self)
        other.structure, other.factors, other._still = structure, factors, None
        other.drawing = self.drawing.of(structure, factors)
        return other

    def phonons(self, fields: Floats) -> DensityPhonons:
        """The transform to first order in motion along fields (M, N, 3) in Å."""
        return DensityPhonons(self.drawing, fields)

    def dressed(self, covariances: Floats, weights: Floats) -> Complexes:
        """Of atoms blurred by their motion, and weighted; see `transform.Transform`.

        Drawn as displaced copies.
        """
        copies = dressing_copies(covariances, self.slab.d_min)
        drawing = self.drawing.of_copies(copies)
        found = np.empty((len(weights), self.slab.size), np.complex64)
        for own, of_atoms in zip(found, weights, strict=True):
            drawing.weigh(drawing.factors.occupancies * of_atoms[copies.atoms])
            own.real, own.imag = self._of_one(drawing, drawing.structure.positions)
        return found

    def dressed_slopes(self, covariances: Floats, weights: Floats, pulls: Complexes) -> Floats:
        """By the atoms' covariances; see `transform.Transform`.

        dT = ½ Σ_a w_a dU_a:∇∇ρ_a, transformed.
        """
        copies = dressing_copies(covariances, self.slab.d_min)
        drawing, to_steps = self.drawing.of_copies(copies), self.drawing.to_steps
        n_blocks, n_atoms = len(self.slab.blocks) - 1, len(covariances)
        gathered = np.zeros((n_blocks, n_atoms, 6))
        if n_blocks:
            places = (drawing.structure.positions - self.origin) @ to_steps
            half_box = drawing.half_box(places[None])
            first = np.searchsorted(copies.atoms, np.arange(n_atoms + 1))
            kinds, occupancies = drawing.factors.kind, drawing.factors.occupancies
            of_atoms, shapes = (first, kinds, occupancies.astype(np.float32)), drawing.curved()
            pulled = self._pulled(pulls, half_box)
            gather_curvatures(places, of_atoms, weights, shapes, 2 * half_box, pulled, gathered)
        in_steps = gathered[..., [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
        slopes: Floats = 0.5 * to_steps @ in_steps @ to_steps.T
        return slopes

    def _pulled(self, pulls: Complexes, half_box: Integers) -> Floats:
        """Of derivatives by F (K, V) those by densities: (B, K, ·) float32, of each block."""
        nothing = np.zeros((1, int(np.prod(2 * half_box)) + kernel.ROW), np.float32)
        found = np.empty((len(self.slab.blocks) - 1, len(pulls), nothing.size), np.float32)
        for j, own in enumerate(pulls):
            constant = np.stack([0 * own.real, own.real, own.imag]) * self.drawing.sharpen
            of_one = np.empty((len(found), 1, nothing.size), np.float32)
            counts = np.ones(1, np.float32)
            given = constant.astype(np.float32)
            adjoint.pull_back(counts, nothing, *self.drawing.inputs(half_box), given, of_one)
            found[:, j] = of_one[:, 0]
        return found

    def structure_factors(self, positions: Floats) -> tuple[Floats, Floats]:
        """F of one configuration: positions (N, 3) Å → real and imaginary part, (V,) float32."""
        return self._of_one(self.drawing, positions)

    def _of_one(self, drawing: Drawing, positions: Floats) -> tuple[Floats, Floats]:
        sums = self._sums(drawing.factors, 1.0)
        if self.slab.size:
            steps = drawing.steps(positions[None])
            half_box = drawing.half_box(steps)
            drawing.add(drawing.draw(steps, np.zeros(2 * half_box, np.float32)), half_box, sums)
        real, imaginary, _ = sums.values.astype(np.float32)
        return real, imaginary

    def sums(self, weight: float) -> ExactSums:
        """Zeros, to add moments to of configurations that weigh so much together."""
        return self._sums(self.factors, weight)

    def _sums(self, factors: AtomFactors, weight: float) -> ExactSums:
        return ExactSums.of(moment_bounds(factors, weight), self.slab.size)

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
        drawing, (least, mean_density) = self.drawing, self._still_density()
        steps = drawing.steps(configurations)
        half_box = np.maximum(drawing.half_box(steps), least)
        # The transform is linear: D is that of the difference of densities.
        background = np.pad(-mean_density, [(n, n) for n in half_box - least])
        steps, weights = steps[own], weights[own]
        at_once = moved_at_once(float(background.size))
        for first in range(0, len(steps), at_once):
            some = slice(first, first + at_once)
            drawing.add(drawing.draw(steps[some], background), half_box, sums, weights[some])

    def _still_density(self) -> tuple[Integers, Floats]:
        """Half the box of the mean structure, and its density there."""
        if self._still is None:
            steps = self.drawing.steps(self.structure.positions[None])
            half_box = self.drawing.half_box(steps)
            density = self.drawing.draw(steps, np.zeros(2 * half_box, np.float32))[0]
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
        drawing = self.drawing
        steps = drawing.steps(configurations)
        half_box = drawing.half_box(steps) if len(steps) else np.ones(3, np.int64)
        steps = steps[own]
        n_blocks, shape = len(self.slab.blocks) - 1, steps.shape[:2]
        forces = np.zeros((n_blocks, *shape, 4))
        counts = sample_weights(weights, len(configurations))[own]
        pulls = pulls * np.stack([drawing.sharpen**2, drawing.sharpen, drawing.sharpen])
        changes = drawing.dimming()[0] if dimming else np.empty((0, kernel.DEGREE), np.float32)
        nothing, inputs = np.zeros(2 * half_box, np.float32), drawing.inputs(half_box)
        # Made once: the system gives every large array new pages, which takes as long as products.
        room = np.empty((n_blocks, min(TOGETHER, len(steps)), nothing.size + BEHIND), np.float32)
        for first in range(0, len(steps), TOGETHER) if n_blocks else ():
            some = slice(first, first + TOGETHER)
            densities = drawing.draw(steps[some], nothing)
            kernel.fold_x(densities, *planes_of(half_box))
            pulled = room if len(densities) == room.shape[1] else room[:, :1].copy()
            adjoint.pull_back(counts[some], densities, *inputs, pulls, pulled)
            found = np.empty((n_blocks, *steps[some].shape[:2], 4))
            atoms = drawing.atoms, drawing.shapes
            adjoint.gather(steps[some], *atoms, changes, 2 * half_box, pulled, found)
            forces[:, some, drawing.order] = found
        forces[..., :3] = forces[..., :3] @ drawing.to_steps.T
        return forces

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
        box = 2 * self.drawing.half_box(self.drawing.steps(self.structure.positions[None]))
        return product_flops(box, len(s.h), len(s.row_halves), float((s.row_halves + 1).sum()))
