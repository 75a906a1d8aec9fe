"""How the objective bends about an answer, and how each zone of the data pulls at it.

With x the calculated and y the measured map, each less its shells' means, the objective is
1 − ρ, ρ = ⟨x, y⟩ / |x||y| (the mean of those of the shells, or one for all). Of a parameter φ
with first derivatives ẋ and second ones ẍ of the map, and u, t, u̇, ü the maps y, ẋ, ẍ in units of
the standard deviations, u = x/σ_x, t = y/σ_y, u̇ = ẋ/σ_x,

    κ = ⟨u̇ t⟩,  β = ⟨u̇ u⟩,  ∂ρ/∂φ_i = κ_i − ρ β_i,
    ∂²ρ/∂φ_i∂φ_j = −κ_i β_j − κ_j β_i + ρ (3 β_i β_j − ⟨u̇_i u̇_j⟩) + ⟨ü_ij t⟩ − ρ ⟨ü_ij u⟩.

The influence of a voxel on ∂ρ/∂φ, with the part that it has in means and standard deviations, is

    u̇ t − κ (u² + t²)/2 − β (u t − ρ (u² + t²)/2) − ρ (u̇ u − β u²),

which is (u̇ − βu)(t − ρu), residual times derivative, where the derivative vanishes.
"""

from copy import copy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.scoring import scored_shells
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import Zones

LEAST_EIGENVALUE = 1e-6  # of a Hessian of diagonal 1: below, a direction is flat


@dataclass(frozen=True)
class Bend:
    """The objective about a point, in D parameters.

    Attributes
    ----------
    gradient : (D,) float
    hessian : (D, D) float
    pulls : (Z, D) float
        Of each zone, by how much the gradient changes where the zone counts twice as much.
    """

    gradient: np.ndarray
    hessian: np.ndarray
    pulls: np.ndarray

    def newton_step(self) -> np.ndarray:
        """(D,) from here to the minimum, if the objective were quadratic."""
        return -np.linalg.solve(self.hessian, self.gradient)

    def covariance(self) -> np.ndarray:
        """(D, D) of the minimum, from one set of zones to another: H⁻¹ (Σ g gᵀ) H⁻¹.

        Zones that scatter, each with all its voxels, as independent draws; whether or not the
        model is right (Huber 1967; White 1980, Econometrica 48, 817; by clusters, Liang & Zeger
        1986, Biometrika 73, 13).
        """
        inverse = np.linalg.inv(self.hessian)
        n_zones = len(self.pulls)
        meat = self.pulls.T @ self.pulls * n_zones / max(n_zones - 1, 1)
        return inverse @ meat @ inverse.T

    def flat_direction(self) -> np.ndarray | None:
        """The direction (D,) in which the objective does not rise; None at a minimum."""
        diagonal = np.diag(self.hessian)
        if (diagonal <= 0).any():
            return (diagonal <= 0).astype(float)
        scale = 1 / np.sqrt(diagonal)
        values, directions = np.linalg.eigh(self.hessian * np.outer(scale, scale))
        return directions[:, 0] if values[0] < LEAST_EIGENVALUE else None

    def of(self, some: np.ndarray) -> "Bend":
        """With some of the parameters, by their places (d,), only; the others are held."""
        return Bend(self.gradient[some], self.hessian[np.ix_(some, some)], self.pulls[:, some])


