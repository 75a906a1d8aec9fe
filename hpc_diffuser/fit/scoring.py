"""How well a calculated map agrees with a target, on the group of ranks that holds it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpc_diffuser.fit.summary import Ceiling, Likelihood, ShellRow
from hpc_diffuser.maps.likelihood import (
    N_RADIAL_SUMS,
    LikelihoodFit,
    RadialSums,
    background_knots,
    between_knots,
    fitted,
    standard_deviations,
)
from hpc_diffuser.maps.plane_sums import PlaneSums
from hpc_diffuser.maps.statistics import (
    N_SUMS,
    SCORES,
    cc_star,
    correlation_sums,
    correlations,
    pooled_cc,
    score_slopes,
)
from hpc_diffuser.maps.target import Target, target_arrays
from hpc_diffuser.parallel.ordered_sums import PlaneOrder
from hpc_diffuser.scattering.models import Model
from hpc_diffuser.system.errors import DiffuserError, InputError


@dataclass(frozen=True)
class Score:
    """How well a calculated map agrees with a target.

    Attributes
    ----------
    cc_work, cc_free : float
        The configured score, over the working and the free voxels.
    shells_work, shells_free : (n_shells,) float
        CC in each resolution shell; NaN in empty ones.
    likelihood : LikelihoodFit or None
        None where the score is a CC.
    """

    cc_work: float
    cc_free: float
    shells_work: np.ndarray
    shells_free: np.ndarray
    likelihood: LikelihoodFit | None = None

    @property
    def merit(self) -> float:
        """CC_work; of a likelihood 1 − χ²/χ₀²: what a search makes as large as it can."""
        return self.cc_work if self.likelihood is None else 1 - self.likelihood.objective


class Comparison:
    """Scores a model's intensities against a target, on the group that holds them.

    Parameters
    ----------
    target : Target
    model : Model
        Made with the target's indices.
    score : {"shell-mean", "pooled"}
    weights : {"none", "errors"}
        "errors": voxels count 1/σ².
    knots : int or None
        Of the background of a likelihood, which then is found too.
    """

    def __init__(
        self, target: Target, model: Model, score: str, weights: str, knots: int | None = None
    ):
        own = target.at(model.rows)
        self.model = model
        self._score = score
        self._n_shells = target.n_shells
        self._edges = target.shell_edges
        planes, self._bins = _planes_and_bins(own)
        self._order = PlaneOrder(model.group, planes)
        self._sums = PlaneSums(own.intensity, voxel_weights(own, weights), *self._bins)
        self._radial = None if knots is None else _radial(target, model.rows, own, knots)

    def score(self, intensity: np.ndarray) -> Score:
        """The score, on every rank of the group.

        Parameters
        ----------
        intensity : (v,) float
            At the model's `rows`.

        Raises
        ------
        DiffuserError
            On every rank, where intensities are not finite, or vary in some shells only: named.
        """
        if self._radial is None:
            return self._on_all_ranks([self._sums.of(intensity)], self._score_of)
        sums, counts = self._radial
        return self._on_all_ranks(
            [self._sums.of(intensity), sums.of(intensity)],
            lambda of_cc, of_chi: replace(
                self._score_of(of_cc), likelihood=fitted(*of_chi, counts)
            ),
        )

    def slope(self, intensity: np.ndarray) -> tuple[Score, np.ndarray]:
        """The score, and the objective's derivative by the intensity: (v,) float.

        Of 1 − CC_work, or of χ²/χ₀²; see `score`.
        """
        if self._radial is not None:
            score = self.score(intensity)
            assert score.likelihood is not None
            return score, self._radial[0].slopes(intensity, score.likelihood)
        sums = self._sums.of(intensity)
        score, of_bins = self._on_all_ranks(
            [sums], lambda both: (self._score_of(both), self._slopes_of(*both))
        )
        return score, -self._sums.slopes(intensity, of_bins)

    def _slopes_of(self, work: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Of every bin, those of free voxels too: see `score_slopes`."""
        both = shells_of_both(work, free) & (work[:, 0] > 0)
        of_bins = np.zeros((2 * self._n_shells, 3))
        of_bins[: self._n_shells][both] = score_slopes(work[both], self._score)
        return of_bins

    def agreement(self, one: np.ndarray, other: np.ndarray) -> float:
        """Pooled CC of two of the model's maps over the working voxels, on every rank."""
        sums = PlaneSums(other, None, *self._bins).of(one)
        return self._on_all_ranks([sums], lambda both: pooled_cc(both[0]))

    def _on_all_ranks(self, sums: list[np.ndarray], result: Callable) -> Any:
        """A result from several kinds of sums (P, n, m), added over planes in their order.

        Of each it is given those of the working and of the free voxels: (2, n/2, m).
        """
        group, shapes = self.model.group, [(2, s.shape[1] // 2, s.shape[2]) for s in sums]
        sizes = [math.prod(shape) for shape in shapes]
        of_planes = [s.reshape(len(s), size) for s, size in zip(sums, sizes, strict=True)]
        total = self._order.total(np.concatenate(of_planes, axis=1))
        if total is None:
            return _unless_error(group.broadcast(None))
        parts = np.split(total, np.cumsum(sizes)[:-1])
        try:
            found = result(*(part.reshape(s) for part, s in zip(parts, shapes, strict=True)))
        except DiffuserError as exc:
            found = exc
        return _unless_error(group.broadcast(found))

    def _score_of(self, sums: np.ndarray) -> Score:
        return _score_of_sums(*sums, self._score, self._edges)


def kept_bytes(voxels: int, weighted: bool, likely: bool = False) -> list[float]:
    """Bytes of each array that a `Comparison` keeps of so many voxels.

    With a likelihood, weights, places between knots and bins of their own.
    """
    of_chi = [8 * voxels, 4 * voxels, 4 * voxels] * likely
    return [4 * voxels, 4 * voxels, 8 * voxels * weighted, *of_chi]


def building_bytes(voxels: int, has_errors: bool, likely_of: int = 0) -> list[float]:
    """The same of what it is made with: a part of the target, and its bins.

    With a likelihood, σ of all `likely_of` voxels besides.
    """
    of_chi = [8.0 * likely_of] * 2
    return [*target_arrays(voxels, has_errors), *[8 * voxels] * 4, *of_chi * bool(likely_of)]


def masked_bytes(voxels: int) -> list[float]:
    """The same of one that is made beside a map, of which another part is masked."""
    return [24 * voxels, 5 * voxels, *[8 * voxels] * 4]


def score_at_voxels(
    target: Target, intensity: np.ndarray, score: str, weights: str, knots: int | None = None
) -> Score:
    """The score of any map at all of a target's voxels (V,), on one rank: as of `Comparison`.

    The bits are those that the same numbers from a model get.
    """
    _, bins = _planes_and_bins(target)
    sums = (
        PlaneSums(target.intensity, voxel_weights(target, weights), *bins).of(intensity).sum(axis=0)
    )
    sums = sums.reshape(2, target.n_shells, N_SUMS)
    found = _score_of_sums(*sums, score, target.shell_edges)
    if knots is None:
        return found
    radial, counts = _radial(target, np.arange(len(target.indices)), target, knots)
    both = radial.of(intensity).sum(axis=0).reshape(2, -1, N_RADIAL_SUMS)
    return replace(found, likelihood=fitted(*both, counts))


def _radial(
    target: Target, rows: np.ndarray, own: Target, knots: int
) -> tuple[RadialSums, tuple[int, int]]:
    """What makes the sums of χ² at some of a target's voxels, and how many all are, of each kind.

    One set of bins for each plane, as of `_planes_and_bins`.
    """
    at = background_knots(target.shell_edges, knots)
    inverse_d = np.sqrt(own.grid.inverse_d_squared(own.indices))
    place, part = between_knots(inverse_d, at)
    _, starts = np.unique(own.indices[:, 0], return_index=True)
    weights = 1 / standard_deviations(target)[rows].astype(np.float64) ** 2
    bins, n_bins = own.free * (knots - 1) + place, 2 * (knots - 1)
    starts = np.append(starts, len(own.indices))
    free = int(target.free.sum())
    sums = RadialSums(own.intensity, weights, part, bins, starts, n_bins)
    return sums, (len(target.free) - free, free)


def require_variation(target: Target, score: str, where: str) -> None:
    """Raise InputError where a target has shells in which no map can have a CC.

    Parameters
    ----------
    target : Target
    score : {"shell-mean", "pooled"}
        The pooled CC needs variation in one of the shells.
    where : str
        For the message: the file.
    """
    working = target.at(~target.free)
    y = working.intensity
    sums = correlation_sums(y, y, None, working.shells(), target.n_shells)
    flat = (sums[:, 0] > 0) & np.isnan(correlations(sums))
    if flat.any() if score == "shell-mean" else np.isnan(pooled_cc(sums)):
        shell = int(np.argmax(flat))
        raise InputError(
            f"{where}: {shell_name(target.shell_edges, shell)} has {sums[shell, 0]:.0f} working "
            "voxels of one intensity, with which nothing correlates: expected different ones; "
            "make the target again with fewer --shells or another range, or correct the map"
        )


def shell_name(edges: np.ndarray, shell: int) -> str:
    """As messages name it: shell 2 (4.1-3.6 Å)."""
    d_max = f"{1 / edges[shell]:.2f}" if edges[shell] > 0 else "∞"
    return f"shell {shell + 1} ({d_max}-{1 / edges[shell + 1]:.2f} Å)"


def shell_rows(target: Target, score: Score) -> list[ShellRow]:
    """Of each shell its limits in Å, voxels, CC and ceilings."""
    edges, counts = target.shell_edges, target.counts()
    cc_half = np.full(target.n_shells, np.nan) if target.half_sums is None else target.cc_half()
    return [
        ShellRow(
            d_max=float(1 / edges[i]) if edges[i] > 0 else None,
            d_min=float(1 / edges[i + 1]),
            voxels_work=int(counts[0, i]),
            voxels_free=int(counts[1, i]),
            cc=plain(score.shells_work[i]),
            cc_free=plain(score.shells_free[i]),
            cc_half=plain(cc_half[i]),
            cc_star=plain(cc_star(cc_half[i])),
        )
        for i in range(target.n_shells)
    ]


def ceiling(target: Target, score: str) -> Ceiling | None:
    """CC½ of the target's half-maps and its CC*, by the same score; None without them.

    Of a mean over the shells it is the mean of their CC*, as CC_work is that of their CC: CC* of
    the mean CC½ is more, and much more where shells differ. A shell whose halves disagree, with
    CC½ below 0, has a CC* of 0 there.
    """
    if target.half_sums is None:
        return None
    sums = target.half_sums.sum(axis=0)
    cc_half = SCORES[score](sums)
    star = cc_star(cc_half)
    if score == "shell-mean":
        of_shells = correlations(sums[sums[:, 0] > 0])
        star = np.mean(cc_star(np.maximum(of_shells, 0))) if (of_shells > 0).any() else np.nan
    return Ceiling(cc_half=plain(cc_half), cc_star=plain(star))


def likelihood_of(target: Target, score: Score) -> Likelihood | None:
    """What a score says of χ², to be kept; None where it is a CC."""
    found = score.likelihood
    if found is None:
        return None
    return Likelihood(
        chi_squared_work=plain(found.work),
        chi_squared_free=plain(found.free),
        explained=1 - found.objective,
        scale=found.scale,
        background=tuple(found.background.tolist()),
        knots=tuple(background_knots(target.shell_edges, len(found.background)).tolist()),
        sigma_of="half-maps" if target.errors is None else "errors",
    )


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


def _unless_error(found: Any) -> Any:
    if isinstance(found, DiffuserError):
        raise found
    return found


def _require_finite(sums: np.ndarray, edges: np.ndarray, which: str) -> None:
    """Raise DiffuserError where a shell's sums (n_shells, 6) are not numbers, and say which."""
    for columns, whose in (((0, 2, 4), "target's"), ((1, 3, 5), "calculated")):
        wrong = ~np.isfinite(sums[:, columns]).all(axis=1)
        if wrong.any():
            raise DiffuserError(
                f"the {whose} intensity is not a finite number at some {which} voxels of "
                f"{shell_name(edges, int(np.argmax(wrong)))}: expected numbers everywhere"
            )


def _require_varied(sums: np.ndarray, edges: np.ndarray, which: str) -> None:
    """Raise InputError where a calculated map has no CC in a shell that the target varies in.

    What does not move at all has no diffuse intensity, and no CC anywhere: that is no error.
    """
    ours, theirs = (correlations(sums[:, [0, i, i, i + 2, i + 2, i + 2]]) for i in (1, 2))
    flat = (sums[:, 0] > 0) & np.isnan(ours) & np.isfinite(theirs)
    if flat.any() and np.isfinite(ours).any():
        raise InputError(
            f"the calculated intensity is the same at all {which} voxels of "
            f"{shell_name(edges, int(np.argmax(flat)))}, and has no CC there: expected it to vary "
            'as in other shells; correct the map, or choose the score "pooled"'
        )


def _score_of_sums(work: np.ndarray, free: np.ndarray, score: str, edges: np.ndarray) -> Score:
    _require_finite(work, edges, "working")
    _require_finite(free, edges, "free")
    if score == "shell-mean":
        _require_varied(work, edges, "working")
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


def scored_shells(target: Target) -> np.ndarray:
    """Mask (n,) of the shells that scores are over."""
    counts = np.zeros((2, target.n_shells, N_SUMS))
    counts[..., 0] = target.counts()
    return shells_of_both(*counts)


def voxel_weights(target: Target, weights: str) -> np.ndarray | None:
    """What each voxel counts (V,) in a score; None where all count alike.

    Parameters
    ----------
    target : Target
    weights : {"none", "errors"}

    Raises
    ------
    InputError
        For "errors" of a target without them.
    """
    if weights == "none":
        return None
    if target.errors is None:
        raise InputError(
            'target.weights = "errors", but the target has none: expected a map with '
            'intensity_errors, or weights = "none"'
        )
    return 1 / target.errors.astype(np.float64) ** 2
