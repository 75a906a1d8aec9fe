"""`doctor`: sound environments pass, each broken one is named with its remedy."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from launching import launch

from hpc_diffuser.commands.checks import files, process
from hpc_diffuser.commands.checks import ranks as together
from hpc_diffuser.commands.checks.finding import Finding
from hpc_diffuser.commands.checks.process import RankFacts
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.memory import Limit

# Lines of the page, in their order.
NAMES = (
    "program",
    "packages",
    "SLURM",
    "MPI library",
    "watch",
    "ranks",
    "hosts",
    "CPUs",
    "CPU model",
    "threads",
    "waiting",
    "signals",
    "clocks",
    "shared mem",
    "kernels",
    "locks",
    "writing",
    "disk",
    "memory",
)
SOUND = RankFacts(
    host="node1",
    cpu="Xeon",
    cpus=(0, 1),
    threads=1,
    blas_threads=(1, 1),
    blocked=(),
    ignored=(),
    limit=Limit(4000.0, "SLURM_MEM_PER_NODE"),
    process=None,
    shared_MB=2000.0,
    clock=1000.0,
    waiting=0.02,
)


def problems(page: str) -> list[str]:
    """The lines that name what is wrong."""
    return [line for line in page.splitlines() if line.startswith("problem: ")]


def ranks(n: int, **changes) -> list[RankFacts]:
    """The same facts of n ranks."""
    return [replace(SOUND, **changes)] * n


def test_alone(cli, tmp_path):
    """One process without MPI: everything is looked at, and nothing is left behind."""
    result = cli("doctor", NUMBA_NUM_THREADS="1", SLURM_MEM_PER_NODE="3000")
    found = [line[:12].rstrip() for line in result.stdout.splitlines() if line]
    assert found[:-1] == list(NAMES), result.stderr
    assert result.stdout.endswith("\nno problem found\n") and result.returncode == 0
    assert "3000 MB a node (SLURM_MEM_PER_NODE)" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_memory_of_a_fit(cli, project):
    """A config's fit is held against the limit; too little room is a problem, and code 65."""
    page = cli("doctor", "fit.toml", folder=project, NUMBA_NUM_THREADS="1").stdout
    assert re.search(r"memory       about \d+ MB a rank", page) and not problems(page)
    result = cli("doctor", "fit.toml", folder=project, SLURM_MEM_PER_NODE="50")
    assert result.returncode == 65
    assert "may have 50 MB (SLURM_MEM_PER_NODE)" in problems(result.stdout)[-1]
    assert result.stdout.endswith("\n1 problem\n")
    assert not (project / "run").exists()


def test_config_that_cannot_be_read(cli):
    """A mistake in the config is one of the problems; the rest is examined all the same."""
    result = cli("doctor", "absent.toml", NUMBA_NUM_THREADS="1")
    assert result.returncode == 65
    assert [line for line in problems(result.stdout) if "absent.toml" in line]
    assert "disk" in result.stdout


def test_on_ranks(tmp_path):
    """Three ranks: told once, all of them seen, and those that wait sleep."""
    result = launch(3, "doctor", folder=tmp_path)
    page = result.stdout
    assert page.count("MPI library") == 1 and "3 launched, 3 seen" in page
    assert "(ranks: 3)" in page
    share = re.search(r"a waiting rank uses (\d+) % of a core", page)
    assert int(share[1]) < 20
    crowded = len(os.sched_getaffinity(0)) < 3
    assert len(problems(page)) == crowded and result.returncode == (65 if crowded else 0)


def test_ranks_that_do_not_find_each_other(cli):
    """Started by another MPI's launcher: rank 0 says so once, with the remedy; nobody hangs."""
    result = cli("doctor", PMI_SIZE="4", PMI_RANK="0", NUMBA_NUM_THREADS="1")
    assert result.returncode == 65
    (problem,) = problems(result.stdout)
    assert "each sees itself as rank 0 of 1" in problem and "--mpi=pmi2" in problem
    assert result.stdout.endswith("\n1 problem\n")
    others = cli("doctor", PMI_SIZE="4", PMI_RANK="2", NUMBA_NUM_THREADS="1")
    assert (others.returncode, others.stdout, others.stderr) == (65, "", "")


def test_no_mpi_library(cli):
    """Without a library one rank is in order, four are not."""
    missing = {"MPI4PY_LIBMPI": "/nonexistent/libmpi.so", "NUMBA_NUM_THREADS": "1"}
    alone = cli("doctor", **missing)
    assert alone.returncode == 0 and "MPI library  none" in alone.stdout
    launched = cli("doctor", PMI_SIZE="4", PMI_RANK="0", **missing)
    (problem,) = problems(launched.stdout)
    assert "mpi4py finds no MPI library" in problem and launched.returncode == 65


