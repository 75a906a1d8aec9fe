"""A fit whose objective is χ²: what it stores, says, and refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.restarts import best_cc, merit
from hpc_diffuser.fit.run.checkpoints import read_restart
from hpc_diffuser.fit.run.directory import begin_or_resume
from hpc_diffuser.fit.scoring import score_at_voxels
from hpc_diffuser.io.maps.native import read_map, read_target, write_target
from hpc_diffuser.maps.diffuse_map import values_at
from hpc_diffuser.maps.statistics import correlation_sums
from hpc_diffuser.maps.target import Target
from hpc_diffuser.system.errors import ChangedError, InputError

KNOTS = 4


def with_errors(target: Target) -> Target:
    """With noise of an eighth of the map's spread, on a background that bends; some negative."""
    rng = np.random.default_rng(2)
    s = np.sqrt(target.grid.inverse_d_squared(target.indices))
    sigma = np.full(len(s), target.intensity.std() / 8, np.float32)
    level = target.intensity.mean() * np.interp(s, [0.16, 0.3, 0.41], [0.5, -1.5, 0.2])
    intensity = target.intensity + level + rng.normal(0, sigma)
    return replace(target, intensity=intensity.astype(np.float32), errors=sigma)


def with_halves(target: Target) -> Target:
    """The same with half-maps instead of errors."""
    noisy, n = with_errors(target), target.n_shells
    noise = np.random.default_rng(3).normal(0, np.sqrt(2) * noisy.errors, (2, len(noisy.free)))
    halves = noisy.intensity + noise
    sums = correlation_sums(*halves, None, noisy.free * n + noisy.shells(), 2 * n)
    return replace(noisy, errors=None, half_sums=sums.reshape(2, n, -1))


@pytest.fixture
def likely(project: Path, edit) -> Path:
    """The project, with errors and a score that uses them."""
    write_target(project / "target.h5", with_errors(read_target(project / "target.h5")), {})
    edit(
        project / "fit.toml",
        'file = "target.h5"',
        f'file = "target.h5"\nscore = "likelihood"\nbackground_knots = {KNOTS}',
    )
    return project


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "run" / "summary.json").read_text())


def test_a_fit_by_likelihood(likely, call, quick_figures):
    """Stored objectives are χ²/χ₀², CC beside them; the final map has the χ² that is told."""
    result = call("fit", "fit.toml", folder=likely)
    assert result.returncode == 0, result.stderr
    found, target = summary_of(likely), read_target(likely / "target.h5")
    calculated = values_at(read_map(likely / "run" / "calculated.h5").intensity, target.indices)
    score = score_at_voxels(target, calculated, "shell-mean", "none", KNOTS)
    kept = found["likelihood"]
    assert kept["chi_squared_work"] == pytest.approx(score.likelihood.work, rel=1e-5)
    assert kept["chi_squared_free"] == pytest.approx(score.likelihood.free, rel=1e-5)
    assert kept["explained"] == pytest.approx(1 - score.likelihood.objective, rel=1e-5)
    assert kept["sigma_of"] == "errors" and len(kept["background"]) == KNOTS
    assert found["cc_work"] == pytest.approx(score.cc_work, rel=1e-5)
    assert found["score"] == {"rule": "shell-mean", "weights": "none"}
    history, _ = read_restart(likely / "run", 0)
    assert len(history.cc_work) == len(history.objectives) == 5
    assert best_cc(history) == history.cc_work[np.argmin(history.objectives)] != merit(history)
    assert ((history.objectives > 0) & (history.objectives <= 1)).all()
    best = found["best"]
    assert best["cc_work"] == best_cc(read_restart(likely / "run", best["restart"])[0])
    text = call("report", "run", folder=likely).stdout
    assert f"chi^2 of each voxel   {kept['chi_squared_work']:9.4g}" in text
    assert "background of 4 knots" in text


def test_an_interrupted_fit_goes_on(likely, call, contents):
    """Two evaluations fewer, then resumed: the bits of the uninterrupted one."""
    assert call("fit", "fit.toml", folder=likely).returncode == 0
    whole = read_restart(likely / "run", 1)[0]
    other = likely / "other"
    text = (likely / "fit.toml").read_text().replace('directory = "run"', 'directory = "other"')
    (likely / "less.toml").write_text(text.replace("evaluations = 5", "evaluations = 3"))
    (likely / "more.toml").write_text(text)
    assert call("fit", "less.toml", folder=likely).returncode == 0
    assert call("fit", "more.toml", folder=likely).returncode == 0
    resumed = read_restart(other, 1)[0]
    for name in ("points", "objectives", "cc_work"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))


