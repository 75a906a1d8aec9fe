"""What every reader of a map is told, and what it tells."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import gemmi
import numpy as np

from hpc_diffuser.crystal.lattice import along_hkl
from hpc_diffuser.io.maps.given import Given
from hpc_diffuser.io.maps.placing import MOST_DIVISIONS, as_float
from hpc_diffuser.io.plausible import check_crystal
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.system.errors import InputError

# What programs write for "none" where their format knows no mask.
_SENTINELS = (-999.0, -1000.0, -9999.0, -32767.0, -32768.0, -99999.0)
_OFTEN, _GAP = 3, 0.1
_LARGE_SHARE = 0.05
_TOLERANCE = 0.02  # of whole numbers that come from single-precision steps and rounded cells


@dataclass(frozen=True)
class Found:
    """A map, what kind of file it was in, and what was assumed about it.

    Attributes
    ----------
    diffuse : DiffuseMap
    kind : str
    assumed : list of str
        A line each.
    has_cell : bool
        The cell is the file's own or was given, and not made up.
    """

    diffuse: DiffuseMap
    kind: str
    assumed: list[str] = field(default_factory=list)
    has_cell: bool = True


def unit_cell_of(given: Given, stored: Sequence[float] | None = None) -> tuple[float, ...]:
    """The cell that was given, or else the file's own.

    Raises
    ------
    InputError
        Where there is neither, or it is none.
    """
    unit_cell = given.unit_cell if given.unit_cell is not None else stored
    if unit_cell is None:
        raise InputError(
            "names no unit cell: give --cell a,b,c,alpha,beta,gamma, or --structure model.pdb"
        )
    unit_cell = tuple(float(x) for x in unit_cell)
    check_crystal(unit_cell, "P 1", "unit cell")
    return unit_cell


def space_group_of(given: Given, stored: str | None, assumed: list[str]) -> str:
    """The space group that was given, or else the file's own, or else P 1, which is noted."""
    if given.space_group is not None:
        return given.space_group
    if stored:
        return stored
    assumed.append('space group "P 1": the file names none (--space-group)')
    return "P 1"


def space_group_by_number(number: int) -> str | None:
    """The standard setting's name; None for 0."""
    if not 1 <= number <= 230:
        if number == 0:
            return None
        raise InputError(f"space group number {number}: expected 1 to 230")
    return gemmi.find_spacegroup_by_number(number).hm


def reciprocal_lengths(unit_cell: tuple[float, ...]) -> tuple[float, float, float]:
    """a*, b*, c* in Å⁻¹."""
    return gemmi.UnitCell(*unit_cell).reciprocal().parameters[:3]


def divisions_of(per_unit: Sequence[float], what: str) -> tuple[int, int, int]:
    """Samples per reciprocal-lattice unit, which have to be whole numbers.

    Parameters
    ----------
    per_unit : 3 floats
        As steps and the cell give them.
    what : str
        For the message: "steps of 0.0206, 0.0206, 0.0157 1/Å".

    Raises
    ------
    InputError
        Where they are not: the cell, or a factor of 2π, is wrong.
    """
    if not are_whole(per_unit):
        found = ", ".join(f"{n:.3f}" for n in per_unit)
        raise InputError(
            f"{what} make {found} samples per reciprocal-lattice unit of the cell: expected whole "
            "numbers; give the crystal's --cell (steps are in 1/Å, without 2π)"
        )
    return along_hkl(round(n) for n in per_unit)


def are_whole(per_unit: Sequence[float]) -> bool:
    """Whether samples per reciprocal-lattice unit are whole numbers, to 2 %."""
    whole = [round(n) if math.isfinite(n) else 0 for n in per_unit]
    return all(
        1 <= m <= MOST_DIVISIONS and abs(n - m) <= _TOLERANCE * m
        for n, m in zip(per_unit, whole, strict=True)
    )


def masks_of(values: np.ndarray, known: Sequence[float], assumed: list[str]) -> tuple[float, ...]:
    """Values that stand for none: those that the format knows, and usual ones that stand out.

    A usual one does where it comes several times, and nothing is within a tenth of it. What
    else is strange about the values is noted: they are taken as they are.
    """
    values = as_float(values, np.float32)
    values = values[np.isfinite(values) & ~np.isin(values, np.array(known, np.float32))]
    found = tuple(s for s in _SENTINELS if s not in known and _stands_out(values, s))
    for value in found:
        count = int((values == np.float32(value)).sum())
        assumed.append(f"{value:g}, which {count} voxels have, stands for masked ones")
    values = values[~np.isin(values, np.array(found, np.float32))]
    for value in sorted({0.0, *(float(f(values)) for f in (np.min, np.max) if len(values))}):
        share = float((values == np.float32(value)).mean()) if len(values) > _OFTEN else 0.0
        if share > _LARGE_SHARE:
            assumed.append(
                f"{value:g}, which {100 * share:.0f} % of the voxels have, is an intensity: if it "
                "stands for masked ones, make them NaN"
            )
    return (*known, *found)


def _stands_out(values: np.ndarray, sentinel: float) -> bool:
    near = np.abs(values - np.float32(sentinel)) <= _GAP * abs(sentinel)
    return int(near.sum()) >= _OFTEN and bool((values[near] == np.float32(sentinel)).all())


def without_mask(values: np.ndarray, masks: Sequence[float]) -> np.ndarray:
    """Float32, NaN where a value is one of those that stand for none."""
    values = as_float(values, np.float32).copy()
    values[np.isin(values, np.array(masks, np.float32))] = np.nan
    return values


def with_mask(values: np.ndarray, mask: float, kind: str) -> np.ndarray:
    """Float32, with a number that stands for none in place of NaN.

    Raises
    ------
    InputError
        Where the map itself holds that number.
    """
    values = values.astype(np.float32)
    if (values == np.float32(mask)).any():
        raise InputError(
            f"the map holds intensities of {mask:g}, which stands for none in a {kind}: scale it, "
            "or choose another format"
        )
    return np.where(np.isnan(values), np.float32(mask), values)


def measured_rows(diffuse: DiffuseMap) -> np.ndarray:
    """Sample indices of the voxels that are not NaN: (V, 3) int, sorted."""
    return np.argwhere(~np.isnan(diffuse.intensity)) - np.array(diffuse.grid.extent)


def numbers_text(numbers: Iterable[float]) -> str:
    """Three or six numbers, as a message tells them."""
    return " ".join(f"{x:.4g}" for x in numbers)
