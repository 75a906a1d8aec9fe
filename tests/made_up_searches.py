"""Searches on made-up objectives whose optima are known, without a search method."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from hpc_diffuser.fit.search import bayesian
from hpc_diffuser.fit.search.history import ACQUISITIONS, Hedge, History


def unit_bounds(n_parameters: int) -> np.ndarray:
    """Ranges from 0 to 1."""
    return np.array([[0.0, 1.0]] * n_parameters)


def searches(
    lacks: Callable[[np.ndarray], np.ndarray], ends: Sequence[Sequence[float]], n: int = 40
) -> list[History]:
    """Searches of the unit cube that close in on their ends: a quarter of the points are random.

    Parameters
    ----------
    lacks : callable
        1 − CC at points (n, D): (n,).
    ends : (R, D) float
        The last point of each.
    n : int
        Evaluations.

    Returns
    -------
    list of History
        All with the kernel that scikit-optimize fits to the first.
    """
    tried = [_closing_in(np.asarray(end, dtype=float), n, seed) for seed, end in enumerate(ends)]
    kernel = _fitted(tried[0], lacks(tried[0]))
    hedge = Hedge(np.zeros(ACQUISITIONS), np.empty((0, len(ends[0]))), kernel)
    return [History(points, lacks(points), hedge) for points in tried]


def _closing_in(end: np.ndarray, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    reach = np.geomspace(0.4, 0.01, n - n // 4)[:, None]
    near = end + reach * rng.normal(size=(len(reach), len(end)))
    points = np.concatenate([rng.uniform(size=(n // 4, len(end))), np.clip(near, 0, 1)])
    points[-1] = end
    return points


def _fitted(points: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The kernel's theta, as a proposal would store it."""
    empty = History(points, found, Hedge(np.zeros(ACQUISITIONS), points[:0], np.empty(0)))
    process = bayesian._process(empty, [(0.0, 1.0)] * points.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # length scales at their bounds
        return process.fit(points, np.log(found)).kernel_.k1.theta


def bowl(points: np.ndarray, middle: float = 0.5) -> np.ndarray:
    """The sum of squares of all coordinates' distances from the middle: (n,)."""
    return np.sum((points - middle) ** 2, axis=1)


def two_wells(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 at two places, 0.1 in the middle between them, and more at their far sides."""
    half = (high - low) / 2
    return 0.1 * ((x - low) * (x - high) / half**2) ** 2
