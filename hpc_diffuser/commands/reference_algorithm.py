"""The algorithm that this program replaces, kept only to be measured against.

One Monte Carlo sample of the published one-GPU script, on a CPU: atoms splatted trilinearly onto
a cube, a solvent mask by a low-pass filter, the transform by a full complex FFT. Three FFTs of
301³ for each sample; 1000 plain random samples, translation among them, for an evaluation.
"""

import numpy as np
import scipy.fft

CUBE = 301
SAMPLES = 1000


def reference_sample(
    positions: np.ndarray, electrons: np.ndarray, voxel_A: float, moments: list[np.ndarray]
) -> None:
    """Add one configuration to the sums of F and |F|².

    Parameters
    ----------
    positions : (N, 3) float, Å
        About the centre of the cube.
    electrons : (N,) float
    voxel_A : float, Å
    moments : [(301, 301, 301) complex64, (301, 301, 301) float32]
        ΣF and Σ|F|², changed in place.
    """
    density = splat(positions / voxel_A + CUBE // 2, electrons, CUBE)
    smooth = scipy.fft.fftn(density.astype(np.complex64), workers=1)
    smooth *= _low_pass(voxel_A)
    mask = scipy.fft.ifftn(smooth, workers=1, overwrite_x=True).real < 0.1 * density.max()
    contrast = (density - 0.05 * mask).astype(np.complex64)
    transform = scipy.fft.fftn(contrast, workers=1, overwrite_x=True)
    moments[0] += transform
    moments[1] += transform.real**2 + transform.imag**2


def splat(voxels: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Weights shared trilinearly among the eight corners about each point: (size,)*3 float32."""
    corner = np.floor(voxels).astype(np.int64)
    fraction = voxels - corner
    flat = np.zeros(size**3, np.float64)
    for shift in np.ndindex(2, 2, 2):
        share = np.prod(np.where(shift, fraction, 1 - fraction), axis=1)
        index = np.ravel_multi_index(tuple((corner + shift).T), (size,) * 3, mode="clip")
        flat += np.bincount(index, share * weights, size**3)
    return flat.reshape((size,) * 3).astype(np.float32)


def _low_pass(voxel_A: float) -> np.ndarray:
    """A Gaussian of 3 Å in real space, as three factors to be multiplied on."""
    s = scipy.fft.fftfreq(CUBE, voxel_A).astype(np.float32)
    factor = np.exp(-2 * np.pi**2 * 3.0**2 * s**2, dtype=np.float32)
    return factor[:, None, None] * factor[:, None] * factor
