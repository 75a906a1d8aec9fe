"""lunus: lattices (.lat) and tables (.hkl).

A lattice is 3 sizes (uint32), 6 limits in Å⁻¹ (float32: xmin, xmax, ymin ...), then float32 values,
x fastest. It stores neither cell nor byte order. The sample nearest 000 is int(−min/step + 1/2).
"""

import io
import math

import numpy as np

from hpc_diffuser.io.maps.common import (
    Found,
    Given,
    divisions_of,
    masks_of,
    measured_rows,
    numbers_text,
    reciprocal_lengths,
    space_group_of,
    unit_cell_of,
    with_mask,
    without_mask,
)
from hpc_diffuser.io.maps.placing import (
    MOST_INDEX,
    as_float,
    check_values,
    embedded,
    grid_of_box,
    grid_of_rows,
    scattered,
)
from hpc_diffuser.io.opened import Opened
from hpc_diffuser.io.plausible import check_numbers
from hpc_diffuser.io.text import plain_text
from hpc_diffuser.maps.diffuse_map import DiffuseMap, values_at
from hpc_diffuser.system.errors import InputError

MASKED = -32768.0
_MASKS = (-32768.0, -32767.0)  # the second one in lunus's tutorial
_HEADER = 36
_MOST_SIZE = 1 << 16


def lattice_byte_order(head: bytes, file_size: int) -> str | None:
    """ "<" or ">" where the sizes account for the file's length; None where it is no lattice."""
    if len(head) < _HEADER:
        return None
    for order in "<>":
        sizes = [int(n) for n in np.frombuffer(head, f"{order}u4", 3)]
        if max(sizes) <= _MOST_SIZE and _HEADER + 4 * np.prod(sizes, dtype=object) == file_size:
            return order
    return None


def looks_like_lattice(file: Opened) -> bool:
    """Whether its sizes account for the file's length."""
    return lattice_byte_order(file.head, file.size) is not None


def read_lattice(file: Opened, given: Given) -> Found:
    """A .lat file. Without a cell, one voxel for each integer hkl on right-angled axes."""
    raw = file.plain.read_bytes()
    order = lattice_byte_order(raw[:_HEADER], len(raw))
    if order is None:
        raise InputError("not a lunus lattice: its sizes do not account for the file's length")
    sizes = [int(n) for n in np.frombuffer(raw, f"{order}u4", 3)]
    limits = as_float(np.frombuffer(raw, f"{order}f4", 6, 12), np.float64).reshape(3, 2)
    values = np.frombuffer(raw, f"{order}f4", offset=_HEADER).reshape(sizes[::-1]).T
    check_values(values, "the lattice", values.shape)
    steps, first = _steps(sizes, limits)
    assumed = [f"{'little' if order == '<' else 'big'}-endian; limits in 1/Å, without 2π"]
    unit_cell, divisions = _cell_and_divisions(given, steps, assumed)
    spans = tuple((f, f + n - 1) for f, n in zip(first, sizes, strict=True))
    grid, place = grid_of_box(unit_cell, divisions, spans, "nx, ny, nz")
    values = _unmasked(values, order, assumed)
    space_group = space_group_of(given, None, assumed)
    diffuse = DiffuseMap(grid, embedded(values, grid, place), space_group)
    return Found(diffuse, "lunus lattice", assumed, given.unit_cell is not None)


def lattice_bytes(diffuse: DiffuseMap) -> bytes:
    """A .lat file, little-endian, with lengths of the reciprocal axes as its units."""
    grid = diffuse.grid
    steps = np.array(reciprocal_lengths(grid.unit_cell)) / np.array(grid.divisions)
    reach = np.array(grid.extent) * steps
    values = with_mask(diffuse.intensity, MASKED, "lunus lattice")
    return b"".join(
        [
            np.array(grid.shape, "<u4").tobytes(),
            np.stack([-reach, reach], axis=1).astype("<f4").tobytes(),
            values.astype("<f4").T.tobytes(order="C"),
        ]
    )


def looks_like_table(file: Opened) -> bool:
    """Whether a file begins with lines of h k l I."""
    try:
        lines = [line.partition("#")[0] for line in file.head.decode("utf-8-sig").splitlines()]
        words = [line.split() for line in lines[:3] if line.strip()]
        return bool(words) and all(
            len(w) == 4 and all(_is_whole(x) for x in w[:3]) and float(w[3]) is not None
            for w in words[: max(1, len(words) - 1)]
        )
    except (UnicodeDecodeError, ValueError):
        return False


