"""How stiff springs of any shape are: errors, and what the data do not determine.

Twelve atoms a molecule in P 1, three interfaces of 24, 12 and 10 pairs of atoms, 63 numbers, all
halos, 10 % noise.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import D_MAX_A, D_MIN_A, tiny_modes

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.cautions import _of_springs
from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.stiffness import shares_of_prior, stiffness_slopes
from hpc_diffuser.fit.errors.stiffness import told as told_stiffness
from hpc_diffuser.fit.errors.uncertainty import parameter_intervals
from hpc_diffuser.fit.priors.penalty import Penalty
from hpc_diffuser.fit.problem import INTERVALS, Problem, compare
from hpc_diffuser.fit.results import objective
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.fit.stepping.gradient import score_and_gradient
from hpc_diffuser.fit.stepping.likelihood_equations import LikelihoodEquations
from hpc_diffuser.fit.stepping.slopes import slopes
from hpc_diffuser.maps.statistics import shell_index
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.lattice.full_springs import along_axes, contact_axes
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.parallel.communicator import Ranks

TEXT = """\
[structure]
file = "model.pdb"
[target]
file = "target.h5"
{score}
[parameters]
lattice_spring_A = [[3, 3], [5, 5], [4, 4]]
lattice_shape = [-3, 3]
[prior]
springs = 1
springs_tau = {tau}
[model]
samples = 32
[search]
method = "least-squares"
"""
LIKELIHOOD = 'score = "likelihood"'
RNG = np.random.default_rng


class Case:
    """A noisy map of some springs, from the same sample points that it is looked at with."""

    def __init__(self, folder, seed=0, score=LIKELIHOOD, tau=1.0, truth=7):
        config = parse_config(TEXT.format(score=score, tau=tau), folder)
        modes = replace(tiny_modes(), vectors=np.empty((0, 12, 3)), amplitudes_A=np.empty(0))
        lattice = rigid_lattice(modes.structure, modes.unit_cell, "P 1", contact_A=12.0)
        modes = replace(modes, lattice=lattice)
        space = search_space(config.parameters, modes.amplitudes_A, lattice=lattice)
        grid = grid_to_resolution(modes.unit_cell, (3, 3, 3), D_MIN_A)
        indices = grid.indices_between(D_MAX_A, D_MIN_A)
        edges, zeros = np.linspace(1 / D_MAX_A, 1 / D_MIN_A, 4), np.zeros(len(indices), np.float32)
        target = Target(grid, indices, zeros, zeros + 1, zeros > 0, edges, "P 1")
        self.truth = RNG(truth).normal(0, 0.4, 63)
        self.problem = Problem(config, modes, target, space)
        self.normals = self.problem.normals(32, INTERVALS)
        self.model, _ = compare(self.problem, Ranks())
        exact = self.map(self.truth)
        shells = shell_index(np.sqrt(grid.inverse_d_squared(indices)), edges)
        errors = 0.1 * (np.bincount(shells, exact) / np.bincount(shells))[shells]
        noisy = (exact + errors * RNG(seed).standard_normal(len(exact))).astype(np.float32)
        target = replace(target, intensity=noisy, errors=errors.astype(np.float32))
        self.problem = replace(self.problem, target=target)
        _, self.comparison = compare(self.problem, Ranks())

    def map(self, point):
        return self.model.internal_motion(self.problem.space.parameters(point), self.normals)

    def intervals(self, point):
        answer = self.problem.space.by_name(point)
        return parameter_intervals(self.problem, self.model, answer, 32)

    def stiffness(self, point):
        """Along and about all axes: (18,)."""
        parameters = self.problem.space.parameters(point)
        lattice = parameters.lattice
        axes = contact_axes(lattice.springs.units)
        return along_axes(axes, lattice.stiffness(parameters.springs)).ravel()

    def refitted(self, steps):
        """Gauss and Newton's steps from the truth, by the exact gradient and slopes of springs."""
        problem, point, damping = self.problem, self.truth, 1e-3
        equations = LikelihoodEquations(problem.target, self.model, problem.config.target.knots)
        best, about = np.inf, None
        for _ in range(steps):
            if about is None:
                about = self._about(equations, point)
                best, data, prior = about
                gradient, matrix = data.gradient + prior.gradient, data.matrix + prior.matrix
            damped = matrix + damping * np.diag(np.diag(matrix))
            there = point - np.linalg.solve(damped, gradient)
            if self._value(there) < best:
                point, damping, about = there, damping / 10, None
            else:
                damping *= 10
        return point

    def _about(self, equations, point):
        of = self.problem.modes, self.problem.space, point, self.normals
        found = equations.of(self.map(point), slopes(self.model, *of), 63)
        about = self.problem.space, self.model, self.comparison, point, self.normals
        _, gradient = score_and_gradient(*about)
        prior: Penalty = self.problem.prior.added_about(point, equations.background_alone)
        return self._value(point), replace(found, gradient=gradient), prior

    def _value(self, point):
        score = self.comparison.score(self.map(point))
        alone = score.likelihood.background_alone
        return objective(score) + self.problem.prior.added(point, alone)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def told(case):
    return case.intervals(case.truth)


