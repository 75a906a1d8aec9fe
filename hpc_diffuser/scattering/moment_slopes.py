"""From an objective's derivatives by intensity's parts to those by motion: sums over all ranks."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.slopes import MotionSlopes
from hpc_diffuser.parallel.ordered_sums import sum_in_order
from hpc_diffuser.scattering.intensity import DiffuseSlopes, at_steps, dimming_slopes
from hpc_diffuser.scattering.moments import Moments
from hpc_diffuser.system.arrays import Floats

_STEPS = 512  # of |s|², of derivatives by the self-terms


def slopes_by_motion(
    moments: Moments, by: DiffuseSlopes, parameters: Parameters, normals: Floats, dimming: bool
) -> MotionSlopes:
    """By what the configurations are made of, and by the atoms' B-factors if asked for.

    Parameters
    ----------
    moments : Moments
    by : DiffuseSlopes
        At the voxels that this rank holds the moments of.
    parameters, normals
        As of `Moments.of`.
    dimming : bool
    """
    of_moments = (by.variance, by.mean_squared)
    motion = moments.slopes(parameters, normals, *of_moments, dimming)
    if not dimming:
        return motion
    planes, starts = np.unique(moments.indices[:, 0], return_index=True)
    s_squared_max = 1 / moments.transform.slab.d_min**2
    parts = np.empty((len(planes), _STEPS + 1))
    for part, (first, last) in zip(parts, pairwise([*starts, len(by.dimmed)]), strict=True):
        own = slice(first, last)
        part[:] = at_steps(moments.s_squared[own], by.dimmed[own], s_squared_max, _STEPS)
    table = sum_in_order(moments.group, planes, parts)
    dims = dimming_slopes(moments.factors, table, s_squared_max)
    return replace(motion, dims=motion.dims + dims)


def slopes_by_covariances(
    moments: Moments, q: Floats, by_own: Floats, by_translation: Floats
) -> tuple[Floats, Floats]:
    """By V and U, from derivatives by qᵀVq and qᵀUq at q (v, 3) in Å⁻¹: two (3, 3)."""
    planes, starts = np.unique(moments.indices[:, 0], return_index=True)
    parts = np.empty((len(planes), 2, 3, 3))
    for part, (first, last) in zip(parts, pairwise([*starts, len(q)]), strict=True):
        own = q[first:last]
        part[0] = (own.T * by_own[first:last]) @ own
        part[1] = (own.T * by_translation[first:last]) @ own
    sums = sum_in_order(moments.group, planes, parts.reshape(-1, 18))
    return sums[:9].reshape(3, 3), sums[9:].reshape(3, 3)


def slopes_by_frame_weights(
    moments: Moments, by: DiffuseSlopes, parameters: Parameters, normals: Floats
) -> Floats:
    """By the weights of an ensemble's frames, on the model's scale: (F,) float64, on every rank.

    Parameters
    ----------
    moments, by, parameters, normals
        As of `slopes_by_motion`.
    """
    planes, place = np.unique(moments.indices[:, 0], return_inverse=True)
    columns = [
        np.bincount(place, by.variance * variance + by.mean_squared * mean, len(planes))
        for variance, mean in moments.frame_slopes(parameters, normals)
    ]
    total: Floats = sum_in_order(moments.group, planes, np.stack(columns, axis=1))
    return total / sum(parameters.frame_weight or (1.0,))
