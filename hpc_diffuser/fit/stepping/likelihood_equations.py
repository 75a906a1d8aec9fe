"""A likelihood linearised: gradient and Gauss-Newton matrix of χ²/χ₀², from the map's slopes.

Scale and background are solved for, and their part taken out of every slope: see
`maps.likelihood`. The bits do not depend on the ranks, as of `normal_equations`.
"""

from collections.abc import Iterable

import numpy as np

from hpc_diffuser.fit.search.linearised import Linearised
from hpc_diffuser.fit.stepping.normal_equations import summed_products, unscaled
from hpc_diffuser.kernels.correlation import moment_sums
from hpc_diffuser.maps.likelihood import (
    RadialSums,
    Slopes,
    background_knots,
    between_knots,
    first_order,
    left_of,
    standard_deviations,
)
from hpc_diffuser.maps.target import Target
from hpc_diffuser.parallel.ordered_sums import PlaneOrder
from hpc_diffuser.scattering.models import Model


class LikelihoodEquations:
    """Linearises χ²/χ₀² over the working voxels, on the group that holds a model's map.

    Parameters
    ----------
    target : Target
    model : Model
        Made with the target's indices.
    knots : int
        Of the background.

    Attributes
    ----------
    background_alone : float or None
        χ₀², on the group's root, once `of` was called.
    """

    background_alone: float | None = None

    def __init__(self, target: Target, model: Model, knots: int):
        own = target.at(model.rows)
        self._group, self._rows = model.group, np.flatnonzero(~own.free)
        planes, starts = np.unique(own.indices[self._rows, 0], return_index=True)
        self._starts = np.append(starts, len(self._rows))
        self._order = PlaneOrder(model.group, planes)
        inverse_d = np.sqrt(own.grid.inverse_d_squared(own.indices[self._rows]))
        at = background_knots(target.shell_edges, knots)
        place, self._part = between_knots(inverse_d, at)
        self._place, self._n_bins = place.astype(np.int32), knots - 1
        sigma = standard_deviations(target)[model.rows][self._rows]
        self._w = 1 / sigma.astype(np.float64) ** 2
        self._y = own.intensity[self._rows].astype(np.float64)
        self._sums = RadialSums(
            self._y, self._w, self._part, self._place, self._starts, self._n_bins
        )

    def of(
        self, calculated: np.ndarray, columns: Iterable[tuple[int, np.ndarray]], parameters: int
    ) -> Linearised | None:
        """As of `NormalEquations`."""
        x = calculated[self._rows].astype(np.float64)
        slopes = np.empty((parameters, len(x)), np.float32)
        sums = np.zeros((len(self._starts) - 1, parameters, self._n_bins, 5))
        for i, column in columns:
            slopes[i] = column[self._rows]
            sums[:, i] = self._of_slope(slopes[i], x)
        of_slopes, of_maps = self._order.total(sums), self._order.total(self._sums.of(x))
        first = None
        if of_slopes is not None and of_maps is not None:
            first = first_order(of_maps, of_slopes)
        found: Slopes = self._group.broadcast(first)
        scale = np.where(found.square > 0, 1 / np.sqrt(np.maximum(found.square, 1e-300)), 0.0)
        products = self._group.sum_as_tree(self._products(slopes, x, found, scale))
        if products is None:
            return None
        self.background_alone = found.background_alone
        return Linearised(
            found.gradient,
            found.factor * unscaled(products, scale),
            found.of_map,
            found.factor * found.centred,
            2 * found.objective,
        )

    def _of_slope(self, slope: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Σwj, Σwjt, Σwj², Σwjy, Σwjx of each plane between the knots: (p, K−1, 5)."""
        wj, wjj, wjy = np.moveaxis(self._moments(slope, self._y), -1, 0)
        wjt, wjx = (self._moments(slope, other)[..., 2] for other in (self._part, x))
        return np.stack([wj, wjt, wjj, wjy, wjx], axis=-1)

    def _moments(self, values: np.ndarray, other: np.ndarray) -> np.ndarray:
        return moment_sums(values, other, self._w, self._place, self._starts, self._n_bins)

    def _products(
        self, slopes: np.ndarray, x: np.ndarray, of: Slopes, scale: np.ndarray
    ) -> np.ndarray:
        def left(own: slice) -> np.ndarray:
            place, part = self._place[own], self._part[own]
            found = left_of(slopes[:, own], of, x[own], place, part)
            return found * np.sqrt(self._w[own]) * scale[:, None]

        return summed_products(left, self._starts, len(slopes))


def more_kept_bytes(voxels: int) -> list[float]:
    """Bytes of each array that `LikelihoodEquations` keeps more than `NormalEquations`."""
    return [8.0 * voxels, 8.0 * voxels, 4.0 * voxels]


def more_plane_bytes(voxels: int, parameters: int) -> list[float]:
    """The same of a plane of so many voxels: backgrounds at its voxels, and what is left."""
    return [8.0 * voxels * parameters] * 3
