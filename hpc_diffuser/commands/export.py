"""The command `export`: motions in files of other programs."""

from dataclasses import dataclass, fields
from pathlib import Path

from hpc_diffuser.commands import modes
from hpc_diffuser.commands.exports.table import KINDS, NAMES, Kind, kind_for
from hpc_diffuser.commands.running import command
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import (
    CommandOptions,
    argument,
    option,
    option_of,
    positive,
    switch,
    whole,
    words_of,
)
from hpc_diffuser.system.streams import say

_ALWAYS = ("source", "output", "write", "config")


def _amplitudes(text: str) -> tuple[float, ...]:
    """Lengths in Å, separated by commas."""
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = (-1.0,)
    if not all(0 <= value < float("inf") for value in values):
        raise ValueError(f"expected lengths in Å as 0.4,0.2,0, found {text}")
    return values


def _wave(text: str) -> tuple[float, ...]:
    """A wave vector as h,k,l."""
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(abs(value) < float("inf") for value in values):
        raise ValueError(f"expected three numbers as 0.5,0,0, found {text}")
    return values


def _cells(text: str) -> tuple[int, ...]:
    """How many cells along a, b and c."""
    words = text.split(",")
    if len(words) != 3:
        raise ValueError(f"expected three whole numbers as 2,2,2, found {text}")
    return tuple(whole(word) for word in words)


def _seed(text: str) -> int:
    """A whole number from 0."""
    if not text.isdigit():
        raise ValueError(f"expected a whole number from 0, found {text}")
    return int(text)


@dataclass(frozen=True)
class Options(CommandOptions):
    """Whose motions are written, as what.

    Attributes
    ----------
    source : Path
        Modes, or a finished run with its answer.
    output : Path
    write : str or None
        The name of one of `KINDS`; by default that of the output's ending.
    amplitudes : tuple of float, Å, or None
        Of the first modes, instead of the source's; others do not move.
    mode : int or None
        From 1; by default the first, in scripts those that `prominent_modes` finds. Of a phonon
        its branch.
    reach : float
        How many standard deviations a path along a mode goes to either side.
    models : int or None
        By default 20 along a mode, 50 in an ensemble.
    seed : int
    modes_only : bool
        Of a run: without translation, libration and what else moves.
    wave : 3 floats or None
        Of a phonon: k in reciprocal-lattice units.
    cells : 3 ints or None
        How many along a, b, c are shown; by default a molecule and those that touch it.
    other : Path or None
        The basis to compare with, modes or run.
    config : Path or None
        The run's, where it lies elsewhere now.
    trajectory, topology, reference, selection, conformer, hydrogens, first, last, stride
        As of `TrajectoryFiles`.
    """

    source: Path = argument("IN", help="modes.h5, or the directory of a finished run")
    output: Path = argument("OUT", help="its ending tells the format")
    write: str | None = option(
        "--write",
        metavar="KIND",
        choices=NAMES,
        help="; ".join(f"{kind.name}: {kind.what}" for kind in KINDS),
    )
    amplitudes: tuple[float, ...] | None = option(
        "--amplitudes",
        kind=_amplitudes,
        metavar="A1,A2,...",
        help="rms displacement per atom along each mode, in Å, instead of IN's; modes after the "
        "last do not move",
    )
    mode: int | None = option(
        "--mode",
        kind=whole,
        help="which one (default: 1; in scripts the prominent ones); of a phonon its branch",
    )
    reach: float = option(
        "--reach",
        default=2.0,
        kind=positive,
        metavar="K",
        help="along a mode: as many standard deviations to either side (default: %(default)s)",
    )
    models: int | None = option(
        "--models", kind=whole, help="how many (default: 20 along a mode, 50 of an ensemble)"
    )
    seed: int = option(
        "--seed", default=1, kind=_seed, help="of an ensemble (default: %(default)s)"
    )
    modes_only: bool = switch(
        "--modes-only", "of a run: its modes alone, without translation, libration and all else"
    )
    wave: tuple[float, float, float] | None = option(
        "--wave",
        kind=_wave,
        metavar="H,K,L",
        help="of a phonon: its wave vector in reciprocal-lattice units, as 0.5,0,0 (with = where "
        "it begins with -)",
    )
    cells: tuple[int, int, int] | None = option(
        "--cells",
        kind=_cells,
        metavar="A,B,C",
        help="of a phonon: all molecules of so many cells (default: one and those that touch it)",
    )
    other: Path | None = option("--with", kind=Path, metavar="OTHER", help="the other basis")
    config: Path | None = option(
        "--config", kind=Path, help="of a run: its config, where that lies elsewhere now"
    )
    trajectory: Path | tuple[Path, ...] | None = option_of(modes.Options, "trajectory")
    topology: Path | None = option_of(TrajectoryFiles, "topology", default=None)
    reference: Path | None = option_of(TrajectoryFiles, "reference", default=None)
    selection: str | None = option_of(TrajectoryFiles, "selection")
    conformer: str = option_of(TrajectoryFiles, "conformer")
    hydrogens: bool = option_of(TrajectoryFiles, "hydrogens")
    first: int = option_of(TrajectoryFiles, "first")
    last: int | None = option_of(TrajectoryFiles, "last")
    stride: int = option_of(TrajectoryFiles, "stride")


@command
def run(options: Options) -> None:
    """Write the files and tell what is in them.

    Raises
    ------
    InputError
        Where a file cannot be used, a run is not finished, or options contradict each other.
    """
    from hpc_diffuser.commands.exports.source import read_source
    from hpc_diffuser.system.storage import write_bytes

    kind = kind_for(options.write, options.output.suffix.lower(), str(options.output))
    _check_options(options, kind)
    source = read_source(options.source, options.config)
    if options.amplitudes is not None:
        source = source.with_amplitudes(options.amplitudes)
    made = kind.maker(source, options)
    inputs = {path.resolve() for path in (*source.files, *made.inputs)}
    for path in made.files:
        if path.resolve() in inputs:
            raise InputError(f"{path} is an input, and would be replaced: give another OUT")
    for path, data in made.files.items():
        write_bytes(path, data)
    say("\n".join([*source.said, *made.said]))


def _check_options(options: Options, kind: Kind) -> None:
    """Raise InputError for what the kind does not heed, or lacks."""
    named = {field.name: field for field in fields(options)}
    for name, field in named.items():
        given = getattr(options, name) != field.default
        if given and name not in (*_ALWAYS, *kind.options):
            raise InputError(f"{_flag(field)}: of no use to --write {kind.name}: leave it out")
    for name in kind.needs:
        if getattr(options, name) is None:
            raise InputError(f"--write {kind.name}: expected {_flag(named[name])} too")


def _flag(field) -> str:
    words = words_of(field)
    return words.flags[-1] if words and words.flags else field.name
