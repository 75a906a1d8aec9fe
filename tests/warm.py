"""Processes that need not import anything: forks of one that has imported it all.

Most of what a small command costs is the import of its libraries, a second or two each time. A
fork has its own memory, folder, environment, signals and streams, and ends with its own code, as
any process; only its import is missing. What depends on how that went (locales, places for
compiled kernels) or on a launcher starts cold: `_is_warm` tells them apart by their variables.
MPICH's ranks may be forks where that is asked for: its launcher speaks to a descriptor of theirs.

As a program, `warm.py SOCKET WORDS...` is the command `hpc-diffuser WORDS...` in such a fork, and
`warm.py SOCKET --rank WORDS...` (or `-c CODE` in place of words) a rank that a launcher started.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NoReturn

# Imports depend on these: a process that has others must have imports of its own.
_PYTHON = ("PYTHONHOME", "PYTHONHASHSEED", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONUNBUFFERED")
IMPORTED = (*_PYTHON, "LC_", "LANG", "LOCPATH", "NUMBA_", "MPI4PY", "LD_", "HOME", "XDG_", "MPL")
LAUNCHED = ("PMI", "OMPI_", "PRTE_", "MV2_", "MPI_LOCAL", "PALS_")
_AT_ANY_TIME = ("NUMBA_NUM_THREADS",)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # the program's own: one


# Nothing takes so long, however busy the machine: only what hangs. No test is about speed.
HANG_S = 1200.0


class ColdError(Exception):
    """What is asked for must import its libraries itself."""


class Forked:
    """A fork that does what it is asked for, as far as tests and `isolated` use a Popen.

    Parameters
    ----------
    server : str
        Its socket.
    request : dict
        "task": "command", "code" or "reader"; "words"; "folder"; "variables"; of a rank "launcher",
        the number that its launcher's descriptor has (None of a single one).
    streams : sequence of int
        Descriptors of its standard input, output and error, and its launcher's.

    Raises
    ------
    ColdError
        Where a fork would not do.
    """

    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None

    def __init__(self, server: str, request: dict[str, Any], streams: tuple[int, ...]):
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(server)
        # A message of one byte takes the descriptors along; what is asked for may be long.
        socket.send_fds(self._connection, [b"."], streams)
        self._answers = self._connection.makefile("rwb")
        self._answers.write(json.dumps(request).encode() + b"\n")
        self._answers.flush()
        self.pid = int(self._answers.readline())
        if not self.pid:
            self._hang_up()
            raise ColdError

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or minus the signal that ended it."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = os.waitstatus_to_exitcode(int(self._answers.readline()))
            except TimeoutError:
                self.kill()
                raise subprocess.TimeoutExpired("a forked process", timeout or 0) from None
            self._hang_up()
        return self.returncode

    def _hang_up(self) -> None:
        self._answers.close()
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdin, self.stdout):
            if pipe:
                pipe.close()
        self.wait()


def run_forked(
    server: str, words: list[str], folder: Path, variables: dict[str, str], timeout: float = HANG_S
) -> subprocess.CompletedProcess:
    """The command with these words, and what it has printed."""
    request = {"task": "command", "words": words, "folder": str(folder), "variables": variables}
    with (
        open(os.devnull) as nothing,
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
    ):
        streams = (nothing.fileno(), out.fileno(), err.fileno())
        code = Forked(server, request, streams).wait(timeout)
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def start_reader(server: str, request: dict[str, Any]) -> Forked:
    """What `isolated._start` does: a reader between two pipes, for calls and answers."""
    ours, its = os.pipe()
    calls, call = os.pipe()
    asked = {
        "task": "reader",
        "words": [json.dumps(request)],
        "folder": os.getcwd(),
        "variables": dict(os.environ),
        "path": [os.path.abspath(p) for p in sys.path],
    }
    answers, asking = open(ours, "rb"), open(call, "wb")  # noqa: SIM115
    try:
        forked = Forked(server, asked, (calls, its, 2))
    except ColdError:
        answers.close()
        asking.close()
        raise
    finally:
        os.close(its)
        os.close(calls)
    forked.stdin, forked.stdout = asking, answers
    return forked


def read_by_forks(server: Callable[[], str]) -> None:
    """Have native readers in this process run in forks of a server's, where that will do."""
    from hpc_diffuser.system import isolated

    cold = isolated._start

    def start(request: dict[str, Any]) -> Any:
        try:
            return start_reader(server(), request)
        except ColdError:
            return cold(request)

    isolated._start = start


def wait_for_no_disk() -> None:
    """Files are not forced to disk: no test loses power, and each that is written waits twice."""
    os.fsync = lambda descriptor: None


