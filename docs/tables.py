"""The pages' tables, written between their marks: python docs/tables.py

Their rows are those of `hpc_diffuser.motion.registry`, `hpc_diffuser.commands.exports.table` and
`hpc_diffuser.io.maps.formats`; a test holds the pages to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from hpc_diffuser.commands.exports.table import KINDS
from hpc_diffuser.io.maps.formats import markdown
from hpc_diffuser.motion.registry import BY_NAME, PARAMETERS, TERM_ROWS, TERMS, Parameter

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
_MARKED = re.compile(
    r"(<!-- table of (\w+), by docs/tables.py -->\n).*?(<!-- end of table -->)", re.S
)


def terms_table() -> str:
    """What models are made of, and the ranges by default."""
    rows = [(f"`{term.word}`", term.motion, _of_term(term.word)) for term in TERM_ROWS]
    return _table(("term", "motion", "parameters, and their ranges by default"), rows)


def _of_term(word: str) -> str:
    rows = [BY_NAME[name] for name in TERMS[word]]
    text = ", ".join(_with_range(row) for row in rows if not row.beside)
    for row in rows:
        text += f"; with `{row.beside}` also {_with_range(row)}" if row.beside else ""
    given = any(row.default_range or row.default_text for row in rows)
    return text if given else f"{text}: none"


def _with_range(row: Parameter) -> str:
    text = row.default_text
    if row.default_range:
        text = "{:g}-{:g}".format(*row.default_range)
    return f"`{row.name}` {text}".rstrip()


def parameters_table() -> str:
    """The reference of [parameters]."""
    heading = ("`[parameters]`", "", "limits", "list of", "give too", "B-factors", "anew")
    rows = [
        (
            f"`{row.name}`",
            row.meaning,
            _limits(row),
            row.several,
            ", ".join(f"`{name}`" for name in row.needs),
            row.motion,
            "configurations" * row.sampled + "factors" * row.scatters,
        )
        for row in PARAMETERS
    ]
    return _table(heading, rows)


def _limits(row: Parameter) -> str:
    low, high = row.quantity.limits
    text = f"{row.least or low:g} to {high:g}".replace("-", "−")
    return f"{text} {row.quantity.unit}".rstrip()


def exports_table() -> str:
    """What `export` writes."""
    rows = [
        (f"`{kind.name}`", kind.what, ", ".join(f"`{e}`" for e in kind.endings), kind.readers)
        for kind in KINDS
    ]
    return _table(("`--write`", "what", "endings", "for"), rows)


def maps_table() -> str:
    """The formats of measured maps."""
    return f"{markdown()}\n"


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [
        "".join(f"| {cell} " if cell else "| " for cell in cells) for cells in (heading, *rows)
    ]
    lines.insert(1, "|---" * len(heading))
    return "".join(f"{line}|\n" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    "terms": terms_table,
    "parameters": parameters_table,
    "exports": exports_table,
    "maps": maps_table,
}


def with_tables(text: str) -> str:
    """A page with every marked table as the registry gives it."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
