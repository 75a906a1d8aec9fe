"""What a fit of a config will take, in time and memory: measured on one rank, and counted for more.

Each kind of work is timed on one core: a map and its score, the slopes of a step, the exact
gradient. How a map's work divides among ranks is counted from its parts (`groups.Costs`), and
memory from the sizes of arrays (`footprint`).
"""

import time
from dataclasses import replace
from typing import Any

from hpc_diffuser.fit.evaluation_costs import StageCosts, Timing
from hpc_diffuser.fit.footprint import predict
from hpc_diffuser.fit.groups import Costs, soonest
from hpc_diffuser.fit.problem import Problem, as_found, measured_samples
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import Work

RANKS = (1, 2, 8, 64)
_USUAL = (8, 2, 1, 1)  # evaluations of a least-squares search, by stage: a dozen in all


def as_fitted(problem: Problem) -> Problem:
    """The problem with the estimator and the number of samples that a fit of it would choose."""
    model = problem.config.model
    if "auto" not in (model.samples, model.estimator):
        return problem
    return as_found(problem, measured_samples(problem, Ranks(), fewer=False))


def fit_costs(problem: Problem) -> dict[str, Any]:
    """Core-seconds of each kind of work, and what a whole fit takes, on one rank and on several.

    Parameters
    ----------
    problem : Problem
        As of `as_fitted`.

    Returns
    -------
    dict
        Plain numbers, with units in their names.
    """
    timing = Timing(problem, Ranks(), time.process_time)
    stages, work, end = timing.stages(), timing.work, timing.end()
    method, search = METHODS[problem.config.search.method], problem.config.search
    learning = 0 if method.steps_after is None else method.steps_after(search.initial_points) - 1
    by_stage = _evaluations(search.evaluations, learning, len(stages))
    restart = learning * stages[0].evaluating
    restart += sum(n * stage.step for n, stage in zip(by_stage, stages, strict=True))
    result: dict[str, Any] = {
        "estimator": stages[0].estimator,
        "samples": stages[0].samples,
        "core_seconds_of_a_map": {i: s.evaluating for i, s in enumerate(stages)},
    }
    if stages[0].linearising:
        result["samples_by_stage"] = {i: s.samples for i, s in enumerate(stages)}
        result["core_seconds_of_slopes"] = stages[0].linearising
        result["core_seconds_of_the_exact_gradient"] = {
            i: s.polishing for i, s in enumerate(stages) if s.polishing
        }
        result["evaluations_by_stage_assumed"] = dict(enumerate(by_stage))
    result["predicted_core_hours_of_the_search"] = search.restarts * restart / 3600
    result["predicted_core_hours_of_final_maps_and_errors"] = end / 3600
    result["predicted_core_hours_of_the_fit"] = (search.restarts * restart + end) / 3600
    result["predicted_wall_hours_by_ranks"] = {
        n: _wall_hours(problem, restart, stages[0], work, n)
        + Costs(0.0, end, work, stages[0].parts).seconds(n) / 3600
        for n in RANKS
    }
    result["seconds_of_a_map_by_ranks_of_a_group"] = {
        n: Costs(0.0, stages[0].evaluating, work, stages[0].parts).seconds(n) for n in RANKS
    }
    return result | predicted_memory(problem)


def predicted_memory(problem: Problem) -> dict[str, Any]:
    """The most resident memory of a rank, by the number of ranks; all in one group, too."""
    one_group = replace(problem.config, run=replace(problem.config.run, groups=1))
    together = replace(problem, config=one_group)
    return {
        f"predicted_memory_MB_per_rank{text}": {n: _largest(of, n) for n in RANKS}
        for text, of in (("", problem), ("_of_one_group", together))
    }


def _largest(problem: Problem, n_ranks: int) -> float:
    footprint = predict(problem, n_ranks)
    return max(footprint.of_rank(rank) for rank in range(n_ranks))


def _evaluations(most: int, learning: int, n_stages: int) -> list[int]:
    """How many evaluations each stage has, of at most so many, after those that spread out."""
    left = max(most - learning, 0)
    if n_stages == 1:
        return [left]
    found = []
    for usual in _USUAL[:n_stages]:
        found.append(min(usual, left))
        left -= found[-1]
    return found


def _wall_hours(
    problem: Problem, restart: float, stage: StageCosts, work: Work, n_ranks: int
) -> float:
    """Of all restarts, in the groups that end soonest; without what proposing takes."""
    restarts, costs = problem.config.search.restarts, Costs(0.0, restart, work, stage.parts)
    asked = problem.config.run.groups
    groups = min(asked, restarts, n_ranks) if asked else soonest(costs, n_ranks, restarts)
    return -(-restarts // groups) * costs.seconds(n_ranks // groups) / 3600
