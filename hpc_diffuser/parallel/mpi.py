"""The MPI library: found, asked whether it belongs to the launcher, started.

The only module that imports mpi4py, and that only where MPI is used: a program that no launcher
started never touches it. Nothing else is imported here that takes time.
"""

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.launcher import launched_size, launching_mpi

# Called as MPI is about to start, where it may wait for ever, and when all ranks are there.
before_start: list[Callable[[], None]] = []
after_start: list[Callable[[], None]] = []


def start_mpi() -> Any:
    """MPI's communicator of all ranks; once, and only under a launcher.

    Raises
    ------
    InputError
        Where the launcher does not belong to the library.
    """
    for tell in before_start:
        tell()
    MPI = _library()
    library = MPI.Get_library_version()
    if not may_start(launching_mpi(), library):
        raise _every_ranks(
            f"{launching_mpi()}'s mpirun started {launched_size()} ranks, but the MPI library that "
            f"mpi4py found is {library_name(library)}: {remedy(library)}"
        )
    MPI.Init_thread()
    comm = MPI.COMM_WORLD
    if comm.Get_size() == 1 and launched_size() > 1:
        raise _every_ranks(
            f"the launcher started {launched_size()} ranks, but each sees itself as rank 0 of 1: "
            "the launcher does not belong to the MPI library that mpi4py found, "
            f"{library_name(library)}: {remedy(library)}"
        )
    for tell in after_start:
        tell()
    return comm


def _library() -> Any:
    """MPI, loaded but not started: under another MPI's launcher its start may end the process."""
    try:
        import mpi4py

        mpi4py.rc.initialize, mpi4py.rc.finalize = False, True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a launcher that it suspects: we look ourselves
            from mpi4py import MPI
    except (ImportError, RuntimeError) as exc:
        raise _every_ranks(
            f"{launched_size() or 'several'} ranks were started, but mpi4py finds no MPI library "
            f"({str(exc).splitlines()[0]}): load the site's MPI module, or install "
            "hpc-diffuser[mpi] and use its mpirun"
        ) from exc
    return MPI


def may_start(launcher: str | None, library: str) -> bool:
    """False where a launcher and a library cannot understand each other.

    Parameters
    ----------
    launcher : {"Open MPI", "MPICH"} or None
        None if it is not certain whose it is.
    library : str
        As `Get_library_version` tells. MPICH tells with what options it was built: with PMIx it
        understands Open MPI's launcher. Others that are built on it do not tell.
    """
    if launcher == "Open MPI":
        return not library.startswith("MPICH") or "pmix" in library.lower()
    return launcher is None or not library.startswith("Open MPI")


def library_name(library: str) -> str:
    """The library in a few words: "MPICH Version: 5.0.2", "Open MPI v5.0.11"."""
    return " ".join(library.splitlines()[0].split(",")[0].split())


def remedy(library: str) -> str:
    """How to start ranks with this library."""
    own = os.path.join(os.path.dirname(sys.executable), "mpirun")
    with_srun = "pmix" if library.startswith("Open MPI") else "pmi2"
    place = f", {own}" if os.path.exists(own) else ""
    return f"use that library's own mpirun{place}, or srun --mpi={with_srun}"


def _every_ranks(message: str) -> InputError:
    """An error that each rank finds by itself."""
    error = InputError(message)
    error.known_to_all = True
    return error


def mpi() -> Any:
    """The module, once it has been started."""
    from mpi4py import MPI

    return MPI


def byte() -> Any:
    """MPI's name of a byte."""
    return mpi().BYTE


def serialiser() -> Any:
    """mpi4py's, for messages between our own ranks; never for files."""
    return mpi().Pickle()
