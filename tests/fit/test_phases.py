"""What classes say of their bytes before they are made, against the arrays that they then hold."""

import tracemalloc
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import (
    expansion_bytes,
    grid_operations,
    laue_expansion,
    unique_indices,
)
from hpc_diffuser.fit import scoring
from hpc_diffuser.fit.stepping import normal_equations
from hpc_diffuser.fit.stepping.likelihood_equations import LikelihoodEquations, more_kept_bytes
from hpc_diffuser.maps.target import Target, target_arrays
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering import cell_halos, lattice, lattice_bytes, liquid, volume
from hpc_diffuser.scattering.boxes import FARTHEST, farthest_box
from hpc_diffuser.scattering.cell_halos import coupling_waves
from hpc_diffuser.scattering.drawing import Drawing
from hpc_diffuser.scattering.exact_sums import CHUNK
from hpc_diffuser.scattering.lattice_zone import parts_of_voxels
from hpc_diffuser.scattering.slab import slab
from hpc_diffuser.scattering.transform import TRANSFORMS

CELL = (14.0, 15.0, 16.0, 88.0, 105.0, 98.0)


def arrays_of(thing: Any) -> list[np.ndarray]:
    """All arrays that a value's attributes hold, also in tuples and drawings."""
    found, left = [], list(vars(thing).values())
    while left:
        value = left.pop()
        if isinstance(value, tuple | list):
            left += value
        elif isinstance(value, Drawing):
            left += vars(value).values()
        elif isinstance(value, np.ndarray):
            found.append(value)
    return found


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_keep_what_they_say(modes, name):
    """So many float32 arrays as long as the slab's values, and no other that is so long."""
    grid = grid_to_resolution(CELL, (4, 4, 4), 1.8)
    planes = slab(grid, 1.8, np.arange(grid.extent[0] + 1))
    made = TRANSFORMS[name](modes.structure, planes)
    long = [array for array in arrays_of(made) if array.size == planes.size]
    assert sum(array.nbytes for array in long) == 4 * planes.size * TRANSFORMS[name].kept_values


@pytest.mark.parametrize("name", TRANSFORMS)
def test_forces_take_what_they_say(modes, name):
    """Between a third of what is said and all of it: arrays, but those that kernels make inside."""
    grid = grid_to_resolution((14.0, 15.0, 16.0, 90.0, 90.0, 90.0), (4, 4, 4), 1.8)
    planes = slab(grid, 1.8, np.arange(grid.extent[0] + 1))
    made = TRANSFORMS[name](modes.structure, planes)
    still = Parameters(np.zeros(len(modes.vectors)), Disorder())
    whole, per_block = TRANSFORMS[name].force_bytes(modes, planes, still)
    said = sum(whole) + (len(planes.blocks) - 1) * sum(per_block)
    positions = np.repeat(modes.structure.positions[None], CHUNK, axis=0)
    pulls = np.ones((3, planes.size), np.float32)
    made.forces(positions, pulls)
    tracemalloc.start()
    made.forces(positions, pulls)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    given = 4 * positions.nbytes + 6 * pulls.nbytes  # of other phases: see `phases.polishing`
    assert said / 3 < peak < said + given


def test_a_box_holds_atoms_at_their_farthest(modes):
    """Three standard deviations of translation by modes from the middle, and an atom's reach.

    Along x of an orthogonal cell: the extent of the positions in steps of the box is less by twice
    that; without motion the box is the transform's own.
    """
    grid = grid_to_resolution((14.0, 15.0, 16.0, 90.0, 90.0, 90.0), (2, 2, 2), 2.0)
    planes = slab(grid, 2.0, np.arange(grid.extent[0] + 1))
    made = TRANSFORMS["density"](modes.structure, planes).drawing
    still = Parameters(np.zeros(len(modes.vectors)), Disorder())
    own = 2 * made.half_box(made.steps(modes.structure.positions[None]))
    np.testing.assert_array_equal(farthest_box(modes, planes, still), own)
    sigma = 0.5
    moving = Parameters(np.full(len(modes.vectors), sigma), Disorder())
    rms = sigma * np.sqrt(np.sum(modes.vectors**2, axis=0)) @ np.diag(np.diag(made.to_steps))
    steps = np.abs(made.steps(modes.structure.positions[None])[0])
    order = made.order
    expected = 2 * np.ceil((steps + FARTHEST * rms[order]).max(axis=0) + made.reach + 1)
    np.testing.assert_array_equal(farthest_box(modes, planes, moving), expected)


def test_mates():
    """Of P 43 21 2: what is made is among what exists at the most crowded moment."""
    grid = grid_to_resolution((20.0, 20.0, 24.0, 90.0, 90.0, 90.0), (2, 2, 2), 3.0)
    operations = grid_operations(grid, "P 43 21 2")
    indices = grid.indices_between(9.0, 3.0)
    expanded, mates = laue_expansion(indices, grid.divisions, operations)
    said = expansion_bytes(len(indices), mates.shape[1], len(expanded), np.prod(grid.shape))
    assert mates.nbytes in said and expanded.nbytes in said


