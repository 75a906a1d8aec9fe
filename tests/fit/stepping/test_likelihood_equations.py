"""χ²/χ₀² linearised, against least squares over all voxels and differences of the score."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from random_maps import CELL_OF

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.scoring import score_at_voxels
from hpc_diffuser.fit.search.linearised import Linearised
from hpc_diffuser.fit.stepping.likelihood_equations import LikelihoodEquations
from hpc_diffuser.maps.target import Target
from hpc_diffuser.parallel.communicator import Ranks

KNOTS = 5
UNITS = np.array([1, 1e-4, 1e4, 1])  # parameters of very different sizes
POINT = np.array([0.5, -0.3, 0.8, 0.1]) * UNITS


class Toy:
    """A target on a background, and maps that are linear in four parameters; one rank."""

    def __init__(self):
        rng = np.random.default_rng(3)
        grid = grid_to_resolution(CELL_OF["P 1"], (3, 3, 3), 2.5)
        indices = grid.indices_between(8.0, 2.5)
        n = len(indices)
        edges, free = np.linspace(1 / 8, 1 / 2.5, 4), rng.random(n) < 0.1
        self.s = np.sqrt(grid.inverse_d_squared(indices))
        self.fields = rng.normal(size=(5, n)) + 3.0
        self.fields[1:] /= UNITS[:, None]
        self.sigma = rng.uniform(0.5, 2, n)
        y = 4 * self.map(POINT + 0.3 * UNITS) + 9 * np.cos(9 * self.s) + rng.normal(0, self.sigma)
        self.target = Target(grid, indices, y, self.sigma, free, edges, "P 1")
        self.model = SimpleNamespace(group=Ranks(), rows=np.arange(n))

    def map(self, point: np.ndarray) -> np.ndarray:
        return self.fields[0] + point @ self.fields[1:]

    def objective(self, point: np.ndarray) -> float:
        found = score_at_voxels(self.target, self.map(point), "shell-mean", "none", KNOTS)
        return found.likelihood.objective

    def linearised(self) -> tuple[Linearised, LikelihoodEquations]:
        equations = LikelihoodEquations(self.target, self.model, KNOTS)
        found = equations.of(self.map(POINT), enumerate(self.fields[1:]), len(POINT))
        assert found is not None
        return found, equations


def test_gradient_is_that_of_the_score():
    """Central differences; slopes are kept in single precision."""
    toy = Toy()
    found, equations = toy.linearised()
    size = np.sqrt(np.diag(found.matrix))
    steps = np.diag(1e-4 * UNITS)
    by_hand = [(toy.objective(POINT + s) - toy.objective(POINT - s)) / (2 * s.sum()) for s in steps]
    np.testing.assert_allclose(found.gradient / size, by_hand / size, atol=1e-6)
    likelihood = score_at_voxels(toy.target, toy.map(POINT), "shell-mean", "none", KNOTS).likelihood
    assert equations.background_alone == pytest.approx(likelihood.background_alone, rel=1e-12)


def test_matrix_is_of_slopes_without_scale_and_background():
    """numpy's lstsq takes what x and the hat functions make up for out of every slope."""
    toy = Toy()
    found, _ = toy.linearised()
    work = ~toy.target.free
    knots = np.linspace(toy.target.shell_edges[0], toy.target.shell_edges[-1], KNOTS)
    hats = np.stack([np.interp(toy.s, knots, row) for row in np.eye(KNOTS)], axis=1)
    basis = np.column_stack([toy.map(POINT), hats])[work] / toy.sigma[work, None]
    slopes = toy.fields[1:, work].T / toy.sigma[work, None]
    solved, *_ = np.linalg.lstsq(basis, slopes, rcond=None)
    left = slopes - basis @ solved
    likelihood = score_at_voxels(toy.target, toy.map(POINT), "shell-mean", "none", KNOTS).likelihood
    dense = 2 * likelihood.scale**2 / likelihood.background_alone * left.T @ left
    size = np.sqrt(np.diag(dense))
    np.testing.assert_allclose(
        found.matrix / np.outer(size, size), dense / np.outer(size, size), atol=2e-6
    )


def test_steps_reach_the_minimum():
    """The map is linear in the parameters: Gauss-Newton goes to where the objective is least."""
    toy, point = Toy(), POINT
    equations = LikelihoodEquations(toy.target, toy.model, KNOTS)
    for _ in range(6):
        found = equations.of(toy.map(point), enumerate(toy.fields[1:]), 4)
        point = point - np.linalg.solve(found.matrix, found.gradient)
    size = np.sqrt(np.diag(found.matrix))
    assert np.abs(found.gradient / size).max() < 1e-7
    assert toy.objective(point) < toy.objective(POINT) < 1
    np.testing.assert_allclose(point / UNITS, POINT / UNITS + 0.3, atol=0.15)


def test_a_map_without_any_agreement_has_no_slope():
    """At a scale of 0 nothing changes the objective, and that is no error."""
    toy = Toy()
    other = replace(toy.target, intensity=-toy.target.intensity)
    equations = LikelihoodEquations(other, toy.model, KNOTS)
    found = equations.of(toy.map(POINT), enumerate(toy.fields[1:]), 4)
    assert not found.gradient.any() and not found.matrix.any()
