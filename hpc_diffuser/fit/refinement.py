"""The run: many restarts of the search, dealt to groups of ranks."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hpc_diffuser.fit.compilation import compile_kernels
from hpc_diffuser.fit.config import Config, SearchConfig
from hpc_diffuser.fit.footprint import require_memory
from hpc_diffuser.fit.groups import choose_groups
from hpc_diffuser.fit.priors.weight import with_prior_weight
from hpc_diffuser.fit.problem import PROPOSAL, Problem, compare, settled, with_samples
from hpc_diffuser.fit.results import cc_or_zero, finish, sum_up
from hpc_diffuser.fit.run.checkpoints import checkpoint_path, write_checkpoint
from hpc_diffuser.fit.run.directory import begin_or_resume, recover_histories, write_session
from hpc_diffuser.fit.run.jobs import begin_job, note_job, this_machine
from hpc_diffuser.fit.run.lock import run_lock
from hpc_diffuser.fit.search.history import History, new_history
from hpc_diffuser.fit.search.linearised import About
from hpc_diffuser.fit.search.method import METHODS, search_method
from hpc_diffuser.fit.stepping.steps import Steps
from hpc_diffuser.fit.summary import Summary
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import group_of
from hpc_diffuser.parallel.task_queue import DONE, WAIT, Dealer, dealer
from hpc_diffuser.system.errors import StoppedError
from hpc_diffuser.system.progress import Progress, log
from hpc_diffuser.system.stopping import refuse_if_stopped, stop_requested, stops_at_once


@dataclass(frozen=True)
class Resumption:
    """What the user allows once, on the command line, when a run is taken up again.

    Attributes
    ----------
    break_lock : bool
        Take over the run directory from an owner that is surely dead.
    accept_versions : bool
        Go on with other versions of the program or its libraries.
    """

    break_lock: bool = False
    accept_versions: bool = False


def refine(
    load: Callable[[Config], Problem],
    config: Config,
    config_text: str,
    world: Ranks,
    resumption: Resumption = Resumption(),
) -> Summary:
    """Run, or resume, all restarts; the summary, on every rank.

    Parameters
    ----------
    load : callable
        `load_problem`, or it and then `shrunk_problem`; called on rank 0.
    config : Config
    config_text : str
        Kept in the run directory.
    world : Ranks
    resumption : Resumption

    Raises
    ------
    InputError, ChangedError, RunInUseError, StorageError
        Before anything is computed.
    StoppedError
        After a signal: everything finished is saved.
    """
    started = time.monotonic()
    world.be_patient(config.run.patience_s)
    refuse_if_stopped()
    problem = world.from_root(lambda: load(config))
    refuse_if_stopped()
    config, directory = problem.config, config.run.directory
    with ExitStack() as stack:
        lock = run_lock(directory, resumption.break_lock)
        world.from_root(lambda: stack.enter_context(lock) and None)
        config = world.from_root(
            lambda: begin_or_resume(config, config_text, resumption.accept_versions)
        )
        problem = replace(problem, config=config)
        histories = world.from_root(lambda: _recover(problem))
        began = time.time() - (time.monotonic() - started)
        machines = world.gather(this_machine())
        world.from_root(lambda: begin_job(directory, machines, began))
        require_memory(problem, world)
        if world.size > 1:
            world.once_per_node(lambda: compile_kernels(problem))
        share = None
        if _unfinished(config, histories):
            with stops_at_once():
                problem = with_prior_weight(with_samples(problem, world), world)
            share = _search_all(problem, histories, world)
        with stops_at_once():
            problem = with_prior_weight(settled(problem, world), world)
            return finish(problem, world, started, share)


def _recover(problem: Problem) -> dict[int, History]:
    n_refined = int(problem.space.refined.sum())
    directory = problem.config.run.directory
    return recover_histories(directory, problem.config.search.restarts, n_refined)


def _search_all(problem: Problem, histories: dict[int, History], world: Ranks) -> float:
    """Work through the unfinished restarts, dealt to groups of ranks.

    Returns
    -------
    float
        Part of the time that went into proposing, on rank 0.
    """
    unfinished = _unfinished(problem.config, histories)
    n_groups = world.from_root(lambda: choose_groups(problem, world.size, len(unfinished)))
    group_numbers = [group_of(rank, world.size, n_groups) for rank in range(world.size)]
    roots = [group_numbers.index(i) for i in range(n_groups)]
    ledger = Ledger(problem, histories, unfinished, world.is_root)
    if world.is_root:
        ledger.begin(world.size, n_groups)
    deal = dealer(world, roots, unfinished, ledger.note)
    with world.split(group_numbers[world.rank]) as group:
        search = RestartSearch(problem, group, deal, _to_checkpoint(problem))
        stopped = search.run_all(histories)
    ledger.close()
    _raise_if_stopped(stopped or stop_requested(), problem.config.run.directory, world)
    return optimiser_share(world.gather(search.seconds))


class Report(NamedTuple):
    """What rank 0 hears of an evaluation.

    Attributes
    ----------
    restart, evaluations : int
        So many the restart has made.
    cc, objective : float
        Of its best point so far.
    finished, ended, stands_still : bool
        The restart has; and has said so itself; and not since it has converged.
    """

    restart: int
    evaluations: int
    cc: float
    objective: float
    finished: bool
    ended: bool
    stands_still: bool = False


class Ledger:
    """What rank 0 hears of the search: shown as progress, and summed up in the run directory.

    Parameters
    ----------
    problem : Problem
    histories : dict
        Restart → what earlier sessions have done.
    unfinished : list of int
        Restarts to do.
    shown : bool
        False on ranks that stay silent.
    """

    def __init__(
        self, problem: Problem, histories: dict[int, History], unfinished: list[int], shown: bool
    ):
        self._problem = problem
        self._unfinished = unfinished
        self._evaluations = sum(len(h) for h in histories.values())
        done = sum(len(histories[r]) for r in unfinished if r in histories)
        total = len(unfinished) * problem.config.search.evaluations
        self._progress = Progress(total, done, shown)

    def begin(self, n_ranks: int, n_groups: int) -> None:
        """Say what is to be done, and keep it for `status`."""
        problem, search = self._problem, self._problem.config.search
        log(
            f"restarts to do: {len(self._unfinished)} of {_at_most(search)} evaluations; "
            f"ranks: {n_ranks}, in {n_groups} groups; voxels: {len(problem.target.indices)}; "
            f"atoms: {len(problem.modes.structure)}; parameters: {problem.space.refined.sum()}"
        )
        write_session(problem.config.run.directory, n_ranks, n_groups, self._evaluations)

    def note(self, report: Report) -> None:
        """A restart has made another evaluation."""
        self._progress.step(report.restart, report.cc, report.objective)
        if report.ended:
            log(f"restart {report.restart}: {ended_text(report.evaluations, report.stands_still)}")
            self._progress.forgo(self._problem.config.search.evaluations - report.evaluations)
        if report.finished:
            note_job(self._problem.config.run.directory)
            sum_up(self._problem)

    def close(self) -> None:
        """Leave the terminal's line as it is."""
        self._progress.close()


