"""Which format a trajectory or a topology is in: by its first bytes, then by its ending."""

from pathlib import Path

from hpc_diffuser.io.packed import ANY, ENDINGS, packing_of, unpack
from hpc_diffuser.system.errors import InputError

_ENDINGS = {
    "xtc": (".xtc",),
    "trr": (".trr",),
    "dcd": (".dcd",),
    "netcdf": (".nc", ".ncdf", ".netcdf"),
    "hdf5": (".h5", ".hdf5"),
    "pdb": (".pdb", ".ent"),
    "gro": (".gro",),
    "prmtop": (".prmtop", ".parm7", ".prm7"),
    "psf": (".psf",),
}
TRAJECTORIES = ("xtc", "trr", "dcd", "netcdf", "hdf5", "pdb", "gro")
TOPOLOGIES = ("pdb", "gro", "prmtop", "psf")
_MAGICS = (
    (b"\x00\x00\x07\xcb", "xtc"),  # 1995
    (b"\x00\x00\x07\xe7", "xtc"),  # 2023, of more atoms than 32 bits count
    (b"\x00\x00\x07\xc9", "trr"),
    (b"T\x00\x00\x00CORD", "dcd"),
    (b"\x00\x00\x00TCORD", "dcd"),
    (b"CDF", "netcdf"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"PSF", "psf"),
    (b"%VERSION", "prmtop"),
)
_MARK, _WIDE = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_PDB_RECORDS = (
    *("HEADER", "TITLE", "COMPND", "SOURCE", "KEYWDS", "EXPDTA", "AUTHOR", "REMARK", "SEQRES"),
    *("CRYST1", "MODEL", "ATOM", "HETATM"),
)


def kind_of(path: Path, named: str, among: tuple[str, ...]) -> str:
    """The format of an unpacked file.

    Parameters
    ----------
    path : Path
    named : str
        The name that the user knows it by.
    among : tuple of str
        TRAJECTORIES or TOPOLOGIES.

    Raises
    ------
    InputError
        For a format that is none of these.
    """
    kind = _by_content(path) or _by_ending(named, among)
    if kind not in among:
        endings = ", ".join(ending for each in among for ending in _ENDINGS[each])
        found = f", found {kind.upper()} by its first bytes" if kind else ", by its ending"
        raise InputError(f"{named} could not be read: expected {endings}{found}")
    return kind


def is_trajectory(name: str) -> bool:
    """Whether a name is that of a trajectory and cannot be that of a structure."""
    return _by_ending(name, TRAJECTORIES) not in ("", "pdb", "gro")


def unpacked(path: Path, folder: Path) -> Path:
    """A packed file's content as a file in `folder`; any other file under a name of its kind.

    The readers behind this one unpack by the ending alone, so that must not lie.

    Raises
    ------
    InputError
        Where it does not unpack, or to far more than real files do.
    """
    target = folder / f"unpacked-{len(list(folder.iterdir()))}"
    packing = packing_of(path, ANY)
    if packing is not None:
        unpack(path, packing, target)
        return target
    with path.open("rb") as file:
        start = file.read(len(_MARK))
    if start.startswith(_WIDE):
        raise InputError(f"{path} could not be read: UTF-16 text: save it as UTF-8")
    if start == _MARK:  # with which editors of Windows begin a text
        target.write_bytes(path.read_bytes()[len(_MARK) :])
    elif path.name.lower().endswith(ENDINGS):
        target.symlink_to(path.absolute())
    else:
        return path
    return target


def without_blank_end(path: Path, folder: Path) -> Path:
    """A GRO file, or a copy in `folder` without the empty lines that some editors end it with.

    The reader behind this one takes them for the beginning of another frame.
    """
    text = path.read_bytes()
    whole = text.rstrip() + b"\n"
    if text == whole:
        return path
    target = folder / f"whole-{len(list(folder.iterdir()))}"
    target.write_bytes(text.rstrip() + b"\n")
    return target


def _by_content(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4096)
    named = next((kind for magic, kind in _MAGICS if start.startswith(magic)), "")
    return named or _of_text(start)


def _of_text(start: bytes) -> str:
    """GRO counts its atoms in the second line; PDB's lines begin with the names of records."""
    lines = start.split(b"\n")
    if len(lines) > 2 and lines[1].strip().isdigit():
        return "gro"
    return "pdb" if start.startswith(tuple(name.encode() for name in _PDB_RECORDS)) else ""


def _by_ending(name: str, among: tuple[str, ...]) -> str:
    plain = name.lower()
    for packed in ENDINGS:
        plain = plain.removesuffix(packed)
    return next((kind for kind in among if plain.endswith(_ENDINGS[kind])), "")
