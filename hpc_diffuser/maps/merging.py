"""The mean of Laue mates, and how well they agree.

Mates are measured independently of each other: what they have in common is signal. A few
thousand voxels at a time are looked up with all their mates, so that no array holds all mates.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.crystal.lattice import along_hkl
from hpc_diffuser.crystal.symmetry import grid_operations, one_of_each_inverse
from hpc_diffuser.maps.diffuse_map import DiffuseMap, measured_planes, values_at
from hpc_diffuser.maps.statistics import N_SUMS, correlation_sums, correlations, pooled_cc
from hpc_diffuser.system.arrays import Floats, Integers, Mask

_AT_ONCE = 1 << 15  # voxels whose mates are held in memory


@dataclass(frozen=True)
class MergeStatistics:
    """Agreement of Laue mates by resolution shell; last in each array, over all shells.

    Attributes
    ----------
    unique : (n+1,) int
        Sets of mates of which at least one is measured.
    completeness : (n+1,) float
        Their part of the sets that there are in the shell, outside the halos.
    multiplicity : (n+1,) float
        Measured mates in a set, on average; a voxel on a symmetry element counts once.
    r_int : (n+1,) float
        Σ|I − ⟨I⟩| / Σ⟨I⟩ over all measured mates of sets with at least two. A large isotropic
        background makes it small.
    cc_friedel, cc_laue : (n+1,) float
        Pearson CC over all pairs of Friedel mates, and of any mates, each pair in both orders;
        over all shells after the mean of each shell is subtracted.
    cc_half : (n+1,) float
        The same of the two half-maps' merged voxels; NaN without them.
    """

    unique: Integers
    completeness: Floats
    multiplicity: Floats
    r_int: Floats
    cc_friedel: Floats
    cc_laue: Floats
    cc_half: Floats


@dataclass(frozen=True)
class Merged:
    """Mean intensity of the Laue mates.

    Attributes
    ----------
    intensity : (V,) float
        NaN where no mate is measured.
    errors : (V,) float or None
        Of the means of independent measurements.
    halves : (2, V) float or None
        The two half-maps' own means.
    sums : dict
        Of which the statistics are made: each (n, ...) by shell.
    without_error : int
        Measured mates that were not merged, as they have no usable error and another mate has.
    """

    intensity: Floats
    errors: Floats | None
    halves: Floats | None
    sums: dict[str, Floats]
    without_error: int = 0

    @property
    def statistics(self) -> MergeStatistics:
        """How well mates agree, by shell and overall."""
        return _statistics(self.sums)

    def less(self, values: Floats) -> "Merged":
        """With values (V,) subtracted, from the halves too; the agreement is that of before."""
        halves = None if self.halves is None else self.halves - values
        return replace(self, intensity=self.intensity - values, halves=halves)

    def of_joined(self, starts: Integers) -> MergeStatistics:
        """The same of neighbouring shells joined, see `shells.sturdy_shells`.

        Overall the mean of each single shell is subtracted, as before: of wide ones, what the
        intensity falls by inside them would look like agreement.
        """
        single = {name: x[starts[0] : starts[-1]] for name, x in self.sums.items()}
        joined = {name: np.add.reduceat(x, starts[:-1] - starts[0]) for name, x in single.items()}
        by_shell, overall = _statistics(joined), _statistics(single)
        return MergeStatistics(
            **{
                name: np.append(values[:-1], getattr(overall, name)[-1])
                for name, values in vars(by_shell).items()
            }
        )


def merge_mates(
    diffuse: DiffuseMap,
    indices: Integers,
    operations: Integers,
    shells: Integers,
    n_shells: int,
) -> Merged:
    """Merge the Laue mates of samples.

    Parameters
    ----------
    diffuse : DiffuseMap
    indices : (V, 3) int
        One of each set of mates.
    operations : (G, 3, 3) int
        Laue operations, of which each has its inverse's negative among them.
    shells : (V,) int
        Resolution shell of each sample.
    n_shells : int
    """
    operations = _friedel_mates_apart(operations)
    intensity = np.empty(len(indices))
    errors = None if diffuse.errors is None else np.empty(len(indices))
    halves = None if diffuse.halves is None else np.empty((2, len(indices)))
    sums, without_error = _no_sums(n_shells), 0
    for some, mates in _mates(indices, operations):
        repeats = (mates == indices[some]).all(axis=-1).sum(axis=0)
        values = values_at(diffuse.intensity, mates)
        if errors is not None and diffuse.errors is not None:
            of_mates = values_at(diffuse.errors, mates)
            values, dropped = _with_errors(values, of_mates, repeats)
            without_error += dropped
            errors[some] = _error_of_mean(values, of_mates, repeats)
        intensity[some] = mean_of_mates(values)
        parts = _agreement(values, intensity[some], repeats, indices[some], shells[some], n_shells)
        if halves is not None and diffuse.halves is not None:
            halves[:, some] = [mean_of_mates(values_at(half, mates)) for half in diffuse.halves]
            one, other = halves[:, some]
            parts["half"] = pair_sums(one, other, shells[some], n_shells)
        for name, part in parts.items():
            sums[name] += part
    return Merged(intensity, errors, halves, sums, without_error)


def merged_intensity(array: Floats, indices: Integers, operations: Integers) -> Floats:
    """Mean (V,) of a map's measured values at i W, for samples i (V, 3) and all operations W."""
    merged = np.empty(len(indices))
    for some, mates in _mates(indices, operations):
        merged[some] = mean_of_mates(values_at(array, mates))
    return merged


