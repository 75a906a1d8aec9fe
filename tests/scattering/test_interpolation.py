"""The band-limited grid against the direct transform, and the kernel against plain waves."""

from dataclasses import replace

import numpy as np
import pytest
from builders import random_structure

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.crystal.atom_factors import atomic_numbers
from hpc_diffuser.crystal.lattice import HklGrid, distance_to_bragg, grid_to_resolution
from hpc_diffuser.maps.target import map_from_voxels
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.interpolated import InterpolatedModel
from hpc_diffuser.scattering.interpolation import (
    TAPS,
    BandGrid,
    Interpolator,
    choose_band_grid,
    interpolation_weights,
    pair_separations,
    wave_errors,
)
from hpc_diffuser.scattering.liquid import LiquidMotion
from hpc_diffuser.scattering.model import Crystal, ForwardModel, forward_model
from hpc_diffuser.scattering.molecule import Computation, DirectModel
from hpc_diffuser.scattering.moments import Moments
from hpc_diffuser.scattering.volume import Volume

MODES = example_modes()


def separations(motion_A: float = 0.0):
    """Pair distances of the built-in protein."""
    structure = MODES.structure
    electrons = atomic_numbers(structure)
    return pair_separations(structure.positions, electrons, motion_A, MODES.unit_cell)


def test_weights_at_a_sample_pick_that_sample():
    """On a coarse point the sinc is 1 there and 0 at all others."""
    first, weights = interpolation_weights(np.array([-3.0, 0.0, 5.0]), 8, 5.0)
    samples = first[:, None] + np.arange(8)
    expected = samples == np.array([[-3], [0], [5]])
    np.testing.assert_allclose(weights, expected, atol=1e-15)


def test_wave_errors_are_those_of_an_explicit_wave():
    """Interpolating cos 2πft from its samples, at random places, errs as predicted.

    The prediction is of e^{2πift}; a cosine at random phase has half of its squared error.
    """
    rng = np.random.default_rng(1)
    frequency, taps, beta = 0.37, 12, 6.0
    t, phase = rng.uniform(0, 100, 20000), rng.uniform(0, 2 * np.pi, 20000)
    first, weights = interpolation_weights(t, taps, beta)
    angle = 2 * np.pi * frequency * (first[:, None] + np.arange(taps)) + phase[:, None]
    error = np.sum(weights * np.cos(angle), axis=1) - np.cos(2 * np.pi * frequency * t + phase)
    predicted = wave_errors(np.array([frequency]), taps, beta)[0] / np.sqrt(2)
    np.testing.assert_allclose(np.sqrt(np.mean(error**2)), predicted, rtol=0.03)


def test_separations_are_those_of_the_atoms():
    """Shares add up to 1; the mean square distance is that of a sum over all pairs.

    Between N atoms with weights w: Σ w_a w_b (x_a − x_b)² / (Σ w)² = 2 Var(x).
    """
    fractional = MODES.structure.positions @ np.linalg.inv(_orthogonal()).T
    weights = atomic_numbers(MODES.structure)
    for axis, (distance, share) in enumerate(separations()):
        np.testing.assert_allclose(share.sum(), 1, rtol=1e-12)
        x = fractional[:, axis]
        variance = np.average(x**2, weights=weights) - np.average(x, weights=weights) ** 2
        # One-sided: distance 0 counts once, every other twice.
        both = share * np.where(distance > 0, 2, 1)
        np.testing.assert_allclose(np.sum(both * distance**2) / both.sum(), 2 * variance, rtol=0.03)


def _orthogonal() -> np.ndarray:
    import gemmi

    return np.array(gemmi.UnitCell(*MODES.unit_cell).orth.mat.tolist())


def band_of(target: HklGrid, taps: int, margin: int) -> BandGrid:
    """Coarser than the target along every axis; `margin` samples wider than it."""
    divisions, betas = (2.9, 2.6, 3.1), (5.0, 6.0, 7.0)
    reach = np.array(target.extent) / target.divisions * divisions
    extent = tuple(int(n) for n in np.ceil(reach).astype(int) + margin)
    return BandGrid(HklGrid(target.unit_cell, divisions, extent), 1.0, taps, betas, 0.0)


