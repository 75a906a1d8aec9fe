"""The objective linearised: its gradient and Gauss-Newton matrix, from the map's slopes.

With x the calculated and y the measured map, each less its shells' means, and C the sums of
products over a shell (or, of the pooled CC, over all), and with the slopes j of x, less their
shells' means,

    κ = C_jy/√(C_xx C_yy),  β = C_jx/C_xx,  gradient −(κ − ρβ),  matrix ρ (C_jj'/C_xx − β β'),

the mean over the shells of each. The notation is that of `curvature`. Of a map that is linear in
the parameters the second derivatives of 1 − ρ are that matrix and products of β with the gradient.
Half of the squared difference of x/√C_xx and y/√C_yy, which is 1 − ρ, too, would have it without
ρ: it is the residual's own bend that is left out there, and with ρ = 0.5 steps half as long as
they should be. The noise of N independent numbers makes the gradient vary by
(1 − ρ²)/N (C_jj'/C_xx − β β').

The bits do not depend on the ranks: sums of shells are added over the planes in their order; and
the matrix, of which there is one for each plane, as integers, whose sum has no order. Its diagonal
is 1 before, so that none exceeds 1 by more than rounding.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.scoring import scored_shells, voxel_weights
from hpc_diffuser.fit.search.linearised import Linearised
from hpc_diffuser.kernels.correlation import moment_sums
from hpc_diffuser.maps.target import Target
from hpc_diffuser.parallel.ordered_sums import PlaneOrder
from hpc_diffuser.scattering.models import Model

_ONE = 2.0**52  # as an integer
_LEAST_RHO = 0.1  # a CC below bends the objective as this would: the other way round is no minimum


class _Shells(NamedTuple):
    """What all ranks need of the sums: of each shell, or (D, n) of each parameter too."""

    share: np.ndarray
    means: np.ndarray
    scale: np.ndarray
    rho: np.ndarray  # (g,): of each CC, not below `_LEAST_RHO`
    change: np.ndarray
    scatter: float


class NormalEquations:
    """Linearises the objective, on the group that holds a model's map.

    Over the working voxels of the shells that the score is over.

    Parameters
    ----------
    target : Target
    model : Model
        Made with the target's indices.
    rule : {"shell-mean", "pooled"}
    weights : {"none", "errors"}

    Attributes
    ----------
    background_alone : None
        χ₀² of a likelihood, which this is not.
    """

    background_alone: float | None = None

    def __init__(self, target: Target, model: Model, rule: str, weights: str):
        own = target.at(model.rows)
        shells = own.shells()
        self._group, self._pooled, self._n_shells = model.group, rule == "pooled", target.n_shells
        self._scored = scored_shells(target)
        self._rows = np.flatnonzero(~own.free & self._scored[shells])
        planes, starts = np.unique(own.indices[self._rows, 0], return_index=True)
        self._starts = np.append(starts, len(self._rows))
        self._order = PlaneOrder(model.group, planes)
        self._bins = shells[self._rows].astype(np.int32)
        self._y = own.intensity[self._rows].astype(np.float64)
        of_own = voxel_weights(own, weights)
        self._w = np.ones(len(self._rows)) if of_own is None else of_own[self._rows]

    def of(
        self, calculated: np.ndarray, columns: Iterable[tuple[int, np.ndarray]], parameters: int
    ) -> Linearised | None:
        """The objective about a map, on the group's root; None on the other ranks.

        Parameters
        ----------
        calculated : (v,) float
            At the model's rows.
        columns : iterable of (int, (v,) float)
            Of each parameter, by its place, the slope of the map.
        parameters : int
            D.
        """
        gradient, beta, shells, matrix = self._about(calculated[self._rows], columns, parameters)
        if matrix is None:
            return None
        weighted = beta * shells.rho
        matrix -= weighted @ beta.T / beta.shape[1]
        scaling = weighted.sum(axis=1) / shells.rho.sum()
        return Linearised(gradient, matrix, scaling, shells.change, shells.scatter)

    def with_data(
        self, columns: Iterable[tuple[int, np.ndarray]], parameters: int
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Products of maps, (D, D), and of each with the data's, (D,), in units of the data's.

        Means over the shells, on the group's root; of maps less their shells' means.
        """
        # Of the data with themselves ρ is 1.
        _, beta, _, matrix = self._about(self._y, columns, parameters)
        return None if matrix is None else (matrix, beta.mean(axis=1))

    def _about(
        self, at_rows: np.ndarray, columns: Iterable[tuple[int, np.ndarray]], parameters: int
    ) -> tuple[np.ndarray, np.ndarray, _Shells, np.ndarray | None]:
        """Gradient, β, and mean ρ C_jj'/C_xx, the last on the root alone."""
        x = at_rows.astype(np.float64)
        slopes = np.empty((parameters, len(x)), np.float32)
        sums = np.zeros((len(self._starts) - 1, parameters, self._n_shells, 4))
        for i, column in columns:
            slopes[i] = column[self._rows]
            sums[:, i, :, :3] = self._moments(slopes[i], self._y)
            sums[:, i, :, 3] = self._moments(slopes[i], x)[..., 2]
        total = self._order.total(sums)
        of_maps = self._order.total(self._of_maps(x))
        first = None
        if total is not None and of_maps is not None:
            first = _first_order(total, of_maps, self._scored, self._of_groups())
        gradient, beta, shells = self._group.broadcast(first)
        products = self._group.sum_as_tree(self._products(slopes, shells))
        matrix = None if products is None else unscaled(products, shells.scale)
        return gradient, beta, shells, matrix

    def _of_groups(self) -> np.ndarray:
        """To which CC each shell belongs, of those that are scored: (n, g) of 0 and 1."""
        n = int(self._scored.sum())
        return np.ones((n, 1)) if self._pooled else np.eye(n)

    def _moments(self, values: np.ndarray, other: np.ndarray) -> np.ndarray:
        return moment_sums(values, other, self._w, self._bins, self._starts, self._n_shells)

    def _of_maps(self, x: np.ndarray) -> np.ndarray:
        """Σw, Σwx, Σwy, Σwxx, Σwyy, Σwxy of each plane's shells: (p, n, 6)."""
        w = self._moments(np.ones_like(x), x)[..., 0]
        wx, wxx, wxy = np.moveaxis(self._moments(x, self._y), -1, 0)
        wy, wyy, _ = np.moveaxis(self._moments(self._y, x), -1, 0)
        return np.stack([w, wx, wy, wxx, wyy, wxy], axis=-1)

    def _products(self, slopes: np.ndarray, shells: _Shells) -> np.ndarray:
        """Σ w j j'/C_xx over this rank's planes, (D, D) int, of slopes that are scaled."""

        def centred(own: slice) -> np.ndarray:
            bins = self._bins[own]
            found = slopes[:, own] - shells.means[:, bins]
            found *= np.sqrt(self._w[own] * shells.share[bins])
            found *= shells.scale[:, None]
            return found

        return summed_products(centred, self._starts, len(slopes))


