"""Frames' weights add up to 1: what changes of the parameters keep that, and errors among them.

A map knows the weights' proportions alone, and what keeps their sum at 1 (`priors.entropy`) is no
data. So all that is said of errors is in coordinates y in the plane of such changes, x = Wy, and
comes back from there: a covariance as W C Wᵀ, of two weights with errors alike and the
correlation −1.

A weight at 0 has no error, but a bound. Where it grows at the expense of those that are free, the
objective has its least at μ, below 0 where the data speak against it, and scatters by σ: the bound
with the probability p is that of a normal distribution of which only what is above 0 can be,

    Φ((μ − x)/σ) = (1 − p) Φ(μ/σ).

Its own prior, which bends the more the nearer it is to 0, has no part in σ: the bound is the
data's, and no lower than with it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from hpc_diffuser.fit.coordinates import Coordinate
from hpc_diffuser.fit.errors.bend import Bend

AT_NONE = "at 0: an upper bound alone"  # why a weight has no standard error


def plane_of(known: Sequence[Coordinate]) -> np.ndarray | None:
    """W (d, d − 1), orthonormal: one parameter each, or weights whose changes add up to 0.

    None where no weights are among the parameters.
    """
    parts = np.array([c.part for c in known], bool)
    if not parts.any():
        return None
    columns = list(np.eye(len(known))[~parts])
    places = np.flatnonzero(parts)
    for n in range(1, len(places)):
        # What one gains the n before it lose alike (Helmert's contrasts).
        change = np.zeros(len(known))
        change[places[:n]], change[places[n]] = -1 / n, 1.0
        columns.append(change / np.linalg.norm(change))
    return np.array(columns).reshape(-1, len(known)).T


def breadths_along(breadths: Sequence[float], ways: np.ndarray | None) -> Sequence[float]:
    """Of ranges (d,), those along the columns of W: all weights have the same."""
    return breadths if ways is None else (ways**2).T @ np.asarray(breadths)


def spread_over(covariance: np.ndarray, ways: np.ndarray | None) -> np.ndarray:
    """Of the parameters (d, d), from that in the plane."""
    return covariance if ways is None else ways @ covariance @ ways.T


def at_none(of_one: Coordinate) -> bool:
    """Whether it is a weight that is held at 0."""
    return bool(of_one.part) and of_one.held and of_one.value < of_one.high / 2


def upper_bounds(
    bend: Bend, found: Sequence[Coordinate], free: Sequence[int], i: int, parts: Sequence[float]
) -> list[float] | None:
    """What a weight at 0 is below with probabilities `parts`; None where no data say it.

    Parameters
    ----------
    bend : Bend
        In all parameters.
    found : sequence of Coordinate
    free : sequence of int
        Places of those that are not held.
    i : int
        The weight's.
    parts : sequence of float
    """
    rows = np.array([*free, i])
    ways = plane_of([found[row] for row in rows])
    own = bend.of(rows)
    if ways is None or not ways[-1].any():
        return None
    if own.prior is not None:
        prior = own.prior.copy()
        prior[-1], prior[:, -1] = 0.0, 0.0
        own = replace(own, prior=prior)
    inside = own.mixed(ways).less_the_prior()
    if inside.flat_direction() is not None:
        return None
    sigma = np.sqrt(spread_over(inside.covariance(), ways)[-1, -1])
    least = found[i].value + ways[-1] @ inside.newton_step()
    tails = np.log1p(-np.array(parts)) + log_ndtr(least / sigma)
    bounds = np.minimum(least - sigma * ndtri_exp(tails), found[i].high)
    return [float(x) for x in bounds]