def read_table(file: Opened, given: Given) -> Found:
    """A .hkl file: lines of h k l I, one voxel for each integer hkl."""
    table = _rows(plain_text(file.path, file.plain.read_bytes(), "table of h k l I"))
    check_numbers(table[:, :3], "hkl", MOST_INDEX)
    check_values(table[:, 3], "the intensity", (len(table),))
    hkl = np.rint(table[:, :3])
    if (np.abs(hkl - table[:, :3]) > 1e-3).any():
        raise InputError("expected whole numbers h k l")
    assumed: list[str] = []
    unit_cell = unit_cell_of(given)
    grid = grid_of_rows(unit_cell, (1, 1, 1), hkl.astype(np.int64), "hkl")
    values = _unmasked(table[:, 3], "<", assumed)
    intensity = scattered(values, grid, hkl.astype(np.int64))
    return Found(
        DiffuseMap(grid, intensity, space_group_of(given, None, assumed)),
        "lunus table of h k l I",
        assumed,
    )


def table_bytes(diffuse: DiffuseMap) -> bytes:
    """A .hkl file of the measured voxels.

    Raises
    ------
    InputError
        For more than one voxel for each integer hkl.
    """
    if tuple(diffuse.grid.divisions) != (1, 1, 1):
        raise InputError(
            f"a table of integer h k l cannot hold {tuple(diffuse.grid.divisions)} samples per "
            "reciprocal-lattice unit: choose .lat, .mtz or .nxs"
        )
    rows = measured_rows(diffuse)
    values = values_at(diffuse.intensity, rows).astype(np.float32)
    text = io.StringIO()
    # Nine digits tell every single-precision number from all others.
    np.savetxt(text, np.column_stack([rows, values]), fmt="%d %d %d %.9g")
    return text.getvalue().encode()


def _rows(text: str) -> np.ndarray:
    """The four columns of a table: (V, 4) float."""
    try:
        table = np.loadtxt(io.StringIO(text), ndmin=2)
    except ValueError as exc:
        raise _bad_line(text) or InputError(f"not a table of h k l I: {exc}") from exc
    if table.shape[1] != 4:
        raise _bad_line(text) or InputError("expected lines of h k l I")
    return table


def _bad_line(text: str) -> InputError | None:
    """What is wrong with the first line that is not four numbers."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        try:
            is_row = not words or (len(words) == 4 and all(math.isfinite(float(w)) for w in words))
        except ValueError:
            is_row = False
        if not is_row and words[-1].lower() != "nan":
            return InputError(
                f"line {number}: expected four numbers h k l I with blanks between them, found "
                f"{line.strip()!r:.80}"
            )
    return None


def _is_whole(word: str) -> bool:
    return word.removeprefix("-").isdigit()


def _steps(sizes: list[int], limits: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Steps in Å⁻¹, and the index of the first sample along each axis."""
    if not np.isfinite(limits).all() or min(sizes) < 2:
        raise InputError(f"sizes {sizes}, limits {limits.ravel().tolist()}: expected a lattice")
    steps = (limits[:, 1] - limits[:, 0]) / (np.array(sizes) - 1)
    if steps.min() <= 1e-5 or np.abs(limits).max() > 1e3:
        raise InputError(f"limits {limits.ravel().tolist()}: expected ascending ones in 1/Å")
    origin = -limits[:, 0] / steps
    if np.abs(origin - np.rint(origin)).max() > 0.1:
        raise InputError(f"000 lies between samples, at {numbers_text(origin)}: expected on one")
    return steps, [-int(x) for x in np.floor(origin + 0.5)]


def _cell_and_divisions(
    given: Given, steps: np.ndarray, assumed: list[str]
) -> tuple[tuple[float, ...], tuple[int, int, int]]:
    if given.unit_cell is None and given.divisions is None:
        unit_cell = (*(1 / steps), 90.0, 90.0, 90.0)
        assumed.append(
            f"one voxel for each integer hkl of the cell {numbers_text(unit_cell)}, by its steps "
            "(--cell)"
        )
        return unit_cell_of(given, unit_cell), (1, 1, 1)
    if given.unit_cell is None:
        lengths = 1 / (steps * np.array(given.divisions))
        assumed.append(f"right-angled axes of {numbers_text(lengths)} Å, by its steps (--cell)")
        return unit_cell_of(given, (*lengths, 90.0, 90.0, 90.0)), given.divisions
    unit_cell = unit_cell_of(given)
    per_unit = np.array(reciprocal_lengths(unit_cell)) / steps
    return unit_cell, divisions_of(per_unit, f"steps of {numbers_text(steps)} 1/Å")


def _unmasked(values: np.ndarray, order: str, assumed: list[str]) -> np.ndarray:
    """NaN for lunus's masks; for 0 where it has to be one."""
    if not np.isnan(without_mask(values, _MASKS)).any() and _zero_is_mask(values, order):
        assumed.append("0 stands for masked voxels, as in big-endian lattices")
        return without_mask(values, (0.0,))
    assumed.append("-32768 and -32767 stand for masked voxels")
    return without_mask(values, masks_of(values, _MASKS, assumed))


def _zero_is_mask(values: np.ndarray, order: str) -> bool:
    """Of files without another mask: where all corners, beyond the data's sphere, are exactly 0."""
    ends = np.ix_([0, -1], [0, -1], [0, -1])
    return order == ">" and values.ndim == 3 and not values[ends].any()
