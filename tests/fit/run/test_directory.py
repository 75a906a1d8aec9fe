"""What a run began with is what it goes on with."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_diffuser.fit.config import Config, load_config, parse_config
from hpc_diffuser.fit.run.begun import begun_config
from hpc_diffuser.fit.run.checkpoints import checkpoint_path, previous_path, write_checkpoint
from hpc_diffuser.fit.run.directory import (
    begin_or_resume,
    input_hashes,
    read_histories,
    read_manifest,
)
from hpc_diffuser.fit.search.history import History, new_history
from hpc_diffuser.system.errors import ChangedError, InputError
from hpc_diffuser.system.storage import sha256


@pytest.fixture
def config(project) -> Config:
    """The tiny fit's config."""
    return load_config(project / "fit.toml")


def changed(config: Config, section: str, **values) -> Config:
    """A config with other values in a section."""
    return replace(config, **{section: replace(getattr(config, section), **values)})


def test_begin_writes_config_and_manifest(config):
    """The config as it was written, all settings, inputs by hash, versions."""
    begin_or_resume(config, "# as written\n")
    directory = config.run.directory
    assert sorted(os.listdir(directory)) == ["config.toml", "manifest.json"]
    assert (directory / "config.toml").read_text() == "# as written\n"
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest == read_manifest(directory)
    assert manifest["settings"]["search.restarts"] == 2
    assert manifest["settings"]["parameters.mode_amplitude_A"] == [0.0, 0.6]
    assert manifest["inputs"] == {
        "structure.modes": sha256(config.structure.modes),
        "target.file": sha256(config.target.file),
    }
    assert {"Python", "numpy", "scikit-optimize", "h5py"} <= set(manifest["versions"])


def test_same_config_resumes(config):
    """Nothing changed: no complaint."""
    begin_or_resume(config, "")
    begin_or_resume(config, "")


def test_a_run_whose_samples_were_added_otherwise_goes_on(config, capsys):
    """Of a version that did not tell how: it resumes, once with a word about last digits."""
    begin_or_resume(config, "")
    path = config.run.directory / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sums"]
    path.write_text(json.dumps(manifest))
    begin_or_resume(config, "")
    assert "last digits" in capsys.readouterr().err
    begin_or_resume(config, "")
    assert "last digits" not in capsys.readouterr().err


def test_run_that_recorded_fewer_versions_resumes(config):
    """What an earlier version of this program did not record is no difference; a known one is."""
    begin_or_resume(config, "")
    path = config.run.directory / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["versions"]["Python"], manifest["versions"]["h5py"]
    path.write_text(json.dumps(manifest))
    begin_or_resume(config, "")
    manifest = read_manifest(config.run.directory)
    path.write_text(json.dumps(manifest | {"versions": manifest["versions"] | {"Python": "3.1"}}))
    with pytest.raises(ChangedError, match=r"Python: 3\.1 → 3\.[0-9.]+\)"):
        begin_or_resume(config, "")


def begun_before_estimators(config) -> None:
    """A run as a version without [model] estimator began it."""
    begin_or_resume(config, "")
    path = config.run.directory / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["settings"]["model.estimator"]
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize("asked", ["auto", "sampled"])
def test_a_run_without_an_estimator_goes_on_sampling(config, asked):
    """All that there was; and it remembers it."""
    begun_before_estimators(config)
    for _ in range(2):
        assert begin_or_resume(changed(config, "model", estimator=asked), "").model.estimator == (
            "sampled"
        )
        manifest = read_manifest(config.run.directory)
        assert begun_config(config.run.directory, manifest).model.estimator == "sampled"


def test_another_estimator_is_another_run(config):
    """Asked for by name; left open, it is that of the start."""
    begun_before_estimators(config)
    with pytest.raises(ChangedError, match=r"model\.estimator: sampled → one-phonon"):
        begin_or_resume(changed(config, "model", estimator="one-phonon"), "")
    directory = config.run.directory.with_name("other")
    other = changed(changed(config, "run", directory=directory), "model", estimator="one-phonon")
    directory.mkdir()
    begin_or_resume(other, "")
    assert begin_or_resume(changed(other, "model", estimator="auto"), "") == other


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("search", {"restarts": 5}),
        ("search", {"evaluations": 50}),
        ("model", {"final_samples": 64}),
        ("run", {"groups": 2}),
        ("grid", {"d_min_A": 3.0}),
    ],
)
def test_what_may_change(config, section, values):
    """How much is done and by how many: a resumed run does it, and remembers it."""
    begin_or_resume(config, "old")
    new = changed(config, section, **values)
    begin_or_resume(new, "new")
    settings = read_manifest(config.run.directory)["settings"]
    assert all(settings[f"{section}.{key}"] == value for key, value in values.items())
    assert (config.run.directory / "config.toml").read_text() == "new"


