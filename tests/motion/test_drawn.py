"""Paths along modes, and ensembles of all motions: against the closed form of their intensity."""

from dataclasses import replace

import numpy as np
import pytest
from builders import direct_sum, gemmi_form_factors

from hpc_diffuser.motion.configurations import displacement_covariances, mean_square_displacements
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.drawn import drawn_ensemble, mode_path
from hpc_diffuser.motion.modes import with_frames
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

EVERYTHING = Parameters(
    np.array([0.3, 0.2]),
    Disorder(
        translation_sigma_A=(0.2, 0.3, 0.25),
        translation_correlation=(0.5, -0.3, 0.2),
        uncorrelated_sigma_A=(0.1, 0.2, 0.15),
        llm_sigma_A=0.25,
        llm_gamma_A=4.0,
        halo_sigma_A=0.1,
        halo_gamma_A=30.0,
    ),
    mode_correlation=(0.6,),
    libration_sigma_deg=2.0,
    screw_correlation=0.5,
)


def test_a_path_goes_there_and_back(modes):
    """Coefficients are those of a sine, in whole periods: the first follows the last."""
    frames = mode_path(modes, 1, 0.6, 8)
    away = (frames - modes.structure.positions).reshape(8, -1)
    field = modes.vectors[1].ravel()
    found = away @ field / (field @ field)
    np.testing.assert_allclose(away, found[:, None] * field, atol=1e-12)
    half = 0.6 * np.sqrt(0.5)
    np.testing.assert_allclose(found, [0, half, 0.6, half, 0, -half, -0.6, -half], atol=1e-12)


def test_an_ensemble_scatters_as_the_closed_form_says(modes):
    """⟨|F|²⟩ − |⟨F⟩|² of models that are drawn is the pair sum's: all motions are as they mean.

    The pair sum has no libration; it has the modes' correlation in their fields.
    """
    disorder = replace(EVERYTHING.disorder, halo_sigma_A=0.0, halo_gamma_A=0.0)
    parameters = replace(
        EVERYTHING, disorder=disorder, libration_sigma_deg=0.0, screw_correlation=0.0
    )
    n = 12000
    frames = drawn_ensemble(modes, parameters, n, 5)
    s = np.random.default_rng(3).normal(size=(60, 3)) * 0.2
    f = direct_sum(modes.structure, s, frames)
    found = np.mean(np.abs(f) ** 2, axis=0) - np.abs(np.mean(f, axis=0)) ** 2
    # Modes with correlation 0.6: σ₁(Δ₁ z₁), σ₂ Δ₂ (0.6 z₁ + 0.8 z₂).
    one, two = 0.3 * modes.vectors[0], 0.2 * modes.vectors[1]
    factors = gemmi_form_factors(modes.structure.elements, np.sum(s**2, axis=1))
    expected = pair_sum_intensity(
        modes.structure.positions, factors, s, np.array([one + 0.6 * two, 0.8 * two]), disorder
    )
    # The relative error of |F|² averaged over n is 1/√n, 0.9 %.
    np.testing.assert_allclose(found, expected, rtol=0.04)
    assert np.corrcoef(found, expected)[0, 1] > 0.9995


def test_covariances_are_those_of_an_ensemble(modes):
    """U of every atom, by 40000 models with every motion at once; its trace is ⟨|u|²⟩."""
    expected = displacement_covariances(modes, EVERYTHING)
    trace = np.trace(expected, axis1=1, axis2=2)
    squares = mean_square_displacements(modes, EVERYTHING)
    np.testing.assert_allclose(trace, squares, rtol=1e-12)
    away = drawn_ensemble(modes, EVERYTHING, 40000, 3)
    away -= away.mean(axis=0)
    found = np.einsum("sni,snj->nij", away, away) / len(away)
    # √(2/n) = 0.7 % of the diagonal; libration's second order is 1e-3.
    limit = 0.03 * trace[:, None, None] / 3
    assert np.all(np.abs(found - expected) < limit)
    assert np.abs(expected[:, 0, 1]).max() > 0.02  # the cross terms are none of them 0


def test_the_same_seed_draws_the_same(modes):
    """And another one, another ensemble."""
    one, same, other = (drawn_ensemble(modes, EVERYTHING, 4, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_few_models_have_the_modes_exact_covariance(modes):
    """Sixteen models along two modes have their standard deviations, and the mean."""
    frames = drawn_ensemble(modes, Parameters(np.array([0.4, 0.2])), 16, 1)
    np.testing.assert_allclose(frames.mean(axis=0), modes.structure.positions, atol=1e-10)
    away = frames - modes.structure.positions
    along = np.tensordot(away, modes.vectors, ([1, 2], [1, 2]))
    gram = np.tensordot(modes.vectors, modes.vectors, ([1, 2], [1, 2]))
    coefficients = along @ np.linalg.inv(gram)
    np.testing.assert_allclose(np.cov(coefficients.T, bias=True), np.diag([0.16, 0.04]), atol=1e-10)


def test_the_residual_is_every_atoms_own(modes):
    """B of 10 Å² for one half of the atoms: ⟨u²⟩ = B/8π² along each axis, nothing for the rest."""
    b = np.repeat([10.0, 0.0], 6)
    frames = drawn_ensemble(modes, Parameters(np.zeros(2)), 8000, 1, b)
    variances = frames.var(axis=0)
    np.testing.assert_allclose(variances[:6], 10 / (8 * np.pi**2), rtol=0.08)
    assert np.all(variances[6:] < 1e-20)


def test_frames_are_drawn_by_their_weights(modes):
    """Two conformations, three to one; their covariance is w(1−w) d dᵀ."""
    positions = modes.structure.positions
    shift = np.zeros_like(positions)
    shift[0] = [1.0, 2.0, 0.0]
    ensemble = with_frames(modes, np.array([positions, positions + shift]), np.array([3.0, 1.0]))
    still = Parameters(np.empty(0))
    frames = drawn_ensemble(ensemble, still, 4000, 1)
    moved = np.abs(frames[:, 0, 0] - positions[0, 0]) > 0.5
    assert moved.mean() == pytest.approx(0.25, abs=0.03)
    covariance = displacement_covariances(ensemble, still)
    np.testing.assert_allclose(covariance[0], 0.1875 * np.outer(shift[0], shift[0]), atol=1e-12)
    np.testing.assert_allclose(covariance[1:], 0.0, atol=1e-12)
