"""The command `modes`: motion modes of a trajectory, or of an elastic network."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.running import command
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.motion.network_options import Network
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import CommandOptions, option, option_of, part, typed, whole
from hpc_diffuser.system.streams import say


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """What modes are made of, and how many.

    Attributes
    ----------
    trajectory, topology : Path or None
        Without them: an elastic network of the reference.
    reference, selection, conformer, hydrogens
        As of `TrajectoryFiles`.
    n_modes : int
        How many to keep.
    network : Network
        Of an elastic network.
    output : Path
    png : Path or None
        A figure: whether the trajectory is long enough.
    command : str
        As it was typed: the file records it.
    """

    trajectory: Path | None = option_of(TrajectoryFiles, "trajectory", default=None)
    topology: Path | None = option_of(TrajectoryFiles, "topology", default=None)
    reference: Path = option_of(TrajectoryFiles, "reference")
    selection: str | None = option_of(TrajectoryFiles, "selection")
    conformer: str = option_of(TrajectoryFiles, "conformer")
    hydrogens: bool = option_of(TrajectoryFiles, "hydrogens")
    n_modes: int = option(
        "--n-modes", default=20, kind=whole, help="how many to keep (default: %(default)s)"
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
    from hpc_diffuser.commands.pages.contents import describe
    from hpc_diffuser.fit.config_values import checked_conformer
    from hpc_diffuser.io.modes_from_files import (
        modes_from_network,
        modes_from_trajectory,
        save_modes,
    )
    from hpc_diffuser.system.storage import sha256

    reference, conformer = options.reference, options.conformer
    checked_conformer("--conformer", conformer)
    files = _files(options)
    notes: list[str] = []
    if files is None:
        modes = modes_from_network(
            reference, options.n_modes, conformer, options.hydrogens, options.network, notes.append
        )
        hashes, inputs = {"sha256 reference": sha256(reference)}, [reference]
        hashes["elastic network"] = "\n".join(notes)
    else:
        modes = modes_from_trajectory(files, options.n_modes, notes.append)
        hashes, inputs = files.hashes(), [files.trajectory, files.topology, reference]
    pdb = save_modes(options.output, modes, inputs, {"command": options.command} | hashes)
    say(describe(options.output))
    for note in notes:
        say(note)
    say(f"mean structure with effective B-factors: {pdb}")
    if options.png:
        from hpc_diffuser.commands.figures import plot_convergence

        plot_convergence(options.png, modes)
        say(f"whether the trajectory is long enough: {options.png}")


def _files(options: Options) -> TrajectoryFiles | None:
    """The trajectory in its crystal; None without one."""
    trajectory, topology = options.trajectory, options.topology
    if (trajectory is None) != (topology is None):
        raise InputError("--trajectory and --topology go together: give both, or neither")
    if trajectory is None or topology is None:
        if options.png:
            raise InputError("--png shows whether a trajectory is long enough: give --trajectory")
        return None
    if options.network != Network():
        raise InputError(
            "--neighbours, --contact-strength and --b-factors are of an elastic network: leave "
            "them or --trajectory out"
        )
    if options.hydrogens and options.selection is not None:
        raise InputError("--hydrogens and --select: the selection says what is kept: give one")
    return TrajectoryFiles(
        trajectory,
        topology,
        options.reference,
        options.selection,
        options.conformer,
        options.hydrogens,
    )
