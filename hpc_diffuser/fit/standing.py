"""Where a run stands: running or not, how far, how good, how long still. Reads only.

The dataclasses are what `status --json` writes (docs/run.md): their fields' names are its keys.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_diffuser.fit.restarts import best_cc, failed_restarts
from hpc_diffuser.fit.run.checkpoints import checkpoint_path, read_restart
from hpc_diffuser.fit.run.directory import Session, read_manifest, read_session, runs_inside
from hpc_diffuser.fit.run.jobs import read_jobs
from hpc_diffuser.fit.run.lock import owner_lives, read_owner
from hpc_diffuser.fit.search.history import History, evaluations_in_all
from hpc_diffuser.fit.summary import Spread
from hpc_diffuser.fit.summary_file import read_stage
from hpc_diffuser.system.errors import InputError

# What somebody may be doing with a run, and how it may have ended.
WAITING, RUNNING, UNKNOWN = "waiting", "running", "unknown"
FINISHED, STOPPED, CRASHED, UNREADABLE = "finished", "stopped", "crashed", "unreadable"
UNDER_WAY = (WAITING, RUNNING, UNKNOWN)
_PATIENCE_S = 2.0  # with SLURM: who looks does not want to wait
_FORMAT = "hpc-diffuser/status"

Histories = dict[int, History]
Record = dict[str, str | int]  # what a lock holds


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose the lock is: the process that writes to the run, or was writing when it died.

    Attributes
    ----------
    host : str
    process : int
    job : str
        SLURM's number.
    """

    host: str
    process: int
    job: str


