"""How many independent numbers the data are, measured where a stage of a search begins.

By how the zones' pulls at a few of the parameters go together: see `errors.effective_number`. The
maps come together on the group's root, so that the number does not depend on the ranks.
"""

from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.config import TargetConfig
from hpc_diffuser.fit.errors.curvature import curvature_bytes, curvature_kept_bytes
from hpc_diffuser.fit.errors.effective_number import FEWEST_ZONES, effective_voxels
from hpc_diffuser.fit.errors.likelihood_curvature import curvature_of
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import Zones, blocks_of
from hpc_diffuser.scattering.collecting import collect
from hpc_diffuser.scattering.models import Model

DIRECTIONS = 4  # parameters that are asked: each tells a mean over all zones
_VOXELS_OF_ONE = 15.0  # voxels that tell as much as an independent one, where a unit has 343
_OF_UNIT = 343.0  # samples in a reciprocal-lattice unit, at 7 along each axis


def asked(parameters: int) -> set[int]:
    """The places of the parameters, of so many, whose pulls are measured."""
    return {*np.linspace(0, parameters - 1, min(parameters, DIRECTIONS)).astype(int).tolist()}


class Independence:
    """Measures the number, on the group that holds a model's map.

    Parameters
    ----------
    target : Target
    options : TargetConfig
    model : Model
        Made with the target's indices.
    """

    def __init__(self, target: Target, options: TargetConfig, model: Model):
        self._target, self._options, self._model = target, options, model
        self._zones: Zones | None = None
        self._slopes: list[np.ndarray] = []

    def beside(
        self, columns: Iterator[tuple[int, np.ndarray]], parameters: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The columns of a linearisation as they come; those of a few parameters are kept."""
        chosen, self._slopes = asked(parameters), []
        for i, column in columns:
            if i in chosen:
                whole = collect(self._model, column, len(self._target.indices))
                if whole is not None:
                    self._slopes.append(whole)
            yield i, column

    def of(self, calculated: np.ndarray) -> float:
        """The number, on the group's root, by a map (v,) and the columns that came last; else 1."""
        whole = collect(self._model, calculated, len(self._target.indices))
        slopes, self._slopes = self._slopes, []
        if whole is None:
            return 1.0
        self._zones = self._zones or blocks_of(self._target)
        if (~self._zones.free).sum() < FEWEST_ZONES:
            return expected_numbers(self._target)
        with np.errstate(invalid="ignore", divide="ignore"), threadpool_limits(1):
            return self._measured(whole, slopes, self._zones)

    def _measured(self, whole: np.ndarray, slopes: list[np.ndarray], zones: Zones) -> float:
        curvature = curvature_of(self._target, self._options, whole, zones)
        for slope in slopes:
            curvature.add(slope, np.zeros_like(slope))
        bend = curvature.bend()
        alone = np.zeros((len(slopes),) * 2) if bend.by_voxel is None else bend.by_voxel
        pulls = np.flatnonzero(np.nan_to_num(np.diag(alone)) > 0)
        found = effective_voxels(bend.of(pulls)) if len(pulls) else None
        if found is None or not found.independent >= 1:
            return expected_numbers(self._target)
        return min(found.independent, float(found.voxels))


def expected_numbers(target: Target) -> float:
    """The same where there are too few zones to tell, as neighbouring voxels say much the same."""
    voxels, _ = target.counts().sum(axis=1)
    of_unit = float(np.prod(target.grid.divisions))
    return float(voxels) * min(1.0, _OF_UNIT / _VOXELS_OF_ONE / of_unit)


def measuring_bytes(voxels: int) -> list[float]:
    """Bytes of each of the arrays that measuring takes on a group's root, of so many voxels.

    At its end there are those of `curvature.bending_bytes`, too.
    """
    maps = [8.0 * voxels] * (DIRECTIONS + 1)
    return maps + curvature_kept_bytes(voxels, DIRECTIONS) + curvature_bytes(voxels)
