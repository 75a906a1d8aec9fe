"""What a fit is compared with: a map cut to the voxels that internal motions explain."""

import math
from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.crystal.lattice import (
    PRIMITIVE,
    Centring,
    HklGrid,
    along_hkl,
    centring,
    grid_to_resolution,
    nearest_bragg,
)
from hpc_diffuser.crystal.symmetry import grid_operations, one_of_each_inverse, unique_indices
from hpc_diffuser.maps.background import isotropic_background
from hpc_diffuser.maps.diffuse_map import DiffuseMap, inside
from hpc_diffuser.maps.free_set import free_blocks, free_set, touching
from hpc_diffuser.maps.merging import (
    Merged,
    MergeStatistics,
    merge_mates,
    pair_sums,
    usable_errors,
)
from hpc_diffuser.maps.shells import few_text, reach, shells_text, sturdy_shells
from hpc_diffuser.maps.statistics import correlations, shell_edges, shell_index
from hpc_diffuser.maps.subtraction import Subtracted, Subtrahend, calculated_at, scaled
from hpc_diffuser.maps.target_options import D_MAX_A, TargetOptions
from hpc_diffuser.system.arrays import Floats, Integers, Mask
from hpc_diffuser.system.errors import InputError

_AT_ONCE = 1 << 18  # voxels whose places are held in memory
_ENOUGH = 0.75  # of d_max: a d_min beyond leaves too little of the range
_TOO_NEAR = 0.05  # of the free voxels, beside working ones
_MOST_POINTS = 1 << 24  # of a grid that is larger than the map's own


