"""HDF5 files: written in one step; read as plain arrays, after everything else was refused."""

import io
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.isolated import require_file, run_isolated
from hpc_diffuser.system.storage import write_bytes

Arrays = dict[str, np.ndarray]
Built = TypeVar("Built")

# deflate, shuffle, fletcher32, lzf: for any other one HDF5 would load a library from somewhere.
_FILTERS = {1, 2, 3, 32000}
# A file of zeros may be compressed a thousandfold, but such a file is small: real data is noise.
_MOST_NAMES = 10_000
_MOST_BYTES, _FREE_BYTES, _MOST_RATIO = 64 << 30, 64 << 20, 100


def write_hdf5(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Replace an HDF5 file in one step."""
    write_bytes(path, hdf5_image(fill))


def hdf5_image(fill: Callable[[h5py.File], None]) -> bytes:
    """The bytes of a file, built in memory.

    We write them ourselves: HDF5's own writing to a full disk crashes the process instead of
    raising an error.
    """
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        return file.id.get_file_image()


def read_arrays(
    path: Path, what: str, names: Iterable[str], build: Callable[[Arrays], Built]
) -> Built:
    """What `build` makes of a file's arrays; whatever goes wrong becomes one InputError.

    HDF5 itself runs in a process of its own; `build` runs here, and sees arrays only.

    Parameters
    ----------
    path : Path
    what : str
        What the file should be, for the message: "modes file", "diffuse map".
    names : iterable of str
        Datasets, "entry/intensity", and attributes, "@format", "entry@command".
    build : callable
        Takes those that are there, by these names: numbers in this machine's byte order, or text.
        Its KeyError tells what is missing.
    """
    require_file(path, what)
    subject = f"{path}: could not be read as a {what}"
    try:
        return build(run_isolated(_read, [path], subject, list(names)))
    except InputError as exc:
        if str(exc).startswith(str(path)):
            raise
        raise InputError(f"{path}: {' '.join(str(exc).split())}") from exc
    except KeyError as exc:
        raise InputError(f"{path}: not a {what}: there is no {exc}") from exc
    except (ValueError, TypeError, IndexError, ArithmeticError) as exc:
        raise InputError(f"{subject}: {' '.join(str(exc).split())}") from exc


def outline(path: Path, what: str) -> set[str]:
    """Names of a file's datasets, "entry/intensity", and attributes, "entry/intensity@signal".

    Raises
    ------
    InputError
        Where HDF5 cannot read it, or it has more of them than any file of ours or of the field.
    """
    require_file(path, what)
    arrays = run_isolated(_outline, [path], f"{path}: could not be read as a {what}")
    return set(arrays["names"].tolist())


def hdf5_arrays(source: Path | io.BytesIO, names: Iterable[str] | None = None) -> Arrays:
    """Datasets and attributes of a file as plain arrays, read in this process.

    Parameters
    ----------
    source : Path or BytesIO
        Of a file from elsewhere, call this in a child process only.
    names : iterable of str
        As in `read_arrays`; by default all datasets, and the attributes of the root.

    Raises
    ------
    InputError
        For links, types, filters and sizes that such a file has no reason to hold.
    OSError, RuntimeError
        For a file that is none of HDF5's, or a damaged one.
    """
    size = len(source.getbuffer()) if isinstance(source, io.BytesIO) else source.stat().st_size
    with h5py.File(source, "r", locking=False) as file:
        found = ((n, _find(file, n)) for n in (_everything(file) if names is None else names))
        items = {name: item for name, item in found if item is not None}
        _refuse_size(items, size)
        return {name: _plain(name, item) for name, item in items.items()}


def require_format(file: Arrays | h5py.File, name: str) -> None:
    """Raise InputError unless the root attributes say `hpc-diffuser/<name>`, version 1."""
    attributes = file.attrs if isinstance(file, h5py.File) else file
    prefix = "" if isinstance(file, h5py.File) else "@"
    found, version = attributes.get(f"{prefix}format"), attributes.get(f"{prefix}version")
    if np.shape(found) or str(found) != f"hpc-diffuser/{name}":
        raise InputError(f'not a {name} file: expected the attribute format="hpc-diffuser/{name}"')
    if np.shape(version) or version != 1:
        raise InputError(f"{name} file of version {version}: this program reads version 1")


def _outline(path: str) -> Arrays:
    with h5py.File(path, "r", locking=False) as file:
        names = [f"@{name}" for name in file.attrs]

        def note(name: str, item: Any) -> None:
            names.extend([name] if _is_dataset(item) else [])
            names.extend(f"{name}@{attribute}" for attribute in item.attrs)
            if len(names) > _MOST_NAMES:
                raise InputError(f"{path}: holds more than {_MOST_NAMES} datasets and attributes")

        file.visititems(note)
    return {"names": np.array(names, str)}


def _read(path: str, names: list[str]) -> Arrays:
    try:
        return hdf5_arrays(Path(path), names)
    except KeyError as exc:  # HDF5's own, of damaged links; its text would be shown in quotes
        raise RuntimeError(exc.args[0]) from exc


def _everything(file: h5py.File) -> list[str]:
    """Names of all datasets, and of the root's attributes."""
    names = [f"@{name}" for name in file.attrs]
    # `visititems` follows neither external nor soft links.
    file.visititems(lambda name, item: names.append(name) if _is_dataset(item) else None)
    return names


def _is_dataset(item: Any) -> bool:
    return isinstance(item, h5py.Dataset)


def _find(file: h5py.File, name: str) -> Any:
    """A dataset or attribute, reached through hard links alone; None where there is none."""
    place, _, attribute = name.partition("@")
    item: Any = file
    for part in place.split("/") if place else ():
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f'"{name}" is a link to elsewhere: expected the data itself')
        item = item[part]
    if not attribute:
        return item
    return item.attrs.get_id(attribute) if attribute in item.attrs else None