def _to_checkpoint(problem: Problem) -> Callable[[int, History], None]:
    """Keeps a restart's history in the run directory."""
    directory = problem.config.run.directory
    return lambda restart, history: write_checkpoint(checkpoint_path(directory, restart), history)


def _unfinished(config: Config, histories: dict[int, History]) -> list[int]:
    search = config.search
    done = {r for r, history in histories.items() if history.finished(search.evaluations)}
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
    world.from_root(lambda: note_job(directory, "stopped"))
    error = StoppedError(f"stopped as asked; {directory} is complete so far: run again to resume")
    error.known_to_all = True
    raise error


def _at_most(search: SearchConfig) -> str:
    may_end = METHODS[search.method].steps_after is not None
    return f"at most {search.evaluations}" if may_end else str(search.evaluations)


def ended_text(evaluations: int, stands_still: bool) -> str:
    """What a search that has ended of itself has come to."""
    if stands_still:
        return (
            f"stands still after {evaluations} evaluations: no step made the objective better, "
            "though by the map's slopes one should: it has not converged"
        )
    return (
        f"converged after {evaluations} evaluations: the next step moves no parameter by more than "
        "its standard error, with other sample points too, or with the most there are"
    )


class _AskedToStop(Exception):
    """Raised on all ranks of a group at once."""


