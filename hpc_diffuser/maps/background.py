"""The isotropic part of diffuse intensity: mostly of air, solvent and uncorrelated motion."""

import numpy as np

from hpc_diffuser.system.arrays import Floats

_MOST_SHELLS = 100
_LEAST_VOXELS = 50  # in a shell, on average


def isotropic_background(intensity: Floats, inverse_d: Floats) -> Floats:
    """The mean intensity as a smooth function of |s|.

    Straight lines between the means of up to 100 fine shells, equally wide in |s|, each at the mean
    |s| of its voxels; the outermost lines go on to the ends.

    Parameters
    ----------
    intensity : (V,) float
    inverse_d : (V,) float, Å⁻¹

    Returns
    -------
    (V,) float
    """
    low, high = inverse_d.min(), inverse_d.max()
    n_shells = int(np.clip(len(intensity) // _LEAST_VOXELS, 1, _MOST_SHELLS))
    shells = ((inverse_d - low) / max(high - low, 1e-12) * n_shells).astype(int)
    shells = np.minimum(shells, n_shells - 1)
    count = np.bincount(shells, minlength=n_shells)
    filled = count > 0
    s, mean = (
        np.bincount(shells, x, n_shells)[filled] / count[filled] for x in (inverse_d, intensity)
    )
    if len(s) == 1:
        return np.full(len(intensity), mean[0])
    slopes = np.diff(mean)[[0, -1]] / np.diff(s)[[0, -1]]
    ends = mean[[0, -1]] + slopes * (np.array([low, high]) - s[[0, -1]])
    nodes, heights = np.array([low, *s, high]), np.array([ends[0], *mean, ends[1]])
    background: Floats = np.interp(inverse_d, nodes, heights)
    return background
