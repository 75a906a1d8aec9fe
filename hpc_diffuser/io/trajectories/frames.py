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
_NETCDF = {b"CDF\1": ">I", b"CDF\2": ">Q"}  # how places are stored
_NETCDF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8}  # by the numbers of types
_STREAMED = 0xFFFFFFFF  # as many records as there are: SciPy reads none of them


class _Damaged(InputError):
    """A frame's header that is none."""


def require_atoms(found: int, expected: int, where: str) -> None:
    """Raise InputError unless a frame has as many atoms as the topology."""
    if found != expected:
        raise InputError(
            f"{where} has {found} atoms, the topology has {expected}: expected the topology of "
            "just these atoms: write one with what was kept (gmx trjconv -dump 0 -o top.pdb, "
            "cpptraj parmstrip), or keep all"
        )


def count_frames(path: Path, kind: str, n_atoms: int) -> int | None:
    """How many whole frames of so many atoms an XTC, TRR, DCD or NetCDF file holds; None of others.

    Parameters
    ----------
    path : Path
    kind : str
        "xtc", "trr", "dcd", "netcdf".
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
        except _Damaged as exc:
            what = "damaged" if whole else "damaged, or another kind of file"
            raise InputError(f"frame {whole + 1}: {exc}: it is {what}: copy it again") from None
        except LookupError:  # another layout: its reader tells
            return None
    return whole


def _xtc(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Number of atoms and end of each frame. Big-endian: magic, atoms, step, time, box, data."""
    while start := file.read(4):
        (magic,) = struct.unpack(">i", start)
        if magic not in (_XTC, _XTC_LONG):
            raise _Damaged(f"expected a frame of XTC at byte {file.tell() - 4}, found none")
        (atoms,) = struct.unpack(">i", file.read(4))
        file.seek(44, os.SEEK_CUR)
        (stored,) = struct.unpack(">i", file.read(4))
        if stored != atoms:
            raise _Damaged(f"a frame of {atoms} atoms holds {stored}")
        if atoms <= 9:  # not compressed
            yield atoms, file.tell() + 12 * atoms
            continue
        file.seek(32, os.SEEK_CUR)
        length = ">q" if magic == _XTC_LONG else ">i"
        (packed,) = struct.unpack(length, file.read(struct.calcsize(length)))
        yield atoms, _after(file, packed + -packed % 4)


def require_even_models(path: Path) -> None:
    """Raise InputError for the first model of a PDB file that has other atoms than its first."""
    counts, ended = [0], False
    with path.open("rb") as file:
        for line in file:
            if line.startswith((b"ATOM", b"HETATM")):
                counts[-1] += 1
            elif line.startswith((b"MODEL", b"ENDMDL")) and counts[-1]:
                counts.append(0)
                ended |= line.startswith(b"ENDMDL")
    models = [count for count in counts if count]
    if ended and counts[-1]:
        raise InputError(f"it ends within frame {len(models)}: copy it again")
    for number, count in enumerate(models, start=1):
        if count != models[0]:
            raise InputError(
                f"frame {number} has {count} atoms, the first one {models[0]}: it is damaged, or "
                "of another molecule: copy it again"
            )


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
            raise _Damaged(f"expected a frame of TRR at byte {file.tell() - 24}, found none")
        *blocks, atoms, _step, _nre = struct.unpack(">13i", file.read(52))
        box, x = blocks[2], blocks[7]
        vectors = [size for size in blocks[7:] if size]  # positions, velocities, forces
        real = box // 9 if box else next(iter(vectors), 12 * atoms) // max(3 * atoms, 1)
        if real not in (4, 8) or min(blocks) < 0 or set(vectors) - {3 * atoms * real}:
            raise _Damaged(f"a frame of {atoms} atoms with {x} bytes of coordinates")
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


def _netcdf(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """The same. NetCDF-3: a header of dimensions, attributes, variables; then a record a frame.

    Raises LookupError for other layouts.
    """
    wide = _NETCDF[file.read(4)]
    (count,) = struct.unpack(">I", file.read(4))
    sizes = [(_name(file), _integer(file))[1] for _ in range(_listed(file))]
    _skip_attributes(file)
    records, starts, atoms = [], [], None
    for _ in range(_listed(file)):
        name = _name(file)
        dimensions = [_integer(file) for _ in range(_integer(file))]
        _skip_attributes(file)
        _kind, size = _integer(file), _integer(file)
        start = _integer(file, wide)
        if dimensions and sizes[dimensions[0]] == 0:  # the one without a limit
            records.append(size)
            starts.append(start)
        if name == b"coordinates":
            atoms = sizes[dimensions[1]]
    if atoms is None or not sum(records) or count == _STREAMED:
        raise LookupError
    first, record = min(starts), sum(records)
    yield from ((atoms, first + (i + 1) * record) for i in range(count))


def _integer(file: BinaryIO, kind: str = ">I") -> int:
    (found,) = struct.unpack(kind, file.read(struct.calcsize(kind)))
    return int(found)


def _name(file: BinaryIO) -> bytes:
    length = _integer(file)
    if length > _MOST_RECORD:
        raise LookupError
    return file.read(length + -length % 4)[:length]


def _listed(file: BinaryIO) -> int:
    """How many follow, after a tag that says of what."""
    _integer(file)
    return _integer(file)


def _skip_attributes(file: BinaryIO) -> None:
    for _ in range(_listed(file)):
        _name(file)
        size = _NETCDF_BYTES[_integer(file)] * _integer(file)
        file.seek(size + -size % 4, os.SEEK_CUR)


def _after(file: BinaryIO, length: int) -> int:
    if length < 0:
        raise _Damaged(f"a block of {length} bytes at byte {file.tell()}")
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
    "netcdf": _netcdf,
}
