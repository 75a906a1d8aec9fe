"""Exchanges between ranks, on one rank and on several."""

import numpy as np
import pytest
from conftest import with_little_to_do
from launching import launch

from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system import launcher
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.launcher import launched_rank, launched_size

LAUNCHER_VARIABLES = (*launcher._LAUNCHED, *launcher.RANK_VARIABLES)


@pytest.fixture
def no_launcher(monkeypatch):
    """An environment in which no launcher has left its mark."""
    for name in LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_one_rank_is_the_identity():
    """Every exchange of a rank with itself gives back what it was given."""
    alone = Ranks()
    array = np.arange(3.0)
    assert (alone.rank, alone.size, alone.is_root) == (0, 1, True)
    assert alone.broadcast(array) is array
    assert alone.gather(7) == [7]
    assert alone.sum_as_tree(array) is array
    assert alone.from_root(lambda: 5) == 5
    assert alone.all_true(True) and not alone.all_true(False)
    assert alone.split(3).size == 1


def test_error_of_one_rank_is_not_shared():
    """With nobody to share it with, an error stays what it is."""
    with pytest.raises(InputError, match="nothing"):
        Ranks().from_root(_fail)


def _fail() -> None:
    raise InputError("nothing")


def test_launched_size_reads_the_launcher(no_launcher):
    """No launcher: one. MPICH, Open MPI and srun say how many; some only that they are there."""
    assert launched_size() == 1 and launched_rank() == 0
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        with no_launcher.context() as environment:
            environment.setenv(name, "4")
            assert launched_size() == 4
    no_launcher.setenv("PMIX_RANK", "2")
    assert launched_size() == 0


