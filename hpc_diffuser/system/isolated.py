"""Native readers run in a child process: a crash of theirs is one line, not a dead job.

Parsers written in C crash, hang or ask for all memory there is on some damaged files. So none of
them sees a user's file in this process. A child runs the readers under limits of memory, processor
time and wall time. It is asked by lines of JSON, and sends back named arrays: a line of JSON with
their names, types and shapes, then their bytes.

Where this process has one thread and nothing of MPI, the child is a copy of it, which is there at
once; else it is an interpreter of its own.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from hpc_diffuser.system import child
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.launcher import launched_size

# Far above what whole files need: an interpreter with its libraries takes 0.2 GB and a second,
# a text format's slowest reader 100 bytes of memory and 2 µs for each byte.
BASE_MEMORY, MEMORY_PER_BYTE = 2 << 30, 128
BASE_CPU_S, CPU_S_PER_BYTE = 20, 10e-6
WALL_PER_CPU = 30  # files come over networks; processors are shared

# Of MPI and of batch systems: the child must not think that it is a rank.
_LAUNCHERS = ("PMI", "OMPI_", "PRTE_", "MV2_", "MPI", "HYDRA", "HYDI", "PALS_", "FLUX_", "SLURM_")
# One thread: each would have buffers of its own, which count as memory.
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# With these a batch system warns all processes of a job. The parent knows what to do about them.
_WARNINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_SLOW = (signal.SIGXCPU, signal.SIGALRM)


Read = Callable[..., dict[str, np.ndarray]]


class Isolation:
    """A process of its own, in which readers run one after the other, until it is closed.

    Parameters
    ----------
    files : list of Path
        Their size sets the limits.
    subject : str
        The beginning of the message where reading ends in any way but an InputError of the
        reader itself: "modes.h5: could not be read as a modes file". It may be changed between
        two readers.

    Raises
    ------
    InputError
        Where a file is empty.
    """

    def __init__(self, files: list[Path], subject: str):
        for path in files:
            if path.stat().st_size == 0:
                raise InputError(f"{subject if len(files) == 1 else path}: empty file")
        size = sum(path.stat().st_size for path in files)
        cpu_s = BASE_CPU_S + int(CPU_S_PER_BYTE * size)
        self._files, self.subject = files, subject
        self._limits = {
            "parent": os.getpid(),
            "memory": BASE_MEMORY + MEMORY_PER_BYTE * size,
            "cpu_s": cpu_s,
            "wall_s": WALL_PER_CPU * cpu_s,
        }
        self._child = _start(self._limits)

    def run(self, read: Read | str, *arguments: Any) -> dict[str, np.ndarray]:
        """What `read(*files, *arguments)` returns there.

        Parameters
        ----------
        read : callable or str
            A function of a module, which the child imports; "package.module.function" where
            this process need not.
        arguments
            Plain values, as JSON holds them.

        Returns
        -------
        dict of str → array
            Numbers or text, no objects.

        Raises
        ------
        InputError
            The reader's own, or one that tells of its crash, its hunger or its slowness.
        """
        place = read if isinstance(read, str) else f"{read.__module__}.{read.__qualname__}"
        call = {"read": place, "arguments": [*map(str, self._files), *arguments]}
        answer = self._answer(call)
        if "arrays" in answer:
            return answer["arrays"]
        if answer.get("ours"):
            raise InputError(answer["failure"])
        reason = answer.get("failure") or _end(self._child.returncode, self._limits)
        raise InputError(f"{self.subject}: {reason}")

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        """What the child says; nothing where it has ended."""
        try:
            self._child.stdin.write(json.dumps(call).encode() + b"\n")
            self._child.stdin.flush()
            return _receive(self._child.stdout, self._limits["memory"])
        except (EOFError, ValueError, BrokenPipeError):
            self.close()
            return {}
        except BaseException:
            self._child.kill()
            self.close()
            raise

    @property
    def has_ended(self) -> bool:
        """Whether the child has crashed, or was let go: it can be asked no more."""
        return self._child.returncode is not None

    def close(self) -> None:
        """Let the child go, and wait for its end."""
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(BrokenPipeError):  # of what it has not read
                pipe.close()
        self._child.wait()

    def __enter__(self) -> "Isolation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_isolated(
    read: Read, files: list[Path], subject: str, *arguments: Any
) -> dict[str, np.ndarray]:
    """What `read(*files, *arguments)` returns in a process of its own; see `Isolation`.

    Parameters
    ----------
    read : Read
        A function of a module, which the child imports.
    files : list of Path
        Their size sets the limits.
    subject : str
        The beginning of the message where reading ends in any way but an InputError of the
        reader itself: "modes.h5: could not be read as a modes file".
    arguments
        Plain values, as JSON holds them.

    Returns
    -------
    dict of str → array
        Numbers or text, no objects.

    Raises
    ------
    InputError
        The reader's own, or one that tells of its crash, its hunger or its slowness.
    """
    with Isolation(files, subject) as isolation:
        return isolation.run(read, *arguments)


def require_file(path: Path, expected: str) -> None:
    """Raise InputError unless a file is there that can be opened."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file: expected a {expected}")
        path.open("rb").close()
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}: expected a {expected}") from exc


