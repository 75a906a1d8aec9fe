"""The command `restraints`: what a simulation is restrained by, to move as its crystal does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_diffuser.commands import modes
from hpc_diffuser.commands.running import command
from hpc_diffuser.io.trajectories.given import TrajectoryFiles, files_told
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import REQUIRED, CommandOptions, option, option_of, positive, typed
from hpc_diffuser.system.streams import say

if TYPE_CHECKING:
    from hpc_diffuser.io.restraint_files import Restraints


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """A simulation and its crystal, and how much of the difference is restrained.

    Attributes
    ----------
    trajectory, topology, reference, selection, conformer, first, last, stride
        As of `TrajectoryFiles`.
    temperature_K : float
    scale : float
        As of `updated_restraints`.
    previous : Path or None
        Table of the restraints under which the trajectory was made.
    gromacs : Path or None
        The system's topology, in whose order the include files are written.
    output : Path
        The table; the other files lie beside it.
    png : Path or None
    command : str
        As it was typed: the files record it.
    """

    trajectory: Path | tuple[Path, ...] = option_of(modes.Options, "trajectory", default=REQUIRED)
    topology: Path = option_of(TrajectoryFiles, "topology")
    reference: Path = option_of(TrajectoryFiles, "reference")
    selection: str | None = option_of(TrajectoryFiles, "selection")
    conformer: str = option_of(TrajectoryFiles, "conformer")
    first: int = option_of(TrajectoryFiles, "first")
    last: int | None = option_of(TrajectoryFiles, "last")
    stride: int = option_of(TrajectoryFiles, "stride")
    temperature_K: float = option(
        "--temperature",
        default=300.0,
        kind=positive,
        metavar="K",
        help="of the simulation, in K (default: %(default)s)",
    )
    scale: float = option(
        "--scale",
        default=0.005,
        kind=positive,
        help="how much of F_exp - F_MD is added (default: %(default)s, which is 1/200)",
    )
    previous: Path | None = option(
        "--previous",
        kind=Path,
        metavar="TABLE",
        help="of the restraints under which the trajectory was made: they are corrected",
    )
    gromacs: Path | None = option(
        "--gromacs",
        kind=Path,
        metavar="TOP",
        help="the system's topol.top: write [ position_restraints ] for its molecule types",
    )
    output: Path = option(
        "-o",
        "--output",
        default=Path("restraints.csv"),
        kind=Path,
        help="table of all atoms; the other files lie beside it (default: %(default)s)",
    )
    png: Path | None = option(
        "--png", kind=Path, help="draw RMSF, B and restraints by residue (needs matplotlib)"
    )
    command: str = typed("hpc-diffuser restraints")


@command
def run(options: Options) -> None:
    """Write the table, one by residue, GROMACS's include files, and tell what they say.

    Raises
    ------
    InputError
        Where a file cannot be used, or would be replaced by what is made of it.
    """
    from hpc_diffuser.fit.config_values import checked_conformer
    from hpc_diffuser.io.restraints_from_files import restraints_from_trajectory

    checked_conformer("--conformer", options.conformer)
    files = files_told(options)
    notes: list[str] = []
    restraints = restraints_from_trajectory(
        files, options.temperature_K, options.scale, options.previous, notes.append
    )
    outputs = _outputs(options, files, restraints)
    _write(options, files, outputs)
    if options.png is not None:
        from hpc_diffuser.plots.files import write_png
        from hpc_diffuser.plots.restraints import restraints_figure

        write_png(options.png, restraints_figure(restraints))
    from hpc_diffuser.commands.pages.restraints import page

    say("\n".join([*page(restraints), *notes]))
    written = [*outputs, *([options.png] if options.png else [])]
    say(f"written: {', '.join(map(str, written))}")
    if options.gromacs is None:
        say("for GROMACS give the system's topology too: --gromacs topol.top")


def _outputs(options: Options, files: TrajectoryFiles, restraints: Restraints) -> dict[Path, bytes]:
    """What is written, by its name."""
    from hpc_diffuser import __version__
    from hpc_diffuser.io.gromacs_restraints import includes_of
    from hpc_diffuser.io.gromacs_topology import read_gromacs_topology
    from hpc_diffuser.io.restraint_files import residue_table, table_of
    from hpc_diffuser.system.storage import sha256

    provenance = {"written by": f"hpc-diffuser {__version__}", "command": options.command}
    provenance |= files.hashes()
    if options.previous is not None:
        provenance["sha256 previous"] = sha256(options.previous)
    output = options.output
    beside = output.with_name(f"{output.stem}-residues.csv")
    found = {
        output: table_of(restraints, provenance),
        beside: residue_table(restraints, provenance),
    }
    if options.gromacs is not None:
        provenance["sha256 gromacs"] = sha256(options.gromacs)
        includes = includes_of(restraints, read_gromacs_topology(options.gromacs), provenance)
        for name, content in includes.items():
            ending = "" if len(includes) == 1 else f"_{name}"
            found[output.with_name(f"{output.stem}{ending}.itp")] = content
    return found


def _write(options: Options, files: TrajectoryFiles, outputs: dict[Path, bytes]) -> None:
    """All files, the table last: where it is, the others are."""
    from hpc_diffuser.system.storage import write_bytes

    given = (*files.trajectories, files.topology, files.reference)
    more = (options.previous, options.gromacs)
    inputs = {path.resolve() for path in (*given, *more) if path is not None}
    for path in [*outputs, options.png]:
        if path is not None and path.resolve() in inputs:
            raise InputError(f"{path} is an input, and would be replaced: give another --output")
    for path, content in reversed(outputs.items()):
        write_bytes(path, content)
