"""A rank that dies without a word is named by its neighbour."""

import pytest
from launching import launch

from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.watching.neighbour import leave_with_a_word, watch_neighbour

CODE = """
import os, signal, sys, time
from hpc_diffuser.parallel.watching.companion import dismiss_second, have_a_second
have_a_second(lambda: None)
from hpc_diffuser.parallel.communicator import world
from hpc_diffuser.parallel.watching.neighbour import leave_with_a_word, watch_neighbour
ranks = world()
watch_neighbour(ranks)
ballast = b"x" * 200_000_000  # as a fit has: freeing it takes a dying process a while
if ranks.rank == 2:
    END
if "stay" not in sys.argv:
    ranks.meet()
leave_with_a_word()
dismiss_second()
"""


@pytest.mark.parametrize("end", ["os._exit(0)", "os._exit(5)", "os.kill(os.getpid(), 9)"])
def test_death_without_a_word(tmp_path, end):
    """Told with the rank's number, and ended, non-zero, before the launcher has anything to say."""
    result = launch(4, folder=tmp_path, code=CODE.replace("END", end))
    assert result.returncode != 0
    first = next(line for line in result.stderr.splitlines() if line.strip())
    assert first.startswith("hpc-diffuser: error (rank 2 of 4): ended without a word")
    assert result.stderr.count("without a word") == 1


def test_good_ends_are_not_told(tmp_path):
    """Ranks that leave in good order, one before the other."""
    code = CODE.replace("END", "time.sleep(1)").replace('"stay" not in sys.argv', "False")
    result = launch(3, folder=tmp_path, code=code)
    assert result.returncode == 0, result.stderr
    assert "without a word" not in result.stderr


def test_one_rank_has_no_neighbour():
    """Nothing to watch, nothing to tell."""
    watch_neighbour(Ranks())
    leave_with_a_word()


START = """
import os, sys, time
from hpc_diffuser.commands import main as cli
def start(args):
    cli.have_a_second(cli._end_all_ranks)
    if os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "1":
        END
    cli._world()
cli._status = start
cli.main(["status", "run"])
"""


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("raise RuntimeError('deliberate')", "internal error: RuntimeError: deliberate"),
        ("sys.exit(0)", "left early with exit code 0"),
        ("os._exit(0)", "(rank 1 of 3): before MPI had started, ended without a word"),
        ("os.kill(os.getpid(), 9)", "(rank 1 of 3): before MPI had started, ended without a word"),
    ],
)
def test_death_before_mpi_has_started(tmp_path, end, told):
    """The others would wait for it in MPI's start; they end before they lose their patience."""
    result = launch(3, folder=tmp_path, code=START.replace("END", end))
    assert result.returncode != 0 and "MPI has not started" not in result.stderr
    first = next(line for line in result.stderr.splitlines() if line.strip())
    assert first.startswith("hpc-diffuser: error") and told in first


def test_stop_of_one_rank_after_the_others_have_left(tmp_path):
    """Ranks that leave in good order say nothing: the one that was stopped speaks for itself.

    Of a stop that rank 0 has told, the others are silent.
    """
    code = START.replace("        END\n", "        pass\n").replace(
        "    cli._world()",
        "    if cli._world().rank == 1:\n"
        "        time.sleep(1)\n"
        "        raise cli.StoppedError('stopped: run again')",
    )
    result = launch(3, folder=tmp_path, code=code)
    assert result.returncode == 75
    assert "hpc-diffuser: error (rank 1 of 3): stopped: run again" in result.stderr


def test_mpi_that_does_not_start(tmp_path):
    """A rank that never gets there: the others wait so long, and no longer."""
    code = (
        "from hpc_diffuser.parallel.watching import companion\ncompanion.START_PATIENCE_S = 1.0\n"
    )
    result = launch(3, folder=tmp_path, code=code + START.replace("END", "time.sleep(60)"))
    assert result.returncode != 0
    assert "MPI has not started for 1 s" in result.stderr


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)"])
def test_death_before_anybody_watches(tmp_path, end):
    """MPI has started, the neighbours are not yet in place: the second tells, and ends them.

    A launcher that is told code 0 does nothing.
    """
    code = START.replace("END", "cli._end_all_ranks = None").replace(
        "    cli._world()",
        "    from hpc_diffuser.parallel.communicator import world\n"
        f"    if world().rank == 1: {end}\n"
        "    cli._world()",
    )
    result = launch(3, folder=tmp_path, code=code)
    assert result.returncode != 0 and "has not answered" not in result.stderr
    first = next(line for line in result.stderr.splitlines() if line.strip())
    assert first.startswith("hpc-diffuser: error (rank 1 of 3): ended without a word")
