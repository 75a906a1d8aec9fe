"""Which restarts of a search ended at the same place: by their parameters, and by the objective."""

import numpy as np

from hpc_diffuser.fit.search.surrogate import Surrogate

# Neighbours differ by at most this part of the parameters' ranges, rms over the parameters. Two
# points drawn at random from the whole box differ by 1/√6 = 0.41.
NEIGHBOURS = 0.1
# Nor does any parameter alone differ by more: among many that agree, one that does not would be
# lost in the rms.
FARTHEST = 0.25
STEPS = 10  # of the straight line between two answers, at the ends of which CC is looked at


def clusters(answers: np.ndarray, bounds: np.ndarray) -> list[list[int]]:
    """Groups of restarts whose answers lie close together, or are joined by others in between.

    Single linkage: two restarts are neighbours where their parameters, each in units of its own
    range, differ by no more than `NEIGHBOURS` rms and none by more than `FARTHEST`; a cluster is
    all that can be reached from neighbour to neighbour. So restarts that scatter around one
    optimum are one cluster, and two optima with nothing between them are two; so may be the ends
    of a valley along parameters that matter little, which `joined` puts together again.

    Parameters
    ----------
    answers : (R, D) float
        The best point of each restart.
    bounds : (D, 2) float
        Of the refined parameters.

    Returns
    -------
    list of list of int
        Rows of `answers`, each once, in ascending order.

    Notes
    -----
    Gower & Ross (1969), Appl. Stat. 18, 54.
    """
    n_restarts, n_parameters = answers.shape
    if n_restarts == 1 or n_parameters == 0:
        return [list(range(n_restarts))]
    # Loaded where it is needed: `status` does without.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    low, high = bounds.T
    scaled = (answers - low) / (high - low)
    rms, largest = pdist(scaled) / np.sqrt(n_parameters), pdist(scaled, "chebyshev")
    apart = np.maximum(rms / NEIGHBOURS, largest / FARTHEST)
    labels = fcluster(linkage(apart, "single"), 1.0, criterion="distance")
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]


def joined(
    groups: list[list[int]],
    answers: np.ndarray,
    cc: np.ndarray,
    surrogate: Surrogate,
    tolerance: float,
) -> list[list[int]]:
    """The clusters that the objective does not part, put together.

    Two clusters are one where CC of their best restarts differs by at most `tolerance`, and falls
    by no more below the worse of the two anywhere on the straight line between them, as the
    surrogate has it. So are all that can be reached in this way. Parameters that do not matter
    part no restarts, then, and two optima that are equally good stay two.

    Parameters
    ----------
    groups : list of list of int
        As `clusters` makes them.
    answers : (R, D) float
    cc : (R,) float
        Of each answer, as its search saw it.
    surrogate : Surrogate
        From the points of all these restarts.
    tolerance : float

    Returns
    -------
    list of list of int
        Rows of `answers`, each once, in ascending order.
    """
    best = [max(rows, key=lambda row: cc[row]) for rows in groups]
    label = list(range(len(groups)))
    for one in range(len(groups)):
        for other in range(one):
            if label[one] == label[other] or abs(cc[best[one]] - cc[best[other]]) > tolerance:
                continue
            if _fall(answers[best[one]], answers[best[other]], surrogate) <= tolerance:
                old, new = label[one], label[other]
                label = [new if name == old else name for name in label]
    return [
        sorted(row for rows, name in zip(groups, label, strict=True) if name == new for row in rows)
        for new in dict.fromkeys(label)
    ]


def _fall(one: np.ndarray, other: np.ndarray, surrogate: Surrogate) -> float:
    """By how much CC falls between two points (D,), below the worse of them."""
    part = np.linspace(0, 1, STEPS + 1)[:, None]
    found = surrogate.cc((1 - part) * one + part * other)
    return float(min(found[0], found[-1]) - found.min())