def test_exchanges_on_four_ranks(tmp_path):
    """Broadcast, gather, split, the tree's order and shared errors, checked on every rank.

    1e16 + 1 + 1 + 1 depends on the order: the tree (0+1)+(2+3) gives 1e16 + 2 = 10000000000000002,
    adding one after the other gives 1e16.
    """
    code = """
import numpy as np
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.parallel.communicator import world
ranks = world()
assert ranks.size == 4
assert ranks.broadcast("x" * 1000 if ranks.is_root else None) == "x" * 1000
gathered = ranks.gather(ranks.rank ** 2)
assert gathered == ([0, 1, 4, 9] if ranks.is_root else None)
half = ranks.split(ranks.rank % 2)
assert (half.size, half.rank) == (2, ranks.rank // 2)
total = ranks.sum_as_tree(np.array([1e16 if ranks.is_root else 1.0]))
assert (total is None) == (not ranks.is_root)
if ranks.is_root:
    assert total[0] == 1e16 + 2, total
assert not ranks.all_true(ranks.rank != 2)
def fail():
    raise InputError("told to all")
try:
    ranks.from_root(fail)
except InputError as exc:
    assert exc.known_to_all and str(exc) == "told to all"
else:
    raise AssertionError
print("fine")
"""
    result = launch(4, folder=tmp_path, code=code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("fine") == 4


# A communicator that counts: messages by kind, and those made and not freed again.
COUNTED = """
import sys
from collections import Counter
from hpc_diffuser.parallel import communicator
calls = Counter()
class Counted:
    def __init__(self, comm):
        self.comm = comm
    def __getattr__(self, name):
        def call(*arguments, **named):
            found = getattr(self.comm, name)(*arguments, **named)
            calls[name] += name == "Free" or bool(found)
            return Counted(found) if name.startswith("Split") else found
        return call
def alive():
    return calls["Split"] + calls["Split_type"] - calls["Free"]
ranks = communicator._world = communicator.Ranks(Counted(communicator.start_mpi()))
def end_all(*error):
    sys.__excepthook__(*error)
    ranks.abort(1)
sys.excepthook = end_all
"""


@pytest.mark.parametrize("size", [3, 5, 8])
def test_exchanges_along_a_tree(tmp_path, size):
    """Objects and arrays arrive as they were, in the order of the ranks, whatever their number.

    Arrays may be empty on some ranks, have several axes, lie in memory in another order. What is
    sent to rank 0 by each and by it to each takes no more than a logarithm of messages there.
    """
    code = (
        COUNTED
        + """
import math
import numpy as np
size, rank = ranks.size, ranks.rank
few = math.ceil(math.log2(size))
calls.clear()
for value in ({"a": [1, None]}, "x" * 100_000, np.float32(2.5)):
    assert ranks.broadcast(value if ranks.is_root else None) == value
assert calls["Isend"] <= 3 * few
calls.clear()
assert ranks.gather({"of": rank}) == ([{"of": i} for i in range(size)] if rank == 0 else None)
assert calls["Improbe"] <= few and calls["Isend"] == (rank > 0)
assert ranks.gather_to_all((rank, "x" * rank)) == [(i, "x" * i) for i in range(size)]
large = np.arange(200_000.0).reshape(2, -1).T
for writeable in (True, False):
    large.flags.writeable = writeable
    found = ranks.broadcast((large, 7) if ranks.is_root else None)
    assert (found[0] == large).all() and found[1] == 7
    assert found[0].flags.writeable == writeable
calls.clear()
own = np.full((rank % 3, 2), rank, np.float32)
lengths = ranks.gather_to_all(own.size)
calls.clear()
expected = np.concatenate([np.full(2 * (i % 3), i) for i in range(size)])
every = ranks.concatenated(own, lengths)
assert calls == {"Iallgatherv": 1}
assert every.dtype == np.float32 and every.tolist() == expected.tolist()
on_root = ranks.concatenated_on_root(own, lengths)
assert (on_root is None) == (rank > 0)
assert rank or on_root.tolist() == expected.tolist()
for odd in range(-1, size):
    assert ranks.all_true(rank != odd) == (odd < 0)
among = [size - 1, 0]
if rank in among:
    total = ranks.sum_as_tree(np.array([1.0 + rank]), among)
    assert (total is None) == (rank == 0) and (rank == 0 or total[0] == 1.0 + size)
print("fine")
"""
    )
    result = launch(size, folder=tmp_path, code=code)
    assert result.stdout.count("fine") == size, result.stderr


def test_communicators_are_freed(tmp_path):
    """Of parts that are done with none is left, also where all ranks fail inside.

    MPICH has room for 2048. What the ranks of a node share is made once.
    """
    code = (
        COUNTED
        + """
import numpy as np
from hpc_diffuser.system.errors import InputError
for i in range(20):
    with ranks.split(ranks.rank % 2) as part:
        assert part.all_true(True)
assert alive() == 0
def fail():
    raise InputError("told to all")
for _ in range(3):
    try:
        with ranks.split(0) as part:
            part.share(np.arange(1_000_000) if part.is_root else None)
            part.from_root(fail)
    except InputError:
        pass
assert alive() == 0, calls
for _ in range(3):
    ranks.share(np.arange(1_000_000) if ranks.is_root else None)
assert alive() == 1 + ranks.is_root, calls
print("fine")
"""
    )
    result = launch(2, folder=tmp_path, code=code)
    assert result.stdout.count("fine") == 2, result.stderr


def test_fits_leave_no_communicators(inputs, tmp_path):
    """One fit after the other in one process: as many as after the first, whatever the groups."""
    project = with_little_to_do(inputs, tmp_path / "project")
    code = (
        COUNTED
        + """
from dataclasses import replace
from pathlib import Path
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.problem import load_problem
from hpc_diffuser.fit.refinement import refine
config = load_config(Path("fit.toml"))
config = replace(config, search=replace(config.search, restarts=2, evaluations=1))
left = []
for groups in (1, 2, 1):
    run = replace(config.run, directory=Path(f"run {len(left)}"), groups=groups)
    refine(load_problem, replace(config, run=run), "", ranks)
    left.append(alive())
assert left == left[:1] * 3 and left[0] <= 2, left
print("fine")
"""
    )
    result = launch(2, folder=project, code=code, warm=True)
    assert result.stdout.count("fine") == 2, result.stderr


def test_large_arrays_lie_once_on_a_node(tmp_path):
    """Every rank sees rank 0's numbers, in the same memory, and cannot change them.

    What a rank writes into the shared pages behind numpy's back, the others read.
    """
    code = """
import ctypes
import numpy as np
from hpc_diffuser.parallel.communicator import world
ranks = world()
small, large = ranks.from_root(lambda: (np.arange(10), np.arange(1_000_000)))
assert small.tolist() == list(range(10)) and (large == np.arange(1_000_000)).all()
assert not large.flags.writeable
ranks.meet()
if ranks.rank == 1:
    ctypes.c_int64.from_address(large.ctypes.data).value = 17
ranks.meet()
assert large[0] == 17
print("fine")
"""
    result = launch(3, folder=tmp_path, code=code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("fine") == 3


def test_without_room_in_shared_memory(tmp_path):
    """Every rank has a copy of its own then."""
    code = """
import numpy as np
from hpc_diffuser.parallel import shared_memory
shared_memory.FOLDER = "/nowhere"
from hpc_diffuser.parallel.communicator import world
ranks = world()
assert ranks.share(np.arange(1_000_000) if ranks.is_root else None).sum() == 499999500000
print("fine")
"""
    result = launch(2, folder=tmp_path, code=code)
    assert result.stdout.count("fine") == 2, result.stderr


def test_a_silent_rank_is_named(tmp_path):
    """One that is stopped: the others end the job when their patience is at an end."""
    code = """
import os, signal
from hpc_diffuser.commands import main, status
from hpc_diffuser.parallel.communicator import world
def wait(*_):
    ranks = world()
    ranks.meet()
    ranks.be_patient(5.0)
    if ranks.rank == 2:
        os.kill(os.getpid(), signal.SIGSTOP)
    ranks.gather(1)
    ranks.meet()
status.run = wait
main.run_program(["status", "run"])
"""
    result = launch(3, folder=tmp_path, code=code)
    assert result.returncode == 70
    assert "error (rank 0 of 3): rank 2 has not answered for 5 s" in result.stderr


def test_waiting_ranks_sleep(tmp_path):
    """While rank 0 thinks for two seconds or more, the others use less than a fifth of a core."""
    code = """
import time
from hpc_diffuser.parallel.communicator import world
ranks = world()
began, used = time.monotonic(), time.process_time()
ranks.from_root(lambda: time.sleep(2))
assert time.process_time() - used < 0.2 * (time.monotonic() - began)
print("fine")
"""
    result = launch(3, folder=tmp_path, code=code)
    assert result.stdout.count("fine") == 3, result.stderr
