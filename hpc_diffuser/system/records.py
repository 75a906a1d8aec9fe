"""Frozen dataclasses as the plain data of a JSON file, and back, checked against their types.

A field is a key, in the order of the class. What a file holds beside them is ignored; a key may be
lacking where its field has a default. Types: numbers, text, paths, None, tuples of any or of a
fixed length, lists, dictionaries by name, other such classes, and unions of these.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from hpc_diffuser.system.errors import InputError

Record = TypeVar("Record")
_NAMES = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}


def to_plain(value: Any) -> Any:
    """Dictionaries, lists, numbers and text: what JSON knows.

    Parameters
    ----------
    value : dataclass, tuple, list, dict, number, str or None
    """
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: to_plain(inside) for key, inside in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(inside) for inside in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(kind: type[Record], data: object) -> Record:
    """A dataclass from what `to_plain` made of one.

    Parameters
    ----------
    kind : type
        The dataclass.
    data : object
        As read from a file, whatever it is.

    Raises
    ------
    InputError
        Naming the first key that is lacking, or is not what it should be; the caller names the
        file, and what to do.
    """
    found: Record = _read(kind, data, "")
    return found


def _read(kind: Any, value: Any, key: str) -> Any:
    """A value of a type; `key` is where it lies, as `clusters.2.best`, for the message."""
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _read_record(kind, value, key)
    if get_origin(kind) in (Union, types.UnionType):
        return _read_one_of(get_args(kind), value, key)
    if get_origin(kind) in (tuple, list):
        return _read_several(kind, value, key)
    if get_origin(kind) is dict:
        of_one = get_args(kind)[1]
        return {k: _read(of_one, v, f"{key}.{k}") for k, v in _as_dict(value, key).items()}
    return _read_single(kind, value, key)


def _read_record(kind: Any, value: Any, key: str) -> Any:
    data, hints = _as_dict(value, key), _hints(kind)
    given: dict[str, Any] = {}
    for f in fields(kind):
        name = f"{key}.{f.name}" if key else f.name
        if f.name in data:
            given[f.name] = _read(hints[f.name], data[f.name], name)
        elif _is_required(f):
            raise InputError(f"{name} is lacking")
    return kind(**given)


def _read_several(kind: Any, value: Any, key: str) -> Any:
    of_each = get_args(kind)
    if not isinstance(value, list | tuple):
        raise _unexpected(key, "a list", value)
    if get_origin(kind) is tuple and of_each[-1] is not ...:
        if len(value) != len(of_each):
            raise _unexpected(key, f"{len(of_each)} values", value)
    else:
        of_each = of_each[:1] * len(value)
    read = [
        _read(of_one, inside, f"{key}.{i}")
        for i, (of_one, inside) in enumerate(zip(of_each, value, strict=True))
    ]
    return get_origin(kind)(read)


def _read_one_of(kinds: tuple[Any, ...], value: Any, key: str) -> Any:
    """By the first of a union's types that fits; of a value or None, what is wrong with it."""
    if value is None and types.NoneType in kinds:
        return None
    first, *others = [kind for kind in kinds if kind is not types.NoneType]
    for kind in (first, *others)[:-1]:
        try:
            return _read(kind, value, key)
        except InputError:
            continue
    return _read(others[-1] if others else first, value, key)


def _read_single(kind: Any, value: Any, key: str) -> Any:
    """A number, text, a path or a truth; whole numbers are numbers, truths are not."""
    if kind is Path:
        return value if isinstance(value, Path) else Path(_read_single(str, value, key))
    wanted = (int, float) if kind is float else kind
    is_it = isinstance(value, wanted) and isinstance(value, bool) == (kind is bool)
    if not is_it or (isinstance(value, float) and not math.isfinite(value)):
        raise _unexpected(key, _NAMES[kind], value)
    return value


def _as_dict(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _unexpected(key, "values by name", value)
    return value


def _unexpected(key: str, expected: str, found: Any) -> InputError:
    text = repr(found)
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    return InputError(f"{key or 'the content'}: expected {expected}, found {shown}")


def _is_required(f: Field[Any]) -> bool:
    return f.default is MISSING and f.default_factory is MISSING


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
