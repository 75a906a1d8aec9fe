"""χ²/χ₀²'s bend against differences of the program's own objective, and priors beside it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize
from test_curvature import POINT, Toy

from hpc_diffuser.fit.errors.bootstrap import Refit
from hpc_diffuser.fit.errors.likelihood_curvature import LikelihoodCurvature
from hpc_diffuser.fit.errors.uncertainty import _with_prior
from hpc_diffuser.fit.priors.prior import Penalty
from hpc_diffuser.fit.scoring import score_at_voxels
from hpc_diffuser.maps.zones import zones_of

KNOTS = 4


def objective(toy: Toy, point: np.ndarray) -> float:
    found = score_at_voxels(toy.target, toy.map(point), "pooled", "none", KNOTS).likelihood
    assert found is not None
    return found.objective


def bend(toy: Toy, point: np.ndarray):
    found = LikelihoodCurvature(toy.target, toy.map(point), zones_of(toy.target), KNOTS)
    for i in range(3):
        found.add(toy.fields[1 + i] + 2 * point[i] * toy.fields[4 + i], 2 * toy.fields[4 + i])
    return found.bend()


def test_gradient_and_hessian_are_those_of_the_objective():
    """Central differences, at the minimum and away from it, with a background that slopes."""
    toy, steps, h = Toy(0), np.eye(3), 1e-4
    slope = 40 * toy.target.grid.inverse_d_squared(toy.target.indices)
    toy.target = replace(toy.target, intensity=3 * toy.target.intensity + slope)
    for point in (POINT, POINT + np.array([0.4, 0.2, -0.3])):

        def at(step: np.ndarray, point=point) -> float:
            return objective(toy, point + h * step)

        found = bend(toy, point)
        gradient = [(at(s) - at(-s)) / (2 * h) for s in steps]
        hessian = [
            [(at(s + r) - at(s - r) - at(r - s) + at(-s - r)) / (4 * h * h) for r in steps]
            for s in steps
        ]
        np.testing.assert_allclose(found.gradient, gradient, atol=1e-6)
        np.testing.assert_allclose(found.hessian, hessian, atol=4e-5)


@pytest.mark.slow
def test_errors_are_those_of_refits():
    """40 data sets with other zones: to three standard errors of their scatter."""
    answers, errors = [], []
    for seed in range(40):
        toy = Toy(seed, noise=1.0)
        answer = minimize(lambda point, toy=toy: objective(toy, point), POINT, method="BFGS").x
        errors.append(np.sqrt(np.diag(bend(toy, answer).covariance())))
        answers.append(answer)
    np.testing.assert_allclose(np.mean(errors, axis=0), np.std(answers, axis=0), rtol=0.35)


def test_a_resampling_ends_where_a_refit_does():
    """Zones that count twice or not at all as weights 1/σ²: to a tenth of how far it goes."""
    toy, rng = Toy(2, noise=0.7), np.random.default_rng(0)
    units = np.unique(zones_of(toy.target).unit[~toy.free], return_inverse=True)[1]
    n_zones = units.max() + 1

    def refit(counts: np.ndarray) -> np.ndarray:
        weighted = replace(toy.target, errors=toy.target.errors.copy(), free=toy.free.copy())
        own = np.flatnonzero(~toy.free)
        drawn = counts[units]
        weighted.errors[own] /= np.sqrt(np.maximum(drawn, 1e-12))
        other = SimpleNamespace(target=weighted, map=toy.map)
        return minimize(lambda p: objective(other, p), POINT, method="BFGS").x

    answer = refit(np.ones(n_zones))
    found, off, far = Refit(bend(toy, answer)), [], []
    for _ in range(4):
        counts = np.bincount(rng.integers(n_zones, size=n_zones), minlength=n_zones).astype(float)
        far.append(refit(counts) - answer)
        off.append(found.minimum(counts) - far[-1])
    assert np.linalg.norm(off) < 0.1 * np.linalg.norm(far)


@pytest.mark.parametrize("knots", [None, KNOTS])
def test_a_prior_is_added_in_the_objectives_unit(knots):
    """Slope and curvature times 1/N of a CC, 2/χ₀² of a likelihood; none without a prior."""
    toy = Toy(1)
    before = bend(toy, POINT)
    options = SimpleNamespace(cc_rule="pooled", weights="none", knots=knots)
    penalty = Penalty(0.3, np.array([1.0, 0, -2]), np.diag([1.0, 2, 3]))
    prior = SimpleNamespace(
        added_about=lambda point, alone: penalty.times(0.5 if alone is None else 2 / alone),
        stated=lambda alone: None,
    )
    config = SimpleNamespace(target=options)
    problem = SimpleNamespace(prior=prior, config=config, target=toy.target)
    found = _with_prior(before, problem, POINT, toy.map(POINT))
    chi = score_at_voxels(toy.target, toy.map(POINT), "pooled", "none", knots).likelihood
    unit = 0.5 if knots is None else 2 / chi.background_alone
    np.testing.assert_allclose(found.prior, unit * penalty.matrix)
    np.testing.assert_allclose(found.gradient, before.gradient + unit * penalty.gradient)
    problem.prior = None
    assert _with_prior(before, problem, POINT, toy.map(POINT)) is before
