"""Zones drawn anew: each resampling's minimum against a refit of the exact objective."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from test_curvature import POINT, RULES, Toy

from hpc_diffuser.fit.errors.bootstrap import Refit, resampled_answers
from hpc_diffuser.fit.errors.curvature import Curvature
from hpc_diffuser.fit.errors.zone_sums import parabola_at
from hpc_diffuser.maps.statistics import SCORES, correlation_sums
from hpc_diffuser.maps.zones import zones_of


def refit(toy: Toy, rule: str, counts: np.ndarray) -> np.ndarray:
    """The minimum of the program's own score, a voxel weighted by how often its zone is drawn."""
    own, shells = ~toy.free, toy.target.shells()
    units = np.unique(zones_of(toy.target).unit[own], return_inverse=True)[1]
    weights = counts[units].astype(float)

    def objective(point: np.ndarray) -> float:
        x, y = toy.map(point)[own], toy.target.intensity[own]
        return 1 - SCORES[rule](correlation_sums(x, y, weights, shells[own], 3))

    return minimize(objective, POINT, method="BFGS", options={"gtol": 1e-7}).x


@pytest.mark.parametrize("rule", RULES)
def test_a_resampling_ends_where_a_refit_does(rule):
    """To 3 % of how far it goes; by the pulls of zones alone it is 15 % and more."""
    toy, rng = Toy(2, noise=1.5), np.random.default_rng(0)
    n_zones = len(np.unique(zones_of(toy.target).unit[~toy.free]))
    answer = refit(toy, rule, np.ones(n_zones))
    bend = toy.bend(answer, rule, "none")
    rough = replace(bend, sums=None)
    off, off_rough, far = [], [], []
    for _ in range(6):
        counts = np.bincount(rng.integers(n_zones, size=n_zones), minlength=n_zones)
        step = refit(toy, rule, counts) - answer
        off.append(Refit(bend).minimum(counts) - step)
        off_rough.append(Refit(rough).minimum(counts) - step)
        far.append(step)
    size = np.linalg.norm(far)
    assert np.linalg.norm(off) < 0.03 * size
    assert np.linalg.norm(off_rough) > 0.15 * size


@pytest.mark.parametrize("rule", RULES)
def test_sums_of_zones_are_the_parabola(rule):
    """All zones once: gradient and Hessian, but for what second derivatives of the map add."""
    toy = Toy(3)
    bend = toy.bend(POINT + 0.2, rule, "errors")
    gradient, hessian = parabola_at(np.zeros(3), bend.sums.moments(np.ones(len(bend.pulls))))
    np.testing.assert_allclose(gradient, bend.gradient, atol=1e-6)
    left = bend.hessian - hessian
    np.testing.assert_allclose(left, np.diag(np.diag(left)), atol=1e-6)
    toy.fields[4:] = 0
    toy.target = replace(toy.target, intensity=toy.map(POINT) + toy.field())
    straight = toy.bend(POINT, rule, "errors")
    _, hessian = parabola_at(np.zeros(3), straight.sums.moments(np.ones(len(bend.pulls))))
    np.testing.assert_allclose(hessian, straight.hessian, atol=1e-6)


def test_scatter_is_the_standard_error():
    """Of 500 resamplings of zones that pull at random: to 10 %, three of its own errors."""
    toy = Toy(5)
    answer = refit(toy, "pooled", np.ones(len(np.unique(zones_of(toy.target).unit[~toy.free]))))
    bend = toy.bend(answer, "pooled", "none")
    errors = np.sqrt(np.diag(bend.covariance()))
    np.testing.assert_allclose(resampled_answers(bend).std(axis=0), errors, rtol=0.12)


def test_the_same_zones_are_drawn_every_time():
    """Equal bits, whichever parameters are asked for first."""
    toy = Toy(6)
    bend = toy.bend(POINT, "pooled", "none")
    np.testing.assert_array_equal(resampled_answers(bend, 20), resampled_answers(bend, 20))
    fewer = resampled_answers(bend.of(np.array([2])), 20)
    assert fewer.shape == (20, 1) and np.isfinite(fewer).all()


def test_a_resampling_without_a_minimum_is_not_known():
    """A map of which one zone alone changes: without it there is no curvature."""
    toy = Toy(7)
    curvature = Curvature(toy.target, toy.map(POINT), zones_of(toy.target), "pooled")
    curvature.add(np.where(toy.unit == toy.unit[~toy.free][0], toy.fields[1], 0), 0 * toy.fields[1])
    found = resampled_answers(curvature.bend(), 50)
    assert 0 < np.isnan(found).sum() < 50
