"""Errors of weights that add up to 1, and of answers that a prior holds."""

from dataclasses import replace

import numpy as np
import pytest
from random_maps import CELL_OF
from scipy.optimize import minimize

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.coordinates import Coordinate
from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.curvature import Curvature
from hpc_diffuser.fit.errors.intervals import Intervals
from hpc_diffuser.fit.errors.plane import AT_NONE, upper_bounds
from hpc_diffuser.fit.errors.uncertainty import intervals_of
from hpc_diffuser.fit.priors.entropy import entropy_penalty, sum_penalty
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import zones_of

GIVEN = np.array([0.3, 0.3, 0.4])
# Two of three weights are enough; the third loses what they gain.
FREE = np.array([[1, 0, 0], [0, 1, 0], [-1, -1, 0], [0, 0, 1]], float)


class Loop:
    """A map of weights and one more parameter, linear in all, strong in some zones; noise."""

    def __init__(self, seed: int = 0, n_maps: int = 4, scale: float = 1.0):
        self.rng = np.random.default_rng(seed)
        grid = grid_to_resolution(CELL_OF["P 1"], (3, 3, 3), 2.5)
        indices = grid.indices_between(8.0, 2.5)
        empty, edges = np.zeros(len(indices)), np.array([1 / 8, 1 / 2.5])
        self.target = Target(grid, indices, empty, None, empty.astype(bool), edges, "P 1")
        self.zones = zones_of(self.target, 2)
        strong = np.exp(scale * self.rng.normal(size=len(self.zones.free)))[self.zones.unit]
        self.maps = strong * self.rng.normal(size=(n_maps, len(indices)))

    def bend(self, at: np.ndarray, slopes: np.ndarray, intensity: np.ndarray) -> Bend:
        target = replace(self.target, intensity=intensity)
        found = Curvature(target, at, self.zones, "pooled")
        for slope in slopes:
            found.add(slope, np.zeros_like(slope))
        return found.bend()


def told(bend: Bend, parts: int, values: np.ndarray) -> Intervals:
    """Of so many weights, and parameters beside them."""
    found = [
        Coordinate(f"p {i}", value, -9.0, 9.0, (-9.0, 9.0), False, i < parts)
        if i >= parts
        else Coordinate(f"frame {i + 1}", value, 0.0, 1.0, (0.0, 1.0), False, True)
        for i, value in enumerate(values)
    ]
    return intervals_of(bend, found, 1)


@pytest.mark.parametrize("theta", [0.0, 0.02])
def test_errors_of_weights_are_those_of_one_fewer(theta):
    """The third weight written as 1 less the others, so that nothing has to hold a sum."""
    loop, w, t = Loop(), np.array([0.5, 0.2, 0.3]), 0.7
    at = w @ loop.maps[:3] + t * loop.maps[3]
    data = at + 2.0 * loop.rng.normal(size=at.shape)
    # Weights are divided by their sum: what one gains is at the others' expense.
    slopes = np.array([*(loop.maps[:3] - w @ loop.maps[:3]), loop.maps[3]])
    every, few = (loop.bend(at, some, data) for some in (slopes, FREE.T @ slopes))
    prior = np.zeros((4, 4))
    prior[:3, :3] = sum_penalty(w).matrix + theta * entropy_penalty(w, GIVEN).matrix
    found = told(replace(every, prior=prior), 3, np.array([*w, t]))
    plain = told(replace(few, prior=FREE.T @ prior @ FREE), 0, np.array([*w[:2], t]))
    errors, of_few = (np.array(x.standard_errors) for x in (found, plain))
    np.testing.assert_allclose(errors[[0, 1, 3]], of_few, rtol=1e-5)
    covariance = np.array(plain.correlation) * np.outer(of_few, of_few)
    of_third = np.sqrt(covariance[:2, :2].sum())
    assert errors[2] == pytest.approx(of_third, rel=1e-5)
    boot = np.array(found.bootstrap_errors)
    np.testing.assert_allclose(boot[[0, 1, 3]], plain.bootstrap_errors, rtol=1e-4)
    assert len(found.combinations) == 3
    for one in found.combinations:
        assert sum(one.parts[:3]) == pytest.approx(0, abs=1e-9)
        assert np.linalg.norm(one.parts) == pytest.approx(1)
        assert theta or one.prior_share == pytest.approx(0, abs=1e-9)
    assert found.determined == pytest.approx(plain.determined)


def test_what_one_of_two_gains_the_other_loses():
    loop, w = Loop(1, 2), np.array([0.8, 0.2])
    at = w @ loop.maps
    bend = loop.bend(at, loop.maps - at, at + loop.rng.normal(size=at.shape))
    found = told(replace(bend, prior=sum_penalty(w).matrix), 2, w)
    assert found.standard_errors[0] == pytest.approx(found.standard_errors[1])
    assert found.bootstrap_errors[0] == pytest.approx(found.bootstrap_errors[1])
    assert found.correlation[0][1] == pytest.approx(-1)
    (only,) = found.combinations
    assert np.abs(only.parts) == pytest.approx(np.sqrt([0.5, 0.5])) and abs(sum(only.parts)) < 1e-9
    assert only.prior_share == pytest.approx(0, abs=1e-9)


