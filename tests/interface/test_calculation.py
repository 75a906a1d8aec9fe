"""Calculations on one process: those of the commands, to the same bits, and nothing written."""

import os

import numpy as np
import pytest

import hpc_diffuser as hd
from hpc_diffuser.fit import problem
from hpc_diffuser.fit.run.checkpoints import read_checkpoint
from hpc_diffuser.system.errors import InputError

HELD = {"mode_amplitude_A": [0.4, 0.2], "translation_sigma_A": 0.4}


@pytest.fixture
def model(inputs, monkeypatch):
    """The twelve atoms' modes on a coarse grid, as a dictionary."""
    monkeypatch.chdir(inputs)
    return {
        "structure": {"modes": "modes.h5"},
        "grid": {"oversampling": [3, 3, 3], "d_min_A": 2.5},
        "model": {"samples": 512, "seed": 5},
    }


def cc(one, other):
    """Pearson, where both are known."""
    known = np.isfinite(one) & np.isfinite(other)
    return np.corrcoef(one[known], other[known])[0, 1]


def test_simulated_map_is_the_closed_forms(model, diffuse):
    """The Gaussian pair sum of the same motions; all Laue mates, nothing beyond 2.5 Å."""
    found = hd.simulate(model, HELD)
    assert cc(found.intensity, diffuse.intensity) > 0.9995
    assert np.array_equal(np.isnan(found.intensity), np.isnan(diffuse.intensity))


def test_simulate_is_the_command(model, call, project):
    """Same bits from a file, a dictionary and a Config, with parameters inside or beside."""
    text = (project / "fit.toml").read_text()
    text = text.replace("[0.0, 0.6]", "[[0.4, 0.4], [0.2, 0.2]]").replace("[0.1, 0.8]", "0.4")
    (project / "held.toml").write_text(f"{text}\n[grid]\noversampling = [3, 3, 3]\nd_min_A = 2.5\n")
    assert call("simulate", "held.toml", folder=project).returncode == 0
    written = hd.open_map(project / "map.nxs").intensity
    assert np.array_equal(hd.simulate(project / "held.toml").intensity, written, equal_nan=True)
    beside = hd.open_config(project / "held.toml")
    same = hd.simulate(beside, {"translation_sigma_A": 0.4}).intensity
    assert np.array_equal(same, written, equal_nan=True)
    other = hd.simulate(beside, {"translation_sigma_A": np.float64(0.5)}).intensity
    assert not np.array_equal(other, written, equal_nan=True)


def test_simulate_a_run(finished):
    """At its answer, on its target's grid: what it has calculated, but for the samples."""
    run = hd.open_run(finished / "run")
    found = hd.simulate(run)
    assert found.grid.divisions == run.target.grid.divisions
    places = tuple((run.target.indices + found.grid.extent).T)
    # Eight samples each, other ones.
    assert cc(found.intensity[places], run.calculated) > 0.95


def test_score_is_the_runs(finished):
    """Of its own calculated map, as objects and as files; and a shell's by NumPy."""
    run = hd.open_run(finished / "run")
    found = hd.score(run.calculated_map, run)
    assert found.cc_work == pytest.approx(run.summary.outcome.cc_work, abs=1e-5)
    assert found.cc_free == pytest.approx(run.summary.outcome.cc_free, abs=1e-5)
    assert (found.map, found.target) == ("", str(finished / "run"))
    files = hd.score(finished / "run" / "calculated.h5", finished / "target.h5")
    assert (files.cc_work, files.shells) == (found.cc_work, found.shells)
    target = run.target
    rows = (target.shells() == 1) & ~target.free
    by_numpy = np.corrcoef(run.calculated[rows], target.intensity[rows])[0, 1]
    assert found.shells[1].cc == pytest.approx(by_numpy, abs=1e-5)


def test_score_of_another_crystal(finished, diffuse):
    """Refused, not compared index by index."""
    from dataclasses import replace

    grid = replace(diffuse.grid, unit_cell=(20.0, 15.0, 16.0, 88.0, 105.0, 98.0))
    with pytest.raises(InputError, match="expected them to agree to 2 %"):
        hd.score(replace(diffuse, grid=grid), finished / "target.h5")


def test_target_of_a_map(inputs, target, tmp_path):
    """As the command cuts it; written and opened again."""
    found = hd.make_target(inputs / "map.nxs", d_max_A=6.0, d_min_A=2.5, n_shells=3)
    assert np.array_equal(found.indices, target.indices)
    assert np.array_equal(found.free, target.free)
    hd.save_target(tmp_path / "target.h5", found)
    assert np.array_equal(hd.open_target(tmp_path / "target.h5").indices, target.indices)
    with pytest.raises(InputError, match=r"d_min: unknown option .* expected one of d_max_A"):
        hd.make_target(inputs / "map.nxs", d_min=2.5)
    nothing = hd.make_target(inputs / "map.nxs", inputs / "map.nxs", d_max_A=6.0, d_min_A=2.5)
    assert abs(nothing.intensity).max() < 1e-4 * abs(found.intensity).max()
    with pytest.raises(InputError, match="subtract_scale: expected one of one, shells, found 2"):
        hd.make_target(inputs / "map.nxs", inputs / "map.nxs", "2")


