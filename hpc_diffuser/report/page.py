"""A report as one HTML page that needs nothing else, with its figures and tables as files.

    index.html
    figures/NAME.svg, .pdf, .png, .gif
    tables/NAME.csv

It has no date: two reports of the same run are the same files.
"""

import base64
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpc_diffuser import __version__
from hpc_diffuser.plots.files import KINDS, figure_bytes
from hpc_diffuser.report.section import Animation, Contents, Figure, Section, Subject, Table
from hpc_diffuser.report.table_text import csv_text, table_shown
from hpc_diffuser.system.errors import InputError, StorageError

PAGE = "index.html"
FOLDERS = ("figures", "tables")
_MOST_SVG = 400_000  # bytes in the page; of a larger one the page has the PNG
_PIXELS_IN = 96  # of a page, in an inch
_TYPES = {"svg": "image/svg+xml", "png": "image/png", "gif": "image/gif"}
_HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What stands above a page.

    Attributes
    ----------
    title, subtitle : str
    pages : dict of str
        Addresses of pages of parts of it, by name.
    """

    title: str
    subtitle: str
    pages: Mapping[str, str] = field(default_factory=dict)


def write_page(
    folder: Path, heading: Heading, subject: Subject, sections: Iterable[Section[Subject]]
) -> Path:
    """Write the page of a subject, and its files, in place of the one that was there before.

    Parameters
    ----------
    folder : Path
        The report's own: nothing else may lie in it.
    heading : Heading
    subject : Run, ModelComparison or the like
    sections : iterable of Section
        Rows of `report.sections.table`.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    InputError
        Where the folder holds other things, or matplotlib or Jinja2 is not installed.
    StorageError
        Where it cannot be written; what was there before is untouched.
    """
    _require_libraries()
    _require_own(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _fill(new, heading, [*_said(subject, sections)])
            _put_in_place(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as exc:
        raise StorageError(
            f"{folder}: the page could not be written ({exc.strerror or exc}); nothing is "
            "half-written: give another folder with --output"
        ) from exc
    return folder / PAGE


def _require_libraries() -> None:
    """Raise InputError before anything is drawn."""
    lacking = [name for name in ("matplotlib", "jinja2") if not _is_installed(name)]
    if lacking:
        raise InputError(
            f"the page needs {' and '.join(lacking)}: pip install hpc-diffuser[report], or print "
            "the text only: --text"
        )


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ValueError:  # what has no specification was put in its place
        return False


def _require_own(folder: Path) -> None:
    """A folder is replaced as a whole: only a report, or an empty one."""
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if others := sorted(names - {PAGE, *FOLDERS}):
        raise InputError(
            f"{folder}: not a report's folder, which is replaced as a whole: it holds {others[0]}: "
            "give another one with --output"
        )


def _said(
    subject: Subject, sections: Iterable[Section[Subject]]
) -> Iterator[tuple[Section[Subject], Contents]]:
    """The sections that have something to say; one whose files are gone says that."""
    for section in sections:
        try:
            contents = section.contents(subject)
        except InputError as exc:
            contents = Contents(words=(f"Not shown: {exc}",))
        if contents is not None:
            yield section, contents


def _fill(folder: Path, heading: Heading, said: list[tuple[Section[Any], Contents]]) -> None:
    for name in FOLDERS:
        (folder / name).mkdir()
    folder.chmod(0o777 & ~_umask(folder))
    pieces = _Pieces(folder)
    shown = [pieces.of_section(section, contents) for section, contents in said]
    text = _template().render(heading=heading, sections=shown, version=__version__)
    (folder / PAGE).write_text(text, encoding="utf-8")


def _umask(folder: Path) -> int:
    """What new folders lack here; a temporary one lacks all that is the group's."""
    return 0o777 & ~(folder / FOLDERS[0]).stat().st_mode


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


class _Pieces:
    """Figures and tables of a page in their order: numbered, written, and as the page has them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._figures = self._tables = 0
        self._names: set[str] = set()

    def of_section(self, section: Section[Any], contents: Contents) -> dict[str, Any]:
        return {
            "name": section.name,
            "title": section.title,
            "words": contents.words,
            "listed": contents.items,
            "code": contents.code,
            "figures": [self._figure(figure) for figure in contents.figures],
            "animations": [self._animation(moving) for moving in contents.animations],
            "tables": [self._table(table) for table in contents.tables],
        }

    def _figure(self, figure: Figure) -> dict[str, Any]:
        drawn = figure.draw()
        found = {kind: figure_bytes(drawn, kind) for kind in KINDS}
        for kind, data in found.items():
            self._write(f"figures/{figure.name}.{kind}", data)
        inside = "svg" if len(found["svg"]) <= _MOST_SVG else "png"
        width, height = (round(_PIXELS_IN * inches) for inches in drawn.get_size_inches())
        size = {"width": width, "height": height}
        return self._picture(figure, inside, found[inside]) | {"kinds": KINDS} | size

    def _animation(self, moving: Animation) -> dict[str, Any]:
        data = moving.frames()
        self._write(f"figures/{moving.name}.gif", data)
        return self._picture(moving, "gif", data)

    def _picture(self, of: Figure | Animation, kind: str, data: bytes) -> dict[str, Any]:
        self._figures += 1
        return {
            "name": of.name,
            "number": self._figures,
            "caption": of.caption,
            "alternative": of.alternative,
            "source": f"data:{_TYPES[kind]};base64,{base64.b64encode(data).decode()}",
        }

    def _table(self, table: Table) -> dict[str, Any]:
        self._tables += 1
        self._write(f"tables/{table.name}.csv", csv_text(table).encode())
        return table_shown(table) | {"number": self._tables}

    def _write(self, name: str, data: bytes) -> None:
        if name in self._names:
            raise ValueError(f"two pieces of a report are called {name}")
        self._names.add(name)
        (self._folder / name).write_bytes(data)


def _put_in_place(new: Path, folder: Path) -> None:
    """Two renames: at no time does the folder hold half a report."""
    old = new.with_name(f"{new.name}.old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
