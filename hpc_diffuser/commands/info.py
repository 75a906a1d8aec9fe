"""The command `info`: what a file contains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_diffuser.commands.map_source import MapDescription
from hpc_diffuser.commands.running import command
from hpc_diffuser.system.options import CommandOptions, argument, option, part
from hpc_diffuser.system.streams import say

if TYPE_CHECKING:
    from hpc_diffuser.motion.modes import Modes


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which file.

    Attributes
    ----------
    file : Path
    png : Path or None
    about : MapDescription
        What is known about it, if it is a map.
    """

    file: Path = argument("file", help="modes, map, target, checkpoint or structure")
    png: Path | None = option(
        "--png",
        kind=Path,
        help="a figure: of a map its central sections; of modes.h5 whether the trajectory was long "
        "enough",
    )
    about: MapDescription = part(MapDescription)


@command
def run(options: Options) -> None:
    """Print a page about a file or a run directory.

    Raises
    ------
    InputError
        Where it is missing or of no known kind.
    """
    from hpc_diffuser.commands.pages import contents

    if options.about.is_empty and not options.png:
        say(contents.describe(options.file))
        return
    of_modes = contents.modes_page(options.file) if options.about.is_empty else None
    if of_modes and options.png:
        _show_modes(options.png, *of_modes)
        return
    loaded, page = contents.map_page(options.about.of(options.file))
    say(page)
    if options.png:
        from hpc_diffuser.plots.files import write_png
        from hpc_diffuser.plots.sections import sections_figure

        write_png(options.png, sections_figure(loaded))
        say(f"central sections: {options.png}")


def _show_modes(png: Path, modes: Modes, page: str) -> None:
    """Their page, and the figure of their trajectory's parts."""
    from hpc_diffuser.plots.files import write_png
    from hpc_diffuser.plots.long_enough import convergence_figure

    say(page)
    write_png(png, convergence_figure(modes))
    say(f"whether the trajectory was long enough: {png}")
