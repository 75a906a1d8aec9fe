"""Maps that hold an asymmetric unit, a Friedel half or all of a crystal's diffuse intensity.

The oracle is the rigid-body intensity |F|²(1 − e^{−q²σ²}) of every molecule of the cell, placed by
gemmi's operations and summed atom by atom.
"""

from dataclasses import replace
from functools import cache

import gemmi
import numpy as np
import pytest
from builders import direct_sum, gemmi_inverse_d_squared, random_structure, s_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.crystal.lattice import HklGrid, fractionalization, grid_to_resolution
from hpc_diffuser.fit.config import Config, ModelConfig, ParametersConfig
from hpc_diffuser.fit.phases import measured_sizes
from hpc_diffuser.fit.problem import Problem
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.fit.space import held_space
from hpc_diffuser.io.maps.files import Given, read_any_map
from hpc_diffuser.io.maps.native import read_target, write_target
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import Target, TargetOptions, make_target
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

SIGMA_A, N = 0.4, 5
OPTIONS = TargetOptions(d_max_A=12.0, d_min_A=5.0, n_shells=3, free_fraction=0.2)
CRYSTALS = {
    "P 1 21 1": (17.0, 20.0, 18.0, 90.0, 107.0, 90.0),
    "P 21 21 21": (17.0, 19.0, 21.0, 90.0, 90.0, 90.0),
    "C 1 2 1": (23.0, 17.0, 19.0, 90.0, 105.0, 90.0),
    "C 2 2 21": (20.0, 24.0, 18.0, 90.0, 90.0, 90.0),
    "P 41": (18.0, 18.0, 22.0, 90.0, 90.0, 90.0),
    "I 41": (22.0, 22.0, 20.0, 90.0, 90.0, 90.0),
    "P 43 21 2": (18.0, 18.0, 22.0, 90.0, 90.0, 90.0),
    "P 3 2 1": (20.0, 20.0, 17.0, 90.0, 90.0, 120.0),
    "R 3:H": (24.0, 24.0, 18.0, 90.0, 90.0, 120.0),
    "R 3:R": (18.0, 18.0, 18.0, 83.0, 83.0, 83.0),
    "P 61": (20.0, 20.0, 17.0, 90.0, 90.0, 120.0),
    "P 63 2 2": (20.0, 20.0, 18.0, 90.0, 90.0, 120.0),
    "P 2 3": (18.0, 18.0, 18.0, 90.0, 90.0, 90.0),
    "I 2 3": (22.0, 22.0, 22.0, 90.0, 90.0, 90.0),
    "I 21 3": (22.0, 22.0, 22.0, 90.0, 90.0, 90.0),
    "F 2 3": (25.0, 25.0, 25.0, 90.0, 90.0, 90.0),
}


@cache
def crystal(space_group: str) -> Modes:
    """Twenty atoms in a cube of 11 Å, which no operation leaves as it is."""
    structure = random_structure(np.random.default_rng(5), 20, 5.5)
    still = np.empty((0, 20, 3)), np.empty(0)
    return Modes(structure, *still, CRYSTALS[space_group], space_group)


@cache
def sphere(space_group: str) -> tuple[HklGrid, np.ndarray, np.ndarray]:
    """All samples of the crystal's sphere, and the sum over its molecules at each, per molecule."""
    modes = crystal(space_group)
    grid = grid_to_resolution(modes.unit_cell, (N, N, N), OPTIONS.d_min_A)
    half = grid.indices_between(np.inf, OPTIONS.d_min_A)
    s = s_vectors(grid, half)
    to_fractional, total = fractionalization(modes.unit_cell), np.zeros(len(half))
    operations = gemmi.find_spacegroup_by_name(space_group).operations().sym_ops
    for operation in operations:
        turned = np.array(operation.rot) / operation.DEN @ to_fractional
        placed = modes.structure.positions @ (np.linalg.inv(to_fractional) @ turned).T
        total += np.abs(direct_sum(replace(modes.structure, positions=placed), s)) ** 2
    total *= -np.expm1(-4 * np.pi**2 * np.sum(s**2, axis=1) * SIGMA_A**2) / len(operations)
    origin = (half == 0).all(axis=1)
    return grid, np.concatenate([half, -half[~origin]]), np.append(total, total[~origin])


def gemmi_unit(indices: np.ndarray, space_group: str) -> np.ndarray:
    """Mask of the samples in the asymmetric unit of CCP4's choice."""
    unit = gemmi.ReciprocalAsu(gemmi.find_spacegroup_by_name(space_group))
    return np.array([unit.is_in(i) for i in indices.tolist()])


