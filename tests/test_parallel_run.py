"""The same bits on any number of ranks, and no rank left waiting for one that failed."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hpc_diffuser.disorder import Disorder
from hpc_diffuser.example import UNIT_CELL, example_modes
from hpc_diffuser.io.checkpoints import checkpoint_path, read_checkpoint
from hpc_diffuser.io.maps import read_map, write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.lattice import grid_to_resolution
from hpc_diffuser.model import DirectModel
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parameters import Parameters
from hpc_diffuser.sampling import generator, normal_samples
from hpc_diffuser.target import TargetOptions, make_target, map_from_voxels

RESTARTS = 3
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
evaluations = 5
initial_points = 3
[run]
groups = GROUPS
"""


def mpirun() -> str:
    """The launcher of the MPI that this environment has, or a visible skip."""
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if not found:
        pytest.skip("no mpirun: install hpc-diffuser[mpi]")
    return found


def launch(n_ranks: int, *arguments: str, folder: Path, code: str | None = None):
    """Run the program, or a piece of code, on n ranks (without a launcher on one)."""
    program = ["-c", code] if code else ["-m", "hpc_diffuser", *arguments]
    launcher = [mpirun(), "-n", str(n_ranks)] if n_ranks > 1 else []
    environment = dict(os.environ, NUMBA_NUM_THREADS="1")
    return subprocess.run(
        [*launcher, sys.executable, *program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Modes and a target of the built-in protein at 6-3 Å: six h-planes."""
    folder = tmp_path_factory.mktemp("inputs")
    modes = example_modes()
    grid = grid_to_resolution(UNIT_CELL, (1, 2, 2), 4.5)
    truth = Parameters(np.array([0.3, 0.2, 0.1]), Disorder(0.4))
    normals = normal_samples("sobol", 32, 3, generator(9))
    indices = grid.indices_between(np.inf, 4.5)
    model = DirectModel(modes, grid, indices, Ranks())
    values = model.internal_motion(truth, normals)
    diffuse = map_from_voxels(grid, indices, values, modes.space_group)
    options = TargetOptions(d_max_A=12.0, d_min_A=4.5, n_shells=3, halo_radius=0.3)
    write_modes(folder / "modes.h5", modes, {})
    write_target(folder / "target.h5", make_target(diffuse, options), {})
    return folder


def run_directory(inputs: Path, name: str, groups: int = 0, grid: str = "target") -> Path:
    """A folder of its own with the same inputs, and its config."""
    folder = inputs / name
    folder.mkdir()
    for file in ("modes.h5", "target.h5"):
        (folder / file).symlink_to(inputs / file)
    (folder / "c.toml").write_text(CONFIG.replace("GROUPS", str(groups)).replace("GRID", grid))
    return folder


def outcome(folder: Path) -> tuple:
    """All that a run leaves, as bytes: histories, map, summary without the session's times."""
    run = folder / "run"
    histories = [read_checkpoint(checkpoint_path(run, r)) for r in range(RESTARTS)]
    summary = json.loads((run / "summary.json").read_text())
    session = summary.pop("last_session")
    arrays = [
        a.tobytes()
        for h in histories
        for a in (h.points, h.objectives, h.hedge.gains, h.hedge.candidates, h.hedge.theta)
    ]
    return arrays, read_map(run / "calculated.h5").intensity.tobytes(), summary, session["ranks"]


def finished(folder: Path, ranks: int) -> tuple:
    """The outcome of a fit in this folder."""
    result = launch(ranks, "fit", "c.toml", folder=folder)
    assert result.returncode == 0, result.stderr
    return outcome(folder)


@pytest.fixture(scope="module")
def alone(inputs) -> tuple:
    """The outcome on one rank, without any launcher."""
    return finished(run_directory(inputs, "alone"), 1)


@pytest.mark.parametrize(
    ("ranks", "groups"), [(2, 1), (2, 2), (3, 0), (3, 1), (4, 1), (8, 1), (5, 2)]
)
def test_same_bits_on_any_number_of_ranks(inputs, alone, ranks, groups):
    """Histories, parameters and map do not know how many ranks and groups made them.

    Eight ranks on these few planes share the samples too, and so add moments across ranks.
    """
    *found, used = finished(run_directory(inputs, f"ranks{ranks}groups{groups}", groups), ranks)
    assert used == ranks
    assert found == list(alone[:3])


def test_same_bits_where_the_map_is_interpolated(inputs):
    """The same of the band-limited grid, whose planes and the target's have different owners."""
    found = [
        finished(run_directory(inputs, f"band{ranks}", 1, "band-limited"), ranks)[:3]
        for ranks in (1, 2, 3)
    ]
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_same_bits_on_two_threads(inputs, alone):
    """Threads share out the planes of a rank, and change nothing either."""
    folder = run_directory(inputs, "threads")
    code = (
        "import os; os.environ['NUMBA_NUM_THREADS'] = '2'\n"
        "from hpc_diffuser.cli import main; main(['fit', 'c.toml'])"
    )
    result = launch(1, folder=folder, code=code)
    assert result.returncode == 0, result.stderr
    assert outcome(folder)[:3] == alone[:3]


def test_resumed_on_other_ranks_after_each_evaluation(inputs, alone):
    """Cut short again and again, on 1, 2 and 3 ranks in turn: the same bits in the end.

    The fit is stopped by a signal that it sends to itself after every second evaluation.
    """
    folder = run_directory(inputs, "resumed")
    code = (
        "import signal\n"
        "from hpc_diffuser import refinement\n"
        "write, count = refinement.write_checkpoint, []\n"
        "def stop(path, history):\n"
        "    write(path, history); count.append(1)\n"
        "    if len(count) == 2: signal.raise_signal(signal.SIGUSR1)\n"
        "refinement.write_checkpoint = stop\n"
        "from hpc_diffuser.cli import main; main(['fit', 'c.toml'])"
    )
    codes = []
    for attempt in range(20):
        result = launch(1 + attempt % 3, folder=folder, code=code)
        codes.append(result.returncode)
        if result.returncode == 0:
            break
        assert result.returncode == 75, result.stderr
        assert "run again to resume" in result.stderr
    assert codes[-1] == 0 and len(codes) > 2
    assert outcome(folder)[:3] == alone[:3]


FAILURES = {
    "raise": ("raise RuntimeError('deliberate')", "internal error: RuntimeError: deliberate"),
    "input error": ("raise InputError('bad on one rank')", "bad on one rank"),
    "exit 0": ("sys.exit(0)", "left early"),
    "exit 3": ("sys.exit(3)", "left early with exit code 3"),
    "killed": ("os.kill(os.getpid(), 9)", None),
    "os._exit": ("os._exit(5)", None),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_one_failing_rank_ends_all(inputs, failure, tmp_path):
    """Rank 1 fails in its second evaluation: the job ends within seconds, non-zero, and says why.

    The time counts from the failure, which leaves a time stamp.
    """
    statement, message = FAILURES[failure]
    folder = run_directory(inputs, f"failure {failure}", groups=1)
    code = (
        "import os, sys, time\n"
        "from hpc_diffuser import model\n"
        "from hpc_diffuser.errors import InputError\n"
        "compute, count = model.DirectModel.internal_motion, []\n"
        "def fail(self, *args):\n"
        "    count.append(1)\n"
        "    if self.group.rank == 1 and len(count) == 2:\n"
        "        open('stamp', 'w').write(str(time.time()))\n"
        f"        {statement}\n"
        "    return compute(self, *args)\n"
        "model.DirectModel.internal_motion = fail\n"
        "from hpc_diffuser.cli import main; main(['fit', 'c.toml'])"
    )
    result = launch(3, folder=folder, code=code)
    ended = time.time()
    assert result.returncode != 0
    if message:
        assert f"error (rank 1 of 3): {message}" in result.stderr
    assert "Traceback" not in result.stderr
    assert ended - float((folder / "stamp").read_text()) < 5


def test_errors_of_the_input_are_told_once(inputs):
    """A mistake that rank 0 finds is everyone's: one line, the contract's code."""
    folder = run_directory(inputs, "mistake")
    config = folder / "c.toml"
    config.write_text(config.read_text().replace("samples = 6", "sample = 6"))
    result = launch(3, "fit", "c.toml", folder=folder)
    assert result.returncode == 65
    lines = [line for line in result.stderr.splitlines() if "hpc-diffuser: error" in line]
    assert len(lines) == 1 and '"model.samples"' in lines[0]


def test_simulate_on_ranks_equals_one(inputs):
    """`simulate` writes the same map on 1 and 3 ranks."""
    folder = run_directory(inputs, "simulate")
    (folder / "s.toml").write_text(
        '[structure]\nmodes = "modes.h5"\n[grid]\noversampling = [2, 2, 2]\nd_min_A = 5.0\n'
        "[parameters]\nmode_amplitude_A = 0.2\ntranslation_sigma_A = 0.3\n[model]\nsamples = 5\n"
    )
    maps = []
    for ranks in (1, 3):
        result = launch(ranks, "simulate", "s.toml", "-o", f"{ranks}.nxs", folder=folder)
        assert result.returncode == 0, result.stderr
        maps.append(read_map(folder / f"{ranks}.nxs").intensity.tobytes())
    assert maps[0] == maps[1]
