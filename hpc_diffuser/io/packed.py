"""Packed files, told by their first bytes whatever they are called, and unpacked here."""

import contextlib
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from hpc_diffuser.system.errors import InputError, StorageError


@dataclass(frozen=True)
class Packing:
    """What packs files.

    Attributes
    ----------
    name : str
    magic : bytes
        A packed file's first.
    remedy : str
        What unpacks it.
    module : str
        Of the standard library, whose `open` unpacks it too; "" where there is none.
    """

    name: str
    magic: bytes
    remedy: str
    module: str = ""


PACKINGS = (
    Packing("gzip", b"\x1f\x8b", "gunzip", "gzip"),
    Packing("bzip2", b"BZh", "bunzip2", "bz2"),
    Packing("xz", b"\xfd7zXZ\0", "unxz", "lzma"),
    Packing("compress", b"\x1f\x9d", "uncompress"),
    Packing("zstd", b"\x28\xb5\x2f\xfd", "unzstd"),
    Packing("zip", b"PK\x03\x04", "unzip"),
    Packing("7-zip", b"7z\xbc\xaf\x27\x1c", "7z x"),
)
ENDINGS = (".gz", ".bz2", ".xz")
GZIP, ANY = ("gzip",), ("gzip", "bzip2", "xz")  # which of them a reader takes
# A map that is mostly masked packs a hundredfold; what packs better is made to fill a disk.
_MOST_RATIO, _FREE_BYTES, _MOST_BYTES = 200, 64 << 20, 16 << 30
_PIECE = 1 << 20
_LONGEST_MAGIC = max(len(packing.magic) for packing in PACKINGS)


def plain_bytes(path: Path) -> bytes:
    """A file's bytes, unpacked where it is packed by gzip.

    Raises
    ------
    InputError
        For another packing, which is named; for a damaged file, and one that grows beyond reason.
    """
    packing = packing_of(path)
    return path.read_bytes() if packing is None else b"".join(_pieces(path, packing))


def packing_of(path: Path, takes: tuple[str, ...] = GZIP) -> Packing | None:
    """What a file is packed by; None where it is not.

    Raises
    ------
    InputError
        For a packing that is not among those it `takes`: what unpacks it.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST_MAGIC)
    packing = next((packing for packing in PACKINGS if head.startswith(packing.magic)), None)
    if packing is not None and packing.name not in takes:
        raise InputError(
            f"{path}: packed by {packing.name}: unpack it first, as with {packing.remedy}"
        )
    return packing


@contextlib.contextmanager
def unpacked(path: Path, takes: tuple[str, ...] = GZIP) -> Iterator[Path]:
    """The file itself, or an unpacked copy that lives as long as the context."""
    packing = packing_of(path, takes)
    if packing is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.name.removesuffix(".gz")
        unpack(path, packing, plain)
        yield plain


def unpack(path: Path, packing: Packing, plain: Path) -> None:
    """Write a packed file's content to another one.

    Raises
    ------
    InputError
        As of `plain_bytes`.
    StorageError
        Where there is no room.
    """
    try:
        with plain.open("wb") as file:
            file.writelines(_pieces(path, packing))
    except OSError as exc:
        raise StorageError(f"{plain.parent}: no room to unpack {path} ({exc.strerror})") from exc


def _pieces(path: Path, packing: Packing) -> Iterator[bytes]:
    """What a packed file holds, all its members one after the other."""
    most = min(_MOST_BYTES, _FREE_BYTES + _MOST_RATIO * path.stat().st_size)
    library, found = import_module(packing.module), 0
    with library.open(path) as file:
        while True:
            try:
                piece = file.read(_PIECE)
            except EOFError:
                raise InputError(
                    f"{path}: its {packing.name} data break off: make it again"
                ) from None
            # What they raise for bad data: gzip's and bz2's an OSError, lzma's one of its own.
            except (OSError, ValueError, zlib.error, getattr(library, "LZMAError", OSError)) as exc:
                if found and "Not a gzipped file" in str(exc):
                    return  # what follows and is no member is padding
                raise InputError(
                    f"{path}: damaged {packing.name} file: {exc}: make it again"
                ) from exc
            found += len(piece)
            if found > most:
                raise InputError(f"{path}: unpacks to more than such a file can hold")
            if not piece:
                return
            yield piece
