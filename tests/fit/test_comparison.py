"""Models fitted one after the other: the table, resuming, other bases, two ranks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_structure, with_little_to_do
from launching import launch
from scipy.spatial.transform import Rotation

from hpc_diffuser.commands.pages.comparison import comparison_text
from hpc_diffuser.fit import comparison, refinement
from hpc_diffuser.fit.comparison import with_models
from hpc_diffuser.fit.comparison_table import (
    read_comparison,
    write_comparison,
)
from hpc_diffuser.fit.config import (
    ModelsConfig,
    TargetConfig,
    load_config,
)
from hpc_diffuser.fit.inputs import load_modes
from hpc_diffuser.fit.problem import compare, load_problem
from hpc_diffuser.fit.run.lock import run_lock
from hpc_diffuser.fit.summary import Ceiling
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.plots.models import plot_model_shells
from hpc_diffuser.system import stopping
from hpc_diffuser.system.errors import InputError

FIT = ("fit", "fit.toml", "--models", "rbt,rbt+int")


@pytest.fixture(scope="module")
def inputs(inputs, tmp_path_factory) -> Path:
    """The project with little to do."""
    return with_little_to_do(inputs, tmp_path_factory.mktemp("short") / "project")


@pytest.fixture(scope="module")
def compared(inputs, program, tmp_path_factory) -> tuple[Path, str]:
    """The project's folder after a comparison of rbt and rbt+int; and what was printed."""
    folder = Path(shutil.copytree(inputs, tmp_path_factory.mktemp("compared") / "project"))
    result = program(*FIT, folder=folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("rbt,md", "--models: expected models made of the terms rbt, int"),
        ("int,sol", "model sol: nothing moves: expected a motion too"),
        ("int,halo", "model halo: expected [parameters] halo_alpha"),
        ("rbt,int,res", "model res: parameters.residual_b_fraction: expected [crystal]"),
    ],
)
def test_mistakes_are_told_before_the_first_fit(call, project, edit, names, complaint):
    """One line and code 65; no model has begun."""
    edit(project / "fit.toml", "translation_sigma_A = [0.1, 0.8]", "translation_sigma_A = 0.4")
    result = call("fit", "fit.toml", "--models", names, folder=project)
    assert result.returncode == 65
    assert complaint in result.stderr and result.stderr.count("\n") == 1
    assert not list((project / "run").glob("*/manifest.json"))


def test_a_held_model_is_scored_once(call, project, edit):
    """A row of its own: one restart of one evaluation, whose CC is that of the final map."""
    edit(project / "fit.toml", "translation_sigma_A = [0.1, 0.8]", "translation_sigma_A = 0.4")
    edit(project / "fit.toml", "[target]", '[crystal]\nfile = "model.pdb"\n[target]')
    result = call("fit", "fit.toml", "--models", "rbt,rbt+int", folder=project)
    assert result.returncode == 0, result.stderr
    held, fitted = json.loads((project / "run" / "models.json").read_text())["models"]
    assert held["refined"] == [] and held["median"] == {"translation_sigma_A": 0.4}
    summary = json.loads((project / "run" / "rbt" / "summary.json").read_text())
    assert (summary["restarts"], summary["evaluations"]) == (1, 1)
    assert summary["best"]["cc_work"] == pytest.approx(held["cc_work"], abs=1e-9)
    assert held["cc_work"] < fitted["cc_work"] + 0.01
    # Translation by 0.4 Å alone: B = 8π²σ² for every atom.
    mean = np.mean(tiny_structure().b_factors_A2)
    assert held["b_factors"]["mean_ratio"] == pytest.approx(8 * np.pi**2 * 0.16 / mean, abs=1e-2)
    numbers = held["b_factors"]["mean_ratio"], 100 * held["b_factors"]["moves_more"]
    assert "rbt           none{:12.2f}{:9.0f} %".format(*numbers) in result.stdout
    assert call("fit", "fit.toml", "--models", "rbt", "--test", folder=project).returncode == 0


