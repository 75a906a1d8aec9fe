"""A second process for each rank, asleep, for what a launcher does not do when the rank dies.

- Before MPI has started, launchers let the other ranks wait for the dead one for ever. The second
  then takes its place, starts MPI, and ends the job.
- Later, MPICH's launcher kills all ranks as soon as one of them has closed its descriptors, and
  does not say which it was. The second keeps them open a little longer, so that the ranks beside
  the dead one, who have been watching (`watch`), can tell; or tells where nobody watches yet, and
  ends them: of a rank that left with code 0 no launcher thinks ill.
- A rank that waits too long for MPI to start is ended.

Nothing is imported here that may not be forked, or that takes time.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

from hpc_diffuser.parallel.mpi import after_start, before_start
from hpc_diffuser.system.launcher import RANK_VARIABLES, launched_rank, launched_size
from hpc_diffuser.system.stopping import ignore_signals

START_PATIENCE_S = 300.0
_HEAD_START_S = 1.2  # for the ranks beside a dead one, to tell and to abort (`watch`)
_ABORT_WITHIN_S = 4
_STARTING, _STARTED, _WATCHED, _FAREWELL = b"i", b"r", b"w", b"."
WITHOUT_A_WORD = (
    "ended without a word: killed, perhaps for want of memory, or crashed; what was finished is "
    "saved: run again to resume"
)

_word: int | None = None  # the pipe to this rank's second


def have_a_second(end_the_job: Callable[[], None]) -> None:
    """From now on this rank, if a launcher started it, has a second.

    Parameters
    ----------
    end_the_job : callable
        Starts MPI and aborts. The launcher does not know a rank from its second.
    """
    global _word
    if launched_size() == 1 or _word is not None:
        return
    listening, speaking = os.pipe()
    launcher = os.getppid()
    try:
        second = os.fork()
    except OSError:  # no room for it: the rank can do without
        os.close(listening)
        os.close(speaking)
        return
    if second:
        os.close(listening)
        _word = speaking
        before_start.append(_mpi_is_starting)
        after_start.append(_mpi_has_started)
        return
    os.close(speaking)
    ignore_signals()
    try:
        _stand_by(listening, end_the_job, launcher)
    finally:
        os._exit(0)


def _mpi_is_starting() -> None:
    """What the launcher does about a death from now on is enough."""
    _say(_STARTING)


def _mpi_has_started() -> None:
    """The other ranks are there."""
    _say(_STARTED)


def neighbour_is_watching() -> None:
    """Another rank tells from now on if this one dies."""
    _say(_WATCHED)


def dismiss_second() -> None:
    """This rank ends in good order, or has said why not."""
    _say(_FAREWELL)


def _say(word: bytes) -> None:
    if _word is not None:
        with contextlib.suppress(OSError):
            os.write(_word, word)


def _stand_by(listening: int, end_the_job: Callable[[], None], launcher: int) -> None:
    word = os.read(listening, 1)
    if not word:
        _tell(f"before MPI had started, {WITHOUT_A_WORD}")
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_ABORT_WITHIN_S)  # the launcher may be gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # all has been said
        end_the_job()
    if word == _STARTING:
        ready, _, _ = select.select([listening], [], [], START_PATIENCE_S)
        if not ready:
            _tell(f"MPI has not started for {START_PATIENCE_S:g} s: another rank may have ended")
            os.kill(os.getppid(), signal.SIGKILL)
        word = os.read(listening, 1)
    if word == _STARTED:
        word = os.read(listening, 1)
        if not word:
            _tell(WITHOUT_A_WORD)
            time.sleep(_HEAD_START_S)
            _end_ranks_of(launcher)
    if word == _WATCHED:
        word = os.read(listening, 1)
    if not word:
        time.sleep(_HEAD_START_S)


def _end_ranks_of(launcher: int) -> None:
    """Kill the ranks that a launcher's process on this node has started."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if _parent_of(process) == launcher and _is_a_rank(process):
                os.kill(int(process), signal.SIGKILL)


def _parent_of(process: str) -> int:
    with open(f"/proc/{process}/stat", "rb") as file:
        # The name, in parentheses, may hold anything; then the state and the parent.
        return int(file.read().rpartition(b")")[2].split()[1])


def _is_a_rank(process: str) -> bool:
    with open(f"/proc/{process}/environ", "rb") as file:
        names = {
            variable.partition(b"=")[0].decode(errors="replace")
            for variable in file.read().split(b"\0")
        }
    return not names.isdisjoint(RANK_VARIABLES)


def _tell(message: str) -> None:
    where = f"rank {launched_rank()} of {launched_size() or 'several'}"
    with contextlib.suppress(OSError):
        os.write(2, f"hpc-diffuser: error ({where}): {message}\n".encode())
