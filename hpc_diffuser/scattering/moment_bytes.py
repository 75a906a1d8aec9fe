"""Bytes of what `moments.Moments` keeps and works with."""

from hpc_diffuser.scattering.exact_sums import CHUNK
from hpc_diffuser.scattering.slab import position_bytes, squared_bytes


def kept_bytes(computed: int) -> list[float]:
    """Bytes of each array that `Moments` keeps for so many voxels, beside its transform's.

    Rows, |s|², places, self-terms, the last moments, their ⟨F⟩ and their model's q²; indices.
    """
    return [*[8 * computed] * 8, 6 * computed]


def building_bytes(computed: int, given: int, stored: int, elements: int) -> list[list[float]]:
    """The same of what exists beside each other at the crowded moments of making it.

    Parameters
    ----------
    computed, given, stored : int
        Voxels that are held, those on the slab, and values of the slab.
    elements : int
    """
    mean = 12 * stored
    return [
        [*squared_bytes(stored), mean],
        [mean, *[8 * given] * 3, *position_bytes(given)],
        [mean, *[8 * computed] * (3 + elements), *[32 * computed] * 3],  # form factors
    ]


def sampling_bytes(atoms: int, stored: int) -> list[float]:
    """The same of a chunk of configurations and of all sums, beside the transform's own."""
    # Displacements and positions, in Å and in steps.
    return [*[24 * atoms * CHUNK] * 5, 24 * stored]


def slope_bytes(computed: int) -> list[float]:
    """The same of slopes along a mode on their way to intensity, and of what they are times."""
    return [8 * computed, *[8 * computed] * 9]


def gradient_bytes(computed: int, stored: int) -> list[float]:
    """The same of an objective's derivatives by the intensity on their way to forces."""
    return [*[8 * computed] * 20, 12 * stored]


def intensity_bytes(computed: int) -> list[float]:
    """The same of moments on their way to intensity."""
    return [*[24 * computed] * 2, *[8 * computed] * 9]
