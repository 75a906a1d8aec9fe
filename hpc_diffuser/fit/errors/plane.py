"""Frames' weights add up to 1: what changes of the parameters keep that, and errors among them.

A map knows the weights' proportions alone, and what keeps their sum at 1 (`priors.entropy`) is no
data. So all that is said of errors is in coordinates y in the plane of such changes, x = Wy, and
comes back from there: a covariance as W C Wᵀ, of two weights with errors alike and the
correlation −1.
"""

from collections.abc import Sequence

import numpy as np

from hpc_diffuser.fit.coordinates import Coordinate


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
