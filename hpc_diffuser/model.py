"""The forward model on a group of ranks: parameters in, intensity and its score out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_diffuser.density import choose_transform
from hpc_diffuser.disorder import Disorder, diffuse_intensity
from hpc_diffuser.errors import InputError
from hpc_diffuser.interpolation import (
    BandGrid,
    Interpolator,
    choose_band_grid,
    pair_separations,
)
from hpc_diffuser.lattice import HklGrid
from hpc_diffuser.modes import Modes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import (
    batch_edges,
    batches_of,
    choose_layout,
    share_planes,
)
from hpc_diffuser.parameters import Parameters
from hpc_diffuser.scattering import (
    BLOCK,
    atomic_numbers,
    plane_costs,
    self_term,
    slab,
    variance_and_mean_squared,
)
from hpc_diffuser.statistics import N_SUMS, SCORES, PlaneSums, correlations, pooled_cc
from hpc_diffuser.target import Target

INTERPOLATION_ERROR = 1e-3  # relative rms of the intensity: 1 − CC of 1e-6, sampling's is 1e-4


class DirectModel:
    """Diffuse intensity of a moving molecule, computed at given samples of reciprocal space.

    The group's ranks form a rectangle, sample batches by q-slabs. Every rank makes its batches
    of configurations and their moments on its planes; a reduction adds the batches; the first
    row of ranks then holds the intensity, each on its own planes.

    Parameters
    ----------
    modes : Modes
    grid : HklGrid
    indices : (V, 3) int
        Sample indices, h ≥ 0, sorted, the same on all ranks.
    group : Ranks
    transform : {"auto", "direct", "density"}
        How structure factors are computed; "auto" takes the cheaper way.

    Attributes
    ----------
    transform : DirectTransform or DensityTransform
        On this rank's planes.
    rows : (v,) int
        Which of the V voxels this rank holds the intensity of; none outside the first row.
    """

    def __init__(
        self,
        modes: Modes,
        grid: HklGrid,
        indices: np.ndarray,
        group: Ranks,
        transform: str = "auto",
    ):
        self.modes = modes
        self.group = group
        s_squared = grid.inverse_d_squared(indices)
        d_min = float(1 / np.sqrt(s_squared.max()))
        costs = plane_costs(grid, d_min)
        costs = np.where(np.isin(np.arange(len(costs)), indices[:, 0]), costs, 0)
        make_transform = choose_transform(modes.structure, grid, d_min, transform)
        blocks = np.add.reduceat(costs, np.arange(0, len(costs), BLOCK))
        layout = choose_layout(group.size, blocks)
        self._sample_rank, slab_rank = layout.place(group.rank)
        self._batches = batches_of(self._sample_rank, layout.sample_ranks)
        self._sharing = group.split(slab_rank)
        own = share_planes(blocks, layout.slab_ranks)[slab_rank]
        planes = np.flatnonzero((costs > 0) & np.isin(np.arange(len(costs)) // BLOCK, own))
        self._slab = slab(grid, d_min, planes)
        self.transform = make_transform(modes.structure, self._slab)
        holds = np.isin(indices[:, 0], self._slab.h) & (self._sample_rank == 0)
        self.rows = np.flatnonzero(holds)
        self._positions = self._slab.position_of(indices[self.rows])
        self._q_squared = 4 * np.pi**2 * s_squared[self.rows]
        self._self_term = self_term(modes.structure, s_squared[self.rows])

    def internal_motion(self, parameters: Parameters, normals: np.ndarray) -> np.ndarray:
        """Intensity with the modes sampled.

        Parameters
        ----------
        parameters : Parameters
        normals : (S, M) float
            Standard normal points, the same on all ranks.

        Returns
        -------
        (v,) float
            At the voxels `rows`.
        """
        scaled = parameters.mode_amplitudes_A[:, None, None] * self.modes.vectors
        fields = scaled.reshape(len(scaled), 3 * len(self.modes.structure))

        def batch(i: int) -> np.ndarray:
            first, last = batch_edges(len(normals))[i : i + 2]
            displacements = (normals[first:last] @ fields).reshape(last - first, -1, 3)
            return self.transform.moments(self.modes.structure.positions + displacements)

        return self._intensity(batch, len(normals), parameters.disorder)

    def ensemble(self, frames: np.ndarray, disorder: Disorder) -> np.ndarray:
        """Intensity of given conformations (F, N, 3) Å, equally weighted; see above."""

        def batch(i: int) -> np.ndarray:
            first, last = batch_edges(len(frames))[i : i + 2]
            return self.transform.moments(frames[first:last])

        return self._intensity(batch, len(frames), disorder)

    def rigid(self, disorder: Disorder) -> np.ndarray:
        """Intensity of the mean structure without internal motion; see above."""
        mean_re, mean_im = (
            part[self._positions].astype(np.float64) for part in self.transform.mean
        )
        mean_squared = mean_re**2 + mean_im**2
        return self._diffuse(np.zeros_like(mean_squared), mean_squared, disorder)

    def _intensity(self, batch, n_samples: int, disorder: Disorder) -> np.ndarray:
        sums = _sum_tree(batch, self._batches)
        total = self._sharing.sum_as_tree(sums)
        if total is None:
            return np.empty(0)
        mean = tuple(part[self._positions] for part in self.transform.mean)
        moments = variance_and_mean_squared(total[:, self._positions], mean, n_samples)
        return self._diffuse(*moments, disorder)

    def _diffuse(
        self, variance: np.ndarray, mean_squared: np.ndarray, disorder: Disorder
    ) -> np.ndarray:
        return diffuse_intensity(variance, mean_squared, self._self_term, self._q_squared, disorder)


class InterpolatedModel:
    """The same intensity, computed on a coarse grid and interpolated to the samples asked for.

    Every rank of the group interpolates its share of the target's planes, from the coarse
    intensity of all ranks.

    Parameters
    ----------
    modes, grid, indices, group, transform
        As of `DirectModel`.
    band : BandGrid

    Attributes
    ----------
    coarse : DirectModel
        The model on the band grid.
    rows : (v,) int
        Which of the V voxels this rank interpolates.
    """

    def __init__(
        self,
        modes: Modes,
        grid: HklGrid,
        indices: np.ndarray,
        group: Ranks,
        band: BandGrid,
        transform: str = "auto",
    ):
        self.group = group
        self.band = band
        coarse_indices = band.grid.indices_between(np.inf, band.d_min)
        self.coarse = DirectModel(modes, band.grid, coarse_indices, group, transform)
        filled = np.concatenate(group.gather_to_all(self.coarse.rows))
        # Where all ranks' coarse voxels, in the order of the ranks, lie in the volume.
        self._filled = np.ravel_multi_index(
            tuple((coarse_indices[filled] + np.array(band.grid.extent)).T), band.grid.shape
        )
        planes, voxels = np.unique(indices[:, 0], return_counts=True)
        own = planes[share_planes(voxels, group.size)[group.rank]]
        self.rows = np.flatnonzero(np.isin(indices[:, 0], own))
        self._interpolator = Interpolator(band, grid, indices[self.rows])

    def internal_motion(self, parameters: Parameters, normals: np.ndarray) -> np.ndarray:
        """Intensity with the modes sampled; see `DirectModel`."""
        return self.interpolated(self.coarse.internal_motion(parameters, normals))

    def ensemble(self, frames: np.ndarray, disorder: Disorder) -> np.ndarray:
        """Intensity of given conformations; see `DirectModel`."""
        return self.interpolated(self.coarse.ensemble(frames, disorder))

    def rigid(self, disorder: Disorder) -> np.ndarray:
        """Intensity of the mean structure without internal motion; see `DirectModel`."""
        return self.interpolated(self.coarse.rigid(disorder))

    def interpolated(self, coarse: np.ndarray) -> np.ndarray:
        """The voxels `rows` from this rank's part of the coarse intensity."""
        parts = self.group.gather_to_all(coarse.astype(np.float32))
        return self._interpolator.at_voxels(self._volume(np.concatenate(parts)))

    def _volume(self, values: np.ndarray) -> np.ndarray:
        """The coarse intensity on its whole grid, both Friedel mates; 0 where not computed."""
        volume = np.zeros(self.band.grid.shape, np.float32)
        flat = volume.reshape(-1)
        flat[self._filled] = values
        # One of each pair lies in the grid's second half; its mate, mirrored about the centre.
        centre = len(flat) // 2
        flat[:centre] = flat[:centre:-1]
        return volume


