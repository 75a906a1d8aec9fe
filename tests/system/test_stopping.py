"""Requests to stop: a flag, or where nothing can be saved an error at once."""

import os
import signal
import subprocess
import sys
import time
import weakref

import pytest
from conftest import HANG_S

from hpc_diffuser.system import stopping
from hpc_diffuser.system.errors import StoppedError
from hpc_diffuser.system.stopping import (
    refuse_if_stopped,
    stop_requested,
    stops_at_once,
    watch_signals,
)


@pytest.fixture(autouse=True)
def own_handlers(monkeypatch):
    """Handlers and flags as they were, after each test."""
    numbers = (*stopping.SIGNALS, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(stopping, "_requested", [])
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_it_is_noted(number):
    """The evaluation goes on to its end; then the search asks."""
    watch_signals()
    assert not stop_requested()
    signal.raise_signal(number)
    assert stop_requested()
    with pytest.raises(StoppedError, match="run again to resume") as caught:
        refuse_if_stopped()
    assert caught.value.exit_code == 75


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_where_nothing_can_be_saved_it_is_an_error(number):
    """There and then; and also if it came before."""
    watch_signals()
    with pytest.raises(StoppedError), stops_at_once():
        signal.raise_signal(number)
        pytest.fail("went on")
    with pytest.raises(StoppedError), stops_at_once():
        pytest.fail("went in")


def test_no_signal_no_error():
    """Nothing happens to a run that nobody stops."""
    watch_signals()
    refuse_if_stopped()
    assert not stop_requested()


def test_stop_inside_a_callback_whose_errors_are_ignored(capfd):
    """Python swallows what a handler raises there: it comes again, without a word before."""
    watch_signals()

    class Thing:
        pass

    def die(_reference: object) -> None:
        signal.raise_signal(signal.SIGUSR1)

    thing = Thing()
    reference = weakref.ref(thing, die)
    with pytest.raises(StoppedError), stops_at_once():
        del thing
        assert reference() is None and stop_requested()
        time.sleep(HANG_S)
        pytest.fail("went on")
    assert not capfd.readouterr().err


def test_time_limit():
    """`--max-hours` is a signal that the program sends itself."""
    watch_signals(max_hours=0.05 / 3600)
    with pytest.raises(StoppedError), stops_at_once():
        time.sleep(HANG_S)


def test_second_signal_ends_at_once():
    """Someone who asks twice means it: the process dies of the signal, whichever came first."""
    code = (
        "import signal; from hpc_diffuser.system import stopping as s\n"
        "s.watch_signals()\n"
        "signal.raise_signal(signal.SIGUSR1)\n"
        "signal.raise_signal(signal.SIGTERM)\n"
        "print('still here')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ)
    assert result.returncode == -signal.SIGTERM and not result.stdout


def test_the_end_is_not_disturbed():
    """A signal that comes when all is done and said: the exit code stays what it is."""
    code = (
        "import signal; from hpc_diffuser.system import stopping as s\n"
        "s.watch_signals(); s.ignore_signals()\n"
        "for number in s.SIGNALS: signal.raise_signal(number)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ)
    assert result.returncode == 0 and not result.stderr
