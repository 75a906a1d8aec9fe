"""Dataclasses as plain data: what comes back, and what is refused with its key."""

import json
from dataclasses import dataclass

import pytest

from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.records import from_plain, to_plain


@dataclass(frozen=True)
class Inner:
    """Numbers."""

    cc: float | None
    ends: tuple[float, float]


@dataclass(frozen=True)
class Outer:
    """Of everything one."""

    name: str
    count: int
    inner: Inner | None
    rows: tuple[Inner, ...]
    values: dict[str, float | list[float]]
    whole: bool = True


PLAIN = {
    "name": "α",
    "count": 3,
    "inner": None,
    "rows": [{"cc": None, "ends": [0.0, 1]}, {"cc": 0.1, "ends": [-1.5, 1e300]}],
    "values": {"b": 0.5, "a": [1.0, 2.0], "none": []},
    "whole": False,
}


def test_there_and_back():
    """The same text, keys in the same order; tuples where the class says so."""
    record = from_plain(Outer, json.loads(json.dumps(PLAIN)))
    assert json.dumps(to_plain(record)) == json.dumps(PLAIN)
    rows = (Inner(None, (0.0, 1)), Inner(0.1, (-1.5, 1e300)))
    assert record == Outer("α", 3, None, rows, PLAIN["values"], whole=False)


def test_a_default_may_be_lacking_and_more_may_be_there():
    """A file of a program that knew less, or more."""
    less = {key: value for key, value in PLAIN.items() if key != "whole"}
    assert from_plain(Outer, less | {"later": [1]}).whole is True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": 1}, "name: expected text, found 1"),
        ({"count": 3.0}, "count: expected a whole number, found 3.0"),
        ({"count": True}, "count: expected a whole number, found True"),
        ({"whole": 1}, "whole: expected true or false, found 1"),
        ({"inner": []}, "inner: expected values by name, found []"),
        ({"inner": {"cc": 1.0}}, "inner.ends is lacking"),
        ({"inner": {"cc": "1", "ends": [0, 1]}}, "inner.cc: expected a finite number, found '1'"),
        ({"rows": [{"cc": 1, "ends": [0, 1, 2]}]}, "rows.0.ends: expected 2 values, found [0, 1,"),
        ({"rows": {}}, "rows: expected a list, found {}"),
        ({"values": {"a": [float("nan")]}}, "values.a.0: expected a finite number, found nan"),
        ({"values": {"a": "x" * 99}}, "values.a: expected a list, found 'xxx"),
    ],
)
def test_what_is_wrong_is_named(change, told):
    """The key, what was expected and what was found, in one line of moderate length."""
    with pytest.raises(InputError) as error:
        from_plain(Outer, PLAIN | change)
    assert str(error.value).startswith(told) and len(str(error.value)) < 120


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_not_a_record_at_all(content):
    """A whole file of something else."""
    with pytest.raises(InputError, match="the content: expected values by name, found"):
        from_plain(Outer, content)
