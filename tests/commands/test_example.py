"""The built-in example, as a newcomer runs it: known motions are found again."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG_S

from hpc_diffuser.commands.examples import four_helices


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A folder where `fit` has run without any config, on two ranks if there is an mpirun."""
    folder = tmp_path_factory.mktemp("newcomer")
    launcher = Path(sys.executable).parent / "mpirun"
    command = [str(launcher), "-n", "2"] if launcher.exists() else []
    result = subprocess.run(
        [*command, sys.executable, "-m", "hpc_diffuser", "fit"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "NUMBA_NUM_THREADS"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert result.returncode == 0, result.stderr
    return folder, result.stdout + result.stderr


@pytest.mark.slow
def test_weights_are_recovered(finished):
    """Each weight to 15 %, the translation to 3 %, from a map with 10 % noise."""
    folder, _ = finished
    median = json.loads((folder / four_helices.FOLDER / "run/summary.json").read_text())["median"]
    np.testing.assert_allclose(
        median["mode_amplitude_A"], four_helices.TRUE_AMPLITUDES_A, rtol=0.15
    )
    np.testing.assert_allclose(
        median["translation_sigma_A"], four_helices.TRUE_TRANSLATION_A, rtol=0.03
    )


@pytest.mark.slow
def test_free_set_agrees_with_the_working_set(finished):
    """The model is the true one: CC_free is CC_work, and above translation alone."""
    folder, _ = finished
    summary = json.loads((folder / four_helices.FOLDER / "run/summary.json").read_text())
    assert summary["cc_work"] > 0.99
    assert abs(summary["cc_free"] - summary["cc_work"]) < 0.01
    assert summary["cc_free"] > summary["translation_alone"]["cc_free"] + 0.03


@pytest.mark.slow
def test_nothing_else_is_warned_of(finished):
    """The restarts agree, and the model moves as its crystal does: B of the true motions.

    Its 64 samples limit the answer, and that is said.
    """
    folder, _ = finished
    summary = json.loads((folder / four_helices.FOLDER / "run/summary.json").read_text())
    assert all("from the minimum of the final map" in text for text in summary["warnings"])
    assert summary["answer"] == summary["median"] and len(summary["clusters"]) == 1
    assert summary["b_factors"]["mean_ratio"] == pytest.approx(1, abs=0.05)
    assert summary["b_factors"]["cc"] > 0.99


@pytest.mark.slow
def test_it_says_what_it_does_and_found(finished):
    """It says that it is the example, and ends with refined beside true values."""
    _, output = finished
    check_said(output)


def check_said(output: str) -> None:
    """Refined beside true values."""
    assert "built-in example" in output
    table = output[output.index("Refined against true") :]
    assert re.search(r"mode 1 +0\.\d{3} +0\.\d{3} +0\.300 +[+-]\d+\.\d %", table)
    assert re.search(r"translation +0\.\d{3} +0\.\d{3} +0\.400", table)


@pytest.mark.slow
def test_run_again_it_has_nothing_to_do(finished):
    """The same command finds everything done: same answer, checkpoints untouched."""
    folder, _ = finished
    run = folder / four_helices.FOLDER / "run"
    before = {path.name: path.stat().st_mtime_ns for path in run.glob("restart_*.h5")}
    median = json.loads((run / "summary.json").read_text())["median"]
    result = subprocess.run(
        [sys.executable, "-m", "hpc_diffuser", "fit"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert result.returncode == 0, result.stderr
    assert before == {path.name: path.stat().st_mtime_ns for path in run.glob("restart_*.h5")}
    assert json.loads((run / "summary.json").read_text())["median"] == median


@pytest.mark.slow
def test_short_of_it(call, tmp_path, monkeypatch):
    """With fewer evaluations and samples: the same words and files; nothing to do twice.

    The weights are found by the whole of it alone, which is a slow test.
    """
    short = {
        "samples = 64": "samples = 16",
        "final_samples = 256": "final_samples = 64",
        "restarts = 4": "restarts = 2",
        "evaluations = 60": "evaluations = 12",
    }
    for old, new in short.items():
        assert four_helices.CONFIG.count(old) >= 1
        monkeypatch.setattr(four_helices, "CONFIG", four_helices.CONFIG.replace(old, new))
    done = call("fit")
    assert done.returncode == 0, done.stderr
    check_said(done.stdout + done.stderr)
    run = tmp_path / four_helices.FOLDER / "run"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["cc_free"] > summary["translation_alone"]["cc_free"] + 0.03
    before = {path.name: path.stat().st_mtime_ns for path in run.glob("restart_*.h5")}
    assert call("fit").returncode == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in run.glob("restart_*.h5")}
    assert json.loads((run / "summary.json").read_text())["median"] == summary["median"]