@pytest.mark.parametrize("compare", ["", 'compare = ["rbt", "llm"]'])
@pytest.mark.parametrize("test", [(), ("--test",)])
def test_bases_that_nothing_is_fitted_with(call, project, compare, test):
    """Refused in one line, whether the file is there or not; --models may ask for less."""
    with (project / "fit.toml").open("a") as file:
        file.write(f'[models]\n{compare}\nbases = {{other = "other.h5"}}\n')
    result = call("fit", "fit.toml", *test, folder=project)
    assert result.returncode == 65 and result.stderr.count("\n") == 1
    assert "models.bases: no model is fitted with them: expected one with int" in result.stderr
    assert not (project / "run").exists()
    given = load_config(project / "fit.toml")
    assert with_models(given, "rbt").models.compare == ("rbt",)


def test_other_bases_are_refitted(call, project, edit):
    """Two other modes of the first eight atoms: a run of its own, as a plain fit of them would be.

    The map is of the twelve atoms with their own modes, which fit it better. Of the basis, n_modes
    and range are those of the config.
    """
    own = load_modes(load_config(project / "fit.toml"))
    first = np.arange(8)
    vectors = np.random.default_rng(1).normal(size=(2, 8, 3))
    vectors *= np.sqrt(8 / np.sum(vectors**2, axis=(1, 2), keepdims=True))
    other = replace(own, structure=own.structure.select(first), vectors=vectors)
    write_modes(project / "other.h5", replace(other, crystal_b_A2=None), {"command": "test"})
    edit(project / "fit.toml", "[target]", '[models]\nbases = {other = "other.h5"}\n[target]')
    result = call("fit", "fit.toml", "--models", "rbt,rbt+int", folder=project)
    assert result.returncode == 0, result.stderr
    rows = json.loads((project / "run" / "models.json").read_text())["models"]
    assert [row["name"] for row in rows] == ["rbt", "rbt+int", "rbt+int@other"]
    assert [row["basis"] for row in rows] == [None, None, "other"]
    assert rows[1]["cc_work"] > rows[2]["cc_work"]
    table = result.stdout[result.stdout.index("The modes of other bases, refitted") :]
    assert f"rbt+int@other       2{rows[2]['cc_work']:9.4f}{rows[2]['cc_free']:9.4f}" in table
    status = call("status", "run", folder=project)
    assert "run/rbt+int@other: finished" in status.stdout
    plain = (project / "fit.toml").read_text().replace('"modes.h5"', '"other.h5"')
    plain = plain.replace('[models]\nbases = {other = "other.h5"}\n', "")
    (project / "plain.toml").write_text(plain.replace('"run"', '"plain"'))
    result = call("fit", "plain.toml", folder=project)
    assert result.returncode == 0, result.stderr
    alone = json.loads((project / "plain" / "summary.json").read_text())
    assert alone["cc_work"] == rows[2]["cc_work"]
    # A changed basis is noticed.
    write_modes(project / "other.h5", replace(other, vectors=-vectors), {"command": "test"})
    result = call("fit", "fit.toml", "--models", "rbt+int@other", folder=project)
    assert result.returncode == 78 and "structure.modes" in result.stderr


def test_translation_alone_is_the_best_there_is(call, project, edit):
    """Its own sigma, though the fit holds 0.1 Å: no sigma of a fine scan of 0 to 2 Å is better.

    The solvent is the answer's, held here.
    """
    edit(project / "fit.toml", "translation_sigma_A = [0.1, 0.8]", "translation_sigma_A = 0.1")
    edit(project / "fit.toml", "[parameters]", "[parameters]\nk_sol_eA3 = 0.2\nb_sol_A2 = 30.0")
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 0, result.stderr
    alone = json.loads((project / "run" / "summary.json").read_text())["translation_alone"]
    assert (alone["k_sol_eA3"], alone["b_sol_A2"]) == (0.2, 30.0)
    problem = load_problem(load_config(project / "fit.toml"))
    model, comparison = compare(problem, Ranks())
    scan = {
        sigma: comparison.score(
            model.rigid(Parameters(np.empty(0), Disorder(sigma), k_sol_eA3=0.2, b_sol_A2=30.0))
        ).cc_work
        for sigma in np.arange(0.02, 2.0, 0.02)
    }
    best = max(scan, key=scan.get)
    assert alone["translation_sigma_A"] == pytest.approx(best, abs=0.021) and best > 0.15
    assert alone["cc_work"] >= scan[best] - 1e-9
    assert (
        f"its own best sigma, {alone['translation_sigma_A']:.3f} Å, the answer's" in result.stdout
    )


