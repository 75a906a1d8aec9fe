"""Bayesian optimisation with scikit-optimize; the only module that imports it.

A proposal is a pure function of the history, the space and a random stream: there is no
optimiser object to save, and a resumed search proposes what the uninterrupted one would have.

The surrogate models log(1 − CC): near the optimum 1 − CC changes by a few parts in a thousand,
which a process that also has to follow its large values far away does not resolve.

As skopt comes, most of the time goes into the variance at 10000 candidates, a sum over all pairs
of points without BLAS, and into fitting the kernel from three starting points. Here that sum is a
matrix product; and the kernel is fitted from where the last fit ended, which therefore is in the
history. (Brought back to where the likelihood has a gradient: a length scale at its bound would
stay there.)
"""

import warnings
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.search.history import Hedge, History

if TYPE_CHECKING:
    from skopt.learning import GaussianProcessRegressor

CANDIDATES = 10_000  # points at which skopt predicts

IMPROVEMENT = 0.01  # that expected improvement and PI look for: 1 % of 1 − CC
# Variance of the normalised objective's error. A restart evaluates all points with the same
# samples: its objective is smooth, and what the samples leave (which differs between restarts)
# is no noise. Handed in as such, it made the example's answers worse.
NOISE = 1e-7
TINY = 1e-12  # the least objective that a logarithm is taken of

STARTS = 4  # so many of the best candidates are followed to an acquisition function's minimum
FARTHEST_START = 1.5  # theta that a fit starts from; from farther away it does not come back


def propose(
    history: History,
    bounds: np.ndarray,
    n_initial: int,
    stream: np.random.Generator,
    plain: bool = False,
) -> tuple[np.ndarray, Hedge]:
    """The next point to evaluate: a `method.SearchMethod`.

    Parameters
    ----------
    history : History
    bounds : (D, 2) float
    n_initial : int
        So many first points are drawn uniformly.
    stream : numpy.random.Generator
        Of this restart and iteration.
    plain : bool
        The surrogate models the objective itself, as in the paper, not its logarithm.

    Returns
    -------
    point : (D,) float
    hedge : Hedge
        To be stored with the point's evaluation.
    """
    if len(history) < n_initial:
        return stream.uniform(*bounds.T), history.hedge
    # One BLAS thread: the Cholesky factor of the same matrix has other bits on two.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _surrogate_proposal(history, bounds, stream, plain)


def _surrogate_proposal(
    history: History, bounds: np.ndarray, stream: np.random.Generator, plain: bool
) -> tuple[np.ndarray, Hedge]:
    from skopt import Optimizer

    dimensions = [(float(low), float(high)) for low, high in bounds]
    optimizer = Optimizer(
        dimensions,
        base_estimator=_process(history, dimensions),
        n_initial_points=0,
        acq_func="gp_hedge",
        acq_optimizer="lbfgs",
        acq_func_kwargs={"xi": IMPROVEMENT},
        acq_optimizer_kwargs={"n_restarts_optimizer": STARTS},
        random_state=int(stream.integers(2**31 - 1)),
    )
    optimizer.gains_ = history.hedge.gains.copy()
    if len(history.hedge.candidates):
        optimizer.next_xs_ = list(history.hedge.candidates)
    values = history.objectives if plain else _log(history.objectives)
    optimizer.tell(history.points.tolist(), values.tolist())
    point = np.clip(optimizer.ask(), *bounds.T)
    fitted = optimizer.models[-1].kernel_.k1  # without the noise, which is set
    return point, Hedge(np.array(optimizer.gains_), np.array(optimizer.next_xs_), fitted.theta)


def _process(history: History, dimensions: list[tuple[float, float]]) -> "GaussianProcessRegressor":
    """The surrogate, which will fit its kernel beginning with the last one's theta."""
    from skopt import Space
    from skopt.utils import cook_estimator, normalize_dimensions

    space = Space(normalize_dimensions(dimensions))
    cooked = cook_estimator("GP", space=space, noise=NOISE, n_restarts_optimizer=0)
    process = _with_fast_variance()(**cooked.get_params(deep=False))
    if not len(history.hedge.theta):
        return process
    start = np.clip(history.hedge.theta, -FARTHEST_START, FARTHEST_START)
    return process.set_params(kernel=process.kernel.clone_with_theta(start))


@cache
def _with_fast_variance() -> "type[GaussianProcessRegressor]":
    """skopt's process, made here because skopt is imported only when it is needed."""
    from skopt.learning import GaussianProcessRegressor

    class Process(GaussianProcessRegressor):
        """The same, but its variance at many points is a matrix product."""

        def predict(self, X, return_std=False, **others):
            if not return_std or others or len(X) == 1:
                return super().predict(X, return_std=return_std, **others)
            covariance = self.kernel_(X, self.X_train_)
            mean = self.y_train_std_ * (covariance @ self.alpha_) + self.y_train_mean_
            known = np.einsum("ki,ki->k", covariance @ self.K_inv_, covariance)
            variance = np.maximum(self.kernel_.diag(X) - known, 0.0)
            return mean, self.y_train_std_ * np.sqrt(variance)

    return Process


def _log(objectives: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(objectives, TINY))


def proposing_bytes(evaluations: int) -> list[float]:
    """Bytes of skopt's kernel between candidates and so many points that it was told."""
    return [8.0 * CANDIDATES * evaluations] * 5
