"""What a command may be told, said once: dataclasses whose fields know their words.

A field made by `argument`, `option` or `switch` holds its flags, its kind and its help, the
dataclass its name and default. The command line is made of them (`commands.arguments`). A program
in Python fills in the same dataclass, and what it gives is checked by the same functions.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from hpc_diffuser.system.errors import InputError

REQUIRED: Any = MISSING  # as default: there is none
_ITS_OWN: Any = object()
_WORDS, _PART, _TYPED = "words", "part", "typed"


@dataclass(frozen=True)
class Words:
    """How a field is told on a command line.

    Attributes
    ----------
    flags : tuple of str
        As ("-o", "--output"); none where the place among the arguments tells.
    kind : callable
        From a word to the value; ValueError says what was expected and found.
    help : str or None
        With the unit; "%(default)s" is the default.
    metavar : str or None
        What stands for the value in the help.
    choices : tuple of str, or None
    several : bool
        Whether it takes one word or more; the value is then a tuple.
    """

    flags: tuple[str, ...]
    kind: Callable[[str], Any]
    help: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    several: bool = False


def argument(
    metavar: str,
    help: str,
    default: Any = REQUIRED,
    kind: Callable[[str], Any] = Path,
    several: bool = False,
) -> Any:
    """A field that is told by its place, or several; one with a default may be left out."""
    words = Words((), kind, help, metavar, several=several)
    return field(default=default, metadata={_WORDS: words})


def option(
    *flags: str,
    default: Any = None,
    kind: Callable[[str], Any] = str,
    help: str | None = None,
    metavar: str | None = None,
    choices: tuple[str, ...] | None = None,
    several: bool = False,
) -> Any:
    """A field that is told by a flag and a word, or several."""
    words = Words(flags, kind, help, metavar, choices, several)
    return field(default=default, metadata={_WORDS: words})


def switch(flag: str, help: str) -> Any:
    """A field that is False, and True with its flag."""
    return field(default=False, metadata={_WORDS: Words((flag,), bool, help)})


def part(options: type) -> Any:
    """A field that is a dataclass of options, told on the same command line."""
    return field(default_factory=options, metadata={_PART: options})


def option_of(options: type, name: str, default: Any = _ITS_OWN) -> Any:
    """A field told as that of another dataclass; with its default, unless another is given."""
    found = {f.name: f for f in fields(options)}[name]
    default = found.default if default is _ITS_OWN else default
    return field(default=default, metadata=found.metadata)


def typed(default: str) -> Any:
    """A field that is not told: the command line itself, which files record."""
    return field(default=default, metadata={_TYPED: True})


def words_of(field: Field[Any]) -> Words | None:
    """How a field is told; None of a part, or of one that is not told."""
    words: Words | None = field.metadata.get(_WORDS)
    return words


def told_fields(options: type, prefix: str = "") -> Iterator[tuple[str, Field[Any], Words]]:
    """All fields with words, those of parts too, as ("about.given.unit_cell", field, words)."""
    for each in fields(options):
        if _PART in each.metadata:
            yield from told_fields(each.metadata[_PART], f"{prefix}{each.name}.")
        elif words := words_of(each):
            yield prefix + each.name, each, words


def filled(options: type, values: dict[str, Any], as_typed: str, prefix: str = "") -> Any:
    """The dataclass with values by the names of `told_fields`.

    Parameters
    ----------
    options : type
    values : dict
    as_typed : str
        The command line, for a field that records it.
    prefix : str
        Of the names, where this is a part.
    """
    found: dict[str, Any] = {}
    for each in fields(options):
        name = prefix + each.name
        if _PART in each.metadata:
            found[each.name] = filled(each.metadata[_PART], values, as_typed, f"{name}.")
        elif _TYPED in each.metadata:
            found[each.name] = as_typed
        elif words_of(each):
            found[each.name] = values[name]
    return options(**found)


class CommandOptions:
    """Base of a command's options: what Python gives is checked, and made, as words are.

    Raises
    ------
    InputError
        As of a word: which option, what was expected and found.
    """

    def __post_init__(self) -> None:
        for name, value in _as_words_say(self).items():
            object.__setattr__(self, name, value)


def _as_words_say(options: Any) -> dict[str, Any]:
    values = {f.name: getattr(options, f.name) for f in fields(options)}
    found = {}
    for each in fields(options):
        value, words = values[each.name], words_of(each)
        if _PART in each.metadata:
            found[each.name] = dataclasses.replace(value, **_as_words_say(value))
        elif words and not (value is None and each.default is None):
            found[each.name] = _as_word_says(each.name, words, value)
    return found


def _as_word_says(name: str, words: Words, value: Any) -> Any:
    called = words.flags[-1] if words.flags else name
    if words.kind is bool:
        return bool(value)
    if words.choices and value not in words.choices:
        raise InputError(f"{called}: expected one of {', '.join(words.choices)}, found {value}")
    if words.several:
        one = dataclasses.replace(words, several=False)
        values = value if isinstance(value, list | tuple) else (value,)
        return tuple(_as_word_says(name, one, each) for each in values)
    word = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    try:
        return words.kind(word)
    except ValueError as exc:
        raise InputError(f"{called}: {exc}") from None


def whole(text: str) -> int:
    """A whole number above 0."""
    if not text.isdigit() or int(text) == 0:
        raise ValueError(f"expected a whole number above 0, found {text}")
    return int(text)


def finite(text: str) -> float:
    """A number."""
    value = _number(text)
    if not abs(value) < float("inf"):
        raise ValueError(f"expected a number, found {text}")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise ValueError(f"expected a number above 0, found {text}")
    return value


def fraction(text: str) -> float:
    """A number from 0 up to 1, without 1."""
    value = _number(text)
    if not 0 <= value < 1:
        raise ValueError(f"expected a number from 0 up to 1, found {text}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number, found {text}") from None
