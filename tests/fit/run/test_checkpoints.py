"""Checkpoints: a search's history, as plain arrays."""

import errno
import io
import os
from collections.abc import Callable

import h5py
import numpy as np
import pytest
from builders import fails_with, history_arrays

from hpc_diffuser.fit.run.checkpoints import (
    _seal,
    checkpoint_path,
    previous_path,
    read_checkpoint,
    read_restart,
    set_aside,
    write_checkpoint,
)
from hpc_diffuser.fit.search.history import Hedge, History, new_history
from hpc_diffuser.system.errors import InputError, StorageError


def history(n: int = 6, dimensions: int = 3) -> History:
    """Random points and objectives, as after n evaluations."""
    rng = np.random.default_rng(n)
    hedge = Hedge(rng.normal(size=3), rng.random((3, dimensions)), rng.normal(size=1 + dimensions))
    return History(rng.random((n, dimensions)), rng.random(n), hedge)


@pytest.mark.parametrize(
    "expected", [history(), history(1, 1), new_history(3)], ids=["six", "one", "none"]
)
def test_round_trip_is_exact(tmp_path, expected):
    """Every bit comes back: a resumed search must propose what the uninterrupted one would."""
    write_checkpoint(tmp_path / "c.h5", expected)
    assert history_arrays(read_checkpoint(tmp_path / "c.h5")) == history_arrays(expected)


def test_awkward_numbers_round_trip(tmp_path):
    """Signed zero, the smallest and largest doubles."""
    points = np.array([[-0.0, 5e-324, 1.7e308]])
    expected = History(points, np.array([1e-17]), new_history(3).hedge)
    write_checkpoint(tmp_path / "c.h5", expected)
    assert history_arrays(read_checkpoint(tmp_path / "c.h5")) == history_arrays(expected)


def test_names_sort_by_restart(tmp_path):
    """One file for each restart, in their order in a listing."""
    assert checkpoint_path(tmp_path, 7) == tmp_path / "restart_0007.h5"
    names = [checkpoint_path(tmp_path, r).name for r in (0, 9, 10, 127, 1000)]
    assert names == sorted(names)


def test_arrays_and_text_only(tmp_path):
    """No pickled objects: every dataset is of doubles, every attribute text or a number.

    What is read from a file must never be able to run as a program.
    """
    write_checkpoint(tmp_path / "c.h5", history())
    found = []
    with h5py.File(tmp_path / "c.h5") as file:
        file.visititems(lambda name, item: found.append((name, item.dtype, dict(item.attrs))))
        attributes = dict(file.attrs)
    assert {name for name, *_ in found} == {
        "points",
        "objectives",
        "hedge_gains",
        "hedge_candidates",
        "kernel_theta",
    }
    assert all(dtype == np.float64 and not attrs for _, dtype, attrs in found)
    assert set(attributes) == {"format", "version"}
    assert attributes["format"] == "hpc-diffuser/checkpoint"
    assert attributes["version"] == 1


def put(name: str, value: object) -> Callable[[h5py.File], None]:
    """A change to a file: a dataset with another content."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def stored_elsewhere(file: h5py.File) -> None:
    """The objectives are bytes of another file."""
    del file["objectives"]
    file.create_dataset("objectives", (6,), float, external=[("/dev/zero", 0, 48)])


def view(file: h5py.File) -> None:
    """The objectives are another file's."""
    layout = h5py.VirtualLayout((6,), float)
    layout[:] = h5py.VirtualSource("other.h5", "objectives", (6,))
    del file["objectives"]
    file.create_virtual_dataset("objectives", layout)


def claimed(file: h5py.File) -> None:
    """80 TB of points, none of which is stored."""
    del file["points"]
    file.create_dataset("points", (10**13,), float)


