"""Moments of the molecular transform over an ensemble, on a group of ranks.

The group's ranks form a rectangle, sample batches by q-slabs. Every rank makes its batches of
configurations and their moments on its planes; a reduction adds the batches; the first row of
ranks then holds the moments, each on its own planes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors
from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.motion.configurations import (
    configurations,
    independent_fields,
    residual_b_factors,
)
from hpc_diffuser.motion.ensemble import frame_weights
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, Sampled
from hpc_diffuser.motion.slopes import MotionSlopes, motion_slopes, no_motion_slopes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import (
    SAMPLE_BATCHES,
    batch_edges,
    batches_of,
    choose_layout,
    share_planes,
)
from hpc_diffuser.parallel.ordered_sums import sum_in_order
from hpc_diffuser.scattering.direct import SAMPLES_AT_ONCE, variance_and_mean_squared
from hpc_diffuser.scattering.dressing import can_be_dressed, field_covariances
from hpc_diffuser.scattering.estimator_costs import estimator_costs
from hpc_diffuser.scattering.intensity import SelfSlopes, SelfTerms, self_terms
from hpc_diffuser.scattering.slab import BLOCK, plane_costs, position_bytes, slab, squared_bytes
from hpc_diffuser.scattering.transform import Transform, choose_transform
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

ESTIMATORS = ("sampled", "one-phonon", "control-variate")


class Moments:
    """⟨|F|²⟩ − |⟨F⟩|² and |⟨F⟩|² at given samples of reciprocal space.

    Parameters
    ----------
    modes : Modes
    grid : HklGrid
    indices : (V, 3) int
        Sample indices, h ≥ 0, sorted, the same on all ranks.
    group : Ranks
    transform : {"auto", "direct", "density"}
        How structure factors are computed; "auto" takes the cheaper way.
    factors : AtomFactors or None
        The atoms' at the densest solvent; plain form factors without.
    many_kinds : bool
        See `transform.choose_transform`.
    estimator : str
        One of `ESTIMATORS`; motion that has no expansion, or is too large for it, is sampled.

    Attributes
    ----------
    transform : Transform
        On this rank's planes.
    rows : (v,) int
        Which of the V voxels this rank holds the moments of; none outside the first row.
    indices : (v, 3) int16
        Of those.
    s_squared : (v,) float, Å⁻²
    block_costs : (B,) float
        Work in each of the blocks of planes that are dealt to ranks.
    estimator : str
        As asked for; may be set to another.
    """

    def __init__(
        self,
        modes: Modes,
        grid: HklGrid,
        indices: Integers,
        group: Ranks,
        transform: str = "auto",
        factors: AtomFactors | None = None,
        many_kinds: bool = False,
        estimator: str = "sampled",
    ):
        grid.require(indices)
        self.modes = modes
        self.estimator = estimator
        self.group = group
        s_squared = grid.inverse_d_squared(indices)
        d_min = float(1 / np.sqrt(s_squared.max()))
        costs = plane_costs(grid, d_min)
        costs = np.where(np.isin(np.arange(len(costs)), indices[:, 0]), costs, 0)
        make_transform = choose_transform(
            modes.structure, grid, d_min, transform, factors, many_kinds
        )
        blocks = np.add.reduceat(costs, np.arange(0, len(costs), BLOCK))
        self.block_costs = blocks
        layout = choose_layout(group.size, blocks)
        self._sample_rank, slab_rank = layout.place(group.rank)
        self._batches = batches_of(self._sample_rank, layout.sample_ranks)
        self._sharing = layout.sharing(slab_rank)
        own = share_planes(blocks, layout.slab_ranks)[slab_rank]
        planes = np.flatnonzero((costs > 0) & np.isin(np.arange(len(costs)) // BLOCK, own))
        self._slab = slab(grid, d_min, planes)
        self.transform: Transform = make_transform(modes.structure, self._slab, factors)
        holds = np.isin(indices[:, 0], self._slab.h) & (self._sample_rank == 0)
        self.rows: Integers = np.flatnonzero(holds)
        self.indices = indices[self.rows].astype(np.int16)
        self.s_squared = s_squared[self.rows]
        self._positions = self._slab.position_of(indices[self.rows])
        self._still = atom_factors(modes.structure)
        self._factors = factors or self._still
        self._s_squared_max = float(s_squared.max())
        self._self_terms = self_terms(self._factors, self.s_squared, self._s_squared_max)
        self._last: tuple[object, tuple[Floats, Floats]] | None = None
        self._average: Complexes = np.empty(0, np.complex64)  # ⟨F⟩, of samples alone

    @property
    def factors(self) -> AtomFactors:
        """Those of the last moments; before any, the densest solvent's."""
        return self._factors

    @property
    def self_terms(self) -> SelfTerms:
        """Of the same factors."""
        return self._self_terms

    def of(self, parameters: Parameters, normals: Floats) -> tuple[Floats, Floats, SelfTerms]:
        """Moments over the ensemble.

        What only the parameters that need no sampling differ in is not computed again.

        Parameters
        ----------
        parameters : Parameters
        normals : (S, M) or (S, M + 3) float
            Standard normal points, the same on all ranks.

        Returns
        -------
        variance, mean_squared : (v,) float64
            At the voxels `rows`.
        self_terms : SelfTerms
        """
        self._use(self.factors_of(parameters))
        sampled = parameters.sampled
        how = self.how(sampled)
        points = b"" if how == "one-phonon" else normals.tobytes()
        key = sampled, _identity(self._factors), how, points
        if self._last is None or key != self._last[0]:
            found = self._computed if how == "sampled" else self._expanded
            self._last = key, found(sampled, normals)
        return *self._last[1], self._self_terms

    def slopes(
        self,
        parameters: Parameters,
        normals: Floats,
        by_variance: Floats,
        by_mean_squared: Floats,
        dimming: bool = False,
    ) -> MotionSlopes:
        """An objective's derivatives by what the configurations are made of.

        With ⟨F⟩ and S samples, F_s pulls at it by 2/S [V̄ F_s − (V̄ − B̄)⟨F⟩], V̄ and B̄ its
        derivatives by the moments.

        Parameters
        ----------
        parameters, normals
            As of `of`.
        by_variance, by_mean_squared : (v,) float
            At the voxels `rows`.
        dimming : bool
            Whether derivatives by the atoms' B-factors are asked for.

        Raises
        ------
        ValueError
            Where moments are not of samples alone.
        """
        self.of(parameters, normals)
        sampled, n = parameters.sampled, len(normals)
        if self.how(sampled) != "sampled":
            raise ValueError("derivatives of moments by samples alone: expected sampled ones")
        constant = (by_mean_squared - by_variance) * self._average
        pulls = self._on_slab(np.stack([by_variance, constant.real, constant.imag], axis=1) * 2 / n)
        edges, numbers = batch_edges(n), self._slab.h[self._slab.blocks[:-1]] // BLOCK
        none = no_motion_slopes(self.modes, sampled, dimming)
        found = np.zeros((len(self._batches), len(numbers), none.flat().size))
        for total, i in zip(found, self._batches, strict=True):
            for first in range(edges[i], edges[i + 1], SAMPLES_AT_ONCE) if len(numbers) else ():
                rows = np.arange(first, min(first + SAMPLES_AT_ONCE, edges[i + 1]))
                moved = configurations(self.modes, sampled, normals[rows], rows)
                weights = frame_weights(self.modes, sampled, rows)
                forces = self.transform.forces(moved, pulls, weights, dimming)
                for own, of_block in zip(total, forces, strict=True):
                    of = (self.modes, sampled, normals[rows], moved, of_block, dimming)
                    own += motion_slopes(*of).flat()
        keys = np.add.outer(np.array(self._batches) * len(self.block_costs), numbers)
        parts = found.reshape(-1, found.shape[2])
        return none.like(sum_in_order(self.group, keys.ravel(), parts))

    def frame_slopes(
        self, parameters: Parameters, normals: Floats
    ) -> Iterator[tuple[Floats, Floats]]:
        """What more weight of each frame does to the moments, where all add up to 1.

        Exact, as moments are averages over frames: with F_s of a frame, an average itself where it
        is turned, and M that over all of them, by the weight w_s, at the others' expense,

            ∂(A − B)/∂w_s = ⟨|F_s − M|²⟩ − (A − B),    ∂B/∂w_s = 2 Re M*(⟨F_s⟩ − M).

        All ranks of the group go through them together. No F_s is kept: making it anew costs less
        than what each slope goes through afterwards.

        Parameters
        ----------
        parameters, normals
            As of `of`.

        Yields
        ------
        variance, mean_squared : (v,) float64
            At the voxels `rows`, frame by frame.

        Raises
        ------
        ValueError
            Where the model has no frames.
        """
        if self.modes.frames is None:
            raise ValueError("slopes along weights of frames: expected an ensemble")
        variance, average, ranks = self.of(parameters, normals)[0], self._average, self._sharing
        n_frames = len(self.modes.frames)
        for first in range(0, n_frames, len(ranks)):
            frame, sums = first + self._sample_rank, None
            if frame < n_frames:
                rows = np.arange(frame, len(normals), n_frames)
                moved = configurations(self.modes, parameters.sampled, normals[rows], rows)
                sums = self.transform.moments(moved) / np.float32(len(rows))
            for source in ranks[: n_frames - first]:
                given = self.group.handed(sums, source, ranks[0])
                yield self._frame_slope(given, variance, average)

    def _frame_slope(
        self, sums: Floats | None, variance: Floats, average: Complexes
    ) -> tuple[Floats, Floats]:
        """From averages over a frame, (3, V), about the mean structure's F₀, and those of all."""
        if sums is None:
            return np.empty(0), np.empty(0)
        real, imaginary, squared = np.take(sums, self._positions, axis=1).astype(np.float64)
        still_real, still_imaginary = (part[self._positions] for part in self.transform.mean)
        about_real, about_imaginary = average.real - still_real, average.imag - still_imaginary
        by_variance = squared - 2 * (real * about_real + imaginary * about_imaginary)
        by_variance += about_real**2 + about_imaginary**2 - variance
        away_real, away_imaginary = real - about_real, imaginary - about_imaginary
        return by_variance, 2 * (average.real * away_real + average.imag * away_imaginary)

    def _on_slab(self, values: Floats) -> Floats:
        """Values (v, K) of the voxels that ranks hold, where this rank stores them: (K, ·) f32."""
        group, width = self.group, values.shape[1]
        if group.size == 1:
            alone = np.zeros((width, self._slab.size), np.float32)
            alone[:, self._positions] = values.T
            return alone
        lengths = group.gather_to_all(len(self.rows))
        every = group.concatenated(values.astype(np.float32), [n * width for n in lengths])
        indices = group.concatenated(self.indices, [3 * n for n in lengths])
        every, indices = every.reshape(-1, width), indices.reshape(-1, 3).astype(np.int64)
        here = np.isin(indices[:, 0], self._slab.h)
        stored = np.zeros((width, self._slab.size), np.float32)
        stored[:, self._slab.position_of(indices[here])] = every[here].T
        return stored

    def mode_slopes(
        self, parameters: Parameters, modes: Sequence[int]
    ) -> Iterator[tuple[Floats, Floats, Floats | float]]:
        """What more motion along each of some modes does to the moments, to first order.

        The derivatives with respect to the variance σ² of an uncorrelated mode, as
        `transform.Phonons.slopes` has them: finite where σ is 0, too. All ranks of the group go
        through them together.

        Parameters
        ----------
        parameters : Parameters
            That `can_be_expanded`.
        modes : sequence of int

        Yields
        ------
        variance, mean_squared : (v,) float32, electrons²/Å²
            At the voxels `rows`.
        self_terms : (v,) float
            Of S': not 0 where residual B-factors lose what a mode gains.
        """
        self._use(self.factors_of(parameters))
        released = _released(self.modes, parameters)
        fields = independent_fields(self.modes, parameters.sampled)
        ranks = self._sharing
        own = self.modes.vectors[list(modes[self._sample_rank :: len(ranks)])]
        found = self.transform.phonons(fields).slopes(own, released)
        self_slopes = SelfSlopes(self._factors, self.s_squared)
        for first in range(0, len(modes), len(ranks)):
            slopes = next(found, None)
            for source, mode in zip(ranks, modes[first : first + len(ranks)], strict=False):
                given = self.group.handed(slopes, source, ranks[0])
                variance, mean_squared = self._at_rows(given)
                gained = released * np.sum(self.modes.vectors[mode] ** 2, axis=1)
                yield variance, mean_squared, self_slopes.of(gained)

    def _at_rows(self, sums: Floats | None) -> Floats:
        """Sums (2, V) at this rank's voxels: (2, v) float32."""
        if sums is None:
            return np.empty((2, 0), np.float32)
        return np.take(sums, self._positions, axis=1)

    def of_mean(self, parameters: Parameters) -> tuple[Floats, Floats, SelfTerms]:
        """The same of the mean structure alone: a molecule that is rigid inside."""
        self._use(self.factors_of(parameters))
        real, imaginary = (part[self._positions].astype(np.float64) for part in self.transform.mean)
        squared = real**2 + imaginary**2
        return np.zeros_like(squared), squared, self._self_terms

    def mean_transform(self, parameters: Parameters, normals: Floats | None) -> Complexes:
        """⟨F⟩ over the ensemble, or F of the mean structure: (v,) complex64, at `rows`.

        Parameters
        ----------
        parameters : Parameters
        normals : (S, ·) float or None
            As of `of`; None for the mean structure.
        """
        if normals is not None:
            self.of(parameters, normals)
            return self._average.astype(np.complex64)
        self._use(self.factors_of(parameters))
        real, imaginary = (part[self._positions] for part in self.transform.mean)
        mean: Complexes = (real + 1j * imaginary).astype(np.complex64)
        return mean

    def how(self, sampled: Sampled) -> str:
        """The estimator, or samples alone where the motion cannot be expanded."""
        expanded = self.estimator != "sampled" and self.expands(sampled)
        return self.estimator if expanded else "sampled"

    def factors_of(self, parameters: Parameters) -> AtomFactors:
        """What every atom scatters: less the solvent, dimmed by its residual B-factor."""
        if not parameters.k_sol_eA3 and not parameters.residual_b_fraction:
            return self._still
        b = residual_b_factors(self.modes, parameters) if parameters.residual_b_fraction else None
        solvent = (parameters.k_sol_eA3, parameters.b_sol_A2)
        return atom_factors(self.modes.structure, *solvent, b)

    def _use(self, factors: AtomFactors) -> None:
        if _identity(factors) == _identity(self._factors):
            return
        self._factors = factors
        self.transform = self.transform.with_factors(factors)
        self._self_terms = self_terms(factors, self.s_squared, self._s_squared_max)

    def expands(self, sampled: Sampled) -> bool:
        """Whether these motions have an expansion, and leave atoms near enough to be drawn."""
        if not can_be_expanded(self.modes, sampled):
            return False
        covariances = field_covariances(independent_fields(self.modes, sampled))
        return can_be_dressed(covariances, self._slab.d_min)

    def costs(self, sampled: Sampled, n_samples: int) -> dict[str, float]:
        """Of every estimator that these motions can have; see `estimator_costs`."""
        structure, part = self.modes.structure, self._slab
        fields, drawn = independent_fields(self.modes, sampled), self.transform.drawn
        return estimator_costs(structure, part.grid, part.d_min, fields, n_samples, drawn)

    def _expanded(self, sampled: Sampled, normals: Floats) -> tuple[Floats, Floats]:
        """The same in an expansion: Σ|H_i|², without sampling, and of what is left a sample."""
        fields = independent_fields(self.modes, sampled)
        phonons = self.transform.phonons(fields)
        of_fields = batch_edges(len(fields))
        sampling = self.estimator == "control-variate"
        of_points = batch_edges(len(normals))

        def batch(i: int) -> Floats:
            sums = phonons.squares(*of_fields[i : i + 2])
            if sampling:
                rows = np.arange(*of_points[i : i + 2])
                moved = configurations(self.modes, sampled, normals[rows], rows)
                own = normals[rows, : len(fields)]  # libration's, at 0, are behind them
                sums += phonons.remainders(moved, own) / np.float32(len(normals))
            return sums

        total = self.group.sum_as_tree(_sum_tree(batch, self._batches), self._sharing)
        if total is None:
            return np.empty(0), np.empty(0)
        real, imaginary = (part[self._positions].astype(np.float64) for part in phonons.mean)
        self._average = (real + 1j * imaginary).astype(np.complex64)
        return total[self._positions].astype(np.float64), real**2 + imaginary**2

    def _computed(self, sampled: Sampled, normals: Floats) -> tuple[Floats, Floats]:
        edges = batch_edges(len(normals))

        def batch(i: int) -> Floats:
            rows = np.arange(*edges[i : i + 2])
            moved = configurations(self.modes, sampled, normals[rows], rows)
            return self.transform.moments(moved, frame_weights(self.modes, sampled, rows))

        total = self.group.sum_as_tree(_sum_tree(batch, self._batches), self._sharing)
        if total is None:
            return np.empty(0), np.empty(0)
        real, imaginary = (part[self._positions] for part in self.transform.mean)
        sums = total[:, self._positions]
        self._average = real + 1j * imaginary + (sums[0] + 1j * sums[1]) / np.float32(len(normals))
        return variance_and_mean_squared(sums, (real, imaginary), len(normals))


