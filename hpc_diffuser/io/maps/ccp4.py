"""CCP4 and MRC maps in reciprocal space, as decaf writes them, and other programs with a cell.

decaf: the map's unit cell is the reciprocal one, divided into MX, MY, MZ samples; NCSTART and its
like say where the box begins; −1000 stands for voxels that are masked. Libraries for microscopy
put the whole box into the cell (MX = NX), or one step, and the beginning into ORIGIN.
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from hpc_diffuser.crystal.lattice import along_hkl
from hpc_diffuser.io.maps.common import (
    Found,
    Given,
    are_whole,
    masks_of,
    numbers_text,
    space_group_of,
    unit_cell_of,
    with_mask,
    without_mask,
)
from hpc_diffuser.io.maps.placing import (
    MOST_DIVISIONS,
    as_float,
    check_values,
    embedded,
    grid_of_box,
)
from hpc_diffuser.io.opened import Opened
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.system.errors import InputError, StorageError

MASKED = -1000.0
_MASKS = (MASKED, -32768.0, -32767.0)  # the latter from lunus
_HEADER, _STAMP = 1024, 208
# Places in the header, in words counted from 1.
_START, _SAMPLING = 5, 8
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_LARGEST_RECIPROCAL = 1.0  # Å⁻¹: no crystal's cell has an edge below 1 Å
_MOST_START = 1 << 20
_LEAST_CC = 0.2  # of Friedel mates, their isotropic part included: of measured maps above 0.9
# What a header's cell may be.
_PLAIN, _BOX, _STEP = "a reciprocal-lattice unit", "the whole box", "one step"
_OTHER_UNIT = "a reciprocal-lattice unit, not in 1/Å"
_SAME_SCALE, _SAME_ANGLE = 1.02, 1.0
_DIVISIONS = "--divisions, the samples per reciprocal-lattice unit"


@dataclass(frozen=True)
class _Header:
    """What a header says, each along h, k, l.

    Attributes
    ----------
    shape, start, sampling : (3,) int
    lengths, angles, origin : (3,) float
    space_group : int
    """

    shape: np.ndarray
    start: np.ndarray
    sampling: np.ndarray
    lengths: np.ndarray
    angles: np.ndarray
    origin: np.ndarray
    space_group: int


@dataclass(frozen=True)
class _Lattice:
    """A crystal's cell, its samples per reciprocal-lattice unit, a step in the header's unit."""

    unit_cell: tuple[float, ...]
    divisions: tuple[int, int, int]
    steps: np.ndarray


def looks_like_ccp4(file: Opened) -> bool:
    """By the stamp at its place in the header."""
    return file.head[_STAMP : _STAMP + 4] == b"MAP "


def read_ccp4(file: Opened, given: Given) -> Found:
    """A map in reciprocal space."""
    header, values = _parsed(file.plain.read_bytes())
    check_values(values, "the map", values.shape)
    assumed = ["its cell is reciprocal (1/Å, without 2π); -1000, -32768 and NaN where masked"]
    lattice = _lattice(header, given, assumed)
    values = without_mask(values, masks_of(values, _MASKS, assumed))
    start = _start(header, lattice, values, assumed)
    spans = tuple((int(s), int(s) + n - 1) for s, n in zip(start, values.shape, strict=True))
    grid, place = grid_of_box(lattice.unit_cell, lattice.divisions, spans, "NX, NY, NZ")
    space_group = space_group_of(given, _space_group(header.space_group, assumed), assumed)
    intensity = embedded(values, grid, place)
    return Found(DiffuseMap(grid, intensity, space_group), "CCP4 map", assumed)


def ccp4_bytes(diffuse: DiffuseMap) -> bytes:
    """Such a map, columns along h."""
    grid = diffuse.grid
    values = with_mask(diffuse.intensity, MASKED, "CCP4 map")
    ccp4 = gemmi.Ccp4Map()
    ccp4.grid = gemmi.FloatGrid(values)
    ccp4.grid.unit_cell = gemmi.UnitCell(*grid.unit_cell).reciprocal()
    ccp4.grid.spacegroup = gemmi.SpaceGroup("P 1")
    ccp4.update_ccp4_header(2)
    for i in range(3):
        ccp4.set_header_i32(_START + i, -grid.extent[i])
        ccp4.set_header_i32(_SAMPLING + i, int(grid.divisions[i]))
    # gemmi writes to files only.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.ccp4"
        try:
            ccp4.write_ccp4_map(str(path))
        except (OSError, RuntimeError) as exc:
            raise StorageError(f"{folder}: could not be written ({exc}): make room there") from exc
        return path.read_bytes()


def _parsed(raw: bytes) -> tuple[_Header, np.ndarray]:
    """The header, and the values [h, k, l]."""
    order = _byte_order(raw)
    words = np.frombuffer(raw, f"{order}i4", 256)
    numbers = as_float(np.frombuffer(raw, f"{order}f4", 256), np.float64)
    counts, mode, symmetry = words[:3].tolist(), int(words[3]), int(words[23])
    if mode not in _MODES:
        raise InputError(f"mode {mode}: expected one of {', '.join(map(str, _MODES))}")
    dtype = np.dtype(f"{order}{_MODES[mode]}")
    size = _HEADER + symmetry + math.prod(counts) * dtype.itemsize
    if min(counts) < 1 or symmetry < 0 or size != len(raw):
        raise InputError(
            f"could not be read as a CCP4 map: its header makes {size} bytes, but it has "
            f"{len(raw)}: make it again"
        )
    values = np.frombuffer(raw, dtype, offset=_HEADER + symmetry).reshape(counts[::-1]).T
    axes = words[16:19].tolist() if words[16:19].any() else [1, 2, 3]
    if sorted(axes) != [1, 2, 3]:
        raise InputError(f"axis order {axes}: expected 1, 2, 3 in some order")
    # In the file's order of columns, rows, sections; brought to h, k, l.
    to_hkl = np.argsort(axes)
    values, start = values.transpose(*to_hkl), words[4:7][to_hkl]
    if np.abs(start.astype(np.int64)).max() > _MOST_START:
        raise InputError(f"begins at {start.tolist()}: the file is damaged")
    # Sampling, cell and origin are those of the axes themselves, in whatever order they are.
    cell, origin = numbers[10:16], numbers[49:52]
    header = _Header(
        np.array(values.shape), start, words[7:10], cell[:3], cell[3:], origin, int(words[22])
    )
    return header, values


def _byte_order(raw: bytes) -> str:
    """By the number of columns and the mode, which fit one of both; stamps are often wrong."""
    if len(raw) < _HEADER:
        raise InputError("could not be read as a CCP4 map: it breaks off in its header")
    for order in "<>":
        words = np.frombuffer(raw, f"{order}i4", 4)
        if 0 < words[:3].max() < 1 << 16 and abs(int(words[3])) < 1 << 10:
            return order
    raise InputError("could not be read as a CCP4 map: no sizes in its header")


def _space_group(number: int, assumed: list[str]) -> str | None:
    """By its number, and CCP4's numbers of other settings (1018); 1 is the default of programs."""
    if number in (0, 1):
        return None
    group = gemmi.find_spacegroup_by_number(number)
    if group is None:
        # Of microscopy: 401 and its like are stacks of volumes.
        assumed.append(f"ISPG {number} is no space group's number: left aside")
        return None
    return group.hm if number <= 230 else group.xhm()


