"""The objective's gradient against differences: by every voxel of a map, and by parameters."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import tiny_map, tiny_modes, tiny_target

from hpc_diffuser.fit.config import ParametersConfig
from hpc_diffuser.fit.results import objective
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.fit.stepping.gradient import score_and_gradient
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

# Rule, weights, knots of a likelihood's background.
SCORED = [
    ("shell-mean", "none", None),
    ("pooled", "none", None),
    ("shell-mean", "errors", None),
    ("pooled", "errors", None),
    ("shell-mean", "none", 4),
]


@pytest.fixture(scope="module")
def noisy():
    """A target with errors and noise, whose free voxels are some of each shell."""
    target = tiny_target(tiny_map(tiny_modes()))
    rng = np.random.default_rng(1)
    errors = rng.uniform(0.5, 2, len(target.intensity)) * target.intensity.std()
    noise = 0.3 * target.intensity.std() * rng.normal(size=len(errors))
    return replace(
        target,
        intensity=(target.intensity + noise).astype(np.float32),
        errors=errors.astype(np.float32),
        free=rng.uniform(size=len(errors)) < 0.1,
    )


def model_of(target, transform="direct"):
    how = Computation(0.3, "target", transform)
    return forward_model(tiny_modes(), target.grid, target.indices, Ranks(), how)


@pytest.mark.parametrize(("rule", "weights", "knots"), SCORED)
def test_slope_by_every_voxel(noisy, rule, weights, knots):
    """Central differences in random directions of the map, and of single voxels; 0 at free ones."""
    comparison = Comparison(noisy, model_of(noisy), rule, weights, knots)
    rng = np.random.default_rng(2)
    x = noisy.intensity.astype(float) + rng.normal(size=len(noisy.free)) * noisy.intensity.std()
    score, slope = comparison.slope(x)
    assert objective(score) == objective(comparison.score(x))
    assert not slope[noisy.free].any()
    directions = [rng.normal(size=len(x)) * x.std(), noisy.intensity.astype(float)]
    for v in np.flatnonzero(~noisy.free)[::500]:
        directions.append(np.where(np.arange(len(x)) == v, 100 * x.std(), 0.0))
    for direction in directions:
        ends = [objective(comparison.score(x + h * direction)) for h in (1e-4, -1e-4)]
        expected = (ends[0] - ends[1]) / 2e-4
        assert slope @ direction == pytest.approx(expected, 1e-5, 1e-9)


@pytest.mark.parametrize(("rule", "weights", "knots"), [SCORED[0], SCORED[3], SCORED[4]])
def test_gradient_by_refined_parameters(noisy, rule, weights, knots):
    """Of those alone that are refined, in their order: differences of the objective to 1e-4."""
    config = ParametersConfig(
        mode_amplitude_A=((0.1, 0.5), (0.2, 0.2)),
        translation_sigma_A=((0.1, 0.6), (0.3, 0.3), (0.1, 0.6)),
        uncorrelated_sigma_A=(0.1, 0.4),
    )
    space = search_space(config, np.full(2, 0.3))
    assert space.refined_names == (
        "mode_amplitude_A",
        "translation_sigma_A",
        "uncorrelated_sigma_A",
    )
    model = model_of(noisy)
    comparison = Comparison(noisy, model, rule, weights, knots)
    normals = normal_samples("sobol", 16, 2, generator(1))
    point = np.array([0.25, 0.35, 0.2, 0.3])
    score, gradient = score_and_gradient(space, model, comparison, point, normals)

    def at(moved):
        return objective(comparison.score(model.internal_motion(space.parameters(moved), normals)))

    assert objective(score) == at(point)
    for i, h in enumerate(np.eye(4) * 0.01):
        expected = (
            8 * (at(point + h) - at(point - h)) - at(point + 2 * h) + at(point - 2 * h)
        ) / 0.12
        assert gradient[i] == pytest.approx(expected, 1e-4, 1e-5)
