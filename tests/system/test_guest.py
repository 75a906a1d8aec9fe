"""`main()` as a function of a larger program: a script, a notebook, a thread, a test."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable

import pytest
from conftest import environment
from numba import get_num_threads
from threadpoolctl import threadpool_info

from hpc_diffuser.commands import fit, info, main
from hpc_diffuser.kernels.threads import one_thread
from hpc_diffuser.system import stopping
from hpc_diffuser.system.errors import StoppedError

HANDLED = (*stopping.SIGNALS, signal.SIGALRM)


def handler_of_the_caller(_number: int, _frame: object) -> None:
    """A handler that is not Python's own."""


def state() -> dict[str, object]:
    """What a caller would miss."""
    return {
        "handlers": [signal.getsignal(number) for number in HANDLED],
        "hooks": (sys.unraisablehook, sys.excepthook, threading.excepthook),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "filters": list(warnings.filters),
        "BLAS": [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"],
        "streams": (sys.stdout, sys.stderr, getattr(sys.stdout, "errors", None)),
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "stopped": stopping.stop_requested(),
    }


@pytest.fixture
def caller(project, monkeypatch) -> Callable[..., int]:
    """Call `main` as a program does whose signals are its own, and see that nothing changed."""
    for name in [name for name in environment() if name.startswith(("OMP_", "OPENBLAS_", "MKL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(project)
    before = {number: signal.signal(number, handler_of_the_caller) for number in HANDLED}

    def call(*words: str) -> int:
        found = state()
        with pytest.raises(SystemExit) as left:
            main.main(list(words))
        assert state() == found
        return left.value.code

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--version",), 0),
        (("nonsense",), 65),
        (("info", "map.nxs"), 0),
        (("info", "nothing.nxs"), 65),
        (("fit", "fit.toml"), 0),
        (("fit", "--max-hours", "1", "fit.toml"), 0),
        (("fit", "modes.h5"), 65),
    ],
)
def test_everything_is_as_found(caller, words, code):
    """However a command ends, and the second time too."""
    assert caller(*words) == code
    assert caller(*words) == code


def test_after_an_internal_error(caller, monkeypatch):
    """70, and everything as found."""
    monkeypatch.setattr(fit, "run", lambda options: 1 / 0)
    assert caller("fit") == 70


def test_alarm_of_the_caller(caller):
    """A time limit of its own is taken away with its alarm; one that was set before comes."""
    assert caller("fit", "--max-hours", "1", "fit.toml") == 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    signal.setitimer(signal.ITIMER_REAL, 3000.0, 7.0)
    try:
        assert caller("fit", "--max-hours", "1", "fit.toml") == 0
        left, again = signal.getitimer(signal.ITIMER_REAL)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    assert 0 < left <= 3000.0 and again == 7.0


def test_stopped_fit_can_go_on(caller, monkeypatch):
    """A request to stop ends one fit with 75, and not the next one."""
    whole = fit.watch_signals

    def watch_and_stop(max_hours):
        whole(max_hours)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(fit, "watch_signals", watch_and_stop)
    assert caller("fit", "fit.toml") == 75
    monkeypatch.setattr(fit, "watch_signals", whole)
    assert caller("fit", "fit.toml") == 0


def test_off_the_main_thread(caller):
    """There no handlers can be set; the fit is done without, and has its time limit."""
    codes = []

    def work(*words: str) -> None:
        with pytest.raises(SystemExit) as left:
            main.main(list(words))
        codes.append(left.value.code)

    found = state()
    for words in (("fit", "--max-hours", "1e-9", "fit.toml"), ("fit", "fit.toml")):
        thread = threading.Thread(target=work, args=words)
        thread.start()
        thread.join()
    assert codes == [75, 0]
    assert state() == found


def test_ctrl_c_where_nothing_can_be_saved(caller, monkeypatch, capsys):
    """Told in one line: not an internal error."""

    def interrupted(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupted)
    assert caller("info", "map.nxs") == StoppedError.exit_code
    assert capsys.readouterr().err == (
        "hpc-diffuser: error: stopped as asked; nothing is half-written: run it again\n"
    )


def test_figures_are_the_callers(caller):
    """A notebook's figures and its way to show them stay; ours are none of them."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.figure()
    try:
        before = pyplot.get_fignums(), pyplot.get_backend()
        assert caller("info", "map.nxs", "--png", "sections.png") == 0
        assert (pyplot.get_fignums(), pyplot.get_backend()) == before
    finally:
        pyplot.close("all")


NUMBA_AFTERWARDS = """
import numba, os, sys
from hpc_diffuser.commands.main import main
for words in (["fit", "fit.toml"], ["report", "--text", "run"]):
    try:
        main(words)
    except SystemExit as left:
        assert left.code == 0, left.code
@numba.njit(parallel=True)
def double(x):
    for i in numba.prange(len(x)):
        x[i] *= 2
    return x
import numpy as np
print(double(np.ones(3)).sum())
"""


@pytest.mark.parametrize("threads", [pytest.param("", marks=pytest.mark.slow), "1"])
def test_numba_still_compiles(project, threads):
    """Numba looks at its variables whenever it compiles, and refuses another number of threads.

    Here the batch system's number is not that of the processors, which is numba's own default.
    """
    result = subprocess.run(
        [sys.executable, "-c", NUMBA_AFTERWARDS],
        cwd=project,
        env=environment(SLURM_CPUS_PER_TASK=threads),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "6.0"


def test_time_of_a_deadline():
    """Without an alarm, the time is looked at where a request would be."""
    with stopping.signals_as_found():
        thread = threading.Thread(target=stopping.watch_signals, args=(0.0,))
        thread.start()
        thread.join()
        time.sleep(0.001)
        assert stopping.stop_requested()
        with pytest.raises(StoppedError):
            stopping.refuse_if_stopped()
    assert not stopping.stop_requested()


def test_bench_is_of_one_thread():
    """Whatever number numba has started, which no variable changes any more."""
    before = get_num_threads()
    with one_thread():
        assert get_num_threads() == 1
    assert get_num_threads() == before
