"""What `import hpc_diffuser as hd` hands out: late, whole, documented, known to type checkers."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hpc_diffuser as hd

NAMES = sorted(set(hd.__all__) - {"__version__"})
HEAVY = {"numpy", "numba", "scipy", "skopt", "h5py", "gemmi", "mdtraj", "matplotlib", "mpi4py"}


def test_importing_loads_nothing():
    """Neither libraries nor rooms of the package, not even when its names are asked for."""
    code = "import sys, hpc_diffuser as hd; dir(hd); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(found.stdout.split())
    assert found.returncode == 0 and not HEAVY & loaded
    assert not [name for name in loaded if name.startswith("hpc_diffuser.")]


def test_looking_at_a_run_loads_no_kernels(finished):
    """What is read is read without what calculates."""
    code = (
        "import sys, hpc_diffuser as hd; run = hd.open_run('run'); run.summary; run.histories;"
        "run.modes; run.target; run.calculated; run.state; print(*sys.modules)"
    )
    words = [sys.executable, "-c", code]
    found = subprocess.run(words, cwd=finished, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert not {"numba", "skopt", "mdtraj", "matplotlib", "mpi4py"} & set(found.stdout.split())


def test_stub_names_the_same():
    """Name by name, from the same modules."""
    tree = ast.parse(Path(hd.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    stub = {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert stub == {name: f"hpc_diffuser.{home}" for name, home in hd._PLACES.items()}


def test_names_are_told():
    """To completion, and to `from hpc_diffuser import *`; what is unknown is an AttributeError."""
    assert {*hd.__all__, "__doc__"} <= set(dir(hd))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = hd.nothing
    assert {name for name in dir(hd) if not name.startswith("__")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_documented(name):
    """Functions by parameters, what they return or write, errors, and an example."""
    doc = inspect.getdoc(getattr(hd, name)) or ""
    assert doc.splitlines()[0].endswith((".", ":")) or ":" in doc.splitlines()[0]
    if inspect.isfunction(getattr(hd, name)):
        for heading in ("Parameters", "Raises", "Examples"):
            assert f"{heading}\n---" in doc, f"{name}: no {heading}"
        assert ">>> " in doc and "hd." in doc.partition("Examples")[2]
