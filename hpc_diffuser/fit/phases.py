"""What a fit holds in memory at its crowded moments, from its sizes: each phase a list of arrays.

How many bytes its arrays are, each class says itself, in `kept_bytes` and the like beside it;
here is which of them exist at the same time.

Sizes: V voxels of the target, E with their mates, G points of its whole grid; the computed grid
has C voxels and stores W values; in small letters, what the rank that has most holds of them.
"""

import math
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.symmetry import expansion_bytes, grid_operations, laue_expansion
from hpc_diffuser.fit import scoring
from hpc_diffuser.fit.errors.curvature import (
    bending_bytes,
    curvature_bytes,
    curvature_kept_bytes,
    zone_parts,
)
from hpc_diffuser.fit.errors.zone_sums import most_parts, sums_bytes
from hpc_diffuser.fit.problem import Problem, can_expand, computation
from hpc_diffuser.fit.search import least_squares
from hpc_diffuser.fit.search.bayesian import proposing_bytes
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.stepping import likelihood_equations, normal_equations
from hpc_diffuser.fit.stepping.independence import DIRECTIONS, measuring_bytes
from hpc_diffuser.io.maps import native
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.zones import most_blocks, zones_bytes
from hpc_diffuser.motion.ensemble import n_configurations
from hpc_diffuser.parallel.decomposition import Work, choose_layout, share_planes
from hpc_diffuser.scattering import (
    cell_halos,
    collecting,
    crystal_liquid,
    dealing,
    interpolated,
    interpolation,
    liquid,
    moment_bytes,
    volume,
)
from hpc_diffuser.scattering import lattice_bytes as springs
from hpc_diffuser.scattering import mates as symmetry_mates
from hpc_diffuser.scattering.cell_halos import CellHaloSizes
from hpc_diffuser.scattering.density import DensityTransform
from hpc_diffuser.scattering.estimator_costs import expanding_bytes
from hpc_diffuser.scattering.lattice_bytes import SpringSizes
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.slab import BLOCK, Slab, slab
from hpc_diffuser.scattering.transform import MakeTransform, choose_transform
from hpc_diffuser.system.memory import MB

