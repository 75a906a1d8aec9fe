"""What merging of a map's Laue mates found: as a page, and as attributes of target.h5."""

from typing import Any

import numpy as np

from hpc_diffuser.maps.merging import MergeStatistics
from hpc_diffuser.maps.target import Cut

_NAMES = {
    "unique": "unique voxels",
    "completeness": "completeness",
    "multiplicity": "multiplicity",
    "r_int": "R_int",
    "cc_friedel": "CC Friedel mates",
    "cc_laue": "CC Laue mates",
    "cc_half": "CC half-maps",
}


def merging_text(cut: Cut) -> str:
    """How many voxels were left out and why, and the table of the merging statistics."""
    return "\n".join([*_left_out_lines(cut), merge_table(cut)])


def statistics_attributes(statistics: MergeStatistics) -> dict[str, Any]:
    """Merging statistics as attributes: overall a number, by shell a text of numbers."""
    attributes: dict[str, Any] = {}
    for key, name in _NAMES.items():
        values = getattr(statistics, key)
        attributes[f"merge {name}"] = values[-1]
        attributes[f"merge {name} by shell"] = " ".join(f"{x:.6g}" for x in values[:-1])
    return attributes


def merge_table(cut: Cut) -> str:
    """The merging statistics as a table, shell by shell and overall."""
    edges, table = cut.target.shell_edges, cut.statistics
    lines = [
        f"Laue mates, before cut-offs{' and subtraction' if cut.subtracted else ''}",
        "shell d (Å)         unique  complete  multiplicity   R_int  CC Friedel  CC Laue  CC half",
    ]
    for row in range(len(edges)):
        last = row == len(edges) - 1
        first, second = edges[[0, -1]] if last else edges[row : row + 2]
        d_max = f"{1 / first:.2f}" if first > 0 else "∞"
        label = "  overall        " if last else f"  {d_max:>6} - {1 / second:<6.2f}"
        lines.append(label + _row(table, row))
    if not _has_r_int(table):
        lines.append(
            "No R_int: the mean intensity is below 0 somewhere, a background was subtracted"
        )
    return "\n".join(lines)


def _has_r_int(table: MergeStatistics) -> bool:
    """It is relative to the mean intensity, and means nothing where that is about 0."""
    return not np.signbit(table.r_int).any()


def _row(table: MergeStatistics, row: int) -> str:
    r_int = table.r_int[row] if _has_r_int(table) else np.nan
    return (
        f"{table.unique[row]:9d}{_cell(100 * table.completeness[row], 8, 1)} %"
        f"{_cell(table.multiplicity[row], 14, 2)}{_cell(r_int, 8, 4)}"
        f"{_cell(table.cc_friedel[row], 12, 3)}{_cell(table.cc_laue[row], 9, 3)}"
        f"{_cell(table.cc_half[row], 9, 3)}"
    )


def _cell(value: float, width: int, digits: int) -> str:
    return f"{value:z{width}.{digits}f}" if np.isfinite(value) else " " * (width - 1) + "-"


def _left_out_lines(cut: Cut) -> list[str]:
    return [f"left out     {n} {why}" for why, n in cut.left_out.items() if n]
