"""Fits along a path of weights of a prior, each begun where the last one ended.

Of amplitudes from no prior at all to one that leaves the source's but their common scale; of the
weights of frames from the given ones to no prior.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hpc_diffuser.fit.priors.penalty import Penalty
from hpc_diffuser.fit.scoring import Score
from hpc_diffuser.fit.search.least_squares import MOST_IDLE
from hpc_diffuser.fit.search.linearised import Linearised
from hpc_diffuser.fit.search.trial_step import (
    DAMPING,
    LEAST_DAMPING,
    braked,
    relieved,
    trial_point,
)
from hpc_diffuser.parallel.communicator import Ranks

MOST_EVALUATIONS = 12  # at one weight
FREE_EVALUATIONS = 30  # without any, where the path begins
ENOUGH = 1e-5  # of the objective: a step that promises no more is not taken


class Fitted(NamedTuple):
    """A point with its score; linearised on the root, without any prior."""

    point: np.ndarray
    score: Score
    objective: float
    linearised: Linearised | None


class Follower:
    """Fits at one weight after the other, on ranks that evaluate together.

    Parameters
    ----------
    ranks : Ranks
    evaluate : callable
        Point → `Score` and objective of the map alone, on every rank.
    linearise : callable
        Point → its linearised objective, on the root.
    penalty : callable
        Point, weight → what all priors add to the objective, in its unit.
    bounds : (D, 2) float
    squared : (D,) bool
        Of which parameters φ is the square.
    normed : callable
        What becomes of a point where some parameters add up to 1.
    """

    def __init__(
        self,
        ranks: Ranks,
        evaluate: Callable[[np.ndarray], tuple[Score, float]],
        linearise: Callable[[np.ndarray], Linearised | None],
        penalty: Callable[[np.ndarray, float], Penalty],
        bounds: np.ndarray,
        squared: np.ndarray,
        normed: Callable[[np.ndarray], np.ndarray] = lambda point: point,
    ):
        self._ranks, self._evaluate, self._linearise = ranks, evaluate, linearise
        self._penalty, self._bounds, self._squared = penalty, bounds, squared
        self._normed = normed

    def follow(
        self, start: np.ndarray, weights: Sequence[float]
    ) -> Iterator[tuple[float, Fitted, int, bool]]:
        """Of each weight where its fit ended, how many evaluations it took, and if it converged."""
        here = self._at(start)
        for weight in weights:
            most = MOST_EVALUATIONS if weight else FREE_EVALUATIONS
            here, evaluations, converged = self._fit(here, weight, most)
            yield weight, here, evaluations, converged

    def _at(self, point: np.ndarray) -> Fitted:
        score, objective = self._evaluate(point)
        return Fitted(point, score, objective, self._linearise(point))

    def _fit(self, here: Fitted, weight: float, most: int) -> tuple[Fitted, int, bool]:
        """Levenberg-Marquardt with one prior; every rank goes the root's way."""
        damping, rejected, evaluations = DAMPING, 0, 0
        while evaluations < most and rejected <= MOST_IDLE:
            now, strength = here, damping
            proposed = self._ranks.from_root(lambda: self._step(now, weight, strength))  # noqa: B023
            if proposed is None:
                return here, evaluations, True
            score, objective = self._evaluate(proposed)
            evaluations += 1
            told = proposed, objective
            if self._ranks.from_root(lambda: self._better(told, now, weight)):  # noqa: B023
                here = Fitted(proposed, score, objective, self._linearise(proposed))
                damping, rejected = relieved(damping, rejected), 0
            else:
                damping, rejected = braked(damping, rejected), rejected + 1
        return here, evaluations, False

    def _better(self, told: tuple[np.ndarray, float], here: Fitted, weight: float) -> bool:
        point, objective = told
        there = objective + self._penalty(point, weight).value
        return bool(there < here.objective + self._penalty(here.point, weight).value)

    def _step(self, here: Fitted, weight: float, damping: float) -> np.ndarray | None:
        """The next point, on the root; None where an undamped step would gain next to nothing."""
        if here.linearised is None:
            raise ValueError("expected the objective linearised on the root")
        about = here.linearised

        def towards(strength: float) -> tuple[np.ndarray, float]:
            prior = lambda point: self._penalty(point, weight)  # noqa: E731
            where = here.point, self._bounds, self._squared
            point, gain = trial_point(*where, about, prior, strength)
            return self._normed(point), gain

        total = here.objective + self._penalty(here.point, weight).value
        if towards(LEAST_DAMPING)[1] < ENOUGH * total:
            return None
        return towards(damping)[0]
