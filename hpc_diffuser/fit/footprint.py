"""How much memory a fit will need, from its sizes: told, or refused, before it begins.

The large arrays of every phase are listed here, by the code that makes them. An array above
32 MiB goes back to the system when it is freed; of smaller ones the process keeps a part, for the
next of that size (glibc's malloc). So a phase needs what the program itself does, its arrays, and
something of what earlier phases needed in small arrays.

Sizes: V voxels of the target, E with their mates, G points of its whole grid; the computed grid
has C voxels and stores W values; in small letters, what the rank that has most holds of them.
"""

import math
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors
from hpc_diffuser.crystal.lattice import HklGrid, fractionalization
from hpc_diffuser.crystal.symmetry import grid_operations, laue_expansion
from hpc_diffuser.fit.problem import Problem, computation
from hpc_diffuser.kernels import density as density_kernel
from hpc_diffuser.kernels import direct_sum
from hpc_diffuser.motion.configurations import motion_along
from hpc_diffuser.motion.ensemble import n_configurations
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import (
    SAMPLE_BATCHES,
    choose_layout,
    group_of,
    share_planes,
)
from hpc_diffuser.scattering.density import MOST_POINTS, DensityTransform
from hpc_diffuser.scattering.direct import SAMPLES_AT_ONCE
from hpc_diffuser.scattering.liquid import padded_shape
from hpc_diffuser.scattering.molecule import computed_band
from hpc_diffuser.scattering.shapes import fit_shapes, grid_points_per_cell
from hpc_diffuser.scattering.slab import BLOCK, Slab, slab
from hpc_diffuser.scattering.transform import choose_transform
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.memory import MB, Limit, memory_limit_MB, process_limit_MB
from hpc_diffuser.system.progress import log

# Measured: Python 3.11, numpy 2.4, numba 0.68, scipy 1.17, MPICH 5, x86-64.
PROGRAM_MB = 160.0  # of each rank: interpreter, modules, kernels, MPI's buffers, gaps in the heap
LIBRARIES_MB = 140.0  # once a node: libraries mapped from files
OPTIMISER_MAPS_MB = 110.0  # that it does not use, of a rank that proposes
OPTIMISER_MB = 30.0  # of a rank that proposes: scikit-optimize and scikit-learn
COMPILER_MB = 180.0  # of the rank that compiles the kernels, where the cache lacks them
CANDIDATES = 10_000  # points at which skopt predicts, five arrays of them by the points told
LARGE = 32 * MB  # glibc's largest threshold for memory that goes back at once
KEPT = 100 * MB  # the most of freed small arrays that was seen to stay
FARTHEST = 3.0  # standard deviations that an atom moves, in boxes that hold all samples


@dataclass(frozen=True)
class Footprint:
    """Predicted peaks of resident memory, in MB.

    Attributes
    ----------
    private : tuple of float
        Of every rank. Rank 0 reads, compiles and writes too.
    shared : float
        Once a node: libraries, and the inputs that its ranks share.
    """

    private: tuple[float, ...]
    shared: float

    def of_rank(self, rank: int) -> float:
        """What such a process shows as its resident memory."""
        return self.private[rank] + self.shared

    def of_node(self, ranks: list[int]) -> float:
        """What these ranks need on one node together."""
        return sum(self.private[rank] for rank in ranks) + self.shared


@dataclass(frozen=True)
class Sizes:
    """What the arrays of a fit are as long as.

    Attributes
    ----------
    voxels, points : int
        V, G.
    box : int
        Points of the grid that holds the expanded voxels: G, or more where the map holds less.
    expanded : int
        E: the target's voxels and all their symmetry mates, one of each Friedel pair.
    mates : int
        Of each voxel, itself included: 1 in P 1.
    plane_voxels : (H,) int
        Of the expanded voxels, those on each h-plane.
    liquid_points : int
        Points of the Patterson function; 0 without liquid-like motion.
    coarse : Slab
        All planes that are computed.
    interpolated : bool
        From the grid of `coarse`, which otherwise is the target's own.
    drawn_box : (3,) int or None
        Points of a configuration's box; None where atoms are summed directly.
    atoms, elements : int
    has_errors, weighted : bool
    """

    voxels: int
    points: int
    box: int
    expanded: int
    mates: int
    plane_voxels: np.ndarray
    liquid_points: int
    coarse: Slab
    interpolated: bool
    drawn_box: np.ndarray | None
    atoms: int
    elements: int
    has_errors: bool
    weighted: bool


