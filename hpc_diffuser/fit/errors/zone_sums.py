"""The score of zones drawn anew, from sums of products of maps zone by zone.

The notation, and the derivatives of 1 − ρ, are those of `curvature`.
"""

from dataclasses import dataclass, replace

import numpy as np

_MAPS = 3  # of whose products sums are made, before the derivatives: 1, u, t
_SHELLS_OF_A_ZONE = 4  # at most about so many have a part of it


def hessian_of(
    rho: np.ndarray, kappa: np.ndarray, beta: np.ndarray, products: np.ndarray
) -> np.ndarray:
    """(D, D) of 1 − mean ρ, without the map's second derivatives; see above.

    Parameters
    ----------
    rho : (g,) float
    kappa, beta : (D, g) float
    products : (g, D, D) float
        ⟨u̇_i u̇_j⟩.
    """
    crossed = kappa @ beta.T
    bent = np.tensordot(rho, products, 1) - 3 * (rho * beta) @ beta.T
    hessian: np.ndarray = (crossed + crossed.T + bent) / len(rho)
    return hessian


def parabola_at(step: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (D,) and Hessian (D, D) of 1 − mean ρ where u has become u + Σ step_i u̇_i.

    Parameters
    ----------
    step : (D,) float
    moments : (g, 2 + D, 2 + D) float
        See `ZoneSums.moments`.
    """
    products = moments[:, 2:, 2:]
    with_u = (moments[:, 2:, 0] + products @ step).T
    variance = moments[:, 0, 0] + (moments[:, 0, 2:] + with_u.T) @ step
    covariance = moments[:, 0, 1] + moments[:, 2:, 1] @ step
    both = np.sqrt(variance * moments[:, 1, 1])
    rho, kappa, beta = covariance / both, moments[:, 2:, 1].T / both, with_u / variance
    gradient = -(kappa - rho * beta).mean(axis=1)
    return gradient, hessian_of(rho, kappa, beta, products / variance[:, None, None])


@dataclass(frozen=True)
class ZoneSums:
    """Of each zone's part of each shell, the sums that gradient and Hessian are made of.

    Attributes
    ----------
    zones, shells : (P,) int
        Of each part.
    groups : (S,) int
        To which CC each shell belongs.
    sums : (P, 3 + D, 3 + D) float32
        Σ w of the products of each two of 1, u, t and the derivatives u̇.
    """

    zones: np.ndarray
    shells: np.ndarray
    groups: np.ndarray
    sums: np.ndarray

    def moments(self, counts: np.ndarray) -> np.ndarray:
        """Σ w of products of u, t and u̇, less shells' means, by CC: (g, 2 + D, 2 + D).

        Parameters
        ----------
        counts : (Z,) float
            How often each zone counts.
        """
        size = self.sums.shape[-1]
        found = np.zeros((int(self.groups.max()) + 1, size - 1, size - 1))
        for shell, group in enumerate(self.groups):
            own = self.shells == shell
            w = counts[self.zones[own]].astype(np.float32)
            total = (w @ self.sums[own].reshape(len(w), -1)).reshape(size, size).astype(np.float64)
            if total[0, 0] > 0:
                found[group] += total[1:, 1:] - np.outer(total[0, 1:], total[0, 1:]) / total[0, 0]
        return found[(found[:, 0, 0] > 0) & (found[:, 1, 1] > 0)]

    def held_back(self) -> np.ndarray:
        """What of zones' pulls is not their noise where the data's gradient g is not 0: (Z, D).

        With d = u̇ − βu and the data's own minimum by −δ away, δ = H⁻¹g and H = mean ρ⟨d dᵀ⟩, a
        voxel pulls by −w d (t − ρu), of which w ρ d (d·δ) is the distance; and where it counts
        twice it takes its part w (u² + t²)/2 of the sum of that, as a CC has no scale.
        """
        moments = self.moments(np.ones(int(self.zones.max()) + 1))
        variances, gradient = moments[:, 0, 0], parabola_at(np.zeros(self._d), moments)[0]
        rho, beta = moments[:, 0, 1] / np.sqrt(variances * moments[:, 1, 1]), moments[:, 0, 2:]
        beta = beta / variances[:, None]
        products = moments[:, 2:, 2:] / variances[:, None, None]
        products = rho[:, None, None] * (products - beta[:, :, None] * beta[:, None])
        away = np.linalg.pinv(products.mean(axis=0), 1e-9, hermitian=True) @ gradient
        found = np.zeros((int(self.zones.max()) + 1, self._d))
        for shell, group in enumerate(self.groups):
            own, b = self.shells == shell, beta[group]
            sums = self.sums[own].astype(np.float64)
            of_u = sums[:, 1, _MAPS:] @ away - sums[:, 1, 1] * (b @ away)
            along = sums[:, _MAPS:, _MAPS:] @ away - sums[:, _MAPS:, 1] * (b @ away)
            bent = rho[group] * (along - of_u[:, None] * b) / variances[group]
            part = (sums[:, 1, 1] / variances[group] + sums[:, 2, 2] / moments[group, 1, 1]) / 2
            found[self.zones[own]] += bent - part[:, None] * (products[group] @ away)
        return found / len(rho)

    @property
    def _d(self) -> int:
        return int(self.sums.shape[-1]) - _MAPS

    def along_shapes(self, halves: np.ndarray) -> "ZoneSums":
        """With u̇ − hu in the place of u̇, h (D,) half of what a shape's change changes by itself.

        A map x + s ẋ + s² ẍ/2 with the part 2h ẋ of ẍ is, but for a scale, which a CC does not
        see, x + s (ẋ − hx) to second order: (1 + hs)(x + s (ẋ − hx)). Where amplitudes grow in
        proportion the map is mostly scaled, and its shape goes with s; along a straight line of
        maps to smaller amplitudes it would change the faster the less of the map is left.
        """
        sums, own = self.sums.copy(), halves.astype(np.float32)
        sums[:, _MAPS:] -= own[:, None] * sums[:, 1:2]
        sums[:, :, _MAPS:] -= sums[:, :, 1:2] * own
        return replace(self, sums=sums)

    def mixed(self, ways: np.ndarray) -> "ZoneSums":
        """With the derivatives along ways (D, d) of the parameters in the place of their own."""
        size = _MAPS + ways.shape[1]
        whole = np.zeros((self.sums.shape[-1], size), np.float32)
        whole[:_MAPS, :_MAPS], whole[_MAPS:, _MAPS:] = np.eye(_MAPS), ways
        return replace(self, sums=whole.T @ self.sums @ whole)

    def of(self, some: np.ndarray) -> "ZoneSums":
        """With some of the parameters, by their places (d,), only."""
        kept = np.concatenate([np.arange(_MAPS), _MAPS + some])
        return replace(self, sums=self.sums[:, kept[:, None], kept])


def most_parts(zones: int) -> int:
    """About how many parts of shells so many zones may have at most."""
    return zones * _SHELLS_OF_A_ZONE


def sums_bytes(parts: int, parameters: int) -> list[float]:
    """Bytes of each of the arrays of so many parts' sums, as they are made."""
    return [4.0 * parts * (_MAPS + parameters) ** 2] * 2
