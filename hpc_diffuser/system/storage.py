"""Writing so that a file is either the old one or the new one; JSON and checksums."""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpc_diffuser.system.errors import InputError, StorageError

_PARTIAL = ".partial"  # the end of a temporary file's name


def write_bytes(path: Path, data: bytes, previous: Path | None = None) -> None:
    """Replace a file in one step: temporary file, fsync, rename, fsync of the folder.

    Parameters
    ----------
    path : Path
    data : bytes
    previous : Path or None
        What the old file is kept as. A reader who finds no file at `path` finds it there.

    Raises
    ------
    StorageError
        With path and reason; the old file, if any, is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = write_temporary(path, data)
        try:
            if previous is not None and path.exists():
                os.replace(path, previous)
            os.replace(temporary, path)
        except BaseException:
            discard(temporary)
            raise
        _sync_folder(path.parent)
    except OSError as exc:
        raise StorageError(
            f"{path}: could not be written ({exc.strerror or exc}); nothing is half-written: "
            "remove the cause, then run the same command again"
        ) from exc


def require_writable(path: Path) -> None:
    """Before work that takes long: raise StorageError where its file could not be written."""
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        discard(write_temporary(folder / path.name, b""))
    except OSError as exc:
        raise StorageError(
            f"{path}: cannot be written ({exc.strerror or exc}): expected a file in a folder that "
            "you may write to"
        ) from exc


def write_temporary(path: Path, data: bytes) -> str:
    """The data on disk, in a file beside `path` that nobody else looks at."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PARTIAL, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only the owner reads
    except BaseException:
        discard(temporary)
        raise
    return temporary


def discard(temporary: str) -> None:
    """Remove a temporary file; what fails here must not take the place of why it is removed."""
    with suppress(OSError):
        os.unlink(temporary)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes have left; nobody else may be writing."""
    for path in folder.glob(f".*{_PARTIAL}"):
        discard(str(path))


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; NaN is refused, as JSON has none."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """A JSON file's content, or InputError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise InputError(f"{path}: not a readable JSON file ({exc})") from exc


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}") from exc


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
