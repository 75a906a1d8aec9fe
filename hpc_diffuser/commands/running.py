"""What every command needs around it: its threads, its ranks, what its failures mean.

Loads nothing heavy: thread counts must be set before numpy is loaded.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hpc_diffuser.parallel.watching import watch
from hpc_diffuser.system.errors import DiffuserError, InputError, StoppedError
from hpc_diffuser.system.launcher import launched_size
from hpc_diffuser.system.threads import pin_threads

if TYPE_CHECKING:
    from hpc_diffuser.parallel.communicator import Ranks


def command(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """A command's `run` as a function of a larger program, which finds everything as it was.

    Signal handlers, the environment's variables and the number of BLAS threads are the caller's:
    all that is only the process's own while the command runs. The program itself runs what is
    inside (`inspect.unwrap`).
    """

    @functools.wraps(run)
    def as_guest(options: Any) -> None:
        from hpc_diffuser.system.guest import as_found

        with as_found(), failures_told():
            pin_threads()
            try:
                run(options)
            except DiffuserError as exc:
                if exc.known_to_all:
                    watch.leave_with_a_word()
                raise
            watch.leave_with_a_word()

    return as_guest


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """Raise what the system does to a command as what the user can do about it.

    Raises
    ------
    StoppedError
        Of a command that has nothing to save.
    InputError
        Where memory ran out.
    """
    try:
        yield
    except KeyboardInterrupt as exc:
        raise StoppedError("stopped as asked; nothing is half-written: run it again") from exc
    except MemoryError as exc:
        raise InputError(
            f"not enough memory ({str(exc) or 'no more could be had'}): raise the limit (ulimit "
            "-v, --mem), use a node with more, or smaller inputs"
        ) from exc
    except (ImportError, OSError) as exc:
        from hpc_diffuser.system.memory import library_lacks_room

        if isinstance(exc, BrokenPipeError) or not library_lacks_room():
            raise
        raise InputError(
            f"not enough memory: a library could not be loaded ({exc}): raise the limit (ulimit "
            "-v), which counts all that libraries map, a gigabyte of it"
        ) from exc


def expect_ranks() -> None:
    """The first thing that a command on many ranks does: from now on a rank's death is told."""
    watch.watch_start(_end_all_ranks)


def all_ranks() -> Ranks:
    """All ranks, each with an eye on its neighbour."""
    from hpc_diffuser.parallel.communicator import world

    ranks = world()
    watch.watch_ranks(ranks)
    return ranks


def one_rank(what: str) -> Ranks:
    """This process alone, which has nothing to do with MPI.

    Raises
    ------
    InputError
        Where a launcher has started several, on all of them; `what` is it that runs on one.
    """
    from hpc_diffuser.parallel.communicator import Ranks

    if launched_size() > 1:
        error = InputError(f"{what} runs on one rank: start it without mpirun")
        error.known_to_all = True
        raise error
    return Ranks()


def _end_all_ranks() -> None:
    from hpc_diffuser.parallel.communicator import world

    world().abort(70)
