"""Diffuse maps in the formats of the field: read by their content, written by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from hpc_diffuser.io.hdf5 import outline
from hpc_diffuser.io.maps import ayyer, ccp4, eryx, lunus, mdx, mtz
from hpc_diffuser.io.maps.common import Found, Given
from hpc_diffuser.io.maps.native import map_bytes, read_map
from hpc_diffuser.io.packed import unpacked
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.isolated import require_file
from hpc_diffuser.system.storage import write_bytes

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEAD = 4096
_NOTHING = Given()
_KNOWN = (
    "a native map, mdx2, NXRefine, mdx-lib or diffuser HDF5, lunus .lat or .hkl, MTZ, CCP4/MRC, or "
    "an eryx .npy with its .yaml"
)
# Format → what makes its bytes, the endings that mean it, and what it has no place for.
_WRITERS: dict[str, tuple[Callable[[DiffuseMap], bytes], tuple[str, ...], tuple[str, ...]]] = {
    "native": (map_bytes, (".nxs",), ()),
    "mdx2": (mdx.table_bytes, (), ()),
    "mtz": (mtz.mtz_bytes, (".mtz",), ()),
    "ccp4": (ccp4.ccp4_bytes, (".ccp4", ".map", ".mrc"), ("space group", "errors", "halves")),
    "lat": (lunus.lattice_bytes, (".lat",), ("unit cell", "space group", "errors", "halves")),
    "hkl": (lunus.table_bytes, (".hkl",), ("unit cell", "space group", "errors", "halves")),
    "diffuser": (ayyer.diffuser_bytes, (), ("unit cell", "space group", "errors", "halves")),
}
FORMATS = tuple(_WRITERS)


def is_map(path: Path) -> bool:
    """Whether a file is a diffuse map of a known format, by its content; packed ones too."""
    with unpacked(path) as plain:
        return _reader(plain) is not None


def read_any_map(path: Path, given: Given = _NOTHING) -> Found:
    """Read a diffuse map of any known format, or one that is packed by gzip.

    Raises
    ------
    InputError
        Where it is none, is damaged, or lacks what `given` has to say.
    """
    require_file(path, "diffuse map")
    with unpacked(path) as plain:
        try:
            read = _reader(plain)
            if read is None:
                raise InputError(f"no diffuse map of a known format: expected {_KNOWN}")
            return read(plain, given)
        except InputError as exc:
            message = str(exc).replace(str(plain), str(path))
            if str(path) not in message:
                message = f"{path}: {message}"
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
        Of the native format, which has room for it.

    Returns
    -------
    format : str
    left_out : list of str
        What the map has, but the format has no place for.
    """
    name = to or _format_of(path)
    if name not in _WRITERS:
        raise InputError(f"--to {name}: expected one of {', '.join(FORMATS)}")
    make, _, lacks = _WRITERS[name]
    has = {"errors": diffuse.errors, "halves": diffuse.halves}
    try:
        data = map_bytes(diffuse, provenance) if make is map_bytes else make(diffuse)
    except InputError as exc:
        raise InputError(f"{path}: {exc}") from exc
    write_bytes(path, data)
    return name, [what for what in lacks if has.get(what, True) is not None]


def _format_of(path: Path) -> str:
    for name, (_, endings, _) in _WRITERS.items():
        if path.suffix.lower() in endings:
            return name
    endings = [e for _, some, _ in _WRITERS.values() for e in some]
    raise InputError(
        f"{path}: its ending does not tell the format: expected {', '.join(endings)}, or --to "
        f"{'|'.join(FORMATS)}"
    )


def _reader(path: Path) -> Callable[[Path, Given], Found] | None:
    """What reads a file of this content; None where nothing does."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_HDF5):
        return _hdf5_reader(path)
    if head.startswith(b"MTZ "):
        return mtz.read_mtz
    if head[208:212] == b"MAP ":
        return ccp4.read_ccp4
    if head.startswith(b"\x93NUMPY"):
        return eryx.read_eryx
    if lunus.lattice_byte_order(head, path.stat().st_size):
        return lunus.read_lattice
    return lunus.read_table if lunus.looks_like_table(head) else None


def _hdf5_reader(path: Path) -> Callable[[Path, Given], Found] | None:
    names = outline(path, "diffuse map")
    mdx_lib = sorted(
        name.removeprefix("maps/").removesuffix("@grid_delta")
        for name in names
        if name.startswith("maps/") and name.endswith("@grid_delta")
    )
    maps = sorted(
        name.removeprefix("entry/").removesuffix("@signal")
        for name in names
        if name.startswith("entry/") and name.endswith("@signal") and name.count("/") == 1
    )
    if f"{mdx.TABLE}/ndiv" in names or f"{mdx.TABLE}/h" in names:
        return mdx.read_table
    if mdx_lib:
        return lambda path, given: mdx.read_mdx_lib(path, given, mdx_lib)
    if ayyer.INTENSITY in names:
        return ayyer.read_diffuser
    if "@format" in names:
        return _read_native if "entry/intensity/h" in names else None
    if maps:
        return lambda path, given: _read_mdx2_map(path, given, maps)
    return _read_native if "entry/intensity/h" in names else None


def _read_native(path: Path, given: Given) -> Found:
    return Found(read_map(path, given.unit_cell, given.space_group), "native map")


def _read_mdx2_map(path: Path, given: Given, maps: list[str]) -> Found:
    name = given.column or ("intensity" if "intensity" in maps else maps[0])
    if name not in maps:
        raise InputError(f"holds the maps {', '.join(maps)}: name one with --column")
    return mdx.read_map(path, given, name)
