"""One writer at a time in a run directory: a file that names its owner."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpc_diffuser.system.errors import RunInUseError, StorageError
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.storage import discard, write_temporary


@contextmanager
def run_lock(directory: Path, break_lock: bool = False) -> Iterator[None]:
    """Own a run directory for the time of the `with` block.

    A lock whose owner is known to be gone is taken over: a process of this host that has ended, a
    SLURM job that has ended or been requeued.

    Parameters
    ----------
    directory : Path
    break_lock : bool
        Take over whatever lock there is: the user knows that its owner is dead.

    Raises
    ------
    RunInUseError
        Naming the owner's host, process and job.
    """
    path, record = directory / "lock", json.dumps(own_record()).encode()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(directory):
            if break_lock:
                _remove(path, _content(path))
            _take(path, record)
    except OSError as exc:
        raise StorageError(f"{path}: could not be written ({exc.strerror})") from exc
    try:
        yield
    finally:
        _release(path, record)


def read_owner(directory: Path) -> dict[str, str | int] | None:
    """What the lock of a run directory says: host, pid, started, job, restart; None without.

    An unreadable lock is of an unknown host.
    """
    content = _content(directory / "lock")
    return None if content is None else _owner(content)


def _owner(content: bytes) -> dict[str, str | int]:
    try:
        owner = json.loads(content)
        return {
            "host": str(owner["host"]),
            "pid": int(owner["pid"]),
            "started": int(owner["started"]),
            "job": str(owner["job"]),
            "restart": int(owner["restart"]),
        }
    except (ValueError, KeyError, TypeError, OverflowError):
        return {"host": "an unknown host", "pid": 0, "started": 0, "job": "", "restart": 0}


def owner_text(owner: dict[str, str | int]) -> str:
    """`process 17 on node3, job 4711`."""
    job = f", job {owner['job']}" if owner["job"] else ""
    return f"process {owner['pid']} on {owner['host']}{job}"


def owner_lives(owner: dict[str, str | int], patience_s: float = 10.0) -> bool | None:
    """False where the owner is known to be gone, as far as can be seen from this host.

    None where SLURM, which would know, does not answer in time.
    """
    us = own_record()
    if owner["host"] == us["host"]:
        return _start_time(int(owner["pid"])) == owner["started"]
    if not owner["job"]:
        return True
    if owner["job"] == us["job"]:
        return owner["restart"] == us["restart"]  # else the job was requeued, and runs here now
    return _job_runs(str(owner["job"]), patience_s)


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Processes of this host judge and take over a dead owner's lock one after the other."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _take(path: Path, record: bytes) -> None:
    """Make the lock, whole from its first moment: an empty one would name no owner."""
    while True:
        temporary = write_temporary(path, record)
        try:
            os.link(temporary, path)
            return
        except FileExistsError:
            found = _content(path)
            _refuse_living_owner(path.parent, found)
            _remove(path, found)
        except FileNotFoundError:
            continue  # a new owner has tidied up before us, see `remove_leftovers`
        finally:
            discard(temporary)


def _content(path: Path) -> bytes | None:
    """What a lock holds: nothing, if it cannot be read; None without one."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def _remove(path: Path, judged: bytes | None) -> None:
    """Remove the lock that was judged, and not what another node has put in its place since.

    Of all who rename a file one gets it, and can then see what it is. On this host there is only
    one at a time.
    """
    aside = path.with_name(f".lock.{socket.gethostname()}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    if _content(aside) != judged:
        with suppress(FileExistsError):
            os.link(aside, path)
    os.unlink(aside)


def _release(path: Path, record: bytes) -> None:
    """Remove the lock if it still is our own.

    Where that fails, what the run ended with, an error perhaps, counts more.
    """
    try:
        if _content(path) == record:
            path.unlink(missing_ok=True)
    except OSError as exc:
        log(f"{path}: could not be removed ({exc.strerror}); the next job takes it over")


def own_record() -> dict[str, str | int]:
    """This process as a lock names it."""
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _start_time(os.getpid()),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "restart": int(restarts) if restarts.isdigit() else 0,
    }


def _refuse_living_owner(directory: Path, content: bytes | None) -> None:
    if content is None or owner_lives(owner := _owner(content)) is False:
        return
    raise RunInUseError(
        f"{directory} is in use by {owner_text(owner)}: wait for it to end; if it is surely dead, "
        "start once with --break-lock"
    )


def _job_runs(job: str, patience_s: float) -> bool | None:
    """What SLURM says about a job; True where it cannot be asked, None where it does not answer.

    One that waits in the queue has ended before: it was requeued.
    """
    squeue = shutil.which("squeue")
    if squeue is None:
        return True
    command = [squeue, "--noheader", "--format=%T", f"--jobs={job}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=patience_s)
    except subprocess.TimeoutExpired:
        return None
    except OSError:
        return True
    if answer.returncode:
        return "Invalid job id" not in answer.stderr  # SLURM has forgotten it: long over
    return bool(set(answer.stdout.split()) - {"PENDING"})


def _start_time(pid: int) -> int:
    """Clock ticks from boot to the process's start, which tells a reused pid; 0 if it is gone."""
    try:
        # The command name, in brackets, may hold spaces: count the fields after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0
    # A zombie has ended; only its parent has not asked yet how.
    return 0 if fields[0] in "ZX" else int(fields[19])
