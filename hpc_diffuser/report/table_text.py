"""A table as CSV, with all digits, and as the page shows it, rounded."""

import csv
import io
import itertools
import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from hpc_diffuser.report.section import Cell, Column, Rounded, Table

NOT_KNOWN = "–"
_SHORT = 12  # letters of a text that may stand among numbers, as "held"
_NAME = 20  # letters of a text that stays on a line, as a name
_LONG = 24  # letters of a word that may be broken anywhere, as a hash


def csv_text(table: Table) -> str:
    """Comma-separated, a line of names first; what is not known is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows([[_exact(cell) for cell in row] for row in table.rows])
    return buffer.getvalue()


def table_shown(table: Table) -> dict[str, Any]:
    """What the page's template shows of a table."""
    rows = table.rows[: table.most_rows]
    first = 1 if table.grouped else 0
    numbers = [_is_number_column(table, i) for i in range(len(table.columns))]
    columns = [
        {"name": column.name, "is_number": is_number}
        for column, is_number in zip(table.columns, numbers, strict=True)
    ]
    return {
        "name": table.name,
        "caption": table.caption,
        "columns": columns[first:],
        "groups": [
            {"title": title, "rows": [_row_shown(table, row, numbers)[first:] for row in group]}
            for title, group in _groups(table, rows)
        ],
        "rows_shown": len(rows),
        "rows_left_out": len(table.rows) - len(rows),
    }


def _groups(
    table: Table, rows: Sequence[tuple[Cell, ...]]
) -> list[tuple[str, list[tuple[Cell, ...]]]]:
    if not table.grouped:
        return [("", list(rows))]
    grouped = itertools.groupby(rows, key=lambda row: shown(row[0]))
    return [(title, list(group)) for title, group in grouped]


def _row_shown(
    table: Table, row: tuple[Cell, ...], numbers: Sequence[bool]
) -> list[dict[str, Any]]:
    cells = zip(row, table.columns, numbers, strict=True)
    return [
        {
            "text": _text(cell, column),
            "kind": "value" if is_number else _kind(cell),
            "link": table.links.get(cell) if isinstance(cell, str) else None,
        }
        for cell, column, is_number in cells
    ]


def _text(cell: Cell, column: Column) -> str:
    """A cell, of errors never a 0 that is none: the first digits that tell how small it is."""
    text = shown(cell, column.digits)
    value = cell.value if isinstance(cell, Rounded) else cell
    if "error" not in column.name or value is None or isinstance(value, str):
        return text
    return f"{value:.2g}" if value and text.strip("0.") == "" else text


def _kind(cell: Cell) -> str:
    """Of a cell among texts."""
    text = cell if isinstance(cell, str) else ""
    if any(len(word) > _LONG for word in text.split()):
        return "long"
    return "name" if len(text) <= _NAME else "text"


def shown(cell: Cell, digits: int | None = None) -> str:
    """A cell as the page shows it, with so many digits after the point."""
    value, digits = (cell.value, cell.digits) if isinstance(cell, Rounded) else (cell, digits)
    if value is None or isinstance(value, str):
        return NOT_KNOWN if value is None else value
    if not math.isfinite(value):
        return NOT_KNOWN
    if isinstance(value, Integral):
        return str(int(value))
    return f"{value:.6g}" if digits is None else f"{value:z.{digits}f}"


def _exact(cell: Cell) -> str:
    value = cell.value if isinstance(cell, Rounded) else cell
    if value is None or isinstance(value, str):
        return value or ""
    if not math.isfinite(value):
        return ""
    return str(int(value)) if isinstance(value, Integral) else repr(float(value))


def _is_number_column(table: Table, place: int) -> bool:
    """True where some cells are numbers, or would be if they were known, and the others short."""
    column = table.columns[place]
    if column.is_text:
        return False
    cells = [row[place] for row in table.rows]
    texts = [cell for cell in cells if isinstance(cell, str)]
    others = [cell for cell in cells if cell is not None and not isinstance(cell, str)]
    numbers = bool(others) or column.digits is not None
    return numbers and all(len(text) <= _SHORT for text in texts)
