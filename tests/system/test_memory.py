"""Limits on memory, as control groups, SLURM and ulimit state them."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import random_structure
from conftest import environment

from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.motion.network_modes import network_modes
from hpc_diffuser.motion.network_options import Network
from hpc_diffuser.system import memory
from hpc_diffuser.system.memory import (
    MB,
    Limit,
    cgroup_limits,
    memory_limit_MB,
    peak_memory_MB,
    physical_memory,
    require_room,
    slurm_limits,
)


def group(tree: Path, path: str, name: str, text: str) -> None:
    """Write a limit's file into a made-up tree of control groups."""
    folder = tree / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"{text}\n")


def sizes(limits: list[Limit]) -> list[float]:
    """The limits in MB, ascending."""
    return sorted(limit.MB for limit in limits)


def test_version_2_limits_of_all_groups_above(tmp_path):
    """A step's own group may be without a limit: that of its job counts, and "max" is none."""
    (tmp_path / "cgroup").write_text("0::/slurm/job_7/step_0\n")
    group(tmp_path, "slurm/job_7/step_0", "memory.max", "max")
    group(tmp_path, "slurm/job_7", "memory.max", str(4096 * MB))
    group(tmp_path, "slurm", "memory.max", str(8192 * MB))
    found = cgroup_limits(tmp_path / "cgroup", tmp_path)
    assert sizes(found) == [4096, 8192]
    assert "control group" in found[0].source


def test_version_1_limits(tmp_path):
    """Only the memory controller's line counts; a number near 2⁶³ means none."""
    lines = ["12:cpu,cpuacct:/job", "9:memory:/uid_0/job_7/task", "0::/init.scope"]
    (tmp_path / "cgroup").write_text("\n".join(lines))
    name = "memory.limit_in_bytes"
    group(tmp_path, "memory", name, "9223372036854771712")
    group(tmp_path, "memory/uid_0/job_7", name, str(1500 * MB))
    group(tmp_path, "cpu/job", name, str(1 * MB))
    assert sizes(cgroup_limits(tmp_path / "cgroup", tmp_path)) == [1500]


def test_path_of_the_host_seen_in_a_container(tmp_path):
    """The path leads nowhere inside: the limit of the tree's root is the container's."""
    (tmp_path / "cgroup").write_text("0::/../../kubepods/pod-1\n")
    group(tmp_path, ".", "memory.max", str(512 * MB))
    assert sizes(cgroup_limits(tmp_path / "cgroup", tmp_path)) == [512]


def test_no_control_groups(tmp_path):
    """A system without them, or with a file of another kind, has no limit."""
    assert cgroup_limits(tmp_path / "absent", tmp_path) == []
    (tmp_path / "cgroup").write_text("nothing of use\n")
    assert cgroup_limits(tmp_path / "cgroup", tmp_path) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"SLURM_MEM_PER_NODE": "64000"}, [64000]),
        ({"SLURM_MEM_PER_NODE": "0"}, []),  # --mem=0: all that the node has
        ({"SLURM_MEM_PER_CPU": "1500", "SLURM_CPUS_ON_NODE": "4"}, [6000]),
        ({"SLURM_MEM_PER_CPU": "1500"}, []),
        ({"SLURM_MEM_PER_CPU": "100", "SLURM_JOB_CPUS_PER_NODE": "72(x2),36"}, [7200]),
        (
            {
                "SLURM_MEM_PER_CPU": "100",
                "SLURM_JOB_CPUS_PER_NODE": "72(x2),36",
                "SLURM_NODEID": "2",
            },
            [3600],
        ),
        ({"SLURM_MEM_PER_NODE": "64G"}, []),
    ],
)
def test_slurm(variables, expected):
    """Megabytes for a node, or for each of its CPUs that are the job's."""
    assert sizes(slurm_limits(variables)) == expected


def test_least_limit_counts_and_is_named(monkeypatch):
    """A job on part of a node may use less than the node has."""
    node = physical_memory()
    monkeypatch.delenv("SLURM_MEM_PER_CPU", raising=False)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "7")
    assert memory_limit_MB() == Limit(7.0, "SLURM_MEM_PER_NODE")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "999999999")
    assert memory_limit_MB().MB <= node.MB