@pytest.mark.parametrize("has_errors", [True, False])
def test_target_and_its_comparison(has_errors):
    """A target's arrays; what a comparison keeps of them is as long as said, or less."""
    grid = grid_to_resolution(CELL, (3, 3, 3), 2.5)
    indices = grid.indices_between(6.0, 2.5)
    values = np.random.default_rng(0).uniform(1, 2, len(indices)).astype(np.float32)
    target = Target(
        grid=grid,
        indices=indices,
        intensity=values,
        errors=values if has_errors else None,
        free=values < 1.1,
        shell_edges=np.linspace(1 / 6, 1 / 2.5, 4),
        space_group="P 1",
    )
    held = [a for a in (target.indices, values, target.free, target.errors) if a is not None]
    assert sum(target_arrays(len(indices), has_errors)) == sum(a.nbytes for a in held)
    model = SimpleNamespace(rows=np.arange(len(indices)), group=Ranks())
    weights = "errors" if has_errors else "none"
    made = scoring.Comparison(target, model, "shell-mean", weights)
    long = [a for a in arrays_of(made._sums) if a.size == len(indices)]
    said = scoring.kept_bytes(len(indices), weights == "errors")
    assert sum(a.nbytes for a in long) <= sum(said)
    if has_errors:  # which are all that a likelihood needs
        likely = scoring.Comparison(target, model, "shell-mean", weights, 5)
        long = [*arrays_of(likely._sums), *arrays_of(likely._radial[0])]
        once = {id(a): a.nbytes for a in long if a.size == len(indices)}
        assert sum(once.values()) <= sum(scoring.kept_bytes(len(indices), True, True))
        working = int((~target.free).sum())
        equations = LikelihoodEquations(target, model, 5)
        long = [*arrays_of(equations), *arrays_of(equations._sums)]
        once = {id(a): a.nbytes for a in long if a.size == working}
        said = normal_equations.kept_bytes(working, 0) + more_kept_bytes(working)
        assert sum(once.values()) <= sum(said)


@pytest.mark.parametrize("divisions", [(3, 3, 3), (1, 1, 1)])
def test_neighbours_on_springs(modes, divisions):
    """What they keep for each voxel; of whole Brillouin zones, for 64 points and the peak."""
    springs = rigid_lattice(modes.structure, CELL, "P 1", contact_A=12.0)
    grid = grid_to_resolution(CELL, divisions, 2.5)
    indices = grid.indices_between(10, 2.5)
    own = replace(modes, unit_cell=CELL, lattice=springs)
    made = lattice.LatticeNeighbours(own, grid, indices, np.arange(len(indices)), Ranks())
    arrays = [a for part in made._samples for a in (*arrays_of(part), *arrays_of(part.points))]
    found = sum(a.nbytes for a in arrays if len(a) >= len(indices))
    parts = parts_of_voxels(divisions)
    assert found == sum(lattice_bytes.kept_bytes(len(indices), 1, parts)[:6])


def test_liquid_motion_and_volume():
    """Distances at every point of the Patterson function; places of the voxels in the volume."""
    grid = grid_to_resolution(CELL, (3, 3, 3), 2.5)
    indices = grid.indices_between(np.inf, 2.5)
    made = liquid.LiquidMotion(grid, indices)
    points = int(np.prod(liquid.padded_shape(grid)))
    assert [made._distances.nbytes] == liquid.kept_bytes(points)
    filled = volume.Volume(grid, indices, np.arange(len(indices)), Ranks())
    assert [filled._filled.nbytes] == volume.volume_bytes(len(indices))


def test_halos_of_the_cell(modes):
    """What they keep for each voxel, and at most of lattice points."""
    cell, group = (21.0, 23.0, 24.0, 90.0, 90.0, 90.0), "P 21 21 21"
    grid = grid_to_resolution(cell, (3, 3, 3), 3.0)
    operations = grid_operations(grid, group)
    indices = unique_indices(grid, 10.0, 3.0, operations)
    expanded, _ = laue_expansion(indices, grid.divisions, operations)
    own, rows = replace(modes, unit_cell=cell, space_group=group), np.arange(len(indices))
    made = cell_halos.CellHalos(own, grid, indices, rows, expanded)
    coupling_waves(next(iter(made._points.values())), 20.0, 3)
    placed = [a for a in arrays_of(made._placed) if a.size >= len(indices)]
    every = [a for a in arrays_of(made) if a.size >= len(indices)]
    sizes = cell_halos.halo_sizes(own, 20.0)
    *of_voxels, points = cell_halos.kept_bytes(len(indices), len(expanded), sizes)
    found = sum(a.nbytes for a in [*placed, *every])
    assert 0.8 * sum(of_voxels) < found <= sum(of_voxels)
    kept = sum(a.nbytes for a in next(iter(made._points.values()))._kept[1:])
    assert 0.8 * points < kept * sizes.pairs < 2 * points