Phase = list[float]  # bytes of each of the arrays that exist at the same time
_KEPT_MAPS = 5  # of intensity: the present one, and four that `convergence` compares
_COUNTED = 32 * MB  # sums of zones' parts that may be larger are foretold from a count of them


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
    crystal_points : int
        The same of the whole crystal's: of all cells that its samples need.
    coarse : Slab
        All planes that are computed.
    work : Work
        Of a part of an evaluation on them.
    sample_parts : int
        Of an evaluation.
    normals : int
        Random numbers of all its samples, at most.
    interpolated : bool
        From the grid of `coarse`, which otherwise is the target's own.
    kept_values : int
        Of the transform, at every stored value.
    transforming : list of float
        Bytes of the arrays that the transform works with.
    expanding : two lists of float
        Bytes of the arrays that an expansion of the moments works with, and for each stored value.
    slope_values, sloping
        The same for slopes along modes: at every stored value, and of the arrays.
    forcing : two lists of float
        The same for forces on atoms, and for each block of planes; empty where none are needed.
    atoms, elements : int
        N, and how many chemical elements they are.
    refined : int
        Parameters that are.
    largest_shell : int
        Working voxels of the shell that has most.
    parts : int
        Of shells, in Brillouin zones or blocks of them that are resampled; at most about so many.
    has_errors, weighted, likely : bool
        Whether the target has errors, its CC is weighted, and there is a likelihood.
    springs : SpringSizes or None
        Of neighbours on springs, where there are any.
    frames : bool
        Whether slopes along frames' weights are taken.
    cell_halos : CellHaloSizes or None
    shaped : bool
        Whether shapes of springs are refined.
    """

    voxels: int
    points: int
    box: int
    expanded: int
    mates: int
    plane_voxels: np.ndarray
    liquid_points: int
    coarse: Slab
    work: Work
    sample_parts: int
    normals: int
    interpolated: bool
    kept_values: int
    transforming: Phase
    expanding: tuple[Phase, Phase]
    slope_values: int
    sloping: Phase
    forcing: tuple[Phase, Phase]
    atoms: int
    elements: int
    refined: int
    largest_shell: int
    parts: int
    has_errors: bool
    weighted: bool
    likely: bool = False
    crystal_points: int = 0
    springs: SpringSizes | None = None
    frames: bool = False
    cell_halos: CellHaloSizes | None = None
    shaped: bool = False


def _crystal_points(target: Target, gamma_A: float) -> int:
    """Of all cells; 0 without liquid-like motion of the whole crystal."""
    if not gamma_A:
        return 0
    s_squared_max = float(target.grid.inverse_d_squared(target.indices).max())
    return math.prod(crystal_liquid.boxes(target.grid, s_squared_max, gamma_A)[1])


@dataclass(frozen=True)
class Share:
    """The most that a rank holds, and computes.

    Attributes
    ----------
    computed, stored, voxels : int
        c, w, v.
    given, taken : int
        Voxels on its slab, and those of others' sums that come to it; 0 of a rank alone.
    blocks : int
        Of planes.
    """

    computed: int
    stored: int
    voxels: int
    given: int
    taken: int
    blocks: int


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
    band = interpolated.computed_band(problem.modes, holder, expanded, how)
    grid, d_min = (band.grid, band.d_min) if band else (holder, target.d_min)
    make = choose_transform(structure, grid, d_min, options.transform, how.factors, how.many_kinds)
    coarse = slab(grid, d_min, np.arange(grid.extent[0] + 1))
    planes = np.add.reduceat(coarse.row_halves + 1, coarse.row_offsets[:-1])
    return Sizes(
        voxels=len(target.indices),
        points=math.prod(target.grid.shape),
        box=math.prod(holder.shape),
        expanded=len(expanded),
        mates=mates,
        plane_voxels=np.bincount(expanded[:, 0]),
        liquid_points=math.prod(liquid.padded_shape(grid)) if how.liquid_gamma_A else 0,
        crystal_points=_crystal_points(target, how.crystal_gamma_A),
        coarse=coarse,
        work=dealing.work_of(structure, grid, d_min, planes, make.drawn),
        sample_parts=dealing.n_parts(samples_of(problem)[0]),
        normals=samples_of(problem)[1] * (len(problem.modes.vectors) + 3),
        interpolated=band is not None,
        kept_values=make.kept_values,
        transforming=make.working_bytes(problem.modes, coarse, problem.space.farthest, how.factors),
        expanding=_expanding(problem, coarse, make is DensityTransform),
        slope_values=make.slope_values,
        sloping=make.slope_bytes(problem.modes, coarse, problem.space.farthest, how.factors),
        forcing=_forcing(problem, make, coarse, how),
        atoms=len(structure),
        elements=len(np.unique(structure.elements)),
        refined=int(problem.space.refined.sum()),
        largest_shell=int(target.counts()[0].max(initial=0)),
        parts=_parts(target, int(problem.space.refined.sum())),
        has_errors=target.errors is not None,
        weighted=problem.config.target.weights == "errors",
        likely=problem.config.target.knots is not None,
        springs=springs.spring_sizes(
            problem.modes, target.grid, target.d_min, how.motion_A, problem.space.farthest
        ),
        frames=bool(problem.space.of_frames.any()),
        cell_halos=_cell_halos(problem, how),
        shaped="lattice_shape" in problem.space.refined_names,
    )


def _cell_halos(problem: Problem, how: Computation) -> CellHaloSizes | None:
    """See `Sizes`."""
    if how.halos != "cell":
        return None
    return cell_halos.halo_sizes(problem.modes, problem.space.at_most("halo_gamma_A"))


def _expanding(problem: Problem, coarse: Slab, drawn: bool) -> tuple[Phase, Phase]:
    """See `Sizes`; where the estimator is left open, it may be one with an expansion."""
    modes, space = problem.modes, problem.space
    if problem.config.model.estimator == "sampled" or not can_expand(modes, space):
        return [], []
    return expanding_bytes(modes, coarse, space.farthest.sampled, drawn)


def _forcing(
    problem: Problem, make: MakeTransform, coarse: Slab, how: Computation
) -> tuple[Phase, Phase]:
    """See `Sizes`: of a search that is polished by the exact gradient."""
    modes, space = problem.modes, problem.space
    steps = METHODS[problem.config.search.method].steps_after is not None
    polishes = can_expand(modes, space) or modes.lattice is not None
    if not steps or not polishes:
        return [], []
    return make.force_bytes(modes, coarse, space.farthest, how.factors)


def _parts(target: Target, refined: int) -> int:
    """See `Sizes`; counting them takes as long as making them, a second of two million voxels."""
    most = most_parts(most_blocks(len(target.indices), target.grid.divisions))
    return most if max(sums_bytes(most, refined)) < _COUNTED else zone_parts(target)


def shares_of_group(sizes: Sizes, n_ranks: int) -> list[Share]:
    """What each of a group's ranks holds: the most that one of those that compute does."""
    s, blocks = sizes.coarse, sizes.work.blocks
    stored = np.add.reduceat(np.diff(s.offsets), np.arange(0, len(s.h), BLOCK))
    layout = choose_layout(n_ranks, sizes.work, sizes.sample_parts)
    slabs = share_planes(blocks, layout.slab_ranks)
    planes = np.add.reduceat(s.row_halves + 1, s.row_offsets[:-1])
    held = max(planes[own].sum() for own in share_planes(planes, n_ranks)) / planes.sum()
    computed = round(held * computed_voxels(sizes))
    target = sizes.plane_voxels[sizes.plane_voxels > 0]
    interpolated = max(target[own].sum() for own in share_planes(target, n_ranks))
    part = max(blocks[own].sum() for own in slabs) / blocks.sum()

    def share(computes: bool) -> Share:
        return Share(
            computed=computed,
            stored=int(max(stored[own].sum() for own in slabs)) * computes,
            voxels=int(interpolated) if sizes.interpolated else computed,
            given=round(part * computed_voxels(sizes)) * (computes and n_ranks > 1),
            taken=computed * layout.sample_ranks * (n_ranks > 1),
            blocks=max(map(len, slabs)) * computes,
        )

    used = layout.sample_ranks * layout.slab_ranks
    return [share(True)] * used + [share(False)] * (n_ranks - used)