def test_half_maps_say_sigma(likely, target, call):
    """Where the map has no errors; also of --test, which keeps a part of the target."""
    write_target(likely / "target.h5", with_halves(target), {})
    result = call("fit", "fit.toml", folder=likely)
    assert result.returncode == 0, result.stderr
    assert summary_of(likely)["likelihood"]["sigma_of"] == "half-maps"
    assert call("fit", "fit.toml", "--test", folder=likely).returncode == 0


@pytest.mark.slow
def test_least_squares_by_likelihood(likely, edit, call):
    """A dozen evaluations find the weights, 0.4 and 0.2 Å, that the noisy map was made with."""
    edit(likely / "fit.toml", "restarts = 2", 'method = "least-squares"\nrestarts = 1')
    edit(likely / "fit.toml", "evaluations = 5", "evaluations = 15")
    edit(likely / "fit.toml", "samples = 4", "samples = 64")
    edit(likely / "fit.toml", "final_samples = 8", "final_samples = 512")
    edit(likely / "fit.toml", f"knots = {KNOTS}", "knots = 15")  # one where the background bends
    edit(likely / "fit.toml", "[0.0, 0.6]", "[0.0, 0.9]")
    edit(likely / "fit.toml", "[target]", "[prior]\namplitudes = 1\n[target]")
    result = call("fit", "fit.toml", folder=likely)
    assert result.returncode == 0, result.stderr
    found = summary_of(likely)
    np.testing.assert_allclose(found["best"]["mode_amplitude_A"], [0.4, 0.2], rtol=0.08)
    assert found["likelihood"]["chi_squared_work"] == pytest.approx(1, abs=0.1)
    assert 0 < found["prior"]["of_amplitudes"] < 1e-3


def test_score_of_a_map(likely, call):
    """Of the fit's own map as the fit has it; with as many knots as the default."""
    assert call("fit", "fit.toml", folder=likely).returncode == 0
    words = ("score", "run/calculated.h5", "target.h5", "--score", "likelihood", "--json", "s.json")
    result = call(*words, folder=likely)
    assert result.returncode == 0, result.stderr
    found = json.loads((likely / "s.json").read_text())
    assert found["cc_work"] == pytest.approx(summary_of(likely)["cc_work"], rel=1e-5)
    assert len(found["likelihood"]["knots"]) == 12
    assert "chi^2 of each voxel" in result.stdout


def test_what_has_no_sigma_is_refused(likely, target, call):
    """In one line, before anything is computed, with what to do."""
    write_target(likely / "target.h5", target, {})
    for words in (("fit", "fit.toml"), ("score", "map.nxs", "target.h5", "--score", "likelihood")):
        result = call(*words, folder=likely)
        assert result.returncode == 65
        assert "neither intensity_errors nor half-maps" in result.stderr
        assert 'score = "shell-mean"' in result.stderr and result.stderr.count("\n") == 1
    errors = with_errors(target).errors.copy()
    errors[:7] = 0
    write_target(likely / "target.h5", replace(with_errors(target), errors=errors), {})
    result = call("fit", "fit.toml", folder=likely)
    assert result.returncode == 65 and f"7 of {len(errors)} are not" in result.stderr


def test_a_run_of_an_older_version_goes_on(finished, tmp_path):
    """Settings that its manifest lacks were what they are by default now; others are named."""
    config = parse_config((finished / "fit.toml").read_text(), finished)
    config = replace(config, run=replace(config.run, directory=tmp_path))
    begin_or_resume(config, "", False)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["settings"]["target.background_knots"]
    path.write_text(json.dumps(manifest))
    begin_or_resume(config, "", False)
    path.write_text(json.dumps(manifest))
    other = replace(config, target=replace(config.target, background_knots=9))
    with pytest.raises(ChangedError, match="background_knots: 12 → 9"):
        begin_or_resume(other, "", False)


@pytest.mark.parametrize(("knots", "valid"), [("1", False), ("2", True), ("2.5", False)])
def test_number_of_knots(knots, valid, tmp_path):
    text = f"[target]\nbackground_knots = {knots}"
    if valid:
        assert parse_config(text, tmp_path).target.background_knots == 2
    else:
        with pytest.raises(InputError, match=r"target\.background_knots should be a whole number"):
            parse_config(text, tmp_path)
