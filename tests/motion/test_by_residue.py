"""Residues together and against each other, beside sums over all pairs and drawn ensembles."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_diffuser.motion.by_residue import (
    correlation,
    covariance,
    distance_changes,
    distances,
    inside,
    largest_pairs,
    mean_by_residue,
    prominent_modes,
    rms_by_residue,
)
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.drawn import drawn_ensemble
from hpc_diffuser.motion.modes import Modes, with_frames
from hpc_diffuser.motion.parameters import Parameters

DISORDER = Disorder(
    translation_sigma_A=0.3,
    uncorrelated_sigma_A=(0.01, 0.02, 0.03),
    llm_sigma_A=0.02,
    llm_gamma_A=6.0,
    halo_sigma_A=0.2,
)
ROWS = np.array([0, 2, 3, 7, 11])


@pytest.fixture
def moving(modes) -> tuple[Modes, Parameters]:
    """Correlated modes and all that is Gaussian, with what the crystal's B-factors leave."""
    known = replace(modes, crystal_b_A2=np.linspace(40, 60, len(modes.structure)))
    parameters = Parameters(
        np.array([0.05, 0.02]), DISORDER, mode_correlation=(0.6,), residual_b_fraction=2e-4
    )
    return known, parameters


def full_covariance(modes: Modes, parameters: Parameters) -> np.ndarray:
    """⟨u uᵀ⟩ of all coordinates (3N, 3N) within the molecule, pair by pair."""
    a, b = parameters.mode_amplitudes_A
    own, n = parameters.disorder, len(modes.structure)
    of_modes = np.array([[a**2, 0.6 * a * b], [0.6 * a * b, b**2]])
    rows = modes.vectors.reshape(2, -1)
    found = rows.T @ of_modes @ rows
    outside = np.trace(own.translation_covariance()) + 3 * own.halo_sigma_A**2
    for i in range(n):
        for j in range(n):
            r = np.linalg.norm(modes.structure.positions[i] - modes.structure.positions[j])
            liquid = own.llm_sigma_A**2 * np.exp(-r / own.llm_gamma_A)
            found[3 * i : 3 * i + 3, 3 * j : 3 * j + 3] += liquid * np.eye(3)
    for i in range(n):
        block = found[3 * i : 3 * i + 3, 3 * i : 3 * i + 3]
        block += np.diag(np.square(own.uncorrelated_sigma_A))
        left = modes.crystal_b_A2[i] / (8 * np.pi**2) - (np.trace(block) + outside) / 3
        block += parameters.residual_b_fraction * max(left, 0) * np.eye(3)
    return found


def test_covariances_and_distances_are_sums_over_pairs(moving):
    """Of the coordinates' covariance: traces of its blocks; variances along lines of sight."""
    modes, parameters = moving
    full = full_covariance(modes, parameters)
    within = inside(modes, parameters, ROWS)
    places = modes.structure.positions
    for m, i in enumerate(ROWS):
        for n, j in enumerate(ROWS):
            blocks = {
                (a, b): full[3 * a : 3 * a + 3, 3 * b : 3 * b + 3] for a in (i, j) for b in (i, j)
            }
            assert covariance(within)[m, n] == pytest.approx(np.trace(blocks[i, j]), rel=1e-9)
            if i == j:
                assert distance_changes(within)[m, n] == 0
                continue
            e = (places[i] - places[j]) / np.linalg.norm(places[i] - places[j])
            against = blocks[i, i] + blocks[j, j] - blocks[i, j] - blocks[j, i]
            assert distance_changes(within)[m, n] == pytest.approx(
                np.sqrt(e @ against @ e), rel=1e-6
            )


def test_distances_of_a_drawn_ensemble(moving):
    """As they scatter in models drawn with translation and libration, which have no part in it."""
    modes, parameters = moving
    turned = replace(parameters, libration_sigma_deg=2.0, residual_b_fraction=0.0)
    frames = drawn_ensemble(modes, turned, 4096, 5)[:, ROWS]
    expected = np.std([distances(frame) for frame in frames], axis=0)
    found = distance_changes(inside(modes, turned, ROWS))
    np.testing.assert_allclose(found, expected, rtol=0.05)  # 4096 models: 1.1 % each


def test_of_frames_by_their_weights(modes):
    """Weighted moments of the conformations; what is alike in all of them is no motion."""
    rng = np.random.default_rng(3)
    frames = modes.structure.positions + 1e-3 * rng.standard_normal((5, 12, 3))
    ensemble = with_frames(modes, frames, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    within = inside(ensemble, Parameters(np.empty(0)), ROWS)
    weights = ensemble.weights
    away = frames - np.average(frames, axis=0, weights=weights)
    expected = np.einsum("f,fix,fjx->ij", weights, away[:, ROWS], away[:, ROWS])
    np.testing.assert_allclose(covariance(within), expected, rtol=1e-9, atol=1e-18)
    lengths = np.array([distances(frame[ROWS]) for frame in frames])
    means = np.average(lengths, axis=0, weights=weights)
    scatter = np.sqrt(np.average((lengths - means) ** 2, axis=0, weights=weights))
    np.testing.assert_allclose(distance_changes(within), scatter, rtol=0.01, atol=1e-9)
    assert within.moves and not inside(modes, Parameters(np.zeros(2)), ROWS).moves


def test_blocks_of_rows_are_the_whole(moving, monkeypatch):
    """Many residues are taken a few at a time."""
    within = inside(*moving, ROWS)
    whole = distance_changes(within)
    monkeypatch.setattr("hpc_diffuser.motion.by_residue._BLOCK_BYTES", 2000)
    np.testing.assert_allclose(distance_changes(within), whole, rtol=1e-12)


def test_correlations():
    """1 with itself, −1 against each other; not known of what does not move."""
    found = correlation(np.array([[4.0, -2.0, 0.0], [-2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(found[:2, :2], [[1, -1], [-1, 1]])
    assert np.isnan(found[2]).all()


def test_prominent_modes():
    """By their share of ⟨u²⟩, that of the mean or above; those that stand still do not count."""
    assert prominent_modes(np.array([0.3, 1.0, 0.0, 0.2])) == [1]
    assert prominent_modes(np.array([1.0, 0.1, 0.9, 0.0])) == [0, 2]
    assert prominent_modes(np.full(9, 0.4)) == [0, 1, 2, 3]
    assert prominent_modes(np.zeros(3)) == prominent_modes(np.empty(0)) == []


def test_means_of_residues():
    """Roots of the mean squares; atoms of no residue, and values not known, are left out."""
    of_atom = np.array([0, 0, 1, -1, 2])
    assert rms_by_residue(np.array([1.0, 7.0, 9.0, 5.0, 4.0]), of_atom).tolist() == [2, 3, 2]
    means = mean_by_residue(np.array([1.0, np.nan, np.nan, 5.0, 4.0]), of_atom)
    np.testing.assert_equal(means, [1, np.nan, 4])


def test_pairs_that_change_most_lie_apart():
    """Neighbours of a pair say the same; residues of another chain do not."""
    changes = np.zeros((8, 8))
    for (i, j), value in {(0, 6): 5, (1, 7): 4, (0, 3): 3, (5, 6): 2, (2, 6): 1}.items():
        changes[i, j] = changes[j, i] = value
    one = np.zeros(8, int)
    assert largest_pairs(changes, one, 10) == [(0, 6), (0, 3), (5, 6)]
    assert largest_pairs(changes, one, 1) == [(0, 6)]
    two = np.array([0, 0, 0, 0, 0, 0, 0, 1])
    assert largest_pairs(changes, two, 2) == [(0, 6), (1, 7)]
