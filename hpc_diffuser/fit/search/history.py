"""What a search has learned: plain arrays, all that a proposal and a checkpoint need.

A search may go through stages, each with other sample points than the last, and more of them. Only
objectives of one stage can be compared.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

ACQUISITIONS = 3  # gp_hedge chooses between expected improvement, confidence bound, PI


@dataclass(frozen=True)
class Hedge:
    """What is remembered from one proposal to the next: gp_hedge's state, the kernel's.

    For gp_hedge see Hoffman et al. (2011), Portfolio allocation for Bayesian optimization.

    Attributes
    ----------
    gains : (3,) float
        Of each acquisition function so far.
    candidates : (3, D) or (0, D) float
        What each proposed last, in the unit cube.
    theta : (1 + D,) or (0,) float
        Logarithms of the surrogate's amplitude and length scales at their last fit.
    """

    gains: np.ndarray
    candidates: np.ndarray
    theta: np.ndarray


class Proposal(NamedTuple):
    """What a search would have evaluated next.

    Attributes
    ----------
    point : (D,) float
        Within the bounds.
    hedge : Hedge
        To be stored with the point's evaluation.
    new_stage : bool
        With this evaluation another stage begins.
    last : bool
        With this evaluation the search has ended.
    stands_still : bool
        It has, since its steps lead nowhere.
    """

    point: np.ndarray
    hedge: Hedge
    new_stage: bool = False
    last: bool = False
    stands_still: bool = False


@dataclass(frozen=True)
class History:
    """All that a search has learned.

    Attributes
    ----------
    points : (n, D) float
        Parameters tried.
    objectives : (n,) float
        1 − CC of each, or what score and prior make of it; smaller is better.
    hedge : Hedge
    cc_work : (n,) float or None
        CC of each where the objective is another number; None where it is 1 − CC.
    stage_starts : tuple of int
        The rows with which the second and further stages begin.
    ended : bool
        The search has said that it is done.
    stands_still : bool
        It has, and not since it has converged.
    """

    points: np.ndarray
    objectives: np.ndarray
    hedge: Hedge
    cc_work: np.ndarray | None = None
    stage_starts: tuple[int, ...] = ()
    ended: bool = False
    stands_still: bool = False

    def __len__(self) -> int:
        return len(self.objectives)

    @property
    def best(self) -> int:
        """Row of the best point, of those of the last stage."""
        first = self.stage_starts[-1] if self.stage_starts else 0
        return first + int(np.argmin(self.objectives[first:]))

    def best_cc_so_far(self) -> np.ndarray:
        """CC_work of the best point up to each evaluation, of those of its stage: (n,)."""
        if self.cc_work is None:
            return 1 - self.lowest_so_far()
        return np.concatenate([self._best_so_far(of_stage) for of_stage in self._stages()])

    def lowest_so_far(self) -> np.ndarray:
        """The least objective up to each evaluation, of those of its stage: (n,)."""
        of_stages = (self.objectives[of_stage] for of_stage in self._stages())
        return np.concatenate([np.minimum.accumulate(found) for found in of_stages])

    def _stages(self) -> list[slice]:
        return [slice(*ends) for ends in pairwise([0, *self.stage_starts, len(self)])]

    def _best_so_far(self, of_stage: slice) -> np.ndarray:
        assert self.cc_work is not None
        objectives = self.objectives[of_stage]
        lowest = np.minimum.accumulate(objectives)
        better = np.append(True, objectives[1:] < lowest[:-1])[: len(objectives)]
        found = np.maximum.accumulate(np.where(better, np.arange(len(objectives)), 0))
        return self.cc_work[of_stage][found]

    def finished(self, evaluations: int) -> bool:
        """True where nothing is left to do for a search of at most so many evaluations."""
        return self.ended or len(self) >= evaluations

    def stage_of(self, row: int) -> int:
        """The stage of an evaluation, counted from 0; of the one to come, the last one's."""
        return sum(start <= row for start in self.stage_starts)

    def extended(
        self,
        point: np.ndarray,
        objective: float,
        hedge: Hedge,
        cc_work: float = 0.0,
        new_stage: bool = False,
        last: bool = False,
        stands_still: bool = False,
    ) -> "History":
        """The history with one more evaluation, of a `Proposal`; with its CC where that is kept."""
        kept = None if self.cc_work is None else np.append(self.cc_work, cc_work)
        return History(
            np.concatenate([self.points, point[None]]),
            np.append(self.objectives, objective),
            hedge,
            kept,
            self.stage_starts + ((len(self),) if new_stage else ()),
            last,
            stands_still,
        )


def evaluations_in_all(histories: dict[int, History], restarts: int, evaluations: int) -> int:
    """Of all restarts: a search that ended early makes no more than it has.

    Parameters
    ----------
    histories : dict of History
        By restart.
    restarts, evaluations : int
        As asked for.
    """
    spared = sum(evaluations - len(h) for h in histories.values() if h.ended)
    return restarts * evaluations - spared


def new_history(n_dimensions: int, keeps_cc: bool = False) -> History:
    """A search that has not begun.

    Parameters
    ----------
    n_dimensions : int
    keeps_cc : bool
        Where the objective is not 1 − CC.
    """
    hedge = Hedge(np.zeros(ACQUISITIONS), np.empty((0, n_dimensions)), np.empty(0))
    kept = np.empty(0) if keeps_cc else None
    return History(np.empty((0, n_dimensions)), np.empty(0), hedge, kept)
