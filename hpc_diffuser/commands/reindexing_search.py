"""The search for a re-indexing: which choice of axes makes a map the crystal of a structure."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.lattice import (
    HklGrid,
    cell_text,
    centring,
    grid_to_resolution,
    laue_operations,
)
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.crystal.symmetry import grid_operations
from hpc_diffuser.io.structures.files import Crystal
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.reindexing import (
    compatible_reindexings,
    distinct_reindexings,
    reindexed_divisions,
    reindexing_cc,
    reindexing_text,
)
from hpc_diffuser.maps.statistics import shell_edges, shell_index
from hpc_diffuser.maps.target import candidate_indices, d_min_of_corners, with_range
from hpc_diffuser.maps.target_options import HALO_RADIUS, TargetOptions
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.system.errors import InputError

SIGMA_A = 0.4  # of the rigid body that re-indexings are scored with
_LEAST_CC, _LEAST_MARGIN, _DEVIATIONS = 0.1, 0.02, 5.0


@dataclass(frozen=True)
class Candidate:
    """A re-indexing, its CC with the structure's rigid-body motion, and the CC's noise.

    Attributes
    ----------
    reindexing : (3, 3) int
    cc : float
    noise : float
        Standard deviation of the CC of unrelated maps.
    """

    reindexing: np.ndarray
    cc: float
    noise: float


def search(
    diffuse: DiffuseMap, structure: Structure, crystal: Crystal, options: TargetOptions | None
) -> list[Candidate]:
    """Every re-indexing that the lattice allows and the Laue class tells apart, best first.

    Each is scored by its CC with the rigid-body translation of the structure (0.4 Å), pooled after
    shell means are subtracted, over all voxels. What is calculated is the same for all of them.

    Raises
    ------
    InputError
        Where no re-indexing makes the map's cell the structure's.
    """
    unit_cell, space_group = crystal
    divisions = diffuse.grid.whole_divisions()
    allowed = compatible_reindexings(diffuse.grid.unit_cell, unit_cell)
    if not allowed:
        raise InputError(
            f"no re-indexing makes the map's unit cell {cell_text(diffuse.grid.unit_cell)} the "
            f"structure's {cell_text(unit_cell)} to 2 %: correct --cell or --structure"
        )
    operations = laue_operations(space_group, unit_cell)
    options = options or search_options(divisions)
    options, _ = with_range(diffuse, options)
    d_min = max(options.limits()[1], d_min_of_corners(diffuse.grid))
    options = replace(options, d_min_A=d_min)
    calculated: dict[tuple[int, int, int], tuple] = {}
    candidates = []
    for reindexing in distinct_reindexings(allowed, operations):
        new = reindexed_divisions(divisions, reindexing)
        if new not in calculated:
            grid = grid_to_resolution(unit_cell, new, d_min)
            calculated[new] = rigid_body(structure, crystal, grid, options)
        cc = reindexing_cc(diffuse, reindexing, operations, *calculated[new])
        candidates.append(Candidate(reindexing, cc, _noise(len(calculated[new][0]), new)))
    return sorted(candidates, key=lambda c: -np.nan_to_num(c.cc, nan=-1.0))


def search_options(divisions: tuple[int, int, int]) -> TargetOptions:
    """10-2.5 Å, where a rigid body tells most; between the halos, where there is a between."""
    return TargetOptions(10.0, 2.5, halo_radius=HALO_RADIUS if min(divisions) > 1 else 0.0)


def _noise(n_voxels: int, divisions: tuple[int, int, int]) -> float:
    """Standard deviation of the CC of unrelated maps: 1/√n of n independent voxels.

    The intensity of a molecule as large as its cell is determined by two samples per
    reciprocal-lattice unit along each axis: more are not independent.
    """
    return float(1 / np.sqrt(n_voxels * min(1.0, 8 / np.prod(divisions))))


def rigid_body(
    structure: Structure, crystal: Crystal, grid: HklGrid, options: TargetOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a structure that moves as a whole scatters diffusely.

    Returns
    -------
    indices : (V, 3) int
        One of each set of Laue mates in the range and outside the halos.
    intensity : (V,) float
    shells : (V,) int
        Of 0.01 Å⁻¹.
    """
    unit_cell, space_group = crystal
    operations = grid_operations(grid, space_group)
    lattice = centring(space_group, unit_cell)
    indices = candidate_indices(grid, operations, options, lattice)
    modes = Modes(structure, np.empty((0, len(structure), 3)), np.empty(0), unit_cell, space_group)
    model = forward_model(modes, grid, indices, Ranks(), Computation(SIGMA_A))
    values = model.rigid(Parameters(np.empty(0), Disorder(translation_sigma_A=SIGMA_A)))
    d_max, d_min = options.limits()
    width = 1 / d_min - 1 / d_max
    edges = shell_edges(d_max, d_min, max(1, round(width / 0.01)))
    shells = shell_index(np.sqrt(grid.inverse_d_squared(indices)), edges)
    intensity = np.full(len(indices), np.nan)
    intensity[model.rows] = values  # all of them, on one rank
    return indices, intensity, shells


def decided(candidates: list[Candidate]) -> np.ndarray:
    """The best re-indexing, if it is clearly better than the next: W (3, 3) int.

    The best CC is at least 0.1, and five times the noise; the next is lower by at least 0.02, and
    by five standard deviations of the difference, where a CC r of n voxels has (1 − r²)/√n.
    A lattice that allows only one leaves no choice.

    Raises
    ------
    InputError
        Where it is not.
    """
    best, *others = candidates
    if not others:
        return best.reindexing
    following = float(np.nan_to_num(others[0].cc))
    uncertain = best.noise * np.hypot(1 - best.cc**2, 1 - following**2)
    enough = best.cc >= max(_LEAST_CC, _DEVIATIONS * best.noise)
    if enough and best.cc - following >= max(_LEAST_MARGIN, _DEVIATIONS * uncertain):
        return best.reindexing
    raise InputError(
        f"the search for a re-indexing does not decide: CC {best.cc:.3f} for "
        f"{reindexing_text(best.reindexing)}, {others[0].cc:.3f} for "
        f"{reindexing_text(others[0].reindexing)}: expected one that is clearly better; check "
        "--structure, or choose by --reindex"
    )


def search_lines(candidates: list[Candidate], structure: Path) -> list[str]:
    """A table of the candidates' CCs with this structure."""
    heading = f"re-indexing      CC with {structure}, translation of {SIGMA_A} Å"
    rows = [f"  {reindexing_text(c.reindexing):14s} {c.cc:7.4f}" for c in candidates]
    return [heading, *rows]
