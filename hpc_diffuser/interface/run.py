"""A run directory, opened: settings, restarts, summary. It only reads, when it is asked."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hpc_diffuser.fit.run.directory import read_histories, read_manifest
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.summary import NAME, Summary, read_summary


@dataclass(frozen=True)
class Run:
    """A fit's run directory: finished, running or stopped.

    Attributes
    ----------
    directory : Path
    """

    directory: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Settings, hashes of the inputs, versions, processor: what it was begun with.

        Raises
        ------
        InputError
            Where the folder is no run directory.
        """
        return read_manifest(self.directory)

    @cached_property
    def summary(self) -> Summary | None:
        """What it has found; None until the first restart is finished.

        Raises
        ------
        InputError
            Where it cannot be read.
        """
        return read_summary(self.directory) if (self.directory / NAME).exists() else None

    @cached_property
    def histories(self) -> dict[int, History]:
        """By restart, the points that it has tried and their objectives, so far."""
        return read_histories(self.directory, int(self.manifest["settings"]["search.restarts"]))


def open_run(directory: str | Path) -> Run:
    """Open the run directory of a fit.

    Parameters
    ----------
    directory : str or Path

    Returns
    -------
    Run

    Raises
    ------
    InputError
        Where it is none.
    """
    run = Run(Path(directory))
    _ = run.manifest  # refuses what is no run
    return run
