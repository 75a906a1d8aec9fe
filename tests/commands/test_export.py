"""`export`, as a user meets it: what it writes of modes and of runs, and what it refuses."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import gemmi
import h5py
import mdtraj
import numpy as np
import pytest

from hpc_diffuser.commands import export
from hpc_diffuser.commands.exports.table import KINDS
from hpc_diffuser.io.modes_file import read_modes, write_modes
from hpc_diffuser.system.errors import InputError

B_OF_SQUARE = 8 * np.pi**2 / 3
TRAJECTORY = ("--trajectory", "moving.pdb", "--topology", "model.pdb", "--reference", "model.pdb")


@pytest.fixture
def answer(finished):
    """The answer of the finished run, by parameter name."""
    return json.loads((finished / "run" / "summary.json").read_text())["answer"]


def written(call, folder, *words):
    """The call's lines; it has to succeed, and to write what it says."""
    done = call("export", *words, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_kind_has_a_maker_and_options_that_there_are():
    """The rows of the table name functions and fields that exist; each has an example."""
    fields = set(export.Options.__dataclass_fields__)
    for kind in KINDS:
        assert callable(kind.maker) and {*kind.options, *kind.needs} <= fields
        assert kind.example.startswith("hpc-diffuser export ")


def test_nmd_of_modes_and_of_a_run(call, project, finished, answer, tmp_path):
    """Scales are the file's amplitudes times √N; of a run, those of its answer."""
    for source, amplitudes in (
        (project / "modes.h5", [0.4, 0.2]),
        (finished / "run", answer["mode_amplitude_A"]),
    ):
        written(call, tmp_path, source, "a.nmd")
        rows = [x.split() for x in (tmp_path / "a.nmd").read_text().splitlines()]
        scales = [float(words[2]) for words in rows if words[0] == "mode"]
        np.testing.assert_allclose(scales, np.array(amplitudes) * np.sqrt(12), atol=1e-5)


def test_along_a_mode(call, project, modes):
    """From the mean to K standard deviations on either side and back, as gemmi reads it."""
    words = ("--write", "mode", "--mode", "2", "--reach", "3", "--models", "8")
    said = written(call, project, "modes.h5", "a.pdb", *words)
    assert said[0].startswith("a.pdb: 8 models along mode 2, 3 standard deviations of 0.200 Å")
    found = gemmi.read_structure(str(project / "a.pdb"))
    places = np.array([[cra.atom.pos.tolist() for cra in model.all()] for model in found])
    expected = modes.structure.positions + 0.6 * modes.vectors[1]
    np.testing.assert_allclose(places[2], expected, atol=5.1e-4)
    np.testing.assert_allclose(places[[0, 4]], [modes.structure.positions] * 2, atol=5.1e-4)


def test_an_ensemble_of_a_run(call, finished, answer, modes, tmp_path):
    """Its models' B-factors are those of the answer's modes and translation, and those written."""
    run = finished / "run"
    words = ("--write", "ensemble", "--models", "256")
    said = written(call, tmp_path, run, "a.dcd", *words)
    assert said[-2].startswith("a.dcd: 256 models, rms ") and "translation" in said[-2]
    assert said[-1] == "its atoms: a-atoms.pdb"
    found = mdtraj.load(str(tmp_path / "a.dcd"), top=str(tmp_path / "a-atoms.pdb"))
    squares = (10 * found.xyz).var(axis=0).sum(axis=1)
    of_modes = np.square(answer["mode_amplitude_A"]) @ np.sum(modes.vectors**2, axis=2)
    expected = of_modes + 3 * answer["translation_sigma_A"] ** 2
    np.testing.assert_allclose(squares, expected, rtol=1e-3)  # exact by the sampler; in float32
    written(call, tmp_path, run, "b.pdb", "--write", "b-factors")
    np.testing.assert_allclose(b_factors(tmp_path / "b.pdb"), B_OF_SQUARE * expected, atol=5.1e-3)
    written(call, tmp_path, run, "m.pdb", "--write", "b-factors", "--modes-only")
    np.testing.assert_allclose(b_factors(tmp_path / "m.pdb"), B_OF_SQUARE * of_modes, atol=5.1e-3)


def b_factors(path: Path) -> list[float]:
    """Of a file's atoms, which live no longer than the structure that they are in."""
    structure = gemmi.read_structure(str(path))
    return [cra.atom.b_iso for cra in structure[0].all()]


def test_the_seed_is_all_that_chance_depends_on(call, project):
    """The same bytes again; other ones of another seed."""
    words = ("--write", "ensemble", "--models", "4", "--amplitudes", "0.3")
    data = []
    for seed in (1, 1, 2):
        written(call, project, "modes.h5", "a.pdb", *words, "--seed", seed)
        data.append((project / "a.pdb").read_bytes())
    assert data[0] == data[1] != data[2]


def test_anisou_of_given_amplitudes(call, project, modes):
    """U = σ² Δ Δᵀ of the one mode that moves; a third of its trace is B/8π²."""
    words = ("--write", "anisou", "--amplitudes", "0,0.5")
    written(call, project, "modes.h5", "a.pdb", *words)
    structure = gemmi.read_structure(str(project / "a.pdb"))  # atoms live as long as this
    u = np.array([cra.atom.aniso.as_mat33().tolist() for cra in structure[0].all()])
    field = 0.5 * modes.vectors[1]
    np.testing.assert_allclose(u, field[:, :, None] * field[:, None], atol=5.1e-5)
    thirds = np.trace(u, axis1=1, axis2=2) / 3
    found = b_factors(project / "a.pdb")
    np.testing.assert_allclose(found, 8 * np.pi**2 * thirds, atol=0.01)


def test_overlap(call, project, modes):
    """The same modes in the other order and with other signs."""
    other = replace(modes, vectors=-modes.vectors[::-1], amplitudes_A=modes.amplitudes_A[::-1])
    write_modes(project / "other.h5", other, {})
    words = ("--write", "overlap", "--with", "other.h5")
    said = written(call, project, "modes.h5", "a.csv", *words)
    assert said[1] == "12 atoms in common, of 12 and 12"
    assert said[2] == "RMSIP of the first 2: 1.000"
    header, *rows = (project / "a.csv").read_text().splitlines()
    assert header == "mode,other_1,other_2"
    found = np.array([row.split(",") for row in rows], float)
    cosine = np.sum(modes.vectors[0] * modes.vectors[1]) / 12
    expected = [[1, -cosine, -1], [2, -1, -cosine]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def lysozyme(data):
    """The words that name its trajectory."""
    folder = data / "lysozyme"
    flags = ("--trajectory", "--topology", "--reference")
    names = (folder / x for x in ("trajectory.xtc", "topology.pdb", "6o2h.pdb"))
    return [word for pair in zip(flags, names, strict=True) for word in pair]


@pytest.mark.parametrize(
    "how", [(), ("--superpose", "mean", "--weighting", "mass"), ("--stride", "2")], ids=str
)
def test_projections_of_lysozyme(call, data, tmp_path, how):
    """Columns' standard deviations are the modes' amplitudes; columns are uncorrelated.

    Superposed and weighted as the file says that its modes were.
    """
    where = lysozyme(data)
    done = call("modes", *where, "--n-modes", "5", *how)
    assert done.returncode == 0, done.stderr
    frames = how if "--stride" in how else ()
    words = ("modes.h5", "a.csv", "--write", "projections", *where, *frames)
    said = written(call, tmp_path, *words)
    n = 51 if frames else 101
    assert f"a.csv: {n} frames along 5 modes" in said
    found = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(found[:, 0], np.arange(1, 102, 2 if frames else 1))
    amplitudes = read_modes(tmp_path / "modes.h5").amplitudes_A
    covariance = np.cov(found[:, 1:].T, bias=True)
    np.testing.assert_allclose(covariance, np.diag(amplitudes**2), atol=2e-6)


def test_projections_have_the_files_numbers(call, data, project, tmp_path):
    """Frames 5, 12 … as counted from 1; of several trajectories with the file's name, too.

    Its rows are those of all frames, taken out.
    """
    where = lysozyme(data)
    assert call("modes", *where, "--n-modes", "2").returncode == 0
    some = ("--first", "5", "--stride", "7", "--last", "60")
    words = ("modes.h5", "a.csv", "--write", "projections")
    written(call, tmp_path, *words, *where)
    every = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1)
    written(call, tmp_path, *words, *where, *some)
    found = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1)
    numbers = np.arange(5, 61, 7)
    np.testing.assert_array_equal(found[:, 0], numbers)
    np.testing.assert_allclose(found[:, 1:], every[numbers - 1, 1:], atol=2e-6)
    second = tmp_path / "second, copied.xtc"
    second.write_bytes((data / "lysozyme" / "trajectory.xtc").read_bytes())
    written(call, tmp_path, *words, *where[:2], second, *where[2:], *some)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == [*numbers, *numbers]
    assert [row["file"] for row in rows] == [str(where[1])] * 8 + [str(second)] * 8
    assert [row["mode_1_A"] for row in rows[:8]] == [row["mode_1_A"] for row in rows[8:]]


