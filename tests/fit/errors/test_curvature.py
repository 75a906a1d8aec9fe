"""The objective's bend against differences of scores, and what it says of errors against truth."""

from dataclasses import replace

import numpy as np
import pytest
from random_maps import CELL_OF
from scipy.optimize import minimize

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.curvature import Curvature, zone_parts
from hpc_diffuser.maps.statistics import SCORES, correlation_sums
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import blocks_of, zones_of

RULES = ("shell-mean", "pooled")
POINT = np.array([0.5, -0.3, 0.8])


class Toy:
    """A target, and maps that bend with three parameters: x + Σ φ a + Σ φ² b."""

    def __init__(self, seed: int, noise: float = 1.0):
        self.rng = np.random.default_rng(seed)
        grid = grid_to_resolution(CELL_OF["P 1"], (3, 3, 3), 2.5)
        indices = grid.indices_between(8.0, 2.5)
        edges, empty = np.linspace(1 / 8, 1 / 2.5, 4), np.zeros(len(indices))
        target = Target(grid, indices, empty, None, empty.astype(bool), edges, "P 1")
        self.unit = zones_of(target).unit
        self.free = (np.arange(self.unit.max() + 1) % 10 == 0)[self.unit]
        self.fields = np.array([self.field() for _ in range(7)])
        self.fields[4:] *= 0.1
        self.weights = self.rng.uniform(0.5, 2, len(indices))
        y = self.map(POINT) + noise * self.field()
        self.target = replace(target, intensity=y, free=self.free, errors=self.weights**-0.5)

    def field(self) -> np.ndarray:
        """What zones share, and what voxels have on their own."""
        of_zone = self.rng.normal(size=self.unit.max() + 1)[self.unit]
        return of_zone + 0.7 * self.rng.normal(size=len(self.unit))

    def map(self, point: np.ndarray) -> np.ndarray:
        return self.fields[0] + point @ self.fields[1:4] + point**2 @ self.fields[4:]

    def objective(self, point: np.ndarray, rule: str, weighting: str) -> float:
        own, shells = ~self.free, self.target.shells()
        weights = None if weighting == "none" else self.weights[own]
        x, y = self.map(point)[own], self.target.intensity[own]
        return 1 - SCORES[rule](correlation_sums(x, y, weights, shells[own], 3))

    def bend(self, point: np.ndarray, rule: str, weighting: str) -> Bend:
        weights = None if weighting == "none" else self.weights
        found = Curvature(self.target, self.map(point), zones_of(self.target), rule, weights)
        for i in range(3):
            found.add(
                self.fields[1 + i] + 2 * point[i] * self.fields[4 + i], 2 * self.fields[4 + i]
            )
        return found.bend()


@pytest.mark.parametrize("weighting", ["none", "errors"])
@pytest.mark.parametrize("rule", RULES)
def test_gradient_and_hessian_are_those_of_the_score(rule, weighting):
    """Central differences of the program's own score, away from the minimum too."""
    toy, steps, h = Toy(0), np.eye(3), 1e-4
    for point in (POINT, POINT + np.array([0.4, 0.2, -0.3])):
        found = toy.bend(point, rule, weighting)

        def at(step: np.ndarray, point=point) -> float:
            return toy.objective(point + h * step, rule, weighting)

        gradient = [(at(s) - at(-s)) / (2 * h) for s in steps]
        hessian = [
            [(at(s + r) - at(s - r) - at(r - s) + at(-s - r)) / (4 * h * h) for r in steps]
            for s in steps
        ]
        np.testing.assert_allclose(found.gradient, gradient, atol=1e-6)
        np.testing.assert_allclose(found.hessian, hessian, atol=2e-5)


def test_parts_are_counted_as_they_are_made():
    """Memory is foretold from the count: what the bend's sums are of."""
    target = Toy(0).target
    found = Curvature(target, target.intensity, blocks_of(target), "shell-mean")
    found.add(target.intensity, target.intensity)
    assert zone_parts(target) == len(found.bend().sums.sums)


@pytest.mark.parametrize("rule", RULES)
def test_pulls_are_what_a_zone_changes(rule):
    """Weights of one zone raised by a little: the gradient's change, means and scales included."""
    toy, h = Toy(1), 1e-4
    point = POINT + 0.3
    found, units = toy.bend(point, rule, "errors"), zones_of(toy.target).unit
    working = np.unique(units[~toy.free])
    for number in (0, 7, len(working) - 1):
        changed = []
        for sign in (1, -1):
            other = Toy(1)
            other.weights = toy.weights * np.where(units == working[number], 1 + sign * h, 1.0)
            changed.append(other.bend(point, rule, "errors").gradient)
        np.testing.assert_allclose(
            found.pulls[number], (changed[0] - changed[1]) / (2 * h), rtol=1e-4, atol=1e-9
        )
    np.testing.assert_allclose(found.pulls.sum(axis=0), 0, atol=1e-8)


@pytest.mark.parametrize("rule", [RULES[0], pytest.param(RULES[1], marks=pytest.mark.slow)])
def test_errors_are_those_of_refits(rule):
    """80 data sets with other zones, each refitted: the scatter of the answers is what is said.

    With noise that zones share, which voxels taken for independent would make 2.5 times less of.
    Of 80 data sets the rms of what answers are off by, in standard errors, is 1 ± 1/√160, of which
    three times is allowed; and as much of their share within 1.96 of them, 95 ± 2.4 %.
    """
    answers, errors, off = [], [], []
    for seed in range(80):
        toy = Toy(seed, noise=1.5)
        toy_answer = minimize(toy.objective, POINT, (rule, "none"), method="BFGS").x
        said = np.sqrt(np.diag(toy.bend(toy_answer, rule, "none").covariance()))
        answers.append(toy_answer)
        errors.append(said)
        off.append((toy_answer - POINT) / said)
    np.testing.assert_allclose(np.mean(errors, axis=0), np.std(answers, axis=0), rtol=0.25)
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(1, abs=3 / np.sqrt(160))
    assert np.mean(np.abs(off) < 1.96) > 0.95 - 3 * 0.024


def test_newton_step_leads_to_the_minimum():
    """From near it, to a hundredth of the way."""
    toy = Toy(4)
    minimum = minimize(toy.objective, POINT, ("shell-mean", "none"), method="BFGS", tol=1e-9).x
    away = np.array([0.02, -0.01, 0.015])
    step = toy.bend(minimum + away, "shell-mean", "none").newton_step()
    np.testing.assert_allclose(step, -away, atol=0.002)


def test_what_is_flat_is_named():
    """A map that two parameters change alike, and an objective that falls along one."""
    zones = np.random.default_rng(0).normal(size=(50, 2))
    alike = Bend(np.zeros(2), np.array([[1.0, 1.0], [1.0, 1.0]]), zones)
    direction = alike.flat_direction()
    assert direction is not None
    assert abs(direction[0]) == pytest.approx(np.sqrt(0.5)) == abs(direction[1])
    falling = replace(alike, hessian=np.diag([1.0, -1.0]))
    np.testing.assert_array_equal(falling.flat_direction(), [0, 1])
    assert replace(alike, hessian=np.diag([1e-8, 1e3])).flat_direction() is None
