"""What several test files share: commands, tiny inputs, the folder of real data."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
import pytest
import warm
from threadpoolctl import threadpool_limits
from warm import HANG_S

from hpc_diffuser.commands import fit as fit_command
from hpc_diffuser.commands import main as command_line
from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.maps.native import write_map, write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import Target, TargetOptions, make_target, map_from_voxels
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity
from hpc_diffuser.system import isolated, stopping

UNIT_CELL = (14.0, 15.0, 16.0, 88.0, 105.0, 98.0)
D_MAX_A, D_MIN_A = 6.0, 2.5
COLD_START = isolated._start
SHARED = "PYTEST_XDIST_WORKER" in os.environ  # the processors, with other workers
# Of launchers and batch systems: tests must not depend on where they themselves are run.
LAUNCHER_PREFIXES = ("PMI", "OMPI_", "MV2_", "SLURM_", "MPI_LOCAL", "PALS_")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

CONFIG = """\
[structure]
modes = "modes.h5"
n_modes = 2
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [0.0, 0.6]
translation_sigma_A = [0.1, 0.8]
[model]
samples = 4
seed = 3
final_samples = 8
[search]
restarts = 2
evaluations = 5
initial_points = 3
[run]
directory = "run"
"""


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    """As in the program; on a busy machine several would mostly wait for each other."""
    if SHARED:
        numba.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waits_for_the_disk() -> Iterator[None]:
    """Of this process, and of the forks for commands: a third of a small fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fsync)
        warm.wait_for_no_disk()
        yield


@pytest.fixture(scope="session", autouse=True)
def kernels_compiled_once(one_blas_thread, tmp_path_factory) -> None:
    """By two workers, half of them each."""
    if os.environ.get("PYTEST_XDIST_WORKER_COUNT") == "2":
        from compiling import share_compilation

        folder = tmp_path_factory.getbasetemp().parent
        share_compilation(os.environ["PYTEST_XDIST_WORKER"], folder)


@functools.cache
def reader_server() -> warm.Server:
    """The process that is forked for native readers, started when the first is needed."""
    return warm.Server()


@functools.cache
def warm_server() -> warm.Server:
    """The same for commands."""
    return warm.Server(reader_server().address)


@pytest.fixture(scope="session", autouse=True)
def warm_readers() -> Iterator[None]:
    """Native readers without the import of their libraries, a tenth of a second for each file."""
    cold = isolated._start
    warm.read_by_forks(lambda: reader_server().address)
    yield
    isolated._start = cold
    for server in (warm_server, reader_server):
        if server.cache_info().currsize:
            server().close()


@pytest.fixture
def cold_readers(monkeypatch) -> None:
    """Readers started as users start them, for tests of how they start and what limits them."""
    monkeypatch.setattr(isolated, "_start", COLD_START)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data, or a visible skip."""
    named = os.environ.get("HPC_DIFFUSER_DATA")
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folder = Path(named) if named else beside
    if not (folder / "lysozyme" / "6o2h.pdb").is_file():
        pytest.skip("no real data: set HPC_DIFFUSER_DATA to the folder that holds lysozyme/")
    return folder


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without a launcher's variables, changed."""
    threads = {"NUMBA_NUM_THREADS": "1"} if SHARED else {}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHER_PREFIXES)}
    return threads | kept | changes


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """The environment of a process that no launcher started."""
    return environment()


