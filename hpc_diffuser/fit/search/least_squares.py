"""Bounded least squares (Levenberg-Marquardt): a dozen steps, with more points as it converges.

A step is a pure function of the history and of the objective linearised about the accepted point.
Which point that is, and how much steps are damped, follows from the objectives alone: a search is
replayed, so that a checkpoint needs to keep no more.

Steps are taken in φ, the variance σ² of all amplitudes, in which the one-phonon intensity is linear
and a weight does not freeze at 0: there dO/dσ = 2σ dO/dφ vanishes, dO/dφ does not. Where they go,
see `trial_step`.

A search goes through stages. Each is of other sample points than the one before, and of four times
as many up to `MOST_TIMES`. A stage is over when the next step would move no parameter by more than
its standard error; the search, when that is so before any step with a stage's points: other points
would have led to the same place. After the last stage it ends in any case. Where steps lead
nowhere, damped as they may be, a stage is over, too; where that is so with the best slopes, the
search stands still. That is no convergence, and it says so.
"""

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.search.history import History, Proposal
from hpc_diffuser.fit.search.linearised import About, Linearised, phi_of
from hpc_diffuser.fit.search.trial_step import (
    DAMPING,
    LEAST_DAMPING,
    braked,
    relieved,
    trial_point,
    unit_scale,
)

LAST_STAGE = 3  # the first one is 0
MOST_TIMES = 16  # the sample points of the first stage
MOST_IDLE = 3  # evaluations in a row that gain next to nothing
WORTH = 0.5  # of the objective over N: less is nothing; a move by one standard error gains 1
_HALVED = 30  # times at most
_RANK = 1e-8  # of a matrix of diagonal 1: what is less determined has no standard error


class State(NamedTuple):
    """Where a search stands.

    Attributes
    ----------
    accepted : int
        The row of the history that steps are taken from.
    damping : float
    rejected : int
        Steps from there that made it worse.
    idle : int
        Evaluations in a row that gained next to nothing.
    fresh : bool
        The accepted point is the first of a later stage: no step has been good with its points.
    """

    accepted: int
    damping: float
    rejected: int
    idle: int
    fresh: bool


def times_more(stage: int) -> int:
    """How many times the sample points of the first stage a stage has."""
    return min(4**stage, MOST_TIMES)


def replayed(history: History, n_first: int, n_independent: float = np.inf) -> State:
    """What has become of the steps so far.

    Parameters
    ----------
    history : History
    n_first : int
        So many evaluations came before the first step, which begins at their best.
    n_independent : float
        N: where it is infinite, a gain is a gain.
    """
    found = history.objectives
    state = State(int(np.argmin(found[:n_first])), DAMPING, 0, 0, False)
    for row in range(n_first, len(history)):
        if row in history.stage_starts:
            state = State(row, min(state.damping, DAMPING), 0, 0, True)
            continue
        gain = found[state.accepted] - found[row]
        idle = 0 if gain > WORTH / n_independent * abs(found[row]) else state.idle + 1
        if gain > 0:
            state = State(row, relieved(state.damping, state.rejected), 0, idle, False)
        else:
            damping = braked(state.damping, state.rejected)
            state = state._replace(damping=damping, rejected=state.rejected + 1, idle=idle)
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
    state = replayed(history, n_first, about.n_independent)
    if not (np.diag(about.linearised.matrix) > 0).any():
        # Nothing moves there, and the map has no derivative: begin anywhere else.
        return Proposal(stream.uniform(*bounds.T), history.hedge)
    with threadpool_limits(1):  # a factor of the same matrix has other bits on two
        return _step(history, bounds, about, about.linearised, state)


def _step(
    history: History, bounds: np.ndarray, about: About, linearised: Linearised, state: State
) -> Proposal:
    here, squared = history.points[state.accepted], about.squared

    def towards(damping: float) -> np.ndarray:
        there = trial_point(here, bounds, squared, linearised, about.penalty, damping)[0]
        # Not to where nothing can be calculated: it can where the step is from.
        for _ in range(_HALVED):
            if about.possible is None or about.possible(there):
                return there
            there = (here + there) / 2
        return here

    whole = towards(LEAST_DAMPING)
    of_prior = None if about.penalty is None else about.penalty(here).matrix
    move = phi_of(whole, squared) - phi_of(here, squared)
    small = within_errors(move, linearised, about.n_independent, of_prior)
    idle = not small and state.idle >= MOST_IDLE
    if (small or idle) and not state.fresh and len(history.stage_starts) < LAST_STAGE:
        return Proposal(here, history.hedge, new_stage=True)
    if small:
        return Proposal(whole, history.hedge, last=True)
    return Proposal(towards(state.damping), history.hedge, last=idle, stands_still=idle)


def within_errors(
    move: np.ndarray,
    linearised: Linearised,
    n_independent: float,
    of_prior: np.ndarray | None = None,
) -> bool:
    """Whether a move in φ moves no parameter by more than its standard error.

    The covariance is (M + P)⁻¹ times the scatter over N, with the prior's curvature P: where the
    model is right, that of least squares, or of the posterior.

    Parameters
    ----------
    move : (D,) float
    linearised : Linearised
    n_independent : float
        N.
    of_prior : (D, D) float or None
    """
    matrix = linearised.matrix if of_prior is None else linearised.matrix + of_prior
    scale = unit_scale(matrix)
    known = scale > 0
    normalised = (matrix * np.outer(scale, scale))[np.ix_(known, known)]
    inverse = np.linalg.pinv(normalised, rcond=_RANK, hermitian=True)
    variance = np.diag(inverse) * scale[known] ** 2 * linearised.scatter / n_independent
    return bool((move[known] ** 2 <= variance).all())


def stepping_bytes(parameters: int) -> list[float]:
    """Bytes of the matrices that a step is solved with."""
    return [8.0 * parameters**2] * 9
