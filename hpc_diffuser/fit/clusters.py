"""Which restarts of a search ended at the same place."""

import numpy as np

# Neighbours differ by at most this part of the parameters' ranges, rms over the parameters. Two
# points drawn at random from the whole box differ by 1/√6 = 0.41.
NEIGHBOURS = 0.1


def clusters(answers: np.ndarray, bounds: np.ndarray) -> list[list[int]]:
    """Groups of restarts whose answers lie close together, or are joined by others in between.

    Single linkage: two restarts are neighbours where their parameters, each in units of its own
    range, differ by no more than `NEIGHBOURS` rms; a cluster is all that can be reached from
    neighbour to neighbour. So restarts that scatter around one optimum, or along the valley of a
    parameter that matters little, are one cluster, and two optima with nothing between them are
    two. The objective plays no part: how much the clusters' objectives differ is told beside
    what the samples leave of error, which may be more.

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

    low, high = bounds.T
    scaled = (answers - low) / (high - low) / np.sqrt(n_parameters)
    labels = fcluster(linkage(scaled, "single"), NEIGHBOURS, criterion="distance")
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