def run_program(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """The program in a process of its own in `folder`, forked from one that has its libraries."""
    words = [str(a) for a in arguments]
    try:
        return warm.run_forked(warm_server().address, words, folder, environment(**variables))
    except warm.ColdError:
        return start_program(*words, folder=folder, **variables)


def start_program(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """The program in a process of its own, as a user starts it in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "hpc_diffuser", *map(str, arguments)],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


def succeeded(result: subprocess.CompletedProcess) -> str:
    """What a command has printed, which must end with 0."""
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="session")
def program() -> Callable[..., subprocess.CompletedProcess]:
    """Run the command in a subprocess: `program("info", "modes.h5", folder=where)`."""
    return run_program


@pytest.fixture(scope="session")
def warm_script(tmp_path_factory) -> Path:
    """The same for shells, as a program by the name of `hpc-diffuser`."""
    path = tmp_path_factory.mktemp("bin") / "hpc-diffuser"
    warm.write_script(warm_server().address, path)
    return path


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """The same in `tmp_path`, or in `folder`: `cli("info", "modes.h5", PMI_RANK="1")`.

    Other keywords are environment variables.
    """

    def run(*arguments: str, folder: Path = tmp_path, **variables: str):
        return run_program(*arguments, folder=folder, **variables)

    return run


@pytest.fixture
def call(tmp_path: Path, monkeypatch, capfd) -> Callable[..., subprocess.CompletedProcess]:
    """The same without a process of its own, for tests of many small mistakes: 1 s less each.

    Warnings are not shown in this way; let tests turn them into errors.
    """
    for name in list(os.environ):
        if name.startswith(LAUNCHER_PREFIXES):
            monkeypatch.delenv(name)
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")
    # Numba refuses another number of threads once it has used them.
    monkeypatch.setenv("NUMBA_NUM_THREADS", str(numba.config.NUMBA_NUM_THREADS))
    monkeypatch.setattr(stopping, "_requested", [])
    monkeypatch.setattr(fit_command, "watch_signals", lambda max_hours: None)
    monkeypatch.setattr(command_line, "ignore_signals", lambda: None)

    def run(*arguments: str, folder: Path = tmp_path) -> subprocess.CompletedProcess:
        words = [str(a) for a in arguments]
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["hpc-diffuser", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            command_line.main(words)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(words, left.value.code, out, err)

    return run


def tiny_structure() -> Structure:
    """Twelve atoms: N, CA, C, O of three residues, at random places within 7 Å."""
    rng = np.random.default_rng(7)
    return Structure(
        positions=np.round(rng.uniform(-3.5, 3.5, (12, 3)), 3),
        elements=np.array(["N", "C", "C", "O"] * 3),
        atom_names=np.array(["N", "CA", "C", "O"] * 3),
        residue_names=np.repeat(["ALA", "GLY", "SER"], 4),
        residue_numbers=np.repeat([1, 2, 3], 4),
        chain_ids=np.full(12, "A"),
        occupancies=np.ones(12),
        b_factors_A2=np.round(rng.uniform(5, 20, 12), 2),
    )


def tiny_modes() -> Modes:
    """The twelve atoms with two random modes, normalised to Σ|Δ|² = 12."""
    vectors = np.random.default_rng(8).normal(size=(2, 12, 3))
    vectors *= np.sqrt(12 / np.sum(vectors**2, axis=(1, 2), keepdims=True))
    return Modes(tiny_structure(), vectors, np.array([0.4, 0.2]), UNIT_CELL, "P 1")


def tiny_map(modes: Modes) -> DiffuseMap:
    """Their map to 2.5 Å by the closed form, three samples per reciprocal-lattice unit.

    The modes move with their amplitudes, 0.4 and 0.2 Å, and the molecule by 0.4 Å.
    """
    grid = grid_to_resolution(modes.unit_cell, (3, 3, 3), D_MIN_A)
    indices = grid.indices_between(np.inf, D_MIN_A)
    values = pair_sum_intensity(
        modes.structure.positions,
        form_factors(modes.structure.elements, grid.inverse_d_squared(indices)),
        indices / np.array(grid.divisions) @ fractionalization(modes.unit_cell),
        modes.amplitudes_A[:, None, None] * modes.vectors,
        Disorder(translation_sigma_A=0.4),
    )
    return map_from_voxels(grid, indices, values, modes.space_group)


def tiny_target(diffuse: DiffuseMap) -> Target:
    """The map cut to 6-2.5 Å, three shells."""
    return make_target(diffuse, TargetOptions(d_max_A=D_MAX_A, d_min_A=D_MIN_A, n_shells=3))


def tiny_project(folder: Path) -> Path:
    """A folder with modes.h5, model.pdb, map.nxs, target.h5 and fit.toml of the twelve atoms."""
    modes = tiny_modes()
    diffuse = tiny_map(modes)
    folder.mkdir(parents=True, exist_ok=True)
    write_modes(folder / "modes.h5", modes, {"command": "test"})
    write_pdb(folder / "model.pdb", modes.structure, (modes.unit_cell, modes.space_group))
    write_map(folder / "map.nxs", diffuse, {"command": "test"})
    write_target(folder / "target.h5", tiny_target(diffuse), {"command": "test"})
    (folder / "fit.toml").write_text(CONFIG)
    return folder


def with_little_to_do(project: Path, folder: Path) -> Path:
    """A copy of a tiny project: searches of three random points, no choice of a grid."""
    shutil.copytree(project, folder)
    text = (folder / "fit.toml").read_text()
    text = text.replace("evaluations = 5", "evaluations = 3")
    (folder / "fit.toml").write_text(text.replace("[model]", '[model]\ngrid = "target"'))
    return folder


@pytest.fixture(scope="session")
def modes() -> Modes:
    """Twelve atoms and two modes."""
    return tiny_modes()


@pytest.fixture(scope="session")
def diffuse(modes: Modes) -> DiffuseMap:
    """The diffuse map of `modes`, without errors."""
    return tiny_map(modes)


@pytest.fixture(scope="session")
def target(diffuse: DiffuseMap) -> Target:
    """The map cut to 6-2.5 Å, three shells."""
    return tiny_target(diffuse)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """A folder with modes.h5, model.pdb, map.nxs, target.h5 and fit.toml; to be read only."""
    return tiny_project(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def project(inputs: Path, tmp_path: Path) -> Path:
    """A copy of `inputs` that the test may change."""
    return Path(shutil.copytree(inputs, tmp_path / "project"))


@pytest.fixture(scope="session")
def finished(inputs: Path, tmp_path_factory) -> Path:
    """A project with the finished run of its fit; to be read only."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(inputs, folder)
    result = run_program("fit", "fit.toml", folder=folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def quick_figures(monkeypatch) -> None:
    """Figures of a page that are drawn but not written: 10 s less, for tests of words and tables.

    `tests/report/test_page.py` writes all of a run's as they are.
    """
    monkeypatch.setattr("hpc_diffuser.report.page.figure_bytes", lambda drawn, kind: kind.encode())


@pytest.fixture
def edit() -> Callable[[Path, str, str], None]:
    """Replace a piece of a text file that must be there: `edit(path, old, new)`."""

    def replace(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return replace


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """All files below a folder with their bytes, to see that nothing was changed."""

    def look(folder: Path) -> dict[str, bytes]:
        files = (p for p in sorted(folder.rglob("*")) if p.is_file())
        return {str(p.relative_to(folder)): p.read_bytes() for p in files}

    return look