def completed(diffuse: DiffuseMap) -> DiffuseMap:
    """A map whose voxels that were not measured have the values of a Laue mate that was.

    Raises
    ------
    InputError
        Where the space group is unknown, or does not fit the grid.
    """
    old = diffuse.grid
    operations = grid_operations(old, diffuse.space_group)
    mates = (np.abs(operations) * np.array(old.extent)[:, None]).sum(axis=1).max(axis=0)
    grid = replace(old, extent=along_hkl(np.maximum(mates, old.extent).tolist()))
    place = tuple(slice(e - o, e + o + 1) for e, o in zip(grid.extent, old.extent, strict=True))
    every = (diffuse.intensity, diffuse.errors, *(diffuse.halves or ()))
    arrays = [array for array in every if array is not None]
    new = [np.full(grid.shape, np.nan, a.dtype) for a in arrays]
    for array, whole in zip(arrays, new, strict=True):
        whole[place] = array
    for measured, indices in measured_planes(diffuse):
        for operation in operations:
            there = tuple((indices @ operation + grid.extent).T)
            empty = np.isnan(new[0][there])
            here, there = (tuple(x[empty] for x in voxels) for voxels in (measured, there))
            for array, whole in zip(arrays, new, strict=True):
                whole[there] = array[here]
    intensity, *others = new
    errors = None if diffuse.errors is None else others.pop(0)
    halves = None if diffuse.halves is None else (others[0], others[1])
    return DiffuseMap(grid, intensity, diffuse.space_group, errors, halves)


def mean_of_mates(values: Floats) -> Floats:
    """Mean (V,) of the finite ones of values (G, V); NaN where there is none."""
    measured = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(measured, values, 0).sum(axis=0) / measured.sum(axis=0)
        return mean


