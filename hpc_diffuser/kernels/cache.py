"""A folder for compiled kernels, also where neither installation nor home can be written.

Numba keeps them beside their source or in the user's cache, and refuses to load a kernel where
it may write to neither: in a container, or with a site's installation and no home on the nodes.
What it finds in the folder it runs, so nobody else may write there.
"""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import numba

from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.launcher import launched_rank
from hpc_diffuser.system.progress import log

_VARIABLE = "NUMBA_CACHE_DIR"
_NAMES = 10  # that are tried: others may have taken some, by mistake or on purpose


def provide_cache() -> None:
    """See that numba has a folder for what it compiles; a temporary one if there is no other.

    It has the same name in every process of a user: what one rank of a node has compiled, the
    others load.

    Raises
    ------
    InputError
        Where none can be had.
    """
    if _numba_finds_one():
        return
    folder = private_folder(_temporary())
    if folder is None:
        raise InputError(
            "no folder for compiled kernels: this installation, the home and the temporary folder "
            f"cannot be written, or are open to others: set {_VARIABLE} to a folder of your own"
        )
    os.environ[_VARIABLE] = str(folder)  # for the processes that this one starts, too
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # set at run time
    if launched_rank() == 0:
        log(
            f"compiled kernels go to {folder}, as neither this installation nor a home can be "
            f"written; to keep them longer, set {_VARIABLE} to a folder of your own"
        )


def private_folder(parent: Path) -> Path | None:
    """A folder in `parent` that only this user may enter, made or found; None if there is none."""
    user = os.geteuid()
    for number in range(_NAMES):
        folder = parent / f"hpc-diffuser-{user}{f'-{number}' if number else ''}"
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            if _is_private(folder.lstat(), user) and _keeps_names(parent.stat(), user):
                tempfile.TemporaryFile(dir=folder).close()
                return folder
    return None


def _is_private(found: os.stat_result, user: int) -> bool:
    """True for a folder, and no link to one, that is the user's and closed to all others."""
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == user
    return ours and not found.st_mode & 0o077


def _keeps_names(parent: os.stat_result, user: int) -> bool:
    """True where nobody else can put another folder in the place of ours."""
    trusted = parent.st_uid in (0, user)
    return trusted and bool(not parent.st_mode & 0o022 or parent.st_mode & stat.S_ISVTX)


def _numba_finds_one() -> bool:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~")
    if not os.path.isabs(home):  # numba would make a folder of the name ~ in the working folder
        beside = os.path.join(os.path.dirname(__file__), "__pycache__")
        chosen = numba.config.CACHE_DIR  # type: ignore[attr-defined]  # set at run time
        return any(map(_writable, (chosen, beside)))
    try:
        numba.njit(cache=True)(_probe)
    except RuntimeError:
        return False
    return True


def _writable(folder: str) -> bool:
    if not folder:
        return False
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return True
    return False


def _probe() -> None:
    """A kernel that is never compiled: numba looks for its folder when it is decorated."""


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path(os.devnull)