PARTS = {
    "sphere": lambda i, _: np.ones(len(i), bool),
    "h ≥ 0": lambda i, _: i[:, 0] >= 0,
    "k ≤ 0": lambda i, _: i[:, 1] <= 0,
    "l ≥ 0": lambda i, _: i[:, 2] >= 0,
    "CCP4's unit": gemmi_unit,
    "its inverse": lambda i, name: gemmi_unit(-i, name),
}


def part_of_sphere(space_group: str, part: str) -> DiffuseMap:
    """Part of the exact map, in no larger a box than it needs."""
    grid, indices, values = sphere(space_group)
    kept = PARTS[part](indices, space_group)
    return scattered(grid, indices[kept], values[kept], space_group)


def scattered(grid, indices, values, space_group) -> DiffuseMap:
    """Values on the smallest grid that holds them."""
    grid = replace(grid, extent=tuple(int(n) for n in np.abs(indices).max(axis=0)))
    intensity = np.full(grid.shape, np.nan, np.float32)
    intensity[tuple((indices + np.array(grid.extent)).T)] = values
    return DiffuseMap(grid, intensity, space_group)


# Each group by one grid; by the other they are slow.
GROUPS_AND_GRIDS = [
    pytest.param(group, grid, marks=[pytest.mark.slow] if (i + j) % 2 else [])
    for i, group in enumerate(CRYSTALS)
    for j, grid in enumerate(["band-limited", "target"])
]


@pytest.mark.parametrize(("space_group", "grid"), GROUPS_AND_GRIDS)
def test_a_map_of_an_asymmetric_unit_scores_1_with_its_own_model(space_group, grid, tmp_path):
    """1 − CC < 1e-5 in every shell, of CCP4's unit through an MTZ that gemmi writes."""
    path, modes = tmp_path / "map.mtz", crystal(space_group)
    write_mtz(path, part_of_sphere(space_group, "CCP4's unit"))
    found = read_any_map(path, Given(unit_cell=modes.unit_cell))
    write_target(tmp_path / "target.h5", make_target(found.diffuse, OPTIONS), {})
    target = read_target(tmp_path / "target.h5")
    how = Computation(SIGMA_A, grid=grid)
    model = forward_model(modes, target.grid, target.indices, Ranks(), how)
    intensity = model.rigid(Parameters(np.empty(0), Disorder(SIGMA_A)))
    score = Comparison(target, model, "shell-mean", "none").score(intensity)
    assert score.shells_work.min() > 1 - 1e-5
    assert np.nanmin(score.shells_free) > 1 - 1e-5  # of so few zones, no free ones in some shells


def write_mtz(path, diffuse: DiffuseMap) -> None:
    """A supercell MTZ with one column of intensities."""
    indices = np.argwhere(np.isfinite(diffuse.intensity))
    values = diffuse.intensity[tuple(indices.T)]
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.find_spacegroup_by_name(diffuse.space_group)
    edges = np.array(diffuse.grid.unit_cell[:3]) * N
    mtz.add_dataset("diffuse")
    mtz.set_cell_for_all(gemmi.UnitCell(*edges, *diffuse.grid.unit_cell[3:]))
    mtz.add_column("IMEAN", "J")
    hkl = indices - np.array(diffuse.grid.extent)
    mtz.set_data(np.column_stack([hkl, values]).astype(np.float32))
    mtz.write_to_file(str(path))


@pytest.mark.parametrize("space_group", CRYSTALS)
def test_every_part_that_holds_all_sets_of_mates_gives_one_target(space_group):
    """The same voxels, intensities and free set: nothing is lost, and halves know as much."""
    whole = make_target(part_of_sphere(space_group, "sphere"), OPTIONS)
    for part in list(PARTS)[1:]:
        target = make_target(part_of_sphere(space_group, part), OPTIONS)
        np.testing.assert_array_equal(target.indices, whole.indices, part)
        np.testing.assert_array_equal(target.free, whole.free, part)
        np.testing.assert_allclose(target.intensity, whole.intensity, rtol=2e-5, err_msg=part)


SHARED = ("C 1 2 1", "P 43 21 2", "P 61", "R 3:H", "I 21 3")


