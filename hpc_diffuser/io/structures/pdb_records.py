"""PDB files line by line: fixed columns, several models, and what gemmi takes as it is."""

import re

import numpy as np

from hpc_diffuser.io.structures.crystal_records import CrystalRecords
from hpc_diffuser.system.errors import InputError

_CRYST1 = ((6, 15), (15, 24), (24, 33), (33, 40), (40, 47), (47, 54))
_PLACES = ((30, 38), (38, 46), (46, 54))
_POINTS = (34, 42, 50)  # of %8.3f
_NUMBER = re.compile(r"\s*-?\d+\s*|[A-Za-z0-9]{4}|\s*")  # the latter is hybrid-36
# A line as nearly all are, in one look: points in their places, numbers of 8, 8, 8, 6, 6 columns.
_PLAIN = re.compile(
    r"(?=[^\t]{34}\.\d{3}.{4}\.\d{3}.{4}\.\d{3}.{3}\.\d\d.{3}\.\d\d)"
    r".{22}(?:   \d|  [-\d]\d| [-\d]\d\d|[-\d]\d{3}).{4}"
    r"(?: *-?\d+\.\d{3}){3}(?: *-?\d+\.\d\d){2}"
)
_OPERATOR = re.compile(r"REMARK 290\s+\d+555\s+(\S+)\s*$")
_SEPARATORS = ("MODEL", "ENDMDL", "END", "CRYST1")
_OF_ATOMS = ("ATOM", "HETA", "ANIS", "TER", "SIGA", "SIGU")


def is_atom(line: str) -> bool:
    """An ATOM or HETATM record."""
    return line[:4].upper() in ("ATOM", "HETA")


def check_atom(line: str, number: int) -> None:
    """Raise InputError unless numbers are in their columns: gemmi reads anything as 0."""
    if _PLAIN.match(line):
        return
    where = f"line {number}, {line[:30].strip()!r}"
    if "\t" in line:
        raise InputError(f"{where}: tabs: expected blanks, and fixed columns")
    _check_columns(line, _PLACES, f"{where}: expected three coordinates in columns 31-54")
    points = [line[start:end].find(".") + start for start, end in _PLACES]
    ends_blank = all(line[end - 1] == " " for _, end in _PLACES)
    moved = {found - point for found, point in zip(points, _POINTS, strict=True)}
    if ends_blank and len(moved) == 1 and moved != {0}:
        raise InputError(
            f"{where}: decimal points in columns {', '.join(str(p + 1) for p in points)}: expected "
            "35, 43, 51: shift its columns back into place"
        )
    if not _NUMBER.fullmatch(line[22:26]):
        raise InputError(
            f"{where}: expected the residue's number in columns 23-26, found {line[22:26]!r}"
        )
    rest = [(s, e) for s, e in ((54, 60), (60, 66)) if line[s:e].strip()]
    _check_columns(line, rest, f"{where}: expected occupancy and B-factor in columns 55-66")


def _check_columns(line: str, columns, expected: str) -> None:
    """Raise InputError unless each holds one number, none of them cut by a column's edge."""
    for start, end in columns:
        text = line[start:end]
        cut = text[:1].strip() and line[start - 1].strip() and text.count(".") != 1
        if not _is_number(text) or cut:
            raise InputError(f"{expected}, found {line[columns[0][0] : columns[-1][1]].rstrip()!r}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def crystal_records(lines: list[str]) -> CrystalRecords:
    """CRYST1, SCALEn and the operators of REMARK 290.

    Raises
    ------
    InputError
        For records that break off, or that hold no numbers.
    """
    lines = [line[:6].upper() + line[6:] for line in lines if not is_atom(line)]
    record = next((line for line in lines if line.startswith("CRYST1")), None)
    if record is None:
        return CrystalRecords((1.0, 1.0, 1.0, 90.0, 90.0, 90.0))
    if len(record.rstrip()) < 54:
        raise InputError(f"expected six numbers in columns 7-54 of CRYST1, found {record[6:]!r}")
    _check_columns(record, _CRYST1, "expected six numbers in columns 7-54 of CRYST1")
    # The name begins in column 56; some programs are one off.
    name = record[54:66].strip()
    return CrystalRecords(
        unit_cell=tuple(float(record[start:end]) for start, end in _CRYST1),
        names=(name,) if name else (),
        operators=tuple(m[1] for m in map(_OPERATOR.match, lines) if m),
        frame=_frame(lines),
    )


def _frame(lines: list[str]) -> np.ndarray | None:
    """SCALE1-3 as a matrix and a vector; None where there are none."""
    found = {line[5]: line for line in reversed(lines) if re.match("SCALE[123]", line)}
    if not found:
        return None
    if len(found) < 3:
        raise InputError("expected SCALE1, SCALE2 and SCALE3: complete or remove them")
    try:
        rows = [[found[n][s:e] for s, e in ((10, 20), (20, 30), (30, 40), (45, 55))] for n in "123"]
        return np.array([[float(x.strip() or 0) for x in row] for row in rows])
    except ValueError:
        raise InputError(
            f"expected numbers in columns 11-40 and 46-55 of SCALE1-3, found {found['1'][6:]!r}"
        ) from None


def split_models(lines: list[str]) -> tuple[list[str], list[list[str]], bool]:
    """A file's heading, and the lines of each of its models, whatever separates them.

    MODEL and ENDMDL do, and so do END (VMD) and another CRYST1 (files one after the other).

    Returns
    -------
    heading : list of str
        All that stands before the first atom.
    models : list of list of str
    by_end : bool
        Records other than MODEL and ENDMDL separate some of them.
    """
    models: list[list[str]] = [[]]
    heading: list[str] = []
    separators: set[str] = set()
    for line in lines:
        name = line[:6].upper().rstrip()
        if name in _SEPARATORS and models[-1]:
            separators.add(name)
            models.append([])
        elif name[:4] in _OF_ATOMS and (models[-1] or is_atom(line)):
            models[-1].append(line)
        elif not any(models) and (name == "CRYST1" or name not in _SEPARATORS):
            heading.append(line)
    models = [model for model in models if model]
    return heading, models, len(models) > 1 and not separators & {"MODEL", "ENDMDL"}


def pdb_text(heading: list[str], models: list[list[str]]) -> str:
    """A PDB file of these models."""
    if len(models) == 1:
        return "\n".join([*heading, *models[0], "END\n"])
    parts = [[f"MODEL     {n:4d}", *model, "ENDMDL"] for n, model in enumerate(models, 1)]
    return "\n".join([*heading, *(line for part in parts for line in part), "END\n"])
