"""How well a calculated map agrees with a target, on the group of ranks that holds it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.model import ForwardModel
from hpc_diffuser.statistics import (
    N_SUMS,
    SCORES,
    PlaneSums,
    cc_star,
    correlations,
    pooled_cc,
)
from hpc_diffuser.target import Target


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
        self._score = score
        self._n_shells = target.n_shells
        self._planes, self._bins = _planes_and_bins(own)
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
        return _score_of_sums(work, free, self._score)


def score_at_voxels(target: Target, intensity: np.ndarray, score: str, weights: str) -> Score:
    """The score of any map at all of a target's voxels (V,), on one rank: as of `Comparison`.

    The bits are those that the same numbers from a model get.
    """
    _, bins = _planes_and_bins(target)
    sums = PlaneSums(target.intensity, _weights(target, weights), *bins).of(intensity).sum(axis=0)
    return _score_of_sums(*sums.reshape(2, target.n_shells, N_SUMS), score)


def shell_rows(target: Target, score: Score) -> list[dict[str, float | int | None]]:
    """Of each shell its limits in Å, voxels, CC and ceilings, as plain JSON values."""
    edges, counts = target.shell_edges, target.counts()
    cc_half = np.full(target.n_shells, np.nan) if target.half_sums is None else target.cc_half()
    return [
        {
            "d_max": float(1 / edges[i]) if edges[i] > 0 else None,
            "d_min": float(1 / edges[i + 1]),
            "voxels_work": int(counts[0, i]),
            "voxels_free": int(counts[1, i]),
            "cc": plain(score.shells_work[i]),
            "cc_free": plain(score.shells_free[i]),
            "cc_half": plain(cc_half[i]),
            "cc_star": plain(cc_star(cc_half[i])),
        }
        for i in range(target.n_shells)
    ]


def ceiling(target: Target, score: str) -> dict[str, float | None] | None:
    """CC½ of the target's half-maps and its CC*, by the same score; None without them."""
    if target.half_sums is None:
        return None
    cc_half = SCORES[score](target.half_sums.sum(axis=0))
    return {"cc_half": plain(cc_half), "cc_star": plain(cc_star(cc_half))}


def plain(value: float) -> float | None:
    """A JSON number; None where a CC is undefined."""
    return float(value) if np.isfinite(value) else None


def _planes_and_bins(own: Target) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, int]]:
    """The h-planes of voxels, and of each voxel its bin: working or free, and which shell.

    One set of bins for each plane: sums over planes are then added in the same order whichever
    ranks hold them.
    """
    planes, starts = np.unique(own.indices[:, 0], return_index=True)
    bins = own.free * own.n_shells + own.shells()
    return planes, (bins, np.append(starts, len(own.indices)), 2 * own.n_shells)


def _score_of_sums(work: np.ndarray, free: np.ndarray, score: str) -> Score:
    both = shells_of_both(work, free)
    return Score(
        cc_work=SCORES[score](work[both]),
        cc_free=SCORES[score](free[both]),
        shells_work=correlations(work),
        shells_free=correlations(free),
    )


def shells_of_both(work: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Mask (n,) of the shells with working and free voxels, from their sums (n, 6).

    CC_work and CC_free are then over the same shells. Without any free voxel, all of them.
    """
    both = (work[:, 0] > 0) & (free[:, 0] > 0)
    return both if both.any() else np.ones(len(work), bool)


def _weights(target: Target, weights: str) -> np.ndarray | None:
    if weights == "none":
        return None
    if target.errors is None:
        raise InputError(
            'target.weights = "errors", but the target has none: expected a map with '
            'intensity_errors, or weights = "none"'
        )
    return 1 / target.errors.astype(np.float64) ** 2
