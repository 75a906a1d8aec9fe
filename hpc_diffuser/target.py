"""What a fit is compared with: a map cut to the voxels that internal motions explain."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.lattice import (
    HklGrid,
    distance_to_bragg,
    laue_operations,
    laue_zones,
)
from hpc_diffuser.sampling import generator
from hpc_diffuser.statistics import shell_edges, shell_index

HALO_RADIUS = 3 / 7  # of a reciprocal-lattice unit, as in the paper


@dataclass(frozen=True)
class DiffuseMap:
    """Diffuse intensity on a grid of reciprocal space.

    Attributes
    ----------
    grid : HklGrid
    intensity : (H, K, L) float
        NaN where not measured or masked.
    space_group : str
    errors : (H, K, L) float or None
        Standard deviations.
    """

    grid: HklGrid
    intensity: np.ndarray
    space_group: str
    errors: np.ndarray | None = None


@dataclass(frozen=True)
class TargetOptions:
    """How a map is cut.

    Attributes
    ----------
    d_max_A, d_min_A : float, Å
        Resolution range.
    halo_radius : float
        Radius, in reciprocal-lattice units, of the sphere left out about every lattice point.
    n_shells : int
        Resolution shells, equally wide in 1/d.
    free_fraction : float
        Of the Bragg peaks, whose whole Brillouin zones are kept out of the fit.
    seed : int
        Of the choice of free zones.
    """

    d_max_A: float = 3.3
    d_min_A: float = 1.6
    halo_radius: float = HALO_RADIUS
    n_shells: int = 20
    free_fraction: float = 0.1
    seed: int = 1


@dataclass(frozen=True)
class Target:
    """Measured voxels to compare with, one of each Friedel pair.

    Attributes
    ----------
    grid : HklGrid
    indices : (V, 3) int
        Sample indices, h ≥ 0, sorted.
    intensity : (V,) float
    errors : (V,) float or None
    free : (V,) bool
        Voxels of the free set.
    shell_edges : (n+1,) float, Å⁻¹
        In 1/d.
    space_group : str
    """

    grid: HklGrid
    indices: np.ndarray
    intensity: np.ndarray
    errors: np.ndarray | None
    free: np.ndarray
    shell_edges: np.ndarray
    space_group: str

    @property
    def d_min(self) -> float:
        """High-resolution limit, Å."""
        return float(1 / self.shell_edges[-1])

    @property
    def n_shells(self) -> int:
        """Number of resolution shells."""
        return len(self.shell_edges) - 1

    def shells(self) -> np.ndarray:
        """Resolution shell of every voxel: (V,) int."""
        inverse_d = np.sqrt(self.grid.inverse_d_squared(self.indices))
        return shell_index(inverse_d, self.shell_edges)

    def at(self, rows: np.ndarray) -> "Target":
        """The target reduced to some of its voxels (indices or a mask)."""
        errors = None if self.errors is None else self.errors[rows]
        return Target(
            self.grid,
            self.indices[rows],
            self.intensity[rows],
            errors,
            self.free[rows],
            self.shell_edges,
            self.space_group,
        )


def map_from_voxels(
    grid: HklGrid, indices: np.ndarray, values: np.ndarray, space_group: str
) -> DiffuseMap:
    """A whole map, both Friedel mates, from values (V,) at samples (V, 3); NaN elsewhere."""
    intensity = np.full(grid.shape, np.nan, np.float32)
    for mates in (indices, -indices):
        intensity[tuple((mates + grid.extent).T)] = values
    return DiffuseMap(grid, intensity, space_group)


def make_target(diffuse: DiffuseMap, options: TargetOptions) -> Target:
    """Mask the halos, cut the resolution range, merge Friedel mates and choose the free set.

    Raises
    ------
    InputError
        Where no voxel is left, the space group is unknown, or intensities are infinite.
    """
    grid = diffuse.grid
    if np.isinf(diffuse.intensity).any():
        raise InputError("the map holds infinite intensities: expected numbers, NaN where masked")
    candidates = grid.indices_between(options.d_max_A, options.d_min_A)
    nothing = (
        f"no unmasked voxel between {options.d_max_A} and {options.d_min_A} Å: "
        "expected a map that covers this range; change --d-max and --d-min"
    )
    if not len(candidates):
        raise InputError(nothing)
    outside = outside_halos(candidates, grid, options.halo_radius)
    if not outside.any():
        raise InputError(
            f"halo radius {options.halo_radius:.3g} leaves no voxel at {grid.divisions} samples "
            "per reciprocal-lattice unit: expected a finer map, or a smaller --halo-radius"
        )
    indices = candidates[outside]
    intensity, errors = _merge_friedel(diffuse, indices)
    measured = np.isfinite(intensity)
    if errors is not None:
        measured &= np.isfinite(errors) & (errors > 0)
        errors = errors[measured].astype(np.float32)
    if not measured.any():
        raise InputError(nothing)
    indices = indices[measured]
    return Target(
        grid=grid,
        indices=indices,
        intensity=intensity[measured].astype(np.float32),
        errors=errors,
        free=free_set(indices, grid, diffuse.space_group, options.free_fraction, options.seed),
        shell_edges=shell_edges(options.d_max_A, options.d_min_A, options.n_shells),
        space_group=diffuse.space_group,
    )


def outside_halos(indices: np.ndarray, grid: HklGrid, halo_radius: float) -> np.ndarray:
    """Mask of the samples (V, 3) farther than `halo_radius` from every lattice point.

    Samples at exactly that distance are within the halo; a radius of 0 masks nothing.
    """
    if halo_radius == 0:
        return np.ones(len(indices), bool)
    return distance_to_bragg(indices, grid.divisions) > halo_radius + 1e-9


def free_set(
    indices: np.ndarray, grid: HklGrid, space_group: str, fraction: float, seed: int
) -> np.ndarray:
    """Mask of the voxels in whole Brillouin zones of a random `fraction` of the Bragg peaks.

    Neighbouring voxels are correlated: single random voxels would leak into the working set.
    A zone's Friedel and Laue mates go with it.
    """
    zones = laue_zones(indices, grid.divisions, laue_operations(space_group))
    unique, zone = np.unique(zones, axis=0, return_inverse=True)
    n_free = round(fraction * len(unique))
    chosen = np.zeros(len(unique), bool)
    chosen[generator(seed).permutation(len(unique))[:n_free]] = True
    return chosen[zone.reshape(-1)]


def _merge_friedel(
    diffuse: DiffuseMap, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean of the measured mates of each pair; the errors of independent measurements."""
    here = tuple((indices + diffuse.grid.extent).T)
    mate = tuple((-indices + diffuse.grid.extent).T)
    pair = np.stack([diffuse.intensity[here], diffuse.intensity[mate]]).astype(np.float64)
    measured = np.isfinite(pair)
    count = measured.sum(axis=0)
    with np.errstate(invalid="ignore"):
        intensity = np.where(measured, pair, 0).sum(axis=0) / count
        if diffuse.errors is None:
            return intensity, None
        spread = np.stack([diffuse.errors[here], diffuse.errors[mate]]).astype(np.float64)
        return intensity, np.sqrt(np.where(measured, spread**2, 0).sum(axis=0)) / count
