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

from collections.abc import Iterator
from copy import copy
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.zone_sums import ZoneSums, hessian_of, sums_bytes
from hpc_diffuser.fit.scoring import scored_shells
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import Zones, blocks_of


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
        self._rows = self._scored(target, shells)
        self._slices = [slice(*ends) for ends in pairwise(_starts(shells[self._rows]))]
        self._pooled = rule == "pooled"
        units, unit = np.unique(zones.unit[self._rows], return_inverse=True)
        self._unit = unit.reshape(-1)
        self._neighbours = _renumbered(zones.neighbours, units)
        self._w = self._shares(None if weights is None else weights[self._rows])
        self._x_scale, self._u = self._standardised(calculated[self._rows])
        _, self._t = self._standardised(target.intensity[self._rows])
        self._rho = self._means(self._u, self._t)
        self._derivatives: list[np.ndarray] = []
        self._slopes: list[tuple[np.ndarray, np.ndarray]] = []
        self._second: list[float] = []
        self._along: list[tuple[np.ndarray, float, float]] = []

    def about(self, calculated: np.ndarray) -> "Curvature":
        """The same about another map (V,), without parameters yet: voxels and data are shared."""
        other = copy(self)
        other._x_scale, other._u = self._standardised(calculated[self._rows])
        other._rho = self._means(other._u, self._t)
        other._derivatives, other._slopes, other._second, other._along = [], [], [], []
        return other

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        """A parameter's first and second derivative of the map, (V,) float each.

        Of two parameters the mixed second derivatives count as 0, but for what `add_along` adds.
        """
        du = self.add_slope(first)
        self._derivatives.append(du.astype(np.float32))
        self._second.append(self._bent(second))

    def add_along(self, direction: np.ndarray, move: np.ndarray, second: np.ndarray) -> None:
        """A second derivative along a direction of all parameters, when they are added.

        Of directions v_k that are orthonormal in coordinates x = φ/h, the sum over k of second
        derivatives times v_k v_kᵀ has all second derivatives along them, mixed ones too where the
        v_k are the axes in which they vanish.

        Parameters
        ----------
        direction : (D,) float
            v_k/h.
        move : (D,) float
            v_k h, the change of φ with x.
        second : (V,) float
            Of the map, along x.
        """
        self._along.append((direction, self._bent(second), self._half(move, second)))

    def _half(self, move: np.ndarray, second: np.ndarray) -> float:
        """Half of the part that the shape's own change has in a second derivative (V,)."""
        ddu, change = self._in_units(second[self._rows]), np.zeros(len(self._rows))
        for weight, du in zip(move, self._derivatives, strict=True):
            change += weight * du
        beta = self._means(change, self._u)
        for group, own in zip(self._groups(), self._slices, strict=True):
            change[own] -= beta[group] * self._u[own]
        square = self._means(change, change).sum()
        return float(self._means(ddu, change).sum() / square / 2) if square > 0 else 0.0

    def gauss_newton(self) -> np.ndarray:
        """(D, D) Hessian of what is added so far, without second derivatives of the map."""
        kappa, beta = (np.array(x).reshape(-1, len(self._rho)) for x in self._columns())
        with threadpool_limits(1):
            return hessian_of(self._rho, kappa, beta, self._products())

    def _bent(self, second: np.ndarray) -> float:
        """By how much a second derivative (V,) of the map bends the correlation."""
        ddu = self._in_units(second[self._rows])
        bent = self._means(ddu, self._t) - self._rho * self._means(ddu, self._u)
        return float(bent.mean())

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
        gradient = self.gradient()
        # One BLAS thread: a product has other bits on two.
        with threadpool_limits(1):
            hessian = hessian_of(self._rho, kappa, beta, self._products())
            by_voxel, sums = self._by_zone(kappa, beta)
        hessian -= np.diag(self._second)
        halves = np.zeros(len(hessian))
        for direction, bent, half in self._along:
            hessian -= bent * np.outer(direction, direction)
            halves += half * direction
        rows = zip(self._derivatives, kappa, beta, strict=True)
        pulls = [self._pull(du, k, b) for du, k, b in rows]
        pulls_of_zones = np.array(pulls).reshape(-1, self._n_zones()).T
        sums = sums.along_shapes(halves) if halves.any() else sums
        return Bend(
            gradient, hessian, pulls_of_zones, len(self._rows), by_voxel, sums, self._neighbours
        )

    def _columns(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return [k for k, _ in self._slopes], [b for _, b in self._slopes]

    def _products(self) -> np.ndarray:
        """⟨u̇_i u̇_j⟩ of each group: (g, D, D)."""
        d = len(self._derivatives)
        found = np.zeros((len(self._rho), d, d))
        for group, own in zip(self._groups(), self._slices, strict=True):
            du = np.array([of_one[own] for of_one in self._derivatives], np.float64)
            found[group] += (self._w[own] * du.reshape(d, -1)) @ du.reshape(d, -1).T
        return found

    def _pull(self, du: np.ndarray, kappa: np.ndarray, beta: np.ndarray) -> np.ndarray:
        """By how much each zone pulls at the gradient: (Z,)."""
        pulls = np.zeros(self._n_zones())
        for group, own in zip(self._groups(), self._slices, strict=True):
            d = du[own].astype(np.float64)
            influence = self._influence(own, group, d, kappa[group], beta[group])
            pulls -= np.bincount(self._unit[own], self._w[own] * influence, len(pulls))
        return pulls / len(self._rho)

    def _influence(
        self,
        rows: slice | np.ndarray,
        group: int,
        d: np.ndarray,
        kappa: float | np.ndarray,
        beta: float | np.ndarray,
    ) -> np.ndarray:
        """Of voxels (n,) on ∂ρ/∂φ, by their derivatives d (..., n): (..., n)."""
        u, t, rho = self._u[rows], self._t[rows], self._rho[group]
        half = (u * u + t * t) / 2
        return d * t - kappa * half - beta * (u * t - rho * half) - rho * (d * u - beta * u * u)

    def _by_zone(self, kappa: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, ZoneSums]:
        """What single voxels pull by, squared and summed (D, D); the sums of each zone's part."""
        d, n = len(self._derivatives), len(self._rho)
        by_voxel, found = np.zeros((d, d)), []
        for shell, zone, rows in self._parts():
            group = self._groups()[shell]
            du = np.array([of_one[rows] for of_one in self._derivatives], np.float64).reshape(d, -1)
            slopes = kappa[:, group, None], beta[:, group, None]
            pulls = self._w[rows] * self._influence(rows, group, du, *slopes)
            by_voxel += pulls @ pulls.T / n**2
            maps = np.array([np.ones(len(rows)), self._u[rows], self._t[rows], *du])
            found.append((shell, zone, ((self._w[rows] * maps) @ maps.T).astype(np.float32)))
        shells, zones, sums = (np.array(of_all) for of_all in zip(*found, strict=True))
        return by_voxel, ZoneSums(zones, shells, np.array(self._groups()), sums)

    def _parts(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Of each shell and zone: both, and the voxels' places (n,)."""
        for shell, own in enumerate(self._slices):
            units = self._unit[own]
            order = np.argsort(units, kind="stable")
            for rows in np.split(order, np.flatnonzero(np.diff(units[order])) + 1):
                yield shell, int(units[rows[0]]), rows + own.start

    def _n_zones(self) -> int:
        return int(self._unit.max(initial=-1)) + 1

    def _scored(self, target: Target, shells: np.ndarray) -> np.ndarray:
        """The working voxels that count, by shell."""
        rows = np.flatnonzero(~target.free & scored_shells(target)[shells])
        return rows[np.argsort(shells[rows], kind="stable")]

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


def zone_parts(target: Target) -> int:
    """How many parts of shells the blocks of zones have, whose sums are made at the end."""
    working, shells = ~target.free, target.shells()
    parts = blocks_of(target).unit[working].astype(np.int64) * target.n_shells + shells[working]
    return len(np.unique(parts))


def curvature_kept_bytes(voxels: int, parameters: int) -> list[float]:
    """Bytes of each of the arrays that `Curvature` keeps.

    Parameters
    ----------
    voxels, parameters : int
        How many working voxels, and refined parameters.
    """
    # Of the final map, whose gradient is asked for besides, one array is its own.
    return [8.0 * voxels] * 6 + [4.0 * voxels] * parameters


def curvature_bytes(voxels: int) -> list[float]:
    """The same of what is added: a map, two slopes, two derivatives; two centred copies."""
    return [8.0 * voxels] * 7


def bending_bytes(of_shell: int, parameters: int, parts: int) -> list[list[float]]:
    """The same of what is made at its end: products over the largest shell; sums of zones' parts.

    Parameters
    ----------
    of_shell : int
        Working voxels of that shell.
    parameters, parts : int
        Parts as of `zone_parts`, or more.
    """
    return [[8.0 * of_shell * parameters] * 2, sums_bytes(parts, parameters)]


def _renumbered(neighbours: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Pairs (N, 3) of those units (Z,) that are left, by their places among them."""
    axis, *pair = neighbours.T
    known = np.isin(pair, units).all(axis=0)
    places = [np.searchsorted(units, of_one[known]) for of_one in pair]
    return np.stack([axis[known], *places], axis=1)


def _starts(shells: np.ndarray) -> list[int]:
    """Where each shell's voxels start, of voxels sorted by shell; last, their number."""
    return [*np.unique(shells, return_index=True)[1].tolist(), len(shells)]