def test_projections_of_another_molecule(call, data, project):
    """Modes of twelve atoms in a trajectory of lysozyme: how many are in common is told."""
    words = ("modes.h5", "a.csv", "--write", "projections", *lysozyme(data))
    done = call("export", *words, folder=project)
    assert (
        done.returncode == 65 and "has 0 of the modes' 12 atoms, but not A/ALA 1/N" in done.stderr
    )
    with h5py.File(project / "modes.h5", "r+") as file:
        file.attrs["weighting"] = "charm"
    done = call("export", *words, folder=project)
    assert done.returncode == 65 and "expected one of none, mass, electrons" in done.stderr


def test_from_python(project):
    """The same options, and the same errors."""
    output = project / "a.nmd"
    export.run(export.Options(source=project / "modes.h5", output=output, amplitudes=[0.1, 0.2]))
    assert "mode 1 0.346410 " in output.read_text()
    with pytest.raises(InputError, match="--reach: expected a number above 0"):
        export.Options(source="a", output="b", reach=0)


MISTAKES = {
    "ending": (["modes.h5", "a.xyz"], "a.xyz: its ending: expected a name in .nmd, .pdb, .dcd"),
    "choice": (["modes.h5", "a.dcd"], "expected --write mode|ensemble"),
    "other ending": (["modes.h5", "a.csv", "--write", "mode"], "expected a name in .pdb, .dcd"),
    "kind": (["modes.h5", "a.pdb", "--write", "movie"], "invalid choice: 'movie'"),
    "number": (["modes.h5", "a.pdb", "--write", "mode", "--mode", "3"], "has modes 1 to 2"),
    "zero": (["modes.h5", "a.pdb", "--write", "mode", "--mode", "0"], "above 0, found 0"),
    "still": (
        ["modes.h5", "a.pdb", "--write", "mode", "--mode", "2", "--amplitudes", "0.3"],
        "--mode 2: its amplitude in modes.h5 is 0: nothing would move",
    ),
    "all still": (["modes.h5", "a.nmd", "--amplitudes", "0,0"], "all amplitudes are 0"),
    "too many": (["modes.h5", "a.nmd", "--amplitudes", "1,1,1"], "3 for the 2 modes of modes.h5"),
    "negative": (["modes.h5", "a.nmd", "--amplitudes=-1"], "expected lengths in Å as 0.4,0.2,0"),
    "path": (["modes.h5", "a.pdb", "--write", "mode", "--models", "3"], "expected at least 4"),
    "script": (["modes.h5", "a.pml", "--mode", "3"], "has modes 1 to 2"),
    "still script": (["modes.h5", "a.cxc", "--amplitudes", "0,0"], "all amplitudes are 0"),
    "script's path": (["modes.h5", "a.pml", "--models", "3"], "expected at least 4"),
    "room": (
        ["modes.h5", "a.dcd", "--write", "mode", "--models", "99999999999"],
        "99999999999 models of 12 atoms",
    ),
    "useless": (["modes.h5", "a.nmd", "--seed", "2"], "--seed: of no use to --write nmd"),
    "lacking": (["modes.h5", "a.csv", "--write", "overlap"], "expected --with too"),
    "itself": (["model.pdb", "model.pdb", "--write", "b-factors"], "modes file"),
    "input": (
        ["modes.h5", "moving.pdb", "--write", "projections", *TRAJECTORY],
        "expected a name in .csv",
    ),
    "absent": (["none.h5", "a.nmd"], "none.h5: no such file"),
    "no run": ([".", "a.nmd"], "not a run directory"),
    "config": (["modes.h5", "a.nmd", "--config", "fit.toml"], "modes.h5 is a file"),
    "B": (["modes.h5", "a.pdb", "--write", "anisou", "--amplitudes", "9"], "at most 999.99"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(call, project, name):
    """One line, code 65, and nothing written."""
    words, reason = MISTAKES[name]
    before = sorted(project.iterdir())
    done = call("export", *words, folder=project)
    assert done.returncode == 65 and reason in done.stderr
    assert done.stderr.count("\n") == 1 and sorted(project.iterdir()) == before


def test_an_input_is_not_replaced(call, project):
    """By no name of it; of a trajectory, nor is its file of atoms."""
    path = project / "modes.nmd"
    shutil.copy(project / "modes.h5", path)
    kept = path.read_bytes()
    done = call("export", "modes.nmd", "./modes.nmd", folder=project)
    assert done.returncode == 65 and "is an input, and would be replaced" in done.stderr
    assert path.read_bytes() == kept


def test_other_molecules(call, project, modes):
    """How many atoms are in common is told."""
    names = replace(modes.structure, atom_names=np.array(["P", "CX", "CY", "OZ"] * 3))
    write_modes(project / "other.h5", replace(modes, structure=names), {})
    words = ("--write", "overlap", "--with", "other.h5")
    done = call("export", "modes.h5", "a.csv", *words, folder=project)
    assert done.returncode == 65 and "modes.h5 and other.h5: 0 atoms in common" in done.stderr


def test_storage_that_fails_leaves_the_old_file(call, project, monkeypatch):
    """Nothing is half-written."""
    written(call, project, "modes.h5", "a.nmd")
    kept = (project / "a.nmd").read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    done = call("export", "modes.h5", "a.nmd", "--amplitudes", "1", folder=project)
    assert done.returncode == 74 and (project / "a.nmd").read_bytes() == kept
    assert not list(project.glob(".*partial"))


def test_a_run_that_is_not_finished(call, finished, tmp_path):
    """What is missing, and what to do."""
    project = shutil.copytree(finished, tmp_path / "project")
    path = project / "run" / "summary.json"
    summary = json.loads(path.read_text())
    del summary["answer"]
    path.write_text(json.dumps(summary | {"restarts_finished": 1}))
    done = call("export", "run", "a.nmd", folder=project)
    assert done.returncode == 65 and "not finished (1 of 2 of its restarts)" in done.stderr
    path.unlink()
    done = call("export", "run", "a.nmd", folder=project)
    assert done.returncode == 65 and "not finished (none of its restarts)" in done.stderr


def forget_the_places(run):
    """Of the inputs: a manifest of an older version does not say where they lay."""
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["files"]
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_modes_that_have_changed_since(call, finished, tmp_path):
    """The answer is of other modes; --config says where the run's own are now."""
    folder = tmp_path / "moved"
    shutil.copytree(finished, folder)
    forget_the_places(folder / "run")
    with h5py.File(folder / "modes.h5", "r+") as file:
        file.attrs["command"] = "another"
    done = call("export", "run", "a.nmd", folder=folder)
    assert done.returncode == 65 and "another file than when the run was begun" in done.stderr
    where = str(finished / "fit.toml")
    assert call("export", "run", "a.nmd", "--config", where, folder=folder).returncode == 0


def test_a_run_away_from_its_config(call, finished, tmp_path):
    """Found where the project was moved as a whole; else told where to look."""
    shutil.copytree(finished, tmp_path / "moved")
    assert call("export", "moved/run", "a.nmd").returncode == 0
    shutil.copytree(finished / "run", tmp_path / "elsewhere")
    forget_the_places(tmp_path / "elsewhere")
    done = call("export", "elsewhere", "b.nmd")
    assert done.returncode == 65 and "give --config CONFIG.toml" in done.stderr
    done = call("export", "elsewhere", "b.nmd", "--config", "moved/fit.toml")
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / name).read_text() for name in ("a.nmd", "b.nmd"))
    assert first.partition("\n")[2] == second.partition("\n")[2]  # but for its name


