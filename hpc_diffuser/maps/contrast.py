"""Two maps as their correlation sees them: less their shells' means, on one scale."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.maps.statistics import correlation_sums
from hpc_diffuser.maps.target import Target
from hpc_diffuser.system.arrays import Floats, Integers, Mask

POOLED = "pooled"  # the score with one scale for all shells


@dataclass(frozen=True)
class Contrast:
    """A target and a calculated map, each less its mean in every resolution shell.

    Attributes
    ----------
    measured, calculated : (V,) float
        In the target's unit; the calculated one times the scale of its shell.
    scale : (n,) float
        Of each shell, by least squares; the same for all where the score is `pooled`. None is
        below 0: what runs against the data is shown as nothing.
    measured_mean, calculated_mean : (n,) float
        What was subtracted, each in its own unit.
    """

    measured: Floats
    calculated: Floats
    scale: Floats
    measured_mean: Floats
    calculated_mean: Floats

    @property
    def difference(self) -> Floats:
        """Measured less calculated: (V,) float."""
        return self.measured - self.calculated


def contrast(
    target: Target, calculated: Floats, rule: str, weights: Floats | None = None
) -> Contrast:
    """What is left of two maps, as the score compares them.

    Means and scales are those of the working voxels, and applied to the free ones too. With the
    scale by least squares, the part of a shell's variance that is left in the difference is
    1 − CC².

    Parameters
    ----------
    target : Target
    calculated : (V,) float
    rule : {"shell-mean", "pooled"}
    weights : (V,) float, or None for 1
    """
    shells, n = target.shells(), target.n_shells
    working = _working(target)
    own = None if weights is None else weights[working]
    y, x = target.intensity, calculated
    sums = correlation_sums(x[working], y[working], own, shells[working], n)
    x_mean, y_mean, scale = _means_and_scale(sums, rule)
    return Contrast(
        measured=(y - y_mean[shells]).astype(np.float64),
        calculated=scale[shells] * (x - x_mean[shells]),
        scale=scale,
        measured_mean=y_mean,
        calculated_mean=x_mean,
    )


def full_scale(found: Contrast, shells: Integers, calculated: Floats) -> tuple[float, float]:
    """One scale and one offset that bring a whole calculated map to the measured one.

    The scale is that of the pooled score, from what is left in the shells; the offset, which the
    score is blind to, makes the means over all voxels equal.

    Parameters
    ----------
    found : Contrast
    shells : (V,) int
    calculated : (V,) float
    """
    x = calculated - found.calculated_mean[shells]
    below = float(x @ x)
    scale = max(float(x @ found.measured) / below, 0.0) if below else 0.0
    measured = found.measured + found.measured_mean[shells]
    return scale, float(measured.mean() - scale * calculated.mean())


def _working(target: Target) -> Mask:
    return ~target.free if not target.free.all() else target.free


def _means_and_scale(sums: Floats, rule: str) -> tuple[Floats, Floats, Floats]:
    w, x, y, xx, _, xy = sums.T
    filled = np.where(w > 0, w, 1)
    covariance, variance = xy - x * y / filled, xx - x * x / filled
    if rule == POOLED:
        covariance, variance = (np.full_like(z, z.sum()) for z in (covariance, variance))
    scale = np.divide(covariance, variance, out=np.zeros_like(w), where=variance > 0)
    return x / filled, y / filled, np.maximum(scale, 0)
