"""The README's own-data sequence and the page of a measured map, as they are written there."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANG_S, environment
from launching import mpirun

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "nuclease.md"


def blocks(
    language: str, section: str = "## From measured map to compared models", page: Path = PAGE
) -> list[str]:
    """The blocks of code in a section."""
    text = page.read_text(encoding="utf-8").split(section)[1]
    return re.findall(rf"```{language}\n(.*?)```", re.split(r"\n##+ ", text)[0], re.S)


@pytest.fixture
def folder(data, tmp_path) -> Path:
    """The measured map, the structure and the config, under their names in the page."""
    for path in (data / "nuclease").iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "nuclease.toml").write_text(blocks("toml")[0])
    return tmp_path


def run(commands: str, folder: Path, timeout: float, programs: Path | None = None) -> str:
    """What a shell prints that stops at the first failure, with this environment's programs."""
    folders = [programs] if programs else []
    path = ":".join(map(str, [*folders, Path(sys.executable).parent, environment()["PATH"]]))
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_data(call, project):
    """The README's lines, up to the trial fit, for a map and a structure under its names."""
    (project / "map.nxs").rename(project / "map.h5")
    (project / "hpc-diffuser.toml").write_text(blocks("toml", "## Your own data", README)[0])
    lines = blocks("bash", "## Your own data", README)[0].splitlines()
    for line in lines[: next(i for i, line in enumerate(lines) if "mpirun" in line)]:
        done = call(*shlex.split(line, comments=True)[1:], folder=project)
        assert done.returncode == 0, done.stderr
    assert "The config works" in done.stdout


def test_target_of_nuclease(folder, warm_script):
    """The search prints what the page shows, and the target has the voxels that it names."""
    printed = run(blocks("bash")[0], folder, HANG_S, warm_script.parent)
    shown = re.search(r"```\n(re-indexing .*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]
    assert shown in printed
    assert re.search(r"^voxels +5084,", printed, re.M)


@pytest.mark.slow
def test_models_of_nuclease(folder):
    """All of it: a rigid body's CC is the independent program's 0.48, and the others are above."""
    mpirun()
    printed = run("".join(blocks("bash")[:2]), folder, 1800)
    found = dict(re.findall(r"^(\S+) +\d+ +(0\.\d+) +0\.\d+ ", printed, re.M))
    assert float(found["rbt"]) == pytest.approx(0.48, abs=0.02)
    assert float(found["llm+sol"]) > float(found["llm"]) > float(found["rbt"]) + 0.05


STILLS = "## The same crystal at three samples per unit"


def test_target_of_stills(folder, warm_script):
    """The search's table, and how mates agree, as the page shows them."""
    first = blocks("bash", STILLS)[0].split("mpirun")[0]
    printed = run(first, folder, HANG_S, warm_script.parent)
    shown = PAGE.read_text(encoding="utf-8").split(STILLS)[1]
    for table in re.findall(r"^(re-indexing .*?)^\.\.\.|^(Laue mates.*?)```", shown, re.M | re.S):
        assert "".join(table) in printed


@pytest.mark.slow
def test_models_of_stills(folder):
    """0.42 of the rigid body and 0.48 of liquid-like motion, by independent direct sums at 0.41
    and 0.477 before their widths were fitted."""
    mpirun()
    (folder / "stills.toml").write_text(blocks("toml", STILLS)[0])
    printed = run(blocks("bash", STILLS)[0], folder, 1800)
    found = dict(re.findall(r"^(\S+) +\d+ +(0\.\d+) +0\.\d+ ", printed, re.M))
    assert float(found["rbt"]) == pytest.approx(0.42, abs=0.02)
    assert float(found["llm"]) == pytest.approx(0.48, abs=0.02)
