"""A rank that dies without a word, and the neighbour that speaks for it.

A process that is killed, or leaves by os._exit, tells nobody. Launchers end the job then, most of
them, but do not say which rank it was, nor what that means. So each rank holds a lock in the
memory of its node, and the next one has a thread asleep on it. Of a holder that dies the kernel
tells the sleeper, at once and before the launcher hears of it (robust mutexes, pthreads(7)).
"""

import contextlib
import ctypes
import errno
import os
import sys
import threading
import time

from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.watching.companion import WITHOUT_A_WORD, neighbour_is_watching
from hpc_diffuser.system.errors import DiffuserError

_SLOT = 64  # bytes for a mutex; glibc needs 40 at most
_PROCESS_SHARED = _ROBUST = 1
# Open MPI's launcher passes nothing on for so long after a death, but tells of an abort at once.
_PASSED_ON_WITHIN_S = 0.5
SET_UP_WITHIN_S = 60.0  # MPI's start has brought all ranks here; one that died since is not watched


class _Node:
    """The locks of a node's ranks, whether any rank has left, and whether one has said why.

    Parameters
    ----------
    memory : memoryview
        Shared and zeroed.
    """

    def __init__(self, memory: memoryview):
        self.ending, self.explained = memory[-1:], memory[-2:-1]
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self._pthread = ctypes.CDLL(None)
        self._own: ctypes.c_void_p | None = None

    def hold(self, place: int) -> None:
        """Make and take a rank's own lock; for as long as the calling thread lives."""
        kind = ctypes.create_string_buffer(_SLOT)
        self._own = self._lock(place)
        self._pthread.pthread_mutexattr_init(kind)
        self._pthread.pthread_mutexattr_setpshared(kind, _PROCESS_SHARED)
        self._pthread.pthread_mutexattr_setrobust(kind, _ROBUST)
        self._pthread.pthread_mutex_init(self._own, kind)
        self._pthread.pthread_mutex_lock(self._own)

    def let_go(self) -> None:
        """End the holding in good order."""
        self._pthread.pthread_mutex_unlock(self._own)

    def outlives(self, place: int) -> bool:
        """Sleep until a rank ends or lets go; True if it died."""
        found: int = self._pthread.pthread_mutex_lock(self._lock(place))
        return found == errno.EOWNERDEAD

    def _lock(self, place: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._base + _SLOT * place)


_node: _Node | None = None


def watch_neighbour(world: Ranks) -> None:
    """From now on, end the job if the next rank of this node ends without a word.

    Where ranks share no memory, the launcher's own care has to do.
    """
    usual = world.patience_s
    world.be_patient(SET_UP_WITHIN_S)
    _watch(world)
    world.be_patient(usual)


def _watch(world: Ranks) -> None:
    global _node
    ranks = world.on_node() if world.size > 1 else [0]
    # The nodes agree on this: all allocate, or none does.
    if world.size == 1 or not world.all_true(len(ranks) > 1):
        return
    memory = world.shared_memory(_SLOT * len(ranks) + 2)
    if memory is None:
        return
    _node = _Node(memory)
    place = ranks.index(world.rank)
    neighbour = (place + 1) % len(ranks)
    _node.hold(place)
    world.meet()
    threading.Thread(
        target=_speak_for, args=(world, _node, neighbour, ranks[neighbour]), daemon=True
    ).start()
    world.meet()
    neighbour_is_watching()


def leave_with_a_word() -> None:
    """Nobody need speak for this rank, which ends in good order or has said why it ends."""
    if _node is not None:
        _node.ending[0] = 1
        _node.let_go()


def have_explained() -> None:
    """This rank has said why the job ends."""
    if _node is not None:
        _node.explained[0] = 1


def end_is_explained() -> bool:
    """True if a rank of this node has said why the job ends."""
    return _node is not None and bool(_node.explained[0])


def _speak_for(world: Ranks, node: _Node, place: int, rank: int) -> None:
    if not node.outlives(place) or node.ending[0]:
        return
    node.ending[0] = node.explained[0] = 1
    message = f"hpc-diffuser: error (rank {rank} of {world.size}): {WITHOUT_A_WORD}\n"
    with contextlib.suppress(OSError, ValueError):  # nobody may be reading
        os.write(sys.stderr.fileno(), message.encode())
    time.sleep(_PASSED_ON_WITHIN_S)
    world.abort(DiffuserError.exit_code)
