"""The command `init`: a project's files checked, its config written, the next commands named."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.config_choice import DEFAULT_CONFIG
from hpc_diffuser.commands.running import command, one_rank
from hpc_diffuser.commands.starting.files import ProjectFiles
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import CommandOptions, option, part
from hpc_diffuser.system.streams import say


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """What there is, and where the config goes.

    Attributes
    ----------
    files : ProjectFiles
    output : Path
        What is made later lies beside it.
    """

    files: ProjectFiles = part(ProjectFiles)
    output: Path = option(
        "-o",
        "--output",
        default=DEFAULT_CONFIG,
        kind=Path,
        help="the config; what the next commands make lies beside it (default: %(default)s)",
    )


def _other(output: Path) -> Path:
    """A config beside it that is not there yet."""
    number = 2
    while (other := output.with_stem(f"{output.stem}-{number}")).exists():
        number += 1
    return other


@command
def run(options: Options) -> None:
    """Write a config that fits the files; tell what was found, assumed, and what to do next.

    Raises
    ------
    InputError
        Where the config is there already, a file cannot be used, or files do not belong together.
    """
    one_rank("init")
    files, output = options.files.checked(), options.output
    if output.exists():
        raise InputError(
            f"{output}: is there already, and is not replaced: remove it, or write another beside "
            f"it, with all files anew: -o {_other(output)}"
        )
    from hpc_diffuser.commands.starting.config_text import config_text
    from hpc_diffuser.commands.starting.found import Told, look_at
    from hpc_diffuser.commands.starting.plan import Plan, commands, remarks
    from hpc_diffuser.fit.config import parse_config
    from hpc_diffuser.system.storage import write_bytes

    told = Told()
    molecule, measured = look_at(files, told)
    plan = Plan(files=files, molecule=molecule, measured=measured, config=output)
    text = config_text(plan, told.assumed)
    parse_config(text, output.resolve().parent, str(output))  # it must be one that a fit reads
    write_bytes(output, text.encode())
    assumed = [f"assumed: {line}" for line in told.assumed]
    say("\n".join([*told.found, *assumed, f"\n{output} is written:\n", text]))
    say("\n".join(["Next, in this order:\n", *(f"  {line}" for line in commands(plan)), ""]))
    say("\n".join(remarks(plan)))