ForwardModel = DirectModel | InterpolatedModel


def forward_model(
    modes: Modes,
    grid: HklGrid,
    indices: np.ndarray,
    group: Ranks,
    motion_A: float,
    choice: str = "auto",
    transform: str = "auto",
) -> ForwardModel:
    """The model for these samples: directly on their grid, or interpolated from a coarse one.

    Parameters
    ----------
    modes, grid, indices, group, transform
        As of `DirectModel`.
    motion_A : float, Å
        Rms displacement per atom to reckon with: it widens the molecule.
    choice : {"auto", "target", "band-limited"}
        "auto" takes the cheaper one.
    """
    if choice == "target":
        return DirectModel(modes, grid, indices, group, transform)
    d_min = float(1 / np.sqrt(grid.inverse_d_squared(indices).max()))
    electrons = atomic_numbers(modes.structure)
    separations = pair_separations(modes.structure.positions, electrons, motion_A, modes.unit_cell)
    band = choose_band_grid(grid, d_min, separations, INTERPOLATION_ERROR)
    direct_cost = plane_costs(grid, d_min)[np.unique(indices[:, 0])].sum()
    if choice == "auto" and plane_costs(band.grid, band.d_min).sum() > 0.8 * direct_cost:
        return DirectModel(modes, grid, indices, group, transform)
    return InterpolatedModel(modes, grid, indices, group, band, transform)


