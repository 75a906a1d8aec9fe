"""What a search has learned: plain arrays, all that a proposal and a checkpoint need."""

from dataclasses import dataclass

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
    """

    points: np.ndarray
    objectives: np.ndarray
    hedge: Hedge
    cc_work: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.objectives)

    @property
    def best(self) -> int:
        """Row of the best point."""
        return int(np.argmin(self.objectives))

    def best_cc_so_far(self) -> np.ndarray:
        """CC_work of the best point up to each evaluation: (n,)."""
        lowest = np.minimum.accumulate(self.objectives)
        if self.cc_work is None:
            return 1 - lowest
        better = np.append(True, self.objectives[1:] < lowest[:-1])[: len(self)]
        return self.cc_work[np.maximum.accumulate(np.where(better, np.arange(len(self)), 0))]

    def extended(
        self, point: np.ndarray, objective: float, hedge: Hedge, cc_work: float = 0.0
    ) -> "History":
        """The history with one more evaluation; with its CC where those are kept."""
        kept = None if self.cc_work is None else np.append(self.cc_work, cc_work)
        return History(
            np.concatenate([self.points, point[None]]),
            np.append(self.objectives, objective),
            hedge,
            kept,
        )


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
