"""The command `simulate`: a map of the motions that a config describes."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.running import all_ranks, command, expect_ranks
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.launcher import launched_rank
from hpc_diffuser.system.options import CommandOptions, argument, option, option_of, positive
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.streams import say


@dataclass(frozen=True)
class Options(CommandOptions):
    """A model whose map is wanted.

    Attributes
    ----------
    config : Path or None
        All parameters held.
    example : str or None
        Instead of a config: "two-state".
    output : Path or None
        By default map.nxs, or two-state.png.
    noise : float or None
        As of `with_noise`.
    trajectory, topology, reference, selection
        As of `TrajectoryFiles`: its frames are the ensemble.
    """

    config: Path | None = argument("config", "TOML config; all parameters held", default=None)
    example: str | None = option(
        "--example",
        choices=("two-state",),
        help="instead of a CONFIG: a plane crystal of molecules with two shapes, as a figure",
    )
    output: Path | None = option(
        "-o", "--output", kind=Path, help="(default: map.nxs; of the example two-state.png)"
    )
    noise: float | None = option(
        "--noise",
        kind=positive,
        metavar="X",
        help="add Gaussian noise with a standard deviation of X times the mean intensity of each "
        "of 20 shells, and write it as the map's errors",
    )
    trajectory: Path | None = option_of(TrajectoryFiles, "trajectory", default=None)
    topology: Path | None = option_of(TrajectoryFiles, "topology", default=None)
    reference: Path | None = option_of(TrajectoryFiles, "reference", default=None)
    selection: str | None = option_of(TrajectoryFiles, "selection")

    def of_trajectory(self) -> list[Path | None]:
        """The three files that go together."""
        return [self.trajectory, self.topology, self.reference]


@command
def run(options: Options) -> None:
    """Write a map, or the example's figure, and tell what is in it.

    Raises
    ------
    InputError
        Where a file cannot be used, or options contradict each other.
    """
    if options.example:
        if options.config or any(options.of_trajectory()) or options.noise:
            raise InputError("--example takes no CONFIG, trajectory or noise: leave them out")
        _two_state(options.output or Path("two-state.png"))
        return
    if options.config is None:
        raise InputError("expected a CONFIG to simulate, or --example two-state")
    _simulate(options, options.config, options.output or Path("map.nxs"))


def _simulate(options: Options, path: Path, output: Path) -> None:
    """On all ranks."""
    expect_ranks()
    ranks = all_ranks()
    from hpc_diffuser.commands.pages.contents import describe
    from hpc_diffuser.fit.config import load_config
    from hpc_diffuser.fit.config_needs import require_effect_in_simulation
    from hpc_diffuser.fit.simulation import simulate

    given = options.of_trajectory()
    if any(given) and not all(given):
        raise InputError("--trajectory, --topology and --reference go together: give all three")
    config = ranks.from_root(lambda: load_config(path))
    idle = ranks.from_root(lambda: require_effect_in_simulation(config, all(given)))
    text = path.read_text(encoding="utf-8") if ranks.is_root else ""
    files = _files(options, config.structure.conformer, config.structure.hydrogens)
    simulate(config, text, output, files, ranks, options.noise)
    if ranks.is_root:
        for line in idle:
            log(line)
        say(describe(output))


def _files(options: Options, conformer: str, hydrogens: bool) -> TrajectoryFiles | None:
    """The trajectory in its crystal, as the config has it; None without one."""
    trajectory, topology, reference = options.of_trajectory()
    if trajectory is None or topology is None or reference is None:
        return None
    selection = options.selection
    return TrajectoryFiles(
        trajectory, topology, reference, selection, conformer, hydrogens and selection is None
    )


def _two_state(output: Path) -> None:
    """A matter of seconds, without MPI: of several ranks the first does it."""
    if launched_rank() > 0:
        return
    from hpc_diffuser.commands.examples.two_state import two_state_example
    from hpc_diffuser.plots.files import write_png
    from hpc_diffuser.plots.two_state import two_state_figure

    maps = two_state_example()
    write_png(output, two_state_figure(maps))
    between, everywhere = maps.agreement()
    say(
        f"{output}: {maps.realisations} simulated crystals of molecules in two shapes\n"
        f"CC with one molecule that changes its shape: {between:.2f} between the halos, "
        f"{everywhere:.2f} with them"
    )
