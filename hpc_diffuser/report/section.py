"""What a report consists of: sections of words, figures and tables, as plain data.

A section is a row of `report.sections.table`. The page, its files and their tests know sections
by that table alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar


@dataclass(frozen=True)
class Rounded:
    """A number with digits of its own, in a column of numbers of several kinds.

    Attributes
    ----------
    value : float
    digits : int
        After the point, on the page; the CSV has all of them.
    """

    value: float
    digits: int


Cell = str | float | int | Rounded | None  # None: not known; "": does not apply
Subject = TypeVar("Subject")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure, drawn when the report is written.

    Attributes
    ----------
    name : str
        Of its files, without their ends; unique in a report.
    caption : str
        What is shown, with units.
    alternative : str
        The same, and what it says in numbers, for readers who cannot see it.
    draw : callable
        Returns a matplotlib Figure.
    """

    name: str
    caption: str
    alternative: str
    draw: Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Animation:
    """A moving picture; fields as of `Figure`.

    Attributes
    ----------
    name, caption, alternative : str
    frames : callable
        Returns the bytes of an animated GIF.
    """

    name: str
    caption: str
    alternative: str
    frames: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        With its unit: "amplitude (Å)".
    digits : int or None
        After the point, on the page; None for text and whole numbers. The CSV has all of them.
    is_text : bool
        Whether it is set as text, whatever it holds: of facts of many kinds.
    """

    name: str
    digits: int | None = None
    is_text: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, on the page and as CSV.

    Attributes
    ----------
    name : str
        Of its file, without the end; unique in a report.
    caption : str
    columns : tuple of Column
    rows : tuple of tuples
        A cell for each column.
    most_rows : int or None
        That the page shows; the CSV has all.
    grouped : bool
        Whether the page shows the first column as headings of groups of rows.
    links : dict of str
        From the text of a cell to an address, relative to the page.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    most_rows: int | None = None
    grouped: bool = False
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a section says of one subject, in this order.

    Attributes
    ----------
    words : tuple of str
        Paragraphs of plain text.
    items : tuple of str
        A numbered list.
    code : tuple of str
        What is typed, or a file's text, line by line.
    figures : tuple of Figure
    animations : tuple of Animation
    tables : tuple of Table
    """

    words: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    animations: tuple[Animation, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Section(Generic[Subject]):
    """A section of a page.

    Attributes
    ----------
    name : str
        Its anchor in the page.
    title : str
    contents : callable
        What it says of a run, a comparison or several runs; None where there is nothing to say.
    """

    name: str
    title: str
    contents: Callable[[Subject], Contents | None]
