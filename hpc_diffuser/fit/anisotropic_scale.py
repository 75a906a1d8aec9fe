"""A scale of the data that varies smoothly with direction, solved for in closed form.

Absorption, or a polarisation that is not wholly corrected, leaves the measured map multiplied by
1 + Σ_k c_k Y_k(direction) of a few harmonics. For any calculated map x the coefficients follow by
linear least squares (variable projection, as `likelihood` has it for scale and background): with
z_k = x Y_k, Y_0 = 1, and both maps less their shells' means, those that minimise

    Σ_shells ω_s Σ_v w (y − k_s Σ_k a_k z_k)²,   c_k = a_k/a_0,

over the working voxels. Of a pooled CC and of a likelihood all shells have ω = k = 1, and the CC is
the largest that there is; of a mean over the shells each is in units of its own variation, with
the scale k_s that x has there. The model is what is multiplied: all that a fit does with its map is
then of the scaled one.
"""

from itertools import combinations_with_replacement

import numpy as np

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.fit.scoring import voxel_weights
from hpc_diffuser.maps.harmonics import laue_harmonics
from hpc_diffuser.maps.likelihood import pseudo_inverse
from hpc_diffuser.maps.target import Target
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.ordered_sums import PlaneOrder

LEAST = 0.1  # that anything is multiplied by


class AnisotropicScale:
    """What a calculated map is multiplied by to agree with a target, on a group of ranks.

    Parameters
    ----------
    target : Target
    rows : (v,) int
        Of the target's voxels, those that this rank holds the calculated map of.
    group : Ranks
    rule : {"shell-mean", "pooled"}
    weights : {"none", "errors"}
    """

    def __init__(self, target: Target, rows: np.ndarray, group: Ranks, rule: str, weights: str):
        own = target.at(rows)
        hkl = own.indices / np.array(own.grid.divisions)
        to_cartesian = fractionalization(own.grid.unit_cell)
        cell = tuple(own.grid.unit_cell)
        self._harmonics = laue_harmonics(hkl @ to_cartesian, own.space_group, cell)
        self._group, self._pooled, self._n_shells = group, rule == "pooled", target.n_shells
        self._work = np.flatnonzero(~own.free)
        planes, place = np.unique(own.indices[self._work, 0], return_inverse=True)
        self._order = PlaneOrder(group, planes)
        self._bins = place * target.n_shells + own.shells()[self._work]
        self._n_bins = len(planes) * target.n_shells
        of_own = voxel_weights(own, weights)
        self._w = np.ones(len(self._work)) if of_own is None else of_own[self._work]
        self._y = own.intensity[self._work].astype(np.float64)

    @property
    def n_harmonics(self) -> int:
        """K: how many the crystal's symmetry has."""
        return self._harmonics.shape[1]

    def factors(self, intensity: np.ndarray) -> np.ndarray:
        """What each voxel of a calculated map (v,) is multiplied by: (v,), on every rank."""
        total = self._order.total(self._sums(intensity[self._work].astype(np.float64)))
        solved = None if total is None else coefficients(total, self._pooled)
        found = self._group.broadcast(solved)
        return np.maximum(1 + self._harmonics @ found, LEAST)

    def _sums(self, x: np.ndarray) -> np.ndarray:
        """Of each plane's shells, as of `coefficients`: (p, n, ·)."""
        columns = [x, *(x * self._harmonics[self._work].T)]
        pairs = combinations_with_replacement(range(len(columns)), 2)
        terms = [
            np.ones_like(x),
            self._y,
            self._y**2,
            *columns,
            *(column * self._y for column in columns),
            *(columns[i] * columns[j] for i, j in pairs),
        ]
        sums = [np.bincount(self._bins, self._w * term, self._n_bins) for term in terms]
        return np.stack(sums, axis=-1).reshape(-1, self._n_shells, len(terms))


def coefficients(sums: np.ndarray, pooled: bool) -> np.ndarray:
    """c_k of the harmonics, from sums over the working voxels of each shell: (K,).

    Parameters
    ----------
    sums : (n, ·) float
        Σw, Σwy, Σwy², Σwz_k, Σwz_ky and Σwz_kz_l, k ≤ l, with k and l from 0 to K.
    pooled : bool
    """
    sums = sums[sums[:, 0] > 0]
    n_columns = _columns_of(sums.shape[1])
    w, wy, wyy = sums[:, :3].T
    wz, wzy = sums[:, 3 : 3 + n_columns], sums[:, 3 + n_columns : 3 + 2 * n_columns]
    gram = np.empty((len(sums), n_columns, n_columns))
    for place, (i, j) in enumerate(combinations_with_replacement(range(n_columns), 2)):
        products = sums[:, 3 + 2 * n_columns + place] - wz[:, i] * wz[:, j] / w
        gram[:, i, j] = gram[:, j, i] = products
    of_y = wzy - wz * (wy / w)[:, None]
    if not pooled:
        varied = np.maximum(wyy - wy**2 / w, 0)
        inverse = np.where(varied > 0, 1 / np.where(varied > 0, varied, 1), 0)
        squares = gram[:, 0, 0]
        scale = np.where(squares > 0, of_y[:, 0] / np.where(squares > 0, squares, 1), 0)
        scale = np.maximum(scale, 0)
        gram = gram * (scale**2 * inverse)[:, None, None]
        of_y = of_y * (scale * inverse)[:, None]
    solved = np.einsum("ij,j->i", pseudo_inverse(gram.sum(axis=0)), of_y.sum(axis=0))
    found: np.ndarray = solved[1:] / solved[0] if solved[0] > 0 else np.zeros(n_columns - 1)
    return found


def _columns_of(n_sums: int) -> int:
    """n of 3 + 2n + n(n+1)/2 sums."""
    return next(n for n in range(1, n_sums) if 3 + 2 * n + n * (n + 1) // 2 == n_sums)
