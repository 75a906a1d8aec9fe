"""jobs.json: every job that has worked on a run, where, on how many cores and for how long.

A job writes its entry when it begins, and again at every finished restart and at its end. One that
was killed is known by its entry without an end: it counts up to the last checkpoint that it saved.
"""

import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpc_diffuser.fit.run.directory import cpu_model
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log
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


@dataclass(frozen=True)
class Job:
    """One job's part in a run.

    Attributes
    ----------
    hosts, processors : list of str
        Of its ranks, each once.
    ranks, cores : int
    began, last : float
        Unix time of its beginning, and of what it has saved last.
    ended : str
        `finished`, `stopped`, or nothing for a job that goes on, or was killed.
    batch_job : str
        SLURM's number.
    """

    hosts: list[str]
    processors: list[str]
    ranks: int
    cores: int
    began: float
    last: float
    ended: str
    batch_job: str


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
    if jobs and not jobs[-1]["ended"]:
        jobs[-1]["last"] = max(jobs[-1]["last"], _last_checkpoint(directory, jobs[-1]["began"]))
    job = Job(
        hosts=sorted({machine.host for machine in machines}),
        processors=sorted({machine.processor for machine in machines}),
        ranks=len(machines),
        cores=sum(machine.threads for machine in machines),
        began=began,
        last=time.time(),
        ended="",
        batch_job=os.environ.get("SLURM_JOB_ID", ""),
    )
    _write(directory, [*jobs, asdict(job)])


def note_job(directory: Path, ended: str = "") -> None:
    """This job has saved something now, or ends."""
    jobs = read_jobs(directory)
    if jobs:
        jobs[-1] |= {"last": max(jobs[-1]["last"], time.time()), "ended": ended}
        _write(directory, jobs)


def read_jobs(directory: Path) -> list[dict[str, Any]] | None:
    """All jobs so far, in their order; None where the record is damaged."""
    path = directory / "jobs.json"
    if not path.exists():
        return []
    try:
        content = read_json(path)
        if content["format"] != _FORMAT:
            raise ValueError
        return [asdict(_checked(Job(**entry))) for entry in content["jobs"]]
    except (InputError, KeyError, TypeError, ValueError):
        return None


def cost(directory: Path) -> dict[str, Any]:
    """What a run has cost, over all jobs, as plain numbers.

    Returns
    -------
    dict
        `jobs`, their number; `killed`, of those the ones that did not end by themselves;
        `core_hours` and `wall_hours`; `hosts` and `processors`, each once.
    """
    jobs = read_jobs(directory) or []
    hours = [(job["last"] - job["began"]) / 3600 for job in jobs]
    return {
        "jobs": len(jobs),
        "killed": sum(not job["ended"] for job in jobs[:-1]),
        "core_hours": round(sum(h * j["cores"] for h, j in zip(hours, jobs, strict=True)), 4),
        "wall_hours": round(sum(hours), 4),
        "hosts": sorted({host for job in jobs for host in job["hosts"]}),
        "processors": sorted({name for job in jobs for name in job["processors"]}),
    }


def _write(directory: Path, jobs: list[dict[str, Any]]) -> None:
    write_json(directory / "jobs.json", {"format": _FORMAT, "jobs": jobs})


def _checked(job: Job) -> Job:
    """Raise where the numbers are no numbers, or times run backwards."""
    if not (job.ranks + job.cores >= 2 and 0 <= job.last - job.began < float("inf")):
        raise ValueError
    if not all(isinstance(name, str) for name in [*job.hosts, *job.processors]):
        raise ValueError
    return job


def _last_checkpoint(directory: Path, began: float) -> float:
    """Unix time of the newest checkpoint, and no sooner than `began` or later than now."""
    times = [began, *(path.stat().st_mtime for path in directory.glob("restart_*.h5"))]
    return min(max(times), time.time())