DAMAGE = {
    "NaN": lambda f: f["points"].__setitem__((0, 0), np.nan),
    "infinite objective": lambda f: f["objectives"].__setitem__(0, np.inf),
    "NaN in gains": lambda f: f["hedge_gains"].__setitem__(0, np.nan),
    "fewer points": put("points", np.ones((2, 3))),
    "flat points": put("points", np.ones(6)),
    "objectives in columns": put("objectives", np.ones((6, 2))),
    "two gains": put("hedge_gains", np.ones(2)),
    "candidates of another space": put("hedge_candidates", np.ones((3, 9))),
    "one candidate": put("hedge_candidates", np.ones((1, 3))),
    "NaN in the kernel": lambda f: f["kernel_theta"].__setitem__(0, np.nan),
    "kernel of another space": put("kernel_theta", np.ones(9)),
    "kernel without candidates": put("hedge_candidates", np.empty((0, 3))),
    "candidates without kernel": put("kernel_theta", np.empty(0)),
    "kernel a number": put("kernel_theta", 1.0),
    "no kernel": lambda f: f.__delitem__("kernel_theta"),
    "text": put("objectives", [b"a"] * 6),
    "a number": put("objectives", 1.0),
    "no gains": lambda f: f.__delitem__("hedge_gains"),
    "another format": lambda f: f.attrs.__setitem__("format", "hpc-diffuser/modes"),
    "later version": lambda f: f.attrs.__setitem__("version", 2),
    "stored elsewhere": stored_elsewhere,
    "linked to": put("objectives", h5py.ExternalLink("other.h5", "objectives")),
    "a view of another file": view,
    "80 TB claimed": claimed,
    "records": put("objectives", np.zeros(6, [("a", float)])),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoint(tmp_path, damage):
    """A right checksum of wrong arrays, by a program with an error or by a person: refused."""
    path = tmp_path / "restart_0000.h5"
    write_checkpoint(path, history())
    with h5py.File(io.BytesIO(path.read_bytes()), "r+") as file:
        DAMAGE[damage](file)
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image + _seal(image))
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_cut_anywhere_is_damaged(tmp_path):
    """Every 64th length of the file, and one byte less than all of it."""
    path = tmp_path / "restart_0000.h5"
    write_checkpoint(path, history())
    whole = path.read_bytes()
    for size in (*range(0, len(whole), 64), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="damaged"):
            read_checkpoint(path)


def test_every_wrong_bit_is_noticed(tmp_path):
    """Two hundred single bits, all over the file: a checksum misses none."""
    path = tmp_path / "restart_0000.h5"
    write_checkpoint(path, history())
    whole = path.read_bytes()
    for bit in np.random.default_rng(1).integers(8 * len(whole), size=200).tolist():
        wrong = bytearray(whole)
        wrong[bit // 8] ^= 1 << bit % 8
        path.write_bytes(wrong)
        with pytest.raises(InputError, match="damaged"):
            read_checkpoint(path)


def test_hdf5_tools_read_it(tmp_path):
    """The checksum behind the content does not disturb them."""
    write_checkpoint(tmp_path / "c.h5", history())
    with h5py.File(tmp_path / "c.h5") as file:
        assert file["objectives"].shape == (6,)


def test_the_previous_one_is_kept(tmp_path):
    """A damaged or missing file is replaced by the one before; changing nothing."""
    path = checkpoint_path(tmp_path, 3)
    for n in (4, 5, 6):
        write_checkpoint(path, history(n))
    found, damaged = read_restart(tmp_path, 3)
    assert len(found) == 6 and not damaged
    path.write_bytes(path.read_bytes()[:-1])
    found, damaged = read_restart(tmp_path, 3)
    assert history_arrays(found) == history_arrays(history(5)) and damaged == [path]
    path.unlink()  # as in the moment between the two renames
    assert len(read_restart(tmp_path, 3)[0]) == 5
    previous_path(path).write_bytes(b"")
    assert read_restart(tmp_path, 3) == (None, [previous_path(path)])
    assert read_restart(tmp_path, 4) == (None, [])


def test_damaged_files_are_set_aside(tmp_path, capsys):
    """Under a name of their own each, and the user is told."""
    path = checkpoint_path(tmp_path, 0)
    for content in (b"one", b"two"):
        path.write_bytes(content)
        set_aside(path)
    assert not path.exists()
    assert {p.read_bytes() for p in tmp_path.iterdir()} == {b"one", b"two"}
    assert capsys.readouterr().err.count("damaged; kept as restart_0000.damaged-") == 2


def test_failing_rename_of_a_damaged_file(tmp_path, monkeypatch):
    """On a failing disk: a storage error with path and reason; the file stays."""
    path = checkpoint_path(tmp_path, 0)
    path.write_bytes(b"one")
    monkeypatch.setattr(os, "rename", fails_with(errno.EIO))
    with pytest.raises(StorageError, match=rf"{path}: .*Input/output error"):
        set_aside(path)
    assert path.exists()
