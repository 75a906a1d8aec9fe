"""The linearised objective, against a dense calculation and differences of the program's score."""

from dataclasses import replace

import numpy as np
import pytest
from random_maps import CELL_OF

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.search.linearised import Linearised
from hpc_diffuser.fit.stepping.independence import expected_numbers
from hpc_diffuser.fit.stepping.normal_equations import NormalEquations
from hpc_diffuser.maps.statistics import SCORES, correlation_sums
from hpc_diffuser.maps.target import Target
from hpc_diffuser.parallel.communicator import Ranks

RULES = ("shell-mean", "pooled")
UNITS = np.array([1, 1e-4, 1e4, 1])  # parameters of very different sizes
POINT = np.array([0.5, -0.3, 0.8, 0.1]) * UNITS


class Toy:
    """A target, and maps that are linear in four parameters; one rank that holds them all."""

    def __init__(self):
        rng = np.random.default_rng(3)
        grid = grid_to_resolution(CELL_OF["P 1"], (3, 3, 3), 2.5)
        indices = grid.indices_between(8.0, 2.5)
        n = len(indices)
        edges, free = np.linspace(1 / 8, 1 / 2.5, 4), rng.random(n) < 0.1
        self.fields = rng.normal(size=(5, n)) + 3.0
        self.fields[1:] /= UNITS[:, None]
        self.weights = rng.uniform(0.5, 2, n)
        y = self.map(POINT + 0.3 * UNITS) + rng.normal(size=n)
        self.target = Target(grid, indices, y, self.weights**-0.5, free, edges, "P 1")
        self.group, self.rows = Ranks(), np.arange(n)

    def map(self, point: np.ndarray) -> np.ndarray:
        return self.fields[0] + point @ self.fields[1:]

    def linearised(self, rule: str, weighting: str) -> Linearised:
        equations = NormalEquations(self.target, self, rule, weighting)
        found = equations.of(self.map(POINT), enumerate(self.fields[1:]), len(POINT))
        assert found is not None
        return found


def objective(toy: Toy, point: np.ndarray, rule: str, weighting: str) -> float:
    own, shells = ~toy.target.free, toy.target.shells()
    weights = None if weighting == "none" else toy.weights[own]
    x, y = toy.map(point)[own], toy.target.intensity[own]
    return 1 - SCORES[rule](correlation_sums(x, y, weights, shells[own], 3))


def normalised(toy: Toy, point: np.ndarray, rule: str, weighting: str) -> list[np.ndarray]:
    """x̂ of each CC: whose halved squared distance to the data's own is 1 − CC."""
    own, shells = ~toy.target.free, toy.target.shells()[~toy.target.free]
    w = np.ones(own.sum()) if weighting == "none" else toy.weights[own]
    x = toy.map(point)[own].copy()
    for shell in range(3):
        x[shells == shell] -= np.average(x[shells == shell], weights=w[shells == shell])
    x *= np.sqrt(w)
    groups = [shells >= 0] if rule == "pooled" else [shells == i for i in range(3)]
    return [x[group] / np.linalg.norm(x[group]) for group in groups]


def hats(toy: Toy, rule: str, weighting: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """ŷ and x̂ of each CC."""
    data = Toy()
    data.fields[0] = data.target.intensity
    data.fields[1:] = 0
    return normalised(data, POINT, rule, weighting), normalised(toy, POINT, rule, weighting)


@pytest.mark.parametrize("weighting", ["none", "errors"])
def test_second_derivatives_of_a_linear_map(weighting):
    """1 − ρ of all shells together: ρM − gβᵀ − βgᵀ, by central differences of the score."""
    toy, steps = Toy(), np.diag(1e-3 * UNITS)
    found = toy.linearised("pooled", weighting)
    size = np.sqrt(np.diag(found.matrix))

    def of(*moves: np.ndarray) -> float:
        return objective(toy, POINT + sum(moves), "pooled", weighting)

    by_hand = [
        [(of(a, b) - of(a, -b) - of(-a, b) + of(-a, -b)) / (4 * a.sum() * b.sum()) for b in steps]
        for a in steps
    ]
    crossed = np.outer(found.gradient, found.scaling)
    expected = found.matrix - crossed - crossed.T
    np.testing.assert_allclose(
        by_hand / np.outer(size, size), expected / np.outer(size, size), atol=1e-4
    )
    rho = 1 - of()
    assert found.scatter == pytest.approx((1 - rho**2) / rho)
    along = np.sqrt(np.diag(found.matrix) + rho * found.scaling**2)
    np.testing.assert_allclose(np.sqrt(found.change), along, rtol=1e-6)


@pytest.mark.parametrize("weighting", ["none", "errors"])
@pytest.mark.parametrize("rule", RULES)
def test_gradient_and_matrix_are_those_of_the_score(rule, weighting):
    """Central differences of the score, and of the normalised maps, whose products are the matrix.

    With the CC of each shell as its weight, 1 − CC being bent by so much. Slopes are kept in single
    precision: 1e-6 of their size is allowed.
    """
    toy, steps = Toy(), np.diag(1e-4 * UNITS)
    found = toy.linearised(rule, weighting)
    size = np.sqrt(np.diag(found.matrix))
    gradient, columns = [], []
    for step in steps:
        above, below = (objective(toy, POINT + s, rule, weighting) for s in (step, -step))
        gradient.append((above - below) / (2 * step.sum()))
        both = (normalised(toy, POINT + s, rule, weighting) for s in (step, -step))
        columns.append([(a - b) / (2 * step.sum()) for a, b in zip(*both, strict=True)])
    np.testing.assert_allclose(found.gradient / size, gradient / size, atol=1e-6)
    rhos = [of_data @ of_map for of_data, of_map in zip(*hats(toy, rule, weighting), strict=True)]
    slopes = [np.array(of_one) for of_one in zip(*columns, strict=True)]
    dense = np.mean([rho * j @ j.T for rho, j in zip(rhos, slopes, strict=True)], axis=0)
    np.testing.assert_allclose(
        found.matrix / np.outer(size, size), dense / np.outer(size, size), atol=2e-6
    )


def test_voxels_at_seven_samples_count_a_fifteenth():
    """So many independent numbers the prototype found; never more than voxels."""
    toy = Toy()
    working = int((~toy.target.free).sum())
    assert expected_numbers(toy.target) == pytest.approx(working * 343 / 15 / 27)
    fine = replace(toy.target, grid=replace(toy.target.grid, divisions=(7, 7, 7)))
    assert expected_numbers(fine) == pytest.approx(working / 15)


def test_a_map_that_does_not_vary_has_no_slope():
    """Nothing moves: no CC, no derivative, and no error."""
    toy = Toy()
    toy.fields[:] = 1.0
    found = toy.linearised("shell-mean", "none")
    assert not found.gradient.any() and not found.matrix.any()