def test_physical_memory_is_the_kernels():
    """What /proc/meminfo says, but for what the kernel keeps to itself: a few per cent."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal"))
    assert pytest.approx(total / 1024, rel=0.05) == physical_memory().MB


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ulimit -m 1024000", "Limit(MB=1000.0, source='ulimit -m')"),
        ("ulimit -v 5000000 -m 1024000", "Limit(MB=1000.0, source='ulimit -m')"),
        ("ulimit -v unlimited", "None"),
    ],
)
def test_limits_of_a_process(command, expected):
    """The shell's limits, which it counts in kB."""
    code = "from hpc_diffuser.system.memory import process_limit_MB; print(process_limit_MB())"
    shell = f"{command} && exec {sys.executable} -c '{code}'"
    found = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected


def test_address_space_is_not_all_for_use():
    """Of 4882.8 MB, what is mapped only is taken off: 500 MB more by an untouched block of so much.

    A touched one is used: what may be resident stays. What is to be mapped counts too.
    """
    code = (
        "import mmap\n"
        "from hpc_diffuser.system.memory import process_limit_MB as found\n"
        "start = found(); a = mmap.mmap(-1, 500 * 2**20); after = found()\n"
        "b = bytearray(b'x') * (200 * 2**20)\n"
        "print(start.MB, after.MB, found().MB, found(110.0).MB, start.source, sep=';')"
    )
    shell = f'ulimit -v 5000000 && exec {sys.executable} -c "{code}"'
    found = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    *numbers, source = found.stdout.strip().split(";")
    start, untouched, touched, later = map(float, numbers)
    assert start < 5e6 / 1024 and start - untouched == pytest.approx(500, abs=5)
    assert touched == pytest.approx(untouched, abs=5) and touched - later == pytest.approx(
        110, abs=1
    )
    unused = 5e6 / 1024 - start
    assert source == f"ulimit -v without the {unused:.0f} MB that are only mapped"


@pytest.mark.parametrize(
    ("limit_MB", "error", "code", "told"),
    [
        (100.0, ImportError("x.so: failed to map segment"), 65, "not enough memory: a library"),
        (100.0, OSError("Could not find libllvmlite.so"), 65, "not enough memory: a library"),
        (9000.0, ImportError("no such name"), 70, "internal error: ImportError"),
        (None, OSError("a disk"), 70, "internal error: OSError"),
    ],
)
def test_library_that_cannot_be_mapped(call, monkeypatch, limit_MB, error, code, told):
    """With so much of `ulimit -v` left, or none set, one line says what was the matter."""
    room = memory._status_MB("VmSize") * MB + (limit_MB or 0) * MB
    limit = resource.RLIM_INFINITY if limit_MB is None else int(room)
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (limit, limit))

    def fail(_args):
        raise error

    monkeypatch.setattr("hpc_diffuser.commands.info.run", fail)
    result = call("info", "a.h5")
    assert result.returncode == code and told in result.stderr
    assert result.stderr.count("\n") == 1 and str(error) in result.stderr


