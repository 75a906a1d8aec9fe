"""A diffuse map as arrays on a grid of reciprocal space."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.system.arrays import Floats, Integers, Mask
from hpc_diffuser.system.errors import InputError

_Place = tuple[Integers, Integers, Integers]  # in an array of three axes


@dataclass(frozen=True)
class DiffuseMap:
    """Diffuse intensity on a grid of reciprocal space.

    Attributes
    ----------
    grid : HklGrid
    intensity : (H, K, L) float
        NaN where not measured or masked.
    space_group : str
    errors : (H, K, L) float or None
        Standard deviations.
    halves : two (H, K, L) float, or None
        The same from two halves of the observations.
    """

    grid: HklGrid
    intensity: Floats
    space_group: str
    errors: Floats | None = None
    halves: tuple[Floats, Floats] | None = None

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.intensity.shape))
        finer = " x ".join(f"{n:g}" for n in self.grid.divisions)
        measured = 100 * np.isfinite(self.intensity).mean()
        return (
            f"DiffuseMap({size} samples, {finer} to a reciprocal-lattice unit, "
            f"{measured:.0f} % measured, {self.space_group})"
        )


def measured_planes(diffuse: DiffuseMap) -> Iterator[tuple[_Place, Integers]]:
    """Places in the arrays and sample indices (v, 3) of the measured voxels, plane by plane."""
    for h, plane in enumerate(diffuse.intensity):
        k, l = np.nonzero(~np.isnan(plane))  # noqa: E741
        if len(k):
            place = (np.full(len(k), h, np.int64), k, l)
            yield place, np.stack(place, axis=1) - np.array(diffuse.grid.extent)


def inside(place: Integers, shape: tuple[int, ...]) -> Mask:
    """Mask (...) of the places (..., 3) that an array of this shape has."""
    there: Mask = (place >= 0) & (place < np.array(shape))
    return np.asarray(there.all(axis=-1))


def values_at(array: Floats, indices: Integers) -> Floats:
    """A map's values (...) float64 at sample indices (..., 3); NaN beyond its edges."""
    place = indices + np.array(array.shape) // 2
    there = inside(place, array.shape)
    values = np.full(there.shape, np.nan)
    values[there] = array[tuple(place[there].T)]
    return values


def samples_in(diffuse: DiffuseMap, grid: HklGrid, indices: Integers, name: str = "") -> Integers:
    """Where a map has the samples (V, 3) of another grid: indices (V, 3) of its own.

    Raises
    ------
    InputError
        Where it lacks them: its samples per reciprocal-lattice unit are not those of the
        grid, or a whole multiple.
    """
    ours, theirs = np.array(grid.divisions), np.array(diffuse.grid.divisions)
    if (theirs % ours).any():
        raise InputError(
            f"{name + ': ' if name else ''}has {_numbers(theirs)} samples per reciprocal-lattice "
            f"unit, the target {_numbers(ours)}: expected the same or a multiple of them; "
            "calculate the map at the target's samples"
        )
    there: Integers = indices * (theirs // ours)
    return there


def _numbers(values: Floats) -> str:
    return " x ".join(f"{x:g}" for x in values)
