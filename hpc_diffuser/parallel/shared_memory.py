"""Memory that the ranks of a node share: a file in memory that has lost its name.

MPI's own shared windows would do, but their files outlive a job that is killed.
"""

import mmap
import os
import tempfile

FOLDER = "/dev/shm"


def new_segment(n_bytes: int) -> str | None:
    """A file in memory, with room for so many bytes; None where there is no such room."""
    path = None
    try:
        handle, path = tempfile.mkstemp(prefix="hpc-diffuser-", dir=FOLDER)
        with os.fdopen(handle, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, n_bytes)  # a full one would crash when written to
    except OSError:
        if path is not None:
            os.unlink(path)
        return None
    return path


def mapped(path: str | None, n_bytes: int) -> memoryview | None:
    """The file's memory; None without a file."""
    if path is None:
        return None
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), n_bytes))
