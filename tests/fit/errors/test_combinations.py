"""Well and ill determined combinations, and a prior's part of them: closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.combinations import combinations_of, determined_by_data
from hpc_diffuser.fit.errors.zone_sums import ZoneSums

BREADTHS = (2.0, 0.5)


def right(hessian: np.ndarray, scatter: float = 1e-3, prior: np.ndarray | None = None) -> Bend:
    """Of a right model: zones pull so that their products sum to `scatter` times the Hessian."""
    root = np.linalg.cholesky(hessian)
    n_zones = 400
    pulls = np.repeat(root.T, n_zones // (2 * len(root)), axis=0)
    pulls = np.concatenate([pulls, -pulls])
    pulls *= np.sqrt(scatter * (n_zones - 1) / n_zones / (n_zones // len(root)))
    return Bend(np.zeros(len(root)), hessian, pulls, prior=prior)


def test_sum_and_difference():
    """What bends along the sum 25 times as much as along the difference is known 5 times better.

    In parts of the ranges, whose lengths the curvature is scaled back by.
    """
    half = np.sqrt(0.5)
    axes = np.array([[half, half], [half, -half]])
    scaled = axes.T @ np.diag([100.0, 4.0]) @ axes
    bend = right(scaled / np.outer(BREADTHS, BREADTHS), 1e-3)
    best, worst = combinations_of(bend, BREADTHS)
    assert best.parts == pytest.approx((half, half))
    assert np.abs(worst.parts) == pytest.approx((half, half)) and sum(worst.parts) < 1e-9
    assert best.deviation == pytest.approx(np.sqrt(1e-3 / 100))
    assert worst.deviation == pytest.approx(np.sqrt(1e-3 / 4))
    assert best.prior_share is None and determined_by_data(bend) == pytest.approx(2)


def test_the_priors_share():
    """f/(1 + f), f = p/h along each direction; the data determine Σ h/(h + p) of them."""
    prior = np.diag([1.0, 36.0]) / np.outer(BREADTHS, BREADTHS)
    data = np.diag([100.0, 4.0]) / np.outer(BREADTHS, BREADTHS)
    bend = right(data, 1e-3, prior)
    best, worst = combinations_of(bend, BREADTHS)
    assert best.prior_share == pytest.approx(1 / 101)
    assert worst.prior_share == pytest.approx(36 / 40)
    assert determined_by_data(bend) == pytest.approx(100 / 101 + 4 / 40)
    # s A⁻¹: the posterior of a right model.
    assert bend.scatter == pytest.approx(1e-3)
    np.testing.assert_allclose(bend.covariance(), 1e-3 * np.linalg.inv(data + prior))
    assert worst.deviation == pytest.approx(np.sqrt(1e-3 / 40))


def test_a_prior_lifts_what_is_flat():
    """A direction without any curvature of the data has a minimum, and all of it is the prior's."""
    flat = replace(right(np.eye(2)), hessian=np.array([[1.0, 1.0], [1.0, 1.0]]))
    assert flat.flat_direction() is not None
    held = replace(flat, prior=np.diag([0.5, 0.5]))
    assert held.flat_direction() is None
    shares = sorted(one.prior_share for one in combinations_of(held, (1.0, 1.0)))
    assert shares == pytest.approx([0.5 / 2.5, 1.0])


def test_what_data_alone_bend_downwards_tells_no_scatter():
    """Zones pull by 1e-3 times 1, 0.5 and 0.2; the last is −0.2 of the data, held by the prior.

    In the mean over all, (1/1.1 + 0.5/0.6 + 0.2/0.8)/(1/1.1 + 0.5/0.6 − 0.2/0.8) times too large
    (1.33), and below 0 for a deeper saddle: every deviation is a number, whatever the prior.
    """
    bend = right(np.diag([1.0, 0.5, 0.2]), prior=np.diag([0.1, 0.1, 1.0]))
    for deep in (0.2, 0.999):
        saddle = replace(bend, hessian=np.diag([1.0, 0.5, -deep]))
        assert saddle.scatter == pytest.approx(1e-3, rel=2e-2)
        assert all(one.deviation > 0 for one in combinations_of(saddle, (1.0, 1.0, 1.0)))
    nothing = replace(bend, hessian=-0.05 * np.eye(3))
    assert nothing.scatter == 0
    assert all(one.deviation > 0 for one in combinations_of(nothing, (1.0, 1.0, 1.0)))


def test_only_some_parameters():
    """What is held takes its part of everything with it."""
    bend = replace(
        right(np.diag([1.0, 2.0, 3.0]), prior=np.diag([4.0, 5.0, 6.0])),
        by_voxel=np.diag([7.0, 8.0, 9.0]),
        sums=ZoneSums(*np.zeros((3, 1), int), np.arange(36.0).reshape(1, 6, 6)),
    )
    some = bend.of(np.array([0, 2]))
    np.testing.assert_array_equal(np.diag(some.total), [5, 9])
    np.testing.assert_array_equal(np.diag(some.by_voxel), [7, 9])
    np.testing.assert_array_equal(some.sums.sums[0, 3:, 3:], [[21, 23], [33, 35]])


def test_a_step_ends_at_the_bounds():
    """Of correlated parameters: the least of the parabola within a box, by another program."""
    hessian = np.array([[2.0, 1.2, 0.3], [1.2, 1.5, -0.2], [0.3, -0.2, 1.0]])
    bend = replace(right(hessian), gradient=np.array([3.0, -1.0, 0.5]))
    low, high = np.array([-0.5, -1.0, -1.0]), np.array([1.0, 2.0, 1.0])

    def parabola(step: np.ndarray) -> float:
        return bend.gradient @ step + step @ hessian @ step / 2

    bounds = list(zip(low, high, strict=True))
    found = minimize(parabola, np.zeros(3), method="L-BFGS-B", bounds=bounds, tol=1e-12).x
    np.testing.assert_allclose(bend.step_within(low, high), found, atol=1e-5)
    assert found[0] == -0.5 and bend.newton_step()[0] < -0.5
    np.testing.assert_array_equal(bend.step_within(low - 9, high + 9), bend.newton_step())
