"""jobs.json: every job that has worked on a run, where, on how many cores and for how long.

A job writes its entry when it begins, and again at every finished restart and at its end. One that
was killed is known by its entry without an end: it counts up to the last checkpoint that it saved.
"""

import os
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path

from hpc_diffuser.fit.run.directory import cpu_model
from hpc_diffuser.fit.summary import Cost
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.records import from_plain, to_plain
from hpc_diffuser.system.storage import read_json, write_json

_FORMAT = "hpc-diffuser/jobs"


@dataclass(frozen=True)
class Machine:
    """What one rank runs on.

    Attributes
    ----------
    host, processor : str
    threads : int
        Cores that the rank uses.
    """

    host: str
    processor: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job's part in a run.

    Attributes
    ----------
    hosts, processors : tuple of str
        Of its ranks, each once.
    ranks, cores : int
    began, last : float
        Unix time of its beginning, and of what it has saved last.
    ended : str
        `finished`, `stopped`, or nothing for a job that goes on, or was killed.
    batch_job : str
        SLURM's number.
    """

    hosts: tuple[str, ...]
    processors: tuple[str, ...]
    ranks: int
    cores: int
    began: float
    last: float
    ended: str
    batch_job: str

    @property
    def hours(self) -> float:
        """From its beginning to what it has saved last."""
        return (self.last - self.began) / 3600


@dataclass(frozen=True, kw_only=True)
class _Jobs:
    """What jobs.json holds."""

    format: str
    jobs: tuple[Job, ...]


def this_machine() -> Machine:
    """Of the calling rank."""
    threads = os.environ.get("NUMBA_NUM_THREADS", "")
    return Machine(
        socket.gethostname(), cpu_model(), max(int(threads), 1) if threads.isdigit() else 1
    )


def begin_job(directory: Path, machines: list[Machine], began: float) -> None:
    """Add this job to a run's; the one before it, if it has no end, ended at its last checkpoint.

    Parameters
    ----------
    directory : Path
        Which nobody else is writing to.
    machines : list of Machine
        Of all ranks.
    began : float
        Unix time.
    """
    jobs = read_jobs(directory)
    if jobs is None:
        log(f"{directory / 'jobs.json'}: damaged; what earlier jobs have cost is not known")
        jobs = []
    if jobs and not jobs[-1].ended:
        last = max(jobs[-1].last, _last_checkpoint(directory, jobs[-1].began))
        jobs = [*jobs[:-1], replace(jobs[-1], last=last)]
    job = Job(
        hosts=tuple(sorted({machine.host for machine in machines})),
        processors=tuple(sorted({machine.processor for machine in machines})),
        ranks=len(machines),
        cores=sum(machine.threads for machine in machines),
        began=began,
        last=time.time(),
        ended="",
        batch_job=os.environ.get("SLURM_JOB_ID", ""),
    )
    _write(directory, [*jobs, job])


def note_job(directory: Path, ended: str = "") -> None:
    """This job has saved something now, or ends."""
    jobs = read_jobs(directory)
    if jobs:
        last = replace(jobs[-1], last=max(jobs[-1].last, time.time()), ended=ended)
        _write(directory, [*jobs[:-1], last])


def read_jobs(directory: Path) -> list[Job] | None:
    """All jobs so far, in their order; None where the record is damaged."""
    path = directory / "jobs.json"
    if not path.exists():
        return []
    try:
        content = from_plain(_Jobs, read_json(path))
    except InputError:
        return None
    whole = content.format == _FORMAT and all(map(_is_whole, content.jobs))
    return list(content.jobs) if whole else None


def cost(directory: Path) -> Cost:
    """What a run has cost, over all jobs."""
    jobs = read_jobs(directory) or []
    return Cost(
        jobs=len(jobs),
        killed=sum(not job.ended for job in jobs[:-1]),
        core_hours=round(sum(job.hours * job.cores for job in jobs), 4),
        wall_hours=round(sum(job.hours for job in jobs), 4),
        hosts=tuple(sorted({host for job in jobs for host in job.hosts})),
        processors=tuple(sorted({name for job in jobs for name in job.processors})),
    )


def _write(directory: Path, jobs: list[Job]) -> None:
    content = _Jobs(format=_FORMAT, jobs=tuple(jobs))
    write_json(directory / "jobs.json", to_plain(content))


def _is_whole(job: Job) -> bool:
    """False where there are no ranks, or times run backwards."""
    return job.ranks + job.cores >= 2 and job.last >= job.began


def _last_checkpoint(directory: Path, began: float) -> float:
    """Unix time of the newest checkpoint, and no sooner than `began` or later than now."""
    times = [began, *(path.stat().st_mtime for path in directory.glob("restart_*.h5"))]
    return min(max(times), time.time())
