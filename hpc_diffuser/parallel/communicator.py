"""Messages between ranks; the only module that imports mpi4py.

A program that no launcher started is one rank, and never touches MPI. `Ranks` is the same
object then: with one rank every exchange is the identity.

Whoever waits sleeps, so as not to occupy the core that others compute on, and gives up when its
patience is at an end: a rank that hangs would otherwise hang the job until its time limit.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from hpc_diffuser.parallel.shared_memory import mapped, new_segment
from hpc_diffuser.parallel.watching.companion import mpi_has_started, mpi_is_starting
from hpc_diffuser.system.errors import DiffuserError, InputError, SilentRankError
from hpc_diffuser.system.launcher import launched_size, launching_mpi

PATIENCE_S = 1800.0  # until the config says otherwise
LONGEST_NAP_S = 2e-3
PASSED_ON_WITHIN_S = 0.2  # what a rank has told, by the launcher, before its own words
SHARED_FROM_BYTES = 1 << 20  # smaller arrays are not worth a place in a node's shared memory

_EXCHANGE, _MAIL = 1, 2  # tags: messages of collective exchanges, and those between two ranks


class Ranks:
    """A group of processes that work together.

    Parameters
    ----------
    comm : mpi4py communicator, or None for a process on its own
    patience_s : float
        How long to wait for another rank.

    Attributes
    ----------
    rank, size : int
    names : tuple of int
        Each rank's number in the whole job.
    """

    def __init__(self, comm: Any = None, patience_s: float = PATIENCE_S):
        self._comm = comm
        self.patience_s = patience_s
        self.rank: int = comm.Get_rank() if comm is not None else 0
        self.size: int = comm.Get_size() if comm is not None else 1
        self.names: tuple[int, ...] = tuple(range(self.size))
        self._outgoing: list[tuple[Any, bytes]] = []
        self._of_node: Ranks | None = None

    @property
    def is_root(self) -> bool:
        """True on rank 0."""
        return self.rank == 0

    def be_patient(self, seconds: float) -> None:
        """Wait so long for another rank from now on."""
        self.patience_s = seconds
        if self._of_node is not None:
            self._of_node.patience_s = seconds

    def split(self, colour: int) -> Ranks:
        """The ranks with the same colour, in the same order."""
        if self._comm is None:
            return self
        self.meet()
        part = Ranks(self._comm.Split(colour, self.rank), self.patience_s)
        part.names = tuple(self.names[i] for i in part.gather_to_all(self.rank))
        return part

    def meet(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            self._finish(self._comm.Ibarrier(), "one of " + self._named(range(self.size)))

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value on every rank."""
        if self.size == 1:
            return value
        if not self.is_root:
            return self._receive(0)
        payload = _pickle().dumps(value)
        requests = [self._send(payload, rank) for rank in range(1, self.size)]
        for rank, request in enumerate(requests, start=1):
            self._finish(request, self._named([rank]))
        return value

    def gather(self, value: Any) -> list[Any] | None:
        """Every rank's value on rank 0, in rank order; None elsewhere."""
        if self.is_root:
            return [value, *(self._receive(rank) for rank in range(1, self.size))]
        self._finish(self._send(_pickle().dumps(value), 0), self._named([0]))
        return None

    def gather_to_all(self, value: Any) -> list[Any]:
        """Every rank's value on every rank, in rank order."""
        if self.size == 1:
            return [value]
        others = "one of " + self._named(range(self.size))
        payload = _pickle().dumps(value)
        lengths = np.empty(self.size, np.int64)
        self._finish(self._comm.Iallgather(np.array([len(payload)]), lengths), others)
        ends = np.cumsum(lengths)
        whole = bytearray(int(ends[-1]))
        parts = [whole, lengths.tolist(), (ends - lengths).tolist(), _byte()]
        self._finish(self._comm.Iallgatherv([payload, _byte()], parts), others)
        view = memoryview(whole)
        return [_pickle().loads(view[end - n : end]) for n, end in zip(lengths, ends, strict=True)]

    def all_true(self, value: bool) -> bool:
        """True if `value` is true on every rank."""
        return all(self.gather_to_all(bool(value)))

    def sum_as_tree(self, array: np.ndarray) -> np.ndarray | None:
        """Sum over a power of two of ranks, on rank 0; None elsewhere.

        Neighbours are added first, ((0+1)+(2+3)): the same order, hence the same bits, as when
        one rank adds all the parts as a binary tree. `MPI.Reduce` promises no order.
        """
        step = 1
        while step < self.size:
            if self.rank % (2 * step):
                to = self.rank - step
                self._finish(self._comm.Isend(array, to, _EXCHANGE), self._named([to]))
                return None
            other = np.empty_like(array)
            source = self.rank + step
            self._finish(self._comm.Irecv(other, source, _EXCHANGE), self._named([source]))
            array = array + other
            step *= 2
        return array

    def from_root(self, work: Callable[[], Any]) -> Any:
        """Rank 0's result of `work()` on every rank, as `share` gives it.

        Its error, if any, is everyone's.
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
        result, error = self.share((result, error))
        if error:
            error.known_to_all = True
            raise error
        return result

    def once_per_node(self, work: Callable[[], Any]) -> None:
        """Do `work()` on rank 0; then, at once, on the first rank of each node; the others wait.

        What it leaves in a folder that all nodes see, rank 0 has left there; in a folder of each
        node, its first rank.
        """
        self.from_root(work)
        if self.size > 1 and self._node().is_root and not self.is_root:
            work()
        self.meet()

    def share(self, value: Any) -> Any:
        """Rank 0's value on every rank, its large arrays only once on each node, read-only."""
        if self.size == 1:
            return value
        pickle = _pickle()
        pickle.THRESHOLD = SHARED_FROM_BYTES
        payload, large = pickle.dumps_oob(value) if self.is_root else (b"", [])
        payload, sizes = self.broadcast((payload, [buffer.nbytes for buffer in large]))
        if not sizes:
            return value if self.is_root else pickle.loads(payload)
        place = self.shared_memory(sum(sizes))
        if place is None:
            return self.broadcast(value)
        ends = np.cumsum(sizes)
        pieces = [place[end - n : end] for n, end in zip(sizes, ends, strict=True)]
        leaders = self._node_leaders()
        if leaders is not None:
            for piece, buffer in zip(pieces, large or pieces, strict=True):
                if leaders.is_root:
                    piece[:] = memoryview(buffer).cast("B")
                leaders._broadcast_bytes(piece)
        self.meet()
        return pickle.loads_oob(payload, [piece.toreadonly() for piece in pieces])

    def shared_memory(self, n_bytes: int) -> memoryview | None:
        """Zeroed memory that all ranks of a node see; None where a node has no room for it.

        It has lost its name in the file system before anything is put into it.
        """
        node = self._node()
        place = None
        path = node.broadcast(new_segment(n_bytes) if node.is_root else None)
        with contextlib.suppress(OSError):
            place = mapped(path, n_bytes)
        node.meet()
        if node.is_root and path:
            os.unlink(path)
        return place if self.all_true(place is not None) else None

    def on_node(self) -> list[int]:
        """The ranks of this one's node."""
        return self._node().gather_to_all(self.rank)

    def post(self, value: Any, to: int) -> None:
        """Send a message to one rank, which reads it with `mail` when it likes."""
        payload = _pickle().dumps(value)
        self._outgoing = [(r, p) for r, p in self._outgoing if not r.Test()]
        self._outgoing.append((self._send(payload, to, _MAIL), payload))

    def mail(self) -> tuple[Any, int] | None:
        """The next message that has come, and the rank that sent it; None if there is none."""
        if self.size == 1:
            return None
        status = _mpi().Status()
        message = self._comm.Improbe(tag=_MAIL, status=status)
        if message is None:
            return None
        source = status.Get_source()
        return self._content(message, status, self._named([source])), source

    def abort(self, code: int) -> None:
        """End every rank of the job at once."""
        if self._comm is not None and self.size > 1:
            time.sleep(PASSED_ON_WITHIN_S)
            self._comm.Abort(code)

    def _named(self, ranks: Any) -> str:
        """Ranks as messages name them, with their numbers in the whole job."""
        names = [self.names[rank] for rank in ranks]
        return f"rank {names[0]}" if len(names) == 1 else f"ranks {names[0]} to {names[-1]}"

    def _send(self, payload: bytes, to: int, tag: int = _EXCHANGE) -> Any:
        return self._comm.Isend([payload, _byte()], to, tag)

    def _receive(self, source: int) -> Any:
        whom = self._named([source])
        status = _mpi().Status()
        # Rank 0 may itself be waiting for whoever is silent, and then knows better who it is.
        begun = time.monotonic() + (0.5 * self.patience_s if source == 0 else 0.0)
        message = self._until(lambda: self._comm.Improbe(source, _EXCHANGE, status), whom, begun)
        return self._content(message, status, whom)

    def _content(self, message: Any, status: Any, whom: str) -> Any:
        buffer = bytearray(status.Get_count(_byte()))
        self._finish(message.Irecv([buffer, _byte()]), whom)
        return _pickle().loads(buffer)

    def _broadcast_bytes(self, place: memoryview) -> None:
        self._finish(self._comm.Ibcast([place, _byte()]), self._named([0]))

    def _finish(self, request: Any, whom: str) -> None:
        self._until(request.Test, whom)

    def _until(self, come: Callable[[], Any], whom: str, since: float | None = None) -> Any:
        """Ask, and sleep a little longer each time: a blocking wait would occupy a core."""
        pause, begun = 1e-6, time.monotonic() if since is None else since
        while not (found := come()):
            time.sleep(pause)
            pause = min(pause * 1.2, LONGEST_NAP_S)
            self.refuse_silence(begun, whom)
        return found

    def refuse_silence(self, since: float, whom: str) -> None:
        """Raise SilentRankError if `whom` has not been heard of for too long.

        Parameters
        ----------
        since : float
            `time.monotonic()` of the last sign of life.
        whom : str
        """
        if time.monotonic() - since > self.patience_s:
            raise SilentRankError(
                f"{whom} has not answered for {self.patience_s:g} s: it hangs, or evaluations "
                "take longer and [run] patience_s should be raised; run again to resume"
            )

    def _node(self) -> Ranks:
        """The ranks that share memory with this one."""
        if self._of_node is None:
            self.meet()
            comm = self._comm.Split_type(_mpi().COMM_TYPE_SHARED, self.rank)
            self._of_node = Ranks(comm, self.patience_s)
        return self._of_node

    def _node_leaders(self) -> Ranks | None:
        """The first rank of each node, on those ranks."""
        leads = self._node().is_root
        self.meet()
        comm = self._comm.Split(0 if leads else _mpi().UNDEFINED, self.rank)
        return Ranks(comm, self.patience_s) if leads else None


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
    mpi_is_starting()
    MPI = _library()
    library = MPI.Get_library_version()
    if not _may_start(launching_mpi(), library):
        raise _every_ranks(
            f"{launching_mpi()}'s mpirun started {launched_size()} ranks, but the MPI library that "
            f"mpi4py found is {_name(library)}: {_remedy(library)}"
        )
    MPI.Init_thread()
    comm = MPI.COMM_WORLD
    if comm.Get_size() == 1 and launched_size() > 1:
        raise _every_ranks(
            f"the launcher started {launched_size()} ranks, but each sees itself as rank 0 of 1: "
            "the launcher does not belong to the MPI library that mpi4py found, "
            f"{_name(library)}: {_remedy(library)}"
        )
    mpi_has_started()
    return comm


