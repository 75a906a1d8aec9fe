"""A measured map as its user describes it: read, re-indexed, in the crystal of a structure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.lattice import (
    HklGrid,
    centring,
    check_unit_cell,
    grid_to_resolution,
    laue_operations,
)
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.crystal.symmetry import grid_operations
from hpc_diffuser.io.maps.formats import Found, Given, read_any_map
from hpc_diffuser.io.structures.files import Crystal, read_structure
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.reindexing import (
    compatible_reindexings,
    distinct_reindexings,
    parse_reindexing,
    reindexed,
    reindexed_cell,
    reindexed_divisions,
    reindexing_cc,
    reindexing_text,
    same_lattice,
)
from hpc_diffuser.maps.statistics import shell_edges, shell_index
from hpc_diffuser.maps.target import (
    HALO_RADIUS,
    TargetOptions,
    candidate_indices,
    d_min_of_corners,
    with_range,
)
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import Computation, collect, forward_model
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.storage import sha256

SEARCH = "search"
SIGMA_A = 0.4  # of the rigid body that re-indexings are scored with
_LEAST_CC, _LEAST_MARGIN, _DEVIATIONS = 0.1, 0.02, 5.0


@dataclass(frozen=True)
class MapSource:
    """Where a map is, and what the user says about it.

    Attributes
    ----------
    path : Path
    given : Given
        Cell, space group and column: they come before what the file says.
    structure : Path or None
        PDB or mmCIF of the crystal: for the cell and space group.
    reindex : str or None
        As "k,h,-l"; "search" finds the one that fits the structure best.
    """

    path: Path
    given: Given = field(default_factory=Given)
    structure: Path | None = None
    reindex: str | None = None

    @property
    def is_qualified(self) -> bool:
        """Anything is said about the map."""
        return (self.given, self.structure, self.reindex) != (Given(), None, None)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files, as attributes for what is made of them."""
        found = {"sha256 map": sha256(self.path)}
        return found | ({"sha256 structure": sha256(self.structure)} if self.structure else {})


@dataclass(frozen=True)
class LoadedMap:
    """A map in the crystal's indices.

    Attributes
    ----------
    diffuse : DiffuseMap
    said : tuple of str
        What was assumed and done, line by line.
    reindexing : str
        As "k,h,-l"; "h,k,l" where nothing was done.
    """

    diffuse: DiffuseMap
    said: tuple[str, ...]
    reindexing: str


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


def load_map(
    source: MapSource,
    options: TargetOptions | None = None,
    known: tuple[Crystal, Path] | None = None,
) -> LoadedMap:
    """Read a map, re-index it, and give it the crystal of the structure.

    Parameters
    ----------
    source : MapSource
    options : TargetOptions or None
        Which voxels a search compares: resolution range and halos; by default 10-2.5 Å.
    known : (crystal, Path) or None
        The crystal that the map should be in, where no structure says it, and the file it is of.

    Raises
    ------
    InputError
        Where a file cannot be read, the cells do not agree to 2 %, or a search does not decide.
    """
    if source.given.unit_cell is not None:
        check_unit_cell(source.given.unit_cell, "--cell")
    if source.structure is None:
        if source.reindex == SEARCH:
            raise InputError("--reindex search needs the crystal's structure: give --structure")
        return _loaded(source, None, known or (None, None), options)
    said: list[str] = []
    structure, crystal = read_structure(source.structure, tell=said.append)
    if crystal is None:
        raise InputError(f"{source.structure}: no unit cell: expected a crystal structure")
    unit_cell, space_group = crystal
    crystal = unit_cell, source.given.space_group or space_group
    loaded = _loaded(source, structure, (crystal, source.structure), options)
    lines = (f"{source.structure}: {' '.join(line.split())}" for line in said)
    return replace(loaded, said=(*loaded.said, *lines))