def test_a_weight_that_has_all_others_held_has_no_error():
    loop, w = Loop(2, 2), np.array([1.0, 0.0])
    at = w @ loop.maps
    bend = loop.bend(at, loop.maps - at, at + loop.rng.normal(size=at.shape))
    found = told(replace(bend, prior=sum_penalty(w).matrix), 2, w)
    assert found.missing is not None and not any(found.standard_errors)


def test_a_weight_that_only_alike_frames_are_beside_has_no_error():
    """Two of the same map are not told apart, and are held: then so is the third."""
    loop, w = Loop(2, 3), np.array([0.5, 0.3, 0.2])
    loop.maps[2] = loop.maps[1]
    at = w @ loop.maps
    bend = loop.bend(at, loop.maps - at, at + loop.rng.normal(size=at.shape))
    found = told(replace(bend, prior=sum_penalty(w).matrix), 3, w)
    assert found.missing is not None and "frame 2, frame 3" in found.missing
    assert not any(found.standard_errors)


def test_a_prior_pulls_and_does_not_scatter():
    """Of an answer that a prior holds far from the data's own, as data sets scatter it.

    Refits of 60 data sets; without telling its pull from noise the errors are half as large again.
    """
    loop, truth, held = Loop(3, 4, scale=0.7), np.array([1.0, 0.8, -0.5]), np.diag([2, 2, 2.0])
    true = loop.maps[3] + truth @ loop.maps[:3]

    def value(phi: np.ndarray, data: np.ndarray) -> tuple[float, np.ndarray]:
        x = loop.maps[3] + phi @ loop.maps[:3]
        x, y, d = (z - z.mean(axis=-1, keepdims=True) for z in (x, data, loop.maps[:3]))
        rho = x @ y / np.sqrt((x @ x) * (y @ y))
        slope = (d @ y / np.sqrt(y @ y) - rho * (d @ x) / np.sqrt(x @ x)) / np.sqrt(x @ x)
        return 1 - rho + phi @ held @ phi / 2 * 0.05, 0.05 * held @ phi - slope

    answers, errors, rough, boot = [], [], [], []
    for replicate in range(60):
        data = true + 3.0 * loop.rng.normal(size=true.shape)
        phi = minimize(value, truth, (data,), jac=True, method="BFGS", options={"gtol": 1e-9}).x
        answers.append(phi)
        if replicate % 6:
            continue
        bend = loop.bend(loop.maps[3] + phi @ loop.maps[:3], loop.maps[:3], data)
        bend = replace(bend, prior=0.05 * held, gradient=np.zeros(3))
        found = told(bend, 0, phi)
        errors.append(found.standard_errors)
        rough.append(np.sqrt(np.diag(bend.covariance())))
        boot.append(found.bootstrap_errors)
    scatter = np.std(answers, axis=0, ddof=1)
    ratios = [np.mean(told_by, axis=0) / scatter for told_by in (errors, boot, rough)]
    assert all(abs(np.log(ratio)).max() < np.log(1.25) for ratio in ratios[:2])
    assert ratios[2].mean() > 1.3 > 1.1 > ratios[0].mean() > 0.9


@pytest.mark.parametrize("slope", [-2e-3, 0.0, 5e-3])
def test_the_bound_of_a_weight_at_0(slope):
    """Of exp(−O/s), summed along the weight; at each the two others are where O is least."""
    rng, s = np.random.default_rng(5), 1e-4
    root = rng.normal(size=(3, 3))
    hessian = root @ root.T + np.eye(3)
    pulls = np.concatenate([np.linalg.cholesky(hessian).T] * 100)
    pulls *= np.sqrt(s * 299 / 300 / 100)
    bend = Bend(np.array([0.0, 0.0, slope]), hessian, pulls)
    found = [Coordinate(f"w {i}", w, 0, 1, (0, 1), False, 3) for i, w in enumerate([0.6, 0.4, 0.0])]
    x = np.linspace(0, 0.1, 100001)
    # What the first gains, the second loses beside what the third gains.
    bent = hessian[0, 0] - 2 * hessian[0, 1] + hessian[1, 1]
    first = -(hessian[0] - hessian[1]) @ np.array([0 * x, -x, x]) / bent
    steps = np.array([first, -x - first, x])
    least = slope * x + np.einsum("ik,ij,jk->k", steps, hessian, steps) / 2
    below = np.cumsum(np.exp(-least / s))
    for part in (0.95, 0.6827):
        expected = x[np.searchsorted(below, part * below[-1])]
        (bound,) = upper_bounds(bend, found, [0, 1], 2, [part])
        assert bound == pytest.approx(expected, rel=1e-3)
    held = intervals_of(bend, found, 1)
    assert held.standard_errors[2] is None and held.low[2] == 0 and held.reasons[2] == AT_NONE
    assert held.high[2] == pytest.approx(x[np.searchsorted(below, 0.95 * below[-1])], rel=1e-3)
    assert held.standard_errors[0] == pytest.approx(held.standard_errors[1])
