"""Halos around the Bragg peaks, from molecules that move together with their neighbours.

Molecules of one orientation sit on the lattice vectors R, the centring translations among them,
and move as wholes, each Cartesian component by a Gaussian of standard deviation σ, correlated as
e^{−|R|/γ}. Beyond what one molecule on its own scatters (`disorder`), that adds per molecule

    B(q) e^{−q²(σ²+...)} H(q),    H = Σ_{R≠0} (exp(q²σ² e^{−|R|/γ}) − 1) cos 2π hkl·R
                                    = Σ_{n≥1} (q²σ²)ⁿ/n! [Λ_n(hkl) − 1],
    Λ_n = Σ_R e^{−n|R|/γ} cos 2π hkl·R = 1/V Σ_G K_{γ/n}(q − G),  K_γ(q) = 8πγ³/(1+γ²q²)²,

with B = |⟨F⟩|² of a molecule that does not move as a whole, V the volume of a primitive cell. At
equal q² H averages to nothing over a Brillouin zone: the coupling gathers around the Bragg peaks
what it takes from between them. |R| is the same for all Laue mates of R, so that H has the Laue
symmetry and may multiply a B that is averaged over orientations.

The paper's estimate of the same (Mazumder & Ayyer, bioRxiv 2021.02.11.429988) needs no theory:
the measured intensity itself, averaged over all Brillouin zones.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from hpc_diffuser.crystal.lattice import (
    PRIMITIVE,
    Centring,
    along_hkl,
    centring,
    fractionalization,
    reciprocal_metric,
)
from hpc_diffuser.crystal.symmetry import grid_operations
from hpc_diffuser.maps.target import Target
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

_REACH = 20.0  # in correlation lengths: e^{-20} = 2e-9
_TOLERANCE = 1e-9  # of the series, relative to e^{q²σ²} − 1
_LONGEST = 8.0  # correlation length in units of V^{1/3}: sixteen million lattice vectors
_BLOCK = 16384  # voxels whose polynomials stay in the cache


@dataclass(frozen=True)
class LatticeHalos:
    """The factor H of lattice-coupled translation on the samples of a map.

    Attributes
    ----------
    unit_cell : 6 floats, Å and degrees
    divisions : 3 ints
        Samples per reciprocal-lattice unit.
    d_min_A : float, Å
        Resolution edge of the whole map. The series is cut by it, not by the voxels asked for,
        so that a voxel's factor is the same on whichever rank it lies.
    lattice : Centring
    """

    unit_cell: tuple[float, ...]
    divisions: tuple[int, int, int]
    d_min_A: float
    lattice: Centring = PRIMITIVE

    def factor(
        self, positions: Integers, q_squared: Floats, sigma_A: float, gamma_A: float
    ) -> Floats:
        """H, to 2e-6 of e^{q²σ²} − 1 between the Bragg peaks and 5e-7 of its height at one.

        Parameters
        ----------
        positions : (V,) int
            Of the voxels in their Brillouin zones, from `zone_positions`.
        q_squared : (V,) float, Å⁻²
            |q|² = 4π²/d².
        sigma_A, gamma_A : float, Å
            Rms displacement along any axis, and the length over which it is correlated; 0 of
            either means no halos.

        Returns
        -------
        (V,) float

        Raises
        ------
        InputError
            Where gamma is above `longest_gamma_A`.
        """
        if sigma_A == 0 or gamma_A == 0:
            return np.zeros(len(positions))
        n_terms = series_terms(4 * np.pi**2 / self.d_min_A**2 * sigma_A**2)
        sums = coupling_sums(gamma_A, n_terms, self.divisions, self.unit_cell, self.lattice)
        factorials = np.exp(gammaln(np.arange(len(sums)) + 2.0))
        return power_series(sums / factorials[:, None], positions, q_squared * sigma_A**2)


def halo_factor(
    indices: Integers,
    divisions: tuple[int, int, int],
    unit_cell: tuple[float, ...],
    q_squared: Floats,
    sigma_A: float,
    gamma_A: float,
    lattice: Centring = PRIMITIVE,
) -> Floats:
    """H at samples (V, 3) with |q|² (V,) in Å⁻², all there are: see `LatticeHalos.factor`."""
    d_min_A = float(2 * np.pi / np.sqrt(q_squared.max()))
    halos = LatticeHalos(unit_cell, divisions, d_min_A, lattice)
    positions = zone_positions(indices, period(divisions, lattice))
    return halos.factor(positions, q_squared, sigma_A, gamma_A)


def period(divisions: tuple[int, int, int], lattice: Centring) -> tuple[int, int, int]:
    """Samples along h, k, l after which the Bragg peaks repeat: two zones of I, three of R."""
    return along_hkl(lattice.steps * n for n in divisions)


def zone_positions(indices: Integers, shape: tuple[int, int, int]) -> Integers:
    """Where in a `period` of this shape each sample (V, 3) lies: (V,) int, its place among all."""
    h, k, l = indices.T  # noqa: E741
    places: Integers = np.ravel_multi_index((h, k, l), shape, mode="wrap").astype(np.int32)
    return places


def longest_gamma_A(unit_cell: tuple[float, ...], lattice: Centring = PRIMITIVE) -> float:
    """The longest correlation length, Å, that `LatticeHalos` takes: about eight cells.

    Longer ones make halos narrower than the distance of samples, at seven to a
    reciprocal-lattice unit: nothing outside the Bragg peaks tells them apart.
    """
    return float(_LONGEST * (_volume(unit_cell) / len(lattice.points)) ** (1 / 3))


def coupling_sums(
    gamma_A: float,
    n_terms: int,
    divisions: tuple[int, int, int],
    unit_cell: tuple[float, ...],
    lattice: Centring = PRIMITIVE,
) -> Floats:
    """Λ_n − 1 for n = 1, 2, ... at every position in a period.

    At hkl = i/divisions the phase of R depends on R modulo divisions alone: the weights of all
    lattice vectors are folded into so many bins, and a small Fourier transform does the rest.
    Of a centred lattice both are counted in steps of a fraction of the cell.

    Parameters
    ----------
    gamma_A : float, Å
    n_terms : int
        Fewer are returned where the next are zero.
    divisions : 3 ints
    unit_cell : 6 floats, Å and degrees
    lattice : Centring

    Returns
    -------
    (n_terms, P) float
        P the samples in a `period`.

    Raises
    ------
    InputError
        Where gamma is above `longest_gamma_A`.
    """
    longest = longest_gamma_A(unit_cell, lattice)
    if gamma_A > longest:
        raise InputError(
            f"correlation length of {gamma_A:g} Å: expected up to {longest:.0f} "
            "Å for this unit cell; a longer one moves intensity within the Bragg peaks only"
        )
    shape = period(divisions, lattice)
    n_bins = int(np.prod(shape))
    lengths, bins = _lattice_vectors(_REACH * gamma_A, shape, unit_cell, lattice)
    sums = []
    for n in range(1, n_terms + 1):
        near = lengths < _REACH * gamma_A / n
        lengths, bins = lengths[near], bins[near]
        if not len(lengths):
            break
        folded = np.bincount(bins, np.exp(-n / gamma_A * lengths), n_bins)
        # One of each pair ±R was folded: both together are twice the real part.
        sums.append(2 * np.fft.fftn(folded.reshape(shape)).real.ravel())
    return np.array(sums).reshape(len(sums), n_bins)


def zone_profile(target: Target) -> Floats:
    """The target averaged over all Brillouin zones, less its minimum: the paper's halo.

    A measured voxel counts once at the position of each of its Laue mates; in a centred lattice
    the zones are those of the Bragg peaks that are not extinct.

    Returns
    -------
    (n_h, n_k, n_l) float
        Over a `period`; NaN at positions where nothing is measured.
    """
    lattice = centring(target.space_group, target.grid.unit_cell)
    divisions = target.grid.whole_divisions()
    shape = period(divisions, lattice)
    sums = np.zeros((2, int(np.prod(shape))))
    operations = grid_operations(target.grid, target.space_group)
    mates = [target.indices @ operation for operation in operations]
    # On a symmetry element several operations give the same mate.
    weights = 1 / sum(np.all(mate == target.indices, axis=1) for mate in mates)
    for mate in mates:
        positions = zone_positions(mate, shape)
        sums[0] += np.bincount(positions, weights, sums.shape[1])
        sums[1] += np.bincount(positions, weights * target.intensity, sums.shape[1])
    counts, totals = _over_peaks(sums.reshape(2, *shape), divisions, lattice)
    mean = np.full(shape, np.nan)
    np.divide(totals, counts, out=mean, where=counts > 0)
    profile: Floats = mean - np.nanmin(mean)
    return profile


def _over_peaks(sums: Floats, divisions: tuple[int, int, int], lattice: Centring) -> Floats:
    """Sums (2, n_h, n_k, n_l) over a period, added up over its zones: the same in all of them."""
    peaks = np.indices((lattice.steps,) * 3).reshape(3, -1).T
    shifts = peaks[lattice.allows(peaks)] * np.array(divisions)
    rolled = (np.roll(sums, tuple(shift), axis=(1, 2, 3)) for shift in shifts.tolist())
    return sum(rolled, start=np.zeros_like(sums))


def empirical_halo(indices: Integers, profile: Floats, alpha: float) -> Floats:
    """The paper's factor of the rigid body's intensity: the profile to the power α, tiled.

    Parameters
    ----------
    indices : (V, 3) int
    profile : (n_h, n_k, n_l) float
        From `zone_profile`.
    alpha : float
        Above 0; 3.8 in the paper.

    Returns
    -------
    (V,) float
        Its mean over the positions that the profile knows is 1. Where the profile is unknown,
        at the Bragg peaks mostly, the factor is the largest known; where it is flat, 1.
    """
    largest = np.nanmax(profile)
    if largest == 0:
        return np.ones(len(indices))
    halo = (np.where(np.isnan(profile), largest, profile) / largest) ** alpha
    halo /= halo[~np.isnan(profile)].mean()
    return halo.ravel()[zone_positions(indices, profile.shape)]


def series_terms(largest: float) -> int:
    """So many terms of the series of e^x − 1 leave out a part `_TOLERANCE`, up to x."""
    n = np.arange(1, int(10 * largest) + 50)
    share = n * np.log(largest) - gammaln(n + 1) - np.log(np.expm1(largest))
    return int(n[(n > 2 * largest) & (share < np.log(_TOLERANCE))][0])


def power_series(coefficients: Floats, positions: Integers, x: Floats) -> Floats:
    """Σ_{n≥1} c_n xⁿ by Horner's rule, with the coefficients (N, P) of each voxel's position."""
    result = np.zeros(len(x))
    for start in range(0, len(x), _BLOCK):
        part = slice(start, start + _BLOCK)
        for c in coefficients[::-1]:
            result[part] += c[positions[part]]
            result[part] *= x[part]
    return result


def _lattice_vectors(
    radius_A: float, bins: tuple[int, int, int], unit_cell: tuple[float, ...], lattice: Centring
) -> tuple[Floats, Integers]:
    """Lengths (Å), and places among the bins, of one of each pair ±R ≠ 0 up to the radius."""
    of_points = [_one_coset(radius_A, bins, unit_cell, lattice.steps, p) for p in lattice.points]
    lengths, places = zip(*of_points, strict=True)
    return np.concatenate(lengths), np.concatenate(places)


def _one_coset(
    radius_A: float,
    bins: tuple[int, int, int],
    unit_cell: tuple[float, ...],
    steps: int,
    point: tuple[int, int, int],
) -> tuple[Floats, Integers]:
    """The same of one lattice point of the cell and all its translations by whole cells."""
    metric = np.linalg.inv(reciprocal_metric(unit_cell)) / steps**2
    # The sphere's largest u = R·a* is at R ∥ a*.
    reach = steps * np.floor(radius_A * np.sqrt(np.diag(reciprocal_metric(unit_cell))) + 1).astype(
        int
    )
    v, w = (
        np.arange(p - r, r + 1, steps).reshape(shape)
        for p, r, shape in zip(point[1:], reach[1:], ((-1, 1), (1, -1)), strict=True)
    )
    in_plane = metric[1, 1] * v**2 + 2 * metric[1, 2] * v * w + metric[2, 2] * w**2
    bins_in_plane = (v % bins[1]) * bins[2] + w % bins[2]
    lengths, places = [], []
    for u in range(point[0], reach[0] + 1, steps):
        squared = in_plane + (2 * u) * (metric[0, 1] * v + metric[0, 2] * w) + metric[0, 0] * u**2
        near = squared < radius_A**2
        if u == 0:
            near &= (v > 0) | ((v == 0) & (w > 0))
        lengths.append(np.sqrt(squared[near]))
        places.append(bins_in_plane[near] + u % bins[0] * bins[1] * bins[2])
    return np.concatenate(lengths), np.concatenate(places)


def _volume(unit_cell: tuple[float, ...]) -> float:
    return float(1 / np.linalg.det(fractionalization(unit_cell)))
