"""The run: many restarts of the search on groups of ranks, their median, the final map."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from hpc_diffuser.config import Config
from hpc_diffuser.disorder import Disorder
from hpc_diffuser.errors import InputError, StoppedError
from hpc_diffuser.inputs import load_modes, load_target
from hpc_diffuser.io.checkpoints import checkpoint_path, write_checkpoint
from hpc_diffuser.io.maps import write_map
from hpc_diffuser.io.run_directory import begin_or_resume, input_hashes, read_histories
from hpc_diffuser.io.run_lock import run_lock
from hpc_diffuser.io.storage import write_json
from hpc_diffuser.memory import peak_memory_MB
from hpc_diffuser.model import Comparison, ForwardModel, Score, collect, forward_model
from hpc_diffuser.modes import Modes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import group_of
from hpc_diffuser.parameters import Parameters, SearchSpace, search_space
from hpc_diffuser.progress import Progress, log
from hpc_diffuser.sampling import generator, normal_samples
from hpc_diffuser.scattering import plane_costs
from hpc_diffuser.search.bayesian import propose
from hpc_diffuser.search.history import History, new_history
from hpc_diffuser.stopping import stop_requested
from hpc_diffuser.summary import summarise
from hpc_diffuser.target import Target, map_from_voxels

# What random streams are for: the first number after the seed.
_ENSEMBLE, _PROPOSAL, _FINAL = 0, 1, 2


@dataclass(frozen=True)
class Problem:
    """Everything a fit needs, read and checked: the same on all ranks."""

    config: Config
    modes: Modes
    target: Target
    space: SearchSpace

    def normals(self, n_samples: int, *purpose: int) -> np.ndarray:
        """The ensemble's standard normal points for one purpose: (n_samples, M)."""
        model = self.config.model
        stream = generator(model.seed, *purpose)
        return normal_samples(model.sampler, n_samples, len(self.modes.amplitudes_A), stream)


def load_problem(config: Config) -> Problem:
    """Read and check all inputs of a fit.

    Raises
    ------
    InputError
        Naming file or key, and what was expected.
    """
    modes = load_modes(config)
    space = search_space(config.parameters, modes.amplitudes_A)
    if not space.refined.any():
        raise InputError(
            "[parameters]: nothing to refine: give at least one parameter a range [low, high]"
        )
    target = load_target(config, modes)
    if config.target.weights == "errors" and target.errors is None:
        raise InputError(
            f'target.weights = "errors", but {config.target.file} has none: expected a map with '
            'intensity_errors, or weights = "none"'
        )
    return Problem(config, modes, target, space)


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
        _search_all(problem, histories, world)
        return _finish(problem, world, started)


def shrunk_problem(problem: Problem) -> Problem:
    """The same problem, so small that a minute is enough: few samples, few evaluations.

    Of the target, every n-th h-plane is kept, so that all resolution shells still count.
    """
    config, target = problem.config, problem.target
    search = replace(config.search, restarts=1, evaluations=12, initial_points=8)
    model = replace(
        config.model,
        samples=min(16, config.model.samples),
        final_samples=min(32, config.model.final_samples),
    )
    costs = plane_costs(target.grid, target.d_min)
    # 16 flops for each atom, row and column of a quadrant; a core does 2e12 in about a minute.
    flops = 16.0 * len(problem.modes.structure) * costs.sum() * model.samples * search.evaluations
    stride = max(1, math.ceil(flops / 2e12))
    kept = target.at(target.indices[:, 0] % stride == 0)
    config = replace(config, search=search, model=model)
    return replace(problem, config=config, target=kept)


def _search_all(problem: Problem, histories: dict[int, History], world: Ranks) -> None:
    """Work through the unfinished restarts, dealt to the groups in turn."""
    search = problem.config.search
    unfinished = [
        r for r in range(search.restarts) if _missing(histories.get(r), search.evaluations)
    ]
    if not unfinished:
        return
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


