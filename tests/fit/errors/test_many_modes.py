"""Errors of many modes, from slopes to one-phonon order: against those from maps beside them."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import UNIT_CELL, tiny_structure

from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.errors import known_slopes
from hpc_diffuser.fit.errors.intervals import Intervals
from hpc_diffuser.fit.errors.uncertainty import parameter_intervals
from hpc_diffuser.fit.problem import Problem, compare
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

M, SIGMA_T, SAMPLES = 6, 0.4, 256
CONFIG = """\
[structure]
modes = "modes.h5"
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [0.0, 0.6]
translation_sigma_A = [0.1, 0.8]
"""


@pytest.fixture(scope="module")
def moving(tmp_path_factory) -> tuple[Modes, Target]:
    """Twelve atoms with six modes, 0.28 Å in all, and 30 % noise on their closed form."""
    vectors = np.random.default_rng(8).normal(size=(M, 12, 3))
    vectors *= np.sqrt(12 / np.sum(vectors**2, axis=(1, 2), keepdims=True))
    amplitudes = 0.28 * np.array([0.6, 0.5, 0.4, 0.35, 0.25, 0.2])
    modes = Modes(tiny_structure(), vectors, amplitudes, UNIT_CELL, "P 1")
    grid = grid_to_resolution(UNIT_CELL, (2, 2, 2), 2.5)
    indices = grid.indices_between(6.0, 2.5)
    true = pair_sum_intensity(
        modes.structure.positions,
        form_factors(modes.structure.elements, grid.inverse_d_squared(indices)),
        indices / np.array(grid.divisions) @ fractionalization(UNIT_CELL),
        amplitudes[:, None, None] * vectors,
        Disorder(translation_sigma_A=SIGMA_T),
    )
    edges = np.linspace(1 / 6, 1 / 2.5, 4)
    target = Target(grid, indices, true, None, np.zeros(len(true), bool), edges, "P 1")
    shells = target.shells()
    width = np.array([true[shells == shell].std() for shell in range(3)])[shells]
    noise = 0.3 * width * np.random.default_rng(1).normal(size=len(true))
    return modes, replace(target, intensity=true + noise)


@pytest.fixture(scope="module")
def found(moving, tmp_path_factory) -> tuple[Intervals, Intervals]:
    """From maps beside the truth, and to one-phonon order."""
    modes, target = moving
    folder = tmp_path_factory.mktemp("many")
    (folder / "fit.toml").write_text(CONFIG)
    config = parse_config(CONFIG, folder)
    space = search_space(config.parameters, modes.amplitudes_A)
    problem = Problem(config, modes, target, space)
    model, _ = compare(problem, Ranks())
    values = space.by_name(np.append(modes.amplitudes_A, SIGMA_T))
    exact = parameter_intervals(problem, model, values, SAMPLES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_slopes, "MANY", M)
        quick = parameter_intervals(problem, model, values, SAMPLES)
    assert exact is not None and quick is not None
    assert (exact.first_order, quick.first_order) == (0, M)
    return exact, quick


def test_standard_errors_are_nearly_the_exact_ones(found):
    """Modes to 10 % each and 5 % on average; the translation's is from maps in both."""
    exact, quick = (np.array(one.standard_errors) for one in found)
    np.testing.assert_allclose(quick, exact, rtol=0.1)
    assert abs(np.mean(quick / exact) - 1) < 0.05


def test_correlations_are_nearly_the_exact_ones(found):
    """Each to 0.1."""
    exact, quick = (np.array(one.correlation) for one in found)
    np.testing.assert_allclose(quick, exact, atol=0.1)


def test_few_parameters_have_maps_beside_them(found):
    """As many as until now: nothing changes for a fit of ten modes."""
    assert known_slopes.MANY == 20 and found[0].first_order == 0
