"""The command `report`: what came out of a run, or of a comparison of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_diffuser.commands.running import command
from hpc_diffuser.system.errors import InputError, StorageError
from hpc_diffuser.system.options import CommandOptions, argument, option, switch
from hpc_diffuser.system.streams import log, say

if TYPE_CHECKING:
    from hpc_diffuser.fit.summary import Summary


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which run, where its page goes, and whether a figure of its own is wanted.

    Attributes
    ----------
    directory : Path
    output : Path or None
        None: RUN/report.
    text : bool
        Without the page.
    png : Path or None
    """

    directory: Path = argument("directory", help="run directory, also of a comparison of models")
    output: Path | None = option(
        "-o", "--output", kind=Path, help="folder of the page (default: report in the directory)"
    )
    text: bool = switch("--text", "print only: write no page")
    png: Path | None = option("--png", kind=Path, help="write a figure of CC against resolution")


@command
def run(options: Options) -> None:
    """Print the report of a run, and write it as a page with figures and tables.

    Raises
    ------
    InputError
        Where no restart has finished yet, and no page is wanted.
    """
    if (options.directory / "models.json").exists():
        _report_comparison(options)
        return
    from hpc_diffuser.commands.pages.report import finished_summary, report_text

    summary = finished_summary(options.directory)
    if options.png:
        from hpc_diffuser.plots.files import write_png
        from hpc_diffuser.plots.shells import plot_shells

        write_png(options.png, plot_shells(summary))
    say(report_text(summary), flush=True)
    if options.png:
        say(f"\nCC against resolution: {options.png}")
    if not options.text:
        _write_page(options, summary)


def _write_page(options: Options, summary: Summary) -> None:
    """The page; where nobody has said where it goes, one that cannot be written is no error."""
    from hpc_diffuser.interface.run import open_run
    from hpc_diffuser.report.page import Heading, write_page
    from hpc_diffuser.report.sections.table import OF_A_RUN

    heading = Heading(
        title=f"Report of {options.directory.resolve().name}",
        subtitle=f"{summary.restarts_finished} of {summary.restarts} restarts finished, "
        f"{summary.evaluations} evaluations",
    )
    folder = options.output or options.directory / "report"
    try:
        path = write_page(folder, heading, open_run(options.directory), OF_A_RUN)
    except (InputError, StorageError) as exc:
        if options.output:
            raise
        log(f"no page: {exc}")
    else:
        say(f"\nAs a page, with figures and tables: {path}")


def _report_comparison(options: Options) -> None:
    from hpc_diffuser.commands.pages.comparison import comparison_text
    from hpc_diffuser.fit.comparison_table import read_comparison

    comparison = read_comparison(options.directory)
    if options.png:
        from hpc_diffuser.plots.files import write_png
        from hpc_diffuser.plots.models import models_figure

        write_png(options.png, models_figure(comparison))
    say(comparison_text(comparison))
    if options.png:
        say(f"\nCC against resolution: {options.png}")