def _mates(indices: Integers, operations: Integers) -> Iterator[tuple[slice, Integers]]:
    """Which samples, and their mates (G, v, 3), some at a time."""
    for first in range(0, len(indices), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        yield some, indices[some] @ operations


def _friedel_mates_apart(operations: Integers) -> Integers:
    """The operations in an order in which W and −W are G/2 places apart."""
    half = one_of_each_inverse(operations)
    return np.concatenate([half, -half])


def usable_errors(errors: Floats) -> Mask:
    """Which errors are standard deviations: finite, and above 0."""
    usable: Mask = np.isfinite(errors) & (errors > 0)
    return usable


def _with_errors(values: Floats, errors: Floats, repeats: Integers) -> tuple[Floats, int]:
    """Values (G, v) without the mates that have no usable error where another has one; how many.

    An error of 0 says that it is not known, not that the value is exact.
    """
    measured, usable = np.isfinite(values), usable_errors(errors)
    dropped = measured & ~usable & (measured & usable).any(axis=0)
    return np.where(dropped, np.nan, values), round((dropped.sum(axis=0) / repeats).sum())


def _error_of_mean(values: Floats, errors: Floats, repeats: Integers) -> Floats:
    """Error (v,) of the mean of values (G, v).

    With m operations that leave a sample where it is, each of its mates comes m times. That does
    not change the mean Σ I / n, but the error √(Σ σ²) / n of n different mates is then
    √(m Σ σ²) / (m n).
    """
    measured = np.isfinite(values)
    variance = np.where(measured, errors**2, 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        error: Floats = np.sqrt(repeats * variance) / measured.sum(axis=0)
        return error


def _no_sums(n_shells: int) -> dict[str, Floats]:
    columns = {"counts": 3, "r_int": 2, "friedel": N_SUMS, "laue": N_SUMS, "half": N_SUMS}
    return {name: np.zeros((n_shells, n)) for name, n in columns.items()}


def _agreement(
    values: Floats,
    mean: Floats,
    repeats: Integers,
    indices: Integers,
    shells: Integers,
    n_shells: int,
) -> dict[str, Floats]:
    """Sums by shell of what mates (G, v) have in common; each of them comes `repeats` times."""
    measured = np.isfinite(values)
    known = np.where(measured, values, 0)
    n, total, squares = (x.sum(axis=0) / repeats for x in (measured, known, known**2))
    spread = np.where(measured, np.abs(values - mean), 0).sum(axis=0) / repeats
    one, other = np.split(known, 2)
    both = np.logical_and(*np.split(measured, 2)) & indices.any(axis=1)  # 000 is its own mate
    friedel = (2 * both, both * (one + other), both * (one**2 + other**2), 2 * both * one * other)
    # Of n mates there are n(n − 1) pairs in either order: Σ_{i≠j} x_i x_j = (Σ x)² − Σ x².
    laue = (n * (n - 1), (n - 1) * total, (n - 1) * squares, total**2 - squares)

    def by_shell(*terms: Floats) -> Floats:
        return np.stack([np.bincount(shells, term, n_shells) for term in terms], axis=1)

    return {
        "counts": by_shell(np.ones_like(n), n > 0, n),
        "r_int": by_shell(spread, total * (n > 1)),
        "friedel": _both_orders(by_shell(*(x.sum(axis=0) / repeats for x in friedel))),
        "laue": _both_orders(by_shell(*laue)),
    }


def _both_orders(sums: Floats) -> Floats:
    """Sums N, Σx, Σx², Σxy over pairs in both orders as the six of `correlation_sums`."""
    return sums[:, [0, 1, 1, 2, 2, 3]]


def pair_sums(one: Floats, other: Floats, shells: Integers, n_shells: int) -> Floats:
    """The sums of `correlation_sums` over the voxels that both maps (V,) have."""
    both = np.isfinite(one) & np.isfinite(other)
    return correlation_sums(one[both], other[both], None, shells[both], n_shells)


def _statistics(sums: dict[str, Floats]) -> MergeStatistics:
    counts, r_int = (_with_total(sums[name]) for name in ("counts", "r_int"))
    possible, unique, measured = counts.T
    return MergeStatistics(
        unique=unique.astype(np.int64),
        completeness=_ratio(unique, possible),
        multiplicity=_ratio(measured, unique),
        r_int=_ratio(*r_int.T),
        cc_friedel=_with_pooled(sums["friedel"]),
        cc_laue=_with_pooled(sums["laue"]),
        cc_half=_with_pooled(sums["half"]),
    )


def _with_total(sums: Floats) -> Floats:
    return np.vstack([sums, sums.sum(axis=0)])


def _with_pooled(sums: Floats) -> Floats:
    return np.append(correlations(sums), pooled_cc(sums))


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)
    return ratio
