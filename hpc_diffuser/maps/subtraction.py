"""What a calculated map leaves of a measured one: subtracted, scaled by least squares.

With y measured and x calculated, and a constant background in every resolution shell s, which
stays in the data,

    k = Σ (y − ȳ_s)(x − x̄_s) / Σ (x − x̄_s)²

of all shells together, or of each by itself.
"""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.crystal.symmetry import grid_operations
from hpc_diffuser.maps.diffuse_map import DiffuseMap, samples_in
from hpc_diffuser.maps.merging import merged_intensity
from hpc_diffuser.maps.shells import sturdy_shells
from hpc_diffuser.maps.target_options import SUBTRACT_SCALES
from hpc_diffuser.system.arrays import Floats, Integers, Mask
from hpc_diffuser.system.errors import InputError

_MOST_MISSING = 0.5  # of the measured voxels
_LITTLE, _ALL = 0.8, 1e-3  # of the variance that is left


@dataclass(frozen=True)
class Subtrahend:
    """What is to be subtracted.

    Attributes
    ----------
    model : DiffuseMap
        Calculated, in the measured map's crystal.
    scale : {"one", "shells"}
        Of the whole map, or of each resolution shell.
    name : str
        What messages call it.
    """

    model: DiffuseMap
    scale: str = SUBTRACT_SCALES[0]
    name: str = "the map to subtract"


@dataclass(frozen=True)
class Subtracted:
    """What was subtracted.

    Attributes
    ----------
    values : (V,) float
        In the measured unit, already scaled; NaN where the calculated map has none.
    scales : (n,) float
        Measured unit per calculated one; a number, or one of each shell.
    left : float
        Of the variance within the shells, what is left.
    name : str
    """

    values: Floats
    scales: Floats
    left: float
    name: str

    def text(self) -> str:
        """One line about it."""
        scales, none = self.scales, int((self.scales == 0).sum())
        times = f"{scales[0]:.4g}"
        if len(scales) > 1:
            times = f"{scales.min():.4g} to {scales.max():.4g}, by shell"
        nothing = f" (0 in {none}, which it does not resemble)" if none else ""
        return (
            f"{self.name} times {times}{nothing}: {100 * self.left:.1f} % of the "
            f"variance within shells is left{self._doubt()}"
        )

    def _doubt(self) -> str:
        """Where that is more, or less, than a calculated map should leave."""
        if self.left > _LITTLE:
            return " (the model explains little of the map: has it other axes? see --reindex)"
        if self.left < _ALL:
            return " (nothing, but for rounding: is it a map of the same data?)"
        return ""


def calculated_at(
    of: Subtrahend, grid: HklGrid, indices: Integers, space_group: str, kept: Mask
) -> Floats:
    """The calculated map (V,) at samples (V, 3), Laue mates averaged; NaN where it has none.

    Raises
    ------
    InputError
        Where its samples are not those of the grid, or a multiple; or where it lacks more than
        half of the samples that are kept (V,).
    """
    there = samples_in(of.model, grid, indices, of.name)
    intensity = np.where(np.isfinite(of.model.intensity), of.model.intensity, np.nan)
    values = merged_intensity(intensity, there, grid_operations(of.model.grid, space_group))
    lacking = int((kept & np.isnan(values)).sum())
    if lacking > _MOST_MISSING * kept.sum():
        raise InputError(
            f"{of.name}: lacks {lacking} of the {int(kept.sum())} voxels that it is to be "
            "subtracted from: expected a map of the target's resolution range, halos too where "
            "they are kept; simulate it there, or give --d-max and --d-min of the range that it "
            "has"
        )
    return values


def scaled(
    measured: Floats, values: Floats, kept: Mask, shells: Integers, of: Subtrahend
) -> Subtracted:
    """The calculated map, scaled to the measured one.

    Parameters
    ----------
    measured, values : (V,) float
    kept : (V,) bool
        Voxels that both have, and that are compared.
    shells : (V,) int
        Resolution shells; thin ones are joined with their neighbours.
    of : Subtrahend

    Returns
    -------
    Subtracted

    Raises
    ------
    InputError
        Where the calculated map does not vary within shells, or resembles the measured one in
        none: the best scale is below 0.
    """
    joined = _joined(shells, kept)
    n, of_kept = int(joined.max()) + 1, joined[kept]
    y, x = (_less_mean(v[kept], of_kept, n) for v in (measured, values))
    xy, xx, yy = (np.bincount(of_kept, p, n) for p in (x * y, x * x, y * y))
    if of.scale == SUBTRACT_SCALES[0]:
        xy, xx = xy.sum(keepdims=True), xx.sum(keepdims=True)
    if not (xx > 0).all():
        raise InputError(
            f"{of.name}: does not vary within resolution shells: expected a map of diffuse "
            "intensity"
        )
    scales = np.maximum(xy / xx, 0.0)
    if not scales.any():
        raise InputError(
            f"{of.name}: its best scale is below 0: expected a map that the measured one "
            "resembles; see whether both have the same indices (--reindex)"
        )
    # Σ (y − kx)² = Σy² − 2kΣxy + k²Σx².
    left = (yy.sum() - (scales * (2 * xy - scales * xx)).sum()) / yy.sum()
    by_voxel = scales[joined if len(scales) > 1 else np.zeros_like(joined)]
    return Subtracted(by_voxel * values, scales, float(left), of.name)


def _joined(shells: Integers, kept: Mask) -> Integers:
    """Shells (V,) such that none has few voxels that are kept."""
    counts = np.bincount(shells[kept], minlength=int(shells.max()) + 1)
    starts = sturdy_shells(counts, np.zeros_like(counts))
    return np.clip(np.searchsorted(starts, shells, side="right") - 1, 0, len(starts) - 2)


def _less_mean(values: Floats, shells: Integers, n: int) -> Floats:
    """Less the mean of each shell: (V,) float64."""
    values = values.astype(np.float64)
    means = np.bincount(shells, values, n) / np.maximum(np.bincount(shells, minlength=n), 1)
    difference: Floats = values - means[shells]
    return difference