def collect(model: ForwardModel, values: np.ndarray, n_voxels: int) -> np.ndarray | None:
    """All V voxels' values from the ranks that hold them, on the group's root."""
    parts = model.group.gather((model.rows, values))
    if parts is None:
        return None
    whole = np.full(n_voxels, np.nan)
    for rows, part in parts:
        whole[rows] = part
    return whole


def _sum_tree(part, indices: range) -> np.ndarray:
    """Sum of part(i) over a power of two of indices, neighbours first."""
    if len(indices) == 1:
        return part(indices[0])
    middle = len(indices) // 2
    return _sum_tree(part, indices[:middle]) + _sum_tree(part, indices[middle:])


@dataclass(frozen=True)
class Score:
    """How well a calculated map agrees with a target.

    Attributes
    ----------
    cc_work, cc_free : float
        The configured score, over the working and the free voxels.
    shells_work, shells_free : (n_shells,) float
        CC in each resolution shell; NaN in empty ones.
    """

    cc_work: float
    cc_free: float
    shells_work: np.ndarray
    shells_free: np.ndarray


class Comparison:
    """Scores a model's intensities against a target, on the group that holds them.

    Parameters
    ----------
    target : Target
    model : ForwardModel
        Made with the target's indices.
    score : {"shell-mean", "pooled"}
    weights : {"none", "errors"}
        "errors": voxels count 1/σ².
    """

    def __init__(self, target: Target, model: ForwardModel, score: str, weights: str):
        own = target.at(model.rows)
        self.model = model
        self._score = SCORES[score]
        self._n_shells = target.n_shells
        # One set of bins for each h-plane: sums over planes are then added in the same order
        # whichever ranks hold them.
        self._planes, starts = np.unique(own.indices[:, 0], return_index=True)
        starts = np.append(starts, len(own.indices))
        self._bins = (own.free * self._n_shells + own.shells(), starts, 2 * self._n_shells)
        self._sums = PlaneSums(own.intensity, _weights(own, weights), *self._bins)

    def score(self, intensity: np.ndarray) -> Score:
        """The score, on every rank of the group.

        Parameters
        ----------
        intensity : (v,) float
            At the model's `rows`.
        """
        return self._on_all_ranks(self._sums.of(intensity), self._score_of)

    def agreement(self, one: np.ndarray, other: np.ndarray) -> float:
        """Pooled CC of two of the model's maps over the working voxels, on every rank."""
        sums = PlaneSums(other, None, *self._bins).of(one)
        return self._on_all_ranks(sums, lambda work, free: pooled_cc(work))

    def _on_all_ranks(self, sums: np.ndarray, result: Callable) -> Any:
        """A result from the work and free shells' sums, added over planes in their order."""
        group = self.model.group
        parts = group.gather((self._planes, sums))
        if parts is None:
            return group.broadcast(None)
        planes = np.concatenate([p for p, _ in parts])
        total = np.concatenate([s for _, s in parts])[np.argsort(planes)].sum(axis=0)
        return group.broadcast(result(*total.reshape(2, self._n_shells, N_SUMS)))

    def _score_of(self, work: np.ndarray, free: np.ndarray) -> Score:
        return Score(
            cc_work=self._score(work),
            cc_free=self._score(free),
            shells_work=correlations(work),
            shells_free=correlations(free),
        )


def _weights(target: Target, weights: str) -> np.ndarray | None:
    if weights == "none":
        return None
    if target.errors is None:
        raise InputError(
            'target.weights = "errors", but the target has none: expected a map with '
            'intensity_errors, or weights = "none"'
        )
    return 1 / target.errors.astype(np.float64) ** 2