def _start(
    header: _Header, lattice: _Lattice, values: np.ndarray, assumed: list[str]
) -> np.ndarray:
    """First samples along h, k, l: by NSTART, or ORIGIN, or else with 000 in the middle."""
    if header.start.any() or header.shape.min() == 1:
        off = np.abs(header.origin / lattice.steps - header.start).max() > 0.5
        if header.origin.any() and header.start.any() and off:
            assumed.append(
                f"begins at samples {numbers_text(header.start)}, by NSTART; ORIGIN differs"
            )
        return header.start
    if not header.origin.any():
        cc = _cc_about_the_middle(values)
        doubt = (
            f"; but mates there have a CC of {cc:.2f}: if the array begins at 000, give it planes "
            "of -1000 before that, and NSTART -1"
        )
        middle = "000 at the middle of the array, as its header gives no start"
        assumed.append(middle + (doubt if cc < _LEAST_CC else ""))
        return -(header.shape // 2)
    start = header.origin / lattice.steps
    whole = np.rint(start)
    if not (np.abs(start - whole) < 0.1).all() or (whole > 0).any():
        raise InputError(
            f"ORIGIN {numbers_text(header.origin)} begins at samples {numbers_text(start)}: "
            "expected whole numbers, not above 0; correct it, or make it 0 for 000 in the middle"
        )
    assumed.append(f"begins at samples {numbers_text(whole)}, by ORIGIN")
    return whole.astype(int)


def _cc_about_the_middle(values: np.ndarray) -> float:
    """CC of Friedel mates if 000 is in the middle of an array; NaN where too few are measured."""
    odd = values[tuple(slice(1 - n % 2, None) for n in values.shape)].reshape(-1)
    pairs = np.stack([odd, odd[::-1]])[:, : len(odd) // 2]
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)].astype(np.float64)
    varied = pairs.shape[1] > 2 and (np.ptp(pairs, axis=1) > 0).all()
    return float(np.corrcoef(pairs)[0, 1]) if varied else math.nan