def dense_kernel(band: BandGrid, target: HklGrid, axis: int) -> np.ndarray:
    """Every coarse sample's weight at every point of an axis, from the definition.

    sinc(t) I₀(β√(1 − (2t/taps)²))/I₀(β) for |t| ≤ taps/2, t the distance in coarse samples.
    """
    scale, beta = band.grid.divisions[axis], band.betas[axis]
    t = scale * (target.axis(axis)[:, None] - band.grid.axis(axis))
    inside = np.abs(t) <= band.taps / 2
    window = np.sqrt(np.where(inside, 1 - (2 * t / band.taps) ** 2, 0))
    return np.where(inside, np.sinc(t) * np.i0(beta * window) / np.i0(beta), 0)


def some_voxels(grid: HklGrid) -> np.ndarray:
    """A third of all, sorted, with planes and rows that have none."""
    h, k, l = np.indices(grid.shape).reshape(3, -1) - np.array(grid.extent)[:, None]  # noqa: E741
    chosen = np.random.default_rng(2).random(len(h)) < 1 / 3
    chosen &= (h != 2) & (k != -1) & ((h != 3) | (l > 1))
    return np.stack([h, k, l], axis=1)[chosen]


TARGET = HklGrid((30.0, 34.0, 38.0, 90.0, 100.0, 95.0), (7, 6, 5), (6, 9, 7))


