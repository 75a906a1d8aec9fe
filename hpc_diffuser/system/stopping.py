"""Signals and the time limit that ask a run to stop.

They set a flag. The search reads it between evaluations, so that what was computed is saved. Long
work of which nothing can be saved is done where the request is an error at once. Not everywhere:
an error inside the import of a C++ library crashes the process.

Installed before anything heavy is imported: a signal during imports would kill the job. The
second one stops at once.

Signals are the main thread's, and a caller's handlers are the caller's: where the program is a
function of a larger one, it puts back what it found; off the main thread it leaves them alone.
"""

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hpc_diffuser.system.errors import StoppedError

SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)

_AGAIN_S = 0.05

_requested: list[int] = []
_at_once = False
_deadline = math.inf  # by the monotonic clock, where no alarm can be set


@contextmanager
def signals_as_found() -> Iterator[None]:
    """Afterwards handlers, timer and hook are what they were, and no request is left over."""
    global _deadline
    handlers = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGALRM)}
    timer, begun, hook = signal.getitimer(signal.ITIMER_REAL), time.monotonic(), sys.unraisablehook
    try:
        yield
    finally:
        _requested.clear()
        _deadline = math.inf
        sys.unraisablehook = hook
        if _on_main_thread():
            _put_back(handlers, timer, time.monotonic() - begun)


def watch_signals(max_hours: float | None = None) -> None:
    """From now on USR1, TERM, INT, and the end of `max_hours`, ask for a clean stop."""
    global _deadline
    if not _on_main_thread():
        _deadline = math.inf if max_hours is None else time.monotonic() + 3600 * max_hours
        return
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, _note)
    sys.unraisablehook = _raise_again
    if max_hours is not None:
        signal.setitimer(signal.ITIMER_REAL, 3600 * max_hours)


def stop_requested() -> bool:
    """True once a signal has come, or the time is up."""
    return bool(_requested) or time.monotonic() > _deadline


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
    if not _on_main_thread():
        return
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def refuse_if_stopped() -> None:
    """Raise StoppedError if a signal has come, or the time is up."""
    if stop_requested():
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


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _put_back(
    handlers: Mapping[signal.Signals, Any], timer: tuple[float, float], elapsed: float
) -> None:
    """Handlers as they were; an alarm that was set comes when it would have come."""
    left = max(timer[0] - elapsed, _AGAIN_S) if timer[0] else 0.0
    signal.setitimer(signal.ITIMER_REAL, 0.0)  # none while there may be no handler for it
    for number, handler in handlers.items():
        if handler is not None:  # None: not Python's, and untouched as far as Python can
            signal.signal(number, handler)
    signal.setitimer(signal.ITIMER_REAL, left, timer[1])
