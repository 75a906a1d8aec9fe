"""A run directory opened: what it says, where its inputs lie, what is left when they are gone."""

import json
import shutil

import numpy as np
import pytest

from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.run.checkpoints import read_checkpoint
from hpc_diffuser.fit.standing import read_status
from hpc_diffuser.interface.run import open_comparison, open_run
from hpc_diffuser.io.maps.native import read_map, read_target
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.system.errors import InputError

REFINED = ("mode 1", "mode 2", "translation_sigma_A")


def without_files(run):
    """The manifest of an older version, which does not say where the inputs lay."""
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["files"]
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_a_finished_run(finished):
    """Everything it says, against the files themselves."""
    run = open_run(finished / "run")
    assert run.state == "finished" and (run.n_restarts, run.n_evaluations) == (2, 5)
    assert run.config == load_config(finished / "fit.toml")
    assert run.refined == REFINED == tuple(run.space.names)
    assert np.array_equal(run.bounds, [[0, 0.6], [0, 0.6], [0.1, 0.8]])
    assert np.array_equal(run.bounds, run.space.bounds)
    stored = read_checkpoint(finished / "run" / "restart_0001.h5")
    assert sorted(run.histories) == [0, 1]
    assert np.array_equal(run.histories[1].points, stored.points)
    assert np.array_equal(run.modes.vectors, read_modes(finished / "modes.h5").vectors)
    assert run.files == {
        "structure.modes": finished / "modes.h5",
        "target.file": finished / "target.h5",
    }
    assert run.convergence.samples == 4 and len(run.jobs) == 1 and run.session.ranks == 1


def test_standard_errors_are_everywhere_the_same(finished):
    """Of the summary, by name and by place, of the opened run, and of `status --json`."""
    run = open_run(finished / "run")
    said = json.loads((finished / "run" / "summary.json").read_text())
    found = run.standard_errors
    assert found == said["standard_errors"] == read_status(run.directory)[0].runs[0].standard_errors
    by_place = [*found["mode_amplitude_A"], found["translation_sigma_A"]]
    assert by_place == said["intervals"]["standard_errors"]
    assert found.keys() == said["answer"].keys()


def test_calculated_and_target_lie_beside_each_other(finished):
    """CC of the two by NumPy, shell by shell, is that of the summary; every voxel is the map's."""
    run = open_run(finished / "run")
    target = run.target
    assert np.array_equal(target.intensity, read_target(finished / "target.h5").intensity)
    places = tuple((target.indices + run.calculated_map.grid.extent).T)
    whole = read_map(finished / "run" / "calculated.h5").intensity
    assert np.array_equal(run.calculated, whole[places])
    shells = target.shells()
    found = [
        np.corrcoef(target.intensity[rows], run.calculated[rows])[0, 1]
        for rows in (~target.free & (shells == shell) for shell in range(target.n_shells))
    ]
    assert np.mean(found) == pytest.approx(run.summary.outcome.cc_work, abs=1e-6)


@pytest.mark.parametrize("old", [False, True])
def test_moved_together_with_its_inputs(finished, tmp_path, old):
    """Found there, by the manifest and, of an older one, by the copy of the config."""
    project = shutil.copytree(finished, tmp_path / "moved")
    if old:
        without_files(project / "run")
    assert open_run(project / "run").files["target.file"] == project / "target.h5"


def test_moved_alone(finished, tmp_path):
    """Found where they were; of an older manifest, where the config is said to lie."""
    run = shutil.copytree(finished / "run", tmp_path / "run")
    assert open_run(run).files["structure.modes"] == finished / "modes.h5"
    without_files(run)
    assert open_run(run, finished / "fit.toml").files["structure.modes"] == finished / "modes.h5"
    with pytest.raises(InputError, match=r"modes\.h5: gone: put back .* give --config CONFIG"):
        _ = open_run(run).modes


def test_changed_inputs_are_refused(finished, tmp_path):
    """By their SHA-256; the others are read."""
    project = shutil.copytree(finished, tmp_path / "project")
    without_files(project / "run")
    (project / "target.h5").write_bytes(b"another")
    run = open_run(project / "run")
    with pytest.raises(InputError, match=r"target\.h5: another file than when the run was begun"):
        _ = run.target
    assert len(run.modes.structure) == 12


