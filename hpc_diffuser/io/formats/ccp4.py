"""CCP4 and MRC maps whose unit cell is the reciprocal one, as decaf writes them.

One cell of the map is one reciprocal-lattice unit, divided into MX, MY, MZ samples; NCSTART and its
like say where the box begins. −1000 stands for voxels that are masked.
"""

import tempfile
from pathlib import Path

import gemmi
import numpy as np

from hpc_diffuser.diffuse_map import DiffuseMap
from hpc_diffuser.errors import InputError, StorageError
from hpc_diffuser.io.formats.common import (
    Found,
    Given,
    divisions_of,
    numbers_text,
    space_group_by_number,
    space_group_of,
    unit_cell_of,
    with_mask,
    without_mask,
)
from hpc_diffuser.io.isolated import run_isolated
from hpc_diffuser.io.placing import check_values, embedded, grid_of_box

MASKED = -1000.0
# Places in the header, counted from 1.
_START, _SAMPLING, _CELL, _AXES, _GROUP = 5, 8, 11, 17, 23
_LARGEST_RECIPROCAL = 1.0  # Å⁻¹: no crystal's cell has an edge below 1 Å
_MOST_START = 1 << 20


def read_ccp4(path: Path, given: Given) -> Found:
    """A map in reciprocal space."""
    arrays = run_isolated(_load, [path], f"{path}: could not be read as a CCP4 map")
    values, order = arrays["values"], arrays["order"] - 1
    if sorted(order.tolist()) != [0, 1, 2]:
        raise InputError(f"axis order {(order + 1).tolist()}: expected 1, 2, 3 in some order")
    if np.abs(arrays["start"]).max() > _MOST_START:
        raise InputError(f"begins at {arrays['start'].tolist()}: the file is damaged")
    # In the file's order of columns, rows, sections; brought to h, k, l.
    to_hkl = np.argsort(order)
    values, start = values.transpose(*to_hkl), arrays["start"][to_hkl]
    check_values(values, "the map", values.shape)
    assumed = ["its cell is the reciprocal one (1/Å, without 2π); -1000 and NaN where masked"]
    if not start.any() and min(values.shape) > 1:
        start = -(np.array(values.shape) // 2)
        assumed.append("000 at the middle of the array, as its header gives no start")
    unit_cell, divisions = _cell_and_divisions(arrays["cell"], arrays["sampling"], given)
    spans = tuple((int(s), int(s) + n - 1) for s, n in zip(start, values.shape, strict=True))
    grid, place = grid_of_box(unit_cell, divisions, spans, "NX, NY, NZ")
    number = int(arrays["space_group"])
    space_group = space_group_of(given, space_group_by_number(number if number > 1 else 0), assumed)
    intensity = embedded(without_mask(values, (MASKED,)), grid, place)
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


def _load(path: str) -> dict[str, np.ndarray]:
    """Runs in a child process: everything that gemmi has to read."""
    ccp4 = gemmi.read_ccp4_map(path)

    def numbers(place: int, get) -> np.ndarray:
        return np.array([get(place + i) for i in range(3)])

    return {
        "values": np.array(ccp4.grid.array),
        "start": numbers(_START, ccp4.header_i32),
        "sampling": numbers(_SAMPLING, ccp4.header_i32),
        "order": numbers(_AXES, ccp4.header_i32),
        "cell": np.array([ccp4.header_float(_CELL + i) for i in range(6)]),
        "space_group": np.array(ccp4.header_i32(_GROUP)),
    }


def _cell_and_divisions(
    reciprocal: np.ndarray, sampling: np.ndarray, given: Given
) -> tuple[tuple[float, ...], tuple[int, int, int]]:
    """The crystal's cell; a header of another unit than Å⁻¹ serves where the cell is given."""
    what = f"a reciprocal cell {numbers_text(reciprocal)}"
    if not (np.isfinite(reciprocal).all() and reciprocal.min() > 0 and reciprocal[3:].max() < 180):
        raise InputError(f"{what}: expected three lengths and three angles")
    divisions = divisions_of(given.divisions or sampling.tolist(), "MX, MY, MZ")
    if given.unit_cell is None:
        if reciprocal[:3].max() > _LARGEST_RECIPROCAL:
            raise InputError(f"{what} is none in 1/Å: give the crystal's --cell")
        real = gemmi.UnitCell(*reciprocal).reciprocal().parameters
        return unit_cell_of(given, real), divisions
    unit_cell = unit_cell_of(given)
    expected = np.array(gemmi.UnitCell(*unit_cell).reciprocal().parameters)
    scale = reciprocal[:3] / expected[:3]
    if scale.max() > 1.02 * scale.min() or np.abs(reciprocal - expected)[3:].max() > 1:
        raise InputError(f"{what} is not that of the given cell, {numbers_text(expected)}")
    return unit_cell, divisions
