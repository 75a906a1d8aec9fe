"""The scale by direction against least squares of explicit columns, and through a fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import succeeded

from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.fit.anisotropic_scale import AnisotropicScale
from hpc_diffuser.fit.scoring import Comparison, score_at_voxels
from hpc_diffuser.io.maps.native import read_target, write_target
from hpc_diffuser.maps.harmonics import laue_harmonics
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

CELL = (17.0, 17.0, 19.0, 90.0, 90.0, 90.0)
TRUE = np.array([0.3, -0.2, 0.15, 0.1])


def made_up(noise: float) -> tuple[Target, np.ndarray, np.ndarray]:
    """A target of 4/m, a map, and what the target is times the map, but for the noise."""
    grid = grid_to_resolution(CELL, (2, 2, 2), 2.5)
    indices = unique_indices(grid, 10, 2.5, grid_operations(grid, "P 41"))
    rng = np.random.default_rng(0)
    s = indices / 2 @ fractionalization(CELL)
    scale = 1 + laue_harmonics(s, "P 41", CELL) @ TRUE
    calculated = rng.gamma(2.0, size=len(indices)) * np.exp(-3 * np.sum(s**2, axis=1)) + 1
    measured = 7 * calculated * scale + noise * rng.normal(size=len(indices))
    free = rng.uniform(size=len(indices)) < 0.1
    edges = np.linspace(0.1, 0.4, 6)
    errors = rng.uniform(0.5, 2, len(indices)).astype(np.float32)
    target = Target(grid, indices, measured, errors, free, edges, "P 41")
    return target, calculated, scale


@pytest.mark.parametrize("weights", ["none", "errors"])
@pytest.mark.parametrize("rule", ["pooled", "shell-mean"])
def test_the_scale_is_found(rule, weights):
    """Without noise but for shells' means: within 3 % of the true one, and the CC is nearly 1."""
    target, calculated, scale = made_up(0.0)
    found = AnisotropicScale(target, np.arange(len(scale)), Ranks(), rule, weights)
    assert found.n_harmonics == len(TRUE)
    factors = found.factors(calculated)
    assert np.abs(factors / factors.mean() - scale / scale.mean()).max() < 0.03
    before, after = (
        score_at_voxels(target, values, rule, weights)
        for values in (calculated, calculated * factors)
    )
    assert after.cc_work > 0.9999 > before.cc_work and after.cc_free > 0.9999


def test_pooled_scale_is_that_of_least_squares():
    """numpy's least squares of columns less their shells' means, weighted: to 1e-9."""
    target, calculated, scale = made_up(5.0)
    found = AnisotropicScale(target, np.arange(len(scale)), Ranks(), "pooled", "errors")
    work, shells = ~target.free, target.shells()
    s = target.indices / 2 @ fractionalization(CELL)
    harmonics = laue_harmonics(s, "P 41", CELL)
    columns = np.column_stack([calculated, calculated[:, None] * harmonics, target.intensity])
    w = 1 / target.errors.astype(np.float64) ** 2
    rows = []
    for shell in range(5):
        own = work & (shells == shell)
        mean = np.average(columns[own], axis=0, weights=w[own])
        rows.append((columns[own] - mean) * np.sqrt(w[own])[:, None])
    every = np.concatenate(rows)
    solved = np.linalg.lstsq(every[:, :-1], every[:, -1], rcond=None)[0]
    expected = 1 + harmonics @ (solved[1:] / solved[0])
    np.testing.assert_allclose(found.factors(calculated), expected, rtol=1e-6)


def test_gradient_of_the_pooled_cc(modes, diffuse):
    """At the best scale its own changes do not count: central differences of the objective."""
    tetragonal = replace(modes, unit_cell=CELL, space_group="P 41")
    target = made_up(0.0)[0]
    how = Computation(0.3, grid="target", transform="direct")
    model = forward_model(tetragonal, target.grid, target.indices, Ranks(), how)
    truth = model.rigid(Parameters(np.zeros(2), Disorder(0.3, 0.2)))
    s = target.indices / 2 @ fractionalization(CELL)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=len(s)) * truth.std() / 2
    scale = 1 + laue_harmonics(s, "P 41", CELL) @ TRUE
    target = replace(target, intensity=truth * scale + noise)
    model.scaling = AnisotropicScale(target, model.rows, Ranks(), "pooled", "none").factors
    comparison, normals = Comparison(target, model, "pooled", "none"), np.zeros((1, 2))

    def objective(sigma):
        moved = Parameters(np.zeros(2), Disorder(sigma, 0.4))
        return 1 - comparison.score(model.internal_motion(moved, normals)).cc_work

    at = Parameters(np.zeros(2), Disorder(0.5, 0.4))
    _, slope = comparison.slope(model.internal_motion(at, normals))
    found = model.gradient(at, normals, slope, ("translation_sigma_A",))
    difference = (objective(0.51) - objective(0.49)) / 0.02
    assert found["translation_sigma_A"][0] == pytest.approx(difference, rel=2e-3)


def test_fit_with_a_scale_by_direction(call, project):
    """A target that is multiplied by one: the option finds it, and summary and report tell."""
    target = read_target(project / "target.h5")
    s = target.indices / np.array(target.grid.divisions) @ fractionalization(target.grid.unit_cell)
    harmonics = laue_harmonics(s, target.space_group, target.grid.unit_cell)
    scale = 1 + 0.4 * harmonics[:, 0]
    write_target(project / "target.h5", replace(target, intensity=target.intensity * scale), {})
    config = project / "fit.toml"
    config.write_text(config.read_text().replace("[target]", "[target]\nanisotropic_scale = true"))
    succeeded(call("fit", "fit.toml", folder=project))
    summary = json.loads((project / "run" / "summary.json").read_text())
    least, largest = summary["anisotropic_scale"]
    assert least == pytest.approx(scale.min(), abs=0.15)
    assert largest == pytest.approx(scale.max(), abs=0.15)
    assert "scale of the data" in succeeded(call("report", "--text", "run", folder=project))
