"""Where a run stands: running or not, how far, how good, how long still. Reads only."""

import time
from pathlib import Path

import numpy as np

from hpc_diffuser.fit.restarts import failed_restarts
from hpc_diffuser.fit.run.checkpoints import checkpoint_path, read_restart
from hpc_diffuser.fit.run.directory import Session, read_manifest, read_session, runs_inside
from hpc_diffuser.fit.run.jobs import read_jobs
from hpc_diffuser.fit.run.lock import owner_lives, owner_text, read_owner
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.summary import read_stage
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import duration

_PATIENCE_S = 2.0  # with SLURM: who looks does not want to wait


def status_text(directory: Path) -> str:
    """A few lines about a run, whether it runs, has stopped, has crashed or is done.

    Of a comparison of models, the same of each that has begun.

    Raises
    ------
    InputError
        Where the folder is not a run directory.
    """
    models = runs_inside(directory)
    if not models:
        return _status_of_run(directory)
    names = ", ".join(path.name for path in models)
    parts = [f"{directory}: a comparison of models, of which have begun: {names}"]
    if (directory / "manifest.json").exists():  # of a fit before it, in the same folder
        models = [directory, *models]
    return "\n\n".join(parts + [_status_of_one(path) for path in models])


def _status_of_one(directory: Path) -> str:
    """Of several: one that cannot be read does not hide the others."""
    try:
        return _status_of_run(directory)
    except InputError as exc:
        return str(exc)


def _status_of_run(directory: Path) -> str:
    n_restarts, n_evaluations = _size(directory)
    found = {r: read_restart(directory, r) for r in range(n_restarts)}
    histories = {r: history for r, (history, _) in found.items() if history is not None}
    damaged = [path for _, paths in found.values() for path in paths]
    done = sum(min(len(h), n_evaluations) for h in histories.values())
    total = n_restarts * n_evaluations
    saved = _last_saved(directory, histories)
    running = _running(directory)
    lines = [
        f"{directory}: {running or _ending(directory, n_restarts)}",
        _restarts(histories, n_restarts, n_evaluations),
        f"evaluations  {done} of {total} ({100 * done / total:.0f} %)"
        + _pace(read_session(directory), done, total, saved, running is not None),
    ]
    if histories:
        lines += [_scores(histories), f"last saved   {duration(time.time() - saved)} ago"]
    lines += [
        f"damaged      {path.name}: the run goes on from what is before it" for path in damaged
    ]
    return "\n".join(lines + _damaged_notes(directory))


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


def _damaged_notes(directory: Path) -> list[str]:
    known = {
        "session.json": (read_session, "how fast it goes, and with how many ranks, is not known"),
        "summary.json": (read_stage, "hpc-diffuser fit writes it again"),
        "jobs.json": (read_jobs, "what earlier jobs have cost is not known"),
    }
    return [
        f"damaged      {name}: {meaning}"
        for name, (read, meaning) in known.items()
        if (directory / name).exists() and read(directory) is None
    ]


def _running(directory: Path) -> str | None:
    """Who works on it; None if nobody does, or its owner is dead."""
    owner = read_owner(directory)
    lives = owner is not None and owner_lives(owner, _PATIENCE_S)
    if lives is False:
        return None
    if lives is None:
        return f"not known whether it runs, SLURM does not answer: {owner_text(owner)}"
    session = read_session(directory)
    text = f"running, {owner_text(owner)}"
    if session is None:
        return text
    return (
        f"{text}; {session.ranks} ranks in {session.groups} groups, "
        f"for {duration(time.time() - session.began)}"
    )


def _ending(directory: Path, n_restarts: int) -> str:
    if _complete(directory, n_restarts):
        return f"finished; hpc-diffuser report {directory} says what came out"
    owner = read_owner(directory)
    how = "stopped" if owner is None else f"ended without a word ({owner_text(owner)})"
    return f"not finished, {how}; run hpc-diffuser fit again to resume"


def _complete(directory: Path, n_restarts: int) -> bool:
    stage = read_stage(directory)
    if stage is None or stage.shells is None:
        return False
    return stage.restarts_finished >= n_restarts


def _restarts(histories: dict[int, History], n_restarts: int, n_evaluations: int) -> str:
    finished = _finished(histories, n_evaluations)
    failed = failed_restarts({r: _best_cc(h) for r, h in finished.items()})
    under_way = len(histories) - len(finished)
    text = (
        f"restarts     {len(finished)} of {n_restarts} done, {under_way} under way, "
        f"{n_restarts - len(histories)} to come"
    )
    return f"{text}; {len(failed)} failed ({', '.join(map(str, failed))})" if failed else text


def _scores(histories: dict[int, History]) -> str:
    scores = {r: _best_cc(h) for r, h in histories.items()}
    best = max(scores, key=scores.get)
    return (
        f"CC_search    best {scores[best]:.4f} (restart {best}), "
        f"median over restarts {np.median(list(scores.values())):.4f}: CC_work with the search's "
        "own samples"
    )


def _pace(session: Session | None, done: int, total: int, saved: float, running: bool) -> str:
    """Evaluations an hour in the last session, and what is left at that pace."""
    if session is None or done <= session.evaluations:
        return ""
    hours = max(saved - session.began, 1.0) / 3600
    pace = (done - session.evaluations) / hours
    text = f", {pace:.0f} an hour"
    return f"{text}, {duration(3600 * (total - done) / pace)} left" if running else text


def _finished(histories: dict[int, History], n_evaluations: int) -> dict[int, History]:
    return {r: h for r, h in histories.items() if len(h) >= n_evaluations}


def _best_cc(history: History) -> float:
    return 1 - float(history.objectives.min(initial=1.0))


def _last_saved(directory: Path, histories: dict[int, History]) -> float:
    """Unix time; a file may be replaced while we look."""
    times = [0.0]
    for restart in histories:
        try:
            times.append(checkpoint_path(directory, restart).stat().st_mtime)
        except FileNotFoundError:
            continue
    return max(times)
