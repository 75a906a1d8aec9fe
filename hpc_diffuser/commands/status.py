"""The command `status`: where a run stands."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.running import command
from hpc_diffuser.system.options import CommandOptions, argument, switch
from hpc_diffuser.system.streams import say


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which run.

    Attributes
    ----------
    directory : Path
    follow : bool
        Until it ends.
    json : bool
        For programs.
    """

    directory: Path = argument("directory", help="run directory")
    follow: bool = switch(
        "--follow",
        "until the run ends: on a terminal redrawn in place, with the CC of the restarts under "
        "way as lines; waits where no run has begun yet",
    )
    json: bool = switch(
        "--json", "one JSON object; with --follow one a line, whenever anything has changed"
    )


@command
def run(options: Options) -> None:
    """Print where a run stands; it only reads.

    Raises
    ------
    InputError
        Where the folder is not a run directory.
    StoppedError
        At Ctrl-C while it is followed.
    """
    if options.follow:
        from hpc_diffuser.commands.following import follow, view_for

        follow(options.directory, view_for(options.json))
    elif options.json:
        from hpc_diffuser.commands.pages.following import json_text
        from hpc_diffuser.fit.standing import read_status

        say(json_text(read_status(options.directory)[0]))
    else:
        from hpc_diffuser.commands.pages.status import status_text

        say(status_text(options.directory))
