"""Bayesian optimisation with scikit-optimize; the only module that imports it.

A proposal is a pure function of the history, the space and a random stream: there is no
optimiser object to save, and a resumed search proposes what the uninterrupted one would have.

The surrogate models log(1 − CC): near the optimum 1 − CC changes by a few parts in a thousand,
which a process that also has to follow its large values far away does not resolve.
"""

import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.search.history import Hedge, History

IMPROVEMENT = 0.01  # that expected improvement and PI look for: 1 % of 1 − CC
NOISE = 1e-7  # of the normalised objective: the forward model is deterministic


def propose(
    history: History, bounds: np.ndarray, n_initial: int, stream: np.random.Generator
) -> tuple[np.ndarray, Hedge]:
    """The next point to evaluate.

    Parameters
    ----------
    history : History
    bounds : (D, 2) float
    n_initial : int
        So many first points are drawn uniformly.
    stream : numpy.random.Generator
        Of this restart and iteration.

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
        return _surrogate_proposal(history, bounds, stream)


def _surrogate_proposal(
    history: History, bounds: np.ndarray, stream: np.random.Generator
) -> tuple[np.ndarray, Hedge]:
    from skopt import Optimizer, Space
    from skopt.utils import cook_estimator, normalize_dimensions

    process_seed, search_seed = (int(n) for n in stream.integers(2**31 - 1, size=2))
    dimensions = [(float(low), float(high)) for low, high in bounds]
    process = cook_estimator(
        "GP", space=Space(normalize_dimensions(dimensions)), noise=NOISE, random_state=process_seed
    )
    optimizer = Optimizer(
        dimensions,
        base_estimator=process,
        n_initial_points=0,
        acq_func="gp_hedge",
        acq_optimizer="lbfgs",
        acq_func_kwargs={"xi": IMPROVEMENT},
        acq_optimizer_kwargs={"n_restarts_optimizer": 2},
        random_state=search_seed,
    )
    optimizer.gains_ = history.hedge.gains.copy()
    if len(history.hedge.candidates):
        optimizer.next_xs_ = list(history.hedge.candidates)
    optimizer.tell(history.points.tolist(), _log(history.objectives).tolist())
    point = np.clip(optimizer.ask(), *bounds.T)
    return point, Hedge(np.array(optimizer.gains_), np.array(optimizer.next_xs_))


def _log(objectives: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(objectives, 1e-12))
