"""One writer at a time in a run directory: a file that names its owner."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpc_diffuser.errors import RunInUseError, StorageError


@contextmanager
def run_lock(directory: Path) -> Iterator[None]:
    """Own a run directory for the time of the `with` block.

    A lock left by a process of this host that is gone is taken over.

    Raises
    ------
    RunInUseError
        Naming the owner's host, process and job.
    """
    path = directory / "lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(directory):
            _take(path)
    except OSError as exc:
        raise StorageError(f"{path}: could not be written ({exc.strerror})") from exc
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Processes of this host judge and take over a dead owner's lock one after the other."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _take(path: Path) -> None:
    owner = json.dumps(_self()).encode()
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            _refuse_living_owner(path)
            path.unlink(missing_ok=True)
            continue
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(owner)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return


def _self() -> dict[str, str | int]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _start_time(os.getpid()),
        "job": os.environ.get("SLURM_JOB_ID", ""),
    }


def _refuse_living_owner(path: Path) -> None:
    try:
        owner = json.loads(path.read_text())
        pid, host, job = int(owner["pid"]), owner["host"], owner["job"]
        started = owner["started"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        pid, host, job, started = 0, "an unknown host", "", 0
    if host == socket.gethostname() and _start_time(pid) != started:
        return
    job_text = f", job {job}" if job else ""
    raise RunInUseError(
        f"{path.parent} is in use by process {pid} on {host}{job_text}: wait for it to end; "
        f"if it is surely dead, remove {path}"
    )


def _start_time(pid: int) -> int:
    """Clock ticks from boot to the process's start, which tells a reused pid; 0 if it is gone."""
    try:
        # The command name, in brackets, may hold spaces: count the fields after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0
    return int(fields[19])