def test_rotation_is_told_where_the_data_do_not_determine_it(told):
    """Of two interfaces about the axis that their contacts lie along; of the largest they do."""
    first, *others = told.stiffness
    assert first.about_undetermined == (False, False, False)
    assert [one.about_undetermined for one in others] == [(True, False, False)] * 2
    assert not any(any(one.along_undetermined) for one in told.stiffness)
    (caution,) = _of_springs(SimpleNamespace(intervals=told, prior=None))
    assert caution.endswith("of their contacts: 0 -1 0 about axis 1, 0 0 -1 about axis 1")


def test_a_weight_of_one_is_bayes_theorem(told):
    """Of a likelihood with independent errors, as the zones' own scatter says."""
    assert told.springs_prior_times == pytest.approx(1, abs=0.25)
    assert 45 < told.determined < 56


def test_values_and_errors_of_stiffness(case, told):
    """k itself; and √(gᵀCg) k with slopes that are differences of logarithms."""
    values = np.array([one.along_kT_A2 + one.about_kT_rad2 for one in told.stiffness]).ravel()
    np.testing.assert_allclose(values, case.stiffness(case.truth))
    step, space = 1e-4, case.problem.space
    ends = [
        np.array([np.log(case.stiffness(case.truth + e)) for e in s * np.eye(63)])
        for s in (-step, step)
    ]
    slopes_of_logs = ((ends[1] - ends[0]) / (2 * step)).T
    found = stiffness_slopes(space, space.parameters(case.truth))
    np.testing.assert_allclose(found, slopes_of_logs, rtol=1e-5, atol=1e-6)
    errors = np.array(told.standard_errors, float)
    covariance = np.array(told.correlation, float) * np.outer(errors, errors)
    expected = values * np.sqrt(np.diag(slopes_of_logs @ covariance @ slopes_of_logs.T))
    of_all = np.array([one.along_errors + one.about_errors for one in told.stiffness], float)
    np.testing.assert_allclose(of_all.ravel(), expected, rtol=1e-4)


def test_a_single_contact_resists_no_turn():
    """One pair of atoms, K = diag(4, 4, 4, 0, 0, 0): that is known, and no error of it is told."""
    stiffness = np.diag([4.0, 4.0, 4.0, 0.0, 0.0, 0.0])[None]
    springs = SimpleNamespace(
        units=stiffness / 4, packing=SimpleNamespace(labels=lambda: ["1 0 0"])
    )
    lattice = SimpleNamespace(
        springs=springs, stiffness=lambda _: stiffness, stiffness_slopes=lambda _: stiffness[None]
    )
    parameters = SimpleNamespace(lattice=lattice, springs=())
    space = SimpleNamespace(names=["s"], springs={0: 0})
    slopes = stiffness_slopes(space, parameters)
    np.testing.assert_array_equal(slopes[:, 0], [1, 1, 1, 0, 0, 0])
    (found,) = told_stiffness(parameters, [0.1] * 3 + [None] * 3, [0.2] * 3 + [None] * 3)
    assert found.along_errors == pytest.approx([0.4] * 3) and found.about_kT_rad2 == (0, 0, 0)
    assert not any(found.along_undetermined + found.about_undetermined)


