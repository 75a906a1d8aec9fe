"""Sums for the correlation of many maps with one, by compiled loops: for a fit, not for looking."""

import numpy as np

from hpc_diffuser.kernels.correlation import binned_slopes, moment_sums
from hpc_diffuser.system.arrays import Floats, Integers


class PlaneSums:
    """The six sums of a correlation, plane by plane, of many maps x with one map y.

    Those of y alone are made once. The bits are those of `statistics.correlation_sums`.

    Parameters
    ----------
    y : (V,) float
    weights : (V,) float, or None for 1
    bins : (V,) int
        Each voxel's bin in its plane.
    starts : (P+1,) int
        Where the voxels of each plane start.
    n_bins : int
    """

    def __init__(
        self,
        y: Floats,
        weights: Floats | None,
        bins: Integers,
        starts: Integers,
        n_bins: int,
    ):
        if len(bins) and not 0 <= bins.min() <= bins.max() < n_bins:
            raise IndexError(f"voxels in bins {bins.min()} to {bins.max()} of {n_bins}")
        self._y, self._weights = y, weights
        self._bins, self._starts, self._n_bins = bins.astype(np.int32), starts, n_bins
        ones = np.ones_like(y)
        self._w = self._moments(ones)[..., 0]
        self._wy, self._wyy = np.moveaxis(self._moments(y)[..., :2], -1, 0)

    def of(self, x: Floats) -> Floats:
        """The six sums of a map (V,): (P, n_bins, 6) float."""
        wx, wxx, wxy = np.moveaxis(self._moments(x), -1, 0)
        return np.stack([self._w, wx, self._wy, wxx, self._wyy, wxy], axis=-1)

    def slopes(self, x: Floats, of_bins: Floats) -> Floats:
        """w (a y + b x + c) of every voxel, with a, b, c of its bin (n_bins, 3): (V,) float64."""
        slopes = np.empty(len(x))
        of = (self._weights, self._bins, self._starts, of_bins)
        binned_slopes(x, self._y, *of, slopes)
        return slopes

    def _moments(self, x: Floats) -> Floats:
        sums: Floats = moment_sums(
            x, self._y, self._weights, self._bins, self._starts, self._n_bins
        )
        return sums
