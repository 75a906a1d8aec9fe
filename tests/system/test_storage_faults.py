"""A fit on a failing disk: a few of the faults of `fail_storage.py`, and the real disks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fail_storage import (
    Disk,
    check_fault,
    count_calls,
    damaged_checkpoints,
    every_fault,
    full_disks,
    outcome,
    read_only_disk,
    setting_aside,
    storage_project,
    turning_read_only,
)

KINDS = ("write", "fsync", "replace")
SLOW = pytest.mark.slow
ALL_DISKS = (full_disks, turning_read_only)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """What the fits here begin with."""
    return storage_project(tmp_path_factory.mktemp("storage") / "inputs")


@pytest.fixture(scope="module")
def undisturbed(inputs) -> tuple[Path, dict[str, int]]:
    """A fit that nothing disturbs: its folder, and how often it calls what."""
    folder = inputs.parent / "finished"
    return folder, count_calls(inputs, folder)


@pytest.fixture(scope="module")
def expected(undisturbed) -> tuple:
    """Its result."""
    return outcome(undisturbed[0])


@pytest.mark.parametrize(("step", "fewest"), [(90, 3), pytest.param(16, 11, marks=SLOW)])
def test_failing_calls(inputs, tmp_path, undisturbed, expected, step, fewest):
    """74 with path and reason, nothing half-written; resumed, the same result."""
    calls = {kind: undisturbed[1][kind] for kind in KINDS}
    found = dict(every_fault(inputs, tmp_path, expected, calls, step))
    assert len(found) >= fewest
    assert not {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize(("kind", "when"), [("mkstemp", 9), ("link", 1), ("unlink", 2)])
def test_other_failing_calls(inputs, tmp_path, expected, kind, when):
    """The same of a temporary file and of the lock; a lock that cannot be removed is no failure."""
    assert check_fault(inputs, tmp_path / "project", expected, Disk(kind, when)) == []


def test_setting_aside(undisturbed, tmp_path, expected):
    """A damaged checkpoint that cannot be renamed: 74 too."""
    found = dict(setting_aside(undisturbed[0], tmp_path, expected))
    assert len(found) == 2
    assert not {name: wrong for name, wrong in found.items() if wrong}


def test_damaged_checkpoints(undisturbed, tmp_path, expected):
    """Cut, or with a wrong bit: recovered by the next fit, with a warning, to the same result."""
    found = dict(damaged_checkpoints(undisturbed[0], tmp_path, expected, step=96))
    assert len(found) > 3
    assert not {name: wrong for name, wrong in found.items() if wrong}


def some_full_disks(*of) -> Iterator[tuple]:
    """At the beginning, in the middle, and near the end."""
    return full_disks(*of, (8, 80, 160))


@pytest.mark.parametrize(
    "cases",
    [some_full_disks, read_only_disk, *(pytest.param(c, marks=SLOW) for c in ALL_DISKS)],
)
def test_disks(inputs, tmp_path, expected, cases):
    """Real file systems: full, mounted read-only, and turning read-only in mid-run."""
    found = dict(cases(inputs, tmp_path, expected))
    if not found:
        pytest.skip("mounting is not permitted")
    assert not {name: wrong for name, wrong in found.items() if wrong}