def test_what_is_left_without_inputs(finished, tmp_path):
    """Answer, restarts, parameters, the map."""
    directory = shutil.copytree(finished / "run", tmp_path / "alone")
    without_files(directory)
    run = open_run(directory)
    assert run.summary.outcome.answer and run.refined == REFINED and run.bounds.shape == (3, 2)
    assert run.state == "finished" and len(run.histories) == 2
    assert run.calculated_map.grid.divisions == (3, 3, 3)
    assert run.config.target.file is None
    with pytest.raises(InputError):
        _ = run.calculated


def test_before_the_first_restart_is_finished(finished, tmp_path):
    """No summary, no map; parameters by the inputs."""
    project = shutil.copytree(finished, tmp_path / "project")
    for name in ("summary.json", "calculated.h5", "sampling.json", "restart_0001.h5"):
        (project / "run" / name).unlink()
    run = open_run(project / "run")
    assert run.summary is run.calculated_map is run.calculated is run.convergence is None
    assert run.refined == REFINED and np.array_equal(run.bounds[2], [0.1, 0.8])
    assert run.state == "stopped"
    with pytest.raises(InputError, match=r"not finished \(none of its restarts\)"):
        _ = run.outcome


def test_a_run_whose_owner_was_killed(finished, tmp_path):
    """Its lock is still there; that of a host that cannot be asked is of a running one."""
    directory = shutil.copytree(finished / "run", tmp_path / "run")
    (directory / "summary.json").unlink()
    owner = {"host": "elsewhere", "pid": 1, "started": 1, "job": "", "restart": 0}
    (directory / "lock").write_text(json.dumps(owner))
    assert open_run(directory).state == "running"
    from hpc_diffuser.fit.run.lock import own_record

    (directory / "lock").write_text(json.dumps(own_record() | {"started": 1}))
    assert open_run(directory).state == "killed"


@pytest.mark.parametrize("damage", [{"search.restarts": "two"}, {"target.score": 3}])
def test_a_damaged_manifest(finished, tmp_path, damage):
    """One line that names the key."""
    directory = shutil.copytree(finished / "run", tmp_path / "run")
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["settings"] |= damage
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=rf"manifest\.json: damaged: {next(iter(damage))}"):
        _ = open_run(directory).config


def test_what_is_no_run(tmp_path, finished):
    """Neither a run nor a comparison."""
    with pytest.raises(InputError, match="not a run directory"):
        open_run(tmp_path)
    with pytest.raises(InputError, match="not a comparison of models"):
        open_comparison(finished / "run")


def test_a_comparison(call, project, edit):
    """Its models in their order, each with its own modes; also before the last is fitted."""
    modes = read_modes(project / "modes.h5")
    text = '[models]\ncompare = ["rbt+int", "rbt"]\nbases = { other = "other.h5" }\n[model]'
    edit(project / "fit.toml", "[model]", text)
    from dataclasses import replace

    from hpc_diffuser.io.modes_file import write_modes

    write_modes(project / "other.h5", replace(modes, vectors=-modes.vectors[::-1]), {})
    assert call("fit", "fit.toml", folder=project).returncode == 0
    comparison = open_comparison(project / "run")
    assert list(comparison.runs) == ["rbt+int", "rbt+int@other", "rbt"]
    assert [row.name for row in comparison.table.models] == list(comparison.runs)
    assert comparison.runs["rbt"].refined == ("translation_sigma_A",)
    other = comparison.runs["rbt+int@other"]
    assert np.array_equal(other.modes.vectors, -modes.vectors[::-1])
    assert other.summary.outcome.cc_work == comparison.table.models[1].cc_work
    without_files(other.directory)
    assert open_run(other.directory).files["structure.modes"] == project / "other.h5"
    (project / "run" / "models.json").unlink()
    assert list(open_comparison(project / "run").runs) == ["rbt+int", "rbt+int@other", "rbt"]
    assert open_comparison(project / "run").table is None
