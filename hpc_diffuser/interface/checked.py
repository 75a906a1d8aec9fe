"""What users of the Python interface give, checked for its kind."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError


def path_of(source: Any, expected: str) -> Path:
    """The path of a file or a folder.

    Parameters
    ----------
    source : str or Path
    expected : str
        For the message: what else could be given.

    Raises
    ------
    InputError
        Where it is no path.
    """
    if isinstance(source, str | os.PathLike):
        return Path(source)
    raise InputError(f"expected {expected}, found {_kind(source)}")


def require_kind(value: Any, kind: type, expected: str) -> None:
    """Raise InputError where a value is not of a kind.

    Parameters
    ----------
    value : object
    kind : type
    expected : str
        For the message.
    """
    if not isinstance(value, kind):
        raise InputError(f"expected {expected}, found {_kind(value)}")


def numbers_of(value: Any, name: str, *lengths: int | None) -> Floats:
    """Numbers as an array with so many axes.

    Parameters
    ----------
    value : array-like
    name : str
        Of the argument, for the message.
    *lengths : int or None
        Of each axis; None where it may be any. None among the numbers is NaN.

    Raises
    ------
    InputError
        Where they are no numbers, or other ones in number.
    """
    shape = ", ".join("n" if length is None else f"{length}" for length in lengths)
    expected = f"{name}: expected numbers, ({shape})"
    try:
        found = np.array(value, dtype=float)
    except (TypeError, ValueError) as exc:
        raise InputError(f"{expected}, found {_kind(value)}") from exc
    if found.ndim != len(lengths):
        raise InputError(f"{expected}, found {_kind(value)} of {found.ndim} axes")
    if any(n is not None and n != m for n, m in zip(lengths, found.shape, strict=True)):
        raise InputError(f"{expected}, found ({', '.join(map(str, found.shape))})")
    return found


def texts_of(value: Any, name: str) -> list[str]:
    """Names, one after the other.

    Parameters
    ----------
    value : sequence of str
    name : str
        Of the argument, for the message.

    Raises
    ------
    InputError
        Where it is none, or one text alone.
    """
    plain = value is None or isinstance(value, int | float | str)
    if plain or not all(isinstance(part, str) for part in _parts(value)):
        raise InputError(f"{name}: expected a list of texts, found {_kind(value)}")
    return list(value)


def _parts(value: Any) -> list[Any]:
    try:
        return list(value)
    except TypeError:
        return [None]


def _kind(value: Any) -> str:
    """As `a DiffuseMap`, or a plain value itself."""
    plain = value is None or isinstance(value, int | float)
    return repr(value) if plain else f"a {type(value).__name__}"
