"""What users of the Python interface give, checked for its kind."""

import os
from pathlib import Path
from typing import Any

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


def _kind(value: Any) -> str:
    """As `a DiffuseMap`, or a plain value itself."""
    plain = value is None or isinstance(value, int | float)
    return repr(value) if plain else f"a {type(value).__name__}"
