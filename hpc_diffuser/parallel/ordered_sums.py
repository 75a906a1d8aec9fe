"""Sums over what lies on several ranks, with the same bits however it is dealt."""

import numpy as np

from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.arrays import Floats, Integers


def sum_in_order(group: Ranks, keys: Integers, parts: Floats) -> Floats:
    """Σ of all ranks' parts, one after the other by their keys, on every rank.

    Parameters
    ----------
    group : Ranks
        All of them call it.
    keys : (P,) int
        Of this rank's parts; no two of all ranks' are equal.
    parts : (P, K) float

    Returns
    -------
    (K,) float64
    """
    lengths = group.gather_to_all(len(keys))
    every_key = group.concatenated(keys.astype(np.int64), lengths)
    width = parts.shape[1]
    every = group.concatenated(parts.astype(np.float64), [n * width for n in lengths])
    total = np.zeros(width)
    for part in every.reshape(-1, width)[np.argsort(every_key)]:
        total += part
    return total


def sum_over_planes(group: Ranks, planes: Integers, terms: Floats) -> Floats:
    """The same of terms (v, K) at voxels on planes (v,); a plane is on one rank: (K,) float64."""
    own, place = np.unique(planes, return_inverse=True)
    columns = [np.bincount(place, column, len(own)) for column in terms.T]
    return sum_in_order(group, own, np.stack(columns, axis=1))
