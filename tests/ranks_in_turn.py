"""Many ranks in one process, one after the other: for what has the same bits on any number."""

import threading
from itertools import pairwise

import numpy as np
from warm import HANG_S

from hpc_diffuser.parallel.communicator import Ranks


class Turns:
    """What ranks have in common: only one of them runs at a time, until it has to wait."""

    def __init__(self, size):
        self.size, self.turn, self.boards = size, 0, {}
        self.sent = [0] * size  # bytes, to other ranks
        self.changed = threading.Condition()

    def meet(self, rank, number, value):
        """Every rank's value, once all have come to their meeting of that number."""
        with self.changed:
            board = self.boards.setdefault(number, {})
            board[rank] = value
            self.turn = (rank + 1) % self.size
            self.changed.notify_all()
            self.changed.wait_for(lambda: len(board) == self.size and self.turn == rank)
            return [board[other] for other in range(self.size)]


class RankInTurn(Ranks):
    """One of them: `Ranks` as far as models and scores use it."""

    def __init__(self, turns, rank):
        super().__init__()
        self._turns, self.rank, self.size, self._meetings = turns, rank, turns.size, 0

    def gather_to_all(self, value):
        self._meetings += 1
        return self._turns.meet(self.rank, self._meetings, value)

    def gather(self, value):
        every = self.gather_to_all(value)
        return every if self.is_root else None

    def broadcast(self, value):
        return self.gather_to_all(value)[0]

    share = broadcast

    def all_true(self, value):
        return all(self.gather_to_all(bool(value)))

    def concatenated(self, array, lengths):
        every = self.gather_to_all(np.ravel(array))
        self._turns.sent[self.rank] += every[self.rank].nbytes * (self.size - 1)
        assert [len(part) for part in every] == list(lengths)
        return np.concatenate(every)

    def concatenated_on_root(self, array, lengths):
        whole = self.concatenated(array, lengths)
        return whole if self.is_root else None

    def exchanged(self, array, to_ranks, from_ranks):
        starts = np.cumsum([0, *to_ranks])
        assert starts[-1] == array.size
        parts = [array.ravel()[a:b] for a, b in pairwise(starts)]
        away = [part.nbytes for rank, part in enumerate(parts) if rank != self.rank]
        self._turns.sent[self.rank] += sum(away)
        mine = [given[self.rank] for given in self.gather_to_all(parts)]
        assert [len(part) for part in mine] == list(from_ranks)
        return np.concatenate(mine)


def on_ranks(size, work):
    """work(group) of every rank: the results in the order of the ranks, and bytes each sent."""
    turns, found, errors = Turns(size), [None] * size, []

    def run(rank):
        with turns.changed:
            turns.changed.wait_for(lambda: turns.turn == rank)
        try:
            found[rank] = work(RankInTurn(turns, rank))
        except BaseException as error:
            errors.append(error)
        with turns.changed:
            turns.turn = (rank + 1) % size
            turns.changed.notify_all()

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
        if errors:
            raise errors[0]
    return found, turns.sent
