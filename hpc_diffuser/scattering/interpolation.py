"""From the grid that the molecule's size asks for to the grid of the target.

The intensity of a molecule that spans a fraction w of the cell along an axis holds no frequency
above w: 2w samples per reciprocal-lattice unit carry all of it, however finely the target is
sampled. The transform is computed at a little more than that rate, and the intensity
interpolated once per evaluation, axis by axis, with a Kaiser-windowed sinc.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from hpc_diffuser.crystal.lattice import (
    HklGrid,
    along_hkl,
    fractionalization,
    grid_to_resolution,
    reciprocal_metric,
)
from hpc_diffuser.kernels.interpolation import interpolate_planes, spread_planes, spread_rows
from hpc_diffuser.system.arrays import Floats, Integers

TAPS = (8, 12, 16, 20)  # multiples of 4, as the kernel wants them
_BETAS = np.arange(3.0, 14.0)
# How far the density of a pair of atoms reaches beyond their distance. The widest Gaussian of
# carbon's form factor, b = 51.65 Å² (IT92), which counts at low resolution, has 0.81 Å rms, a pair
# √2 as much; so far its tail is down to a fifth. With it errors are not above the predicted, for 30
# to 1000 atoms (`test_small_molecules_are_as_exact_as_promised`).
PAIR_WIDTH_A = 2.0
_HISTOGRAM = 50
_BETWEEN = (np.arange(8) + 0.5) / 8  # positions between two coarse samples


@dataclass(frozen=True)
class BandGrid:
    """A coarse grid and the kernel that interpolates from it.

    Attributes
    ----------
    grid : HklGrid
        Its divisions need not be whole numbers.
    d_min : float, Å
        How far it has to be filled: beyond the target's limit by half the kernel.
    taps : int
        Coarse samples under the kernel, along each axis.
    betas : 3 floats
        The Kaiser window's parameter along each axis.
    error : float
        Predicted relative rms error of the interpolated intensity.
    """

    grid: HklGrid
    d_min: float
    taps: int
    betas: tuple[float, float, float]
    error: float


def pair_separations(
    positions: Floats, weights: Floats, spread_A: float, unit_cell: tuple[float, ...]
) -> list[tuple[Floats, Floats]]:
    """Distribution of fractional distances between pairs of atoms along each axis.

    The frequencies that the intensity is made of: along an axis, the pairs at distance x
    contribute cos 2πhx.

    Parameters
    ----------
    positions : (N, 3) float, Å
    weights : (N,) float
        Scattering power of each atom: electrons.
    spread_A : float, Å
        By how much distances are widened: how far atoms move about the mean, and how wide they
        are themselves, `PAIR_WIDTH_A`.
    unit_cell : 6 floats

    Returns
    -------
    three of (distance (B,), share of all pairs (B,))
    """
    fractional = positions @ fractionalization(unit_cell).T
    widening = spread_A * np.linalg.norm(fractionalization(unit_cell), axis=1)
    found = []
    for axis in range(3):
        span = np.ptp(fractional[:, axis])
        # The pair distribution is the autocorrelation of the density along the axis.
        density, _ = np.histogram(fractional[:, axis], _HISTOGRAM, weights=weights)
        pairs = np.correlate(density, density, "full")[_HISTOGRAM - 1 :]
        distance = np.arange(_HISTOGRAM) / _HISTOGRAM * span + widening[axis]
        found.append((distance, pairs / pairs.sum()))
    return found


def atom_distances(
    positions: Floats, weights: Floats, spread_A: float, unit_cell: tuple[float, ...]
) -> list[tuple[Floats, Floats]]:
    """The same of a transform: of atoms from the origin, as fractions along each axis.

    Parameters
    ----------
    positions, weights, spread_A, unit_cell
        As of `pair_separations`; the origin best lies in the middle of the atoms.

    Returns
    -------
    three of (distance (B,), share of Σ weights² (B,))
    """
    fractional = np.abs(positions @ fractionalization(unit_cell).T)
    widening = spread_A * np.linalg.norm(fractionalization(unit_cell), axis=1)
    found = []
    for axis in range(3):
        span = max(float(fractional[:, axis].max()), 1e-6)
        shares, _ = np.histogram(fractional[:, axis], _HISTOGRAM, (0, span), weights=weights**2)
        distance = (np.arange(_HISTOGRAM) + 1) / _HISTOGRAM * span + widening[axis]
        found.append((distance, shares / shares.sum()))
    return found


def choose_band_grid(
    target: HklGrid,
    d_min: float,
    separations: list[tuple[Floats, Floats]],
    tolerance: float,
) -> BandGrid:
    """The cheapest coarse grid whose interpolation error is below a tolerance.

    Few taps ask for fine sampling, many for a wide margin beyond the resolution limit: all of
    `TAPS` are tried, each with the coarsest sampling that meets a third of the squared
    tolerance along every axis.
    """
    options = [_band_grid(target, d_min, separations, tolerance, taps) for taps in TAPS]
    return min(options, key=_filled_volume)


def interpolation_weights(positions: Floats, taps: int, beta: float) -> tuple[Integers, Floats]:
    """Kaiser-windowed sinc at positions in units of coarse samples.

    Returns
    -------
    first : (P,) int
        Index of the first of `taps` coarse samples.
    weights : (P, taps) float
    """
    first = np.floor(positions).astype(np.int64) - taps // 2 + 1
    t = positions[:, None] - (first[:, None] + np.arange(taps))
    window = np.sqrt(np.clip(1 - (2 * t / taps) ** 2, 0, None))
    return first, np.sinc(t) * np.i0(beta * window) / np.i0(beta)


def wave_errors(frequencies: Floats, taps: int, beta: float) -> Floats:
    """Rms error, over all positions, of interpolating waves of unit amplitude.

    Parameters
    ----------
    frequencies : (B,) float
        Cycles per coarse sample.
    taps : int
    beta : float

    Returns
    -------
    (B,) float
    """
    samples, weights = _weights_between_samples(taps, beta)
    waves = np.exp(2j * np.pi * frequencies[:, None] * samples)
    exact = np.exp(2j * np.pi * frequencies[:, None] * _BETWEEN)
    found = np.sum(waves[:, None, :] * weights, axis=2)
    errors: Floats = np.sqrt(np.mean(np.abs(found - exact) ** 2, axis=1))
    return errors


@cache
def _weights_between_samples(taps: int, beta: float) -> tuple[Integers, Floats]:
    """The samples (taps,) about the interval from 0 to 1, and their weights (8, taps) inside."""
    first, weights = interpolation_weights(_BETWEEN, taps, beta)
    return first[0] + np.arange(taps), weights


class Interpolator:
    """Interpolates voxels of the target's grid from a filled coarse volume.

    A plane of constant h is computed in the same order of operations whichever others are.

    Parameters
    ----------
    band : BandGrid
    target : HklGrid
    indices : (V, 3) int
        Sample indices of the voxels, sorted.

    Raises
    ------
    IndexError
        Where a voxel is not on the target's grid, or the coarse one ends too near to it.
    """

    def __init__(self, band: BandGrid, target: HklGrid, indices: Integers):
        target.require(indices)
        self._shape = band.grid.shape
        self._kernels = [_axis_weights(band, target, axis, indices) for axis in range(3)]
        planes = np.unique(indices[:, 0])
        self._planes = planes + target.extent[0]
        # Rows of constant h and k, numbered through.
        n_rows = target.shape[1]
        row = indices[:, 0] * n_rows + indices[:, 1] + target.extent[1]
        self._starts = np.searchsorted(row, planes[:, None] * n_rows + np.arange(n_rows + 1))
        self._columns = (indices[:, 2] + target.extent[2]).astype(np.int32)

    def at_voxels(self, volume: Floats) -> Floats:
        """The voxels' values from a coarse volume.

        Parameters
        ----------
        volume : (H, K, L) float32
            On the band grid.

        Returns
        -------
        (V,) float32
        """
        if volume.shape != self._shape:
            raise IndexError(f"a volume of {volume.shape} points for a grid of {self._shape}")
        values = np.empty(len(self._columns), np.float32)
        h, k, l = self._kernels  # noqa: E741
        interpolate_planes(volume, h, k, l, self._planes, self._starts, self._columns, values)
        return values

    @property
    def planes(self) -> Integers:
        """Where on the target's h axis the voxels' planes lie: (P,) int."""
        return self._planes

    def mixed_from(self, values: Floats) -> Floats:
        """The transpose of `at_voxels` as far as one coarse plane for each of the voxels' planes.

        Parameters
        ----------
        values : (V,) float

        Returns
        -------
        (P, K, L) float32
            To be added up by `volume_from`, those of all ranks together.
        """
        mixed = np.empty((len(self._planes), *self._shape[1:]), np.float32)
        _, k, l = self._kernels  # noqa: E741
        spread_rows(values.astype(np.float32), k, l, self._starts, self._columns, mixed)
        return mixed

    def volume_from(self, mixed: Floats, planes: Integers) -> Floats:
        """The transpose from there: (H, K, L) float32, the same whatever the order of planes.

        Parameters
        ----------
        mixed : (P, K, L) float32
        planes : (P,) int
            Of which planes: `planes`.
        """
        volume = np.empty(self._shape, np.float32)
        spread_planes(mixed, np.argsort(planes), self._kernels[0], planes, volume)
        return volume


def kept_bytes(voxels: int) -> list[float]:
    """Bytes of each array that an `Interpolator` keeps for so many voxels, with their rows."""
    return [8 * voxels, 4 * voxels]


def building_bytes(voxels: int) -> list[float]:
    """The same of what it is made with."""
    return [24 * voxels, *[8 * voxels] * 3]


def _band_grid(
    target: HklGrid,
    d_min: float,
    separations: list[tuple[Floats, Floats]],
    tolerance: float,
    taps: int,
) -> BandGrid:
    allowed = tolerance / np.sqrt(3)
    axes = [(d.astype(float).tobytes(), s.astype(float).tobytes()) for d, s in separations]
    sampling = [_coarsest_sampling(*axis, taps, allowed) for axis in axes]
    divisions = along_hkl(n for n, _, _ in sampling)
    metric = reciprocal_metric(target.unit_cell)
    # Half a kernel, along the axis where it is longest in Å⁻¹.
    margin = max(taps / 2 / n * np.sqrt(metric[i, i]) for i, n in enumerate(divisions))
    wider = 1 / (1 / d_min + margin)
    grid = grid_to_resolution(target.unit_cell, divisions, wider)
    return BandGrid(
        grid=HklGrid(grid.unit_cell, divisions, along_hkl(e + 1 for e in grid.extent)),
        d_min=wider,
        taps=taps,
        betas=along_hkl(beta for _, beta, _ in sampling),
        error=float(np.sqrt(sum(e**2 for _, _, e in sampling))),
    )


@lru_cache(maxsize=256)  # a run's models are all of one molecule
def _coarsest_sampling(
    distances: bytes, shares: bytes, taps: int, allowed: float
) -> tuple[float, float, float]:
    """Samples per unit, window and error along one axis: bisection on the sampling.

    Of separations as the bytes of double precision.
    """
    distance, share = np.frombuffer(distances), np.frombuffer(shares)
    low, high = 2 * distance[0] + 1e-3, 8 * distance[-1]
    best = None
    for _ in range(12):
        middle = (low + high) / 2
        error, beta = _best_window(distance, share, taps, middle)
        if error <= allowed:
            high, best = middle, (middle, beta, error)
        else:
            low = middle
    return best or (high, *_best_window(distance, share, taps, high)[::-1])


def _best_window(
    distance: Floats, share: Floats, taps: int, sampling: float
) -> tuple[float, float]:
    errors = [
        np.sqrt(np.sum(share * wave_errors(distance / sampling, taps, beta) ** 2))
        for beta in _BETAS
    ]
    best = int(np.argmin(errors))
    return float(errors[best]), float(_BETAS[best])


def _filled_volume(band: BandGrid) -> float:
    return float(np.prod(band.grid.divisions)) / band.d_min**3


def _axis_weights(
    band: BandGrid, target: HklGrid, axis: int, indices: Integers
) -> tuple[Integers, Floats]:
    """First coarse array row and weights for every point of a target axis."""
    positions = target.axis(axis) * band.grid.divisions[axis]
    first, weights = interpolation_weights(positions, band.taps, band.betas[axis])
    first = first + band.grid.extent[axis]
    # Points of a box's corners, beyond the resolution limit, may lack neighbours.
    nearest = np.clip(first, 0, band.grid.shape[axis] - band.taps)
    lacking = np.flatnonzero(nearest != first) - target.extent[axis]
    if np.isin(indices[:, axis], lacking).any():
        raise IndexError(f"the coarse grid ends too near to some voxels along {'hkl'[axis]}")
    return nearest, weights.astype(np.float32)
