"""The forward model on a group of ranks: parameters in, intensity and its score out."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.disorder import Disorder, diffuse_intensity
from hpc_diffuser.errors import InputError
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
    Transform,
    plane_costs,
    self_term,
    slab,
    variance_and_mean_squared,
)
from hpc_diffuser.statistics import N_SUMS, SCORES, correlation_sums, correlations
from hpc_diffuser.target import Target


class ForwardModel:
    """Diffuse intensity of a moving molecule at given samples of reciprocal space.

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

    Attributes
    ----------
    rows : (v,) int
        Which of the V voxels this rank holds the intensity of; none outside the first row.
    """

    def __init__(self, modes: Modes, grid: HklGrid, indices: np.ndarray, group: Ranks):
        self.modes = modes
        self.group = group
        s_squared = grid.inverse_d_squared(indices)
        d_min = float(1 / np.sqrt(s_squared.max()))
        costs = plane_costs(grid, d_min)
        costs = np.where(np.isin(np.arange(len(costs)), indices[:, 0]), costs, 0)
        layout = choose_layout(group.size, costs)
        self._sample_rank, slab_rank = layout.place(group.rank)
        self._batches = batches_of(self._sample_rank, layout.sample_ranks)
        self._sharing = group.split(slab_rank)
        planes = share_planes(costs, layout.slab_ranks)[slab_rank]
        self._slab = slab(grid, d_min, planes[costs[planes] > 0])
        self._transform = Transform(modes.structure, self._slab)
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
        fields = (parameters.mode_amplitudes_A[:, None, None] * self.modes.vectors).reshape(
            len(parameters.mode_amplitudes_A), -1
        )

        def batch(i: int) -> np.ndarray:
            first, last = batch_edges(len(normals))[i : i + 2]
            displacements = (normals[first:last] @ fields).reshape(last - first, -1, 3)
            return self._transform.moments(self.modes.structure.positions + displacements)

        return self._intensity(batch, len(normals), parameters.disorder)

    def ensemble(self, frames: np.ndarray, disorder: Disorder) -> np.ndarray:
        """Intensity of given conformations (F, N, 3) Å, equally weighted; see above."""

        def batch(i: int) -> np.ndarray:
            first, last = batch_edges(len(frames))[i : i + 2]
            return self._transform.moments(frames[first:last])

        return self._intensity(batch, len(frames), disorder)

    def rigid(self, disorder: Disorder) -> np.ndarray:
        """Intensity of the mean structure without internal motion; see above."""
        mean_re, mean_im = (part[self._positions].astype(np.float64) for part in self._mean())
        mean_squared = mean_re**2 + mean_im**2
        return self._diffuse(np.zeros_like(mean_squared), mean_squared, disorder)

    def collect(self, values: np.ndarray, n_voxels: int) -> np.ndarray | None:
        """All V voxels' values from the ranks that hold them, on the group's root."""
        parts = self.group.gather((self.rows, values))
        if parts is None:
            return None
        whole = np.full(n_voxels, np.nan)
        for rows, part in parts:
            whole[rows] = part
        return whole

    def _mean(self) -> tuple[np.ndarray, np.ndarray]:
        return self._transform.mean

    def _intensity(self, batch, n_samples: int, disorder: Disorder) -> np.ndarray:
        sums = _sum_tree(batch, self._batches)
        total = self._sharing.sum_as_tree(sums)
        if total is None:
            return np.empty(0)
        mean = tuple(part[self._positions] for part in self._mean())
        moments = variance_and_mean_squared(total[:, self._positions], mean, n_samples)
        return self._diffuse(*moments, disorder)

    def _diffuse(
        self, variance: np.ndarray, mean_squared: np.ndarray, disorder: Disorder
    ) -> np.ndarray:
        return diffuse_intensity(variance, mean_squared, self._self_term, self._q_squared, disorder)


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
        self._observed = own.intensity
        self._weights = _weights(own, weights)
        # One set of bins for each h-plane: sums over planes are then added in the same order
        # whichever ranks hold them.
        self._planes, plane = np.unique(own.indices[:, 0], return_inverse=True)
        self._bins = (plane * 2 + own.free) * self._n_shells + own.shells()

    def score(self, intensity: np.ndarray) -> Score:
        """The score, on every rank of the group.

        Parameters
        ----------
        intensity : (v,) float
            At the model's `rows`.
        """
        n_bins = len(self._planes) * 2 * self._n_shells
        sums = correlation_sums(intensity, self._observed, self._weights, self._bins, n_bins)
        by_plane = sums.reshape(len(self._planes), 2 * self._n_shells, N_SUMS)
        parts = self.model.group.gather((self._planes, by_plane))
        return self.model.group.broadcast(parts and self._total(parts))

    def _total(self, parts: list[tuple[np.ndarray, np.ndarray]]) -> Score:
        planes = np.concatenate([p for p, _ in parts])
        sums = np.concatenate([s for _, s in parts])[np.argsort(planes)]
        work, free = sums.sum(axis=0).reshape(2, self._n_shells, N_SUMS)
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
