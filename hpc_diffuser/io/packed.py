"""Packed files, told by their first bytes whatever they are called: gzip is unpacked here."""

import contextlib
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from hpc_diffuser.system.errors import InputError, StorageError

_GZIP = b"\x1f\x8b"
# First bytes, what packs so, and what unpacks it.
_OTHERS = (
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"\x1f\x9d", "compress", "uncompress"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"PK\x03\x04", "zip", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7-zip", "7z x"),
)
# A map that is mostly masked packs a hundredfold; what packs better is made to fill a disk.
_MOST_RATIO, _FREE_BYTES, _MOST_BYTES = 200, 64 << 20, 16 << 30
_PIECE = 1 << 20
_LONGEST_MAGIC = 8


def plain_bytes(path: Path) -> bytes:
    """A file's bytes, unpacked where it is packed by gzip.

    Raises
    ------
    InputError
        For another packing, which is named; for a damaged file, and one that grows beyond reason.
    """
    if not is_packed(path):
        return path.read_bytes()
    return b"".join(_pieces(path))


def is_packed(path: Path) -> bool:
    """Whether it is packed by gzip.

    Raises
    ------
    InputError
        For another packing: what unpacks it.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST_MAGIC)
    for magic, name, remedy in _OTHERS:
        if head.startswith(magic):
            raise InputError(f"{path}: packed by {name}: unpack it first, as with {remedy}")
    return head.startswith(_GZIP)


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file itself, or an unpacked copy that lives as long as the context."""
    if not is_packed(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.name.removesuffix(".gz")
        try:
            with plain.open("wb") as file:
                file.writelines(_pieces(path))
        except OSError as exc:
            raise StorageError(f"{folder}: no room to unpack {path} ({exc.strerror})") from exc
        yield plain


def _pieces(path: Path) -> Iterator[bytes]:
    """What a gzip file holds, all its members one after the other."""
    most = min(_MOST_BYTES, _FREE_BYTES + _MOST_RATIO * path.stat().st_size)
    with path.open("rb") as file:
        rest = file.read(_PIECE)
        while rest.startswith(_GZIP):
            member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            while not member.eof:
                try:
                    piece = member.decompress(rest, _PIECE)
                except zlib.error as exc:
                    raise InputError(f"{path}: damaged gzip file: {exc}: make it again") from exc
                most -= len(piece)
                if most < 0:
                    raise InputError(f"{path}: unpacks to more than such a file can hold")
                yield piece
                rest = member.unconsumed_tail or member.unused_data
                if not rest and not member.eof:
                    rest = file.read(_PIECE)
                    if not rest:
                        raise InputError(f"{path}: its gzip data break off: make it again")
            rest = rest or file.read(_PIECE)  # what follows and is no member is padding