def test_profile_is_measured_without_the_free_set(inputs):
    """Whatever the free set's intensities are, the empirical halo is the same."""
    own = load_config(inputs / "fit.toml")
    ranges = replace(own.parameters, halo_alpha=(1.0, 4.0))
    problem = load_problem(replace(own, parameters=ranges))
    free, intensity = problem.target.free, problem.target.intensity.copy()
    intensity[free] *= 10
    other = replace(problem, target=replace(problem.target, intensity=intensity))
    parameters = problem.space.farthest
    one, two = (compare(p, Ranks())[0].rigid(parameters) for p in (problem, other))
    np.testing.assert_array_equal(one, two)


def test_other_bases_on_one_structure(call, project, edit):
    """`positions = "structure"`: the modes alone are another basis's, whatever its mean structure.

    The basis has the same modes about other positions, turned: on its own it fits worse, on the
    structure of [structure] as well as those, but for the orientation's rounding.
    """
    own = load_modes(load_config(project / "fit.toml"))
    turn = Rotation.from_euler("xyz", [50, 30, 80], degrees=True)
    swollen = replace(own.structure, positions=turn.apply(1.3 * own.structure.positions))
    vectors = np.array([turn.apply(field) for field in own.vectors])
    other = replace(own, structure=swollen, vectors=vectors)
    write_modes(project / "other.h5", replace(other, crystal_b_A2=None), {"command": "test"})
    bases = '[models]\ncompare = ["rbt+int"]\nbases = {other = "other.h5"}\n'
    edit(project / "fit.toml", "[target]", bases + "[target]")
    rows = {}
    for name in ("own", "structure"):
        text = (project / "fit.toml").read_text().replace('"run"', f'"{name}"')
        given = text.replace("[models]\n", f'[models]\npositions = "{name}"\n')
        (project / f"{name}.toml").write_text(given)
        result = call("fit", f"{name}.toml", folder=project)
        assert result.returncode == 0, result.stderr
        rows[name] = read_comparison(project / name).models
    assert rows["own"][0] == rows["structure"][0]
    assert rows["own"][1].cc_work < rows["own"][0].cc_work - 0.01
    assert rows["structure"][1].cc_work == pytest.approx(rows["own"][0].cc_work, abs=1e-3)
    assert rows["structure"][1].positions_file == "modes.h5"
    assert rows["own"][1].positions_file is None
    assert "   other.h5, on the structure of modes.h5\n" in result.stdout
    manifest = json.loads((project / "structure" / "rbt+int@other" / "manifest.json").read_text())
    assert set(manifest["inputs"]) == {"structure.modes", "structure.positions", "target.file"}


def test_modes_on_another_structure(call, project, edit):
    """[structure] positions: of a PDB file, whose B-factors are the crystal's; with modes only."""
    own = load_modes(load_config(project / "fit.toml"))
    b_factors = np.arange(1.0, 1 + len(own.structure))
    shifted = replace(own.structure, positions=own.structure.positions + 1, b_factors_A2=b_factors)
    write_pdb(project / "crystal.pdb", shifted, (own.unit_cell, own.space_group))
    edit(
        project / "fit.toml", 'modes = "modes.h5"', 'modes = "modes.h5"\npositions = "crystal.pdb"'
    )
    found = load_modes(load_config(project / "fit.toml"))
    np.testing.assert_allclose(found.structure.positions, shifted.positions, atol=1e-3)
    np.testing.assert_allclose(found.vectors, own.vectors, atol=1e-3)
    np.testing.assert_array_equal(found.crystal_b_A2, b_factors)
    edit(project / "fit.toml", 'modes = "modes.h5"\n', 'file = "crystal.pdb"\n')
    edit(project / "fit.toml", "n_modes = 2\n", "")
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 65
    assert "structure.positions: expected it with modes only" in result.stderr


def test_a_structure_without_modes(call, project, edit):
    """Has no int to fit."""
    edit(project / "fit.toml", 'modes = "modes.h5"\nn_modes = 2', 'file = "model.pdb"')
    result = call(*FIT, folder=project)
    assert result.returncode == 65
    assert "model rbt+int: no modes for the term int" in result.stderr


