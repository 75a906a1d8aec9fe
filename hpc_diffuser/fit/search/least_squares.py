"""Bounded least squares (Levenberg-Marquardt): a dozen steps, with more points as it converges.

A step is a pure function of the history and of the objective linearised about the accepted point.
Which point that is, and how much steps are damped, follows from the objectives alone: a search is
replayed, so that a checkpoint needs to keep no more.

Steps are taken in φ, the variance σ² of all amplitudes, in which the one-phonon intensity is linear
and a weight does not freeze at 0: there dO/dσ = 2σ dO/dφ vanishes, dO/dφ does not.

A search goes through stages. Each is of other sample points than the one before, and of four times
as many up to `MOST_TIMES`. A stage is over when the next step would move no parameter by more than
its standard error; the search, when that is so right after a stage's first evaluation: other
points would have led to the same place. After the last stage it ends in any case.
"""

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.search.history import History, Proposal
from hpc_diffuser.fit.search.linearised import About, Linearised

LAST_STAGE = 3  # the first one is 0
MOST_TIMES = 16  # the sample points of the first stage
_DAMPING = 1e-2  # of the first step, in units of the matrix's diagonal
_RELIEF, _BRAKE = 0.1, 10.0  # what it is multiplied by, after a step that was good or bad
_LEAST_DAMPING = 1e-8
_MOST_REJECTED = 3  # steps in a row: then the point is the stage's best
_MOST_ROUNDS = 50  # of the active set; what is not settled then is cut to the bounds
_TINY = 1e-12  # of the largest diagonal element: the parameter has no effect


class State(NamedTuple):
    """Where a search stands.

    Attributes
    ----------
    accepted : int
        The row of the history that steps are taken from.
    damping : float
    rejected : int
        Steps from there that made it worse.
    fresh : bool
        The accepted point is the first of a later stage: no step has been taken with its points.
    """

    accepted: int
    damping: float
    rejected: int
    fresh: bool


def times_more(stage: int) -> int:
    """How many times the sample points of the first stage a stage has."""
    return min(4**stage, MOST_TIMES)


def replayed(history: History, n_first: int) -> State:
    """What has become of the steps so far.

    Parameters
    ----------
    history : History
    n_first : int
        So many evaluations came before the first step, which begins at their best.
    """
    found = history.objectives
    state = State(int(np.argmin(found[:n_first])), _DAMPING, 0, False)
    for row in range(n_first, len(history)):
        if row in history.stage_starts:
            state = State(row, state.damping, 0, True)
        elif found[row] < found[state.accepted]:
            state = State(row, max(state.damping * _RELIEF, _LEAST_DAMPING), 0, False)
        else:
            state = State(state.accepted, state.damping * _BRAKE, state.rejected + 1, False)
    return state


def first_point(
    history: History, bounds: np.ndarray, stream: np.random.Generator, about: About | None
) -> Proposal:
    """Where the search is told to begin, or anywhere within the bounds."""
    start = None if about is None else about.start
    point = stream.uniform(*bounds.T) if start is None else np.clip(start, *bounds.T)
    return Proposal(point, history.hedge)


def next_step(
    history: History,
    bounds: np.ndarray,
    stream: np.random.Generator,
    about: About | None,
    n_first: int,
) -> Proposal:
    """A step from the accepted point, or the next stage's first evaluation of it.

    Parameters
    ----------
    history : History
    bounds : (D, 2) float
    stream : numpy.random.Generator
    about : About
        Linearised about the accepted point.
    n_first : int
        See `replayed`.
    """
    if about is None or about.linearised is None:
        raise ValueError("expected the objective linearised about the accepted point")
    state = replayed(history, n_first)
    if not (np.diag(about.linearised.matrix) > 0).any():
        # Nothing moves there, and the map has no derivative: begin anywhere else.
        return Proposal(stream.uniform(*bounds.T), history.hedge)
    with threadpool_limits(1):  # a factor of the same matrix has other bits on two
        return _step(history, bounds, about, about.linearised, state)