@dataclass(frozen=True)
class Share:
    """The most that a rank holds: c, w, v; and the sums of batches that it adds as a tree."""

    computed: int
    stored: int
    voxels: int
    sums: int


class Node(NamedTuple):
    """Where a rank is, and what it may use there.

    Attributes
    ----------
    host : str
    limit : Limit
        Of all the job's ranks on that host.
    process : Limit or None
        Of this rank.
    """

    host: str
    limit: Limit
    process: Limit | None


def this_node() -> Node:
    """Where this rank is."""
    return Node(socket.gethostname(), memory_limit_MB(), process_limit_MB(OPTIMISER_MAPS_MB))


def require_memory(problem: Problem, world: Ranks) -> None:
    """Tell how much memory the fit will need; all ranks call this before anything is computed.

    Raises
    ------
    InputError
        On all ranks, where it is more than a node, or a process, may have.
    """
    nodes = world.gather(this_node())

    def check() -> None:
        footprint = predict(problem, world.size)
        log(f"memory: {memory_text(footprint, nodes)}")
        refused = refusal(footprint, nodes)
        if refused:
            raise InputError(refused)

    world.from_root(check)


def refusal(footprint: Footprint, nodes: list[Node]) -> str | None:
    """Why a fit cannot be done where its ranks are, in one line; None where it can.

    Parameters
    ----------
    footprint : Footprint
    nodes : list of Node
        Of every rank.
    """
    for rank, node in enumerate(nodes):
        if node.process is not None and footprint.of_rank(rank) > node.process.MB:
            return (
                f"not enough memory: rank {rank} on {node.host} will need about "
                f"{footprint.of_rank(rank):.0f} MB, but {node.process.source} allows "
                f"{node.process.MB:.0f} MB: raise that limit, or use more ranks in fewer "
                "[run] groups"
            )
    for host, ranks in ranks_by_host(nodes).items():
        needed, limit = footprint.of_node(ranks), nodes[ranks[0]].limit
        if needed > limit.MB:
            return (
                f"not enough memory: {_counted(ranks)} on {host} will need about {needed:.0f} MB "
                f"({_largest(footprint, ranks):.0f} MB each and {footprint.shared:.0f} MB in "
                f"common), but may have {limit.MB:.0f} MB ({limit.source}): ask for more "
                "--mem-per-cpu, start fewer ranks on a node with more --cpus-per-task (threads), "
                "or set fewer [run] groups"
            )
    return None


def memory_text(footprint: Footprint, nodes: list[Node]) -> str:
    """The prediction for the node that rank 0 is on, in one line, by its nearest limit."""
    ranks = ranks_by_host(nodes)[nodes[0].host]
    left = [(nodes[0].limit.MB - footprint.of_node(ranks), nodes[0].limit)]
    left += [(n.MB - footprint.of_rank(r), n) for r in ranks if (n := nodes[r].process)]
    limit = min(left)[1]
    return (
        f"about {_largest(footprint, ranks) + footprint.shared:.0f} MB a rank, "
        f"{footprint.of_node(ranks):.0f} MB for {_counted(ranks)} on this node; "
        f"limit {limit.MB:.0f} MB ({limit.source})"
    )


def ranks_by_host(nodes: list[Node]) -> dict[str, list[int]]:
    """The ranks of every host."""
    hosts: dict[str, list[int]] = {}
    for rank, node in enumerate(nodes):
        hosts.setdefault(node.host, []).append(rank)
    return hosts


def _largest(footprint: Footprint, ranks: list[int]) -> float:
    return max(footprint.private[rank] for rank in ranks)


def _counted(ranks: list[int]) -> str:
    return "1 rank" if len(ranks) == 1 else f"{len(ranks)} ranks"


def predict(problem: Problem, n_ranks: int) -> Footprint:
    """Peak memory of a fit on so many ranks.

    Where the config leaves the number of groups open, rank 0 times a model that it holds alone;
    groups may then be larger than is assumed here, and ranks need less.
    """
    sizes, search = measured_sizes(problem), problem.config.search
    n_groups = min(problem.config.run.groups or n_ranks, search.restarts, n_ranks)
    groups = [group_of(rank, n_ranks, n_groups) for rank in range(n_ranks)]
    group_sizes = np.bincount(groups)
    shares = cache(lambda size: shares_of_group(sizes, size))

    def peak(rank: int) -> float:
        place = rank - groups.index(groups[rank])
        together = shares(n_ranks)[rank]
        alone = shares(int(group_sizes[groups[rank]]))[place]
        phases = _fitting(problem, sizes, alone, together)
        if rank == 0:
            timed = [] if problem.config.run.groups else building(sizes, shares(1)[0])
            phases += [loading(sizes), *timed, *finishing(sizes, together)]
        return PROGRAM_MB + OPTIMISER_MB * (place == 0) + peak_MB(phases)

    private = [peak(rank) for rank in range(n_ranks)]
    private[0] += 0.0 if kernels_compiled() else COMPILER_MB
    inputs = target_bytes(sizes) + problem.modes.vectors.nbytes
    return Footprint(tuple(private), LIBRARIES_MB + inputs / MB)