def _released(modes: Modes, parameters: Parameters) -> Floats:
    """What an atom's residual B-factor loses of each Å² that it moves along a mode: (N,)."""
    fraction = parameters.residual_b_fraction
    if not fraction:
        return np.zeros(len(modes.structure))
    # B = 8π²/3 ⟨|u|²⟩; along any axis a third.
    released: Floats = fraction / 3 * (residual_b_factors(modes, parameters) > 0)
    return released


def can_be_expanded(modes: Modes, sampled: Sampled) -> bool:
    """Whether motion inside is Gaussian along modes: not of frames, and no exact rotations."""
    return modes.frames is None and bool(len(modes.vectors)) and not sampled.librates


def kept_bytes(computed: int) -> list[float]:
    """Bytes of each array that `Moments` keeps for so many voxels, beside its transform's.

    Rows, |s|², places, self-terms, the last moments, their ⟨F⟩ and their model's q²; indices.
    """
    return [*[8 * computed] * 8, 6 * computed]


def building_bytes(computed: int, stored: int, elements: int) -> list[list[float]]:
    """The same of what exists beside each other at the crowded moments of making it.

    Parameters
    ----------
    computed, stored : int
        Voxels, and values of the slab.
    elements : int
    """
    mean = 12 * stored
    return [
        [*squared_bytes(stored), mean],
        [mean, *position_bytes(computed)],
        [mean, *[8 * computed] * (3 + elements), *[32 * computed] * 3],  # form factors
    ]


