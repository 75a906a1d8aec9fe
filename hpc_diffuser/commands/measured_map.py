"""A measured map as its user describes it: read, re-indexed, in the crystal of a structure."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.map_source import SEARCH, MapSource
from hpc_diffuser.crystal.lattice import cell_text, check_unit_cell
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.maps.common import Found
from hpc_diffuser.io.maps.files import read_any_map
from hpc_diffuser.io.opened import Opened, opened
from hpc_diffuser.io.structures.files import Crystal, read_structure
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.reindexing import (
    in_crystal,
    parse_reindexing,
    reindexed,
    reindexed_cell,
    reindexing_text,
)
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.system.errors import InputError


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
    own : (unit cell, space group)
        As the file or its user names them, before the structure's take their place.
    """

    diffuse: DiffuseMap
    said: tuple[str, ...]
    reindexing: str
    own: Crystal


def load_map(
    source: MapSource,
    options: TargetOptions | None = None,
    known: tuple[Crystal, Path] | None = None,
    file: Opened | None = None,
) -> LoadedMap:
    """Read a map, re-index it, and give it the crystal of the structure.

    Parameters
    ----------
    source : MapSource
    options : TargetOptions or None
        Which voxels a search compares: resolution range and halos; by default 10-2.5 Å.
    known : (crystal, Path) or None
        The crystal that the map should be in, where no structure says it, and the file it is of.
    file : Opened or None
        The map's file, where it is open already.

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
        return _loaded(file, source, None, known or (None, None), options)
    said: list[str] = []
    structure, crystal = read_structure(source.structure, tell=said.append)
    if crystal is None:
        raise InputError(f"{source.structure}: no unit cell: expected a crystal structure")
    unit_cell, space_group = crystal
    crystal = unit_cell, source.given.space_group or space_group
    loaded = _loaded(file, source, structure, (crystal, source.structure), options)
    lines = (f"{source.structure}: {' '.join(line.split())}" for line in said)
    return replace(loaded, said=(*loaded.said, *lines))


def _loaded(
    file: Opened | None,
    source: MapSource,
    structure: Structure | None,
    known: tuple[Crystal | None, Path | None],
    options: TargetOptions | None,
) -> LoadedMap:
    crystal, whose = known
    chosen = None if source.reindex in (None, SEARCH) else parse_reindexing(source.reindex)
    with opened(file or source.path, "diffuse map") as file:
        found = _read(file, source, crystal, chosen)
    said = [f"{source.path}: {found.kind}", *(f"assumed      {line}" for line in found.assumed)]
    try:
        if source.reindex == SEARCH:
            # Loaded here: it calculates, with kernels, what others only read.
            from hpc_diffuser.commands.reindexing_search import decided, search, search_lines

            candidates = search(found.diffuse, structure, crystal, options)
            said += search_lines(candidates, source.structure)
            chosen = decided(candidates)
        diffuse, name = found.diffuse, "h,k,l" if chosen is None else reindexing_text(chosen)
        if name != "h,k,l":
            diffuse = reindexed(diffuse, chosen)
            said.append(f"re-indexed: the new h,k,l are the old {name}")
        if crystal is not None:
            said.append(_crystal_line(diffuse, crystal, whose))
            diffuse = in_crystal(diffuse, crystal, of_map=source.structure is None)
    except InputError as exc:
        message = str(exc)
        raise InputError(f"{source.path}: {message}") from exc
    own = found.diffuse.grid.unit_cell, found.diffuse.space_group
    return LoadedMap(diffuse, tuple(said), name, own)


def _read(
    file: Opened, source: MapSource, crystal: Crystal | None, chosen: np.ndarray | None
) -> Found:
    """Where the file lacks a cell, with the structure's, in the file's own indices."""
    found = None
    try:
        found = read_any_map(file, source.given)
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
        return read_any_map(file, given)
    except InputError:
        # In another order of axes the structure's cell need not fit, but a made-up one may.
        if found is None:
            raise
        return found


def _crystal_line(diffuse: DiffuseMap, crystal: Crystal, whose: Path) -> str:
    unit_cell, space_group = crystal
    return (
        f"unit cell {cell_text(unit_cell)} and space group {space_group}, as {whose} has them "
        f"(the map: {cell_text(diffuse.grid.unit_cell)}, {diffuse.space_group})"
    )