def write_script(server: str, path: Path) -> None:
    """A program for shells, which is `hpc-diffuser` in forks of this server's."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -SE "{__file__}" "{server}" "$@"\n')
    path.chmod(0o755)


class Server:
    """The process that is forked, for as long as this object is not closed.

    Parameters
    ----------
    readers : str or None
        The server that its forks' readers are forks of. None: this is one, with what readers need
        alone: a fork takes as long as its memory is large, a third of it.
    """

    def __init__(self, readers: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self.address = str(Path(self._folder.name) / "socket")
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", self.address, readers or self.address],
            env=os.environ | dict.fromkeys(_THREADS, "1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """End it, with the end of its input."""
        self.process.communicate()
        self._folder.cleanup()


# From here on: in the server.


def serve(address: str, readers: str) -> None:
    """Fork for every connection, until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if readers == address:
        _import_readers()
    else:
        _import_all()
    wait_for_no_disk()
    gc.freeze()  # what is there by now stays: the forks' collectors need not touch, and so copy, it
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    waiting = selectors.DefaultSelector()
    for source in (0, listener):
        waiting.register(source, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj == 0:
                return
            if key.fileobj is listener:
                _answer(listener.accept()[0], readers, waiting)
            elif key.data is not None:  # not one that was forgotten a moment ago
                key.data(waiting)


def _answer(connection: socket.socket, readers: str, waiting: selectors.BaseSelector) -> None:
    """Fork for what is asked, unless it must start cold."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 4)
    with connection.makefile("rb") as asked:
        request = json.loads(asked.readline())
    if not _is_warm(request):
        pid = 0
    elif (pid := os.fork()) == 0:
        _end(_run(request, streams, readers))
    for descriptor in streams:
        os.close(descriptor)
    _tell(connection, pid)
    if pid:
        ended = os.pidfd_open(pid)

        def bury(waiting: selectors.BaseSelector) -> None:
            """Tell how it ended."""
            _tell(connection, os.waitpid(pid, 0)[1])
            waiting.unregister(ended)
            os.close(ended)
            if connection in waiting.get_map():
                waiting.unregister(connection)
            connection.close()

        def end(waiting: selectors.BaseSelector) -> None:
            """A rank ends with the process that stands for it."""
            waiting.unregister(connection)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        waiting.register(ended, selectors.EVENT_READ, bury)
        if "launcher" in request:
            waiting.register(connection, selectors.EVENT_READ, end)
    else:
        connection.close()


def _import_readers() -> None:
    """What native readers need."""
    import importlib

    for name in ("h5py", "gemmi", "mdtraj"):
        importlib.import_module(name)
    for name in ("hdf5_content", "opened", "structures.files", "maps.files", "trajectories.native"):
        importlib.import_module(f"hpc_diffuser.io.{name}")
    importlib.import_module("hpc_diffuser.system.child")


def _import_all() -> None:
    """The libraries, and every module of the program."""
    import importlib
    import pkgutil

    import hpc_diffuser

    for name in ("numpy", "h5py", "gemmi", "mdtraj", "skopt", "matplotlib.figure"):
        importlib.import_module(name)
    for found in pkgutil.walk_packages(hpc_diffuser.__path__, "hpc_diffuser."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _tell(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is waiting any more
        connection.sendall(b"%d\n" % number)


def _is_warm(request: dict[str, Any]) -> bool:
    """True if the process that is asked for imports what this one has imported."""
    variables = request["variables"]
    launched = any(name.startswith(LAUNCHED) for name in variables)
    alone = not launched or request.get("launcher") is not None or request["task"] == "reader"
    return alone and _imported(variables) == _imported(dict(os.environ))


def _imported(variables: dict[str, str]) -> dict[str, str]:
    found = {k: v for k, v in variables.items() if k.startswith(IMPORTED)}
    return {k: v for k, v in found.items() if k not in _AT_ANY_TIME}


def _run(request: dict[str, Any], streams: list[int], readers: str) -> int:
    """Become the process that was asked for, and do its work; its exit code."""
    try:
        _become(request, streams)
        read_by_forks(lambda: readers)
        _work(request["task"], request["words"])
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _work(task: str, words: list[str]) -> None:
    if task == "reader":
        from hpc_diffuser.system import child

        sys.argv = ["child", json.dumps(json.loads(words[0]) | {"parent": os.getppid()})]
        child.main()
    elif task == "code":
        sys.argv = ["-c"]
        exec(compile(words[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        from hpc_diffuser.commands.main import run_program

        sys.argv = ["hpc-diffuser", *words]
        run_program()


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Its streams, folder and variables; everything else that the server has open is closed."""
    for number, descriptor in enumerate(streams[:3]):
        os.dup2(descriptor, number)
    kept = request.get("launcher") or 3
    if len(streams) > 3:
        os.dup2(streams[3], kept)
        os.closerange(3, kept)
    os.closerange(kept + (len(streams) > 3), 1024)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False)  # noqa: SIM115
        for number, mode in enumerate("rww")
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    sys.path[:] = request.get("path", sys.path)
    if "numba" in sys.modules:
        sys.modules["numba"].config.reload_config()


def _end(code: int) -> None:
    """Leave as an interpreter does, without taking everything apart."""
    import atexit

    atexit._run_exitfuncs()
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi and mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.Finalize()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def command(server: str, words: list[str]) -> int:
    """The command in a fork with this process's streams, folder and variables."""
    variables = dict(os.environ)
    request = {"task": "command", "words": words, "folder": os.getcwd(), "variables": variables}
    try:
        return Forked(server, request, (0, 1, 2)).wait()
    except ColdError:
        os.execv(sys.executable, [sys.executable, "-m", "hpc_diffuser", *words])


def rank(server: str, words: list[str]) -> NoReturn:
    """The same of a rank, or of a piece of code.

    MPICH's launcher is asked not to clean up (`-disable-auto-cleanup`): it kills ranks that leave a
    little later than the first. So it signals them instead.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    variables, task = dict(os.environ), "code" if words[0] == "-c" else "command"
    launcher = int(variables["PMI_FD"]) if "PMI_FD" in variables else None
    request = {"task": task, "folder": os.getcwd(), "variables": variables, "launcher": launcher}
    request["words"] = words[1:] if task == "code" else words
    streams = (0, 1, 2) if launcher is None else (0, 1, 2, launcher)
    try:
        forked = Forked(server, request, streams)
    except ColdError:
        cold = words if task == "code" else ["-m", "hpc_diffuser", *words]
        os.execv(sys.executable, [sys.executable, *cold])
    code = forked.wait()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)  # at once: an interpreter that is being taken apart ignores no signals


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(*sys.argv[2:])
    elif sys.argv[2] == "--rank":
        rank(sys.argv[1], sys.argv[3:])
    else:
        sys.exit(command(sys.argv[1], sys.argv[2:]))
