"""Which model explains the halos: against plain sums over atoms and over Brillouin zones."""

import csv
import json
import os
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from builders import direct_sum, s_vectors
from conftest import UNIT_CELL, tiny_structure

from hpc_diffuser import simulate
from hpc_diffuser.commands import halos
from hpc_diffuser.commands.pages.halos import halos_csv, halos_text
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.halo_models import ALPHAS, HaloComparison, compare_halos, halos_data
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.maps.target import Target, TargetOptions, make_target
from hpc_diffuser.plots.halos import halos_figure
from hpc_diffuser.system.errors import DiffuserError, InputError

TRUTH = {
    "structure": {"file": "model.pdb"},
    "lattice": {"contact_A": 12.0},
    "grid": {"oversampling": [3, 3, 3], "d_min_A": 3.0},
    "parameters": {"lattice_spring_A": 4.0},
    "model": {"samples": 32},
}
CONFIG = """\
[structure]
file = "model.pdb"
[lattice]
contact_A = 12
[target]
file = "target.h5"
[parameters]
lattice_spring_A = [1, 9]
[model]
samples = 8
final_samples = 32
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> tuple[HaloComparison, Target]:
    """Twelve atoms on springs, with 10 % noise, and the models beside their map."""
    folder = tmp_path_factory.mktemp("halos")
    write_pdb(folder / "model.pdb", tiny_structure(), (UNIT_CELL, "P 1"))
    truth = TRUTH | {"structure": {"file": str(folder / "model.pdb")}}
    options = TargetOptions(6.0, 3.0, halo_radius=0.0, n_shells=3)
    target = make_target(simulate(truth, noise=0.1), options)
    write_target(folder / "target.h5", target, {})
    (folder / "fit.toml").write_text(CONFIG)
    return compare_halos(load_config(folder / "fit.toml"), ("lat",), 3 / 7, print), target


def by_shell(values: np.ndarray, target: Target, rows: np.ndarray) -> list[float]:
    """numpy's CC of the working voxels among some."""
    shells, kept = target.shells(), rows & ~target.free
    groups = [kept & (shells == s) for s in range(target.n_shells)]
    return [np.corrcoef(values[g], target.intensity[g])[0, 1] for g in groups]


def between_halos(target: Target) -> np.ndarray:
    hkl = target.indices / 3
    return np.linalg.norm(hkl - np.rint(hkl), axis=1) > 3 / 7


def rigid(target: Target, sigma_A: float) -> np.ndarray:
    """|F|² (1 − e^{−q²σ²}), F by a sum over the atoms."""
    s = s_vectors(target.grid, target.indices)
    q_squared = 4 * np.pi**2 * np.sum(s**2, axis=1)
    return np.abs(direct_sum(tiny_structure(), s)) ** 2 * (1 - np.exp(-q_squared * sigma_A**2))


def profile(target: Target) -> dict[tuple, float]:
    """The working voxels and their mates at each place of a zone, one after the other."""
    places: dict[tuple, list[float]] = {}
    for index, value, free in zip(target.indices, target.intensity, target.free, strict=True):
        for mate in () if free else (index, -index):
            places.setdefault(tuple(np.mod(mate, 3).tolist()), []).append(float(value))
    mean = {place: np.mean(values) for place, values in places.items()}
    return {place: value - min(mean.values()) for place, value in mean.items()}


def test_rigid_body_and_empirical_halo_are_plain_sums(found):
    """With the σ that was found; α is the best of the scan, which is of tenths from 0.1 to 8."""
    comparison, target = found
    rbt, empirical, _ = comparison.models
    assert [m.name for m in comparison.models] == ["rbt", "empirical", "lat"]
    values, masked = rigid(target, rbt.refined["translation_sigma_A"]), between_halos(target)
    zone = profile(target)
    factor = np.array([zone[tuple(i)] for i in np.mod(target.indices, 3).tolist()])
    alpha = empirical.refined["halo_alpha"]
    for model, of in ((rbt, values), (empirical, values * factor**alpha)):
        for agreement, rows in ((model.everywhere, masked | ~masked), (model.between, masked)):
            np.testing.assert_allclose(agreement.shells_work, by_shell(of, target, rows), atol=2e-3)
            assert agreement.cc_work == pytest.approx(np.mean(agreement.shells_work))
    assert [row.alpha for row in comparison.scan] == pytest.approx(np.arange(1, 81) / 10)
    scanned = [np.mean(by_shell(values * factor**a, target, masked | ~masked)) for a in ALPHAS]
    np.testing.assert_allclose([r.everywhere for r in comparison.scan], scanned, atol=2e-3)
    assert alpha == ALPHAS[np.argmax([row.everywhere for row in comparison.scan])]
    assert empirical.refined["translation_sigma_A"] == rbt.refined["translation_sigma_A"]


