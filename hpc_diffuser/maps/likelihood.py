"""How far a calculated map is from the measured one in standard errors: χ², scaled and levelled.

    χ² = Σ_v w_v (y_v − k x_v − b(s_v))²,   w = 1/σ²,   b(s) = Σ_j b_j φ_j(s),

with a scale k ≥ 0 and a background b that is linear in s = 1/d between K knots: φ_j is 1 at knot
j and 0 at the others. For any calculated map x both are solved for by linear least squares
(variable projection: Golub & Pereyra 1973), so that χ² is a function of the model alone:

    S_uv = Σ w u v − (Σ w φ u)ᵀ G⁺ (Σ w φ v),   G = Σ w φ φᵀ,
    χ₀² = S_yy,   k = max(0, S_xy / S_xx),   χ² = χ₀² − 2 k S_xy + k² S_xx.

χ₀² is what the background alone leaves. Of a slope j = ∂x/∂φ the objective χ²/χ₀² has

    gradient −2k/χ₀² Σ w j (y − k x − b),   Gauss-Newton matrix 2k²/χ₀² Σ w j⊥ j'⊥,

where j⊥ is what x and the background cannot make up for (Kaufman 1975). Everything comes from
sums over voxels, which are made plane by plane and added in the order of the planes, whichever
ranks hold them.
"""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.kernels.correlation import moment_sums
from hpc_diffuser.maps.target import Target
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

N_RADIAL_SUMS = 10  # Σw, Σwt, Σwt², Σwy, Σwyt, Σwy², Σwx, Σwx², Σwxy, Σwxt
_RANK = 1e-10  # of a matrix of diagonal 1: eigenvalues below are of no voxels


@dataclass(frozen=True)
class LikelihoodFit:
    """A calculated map, scaled and on a background, beside the measured one.

    Attributes
    ----------
    chi_squared, free_chi_squared : float
        Over the working and the free voxels, both with the scale and background of the working.
    background_alone : float
        χ₀² of the working voxels: without the calculated map.
    voxels, free_voxels : int
    scale : float
        Measured unit per e²; 0 where the maps do not agree at all.
    background : (K,) float
        At the knots, in the measured unit.
    """

    chi_squared: float
    free_chi_squared: float
    background_alone: float
    voxels: int
    free_voxels: int
    scale: float
    background: Floats

    @property
    def objective(self) -> float:
        """χ²/χ₀², from 1, where the model explains nothing, to 0: what a search minimises."""
        return self.chi_squared / self.background_alone

    @property
    def work(self) -> float:
        """χ² for each working voxel."""
        return self.chi_squared / self.voxels

    @property
    def free(self) -> float:
        """The same of the free ones; NaN without any."""
        return self.free_chi_squared / self.free_voxels if self.free_voxels else float("nan")


def background_knots(edges: Floats, n_knots: int) -> Floats:
    """Where the background bends: (K,) Å⁻¹, equally far apart from end to end of the shells."""
    return np.linspace(edges[0], edges[-1], n_knots)


def between_knots(inverse_d: Floats, knots: Floats) -> tuple[Integers, Floats]:
    """Between which knots voxels at 1/d (V,) lie, from 0, and how far from the lower: 0 to 1.

    Voxels beyond the ends count as at them.
    """
    place = np.clip(np.searchsorted(knots, inverse_d, side="right") - 1, 0, len(knots) - 2)
    part = (inverse_d - knots[place]) / (knots[place + 1] - knots[place])
    return place, np.clip(part, 0.0, 1.0)


