"""What searches have learned of CC between the points that they have tried.

The mean of a Gaussian process of log(1 − CC), as `bayesian` proposes by it, with kernels as the
searches have fitted them, which are in their histories: linear algebra, and no fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.search.history import History

NOISE = 1e-7  # of a restart's own points, as `bayesian` has it
_ALPHA = 1e-10  # that scikit-learn adds to it
# Of the points of several restarts, whose samples differ: the likeliest of these.
NOISES = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
MOST_POINTS = 800  # of several restarts that are taken
TINY = 1e-12  # the least objective that a logarithm is taken of


@dataclass(frozen=True)
class Surrogate:
    """The mean of a process; made by `surrogate_of` and `pooled_surrogate`.

    Attributes
    ----------
    bounds : (D, 2) float
        Of the refined parameters, which the process knows as the unit cube.
    tried : (n, D) float
        Points in the unit cube, each coordinate in units of its length scale.
    lengths : (D,) float
        Length scales, in ranges of the parameters.
    amplitude : float
        Variance of the kernel.
    weights : (n,) float
        Of each point's kernel.
    mean, width : float
        Of log(1 − CC) over the points.
    """

    bounds: np.ndarray
    tried: np.ndarray
    lengths: np.ndarray
    amplitude: float
    weights: np.ndarray
    mean: float
    width: float

    def cc(self, points: np.ndarray) -> np.ndarray:
        """CC that is expected at points (k, D) in the parameters' units: (k,)."""
        low, high = self.bounds.T
        scaled = (points - low) / (high - low) / self.lengths
        covariance = self.amplitude * _matern(scaled, self.tried)
        return 1 - np.exp(self.mean + self.width * (covariance @ self.weights))


def surrogate_of(history: History, bounds: np.ndarray) -> Surrogate | None:
    """A restart's surrogate, which its next proposal would be made by.

    Parameters
    ----------
    history : History
    bounds : (D, 2) float
        Of the refined parameters.

    Returns
    -------
    Surrogate or None
        None where the search has not begun to learn, or has none.
    """
    if not _has_learned(history, bounds):
        return None
    return _surrogate(history.points, history.objectives, history.hedge.theta, bounds, (NOISE,))


def pooled_surrogate(histories: Sequence[History], bounds: np.ndarray) -> Surrogate | None:
    """One surrogate from the points of several restarts.

    Each parameter's length scale is the median over the restarts. Of many points, as many are
    taken from each restart, evenly over its search, and its best.

    Parameters
    ----------
    histories : sequence of History
    bounds : (D, 2) float

    Returns
    -------
    Surrogate or None
        None where no search has begun to learn.
    """
    learned = [history for history in histories if _has_learned(history, bounds)]
    if not learned:
        return None
    theta = np.median([history.hedge.theta for history in learned], axis=0)
    rows = [_evenly(history, MOST_POINTS // len(learned)) for history in learned]
    points = np.concatenate([h.points[taken] for h, taken in zip(learned, rows, strict=True)])
    found = np.concatenate([h.objectives[taken] for h, taken in zip(learned, rows, strict=True)])
    return _surrogate(points, found, theta, bounds, NOISES)


def _has_learned(history: History, bounds: np.ndarray) -> bool:
    return len(history.hedge.theta) == len(bounds) + 1


def _evenly(history: History, most: int) -> np.ndarray:
    """Rows of a history: at most so many, and the best one."""
    step = -(-len(history) // max(most, 1))
    return np.union1d(np.arange(0, len(history), step), history.best)


def _surrogate(
    points: np.ndarray,
    objectives: np.ndarray,
    theta: np.ndarray,
    bounds: np.ndarray,
    noises: Sequence[float],
) -> Surrogate:
    """With the likeliest of the noises, variances of the normalised objective's error."""
    amplitude, lengths = float(np.exp(theta[0])), np.exp(theta[1:])
    low, high = bounds.T
    tried = (points - low) / (high - low) / lengths
    logarithm = np.log(np.maximum(objectives, TINY))
    mean, width = float(logarithm.mean()), float(logarithm.std()) or 1.0
    normalised, kernel = (logarithm - mean) / width, amplitude * _matern(tried, tried)
    solved = [_solve(kernel, noise, normalised) for noise in noises]
    weights = max(solved, key=lambda found: found[0])[1]
    return Surrogate(bounds, tried, lengths, amplitude, weights, mean, width)


def _solve(kernel: np.ndarray, noise: float, values: np.ndarray) -> tuple[float, np.ndarray]:
    """Logarithm of the marginal likelihood but for a constant, and the kernels' weights.

    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, algorithm 2.1.
    """
    from scipy.linalg import cho_factor, cho_solve

    factor = cho_factor(kernel + (noise + _ALPHA) * np.eye(len(kernel)), lower=True)
    weights = cho_solve(factor, values)
    return float(-values @ weights / 2 - np.log(np.diag(factor[0])).sum()), weights


def _matern(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Matérn's kernel, ν = 5/2, of points (k, D), (n, D) in length scales: (k, n)."""
    squared = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1) - 2 * one @ other.T
    r = np.sqrt(5 * np.maximum(squared, 0.0))
    return (1 + r + r**2 / 3) * np.exp(-r)