def computed_voxels(sizes: Sizes) -> int:
    """C: half a sphere of samples, or the target's voxels."""
    if not sizes.interpolated:
        return sizes.expanded
    density = 1 / math.sqrt(np.linalg.det(sizes.coarse.grid.metric()))
    return round(2 / 3 * math.pi / sizes.coarse.d_min**3 * density)


def loading(sizes: Sizes) -> Phase:
    """The target's file is read, on rank 0."""
    return native.reading_bytes(sizes.voxels, sizes.points, sizes.has_errors)


def held(sizes: Sizes, share: Share) -> Phase:
    """What a model and its `Comparison` keep."""
    own = math.ceil(share.voxels / sizes.mates)
    kept = moment_bytes.kept_bytes(share.computed) + [4 * share.stored] * sizes.kept_values
    kept += dealing.kept_bytes(share.given or share.computed, share.computed)
    kept += [6 * computed_voxels(sizes)] * bool(share.taken)  # all indices
    if sizes.mates > 1:
        kept += symmetry_mates.mates_bytes(sizes.expanded, sizes.mates, own)
    kept += liquid.kept_bytes(sizes.liquid_points)
    kept += crystal_liquid.kept_bytes(sizes.crystal_points)
    if sizes.springs is not None:
        kept += springs.kept_bytes(own, sizes.springs.molecules, sizes.springs.parts)
    if sizes.cell_halos is not None:
        kept += cell_halos.kept_bytes(own, share.voxels, sizes.cell_halos)
    if sizes.interpolated:
        kept += volume.volume_bytes(computed_voxels(sizes))
        kept += interpolation.kept_bytes(share.voxels)
    return kept + scoring.kept_bytes(own, sizes.weighted, sizes.likely)


