"""Which parameters of a fit depend on each other, as a search's surrogate has it."""

import numpy as np

from hpc_diffuser.fit.search.surrogate import Surrogate

STEP = 0.1  # of a range, to both sides of a point
FINE = 41  # points along each side of a slice


def couplings(surrogate: Surrogate, point: np.ndarray) -> np.ndarray:
    """How far CC is from a sum over parameters: (D, D), symmetric, 0 along its diagonal.

    For parameters i and j the largest |CC(+,+) − CC(+,−) − CC(−,+) + CC(−,−)| / 4, with both moved
    by `STEP` of their ranges to either side, within the bounds; 0 where each acts by itself.

    Parameters
    ----------
    surrogate : Surrogate
    point : (D,) float
    """
    low, high = surrogate.bounds.T
    step = STEP * (high - low)
    middle = np.clip(point, low + step, high - step)
    n = len(point)
    found = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            corners = np.repeat(middle[None], 4, axis=0)
            corners[:, i] += step[i] * np.array([1, 1, -1, -1])
            corners[:, j] += step[j] * np.array([1, -1, 1, -1])
            found[i, j] = found[j, i] = abs(surrogate.cc(corners) @ [1, -1, -1, 1]) / 4
    return found


def strongest_pairs(found: np.ndarray) -> list[tuple[int, int, float]]:
    """All pairs i < j of parameters with their coupling, the strongest first."""
    n = len(found)
    pairs = [(i, j, float(found[i, j])) for i in range(n) for j in range(i + 1, n)]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[:2]))


def slice_through(
    surrogate: Surrogate, point: np.ndarray, i: int, j: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CC where two parameters vary over their ranges, and the others are those of a point.

    Parameters
    ----------
    surrogate : Surrogate
        With the ranges of all D parameters.
    point : (D,) float
    i, j : int
        The parameters that vary, along x and along y.

    Returns
    -------
    x, y : (FINE,) float
        Of parameters i and j.
    cc : (FINE, FINE) float
        A row for each y.
    """
    x, y = (np.linspace(low, high, FINE) for low, high in surrogate.bounds[[i, j]])
    points = np.repeat(point[None], FINE**2, axis=0)
    points[:, i], points[:, j] = np.tile(x, FINE), np.repeat(y, FINE)
    return x, y, surrogate.cc(points).reshape(FINE, FINE)