def _lattice(header: _Header, given: Given, assumed: list[str]) -> _Lattice:
    """The crystal's cell and how it is sampled, by the reading of the header that makes sense."""
    if not _is_cell(header):
        if given.unit_cell is None or given.divisions is None:
            raise InputError(
                f"{_cell_text(header)}: expected three lengths and angles; give the crystal's "
                f"--cell and {_DIVISIONS}"
            )
        assumed.append("cell and samples as given: its header has none")
        steps = _reciprocal(given.unit_cell)[:3] / np.array(given.divisions)
        return _Lattice(unit_cell_of(given), given.divisions, steps)
    if given.unit_cell is not None:
        return _of_given_cell(header, given, assumed)
    if header.lengths.max() > _LARGEST_RECIPROCAL:
        raise InputError(f"{_cell_text(header)} is none in 1/Å: give the crystal's --cell")
    divisions, step = header.sampling, header.lengths / np.maximum(header.sampling, 1)
    if given.divisions is not None:
        divisions = np.array(given.divisions)
    elif not _covers(header, divisions):
        raise InputError(
            f"{_cell_text(header)} with MX, MY, MZ {numbers_text(divisions)} is the box's or a "
            f"step's, not the crystal's: give the crystal's --cell, or {_DIVISIONS}"
        )
    real = gemmi.UnitCell(*(step * divisions), *header.angles).reciprocal().parameters
    return _Lattice(unit_cell_of(given, real), _integers(divisions), step)


def _of_given_cell(header: _Header, given: Given, assumed: list[str]) -> _Lattice:
    """The same where the crystal's cell is known: what makes whole numbers of samples."""
    unit_cell = unit_cell_of(given)
    expected = _reciprocal(unit_cell)
    found = _readings(header, expected, given.divisions)
    if len(found) > 1:
        raise InputError(
            f"{_cell_text(header)} can be {' or '.join(','.join(map(str, n)) for n in found)} "
            "samples per reciprocal-lattice unit of the given cell: give --divisions"
        )
    if not found:
        return _as_given(header, unit_cell, given.divisions, assumed)
    ((divisions, (steps, what)),) = found.items()
    if what != _PLAIN:
        assumed.append(f"the cell of its header is that of {what}")
    return _Lattice(unit_cell, divisions, steps)


def _readings(
    header: _Header, expected: np.ndarray, wanted: tuple[int, int, int] | None
) -> dict[tuple[int, int, int], tuple[np.ndarray, str]]:
    """Whole samples per reciprocal-lattice unit → step in the header's unit, what its cell is."""
    if np.abs(header.angles - expected[3:]).max() > _SAME_ANGLE:
        return {}
    lengths, sampling = header.lengths, np.maximum(header.sampling, 1)
    scale = lengths / expected[:3]
    plain = np.allclose(scale, 1, rtol=_SAME_SCALE - 1)
    readings = [
        (expected[:3] / lengths * sampling, lengths / sampling, _PLAIN if plain else _BOX),
        (expected[:3] / lengths, lengths, _STEP),
    ]
    if scale.max() < _SAME_SCALE * scale.min() and (sampling != header.shape).any():
        readings.append((sampling.astype(float), lengths / sampling, _OTHER_UNIT))
    found: dict[tuple[int, int, int], tuple[np.ndarray, str]] = {}
    for divisions, steps, what in readings:
        agrees = wanted is None or np.allclose(divisions, wanted, rtol=_SAME_SCALE - 1)
        if agrees and are_whole(divisions) and _covers(header, divisions):
            found.setdefault(_integers(divisions), (steps, what))
    # What CCP4 means comes before a cell of one step.
    return {n: how for n, how in found.items() if len(found) == 1 or how[1] != _STEP}


def _as_given(
    header: _Header,
    unit_cell: tuple[float, ...],
    divisions: tuple[int, int, int] | None,
    assumed: list[str],
) -> _Lattice:
    """By cell and divisions as given, where the header has other units, or no angles."""
    expected = _reciprocal(unit_cell)
    if divisions is not None:
        steps = header.lengths / np.maximum(header.sampling, 1)
        scale = steps * np.array(divisions) / expected[:3]
        right = (header.angles == 90).all()  # as libraries write that know no others
        same = right or np.abs(header.angles - expected[3:]).max() <= _SAME_ANGLE
        if same and scale.max() < _SAME_SCALE * scale.min():
            assumed.append("cell and samples as given: its header has other units, or no angles")
            return _Lattice(unit_cell, divisions, steps)
    raise InputError(
        f"{_cell_text(header)} with MX, MY, MZ {numbers_text(header.sampling)} is not that of "
        f"the given cell, {_text(expected)}, in whole samples: correct --cell, or give --divisions"
    )


def _is_cell(header: _Header) -> bool:
    numbers = np.concatenate([header.lengths, header.angles])
    return bool(np.isfinite(numbers).all() and numbers.min() > 0 and header.angles.max() < 180)


def _covers(header: _Header, divisions: np.ndarray) -> bool:
    """The box is longer than a reciprocal-lattice unit; thinner ones are slices of one sample."""
    long_enough = (header.shape > divisions) | (header.shape == 1)
    return bool((divisions > 0).all() and divisions.max() <= MOST_DIVISIONS and long_enough.all())


def _reciprocal(unit_cell: tuple[float, ...]) -> np.ndarray:
    return np.array(gemmi.UnitCell(*unit_cell).reciprocal().parameters)


def _integers(divisions: np.ndarray) -> tuple[int, int, int]:
    return along_hkl(int(n) for n in np.rint(divisions))


def _cell_text(header: _Header) -> str:
    return f"a reciprocal cell {_text(np.concatenate([header.lengths, header.angles]))}"


def _text(cell: np.ndarray) -> str:
    return numbers_text(cell)
