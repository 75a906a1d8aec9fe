"""The isotropic level of liquid-like motion, from the distances between atoms.

`liquid` convolves what is computed up to a resolution limit. Its kernels have long tails, q⁻⁴:
beyond the limit lies 4/(πγΔq) of a kernel, Δq away from it, and at low resolution form factors
that the solvent has changed are mixed with others. What varies with direction takes no harm, for
it is the near neighbours that count there. The mean over all directions does, and it has a closed
form, by Debye's equation for atoms a ≠ b at distances r,

    Σ_ab f_a f_b sin(qr)/qr (e^{xy} − 1),   x = q²σ², y = e^{−r/γ}.

The same mean of what is computed is that of Debye's curve D = Σ_ab f_a f_b sin(qr)/qr / S', cut at
the limit, by way of its Patterson function on the points u of a grid of volume v each,

    p(u) = 1/2π² ∫ q² D sin(qu)/qu dq,   S' Σ_u v p (e^{xy} − 1) sin(qu)/qu.

(A sum and not an integral: the convolution is periodic, and kernels reach into its next period.)
Both are made of the mean structure; their difference, a few per cent, is what the series lacks.
"""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import CubicSpline

from hpc_diffuser.crystal.atom_factors import AtomFactors
from hpc_diffuser.scattering.intensity import self_terms
from hpc_diffuser.scattering.liquid import one_of_few, separated
from hpc_diffuser.system.arrays import Floats, Integers

_BIN_A = 0.05  # of distances
_NODES = 4  # of σ² between that along one axis and another
_LEAST_REACH = 0.05  # of σ² about the mean, where all axes are alike
_AT_ONCE = 64  # atoms whose distances to all others are held in memory


class IsotropicLevel:
    """What the convolved series of one molecule lacks in its mean over all directions.

    Parameters
    ----------
    positions : (N, 3) float, Å
        Of the mean structure.
    factors : AtomFactors
        At the densest solvent: atoms of one element and volume are alike.
    q_max : float, Å⁻¹
        How far the intensity is computed.
    places : (u (U,) in Å, volume (U,) in Å³)
        Of the points that the convolution's Patterson function is sampled at, see
        `LiquidMotion.places`.
    """

    def __init__(
        self,
        positions: Floats,
        factors: AtomFactors,
        q_max: float,
        places: tuple[Floats, Floats],
    ):
        rows = np.stack([np.unique(factors.elements, return_inverse=True)[1], factors.volumes_A3])
        _, group = np.unique(rows, axis=1, return_inverse=True)
        self._group: Integers = group.reshape(-1)[factors.kind]
        self._pairs, self._counts = _pair_counts(positions, self._group, factors.occupancies)
        self._r = (np.arange(len(self._counts)) + 0.5) * _BIN_A
        reach = self._r[-1]
        self._q, self._dq = _quadrature(60 + int(0.5 * q_max * reach), q_max)
        self._u, self._volume = places
        self._of_distances = np.sinc(np.outer(self._q, self._r) / np.pi)
        self._of_places = np.sinc(np.outer(self._q, self._u) / np.pi)

    def lacking(
        self, factors: AtomFactors, q_squared: Floats, sigma_A: float, gamma_A: float
    ) -> Floats:
        """What has to be added to `LiquidMotion.series`, times S': (v,) float, electrons².

        Parameters
        ----------
        factors : AtomFactors
            Of the same atoms.
        q_squared : (v,) float, Å⁻²
            Up to q_max².
        sigma_A, gamma_A : float, Å
        """
        x_max = float(((self._q * sigma_A) ** 2)[-1])
        curve = self._curve(factors, self._waves(factors), sigma_A, gamma_A, x_max)
        level: Floats = curve(np.sqrt(q_squared)) * np.exp(q_squared * sigma_A**2)
        return level

    def lacking_along(
        self, factors: AtomFactors, q_squared: Floats, x: Floats, u_A2: Floats, gamma_A: float
    ) -> Floats:
        """The same where motion is other along some axes: by x = qᵀUq (v,), of U (3, 3) Å².

        Of x/q² it is a smooth function, which goes through that of a few σ².
        """
        least, _, largest = np.linalg.eigvalsh(u_A2)
        middle = (largest + least) / 2
        reach = max((largest - least) / 2, _LEAST_REACH * middle)
        nodes = middle + reach * np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
        waves, q = self._waves(factors), np.sqrt(q_squared)
        x_max = one_of_few(float(self._q[-1] ** 2 * nodes.max()))
        of_nodes = [
            self._curve(factors, waves, float(np.sqrt(u)), gamma_A, x_max)(q) for u in nodes
        ]
        place = np.divide(x, q_squared, out=np.full(len(x), nodes.mean()), where=q_squared > 0)
        level: Floats = _through(nodes, of_nodes, place) * np.exp(x)
        return level

    def _waves(self, factors: AtomFactors) -> Floats:
        """Of Debye's curve the share of every distance: (Q, R)."""
        weights = self._pair_factors(factors)
        return (weights @ self._counts.T) * self._of_distances

    def _curve(
        self, factors: AtomFactors, waves: Floats, sigma_A: float, gamma_A: float, x_max: float
    ) -> CubicSpline:
        """What is lacking, times e^{−x}, as a function of q; by tables of x up to x_max."""
        q, x = self._q, (self._q * sigma_A) ** 2
        y = np.exp(-self._r / gamma_A)
        # Of e^{xy} − 1, all times e^{−x}: small, and smooth enough for a spline.
        exact = np.sum(waves * (np.exp(np.outer(x, y - 1)) - np.exp(-x)[:, None]), axis=1)
        own = self_terms(factors, (q / (2 * np.pi)) ** 2).dimmed
        cut = own * self._convolved(np.sum(waves, axis=1) / own, x, gamma_A, x_max)
        return CubicSpline(q, exact - cut)

    def _convolved(self, debye: Floats, x: Floats, gamma_A: float, x_max: float) -> Floats:
        """The series' terms of Debye's curve (Q,), cut at q_max, times e^{−x}: (Q,)."""
        patterson = (debye * self._dq * self._q**2) @ self._of_places / (2 * np.pi**2)
        patterson *= self._volume
        y, total = np.exp(-self._u / gamma_A), np.zeros(len(x))
        for of_x, of_y in zip(*separated(x_max), strict=True):
            steps = np.linspace(0, 1, len(of_y))
            term = self._of_places @ (patterson * np.interp(y, steps, of_y))
            total += np.interp(x, x_max * steps, of_x) * term
        return total * np.exp(-x)

    def _pair_factors(self, factors: AtomFactors) -> Floats:
        """Products of two groups' factors at the curve's points, both orders: (Q, pairs)."""
        f = self._group_factors(factors, (self._q / (2 * np.pi)) ** 2)
        return np.stack([f[:, i] * f[:, j] * (1 + (i != j)) for i, j in self._pairs], axis=1)

    def _group_factors(self, factors: AtomFactors, s_squared: Floats) -> Floats:
        """Mean factor of the atoms of each group: (S, groups)."""
        n_groups = self._group.max() + 1
        shares = np.zeros((len(factors.elements), n_groups))
        np.add.at(shares, (factors.kind, self._group), factors.occupancies)
        total = shares.sum(axis=0)
        return factors.at(s_squared) @ (shares / np.where(total > 0, total, 1))


