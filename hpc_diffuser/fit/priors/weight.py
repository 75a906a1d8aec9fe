"""The weight of a prior where CC_free is to choose it: kept with the run."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.config import PriorConfig
from hpc_diffuser.fit.priors.choice import ENTROPY_WEIGHTS, WEIGHTS, PathPoint, PriorPath
from hpc_diffuser.fit.priors.entropy import effective_frames, relative_entropy
from hpc_diffuser.fit.priors.path import Fitted, Follower
from hpc_diffuser.fit.priors.prior import AUTO, Prior, background_alone, log_ratios
from hpc_diffuser.fit.problem import Problem, compare, with_samples
from hpc_diffuser.fit.results import objective
from hpc_diffuser.fit.run.directory import read_prior_path, write_prior_path
from hpc_diffuser.fit.scoring import Score, plain
from hpc_diffuser.fit.space import source_point
from hpc_diffuser.fit.stepping.steps import Steps
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.stopping import refuse_if_stopped


def with_prior_weight(problem: Problem, world: Ranks) -> Problem:
    """The problem with the weight of its prior: as the config says, stored, or found now.

    All ranks together follow the path; what is done of it is kept after each weight.
    """
    if open_weight(problem.config.prior) is None:
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


def open_weight(prior: PriorConfig) -> str | None:
    """Of which prior CC_free is to choose the weight: its key; None where they are known."""
    return next((key for key in ("amplitudes", "weights") if getattr(prior, key) == AUTO), None)


def _with(prior: PriorConfig, weight: float) -> PriorConfig:
    key = open_weight(prior)
    return prior if key is None else replace(prior, **{key: weight})


def with_weight(problem: Problem, chosen: PathPoint) -> Problem:
    """The problem with such a weight of the prior that is left open, and where that led to."""
    config = problem.config
    prior = _with(config.prior, chosen.weight)
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
    steps = Steps(problem, model, comparison, refuse_if_stopped)
    background = _background(steps, problem)
    follower = Follower(
        world,
        lambda point: _evaluated(steps.score(point, 0, 0)),
        lambda point: steps.of_map(point, 0, 0),
        lambda point, weight: _weighted(prior, weight).added_about(point, background),
        problem.space.bounds,
        problem.space.squared,
        problem.space.normed,
    )
    start, weights = source_point(problem.space, problem.modes), weights_of(prior)
    if begun.points:
        start = np.array(begun.points[-1].point)
    path = begun
    # One BLAS thread: the factor of the same matrix has other bits on two.
    with threadpool_limits(1):
        for weight, found, evaluations, converged in follower.follow(
            start, weights[len(path.points) :]
        ):
            path = PriorPath((*path.points, _point(prior, weight, found, evaluations, converged)))
            world.from_root(lambda: save(path))  # noqa: B023
    return path


def _evaluated(score: Score) -> tuple[Score, float]:
    return score, objective(score)


def weights_of(prior: Prior) -> tuple[float, ...]:
    """What is tried, in its order."""
    return ENTROPY_WEIGHTS if open_weight(prior.config) == "weights" else WEIGHTS


def _background(steps: Steps, problem: Problem) -> float | None:
    """χ₀² of a likelihood, which every map has alike."""
    if problem.config.target.knots is None:
        return None
    middle = problem.space.bounds.mean(axis=1)
    return background_alone(steps.score(middle, 0, 0))


def _weighted(prior: Prior, weight: float) -> Prior:
    return replace(prior, config=_with(prior.config, weight))


def _point(
    prior: Prior, weight: float, found: Fitted, evaluations: int, converged: bool
) -> PathPoint:
    frames = prior.space.of_frames
    if frames.any():
        deviation, scale = relative_entropy(found.point[frames], prior.given_weights), 1.0
        effective = effective_frames(found.point[frames])
    else:
        logs, effective = log_ratios(prior, found.point), None
        deviation, scale = float(np.std(logs)), float(np.exp(np.mean(logs)))
    return PathPoint(
        weight=weight,
        cc_work=plain(found.score.cc_work),
        cc_free=plain(found.score.cc_free),
        objective=found.objective,
        deviation=deviation,
        scale_of_source=scale,
        evaluations=evaluations,
        converged=converged,
        point=tuple(found.point.tolist()),
        effective_frames=effective,
    )


def _path_text(path: PriorPath) -> str:
    chosen = path.chosen
    without = next(p for p in path.points if not p.weight)
    free, none = (
        "undefined" if p.cc_free is None else f"{p.cc_free:.4f}" for p in (chosen, without)
    )
    on = "the entropy of frames' weights" if path.of_frames else "amplitudes"
    return (
        f"prior: weight {chosen.weight:.3g} on {on}, of {len(path.points)} tried; CC_free "
        f"{free} there, {none} without any"
    )
