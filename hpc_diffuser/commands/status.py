"""The command `status`: where a run stands."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.running import command
from hpc_diffuser.system.options import CommandOptions, argument
from hpc_diffuser.system.streams import say


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which run.

    Attributes
    ----------
    directory : Path
    """

    directory: Path = argument("directory", help="run directory")


@command
def run(options: Options) -> None:
    """Print where a run stands; it only reads.

    Raises
    ------
    InputError
        Where the folder is not a run directory.
    """
    from hpc_diffuser.commands.pages.status import status_text

    say(status_text(options.directory))
