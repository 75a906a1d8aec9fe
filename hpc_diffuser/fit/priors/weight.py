"""The weight of the prior on amplitudes where CC_free is to choose it: kept with the run."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.priors.choice import WEIGHTS, PathPoint, PriorPath
from hpc_diffuser.fit.priors.path import Fitted, Follower
from hpc_diffuser.fit.priors.prior import AUTO, Prior, background_alone, log_ratios
from hpc_diffuser.fit.problem import Problem, compare, with_samples
from hpc_diffuser.fit.results import objective
from hpc_diffuser.fit.run.directory import read_prior_path, write_prior_path
from hpc_diffuser.fit.scoring import Comparison, Score, plain
from hpc_diffuser.fit.stepping.steps import Steps, source_point
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.stopping import refuse_if_stopped


def with_prior_weight(problem: Problem, world: Ranks) -> Problem:
    """The problem with the weight of its prior: as the config says, stored, or found now.

    All ranks together follow the path; what is done of it is kept after each weight.
    """
    if problem.config.prior.amplitudes != AUTO:
        return problem
    directory = problem.config.run.directory
    found = world.from_root(lambda: read_prior_path(directory))
    if not found.complete:
        options = problem.config.model
        known = "auto" not in (options.samples, options.estimator)
        found = prior_path(
            problem if known else with_samples(problem, world),
            world,
            found,
            lambda path: write_prior_path(directory, path),
        )
        if world.is_root:
            log(_path_text(found))
    return with_weight(problem, found.chosen)


def with_weight(problem: Problem, chosen: PathPoint) -> Problem:
    """The problem with such a weight of its prior on amplitudes, and where that led to."""
    config = problem.config
    prior = replace(config.prior, amplitudes=chosen.weight)
    return replace(problem, config=replace(config, prior=prior), on_path=chosen.point)


def prior_path(
    problem: Problem,
    world: Ranks,
    begun: PriorPath,
    save: Callable[[PriorPath], None] = lambda path: None,
) -> PriorPath:
    """The whole path, on every rank, of a problem whose samples are a number.

    Parameters
    ----------
    problem : Problem
    world : Ranks
        All of them call it.
    begun : PriorPath
        What an earlier job has done of it.
    save : callable
        Called on the root after each weight.
    """
    prior = problem.prior
    if prior is None:
        raise ValueError("expected a problem with a prior")
    model, comparison = compare(problem, world)
    steps = Steps(problem, model, refuse_if_stopped)
    unit = _unit(prior, comparison, steps, problem)
    follower = Follower(
        world,
        lambda point: _evaluated(steps.score(comparison, point, 0, 0)),
        lambda point: steps.of_map(point, 0, 0),
        lambda point, weight: _weighted(prior, weight).about(point).times(unit),
        problem.space.bounds,
        problem.space.squared,
    )
    start = source_point(problem.space, problem.modes.amplitudes_A)
    if begun.points:
        start = np.array(begun.points[-1].point)
    path = begun
    # One BLAS thread: the factor of the same matrix has other bits on two.
    with threadpool_limits(1):
        for weight, found, evaluations in follower.follow(start, WEIGHTS[len(path.points) :]):
            path = PriorPath((*path.points, _point(prior, weight, found, evaluations)))
            world.from_root(lambda: save(path))  # noqa: B023
    return path


def _evaluated(score: Score) -> tuple[Score, float]:
    return score, objective(score)


def _unit(prior: Prior, comparison: Comparison, steps: Steps, problem: Problem) -> float:
    """Of a likelihood by χ₀², which every map has alike."""
    if problem.config.target.knots is None:
        return prior.unit(None)
    middle = problem.space.bounds.mean(axis=1)
    return prior.unit(background_alone(steps.score(comparison, middle, 0, 0)))


def _weighted(prior: Prior, weight: float) -> Prior:
    return replace(prior, config=replace(prior.config, amplitudes=weight))


def _point(prior: Prior, weight: float, found: Fitted, evaluations: int) -> PathPoint:
    logs = log_ratios(prior, found.point)
    return PathPoint(
        weight=weight,
        cc_work=plain(found.score.cc_work),
        cc_free=plain(found.score.cc_free),
        objective=found.objective,
        deviation=float(np.std(logs)),
        scale_of_source=float(np.exp(np.mean(logs))),
        evaluations=evaluations,
        point=tuple(found.point.tolist()),
    )


def _path_text(path: PriorPath) -> str:
    chosen, last = path.chosen, path.points[0]
    free, without = (
        "undefined" if p.cc_free is None else f"{p.cc_free:.4f}" for p in (chosen, last)
    )
    return (
        f"prior: weight {chosen.weight:.3g} on amplitudes, of {len(path.points)} tried; CC_free "
        f"{free} there, {without} without any"
    )