class RadialSums:
    """The ten sums of χ², plane by plane, of many maps x with one map y.

    Parameters
    ----------
    y : (V,) float
    weights : (V,) float
    part : (V,) float
        t of `between_knots`.
    bins : (V,) int
        Each voxel's bin in its plane.
    starts : (P+1,) int
        Where the voxels of each plane start.
    n_bins : int
    """

    def __init__(
        self,
        y: Floats,
        weights: Floats,
        part: Floats,
        bins: Integers,
        starts: Integers,
        n_bins: int,
    ):
        self._y, self._weights, self._t = y, weights, part.astype(y.dtype)
        self._bins, self._starts, self._n_bins = bins.astype(np.int32), starts, n_bins
        w, _, wt = np.moveaxis(self._moments(np.ones_like(y), self._t), -1, 0)
        _, wtt, _ = np.moveaxis(self._moments(self._t, self._t), -1, 0)
        wy, wyy, wyt = np.moveaxis(self._moments(y, self._t), -1, 0)
        self._of_data = [w, wt, wtt, wy, wyt, wyy]

    def of(self, x: Floats) -> Floats:
        """The sums of a map (V,): (P, n_bins, 10) float."""
        wx, wxx, wxy = np.moveaxis(self._moments(x, self._y), -1, 0)
        wxt = self._moments(x, self._t)[..., 2]
        return np.stack([*self._of_data, wx, wxx, wxy, wxt], axis=-1)

    def slopes(self, x: Floats, found: LikelihoodFit) -> Floats:
        """The objective's derivative by the calculated map, (V,) float64; 0 at free voxels.

        Scale k and background b are where χ² is least: −2 k w (y − k x − b)/χ₀².
        """
        last = len(found.background) - 1
        work = self._bins < last
        place = np.where(work, self._bins, 0)
        low, high = found.background[place], found.background[place + 1]
        left = self._y - found.scale * x - low - self._t * (high - low)
        of_voxels = self._weights * left * (-2 * found.scale / found.background_alone)
        return np.where(work, of_voxels, 0.0)

    def _moments(self, x: Floats, other: Floats) -> Floats:
        of_planes: Floats = moment_sums(
            x, other, self._weights, self._bins, self._starts, self._n_bins
        )
        return of_planes


def fitted(work: Floats, free: Floats, counts: tuple[int, int]) -> LikelihoodFit:
    """Scale, background and χ² from the sums between neighbouring knots.

    Parameters
    ----------
    work, free : (K−1, 10) float
        As of `RadialSums`.
    counts : (int, int)
        Working and free voxels.
    """
    gram, of_y, of_x, (yy, xx, xy) = _normal_sums(work)
    inverse = pseudo_inverse(gram)
    y_alone, x_alone = _times(inverse, of_y), _times(inverse, of_x)
    s_yy, s_xx, s_xy = (
        float(total - (one * other).sum())
        for total, one, other in ((yy, of_y, y_alone), (xx, of_x, x_alone), (xy, of_x, y_alone))
    )
    # What rounding leaves of a map without variation is none.
    scale = max(0.0, s_xy / s_xx) if s_xx > 1e-13 * xx else 0.0
    background = y_alone - scale * x_alone
    return LikelihoodFit(
        chi_squared=max(s_yy - scale * (2 * s_xy - scale * s_xx), 0.0),
        free_chi_squared=_chi_squared(free, scale, background),
        background_alone=s_yy,
        voxels=counts[0],
        free_voxels=counts[1],
        scale=scale,
        background=background,
    )


def _chi_squared(sums: Floats, scale: float, background: Floats) -> float:
    """Of a given scale and background, as its square multiplied out."""
    gram, of_y, of_x, (yy, xx, xy) = _normal_sums(sums)
    of_both = _times(gram, background) - 2 * (of_y - scale * of_x)
    total = yy + scale * (scale * xx - 2 * xy) + (background * of_both).sum()
    return max(float(total), 0.0)


