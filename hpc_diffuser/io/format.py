"""What a format is to the program: one row of a table.

The table of maps is `maps.formats`. A row names its functions by their places, "maps.mtz.read_mtz",
and loads them when they are needed: the command line's help is made of the rows too, and has to be
there at once.
"""

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol


class Looked(Protocol):
    """What is seen of a file before its format is known.

    Attributes
    ----------
    head : bytes
        Its beginning.
    size : int
        In bytes.
    names : set of str
        Of an HDF5 file's datasets, "entry/intensity", and attributes, "entry@command".
    """

    head: bytes
    size: int
    names: frozenset[str]


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes
    ----------
    name : str
        By which options and messages call it.
    title : str
        By which help and documentation call it.
    read : str
        The place of what reads it.
    starts : tuple of bytes
        First bytes that are its sign.
    looks : str
        The place of a function that knows it from what is `Looked` at, where no first bytes do.
    endings : tuple of str
        Of names, in lower case, that mean it where the content does not tell, and in writing.
    write : str
        The place of what makes its bytes; "" where none are written.
    keeps_provenance : bool
        Whether it has room for where the data come from, which `write` is given too.
    lacks : tuple of str
        What it has no place for.
    integer_hkl : bool
        Whether it holds no other samples than those of integer hkl.
    measured_only : bool
        Whether it holds rows for the measured voxels, and nothing of the others.
    cell : str
        Where its unit cell comes from, for the documentation.
    notes : str
        What else a user has to know, for the documentation.
    """

    name: str
    title: str
    read: str
    starts: tuple[bytes, ...] = ()
    looks: str = ""
    endings: tuple[str, ...] = ()
    write: str = ""
    keeps_provenance: bool = False
    lacks: tuple[str, ...] = ()
    integer_hkl: bool = False
    measured_only: bool = False
    cell: str = ""
    notes: str = ""

    def recognises(self, file: Looked) -> bool:
        """Whether a file is of this format, by its content."""
        if file.head.startswith(self.starts or (b"\0" * (len(file.head) + 1),)):
            return True
        return bool(self.looks) and bool(at(self.looks)(file))


def at(place: str) -> Callable[..., Any]:
    """The function of this package's room of files at a place like "maps.mtz.read_mtz"."""
    module, _, name = place.rpartition(".")
    return getattr(import_module(f"hpc_diffuser.io.{module}"), name)


def format_of_content(file: Looked, among: Iterable[Format]) -> Format | None:
    """The first format that knows a file by its content; None where none does."""
    return next((row for row in among if row.recognises(file)), None)


def format_of_name(name: str, among: Iterable[Format]) -> Format | None:
    """The first format that one of its endings means; None where none does."""
    return next((row for row in among if row.endings and name.lower().endswith(row.endings)), None)


def titles(among: Iterable[Format]) -> str:
    """As help and messages list them: "XTC, TRR or DCD"; what shares a title comes once."""
    *others, last = dict.fromkeys(row.title for row in among)
    return f"{', '.join(others)} or {last}" if others else last


def filled(text: str, width: int = 88) -> str:
    """Lines of a help text."""
    return "\n".join(textwrap.wrap(f"{text}.".replace("`", ""), width))
