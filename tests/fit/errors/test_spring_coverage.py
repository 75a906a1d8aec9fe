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

    Of the mode beside them 62 and 87 %: its answers scatter by 1.2 of its standard errors.
    """
    monkeypatch.setattr(test_coverage, "POINT", POINT)
    monkeypatch.setattr(test_coverage, "refit", within_ranges)
    found = coverage(case_on_springs(), 100, 0.15, 2)
    np.testing.assert_allclose(found.few, 0.68, atol=0.14)
    np.testing.assert_allclose(found.most[1:], 0.95, atol=0.07)


def within_ranges(case: Case, problem: SimpleNamespace) -> np.ndarray:
    """Newton's method, as `refit`, within the ranges of the search."""
    phi, zones = POINT**2, test_coverage.blocks_of(problem.target)
    low, high = case.space.bounds.T**2
    for _ in range(test_coverage.STEPS):
        about = (problem.target, case.model.map(phi), zones, "shell-mean")
        curvature = test_coverage.Curvature(*about)
        for i, slope in enumerate(case.model.slopes(phi)):
            curvature.add(slope, case.model.bend(i))
        phi = phi + curvature.bend().step_within(low - phi, high - phi)
    return np.sqrt(phi)
