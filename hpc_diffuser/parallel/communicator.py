"""Messages between ranks; the only module that imports mpi4py.

A program that no launcher started is one rank, and never touches MPI. `Ranks` is the same
object then: with one rank every exchange is the identity.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hpc_diffuser.errors import DiffuserError, InputError
from hpc_diffuser.parallel.launcher import launched_size


class Ranks:
    """A group of processes that work together.

    Parameters
    ----------
    comm : mpi4py communicator, or None for a process on its own
    """

    def __init__(self, comm: Any = None):
        self._comm = comm
        self.rank: int = comm.Get_rank() if comm is not None else 0
        self.size: int = comm.Get_size() if comm is not None else 1

    @property
    def is_root(self) -> bool:
        """True on rank 0."""
        return self.rank == 0

    def split(self, colour: int) -> Ranks:
        """The ranks with the same colour, in the same order."""
        return self if self._comm is None else Ranks(self._comm.Split(colour, self.rank))

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value on every rank. The others sleep while they wait, and burn no core."""
        if self.size == 1:
            return value
        length = np.zeros(1, np.int64)
        payload = b""
        if self.is_root:
            payload = self._pickle().dumps(value)
            length[0] = len(payload)
        self._wait(self._comm.Ibcast(length))
        buffer = bytearray(payload) if self.is_root else bytearray(int(length[0]))
        self._wait(self._comm.Ibcast(buffer))
        return value if self.is_root else self._pickle().loads(buffer)

    def gather(self, value: Any) -> list[Any] | None:
        """Every rank's value on rank 0, in rank order; None elsewhere."""
        return [value] if self.size == 1 else self._comm.gather(value)

    def gather_to_all(self, value: Any) -> list[Any]:
        """Every rank's value on every rank, in rank order."""
        return [value] if self.size == 1 else self._comm.allgather(value)

    def all_true(self, value: bool) -> bool:
        """True if `value` is true on every rank."""
        return bool(value) if self.size == 1 else all(self._comm.allgather(bool(value)))

    def sum_as_tree(self, array: np.ndarray) -> np.ndarray | None:
        """Sum over a power of two of ranks, on rank 0; None elsewhere.

        Neighbours are added first, ((0+1)+(2+3)): the same order, hence the same bits, as when
        one rank adds all the parts as a binary tree. `MPI.Reduce` promises no order.
        """
        step = 1
        while step < self.size:
            if self.rank % (2 * step):
                self._comm.Send(array, self.rank - step)
                return None
            other = np.empty_like(array)
            self._comm.Recv(other, self.rank + step)
            array = array + other
            step *= 2
        return array

    def from_root(self, work: Callable[[], Any]) -> Any:
        """Rank 0's result of `work()` on every rank; its error, if any, is everyone's.

        The others sleep meanwhile.
        """
        result: Any = None
        error: DiffuserError | None = None
        if self.is_root:
            try:
                result = work()
            except DiffuserError as exc:
                error = exc
        if self.size == 1:
            if error:
                raise error
            return result
        result, error = self.broadcast((result, error))
        if error:
            error.known_to_all = True
            raise error
        return result

    def abort(self, code: int) -> None:
        """End every rank of the job at once."""
        if self._comm is not None and self.size > 1:
            self._comm.Abort(code)

    @staticmethod
    def _pickle() -> Any:
        """mpi4py's serialiser, for messages between our own ranks; never for files."""
        from mpi4py import MPI

        return MPI.pickle

    @staticmethod
    def _wait(request: Any) -> None:
        """Test, and sleep a little longer each time: a blocking wait would occupy a core."""
        pause = 1e-6
        while not request.Test():
            time.sleep(pause)
            pause = min(pause * 1.5, 5e-3)


_world: Ranks | None = None


def world() -> Ranks:
    """All ranks of the job. MPI starts here, once, and only under a launcher.

    Raises
    ------
    InputError
        Where the launcher started N processes, but MPI sees one: they would each do the whole
        job, into the same files.
    """
    global _world
    if _world is None:
        _world = Ranks() if launched_size() == 1 else Ranks(_start_mpi())
    return _world


def started() -> Ranks:
    """The world if MPI has been started, else this process alone: for handling errors."""
    return _world or Ranks()


def _start_mpi() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as exc:
        raise InputError(
            f"{launched_size() or 'several'} ranks were started, but mpi4py finds no MPI library "
            f"({str(exc).splitlines()[0]}): load the site's MPI module, or install "
            "hpc-diffuser[mpi] and use its mpirun"
        ) from exc
    comm = MPI.COMM_WORLD
    if comm.Get_size() == 1 and launched_size() > 1:
        raise InputError(
            f"the launcher started {launched_size()} ranks, but each sees itself as rank 0 of 1: "
            "the launcher does not belong to the MPI library that mpi4py found. Use that "
            "library's own mpirun, or srun --mpi=pmi2 (MPICH) or --mpi=pmix (Open MPI)"
        )
    return comm