def peak_MB(phases: list[list[float]]) -> float:
    """Peak of phases, each the sizes in bytes of arrays that exist at the same time."""
    small = [sum(array for array in phase if array <= LARGE) for phase in phases]
    kept = [min(max(small) - own, KEPT) for own in small]
    return float(max(sum(phase) + k for phase, k in zip(phases, kept, strict=True))) / MB


def measured_sizes(problem: Problem) -> Sizes:
    """Sizes of a problem's arrays; the grid is chosen as `model.forward_model` does."""
    target, structure, options = problem.target, problem.modes.structure, problem.config.model
    how = computation(options, problem.modes, problem.space)
    expanded, mates = target.indices, 1
    operations = grid_operations(target.grid, target.space_group)
    if len(operations) > 2:
        expanded = laue_expansion(expanded, target.grid.divisions, operations)[0]
        mates = len(operations) // 2
    holder = target.grid.holding(expanded)
    band = computed_band(problem.modes, holder, expanded, how)
    grid, d_min = (band.grid, band.d_min) if band else (holder, target.d_min)
    transform = choose_transform(
        structure, grid, d_min, options.transform, how.factors, how.many_kinds
    )
    drawn = transform is DensityTransform
    return Sizes(
        voxels=len(target.indices),
        points=math.prod(target.grid.shape),
        box=math.prod(holder.shape),
        expanded=len(expanded),
        mates=mates,
        plane_voxels=np.bincount(expanded[:, 0]),
        liquid_points=math.prod(padded_shape(grid)) if how.liquid_gamma_A else 0,
        coarse=slab(grid, d_min, np.arange(grid.extent[0] + 1)),
        interpolated=band is not None,
        drawn_box=_drawn_box(problem, grid, d_min, how.factors) if drawn else None,
        atoms=len(structure),
        elements=len(np.unique(structure.elements)),
        has_errors=target.errors is not None,
        weighted=problem.config.target.weights == "errors",
    )


def _drawn_box(
    problem: Problem, grid: HklGrid, d_min: float, factors: AtomFactors | None
) -> np.ndarray:
    """Points of the box that holds the molecule as it moves with its largest amplitudes."""
    structure = problem.modes.structure
    shapes = fit_shapes(factors or atom_factors(structure), grid.unit_cell, d_min)
    per_cell = grid_points_per_cell(grid.unit_cell, d_min)
    to_steps = fractionalization(grid.unit_cell).T * per_cell
    reach = shapes.radius_A * np.linalg.norm(to_steps, axis=0).max()
    middle = (structure.positions.min(axis=0) + structure.positions.max(axis=0)) / 2
    motion = motion_along(to_steps, problem.modes, problem.space.farthest.sampled)
    farthest = (np.abs((structure.positions - middle) @ to_steps) + FARTHEST * motion).max(axis=0)
    box = 2 * np.ceil(farthest + reach + 1)
    # Beyond that many points a fit ends with an error.
    return box * min(1.0, (MOST_POINTS / box.prod()) ** (1 / 3))


def shares_of_group(sizes: Sizes, n_ranks: int) -> list[Share]:
    """What each of a group's ranks holds: the most that one in its row of the layout does."""
    s = sizes.coarse
    starts = np.arange(0, len(s.h), BLOCK)
    blocks = np.add.reduceat(np.add.reduceat(s.row_halves + 1, s.row_offsets[:-1]), starts)
    stored = np.add.reduceat(np.diff(s.offsets), starts)
    layout = choose_layout(n_ranks, blocks)
    slabs = share_planes(blocks, layout.slab_ranks)
    part = max(blocks[own].sum() for own in slabs) / blocks.sum()
    planes = sizes.plane_voxels[sizes.plane_voxels > 0]
    interpolated = max(planes[own].sum() for own in share_planes(planes, n_ranks))

    def share(in_first_row: bool) -> Share:
        computed = round(part * computed_voxels(sizes)) * in_first_row
        return Share(
            computed=computed,
            stored=int(max(stored[own].sum() for own in slabs)),
            voxels=int(interpolated) if sizes.interpolated else computed,
            sums=4 if layout.sample_ranks == 1 else 3,
        )

    first, others = share(True), share(False)
    return [first] * layout.slab_ranks + [others] * (n_ranks - layout.slab_ranks)