def _missing(history: History | None, evaluations: int) -> bool:
    return history is None or len(history) < evaluations


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
    """

    def __init__(self, problem: Problem, group: Ranks):
        self._problem = problem
        self._group = group
        self._model, self._comparison = _compare(problem, group)

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
        normals = problem.normals(problem.config.model.samples, _ENSEMBLE, restart)
        history = history or new_history(int(problem.space.refined.sum()))
        path = checkpoint_path(problem.config.run.directory, restart)
        for iteration in range(len(history), search.evaluations):
            proposal = self._group.broadcast(self._propose(history, restart, iteration))
            if proposal is None:
                return False
            point, hedge = proposal
            score = self._evaluate(problem.space.parameters(point), normals)
            history = history.extended(point, objective(score), hedge)
            if self._group.is_root:
                write_checkpoint(path, history)
            progress.step(restart, score.cc_work)
        return True

    def _propose(self, history: History, restart: int, iteration: int) -> Any:
        """The next point, on the root; None on the others, and there too if asked to stop."""
        if not self._group.is_root or stop_requested():
            return None
        config = self._problem.config
        stream = generator(config.model.seed, _PROPOSAL, restart, iteration)
        return propose(history, self._problem.space.bounds, config.search.initial_points, stream)

    def _evaluate(self, parameters: Parameters, normals: np.ndarray) -> Score:
        return self._comparison.score(self._model.internal_motion(parameters, normals))


def objective(score: Score) -> float:
    """1 − CC_work; a map without any variation, whose CC is undefined, counts as CC = 0."""
    return 1.0 - score.cc_work if math.isfinite(score.cc_work) else 1.0


def write_summary(problem: Problem, outcome: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write summary.json from the checkpoints, with the final map's scores where there are any."""
    config = problem.config
    histories = read_histories(config.run.directory, config.search.restarts)
    summary = summarise(problem.space, histories, config.search.restarts, config.search.evaluations)
    summary["source_mode_amplitude_A"] = [float(a) for a in problem.modes.amplitudes_A]
    summary |= outcome or {}
    write_json(config.run.directory / "summary.json", summary)
    return summary


def _compare(problem: Problem, group: Ranks) -> tuple[ForwardModel, Comparison]:
    target, options = problem.target, problem.config.target
    model = forward_model(
        problem.modes,
        target.grid,
        target.indices,
        group,
        problem.space.typical_motion_A,
        problem.config.model.grid,
    )
    return model, Comparison(target, model, options.score, options.weights)


def _finish(problem: Problem, world: Ranks, started: float) -> dict[str, Any]:
    """The final map at the median, by all ranks together; the complete summary."""
    summary = world.from_root(lambda: write_summary(problem))
    model, comparison = _compare(problem, world)
    median = summary["median"]
    parameters = Parameters(
        np.array(median["mode_amplitude_A"]),
        Disorder(median["translation_sigma_A"], median["uncorrelated_sigma_A"]),
    )
    normals = problem.normals(problem.config.model.final_samples, _FINAL)
    intensity = model.internal_motion(parameters, normals)
    score = comparison.score(intensity)
    translation, baseline = _translation_alone(problem, model, comparison)
    values = collect(model, intensity, len(problem.target.indices))
    peak_memory = world.gather(peak_memory_MB())

    def save() -> dict[str, Any]:
        _write_calculated(problem, values)
        outcome = {
            "cc_work": _plain(score.cc_work),
            "cc_free": _plain(score.cc_free),
            "translation_alone": {
                "translation_sigma_A": translation,
                "cc_work": _plain(baseline.cc_work),
                "cc_free": _plain(baseline.cc_free),
            },
            "shells": _shells(problem.target, score, baseline),
            "last_session": {
                "ranks": world.size,
                "wall_s": round(time.monotonic() - started, 1),
                "peak_memory_MB_per_rank": round(max(peak_memory)),
            },
        }
        return write_summary(problem, outcome)

    return world.from_root(save)


def _translation_alone(
    problem: Problem, model: ForwardModel, comparison: Comparison
) -> tuple[float, Score]:
    """Rigid-body translation without modes, at its best sigma in the range: the baseline.

    Every rank runs the same one-dimensional search in step, on scores that all of them have.
    """
    low, high = problem.space.low[-2], problem.space.high[-2]

    def score(sigma_A: float) -> Score:
        return comparison.score(model.rigid(Disorder(translation_sigma_A=float(sigma_A))))

    best = float(low)
    if low < high:
        found = minimize_scalar(
            lambda sigma: objective(score(sigma)),
            bounds=(low, high),
            method="bounded",
            options={"xatol": 1e-3},
        )
        best = float(found.x)
    return best, score(best)


def _write_calculated(problem: Problem, values: np.ndarray) -> None:
    config = problem.config
    provenance = {"command": "hpc-diffuser fit", "config": _config_text(config)}
    provenance |= {f"sha256 {key}": digest for key, digest in input_hashes(config).items()}
    path = config.run.directory / "calculated.h5"
    target = problem.target
    diffuse = map_from_voxels(target.grid, target.indices, values, target.space_group)
    write_map(path, diffuse, provenance)


def _config_text(config: Config) -> str:
    return (config.run.directory / "config.toml").read_text(encoding="utf-8")


def _shells(target: Target, score: Score, baseline: Score) -> list[dict[str, float | None]]:
    edges = target.shell_edges
    return [
        {
            "d_max": float(1 / edges[i]) if edges[i] > 0 else None,
            "d_min": float(1 / edges[i + 1]),
            "cc": _plain(score.shells_work[i]),
            "cc_free": _plain(score.shells_free[i]),
            "cc_translation": _plain(baseline.shells_work[i]),
            "cc_free_translation": _plain(baseline.shells_free[i]),
        }
        for i in range(target.n_shells)
    ]


def _plain(value: float) -> float | None:
    """A JSON number; None where a CC is undefined."""
    return float(value) if math.isfinite(value) else None