def summed_products(
    of_plane: Callable[[slice], np.ndarray], starts: np.ndarray, parameters: int
) -> np.ndarray:
    """Σ r r' over this rank's planes, (D, D) int, of r (D, v) whose sum of squares is at most 1."""
    total = np.zeros((parameters, parameters), np.int64)
    # One BLAS thread: a product has other bits on two.
    with threadpool_limits(1):
        for start, end in pairwise(starts):
            values = of_plane(slice(start, end))
            total += np.rint(values @ values.T * _ONE).astype(np.int64)
    return total


def unscaled(products: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The matrix from the sum of `summed_products` over all ranks, of r that were scaled (D,)."""
    inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)
    matrix: np.ndarray = products / _ONE * np.outer(inverse, inverse)
    return matrix


def _first_order(
    of_slopes: np.ndarray, of_maps: np.ndarray, scored: np.ndarray, of_groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, _Shells]:
    """The gradient (D,), β (D, g), and what the matrix is made with.

    Parameters
    ----------
    of_slopes : (D, n, 4) float
        Σwj, Σwjj, Σwjy, Σwjx.
    of_maps : (n, 6) float
    scored : (n,) bool
    of_groups : (n, g) float
    """
    w, wx, wy = of_maps[scored, :3].T
    wj, wjj, wjy, wjx = np.moveaxis(of_slopes[:, scored], -1, 0)
    cxx, cyy, cxy = (of_groups.T @ _centred_squares(of_maps[scored])).T
    cjj, cjy, cjx = (c @ of_groups for c in (wjj - wj**2 / w, wjy - wj * wy / w, wjx - wj * wx / w))
    inverse, norm = _inverse(cxx), _inverse(np.sqrt(cxx * cyy))
    kappa, beta = cjy * norm, cjx * inverse
    gradient = -(kappa - cxy * norm * beta).mean(axis=1)
    rho = np.maximum(cxy * norm, _LEAST_RHO)
    share, means = np.zeros(len(scored)), np.zeros((len(wj), len(scored)))
    share[scored] = of_groups @ (rho * inverse) / len(inverse)
    means[:, scored] = wj / w
    change = np.maximum((rho * cjj * inverse).mean(axis=1), 0.0)
    scatter = float(np.maximum(1 - rho**2, 0.0).sum() / rho.sum())
    shells = _Shells(share, means, _inverse(np.sqrt(change)), rho, change, scatter)
    return gradient, beta, shells


def _centred_squares(of_maps: np.ndarray) -> np.ndarray:
    """C_xx, C_yy and C_xy of shells, from their sums (n, 6): (n, 3)."""
    w, wx, wy, wxx, wyy, wxy = of_maps.T
    squares = np.maximum([wxx - wx**2 / w, wyy - wy**2 / w], 0.0)
    return np.stack([*squares, wxy - wx * wy / w], axis=1)


def _inverse(values: np.ndarray) -> np.ndarray:
    """1 over each; 0 of what is 0."""
    return np.where(values > 0, 1 / np.where(values > 0, values, 1.0), 0.0)


def kept_bytes(voxels: int, parameters: int) -> list[float]:
    """Bytes of each array of `NormalEquations`, at so many working voxels of this rank."""
    return [8.0 * voxels] * 4 + [4.0 * voxels, 4.0 * voxels * parameters]


def plane_bytes(voxels: int, parameters: int) -> list[float]:
    """The same of a plane of so many voxels whose matrix is made."""
    return [8.0 * voxels * parameters] * 2 + [8.0 * parameters**2] * 4
