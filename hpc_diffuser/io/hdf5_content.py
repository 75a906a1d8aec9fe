"""What an HDF5 file holds, as plain arrays, after everything else was refused.

Files from elsewhere are read by this in a child process; its answers come by `hdf5.read_arrays`.
"""

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpc_diffuser.system.errors import InputError

Arrays = dict[str, np.ndarray]

# deflate, shuffle, fletcher32, lzf: for any other one HDF5 would load a library from somewhere.
_FILTERS = {1, 2, 3, 32000}
# A file of zeros may be compressed a thousandfold, but such a file is small: real data is noise.
_MOST_NAMES = 10_000
_MOST_BYTES, _FREE_BYTES, _MOST_RATIO = 64 << 30, 64 << 20, 100
_ALL = slice(None)


def hdf5_arrays(
    source: Path | io.BytesIO, names: Iterable[str] | None = None, part: slice = _ALL
) -> Arrays:
    """Datasets and attributes of a file as plain arrays, read in this process.

    Parameters
    ----------
    source : Path or BytesIO
        Of a file from elsewhere, call this in a child process only.
    names : iterable of str
        As in `read_arrays`; by default all datasets, and the attributes of the root.
    part : slice
        Along the first axis of datasets that have one; by default all.

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
        return {name: _plain(name, item, part) for name, item in items.items()}


def hdf5_length(source: Path, name: str) -> int:
    """How long a dataset's first axis is."""
    with h5py.File(source, "r", locking=False) as file:
        return int(_find(file, name).shape[0])


def outline(path: str) -> Arrays:
    """Names of its datasets, "entry/intensity", and attributes, "entry/intensity@signal".

    Raises
    ------
    InputError
        For more of them than any file of ours or of the field has.
    """
    with h5py.File(path, "r", locking=False) as file:
        names = [f"@{name}" for name in file.attrs]

        def note(name: str, item: Any) -> None:
            names.extend([name] if _is_dataset(item) else [])
            names.extend(f"{name}@{attribute}" for attribute in item.attrs)
            if len(names) > _MOST_NAMES:
                raise InputError(f"{path}: holds more than {_MOST_NAMES} datasets and attributes")

        file.visititems(note)
    return {"names": np.array(names, str)}


def read(path: str, names: list[str]) -> Arrays:
    """Those of the named datasets and attributes that are there, in a child process."""
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


def _plain(name: str, item: Any, part: slice) -> np.ndarray:
    """The numbers, in this machine's byte order, or the text."""
    if _is_dataset(item):
        value = item[part] if item.shape else item[()]
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