def building(sizes: Sizes, share: Share) -> list[Phase]:
    """`model.forward_model` and `scoring.Comparison`, from one crowded moment to the next."""
    voxels, every, computed = share.voxels, sizes.expanded, computed_voxels(sizes)
    kept = held(sizes, share)
    coarse = [24 * computed] * sizes.interpolated  # the indices of C, until all is built
    inside = [*coarse, 8 * computed]  # of `Moments`: all |s|² too
    of_moments = (share.computed, share.given or share.computed, share.stored, sizes.elements)
    phases = [
        interpolated.band_bytes(every),
        *(inside + m for m in moment_bytes.building_bytes(*of_moments)),
        kept + scoring.building_bytes(voxels, sizes.has_errors, sizes.voxels * sizes.likely),
    ]
    if sizes.interpolated:
        phases += [
            coarse + kept + volume.volume_building_bytes(computed),
            coarse + kept + interpolated.rows_bytes(every),
            coarse + kept + interpolation.building_bytes(voxels),
        ]
    if sizes.springs is not None:
        own = math.ceil(voxels / sizes.mates)
        phases.append(kept + springs.building_bytes(own, sizes.springs.molecules))
    if sizes.mates > 1:
        phases.append(expansion_bytes(sizes.voxels, sizes.mates, every, sizes.box))
    return phases


def evaluating(sizes: Sizes, share: Share) -> list[Phase]:
    """`internal_motion`, beside maps that were calculated before."""
    own, stored, voxels = share.computed, share.stored, math.ceil(share.voxels / sizes.mates)
    part = stored / max(sizes.coarse.size, 1)
    per_voxel = 4 if sizes.interpolated else 8
    kept = held(sizes, share) + [per_voxel * share.voxels] * _KEPT_MAPS
    sums = moment_bytes.sampling_bytes(sizes.atoms, stored)
    whole, per_value = sizes.expanding
    expanding = [*whole, *(size * stored for size in per_value)]
    phases = [
        kept + [8 * sizes.normals] * 2 + sums + sizes.transforming + expanding,  # and their bytes
        [*kept, 24 * stored, 24 * own, *dealing.summing_bytes(share.given, share.taken)],
        kept + moment_bytes.intensity_bytes(own),
        kept + scoring.masked_bytes(share.voxels),  # `results._halos`
    ]
    if sizes.interpolated:
        points = math.prod(sizes.coarse.grid.shape)
        phases.append(kept + volume.volume_filling_bytes(own, computed_voxels(sizes), points))
    if sizes.mates > 1:
        phases.append(kept + symmetry_mates.averaging_bytes(sizes.expanded))
    if sizes.springs is not None:
        on_springs = kept + springs.table_bytes(sizes.springs)
        phases.append(on_springs + springs.transform_bytes(sizes.springs, part))
        phases.append(on_springs + springs.intensity_bytes(voxels, sizes.springs.molecules))
    if sizes.cell_halos is not None:
        of_cell = voxels, share.voxels, own, sizes.expanded, sizes.cell_halos
        phases.append(kept + cell_halos.intensity_bytes(*of_cell))
    if sizes.liquid_points:
        phases.append(kept + liquid.series_bytes(own, sizes.liquid_points))
    if sizes.crystal_points:
        phases.append(kept + crystal_liquid.series_bytes(own, sizes.crystal_points))
    return phases


def proposing(sizes: Sizes, share: Share, evaluations: int) -> Phase:
    """The next point of a search, beside its model."""
    return held(sizes, share) + proposing_bytes(evaluations)