def _step(
    history: History, bounds: np.ndarray, about: About, linearised: Linearised, state: State
) -> Proposal:
    here = history.points[state.accepted]
    phi, limits = _phi(here, about.squared), _phi(bounds.T, about.squared)
    objective = float(history.objectives[state.accepted])
    whole = bounded_step(linearised, 0.0, limits[0] - phi, limits[1] - phi)
    small = within_errors(whole, linearised, objective, about.n_independent)
    stage = len(history.stage_starts)
    over = small or state.rejected >= _MOST_REJECTED
    if over and not state.fresh and stage < LAST_STAGE:
        return Proposal(here, history.hedge, new_stage=True)
    damping = 0.0 if over else state.damping
    step = bounded_step(linearised, damping, limits[0] - phi, limits[1] - phi)
    point = _back(phi + step, about.squared)
    return Proposal(np.clip(point, *bounds.T), history.hedge, last=over)


def bounded_step(
    linearised: Linearised, damping: float, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The step (D,) to the least of gᵀs + ½ sᵀ(M + λ diag M)s within bounds, by an active set.

    Which parameters are at a bound is told by the step and its slope there, all at once, until it
    changes no more (Hintermüller, Ito & Kunisch 2002, SIAM J. Optim. 13, 865).

    Parameters
    ----------
    linearised : Linearised
    damping : float
        λ.
    low, high : (D,) float
        Around 0.
    """
    gradient, matrix = linearised.gradient, linearised.matrix
    scale = _scale(matrix)
    a = matrix * np.outer(scale, scale)
    a[np.diag_indices(len(a))] += damping + _LEAST_DAMPING
    g, ends = gradient * scale, (low, high)
    low, high = (_unscaled(x, scale) for x in ends)
    step, slope, sides = np.zeros(len(g)), g, np.full(len(g), 2)
    for _ in range(_MOST_ROUNDS):
        told = np.where(step - slope <= low, -1, np.where(step - slope >= high, 1, 0))
        told[scale == 0] = -1
        if np.array_equal(told, sides):
            break
        sides, free = told, told == 0
        step = np.where(sides < 0, low, np.where(sides > 0, high, 0.0))
        step[free] = np.linalg.solve(a[np.ix_(free, free)], -(g + a @ step)[free])
        slope = g + a @ step
    return np.clip(step * scale, *ends)


def within_errors(
    step: np.ndarray, linearised: Linearised, objective: float, n_independent: float
) -> bool:
    """Whether a step moves no parameter by more than its standard error.

    The covariance is that of least squares, M⁻¹ 2O/N, where the objective O is half of the sum of
    squared residuals of N independent numbers, in units of the data's own sum of squares.
    """
    scale = _scale(linearised.matrix)
    known = scale > 0
    normalised = (linearised.matrix * np.outer(scale, scale))[np.ix_(known, known)]
    inverse = np.linalg.pinv(normalised, rcond=_LEAST_DAMPING, hermitian=True)
    variance = np.diag(inverse) * scale[known] ** 2 * 2 * max(objective, 0.0) / n_independent
    return bool((step[known] ** 2 <= variance).all())


def _scale(matrix: np.ndarray) -> np.ndarray:
    """What makes the diagonal 1; 0 of a parameter without effect."""
    diagonal = np.diag(matrix)
    known = diagonal > _TINY**2 * max(diagonal.max(initial=0.0), 0.0)
    return np.where(known, 1 / np.sqrt(np.where(known, diagonal, 1.0)), 0.0)


def _unscaled(bound: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, bound / np.where(scale > 0, scale, 1.0), 0.0)


def _phi(values: np.ndarray, squared: np.ndarray) -> np.ndarray:
    return np.where(squared, values**2, values)


def _back(phi: np.ndarray, squared: np.ndarray) -> np.ndarray:
    return np.where(squared, np.sqrt(np.maximum(phi, 0.0)), phi)


def stepping_bytes(parameters: int) -> list[float]:
    """Bytes of the matrices that a step is solved with."""
    return [8.0 * parameters**2] * 6
