"""Bytes that neighbours on springs take, for so many voxels: see `lattice`."""

import math
from dataclasses import dataclass

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.motion.lattice.correlations import zone_divisions
from hpc_diffuser.motion.lattice.pairs import KEPT
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering import interpolation
from hpc_diffuser.scattering.dressing import dressing_copies
from hpc_diffuser.scattering.estimator_costs import COPY_BYTES
from hpc_diffuser.scattering.lattice import blurring
from hpc_diffuser.scattering.lattice_frames import ATOMS_AT_ONCE
from hpc_diffuser.scattering.lattice_transforms import TRANSFORMS, rigid_band
from hpc_diffuser.scattering.lattice_zone import parts_of_voxels

_IN_SPHERE = 0.3  # of a grid's points, one of each Friedel pair


@dataclass(frozen=True)
class SpringSizes:
    """What does not go with a rank's voxels.

    Attributes
    ----------
    molecules : int
        Of a cell.
    parts : int
        As of `lattice_zone.parts_of_voxels`.
    points, cells : int
        Different k of the map, one of ±k; and cells of C(R).
    coarse : int
        Points of the grid that F, S and Q are computed on.
    drawn : list of float
        Bytes of the arrays that atoms are drawn from.
    numbers : int
        Of lengths and shapes of springs, which slopes are along.
    """

    molecules: int
    parts: int
    points: int
    cells: int
    coarse: int
    drawn: list[float]
    numbers: int


def spring_sizes(
    modes: Modes, grid: HklGrid, d_min: float, motion_A: float, farthest: Parameters
) -> SpringSizes | None:
    """Of a map's grid and resolution limit; None of a model without springs.

    Parameters
    ----------
    modes : Modes
    grid : HklGrid
    d_min : float, Å
    motion_A : float, Å
        As of `RigidTransforms`.
    farthest : Parameters
        The largest motions.
    """
    lattice = modes.lattice
    if lattice is None:
        return None
    divisions, parts = grid.whole_divisions(), parts_of_voxels(grid.divisions)
    n_atoms, n_frames = len(modes.structure), 1 if modes.frames is None else len(modes.frames)
    at_once = n_atoms * min(n_frames, max(1, ATOMS_AT_ONCE // n_atoms))
    copies = len(dressing_copies(blurring(modes, lattice, farthest), d_min).atoms) / n_atoms
    lengths = farthest.springs
    return SpringSizes(
        molecules=lattice.springs.packing.n_molecules,
        parts=parts,
        points=parts if parts > 1 else math.prod(divisions) // 2 + 4,
        cells=math.prod(zone_divisions(divisions)),
        coarse=math.prod(rigid_band(modes, grid, d_min, motion_A).grid.shape),
        drawn=[COPY_BYTES * copies * at_once, 8.0 * TRANSFORMS * at_once],
        numbers=len(lengths) if isinstance(lengths, tuple) else 1,
    )


def table_bytes(sizes: SpringSizes) -> list[float]:
    """Bytes of each array that W(k) of both orders and C(R) are made with, and that these are."""
    first = 16.0 * sizes.points * (6 * sizes.molecules) ** 2
    second = 16.0 * sizes.points * (KEPT * sizes.molecules) ** 2
    apart = 8.0 * sizes.cells * (6 * sizes.molecules) ** 2
    return [*[first] * 3, *[second] * 3, *[apart] * 3]


def table_change_bytes(sizes: SpringSizes) -> list[float]:
    """The same of what they change by with the springs, beside them."""
    first = 16.0 * sizes.points * (6 * sizes.molecules) ** 2
    second = 16.0 * sizes.points * (KEPT * sizes.molecules) ** 2
    apart = 8.0 * sizes.cells * (6 * sizes.molecules) ** 2
    return [*[first] * 4, *[second] * 3, *[apart] * 6]


def transform_bytes(sizes: SpringSizes, ranks_part: float) -> list[float]:
    """The same of F, S and Q on their grid, and of what atoms are drawn from.

    Parameters
    ----------
    sizes : SpringSizes
    ranks_part : float
        Of the planes that a rank computes.
    """
    own = 8.0 * TRANSFORMS * _IN_SPHERE * sizes.coarse * ranks_part
    return [*[4.0 * sizes.coarse] * (2 * TRANSFORMS), *[own] * 2, *sizes.drawn]


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


def column_bytes(voxels: int, computed: int, sizes: SpringSizes) -> list[float]:
    """The same of slopes along springs, or frames: scalars of all parts, and of rigid motions.

    Parameters
    ----------
    voxels, computed : int
        Of a rank, asked for and of the molecule's own grid.
    sizes : SpringSizes
    """
    scalars = 8.0 * TRANSFORMS * sizes.molecules * voxels
    along = [4.0 * sizes.numbers * computed] * 2
    return [*[scalars] * (sizes.parts + 2), *along, *[8.0 * computed] * 8]


def slope_bytes(voxels: int, molecules: int) -> list[float]:
    """The same of `gradient`, which takes more than slopes along lengths: pulls, their sums."""
    pulls = [*[32 * molecules * voxels] * 2, 64 * molecules * voxels]
    from_voxels = [*[8 * molecules * voxels] * 7]
    return intensity_bytes(voxels, molecules) + pulls + from_voxels


def dimming_bytes(voxels: int, molecules: int) -> list[float]:
    """The same of slopes along shapes of springs: see `lattice_dimming.dimming`."""
    of_molecules = [*[8 * TRANSFORMS * molecules * voxels] * 2, 24 * molecules * voxels]
    return intensity_bytes(voxels, molecules) + of_molecules + [*[84 * voxels] * 2]
