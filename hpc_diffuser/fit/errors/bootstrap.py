"""The answers of zones drawn anew: how they scatter, as a check of the standard errors.

Each of B resamplings draws as many Brillouin zones, or blocks of them, as there are, with
replacement (Efron 1979, Ann. Stat. 7, 1; of clusters, Davison & Hinkley 1997, section 3.8). Means,
variances, gradient and curvature of the score are those of the drawn zones, from sums by zone of
the maps' products; the minimum is found by Newton's method with the map's first derivatives,
without a new map. Where the score bends less than `_LEAST` of what it does at the answer, or bends
down, that much is taken for the step: a direction that is nearly flat is then gone along, and not
away from where the minimum is. Unlike the standard errors this does not take the curvature for the
same in all data sets, nor the answers for normally distributed.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.zone_sums import parabola_at
from hpc_diffuser.maps.zones import REPLICATES, drawn_counts
from hpc_diffuser.motion.random_numbers import generator

_ITERATIONS = 12  # of Newton's method; most need four
_LEAST = 0.25  # of the answer's curvature
_ARRIVED = 0.03  # standard errors, rms over the parameters: a last step
_REST = 1e-3  # of the same: a step after which none follows
_SEED, _PURPOSE = 1, 2  # zones 0 and 1: of CC, see `maps.zones`


def resampled_answers(bend: Bend, replicates: int = REPLICATES) -> np.ndarray:
    """From the minimum of all zones to that of each resampling: (B, D) in φ.

    NaN where a resampling has no minimum.

    Parameters
    ----------
    bend : Bend
    replicates : int
        B.
    """
    stream, found = generator(_SEED, _PURPOSE), []
    # One BLAS thread: a product has other bits on two.
    with threadpool_limits(1):
        refit = Refit(bend)
        minimum = refit.minimum(np.ones(len(bend.pulls)))
        for counts in drawn_counts(len(bend.pulls), replicates, stream):
            found += [refit.minimum(own) - minimum for own in counts]
    # Zones that are drawn apart from their neighbours lose what they share with them.
    far: np.ndarray = np.sqrt(bend.across_faces()) * np.array(found).reshape(-1, len(minimum))
    return far


class Refit:
    """The minimum where zones count as often as they are drawn.

    Parameters
    ----------
    bend : Bend
    """

    def __init__(self, bend: Bend):
        self._bend = bend
        gradient, hessian = np.zeros_like(bend.gradient), np.zeros_like(bend.hessian)
        if bend.sums is not None:
            once = bend.sums.moments(np.ones(len(bend.pulls)))
            gradient, hessian = (bend.unit * x for x in parabola_at(gradient, once))
        # Of the final map's more samples, the map's second derivatives and the prior.
        self._gradient, self._hessian = bend.gradient - gradient, bend.total - hessian
        values, axes = np.linalg.eigh(bend.total)
        self._to_whole = axes / np.sqrt(np.maximum(values, np.finfo(float).tiny))
        scatter = np.trace(np.linalg.solve(bend.total, bend.meat))
        self._error = float(np.sqrt(max(scatter, 0.0)))

    def minimum(self, counts: np.ndarray) -> np.ndarray:
        """The step to it (D,) from the answer, by Newton's method; NaN where there is none.

        Parameters
        ----------
        counts : (Z,) float
        """
        sums, step = self._bend.sums, np.zeros_like(self._gradient)
        if sums is None:
            return -np.linalg.solve(self._hessian, self._gradient + counts @ self._bend.noise)
        moments, left, here = sums.moments(counts), np.inf, self._gradient
        if self._bend.systematic is not None:
            # What a prior is held against by zones that are drawn, and by all, is the same.
            here = here - (counts - 1) @ self._bend.systematic
        for _ in range(_ITERATIONS):
            gradient, hessian = (self._bend.unit * x for x in parabola_at(step, moments))
            hessian = hessian + self._hessian
            move, left = self._step(gradient + here + self._hessian @ step, hessian)
            step = step + move
            if left <= _REST:
                break
        return step if left <= _ARRIVED and _has_minimum(hessian) else np.full(len(step), np.nan)

    def _step(self, gradient: np.ndarray, hessian: np.ndarray) -> tuple[np.ndarray, float]:
        """Newton's, where the curvature is less than a part of the answer's by that; in errors."""
        bends = self._to_whole.T @ hessian @ self._to_whole
        if not np.isfinite(bends).all() or not np.isfinite(gradient).all():
            return np.zeros_like(gradient), np.inf
        values, axes = np.linalg.eigh(bends)
        whole = -(axes / np.maximum(values, _LEAST)) @ (axes.T @ (self._to_whole.T @ gradient))
        # In coordinates in which the answer's curvature is 1, errors are √ tr of what scatters.
        return self._to_whole @ whole, float(np.linalg.norm(whole)) / self._error


def _has_minimum(hessian: np.ndarray) -> bool:
    try:
        np.linalg.cholesky(hessian)
    except np.linalg.LinAlgError:
        return False
    return True
