"""The run: many restarts of the search, dealt to groups of ranks."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.compilation import compile_kernels
from hpc_diffuser.config import Config
from hpc_diffuser.errors import StoppedError
from hpc_diffuser.io.checkpoints import checkpoint_path, write_checkpoint
from hpc_diffuser.io.run_directory import begin_or_resume, read_histories
from hpc_diffuser.io.run_lock import run_lock
from hpc_diffuser.model import Score
from hpc_diffuser.outcome import finish, objective, write_summary
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import group_of
from hpc_diffuser.parameters import Parameters
from hpc_diffuser.problem import ENSEMBLE, PROPOSAL, Problem, compare, with_samples
from hpc_diffuser.progress import Progress, log
from hpc_diffuser.sampling import generator
from hpc_diffuser.search.bayesian import propose
from hpc_diffuser.search.history import History, new_history
from hpc_diffuser.stopping import stop_requested


def refine(
    load: Callable[[Config], Problem], config: Config, config_text: str, world: Ranks
) -> dict[str, Any]:
    """Run, or resume, all restarts; the summary, on every rank.

    Parameters
    ----------
    load : callable
        `load_problem`, or it and then `shrunk_problem`; called on rank 0.
    config : Config
    config_text : str
        Kept in the run directory.
    world : Ranks

    Raises
    ------
    InputError, ChangedError, RunInUseError, StorageError
        Before anything is computed.
    StoppedError
        After a signal: everything finished is saved.
    """
    started = time.monotonic()
    problem = world.from_root(lambda: load(config))
    config, directory = problem.config, config.run.directory
    with ExitStack() as stack:
        world.from_root(lambda: stack.enter_context(run_lock(directory)) and None)
        world.from_root(lambda: begin_or_resume(config, config_text))
        histories = world.from_root(lambda: read_histories(directory, config.search.restarts))
        if world.size > 1:
            options = config.target
            world.from_root(lambda: compile_kernels(problem.target, options.weights))
        if _unfinished(config, histories):
            _raise_if_stopped(stop_requested(), directory, world)
            problem = with_samples(problem, world)
        share = _search_all(problem, histories, world)
        return finish(problem, world, started, share)


def _search_all(problem: Problem, histories: dict[int, History], world: Ranks) -> float | None:
    """Work through the unfinished restarts, dealt to the groups in turn.

    Returns
    -------
    float or None
        Part of the time that went into proposing, on rank 0; None where there was nothing to do.
    """
    search = problem.config.search
    unfinished = _unfinished(problem.config, histories)
    if not unfinished:
        return None
    n_groups = min(problem.config.run.groups or world.size, len(unfinished), world.size)
    mine = group_of(world.rank, world.size, n_groups)
    group = world.split(mine)
    restarts = unfinished[mine::n_groups]
    if world.is_root:
        log(
            f"restarts to do: {len(unfinished)} of {search.evaluations} evaluations; "
            f"ranks: {world.size}, in {n_groups} groups; voxels: {len(problem.target.indices)}; "
            f"atoms: {len(problem.modes.structure)}; parameters: {problem.space.refined.sum()}"
        )
    searcher = RestartSearch(problem, group)
    done = sum(len(histories[r]) for r in restarts if r in histories)
    progress = Progress(len(restarts) * search.evaluations, done, world.is_root)
    stopped = False
    for restart in restarts:
        stopped = not searcher.run(restart, histories.get(restart), progress)
        if stopped:
            break
        if group.is_root:
            write_summary(problem)
    progress.close()
    _raise_if_stopped(stopped, problem.config.run.directory, world)
    return optimiser_share(world.gather(searcher.seconds))


def _unfinished(config: Config, histories: dict[int, History]) -> list[int]:
    search = config.search
    done = {r for r, history in histories.items() if len(history) >= search.evaluations}
    return [r for r in range(search.restarts) if r not in done]


def optimiser_share(seconds: list[dict[str, float]] | None) -> float | None:
    """Part of the groups' working time that went into proposing.

    Parameters
    ----------
    seconds : list of dict, or None
        `RestartSearch.seconds` of every rank: zeros but on the groups' roots.
    """
    total = sum(sum(of_rank.values()) for of_rank in seconds or [])
    return sum(of_rank["proposing"] for of_rank in seconds) / total if total else None


def _raise_if_stopped(stopped: bool, directory: Path, world: Ranks) -> None:
    if world.all_true(not stopped):
        return
    error = StoppedError(f"stopped as asked; {directory} is complete so far: run again to resume")
    error.known_to_all = True
    raise error


class RestartSearch:
    """One restart after the other on one group of ranks.

    The group's root proposes and broadcasts parameters; all ranks evaluate them; the root
    saves the history after each evaluation.

    Attributes
    ----------
    seconds : dict
        What the root has spent on `proposing`, `evaluating`, `saving`; zeros on the others.
    """

    def __init__(self, problem: Problem, group: Ranks):
        self._problem = problem
        self._group = group
        self.seconds = {"proposing": 0.0, "evaluating": 0.0, "saving": 0.0}
        self._model, self._comparison = compare(problem, group)

    def run(self, restart: int, history: History | None, progress: Progress) -> bool:
        """Search to the end; False if a signal asked to stop.

        Parameters
        ----------
        restart : int
        history : History or None
            Where an earlier session left off.
        progress : Progress
        """
        problem, search = self._problem, self._problem.config.search
        normals = problem.normals(problem.config.model.samples, ENSEMBLE, restart)
        history = history or new_history(int(problem.space.refined.sum()))
        path = checkpoint_path(problem.config.run.directory, restart)
        for iteration in range(len(history), search.evaluations):
            with self._timed("proposing"):
                proposal = self._propose(history, restart, iteration)
            proposal = self._group.broadcast(proposal)
            if proposal is None:
                return False
            point, hedge = proposal
            with self._timed("evaluating"):
                score = self._evaluate(problem.space.parameters(point), normals)
            history = history.extended(point, objective(score), hedge)
            if self._group.is_root:
                with self._timed("saving"):
                    write_checkpoint(path, history)
            progress.step(restart, score.cc_work)
        return True

    @contextmanager
    def _timed(self, work: str) -> Iterator[None]:
        """Add the root's seconds inside to those of this work: the other ranks wait for it."""
        started = time.perf_counter()
        yield
        if self._group.is_root:
            self.seconds[work] += time.perf_counter() - started

    def _propose(self, history: History, restart: int, iteration: int) -> Any:
        """The next point, on the root; None on the others, and there too if asked to stop."""
        if not self._group.is_root or stop_requested():
            return None
        config = self._problem.config
        stream = generator(config.model.seed, PROPOSAL, restart, iteration)
        return propose(history, self._problem.space.bounds, config.search.initial_points, stream)

    def _evaluate(self, parameters: Parameters, normals: np.ndarray) -> Score:
        return self._comparison.score(self._model.internal_motion(parameters, normals))