@dataclass(frozen=True)
class Target:
    """Measured voxels to compare with, one of each set of Laue mates.

    Attributes
    ----------
    grid : HklGrid
    indices : (V, 3) int
        Sample indices, h ≥ 0, sorted: canonical mates.
    intensity : (V,) float
    errors : (V,) float or None
    free : (V,) bool
        Voxels of the free set.
    shell_edges : (n+1,) float, Å⁻¹
        In 1/d.
    space_group : str
    half_sums : (2, n, 6) float or None
        Of the two half-maps' working and free voxels in each shell, as of `correlation_sums`.
    """

    grid: HklGrid
    indices: Integers
    intensity: Floats
    errors: Floats | None
    free: Mask
    shell_edges: Floats
    space_group: str
    half_sums: Floats | None = None

    def __post_init__(self) -> None:
        self.grid.require(self.indices)

    def __repr__(self) -> str:
        d_max = f"{1 / self.shell_edges[0]:.2f}" if self.shell_edges[0] else "∞"
        return (
            f"Target({len(self.indices)} voxels, {int(self.free.sum())} of them free, "
            f"{self.n_shells} shells, {d_max}-{self.d_min:.2f} Å, {self.space_group})"
        )

    @property
    def d_min(self) -> float:
        """High-resolution limit, Å."""
        return float(1 / self.shell_edges[-1])

    @property
    def n_shells(self) -> int:
        """Number of resolution shells."""
        return len(self.shell_edges) - 1

    def shells(self) -> Integers:
        """Resolution shell of every voxel: (V,) int."""
        inverse_d = np.sqrt(self.grid.inverse_d_squared(self.indices))
        return shell_index(inverse_d, self.shell_edges)

    def counts(self) -> Integers:
        """Working and free voxels of every shell: (2, n_shells) int."""
        n = self.n_shells
        return np.bincount(self.free * n + self.shells(), minlength=2 * n).reshape(2, n)

    def cc_half(self) -> Floats | None:
        """CC of the two half-maps in every shell, work and free together: (n_shells,) or None."""
        return None if self.half_sums is None else correlations(self.half_sums.sum(axis=0))

    def at(self, rows: Integers | Mask) -> "Target":
        """The target reduced to some of its voxels (indices or a mask), without half-maps."""
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
    grid: HklGrid, indices: Integers, values: Floats, space_group: str
) -> DiffuseMap:
    """A whole map, all Laue mates, from values (V,) at samples (V, 3); NaN elsewhere.

    Raises
    ------
    InputError
        Where the space group is unknown, or does not fit the grid.
    """
    grid.require(indices)
    intensity = np.full(grid.shape, np.nan, np.float32)
    operations = grid_operations(grid, space_group)
    for first in range(0, len(indices), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        for operation in operations:
            place = indices[some] @ operation + grid.extent
            there = inside(place, grid.shape)
            intensity[tuple(place[there].T)] = values[some][there]
    return DiffuseMap(grid, intensity, space_group)


@dataclass(frozen=True)
class Cut:
    """A target, and what was left of the map on the way to it.

    Attributes
    ----------
    target : Target
    statistics : MergeStatistics
        Of all that is measured in the range and outside the halos, before cut-offs.
    left_out : dict
        How many merged voxels each cut-off has left out.
    said : tuple of str
        Which range and shells were taken, where that is not just what was asked for.
    subtracted : Subtracted or None
        The calculated map that was subtracted.
    """

    target: Target
    statistics: MergeStatistics
    left_out: dict[str, int]
    said: tuple[str, ...] = ()
    subtracted: Subtracted | None = None


def make_target(
    diffuse: DiffuseMap, options: TargetOptions, subtract: Subtrahend | None = None
) -> Target:
    """Mask the halos, cut the resolution range, merge Laue mates and choose the free set.

    Raises
    ------
    InputError
        See `cut_map`.
    """
    return cut_map(diffuse, options, subtract).target


def cut_map(diffuse: DiffuseMap, options: TargetOptions, subtract: Subtrahend | None = None) -> Cut:
    """The same, with the statistics of merging.

    A calculated map is subtracted from what the cut-offs have left of the merged voxels, and of
    the half-maps; the statistics are of what was measured.

    Raises
    ------
    InputError
        Where no voxel is left, the space group is unknown or does not fit the map,
        intensities are infinite, or errors are asked for that the map lacks; as of
        `subtraction`.
    """
    _check_map(diffuse, options)
    options, said = with_range(diffuse, options)
    operations = grid_operations(diffuse.grid, diffuse.space_group)
    lattice = centring(diffuse.space_group, diffuse.grid.unit_cell)
    indices = candidate_indices(diffuse.grid, operations, options, lattice)
    inverse_d = np.sqrt(diffuse.grid.inverse_d_squared(indices))
    edges = shell_edges(*options.limits(), options.n_shells)
    shells = shell_index(inverse_d, edges)
    merged = merge_mates(diffuse, indices, operations, shells, options.n_shells)
    if not merged.statistics.unique[-1]:
        raise _nothing_left(options)
    kept, left_out = _kept(merged, shells, options)
    found = None
    if subtract is not None:
        model = calculated_at(subtract, diffuse.grid, indices, diffuse.space_group, kept)
        left_out["without a calculated value"] = int((kept & np.isnan(model)).sum())
        kept &= ~np.isnan(model)
        found = scaled(merged.intensity, model, kept, shells, subtract)
        merged = merged.less(found.values)
    target = _of_kept(diffuse, options, indices, inverse_d, merged, kept)
    if options.free_block > 1:
        free, rim = free_blocks(target.indices, diffuse.grid, diffuse.space_group, *_free(options))
        left_out["in the rims of free blocks"] = int(rim.sum())
        target = replace(target, free=free).at(~rim)
        kept[np.flatnonzero(kept)[rim]] = False
    counts = [
        np.bincount(shells[kept][f], minlength=options.n_shells)
        for f in (~target.free, target.free)
    ]
    starts = sturdy_shells(*counts)
    told = [shells_text(edges, starts), few_text(*(int(of_kind.sum()) for of_kind in counts))]
    target = replace(target, shell_edges=edges[starts])
    if merged.halves is not None:
        target = replace(target, half_sums=_half_sums(target, merged.halves[:, kept]))
    if found is not None:
        said = (*said, f"subtracted   {found.text()}")
    said = (*said, *_without_errors(merged.without_error))
    said = (*said, *(f"shells       {x}" for x in told if x), *_free_line(target, operations))
    return Cut(target, merged.of_joined(starts), left_out, said, found)


def _free(options: TargetOptions) -> tuple[float, int, int]:
    return options.free_fraction, options.seed, options.free_block


def _without_errors(n: int) -> tuple[str, ...]:
    """Measured voxels whose Laue mates are taken alone."""
    if not n:
        return ()
    return (
        f"errors       {n} measured voxels have none that is above 0 and finite: the mean of their "
        "Laue mates is without them",
    )


def _free_line(target: Target, operations: Integers) -> tuple[str, ...]:
    """How far the free set is from the working set."""
    if not target.free.any() or target.free.all():
        return ()
    part = touching(target.indices, target.free, operations)
    beside = f"{100 * part:.0f} % of them touch" if part else "none of them touches"
    hint = ", and are correlated with it: --free-block 3 keeps a distance"
    return (
        f"free set     {target.free.sum()} voxels; {beside} a working one"
        f"{hint if part > _TOO_NEAR else ''}",
    )


def with_range(
    diffuse: DiffuseMap, options: TargetOptions
) -> tuple[TargetOptions, tuple[str, ...]]:
    """The options with a resolution range, and what is to be said about it.

    By default d_min is the map's own, see `shells.reach`, and d_max that of the paper; of
    a range that d_min leaves too little of, twice d_min, about the ratio of the paper's.

    Raises
    ------
    InputError
        Where nothing is measured, or the map ends before d_max.
    """
    d_max, d_min, said = options.d_max_A, options.d_min_A, []
    if d_min is None:
        if not np.isfinite(diffuse.intensity).any():
            raise InputError("no voxel of the map is measured: expected some that are not NaN")
        # Rounded towards finer ones, so that the last voxels are not lost.
        d_min = math.floor(1e3 / reach(diffuse.intensity, diffuse.grid) * (1 + 1e-9)) / 1e3
        said.append(f"to {d_min:g} Å, where the map ends (--d-min)")
    if d_max is None:
        d_max = D_MAX_A if d_min <= _ENOUGH * D_MAX_A else 2 * d_min
        why = "" if d_max == D_MAX_A else f": the paper's {D_MAX_A:g} Å would leave too little"
        said.append(f"from {d_max:g} Å (--d-max){why}")
    if d_max <= d_min:
        raise InputError(
            f"the map ends at {d_min:g} Å: expected --d-max above that, found {d_max:g}"
            if options.d_min_A is None
            else f"from {d_max:g} to {d_min:g} Å there is nothing: expected --d-max above --d-min"
        )
    lines = (f"resolution   {'; '.join(reversed(said))}",) if said else ()
    return replace(options, d_max_A=d_max, d_min_A=d_min), lines


def _of_kept(
    diffuse: DiffuseMap,
    options: TargetOptions,
    indices: Integers,
    inverse_d: Floats,
    merged: Merged,
    kept: Mask,
) -> Target:
    """The target of the voxels that are kept, with one shell for all."""
    indices, intensity = indices[kept], merged.intensity[kept]
    if options.remove_isotropic:
        intensity = intensity - isotropic_background(intensity, inverse_d[kept])
    grid = _enlarged(diffuse.grid, np.abs(indices).max(axis=0))
    return Target(
        grid=grid,
        indices=indices,
        intensity=intensity.astype(np.float32),
        errors=None if merged.errors is None else merged.errors[kept].astype(np.float32),
        free=free_set(indices, grid, diffuse.space_group, options.free_fraction, options.seed),
        shell_edges=shell_edges(*options.limits(), 1),
        space_group=diffuse.space_group,
    )


def _half_sums(target: Target, halves: Floats) -> Floats:
    """See `Target.half_sums`."""
    n = target.n_shells
    bins = target.free * n + target.shells()
    one, other = halves
    return pair_sums(one, other, bins, 2 * n).reshape(2, n, -1)


def _check_map(diffuse: DiffuseMap, options: TargetOptions) -> None:
    if np.isinf(diffuse.intensity).any():
        raise InputError("the map holds infinite intensities: expected numbers, NaN where masked")
    if diffuse.errors is not None:
        wrong = int(((diffuse.errors < 0) & np.isfinite(diffuse.intensity)).sum())
        if wrong:
            raise InputError(
                f"the map's errors are negative at {wrong} measured voxels: expected standard "
                "deviations; correct intensity_errors, or make these voxels' intensities NaN"
            )
    if options.min_i_over_sigma is not None and diffuse.errors is None:
        raise InputError(
            "the map has no intensity errors, which --min-i-over-sigma needs: expected a map with "
            "errors; leave the option out"
        )


def _kept(merged: Merged, shells: Integers, options: TargetOptions) -> tuple[Mask, dict[str, int]]:
    """Mask (V,) of the voxels to keep, one cut-off after the other, and what each leaves out."""
    intensity, errors = merged.intensity, merged.errors
    kept = np.isfinite(intensity)
    left_out: dict[str, int] = {}

    def leave_out(bad: Mask, why: str) -> None:
        left_out[why] = int((kept & bad).sum())
        kept[bad] = False

    if errors is not None:
        leave_out(~usable_errors(errors), "without a usable error")
    if options.min_i_over_sigma is not None and errors is not None:
        weak = intensity < options.min_i_over_sigma * errors
        leave_out(weak, f"I/sigma below {options.min_i_over_sigma:g}")
    if options.outliers is not None:
        far = _outliers(intensity, kept, shells, options)
        leave_out(far, f"beyond {options.outliers:g} standard deviations of their shell")
    if not kept.any():
        counts = ", ".join(f"{n} {why}" for why, n in left_out.items() if n)
        raise InputError(
            f"every voxel between {options.d_max_A} and {options.d_min_A} Å is left out "
            f"({counts}): expected some that pass; relax --min-i-over-sigma or --outliers, or "
            "correct the map's errors"
        )
    return kept, left_out


def _outliers(intensity: Floats, kept: Mask, shells: Integers, options: TargetOptions) -> Mask:
    """Mask (V,) of the kept voxels too far from the mean of those in their shell."""
    x, bins = intensity[kept], shells[kept]
    count = np.maximum(np.bincount(bins, minlength=options.n_shells), 1)
    deviation = x - (np.bincount(bins, x, options.n_shells) / count)[bins]
    variance = np.bincount(bins, deviation**2, options.n_shells) / count
    far = np.zeros(len(intensity), bool)
    far[kept] = np.abs(deviation) > options.outliers * np.sqrt(variance)[bins]
    return far


def _nothing_left(options: TargetOptions) -> InputError:
    return InputError(
        f"no unmasked voxel between {options.d_max_A} and {options.d_min_A} Å: "
        "expected a map that covers this range; change --d-max and --d-min"
    )


def candidate_indices(
    grid: HklGrid, operations: Integers, options: TargetOptions, lattice: Centring = PRIMITIVE
) -> Integers:
    """One of each set of Laue mates in the resolution range, none of them within a halo.

    All that there are, whether or not the map's grid reaches as far.

    Raises
    ------
    InputError
        Where there is none.
    """
    d_max, d_min = options.limits()
    whole = _grid_to_range(grid, operations, d_min)
    indices = unique_indices(whole, d_max, d_min, operations)
    if not len(indices):
        raise _nothing_left(options)
    if options.halos_only:
        return _within_halos(indices, grid, operations, options, lattice)
    if one_per_peak(grid, lattice) and np.all(options.halo_radius):
        raise InputError(
            "the map has one voxel per integer hkl, each of them within a halo: halos cannot be "
            "masked; give --halo-radius 0 to keep them"
        )
    # A sphere in hkl is not symmetric on trigonal and hexagonal axes.
    for operation in one_of_each_inverse(operations):
        mates = indices @ operation
        indices = indices[outside_halos(mates, grid, options.halo_radius, lattice)]
    if not len(indices):
        radius = ", ".join(f"{r:.3g}" for r in np.atleast_1d(options.halo_radius))
        raise InputError(
            f"halo radius {radius} leaves no voxel at {grid.divisions} samples "
            "per reciprocal-lattice unit: expected a finer map, or a smaller --halo-radius"
        )
    return indices


def _within_halos(
    indices: Integers,
    grid: HklGrid,
    operations: Integers,
    options: TargetOptions,
    lattice: Centring,
) -> Integers:
    """Those of some samples that halos would be masked with."""
    if not np.all(options.halo_radius):
        raise InputError("--halos-only: expected a --halo-radius above 0, which they lie within")
    between = np.ones(len(indices), bool)
    for operation in one_of_each_inverse(operations):
        between &= outside_halos(indices @ operation, grid, options.halo_radius, lattice)
    return indices[~between]


def one_per_peak(grid: HklGrid, lattice: Centring = PRIMITIVE) -> bool:
    """Whether a grid has no other samples than Bragg peaks."""
    return lattice == PRIMITIVE and bool(np.all(np.equal(grid.divisions, 1)))


def _grid_to_range(grid: HklGrid, operations: Integers, d_min: float) -> HklGrid:
    """The grid, enlarged to hold all its samples down to `d_min` (Å), or to its own corners.

    A map need not reach equally far along axes that Laue operations mix, and a map that ends
    short of the range is incomplete. Of a thin slab or a very oblique cell, whose sphere would
    be too large, only the mates are held, and completeness is that of the map's box.
    """
    # Symmetric cells are so to 0.1 % only.
    d_min = max(d_min, 0.998 * d_min_of_corners(grid))
    sphere = grid_to_resolution(grid.unit_cell, grid.divisions, d_min).extent
    whole = _enlarged(grid, sphere)
    if math.prod(whole.shape) <= max(_MOST_POINTS, 8 * math.prod(grid.shape)):
        return whole
    mates = (np.abs(operations) * np.array(grid.extent)[:, None]).sum(axis=1).max(axis=0)
    return _enlarged(grid, np.minimum(mates, sphere))


def d_min_of_corners(grid: HklGrid) -> float:
    """The finest resolution of any sample of a grid, Å."""
    signs = 1 - 2 * np.argwhere(np.ones((2, 2, 2)))
    s_squared = grid.inverse_d_squared(signs * np.array(grid.extent)).max()
    return float(1 / np.sqrt(s_squared)) if s_squared else np.inf


def _enlarged(grid: HklGrid, extent: Integers | tuple[int, int, int]) -> HklGrid:
    largest = np.maximum(grid.extent, extent)
    return replace(grid, extent=along_hkl(largest.tolist()))


def outside_halos(
    indices: Integers,
    grid: HklGrid,
    halo_radius: float | tuple[float, float, float],
    lattice: Centring = PRIMITIVE,
) -> Mask:
    """Mask of the samples (V, 3) farther than `halo_radius` from every Bragg peak.

    Three radii, along h, k and l, are those of an ellipsoid. Samples on its surface are within
    the halo; a radius of 0 masks nothing.
    """
    if not np.all(halo_radius):
        return np.ones(len(indices), bool)
    outside = np.empty(len(indices), bool)
    for first in range(0, len(indices), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        hkl = indices[some] / np.array(grid.divisions)
        away = np.linalg.norm((hkl - nearest_bragg(hkl, lattice)) / halo_radius, axis=-1)
        outside[some] = away > 1 + 1e-9
    return outside


def target_arrays(voxels: int, has_errors: bool) -> list[float]:
    """Bytes of each array of a `Target`: indices, intensity, free set, errors."""
    return [24 * voxels, 4 * voxels, voxels, 4 * voxels * has_errors]
