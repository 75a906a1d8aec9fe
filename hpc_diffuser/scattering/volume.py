"""A map on the whole of a coarse grid, from what the ranks of a group hold of it."""

from __future__ import annotations

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.interpolation import Interpolator
from hpc_diffuser.system.arrays import Floats, Integers


class Volume:
    """A map on the whole of a coarse grid, from what all ranks of a group hold of it.

    Parameters
    ----------
    grid : HklGrid
    indices : (V, 3) int
    rows : (v,) int
        Those that this rank holds.
    group : Ranks
    """

    def __init__(self, grid: HklGrid, indices: Integers, rows: Integers, group: Ranks):
        grid.require(indices)
        self._group = group
        self._shape = grid.shape
        self._lengths = group.gather_to_all(len(rows))
        filled = group.concatenated(rows, self._lengths)
        first = sum(self._lengths[: group.rank])
        self._own = slice(first, first + len(rows))
        # Where all ranks' voxels, in the order of the ranks, lie in the volume.
        self._filled = np.ravel_multi_index(
            tuple((indices[filled] + np.array(grid.extent)).T), grid.shape
        )

    def of(self, values: Floats) -> Floats:
        """Both Friedel mates of this rank's values and the others': (H, K, L) float32.

        0 where nothing is computed.
        """
        volume = np.zeros(self._shape, np.float32)
        flat = volume.reshape(-1)
        flat[self._filled] = self._group.concatenated(values.astype(np.float32), self._lengths)
        # One of each pair lies in the grid's second half; its mate, mirrored about the centre.
        centre = len(flat) // 2
        flat[:centre] = flat[:centre:-1]
        return volume

    def folded(self, volume: Floats) -> Floats:
        """The transpose of `of`, for this rank's values: (v,) float64, each with its mate's."""
        flat, own = volume.reshape(-1), self._filled[self._own]
        both: Floats = flat[own].astype(np.float64)
        mates = own != len(flat) // 2
        both[mates] += flat[-1 - own[mates]]
        return both


def volume_of_all(group: Ranks, own: Interpolator, values: Floats) -> Floats:
    """The transpose of `at_voxels` of all ranks' interpolators: (H, K, L) float32, on each.

    Parameters
    ----------
    group : Ranks
        All of them call it.
    own : Interpolator
        Of this rank's voxels; no plane is another rank's, too.
    values : (V,) float
    """
    mixed = own.mixed_from(values)
    n_planes = group.gather_to_all(len(mixed))
    planes = group.concatenated(own.planes, n_planes)
    every = group.concatenated(mixed, [n * int(np.prod(mixed.shape[1:])) for n in n_planes])
    return own.volume_from(every.reshape(len(planes), *mixed.shape[1:]), planes)


def volume_bytes(computed: int) -> list[float]:
    """Bytes of each array that a `Volume` keeps for so many voxels of all ranks."""
    return [8 * computed]


def volume_building_bytes(computed: int) -> list[float]:
    """The same of what it is made with."""
    return [*[8 * computed] * 3, *[24 * computed] * 2]


def volume_filling_bytes(own: int, computed: int, points: int) -> list[float]:
    """The same of a map of so many points that is filled, with `own` voxels of this rank."""
    return [8 * own, *[4 * computed] * 3, 4 * points]
