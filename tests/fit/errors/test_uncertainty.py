"""Intervals of an answer: against the minima of many data sets, and by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize

from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.fit.config import ParametersConfig, TargetConfig
from hpc_diffuser.fit.coordinates import Coordinate
from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.intervals import Intervals
from hpc_diffuser.fit.errors.uncertainty import (
    WITHIN,
    derivatives,
    intervals_of,
    parameter_intervals,
    standard_errors,
)
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.maps.statistics import correlation_sums, shell_mean_cc
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import zones_of
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity
from hpc_diffuser.system.records import from_plain, to_plain

POINT = np.array([0.4, 0.25, 0.4])
LENGTHS = {"low": 0.0, "high": 1.0, "limits": (0.0, 1e4), "squared": True}


class Parabolas:
    """A model of known bends: the Gaussian pair sum to second order in the squared amplitudes.

    With all mixed second derivatives; fast enough to be refitted often.
    """

    def __init__(self, modes, target):
        self.group, self.rows = Ranks(), np.arange(len(target.indices))
        factors = form_factors(
            modes.structure.elements, target.grid.inverse_d_squared(target.indices)
        )
        s = target.indices / np.array(target.grid.divisions) @ fractionalization(modes.unit_cell)

        def exact(phi: np.ndarray) -> np.ndarray:
            *weights, sigma = np.sqrt(phi)
            moves = np.array(weights)[:, None, None] * modes.vectors
            disorder = Disorder(translation_sigma_A=float(sigma))
            return pair_sum_intensity(modes.structure.positions, factors, s, moves, disorder)

        self.exact, h, steps = exact, 0.01, np.eye(3)
        self._at, left, right = (
            exact(POINT**2),
            [exact(POINT**2 - h * e) for e in steps],
            [exact(POINT**2 + h * e) for e in steps],
        )
        self._first = (np.array(right) - left) / (2 * h)
        self._second = np.empty((3, 3, len(s)))
        for i in range(3):
            self._second[i, i] = (right[i] + left[i] - 2 * self._at) / h**2
            for j in range(i):
                both = exact(POINT**2 + h * (steps[i] + steps[j]))
                mixed = (both - right[i] - right[j] + self._at) / h**2
                self._second[i, j] = self._second[j, i] = mixed

    def internal_motion(self, parameters: Parameters, normals: np.ndarray) -> np.ndarray:
        sigma = parameters.disorder.translation_sigma_A
        away = np.append(parameters.mode_amplitudes_A, sigma) ** 2 - POINT**2
        bent = np.einsum("i,j,ijv->v", away, away, self._second)
        return self._at + away @ self._first + bent / 2


@pytest.fixture(scope="module")
def noisy(modes):
    """The model, and a function that makes its map at the truth, with noise which zones share."""
    grid = grid_to_resolution(modes.unit_cell, (2, 2, 2), 3.0)
    indices = grid.indices_between(8.0, 3.0)
    edges, empty = np.linspace(1 / 8, 1 / 3, 4), np.zeros(len(indices))
    target = Target(grid, indices, empty, None, empty.astype(bool), edges, "P 1")
    model = Parabolas(modes, target)
    config = ParametersConfig(mode_amplitude_A=(0.0, 1.0), translation_sigma_A=(0.0, 1.0))
    space = search_space(config, modes.amplitudes_A)
    true = model.internal_motion(space.parameters(POINT), np.empty(0))
    zones, shells = zones_of(target), target.shells()
    width = np.array([true[shells == shell].std() for shell in range(3)])[shells]

    def problem(rng: np.random.Generator, noise: float) -> SimpleNamespace:
        of_zone = rng.normal(size=len(zones.free))[zones.unit]
        errors = noise * width * (of_zone + 0.5 * rng.normal(size=len(true)))
        return SimpleNamespace(
            target=replace(target, intensity=true + errors),
            space=space,
            config=SimpleNamespace(target=TargetConfig()),
            prior=None,
            normals=lambda *purpose: np.empty(0),
        )

    return model, problem


def objective(point: np.ndarray, model: Parabolas, problem: SimpleNamespace) -> float:
    """1 − CC_work, by the plain sums."""
    target, own = problem.target, ~problem.target.free
    x = model.internal_motion(problem.space.parameters(point), np.empty(0))[own]
    sums = correlation_sums(x, target.intensity[own], None, target.shells()[own], target.n_shells)
    return 1 - shell_mean_cc(sums)


def refitted(model: Parabolas, problem: SimpleNamespace) -> np.ndarray:
    bounds = [(0.01, 1.0)] * 3
    found = minimize(objective, POINT, (model, problem), bounds=bounds, options={"ftol": 1e-13})
    return found.x


def test_errors_are_those_of_refits(noisy):
    """30 data sets, each refitted: the scatter of the answers is what each says of itself.

    The answers are minima: what is left to them is nothing beside the errors.
    """
    model, make = noisy
    rng, answers, errors, within = np.random.default_rng(5), [], [], []
    for _ in range(30):
        problem = make(rng, 0.3)
        answer = refitted(model, problem)
        found = parameter_intervals(problem, model, problem.space.by_name(answer), 8)
        assert found is not None and found.missing is None and found.samples == 8
        answers.append(answer)
        errors.append(found.standard_errors)
        within.append((found.low < POINT) & (found.high > POINT))
        assert np.abs(found.to_minimum / np.array(found.standard_errors)).max() < 0.2
    np.testing.assert_allclose(np.mean(errors, axis=0), np.std(answers, axis=0), rtol=0.35)
    assert 0.85 < np.mean(within) <= 1


class Exact:
    """The Gaussian pair sum itself, which is no parabola."""

    def __init__(self, model: Parabolas):
        self.group, self.rows, self._model = model.group, model.rows, model

    def internal_motion(self, parameters: Parameters, normals: np.ndarray) -> np.ndarray:
        sigma = parameters.disorder.translation_sigma_A
        return self._model.exact(np.append(parameters.mode_amplitudes_A, sigma) ** 2)


def test_wide_ranges_are_no_reason_for_wide_steps(noisy):
    """Errors in ranges to 10 Å, where steps are 0.1 Å, are those in ranges to 1 Å, 0.025 to 0.03 Å.

    With steps of 3 % of the range, 0.3 Å about 0.25 and 0.4 Å, they would be 5 to 15 % other ones.
    """
    model, make = noisy
    problem, exact, found = make(np.random.default_rng(8), 0.3), Exact(model), []
    for high in (1.0, 10.0):
        wide = {"mode_amplitude_A": (0.0, high), "translation_sigma_A": (0.0, high)}
        problem.space = search_space(ParametersConfig(**wide), np.array([1.0, 1.0]))
        of_one = parameter_intervals(problem, exact, problem.space.by_name(POINT), 8)
        assert of_one is not None
        found.append(of_one.standard_errors)
    np.testing.assert_allclose(*found, rtol=0.02)


class Shifted:
    """A model of few samples: its map is off by what 0.005 Å² more along mode 1 would change."""

    def __init__(self, model: Parabolas):
        self.group, self.rows, self._model = model.group, model.rows, model

    def internal_motion(self, parameters: Parameters, normals: np.ndarray) -> np.ndarray:
        right = self._model.internal_motion(parameters, normals)
        return right + 0.005 * self._model._first[0]


def test_what_few_samples_shift_is_seen_with_the_final_map(noisy):
    """A search with a shifted map ends 0.005 Å² below the truth, where its own maps see a minimum.

    The final map's slope leads back; the interval, 1.96 times √(error² + distance²) about the
    answer in its square, holds the truth; the standard error is what it was. A third is allowed
    for what the objective is no parabola.
    """
    model, make = noisy
    few, problem = Shifted(model), make(np.random.default_rng(5), 0.02)
    answer, there = refitted(few, problem), refitted(model, problem)
    values, names = problem.space.by_name(answer), problem.space.names
    final = model.internal_motion(problem.space.parameters(answer), np.empty(0))
    unseen = parameter_intervals(problem, few, values, 8)
    found = parameter_intervals(problem, few, values, 8, final)
    assert unseen is not None and found is not None
    assert not unseen.off_minimum(names) and names[0] in found.off_minimum(names)
    assert there[0] - answer[0] > 2 * found.standard_errors[0]
    np.testing.assert_allclose(found.to_minimum, there - answer, atol=0.3 * (there - answer)[0])
    assert found.standard_errors == unseen.standard_errors
    assert all((np.array(found.low) < POINT) & (np.array(found.high) > POINT))
    width = (found.high[0] ** 2 - found.low[0] ** 2) / (4 * answer[0])
    off = np.hypot(found.standard_errors[0], found.to_minimum[0])
    assert width == pytest.approx(1.96 * off, rel=0.1)


def test_correlations_are_those_of_the_whole_hessian(noisy):
    """All second differences of the objective, mixed ones too, in the squares of the amplitudes."""
    model, make = noisy
    problem = make(np.random.default_rng(1), 0.3)
    answer = refitted(model, problem)
    found = parameter_intervals(problem, model, problem.space.by_name(answer), 8)
    assert found is not None
    steps, h = np.eye(3), 0.01

    def at(step: np.ndarray) -> float:
        return objective(np.sqrt(answer**2 + h * step), model, problem)

    hessian = np.array(
        [[at(s + r) - at(s - r) - at(r - s) + at(-s - r) for r in steps] for s in steps]
    )
    inverse = np.linalg.inv(hessian / (4 * h * h))
    width = np.sqrt(np.diag(inverse))
    # The scatter of the zones is about the objective's own bend: the same correlations, roughly.
    np.testing.assert_allclose(found.correlation, inverse / np.outer(width, width), atol=0.25)


def test_a_map_to_the_left_and_one_to_the_right():
    """Of a parabola, at unequal distances too, both derivatives are exact; one side is a slope."""
    a, b, c = np.random.default_rng(0).normal(size=(3, 5))

    def parabola(phi: float) -> np.ndarray:
        return a + b * phi + c * phi**2

    first, second = derivatives(parabola(0.3), parabola(0.1), parabola(0.8), 0.3, 0.1, 0.8)
    np.testing.assert_allclose(first, b + 0.6 * c)
    np.testing.assert_allclose(second, 2 * c)
    first, second = derivatives(parabola(0.0), None, parabola(0.5), 0.0, 0.0, 0.5)
    np.testing.assert_allclose(first, b + 0.5 * c)
    np.testing.assert_array_equal(second, 0)


def test_an_interval_ends_where_nothing_moves():
    """φ = σ² ± 1.96 of its errors, and 0 where that would be below."""
    pulls = np.array([[0.01], [-0.01]])  # Σ g² · Z/(Z − 1) = 4e-4, over H² = 1: 0.02
    bend = Bend(np.zeros(1), np.eye(1), pulls)
    found = intervals_of(bend, [Coordinate("a", 0.5, **LENGTHS)], 64)
    assert found.low[0] == pytest.approx(np.sqrt(0.25 - WITHIN * 0.02))
    assert found.high[0] == pytest.approx(np.sqrt(0.25 + WITHIN * 0.02))
    assert found.standard_errors[0] == pytest.approx(0.02, rel=1e-2)  # dφ = 2σ dσ, σ = 1/2
    assert found.correlation == ((pytest.approx(1.0),),)
    at_zero = intervals_of(bend, [Coordinate("a", 0.1, **LENGTHS)], 64)
    assert at_zero.low[0] == 0
    assert at_zero.high[0] == pytest.approx(np.sqrt(0.01 + WITHIN * 0.02))


def test_what_has_no_interval_says_why():
    """At the end of a range, without effect, and where no minimum is; the others are unharmed."""
    pulls = np.random.default_rng(0).normal(size=(40, 3))
    hessian = np.diag([1.0, 2.0, 1e-12])
    named = [
        Coordinate("ends", 1.0, **LENGTHS),
        Coordinate("inside", 0.5, **LENGTHS),
        Coordinate("nothing", 0.5, **LENGTHS),
    ]
    found = intervals_of(Bend(np.array([1.0, 0, 0]), hessian, pulls), named, 64)
    assert found.reasons == ("at the end of its range", None, "without effect on the map here")
    assert [e is None for e in found.standard_errors] == [True, False, True]
    assert found.correlation[0] == (None, None, None) and found.correlation[1][1] is not None
    assert from_plain(Intervals, to_plain(found)) == found
    falling = intervals_of(Bend(np.zeros(3), np.diag([1.0, -2.0, 1.0]), pulls), named, 64)
    why = "at the answer the objective has no minimum along inside"
    assert falling.reasons == ("at the end of its range", why, None) and falling.known == (2,)
    alone = intervals_of(Bend(np.zeros(1), np.array([[-2.0]]), pulls[:, 1:2]), named[1:2], 64)
    assert alone.missing == alone.without_minimum == why and alone.standard_errors == ()


def test_what_is_flat_takes_no_error_from_the_others():
    """Two parameters that stand in for each other; a third has its error of a fit without one.

    Along the flat direction nothing changes, so that either may be held; and the fit says so.
    """
    rng = np.random.default_rng(3)
    slopes = rng.normal(size=(200, 3))
    slopes[:, 1] = 0.7 * slopes[:, 0]
    pulls = slopes * rng.normal(size=(200, 1))
    bend = Bend(0.01 * slopes.T @ rng.normal(size=200), slopes.T @ slopes, pulls)
    named = [Coordinate(name, 0.5, **LENGTHS) for name in ("one", "twin", "other")]
    found = intervals_of(bend, named, 64)
    without = intervals_of(bend.of(np.array([0, 2])), [named[0], named[2]], 64)
    assert found.missing is None and found.known == (2,)
    assert found.reasons[0] == found.reasons[1] == found.without_minimum
    assert found.without_minimum == "at the answer the objective has no minimum along one, twin"
    assert found.standard_errors[:2] == (None, None) and found.reasons[2] is None
    assert found.standard_errors[2] == pytest.approx(without.standard_errors[1], rel=1e-6)
    assert found.to_minimum[2] == pytest.approx(without.to_minimum[1], rel=1e-6)
    assert found.bootstrap_errors[2] == pytest.approx(without.bootstrap_errors[1], rel=0.1)
    assert without.without_minimum is None


def test_sides_stay_in_the_range():
    """0.03 of the range to either side; at an end to one."""
    inside, at_zero, at_end = (Coordinate("a", v, **LENGTHS) for v in (0.5, 0.0, 0.99))
    assert inside.sides == pytest.approx((0.47, 0.53))
    assert at_zero.sides == pytest.approx((0.0, 0.03)) and not at_zero.held
    assert at_end.sides == pytest.approx((0.96, 0.99)) and not at_end.held
    assert Coordinate("a", 0.9999, **LENGTHS).held
    gamma = {**LENGTHS, "low": 5.0, "high": 50.0, "squared": False}
    assert Coordinate("g", 5.0, **gamma).held
    assert not Coordinate("g", 6.0, **gamma).held


def test_standard_errors_by_name():
    """As `median` has the parameters: lists of modes; null where there is none, or none was."""
    config = ParametersConfig(
        mode_amplitude_A=((0.0, 1.0), (0.2, 0.2), (0.0, 1.0)), translation_sigma_A=(0.0, 1.0)
    )
    space = search_space(config, np.ones(3))
    found = Intervals(zones=40, samples=8, standard_errors=(0.01, None, 0.02))
    known = standard_errors(space, found)
    assert known["mode_amplitude_A"] == [0.01, None, None]
    assert known["translation_sigma_A"] == 0.02
    assert known.keys() == space.by_name(np.ones(3)).keys()
    for nothing in (None, Intervals(zones=3, samples=8, missing="too few zones")):
        nowhere = standard_errors(space, nothing)
        assert nowhere["mode_amplitude_A"] == [None] * 3
        assert nowhere["translation_sigma_A"] is None