def computed_voxels(sizes: Sizes) -> int:
    """C: half a sphere of samples, or the target's voxels."""
    if not sizes.interpolated:
        return sizes.expanded
    density = 1 / math.sqrt(np.linalg.det(sizes.coarse.grid.metric()))
    return round(2 / 3 * math.pi / sizes.coarse.d_min**3 * density)


def target_bytes(sizes: Sizes) -> float:
    """`Target`: indices, intensity, free set, errors."""
    return sizes.voxels * (24 + 4 + 1 + 4 * sizes.has_errors)


def loading(sizes: Sizes) -> list[float]:
    """`io.maps.native.read_target`: half a box of the file's arrays, three arrays of indices."""
    v, box = sizes.voxels, sizes.points / 2
    return [4 * box, 4 * box * sizes.has_errors, box, box, 24 * v, 24 * v, 24 * v, 4 * v, v]


def held(sizes: Sizes, share: Share) -> list[float]:
    """What a model and its `Comparison` keep."""
    c, w, v = share.computed, share.stored, share.voxels
    own = math.ceil(v / sizes.mates)
    # Of `Moments`: rows, |s|², places, indices, self-terms, q²; the last moments.
    model = [*[8 * c] * 7, 6 * c, *[4 * w] * (2 if sizes.drawn_box is None else 3)]
    comparison = [4 * own, 4 * own, 8 * own * sizes.weighted]
    if sizes.mates > 1:
        model += [24 * sizes.expanded, 8 * sizes.mates * own]
    model.append(4 * sizes.liquid_points)
    if sizes.interpolated:
        model += [8 * computed_voxels(sizes), 8 * v, 4 * v]
    return model + comparison


def building(sizes: Sizes, share: Share) -> list[list[float]]:
    """`model.forward_model` and `scoring.Comparison`, from one crowded moment to the next."""
    c, w, v = share.computed, share.stored, share.voxels
    all_voxels, all_computed = sizes.expanded, computed_voxels(sizes)
    kept = held(sizes, share)
    coarse = [24 * all_computed] * sizes.interpolated  # the indices of C, until all is built
    inside = [*coarse, 8 * all_computed]  # of `DirectModel`: |s|² too
    moments = [
        [8 * all_voxels, 8 * all_voxels],  # the resolution limit; h of every voxel, sorted
        [*inside, *[8 * w] * 4, 12 * w],  # the transform's mean, and |s|² to sharpen it
        [*inside, 12 * w, *[24 * c] * 2, *[16 * c] * 3, *[8 * c] * 5],  # `Slab.position_of`
        [*inside, 12 * w, *[8 * c] * (3 + sizes.elements), *[32 * c] * 3],  # form factors
        [*kept, 24 * v, 4 * v, v, 4 * v * sizes.has_errors, *[8 * v] * 4],  # bins of `Comparison`
    ]
    if sizes.interpolated:
        moments += [
            [*coarse, *kept, *[8 * all_computed] * 3, *[24 * all_computed] * 2],  # `_filled`
            [*coarse, *kept, all_voxels, 8 * all_voxels, 8 * all_voxels],  # which rows are ours
            [*coarse, *kept, 24 * v, *[8 * v] * 3],  # `Interpolator`
        ]
    if sizes.mates > 1:  # `symmetry.laue_expansion`, with its tables of half a box
        tables = [sizes.box / 2, 2 * sizes.box]
        moments.append(
            [*tables, 4 * sizes.voxels * sizes.mates, 8 * all_voxels, *[24 * all_voxels] * 3]
        )
    return moments


