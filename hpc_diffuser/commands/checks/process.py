"""What one rank sees: of its start, its process and its node."""

import faulthandler
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from threadpoolctl import threadpool_info

from hpc_diffuser import __version__
from hpc_diffuser.commands.checks.files import SHARED_FOLDER, free_MB
from hpc_diffuser.commands.checks.finding import Finding
from hpc_diffuser.fit.run.directory import cpu_model
from hpc_diffuser.parallel.communicator import Ranks, world
from hpc_diffuser.parallel.watching import watch
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.launcher import launched_size
from hpc_diffuser.system.memory import Limit, memory_limit_MB, process_limit_MB

PATIENCE_S = 60.0  # for MPI to start, and for ranks to answer
WAITING_S = 0.5
SIGNALS = ("SIGUSR1", "SIGTERM", "SIGINT")
PACKAGES = ("numpy", "scipy", "numba", "scikit-optimize", "h5py", "gemmi", "mdtraj", "mpi4py")
SLURM = ("JOB_ID", "JOB_NUM_NODES", "NTASKS", "CPUS_PER_TASK", "MEM_PER_CPU", "MEM_PER_NODE")
_LIBRARY = (
    "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
    "print(MPI.Get_library_version().splitlines()[0])"
)


@dataclass(frozen=True)
class RankFacts:
    """What one rank sees of its process and its node.

    Attributes
    ----------
    host, cpu : str
    cpus : tuple of int
        On which it may run.
    threads : int
        That numba will start.
    blas_threads : tuple of int
        Of every BLAS library loaded.
    blocked, ignored : tuple of str
        Signals.
    limit, process : Limit
    shared_MB : float
        Free in /dev/shm; 0 without.
    clock : float, s
        When all ranks had just met.
    waiting : float
        Part of a core used while waiting for rank 0.
    """

    host: str
    cpu: str
    cpus: tuple[int, ...]
    threads: int
    blas_threads: tuple[int, ...]
    blocked: tuple[str, ...]
    ignored: tuple[str, ...]
    limit: Limit
    process: Limit | None
    shared_MB: float
    clock: float
    waiting: float


def before_mpi() -> Iterator[Finding]:
    """What can be seen without other ranks."""
    yield Finding(
        "program", f"hpc-diffuser {__version__}, Python {platform.python_version()}, {sys.prefix}"
    )
    yield Finding("packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    yield slurm(dict(os.environ))
    yield library()
    yield watching()


def slurm(environment: dict[str, str]) -> Finding:
    """The job's variables; a step whose CPUs are fewer than the job asked for shows below."""
    found = {name: environment.get(f"SLURM_{name}") for name in SLURM}
    text = ", ".join(f"{name} {value}" for name, value in found.items() if value)
    tasks = found["NTASKS"] or ""
    alone = launched_size() == 1 and tasks.isdigit() and int(tasks) > 1
    note = f"; this is one process: srun starts {tasks}" if alone else ""
    return Finding("SLURM", f"{text}{note}" if text else "not in a job")


def library() -> Finding:
    """The MPI library that mpi4py finds, asked in a process of its own, which may crash."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _LIBRARY],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Finding("MPI library", f"not known ({type(exc).__name__})")
    if asked.returncode == 0 and asked.stdout.strip():
        return Finding("MPI library", " ".join(asked.stdout.split()))
    reason = (asked.stderr.strip().splitlines() or ["no message"])[-1]
    return Finding("MPI library", f"none ({reason[:120]}): one rank runs without, more do not")


def watching() -> Finding:
    """Whether ranks that die are watched for."""
    try:
        on = watch.is_on()
    except InputError as exc:
        return Finding("watch", "not known", str(exc))
    if on:
        return Finding(
            "watch",
            "each rank of a fit has a second process, and a neighbour that tells if it dies "
            f"({watch.SWITCH}=off where a site allows no second processes)",
        )
    return Finding(
        "watch",
        f"off ({watch.SWITCH}): a rank that dies is noticed by its launcher, or after patience_s",
    )


def start() -> tuple[Ranks, Finding]:
    """All ranks, or this process alone where they do not find each other."""
    launched = launched_size()
    if launched != 1:
        # MPI may wait for ever in compiled code, where only this still ends the process.
        faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    try:
        ranks = world()
    except InputError as exc:
        return Ranks(), Finding("ranks", f"{launched or 'several'} launched", str(exc))
    finally:
        faulthandler.cancel_dump_traceback_later()
    ranks.be_patient(PATIENCE_S)
    started = "no launcher" if launched == 1 else f"{launched or '?'} launched"
    differ = launched > 1 and launched != ranks.size
    problem = (
        f"the launcher started {launched} ranks, but MPI sees {ranks.size}: use the mpirun of the "
        "MPI library above, or srun --mpi=pmi2 (MPICH) or --mpi=pmix (Open MPI)"
    )
    return ranks, Finding("ranks", f"{started}, {ranks.size} seen", problem if differ else None)


def look(ranks: Ranks) -> RankFacts:
    """What this rank sees."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    threads = os.environ.get("NUMBA_NUM_THREADS", "")
    waiting = waiting_share(ranks)
    ranks.gather_to_all(None)
    return RankFacts(
        clock=time.time(),
        waiting=waiting,
        host=socket.gethostname(),
        cpu=cpu_model(),
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        threads=int(threads) if threads.isdigit() else 1,
        blas_threads=_blas_threads(),
        blocked=tuple(name for name in SIGNALS if getattr(signal, name) in blocked),
        ignored=tuple(
            name for name in SIGNALS if signal.getsignal(getattr(signal, name)) == signal.SIG_IGN
        ),
        limit=memory_limit_MB(),
        process=process_limit_MB(),
        shared_MB=free_MB(SHARED_FOLDER),
    )


def waiting_share(ranks: Ranks) -> float:
    """Part of a core that this rank uses while it waits for rank 0, which sleeps; 0 there."""
    ranks.gather_to_all(None)
    began, used = time.perf_counter(), time.process_time()
    if ranks.is_root:
        time.sleep(WAITING_S)
    ranks.broadcast(None)
    return (time.process_time() - used) / (time.perf_counter() - began)


def _blas_threads() -> tuple[int, ...]:
    import scipy.linalg  # noqa: F401  brings a BLAS of its own beside numpy's

    return tuple(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
