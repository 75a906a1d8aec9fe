"""eryx: a NumPy array [h, k, l], and its sampling as three triples in a YAML file beside it.

The triples are (first hkl, last hkl, n), where n counts samples per reciprocal-lattice unit, or all
samples. Only they are looked for in the YAML, by their names: nothing of it is executed.
"""

import re
import tokenize
from pathlib import Path

import numpy as np

from hpc_diffuser.io.maps.common import (
    Found,
    Given,
    masks_of,
    space_group_of,
    unit_cell_of,
    without_mask,
)
from hpc_diffuser.io.maps.placing import check_values, embedded, grid_of_axes
from hpc_diffuser.io.opened import Opened
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.system.errors import InputError

_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_INLINE = rf"[\[(]\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*[\])]"
_LISTED = rf"\s*-\s*({_NUMBER})\s*-\s*({_NUMBER})\s*-\s*({_NUMBER})"
_MOST_YAML = 1 << 20
_BAD_HEADER = (SyntaxError, tokenize.TokenError)  # it is a Python literal


def read_eryx(file: Opened, given: Given) -> Found:
    """An .npy file, with the .yaml or .yml of the same name beside it."""
    values = _array(file.plain)
    if values.ndim != 3:
        raise InputError(f"an array of shape {values.shape}: expected three axes h, k, l")
    check_values(values, "the array", values.shape)
    yaml = _beside(file.plain)
    axes = [_axis(yaml, name, n) for name, n in zip("hkl", values.shape, strict=True)]
    grid, place = grid_of_axes(unit_cell_of(given), axes)
    assumed = [f"sampling of {yaml.name}; NaN where masked"]
    values = without_mask(values, masks_of(values, (), assumed))
    space_group = space_group_of(given, None, assumed)
    diffuse = DiffuseMap(grid, embedded(values, grid, place), space_group)
    return Found(diffuse, "eryx array", assumed)


def _array(path: Path) -> np.ndarray:
    """What an .npy file holds; mapped, so that a shape larger than the file is refused."""
    try:
        return np.array(np.load(path, mmap_mode="r"))  # which refuses pickled objects
    except (ValueError, TypeError, OSError, EOFError, OverflowError, *_BAD_HEADER) as exc:
        raise InputError(f"not an array of numbers: {' '.join(str(exc).split())}") from exc


def _beside(path: Path) -> Path:
    for ending in (".yaml", ".yml"):
        yaml = path.with_suffix(ending)
        if yaml.is_file():
            return yaml
    raise InputError(
        f"the array alone does not tell its sampling: expected {path.stem}.yaml beside it, with "
        "hsampling, ksampling and lsampling: [first, last, samples per unit]"
    )


def _axis(yaml: Path, name: str, n_samples: int) -> np.ndarray:
    """Fractional Miller indices along one axis."""
    if yaml.stat().st_size > _MOST_YAML:
        raise InputError(f"{yaml}: too large for a list of settings")
    text = yaml.read_text("utf-8", errors="replace")
    found = re.search(rf"\b{name}sampling\s*:\s*(?:{_INLINE}|{_LISTED})", text)
    if not found:
        raise InputError(f"{yaml}: expected {name}sampling: [first, last, samples per unit]")
    first, last, n = (float(x) for x in found.groups() if x is not None)
    if not last > first or n < 1:
        raise InputError(
            f"{yaml}: {name}sampling {first:g}, {last:g}, {n:g}: expected first < last"
        )
    if round(n) != n_samples and round((last - first) * n) + 1 != n_samples:
        raise InputError(
            f"{yaml}: {name}sampling {first:g}, {last:g}, {n:g} makes "
            f"{round((last - first) * n) + 1} samples, but the array has {n_samples} along {name}"
        )
    return np.linspace(first, last, n_samples)
