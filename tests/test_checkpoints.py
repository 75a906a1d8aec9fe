"""Checkpoints: a search's history, as plain arrays."""

from collections.abc import Callable

import h5py
import numpy as np
import pytest

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.checkpoints import checkpoint_path, read_checkpoint, write_checkpoint
from hpc_diffuser.search.history import Hedge, History, new_history


def history(n: int = 6, dimensions: int = 3) -> History:
    """Random points and objectives, as after n evaluations."""
    rng = np.random.default_rng(n)
    hedge = Hedge(rng.normal(size=3), rng.random((3, dimensions)), rng.normal(size=1 + dimensions))
    return History(rng.random((n, dimensions)), rng.random(n), hedge)


def arrays(of: History) -> list[bytes]:
    """All numbers as bytes, with shapes."""
    parts = (of.points, of.objectives, of.hedge.gains, of.hedge.candidates, of.hedge.theta)
    return [(a.shape, a.dtype, a.tobytes()) for a in parts]


@pytest.mark.parametrize(
    "expected", [history(), history(1, 1), new_history(3)], ids=["six", "one", "none"]
)
def test_round_trip_is_exact(tmp_path, expected):
    """Every bit comes back: a resumed search must propose what the uninterrupted one would."""
    write_checkpoint(tmp_path / "c.h5", expected)
    assert arrays(read_checkpoint(tmp_path / "c.h5")) == arrays(expected)


def test_awkward_numbers_round_trip(tmp_path):
    """Signed zero, the smallest and largest doubles."""
    points = np.array([[-0.0, 5e-324, 1.7e308]])
    expected = History(points, np.array([1e-17]), new_history(3).hedge)
    write_checkpoint(tmp_path / "c.h5", expected)
    assert arrays(read_checkpoint(tmp_path / "c.h5")) == arrays(expected)


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
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoint(tmp_path, damage):
    """Bad input, in one line that names the file: the user may remove it and begin again."""
    path = tmp_path / "restart_0000.h5"
    write_checkpoint(path, history())
    with h5py.File(path, "r+") as file:
        DAMAGE[damage](file)
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 100, 4000])
def test_truncated_checkpoint(tmp_path, size):
    """A copy that broke off, or an empty file."""
    path = tmp_path / "restart_0000.h5"
    write_checkpoint(path, history())
    assert size < path.stat().st_size
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=f"{path}: .*checkpoint"):
        read_checkpoint(path)
