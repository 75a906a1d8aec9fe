"""Every command as a user runs it, in a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import HANG_S, succeeded

from hpc_diffuser import __version__
from hpc_diffuser.commands.pages.report import report_text
from hpc_diffuser.fit.refinement import optimiser_share
from hpc_diffuser.fit.run.checkpoints import checkpoint_path, read_checkpoint, write_checkpoint
from hpc_diffuser.fit.search.history import new_history
from hpc_diffuser.fit.summary_file import read_summary
from hpc_diffuser.io.maps.native import read_map
from hpc_diffuser.system.errors import StoppedError
from hpc_diffuser.system.storage import sha256

COMMANDS = ("modes", "target", "simulate", "fit", "status", "report", "bench", "info")


def test_version(cli):
    """`python -m hpc_diffuser --version` names program and version."""
    assert succeeded(cli("--version")) == f"hpc-diffuser {__version__}\n"


def test_help_lists_the_commands(cli):
    """Without any knowledge one finds all commands, and an example to begin with."""
    text = succeeded(cli("--help"))
    assert all(f"    {name} " in text for name in COMMANDS)
    assert "mpirun -n 2 hpc-diffuser fit" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(cli, command):
    """Of each command, lines that can be copied."""
    text = succeeded(cli(command, "--help"))
    lines = text.split("example:\n")[1].strip().splitlines()
    assert lines and all(
        re.match(rf"(mpirun -n \d+ )?hpc-diffuser {command} ", x.strip()) for x in lines
    )


def test_fit_fills_the_run_directory(finished):
    """The files of the contract, and nothing else: no lock, no temporary files."""
    names = ["calculated.h5", "config.toml", "jobs.json", "manifest.json"]
    names += [f"restart_000{r}{kind}.h5" for r in range(2) for kind in ("", ".previous")]
    names += ["sampling.json", "session.json", "summary.json"]
    assert sorted(os.listdir(finished / "run")) == names
    assert (finished / "run/config.toml").read_text() == (finished / "fit.toml").read_text()
    for restart in range(2):
        assert len(read_checkpoint(checkpoint_path(finished / "run", restart))) == 5


def test_summary_of_a_fit(finished):
    """The names of the contract; refined values within their bounds, a held one at its value."""
    summary = json.loads((finished / "run" / "summary.json").read_text())
    assert summary["restarts_finished"] == 2 and summary["excluded"] == []
    for name in ("best", "median", "spread"):
        values = summary[name]
        assert len(values["mode_amplitude_A"]) == 2
        assert all(0 <= a <= 0.6 for a in values["mode_amplitude_A"])
        assert values["uncorrelated_sigma_A"] == 0
    assert 0.1 <= summary["median"]["translation_sigma_A"] <= 0.8
    assert 0.8 < summary["cc_work"] <= 1 and 0.7 < summary["cc_free"] <= 1
    assert [set(s) >= {"d_max", "d_min", "cc"} for s in summary["shells"]] == [True] * 3
    assert summary["shells"][0]["d_max"] == pytest.approx(6.0)
    assert summary["shells"][-1]["d_min"] == pytest.approx(2.5)
    assert np.mean([s["cc"] for s in summary["shells"]]) == pytest.approx(summary["cc_work"])


def test_share_of_the_optimiser(call, finished, tmp_path):
    """Between 0 and 1 where evaluations were made, and told; where none were left, there is none.

    Five evaluations of which three are drawn: the time in between is spent in both.
    """
    summary = json.loads((finished / "run" / "summary.json").read_text())
    share = summary["last_session"]["optimiser_share"]
    assert 0 < share < 1
    assert f"{100 * share:.0f} % of the search in proposing" in report_text(
        read_summary(finished / "run")
    )
    folder = Path(shutil.copytree(finished, tmp_path / "again"))
    text = succeeded(call("fit", "fit.toml", folder=folder))
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["last_session"]["optimiser_share"] is None
    assert "Last job: 1 ranks" in text and "in proposing" not in text


def test_share_counts_all_groups():
    """Of 2 s and 6 s on two roots, 1 s + 1 s went into proposing; a rank that waits has none."""
    seconds = [
        {"proposing": 1.0, "evaluating": 0.5, "saving": 0.5},
        {"proposing": 0.0, "evaluating": 0.0, "saving": 0.0},
        {"proposing": 1.0, "evaluating": 4.0, "saving": 1.0},
    ]
    assert optimiser_share(seconds) == 0.25
    assert optimiser_share(seconds[1:2]) is None
    assert optimiser_share(None) is None


def test_final_map_of_a_fit(finished, target):
    """calculated.h5 has values at the target's voxels and nowhere else; and its origin."""
    calculated = read_map(finished / "run" / "calculated.h5")
    assert calculated.grid == target.grid
    place = tuple((target.indices + np.array(target.grid.extent)).T)
    assert np.isfinite(calculated.intensity[place]).all()
    assert np.isfinite(calculated.intensity).sum() == 2 * len(target.indices)
    with h5py.File(finished / "run" / "calculated.h5") as file:
        attributes = dict(file["entry"].attrs)
    assert attributes["config"] == (finished / "fit.toml").read_text()
    summary = json.loads((finished / "run" / "summary.json").read_text())
    assert attributes["answer"] == summary["answer_is"]
    for name in ("modes.h5", "target.h5"):
        assert sha256(finished / name) in attributes.values()