@dataclass(frozen=True, kw_only=True)
class RestartStanding:
    """One restart that has begun.

    Attributes
    ----------
    restart, evaluations : int
    cc_search : float
        The best so far: CC_work with the search's own samples.
    state : str
        `running`, `finished`, or `failed`: finished far below the others.
    """

    restart: int
    evaluations: int
    cc_search: float
    state: str


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """A file that cannot be read, and what that means.

    Attributes
    ----------
    file, meaning : str
    """

    file: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Of one run: of a single fit, or of one model of a comparison.

    Attributes
    ----------
    name : str
        The model's; nothing of a single fit.
    directory : str
    state : str
        `running`, `finished`, `stopped`, `crashed`; `unknown` where SLURM, which would know, does
        not answer; `unreadable`.
    owner : Owner or None
    began : float or None
        Unix time of the job that works, or has worked last, on it.
    ranks, groups : int or None
        Of that job.
    restarts, restarts_finished : int
        In all, and of those.
    restarts_ended : int
        Of those finished, by themselves, before their last evaluation.
    restarts_stood_still : int
        Of those, the ones that found no better point, and not since they had converged.
    evaluations_each : int
        The most that a restart makes.
    evaluations, evaluations_done : int
        In all, and of those.
    evaluations_per_minute : float or None
        Of that job.
    left_s : float or None
        Seconds to the last evaluation at that pace, as of what was saved last.
    cc_best, cc_median : float or None
        CC_search over restarts.
    best_restart : int or None
    standard_errors : dict or None
        Of the answer's parameters, by name, once the final map is made.
    last_saved : float or None
        Unix time.
    begun : tuple of RestartStanding
        All restarts that have begun, in their order.
    damaged : tuple of Damaged
    problem : str
        Why it is unreadable.
    """

    name: str = ""
    directory: str
    state: str
    owner: Owner | None = None
    began: float | None = None
    ranks: int | None = None
    groups: int | None = None
    restarts: int = 0
    restarts_finished: int = 0
    restarts_ended: int = 0
    restarts_stood_still: int = 0
    evaluations_each: int = 0
    evaluations: int = 0
    evaluations_done: int = 0
    evaluations_per_minute: float | None = None
    left_s: float | None = None
    cc_best: float | None = None
    cc_median: float | None = None
    best_restart: int | None = None
    standard_errors: Spread | None = None
    last_saved: float | None = None
    begun: tuple[RestartStanding, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    problem: str = ""

    @property
    def failed(self) -> tuple[int, ...]:
        """Restarts that the summary leaves out."""
        return tuple(each.restart for each in self.begun if each.state == "failed")

    @property
    def running(self) -> tuple[RestartStanding, ...]:
        """Restarts that have begun and have evaluations to come."""
        return tuple(each for each in self.begun if each.state == "running")


@dataclass(frozen=True, kw_only=True)
class Status:
    """What lies in a directory: a fit, or a comparison of several.

    Attributes
    ----------
    format : str
        "hpc-diffuser/status".
    version : int
    directory : str
    state : str
        As of a `Standing`; `waiting` where no run has begun.
    comparison : bool
    runs : tuple of Standing
        One, or those of a comparison that have begun.
    """

    format: str = _FORMAT
    version: int = 1
    directory: str
    state: str
    comparison: bool
    runs: tuple[Standing, ...]

    @property
    def is_over(self) -> bool:
        """Whether nobody works on it any more."""
        return self.state not in UNDER_WAY


def read_status(directory: Path) -> tuple[Status, list[Histories]]:
    """Where everything in a directory stands, and the histories of the restarts of each run.

    Raises
    ------
    InputError
        Where the folder is no run directory; of a comparison's runs, one that cannot be read
        does not hide the others.
    """
    inside = runs_inside(directory)
    if not inside:
        only, histories = read_standing(directory)
        status = Status(directory=str(directory), state=only.state, comparison=False, runs=(only,))
        return status, [histories]
    # Of a fit before it, in the same folder.
    outer = [(directory, "")] if (directory / "manifest.json").exists() else []
    found = [_readable(*each) for each in [*outer, *((path, path.name) for path in inside)]]
    runs = tuple(standing for standing, _ in found)
    state = _of_comparison(directory, runs)
    status = Status(directory=str(directory), state=state, comparison=True, runs=runs)
    return status, [histories for _, histories in found]


def not_begun(directory: Path) -> Status | None:
    """The status of a directory in which no run has begun, but may; None where there is one.

    Raises
    ------
    InputError
        Where files of something else lie in it.
    """
    if (directory / "manifest.json").exists() or runs_inside(directory):
        return None
    if directory.exists():
        others = [path for path in directory.iterdir() if path.is_file()]
        if any(path.name != "lock" and not path.name.startswith(".") for path in others):
            read_manifest(directory)  # says that it is none
    return Status(directory=str(directory), state=WAITING, comparison=False, runs=())


def read_standing(directory: Path, name: str = "") -> tuple[Standing, Histories]:
    """Where one run stands, by the name of its model, and the histories of its restarts.

    Raises
    ------
    InputError
        Where the folder is not a run directory.
    """
    n_restarts, n_evaluations = _size(directory)
    read = {r: read_restart(directory, r) for r in range(n_restarts)}
    histories = {r: history for r, (history, _) in read.items() if history is not None}
    damaged = tuple(
        Damaged(file=path.name, meaning="the run goes on from what is before it")
        for _, paths in read.values()
        for path in paths
    )
    owner, session = read_owner(directory), read_session(directory)
    done = sum(min(len(h), n_evaluations) for h in histories.values())
    saved = _last_saved(directory, histories)
    pace = _per_second(session, done, saved)
    scores = {r: best_cc(history) for r, history in histories.items()}
    best = max(scores, key=lambda r: scores[r]) if scores else None
    total = evaluations_in_all(histories, n_restarts, n_evaluations)
    stage = read_stage(directory)
    standing = Standing(
        name=name,
        directory=str(directory),
        state=_state(directory, owner, n_restarts),
        owner=None if owner is None else _owner(owner),
        began=session.began if session else None,
        ranks=session.ranks if session else None,
        groups=session.groups if session else None,
        restarts=n_restarts,
        restarts_finished=sum(h.finished(n_evaluations) for h in histories.values()),
        restarts_ended=sum(h.ended for h in histories.values()),
        restarts_stood_still=sum(h.stands_still for h in histories.values()),
        evaluations_each=n_evaluations,
        evaluations=total,
        evaluations_done=done,
        evaluations_per_minute=60 * pace if pace else None,
        left_s=(total - done) / pace if pace else None,
        cc_best=None if best is None else scores[best],
        cc_median=float(np.median(list(scores.values()))) if scores else None,
        best_restart=best,
        standard_errors=stage.standard_errors if stage else None,
        last_saved=saved if histories else None,
        begun=_begun(histories, n_evaluations),
        damaged=damaged + _damaged_notes(directory),
    )
    return standing, histories


def _readable(directory: Path, name: str) -> tuple[Standing, Histories]:
    try:
        return read_standing(directory, name)
    except InputError as exc:
        lost = Standing(name=name, directory=str(directory), state=UNREADABLE, problem=str(exc))
        return lost, {}


def _size(directory: Path) -> list[int]:
    """Restarts and evaluations of each, of which a run has at least one."""
    settings = read_manifest(directory)["settings"]
    numbers = [settings.get(f"search.{name}") for name in ("restarts", "evaluations")]
    if not all(isinstance(n, int) and n > 0 for n in numbers):
        raise InputError(
            f"{directory / 'manifest.json'}: damaged: search.restarts and search.evaluations are "
            f"{numbers}, expected numbers from 1: give another [run] directory"
        )
    return numbers


def _begun(histories: Histories, n_evaluations: int) -> tuple[RestartStanding, ...]:
    finished = {r: h for r, h in histories.items() if h.finished(n_evaluations)}
    states = dict.fromkeys(finished, "finished") | dict.fromkeys(
        failed_restarts(finished), "failed"
    )
    return tuple(
        RestartStanding(
            restart=r,
            evaluations=min(len(history), n_evaluations),
            cc_search=best_cc(history),
            state=states.get(r, "running"),
        )
        for r, history in histories.items()
    )


def _owner(found: Record) -> Owner:
    return Owner(host=str(found["host"]), process=int(found["pid"]), job=str(found["job"]))


def _state(directory: Path, owner: Record | None, n_restarts: int) -> str:
    lives = owner is not None and owner_lives(owner, _PATIENCE_S)
    if lives is not False:
        return RUNNING if lives else UNKNOWN
    stage = read_stage(directory)
    if stage and stage.shells is not None and stage.restarts_finished >= n_restarts:
        return FINISHED
    return STOPPED if owner is None else CRASHED


def _of_comparison(directory: Path, runs: tuple[Standing, ...]) -> str:
    """Its lock is held from the first model to the last."""
    states = {standing.state for standing in runs}
    owner = read_owner(directory)
    lives = owner is not None and owner_lives(owner, _PATIENCE_S)
    if lives or RUNNING in states:
        return RUNNING
    if lives is None or UNKNOWN in states:
        return UNKNOWN
    if states == {FINISHED} and (directory / "models.json").exists():
        return FINISHED
    return STOPPED if owner is None else CRASHED


def _damaged_notes(directory: Path) -> tuple[Damaged, ...]:
    known = {
        "session.json": (read_session, "how fast it goes, and with how many ranks, is not known"),
        "summary.json": (read_stage, "hpc-diffuser fit writes it again"),
        "jobs.json": (read_jobs, "what earlier jobs have cost is not known"),
    }
    return tuple(
        Damaged(file=name, meaning=meaning)
        for name, (read, meaning) in known.items()
        if (directory / name).exists() and read(directory) is None
    )


def _per_second(session: Session | None, done: int, saved: float) -> float | None:
    """Evaluations of the last session in a second; None before its first."""
    if session is None or done <= session.evaluations:
        return None
    return (done - session.evaluations) / max(saved - session.began, 1.0)


def _last_saved(directory: Path, histories: Histories) -> float:
    """Unix time; a file may be replaced while we look."""
    times = [0.0]
    for restart in histories:
        try:
            times.append(checkpoint_path(directory, restart).stat().st_mtime)
        except FileNotFoundError:
            continue
    return max(times)
