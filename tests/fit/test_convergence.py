"""The error of an ensemble average, estimated without knowing the answer, against the answer."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from oracles import exact_target

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.fit.config import ModelConfig
from hpc_diffuser.fit.convergence import (
    FEWEST,
    MOST,
    RANDOMISATIONS,
    convergence,
    enough_samples,
    samples_needed,
    with_fewer,
)
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.maps.statistics import correlation_sums, pooled_cc
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.ensemble import Sampler
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

MODES = example_modes()


@functools.cache
def problem(amplitude_A: float):
    """Model, comparison with the closed form, parameters, and sample points by randomisation."""
    parameters = Parameters(np.full(3, amplitude_A), Disorder(0.3))
    target = exact_target(MODES, parameters)
    how = Computation(grid="target")
    model = forward_model(MODES, target.grid, target.indices, Ranks(), how)

    def draw(samples: int, randomisation: int) -> np.ndarray:
        return normal_samples("sobol", samples, 3, generator(7, randomisation))

    return model, Comparison(target, model, "pooled", "none"), parameters, draw, target


@pytest.mark.parametrize(
    ("amplitude_A", "samples"),
    [(0.15, 16), (0.3, 32), pytest.param(0.3, 128, marks=pytest.mark.slow)],
)
def test_estimated_error_is_the_error(amplitude_A, samples):
    """1 − CC with the closed form, on average over 16 randomisations, within a factor of two.

    Four pairs of maps estimate it; each pair's difference has about the spread of chi-squared
    over a few dozen independent features of the map.
    """
    model, comparison, parameters, draw, target = problem(amplitude_A)
    found = convergence(
        model, comparison, parameters, [draw(samples, i) for i in range(RANDOMISATIONS)]
    )
    errors = []
    for i in range(RANDOMISATIONS, RANDOMISATIONS + 16):
        intensity = model.internal_motion(parameters, draw(samples, i))
        sums = correlation_sums(intensity, target.intensity, None, target.shells(), 5)
        errors.append(1 - pooled_cc(sums))
    assert found.samples == samples
    assert 0.5 < found.map_error / np.mean(errors) < 2


def test_spread_of_the_objective():
    """The standard deviation of CC over 24 other randomisations; from four, within a factor 2.5.

    Four normal numbers' standard deviation lies within that factor of the true one in 95 %.
    """
    model, comparison, parameters, draw, _ = problem(0.3)
    found = convergence(model, comparison, parameters, [draw(32, i) for i in range(4)])
    scores = [
        comparison.score(model.internal_motion(parameters, draw(32, i))).cc_work
        for i in range(4, 28)
    ]
    assert 0.4 < found.objective_error / np.std(scores, ddof=1) < 2.5


def test_enough_samples_reach_what_was_asked_for():
    """The first power of two whose error is small enough; half as many are not."""
    model, comparison, parameters, draw, _ = problem(0.3)
    found = enough_samples(model, comparison, parameters, draw, 2e-4)
    assert found.map_error <= 2e-4
    assert found.samples > FEWEST
    half = [draw(found.samples // 2, i) for i in range(RANDOMISATIONS)]
    assert convergence(model, comparison, parameters, half).map_error > 2e-4


def test_small_motion_needs_the_fewest():
    """Where all motion is of first order, the points' exact moments leave no error."""
    model, comparison, parameters, draw, _ = problem(0.01)
    assert enough_samples(model, comparison, parameters, draw, 1e-6).samples == FEWEST


def test_the_impossible_is_not_tried_for_ever():
    """At the most samples the search ends, with the error that they have."""
    drawn = []
    model, comparison, parameters, draw, _ = problem(0.3)

    def few(samples: int, randomisation: int) -> np.ndarray:
        drawn.append(samples)
        return draw(8, randomisation)

    found = enough_samples(model, comparison, parameters, few, 1e-12)
    assert max(drawn) == MOST
    assert found.map_error > 1e-12


@pytest.mark.parametrize("purpose", [(), (3,)])
def test_configured_samples_are_taken_and_measured(purpose):
    """So many, whatever the accuracy asked for; randomisations are numbered behind the purpose."""
    model, comparison, parameters, _, _ = problem(0.3)
    options, sampler = ModelConfig(samples=16, map_error=1e-9), Sampler(MODES, False, "sobol", 7)
    found = samples_needed(model, comparison, parameters, options, sampler, *purpose)
    streams = [generator(7, *purpose, i) for i in range(RANDOMISATIONS)]
    draws = [normal_samples("sobol", 16, 3, stream) for stream in streams]
    assert found == convergence(model, comparison, parameters, draws)


def test_automatic_samples_are_as_many_as_the_accuracy_asks_for():
    """The same number, and the same error, as by hand."""
    model, comparison, parameters, draw, _ = problem(0.3)
    options, sampler = (
        ModelConfig(samples="auto", map_error=1e-3),
        Sampler(MODES, False, "sobol", 7),
    )
    found = samples_needed(model, comparison, parameters, options, sampler)
    assert found == enough_samples(model, comparison, parameters, draw, 1e-3)


def test_fewer_samples_are_measured_too():
    """A half, a quarter and so on, not below four; each as if it had been asked for."""
    model, comparison, parameters, draw, _ = problem(0.3)
    used = convergence(model, comparison, parameters, [draw(64, i) for i in range(4)])
    found = with_fewer(used, model, comparison, parameters, draw)
    assert (found.samples, found.map_error) == (used.samples, used.map_error)
    assert [one.samples for one in found.measured] == [4, 8, 16, 32]
    quarter = convergence(model, comparison, parameters, [draw(16, i) for i in range(4)])
    assert vars(found.measured[2]).items() <= vars(quarter).items()
    errors = [one.map_error for one in found.measured]
    assert errors == sorted(errors, reverse=True)


def test_an_ensemble_has_no_fewer_samples():
    """Where as many configurations are drawn whatever is asked for; where nothing is sampled."""
    model, comparison, parameters, draw, _ = problem(0.3)

    def all_frames(_: int, randomisation: int) -> np.ndarray:
        return draw(16, randomisation)

    used = convergence(model, comparison, parameters, [draw(16, i) for i in range(4)])
    assert with_fewer(used, model, comparison, parameters, all_frames).measured == ()
    exact = replace(used, map_error=0.0)
    assert with_fewer(exact, model, comparison, parameters, draw) == exact
