"""How many groups the ranks are divided into: small groups compute without waiting for each other,
few large ones leave no rank idle when restarts are few. What is best depends on what proposing
and evaluating cost here, which is measured."""

import time
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.evaluation_costs import stage_costs
from hpc_diffuser.fit.problem import Problem
from hpc_diffuser.fit.search.history import History, new_history
from hpc_diffuser.fit.search.method import METHODS, search_method
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import Layout, Work, choose_layout
from hpc_diffuser.system.progress import log


@dataclass(frozen=True)
class Costs:
    """What one evaluation of a restart costs.

    Attributes
    ----------
    proposing : float, s
        On a group's root, while the others wait.
    evaluating : float, s
        On one rank.
    work : Work
        That ranks can share.
    parts : int
        Of such work.
    """

    proposing: float
    evaluating: float
    work: Work
    parts: int

    def seconds(self, n_ranks: int) -> float:
        """One evaluation in a group of so many ranks."""
        layout = choose_layout(n_ranks, self.work, self.parts)
        shared = self.work.time(layout, self.parts) / self.work.time(Layout(1, 1), self.parts)
        return self.proposing + self.evaluating * shared


def choose_groups(problem: Problem, n_ranks: int, n_restarts: int) -> int:
    """The configured number of groups, or the one by which the restarts are done soonest.

    Called on one rank. The answer of the fit does not depend on it.
    """
    most = min(n_ranks, n_restarts)
    asked = problem.config.run.groups
    if asked or most == 1:
        return min(asked or 1, most)
    # Every rank has as many restarts as any other: alone, it waits for nobody.
    if n_restarts % n_ranks == 0:
        return most
    costs = measured_costs(problem)
    chosen = soonest(costs, n_ranks, n_restarts)
    log(
        f"groups: {chosen}, because proposing costs {costs.proposing:.2g} s and evaluating "
        f"{costs.evaluating:.2g} s on one rank"
    )
    return chosen


def soonest(costs: Costs, n_ranks: int, n_restarts: int) -> int:
    """The number of groups with the shortest wall time; the smaller of equal ones."""

    def wall(n_groups: int) -> float:
        return -(-n_restarts // n_groups) * costs.seconds(n_ranks // n_groups)

    # Groups of equal sizes: the slowest decides how long the last round takes.
    return min(range(1, min(n_ranks, n_restarts) + 1), key=wall)


def measured_costs(problem: Problem) -> Costs:
    """Times of one proposal, half way through a restart, and of one evaluation; on one rank.

    Of a search that takes steps, an evaluation is a map and its slopes: those of its first stage.
    """
    bounds, search = problem.space.bounds, problem.config.search

    def suggest(history: History) -> None:
        if METHODS[search.method].learns:  # from the points that it has tried; a step takes no time
            search_method("bayesian")(history, bounds, 1, np.random.default_rng(0))

    stage, work = stage_costs(problem, Ranks(), first_alone=True)
    proposing = _seconds(suggest, _random_history(bounds, search))
    return Costs(proposing, stage[0].step, work, stage[0].parts)


def _random_history(bounds: np.ndarray, search) -> History:
    n = max(search.evaluations // 2, 2)
    stream = np.random.default_rng(0)
    points = stream.uniform(*bounds.T, (n, len(bounds)))
    return History(points, stream.uniform(0.3, 0.7, n), new_history(len(bounds)).hedge)


def _seconds(work, argument) -> float:
    """Of the second call: the first one loads libraries and kernels."""
    work(argument)
    began = time.perf_counter()
    work(argument)
    return time.perf_counter() - began
