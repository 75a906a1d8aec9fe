"""Bytes that neighbours on springs take, for so many voxels: see `lattice`."""

from hpc_diffuser.scattering import interpolation
from hpc_diffuser.scattering.lattice_transforms import TRANSFORMS


def kept_bytes(voxels: int, molecules: int, parts: int) -> list[float]:
    """Bytes of each array that `LatticeNeighbours` keeps for so many voxels of a rank.

    Parameters
    ----------
    voxels : int
    molecules : int
        Of a cell.
    parts : int
        As of `lattice_zone.parts_of_voxels`.
    """
    points = parts * voxels
    of_molecules = [molecules * points, 4 * molecules * points, 6 * molecules * points]
    interpolated = interpolation.kept_bytes(molecules * points)
    return [24 * points, 8 * points, points, *of_molecules, *interpolated]


def building_bytes(voxels: int, molecules: int) -> list[float]:
    """The same of what one of these parts is made with."""
    return [*[24 * molecules * voxels] * 4, *[8 * molecules * voxels] * 4]


def intensity_bytes(voxels: int, molecules: int) -> list[float]:
    """The same of `intensity`: transforms of each molecule, and what they add up to."""
    return [8 * TRANSFORMS * molecules * voxels, 4 * molecules * voxels, 8 * voxels, 8 * voxels]


def slope_bytes(voxels: int, molecules: int) -> list[float]:
    """The same of `gradient`, which takes more than slopes along lengths: pulls, their sums."""
    pulls = [*[32 * molecules * voxels] * 2, 64 * molecules * voxels]
    from_voxels = [*[8 * molecules * voxels] * 7]
    return intensity_bytes(voxels, molecules) + pulls + from_voxels


def dimming_bytes(voxels: int, molecules: int) -> list[float]:
    """The same of slopes along shapes of springs: see `lattice_dimming.dimming`."""
    of_molecules = [*[8 * TRANSFORMS * molecules * voxels] * 2, 24 * molecules * voxels]
    return intensity_bytes(voxels, molecules) + of_molecules + [*[144 * voxels] * 2]
