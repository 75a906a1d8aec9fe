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
    return _added(every.reshape(-1, width), np.argsort(every_key))


def sum_over_planes(group: Ranks, planes: Integers, terms: Floats) -> Floats:
    """The same of terms (v, K) at voxels on planes (v,); a plane is on one rank: (K,) float64."""
    own, place = np.unique(planes, return_inverse=True)
    columns = [np.bincount(place, column, len(own)) for column in terms.T]
    return sum_in_order(group, own, np.stack(columns, axis=1))


class PlaneOrder:
    """Adds what is known of planes, always in their order, on the group's root.

    As `sum_in_order`, for sums over the same planes again and again.

    Parameters
    ----------
    group : Ranks
    planes : (p,) int
        Those that this rank holds; no two ranks hold the same.
    """

    def __init__(self, group: Ranks, planes: Integers):
        self._group = group
        self._lengths = group.gather_to_all(len(planes))
        # Where each plane, in their order, is among all ranks', one rank's behind the other's.
        held = group.concatenated_on_root(planes, self._lengths)
        self._order = None if held is None else np.argsort(held)

    def total(self, of_planes: Floats) -> Floats | None:
        """The sum over all ranks' planes, of (p, ...) here; None on other ranks than the root."""
        shape = of_planes.shape[1:]
        size = int(np.prod(shape))
        held = self._group.concatenated_on_root(of_planes, [n * size for n in self._lengths])
        if held is None or self._order is None:
            return None
        return _added(held.reshape(-1, size), self._order).reshape(shape)


def _added(parts: Floats, order: Integers) -> Floats:
    """Parts (P, K), one after the other."""
    total = np.zeros(parts.shape[1])
    for place in order:
        total += parts[place]
    return total
