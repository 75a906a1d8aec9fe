"""How sure a CC is, by resampling Brillouin zones: neighbouring voxels do not err on their own.

What a zone holds, with all its Laue mates, is drawn or left out as a whole; and so are blocks of
3 x 3 x 3 zones, as what neighbouring zones say is not independent either (of measured lysozyme and
nuclease maps correlated by 0.2 to 0.4). Sums by block and shell are made once; a resampling adds
them up, not voxels.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.lattice import (
    brillouin_zone,
    canonical_mates,
    centring,
    laue_operations,
)
from hpc_diffuser.maps.statistics import N_SUMS, SCORES, correlations
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.system.arrays import Floats, Integers, Mask

REPLICATES = 500  # an error is then known to 3 %
BLOCK = 3  # zones along h, k and l that are drawn together
FEWEST_BLOCKS = 100  # working ones, or blocks are smaller: an error is then known to 7 %
_SEED = 1  # of the resampling: the same maps give the same errors
_AT_ONCE = 1 << 22  # counts of zones that are held in memory
_VOXELS_AT_ONCE = 1 << 16  # whose zones are looked for


@dataclass(frozen=True)
class Zones:
    """The units that are resampled: the working voxels of a block of zones, or its free ones.

    Attributes
    ----------
    unit : (V,) int
        Of each voxel.
    free : (U,) bool
        Of each unit.
    size : int
        Zones along h, k and l in a block; 1: single ones.
    neighbours : (N, 3) int
        Which working units have a face in common: the axis, and both units; each pair twice.
        None of a centred lattice, whose zones' faces lie along other directions.
    """

    unit: Integers
    free: Mask
    size: int
    neighbours: Integers


def blocks_of(target: Target) -> Zones:
    """The largest blocks of zones, up to `BLOCK`, of which there are enough."""
    for size in range(BLOCK, 1, -1):
        found = zones_of(target, size)
        if (~found.free).sum() >= FEWEST_BLOCKS:
            return found
    return zones_of(target)


def zones_of(target: Target, size: int = 1) -> Zones:
    """Which Brillouin zone, or block of zones, each voxel is in, Laue mates of zones being one.

    As `lattice.laue_zones` of voxels that are canonical mates themselves, which a target's are:
    only the zones are replaced by their mates. Blocks end where the asymmetric unit does.

    Parameters
    ----------
    target : Target
    size : int
        Zones along h, k and l in a block.
    """
    crystal = (target.space_group, target.grid.unit_cell)
    zones, own = _distinct_zones(target)
    mates = canonical_mates(zones, laue_operations(*crystal))
    blocks = (2 * mates + size) // (2 * size)  # the nearest; of two as near, the higher
    _, mate = np.unique(blocks, axis=0, return_inverse=True)
    key = 2 * mate.reshape(-1)[own] + target.free
    kinds, unit = np.unique(key, return_inverse=True)
    unit = unit.reshape(-1)
    of_zone = np.full(len(zones), -1)
    of_zone[own[~target.free]] = unit[~target.free]
    faces = _neighbours(mates, of_zone, laue_operations(*crystal))
    return Zones(unit, kinds % 2 == 1, size, faces)


def _neighbours(mates: Integers, units: Integers, operations: Integers) -> Integers:
    """Which units have a face in common: (N, 3) int.

    Parameters
    ----------
    mates : (Z, 3) int
        The zones' hkl, the canonical one of each set of mates.
    units : (Z,) int
        Which unit they are in; -1 of those that do not count.
    operations : (G, 3, 3) int
    """
    unit_of = {tuple(m): u for m, u in zip(mates.tolist(), units.tolist(), strict=True) if u >= 0}
    zones = np.array(list(unit_of), np.int64).reshape(-1, 3)
    found: dict[tuple[int, int], int] = {}
    for axis, step in enumerate(np.eye(3, dtype=np.int64)):
        for beside in (canonical_mates(zones + sign * step, operations) for sign in (1, -1)):
            for one, there in zip(unit_of.values(), map(tuple, beside.tolist()), strict=True):
                other = unit_of.get(there, one)
                if other != one:
                    found.setdefault((one, other), axis)
                    found.setdefault((other, one), axis)
    rows = sorted((axis, *pair) for pair, axis in found.items())
    return np.array(rows, np.int64).reshape(-1, 3)


def most_blocks(voxels: int, divisions: Sequence[float]) -> int:
    """About how many blocks `blocks_of` may find among voxels of a grid.

    Parameters
    ----------
    voxels : int
    divisions : sequence of float
        Samples per reciprocal-lattice unit.
    """
    large = voxels / math.prod(divisions) / BLOCK**3
    # Smaller blocks are taken where there are fewer than FEWEST_BLOCKS of them.
    return max(FEWEST_BLOCKS * BLOCK**3, math.ceil(large))


def zones_bytes(voxels: int) -> list[float]:
    """Bytes of each of the arrays that `zones_of` works with at once: V int64 each."""
    return [8.0 * voxels] * 5


def _distinct_zones(target: Target) -> tuple[Integers, Integers]:
    """The zones' hkl (Z, 3), and which of them each voxel is in (V,); some voxels at a time."""
    divisions = target.grid.whole_divisions()
    lattice = centring(target.space_group, target.grid.unit_cell)
    reach = np.ceil(np.abs(target.indices).max(axis=0, initial=0) / divisions).astype(int) + 1
    shape = tuple((2 * reach + 1).tolist())
    key = np.empty(len(target.indices), np.int64)
    for first in range(0, len(key), _VOXELS_AT_ONCE):
        part = slice(first, first + _VOXELS_AT_ONCE)
        zones = brillouin_zone(target.indices[part], divisions, lattice)
        key[part] = np.ravel_multi_index(tuple((zones + reach).T), shape)
    kinds, own = np.unique(key, return_inverse=True)
    zones = np.stack(np.unravel_index(kinds, shape), axis=-1) - reach
    return zones, own.reshape(-1)


