"""Diffuse maps in the formats of the field: read by their content, written by name.

The formats themselves are the rows of `maps.formats`.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from hpc_diffuser.crystal.lattice import space_group_of
from hpc_diffuser.io.format import at, format_of_content, format_of_name, titles
from hpc_diffuser.io.maps.common import Found, Given
from hpc_diffuser.io.maps.formats import FORMATS, MAPS, WRITTEN
from hpc_diffuser.io.opened import Opened, opened
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.storage import write_bytes

_NOTHING = Given()


def is_map(source: Path | Opened) -> bool:
    """Whether a file is a diffuse map of a known format, by its content; packed ones too."""
    with opened(source, "diffuse map") as file:
        return format_of_content(file, MAPS) is not None


def read_any_map(source: Path | Opened, given: Given = _NOTHING) -> Found:
    """Read a diffuse map of any known format, or one that is packed by gzip.

    Raises
    ------
    InputError
        Where it is none, is damaged, or lacks what `given` has to say; for a given space group
        that is none.
    """
    with opened(source, "diffuse map") as file:
        try:
            if given.space_group is not None:
                space_group_of(given.space_group, given.unit_cell)
            row = format_of_content(file, MAPS)
            if row is None:
                known = titles(MAPS).replace("`", "")
                raise InputError(f"no diffuse map of a known format: expected {known}")
            return at(row.read)(file, given)
        except InputError as exc:
            message = str(exc).replace(str(file.plain), str(file.path))
            if str(file.path) not in message:
                message = f"{file.path}: {message}"
            raise InputError(message) from exc


def write_any_map(
    path: Path,
    diffuse: DiffuseMap,
    to: str | None = None,
    provenance: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, list[str]]:
    """Write a map in one of `FORMATS`, by its name or by the file's ending.

    Parameters
    ----------
    path : Path
    diffuse : DiffuseMap
    to : str or None
    provenance : mapping of str → str
        Of formats that have room for it.

    Returns
    -------
    format : str
    left_out : list of str
        What the map has, but the format has no place for.
    """
    name = to or _format_of(path)
    if name not in WRITTEN:
        raise InputError(f"--to {name}: expected one of {', '.join(FORMATS)}")
    row = WRITTEN[name]
    has = {"errors": diffuse.errors, "halves": diffuse.halves}
    try:
        data = at(row.write)(diffuse, *([provenance] if row.keeps_provenance else []))
    except InputError as exc:
        raise InputError(f"{path}: {exc}") from exc
    write_bytes(path, data)
    return name, [what for what in row.lacks if has.get(what, True) is not None]


def _format_of(path: Path) -> str:
    row = format_of_name(path.name, WRITTEN.values())
    if row is not None:
        return row.name
    endings = [ending for row in WRITTEN.values() for ending in row.endings]
    raise InputError(
        f"{path}: its ending does not tell the format: expected {', '.join(endings)}, or --to "
        f"{'|'.join(FORMATS)}"
    )
