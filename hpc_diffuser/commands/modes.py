"""The command `modes`: motion modes of a trajectory, or of an elastic network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_diffuser.commands.running import all_ranks, command, expect_ranks
from hpc_diffuser.io.trajectories.given import Analysis, TrajectoryFiles, files_told
from hpc_diffuser.motion.network_options import Network
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import CommandOptions, option, option_of, part, typed, whole
from hpc_diffuser.system.streams import say

if TYPE_CHECKING:
    from hpc_diffuser.motion.modes import Modes
    from hpc_diffuser.parallel.communicator import Ranks

_N_MODES = 20  # where nobody says how many


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """What modes are made of, and how many.

    Attributes
    ----------
    trajectory : Path, tuple of Path, or None
    topology : Path or None
        Without them: an elastic network of the reference.
    reference, selection, conformer, hydrogens, first, last, stride
        As of `TrajectoryFiles`.
    analysis : Analysis
    n_modes : int or None
        How many to keep; None: 20, or as many as there are.
    output : Path
    png : Path or None
        A figure: whether the trajectory is long enough.
    command : str
        As it was typed: the file records it.
    """

    trajectory: Path | tuple[Path, ...] | None = option(
        "--trajectory",
        kind=Path,
        several=True,
        help="XTC, TRR, DCD, NetCDF, HDF5 of MDTraj, GRO or PDB; several of one topology are read "
        "one after the other",
    )
    topology: Path | None = option_of(TrajectoryFiles, "topology", default=None)
    reference: Path = option_of(TrajectoryFiles, "reference")
    selection: str | None = option_of(TrajectoryFiles, "selection")
    conformer: str = option_of(TrajectoryFiles, "conformer")
    hydrogens: bool = option_of(TrajectoryFiles, "hydrogens")
    first: int = option_of(TrajectoryFiles, "first")
    last: int | None = option_of(TrajectoryFiles, "last")
    stride: int = option_of(TrajectoryFiles, "stride")
    analysis: Analysis = part(Analysis)
    n_modes: int | None = option(
        "--n-modes",
        kind=whole,
        help=f"how many to keep (default: {_N_MODES}, or all)",
    )
    network: Network = part(Network)
    output: Path = option("-o", "--output", default=Path("modes.h5"), kind=Path)
    png: Path | None = option(
        "--png", kind=Path, help="a figure: whether the trajectory is long enough"
    )
    command: str = typed("hpc-diffuser modes")


@command
def run(options: Options) -> None:
    """Make modes.h5, with the mean structure beside it, and tell what is in it.

    Raises
    ------
    InputError
        Where a file cannot be used, or options contradict each other.
    """
    expect_ranks()
    ranks = all_ranks()
    from hpc_diffuser.fit.config_values import checked_conformer

    checked_conformer("--conformer", options.conformer)
    files = _files(options)
    if files is None:
        ranks.from_root(lambda: _network(options))
    else:
        _trajectory(options, files, ranks)


def _network(options: Options) -> None:
    """On one rank."""
    from hpc_diffuser.io.modes_from_files import modes_from_network
    from hpc_diffuser.system.storage import sha256

    notes: list[str] = []
    how = options.conformer, options.hydrogens, options.network, notes.append
    modes = modes_from_network(options.reference, options.n_modes or _N_MODES, *how)
    used = {"sha256 reference": sha256(options.reference), "elastic network": "\n".join(notes)}
    _save(options, modes, [options.reference], used, [])  # the page says what the file does


def _trajectory(options: Options, files: TrajectoryFiles, ranks: Ranks) -> None:
    """On all ranks."""
    from hpc_diffuser.io.modes_from_files import modes_on_ranks

    notes: list[str] = []
    found = modes_on_ranks(files, options.n_modes, options.analysis, ranks, notes.append)

    def save() -> None:
        assert found is not None
        modes, used = found
        inputs = [*files.trajectories, files.topology, files.reference]
        _save(options, modes, inputs, files.hashes() | used, notes)

    ranks.from_root(save)


def _save(
    options: Options, modes: Modes, inputs: list[Path], used: dict[str, str], notes: list[str]
) -> None:
    from hpc_diffuser.commands.pages.contents import describe
    from hpc_diffuser.io.modes_from_files import save_modes

    pdb = save_modes(options.output, modes, inputs, {"command": options.command} | used)
    say(describe(options.output))
    for note in notes:
        say(note)
    say(f"mean structure with effective B-factors: {pdb}")
    if options.png:
        from hpc_diffuser.plots.files import write_png
        from hpc_diffuser.plots.long_enough import convergence_figure

        write_png(options.png, convergence_figure(modes))
        say(f"whether the trajectory is long enough: {options.png}")


def _files(options: Options) -> TrajectoryFiles | None:
    """The trajectory in its crystal; None without one."""
    trajectory, topology = options.trajectory, options.topology
    if (trajectory is None) != (topology is None):
        raise InputError("--trajectory and --topology go together: give both, or neither")
    if trajectory is None or topology is None:
        chosen = options.first, options.last, options.stride
        if chosen != (1, None, 1) or options.analysis != Analysis():
            raise InputError(
                "--first, --last, --stride, --superpose and --weighting are of a trajectory: give "
                "--trajectory and --topology"
            )
        if options.png:
            raise InputError("--png shows whether a trajectory is long enough: give --trajectory")
        return None
    if options.network != Network():
        raise InputError(
            "--neighbours, --contact-strength and --b-factors are of an elastic network: leave "
            "them or --trajectory out"
        )
    return files_told(options)
