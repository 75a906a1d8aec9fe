"""Where compiled kernels go when neither the installation nor a home can be written."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import environment

import hpc_diffuser
from hpc_diffuser.kernels.cache import private_folder
from hpc_diffuser.parallel.communicator import Ranks

PACKAGE = Path(hpc_diffuser.__file__).parent

# Root may write anywhere: the installation is read-only for everything that asks by a file.
READ_ONLY = f"""
import os, sys, tempfile
whole = tempfile.TemporaryFile
def refuse(*args, dir=None, **options):
    if str(dir).startswith({str(PACKAGE)!r}):
        raise OSError(30, "Read-only file system")
    return whole(*args, dir=dir, **options)
tempfile.TemporaryFile = refuse
if sys.argv[1] == "nobody":
    os.path.expanduser = lambda path: path  # a user whom no table knows, in a container
"""
SCORE = (
    READ_ONLY + "from hpc_diffuser.commands.main import run_program; "
    "run_program(['score', 'map.nxs', 'target.h5'])"
)
FOLDER = READ_ONLY + (
    "from hpc_diffuser.fit.compilation import kernel_cache_folder; print(kernel_cache_folder())"
)


@pytest.fixture
def homeless(inputs, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Run code without a home, with `tmp_path` for temporary files."""

    def run(code: str, home: str = "/proc/none", **variables: str):
        given = environment(HOME=home, TMPDIR=str(tmp_path), **variables)
        for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
            if name not in variables:
                given.pop(name, None)
        return subprocess.run(
            [sys.executable, "-c", code, "nobody" if home == "~" else "somebody"],
            cwd=inputs,
            env=given,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize(("code", "home"), [(SCORE, "/proc/none"), (FOLDER, "~")])
def test_temporary_folder(homeless, tmp_path, inputs, code, home):
    """A command that needs kernels is done; where they go is said once; nothing is made here."""
    result = homeless(code, home)
    assert result.returncode == 0, result.stderr
    (line,) = result.stderr.splitlines()
    (made,) = tmp_path.iterdir()
    assert line.startswith(f"compiled kernels go to {made}, ") and "NUMBA_CACHE_DIR" in line
    assert made.stat().st_mode & 0o777 == 0o700 and made.stat().st_uid == os.geteuid()
    assert not (inputs / "~").exists()


def test_ranks_share_the_folder(homeless, tmp_path):
    """What the first has compiled the others load; and only the first tells."""
    found = [
        homeless(FOLDER, PMI_SIZE="3", PMI_RANK=str(rank), NUMBA_NUM_THREADS="1")
        for rank in range(3)
    ]
    assert all(result.returncode == 0 for result in found), found[0].stderr
    assert len({result.stdout for result in found}) == 1
    assert found[0].stdout.startswith(f"{tmp_path}/")
    assert ["compiled kernels" in result.stderr for result in found] == [True, False, False]


def test_folder_of_the_users_own(homeless, tmp_path):
    """One that is named and can be written is used, without a word."""
    result = homeless(FOLDER, NUMBA_CACHE_DIR=str(tmp_path / "own"))
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith(f"{tmp_path / 'own'}/")


def test_nowhere_at_all(homeless, tmp_path):
    """One line with the remedy."""
    tmp_path.chmod(0o777)  # others may put what they like in the folder's place
    result = homeless(SCORE)
    assert result.returncode == 65
    assert result.stderr.startswith("hpc-diffuser: error: no folder for compiled kernels: ")
    assert len(result.stderr.splitlines()) == 1 and "set NUMBA_CACHE_DIR" in result.stderr


def test_folder_that_is_not_safe(tmp_path):
    """Numba runs what it finds there: no links, nobody else's folders, none open to others."""
    name = f"hpc-diffuser-{os.geteuid()}"
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{name}-1").mkdir()
    (tmp_path / f"{name}-1").chmod(0o750)
    (tmp_path / f"{name}-2").write_text("a file")
    expected = tmp_path / f"{name}-3"
    assert private_folder(tmp_path) == expected
    assert private_folder(tmp_path) == expected, "found again"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_somebody_else(tmp_path):
    """Whoever owns it could open it again."""
    other = tmp_path / f"hpc-diffuser-{os.geteuid()}"
    other.mkdir(mode=0o700)
    os.chown(other, 12345, -1)
    assert private_folder(tmp_path) == tmp_path / f"{other.name}-1"


@pytest.mark.parametrize(("mode", "usable"), [(0o700, True), (0o1777, True), (0o777, False)])
def test_place_of_the_folder(tmp_path, mode, usable):
    """In a folder that all may write to, only where each may rename no more than its own."""
    tmp_path.chmod(mode)
    assert (private_folder(tmp_path) is not None) == usable


class OnNode(Ranks):
    """A rank that keeps a list of what happens; `first` on its node."""

    def __init__(self, rank: int, first: bool):
        super().__init__()
        self.rank, self.size, self.first = rank, 4, first
        self.happened: list[str] = []

    def from_root(self, work):
        if self.is_root:
            work()
        self.happened.append("told")

    def _node(self):
        return OnNode(0 if self.first else 1, self.first)

    def meet(self):
        self.happened.append("met")


@pytest.mark.parametrize(
    ("rank", "first", "expected"),
    [
        (0, True, ["work", "told", "met"]),
        (1, False, ["told", "met"]),
        (2, True, ["told", "work", "met"]),
        (3, False, ["told", "met"]),
    ],
)
def test_first_of_every_node_compiles(rank, first, expected):
    """Two nodes of two ranks: rank 0, then the first of the other node; the others wait."""
    ranks = OnNode(rank, first)
    ranks.once_per_node(lambda: ranks.happened.append("work"))
    assert ranks.happened == expected
