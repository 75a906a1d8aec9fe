"""Sums over planes that ranks hold: in the planes' order, whoever holds them."""

import numpy as np

from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.arrays import Floats, Integers


class PlaneOrder:
    """Adds what is known of planes, always in the same order.

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
        """The sum over all ranks' planes, of (p, ...) here, on the group's root."""
        shape = of_planes.shape[1:]
        size = int(np.prod(shape))
        held = self._group.concatenated_on_root(of_planes, [n * size for n in self._lengths])
        if held is None:
            return None
        total: Floats = held.reshape(-1, size)[self._order].sum(axis=0)
        return total.reshape(shape)
