"""Several runs, as a report shows them beside each other."""

from dataclasses import dataclass, field
from pathlib import Path

from hpc_diffuser.fit.run.directory import runs_inside
from hpc_diffuser.interface.run import Run, open_run
from hpc_diffuser.system.errors import InputError


@dataclass(frozen=True)
class Runs:
    """Several run directories.

    Attributes
    ----------
    runs : dict of Run
        By name: the directory as it was given.
    lost : dict of str
        Of directories that cannot be read, why.
    pages : dict of str
        Of the runs that have a page of their own, its address, relative to that of all.
    """

    runs: dict[str, Run]
    lost: dict[str, str] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)


def open_runs(directories: tuple[Path, ...]) -> Runs:
    """Open run directories; of a comparison of models, those of all that have begun.

    Raises
    ------
    InputError
        Where none of them can be read.
    """
    runs: dict[str, Run] = {}
    lost: dict[str, str] = {}
    for directory in directories:
        inside = [] if (directory / "manifest.json").exists() else runs_inside(directory)
        for path in inside or [directory]:
            try:
                run = open_run(path)
                _ = run.summary, run.config
                runs[str(path)] = run
            except InputError as exc:
                lost[str(path)] = str(exc)
    if not runs:
        raise InputError("; ".join(lost.values()))
    return Runs(runs, lost)
