"""Exchanges between ranks, on one rank and on several."""

import numpy as np
import pytest
from test_parallel_run import launch

from hpc_diffuser.errors import InputError
from hpc_diffuser.parallel import launcher
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.launcher import launched_rank, launched_size

LAUNCHER_VARIABLES = (*launcher._LAUNCHED, *launcher._RANK_VARIABLES)


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
from hpc_diffuser.errors import InputError
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
