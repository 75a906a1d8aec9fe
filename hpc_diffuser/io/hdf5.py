"""HDF5 files: written in one step; read as plain arrays by a process of its own.

HDF5 itself is loaded where a file is written, and by the child that reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hpc_diffuser.io.opened import Opened, opened
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.storage import write_bytes

if TYPE_CHECKING:
    import h5py

Arrays = dict[str, np.ndarray]
Built = TypeVar("Built")


def library_version() -> str:
    """Of the HDF5 library itself, as 1.14.6."""
    import h5py

    return str(h5py.version.hdf5_version)


def write_hdf5(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Replace an HDF5 file in one step."""
    write_bytes(path, hdf5_image(fill))


def hdf5_image(fill: Callable[[h5py.File], None]) -> bytes:
    """The bytes of a file, built in memory.

    We write them ourselves: HDF5's own writing to a full disk crashes the process instead of
    raising an error.
    """
    import h5py

    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        return file.id.get_file_image()


def read_arrays(
    source: Path | Opened, what: str, names: Iterable[str], build: Callable[[Arrays], Built]
) -> Built:
    """What `build` makes of a file's arrays; whatever goes wrong becomes one InputError.

    HDF5 itself runs in a process of its own; `build` runs here, and sees arrays only.

    Parameters
    ----------
    source : Path or Opened
    what : str
        What the file should be, for the message: "modes file", "diffuse map".
    names : iterable of str
        Datasets, "entry/intensity", and attributes, "@format", "entry@command".
    build : callable
        Takes those that are there, by these names: numbers in this machine's byte order, or text.
        Its KeyError tells what is missing.
    """
    with opened(source, what) as file:
        subject = f"{file.path}: could not be read as a {what}"
        try:
            return build(file.arrays(names, what))
        except InputError as exc:
            if str(exc).startswith(str(file.path)):
                raise
            raise InputError(f"{file.path}: {' '.join(str(exc).split())}") from exc
        except KeyError as exc:
            raise InputError(f"{file.path}: not a {what}: there is no {exc}") from exc
        except (ValueError, TypeError, IndexError, ArithmeticError) as exc:
            raise InputError(f"{subject}: {' '.join(str(exc).split())}") from exc


def require_format(attributes: Arrays, name: str) -> None:
    """Raise InputError unless the root attributes say `hpc-diffuser/<name>`, version 1."""
    found, version = attributes.get("@format"), attributes.get("@version")
    if np.shape(found) or str(found) != f"hpc-diffuser/{name}":
        maker = "fit" if name == "checkpoint" else name
        raise InputError(
            f"not a {name} file: expected one that hpc-diffuser {maker} has made, with the "
            f'attribute format="hpc-diffuser/{name}"'
        )
    if np.shape(version) or version != 1:
        raise InputError(f"{name} file of version {version}: this program reads version 1")
