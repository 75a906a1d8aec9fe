"""A user's file, opened once: unpacked, looked at, and read by whoever knows its format."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.io.packed import unpacked
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.isolated import Isolation, Read, require_file

_HEAD = 4096
_CONTENT = "hpc_diffuser.io.hdf5_content"  # loaded by the child alone
_HDF5 = b"\x89HDF\r\n\x1a\n"


class Opened:
    """A file, and the process in which native readers see it, which starts when one is needed.

    Attributes
    ----------
    path : Path
        As the user names it; messages do too.
    plain : Path
        Its content: the file itself, or an unpacked copy.
    what : str
        What it should be, for messages: "diffuse map".
    head : bytes
        The first 4096.
    size : int
        In bytes.
    """

    def __init__(self, path: Path, plain: Path, what: str):
        self.path, self.plain, self.what = path, plain, what
        self.size = plain.stat().st_size
        with plain.open("rb") as file:
            self.head = file.read(_HEAD)
        self._isolation: Isolation | None = None

    @property
    def is_hdf5(self) -> bool:
        """By its first bytes."""
        return self.head.startswith(_HDF5)

    @cached_property
    def names(self) -> frozenset[str]:
        """Of an HDF5 file's datasets, "entry/intensity", and attributes, "entry@command".

        None of other files.
        """
        if not self.is_hdf5:
            return frozenset()
        return frozenset(self.run(f"{_CONTENT}.outline")["names"].tolist())

    def arrays(self, names: Iterable[str], what: str = "") -> dict[str, np.ndarray]:
        """Those of an HDF5 file's datasets and attributes that are there."""
        return self.run(f"{_CONTENT}.read", list(names), what=f"a {what}" if what else "")

    def run(self, read: Read | str, *arguments: Any, what: str = "") -> dict[str, np.ndarray]:
        """What a reader of this file returns; `what` it should be, "an MTZ file", if known."""
        subject = f"{self.path}: could not be read as {what or f'a {self.what}'}"
        if self._isolation is None:
            self._isolation = Isolation([self.plain], subject)
        self._isolation.subject = subject
        try:
            return self._isolation.run(read, *arguments)
        except InputError as exc:
            if self.plain == self.path:
                raise
            raise InputError(str(exc).replace(str(self.plain), str(self.path))) from exc

    def close(self) -> None:
        """Let the process go."""
        if self._isolation is not None:
            self._isolation.close()


@contextlib.contextmanager
def opened(source: Path | Opened, what: str) -> Iterator[Opened]:
    """A file for as long as the context; one that is open already stays so.

    Raises
    ------
    InputError
        Where there is no such file, or it is packed by something else than gzip.
    """
    if isinstance(source, Opened):
        yield source
        return
    require_file(source, what)
    with unpacked(source) as plain, contextlib.closing(Opened(source, plain, what)) as file:
        yield file