def _refuse_size(items: dict[str, Any], file_size: int) -> None:
    """Raise InputError for anything but stored numbers and text of a believable size."""
    claimed = 0
    for name, item in items.items():
        _refuse_kind(name, item)
        _refuse_storage(name, item)
        largest = max(math.prod(item.shape), math.prod(getattr(item, "chunks", None) or ()))
        claimed += largest * item.dtype.itemsize
    if claimed > min(_MOST_BYTES, _FREE_BYTES + _MOST_RATIO * file_size):
        raise InputError(f"claims {claimed / 1e6:.0f} MB of data in a file of {file_size} bytes")


def _refuse_kind(name: str, item: Any) -> None:
    if not isinstance(item, h5py.Dataset | h5py.h5a.AttrID):
        raise InputError(f'"{name}" is no dataset')
    dtype = item.dtype
    if item.shape is None or not (
        h5py.check_string_dtype(dtype) or (dtype.kind in "biuf" and dtype.itemsize <= 8)
    ):
        raise InputError(f'"{name}" is of type {dtype}: expected numbers or text')


def _refuse_storage(name: str, item: Any) -> None:
    if not _is_dataset(item):
        return
    if item.external or item.is_virtual:
        raise InputError(f'"{name}" is stored in other files: expected the data itself')
    plan = item.id.get_create_plist()
    filters = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
    if filters - _FILTERS:
        raise InputError(
            f'"{name}" is packed with HDF5 filter {min(filters - _FILTERS)}: '
            "pack the file with `h5repack -f GZIP=1`"
        )


def _plain(name: str, item: Any) -> np.ndarray:
    """The numbers, in this machine's byte order, or the text."""
    if _is_dataset(item):
        value = item[()]
    else:
        value = np.empty(item.shape, item.dtype)
        item.read(value)
    if not h5py.check_string_dtype(item.dtype):
        return np.asarray(value, item.dtype.newbyteorder("="))
    try:
        texts = [x.decode() if isinstance(x, bytes) else str(x) for x in np.ravel(value)]
    except UnicodeDecodeError:
        raise InputError(f'"{name}" holds text that is not UTF-8') from None
    return np.array(texts, str).reshape(item.shape)