@pytest.mark.parametrize(
    ("section", "values", "difference"),
    [
        ("model", {"seed": 4}, "model.seed: 3 → 4"),
        ("model", {"samples": 8}, "model.samples: 4 → 8"),
        ("model", {"sampler": "random"}, "model.sampler: sobol → random"),
        ("search", {"initial_points": 4}, "search.initial_points: 3 → 4"),
        ("target", {"score": "pooled"}, "target.score: shell-mean → pooled"),
        ("structure", {"n_modes": None}, "structure.n_modes: 2 → none"),
        ("structure", {"conformer": "B"}, "structure.conformer: A → B"),
        ("structure", {"hydrogens": True}, "structure.hydrogens: False → True"),
        (
            "parameters",
            {"translation_sigma_A": (0.1, 0.9)},
            "parameters.translation_sigma_A: [0.1, 0.8] → [0.1, 0.9]",
        ),
        ("crystal", {"space_group": "P -1"}, "crystal.space_group: none → P -1"),
    ],
)
def test_changed_setting_is_named(config, section, values, difference):
    """What the answer depends on must be the same; the difference is told as old → new."""
    begin_or_resume(config, "")
    with pytest.raises(ChangedError) as caught:
        begin_or_resume(changed(config, section, **values), "new")
    message = str(caught.value)
    assert difference in message and str(config.run.directory) in message and "\n" not in message
    assert caught.value.exit_code == 78
    assert (config.run.directory / "config.toml").read_text() == ""


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        (
            [[0.0, 0.25], [0.0, 0.5], [0.0, 0.75]],
            [[0.0, 0.25], [0.0, 0.5], [0.1, 0.75]],
            "value 3: [0.0, 0.75] → [0.1, 0.75]",
        ),
        ([0.125, 0.25, 0.375, 0.5], [0.125, 0.25, 0.375], "value 4: 0.5 → none"),
        ([0.125, 0.25, 0.375, 0.5], 0.125, ": [0.125, 0.25, 0.375, 0.5] → 0.125"),
    ],
)
def test_difference_in_a_long_list(config, old, new, difference):
    """The value that differs, wherever it is: the beginnings of the lists may be the same."""
    begin_or_resume(changed(config, "parameters", mode_amplitude_A=old), "")
    with pytest.raises(ChangedError, match=r"parameters\.mode_amplitude_A") as caught:
        begin_or_resume(changed(config, "parameters", mode_amplitude_A=new), "")
    assert difference in str(caught.value)


def test_difference_at_the_end_of_a_text(config):
    """Texts are shown whole, however long."""
    long = "a text of more than 24 characters, number "
    begin_or_resume(changed(config, "crystal", space_group=long + "1"), "")
    with pytest.raises(ChangedError, match=f"space_group: {long}1 → {long}2"):
        begin_or_resume(changed(config, "crystal", space_group=long + "2"), "")


def test_every_difference_is_named(config):
    """Two settings and two inputs at once: four differences in one message."""
    begin_or_resume(config, "")
    for path in (config.structure.modes, config.target.file):
        path.write_bytes(path.read_bytes() + b"\0")
    new = changed(changed(config, "model", seed=4), "target", weights="errors")
    with pytest.raises(ChangedError) as caught:
        begin_or_resume(new, "")
    message = str(caught.value)
    for key in ("model.seed", "target.weights", "structure.modes", "target.file"):
        assert f"{key}: " in message
    assert message.count("→") == 4


def test_changed_input_is_named_by_its_hash(config):
    """Another file under the same name: the beginnings of both SHA-256."""
    begin_or_resume(config, "")
    old = sha256(config.structure.modes)
    config.structure.modes.write_bytes(b"other")
    new = sha256(config.structure.modes)
    with pytest.raises(ChangedError) as caught:
        begin_or_resume(config, "")
    assert f"structure.modes: {old[:12]}… → {new[:12]}…" in str(caught.value)


def test_moved_input_is_the_same(config):
    """What counts is the content: a copy elsewhere resumes."""
    begin_or_resume(config, "")
    moved = config.structure.modes.rename(config.structure.modes.with_name("moved.h5"))
    begin_or_resume(changed(config, "structure", modes=moved), "")