def test_a_restart_is_the_runs(finished, tmp_path, contents):
    """Its points and objectives to the bit; its score is that of its map; nothing is written."""
    before = contents(finished)
    restart = hd.fit_restart(finished / "fit.toml", 1)
    stored = read_checkpoint(finished / "run" / "restart_0001.h5")
    assert np.array_equal(restart.points, stored.points)
    assert np.array_equal(restart.objectives, stored.objectives)
    assert restart.refined == hd.open_run(finished / "run").refined
    best = restart.points[restart.objectives.argmin()]
    assert restart.answer["mode_amplitude_A"] == [*best[:2]]
    assert restart.answer["translation_sigma_A"] == best[2]
    target, shells = restart.target, restart.target.shells()
    by_shell = [
        np.corrcoef(target.intensity[rows], restart.calculated[rows])[0, 1]
        for rows in (target.free & (shells == shell) for shell in range(target.n_shells))
    ]
    assert restart.cc_free == pytest.approx(np.mean(by_shell), abs=1e-5)
    assert contents(finished) == before


def test_a_restart_with_as_many_samples_as_it_takes(finished, model, monkeypatch):
    """ "auto" needs no run directory, and makes none; a Config is as good as a file.

    What fewer samples would be worth, a run's page tells; a restart does not pay for it.
    """
    monkeypatch.setattr(problem, "with_fewer", None)
    config = hd.open_config(
        {
            **model,
            "target": {"file": "target.h5"},
            "parameters": {"translation_sigma_A": [0.1, 0.8]},
            "model": {"samples": "auto", "map_error": 0.01, "final_samples": 8},
            "search": {"evaluations": 3, "initial_points": 3},
            "run": {"directory": "nowhere"},
        }
    )
    restart = hd.fit_restart(config)
    assert restart.points.shape == (3, 1) and restart.bounds.tolist() == [[0.1, 0.8]]
    assert not os.path.exists("nowhere")


def test_the_session_is_left_as_it_was(model):
    """Its environment and its BLAS threads."""
    from threadpoolctl import threadpool_info

    before = dict(os.environ), threadpool_info()
    hd.simulate({**model, "model": {"samples": 4}}, HELD)
    assert (dict(os.environ), threadpool_info()) == before


MISTAKES = {
    "range": (lambda m: hd.simulate(m, {"translation_sigma_A": [0.1, 0.2]}), "translation_sigma_A"),
    "unknown": (lambda m: hd.simulate(m, {"sigma": 1.0}), "parameters.sigma: expected one of"),
    "limit": (lambda m: hd.simulate(m, {"translation_sigma_A": -1}), "cannot be negative"),
    "key": (lambda m: hd.simulate({**m, "grids": {}}), 'unknown key "grids"'),
    "file": (lambda m: hd.simulate("none.toml"), "none.toml: No such file"),
    "rule": (lambda m: hd.score("map.nxs", "target.h5", "mean"), "rule: expected shell-mean or"),
    "number": (lambda m: hd.fit_restart(m, -1), "number: expected a whole number from 0"),
    "nothing": (lambda m: hd.fit_restart(m), "nothing to refine"),
    "axis": (lambda m: hd.plot_section(hd.open_map("map.nxs"), "x"), 'expected "h", "k" or "l"'),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(model, name):
    """One line that says what was expected."""
    attempt, reason = MISTAKES[name]
    with pytest.raises(InputError) as error:
        attempt(model)
    assert reason in str(error.value) and "\n" not in str(error.value)


def test_a_run_without_an_answer(finished, tmp_path):
    """There is nothing to simulate yet."""
    import shutil

    project = shutil.copytree(finished, tmp_path / "project")
    (project / "run" / "summary.json").unlink()
    with pytest.raises(InputError, match=r"not finished \(none of its restarts\)"):
        hd.simulate(hd.open_run(project / "run"))


def test_files(inputs, tmp_path, modes, diffuse):
    """What was written is opened, with the same numbers."""
    assert np.array_equal(hd.open_modes(inputs / "modes.h5").vectors, modes.vectors)
    crystal = hd.open_structure(str(inputs / "model.pdb"))
    assert np.allclose(crystal.structure.positions, modes.structure.positions, atol=1e-3)
    assert crystal.space_group == "P 1" and crystal.unit_cell[0] == pytest.approx(14.0)
    hd.save_map(tmp_path / "map.nxs", diffuse)
    again = hd.open_map(tmp_path / "map.nxs")
    assert np.allclose(again.intensity, diffuse.intensity, rtol=1e-5, equal_nan=True)
    hd.save_map(tmp_path / "map.mtz", diffuse)
    assert np.isfinite(hd.open_map(tmp_path / "map.mtz").intensity).sum() > 1000


def test_what_a_notebook_shows(inputs, finished, modes, diffuse, target):
    """One line of each object, not its arrays."""
    assert repr(modes) == "Modes(2 modes of 12 atoms, P 1)"
    assert repr(modes.structure) == "Structure(12 atoms of 3 residues)"
    assert repr(diffuse).startswith("DiffuseMap(33 x 37 x 39 samples, 3 x 3 x 3 to a recip")
    assert repr(target) == (
        f"Target({len(target.free)} voxels, {target.free.sum()} of them free, 3 shells, "
        "6.00-2.50 Å, P 1)"
    )
    assert repr(hd.open_run(finished / "run")).startswith("Run(directory=")
