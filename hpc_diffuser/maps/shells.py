"""Which resolution shells a map gives: how far it reaches, and none that says next to nothing."""

from itertools import pairwise

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.maps.statistics import inverse_d_planes, resolution_range
from hpc_diffuser.system.arrays import Floats, Integers

LEAST_WORKING, LEAST_FREE = 50, 10  # voxels of a shell; the error of a CC is about 1/√n
LEAST_PART = 0.2  # of the mean over the shells
_LEAST_COMPLETE = 0.75  # of the map's typical completeness
_MOST_BINS = 100


def reach(intensity: Floats, grid: HklGrid) -> float:
    """How far a map is measured all around: the 1/d (Å⁻¹) beyond which its shells are thin.

    In thin shells from 000 to the farthest voxel, as coarse as the samples allow, completeness is
    the number of measured voxels over the shell's volume, and the map's typical completeness
    is the one that half of all voxels exceed. The last shell with at least three quarters of that
    ends the map. So the corners of a box are beyond it; a wedge of the sphere, or one
    asymmetric unit, which is equally incomplete everywhere, is taken to its end.

    Parameters
    ----------
    intensity : (H, K, L) float
        NaN where not measured; one voxel has to be.
    grid : HklGrid
    """
    _, farthest = resolution_range(intensity, grid)
    metric = grid.metric()
    step = np.sqrt(np.diag(metric).max())
    edges = np.linspace(0, farthest, 1 + int(np.clip(farthest / (2 * step), 1, _MOST_BINS)))
    measured = np.zeros(len(edges) - 1)
    for plane, s in zip(intensity, inverse_d_planes(grid), strict=True):
        measured += np.histogram(s[np.isfinite(plane)], edges)[0]
    volume = 4 / 3 * np.pi * np.diff(edges**3)
    complete = measured * np.sqrt(np.linalg.det(metric)) / volume
    order = np.argsort(complete)
    typical = complete[order][np.searchsorted(np.cumsum(measured[order]), measured.sum() / 2)]
    return float(edges[np.flatnonzero(complete >= _LEAST_COMPLETE * typical)[-1] + 1])


def sturdy_shells(working: Integers, free: Integers) -> Integers:
    """Neighbouring shells joined until each has enough voxels; empty ones at the ends left out.

    Every shell counts alike in the mean CC, whatever its voxels. Enough are `LEAST_WORKING`
    and `LEAST_FREE` voxels, and `LEAST_PART` of what the shells with any have on average; of
    the free ones where there are any at all. A shell with fewer is joined with the next, the last
    with the one before.

    Parameters
    ----------
    working, free : (n,) int
        Voxels of each shell.

    Returns
    -------
    (m+1,) int
        Where the joined shells begin, of the n; the last number is where the last one ends.
    """
    filled = np.flatnonzero(working + free)
    first, end = filled[0], filled[-1] + 1
    starts, sums = [int(first)], np.zeros(2)
    counts = np.stack([working, free])
    least = _least(counts[:, filled])
    for shell in range(first, end):
        sums += counts[:, shell]
        if (sums >= least).all():
            starts.append(shell + 1)
            sums[:] = 0
    if len(starts) == 1:
        return np.array([first, end])
    starts[-1] = int(end)
    return np.array(starts)


def _least(counts: Integers) -> Floats:
    """Of working and free voxels (2, n), the least number that a shell should have: (2,)."""
    means = counts.mean(axis=1)
    return np.where(means > 0, np.maximum([LEAST_WORKING, LEAST_FREE], LEAST_PART * means), 0)


def few_text(working: int, free: int) -> str:
    """That all voxels together are too few for a single shell; empty where they are not.

    A target without a free set is not asked for one.
    """
    if working >= LEAST_WORKING and (free >= LEAST_FREE or free == 0):
        return ""
    return (
        f"{working} working and {free} free voxels are all there are, too few for CCs that say "
        f"much: a shell should have at least {LEAST_WORKING} and {LEAST_FREE}"
    )


def shells_text(edges: Floats, starts: Integers) -> str:
    """What was left out and joined of shells with these edges (Å⁻¹); empty where nothing was."""
    asked, first, end = len(edges) - 1, starts[0], starts[-1]
    said = [
        f"none measured in {_range(edges[a], edges[b])}, left out"
        for a, b in ((0, first), (end, asked))
        if a < b
    ]
    joined = [f"{_range(edges[a], edges[b])} ({b - a})" for a, b in pairwise(starts) if b - a > 1]
    if joined:
        said.append(
            f"thin ones joined with their neighbours in {', '.join(joined)} (a shell should "
            f"have at least {LEAST_WORKING} working and {LEAST_FREE} free voxels, and a fifth of "
            "the mean)"
        )
    if not said:
        return ""
    return f"{len(starts) - 1} of the {asked} asked for: {'; '.join(said)}"


def _range(low: float, high: float) -> str:
    return f"{1 / low:.2f}-{1 / high:.2f} Å" if low > 0 else f"∞-{1 / high:.2f} Å"
