"""What can be seen of files: the kernels' cache, locks, writing, room."""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

from hpc_diffuser.commands.checks.finding import Finding
from hpc_diffuser.system.errors import DiffuserError, InputError
from hpc_diffuser.system.memory import MB
from hpc_diffuser.system.storage import write_bytes

LEAST_DISK_MB = 1024.0
SLOW_WRITE_S = 0.5  # a checkpoint is written after every evaluation
SHARED_FOLDER = Path("/dev/shm")
_RISKY = {
    "overlay": "an overlay, as in a container: what is compiled may be lost with it",
    "nfs": "NFS: many nodes starting at once are slow there",
    "nfs4": "NFS: many nodes starting at once are slow there",
}


def of_folder(folder: Path) -> list[Finding]:
    """What can be seen of files: the kernels' cache, locks, writing, room."""
    return [kernel_cache(), locks(folder), writing(folder), room(folder)]


def kernel_cache() -> Finding:
    """Where compiled kernels are kept, and whether they are there."""
    try:
        from hpc_diffuser.fit.compilation import kernel_cache_folder, kernels_compiled
    except InputError as exc:  # there is none at all
        return Finding("kernels", "no cache", str(exc))
    folder = kernel_cache_folder()
    compiled = kernels_compiled()
    state = "compiled" if compiled else "not compiled yet: half a minute at the first start"
    kind = file_system(folder)
    note = f"; {_RISKY[kind]}" if kind in _RISKY else ""
    text = f"{state}; {folder} ({kind}){note}"
    if compiled or _writable(folder):
        return Finding("kernels", text)
    problem = (
        f"kernels cannot be kept in {folder}, and every start would compile them again: set "
        "NUMBA_CACHE_DIR to a folder on scratch that all nodes see"
    )
    return Finding("kernels", text, problem)


def locks(folder: Path) -> Finding:
    """Whether a folder can be locked, as a run directory is; the HDF5 library's own locking."""
    from hpc_diffuser.io import hdf5

    setting = os.environ.get("HDF5_USE_FILE_LOCKING", "not set")
    text = f"HDF5 {hdf5.library_version()}, HDF5_USE_FILE_LOCKING {setting}; "
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Finding("locks", f"{text}somebody holds a lock here just now")
    except OSError as exc:
        problem = (
            f"{folder} cannot be locked ({exc.strerror}): run where files can be locked, or have "
            "the file system mounted with locks (Lustre: -o flock)"
        )
        return Finding("locks", f"{text}no locks here", problem)
    finally:
        os.close(handle)
    return Finding("locks", f"{text}this folder ({file_system(folder)}) can be locked")


def writing(folder: Path) -> Finding:
    """Write, sync and rename a file as large as a checkpoint, the way checkpoints are written."""
    seconds = []
    try:
        with tempfile.TemporaryDirectory(prefix=".hpc-diffuser-doctor-", dir=folder) as inside:
            for _ in range(3):
                began = time.perf_counter()
                write_bytes(Path(inside) / "checkpoint", bytes(64 * 1024))
                seconds.append(time.perf_counter() - began)
    except (OSError, DiffuserError) as exc:
        problem = f"nothing can be written in {folder}: {exc}"
        return Finding("writing", "fails", problem)
    typical = sorted(seconds)[1]
    text = f"a checkpoint takes {1000 * typical:.0f} ms (write, sync, rename)"
    problem = (
        f"writing here takes {typical:.1f} s, after every evaluation: run on a faster file system, "
        "such as scratch"
    )
    return Finding("writing", text, problem if typical > SLOW_WRITE_S else None)


def room(folder: Path) -> Finding:
    """Free space."""
    free = free_MB(folder)
    problem = f"{folder} has only {free:.0f} MB left: make room, or run elsewhere"
    text = f"{free / 1024:.0f} GB free in {folder}"
    return Finding("disk", text, problem if free < LEAST_DISK_MB else None)


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Kind of the file system that a path lies on: "ext4", "nfs4"; "unknown" where nobody says."""
    try:
        lines = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    except OSError:
        return "unknown"
    place = path.resolve()
    # The last of equally deep mounts lies on top.
    holding = [(Path(at), kind) for at, kind in lines if place.is_relative_to(at)]
    deepest = max(len(at.parts) for at, _ in holding) if holding else 0
    return next((k for at, k in reversed(holding) if len(at.parts) == deepest), "unknown")


def _writable(folder: Path) -> bool:
    """A folder in which a file can be made; one that is yet to be made, in its parent."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def free_MB(folder: Path) -> float:
    """Room on the file system of a folder; 0 where there is none."""
    try:
        return shutil.disk_usage(folder).free / MB
    except OSError:
        return 0.0
