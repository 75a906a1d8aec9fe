"""The command `doctor`: what would go wrong in a job here, found before it is queued.

Every rank looks at its own process and node; rank 0 judges and tells. Nothing here may crash or
hang where something is broken: that is when it is asked.
"""

import faulthandler
import fcntl
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_info

from hpc_diffuser import __version__
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.run.directory import cpu_model
from hpc_diffuser.parallel.communicator import Ranks, world
from hpc_diffuser.system.errors import DiffuserError, InputError
from hpc_diffuser.system.launcher import launched_rank, launched_size
from hpc_diffuser.system.memory import MB, Limit, memory_limit_MB, process_limit_MB
from hpc_diffuser.system.storage import write_bytes
from hpc_diffuser.system.streams import say

PATIENCE_S = 60.0  # for MPI to start, and for ranks to answer
WAITING_S = 0.5
BUSY = 0.2  # of a core, which a waiting rank may use
LEAST_DISK_MB = 1024.0
LEAST_SHARED_MB = 60.0  # MPI's own; containers have 64 MB unless asked for more
SLOW_WRITE_S = 0.5  # a checkpoint is written after every evaluation
SKEW_S = 1.0
SHARED_FOLDER = Path("/dev/shm")
SIGNALS = ("SIGUSR1", "SIGTERM", "SIGINT")
PACKAGES = ("numpy", "scipy", "numba", "scikit-optimize", "h5py", "gemmi", "mdtraj", "mpi4py")
SLURM = ("JOB_ID", "JOB_NUM_NODES", "NTASKS", "CPUS_PER_TASK", "MEM_PER_CPU", "MEM_PER_NODE")
_RISKY = {
    "overlay": "an overlay, as in a container: what is compiled may be lost with it",
    "nfs": "NFS: many nodes starting at once are slow there",
    "nfs4": "NFS: many nodes starting at once are slow there",
}
_LIBRARY = (
    "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
    "print(MPI.Get_library_version().splitlines()[0])"
)


class Finding(NamedTuple):
    """One line of the page, and below it what is wrong there and what to do, if anything."""

    name: str
    text: str
    problem: str | None = None


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


def doctor_command(config: Path | None) -> None:
    """Examine this environment, and print what is found on rank 0.

    Parameters
    ----------
    config : Path or None
        A fit whose memory is predicted too.

    Raises
    ------
    InputError
        With the number of problems, if there are any; on all ranks.
    """
    page = Page(launched_rank() == 0)
    # One by one, before MPI starts: that is the likeliest to end in a crash.
    for finding in before_mpi() if page.shown else ():
        page.add(finding)
    ranks, finding = start()
    if ranks.size > 1:
        page.shown = ranks.is_root
    page.add(finding)
    facts = ranks.gather(look(ranks))
    if page.shown:
        for finding in (*of_ranks(facts), *of_folder(Path.cwd())):
            page.add(finding)
        page.add(memory(config, facts))
        page.close()
    problems = ranks.broadcast(page.problems)
    if problems:
        error = InputError(f"{_counted(problems)}, named above with what to do")
        error.known_to_all = True
        raise error


class Page:
    """Findings as they come.

    Attributes
    ----------
    shown : bool
        False on ranks that stay silent.
    problems : int
        How many have come.
    """

    def __init__(self, shown: bool):
        self.shown = shown
        self.problems = 0

    def add(self, finding: Finding) -> None:
        """Print a finding, and count its problem."""
        self.problems += finding.problem is not None
        self._print(f"{finding.name:12s} {finding.text}")
        if finding.problem:
            self._print(f"problem: {finding.problem}")

    def close(self) -> None:
        """Print the result."""
        self._print(f"\n{_counted(self.problems)}")

    def _print(self, line: str) -> None:
        if self.shown:
            say(line, flush=True)


def _counted(problems: int) -> str:
    if not problems:
        return "no problem found"
    return "1 problem" if problems == 1 else f"{problems} problems"


def before_mpi() -> Iterator[Finding]:
    """What can be seen without other ranks."""
    yield Finding(
        "program", f"hpc-diffuser {__version__}, Python {platform.python_version()}, {sys.prefix}"
    )
    yield Finding("packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    yield slurm(dict(os.environ))
    yield library()


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
        shared_MB=_free_MB(SHARED_FOLDER),
    )