def linearising(sizes: Sizes, share: Share) -> list[Phase]:
    """The normal equations of a search that takes steps: from a map and those to its sides."""
    voxels = math.ceil(share.voxels / sizes.mates)
    rows = normal_equations.kept_bytes(voxels, sizes.refined)
    rows += likelihood_equations.more_kept_bytes(voxels) * sizes.likely
    rows += [4 * voxels] * (sizes.refined * (sizes.springs is not None))  # see `common_growth`
    of_plane = int(sizes.plane_voxels.max(initial=0))
    maps = [8 * voxels] * 4  # the present one, two to its sides, their difference
    phases = [maps + phase for phase in evaluating(sizes, share)]
    of_matrix = normal_equations.plane_bytes(of_plane, sizes.refined)
    of_matrix += likelihood_equations.more_plane_bytes(of_plane, sizes.refined) * sizes.likely
    phases.append(held(sizes, share) + maps + of_matrix)
    along_modes = sizes.sloping + [4 * share.stored] * sizes.slope_values
    along_modes += moment_bytes.slope_bytes(share.computed)
    phases.append(held(sizes, share) + maps + along_modes)
    if sizes.forcing[0]:
        phases.append(held(sizes, share) + maps + polishing(sizes, share))
    if sizes.springs is not None:
        kept = held(sizes, share) + maps + springs.table_bytes(sizes.springs)
        kept += springs.transform_bytes(sizes.springs, share.stored / max(sizes.coarse.size, 1))
        phases.append(kept + springs.slope_bytes(voxels, sizes.springs.molecules))
        changes = springs.table_change_bytes(sizes.springs)
        phases.append(kept + changes + springs.column_bytes(voxels, share.computed, sizes.springs))
        if sizes.shaped:
            phases.append(kept + springs.dimming_bytes(voxels, sizes.springs.molecules))
    phases.append(held(sizes, share) + least_squares.stepping_bytes(sizes.refined))
    measuring = held(sizes, share) + maps + measuring_bytes(sizes.voxels)
    bending = bending_bytes(sizes.largest_shell, DIRECTIONS, sizes.parts)
    phases += [measuring + of_end for of_end in bending]
    return [rows + phase for phase in phases]


def polishing(sizes: Sizes, share: Share) -> Phase:
    """What the exact gradient works with, beside what is held."""
    whole, per_block = sizes.forcing
    moved = moment_bytes.sampling_bytes(sizes.atoms, 0)
    of_voxels = moment_bytes.gradient_bytes(share.computed, share.stored)
    return [*whole, *(share.blocks * size for size in per_block), *moved, *of_voxels]


def finishing(sizes: Sizes, share: Share) -> list[Phase]:
    """The final map: gathered, then written, on rank 0; between, maps to the answer's sides."""
    kept = [*held(sizes, share), 8 * sizes.voxels, 8 * share.voxels]
    per_value = 4 if sizes.interpolated else 8
    curving = curvature_kept_bytes(sizes.voxels, sizes.refined)
    bending = bending_bytes(sizes.largest_shell, sizes.refined, sizes.parts)
    # The final one, that at the answer, both to its sides, and the voxels' zones and neighbours.
    maps = [8 * sizes.voxels] * 6
    phases = [
        collecting.collecting_bytes(sizes.voxels, per_value),
        maps + zones_bytes(sizes.voxels),
        maps + curving + curvature_bytes(sizes.voxels),
        *(maps + curving + phase for phase in bending),
        *native.writing_bytes(sizes.voxels, sizes.points, sizes.expanded),
    ]
    sides = evaluating(sizes, share)
    if sizes.shaped and sizes.springs is not None:
        voxels = math.ceil(share.voxels / sizes.mates)
        of_shapes = springs.column_bytes(voxels, share.computed, sizes.springs)
        of_shapes += springs.dimming_bytes(voxels, sizes.springs.molecules)
        sides.append(held(sizes, share) + of_shapes)
    return [kept + phase for phase in phases] + [maps + curving + phase for phase in sides]


def samples_of(problem: Problem) -> tuple[int, int]:
    """Configurations of an evaluation of the search, and of the largest of all.

    How many "auto" will be is not known yet; hardly more than the final map takes.
    """
    options, librates = problem.config.model, problem.space.librates
    samples = options.final_samples if isinstance(options.samples, str) else options.samples
    most = max(samples, options.final_samples)
    if METHODS[problem.config.search.method].steps_after is not None:
        most = max(most, samples * least_squares.MOST_TIMES)
    return (
        n_configurations(problem.modes, librates, samples),
        n_configurations(problem.modes, librates, most),
    )


def fitting(problem: Problem, sizes: Sizes, alone: Share, together: Share) -> list[Phase]:
    """The phases of every rank: those of its group, and those that the whole job does together."""
    method, evaluations = METHODS[problem.config.search.method], problem.config.search.evaluations
    phases = [
        *building(sizes, alone),
        *evaluating(sizes, alone),
        *building(sizes, together),
        *evaluating(sizes, together),
    ]
    if method.learns:
        phases.append(proposing(sizes, alone, evaluations))
    if method.steps_after is not None:
        phases += linearising(sizes, alone)
    return phases