def test_springs_explain_what_was_made_of_them(found):
    """Their length to 5 %, CC of the noise with the halos and without; all else is worse."""
    comparison, target = found
    rbt, empirical, lattice = comparison.models
    assert lattice.refined["lattice_spring_A"] == pytest.approx(4, rel=0.05)
    assert min(lattice.everywhere.cc_free, lattice.between.cc_work) > 0.97
    assert rbt.everywhere.cc_work < empirical.everywhere.cc_work < lattice.everywhere.cc_work
    assert rbt.between.cc_work < lattice.between.cc_work
    assert [s.voxels for s in comparison.shells] == target.counts().sum(axis=0).tolist()
    assert sum(s.between for s in comparison.shells) == between_halos(target).sum()


def test_text_table_and_figure_have_the_same_numbers(found):
    """Of every model, with the halos and between them."""
    comparison, _ = found
    text = halos_text(comparison)
    for model in comparison.models:
        assert f"{model.everywhere.cc_work:9.4f}{model.everywhere.cc_free:9.4f}" in text
    assert f"halo alpha {comparison.models[1].refined['halo_alpha']:.3g}" in text
    rows = list(csv.DictReader(StringIO(halos_csv(comparison).decode())))
    assert len(rows) == len(comparison.shells)
    for i, row in enumerate(rows):
        assert float(row["lat between CC_work"]) == pytest.approx(
            comparison.models[2].between.shells_work[i], rel=1e-5
        )
    data = json.loads(json.dumps(halos_data(comparison)))
    assert data["format"] == "hpc-diffuser/halos" and len(data["scan"]) == 80
    figure = halos_figure(comparison)
    everywhere, between, scan = figure.axes
    for ax, where in ((everywhere, "everywhere"), (between, "between")):
        for line, model in zip(ax.lines, comparison.models, strict=True):
            np.testing.assert_allclose(line.get_ydata(), getattr(model, where).shells_work)
    np.testing.assert_allclose(scan.lines[0].get_ydata(), [r.everywhere for r in comparison.scan])


def test_targets_without_halos_are_refused(found, tmp_path):
    """Or with nothing else: in one line, with the remedy, before a second model is fitted."""
    _, target = found
    write_pdb(tmp_path / "model.pdb", tiny_structure(), (UNIT_CELL, "P 1"))
    for rows, message in (
        (between_halos(target), "no voxel lies in a halo: .* --halo-radius 0"),
        (~between_halos(target), "all voxels lie in halos"),
    ):
        write_target(tmp_path / "target.h5", replace(target, half_sums=None).at(rows), {})
        (tmp_path / "fit.toml").write_text(CONFIG)
        with pytest.raises(InputError, match=message):
            halos.run(halos.Options(tmp_path / "fit.toml"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"halo_radius": 0.05}, "--halo-radius: no voxel of .* expected a larger one .*has [1-9]"),
        ({"models": ("lat+rbt",)}, "the springs of the lattice say how the molecule moves"),
        ({"json": "file/x.json"}, "file/x.json: cannot be written"),
        ({"png": "folder"}, "folder: cannot be written .it is a folder.: expected a file"),
    ],
)
def test_everything_is_checked_before_the_first_fit(found, tmp_path, monkeypatch, options, message):
    """Option, last model, outputs: the target has halos, but its peaks are masked to 0.1."""
    _, target = found
    hkl = target.indices / 3
    kept = np.linalg.norm(hkl - np.rint(hkl), axis=1) > 0.1
    write_pdb(tmp_path / "model.pdb", tiny_structure(), (UNIT_CELL, "P 1"))
    write_target(tmp_path / "target.h5", replace(target, half_sums=None).at(kept), {})
    (tmp_path / "fit.toml").write_text(CONFIG)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpc_diffuser.fit.halo_models.run_of_problem", None)
    given = {key: Path(x) if isinstance(x, str) else x for key, x in options.items()}
    with pytest.raises(DiffuserError, match=message):
        halos.run(halos.Options(tmp_path / "fit.toml", **given))
    assert sorted(os.listdir(tmp_path)) == ["file", "fit.toml", "folder", "model.pdb", "target.h5"]


@pytest.mark.parametrize("weight", [0, 2])
def test_a_prior_that_holds_models_back_is_told(found, tmp_path, monkeypatch, capsys, weight):
    """The rigid body too has less CC then than it could."""
    comparison, _ = found
    monkeypatch.setattr("hpc_diffuser.fit.halo_models.compare_halos", lambda *given: comparison)
    lines = f"[parameters]\nlattice_spring_A = [0.5, 6.0]\n[prior]\nb_factors = {weight}\n"
    inputs = '[structure]\nfile = "model.pdb"\n[target]\nfile = "target.h5"\n'
    (tmp_path / "fit.toml").write_text(inputs + lines)
    halos.run(halos.Options(tmp_path / "fit.toml"))
    assert ("takes part in every fit" in capsys.readouterr().out) == bool(weight)
