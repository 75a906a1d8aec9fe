"""A rank that dies without a word is named by its neighbour."""

import pytest
from launching import launch

from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.watching import watch
from hpc_diffuser.parallel.watching.neighbour import leave_with_a_word, watch_neighbour
from hpc_diffuser.system.errors import InputError

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


# To those who watch, an end like the others: `test_death_without_a_word` has all.
KILLED = pytest.param("os.kill(os.getpid(), 9)", marks=pytest.mark.slow)


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
from hpc_diffuser.commands import main, running, status
def start(args):
    running.expect_ranks()
    if os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "1":
        END
    running.all_ranks()
status.run = start
main.run_program(["status", "run"])
"""


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("raise RuntimeError('deliberate')", "internal error: RuntimeError: deliberate"),
        ("sys.exit(0)", "left early with exit code 0"),
        ("os._exit(0)", "(rank 1 of 3): before MPI had started, ended without a word"),
        pytest.param(
            "os.kill(os.getpid(), 9)",
            "(rank 1 of 3): before MPI had started, ended without a word",
            marks=pytest.mark.slow,
        ),
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
        "    running.all_ranks()",
        "    if running.all_ranks().rank == 1:\n"
        "        time.sleep(1)\n"
        "        raise main.StoppedError('stopped: run again')",
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


SWITCHED_OFF = """
import os, sys, threading
os.environ["HPC_DIFFUSER_WATCH"] = "off"
from hpc_diffuser.commands import main, running, status
def work(args):
    running.expect_ranks()
    ranks = running.all_ranks()
    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    assert not children and threading.active_count() == 1
    assert ranks.gather_to_all(ranks.rank) == [0, 1, 2]
    END
    ranks.meet()
    print("fine")
status.run = work
main.run_program(["status", "run"])
"""


def test_without_the_watch(tmp_path):
    """Switched off there is neither a second process nor a thread, and all else works.

    Also that of an error on one rank all end, and it alone tells.
    """
    result = launch(3, folder=tmp_path, code=SWITCHED_OFF.replace("END", "pass"))
    assert result.returncode == 0 and result.stdout.count("fine") == 3, result.stderr
    failing = "if ranks.rank == 1: raise RuntimeError('deliberate')"
    result = launch(3, folder=tmp_path, code=SWITCHED_OFF.replace("END", failing))
    assert result.returncode != 0 and result.stdout.count("fine") == 0
    first = next(line for line in result.stderr.splitlines() if line.strip())
    assert first == "hpc-diffuser: error (rank 1 of 3): internal error: RuntimeError: deliberate"


def test_without_a_second_process(monkeypatch):
    """A site that allows none: the program goes on without."""
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setattr(watch, "_of_all_ranks", False)

    def refuse():
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(watch.companion.os, "fork", refuse)
    watch.watch_start(lambda: None)
    assert watch.of_all_ranks() and watch.companion._word is None


def test_switch_is_on_or_off(monkeypatch):
    """Anything else is a mistake that every rank finds."""
    monkeypatch.delenv(watch.SWITCH, raising=False)
    assert watch.is_on()
    monkeypatch.setenv(watch.SWITCH, "off")
    assert not watch.is_on()
    monkeypatch.setenv(watch.SWITCH, "no")
    with pytest.raises(InputError, match='HPC_DIFFUSER_WATCH: expected "on" or "off", found "no"'):
        watch.watch_start(lambda: None)


@pytest.mark.parametrize("end", ["os._exit(0)", KILLED])
def test_death_before_anybody_watches(tmp_path, end):
    """MPI has started, the neighbours are not yet in place: the second tells, and ends them.

    A launcher that is told code 0 does nothing.
    """
    code = START.replace("END", "running._end_all_ranks = None").replace(
        "    running.all_ranks()",
        "    from hpc_diffuser.parallel.communicator import world\n"
        f"    if world().rank == 1: {end}\n"
        "    running.all_ranks()",
    )
    result = launch(3, folder=tmp_path, code=code)
    assert result.returncode != 0 and "has not answered" not in result.stderr
    first = next(line for line in result.stderr.splitlines() if line.strip())
    assert first.startswith("hpc-diffuser: error (rank 1 of 3): ended without a word")