def test_blocked_signal(tmp_path, clean_environment):
    """A launcher that blocks USR1 hands that on: the job's notice would not be heard."""
    code = (
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'hpc_diffuser', 'doctor'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean_environment | {"NUMBA_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    (problem,) = problems(result.stdout)
    assert "SIGUSR1 blocked" in problem and "--max-hours" in problem


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    """A full disk, say: the reason is told, and the folder left as it was."""

    def fail(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_bytes", fail)
    found = files.writing(tmp_path)
    assert "No space left on device" in found.problem
    assert list(tmp_path.iterdir()) == []


def test_slow_and_full_storage(tmp_path, monkeypatch):
    """Storage that takes a second, and a disk that is nearly full."""
    monkeypatch.setattr(files, "SLOW_WRITE_S", 0.0)
    assert "faster file system" in files.writing(tmp_path).problem
    usage = shutil.disk_usage(tmp_path)._replace(free=500 * 2**20)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: usage)
    assert "only 500 MB left" in files.room(tmp_path).problem


def test_folder_that_cannot_be_locked(tmp_path, monkeypatch):
    """Some file systems have no locks; a lock that somebody holds is none of our business."""

    def refuse(error: OSError):
        def flock(handle, operation):
            raise error

        monkeypatch.setattr(files.fcntl, "flock", flock)
        return files.locks(tmp_path)

    assert "-o flock" in refuse(OSError(38, "Function not implemented")).problem
    assert refuse(BlockingIOError()).problem is None


@pytest.mark.parametrize("compiled", [True, False])
def test_cache_that_cannot_be_kept(monkeypatch, compiled):
    """Kernels neither compiled nor to be kept: every start would compile them."""
    monkeypatch.setattr("hpc_diffuser.fit.compilation.kernels_compiled", lambda: compiled)
    monkeypatch.setattr("hpc_diffuser.fit.compilation.kernel_cache_folder", lambda: Path("/there"))
    monkeypatch.setattr(files, "_writable", lambda folder: False)
    found = files.kernel_cache()
    assert "/there" in found.text
    if compiled:
        assert found.problem is None
    else:
        assert "kernels cannot be kept in /there" in found.problem
        assert "set NUMBA_CACHE_DIR" in found.problem


JUDGED = {
    "processors": [
        (ranks(2), None),
        (ranks(2, threads=2), "4 threads share 2 CPUs on node1"),
        (ranks(3), "3 threads share 2 CPUs on node1"),
        (ranks(2) + ranks(2, host="node2", cpus=(0,)), "2 threads share 1 CPUs on node2"),
        # Each on a core of its own, as srun binds them.
        ([replace(SOUND, cpus=(i,)) for i in range(4)], None),
        (
            [replace(SOUND, cpus=(0,), threads=2), replace(SOUND, cpus=(1, 2, 3))],
            "bound to 1 CPUs, but will start 2 threads",
        ),
    ],
    "blas": [(ranks(2), None), (ranks(1, blas_threads=(1, 8)), "OPENBLAS_NUM_THREADS=1")],
    "waiting": [
        (ranks(1, waiting=1.0), None),
        (ranks(2), None),
        (ranks(1) + ranks(1, waiting=0.97), "97 % of a core"),
    ],
    "signals": [
        (ranks(2, ignored=("SIGINT",)), None),
        (ranks(1) + ranks(1, blocked=("SIGTERM",)), "SIGTERM blocked"),
    ],
    "shared_memory": [
        (ranks(2), None),
        (ranks(1, shared_MB=0.0), None),
        (ranks(1) + ranks(1, shared_MB=1.0, host="node2"), "node2 has 1 MB left"),
    ],
    "clocks": [(ranks(1) + ranks(1, clock=1500.0), None)],
    "cpu_models": [(ranks(1) + ranks(1, cpu="EPYC"), None)],
}


@pytest.mark.parametrize(
    ("check", "facts", "expected"),
    [(check, *case) for check, cases in JUDGED.items() for case in cases],
)
def test_judgement(check, facts, expected):
    """What ranks report, and what is made of it."""
    found = getattr(together, check)(facts)
    assert isinstance(found, Finding) and "\n" not in found.text
    if expected is None:
        assert found.problem is None
    else:
        assert expected in found.problem and "\n" not in found.problem


def test_notes():
    """What is no problem but should be known: other CPUs, other clocks, ignored signals."""
    assert "last bits" in together.cpu_models(ranks(1) + ranks(1, cpu="EPYC")).text
    assert "last bits" not in together.cpu_models(ranks(2)).text
    assert "will not agree" in together.clocks(ranks(1) + ranks(1, clock=1500.0)).text
    assert "SIGINT ignored" in together.signals(ranks(1, ignored=("SIGINT",))).text
    assert together.hosts(ranks(2) + ranks(1, host="node2")).text == (
        "node1 (ranks: 2), node2 (ranks: 1)"
    )


def test_slurm_job_without_a_launcher(monkeypatch):
    """In a batch script, not yet under srun."""
    monkeypatch.setattr(process, "launched_size", lambda: 1)
    assert process.slurm({}).text == "not in a job"
    text = process.slurm({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "64"}).text
    assert "JOB_ID 7, NTASKS 64" in text and "srun starts 64" in text


def test_file_system_of_the_deepest_mount(tmp_path):
    """The kind of whatever is mounted nearest above a folder, the last one if on top."""
    home = tmp_path / "home"
    home.mkdir()
    lines = [
        "overlay / overlay rw 0 0",
        f"server:/home {home} nfs4 rw 0 0",
        f"other:/home {home} nfs rw 0 0",
        f"tmpfs {home}stead tmpfs rw 0 0",
    ]
    (tmp_path / "mounts").write_text("\n".join(lines))
    assert files.file_system(home / "me", tmp_path / "mounts") == "nfs"
    assert files.file_system(Path("/usr"), tmp_path / "mounts") == "overlay"
    assert files.file_system(Path("/usr"), tmp_path / "absent") == "unknown"


def test_waiting_is_told_apart_from_working(monkeypatch):
    """The measure itself: asleep, a rank uses nothing; one that polls uses all it is given."""

    class Polling(Ranks):
        is_root = False

        def broadcast(self, value):
            end = time.process_time() + 0.1
            while time.process_time() < end:
                pass

    assert process.waiting_share(Ranks()) < 0.2
    # On a busy machine that may be less than a core: seconds are counted in those given.
    monkeypatch.setattr(process.time, "perf_counter", time.process_time)
    assert process.waiting_share(Polling()) > 0.9