def waiting_share(ranks: Ranks) -> float:
    """Part of a core that this rank uses while it waits for rank 0, which sleeps; 0 there."""
    ranks.gather_to_all(None)
    began, used = time.perf_counter(), time.process_time()
    if ranks.is_root:
        time.sleep(WAITING_S)
    ranks.broadcast(None)
    return (time.process_time() - used) / (time.perf_counter() - began)


def of_ranks(facts: list[RankFacts]) -> list[Finding]:
    """What the ranks' facts tell together."""
    return [
        hosts(facts),
        processors(facts),
        cpu_models(facts),
        blas(facts),
        waiting(facts),
        signals(facts),
        clocks(facts),
        shared_memory(facts),
    ]


def by_host(facts: list[RankFacts]) -> dict[str, list[RankFacts]]:
    """The ranks of every host."""
    found: dict[str, list[RankFacts]] = {}
    for fact in facts:
        found.setdefault(fact.host, []).append(fact)
    return found


def hosts(facts: list[RankFacts]) -> Finding:
    """Where the ranks are."""
    counts = [f"{host} (ranks: {len(own)})" for host, own in by_host(facts).items()]
    more = f" and {len(counts) - 8} more" if len(counts) > 8 else ""
    return Finding("hosts", f"{', '.join(counts[:8])}{more}")


def processors(facts: list[RankFacts]) -> Finding:
    """CPUs against ranks x threads, on the host that is shortest of them."""

    def crowding(own: list[RankFacts]) -> float:
        return sum(f.threads for f in own) / len({cpu for f in own for cpu in f.cpus})

    host, own = max(by_host(facts).items(), key=lambda item: crowding(item[1]))
    n_cpus = len({cpu for f in own for cpu in f.cpus})
    fewest = min(own, key=lambda f: len(f.cpus) / f.threads)
    threads = sum(f.threads for f in own)
    text = (
        f"ranks x threads: {len(own)} x {fewest.threads} on {n_cpus} CPUs of {host}; "
        f"a rank may run on {len(fewest.cpus)} of them"
    )
    if threads > n_cpus:
        problem = (
            f"{threads} threads share {n_cpus} CPUs on {host}: start fewer ranks there, lower "
            "NUMBA_NUM_THREADS, or let the launcher give each rank its own (srun "
            "--cpus-per-task=$SLURM_CPUS_PER_TASK, mpirun --bind-to none)"
        )
        return Finding("CPUs", text, problem)
    if fewest.threads > len(fewest.cpus):
        problem = (
            f"a rank on {host} is bound to {len(fewest.cpus)} CPUs, but will start "
            f"{fewest.threads} threads: srun --cpus-per-task=$SLURM_CPUS_PER_TASK, "
            "mpirun --bind-to none, or lower NUMBA_NUM_THREADS"
        )
        return Finding("CPUs", text, problem)
    return Finding("CPUs", text)


def cpu_models(facts: list[RankFacts]) -> Finding:
    """The kinds of CPU: only on one kind are results the same bit for bit."""
    kinds = sorted({fact.cpu for fact in facts})
    differ = "; results may differ in their last bits from one kind to the other"
    return Finding("CPU model", " | ".join(kinds) + differ * (len(kinds) > 1))


def blas(facts: list[RankFacts]) -> Finding:
    """BLAS must have one thread: its results change with them."""
    threads = sorted({n for fact in facts for n in fact.blas_threads})
    text = f"BLAS threads {', '.join(map(str, threads)) or 'none loaded'}"
    wrong = [n for n in threads if n != 1]
    problem = (
        "BLAS has more than one thread, with which results change: set OPENBLAS_NUM_THREADS=1, "
        "OMP_NUM_THREADS=1 and MKL_NUM_THREADS=1 before Python starts"
    )
    return Finding("threads", text, problem if wrong else None)


