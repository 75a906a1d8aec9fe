"""Moments of the molecular transform over an ensemble, on a group of ranks.

The group's ranks form a rectangle, parts of the samples by q-slabs. Every rank makes its
configurations and adds up their moments on its planes, in sums that do not depend on the order;
what all of them have found of a voxel is added up on the rank that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors
from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.motion.configurations import (
    configurations,
    independent_fields,
    linear_fields,
    residual_b_factors,
)
from hpc_diffuser.motion.ensemble import frame_weights
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, Sampled
from hpc_diffuser.motion.slopes import MotionSlopes, motion_slopes, no_motion_slopes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import (
    Layout,
    Work,
    batch_edges,
    choose_layout,
    own_parts,
)
from hpc_diffuser.parallel.ordered_sums import sum_in_order
from hpc_diffuser.scattering.dealing import (
    Dealing,
    chunks_of,
    computed_planes,
    holders_of,
    n_parts,
    work_of,
)
from hpc_diffuser.scattering.direct import sample_weights, variance_and_mean_squared
from hpc_diffuser.scattering.dressing import can_be_dressed, field_covariances
from hpc_diffuser.scattering.estimator_costs import estimator_costs
from hpc_diffuser.scattering.intensity import SelfSlopes, SelfTerms, self_terms
from hpc_diffuser.scattering.slab import BLOCK, plane_costs, slab
from hpc_diffuser.scattering.transform import Transform, choose_transform
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

ESTIMATORS = ("sampled", "one-phonon", "control-variate")
_USUAL_PARTS = 32  # of 64 samples: what a transform is made for at first


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
        Which of the V voxels this rank holds the moments of.
    indices : (v, 3) int16
        Of those.
    s_squared : (v,) float, Å⁻²
    work : Work
        Of a part of an evaluation, on the blocks of planes that are dealt to ranks.
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
        self._grid = grid
        s_squared = grid.inverse_d_squared(indices)
        self._d_min = d_min = float(1 / np.sqrt(s_squared.max()))
        costs = plane_costs(grid, d_min)
        voxels = np.bincount(indices[:, 0], minlength=len(costs))
        self._costs = np.where(voxels > 0, costs, 0)
        self._make_transform = choose_transform(
            modes.structure, grid, d_min, transform, factors, many_kinds
        )
        drawn = self._make_transform.drawn
        self.work: Work = work_of(modes.structure, grid, d_min, self._costs, drawn)
        self._holders = holders_of(voxels, group.size)
        holds = self._holders[indices[:, 0]] == group.rank
        self.rows: Integers = np.flatnonzero(holds)
        self.indices = indices[self.rows].astype(np.int16)
        # Dealt out anew where parts are as many as they were not before: of one rank they are not.
        self._all_indices = self.indices if group.size == 1 else indices.astype(np.int16)
        self.s_squared = s_squared[self.rows]
        self._still = atom_factors(modes.structure)
        self._densest = self._factors = factors or self._still
        self._layout: Layout | None = None
        self._means: tuple[Transform, Floats] | None = None
        self._arrange(_USUAL_PARTS)
        self._s_squared_max = float(s_squared.max())
        self._self_terms = self_terms(self._factors, self.s_squared, self._s_squared_max)
        self._last: tuple[object, tuple[Floats, Floats]] | None = None
        self._average: Complexes = np.empty(0, np.complex64)  # ⟨F⟩, of samples alone

    def _arrange(self, n_parts: int) -> range:
        """Have the ranks lie as so many parts are done soonest; which of them this one does."""
        layout = choose_layout(self.group.size, self.work, n_parts)
        place = layout.place(self.group.rank)
        if layout != self._layout:
            self._layout = layout
            self._deal(layout, place)
        return range(0) if place is None else own_parts(n_parts, place[0], layout.sample_ranks)

    def _deal(self, layout: Layout, place: tuple[int, int] | None) -> None:
        """The transform on this rank's planes, and what goes from there to where."""
        slabs = computed_planes(self.work, layout, len(self._costs))
        slabs[self._costs == 0] = -1
        mine = np.empty(0, np.int64) if place is None else np.flatnonzero(slabs == place[1])
        part = slab(self._grid, self._d_min, mine)
        self.transform: Transform = self._make_transform(self.modes.structure, part, self._densest)
        if _identity(self._factors) != _identity(self._densest):
            self.transform = self.transform.with_factors(self._factors)
        of = (layout, slabs, self._holders, self._all_indices, part)
        self._dealing = Dealing(self.group, *of)
        self._leads = place is not None and not place[0]

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
        at_voxels = np.stack([by_variance, constant.real, constant.imag]) * 2 / n
        edges = batch_edges(n_parts(n))
        batches = self._arrange(len(edges) - 1)
        pulls = self._dealing.spread(at_voxels.astype(np.float32))
        part = self.transform.slab
        numbers = part.h[part.blocks[:-1]] // BLOCK
        none = no_motion_slopes(self.modes, sampled, dimming)
        found = np.zeros((len(batches), len(numbers), none.flat().size))
        for total, i in zip(found, batches, strict=True):
            for rows, own in chunks_of(edges[i], edges[i + 1], n) if len(numbers) else ():
                moved = configurations(self.modes, sampled, normals[rows], rows)
                weights = frame_weights(self.modes, sampled, rows)
                forces = self.transform.forces(moved, pulls, weights, dimming, own)
                some = (normals[rows][own], moved[own])
                for to, of_block in zip(total, forces, strict=True):
                    of = (self.modes, sampled, *some, of_block, dimming)
                    to += motion_slopes(*of).flat()
        keys = np.add.outer(np.array(batches, np.int64) * len(self.work.blocks), numbers)
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
        variance, average = self.of(parameters, normals)[0], self._average
        n_frames = len(self.modes.frames)
        turns = self._in_turn(n_frames)
        transform, dealing = self.transform, self._dealing
        for first, own in turns:
            sums = np.zeros((3, transform.slab.size))
            if own is not None:
                rows = np.arange(own, len(normals), n_frames)
                moved = configurations(self.modes, parameters.sampled, normals[rows], rows)
                sums = transform.moments(moved) / len(rows)
            for given in islice(dealing.collected(sums), n_frames - first):
                yield self._frame_slope(given, variance, average)

    def _frame_slope(
        self, sums: Floats, variance: Floats, average: Complexes
    ) -> tuple[Floats, Floats]:
        """From averages over a frame, (3, v), about the mean structure's F₀, and those of all."""
        real, imaginary, squared = sums
        still_real, still_imaginary = self._mean()
        about_real, about_imaginary = average.real - still_real, average.imag - still_imaginary
        by_variance = squared - 2 * (real * about_real + imaginary * about_imaginary)
        by_variance += about_real**2 + about_imaginary**2 - variance
        away_real, away_imaginary = real - about_real, imaginary - about_imaginary
        return by_variance, 2 * (average.real * away_real + average.imag * away_imaginary)

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
            That `can_be_stepped`.
        modes : sequence of int

        Yields
        ------
        variance, mean_squared : (v,) float32, electrons²/Å²
            At the voxels `rows`.
        self_terms : (v,) float
            Of S': not 0 where residual B-factors lose what a mode gains.
        """
        return self.field_slopes(parameters, self.modes.vectors[list(modes)])

    def field_slopes(
        self, parameters: Parameters, fields: Floats
    ) -> Iterator[tuple[Floats, Floats, Floats | float]]:
        """The same along any fields (M, N, 3), Å, of unit variance."""
        self._use(self.factors_of(parameters))
        released = _released(self.modes, parameters)
        turns = self._in_turn(len(fields))
        dealing = self._dealing
        own = [place for _, place in turns if place is not None]
        phonons = self.transform.phonons(linear_fields(self.modes, parameters.sampled))
        found = phonons.slopes(fields[own], released)
        self_slopes = SelfSlopes(self._factors, self.s_squared)
        nothing = np.zeros((2, self.transform.slab.size), np.float32)
        for first, place in turns:
            slopes = dealing.collected(nothing if place is None else next(found))
            for (variance, mean_squared), field in zip(slopes, fields[first:], strict=False):
                gained = released * np.sum(field**2, axis=1)
                yield variance, mean_squared, self_slopes.of(gained)

    def _in_turn(self, n_tasks: int) -> list[tuple[int, int | None]]:
        """Tasks that are dealt out one by one: the first of each round, and this rank's own."""
        self._arrange(n_tasks)
        assert self._layout is not None
        n, place = self._layout.sample_ranks, self._layout.place(self.group.rank)
        rounds = range(0, n_tasks, n)
        if place is None:
            return [(first, None) for first in rounds]
        owns = [first + place[0] for first in rounds]
        return [(f, own if own < n_tasks else None) for f, own in zip(rounds, owns, strict=True)]

    def of_mean(self, parameters: Parameters) -> tuple[Floats, Floats, SelfTerms]:
        """The same of the mean structure alone: a molecule that is rigid inside."""
        self._use(self.factors_of(parameters))
        real, imaginary = self._mean().astype(np.float64)
        squared = real**2 + imaginary**2
        return np.zeros_like(squared), squared, self._self_terms

    def _mean(self) -> Floats:
        """F₀ at this rank's voxels, real and imaginary part: (2, v) float32."""
        if self._means is None or self._means[0] is not self.transform:
            mean = np.stack(self.transform.mean)
            found = self._dealing.summed(mean if self._leads else np.zeros_like(mean))
            self._means = self.transform, found
        return self._means[1]

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
        real, imaginary = self._mean()
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
        return can_be_dressed(covariances, self._d_min)

    def steps(self, sampled: Sampled) -> bool:
        """Whether there are slopes along modes and springs to first order; see `expands`."""
        if not can_be_stepped(self.modes, sampled):
            return False
        return can_be_dressed(field_covariances(linear_fields(self.modes, sampled)), self._d_min)

    def costs(self, sampled: Sampled, n_samples: int) -> dict[str, float]:
        """Of every estimator that these motions can have; see `estimator_costs`."""
        fields, drawn = independent_fields(self.modes, sampled), self.transform.drawn
        of = (self.modes.structure, self._grid, self._d_min)
        return estimator_costs(*of, fields, n_samples, drawn)

    def _expanded(self, sampled: Sampled, normals: Floats) -> tuple[Floats, Floats]:
        """The same in an expansion: Σ|H_i|², without sampling, and of what is left a sample."""
        fields = independent_fields(self.modes, sampled)
        n, n_fields = len(normals), len(fields)
        remaining = n_parts(n) if self.estimator == "control-variate" else 0
        parts = self._arrange(n_fields + remaining)
        phonons = self.transform.phonons(fields)
        sums = phonons.sums()
        first, last = (max(end - n_fields, 0) for end in (parts.start, parts.stop))
        for rows, own in chunks_of(first, last, n):
            moved = configurations(self.modes, sampled, normals[rows], rows)
            coefficients = normals[rows, :n_fields]  # libration's, at 0, are behind them
            phonons.add_remainders(moved, coefficients, 1 / n, sums, own)
        phonons.add_squares(min(parts.start, n_fields), min(parts.stop, n_fields), sums)
        mean = np.stack(phonons.mean) * np.float32(self._leads)
        total, real, imaginary = self._dealing.summed(np.concatenate([sums.values, mean]))
        self._average = (real + 1j * imaginary).astype(np.complex64)
        return total, real**2 + imaginary**2

    def _computed(self, sampled: Sampled, normals: Floats) -> tuple[Floats, Floats]:
        n, every = len(normals), np.arange(len(normals))
        parts = self._arrange(n_parts(n))
        weights = sample_weights(frame_weights(self.modes, sampled, every), n)
        of_mean = self._mean()
        sums = self.transform.sums(float(np.abs(weights).sum()))
        for rows, own in chunks_of(parts.start, parts.stop, n):
            moved = configurations(self.modes, sampled, normals[rows], rows)
            self.transform.add_moments(moved, weights[rows], sums, own)
        total = self._dealing.summed(sums.values)
        del sums
        mean = of_mean[0] + 1j * of_mean[1]
        self._average = (mean + (total[0] + 1j * total[1]) / n).astype(np.complex64)
        return variance_and_mean_squared(total, (of_mean[0], of_mean[1]), n)


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


def can_be_stepped(modes: Modes, sampled: Sampled) -> bool:
    """The same of slopes, which of a lattice's rotation are those of small angles."""
    return modes.frames is None and (bool(sampled.turn_rad) or can_be_expanded(modes, sampled))


def _identity(factors: AtomFactors) -> tuple[object, ...]:
    """What tells two sets of factors of one structure apart."""
    solvent = (factors.k_sol_eA3, factors.b_sol_A2)
    return (*solvent, factors.b_factors_A2.tobytes(), factors.kind.tobytes())