def test_table_and_json_have_the_same_numbers(compared):
    """Those of each model's own summary; `report` prints the table again."""
    folder, printed = compared
    comparison = json.loads((folder / "run" / "models.json").read_text())
    assert [row["name"] for row in comparison["models"]] == ["rbt", "rbt+int"]
    for row in comparison["models"]:
        summary = json.loads((folder / "run" / row["name"] / "summary.json").read_text())
        for key in ("refined", "cc_work", "cc_free"):
            assert row[key] == summary[key]
        for point in ("median", "answer"):
            for key, value in row[point].items():
                assert value == summary[point][key]
        assert row["answer_is"] == summary["answer_is"]
        for i, shell in enumerate(comparison["shells"]):
            assert shell["cc"][row["name"]] == summary["shells"][i]["cc"]
    rigid, moving = comparison["models"]
    assert list(rigid["median"]) == ["translation_sigma_A"] and rigid["refined"] != []
    assert rigid["shuffled_modes"] is None
    assert moving["shuffled_modes"]["orders"] == 1
    first = f"rbt            1{rigid['cc_work']:9.4f}{rigid['cc_free']:9.4f}   translation"
    assert first in printed
    assert f"{moving['shuffled_modes']['cc_free']['largest']:9.4f}" in printed
    assert comparison_text(read_comparison(folder / "run")) in printed
    assert "\nCC_work, CC_free: mean over the shells\n" in printed


def test_ceiling_of_the_data(compared):
    """Below the models' CC, where the target has half-maps."""
    found = read_comparison(compared[0] / "run")
    assert found.ceiling is None and "CC*" not in comparison_text(found)
    limited = replace(found, ceiling=Ceiling(cc_half=0.5, cc_star=0.8165))
    expected = "CC*                0.8165            of the data; CC½ is 0.5000"
    assert expected in comparison_text(limited)


def test_cc_free_by_shell(compared):
    """A table of its own, of all models, with the free voxels of each shell."""
    found = read_comparison(compared[0] / "run")
    table = compared[1].partition("CC_free by shell\n")[2].splitlines()
    assert table[0].split() == ["Shell", "d", "(Å)", "voxels:", "free", "rbt", "rbt+int"]
    for line, shell in zip(table[1:], found.shells, strict=False):
        values = [f"{shell.cc_free[name]:.4f}" for name in ("rbt", "rbt+int")]
        assert line.split()[2:] == [f"{shell.d_min:.2f}", str(shell.voxels_free), *values]


