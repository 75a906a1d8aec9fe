"""Tasks dealt to groups, with mail that goes from list to list instead of through MPI."""

import time
from collections import deque

import pytest

from hpc_diffuser.parallel import task_queue as module
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.task_queue import DONE, WAIT, Caller, Desk, dealer
from hpc_diffuser.system.errors import SilentRankError


@pytest.fixture(autouse=True)
def no_naps(monkeypatch):
    """Nobody waits for anybody in one process."""
    monkeypatch.setattr(module, "_NAP_S", 0.0)


class Post(Ranks):
    """A rank whose mail lies in lists that all of them share."""

    def __init__(self, rank: int, boxes: dict[int, deque]):
        super().__init__()
        self.rank, self._boxes = rank, boxes

    def post(self, value, to):
        """Into the other's box."""
        self._boxes.setdefault(to, deque()).append((value, self.rank))

    def mail(self):
        """From the own box; for the callers, the desk looks into its own first."""
        box = self._boxes.setdefault(self.rank, deque())
        return box.popleft() if box else None


def office(n_others: int, tasks) -> tuple[Desk, list[Caller], list]:
    """A desk on rank 0, callers on ranks 1, 2, ...; and the reports that were noted."""
    boxes: dict[int, deque] = {}
    notes: list = []
    desk = Desk(Post(0, boxes), range(1, n_others + 1), tasks, notes.append)
    callers = []
    for rank in range(1, n_others + 1):
        world = Post(rank, boxes)
        read = world.mail
        # Whenever a caller looks for its answer, the desk has had time to look at its mail.
        world.mail = lambda read=read: (desk.told_to_stop(), read())[1]
        callers.append(Caller(world))
    return desk, callers, notes


def test_alone():
    """One group takes the tasks in order, and is done."""
    desk, _, notes = office(0, [4, 7])
    assert [desk.next_task(False) for _ in range(3)] == [4, 7, DONE]
    desk.report("how far")
    assert notes == ["how far"]


def test_each_task_goes_to_one_group():
    """Whoever asks gets the next one; who asks more often gets more."""
    desk, (one, two), _ = office(2, range(6))
    taken = [one.next_task(False), desk.next_task(False), two.next_task(False)]
    taken += [two.next_task(False), two.next_task(False), one.next_task(False)]
    assert taken == list(range(6))


def test_nobody_leaves_before_all_are_free():
    """A group without work waits for the others: afterwards all make the final map together.

    The desk itself counts too: only when it asks for work is it free.
    """
    desk, (one, two), _ = office(2, [0])
    assert one.next_task(False) == 0
    assert two.next_task(False) == WAIT
    assert desk.next_task(False) == WAIT
    assert two.next_task(False) == WAIT
    assert one.next_task(False) == WAIT
    assert desk.next_task(False) == WAIT  # now knows that all are free
    assert one.next_task(False) == DONE
    assert desk.next_task(False) == WAIT
    assert two.next_task(False) == DONE
    assert desk.next_task(False) == DONE


def test_reports_reach_the_desk():
    """In order, none lost, though a caller never waits for the answer to a report."""
    _, (one,), notes = office(1, [0])
    one.next_task(False)
    for i in range(5):
        one.report(i)
    one.next_task(False)
    assert notes == list(range(5))


@pytest.mark.parametrize("first", ["desk", "caller"])
def test_one_that_stops_stops_all(first):
    """Wherever the signal came: all are told, and nobody gets another task."""
    desk, (one, two), _ = office(2, range(100))
    one.next_task(False), two.next_task(False)
    asked = desk if first == "desk" else one
    assert asked.next_task(True) == WAIT
    two.report("working")
    assert two.told_to_stop() and desk.told_to_stop()
    found = [d.next_task(True) for _ in range(4) for d in (desk, one, two)]
    assert set(found) == {WAIT, DONE} and found[-3:].count(DONE) >= 1
    assert desk.next_task(True) == DONE


def test_silence_is_noticed_on_both_sides(monkeypatch):
    """A root that does not report, a desk that does not answer: named, with what to do."""
    boxes: dict[int, deque] = {}
    desk = Desk(Post(0, boxes), [1], [0, 1], print)
    caller = Caller(Post(1, boxes))
    caller.report("how far")
    for side in (desk, caller):
        side._world.patience_s = 10.0
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 20.0)
    with pytest.raises(SilentRankError, match=r"rank 0 has not answered for 10 s.*patience_s"):
        caller.told_to_stop()
    desk._answer_mail()  # it had written in time
    monkeypatch.setattr(time, "monotonic", lambda: now + 40.0)
    with pytest.raises(SilentRankError, match="rank 1 "):
        desk.told_to_stop()


def test_rank_0_is_the_desk():
    """And every other root calls."""
    assert isinstance(dealer(Post(0, {}), [0, 2], [], print), Desk)
    assert isinstance(dealer(Post(2, {}), [0, 2], [], print), Caller)