def _loaded(
    source: MapSource,
    structure: Structure | None,
    known: tuple[Crystal | None, Path | None],
    options: TargetOptions | None,
) -> LoadedMap:
    crystal, whose = known
    chosen = None if source.reindex in (None, SEARCH) else parse_reindexing(source.reindex)
    found = _read(source, crystal, chosen)
    said = [f"{source.path}: {found.kind}", *(f"assumed      {line}" for line in found.assumed)]
    try:
        if source.reindex == SEARCH:
            candidates = search(found.diffuse, structure, crystal, options)
            said += _search_lines(candidates, source.structure)
            chosen = decided(candidates)
        diffuse, name = found.diffuse, "h,k,l" if chosen is None else reindexing_text(chosen)
        if name != "h,k,l":
            diffuse = reindexed(diffuse, chosen)
            said.append(f"re-indexed: the new h,k,l are the old {name}")
        if crystal is not None:
            said.append(_crystal_line(diffuse, crystal, whose))
            diffuse = in_crystal(diffuse, crystal)
    except InputError as exc:
        message = str(exc)
        raise InputError(f"{source.path}: {message}") from exc
    return LoadedMap(diffuse, tuple(said), name)


def _read(source: MapSource, crystal: Crystal | None, chosen: np.ndarray | None) -> Found:
    """Where the file lacks a cell, with the structure's, in the file's own indices."""
    found = None
    try:
        found = read_any_map(source.path, source.given)
        if crystal is None or found.has_cell:
            return found
    except InputError:
        if crystal is None:
            raise
    unit_cell, space_group = crystal
    if chosen is not None:
        unit_cell = reindexed_cell(unit_cell, np.rint(np.linalg.inv(chosen)).astype(int))
    given = replace(
        source.given,
        unit_cell=source.given.unit_cell or unit_cell,
        space_group=source.given.space_group or space_group,
    )
    try:
        return read_any_map(source.path, given)
    except InputError:
        # In another order of axes the structure's cell need not fit, but a made-up one may.
        if found is None:
            raise
        return found


def in_crystal(diffuse: DiffuseMap, crystal: Crystal) -> DiffuseMap:
    """A map with exactly this cell and space group.

    Raises
    ------
    InputError
        Where its own cell is another one, beyond 2 %.
    """
    unit_cell, space_group = crystal
    if not same_lattice(diffuse.grid.unit_cell, unit_cell):
        raise _other_cell(diffuse.grid.unit_cell, unit_cell)
    grid = replace(diffuse.grid, unit_cell=unit_cell)
    return replace(diffuse, grid=grid, space_group=space_group)


def _other_cell(found: tuple[float, ...], expected: tuple[float, ...]) -> InputError:
    return InputError(
        f"unit cell {_numbers(found)} is not the structure's {_numbers(expected)}: expected "
        "them to agree to 2 %; correct --cell or --structure, or try --reindex search"
    )


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
    divisions = diffuse.grid.divisions
    allowed = compatible_reindexings(diffuse.grid.unit_cell, unit_cell)
    if not allowed:
        raise InputError(
            f"no re-indexing makes the map's unit cell {_numbers(diffuse.grid.unit_cell)} the "
            f"structure's {_numbers(unit_cell)} to 2 %: correct --cell or --structure"
        )
    operations = laue_operations(space_group, unit_cell)
    options = options or search_options(divisions)
    options, _ = with_range(diffuse, options)
    options = replace(options, d_min_A=max(options.d_min_A, d_min_of_corners(diffuse.grid)))
    calculated: dict[tuple[int, int, int], tuple] = {}
    candidates = []
    for reindexing in distinct_reindexings(allowed, operations):
        new = reindexed_divisions(divisions, reindexing)
        if new not in calculated:
            grid = grid_to_resolution(unit_cell, new, options.d_min_A)
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
    width = 1 / options.d_min_A - 1 / options.d_max_A
    edges = shell_edges(options.d_max_A, options.d_min_A, max(1, round(width / 0.01)))
    shells = shell_index(np.sqrt(grid.inverse_d_squared(indices)), edges)
    return indices, collect(model, values, len(indices)), shells


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


def _search_lines(candidates: list[Candidate], structure: Path) -> list[str]:
    heading = f"re-indexing      CC with {structure}, translation of {SIGMA_A} Å"
    rows = [f"  {reindexing_text(c.reindexing):14s} {c.cc:7.4f}" for c in candidates]
    return [heading, *rows]


def _crystal_line(diffuse: DiffuseMap, crystal: Crystal, whose: Path) -> str:
    unit_cell, space_group = crystal
    return (
        f"unit cell {_numbers(unit_cell)} and space group {space_group}, as {whose} has them "
        f"(the map: {_numbers(diffuse.grid.unit_cell)}, {diffuse.space_group})"
    )


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{x:g}" for x in values)
