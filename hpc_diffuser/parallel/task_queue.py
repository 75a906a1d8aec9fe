"""Tasks dealt to groups of ranks, to each when it is free for the next.

Each group's root asks; the desk, on rank 0 of all, answers. That rank works too: it looks into its
mail between two evaluations, so a group may wait for one evaluation after each of its tasks.
Every message gets one answer. A root that computes does not wait for the answers to its reports,
but before the next report the last one must have been answered: so a desk that hangs is noticed.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from hpc_diffuser.parallel.communicator import Ranks

WAIT, DONE = -1, -2  # instead of a task: ask again; no more will come
_GO_ON, _STOP = -3, -4  # answers to a report
_NAP_S = 0.1


class Desk:
    """Deals the tasks, and hears how far they are; on rank 0.

    Parameters
    ----------
    world : Ranks
    others : iterable of int
        Roots of the other groups.
    tasks : iterable of int
        In this order.
    note : callable
        Called with each report, of this group and of others.
    """

    def __init__(
        self,
        world: Ranks,
        others: Iterable[int],
        tasks: Iterable[int],
        note: Callable[[Any], None],
    ):
        self._world = world
        self._tasks = deque(tasks)
        self._note = note
        self._heard = dict.fromkeys(others, time.monotonic())
        self._idle: set[int] = set()
        self._stopping = self._over = False

    def next_task(self, stopping: bool) -> int:
        """A task for this group, WAIT, or DONE once all groups are done.

        Parameters
        ----------
        stopping : bool
            This group has been asked to stop: nobody gets another task.
        """
        self._stopping |= stopping
        self._answer_mail()
        task = self._deal()
        if task != WAIT:
            return task
        self._over = self._idle >= set(self._heard)
        if not self._heard:
            return DONE
        time.sleep(_NAP_S)
        return WAIT

    def report(self, report: Any) -> None:
        """Tell how far this group is."""
        self._note(report)
        self._answer_mail()

    def told_to_stop(self) -> bool:
        """True once any group has been asked to stop."""
        self._answer_mail()
        return self._stopping

    def _deal(self) -> int:
        return self._tasks.popleft() if self._tasks and not self._stopping else WAIT

    def _answer_mail(self) -> None:
        while (letter := self._world.mail()) is not None:
            (free, reports, stopping), root = letter
            self._heard[root] = time.monotonic()
            self._stopping |= stopping
            for report in reports:
                self._note(report)
            self._world.post(self._next_of(root) if free else self._answer(), root)
        for root, since in self._heard.items():
            self._world.refuse_silence(since, f"rank {root}")

    def _answer(self) -> int:
        return _STOP if self._stopping else _GO_ON

    def _next_of(self, root: int) -> int:
        """What a free group does: nobody leaves before all are done, so that all leave together."""
        if self._over:
            del self._heard[root]
            return DONE
        task = self._deal()
        if task == WAIT:
            self._idle.add(root)
        return task


class Caller:
    """The same on another group's root, which asks the desk."""

    def __init__(self, world: Ranks):
        self._world = world
        self._reports: list[Any] = []  # not sent yet
        self._asked: float | None = None  # when, if no answer has come
        self._stopping = False

    def next_task(self, stopping: bool) -> int:
        """A task for this group, WAIT, or DONE; see `Desk`."""
        while self._asked is not None:
            self._read_answer()
            time.sleep(1e-3)
        self._ask(True, stopping)
        asked = time.monotonic()
        while (letter := self._world.mail()) is None:
            time.sleep(1e-3)
            self._world.refuse_silence(asked, "rank 0")
        self._asked = None
        task: int = letter[0]
        if task == WAIT:
            time.sleep(_NAP_S)
        return task

    def report(self, report: Any) -> None:
        """Tell the desk how far this group is, without waiting for its answer."""
        self._reports.append(report)
        self._read_answer()
        if self._asked is None:
            self._ask(False, False)

    def told_to_stop(self) -> bool:
        """True once the desk has passed on that all are to stop."""
        self._read_answer()
        return self._stopping

    def _ask(self, free: bool, stopping: bool) -> None:
        self._world.post((free, self._reports, stopping), 0)
        self._reports = []
        self._asked = time.monotonic()

    def _read_answer(self) -> None:
        if self._asked is None:
            return
        letter = self._world.mail()
        if letter is not None:
            self._asked = None
            self._stopping |= letter[0] == _STOP
        else:
            self._world.refuse_silence(self._asked, "rank 0")


Dealer = Desk | Caller


def dealer(
    world: Ranks, roots: list[int], tasks: Iterable[int], note: Callable[[Any], None]
) -> Dealer:
    """The desk on rank 0, a caller on other roots.

    Parameters
    ----------
    world : Ranks
    roots : list of int
        The groups' roots; the first is rank 0.
    tasks : iterable of int
        Not negative.
    note : callable
        Called on rank 0 with each report.
    """
    return Desk(world, roots[1:], tasks, note) if world.is_root else Caller(world)
