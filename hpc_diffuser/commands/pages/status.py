"""Where a run stands, in a few lines."""

import time
from pathlib import Path

from hpc_diffuser.fit.cautions import percent
from hpc_diffuser.fit.standing import (
    CRASHED,
    FINISHED,
    RUNNING,
    UNKNOWN,
    UNREADABLE,
    Owner,
    Standing,
    Status,
    read_status,
)
from hpc_diffuser.system.progress import duration

_PER = {"hour": ("an", 60.0), "minute": ("a", 1.0)}


def status_text(directory: Path) -> str:
    """A few lines about a run, whether it runs, has stopped, has crashed or is done.

    Of a comparison of models, the same of each that has begun.

    Raises
    ------
    InputError
        Where the folder is not a run directory.
    """
    return "\n".join(status_lines(read_status(directory)[0]))


def status_lines(status: Status) -> list[str]:
    """The lines of `status_text`."""
    blocks = [[comparison_line(status)]] if status.comparison else []
    blocks += [run_lines(run) for run in status.runs]
    first, *others = blocks
    return first + [line for block in others for line in ("", *block)]


def comparison_line(status: Status) -> str:
    """Which models of a comparison have begun."""
    names = ", ".join(run.name for run in status.runs if run.name)
    return f"{status.directory}: a comparison of models, of which have begun: {names}"


def run_lines(run: Standing, followed: bool = False) -> list[str]:
    """Lines about one run.

    Parameters
    ----------
    run : Standing
    followed : bool
        While somebody looks: evaluations by the minute, and shorter lines.
    """
    if run.state == UNREADABLE:
        return [run.problem]
    lines = [f"{run.directory}: {_doing(run)}", _restarts(run)]
    lines.append(f"evaluations  {progress_text(run, 'minute' if followed else 'hour')}")
    if run.last_saved is not None:
        ago = duration(max(time.time() - run.last_saved, 0.0))
        scores = score_text(run).replace(" ", "    ", 1)
        lines += [
            scores if followed else f"{scores}: CC_work with the search's own samples",
            f"last saved   {ago} ago",
        ]
    return lines + [f"damaged      {each.file}: {each.meaning}" for each in run.damaged]


def progress_text(run: Standing, per: str) -> str:
    """How many evaluations are done, how fast, and how long the others take."""
    done, total = run.evaluations_done, run.evaluations
    text = f"{done} of {total} ({percent(done / total)} %)"
    if run.evaluations_per_minute is None or run.left_s is None:
        return text
    article, minutes = _PER[per]
    text += f", {_number(minutes * run.evaluations_per_minute)} {article} {per}"
    if run.state not in (RUNNING, UNKNOWN):
        return text
    return f"{text}, {duration(run.left_s)} left" if done < total else f"{text}; the final map"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _doing(run: Standing) -> str:
    """Who works on it, or how it has ended."""
    if run.state == UNKNOWN:
        return f"not known whether it runs, SLURM does not answer: {_owner_text(run.owner)}"
    if run.state == RUNNING:
        text = f"running, {_owner_text(run.owner)}"
        if run.began is None:
            return text
        passed = duration(time.time() - run.began)
        return f"{text}; {run.ranks} ranks in {run.groups} groups, for {passed}"
    if run.state == FINISHED:
        return f"finished; hpc-diffuser report {run.directory} says what came out"
    died = run.state == CRASHED
    how = f"ended without a word ({_owner_text(run.owner)})" if died else "stopped"
    return f"not finished, {how}; run hpc-diffuser fit again to resume"


def _owner_text(owner: Owner | None) -> str:
    if owner is None:
        return "by somebody unknown"
    job = f", job {owner.job}" if owner.job else ""
    return f"process {owner.process} on {owner.host}{job}"


def _restarts(run: Standing) -> str:
    text = (
        f"restarts     {run.restarts_finished} of {run.restarts} done, {len(run.running)} under "
        f"way, {run.restarts - len(run.begun)} to come"
    )
    if run.restarts_ended:
        text += f"; {run.restarts_ended} ended of themselves"
    if run.restarts_stood_still:
        text += f", {run.restarts_stood_still} of them stood still"
    failed = ", ".join(map(str, run.failed))
    return f"{text}; {len(run.failed)} failed ({failed})" if failed else text


def score_text(run: Standing) -> str:
    """The best restart and the median over restarts."""
    return (
        f"CC_search best {run.cc_best:.4f} (restart {run.best_restart}), median over restarts "
        f"{run.cc_median:.4f}"
    )
