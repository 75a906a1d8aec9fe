"""Frames of binary trajectories counted by their headers, without a native reader; TRR is read.

The formats' lengths are all in the headers: a file that breaks off is known before it is read.
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from hpc_diffuser.system.errors import InputError

_XTC, _XTC_LONG, _TRR, _DCD = 1995, 2023, 1993, 84
_TRR_TITLE = b"GMX_trn_file"
_FRAMES, _FIXED, _CELL, _FOURTH, _CHARMM = 0, 8, 10, 11, 19  # numbers of a DCD file's header
_MOST_RECORD = 1 << 26


def require_atoms(found: int, expected: int, where: str) -> None:
    """Raise InputError unless a frame has as many atoms as the topology."""
    if found != expected:
        raise InputError(
            f"{where} has {found} atoms, the topology has {expected}: expected the topology of "
            "just these atoms: write one with what was kept (gmx trjconv -dump 0 -o top.pdb, "
            "cpptraj parmstrip), or keep all"
        )


def count_frames(path: Path, kind: str, n_atoms: int) -> int | None:
    """How many whole frames of so many atoms an XTC, TRR or DCD file holds; None of others.

    Parameters
    ----------
    path : Path
    kind : str
        "xtc", "trr", "dcd".
    n_atoms : int

    Raises
    ------
    InputError
        Where a frame is cut short, has other atoms, or is none; counted from 1.
    """
    walk = _WALKS.get(kind)
    if walk is None:
        return None
    size, whole = path.stat().st_size, 0
    with path.open("rb") as file:
        try:
            for atoms, end in walk(file):
                require_atoms(atoms, n_atoms, f"frame {whole + 1}")
                if end > size:
                    raise EOFError
                whole += 1
                file.seek(end)
        except (EOFError, struct.error):
            raise InputError(f"it ends within frame {whole + 1}: copy it again") from None
    return whole


def _xtc(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Number of atoms and end of each frame. Big-endian: magic, atoms, step, time, box, data."""
    while start := file.read(4):
        (magic,) = struct.unpack(">i", start)
        if magic not in (_XTC, _XTC_LONG):
            raise InputError(f"expected a frame of XTC at byte {file.tell() - 4}, found none")
        (atoms,) = struct.unpack(">i", file.read(4))
        file.seek(44, os.SEEK_CUR)
        (stored,) = struct.unpack(">i", file.read(4))
        if stored != atoms:
            raise InputError(f"a frame of {atoms} atoms holds {stored}")
        if atoms <= 9:  # not compressed
            yield atoms, file.tell() + 12 * atoms
            continue
        file.seek(32, os.SEEK_CUR)
        length = ">q" if magic == _XTC_LONG else ">i"
        (packed,) = struct.unpack(length, file.read(struct.calcsize(length)))
        yield atoms, _after(file, packed + -packed % 4)


class _TrrFrame(NamedTuple):
    """Where the parts of a frame lie, in bytes; `places` is None of a frame without coordinates."""

    atoms: int
    real: int
    box: int | None
    places: int | None
    end: int


