"""Who only looks at a file waits for nothing that calculates: by what is loaded, not by time."""

import subprocess
import sys

import pytest
from conftest import environment

from hpc_diffuser.io.maps.files import write_any_map

# Seconds together, of which a look needs none.
HEAVY = {"numba", "scipy", "skopt", "sklearn", "mdtraj", "matplotlib", "mpi4py", "tqdm", "tables"}
# The command's own arguments follow. What the child has loaded is told when it answers.
CODE = """
import atexit, os, sys
from pathlib import Path
from hpc_diffuser.system import child
send = child._send
def telling(*answer):
    with open("child.txt", "a") as file:
        print(os.getpid(), *sys.modules, file=file)
    send(*answer)
child._send = telling
atexit.register(lambda: Path("parent.txt").write_text(" ".join(sys.modules)))
from hpc_diffuser.commands.main import run_program
run_program()
"""
COMMANDS = (
    "info modes.h5",
    "info target.h5",
    "info map.nxs",
    "info map.mtz",
    "info model.pdb",
    "convert map.nxs out.lat",
    "convert map.mtz out.nxs",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_looking_loads_little(project, diffuse, command):
    """Neither the command nor its reader loads kernels, SciPy or mdtraj; one child reads a file.

    HDF5 is loaded by the child, and where it is written.
    """
    write_any_map(project / "map.mtz", diffuse)
    words = [sys.executable, "-c", CODE, *command.split()]
    done = subprocess.run(words, cwd=project, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parent = set((project / "parent.txt").read_text().split())
    answers = [line.split() for line in (project / "child.txt").read_text().splitlines()]
    assert "numpy" in parent and not HEAVY & parent
    assert ("h5py" in parent) == command.endswith("out.nxs")
    assert not HEAVY & {name for _, *names in answers for name in names}
    assert len({pid for pid, *_ in answers}) == 1


def test_status_page_of_a_run_loads_no_maps(finished):
    """`info` of a run directory is `status`, and loads no more than that."""
    code = CODE.replace("parent.txt", f"{finished}.txt")
    loaded = {}
    for command in ("info", "status"):
        words = [sys.executable, "-c", code, command, "run"]
        done = subprocess.run(
            words, cwd=finished, env=environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        with open(f"{finished}.txt", encoding="utf-8") as file:
            loaded[command] = {m for m in file.read().split() if m.startswith("hpc_diffuser")}
    more = {m for m in loaded["info"] - loaded["status"] if ".commands." not in m}
    assert more <= {"hpc_diffuser.io.maps.given"}  # what its options may say