def _normal_sums(sums: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """G (K, K), Σ w φ y and Σ w φ x (K,), and Σ w y², Σ w x², Σ w x y (3,)."""
    w, wt, wtt, wy, wyt, wyy, wx, wxx, wxy, wxt = sums.T
    n = len(sums) + 1
    gram, of_y, of_x = np.zeros((n, n)), np.zeros(n), np.zeros(n)
    low, high = np.arange(n - 1), np.arange(1, n)
    gram[low, low] += w - 2 * wt + wtt
    gram[high, high] += wtt
    gram[low, high] = gram[high, low] = wt - wtt
    for into, whole, part in ((of_y, wy, wyt), (of_x, wx, wxt)):
        into[low] += whole - part
        into[high] += part
    return gram, of_y, of_x, np.array([wyy.sum(), wxx.sum(), wxy.sum()])


@dataclass(frozen=True)
class Slopes:
    """The objective to first order in D parameters, and what is left of their slopes.

    Attributes
    ----------
    gradient : (D,) float
    factor : float
        2k²/χ₀².
    of_map : (D,) float
    of_knots : (D, K) float
        j⊥ is j less so many times the map and a background of these values.
    square, centred : (D,) float
        Σ w j², and what a background leaves of it.
    background_alone, objective : float
        χ₀², and χ²/χ₀².
    """

    gradient: Floats
    factor: float
    of_map: Floats
    of_knots: Floats
    square: Floats
    centred: Floats
    background_alone: float
    objective: float


def first_order(of_maps: Floats, of_slopes: Floats) -> Slopes:
    """The objective about a map, from sums over the working voxels between neighbouring knots.

    Parameters
    ----------
    of_maps : (K−1, 10) float
        As of `RadialSums`.
    of_slopes : (D, K−1, 5) float
        Σwj, Σwjt, Σwj², Σwjy, Σwjx.
    """
    fit = fitted(of_maps, np.zeros_like(of_maps), (1, 0))
    gram, _, of_x, (_, xx, _) = _normal_sums(of_maps)
    basis = np.block([[np.array([[xx]]), of_x[None]], [of_x[:, None], gram]])
    wj, wjt, wjj, wjy, wjx = np.moveaxis(of_slopes, -1, 0)
    of_knots = np.zeros((len(wj), len(gram)))
    of_knots[:, :-1] += wj - wjt
    of_knots[:, 1:] += wjt
    on_basis = np.column_stack([wjx.sum(axis=1), of_knots])
    with_background = (of_knots * fit.background).sum(axis=1)
    pull = wjy.sum(axis=1) - fit.scale * on_basis[:, 0] - with_background
    left = np.einsum("ij,jk->ik", on_basis, pseudo_inverse(basis))
    by_background = np.einsum("ij,jk,ik->i", of_knots, pseudo_inverse(gram), of_knots)
    return Slopes(
        gradient=-2 * fit.scale / fit.background_alone * pull,
        factor=2 * fit.scale**2 / fit.background_alone,
        of_map=left[:, 0],
        of_knots=left[:, 1:],
        square=wjj.sum(axis=1),
        centred=np.maximum(wjj.sum(axis=1) - by_background, 0.0),
        background_alone=fit.background_alone,
        objective=fit.objective,
    )


def left_of(slopes: Floats, of: Slopes, x: Floats, place: Integers, part: Floats) -> Floats:
    """j⊥ (D, v) of slopes (D, v), with the map and `between_knots` at the same voxels."""
    low, high = of.of_knots[:, place], of.of_knots[:, place + 1]
    remaining: Floats = slopes - of.of_map[:, None] * x - low - part * (high - low)
    return remaining


def pseudo_inverse(matrix: Floats) -> Floats:
    """Of a symmetric, positive semidefinite matrix, of which rows may be 0: no voxels there."""
    diagonal = np.diag(matrix)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1)), 0)
    # One BLAS thread: its bits would be others on two.
    with threadpool_limits(1):
        values, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
    inverse = np.where(values > _RANK, 1 / np.where(values > _RANK, values, 1), 0)
    found: Floats = np.einsum("ij,j,kj->ik", vectors, inverse, vectors) * np.outer(scale, scale)
    return found


def _times(matrix: Floats, vector: Floats) -> Floats:
    product: Floats = (matrix * vector).sum(axis=1)
    return product


def standard_deviations(target: Target, where: str = "the target") -> Floats:
    """σ of a target's intensities (V,): the map's errors, else from its half-maps, by shell.

    The merged map is the mean of its halves, x and y: σ² = ⟨(x − y)²⟩ / 4, less the mean
    difference in the shell, which a background is blind to.

    Parameters
    ----------
    target : Target
    where : str
        For the message: the file.

    Raises
    ------
    InputError
        Without either, and where σ is not above 0: how many voxels.
    """
    if target.errors is not None:
        wrong = int((~(target.errors > 0)).sum())
        if wrong:
            raise InputError(
                f"{where}: σ is 0, negative or no number at {wrong} of {len(target.errors)} "
                "voxels: expected intensity_errors above 0; correct the map's errors, or use "
                'target.score = "shell-mean"'
            )
        return target.errors
    if target.half_sums is None:
        raise InputError(
            f'target.score = "likelihood": {where} has neither intensity_errors nor half-maps, '
            "which say how large σ is: make the target from a map with one of them, or use "
            'score = "shell-mean"'
        )
    return _of_halves(target, target.half_sums.sum(axis=0), where)


def _of_halves(target: Target, sums: Floats, where: str) -> Floats:
    n, x, y, xx, yy, xy = sums.T
    count = np.maximum(n, 1)
    variance = ((xx + yy - 2 * xy) - (x - y) ** 2 / count) / count / 4
    shells = target.shells()
    # What rounding leaves of two equal halves is no error.
    known = variance > 1e-13 * (xx + yy) / count
    wrong = int((~known[shells]).sum())
    if wrong:
        raise InputError(
            f"{where}: σ from the half-maps is 0 at {wrong} of {len(shells)} voxels, in whose "
            "shells the halves are equal, or not both measured: expected independent half-maps; "
            'correct the map, or use target.score = "shell-mean"'
        )
    found: Floats = np.sqrt(variance)[shells]
    return found