class TrrFrames:
    """The frames of a whole TRR file that hold coordinates; others hold velocities or forces.

    Attributes
    ----------
    count, others : int
        How many hold coordinates, and how many do not.
    """

    def __init__(self, path: Path, n_atoms: int):
        self._path, self._n_atoms = path, n_atoms
        self._frames: list[tuple[_TrrFrame, int]] = []
        self.others = 0
        with path.open("rb") as file:
            for frame in _trr_frames(file):
                if frame.places is None:
                    self.others += 1
                else:
                    self._frames.append((frame, frame.places))
                file.seek(frame.end)
        self.count = len(self._frames)

    def read(self, numbers: list[int], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Some of those with coordinates, counted from 0.

        Returns
        -------
        positions_nm : (F, K, 3) float
            Of the atoms `rows`.
        boxes_nm : (F, 3, 3) float
            The box vectors as rows, 0 where there are none.
        """
        positions, boxes = [], []
        with self._path.open("rb") as file:
            for frame, place in map(self._frames.__getitem__, numbers):
                kind = f">f{frame.real}"
                every = _reals(file, place, kind, 3 * self._n_atoms)
                positions.append(every.reshape(-1, 3)[rows])
                box = np.zeros(9) if frame.box is None else _reals(file, frame.box, kind, 9)
                boxes.append(box.reshape(3, 3))
        return np.array(positions), np.array(boxes)


def _reals(file: BinaryIO, place: int, kind: str, count: int) -> np.ndarray:
    file.seek(place)
    size = count * np.dtype(kind).itemsize
    return np.frombuffer(file.read(size), kind).astype(kind.replace(">", "="))


def _trr(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """The same of TRR."""
    for frame in _trr_frames(file):
        yield frame.atoms, frame.end


def _trr_frames(file: BinaryIO) -> Iterator[_TrrFrame]:
    """Magic, a title, the sizes of ten blocks of data, atoms, step, time; then the blocks."""
    while start := file.read(4):
        (magic,) = struct.unpack(">i", start)
        title = file.read(20)[8:]
        if magic != _TRR or title != _TRR_TITLE[: len(title)]:
            raise InputError(f"expected a frame of TRR at byte {file.tell() - 24}, found none")
        *blocks, atoms, _step, _nre = struct.unpack(">13i", file.read(52))
        box, x = blocks[2], blocks[7]
        vectors = [size for size in blocks[7:] if size]  # positions, velocities, forces
        real = box // 9 if box else next(iter(vectors), 12 * atoms) // max(3 * atoms, 1)
        if real not in (4, 8) or min(blocks) < 0 or set(vectors) - {3 * atoms * real}:
            raise InputError(f"a frame of {atoms} atoms with {x} bytes of coordinates")
        data = file.tell() + 2 * real
        yield _TrrFrame(
            atoms,
            real,
            data + sum(blocks[:2]) if box else None,
            data + sum(blocks[:7]) if x else None,
            _after(file, 2 * real + sum(blocks)),
        )


def _dcd(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """The same. Fortran records, in either byte order: header, title, atoms; then the frames."""
    start = file.read(4)
    order = "<" if start == struct.pack("<i", _DCD) else ">"
    body = _record(file, order, start)
    if len(body) != _DCD or body[:4] not in (b"CORD", b"VELD"):
        raise InputError("expected the header of a DCD file, found none")
    header = struct.unpack(f"{order}20i", body[4:])
    _record(file, order, file.read(4))
    (atoms,) = struct.unpack(f"{order}i", _record(file, order, file.read(4)))
    free = atoms - header[_FIXED]
    if not 0 < free <= atoms:
        raise InputError(f"a header of {atoms} atoms, {header[_FIXED]} of them fixed")
    if free < atoms:
        _record(file, order, file.read(4))
    # CHARMM's extensions; in files of X-PLOR the same places hold something else.
    has_cell, has_fourth = (bool(header[_CHARMM] and header[i]) for i in (_CELL, _FOURTH))
    number = 0
    while start := file.read(4):
        (length,) = struct.unpack(f"{order}i", start)
        cell = 8 + length if has_cell else 0
        moved = free if number else atoms
        number += 1
        yield atoms, _after(file, cell - 4 + (3 + has_fourth) * (8 + 4 * moved))
    if number != header[_FRAMES]:
        raise InputError(f"its header promises {header[_FRAMES]} frames, but it holds {number}")


def _after(file: BinaryIO, length: int) -> int:
    if length < 0:
        raise InputError(f"a block of {length} bytes at byte {file.tell()}")
    return file.tell() + length


def _record(file: BinaryIO, order: str, start: bytes) -> bytes:
    """A Fortran record: its length before and after it."""
    (length,) = struct.unpack(f"{order}i", start)
    if not 0 <= length <= _MOST_RECORD:
        raise InputError(f"a record of {length} bytes at byte {file.tell() - 4}")
    body = file.read(length)
    if file.read(4) != start:
        raise EOFError
    return body


_WALKS: dict[str, Callable[[BinaryIO], Iterator[tuple[int, int]]]] = {
    "xtc": _xtc,
    "trr": _trr,
    "dcd": _dcd,
}
