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
        1 − CC of each; smaller is better.
    hedge : Hedge
    """

    points: np.ndarray
    objectives: np.ndarray
    hedge: Hedge

    def __len__(self) -> int:
        return len(self.objectives)

    @property
    def best(self) -> int:
        """Row of the best point."""
        return int(np.argmin(self.objectives))

    def extended(self, point: np.ndarray, objective: float, hedge: Hedge) -> "History":
        """The history with one more evaluation."""
        return History(
            np.concatenate([self.points, point[None]]),
            np.append(self.objectives, objective),
            hedge,
        )


def new_history(n_dimensions: int) -> History:
    """A search that has not begun."""
    hedge = Hedge(np.zeros(ACQUISITIONS), np.empty((0, n_dimensions)), np.empty(0))
    return History(np.empty((0, n_dimensions)), np.empty(0), hedge)
