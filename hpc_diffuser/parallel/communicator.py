"""Messages between ranks.

A program that no launcher started is one rank, and never touches MPI. `Ranks` is the same
object then: with one rank every exchange is the identity.

Whoever waits sleeps, so as not to occupy the core that others compute on, and gives up when its
patience is at an end: a rank that hangs would otherwise hang the job until its time limit.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any

import numpy as np

from hpc_diffuser.parallel.decomposition import branch_of, branch_points, tree_height
from hpc_diffuser.parallel.mpi import byte, mpi, serialiser, start_mpi
from hpc_diffuser.parallel.shared_memory import mapped, new_segment
from hpc_diffuser.system.errors import DiffuserError, SilentRankError
from hpc_diffuser.system.launcher import launched_size

PATIENCE_S = 1800.0  # until the config says otherwise
LONGEST_NAP_S = 2e-3
PASSED_ON_WITHIN_S = 0.2  # what a rank has told, by the launcher, before its own words
SHARED_FROM_BYTES = 1 << 20  # smaller arrays are not worth a place in a node's shared memory
BUFFER_FROM_BYTES = 1 << 18  # smaller arrays travel with the object that they are part of

_EXCHANGE, _MAIL = 1, 2  # tags: messages of collective exchanges, and those between two ranks


class Ranks:
    """A group of processes that work together.

    Objects travel along a binary tree, to rank 0 or from it, and are pickled once; arrays travel
    as they are. `with ranks.split(...) as part` frees the part's communicator again.

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
        self._of_leaders: Ranks | None = None

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Of an error that not all ranks have, the others know nothing yet: the job is aborted.
        if error is None or getattr(error, "known_to_all", False):
            self.free()

    def free(self) -> None:
        """Give back what MPI keeps for these ranks; called by all of them or by none.

        They are of no use afterwards. MPI has room for some thousand communicators.
        """
        for own in (self._of_leaders, self._of_node, self):
            if own is not None and own._comm is not None:
                own.meet()
                own._comm.Free()
                own._comm = None

    @property
    def is_root(self) -> bool:
        """True on rank 0."""
        return self.rank == 0

    def be_patient(self, seconds: float) -> None:
        """Wait so long for another rank from now on."""
        for ranks in (self, self._of_node, self._of_leaders):
            if ranks is not None:
                ranks.patience_s = seconds

    def split(self, colour: int) -> Ranks:
        """The ranks with the same colour, in the same order; to be freed, see `free`."""
        if self._comm is None:
            return self
        self.meet()
        part = Ranks(self._comm.Split(colour, self.rank), self.patience_s)
        part.names = tuple(self.names[i] for i in part.gather_to_all(self.rank))
        return part

    def meet(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            self._finish(self._comm.Ibarrier(), self._anyone())

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value on every rank."""
        if self.size == 1:
            return value
        payload, large, sizes = self._pickled_once(value, BUFFER_FROM_BYTES)
        if not self.is_root:
            large = [memoryview(bytearray(size)) for size in sizes]
        for buffer in large:
            self._broadcast_bytes(buffer)
        return value if self.is_root else serialiser().loads_oob(payload, large)

    def gather(self, value: Any) -> list[Any] | None:
        """Every rank's value on rank 0, in rank order; None elsewhere.

        For large arrays see `concatenated_on_root`.
        """
        if self.size == 1:
            return [value]
        pickles = [serialiser().dumps(value)]
        for point in branch_points(self.rank, self.size):
            branch = branch_of(point, self.size)
            message = self._receive(point, self._one_of(branch), tree_height(len(branch)))
            pickles += _unbundled(message)
        if self.is_root:
            return [value, *map(serialiser().loads, pickles[1:])]
        parent = self.rank & (self.rank - 1)
        self._finish(self._send(_bundled(pickles), parent), self._named([parent]))
        return None

    def gather_to_all(self, value: Any) -> list[Any]:
        """Every rank's value on every rank, in rank order.

        For large arrays, and for what is done often, see `concatenated`.
        """
        if self.size == 1:
            return [value]
        payload = np.frombuffer(serialiser().dumps(value), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self._finish(self._comm.Iallgather(np.array([len(payload)]), lengths), self._anyone())
        whole = self.concatenated(payload, lengths.tolist())
        return [serialiser().loads(part) for part in np.split(whole, np.cumsum(lengths)[:-1])]

    def concatenated(self, array: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
        """Every rank's numbers on every rank, one rank's behind the other's: flat.

        Parameters
        ----------
        array : ndarray
            Of the same type on all ranks.
        lengths : sequence of int
            How many numbers each rank has, as `gather_to_all(array.size)` tells.
        """
        own = np.ascontiguousarray(array).reshape(-1)
        if self.size == 1:
            return own
        whole = np.empty(sum(lengths), own.dtype)
        starts = np.cumsum([0, *lengths[:-1]]).tolist()
        request = self._comm.Iallgatherv(own, [whole, (list(lengths), starts)])
        self._finish(request, self._anyone())
        return whole

    def concatenated_on_root(self, array: np.ndarray, lengths: Sequence[int]) -> np.ndarray | None:
        """The same on rank 0; None elsewhere.

        As many messages as of MPI's own Gatherv, but of a rank that is silent the name is known.
        """
        own = np.ascontiguousarray(array).reshape(-1)
        if self.size == 1:
            return own
        if not self.is_root:
            if own.size:
                self._finish(self._comm.Isend(own, 0, _EXCHANGE), self._named([0]))
            return None
        whole = np.empty(sum(lengths), own.dtype)
        parts = np.split(whole, np.cumsum(lengths)[:-1])
        parts[0][:] = own
        coming = {
            rank: self._comm.Irecv(part, rank, _EXCHANGE)
            for rank, part in enumerate(parts)
            if rank and part.size
        }
        for rank, request in coming.items():
            self._finish(request, self._named([rank]))
        return whole

    def exchanged(
        self, array: np.ndarray, to_ranks: Sequence[int], from_ranks: Sequence[int]
    ) -> np.ndarray:
        """What every rank has for this one, one rank's behind the other's: flat.

        Parameters
        ----------
        array : ndarray
            What this one has for rank 0, then for rank 1, ...; of the same type on all ranks.
        to_ranks, from_ranks : sequence of int
            How many numbers go to each rank, and how many come from each.
        """
        own = np.ascontiguousarray(array).reshape(-1)
        if self.size == 1:
            return own
        found = np.empty(sum(from_ranks), own.dtype)
        starts = [np.cumsum([0, *counts[:-1]]).tolist() for counts in (to_ranks, from_ranks)]
        request = self._comm.Ialltoallv(
            [own, (list(to_ranks), starts[0])], [found, (list(from_ranks), starts[1])]
        )
        self._finish(request, self._anyone())
        return found

    def all_true(self, value: bool) -> bool:
        """True if `value` is true on every rank."""
        if self.size == 1:
            return bool(value)
        least = np.empty(1, np.uint8)
        request = self._comm.Iallreduce(np.array([bool(value)], np.uint8), least, mpi().MIN)
        self._finish(request, self._anyone())
        return bool(least[0])

    def sum_as_tree(
        self, array: np.ndarray, among: Sequence[int] | None = None
    ) -> np.ndarray | None:
        """Sum over ranks, on the first of them; None elsewhere.

        Neighbours are added first, ((0+1)+(2+3)). Of a power of two of ranks that is the same
        order, hence the same bits, as when one rank adds all the parts as a binary tree.
        `MPI.Reduce` promises no order.

        Parameters
        ----------
        array : ndarray
        among : sequence of int or None
            The ranks that add theirs, this one among them; all of them by default.
        """
        ranks = range(self.size) if among is None else among
        place, step = ranks.index(self.rank), 1
        while step < len(ranks):
            if place % (2 * step):
                to = ranks[place - step]
                self._finish(self._comm.Isend(array, to, _EXCHANGE), self._named([to]))
                return None
            if place + step < len(ranks):
                other = np.empty_like(array)
                source = ranks[place + step]
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
        payload, large, sizes = self._pickled_once(value, SHARED_FROM_BYTES)
        if not sizes:
            return value if self.is_root else serialiser().loads(payload)
        place = self.shared_memory(sum(sizes))
        if place is None:
            return self.broadcast(value)
        ends = np.cumsum(sizes)
        pieces = [place[end - n : end] for n, end in zip(sizes, ends, strict=True)]
        leaders = self._node_leaders()
        if leaders is not None:
            for piece, buffer in zip(pieces, large or pieces, strict=True):
                if leaders.is_root:
                    piece[:] = buffer
                leaders._broadcast_bytes(piece)
        self.meet()
        return serialiser().loads_oob(payload, [piece.toreadonly() for piece in pieces])

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
        payload = serialiser().dumps(value)
        self._outgoing = [(r, p) for r, p in self._outgoing if not r.Test()]
        self._outgoing.append((self._send(payload, to, _MAIL), payload))

    def mail(self) -> tuple[Any, int] | None:
        """The next message that has come, and the rank that sent it; None if there is none."""
        if self.size == 1:
            return None
        status = mpi().Status()
        message = self._comm.Improbe(tag=_MAIL, status=status)
        if message is None:
            return None
        source = status.Get_source()
        return serialiser().loads(self._content(message, status, self._named([source]))), source

    def abort(self, code: int) -> None:
        """End every rank of the job at once."""
        if self._comm is not None and self.size > 1:
            time.sleep(PASSED_ON_WITHIN_S)
            self._comm.Abort(code)

    def _named(self, ranks: Any) -> str:
        """Ranks as messages name them, with their numbers in the whole job."""
        names = [self.names[rank] for rank in ranks]
        return f"rank {names[0]}" if len(names) == 1 else f"ranks {names[0]} to {names[-1]}"

    def _one_of(self, ranks: Any) -> str:
        """Ranks of which one is silent; from one alone it is known which."""
        return self._named(ranks) if len(ranks) == 1 else f"one of {self._named(ranks)}"

    def _anyone(self) -> str:
        return self._one_of(range(self.size))

    def _pickled_once(self, value: Any, threshold: int) -> tuple[Any, list[memoryview], list[int]]:
        """Rank 0's value, pickled, on every rank, without the arrays of so many bytes; their sizes.

        The arrays themselves are rank 0's alone.
        """
        message, large = b"", []
        if self.is_root:
            pickle = serialiser()
            pickle.THRESHOLD = threshold
            payload, buffers = pickle.dumps_oob(value)
            large = [memoryview(buffer).cast("B") for buffer in buffers]
            sizes = np.array([len(buffer) for buffer in large], np.int64)
            message = _bundled([payload, sizes.tobytes()])
        pickled, lengths = _unbundled(self._pass_down(message))
        return pickled, large, np.frombuffer(lengths, np.int64).tolist()

    def _pass_down(self, message: bytes | bytearray) -> bytes | bytearray:
        """Rank 0's message on every rank, along the tree."""
        if not self.is_root:
            message = self._from_parent()
        points = branch_points(self.rank, self.size)
        requests = {point: self._send(message, point) for point in reversed(points)}
        for point, request in requests.items():
            self._finish(request, self._named([point]))
        return message

    def _from_parent(self) -> bytearray:
        parent = self.rank & (self.rank - 1)
        above = [0, parent] if parent else [0]
        # Whoever is nearer to rank 0 knows better who is silent, and tells first. Rank 0 may itself
        # be waiting for whoever is silent.
        later = tree_height(self.size) + parent.bit_count()
        return self._receive(parent, self._one_of(above), later)

    def _send(self, payload: bytes | bytearray, to: int, tag: int = _EXCHANGE) -> Any:
        return self._comm.Isend([payload, byte()], to, tag)

    def _receive(self, source: int, whom: str, later: int) -> bytearray:
        """A message; patience is longer where `later` of the tree's floors lie between."""
        grace = 0.5 * self.patience_s * later / tree_height(self.size)
        status = mpi().Status()
        begun = time.monotonic() + grace
        message = self._until(lambda: self._comm.Improbe(source, _EXCHANGE, status), whom, begun)
        return self._content(message, status, whom)

    def _content(self, message: Any, status: Any, whom: str) -> bytearray:
        buffer = bytearray(status.Get_count(byte()))
        self._finish(message.Irecv([buffer, byte()]), whom)
        return buffer

    def _broadcast_bytes(self, place: memoryview) -> None:
        whom = self._anyone() if self.is_root else self._named([0])
        self._finish(self._comm.Ibcast([place, byte()]), whom)

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
            comm = self._comm.Split_type(mpi().COMM_TYPE_SHARED, self.rank)
            self._of_node = Ranks(comm, self.patience_s)
        return self._of_node

    def _node_leaders(self) -> Ranks | None:
        """The first rank of each node, on those ranks."""
        leads = self._node().is_root
        if self._of_leaders is None:
            self.meet()
            comm = self._comm.Split(0 if leads else mpi().UNDEFINED, self.rank)
            self._of_leaders = Ranks(comm if leads else None, self.patience_s)
        return self._of_leaders if leads else None


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
        _world = Ranks() if launched_size() == 1 else Ranks(start_mpi())
    return _world


def started() -> Ranks:
    """The world if MPI has been started, else this process alone: for handling errors."""
    return _world or Ranks()


def _bundled(parts: list[Any]) -> bytes:
    """Messages as one: how many, their lengths, themselves."""
    return b"".join([np.array([len(parts), *map(len, parts)], np.int64).tobytes(), *parts])


def _unbundled(message: Any) -> list[memoryview]:
    view = memoryview(message)
    n = int(np.frombuffer(view, np.int64, 1)[0])
    lengths = np.frombuffer(view, np.int64, n, offset=8).tolist()
    ends = np.cumsum([8 * (n + 1), *lengths]).tolist()
    return [view[begin:end] for begin, end in pairwise(ends)]