def waiting(facts: list[RankFacts]) -> Finding:
    """Whether ranks that wait leave their core to others."""
    if len(facts) == 1:
        return Finding("waiting", "one rank waits for nobody")
    most = max(fact.waiting for fact in facts)
    text = f"a waiting rank uses {100 * most:.0f} % of a core"
    problem = (
        f"ranks that wait use {100 * most:.0f} % of a core, and slow down the others where cores "
        "are shared: start no more ranks than there are CPUs"
    )
    return Finding("waiting", text, problem if most > BUSY else None)


def signals(facts: list[RankFacts]) -> Finding:
    """Whether the signals that ask for a clean stop can reach the ranks."""
    blocked = sorted({name for fact in facts for name in fact.blocked})
    ignored = sorted({name for fact in facts for name in fact.ignored})
    text = "USR1, TERM and INT can stop a fit cleanly"
    if ignored:
        text += f" ({', '.join(ignored)} ignored until a fit listens)"
    if not blocked:
        return Finding("signals", text)
    names = ", ".join(blocked)
    problem = (
        f"{names} blocked by what started this process: a fit would not hear that it should stop: "
        "start it another way, or give it hpc-diffuser fit --max-hours"
    )
    return Finding("signals", f"blocked: {names}", problem)


def clocks(facts: list[RankFacts]) -> Finding:
    """How far the hosts' clocks are apart, to about what a message takes."""
    skew = max(fact.clock for fact in facts) - min(fact.clock for fact in facts)
    note = ": times in logs and of files will not agree" if skew > SKEW_S else ""
    return Finding("clocks", f"within {max(skew, 1e-3):.3f} s of each other{note}")


def shared_memory(facts: list[RankFacts]) -> Finding:
    """Room in /dev/shm, where MPI and a node's common inputs lie."""
    least = min(facts, key=lambda fact: fact.shared_MB)
    text = f"{least.shared_MB:.0f} MB free in {SHARED_FOLDER} of {least.host}"
    problem = (
        f"{least.host} has {least.shared_MB:.0f} MB left in {SHARED_FOLDER}, which MPI needs on a "
        "node: remove what dead jobs have left there, or give a container more "
        "(docker run --shm-size=1g)"
    )
    short = len(facts) > 1 and least.shared_MB < LEAST_SHARED_MB
    return Finding("shared mem", text, problem if short else None)


def of_folder(folder: Path) -> list[Finding]:
    """What can be seen of files: the kernels' cache, locks, writing, room."""
    return [kernel_cache(), locks(folder), writing(folder), room(folder)]


def kernel_cache() -> Finding:
    """Where compiled kernels are kept, and whether they are there."""
    try:
        from hpc_diffuser.fit.footprint import kernel_cache_folder, kernels_compiled
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
    text = f"HDF5 {hdf5.h5py.version.hdf5_version}, HDF5_USE_FILE_LOCKING {setting}; "
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
    free = _free_MB(folder)
    problem = f"{folder} has only {free:.0f} MB left: make room, or run elsewhere"
    text = f"{free / 1024:.0f} GB free in {folder}"
    return Finding("disk", text, problem if free < LEAST_DISK_MB else None)


def memory(config: Path | None, facts: list[RankFacts]) -> Finding:
    """What the ranks may use, against what the fit of a config will need."""
    limits = {f"{fact.limit.MB:.0f} MB a node ({fact.limit.source})" for fact in facts}
    limits |= {f"{f.process.MB:.0f} MB a rank ({f.process.source})" for f in facts if f.process}
    if config is None:
        return Finding("memory", ", ".join(sorted(limits)))
    try:
        from hpc_diffuser.fit.footprint import Node, memory_text, predict, refusal
        from hpc_diffuser.fit.problem import load_problem

        footprint = predict(load_problem(load_config(config)), len(facts))
    except (DiffuserError, RuntimeError) as exc:
        return Finding("memory", ", ".join(sorted(limits)), " ".join(str(exc).split()))
    nodes = [Node(fact.host, fact.limit, fact.process) for fact in facts]
    return Finding("memory", memory_text(footprint, nodes), refusal(footprint, nodes))


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


def _free_MB(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free / MB
    except OSError:
        return 0.0


def _blas_threads() -> tuple[int, ...]:
    import scipy.linalg  # noqa: F401  brings a BLAS of its own beside numpy's

    return tuple(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