def _through(nodes: Floats, values: Sequence[Floats], place: Floats) -> Floats:
    """Lagrange's polynomial through values (K, v) at nodes (K,), at places (v,)."""
    total = np.zeros(len(place))
    for k, value in enumerate(values):
        others = np.delete(nodes, k)
        total += value * np.prod((place[:, None] - others) / (nodes[k] - others), axis=1)
    return total


def _pair_counts(
    positions: Floats, group: Integers, occupancies: Floats
) -> tuple[list[tuple[int, int]], Floats]:
    """Pairs of groups i ≤ j, and the occupancies' products by distance: (R, pairs) float.

    Both orders of two atoms of one group, one of two groups.
    """
    n_groups = int(group.max()) + 1
    pairs = [(i, j) for i in range(n_groups) for j in range(i, n_groups)]
    column = np.zeros((n_groups, n_groups), np.int64)
    for n, (i, j) in enumerate(pairs):
        column[i, j] = column[j, i] = n
    n_bins = int(np.linalg.norm(np.ptp(positions, axis=0)) / _BIN_A) + 2
    counts = np.zeros(n_bins * len(pairs))
    for first in range(0, len(positions), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        distances = np.linalg.norm(positions[some, None] - positions, axis=-1)
        places = (distances / _BIN_A).astype(np.int64) * len(pairs) + column[group[some]][:, group]
        weights = np.outer(occupancies[some], occupancies)
        np.fill_diagonal(weights[:, first:], 0)
        counts += np.bincount(places.ravel(), weights.ravel(), len(counts))
    table = counts.reshape(n_bins, len(pairs))
    return pairs, table / np.array([1 if i == j else 2 for i, j in pairs])


def _quadrature(n: int, end: float) -> tuple[Floats, Floats]:
    """Gauss and Legendre's points and weights on 0..end."""
    t, weight = np.polynomial.legendre.leggauss(n)
    return (t + 1) / 2 * end, weight / 2 * end
