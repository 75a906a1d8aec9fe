"""One small HDF5 file for each restart: all that its search has learned. Arrays and text only.

After the HDF5 content comes a line with its SHA-256, which HDF5 readers ignore. A file that was cut
short, or has a wrong bit anywhere, is known as damaged before any parser sees it; then the one
before it, which is kept, takes its place. Anybody can compute a checksum, though: a right one says
nothing of who wrote the file, which may hold no more than any other that we read.
"""

import hashlib
import io
from pathlib import Path

import h5py
import numpy as np

from hpc_diffuser.fit.search.history import ACQUISITIONS, Hedge, History
from hpc_diffuser.io.hdf5 import Arrays, hdf5_image, require_format
from hpc_diffuser.io.hdf5_content import hdf5_arrays
from hpc_diffuser.system.errors import InputError, StorageError
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.storage import write_bytes

_ARRAYS = ("points", "objectives", "hedge_gains", "hedge_candidates", "kernel_theta")
_CC = "cc_work"  # where the objectives are not 1 − CC
_STAGES, _ENDED = _OF_STAGES = ("stage_starts", "@ended")
# What reading an HDF5 file of any content may end with.
_UNREADABLE = (InputError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


def checkpoint_path(directory: Path, restart: int) -> Path:
    """Where a restart's history is kept."""
    return directory / f"restart_{restart:04d}.h5"


def previous_path(path: Path) -> Path:
    """Where a checkpoint is kept when it has been replaced: one evaluation behind."""
    return path.with_suffix(".previous.h5")


def write_checkpoint(path: Path, history: History) -> None:
    """Replace a restart's file in one step, and keep the old one as the previous."""

    def fill(file: h5py.File) -> None:
        file.attrs.update(format="hpc-diffuser/checkpoint", version=1)
        for name, array in zip(_ARRAYS, _arrays(history), strict=True):
            file[name] = array
        if history.cc_work is not None:
            file[_CC] = history.cc_work
        if history.stage_starts or history.ended:  # of searches that know stages alone
            file[_STAGES] = np.array(history.stage_starts, np.int64)
            file.attrs["ended"] = int(history.ended) + int(history.stands_still)

    image = hdf5_image(fill)
    write_bytes(path, image + _seal(image), previous_path(path))


def read_checkpoint(path: Path) -> History:
    """A restart's history.

    Raises
    ------
    FileNotFoundError
        Where there is none.
    InputError
        Where the file is not a whole checkpoint.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}: expected a checkpoint") from exc
    image, seal = data[: -len(_seal(b""))], data[-len(_seal(b"")) :]
    if seal != _seal(image):
        raise InputError(f"{path}: damaged: its checksum is not that of its content")
    try:
        names = ["@format", "@version", *_ARRAYS, _CC, *_OF_STAGES]
        return _history(hdf5_arrays(io.BytesIO(image), names))
    except _UNREADABLE as exc:
        raise InputError(f"{path}: not a checkpoint: {exc}") from exc


def read_restart(directory: Path, restart: int) -> tuple[History | None, list[Path]]:
    """The newest readable history of a restart, and the damaged files; changes nothing.

    A run may be going on: between two renames there is for a moment only the previous file.
    """
    damaged: list[Path] = []
    newest = checkpoint_path(directory, restart)
    for path in (newest, previous_path(newest)):
        try:
            return read_checkpoint(path), damaged
        except FileNotFoundError:
            continue
        except InputError:
            damaged.append(path)
    return None, damaged


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint, so that nothing is lost and nothing reads it again.

    Raises
    ------
    StorageError
        Where it cannot be renamed.
    """
    number = 1
    while (aside := path.with_suffix(f".damaged-{number}")).exists():
        number += 1
    try:
        path.rename(aside)
    except OSError as exc:
        raise StorageError(
            f"{path}: damaged, and could not be renamed to {aside.name} ({exc.strerror}): "
            "remove the cause, then run the same command again"
        ) from exc
    log(f"{path}: damaged; kept as {aside.name}, and the restart goes on from what is before it")


def _seal(image: bytes) -> bytes:
    return f"\nsha256 {hashlib.sha256(image).hexdigest()}\n".encode()


def _arrays(history: History) -> tuple[np.ndarray, ...]:
    hedge = history.hedge
    return history.points, history.objectives, hedge.gains, hedge.candidates, hedge.theta


def _history(found: Arrays) -> History:
    require_format(found, "checkpoint")
    arrays = [found[name] for name in _ARRAYS]
    points, objectives, *of_hedge = arrays
    starts = [int(start) for start in found.get(_STAGES, ())]
    ended = int(found.get(_ENDED, 0))  # 2 of a search that stands still
    hedge = Hedge(*of_hedge)
    history = History(
        points, objectives, hedge, found.get(_CC), tuple(starts), ended > 0, ended > 1
    )
    hedge = history.hedge
    n, d = len(history.objectives), history.points.shape[-1]
    m = ACQUISITIONS if len(hedge.theta) else 0  # both come with the first surrogate
    shapes = [a.shape for a in arrays]
    expected = [(n, d), (n,), (ACQUISITIONS,), (m, d), (1 + d if m else 0,)]
    if history.cc_work is not None:
        arrays.append(history.cc_work)
        shapes.append(history.cc_work.shape)
        expected.append((n,))
    if shapes != expected or not all(np.isfinite(a).all() for a in arrays):
        raise InputError(f"arrays of shapes {shapes}, expected {expected} and finite numbers")
    if starts != sorted({*starts} & {*range(1, n)}):
        raise InputError(f"stages begin at {starts}, expected rows of {n} in their order")
    return history
