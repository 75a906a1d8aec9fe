"""Kernels are compiled by one rank; the others load them from the cache."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import HANG_S
from launching import mpirun

RUN = """
from hpc_diffuser.commands.main import main
main(["fit", "fit.toml"])
"""


@pytest.mark.slow
def test_only_one_rank_compiles(project, clean_environment, tmp_path):
    """Three ranks, an empty cache: what is saved there is saved once, and by one process.

    numba tells what it saves. The first evaluation needs the kernels of all steps.
    """
    environment = clean_environment | {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "NUMBA_DEBUG_CACHE": "1",
    }
    done = subprocess.run(
        [mpirun(), "-n", "3", sys.executable, "-c", RUN],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    saved = Counter(re.findall(r"data saved to '(.*?)'", done.stdout))
    loaded = Counter(re.findall(r"data loaded from '(.*?)'", done.stdout))
    assert len(saved) >= 10
    assert set(saved.values()) == {1}, [name for name, n in saved.items() if n > 1]
    kernels = {Path(name).name.split("-")[0] for name in saved}
    for kernel in ("density._add_block", "density.draw", "interpolation", "correlation"):
        assert any(kernel in name for name in kernels), kernels
    assert max(loaded.values()) >= 2