def test_peak_is_remembered():
    """A hundred megabytes, written to and freed again, are in the peak."""
    code = (
        "from hpc_diffuser.system.memory import peak_memory_MB\n"
        "before, block = peak_memory_MB(), bytearray(b'x') * (100 * 2**20)\n"
        "del block; print(peak_memory_MB() - before)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 95 < float(found.stdout) < 110


def allow(monkeypatch, more_MB: float) -> None:
    """Let this process have so much more than it has had, as a control group might."""
    limit = Limit(peak_memory_MB() + more_MB, "the test")
    monkeypatch.setattr(memory, "memory_limit_MB", lambda: limit)


def test_room(monkeypatch):
    """What is asked for is compared with the least of the limits; the message has both."""
    allow(monkeypatch, 100.0)
    require_room(90 * MB, "this", "that")
    with pytest.raises(memory.InputError, match=r"^not enough memory: this will need about \d+ MB"):
        require_room(110 * MB, "this", "that")
    monkeypatch.setattr(memory, "process_limit_MB", lambda: Limit(peak_memory_MB(), "ulimit -v"))
    with pytest.raises(memory.InputError, match=r"\(ulimit -v\): that, or use a node with more$"):
        require_room(90 * MB, "this", "that")


# The name of what is done, and the memory that it is predicted to need.
PEAK = """
import numpy as np
from builders import random_structure
from hpc_diffuser.motion import elastic_network, modes
from hpc_diffuser.system.memory import peak_memory_MB, require_room
rng = np.random.default_rng(1)
scattered = random_structure(rng, 400, 10.0)
protein = random_structure(rng, 2000, 16.5)
ensembles = {shape: rng.normal(size=(shape[0], shape[1] // 3, 3)) for shape in SHAPES}
elastic_network.elastic_network_modes(random_structure(rng, 20), 3)
modes.principal_components(ensembles[SHAPES[0]][:3], 3)
predicted = []
for module in (modes, elastic_network):
    module.require_room = lambda n_bytes, *_: predicted.append(n_bytes / 2**20)
before = peak_memory_MB()
WORK
print(peak_memory_MB() - before, *predicted)
"""
SHAPES = ((600, 600), (300, 6000), (6000, 300))
WORKS = {
    "network": "elastic_network.elastic_network_modes(scattered, 3)",
    "slabs": "elastic_network.internal_motion(protein.positions, 3)",
    **{f"{f} x {n}": f"modes.principal_components(ensembles[{f}, {n}], 3)" for f, n in SHAPES},
}


@pytest.mark.parametrize("work", WORKS)
def test_predicted_memory_is_what_is_used(work):
    """Against the kernel's high-water mark: a process of its own for each, 27 MB to 200 MB.

    A sixth more or less is what small allocations make of so little. Every array has a mapping of
    its own: in glibc's heap, whose threshold follows what was freed before, gaps left a third more.
    """
    code = PEAK.replace("SHAPES", repr(SHAPES)).replace("WORK", WORKS[work])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env=environment(OPENBLAS_NUM_THREADS="1", MALLOC_MMAP_THRESHOLD_="131072"),
        capture_output=True,
        text=True,
        check=True,
    )
    used, predicted = map(float, done.stdout.split())
    assert predicted == pytest.approx(used, rel=1 / 6)


def test_copies_that_move_alike_need_more(monkeypatch):
    """A network of 600 atoms: 52 MB as a whole matrix, which has no slabs: the remedy says so."""
    structure = random_structure(np.random.default_rng(2), 600, 11.0)
    crystal = ((26.0, 26.0, 26.0, 90.0, 90.0, 90.0), "P 1")
    allow(monkeypatch, 45.0)
    with pytest.raises(memory.InputError, match="take --neighbours clamped"):
        network_modes(structure, crystal, 3, Network(neighbours="together"))


@pytest.mark.parametrize("n_atoms", [100, 3000])
def test_network_that_does_not_fit(call, tmp_path, monkeypatch, n_atoms):
    """Factors of the slabs, 500 MB and more for 3000 atoms, 1.4 MB for 100. Told at once."""
    radius_A = (20 * n_atoms) ** (1 / 3) / 2  # about as dense as a protein
    structure = random_structure(np.random.default_rng(2), n_atoms, radius_A, ("C",))
    write_pdb(tmp_path / "a.pdb", structure, ((40.0, 40.0, 40.0, 90.0, 90.0, 90.0), "P 1"))
    allow(monkeypatch, 250.0)
    result = call("modes", "--reference", "a.pdb")
    if n_atoms == 100:
        assert result.returncode == 0, result.stderr
        return
    assert result.returncode == 65
    told = result.stderr.splitlines()[-1]
    assert "not enough memory: the elastic network of 3000 atoms will need about " in told
    assert "give a file of fewer atoms" in told


def test_memory_that_is_not_there(call, inputs, monkeypatch):
    """Wherever it runs out, it is no internal error."""

    def hungry(*_args):
        raise MemoryError("Unable to allocate 7.00 EiB")

    monkeypatch.setattr("hpc_diffuser.commands.pages.contents.describe", hungry)
    result = call("info", "map.nxs", folder=inputs)
    assert result.returncode == 65
    assert result.stderr.startswith("hpc-diffuser: error: not enough memory (Unable to allocate 7")
