"""The watch for ranks that die: a room that the program can do without, and this is its door.

Until MPI has started each rank has a second process (`companion`), afterwards a neighbour on its
node too (`neighbour`). HPC_DIFFUSER_WATCH=off leaves both out, where a site allows no second
process: a rank that dies is then noticed by its launcher, or by the other ranks when their patience
is at an end.

Nothing is imported at the top that takes time or may not be forked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from hpc_diffuser.parallel.watching import companion
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.launcher import launched_size

if TYPE_CHECKING:
    from hpc_diffuser.parallel.communicator import Ranks

SWITCH = "HPC_DIFFUSER_WATCH"

_of_all_ranks = False
_neighbour: ModuleType | None = None  # where it watches


def is_on() -> bool:
    """What the switch says: on, unless it is off.

    Raises
    ------
    InputError
        Of every rank, where it says neither.
    """
    switch = os.environ.get(SWITCH, "on")
    if switch not in ("on", "off"):
        error = InputError(
            f'{SWITCH}: expected "on" or "off", found "{switch}": correct or unset it'
        )
        error.known_to_all = True
        raise error
    return switch == "on"


def watch_start(end_the_job: Callable[[], None]) -> None:
    """Begin to watch this rank, if a launcher started it, before MPI has started.

    Parameters
    ----------
    end_the_job : callable
        Starts MPI and aborts.
    """
    global _of_all_ranks
    watched = is_on()
    _of_all_ranks = launched_size() != 1
    if watched:
        companion.have_a_second(end_the_job)


def watch_ranks(world: Ranks) -> None:
    """From now on, with MPI started, each rank has an eye on its neighbour."""
    global _neighbour
    if not is_on():
        return
    from hpc_diffuser.parallel.watching import neighbour

    _neighbour = neighbour
    neighbour.watch_neighbour(world)


def of_all_ranks() -> bool:
    """True on a rank of a command that works on all of them, watched or not."""
    return _of_all_ranks


def leave_with_a_word() -> None:
    """This rank ends in good order, or has said why not: nobody need speak for it."""
    companion.dismiss_second()
    if _neighbour is not None:
        _neighbour.leave_with_a_word()


def have_explained() -> None:
    """This rank has said why the job ends."""
    if _neighbour is not None:
        _neighbour.have_explained()


def end_is_explained() -> bool:
    """True if a rank of this node has said why the job ends."""
    return _neighbour is not None and bool(_neighbour.end_is_explained())
