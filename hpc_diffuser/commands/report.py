"""The command `report`: what came out of a run, or of a comparison of models."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.running import command
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import CommandOptions, argument, option
from hpc_diffuser.system.streams import say


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which run, and whether a figure is wanted.

    Attributes
    ----------
    directory : Path
    png : Path or None
    """

    directory: Path = argument("directory", help="run directory, also of a comparison of models")
    png: Path | None = option("--png", kind=Path, help="write a figure of CC against resolution")


@command
def run(options: Options) -> None:
    """Print the report of a run; it only reads.

    Raises
    ------
    InputError
        Where no restart has finished yet.
    """
    if (options.directory / "models.json").exists():
        _report_comparison(options)
        return
    from hpc_diffuser.commands.pages.report import finished_summary, report_text

    summary = finished_summary(options.directory)
    if options.png:
        from hpc_diffuser.plots.figures import plot_shells

        plot_shells(options.png, summary)
    say(report_text(summary))
    if options.png:
        say(f"\nCC against resolution: {options.png}")


def _report_comparison(options: Options) -> None:
    from hpc_diffuser.commands.pages.comparison import comparison_text
    from hpc_diffuser.fit.comparison_table import read_comparison

    comparison = read_comparison(options.directory)
    if options.png:
        one = options.directory / comparison.models[0].name
        raise InputError(f"--png draws one model: hpc-diffuser report {one} --png {options.png}")
    say(comparison_text(comparison))