def _library() -> Any:
    """MPI, loaded but not started: under another MPI's launcher its start may end the process."""
    try:
        import mpi4py

        mpi4py.rc.initialize, mpi4py.rc.finalize = False, True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a launcher that it suspects: we look ourselves
            from mpi4py import MPI
    except (ImportError, RuntimeError) as exc:
        raise _every_ranks(
            f"{launched_size() or 'several'} ranks were started, but mpi4py finds no MPI library "
            f"({str(exc).splitlines()[0]}): load the site's MPI module, or install "
            "hpc-diffuser[mpi] and use its mpirun"
        ) from exc
    return MPI


def _may_start(launcher: str | None, library: str) -> bool:
    """False where a launcher and a library cannot understand each other.

    Parameters
    ----------
    launcher : {"Open MPI", "MPICH"} or None
        None if it is not certain whose it is.
    library : str
        As `Get_library_version` tells. MPICH tells with what options it was built: with PMIx it
        understands Open MPI's launcher. Others that are built on it do not tell.
    """
    if launcher == "Open MPI":
        return not library.startswith("MPICH") or "pmix" in library.lower()
    return launcher is None or not library.startswith("Open MPI")


def _name(library: str) -> str:
    """The library in a few words: "MPICH Version: 5.0.2", "Open MPI v5.0.11"."""
    return " ".join(library.splitlines()[0].split(",")[0].split())


def _remedy(library: str) -> str:
    """How to start ranks with this library."""
    own = os.path.join(os.path.dirname(sys.executable), "mpirun")
    with_srun = "pmix" if library.startswith("Open MPI") else "pmi2"
    place = f", {own}" if os.path.exists(own) else ""
    return f"use that library's own mpirun{place}, or srun --mpi={with_srun}"


def _every_ranks(message: str) -> InputError:
    """An error that each rank finds by itself."""
    error = InputError(message)
    error.known_to_all = True
    return error


def _mpi() -> Any:
    from mpi4py import MPI

    return MPI


def _byte() -> Any:
    return _mpi().BYTE


def _pickle() -> Any:
    """mpi4py's serialiser, for messages between our own ranks; never for files."""
    return _mpi().Pickle()
