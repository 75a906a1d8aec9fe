"""Runs that are unfinished, changed, damaged, in use or stopped: one line, and the right code.

Codes: 65 bad input, 73 run directory in use, 75 stopped, 78 changed.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from builders import history_arrays
from conftest import HANG_S
from mistakes import INTENSITY, both, hdf5, the_line, toml

from hpc_diffuser.fit import refinement
from hpc_diffuser.fit.run.checkpoints import (
    checkpoint_path,
    previous_path,
    read_checkpoint,
    write_checkpoint,
)
from hpc_diffuser.fit.run.lock import run_lock
from hpc_diffuser.fit.search.history import new_history
from hpc_diffuser.io.maps.native import read_map
from hpc_diffuser.io.modes_file import read_modes, write_modes
from hpc_diffuser.system import stopping

# A warning would be a second line on the user's screen.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")


SLOW = pytest.mark.slow
INTERRUPTED = "restarts = 2\nevaluations = 8\n"


def stopped_run(call, project: Path, monkeypatch, after: int) -> None:
    """Begin the fit, and ask it to stop after so many evaluations: 75."""
    write, done = refinement.write_checkpoint, []

    def count(path, history):
        write(path, history)
        done.append(path)
        if len(done) == after:
            stopping._requested.append(signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(refinement, "write_checkpoint", count)
        result = call("fit", "fit.toml", folder=project)
    stopping._requested.clear()
    assert result.returncode == 75, result.stderr
    assert "run again to resume" in result.stderr.splitlines()[-1]


def test_report_before_a_restart_is_finished(call, project, monkeypatch):
    """Nothing to report yet: said so, with the command that tells more."""
    stopped_run(call, project, monkeypatch, after=2)
    result = call("report", "--text", "run", folder=project)
    assert "no restart has finished yet" in the_line(result, 65)
    assert "status" in result.stderr


def test_report_before_the_last_restart_is_finished(call, project, monkeypatch):
    """After the first restart there are parameters, but no scores; a figure says it must wait."""
    stopped_run(call, project, monkeypatch, after=6)
    text = call("report", "--text", "run", folder=project)
    assert text.returncode == 0 and "1 of 2 restarts finished" in text.stdout
    result = call("report", "--text", "run", "--png", "cc.png", folder=project)
    assert result.returncode == 65, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (project / "cc.png").exists()


CHANGES = {
    "seed": (toml("seed = 3", "seed = 4"), ["model.seed: 3 → 4"]),
    "two settings": (
        both(toml("samples = 4", "samples = 8"), toml("[0.1, 0.8]", "[0.1, 0.9]")),
        ["model.samples: 4 → 8", "parameters.translation_sigma_A: [0.1, 0.8] → [0.1, 0.9]"],
    ),
    "modes": (
        lambda p: write_modes(p / "modes.h5", read_modes(p / "modes.h5"), {"new": "yes"}),
        ["structure.modes: "],
    ),
    "target": (
        hdf5("target.h5", lambda f: f[INTENSITY].__setitem__((3, 3, 3), 7.0)),
        ["target.file: "],
    ),
    "setting and input": (
        both(
            toml("initial_points = 3", "initial_points = 4"),
            hdf5("target.h5", lambda f: f.attrs.__setitem__("note", "new")),
        ),
        ["search.initial_points: 3 → 4", "target.file: "],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_resume_of_a_changed_run(call, finished, tmp_path, contents, change):
    """78, and each difference as `key: old → new`; the run stays as it was."""
    folder = Path(shutil.copytree(finished, tmp_path / "changed"))
    apply, differences = CHANGES[change]
    apply(folder)
    before = contents(folder)
    line = the_line(call("fit", "fit.toml", folder=folder), 78)
    assert line.count("→") == len(differences)
    assert all(difference in line for difference in differences)
    assert contents(folder) == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "both generations"])
def test_resume_from_a_damaged_checkpoint(call, finished, tmp_path, damage):
    """Told, set aside, and computed again from what is before it: the same history in the end."""
    folder = Path(shutil.copytree(finished, tmp_path / "damaged"))
    path = checkpoint_path(folder / "run", 1)
    expected = path.read_bytes()
    path.write_bytes(b"" if damage == "empty" else expected[: len(expected) // 2])
    if damage == "both generations":
        previous_path(path).write_bytes(b"damaged too")
    result = call("fit", "fit.toml", folder=folder)
    assert result.returncode == 0
    assert "restart_0001.h5: damaged; kept as restart_0001.damaged-1" in result.stderr
    assert history_arrays(read_checkpoint(path)) == history_arrays(
        read_checkpoint(finished / "run" / path.name)
    )


def test_resume_from_a_checkpoint_of_another_run(call, finished, tmp_path):
    """A whole one that cannot be of this run: 65, naming it."""
    folder = Path(shutil.copytree(finished, tmp_path / "foreign"))
    path = checkpoint_path(folder / "run", 1)
    foreign = new_history(2).extended(np.zeros(2), 0.5, new_history(2).hedge)
    write_checkpoint(path, foreign)
    line = the_line(call("fit", "fit.toml", folder=folder), 65)
    assert "restart 1 has 2 refined parameters" in line and "remove" in line


def test_run_directory_in_use(cli, project, contents):
    """73, naming the process that has it, here this one; and nothing is touched."""
    with run_lock(project / "run"):
        before = contents(project)
        line = the_line(cli("fit", "fit.toml", folder=project), 73)
        assert f"in use by process {os.getpid()} on " in line
        assert contents(project) == before


def test_status_names_the_owner(call, finished, tmp_path):
    """Who is at work in a run directory can be asked without disturbing."""
    folder = Path(shutil.copytree(finished, tmp_path / "used"))
    with run_lock(folder / "run"):
        result = call("status", "run", folder=folder)
    assert f"running, process {os.getpid()} on " in result.stdout


@pytest.fixture(scope="module")
def uninterrupted(program, inputs, tmp_path_factory) -> tuple:
    """What the longer fit leaves when nobody stops it."""
    folder = Path(shutil.copytree(inputs, tmp_path_factory.mktemp("whole") / "project"))
    toml("restarts = 2\nevaluations = 5\n", INTERRUPTED)(folder)
    result = program("fit", "fit.toml", folder=folder)
    assert result.returncode == 0, result.stderr
    return outcome(folder)


def outcome(folder: Path) -> tuple:
    """Histories and map as bytes, and the summary without what it says of the session."""
    summary = json.loads((folder / "run" / "summary.json").read_text())
    del summary["last_session"], summary["cost"]
    histories = [read_checkpoint(checkpoint_path(folder / "run", r)) for r in range(2)]
    arrays = [(h.points.tobytes(), h.objectives.tobytes()) for h in histories]
    return arrays, read_map(folder / "run" / "calculated.h5").intensity.tobytes(), summary


@pytest.mark.parametrize(
    "number",
    # That each of them is noted, and how: `test_stopping.py`.
    [signal.SIGUSR1, *(pytest.param(n, marks=SLOW) for n in (signal.SIGTERM, signal.SIGINT))],
)
def test_signal_stops_cleanly_and_resumes(call, project, uninterrupted, clean_environment, number):
    """75 after the evaluation under way, nothing locked; resumed, the same bits as without.

    TERM is what `scancel` sends, USR1 the batch script before the time limit, INT Ctrl-C.
    """
    toml("restarts = 2\nevaluations = 5\n", INTERRUPTED)(project)
    command = [sys.executable, "-m", "hpc_diffuser", "fit", "fit.toml"]
    process = subprocess.Popen(
        command, cwd=project, env=clean_environment, stderr=subprocess.PIPE, text=True
    )
    first = checkpoint_path(project / "run", 0)
    deadline = time.monotonic() + HANG_S
    while not first.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 75, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("hpc-diffuser: error: stopped as asked")
    assert "run again to resume" in err
    assert not (project / "run" / "lock").exists()
    assert 1 <= len(read_checkpoint(first)) <= 8
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 0, result.stderr
    assert outcome(project) == uninterrupted


STOP_AT_ONCE = """
import signal
from hpc_diffuser.system import stopping
watch = stopping.watch_signals
def watch_and_stop(max_hours):
    watch(max_hours)
    signal.raise_signal(signal.SIGUSR1)
stopping.watch_signals = watch_and_stop
from hpc_diffuser.commands.main import main
main(["fit", "fit.toml"])
"""


def test_signal_while_the_program_is_loading(project, clean_environment):
    """Handlers are in place before the imports that take seconds: 75 then too, nothing begun."""
    result = subprocess.run(
        [sys.executable, "-c", STOP_AT_ONCE],
        cwd=project,
        env=clean_environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert result.returncode == 75, result.stderr
    assert "stopped as asked" in result.stderr and "Traceback" not in result.stderr
    assert not (project / "run").exists()