def test_figure_of_a_comparison(compared, call):
    """`report --png` draws all models by shell, working and free set, beside the same page."""
    folder = compared[0]
    done = call("report", "run", "--text", "--png", "shells.png", folder=folder)
    assert done.returncode == 0, done.stderr
    text = comparison_text(read_comparison(folder / "run"))
    assert done.stdout == f"{text}\n\nCC against resolution: shells.png\n"
    assert (folder / "shells.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("free", [False, True])
def test_curves_of_a_comparison(compared, free):
    """Every model's CC next to the middle of each shell; an undefined one leaves a gap."""
    found = read_comparison(compared[0] / "run")
    shells = [replace(found.shells[0], cc_free={"rbt": None, "rbt+int": 0.5}), *found.shells[1:]]
    axes = plot_model_shells(replace(found, shells=tuple(shells)), free)
    inner = np.array([0 if s.d_max is None else 1 / s.d_max for s in shells])
    outer = np.array([1 / s.d_min for s in shells])
    for line, model in zip(axes.get_lines(), found.models, strict=True):
        x, y = line.get_data()
        expected = [(s.cc_free if free else s.cc)[model.name] for s in shells]
        np.testing.assert_array_equal(y, np.array(expected, float))
        assert (np.abs(x - (inner + outer) / 2) < 0.2 * (outer - inner).min()).all()
    overall = [model.cc_free if free else model.cc_work for model in found.models]
    labels = [f"{m.name}, {cc:.3f}" for m, cc in zip(found.models, overall, strict=True)]
    assert axes.get_legend_handles_labels()[1] == labels


def test_models_json_comes_back_as_it_was(compared, tmp_path):
    """Read and written again: the same bytes. Damaged: one line, with the key."""
    written = (compared[0] / "run" / "models.json").read_bytes()
    write_comparison(tmp_path, read_comparison(compared[0] / "run"))
    assert (tmp_path / "models.json").read_bytes() == written
    data = json.loads(written)
    del data["models"][1]["cc_free"]
    (tmp_path / "models.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"models\.json: damaged: models\.1\.cc_free is lacking: "):
        read_comparison(tmp_path)


def test_report_and_status_of_a_comparison(call, compared, tmp_path):
    """The same table; a paragraph for each model; a figure of them all."""
    folder, printed = compared
    result = call("report", "--text", "run", folder=folder)
    assert result.returncode == 0
    assert result.stdout.strip() and result.stdout.strip() in printed
    result = call("status", "run", folder=folder)
    assert result.returncode == 0
    assert "a comparison of models, of which have begun: rbt, rbt+int" in result.stdout
    assert "run/rbt+int: finished" in result.stdout
    result = call("report", "--text", "run", "--png", tmp_path / "a.png", folder=folder)
    assert result.returncode == 0 and "a.png" in result.stdout
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_damaged_comparison(call, tmp_path):
    """One line."""
    (tmp_path / "models.json").write_text("[]")
    result = call("report", "--text", ".")
    assert result.returncode == 65
    assert "models.json: not a comparison of models" in result.stderr


def test_stopped_and_resumed(call, compared, project, monkeypatch):
    """Stopped in each model: code 75 each time, and in the end the same models.json.

    Five evaluations of the first model's six, then the other one and four of the second's.
    """
    write, written = refinement.write_checkpoint, []

    def counted(path, history):
        write(path, history)
        written.append(path.parent.name)
        if len(written) % 5 == 0:
            stopping._requested.append(15)

    monkeypatch.setattr(refinement, "write_checkpoint", counted)
    codes = []
    while 75 in codes[-1:] or not codes:
        stopping._requested.clear()
        codes.append(call(*FIT, folder=project).returncode)
        if len(codes) == 1:
            result = call("report", "--text", "run", folder=project)
            assert result.returncode == 0, result.stderr
            assert "rbt" in result.stdout, "of the models that have begun"
    assert codes == [75, 75, 0]
    assert written == ["rbt"] * 6 + ["rbt+int"] * 6
    expected = (compared[0] / "run" / "models.json").read_bytes()
    assert (project / "run" / "models.json").read_bytes() == expected


def test_another_model_is_added_to_a_comparison(call, compared, project, monkeypatch):
    """The fitted ones are as they were, whatever the list is: nothing of them is evaluated."""
    shutil.copytree(compared[0] / "run", project / "run")
    write, written = refinement.write_checkpoint, []

    def noted(path, history):
        write(path, history)
        written.append(path.parent.name)

    monkeypatch.setattr(refinement, "write_checkpoint", noted)
    result = call("fit", "fit.toml", "--models", "unc,rbt", folder=project)
    assert result.returncode == 0, result.stderr
    assert set(written) == {"unc"}
    rows = json.loads((project / "run" / "models.json").read_text())["models"]
    assert [row["name"] for row in rows] == ["unc", "rbt"]


def test_a_comparison_in_use(call, project):
    """Code 73, also where the other job is at another model."""
    with run_lock(project / "run"):
        assert call(*FIT, folder=project).returncode == 73


def test_tried_out(call, project):
    """--test fits every model of the config, and leaves nothing behind."""
    with (project / "fit.toml").open("a") as file:
        file.write('[models]\ncompare = ["unc", "int"]\n')
    result = call("fit", "fit.toml", "--test", folder=project)
    assert result.returncode == 0, result.stderr
    assert "\nunc          1 " in result.stdout and "\nint          2 " in result.stdout
    assert not (project / "run").exists()


def test_the_same_on_two_ranks(compared, project):
    """Every bit of models.json."""
    result = launch(2, *FIT, folder=project, warm=True)
    assert result.returncode == 0, result.stderr
    expected = (compared[0] / "run" / "models.json").read_bytes()
    assert (project / "run" / "models.json").read_bytes() == expected


def test_target_is_needed(inputs):
    """What no model can do without is told with the first one's name."""
    own = replace(load_config(inputs / "fit.toml"), target=TargetConfig())
    own = replace(own, models=ModelsConfig(("rbt",)))
    with pytest.raises(InputError, match=r"model rbt: \[target\]"):
        comparison._checked_configs(load_problem, own)