def test_fit_again_changes_nothing(call, finished, tmp_path):
    """A finished run that is started again ends at once, with the same answer and files."""
    folder = Path(shutil.copytree(finished, tmp_path / "again"))
    before = outcome(folder / "run")
    succeeded(call("fit", "fit.toml", folder=folder))
    assert outcome(folder / "run") == before


def outcome(run: Path) -> tuple:
    """All files of a run as bytes, the summary without what it says of its jobs."""
    files = {p.name: p.read_bytes() for p in run.iterdir() if p.suffix == ".h5"}
    summary = json.loads((run / "summary.json").read_text())
    del summary["last_session"], summary["cost"]
    return files, summary


def test_fit_with_more_restarts_goes_on(call, finished, tmp_path, edit):
    """Finished restarts are kept as they are; only the new ones are computed."""
    folder = Path(shutil.copytree(finished, tmp_path / "more"))
    before, _ = outcome(folder / "run")
    edit(folder / "fit.toml", "restarts = 2", "restarts = 3")
    text = succeeded(call("fit", "fit.toml", folder=folder))
    assert "3 of 3 restarts finished" in text
    after, summary = outcome(folder / "run")
    assert summary["restarts_finished"] == 3
    for name in ("restart_0000.h5", "restart_0001.h5"):
        assert after[name] == before[name]


def test_fit_with_more_evaluations_goes_on(call, finished, tmp_path, edit):
    """What has been evaluated stays at the beginning of every history."""
    folder = Path(shutil.copytree(finished, tmp_path / "more"))
    old = [read_checkpoint(checkpoint_path(folder / "run", r)) for r in range(2)]
    edit(folder / "fit.toml", "evaluations = 5", "evaluations = 6")
    succeeded(call("fit", "fit.toml", folder=folder))
    for restart, history in enumerate(old):
        new = read_checkpoint(checkpoint_path(folder / "run", restart))
        assert len(new) == 6
        np.testing.assert_array_equal(new.points[:5], history.points)


def test_fit_report(call, finished, contents):
    """What is printed at the end is what `report` prints again; it changes no file."""
    before = contents(finished)
    text = succeeded(call("report", "--text", "run", folder=finished))
    assert contents(finished) == before
    assert "2 of 2 restarts finished, 10 evaluations" in text
    summary = json.loads((finished / "run" / "summary.json").read_text())
    assert f"{summary['median']['mode_amplitude_A'][0]:.4f}" in text
    assert f"{summary['cc_work']:.4f}" in text and f"{summary['cc_free']:.4f}" in text
    assert "translation alone" in text and "held" in text
    for shell in ("6.00 - 4.09", "4.09 - 3.10", "3.10 - 2.50"):
        assert shell in text


def test_fit_test_leaves_nothing_behind(cli, project, tmp_path, contents):
    """`fit --test` runs ./hpc-diffuser.toml to the end, and no file is left: here or in /tmp."""
    (project / "fit.toml").rename(project / "hpc-diffuser.toml")
    before = contents(project)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    result = cli("fit", "--test", folder=project, TMPDIR=str(temporary))
    assert "The config works" in succeeded(result)
    assert "1 of 1 restarts finished" in result.stdout
    assert "Warnings" not in result.stdout  # of one restart, which the config does not ask for
    assert contents(project) == before
    assert not (project / "run").exists()
    assert os.listdir(temporary) == []


