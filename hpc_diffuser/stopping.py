"""Signals that ask a run to stop: they set a flag, which the search reads between evaluations.

Installed before anything heavy is imported: a signal during imports would kill the job. The
second one stops at once.
"""

import signal

_requested: list[int] = []


def watch_signals() -> None:
    """From now on USR1, TERM and INT ask for a clean stop."""
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _note)


def stop_requested() -> bool:
    """True once a signal has come."""
    return bool(_requested)


def _note(number: int, _frame: object) -> None:
    _requested.append(number)
    # What a second one does is what it did before this program looked after it.
    signal.signal(number, signal.SIG_DFL)
