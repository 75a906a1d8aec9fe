"""One small HDF5 file for each restart: all that its search has learned. Arrays and text only."""

from pathlib import Path

import h5py
import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.storage import read_hdf5, require_format, write_hdf5
from hpc_diffuser.search.history import ACQUISITIONS, Hedge, History


def checkpoint_path(directory: Path, restart: int) -> Path:
    """Where a restart's history is kept."""
    return directory / f"restart_{restart:04d}.h5"


def write_checkpoint(path: Path, history: History) -> None:
    """Replace a restart's file in one step."""

    def fill(file: h5py.File) -> None:
        file.attrs.update(format="hpc-diffuser/checkpoint", version=1)
        file["points"] = history.points
        file["objectives"] = history.objectives
        file["hedge_gains"] = history.hedge.gains
        file["hedge_candidates"] = history.hedge.candidates
        file["kernel_theta"] = history.hedge.theta

    write_hdf5(path, fill)


def read_checkpoint(path: Path) -> History:
    """A restart's history.

    Raises
    ------
    InputError
        Where the file is not a readable checkpoint.
    """
    try:
        return read_hdf5(path, "checkpoint", _read)
    except InputError as exc:
        raise InputError(f"{exc}: remove the file to begin this restart again") from exc


def _read(file: h5py.File) -> History:
    require_format(file, "checkpoint")
    history = History(
        file["points"][()],
        file["objectives"][()],
        Hedge(*(file[name][()] for name in ("hedge_gains", "hedge_candidates", "kernel_theta"))),
    )
    hedge = history.hedge
    arrays = (history.points, history.objectives, hedge.gains, hedge.candidates, hedge.theta)
    n, d = len(history.objectives), history.points.shape[-1]
    m = ACQUISITIONS if len(hedge.theta) else 0  # both come with the first surrogate
    shapes = [a.shape for a in arrays]
    expected = [(n, d), (n,), (ACQUISITIONS,), (m, d), (1 + d if m else 0,)]
    if shapes != expected or not all(np.isfinite(a).all() for a in arrays):
        raise InputError("the checkpoint is damaged")
    return history
