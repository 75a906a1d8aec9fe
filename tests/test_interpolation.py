"""The band-limited grid against the direct transform, and the kernel against plain waves."""

import numpy as np
import pytest

from hpc_diffuser.disorder import Disorder
from hpc_diffuser.example import example_modes
from hpc_diffuser.interpolation import (
    choose_band_grid,
    interpolation_weights,
    pair_separations,
    wave_errors,
)
from hpc_diffuser.lattice import distance_to_bragg, grid_to_resolution
from hpc_diffuser.model import DirectModel, InterpolatedModel, forward_model
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parameters import Parameters
from hpc_diffuser.sampling import generator, normal_samples
from hpc_diffuser.scattering import atomic_numbers

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
    direct, interpolated = (
        model.internal_motion(parameters, normals)
        for model in (
            DirectModel(MODES, grid, indices, Ranks()),
            InterpolatedModel(MODES, grid, indices, Ranks(), band),
        )
    )
    error = np.sqrt(np.mean((interpolated - direct) ** 2) / np.mean(direct**2))
    assert error < 2 * band.error


def test_the_cheaper_model_is_chosen():
    """Fine targets are interpolated; a target as coarse as the band limit is computed directly."""
    for divisions, kind in (((7, 7, 7), InterpolatedModel), ((2, 2, 2), DirectModel)):
        grid = grid_to_resolution(MODES.unit_cell, divisions, 3.0)
        indices = grid.indices_between(6.0, 3.0)
        assert isinstance(forward_model(MODES, grid, indices, Ranks(), 0.3), kind)