@pytest.mark.parametrize("space_group", SHARED)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.data())
def test_any_voxels_make_a_target_of_their_sets(space_group, data):
    """Each set of mates of which one is measured comes once, with the mean of what is measured.

    Sets are told apart by gemmi's place in CCP4's unit; the model is that of the whole sphere.
    """
    grid, indices, values = sphere(space_group)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    share = data.draw(st.sampled_from([0.01, 0.2, 0.9]))
    wedge = indices @ rng.normal(size=3) > data.draw(st.sampled_from([-5.0, 5.0]))
    kept = (rng.random(len(indices)) < share) & wedge
    noisy = values * rng.uniform(0.5, 1.5, len(values))
    target = make_target(scattered(grid, indices[kept], noisy[kept], space_group), OPTIONS)
    sums = sums_of_sets(indices[kept], noisy[kept], space_group)
    found = sums_of_sets(target.indices, target.intensity, space_group)
    assert all(n == 1 for n, _ in found.values())
    for one, (_, mean) in found.items():
        n, total = sums[one]
        assert mean == pytest.approx(total / n, rel=1e-5)
    inverse_d = np.sqrt(gemmi_inverse_d_squared(indices[kept], grid.unit_cell, (N, N, N)))
    in_range = kept_between_halos(indices[kept], space_group) & (
        inverse_d > (1 - 1e-9) / OPTIONS.d_max_A
    )
    assert len(found) == len(sums_of_sets(indices[kept][in_range], noisy[kept], space_group))
    assert_modelled(target, grid)


def sums_of_sets(indices: np.ndarray, values: np.ndarray, space_group: str) -> dict:
    """How many voxels of each set of mates there are, and the sum of their values."""
    group = gemmi.find_spacegroup_by_name(space_group)
    unit, operations = gemmi.ReciprocalAsu(group), group.operations()
    sums: dict = {}
    for i, value in zip(indices.tolist(), values, strict=False):
        place, _ = unit.to_asu(i, operations)
        n, total = sums.get(tuple(place), (0, 0.0))
        sums[tuple(place)] = n + 1, total + float(value)
    return sums


def kept_between_halos(indices: np.ndarray, space_group: str) -> np.ndarray:
    """Mask of the samples none of whose mates is within 3/7 of an integer hkl that is a peak."""
    operations = gemmi.find_spacegroup_by_name(space_group).operations()
    corners = np.stack(np.meshgrid(*[[0, 1]] * 3), axis=-1).reshape(-1, 3)
    outside = np.ones(len(indices), bool)
    for operation in operations.sym_ops:
        hkl = indices @ (np.array(operation.rot) // operation.DEN) / N
        for corner in corners:
            peak = np.floor(hkl).astype(int) + corner
            phases = peak @ np.array(operations.cen_ops).T
            allowed = (phases % operation.DEN == 0).all(axis=1)
            outside &= ~(allowed & (np.linalg.norm(hkl - peak, axis=1) < 3 / 7 + 1e-9))
    return outside


def assert_modelled(target: Target, whole: HklGrid) -> None:
    """The same bits on the target's own grid as on one that holds the whole sphere.

    Of a model with halos, whose factors are looked up by the mates' indices.
    """
    modes, rows = crystal(target.space_group), len(target.indices)
    profile = 1 + np.random.default_rng(1).random((2 * N, 2 * N, 2 * N))
    disorder = Disorder(0.3, halo_sigma_A=0.2, halo_gamma_A=15.0, halo_alpha=2.0)
    maps = []
    for grid in (target.grid, whole.holding(target.indices)):
        how = Computation(SIGMA_A, grid="target")
        model = forward_model(modes, grid, target.indices, Ranks(), how, profile)
        maps.append(model.rigid(Parameters(np.empty(0), disorder)))
    assert len(maps[0]) == rows
    np.testing.assert_array_equal(*maps)


def test_memory_is_predicted_for_the_grid_that_holds_the_mates():
    """All but the target's own points: the mates' box, the planes and voxels computed."""
    found = []
    for part in ("CCP4's unit", "sphere"):
        target = make_target(part_of_sphere("P 43 21 2", part), OPTIONS)
        config = Config(model=ModelConfig(grid="target"))
        space = held_space(ParametersConfig(translation_sigma_A=(0.4, 0.4)), np.empty(0), 0)
        found.append(measured_sizes(Problem(config, crystal("P 43 21 2"), target, space)))
    unit, whole = found
    assert unit.points < whole.points
    assert (unit.expanded, unit.mates) == (whole.expanded, whole.mates)
    np.testing.assert_array_equal(unit.plane_voxels, whole.plane_voxels)
    np.testing.assert_array_equal(
        unit.coarse.offsets, whole.coarse.offsets[: len(unit.coarse.h) + 1]
    )
    assert unit.box >= unit.points
