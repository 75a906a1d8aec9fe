"""Signals and the time limit that ask a run to stop.

They set a flag. The search reads it between evaluations, so that what was computed is saved. Long
work of which nothing can be saved is done where the request is an error at once. Not everywhere:
an error inside the import of a C++ library crashes the process.

Installed before anything heavy is imported: a signal during imports would kill the job. The
second one stops at once.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpc_diffuser.errors import StoppedError

SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)

_AGAIN_S = 0.05

_requested: list[int] = []
_at_once = False


def watch_signals(max_hours: float | None = None) -> None:
    """From now on USR1, TERM, INT, and the end of `max_hours`, ask for a clean stop."""
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, _note)
    sys.unraisablehook = _raise_again
    if max_hours is not None:
        signal.setitimer(signal.ITIMER_REAL, 3600 * max_hours)


def stop_requested() -> bool:
    """True once a signal has come."""
    return bool(_requested)


@contextmanager
def stops_at_once() -> Iterator[None]:
    """Inside, a request raises StoppedError, there and then; one that has come before, too."""
    global _at_once
    _at_once = True
    try:
        refuse_if_stopped()
        yield
    finally:
        _at_once = False


def ignore_signals() -> None:
    """From now on the process ends anyhow, with the code that it has."""
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def refuse_if_stopped() -> None:
    """Raise StoppedError if a signal has come."""
    if _requested:
        raise StoppedError("stopped as asked; what was finished is saved: run again to resume")


def _raise_again(unraisable: Any) -> None:
    """A moment later, where a handler's error fell among those that Python has to ignore.

    So it does with all errors inside finalizers and callbacks of weak references.
    """
    if isinstance(unraisable.exc_value, StoppedError):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
    else:
        sys.__unraisablehook__(unraisable)


def _note(number: int, _frame: object) -> None:
    _requested.append(number)
    for each in SIGNALS:
        # What a second one does is what it did before this program looked after it.
        signal.signal(each, signal.SIG_DFL)
    if _at_once:
        refuse_if_stopped()