def test_input_of_another_kind_is_a_change(config, project):
    """`file` in place of `modes`: both keys differ."""
    begin_or_resume(config, "")
    new = changed(config, "structure", modes=None, file=project / "model.pdb")
    with pytest.raises(
        ChangedError, match=r"structure\.file: none → .*structure\.modes: .* → none"
    ):
        begin_or_resume(new, "")


def with_restarts(config: Config, *lengths: int) -> None:
    """A run that has begun, with so many evaluations of each restart."""
    begin_or_resume(config, "old")
    for restart, n in enumerate(lengths):
        done = History(np.ones((n, 2)), np.full(n, 0.5), new_history(2).hedge)
        write_checkpoint(checkpoint_path(config.run.directory, restart), done)


@pytest.mark.parametrize(
    ("values", "difference"),
    [
        ({"restarts": 1}, "search.restarts: 2 → 1, but restart 1 has begun"),
        ({"evaluations": 4}, "search.evaluations: 5 → 4, but a restart has 5"),
    ],
)
def test_less_than_has_been_done_is_refused(config, contents, values, difference):
    """The answer of a run is of all that it has computed: code 78, and nothing is changed."""
    with_restarts(config, 5, 5)
    before = contents(config.run.directory)
    with pytest.raises(ChangedError) as caught:
        begin_or_resume(changed(config, "search", **values), "new")
    assert difference in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 78
    assert contents(config.run.directory) == before


@pytest.mark.parametrize("values", [{"restarts": 1}, {"evaluations": 4}])
def test_less_than_was_planned_but_not_than_was_done(config, values):
    """Of two restarts of five evaluations one has begun, and has four."""
    with_restarts(config, 4)
    begin_or_resume(changed(config, "search", **values), "new")
    assert (config.run.directory / "config.toml").read_text() == "new"


def test_checkpoints_that_have_just_been_replaced_count(config):
    """Where there is only the previous one, what it holds has been done."""
    with_restarts(config, 4, 4)
    path = checkpoint_path(config.run.directory, 1)
    path.rename(previous_path(path))
    with pytest.raises(ChangedError, match="restart 1 has begun"):
        begin_or_resume(changed(config, "search", restarts=1), "new")


@pytest.mark.parametrize(
    ("first", "second"), [(("--models", "rbt"), ()), ((), ("--models", "rbt"))]
)
def test_comparison_and_fit_do_not_share_a_directory(call, project, first, second):
    """In either order: one line, code 78, and no file is made."""
    assert call("fit", "fit.toml", *first, folder=project).returncode == 0
    files = sorted((project / "run").rglob("*"))
    result = call("fit", "fit.toml", *second, folder=project)
    assert result.returncode == 78 and result.stdout == ""
    assert "another [run] directory" in result.stderr.splitlines()[-1]
    assert sorted((project / "run").rglob("*")) == files


def test_input_hashes_of_missing_file(config):
    """A file that is gone is bad input, and named."""
    config.target.file.unlink()
    with pytest.raises(InputError, match=str(config.target.file)):
        input_hashes(config)


def test_nothing_given_has_no_hashes():
    """Without inputs there is nothing to hash."""
    assert input_hashes(parse_config("", Path("/nowhere"))) == {}


@pytest.mark.parametrize("content", [None, "", "[]", '{"format": "other"}', "{"])
def test_not_a_run_directory(tmp_path, content):
    """A folder without a manifest of this program is refused by its name."""
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=str(tmp_path)):
        read_manifest(tmp_path)


@pytest.mark.parametrize("damage", ["settings", "inputs"])
def test_manifest_without_a_section(config, damage):
    """A manifest that lacks what it should hold cannot be compared: bad input, not a crash."""
    begin_or_resume(config, "")
    path = config.run.directory / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[damage]
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=str(path)):
        begin_or_resume(config, "")


def test_histories_of_restarts_that_have_begun(tmp_path):
    """Only those with a checkpoint, only up to the number asked for."""
    history = new_history(2).extended(np.ones(2), 0.5, new_history(2).hedge)
    for restart in (0, 2, 5):
        write_checkpoint(checkpoint_path(tmp_path, restart), history)
    assert sorted(read_histories(tmp_path, 5)) == [0, 2]
    assert sorted(read_histories(tmp_path, 6)) == [0, 2, 5]
    assert read_histories(tmp_path / "none", 3) == {}
