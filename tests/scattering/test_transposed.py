"""Each linear step from F to the map against its transpose: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩."""

import numpy as np
import pytest
from builders import TRICLINIC, random_structure

from hpc_diffuser.crystal.atom_factors import atomic_numbers
from hpc_diffuser.crystal.lattice import HklGrid, along_hkl, grid_to_resolution
from hpc_diffuser.crystal.symmetry import (
    average_over_mates,
    grid_operations,
    laue_expansion,
    spread_over_mates,
    unique_indices,
)
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.interpolation import Interpolator, choose_band_grid, pair_separations
from hpc_diffuser.scattering.liquid import LiquidMotion, Strength
from hpc_diffuser.scattering.volume import Volume

D_MIN = 2.2
ROUNDING = 2e-6  # single precision, of the product of norms


@pytest.fixture(scope="module")
def band():
    """A molecule's coarse grid, for a target of five samples along each axis."""
    structure = random_structure(np.random.default_rng(1), 30)
    target = grid_to_resolution(TRICLINIC, (5, 5, 5), D_MIN)
    electrons = atomic_numbers(structure)
    separations = pair_separations(structure.positions, electrons, 2.5, TRICLINIC)
    return target, choose_band_grid(target, D_MIN, separations, 5e-4)


def same_products(applied, y, x, transposed):
    """⟨A x, y⟩ and ⟨x, Aᵀ y⟩, relative to the norms of what is multiplied."""
    one, other = np.vdot(applied, y), np.vdot(x, transposed)
    assert abs(one - other) < ROUNDING * np.linalg.norm(applied) * np.linalg.norm(y)


def test_interpolation(band):
    """From a random volume to random voxels of the target, planes in any order."""
    target, coarse = band
    rng = np.random.default_rng(2)
    indices = target.indices_between(np.inf, D_MIN)
    indices = indices[np.sort(rng.choice(len(indices), 3000, replace=False))]
    own = Interpolator(coarse, target, indices)
    x = rng.normal(size=coarse.grid.shape).astype(np.float32)
    y = rng.normal(size=len(indices))
    mixed = own.mixed_from(y)
    same_products(own.at_voxels(x), y, x, own.volume_from(mixed, own.planes))
    order = rng.permutation(len(mixed))
    shuffled = own.volume_from(mixed[order], own.planes[order])
    assert shuffled.tobytes() == own.volume_from(mixed, own.planes).tobytes()


def test_volume(band):
    """From one of each Friedel pair to both; the origin is one."""
    grid = band[1].grid
    indices = grid.indices_between(np.inf, band[1].d_min)
    assert (indices == 0).all(axis=1).any()
    volume = Volume(grid, indices, np.arange(len(indices)), Ranks())
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=len(indices)), rng.normal(size=grid.shape)
    same_products(volume.of(x), y, x, volume.folded(y))


@pytest.mark.parametrize("space_group", ["P 1 21 1", "P 43 21 2", "I 4"])
def test_average_over_mates(space_group):
    """Special positions have the same mate several times."""
    cell = (20.0, 20.0, 14.0, 90.0, 90.0, 90.0)
    grid: HklGrid = grid_to_resolution(cell, (2, 2, 2), 3.0)
    operations = grid_operations(grid, space_group)
    indices = unique_indices(grid, np.inf, 3.0, operations)
    expanded, mates = laue_expansion(indices, grid.divisions, operations)
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=len(expanded)), rng.normal(size=len(indices))
    same_products(average_over_mates(x, mates), y, x, spread_over_mates(y, mates, len(expanded)))


@pytest.mark.parametrize("sigma_A", [0.1, 0.4, 0.9, None])
def test_liquid_series(sigma_A):
    """The convolution, on a grid with its origin."""
    divisions = along_hkl((2.3, 2.1, 2.6))
    grid = grid_to_resolution(TRICLINIC, divisions, D_MIN)
    indices = grid.indices_between(np.inf, D_MIN)
    s_squared = grid.inverse_d_squared(indices)
    liquid, largest = LiquidMotion(grid, indices), float(s_squared.max())
    if sigma_A is None:
        u = np.array([[0.3, 0.1, 0.0], [0.1, 0.2, 0.05], [0.0, 0.05, 0.1]])
        strength = Strength.along(grid, indices, u, largest)
    else:
        strength = Strength.alike(grid, 4 * np.pi**2 * s_squared, sigma_A, largest)
    volume = Volume(grid, indices, np.arange(len(indices)), Ranks())
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=len(indices)), rng.normal(size=len(indices))
    series = liquid.series(volume.of(x), strength, 6.0)
    transposed = liquid.series_transposed(volume.of(y), strength, 6.0)
    same_products(series, y, x, transposed)
