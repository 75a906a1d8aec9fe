"""Native readers run in a child process: a crash of theirs is one line, not a dead job.

Parsers written in C crash, hang or ask for all memory there is on some damaged files. So none of
them sees a user's file in this process. A child interpreter runs the reader under limits of
memory, processor time and wall time, and sends back named arrays: a line of JSON with their names,
types and shapes, then their bytes.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from hpc_diffuser.system.errors import InputError

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


def run_isolated(
    read: Callable[..., dict[str, np.ndarray]], files: list[Path], subject: str, *arguments: Any
) -> dict[str, np.ndarray]:
    """What `read(*files, *arguments)` returns in a process of its own.

    Parameters
    ----------
    read : callable
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
    for path in files:
        if path.stat().st_size == 0:
            raise InputError(f"{subject if len(files) == 1 else path}: empty file")
    size = sum(path.stat().st_size for path in files)
    cpu_s = BASE_CPU_S + int(CPU_S_PER_BYTE * size)
    request = {
        "parent": os.getpid(),
        "memory": BASE_MEMORY + MEMORY_PER_BYTE * size,
        "cpu_s": cpu_s,
        "wall_s": WALL_PER_CPU * cpu_s,
        "module": read.__module__,
        "name": read.__qualname__,
        "arguments": [*map(str, files), *arguments],
    }
    with _start(request) as child:
        try:
            answer = _receive(child.stdout, request["memory"])
        except (EOFError, ValueError):
            answer = {}
        except BaseException:
            child.kill()
            raise
    if "arrays" in answer:
        return answer["arrays"]
    if answer.get("ours"):
        raise InputError(answer["failure"])
    raise InputError(f"{subject}: {answer.get('failure') or _end(child.returncode, request)}")


def require_file(path: Path, expected: str) -> None:
    """Raise InputError unless a file is there that can be opened."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file: expected a {expected}")
        path.open("rb").close()
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}: expected a {expected}") from exc


def _start(request: dict[str, Any]) -> subprocess.Popen:
    """The child, in whose eyes no launcher exists, and which no warning reaches."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_LAUNCHERS)} | _THREADS
    # What this process can import, in this order; nothing from the working folder besides.
    environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
    command = [sys.executable, "-P", "-m", "hpc_diffuser.system.child", json.dumps(request)]
    # The child inherits the mask: at no moment can a signal meant for the program end it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WARNINGS)
    try:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def _end(code: int, request: dict[str, Any]) -> str:
    """How a child ended without an answer, as a message tells it."""
    if -code in _SLOW:
        seconds = request["cpu_s"] if -code == signal.SIGXCPU else request["wall_s"]
        return f"its reader was not done after {seconds} s: the file is damaged: make it again"
    if -code == signal.SIGKILL:
        return "its reader was killed, as where memory runs out: the file is damaged, or too large"
    if code < 0:
        name = signal.Signals(-code).name
        return f"its reader crashed ({name}): the file is damaged: make it again"
    return f"its reader ended early, with code {code}"
