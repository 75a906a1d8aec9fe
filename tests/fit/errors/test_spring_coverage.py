"""How often intervals of springs hold the truth: noisy data sets, each refitted.

Thirty atoms with one mode, motion of their own and three springs, one for each interface; halos are
kept. The map is that of the model to second order in the squares of all five, about the truth.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import test_coverage
from builders import random_structure
from test_coverage import Bent, Case, coverage

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import ParametersConfig
from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

CELL, D_MIN = (17.0, 18.0, 19.0, 88.0, 105.0, 98.0), 3.0
POINT = np.array([0.3, 0.25, 1.6, 1.2, 1.8])  # Å: the mode, uncorrelated, springs
STEP = 0.05  # of φ


class OnSprings(Bent):
    """As `Bent`, with steps in proportion to each φ."""

    def __init__(self, exact):
        self.group, phi = Ranks(), POINT**2
        n, steps = len(phi), np.diag(STEP * phi)
        middle, right = exact(phi), np.array([exact(phi + e) for e in steps])
        left = np.array([exact(phi - e) for e in steps])
        h = np.diag(steps)
        self._about, self._at = phi, middle
        self._first = (right - left) / (2 * h[:, None])
        self._second = np.empty((n, n, len(middle)))
        for i in range(n):
            self._second[i, i] = (right[i] + left[i] - 2 * middle) / h[i] ** 2
            for j in range(i):
                both = exact(phi + steps[i] + steps[j])
                mixed = (both - right[i] - right[j] + middle) / (h[i] * h[j])
                self._second[i, j] = self._second[j, i] = mixed
        self.rows = np.arange(len(middle))

    def internal_motion(self, parameters: Parameters, normals: np.ndarray) -> np.ndarray:
        own = parameters.disorder.uncorrelated_sigma_A
        values = [*parameters.mode_amplitudes_A, own, *parameters.lattice_spring_A]
        return self.map(np.array(values) ** 2)


def case_on_springs() -> Case:
    """Four samples per reciprocal-lattice unit, 9-3 Å, with all halos."""
    rng = np.random.default_rng(1)
    structure = random_structure(rng, 30, elements=("C", "N", "O", "S"))
    lattice = rigid_lattice(structure, CELL, "P 1", contact_A=11.0)
    vectors = np.cos(structure.positions @ rng.normal(0, 0.15, 3))[None, :, None] * np.ones(3)
    vectors *= np.sqrt(30 / np.sum(vectors**2))
    modes = Modes(structure, vectors, np.full(1, 0.3), CELL, "P 1", lattice=lattice)
    grid = grid_to_resolution(CELL, (4, 4, 4), D_MIN)
    indices = grid.indices_between(9.0, D_MIN)
    model = forward_model(modes, grid, indices, Ranks(), Computation(0.5, "target", "direct"))
    normals = normal_samples("sobol", 32, 4, generator(1))

    def exact(phi: np.ndarray) -> np.ndarray:
        sigma, own, *springs = np.sqrt(phi).tolist()
        values = {"mode_amplitude_A": [sigma], "uncorrelated_sigma_A": own}
        values["lattice_spring_A"] = springs
        return model.internal_motion(parameters_from(values, lattice), normals)

    empty = np.zeros(len(indices))
    edges = np.linspace(1 / 9, 1 / D_MIN, 4)
    target = Target(grid, indices, empty, None, empty.astype(bool), edges, "P 1")
    config = ParametersConfig(
        mode_amplitude_A=(0.0, 1.0),
        uncorrelated_sigma_A=(0.0, 1.0),
        lattice_spring_A=((0.3, 4.0),) * 3,
    )
    return Case(OnSprings(exact), target, search_space(config, np.ones(1), lattice=lattice))


@pytest.mark.slow
def test_intervals_of_springs_hold_the_truth(monkeypatch):
    """Of 100 data sets, 68 % ± 14 of the 68 % intervals, three standard errors of that part.

    Of the mode beside them 62 and 87 %, as the test below has it.
    """
    monkeypatch.setattr(test_coverage, "POINT", POINT)
    monkeypatch.setattr(test_coverage, "refit", within_ranges)
    found = coverage(case_on_springs(), 100, 0.15, 2)
    np.testing.assert_allclose(found.few, 0.68, atol=0.14)
    np.testing.assert_allclose(found.most[1:], 0.95, atol=0.07)


@pytest.mark.slow
@pytest.mark.parametrize(("taps", "of_mode"), [(1, 1.04), (2, 1.22)])
def test_standard_errors_are_what_answers_scatter_by(monkeypatch, taps, of_mode):
    """Over 600 data sets, to first order in their noise, beside the errors that 40 are told.

    Known to 4 %, of which 0.12 are three. Errors are some 4 % too small, as answers follow the
    noise of zones that have much of the curvature. What neighbours share goes across the faces of
    zones, too: in variance 1.13 in the mean over all parameters, which is all that is told, and
    1.37 of the mode, whose slope is not in halos alone. Noise of two voxels is half a zone wide
    at four samples per unit; at seven the ratios are 1.09, 1.09, 1.05, 1.04 and 1.03.
    """
    monkeypatch.setattr(test_coverage, "POINT", POINT)
    case, drawn = case_on_springs(), np.random.default_rng(7)
    problems = [case.noisy(np.random.default_rng(seed), 0.15, taps) for seed in range(40)]
    bends = [bend_at(case, one, within_ranges(case, one) ** 2) for one in problems]
    told = np.sqrt(np.mean([np.diag(bend.covariance()) for bend in bends], axis=0))
    to_first = -np.linalg.inv(np.mean([bend.hessian for bend in bends], axis=0))
    slopes = [slope_at_truth(case, case.noisy(drawn, 0.15, taps)) for _ in range(600)]
    scatter = np.std(np.array(slopes) @ to_first, axis=0)
    np.testing.assert_allclose(scatter / told, [of_mode, 1.04, 1.04, 1.04, 1.04], atol=0.12)


def bend_at(case: Case, problem: SimpleNamespace, phi: np.ndarray) -> Bend:
    zones = test_coverage.blocks_of(problem.target)
    curvature = test_coverage.Curvature(problem.target, case.model.map(phi), zones, "shell-mean")
    for i, slope in enumerate(case.model.slopes(phi)):
        curvature.add(slope, case.model.bend(i))
    return curvature.bend()


def slope_at_truth(case: Case, problem: SimpleNamespace) -> np.ndarray:
    zones, phi = test_coverage.blocks_of(problem.target), POINT**2
    curvature = test_coverage.Curvature(problem.target, case.model.map(phi), zones, "shell-mean")
    for slope in case.model.slopes(phi):
        curvature.add_slope(slope)
    return curvature.gradient()


def within_ranges(case: Case, problem: SimpleNamespace) -> np.ndarray:
    """Newton's method, as `refit`, within the ranges of the search."""
    phi, (low, high) = POINT**2, case.space.bounds.T**2
    for _ in range(test_coverage.STEPS):
        phi = phi + bend_at(case, problem, phi).step_within(low - phi, high - phi)
    return np.sqrt(phi)
