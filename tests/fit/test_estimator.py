"""[model] estimator: what a model may have, what is chosen, and what a run remembers of it."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.problem import compare, computation, load_problem
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError

EXPANSIONS = ("one-phonon", "control-variate")


def with_model(project, estimator: str, **parameters):
    """The tiny fit's config with an estimator and other ranges."""
    config = load_config(project / "fit.toml")
    return replace(
        config,
        model=replace(config.model, estimator=estimator),
        parameters=replace(config.parameters, **parameters),
    )


@pytest.mark.parametrize("estimator", EXPANSIONS)
def test_it_reaches_the_moments(project, estimator):
    """Maps of the same points differ, but not much."""
    maps = []
    for name in ("sampled", estimator):
        problem = load_problem(with_model(project, name))
        model, _ = compare(problem, Ranks())
        parameters = replace(problem.space.middle, mode_amplitudes_A=np.array([0.05, 0.1]))
        maps.append(model.internal_motion(parameters, problem.normals(64, 0)))
    off = np.sqrt(np.mean((maps[1] - maps[0]) ** 2) / np.mean(maps[0] ** 2))
    assert 1e-6 < off < 0.02


@pytest.mark.parametrize("estimator", EXPANSIONS)
def test_libration_refuses_what_is_of_gaussian_motion(project, estimator):
    """By name, in one line; what is left open samples."""
    config = with_model(project, estimator, libration_sigma_deg=(0.0, 2.0))
    with pytest.raises(InputError, match=f'"{estimator}" is of Gaussian.*libration') as caught:
        load_problem(config)
    assert "\n" not in str(caught.value)
    problem = load_problem(replace(config, model=replace(config.model, estimator="sampled")))
    how = computation(config.model, problem.modes, problem.space)
    assert how.estimator == "sampled"


@pytest.mark.parametrize("estimator", EXPANSIONS)
def test_a_rigid_molecule_has_nothing_to_expand(project, estimator):
    """It may be one of several models that are compared: no error."""
    config = with_model(project, estimator, mode_amplitude_A=None)
    config = replace(config, structure=replace(config.structure, n_modes=0))
    problem = load_problem(config)
    assert computation(config.model, problem.modes, problem.space).estimator == "sampled"