@dataclass(frozen=True)
class Resampled:
    """CCs of many resamplings, the same zones in each for every map of a target.

    Attributes
    ----------
    work, free : (B,) float
        The score, over working and over free voxels; NaN where undefined.
    shells_work, shells_free : (B, n) float
        CC in each shell.
    """

    work: Floats
    free: Floats
    shells_work: Floats
    shells_free: Floats


def resampled_cc(
    target: Target,
    calculated: Floats,
    zones: Zones,
    rule: str,
    weights: Floats | None = None,
    replicates: int = REPLICATES,
) -> Resampled:
    """CC of a calculated map with zones drawn with replacement.

    Working and free zones are drawn from their own.

    Parameters
    ----------
    target : Target
    calculated : (V,) float
    zones : Zones
        Of the target.
    rule : {"shell-mean", "pooled"}
    weights : (V,) float, or None for 1
    replicates : int
        B.
    """
    shells, n = target.shells(), target.n_shells
    units, shells_of, sums = _zone_sums(target, calculated, zones, shells, weights)
    counts = target.counts()
    both = (counts > 0).all(axis=0)
    both = both if both.any() else np.ones(n, bool)
    found = []
    for kind in (False, True):
        of_kind = zones.free[units] == kind
        rows = np.cumsum(zones.free == kind)[units[of_kind]] - 1
        n_units = int((zones.free == kind).sum())
        drawn = _drawn_sums(rows, shells_of[of_kind], sums[of_kind], n_units, n, kind, replicates)
        found.append((_scores(drawn[:, both], rule), _by_shell(drawn)))
    (work, shells_work), (free, shells_free) = found
    return Resampled(work, free, shells_work, shells_free)


def drawn_counts(n_units: int, replicates: int, stream: np.random.Generator) -> Iterator[Floats]:
    """How often each of U units is drawn in each of B resamplings: (b, U) float64, some at a time.

    Parameters
    ----------
    n_units, replicates : int
        U, B.
    stream : numpy Generator
    """
    at_once = max(1, _AT_ONCE // max(n_units, 1))
    for first in range(0, replicates, at_once):
        b = min(at_once, replicates - first)
        counts = np.zeros((b, n_units))
        for row in counts if n_units else ():
            row += np.bincount(stream.integers(n_units, size=n_units), minlength=n_units)
        yield counts


def error_and_interval(values: Floats, part: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Standard deviation of replicates, and the lower and upper end of their central part.

    Parameters
    ----------
    values : (B, ...) float
        In units of their own; NaN where undefined.
    part : float
        From 0 to 1.

    Returns
    -------
    error, low, high : (...) float
        NaN where fewer than half of the replicates are known.
    """
    known = np.isfinite(values).sum(axis=0)
    enough = 2 * known >= max(len(values), 1)
    filled = np.where(enough, values, 0.0)
    tail = (1 - part) / 2
    with np.errstate(invalid="ignore"):
        found = (
            np.nanstd(filled, axis=0, ddof=1),
            np.nanquantile(filled, tail, axis=0),
            np.nanquantile(filled, 1 - tail, axis=0),
        )
    error, low, high = (np.where(enough, x, np.nan) for x in found)
    return error, low, high


def _zone_sums(
    target: Target, calculated: Floats, zones: Zones, shells: Integers, weights: Floats | None
) -> tuple[Integers, Integers, Floats]:
    """Of each unit and shell with voxels in common: unit (R,), shell (R,), sums (R, 6)."""
    n = target.n_shells
    size = len(zones.free) * n
    key = zones.unit * n + shells
    x, y = calculated.astype(np.float64), target.intensity.astype(np.float64)
    w = np.ones_like(x) if weights is None else weights.astype(np.float64)
    there = np.flatnonzero(np.bincount(key, minlength=size))
    terms = (w, w * x, w * y, w * x * x, w * y * y, w * x * y)
    sums: Floats = np.stack([np.bincount(key, term, size)[there] for term in terms], axis=1)
    unit: Integers = there // n
    shell: Integers = there % n
    return unit, shell, sums


def _drawn_sums(
    rows: Integers,
    shells: Integers,
    sums: Floats,
    n_units: int,
    n_shells: int,
    kind: bool,
    replicates: int,
) -> Floats:
    """The sums (B, n, 6) of each resampling."""
    stream = generator(_SEED, int(kind))
    parts = []
    for counts in drawn_counts(n_units, replicates, stream):
        part = np.empty((len(counts), n_shells, N_SUMS))
        for shell in range(n_shells):
            own = shells == shell
            part[:, shell] = counts[:, rows[own]] @ sums[own]
        parts.append(part)
    return np.concatenate(parts)


def _by_shell(sums: Floats) -> Floats:
    """CC (B, n) of sums (B, n, 6); NaN without voxels."""
    filled = sums[..., :1] > 0
    safe = np.where(filled, sums, 1.0)
    return np.where(filled[..., 0], correlations(safe), np.nan)


def _scores(sums: Floats, rule: str) -> Floats:
    """The score (B,) of sums (B, n, 6); NaN where nothing is drawn."""
    found = [SCORES[rule](of_one) if (of_one[:, 0] > 0).any() else np.nan for of_one in sums]
    return np.array(found)