class Curvature:
    """Collects the derivatives of a calculated map, one parameter after the other.

    Over the working voxels of the shells that the score is over.

    Parameters
    ----------
    target : Target
    calculated : (V,) float
    zones : Zones
        Of the target.
    rule : {"shell-mean", "pooled"}
    weights : (V,) float, or None for 1
    """

    def __init__(
        self,
        target: Target,
        calculated: np.ndarray,
        zones: Zones,
        rule: str,
        weights: np.ndarray | None = None,
    ):
        shells = target.shells()
        self._rows = _scored_rows(target, shells)
        self._slices = [slice(*ends) for ends in pairwise(_starts(shells[self._rows]))]
        self._pooled = rule == "pooled"
        self._unit = np.unique(zones.unit[self._rows], return_inverse=True)[1].reshape(-1)
        self._w = self._shares(None if weights is None else weights[self._rows])
        self._x_scale, self._u = self._standardised(calculated[self._rows])
        _, self._t = self._standardised(target.intensity[self._rows])
        self._rho = self._means(self._u, self._t)
        self._derivatives: list[np.ndarray] = []
        self._slopes: list[tuple[np.ndarray, np.ndarray]] = []
        self._second: list[float] = []

    def about(self, calculated: np.ndarray) -> "Curvature":
        """The same about another map (V,), without parameters yet: voxels and data are shared."""
        other = copy(self)
        other._x_scale, other._u = self._standardised(calculated[self._rows])
        other._rho = self._means(other._u, self._t)
        other._derivatives, other._slopes, other._second = [], [], []
        return other

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        """A parameter's first and second derivative of the map, (V,) float each.

        Of two parameters the mixed second derivatives count as 0.
        """
        du = self.add_slope(first)
        self._derivatives.append(du.astype(np.float32))
        ddu = self._in_units(second[self._rows])
        bent = self._means(ddu, self._t) - self._rho * self._means(ddu, self._u)
        self._second.append(float(bent.mean()))

    def add_slope(self, first: np.ndarray) -> np.ndarray:
        """Its first derivative alone, (V,), where the gradient is all that is asked for.

        Returns the same in the map's units at the voxels that are scored.
        """
        du = self._in_units(first[self._rows])
        self._slopes.append((self._means(du, self._t), self._means(du, self._u)))
        return du

    def gradient(self) -> np.ndarray:
        """Of the objective, in all parameters that were added: (D,)."""
        kappa, beta = (np.array(x).reshape(-1, len(self._rho)) for x in self._columns())
        return -(kappa - self._rho * beta).mean(axis=1)

    def bend(self) -> Bend:
        """The objective about the map, in all parameters that were added."""
        kappa, beta = (np.array(x).reshape(-1, len(self._rho)) for x in self._columns())
        rho, gradient = self._rho, self.gradient()
        crossed = np.einsum("ig,jg->ijg", kappa, beta)
        crossed = rho * (3 * np.einsum("ig,jg->ijg", beta, beta) - self._products()) - (
            crossed + crossed.transpose(1, 0, 2)
        )
        hessian = -crossed.mean(axis=-1) - np.diag(self._second)
        rows = zip(self._derivatives, kappa, beta, strict=True)
        pulls = [self._pull(du, k, b) for du, k, b in rows]
        n_zones = int(self._unit.max(initial=-1)) + 1
        return Bend(gradient, hessian, np.array(pulls).reshape(-1, n_zones).T)

    def _columns(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return [k for k, _ in self._slopes], [b for _, b in self._slopes]

    def _products(self) -> np.ndarray:
        """⟨u̇_i u̇_j⟩ of each group: (D, D, g)."""
        d = len(self._derivatives)
        found = np.zeros((d, d, len(self._rho)))
        # One BLAS thread: a product has other bits on two.
        with threadpool_limits(1):
            for group, own in zip(self._groups(), self._slices, strict=True):
                du = np.array([of_one[own] for of_one in self._derivatives], np.float64)
                found[:, :, group] += (self._w[own] * du.reshape(d, -1)) @ du.reshape(d, -1).T
        return found

    def _pull(self, du: np.ndarray, kappa: np.ndarray, beta: np.ndarray) -> np.ndarray:
        """By how much each zone pulls at the gradient: (Z,)."""
        pulls = np.zeros(int(self._unit.max(initial=-1)) + 1)
        for group, own in zip(self._groups(), self._slices, strict=True):
            u, t, d = self._u[own], self._t[own], du[own].astype(np.float64)
            k, b, rho = kappa[group], beta[group], self._rho[group]
            half = (u * u + t * t) / 2
            influence = d * t - k * half - b * (u * t - rho * half) - rho * (d * u - b * u * u)
            pulls -= np.bincount(self._unit[own], self._w[own] * influence, len(pulls))
        return pulls / len(self._rho)

    def _groups(self) -> list[int]:
        """To which CC each shell belongs: its own, or the only one."""
        return [0 if self._pooled else i for i in range(len(self._slices))]

    def _n_groups(self) -> int:
        return 1 if self._pooled else len(self._slices)

    def _shares(self, weights: np.ndarray | None) -> np.ndarray:
        """Each voxel's part of its group: weights that are 1 in all."""
        w = np.ones(len(self._rows)) if weights is None else weights.astype(np.float64)
        total = np.zeros(self._n_groups())
        for group, own in zip(self._groups(), self._slices, strict=True):
            total[group] += w[own].sum()
        for group, own in zip(self._groups(), self._slices, strict=True):
            w[own] /= total[group]
        return w

    def _means(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Weighted mean of a product in each group: (g,)."""
        found = np.zeros(self._n_groups())
        for group, own in zip(self._groups(), self._slices, strict=True):
            found[group] += (self._w[own] * one[own] * other[own]).sum()
        return found

    def _centred(self, values: np.ndarray) -> np.ndarray:
        """Less each shell's mean."""
        centred = values.astype(np.float64)
        for own in self._slices:
            w = self._w[own]
            centred[own] -= (w * centred[own]).sum() / w.sum()
        return centred

    def _standardised(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviation of each group (g,), and the centred values in its units."""
        centred = self._centred(values)
        deviation = np.sqrt(self._means(centred, centred))
        for group, own in zip(self._groups(), self._slices, strict=True):
            centred[own] /= deviation[group]
        return deviation, centred

    def _in_units(self, values: np.ndarray) -> np.ndarray:
        """Centred, in units of the calculated map's standard deviation."""
        centred = self._centred(values)
        for group, own in zip(self._groups(), self._slices, strict=True):
            centred[own] /= self._x_scale[group]
        return centred


def curvature_kept_bytes(voxels: int, parameters: int) -> list[float]:
    """Bytes of each of the arrays that `Curvature` keeps.

    Parameters
    ----------
    voxels, parameters : int
        How many working voxels, and how many refined parameters.
    """
    # Of the final map, whose gradient is asked for besides, one array is its own.
    return [8.0 * voxels] * 6 + [4.0 * voxels] * parameters


def curvature_bytes(voxels: int) -> list[float]:
    """The same of what is added: a map, two slopes, two derivatives; two centred copies."""
    return [8.0 * voxels] * 7


def _scored_rows(target: Target, shells: np.ndarray) -> np.ndarray:
    """The working voxels that count, by shell."""
    rows = np.flatnonzero(~target.free & scored_shells(target)[shells])
    return rows[np.argsort(shells[rows], kind="stable")]


def _starts(shells: np.ndarray) -> list[int]:
    """Where each shell's voxels start, of voxels sorted by shell; last, their number."""
    return [*np.unique(shells, return_index=True)[1].tolist(), len(shells)]