def some_problem():
    """A linear one: J of 40 data, the prior's τ, and functions of 5 numbers."""
    rng = RNG(2)
    return rng.normal(size=(40, 5)) * [3, 1, 0.3, 0.1, 0.0], 0.7, rng.normal(size=(3, 5))


def test_share_of_the_prior():
    """What data leave of a function's variance, by conditioning: Σ − ΣJᵀ(JΣJᵀ + 1)⁻¹JΣ."""
    j, tau, functions = some_problem()
    before = tau**2 * np.eye(5)
    gain = before @ j.T @ np.linalg.inv(j @ before @ j.T + np.eye(40))
    after = before - gain @ j @ before
    expected = np.diag(functions @ after @ functions.T) / np.diag(functions @ before @ functions.T)
    prior = np.eye(5) / tau**2
    found = shares_of_prior(functions, j.T @ j + prior, prior)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert not shares_of_prior(functions, j.T @ j + np.eye(5), np.zeros((5, 5))).any()


@pytest.mark.parametrize("weight", [0.1, 1.0, 200.0])
def test_errors_beside_a_prior_of_any_weight(weight):
    """By 20 000 truths that scatter by τ, with data: also where it pulls too hard, or not enough.

    The objective is 0.01 of χ²/2, so that its scatter is.
    """
    j, tau, _ = some_problem()
    unit, rng = 0.01, RNG(3)
    hessian, prior = unit * j.T @ j, weight * unit * np.eye(5) / tau**2
    truth = tau * rng.normal(size=(20000, 5))
    data = truth @ j.T + rng.normal(size=(20000, 40))
    found = unit * data @ j @ np.linalg.inv(hessian + prior)
    expected = np.cov((found - truth).T)
    pulls = np.linalg.cholesky(unit * hessian + 1e-18 * np.eye(5)).T * np.sqrt(4 / 5)
    bend = Bend(np.zeros(5), hessian, pulls, prior=prior, stated=prior, stated_unit=weight * unit)
    assert bend.scatter == pytest.approx(unit)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(bend.covariance() / size, expected / size, atol=0.04)
    held = bend.of(np.arange(4)).mixed(np.eye(4))
    assert np.shape(held.covariance()) == (4, 4) and held.stated_unit == bend.stated_unit


def test_a_prior_that_is_not_worth_what_it_says_is_told(told):
    """As a weight of 1 is beside a CC of 0.997, which leaves next to no noise."""
    found = replace(told, springs_prior_times=200.0, stiffness=())
    prior = SimpleNamespace(springs=1.0, springs_tau=1.0)
    (caution,) = _of_springs(SimpleNamespace(intervals=found, prior=prior))
    assert caution.startswith("[prior] springs = 1 is 2e+02 times what springs_tau = 1 means")
    assert caution.endswith("set springs = 0.005")
    right = replace(found, springs_prior_times=1.2)
    assert not list(_of_springs(SimpleNamespace(intervals=right, prior=prior)))


@pytest.mark.slow
def test_a_weight_of_one_beside_a_cc(tmp_path):
    """There it pulls two hundred times too hard."""
    by_cc = Case(tmp_path, score="")
    assert 100 < by_cc.intervals(by_cc.truth).springs_prior_times < 400


@pytest.mark.slow
def test_errors_hold_the_truth(tmp_path):
    """Of five springs that scatter as the prior says: their stiffness, and the 63 numbers."""
    of_stiffness, of_numbers = [], []
    for seed in range(5):
        one = Case(tmp_path, seed + 20, tau=0.4, truth=seed + 30)
        point = one.refitted(12)
        found = one.intervals(point)
        errors = np.array([s.along_errors + s.about_errors for s in found.stiffness], float)
        values, expected = one.stiffness(point), one.stiffness(one.truth)
        of_stiffness.append(np.log(values / expected) * values / errors.ravel())
        of_numbers.append((point - one.truth) / np.array(found.standard_errors, float))
    for z in (np.abs(of_stiffness), np.abs(of_numbers)):
        parts = np.mean(z < 1), np.mean(z < 2), np.sqrt((z**2).mean())
        print("within one {:.3f}, two {:.3f}, rms {:.2f}".format(*parts))
        assert 0.9 < np.mean(z < 2) < 0.99 and 0.58 < np.mean(z < 1) < 0.78
