"""Noise added to a calculated map, that it is as hard to fit as a measured one."""

from dataclasses import replace

import numpy as np

from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.statistics import shell_edges, shell_index

_SHELLS = 20


def with_noise(
    exact: DiffuseMap, fraction: float, d_min_A: float, stream: np.random.Generator
) -> DiffuseMap:
    """A map with Gaussian noise, independent for each voxel, and with its standard deviation.

    Parameters
    ----------
    exact : DiffuseMap
    fraction : float
        Standard deviation of the noise, of the mean intensity of a shell.
    d_min_A : float
        Where the last of 20 shells ends, equally wide in 1/d.
    stream : numpy.random.Generator
    """
    inside = np.isfinite(exact.intensity)
    indices = np.argwhere(inside) - np.array(exact.grid.extent)
    inverse_d = np.sqrt(exact.grid.inverse_d_squared(indices))
    shell = shell_index(inverse_d, shell_edges(np.inf, d_min_A, _SHELLS))
    values = exact.intensity[inside]
    # Next to the origin shells of a small cell may be empty.
    # Of the origin alone rounding may leave less than 0.
    mean = np.abs(np.bincount(shell, values)) / np.maximum(np.bincount(shell), 1)
    errors = np.full_like(exact.intensity, np.nan)
    errors[inside] = fraction * mean[shell]
    intensity = exact.intensity.copy()
    noise = stream.standard_normal(len(values))
    intensity[inside] += (noise * errors[inside]).astype(np.float32)
    return replace(exact, intensity=intensity, errors=errors)