def sampling_bytes(atoms: int, samples: int, stored: int, sums: int) -> list[float]:
    """The same of a batch of configurations, beside the transform's own.

    Parameters
    ----------
    atoms, samples, stored : int
    sums : int
        Of batches, which are added as a tree, that exist at once.
    """
    # Displacements and positions, in Å and in steps.
    moved = [24 * atoms * math.ceil(samples / SAMPLE_BATCHES)] * 5
    return [*moved, *[12 * stored] * sums]


def slope_bytes(computed: int) -> list[float]:
    """The same of slopes along a mode on their way to intensity, and of what they are times."""
    return [8 * computed, *[8 * computed] * 9]


def intensity_bytes(computed: int, stored: int) -> list[float]:
    """The same of moments on their way to intensity."""
    return [12 * stored, 12 * computed, 24 * computed, *[8 * computed] * 9]


def _identity(factors: AtomFactors) -> tuple[object, ...]:
    """What tells two sets of factors of one structure apart."""
    solvent = (factors.k_sol_eA3, factors.b_sol_A2)
    return (*solvent, factors.b_factors_A2.tobytes(), factors.kind.tobytes())


def _sum_tree(part: Callable[[int], Floats], indices: range) -> Floats:
    """Sum of part(i) over a power of two of indices, neighbours first."""
    if len(indices) == 1:
        return part(indices[0])
    middle = len(indices) // 2
    return _sum_tree(part, indices[:middle]) + _sum_tree(part, indices[middle:])