def test_report_png(cli, finished, tmp_path):
    """A figure of CC against resolution: a file that begins as every PNG does."""
    pytest.importorskip("matplotlib")
    result = cli("report", "--text", finished / "run", "--png", "cc.png")
    assert "cc.png" in succeeded(result)
    content = (tmp_path / "cc.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 5000


def test_status_of_a_finished_run(cli, finished, contents):
    """All done, best CC; and it changes no file."""
    before = contents(finished)
    text = succeeded(cli("status", "run", folder=finished))
    assert "run: finished" in text
    assert "restarts     2 of 2 done, 0 under way" in text
    assert "evaluations  10 of 10 (100 %)" in text
    assert contents(finished) == before


def remove(folder: Path, pattern: str) -> None:
    """Remove files that must be there."""
    paths = list(folder.glob(pattern))
    assert paths
    for path in paths:
        path.unlink()


def test_status_of_a_run_that_is_cut_short(call, finished, tmp_path):
    """One restart of two, no final map: not finished."""
    folder = Path(shutil.copytree(finished, tmp_path / "cut"))
    for name in ("restart_0001*.h5", "summary.json", "calculated.h5"):
        remove(folder / "run", name)
    text = succeeded(call("status", "run", folder=folder))
    assert "run: not finished" in text
    assert "restarts     1 of 2 done, 0 under way" in text
    assert "evaluations  5 of 10 (50 %)" in text


def test_status_before_the_first_evaluation(call, finished, tmp_path):
    """A run that has only just begun has a status too."""
    folder = Path(shutil.copytree(finished, tmp_path / "begun"))
    for name in ("restart_*.h5", "summary.json", "calculated.h5"):
        remove(folder / "run", name)
    assert "evaluations  0 of 10 (0 %)" in succeeded(call("status", "run", folder=folder))


INFO = {
    "modes.h5": ("modes", "12 (6 C, 3 N, 3 O) in 3 residues", "mode   1   0.4000 Å"),
    "map.nxs": ("native map", "3 x 3 x 3 samples", "resolution   ∞ to 2.50 Å", "errors       no"),
    "target.h5": ("target", "8000 voxels", "6.00 - 4.09", "free"),
    "model.pdb": ("structure", "12 (6 C, 3 N, 3 O) in 3 residues", "14 15 16 88 105 98"),
    "run/calculated.h5": ("native map", "3 x 3 x 3 samples", "complete"),
    "run/restart_0000.h5": ("checkpoint", "evaluations  5", "best CC_search 0."),
    "run": ("finished; hpc-diffuser report run says what came out", "restarts     2 of 2 done"),
}


@pytest.mark.parametrize("name", INFO)
def test_info(call, finished, name, target):
    """Of every kind of file, and of a run directory: the kind, and what is in it."""
    text = succeeded(call("info", name, folder=finished))
    kind, *pieces = INFO[name]
    assert text.startswith(f"{name}: {kind}\n")
    for piece in pieces:
        expected = f"voxels       {len(target.indices)}," if piece.endswith("voxels") else piece
        assert expected in text


def test_info_of_a_checkpoint_knows_degrees_and_fractions(call, tmp_path):
    """Every number has its unit: a libration is no length, nor is a fraction.

    In a run directory parameters have their names; a checkpoint alone has only numbers.
    """
    new = new_history(3)
    history = new.extended(np.array([0.3, 5.0, 0.2]), 0.25, new.hedge)
    write_checkpoint(tmp_path / "restart_0000.h5", history)
    text = succeeded(call("info", "restart_0000.h5"))
    assert "best CC_search 0.7500 (evaluation 1) at\n  0.3000, 5.0000, 0.2000 (in the units" in text
    assert "Å" not in text
    refined = ["mode 1", "libration_sigma_deg", "residual_b_fraction"]
    (tmp_path / "summary.json").write_text(json.dumps({"refined": refined}))
    rows = succeeded(call("info", "restart_0000.h5")).splitlines()[-3:]
    assert [" ".join(row.split()) for row in rows] == [
        "mode 1 (Å) 0.3000",
        "libration_sigma_deg 5.0000",
        "residual_b_fraction 0.2000",
    ]


def test_info_in_a_process_of_its_own(cli, finished):
    """As a user runs it; nothing on standard error."""
    result = cli("info", "target.h5", folder=finished)
    assert succeeded(result).startswith("target.h5: target\n")
    assert result.stderr == ""


def test_reader_that_goes_away(finished):
    """`hpc-diffuser info ... | head` is no error."""
    command = f"{sys.executable} -m hpc_diffuser info target.h5; echo $? >&2"
    result = subprocess.run(
        ["bash", "-c", f"({command}) | true"],
        cwd=finished,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert result.stderr == "0\n"


def test_fit_of_a_rigid_molecule(call, project, edit):
    """A model without modes: only its translation is refined. The truth is 0.4 Å, and modes."""
    edit(project / "fit.toml", 'modes = "modes.h5"\nn_modes = 2', 'file = "model.pdb"')
    edit(project / "fit.toml", "mode_amplitude_A = [0.0, 0.6]\n", "")
    text = succeeded(call("fit", "fit.toml", folder=project))
    assert "2 of 2 restarts finished" in text and "mode 1" not in text
    summary = json.loads((project / "run" / "summary.json").read_text())
    assert summary["median"]["mode_amplitude_A"] == []
    assert summary["cc_work"] == pytest.approx(summary["translation_alone"]["cc_work"], abs=0.02)


def test_fit_without_a_config_is_the_built_in_example(call, tmp_path, inputs, monkeypatch):
    """In an empty folder it is made, and it says so; the next time it goes on with it.

    Here the tiny inputs stand for the example's, and the run is stopped at once.
    """
    made = []

    def stopped(*_args) -> None:
        raise StoppedError("stopped as asked")

    def write_example(folder: Path) -> Path:
        made.append(folder)
        return Path(shutil.copytree(inputs, folder)) / "fit.toml"

    monkeypatch.setattr("hpc_diffuser.commands.examples.four_helices.write_example", write_example)
    monkeypatch.setattr("hpc_diffuser.fit.refinement.with_samples", stopped)
    result = call("fit")
    assert result.returncode == 75
    assert "making the built-in example in hpc-diffuser-example/" in result.stderr
    assert made == [Path("hpc-diffuser-example")]
    example = tmp_path / "hpc-diffuser-example"
    assert (example / "run" / "manifest.json").is_file()
    (example / "fit.toml").rename(example / "hpc-diffuser.toml")
    result = call("fit")
    assert result.returncode == 75
    assert "the built-in example in hpc-diffuser-example/ goes on" in result.stderr
    assert len(made) == 1


def test_samples_chosen_from_the_accuracy_asked_for(cli, project, edit):
    """A fit says what it chose and what error is left, and goes on with it when resumed."""
    edit(project / "fit.toml", "samples = 4", 'samples = "auto"\nmap_error = 0.02')
    result = cli("fit", "fit.toml", folder=project)
    assert result.returncode == 0, result.stderr
    stored = json.loads((project / "run" / "sampling.json").read_text())
    assert stored["samples"] >= 32
    assert 0 < stored["map_error"] <= 0.02
    assert f"samples: {stored['samples']}; they leave an error" in result.stderr
    summary = json.loads((project / "run" / "summary.json").read_text())
    assert summary["sampling"]["samples"] == stored["samples"]


def test_damaged_record_of_the_samples(cli, project, edit):
    """Told, and measured again where it is needed, to the same numbers."""
    edit(project / "fit.toml", "evaluations = 5", "evaluations = 4")
    assert cli("fit", "fit.toml", folder=project).returncode == 0
    record = project / "run" / "sampling.json"
    expected = record.read_text()
    record.write_text('{"format": "hpc-diffuser/sampling"}')
    edit(project / "fit.toml", "evaluations = 4", "evaluations = 5")
    result = cli("fit", "fit.toml", folder=project)
    assert result.returncode == 0
    assert "sampling.json: damaged; it is measured again" in result.stderr
    assert record.read_text() == expected
