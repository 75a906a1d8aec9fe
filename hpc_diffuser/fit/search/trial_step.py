"""Where a step of least squares goes: to the least of what the objective is expected to be.

About a point the map is taken to be linear in φ. What the objective should be after a move δ is

    g·s + ½ sᵀMs + ½ λ δᵀDδ + P(φ + δ),     s = δ/(1 + β·δ).

The first two are Gauss's and Newton's parabola. Scores know no scale: a move that makes the map
larger by the factor 1 + β·δ turns it by that much less than its slopes alone do, hence s. λ damps
(Levenberg, Marquardt) by how far the map changes in all, its scale too, which M does not see:
where M is small since the map hardly does more than grow, steps would else be wild. The prior P is
no parabola in φ, and evaluates no map. So it is taken as it is, and the least found in rounds.
"""

from collections.abc import Callable

import numpy as np

from hpc_diffuser.fit.priors.penalty import Penalty
from hpc_diffuser.fit.search.linearised import Linearised, phi_of, values_of

DAMPING = 1e-2  # λ of the first step
LEAST_DAMPING = 1e-6
_RELIEF = 0.1  # what it is multiplied by after a step that was good
_SINGULAR = 1e-8  # of a diagonal that is 1: keeps what data and prior do not tell where it is
_LEAST_SIZE = 0.1  # of the map, in units of itself: less is no expectation
_MOST_ROUNDS = 100
_SETTLED = 1e-4  # of what the rounds have gained: one that promises no more is the last
_MOST_DAMPING = 1e9  # of a round
_MOST_SETS = 50  # of the active set; what is not settled then is cut to the bounds
_TINY = 1e-12  # of the largest diagonal element: the parameter has no effect


def relieved(damping: float, rejected: int) -> float:
    """λ after a step that made the objective better; as it is where others had to come before."""
    return damping if rejected else max(damping * _RELIEF, LEAST_DAMPING)


def braked(damping: float, rejected: int) -> float:
    """λ after a step that did not, which came after so many others: 10, 100, 1000 times as much."""
    return damping * 10.0 ** (1 + rejected)


def trial_point(
    point: np.ndarray,
    bounds: np.ndarray,
    squared: np.ndarray,
    linearised: Linearised,
    penalty: Callable[[np.ndarray], Penalty] | None,
    damping: float,
) -> tuple[np.ndarray, float]:
    """Where to go from a point (D,), and by how much that should lower the objective.

    Parameters
    ----------
    point : (D,) float
    bounds : (D, 2) float
    squared : (D,) bool
        See `About`.
    linearised : Linearised
        About the point.
    penalty : callable or None
        See `About`.
    damping : float
        λ.
    """
    here, (low, high) = phi_of(point, squared), phi_of(bounds.T, squared)

    def expected(phi: np.ndarray) -> Penalty:
        of_data = _of_data(linearised, phi - here, damping)
        return of_data if penalty is None else of_data.plus(penalty(values_of(phi, squared)))

    there, gain = _least(expected, here, low, high)
    return np.clip(values_of(there, squared), *bounds.T), gain


def _of_data(about: Linearised, move: np.ndarray, damping: float) -> Penalty:
    size = 1 + about.scaling @ move
    damped = damping * about.change
    if size < _LEAST_SIZE:
        return Penalty(np.inf, about.gradient, about.matrix)
    s = move / size
    turned = (np.eye(len(s)) - np.outer(s, about.scaling)) / size
    pull = about.matrix @ s
    value = float(about.gradient @ s + s @ pull / 2 + move @ (damped * move) / 2)
    gradient = turned.T @ (about.gradient + pull) + damped * move
    return Penalty(value, gradient, turned.T @ about.matrix @ turned + np.diag(damped))


def _least(
    expected: Callable[[np.ndarray], Penalty], start: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, float]:
    """The least within bounds (D,) from a start, and how much lower it is."""
    here, at, damping = start, expected(start), 0.0
    first = at.value
    for _ in range(_MOST_ROUNDS):
        step = bounded_step(at.gradient, at.matrix, damping, low - here, high - here)
        promised = -(at.gradient @ step + step @ at.matrix @ step / 2)
        if not promised > _SETTLED * (first - at.value):
            break
        there = np.clip(here + step, low, high)
        found = expected(there)
        if found.value < at.value:
            here, at, damping = there, found, damping * _RELIEF
        elif damping > _MOST_DAMPING:
            break
        else:
            damping = max(10 * damping, 1e-3)
    return here, first - at.value


def bounded_step(
    gradient: np.ndarray, matrix: np.ndarray, damping: float, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The step (D,) to the least of gᵀs + ½ sᵀ(M + λ diag M)s within bounds, by an active set.

    Which parameters are at a bound is told by the step and its slope there, all at once, until it
    changes no more (Hintermüller, Ito & Kunisch 2002, SIAM J. Optim. 13, 865).

    Parameters
    ----------
    gradient : (D,) float
    matrix : (D, D) float
    damping : float
        λ.
    low, high : (D,) float
        Around 0.
    """
    scale = unit_scale(matrix)
    a = matrix * np.outer(scale, scale)
    a[np.diag_indices(len(a))] += damping + _SINGULAR
    g, ends = gradient * scale, (low, high)
    low, high = (_unscaled(x, scale) for x in ends)
    step, slope, sides = np.zeros(len(g)), g, np.full(len(g), 2)
    bend = np.diag(a)  # damped it is not 1: a slope as it is would lead beyond the other bound
    for _ in range(_MOST_SETS):
        alone = step - slope / bend  # where each would go on its own
        told = np.where(alone <= low, -1, np.where(alone >= high, 1, 0))
        told[scale == 0] = -1
        if np.array_equal(told, sides):
            break
        sides, free = told, told == 0
        step = np.where(sides < 0, low, np.where(sides > 0, high, 0.0))
        step[free] = np.linalg.solve(a[np.ix_(free, free)], -(g + a @ step)[free])
        slope = g + a @ step
    return np.clip(step * scale, *ends)


def unit_scale(matrix: np.ndarray) -> np.ndarray:
    """What makes the diagonal 1: (D,); 0 of a parameter without effect."""
    diagonal = np.diag(matrix)
    known = diagonal > _TINY**2 * max(diagonal.max(initial=0.0), 0.0)
    return np.where(known, 1 / np.sqrt(np.where(known, diagonal, 1.0)), 0.0)


def _unscaled(bound: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, bound / np.where(scale > 0, scale, 1.0), 0.0)