def evaluating(sizes: Sizes, share: Share, n_samples: int) -> list[list[float]]:
    """`internal_motion`, with the four maps that `convergence` compares."""
    c, w, v = share.computed, share.stored, share.voxels
    per_voxel = 4 if sizes.interpolated else 8
    kept = [*held(sizes, share), *[per_voxel * v] * 5]
    # Displacements and positions, in Å and in steps, of a batch; sums of a tree of batches.
    batch = [24 * sizes.atoms * math.ceil(n_samples / SAMPLE_BATCHES)] * 5 + [12 * w] * share.sums
    moments = [
        [*kept, *batch, *_transforming(sizes)],
        [*kept, 12 * w, 12 * c, 24 * c, *[8 * c] * 9],  # moments to intensity
    ]
    if sizes.interpolated:
        volume = 4 * math.prod(sizes.coarse.grid.shape)
        moments.append([*kept, 8 * c, *[4 * computed_voxels(sizes)] * 3, volume])
    # `results._halos`: another comparison, while the map is there.
    moments.append([*kept, 24 * v, 5 * v, *[8 * v] * 4])
    if sizes.mates > 1:  # every rank averages from all expanded voxels
        moments.append([*kept, *[4 * sizes.expanded] * 3])
    if sizes.liquid_points:  # `liquid.LiquidMotion`: real and complex functions of u
        p = sizes.liquid_points
        moments.append([*kept, *[8 * c] * 7, *[4 * p] * 3, *[8 * p] * 2])
    return moments


def _transforming(sizes: Sizes) -> list[float]:
    """What the kernels work with, for `SAMPLES_AT_ONCE` configurations on all threads."""
    s, n = sizes.coarse, SAMPLES_AT_ONCE
    k, l = (int(x) + 1 for x in s.table_extent)  # noqa: E741
    threads = int(os.environ.get("NUMBA_NUM_THREADS", "1"))
    if sizes.drawn_box is None:
        tables = 4 * n * 2 * sizes.atoms
        plane = 4 * 4 * k * l * (sizes.elements + 2 + 3)
        return [tables * k, tables * l, *[plane] * threads]
    x, y, z = sizes.drawn_box
    box, planes = 4 * x * y * z, min(BLOCK, len(s.h))
    # `kernels.density._buffers`: after x, its parts, after y, after z.
    block = 4 * (2 * planes * y * z + 2 * planes * y * z)
    block += 4 * n * 4 * 2 * planes * (k * z / 2 + density_kernel.TILE * l)
    return [n * box, *[box] * 3, *[block] * threads]


def proposing(sizes: Sizes, share: Share, evaluations: int) -> list[float]:
    """skopt's kernel between candidates and the points that it was told."""
    return [*held(sizes, share), *[8.0 * CANDIDATES * evaluations] * 5]


def _fitting(problem: Problem, sizes: Sizes, alone: Share, together: Share) -> list[list[float]]:
    """The phases of every rank: those of its group, and those that the whole job does together."""
    model, search = problem.config.model, problem.config.search
    # How many "auto" will be is not known yet; hardly more than the final map takes.
    samples = model.final_samples if model.samples == "auto" else model.samples
    samples, most = (
        n_configurations(problem.modes, problem.space.librates, n)
        for n in (samples, max(samples, model.final_samples))
    )
    return [
        *building(sizes, alone),
        *evaluating(sizes, alone, samples),
        *building(sizes, together),
        *evaluating(sizes, together, most),
        proposing(sizes, alone, search.evaluations),
    ]


def finishing(sizes: Sizes, share: Share) -> list[list[float]]:
    """The final map: gathered, put on the whole grid, made an HDF5 file's image."""
    v, points = sizes.voxels, sizes.points
    parts = 12 * v if sizes.interpolated else 16 * v
    kept = [*held(sizes, share), 8 * v, 8 * share.voxels]
    stored = 7 * sizes.expanded  # all mates, and Friedel's, compressed
    return [
        [*kept, parts],
        [*kept, 4 * points, 24 * v, 24 * v],
        [*kept, 4 * points, 4 * points, stored],
        [*kept, 4 * points, stored, stored],
    ]


def kernels_compiled() -> bool:
    """True where numba's cache holds the transforms, from a source that has not changed since."""
    return all(_cached(kernel) for kernel in (density_kernel.add_moments, direct_sum.add_moments))


def kernel_cache_folder() -> Path:
    """Where numba keeps what it has compiled."""
    return Path(getattr(density_kernel.add_moments, "stats", _Uncached).cache_path)


class _Uncached:
    """Of kernels that run as plain Python (NUMBA_DISABLE_JIT)."""

    cache_path = "."


def _cached(kernel) -> bool:
    if not hasattr(kernel, "stats"):
        return True  # plain Python: nothing to compile
    source = Path(kernel.py_func.__code__.co_filename)
    name = f"{source.stem}.{kernel.py_func.__name__}-*.nbi"
    indices = kernel_cache_folder().glob(name)
    return any(index.stat().st_mtime >= source.stat().st_mtime for index in indices)