def _raise_if_asked(group: Ranks, deal: Dealer) -> None:
    """Raise, on all ranks of the group, where one of them is asked to stop."""
    asked = stop_requested() or (group.is_root and deal.told_to_stop())
    if not group.all_true(not asked):
        raise _AskedToStop


class RestartSearch:
    """One restart after the other on one group of ranks, as they are dealt.

    The group's root proposes and broadcasts parameters; all ranks evaluate them; the root
    saves the history after each evaluation.

    Parameters
    ----------
    problem : Problem
    group : Ranks
    deal : Dealer
        Asked on the group's root only.
    save : callable
        Keeps a restart's history after each of its evaluations, on the group's root.

    Attributes
    ----------
    seconds : dict
        What the root has spent on `proposing`, `evaluating`, `saving`; zeros on the others.
    """

    def __init__(
        self, problem: Problem, group: Ranks, deal: Dealer, save: Callable[[int, History], None]
    ):
        self._problem = problem
        self._group = group
        self._deal = deal
        self._save = save
        self.seconds = {"proposing": 0.0, "evaluating": 0.0, "saving": 0.0}
        self._model, self._comparison = compare(problem, group)
        self._proposal = search_method(problem.config.search.method)
        # Of no method: a search that its own steps refer to would outlive its use, with its model.
        self._go_on = partial(_raise_if_asked, group, deal)
        self._steps = Steps(problem, self._model, self._comparison, self._go_on)

    def run_all(self, histories: dict[int, History]) -> bool:
        """Search until no restart is left, or all are asked to stop; True if so.

        Parameters
        ----------
        histories : dict
            Restart → where an earlier session left off.
        """
        stopped = False
        while True:
            task = self._deal.next_task(stopped) if self._group.is_root else None
            task = self._group.broadcast(task)
            if task == DONE:
                return stopped
            if task != WAIT:
                stopped = not self.run(task, histories.get(task))

    def run(self, restart: int, history: History | None = None) -> bool:
        """Search to the end; False if asked to stop.

        Parameters
        ----------
        restart : int
        history : History or None
            Where an earlier session left off.
        """
        options = self._problem.config
        keeps_cc = options.target.knots is not None or self._problem.prior is not None
        history = history or new_history(int(self._problem.space.refined.sum()), keeps_cc)
        try:
            while not history.finished(self._problem.config.search.evaluations):
                history = self._continued(history, restart)
        except _AskedToStop:
            return False
        return True

    def _continued(self, history: History, restart: int) -> History:
        """The history with one more evaluation, which is saved."""
        with self._timed("evaluating"):
            about = self._steps.about(history, restart)
        with self._timed("proposing"):
            found = self._propose(history, restart, about)
        self._go_on()
        proposal = self._group.broadcast(found)
        stage = len(history.stage_starts) + proposal.new_stage
        with self._timed("evaluating"):
            score = self._steps.score(proposal.point, restart, stage)
        point, hedge, *of_stage = proposal
        cc = cc_or_zero(score)
        history = history.extended(point, self._steps.objective(point, score), hedge, cc, *of_stage)
        if self._group.is_root:
            with self._timed("saving"):
                self._save(restart, history)
            finished = history.finished(self._problem.config.search.evaluations)
            how = history.ended, history.stands_still
            best = float(history.best_cc_so_far()[-1]), float(history.lowest_so_far()[-1])
            report = Report(restart, len(history), *best, finished, *how)
            self._deal.report(report)
        return history

    @contextmanager
    def _timed(self, work: str) -> Iterator[None]:
        """Add the root's seconds inside to those of this work: the other ranks wait for it."""
        started = time.perf_counter()
        yield
        if self._group.is_root:
            self.seconds[work] += time.perf_counter() - started

    def _propose(self, history: History, restart: int, about: About | None) -> Any:
        """The next point and what goes with it, on the root; None on the others."""
        if not self._group.is_root or stop_requested():
            return None
        config = self._problem.config
        stream = generator(config.model.seed, PROPOSAL, restart, len(history))
        space, n_initial = self._problem.space, config.search.initial_points
        found = self._proposal(history, space.bounds, n_initial, stream, about)
        return found._replace(point=space.normed(found.point))
