"""Writing so that a file is either the old one or the new one, and reading with clear errors."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from hpc_diffuser.errors import DiffuserError, InputError, StorageError


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one step: temporary file, fsync, rename, fsync of the folder.

    Raises
    ------
    StorageError
        With path and reason; the old file, if any, is untouched.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only the owner reads
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as exc:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StorageError(
            f"{path}: could not be written ({exc.strerror or exc}); nothing is half-written: "
            "remove the cause, then run the same command again"
        ) from exc


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; NaN is refused, as JSON has none."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """A JSON file's content, or InputError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise InputError(f"{path}: not a readable JSON file ({exc})") from exc


def write_hdf5(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Replace an HDF5 file in one step.

    The file is built in memory and its image written by us: HDF5's own writing to a full disk
    crashes the process instead of raising an error.
    """
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        image = file.id.get_file_image()
    write_bytes(path, image)


def read_hdf5(path: Path, what: str, read: Callable[[h5py.File], Any]) -> Any:
    """`read` applied to an HDF5 file; whatever goes wrong becomes one InputError.

    Parameters
    ----------
    path : Path
    what : str
        What the file should be, for the message: "modes file", "diffuse map".
    read : callable
        Takes the open file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file: expected a {what}")
    try:
        with h5py.File(path, "r", locking=False) as file:
            return read(file)
    except DiffuserError as exc:
        raise InputError(f"{path}: {exc}") from exc
    except KeyError as exc:
        raise InputError(f"{path}: not a {what}: {exc.args[0]}") from exc
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as exc:
        reason = "empty file" if path.stat().st_size == 0 else str(exc).splitlines()[0]
        raise InputError(f"{path}: could not be read as a {what}: {reason}") from exc


def require_format(file: h5py.File, name: str) -> None:
    """Raise InputError unless the root attributes say `hpc-diffuser/<name>`, version 1."""
    found, version = file.attrs.get("format"), file.attrs.get("version")
    if found != f"hpc-diffuser/{name}":
        raise InputError(f'not a {name} file: expected the attribute format="hpc-diffuser/{name}"')
    if version != 1:
        raise InputError(f"{name} file of version {version}: this program reads version 1")


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
