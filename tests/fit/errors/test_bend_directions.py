"""Errors of parameters that can stand in for each other, in a model that is incomplete."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from random_maps import CELL_OF

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import ParametersConfig, TargetConfig
from hpc_diffuser.fit.coordinates import Coordinate
from hpc_diffuser.fit.errors.directions import directions, free_on_both_sides
from hpc_diffuser.fit.errors.uncertainty import parameter_intervals
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks

POINT = np.array([0.5, 0.5])  # Å
APART, ALONG, MISSING = 0.15, 0.5, 0.1  # of the map's rms: what parts parameters, bends, is missing


class Valley:
    """x + (p − q) a + (p + q) b + ((p − q)²/2) c, p and q squares of amplitudes less the truth's.

    Only a little b parts p from q. Along both at once the map does not bend; along either it does.
    """

    def __init__(self):
        rng = np.random.default_rng(3)
        grid = grid_to_resolution(CELL_OF["P 1"], (3, 3, 3), 2.5)
        indices = grid.indices_between(8.0, 2.5)
        self.group, self.rows, empty = Ranks(), np.arange(len(indices)), np.zeros(len(indices))
        edges = np.array([1 / 8, 1 / 2.5])
        self.target = Target(grid, indices, empty, None, empty.astype(bool), edges, "P 1")
        raw = rng.normal(size=(len(indices), 5))
        x, a, b, c, _ = np.linalg.qr(raw - raw.mean(axis=0))[0].T * np.sqrt(len(indices))
        self._fields, self.missing = (x, a, APART * b, ALONG * c), MISSING * c

    def map(self, phi: np.ndarray) -> np.ndarray:
        p, q = phi - POINT**2
        x, a, b, c = self._fields
        return x + (p - q) * a + (p + q) * b + (p - q) ** 2 / 2 * c

    def internal_motion(self, parameters: Parameters, normals: np.ndarray) -> np.ndarray:
        sigma = parameters.disorder.translation_sigma_A
        return self.map(np.append(parameters.mode_amplitudes_A, sigma) ** 2)

    def problem(self, rng: np.random.Generator) -> SimpleNamespace:
        """Of a target that holds what the model lacks, and noise."""
        y = self.map(POINT**2) + self.missing + 0.3 * rng.normal(size=len(self.rows))
        config = ParametersConfig(mode_amplitude_A=(0.0, 1.0), translation_sigma_A=(0.0, 1.0))
        return SimpleNamespace(
            target=replace(self.target, intensity=y),
            space=search_space(config, np.ones(1)),
            config=SimpleNamespace(target=TargetConfig(score="pooled")),
            prior=None,
            normals=lambda *purpose: np.empty(0),
        )

    def refit(self, y: np.ndarray) -> np.ndarray:
        """The squares (2,) of the least Σ (y − scale · map − offset)², by Gauss and Newton."""
        phi, (_, a, b, c) = POINT**2, self._fields
        for _ in range(6):
            far = (phi[0] - phi[1]) * c
            own = np.stack([np.ones(len(y)), self.map(phi), a + b + far, b - a - far], axis=1)
            _, scale, *step = np.linalg.solve(own.T @ own, own.T @ y)
            phi = phi + np.array(step) / scale
        return phi


@pytest.fixture(scope="module")
def valley() -> Valley:
    return Valley()


def test_errors_are_those_of_refits(valley):
    """400 data sets of the same incomplete model: the scatter of its answers is what is said.

    Without mixed second derivatives the objective had no minimum, as what is missing bends it along
    both axes, but not along the valley. What is missing pulls at zones, too: 5 % of the errors.
    """
    answers, said, resampled = [], [], []
    for seed in range(400):
        problem = valley.problem(np.random.default_rng(seed))
        answers.append(valley.refit(problem.target.intensity))
        if seed % 100 == 0:
            values = problem.space.by_name(np.sqrt(answers[-1]))
            found = parameter_intervals(problem, valley, values, 8)
            said.append(found.standard_errors)
            resampled.append(found.bootstrap_errors)
            left = np.array(found.to_minimum) / found.standard_errors
            assert np.abs(left).max() < 0.02
    scatter = np.std(np.sqrt(answers), axis=0)
    np.testing.assert_allclose(np.mean(said, axis=0), scatter, rtol=0.15)
    np.testing.assert_allclose(np.mean(resampled, axis=0), scatter, rtol=0.2)


def test_directions_do_not_mix_and_stay_in_the_range():
    """Their curvature is diagonal; sides are as far as the parameters' own, at most."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 3))
    ranges = [(0.4, 0.0, 1.0, True), (0.02, 0.0, 1.0, True), (8.0, 5.0, 30.0, False)]
    found = [Coordinate("x", v, lo, hi, (0.0, 1e4), s) for v, lo, hi, s in ranges]
    found.insert(1, Coordinate("at 0", 0.0, 0.0, 1.0, (0.0, 1e4), True))
    rows = free_on_both_sides(found)
    assert rows == [0, 2, 3]
    hessian = np.zeros((4, 4))
    hessian[np.ix_(rows, rows)] = root.T @ root
    made = directions(found, rows, hessian)
    phi = np.array([c.phi(c.value) for c in found])
    moves = np.array([[c.phi(v) for c, v in zip(found, one.right, strict=True)] for one in made])
    mixed = (moves - phi) @ hessian @ (moves - phi).T
    scale = np.sqrt(np.outer(np.diag(mixed), np.diag(mixed)))
    np.testing.assert_allclose(mixed / scale, np.eye(3), atol=1e-9)
    for one in made:
        for c, left, right in zip(found, one.left, one.right, strict=True):
            assert c.sides[0] - 1e-12 <= min(left, right) <= max(left, right) <= c.sides[1] + 1e-12
    # Second derivatives along them are all there are of a map that bends along them alone.
    weights = np.array([one.weights for one in made])
    along = [
        (move @ hessian @ move) / one.far**2 for move, one in zip(moves - phi, made, strict=True)
    ]
    np.testing.assert_allclose(weights.T @ np.diag(along) @ weights, hessian, atol=1e-9)