@pytest.mark.slow
def test_a_run_of_a_comparison(call, project, edit):
    """One of its models, with that model's own modes; the comparison itself is none."""
    modes = read_modes(project / "modes.h5")
    other = replace(modes, vectors=-modes.vectors[::-1])
    write_modes(project / "other.h5", other, {})
    text = '[models]\ncompare = ["rbt", "rbt+int"]\nbases = { other = "other.h5" }\n[model]'
    edit(project / "fit.toml", "[model]", text)
    edit(project / "fit.toml", "restarts = 2\nevaluations = 5", "restarts = 1\nevaluations = 3")
    fit = call("fit", "fit.toml", folder=project)
    assert fit.returncode == 0, fit.stderr
    done = call("export", "run", "a.nmd", folder=project)
    assert done.returncode == 65 and "look into" in done.stderr
    fields = {}
    for name in ("rbt+int", "rbt+int@other"):
        words = ("--write", "mode", "--amplitudes", "1", "--reach", "1", "--models", "4")
        written(call, project, f"run/{name}", "a.pdb", *words)
        found = gemmi.read_structure(str(project / "a.pdb"))
        fields[name] = [c.atom.pos.tolist() for c in found[1].all()]
    for name, expected in (("rbt+int", modes), ("rbt+int@other", other)):
        moved = expected.structure.positions + expected.vectors[0]
        np.testing.assert_allclose(fields[name], moved, atol=5.1e-4)
    done = call("export", "run/rbt", "a.nmd", folder=project)
    assert done.returncode == 65 and "run/rbt: has no modes" in done.stderr
    said = written(call, project, "run/rbt", "a.pdb", "--write", "anisou")
    assert "translation" in said[-2]