@pytest.mark.parametrize("taps", TAPS)
def test_interpolator_is_the_sum_over_all_coarse_samples(taps):
    """Against the dense triple sum in double precision: Σ w(h) w(k) w(l) volume.

    Single precision: 6e-8 for each of some 60 additions that a voxel depends on.
    """
    band, indices = band_of(TARGET, taps, taps // 2 + 1), some_voxels(TARGET)
    volume = np.random.default_rng(1).normal(size=band.grid.shape).astype(np.float32)
    kernels = [dense_kernel(band, TARGET, axis) for axis in range(3)]
    whole = np.einsum("hi,kj,lm,ijm->hkl", *kernels, volume, optimize=True)
    expected = whole[tuple((indices + np.array(TARGET.extent)).T)]
    found = Interpolator(band, TARGET, indices).at_voxels(volume)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


def test_a_plane_has_the_same_bits_whichever_others_are_interpolated():
    """Ranks hold different planes: each is as if it were alone."""
    band, indices = band_of(TARGET, 12, 7), some_voxels(TARGET)
    volume = np.random.default_rng(1).normal(size=band.grid.shape).astype(np.float32)
    whole = Interpolator(band, TARGET, indices).at_voxels(volume)
    for h in np.unique(indices[:, 0]):
        own = indices[:, 0] == h
        alone = Interpolator(band, TARGET, indices[own]).at_voxels(volume)
        np.testing.assert_array_equal(alone, whole[own])


def test_a_rank_without_voxels_interpolates_nothing():
    """More ranks than planes leave some without any."""
    band = band_of(TARGET, 12, 7)
    volume = np.ones(band.grid.shape, np.float32)
    none = Interpolator(band, TARGET, np.empty((0, 3), np.int64))
    assert none.at_voxels(volume).shape == (0,)


def test_a_point_without_neighbours_is_refused():
    """A coarse grid that ends soon beyond the target: its outermost points are not made up.

    With 8 taps a point at x needs the samples floor(x) − 3 to floor(x) + 4.
    """
    band, indices = band_of(TARGET, 8, 2), some_voxels(TARGET)
    with pytest.raises(IndexError, match="coarse grid ends too near"):
        Interpolator(band, TARGET, indices)
    first = np.floor(indices * band.grid.divisions / np.array(TARGET.divisions)) - 3
    extent = np.array(band.grid.extent)
    inside = ((first >= -extent) & (first + 7 <= extent)).all(axis=1)
    assert 0 < inside.sum() < len(indices)
    ones = np.ones(band.grid.shape, np.float32)
    found = Interpolator(band, TARGET, indices[inside]).at_voxels(ones)
    np.testing.assert_allclose(found, 1, atol=0.1)


@pytest.mark.parametrize("beyond", [(7, 0, 0), (0, -10, 0), (1, 2, 8)])
def test_an_index_off_the_grid_is_refused(beyond):
    """Its row exists, but belongs to another one: |h| ≤ 6, |k| ≤ 9, |l| ≤ 7 are on the grid."""
    band, indices = band_of(TARGET, 8, 8), np.array([[0, 0, 0], beyond])
    for meets in (
        lambda: Interpolator(band, TARGET, indices),
        lambda: Volume(TARGET, indices, np.arange(2), Ranks()),
        lambda: Moments(MODES, TARGET, indices, Ranks()),
        lambda: LiquidMotion(TARGET, indices),
        lambda: map_from_voxels(TARGET, indices, np.zeros(2), "P 1"),
        lambda: ForwardModel(lambda i, g: None, TARGET, indices, Ranks(), Crystal(np.eye(3), None)),
    ):
        with pytest.raises(IndexError, match="not on a grid"):
            meets()


def test_a_volume_of_another_grid_is_refused():
    """The kernel reads where it is told, and not where the volume ends."""
    band, indices = band_of(TARGET, 8, 8), some_voxels(TARGET)
    with pytest.raises(IndexError, match="points for a grid of"):
        Interpolator(band, TARGET, indices).at_voxels(np.ones((9, 9, 9), np.float32))


@pytest.mark.parametrize("tolerance", [3e-3, 1e-3, 2e-4])
def test_interpolated_intensity_is_as_good_as_predicted(tolerance):
    """Against the direct transform at every voxel of 4-2 Å: rms error within twice the prediction.

    Twice, because the prediction takes the pairs' terms for independent.
    """
    grid = grid_to_resolution(MODES.unit_cell, (5, 5, 5), 2.0)
    indices = grid.indices_between(4.0, 2.0)
    indices = indices[distance_to_bragg(indices, grid.divisions) > 3 / 7]
    indices = indices[np.isin(indices[:, 0], [0, 1, 30, 45, 68])]
    parameters = Parameters(np.array([0.3, 0.2, 0.1]), Disorder(0.4))
    normals = normal_samples("sobol", 8, 3, generator(1))
    band = choose_band_grid(grid, 2.0, separations(0.37), tolerance)
    assert band.error <= tolerance * 1.001
    how = Computation(transform="direct")
    models = (
        DirectModel(MODES, grid, indices, Ranks(), how),
        InterpolatedModel(MODES, grid, indices, Ranks(), band, how),
    )
    parts = [(model, model.internal_motion(parameters, normals)) for model in models]
    direct, interpolated = (m.at_voxels(part.internal + part.rigid) for m, part in parts)
    error = np.sqrt(np.mean((interpolated - direct) ** 2) / np.mean(direct**2))
    assert error < 2 * band.error


def test_the_cheaper_model_is_chosen():
    """Fine targets are interpolated; a target as coarse as the band limit is computed directly."""
    for divisions, kind in (((7, 7, 7), InterpolatedModel), ((2, 2, 2), DirectModel)):
        grid = grid_to_resolution(MODES.unit_cell, divisions, 3.0)
        indices = grid.indices_between(6.0, 3.0)
        assert isinstance(
            forward_model(MODES, grid, indices, Ranks(), Computation(0.3)).molecule, kind
        )


@pytest.mark.parametrize(("n_atoms", "radius_A"), [(30, 5.0), (120, 8.0)])
def test_small_molecules_are_as_exact_as_promised(n_atoms, radius_A):
    """0.1 % of the rms intensity, against the direct sum at the voxels; 1 − CC < 1e-5 at any q.

    Atoms are as wide as a tenth of such a molecule; by distances of points it was 0.23 %, and
    1 − CC 2e-4 among the twentieth of the voxels of lowest resolution.
    """
    structure = random_structure(np.random.default_rng(n_atoms), n_atoms, radius_A, ("C", "N", "O"))
    cell, d_min = (30.0, 32.0, 34.0, 90.0, 100.0, 90.0), 5.0
    modes = Modes(structure, np.empty((0, n_atoms, 3)), np.empty(0), cell, "P 1")
    grid = grid_to_resolution(cell, (5, 5, 5), d_min)
    indices = grid.indices_between(np.inf, d_min)
    how = Computation(0.4, transform="direct")
    still = Parameters(np.empty(0), Disorder(0.4))
    found = []
    for kind in ("target", "band-limited"):
        model = forward_model(modes, grid, indices, Ranks(), replace(how, grid=kind))
        found.append(model.rigid(still)[np.argsort(model.rows)])
    exact, interpolated = found
    error = np.sqrt(np.mean((interpolated - exact) ** 2) / np.mean(exact**2))
    assert error < 1.1e-3
    lowest = np.argsort(grid.inverse_d_squared(indices))[: len(indices) // 20]
    assert np.corrcoef(exact[lowest], interpolated[lowest])[0, 1] > 1 - 1e-5
