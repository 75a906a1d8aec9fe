"""How χ²/χ₀² of a likelihood bends about an answer.

With scale and background solved for, of maps from which the background is taken out in the metric
of w = 1/σ², χ² = S_yy − S_xy²/S_xx (`maps.likelihood`), so that with one correlation
ρ = S_xy/√(S_xx S_yy) over all working voxels the objective is χ²/χ₀² = 1 − ρ². Its derivatives
follow from those of 1 − ρ, which `curvature` has:

    ∂(1 − ρ²) = 2ρ ∂(1 − ρ),   ∂²(1 − ρ²) = 2ρ ∂²(1 − ρ) − 2 ∂ρ ∂ρ.
"""

from dataclasses import replace

import numpy as np

from hpc_diffuser.fit.config import TargetConfig
from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.curvature import Curvature
from hpc_diffuser.fit.scoring import voxel_weights
from hpc_diffuser.maps.likelihood import (
    background_knots,
    between_knots,
    pseudo_inverse,
    standard_deviations,
)
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import Zones


class LikelihoodCurvature(Curvature):
    """Collects the derivatives of a calculated map, one parameter after the other.

    Over all working voxels. Where zones are drawn anew the background is not: what its knots
    leave is averaged out in each shell.

    Parameters
    ----------
    target : Target
    calculated : (V,) float
    zones : Zones
        Of the target.
    knots : int
        Of the background.
    """

    def __init__(self, target: Target, calculated: np.ndarray, zones: Zones, knots: int):
        self._target, self._knots = target, knots
        self._known: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        weights = 1 / standard_deviations(target).astype(np.float64) ** 2
        super().__init__(target, calculated, zones, "pooled", weights)

    def gradient(self) -> np.ndarray:
        """Of the objective, in all parameters that were added: (D,)."""
        return 2 * self._rho[0] * super().gradient()

    def bend(self) -> Bend:
        """The objective about the map, in all parameters that were added."""
        rho, gradient = self._rho[0], super().gradient()
        of_cc = super().bend()
        return replace(
            of_cc,
            gradient=2 * rho * gradient,
            hessian=2 * rho * of_cc.hessian - 2 * np.outer(gradient, gradient),
            pulls=2 * rho * of_cc.pulls,
            by_voxel=None if of_cc.by_voxel is None else (2 * rho) ** 2 * of_cc.by_voxel,
            unit=2 * rho,
        )

    def _scored(self, target: Target, shells: np.ndarray) -> np.ndarray:
        rows = np.flatnonzero(~target.free)
        return rows[np.argsort(shells[rows], kind="stable")]

    def _centred(self, values: np.ndarray) -> np.ndarray:
        """Less the background that fits it best."""
        place, part, inverse = self._basis()
        own, n = values.astype(np.float64), len(inverse)
        low, high = self._w * (1 - part) * own, self._w * part * own
        of_own = np.bincount(place, low, n) + np.bincount(place + 1, high, n)
        background = (inverse * of_own).sum(axis=1)
        centred: np.ndarray = own - (1 - part) * background[place] - part * background[place + 1]
        return centred

    def _basis(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Between which knots each voxel is, how far, and G⁺ of the knots (K, K)."""
        if self._known is None:
            target = self._target
            inverse_d = np.sqrt(target.grid.inverse_d_squared(target.indices[self._rows]))
            place, t = between_knots(inverse_d, background_knots(target.shell_edges, self._knots))
            gram = np.zeros((self._knots, self._knots))
            for i, one in ((0, 1 - t), (1, t)):
                for j, other in ((0, 1 - t), (1, t)):
                    np.add.at(gram, (place + i, place + j), self._w * one * other)
            self._known = place, t, pseudo_inverse(gram)
        return self._known


def curvature_of(
    target: Target, options: TargetConfig, calculated: np.ndarray, zones: Zones
) -> Curvature:
    """Of the score that a config asks for.

    Parameters
    ----------
    target : Target
    options : TargetConfig
    calculated : (V,) float
    zones : Zones
        Of the target.
    """
    if options.knots is not None:
        return LikelihoodCurvature(target, calculated, zones, options.knots)
    weights = voxel_weights(target, options.weights)
    return Curvature(target, calculated, zones, options.cc_rule, weights)
