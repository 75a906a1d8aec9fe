"""One restart of a fit on one process, without a run directory."""

from typing import NamedTuple

import numpy as np

from hpc_diffuser.fit.config import Config
from hpc_diffuser.fit.footprint import require_memory
from hpc_diffuser.fit.priors.choice import PriorPath
from hpc_diffuser.fit.priors.weight import open_weight, prior_path, with_weight
from hpc_diffuser.fit.problem import (
    FINAL,
    Problem,
    as_found,
    compare,
    for_final_map,
    load_problem,
    measured_samples,
)
from hpc_diffuser.fit.refinement import Report, RestartSearch
from hpc_diffuser.fit.scoring import plain
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.task_queue import dealer
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.progress import Progress


class Final(NamedTuple):
    """The map at a restart's best point.

    Attributes
    ----------
    cc_work, cc_free : float or None
        None where undefined.
    calculated : (V,) float
        At the target's voxels, electrons squared.
    """

    cc_work: float | None
    cc_free: float | None
    calculated: Floats


def run_restart(config: Config, number: int) -> tuple[Problem, History, Final]:
    """Search to the end, and the final map at the best point; what a run does, to the same bits.

    Parameters
    ----------
    config : Config
    number : int
        Of the restart.

    Raises
    ------
    InputError
        As of `load_problem` and `require_memory`.
    """
    return run_of_problem(load_problem(config), number)


def run_of_problem(problem: Problem, number: int) -> tuple[Problem, History, Final]:
    """The same of a problem whose inputs are read and checked."""
    ranks, config = Ranks(), problem.config
    require_memory(problem, ranks)
    if "auto" in (config.model.samples, config.model.estimator):
        problem = as_found(problem, measured_samples(problem, ranks, fewer=False))
    if open_weight(problem.config.prior):
        chosen = prior_path(problem, ranks, PriorPath()).chosen
        problem = with_weight(problem, chosen)
    history = _search(problem, number, ranks)
    return problem, history, _final(problem, history, ranks)


def _search(problem: Problem, number: int, ranks: Ranks) -> History:
    progress = Progress(problem.config.search.evaluations, 0, True)
    last: dict[int, History] = {}

    def note(report: Report) -> None:
        progress.step(report.restart, report.cc, report.objective)

    try:
        deal = dealer(ranks, [0], [number], note)
        RestartSearch(problem, ranks, deal, last.__setitem__).run_all({})
    finally:
        progress.close()
    return last[number]


def _final(problem: Problem, history: History, ranks: Ranks) -> Final:
    model, comparison = compare(for_final_map(problem), ranks)
    normals = problem.normals(problem.config.model.final_samples, FINAL)
    parameters = problem.space.parameters(history.points[history.best])
    intensity = model.internal_motion(parameters, normals)
    score = comparison.score(intensity)
    calculated = np.full(len(problem.target.indices), np.nan)
    calculated[model.rows] = intensity
    return Final(plain(score.cc_work), plain(score.cc_free), calculated)
