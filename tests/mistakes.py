"""Changes to the inputs of a project that are mistakes, and the one line that tells of them."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py

NETWORK = ("modes", "--reference")
INTENSITY = "entry/intensity/intensity"


def the_line(result: subprocess.CompletedProcess, code: int) -> str:
    """The one line on standard error of a command that failed with this code."""
    assert result.returncode == code, (result.stdout, result.stderr)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert re.match(r"hpc-diffuser( \w+)?: error: \S", lines[0]), result.stderr
    assert result.stdout == ""
    return lines[0]


def toml(old: str, new: str) -> Callable[[Path], None]:
    """A change to the config."""

    def change(project: Path) -> None:
        path = project / "fit.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def file(name: str, content: str | bytes | None) -> Callable[[Path], None]:
    """Another content of a file; None: no file."""

    def change(project: Path) -> None:
        path = project / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def hdf5(name: str, change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    """A change inside an HDF5 file."""

    def apply(project: Path) -> None:
        with h5py.File(project / name, "r+") as opened:
            change(opened)

    return apply


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    """Several changes."""

    def apply(project: Path) -> None:
        for change in changes:
            change(project)

    return apply


def unchanged(_project: Path) -> None:
    """The inputs as they are."""


SIMULATED = (
    '[structure]\nmodes = "modes.h5"\n[grid]\noversampling = [2, 2, 2]\nd_min_A = 5.0\n'
    "[parameters]\nmode_amplitude_A = 0.2\n[model]\nsamples = 4\n"
)
