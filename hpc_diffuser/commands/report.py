"""The command `report`: what came out of a run, a comparison of models, or many runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from hpc_diffuser.commands.running import command
from hpc_diffuser.system.errors import InputError, StorageError
from hpc_diffuser.system.options import CommandOptions, argument, option, switch
from hpc_diffuser.system.streams import log, say


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which runs, where their page goes, and whether a figure of its own is wanted.

    Attributes
    ----------
    directories : tuple of Path
    output : Path or None
        None: `report` in the run directory; of several runs, here.
    each : bool
        Of several runs, or of a comparison, also the page of each.
    text : bool
        Without pages.
    png : Path or None
    """

    directories: tuple[Path, ...] = argument(
        "directory",
        help="run directory, also of a comparison of models; or several: d*/run",
        several=True,
    )
    output: Path | None = option(
        "-o",
        "--output",
        kind=Path,
        help="folder of the page (default: report in the run directory; of several runs, here)",
    )
    each: bool = switch("--each", "of several runs, or of a comparison, the page of each too")
    text: bool = switch("--text", "print only: write no page")
    png: Path | None = option("--png", kind=Path, help="write a figure of CC against resolution")


@command
def run(options: Options) -> None:
    """Print the report, and write it as a page with its figures and tables.

    Raises
    ------
    InputError
        Where there is no run, or where --png or --text want what no restart has found yet.
    """
    from hpc_diffuser.fit.run.directory import runs_inside

    if len(options.directories) > 1:
        _report_several(options, Path())
        return
    (directory,) = options.directories
    if (directory / "models.json").exists():
        _report_comparison(options, directory)
    elif not (directory / "manifest.json").exists() and runs_inside(directory):
        _report_several(options, directory)
    else:
        _report_run(options, directory)


def _report_run(options: Options, directory: Path) -> None:
    from hpc_diffuser.commands.pages.citing import cite_text
    from hpc_diffuser.commands.pages.report import finished_summary, report_text

    try:
        summary = finished_summary(directory)
    except InputError as exc:
        if options.text or options.png or not _has_begun(directory):
            raise
        say(f"{exc}", flush=True)
    else:
        if options.png:
            from hpc_diffuser.plots.files import write_png
            from hpc_diffuser.plots.shells import plot_shells

            write_png(options.png, plot_shells(summary))
        say(f"{report_text(summary)}\n\n{cite_text(directory)}", flush=True)
    if options.png:
        say(f"\nCC against resolution: {options.png}")
    _page(
        options, options.output or directory / "report", lambda folder: _of_run(directory, folder)
    )


def _has_begun(directory: Path) -> bool:
    """False of a folder that is no run, or whose summary cannot be read."""
    return (directory / "manifest.json").exists() and not (directory / "summary.json").exists()


def _report_comparison(options: Options, directory: Path) -> None:
    from hpc_diffuser.commands.pages.comparison import comparison_text
    from hpc_diffuser.fit.comparison_table import read_comparison
    from hpc_diffuser.fit.run.directory import runs_inside

    comparison = read_comparison(directory)
    if options.png:
        from hpc_diffuser.plots.files import write_png
        from hpc_diffuser.plots.models import models_figure

        write_png(options.png, models_figure(comparison))
    say(comparison_text(comparison), flush=True)
    if options.png:
        say(f"\nCC against resolution: {options.png}")
    _each(options, runs_inside(directory))
    _page(
        options,
        options.output or directory / "report",
        lambda folder: _of_comparison(directory, folder),
    )


def _report_several(options: Options, folder: Path) -> None:
    from hpc_diffuser.commands.pages.several import several_text
    from hpc_diffuser.report.runs import open_runs

    if options.png:
        one = options.directories[0]
        raise InputError(f"--png draws one run: hpc-diffuser report {one} --png {options.png}")
    subject = open_runs(options.directories)
    say(several_text(subject), flush=True)
    _each(options, [run.directory for run in subject.runs.values()])
    _page(
        options,
        options.output or folder / "report",
        lambda where: _of_several(options.directories, where),
    )


def _each(options: Options, directories: list[Path]) -> None:
    """The page of each of several runs."""
    for directory in directories if options.each else ():
        # Where it lies by default, which may be read-only.
        _page(options, directory / "report", lambda folder: _of_run(folder.parent, folder), False)


def _page(
    options: Options, folder: Path, write: Callable[[Path], Path], asked_for: bool = True
) -> None:
    """Write a page; one that nobody has given a place, and that has none, is no error."""
    if options.text:
        return
    try:
        path = write(folder)
    except (InputError, StorageError) as exc:
        if options.output and asked_for:
            raise
        log(f"no page: {exc}")
    else:
        say(f"\nAs a page, with figures and tables: {path}", flush=True)


def _of_run(directory: Path, folder: Path) -> Path:
    from hpc_diffuser.interface.run import open_run
    from hpc_diffuser.report.page import Heading, write_page
    from hpc_diffuser.report.sections.standing import progress
    from hpc_diffuser.report.sections.table import OF_A_RUN

    run = open_run(directory)
    heading = Heading(title=f"Fit {_name(directory)}", subtitle=progress(run))
    return write_page(folder, heading, run, OF_A_RUN)


def _of_comparison(directory: Path, folder: Path) -> Path:
    from hpc_diffuser.interface.run import open_comparison
    from hpc_diffuser.report.page import Heading, write_page
    from hpc_diffuser.report.sections.table import OF_A_COMPARISON

    comparison = open_comparison(directory)
    paths = {name: run.directory for name, run in comparison.runs.items()}
    heading = Heading(
        title=f"Comparison of models {_name(directory)}",
        subtitle=f"{len(paths)} models: {', '.join(paths)}.",
        pages=_pages(paths, folder),
    )
    return write_page(folder, heading, comparison, OF_A_COMPARISON)


def _of_several(directories: tuple[Path, ...], folder: Path) -> Path:
    from dataclasses import replace

    from hpc_diffuser.report.page import Heading, write_page
    from hpc_diffuser.report.runs import open_runs
    from hpc_diffuser.report.sections.table import OF_MANY

    subject = open_runs(directories)
    paths = {name: run.directory for name, run in subject.runs.items()}
    heading = Heading(title=f"{len(paths)} fits", subtitle="Each is one line of the tables.")
    return write_page(folder, heading, replace(subject, pages=_pages(paths, folder)), OF_MANY)


def _name(directory: Path) -> str:
    """The last two names of the way to a run, which is mostly called `run`."""
    return "/".join(directory.resolve().parts[-2:])


def _pages(directories: dict[str, Path], folder: Path) -> dict[str, str]:
    """Addresses, relative to a page in `folder`, of the pages that runs have."""
    pages = {name: directory / "report" / "index.html" for name, directory in directories.items()}
    return {
        name: quote(os.path.relpath(path, folder)) for name, path in pages.items() if path.is_file()
    }