class _Child(Protocol):
    """What is asked of a child, however it was made."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    returncode: int | None

    def kill(self) -> None: ...

    def wait(self) -> int: ...


class _Copy:
    """A child that is a copy of this process."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes]):
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self.returncode is None:
            try:
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:  # the caller has all children's ends ignored
                self.returncode = 0
        return self.returncode


def _start(limits: dict[str, Any]) -> _Child:
    """The child, in whose eyes no launcher exists, and which no warning reaches."""
    # The child inherits the mask: at no moment can a signal meant for the program end it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WARNINGS)
    try:
        return _copy(limits) if _may_copy() else _interpreter(limits)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _may_copy() -> bool:
    """Whether a copy can work: other threads' locks would be held in it for ever."""
    if sys.platform != "linux" or "mpi4py" in sys.modules or launched_size() != 1:
        return False
    return len(os.listdir("/proc/self/task")) == 1


def _copy(limits: dict[str, Any]) -> _Child:
    asked, ask = os.pipe()
    answered, answer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            for name in [name for name in os.environ if name.startswith(_LAUNCHERS)]:
                del os.environ[name]
            child.serve_as_copy(limits, asked, answer)
        finally:
            os._exit(1)  # never back into the caller's program
    os.close(asked)
    os.close(answer)
    return _Copy(pid, open(ask, "wb"), open(answered, "rb"))


def _interpreter(limits: dict[str, Any]) -> _Child:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_LAUNCHERS)} | _THREADS
    # What this process can import, in this order; nothing from the working folder besides.
    environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
    command = [sys.executable, "-P", "-m", "hpc_diffuser.system.child", json.dumps(limits)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _receive(pipe: IO[bytes], most: int) -> dict[str, Any]:
    """The child's answer.

    Raises
    ------
    EOFError, ValueError
        Where it ends early, or is none.
    """
    answer = json.loads(pipe.readline())
    if "failure" in answer:
        return answer
    arrays = {}
    for name, dtype, shape in answer["arrays"]:
        array = _empty(np.dtype(dtype), tuple(shape), most)
        most -= array.nbytes
        _fill(pipe, array)
        arrays[name] = array
    return {"arrays": arrays}


def _empty(dtype: np.dtype, shape: tuple[int, ...], most: int) -> np.ndarray:
    if dtype.kind not in "biufU" or dtype.itemsize * np.prod(shape, dtype=object) > most:
        raise ValueError(f"an array of type {dtype} and shape {shape}")
    return np.empty(shape, dtype)


def _fill(pipe: IO[bytes], array: np.ndarray) -> None:
    rest = memoryview(array.reshape(-1).view(np.uint8) if array.nbytes else b"")
    while len(rest):
        count = pipe.readinto(rest)
        if not count:
            raise EOFError
        rest = rest[count:]


def _end(code: int | None, limits: dict[str, Any]) -> str:
    """How a child ended without an answer, as a message tells it."""
    code = code or 0
    if -code in _SLOW:
        seconds = limits["cpu_s"] if -code == signal.SIGXCPU else limits["wall_s"]
        return f"its reader was not done after {seconds} s: the file is damaged: make it again"
    if -code == signal.SIGKILL:
        return "its reader was killed, as where memory runs out: the file is damaged, or too large"
    if code < 0:
        name = signal.Signals(-code).name
        return f"its reader crashed ({name}): the file is damaged: make it again"
    return f"its reader ended early, with code {code}"
