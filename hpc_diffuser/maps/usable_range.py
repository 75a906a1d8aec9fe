"""Which range of a map to fit: as far down as it is measured, as far up as mates agree."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hpc_diffuser.crystal.lattice import centring
from hpc_diffuser.crystal.symmetry import grid_operations
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.merging import Merged, merge_mates
from hpc_diffuser.maps.statistics import correlations, shell_edges, shell_index
from hpc_diffuser.maps.target import candidate_indices, one_per_peak, with_range
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.system.arrays import Floats

LOW_END_A = 10.0  # beyond, beam stop and air tell more than the molecule
LEAST_CC = 0.5
_WIDTH = 0.01  # of a shell, in 1/Å
_LEAST_PAIRS = 50  # of a CC; fewer say nothing
_LEAST_COMPLETE = 0.5  # of what the middle one of the measured shells is
_ENOUGH = 0.75  # of d_max: a d_min beyond leaves too little of the range


class UsableRange(NamedTuple):
    """A resolution range, and why it ends where it does.

    Attributes
    ----------
    d_max_A, d_min_A : float, Å
    low, high : str
        The rules that gave them.
    """

    d_max_A: float
    d_min_A: float
    low: str
    high: str


def usable_range(diffuse: DiffuseMap) -> UsableRange:
    """The range of a map that is worth fitting.

    It begins at 10 Å, or where shells of 0.01 Å⁻¹ begin to be measured at least half as completely
    as the middle one of those that are; where that is no further down than 3.3 Å, the paper's, as
    `with_range` has it.

    It ends with the last shell in which Friedel mates, Laue mates and half-maps, as far as there
    are 50 pairs of a kind, all agree with a CC of 0.5 at least; where nothing can be compared, or
    nothing agrees, where the map ends.

    Raises
    ------
    InputError
        See `with_range` and `candidate_indices`.
    """
    usual, _ = with_range(diffuse, TargetOptions())
    d_usual, end = usual.limits()
    start = LOW_END_A if end <= _ENOUGH * LOW_END_A else d_usual
    edges = shell_edges(start, end, max(1, round((1 / end - 1 / start) / _WIDTH)))
    merged = _merged(diffuse, replace(usual, d_max_A=start), edges)
    d_max, low = _low_end(1 / edges, merged, d_usual)
    cc = _least_cc(merged)
    agree = np.flatnonzero(cc >= LEAST_CC)
    if not np.isfinite(cc).any():
        return UsableRange(d_max, end, low, "the map's end: it has no mates or halves to compare")
    # Rounded towards finer ones, so that the last voxels are not lost.
    d_min = math.floor(1e3 / edges[agree[-1] + 1] * (1 + 1e-9)) / 1e3 if len(agree) else np.inf
    if d_min > _ENOUGH * d_max:
        high = f"the map's end, though mates or halves agree nowhere to CC {LEAST_CC:g}"
        return UsableRange(d_max, end, low, high)
    if not (cc[agree[-1] + 1 :] < LEAST_CC).any():
        high = f"the map's end: mates and halves agree so far, CC {cc[agree[-1]]:.2f}"
        return UsableRange(d_max, end, low, high)
    high = f"beyond, mates or halves agree to less than CC {LEAST_CC:g}"
    return UsableRange(d_max, d_min, low, high)


def _merged(diffuse: DiffuseMap, options: TargetOptions, edges: Floats) -> Merged:
    """Mates outside the halos, where there is an outside."""
    operations = grid_operations(diffuse.grid, diffuse.space_group)
    lattice = centring(diffuse.space_group, diffuse.grid.unit_cell)
    if one_per_peak(diffuse.grid, lattice):
        options = replace(options, halo_radius=0.0)
    indices = candidate_indices(diffuse.grid, operations, options, lattice)
    shells = shell_index(np.sqrt(diffuse.grid.inverse_d_squared(indices)), edges)
    return merge_mates(diffuse, indices, operations, shells, len(edges) - 1)


def _low_end(d_A: Floats, merged: Merged, d_usual_A: float) -> tuple[float, str]:
    """Where it begins, of shells between d_A (n+1,), and why."""
    possible, unique, _ = merged.sums["counts"].T
    complete = np.divide(unique, possible, out=np.full(len(possible), np.nan), where=possible > 0)
    enough = complete >= _LEAST_COMPLETE * np.median(complete[unique > 0])
    first = int(np.argmax(enough)) if enough.any() else 0
    while first and not possible[first - 1]:
        first -= 1  # there is nothing that could be measured
    found = math.ceil(1e3 * d_A[first] * (1 - 1e-9)) / 1e3
    if found <= d_usual_A:
        return d_usual_A, "the map reaches no further down" if first else "twice where it ends"
    return found, "where the map begins" if first else f"the map reaches {found:g} Å"


def _least_cc(merged: Merged) -> Floats:
    """The lowest CC (n,) of mates and halves in every shell; NaN where there are too few."""
    every = []
    for name, in_both_orders in (("friedel", 2), ("laue", 2), ("half", 1)):
        sums = merged.sums[name]
        cc = correlations(sums)
        every.append(np.where(sums[:, 0] / in_both_orders >= _LEAST_PAIRS, cc, np.nan))
    least: Floats = np.fmin.reduce(every)
    return least
