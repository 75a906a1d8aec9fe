"""A report's page as tests read it: its tags checked, its tables and words taken out."""

import csv
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from hpc_diffuser.report import sections

NUMBER = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
SECTIONS = Path(sections.__file__).parent
VOID = {"meta", "img", "br", "link", "hr", "input"}


@dataclass
class Page(HTMLParser):
    """What is on a page; a tag that is not closed, or closed twice, is an error.

    Attributes
    ----------
    ids : list of str
    tags : list of (str, dict)
        With their attributes.
    headings : list of (int, str)
    words : list of str
        Paragraphs, items of lists, captions.
    tables : dict of list of list of str
        By name: the lines of cells, without headings of groups.
    groups : dict of list of str
        By name: the heading above each line, or nothing.
    """

    ids: list = field(default_factory=list)
    tags: list = field(default_factory=list)
    headings: list = field(default_factory=list)
    words: list = field(default_factory=list)
    tables: dict = field(default_factory=dict)
    groups: dict = field(default_factory=dict)

    def __post_init__(self):
        super().__init__()
        self._open, self._text = [], ""

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        assert len(found) == len(attrs), f"an attribute twice: {attrs}"
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("p", "li", "figcaption", "caption", "h1", "h2", "h3", "td", "th"):
            self._text = ""
        if tag == "table":
            name, self._group = found["id"].removeprefix("table-"), ""
            self._rows, self._groups = self.tables[name], self.groups[name] = [], []
        if tag == "tr":
            self._is_group = found.get("class") == "group"
        if tag == "tr" and not self._is_group:
            self._rows.append([])
            self._groups.append(self._group)

    def handle_data(self, data):
        self._text += data

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"
        text = " ".join(self._text.split())
        if tag in ("p", "li", "figcaption", "caption"):
            self.words.append(text)
        if tag in ("h1", "h2", "h3"):
            self.headings.append((int(tag[1]), text))
        if tag in ("td", "th") and self._is_group:
            self._group = text
        elif tag in ("td", "th"):
            self._rows[-1].append(text)

    def close(self):
        super().close()
        assert not self._open, f"not closed: {self._open}"


def read_page(folder: Path) -> Page:
    """The page of a report's folder."""
    page = Page()
    page.feed((folder / "index.html").read_text(encoding="utf-8"))
    page.close()
    return page


def read_csv(path: Path) -> list[list[str]]:
    """The lines of a table's file, the names first."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def column(path: Path, name: str) -> list[str]:
    """The cells of a CSV below a name."""
    names, *lines = read_csv(path)
    return [line[names.index(name)] for line in lines]


def is_rounding(shown: str, exact: str) -> bool:
    """True where a cell of the page is that of the CSV, rounded; or the same text."""
    if not exact:
        return shown in ("–", "")
    if shown == exact:
        return True
    try:
        value, found = float(exact), float(shown)
    except ValueError:
        return False
    mantissa, _, power = shown.lower().partition("e")
    digits = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(power or 0) - digits)
    return abs(value - found) <= 0.5000001 * unit


def wrong_cells(folder: Path) -> list[str]:
    """The cells of a page's tables that are not those of its CSVs, rounded; of all tables."""
    page = read_page(folder)
    assert {path.stem for path in (folder / "tables").iterdir()} == set(page.tables)
    return [
        f"{name}: {pair}"
        for name in page.tables
        for pair in _pairs(page, name, read_csv(folder / "tables" / f"{name}.csv"))
        if not is_rounding(*pair)
    ]


def unfounded_numbers(folder: Path, *others: Path) -> list[str]:
    """The numbers in words, captions and alternatives that no file has, nor a section as such.

    Only numbers with a point are looked at; a number may be shown as per cent.

    Parameters
    ----------
    folder : Path
        Of the page, whose CSVs are looked into.
    others : paths of JSON files
    """
    page = read_page(folder)
    texts = page.words + [found["alt"] for tag, found in page.tags if tag == "img"]
    known = [path.read_text() for path in (*others, *(folder / "tables").iterdir())]
    values = {float(text) for found in known for text in re.findall(NUMBER, found)}
    constants = "".join(path.read_text() for path in SECTIONS.rglob("*.py"))
    return [
        f"{shown} in: {text}"
        for text in texts
        for shown in re.findall(r"\d+\.\d+", text)
        if shown not in constants
        and not any(is_rounding(shown, repr(v)) for value in values for v in (value, 100 * value))
    ]


def _pairs(page: Page, name: str, exact: list[list[str]]) -> list[tuple[str, str]]:
    """Cells shown and exact; what is the heading of a group in the page is a column in the CSV."""
    lines = page.tables[name]
    if len(lines[0]) < len(exact[0]):
        groups = [exact[0][0], *page.groups[name][1:]]
        lines = [[group, *line] for group, line in zip(groups, lines, strict=True)]
    pairs = [zip(*both, strict=True) for both in zip(lines, exact, strict=False)]
    return [pair for line in pairs for pair in line]
