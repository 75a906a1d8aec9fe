"""Is a trajectory long enough? Processes of which the answer is known.

Of an AR(1) process x_t = φ x_{t−1} + √(1−φ²) ε_t the correlation at lag k is φ^k. The mean of F
frames has 1 + 2 Σ φ^k = (1+φ)/(1−φ) times the variance of independent ones, the variance that of
x² whose correlation is φ^{2k}: (1+φ²)/(1−φ²). Modes, as covariances, are of the second kind.
"""

from dataclasses import fields, replace

import numpy as np
import pytest

from hpc_diffuser.motion.convergence import (
    PAIRS,
    Convergence,
    block_overlaps,
    convergence,
    cosine_content,
    statistical_inefficiency,
)
from hpc_diffuser.motion.overlap import covariance_overlap, rmsip

SCALES = np.arange(1, 41) ** -0.5  # Å, of forty coordinates


def autoregressive(rng: np.random.Generator, phi: float, shape: tuple[int, int]) -> np.ndarray:
    """Stationary series along the first axis, of variance 1."""
    series = rng.standard_normal(shape)
    for t in range(1, len(series)):
        series[t] = phi * series[t - 1] + np.sqrt(1 - phi**2) * series[t]
    return series


def on_components(frames: np.ndarray, n_modes: int = 100) -> np.ndarray:
    """Coefficients along the frames' own principal components."""
    left, singular, _ = np.linalg.svd(frames - frames.mean(axis=0), full_matrices=False)
    return (left * singular)[:, :n_modes]


def looked_at(frames: np.ndarray, n_modes: int = 100) -> Convergence:
    """Whether they are enough, which they must not be too few to tell."""
    found = convergence(on_components(frames, n_modes))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def walk() -> Convergence:
    """A random walk of 800 steps in 300 dimensions."""
    return looked_at(np.cumsum(np.random.default_rng(0).standard_normal((800, 300)), axis=0))


@pytest.fixture(scope="module")
def independent() -> Convergence:
    """800 independent frames of forty coordinates."""
    return looked_at(np.random.default_rng(1).standard_normal((800, 40)) * SCALES)


def test_components_of_a_random_walk_are_cosines(walk):
    """Hess (2000): component i is cos(iπt/T), of amplitude 1/i, when there are many dimensions."""
    assert (walk.cosine_content[:3] > 0.95).all() and walk.cosine_content[0] > 0.98


def test_random_walk_is_not_long_enough(walk):
    """Parts share no more than chance; in random order they would seem to be of one molecule.

    Halves of a walk have independent steps: their first ten components are random directions of
    the 100 or so that are kept, RMSIP² about 10/100.
    """
    assert walk.rmsip.max() < 0.35 and walk.overlap.max() < 0.1
    assert walk.random_rmsip.min() > 0.95 and walk.random_overlap.min() > 0.85
    assert walk.independent[0] < 16 and walk.independent_blocks < 16  # less than one in fifty
    assert (np.diff(walk.block_overlap) < 0).all() and walk.block_overlap[0] < 0.5


def test_independent_frames_have_no_cosine(independent):
    """2/F (Σ cos p)²/Σp² is χ² of one degree of freedom by F.

    Ten add up to ten, and to more than 29.6 once in a thousand times.
    """
    assert 800 * independent.cosine_content.sum() < 29.6


def test_independent_frames_are_independent(independent):
    """In their own order as in a random one; each counts."""
    np.testing.assert_allclose(independent.rmsip, independent.random_rmsip, atol=0.06)
    np.testing.assert_allclose(independent.overlap, independent.random_overlap, atol=0.02)
    # The sum over 3 or 4 lags has the standard deviation 2√(4/800) = 0.14: four of these.
    assert independent.independent.min() > 800 / 1.57 and independent.independent.max() <= 800
    assert 0.8 * 800 < independent.independent_blocks <= 800
    np.testing.assert_allclose(
        independent.block_overlap, independent.random_block_overlap, atol=0.03
    )


def test_inefficiency_is_what_the_mean_and_the_variance_lose():
    """The formulas of this file's head, by 4000 simulated series of 300 frames, φ = 0.7.

    (1+φ)/(1−φ) = 5.67 for means, (1+φ²)/(1−φ²) = 2.92 for variances about the known mean, both
    less 2 Σ k ρ_k/F, some 3 %; a variance of 4000 numbers is known to 2.2 %.
    """
    series = autoregressive(np.random.default_rng(2), 0.7, (300, 4000))
    assert 300 * np.var(series.mean(axis=0)) == pytest.approx(1.7 / 0.3, rel=0.1)
    of_variance = 300 * np.var(np.mean(series**2, axis=0)) / 2
    assert of_variance == pytest.approx(1.49 / 0.51, rel=0.1)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.95])
def test_inefficiency_of_an_autoregressive_process(phi):
    """(1+φ)/(1−φ) from one series; Sokal: its relative variance is 2(2W+1)/F, W = 2.5 g lags.

    The window leaves out e^{−5}; forty series together, to four standard errors.
    """
    g, n_frames = (1 + phi) / (1 - phi), 20_000
    series = autoregressive(np.random.default_rng(3), phi, (n_frames, 40))
    error = np.sqrt(2 * (5 * g + 1) / n_frames / 40)
    found = statistical_inefficiency([series - series.mean(axis=0)])
    assert found.mean() == pytest.approx(g, rel=4 * error + 0.02)


@pytest.mark.parametrize("phi", [0.5, 0.8, 0.9])
def test_frames_that_count_by_their_blocks(phi):
    """The covariance of an AR(1) process: F(1−φ²)/(1+φ²) independent frames, of 3000."""
    series = autoregressive(np.random.default_rng(4), phi, (3000, 40)) * SCALES
    found = looked_at(series)
    expected = 3000 * (1 - phi**2) / (1 + phi**2)
    assert found.independent_blocks == pytest.approx(expected, rel=0.15)
    linear = 3000 * (1 - phi) / (1 + phi)
    assert np.median(found.independent) == pytest.approx(linear, rel=0.15)


@pytest.mark.parametrize(("tau", "most"), [(10, 1.5), (30, 2.2), (60, 2.5)])
def test_short_runs_seem_longer_by_their_blocks(tau, most):
    """Of 1000 frames, 17 to 100 τ: too many independent ones, as docs/enough.md says: 1.3 to 2.

    The modes and the whole are the short run's own, which its blocks resemble.
    """
    phi = np.exp(-1 / tau)
    series = autoregressive(np.random.default_rng(100), phi, (1000, 40)) * SCALES
    true = 1000 * (1 - phi**2) / (1 + phi**2)
    assert 1 < looked_at(series).independent_blocks / true < most


def test_frames_twice_as_often_are_worth_the_same():
    """A finer saving of one motion adds frames, not knowledge: 2000 at φ, 1000 at φ²."""
    fine = autoregressive(np.random.default_rng(5), 0.9, (2000, 40)) * SCALES
    often, seldom = looked_at(fine), looked_at(fine[::2])
    assert often.independent_blocks == pytest.approx(seldom.independent_blocks, rel=0.15)
    assert often.independent.min() == pytest.approx(seldom.independent.min(), rel=0.2)


def test_many_frames_are_thinned():
    """25 000 frames, one in three of which is looked at: the same answer, in frames.

    At φ = 0.99 there are 25 000·0.01/1.99 = 126 independent frames along a mode, 251 by the blocks.
    """
    series = autoregressive(np.random.default_rng(14), 0.99, (25_000, 20)) * SCALES[:20]
    found = looked_at(series)
    assert found.n_frames == 25_000 and found.block_lengths[0] == 3 * (8334 // 2)
    assert np.median(found.independent) == pytest.approx(126, rel=0.2)
    assert found.independent_blocks == pytest.approx(251, rel=0.2)
    twice = convergence(on_components(series), runs=(12_499, 12_501))
    assert twice is not None and twice.rmsip[0] == pytest.approx(found.rmsip[0], abs=0.02)


def test_identical_halves():
    """The same frames once more: 1, whatever the measure."""
    half = np.random.default_rng(6).standard_normal((50, 40)) * SCALES
    found = looked_at(np.concatenate([half, half]))
    assert found.rmsip[0] == pytest.approx(1, abs=1e-10)
    assert found.overlap[0] == pytest.approx(1, abs=1e-6)


def test_halves_in_other_directions():
    """One half moves along twelve coordinates, the other along other twelve: 0."""
    frames = np.zeros((80, 24))
    rng = np.random.default_rng(7)
    frames[:40, :12] = rng.standard_normal((40, 12))
    frames[40:, 12:] = rng.standard_normal((40, 12))
    found = looked_at(frames)
    assert found.rmsip[0] == pytest.approx(0, abs=1e-6)
    assert found.overlap[0] == pytest.approx(0, abs=1e-6)


def test_states_that_do_not_move():
    """Two states, in each of which all stands still: their parts span nothing, and no NaN."""
    frames = np.repeat([[0.0, 0, 0], [1, 2, 3]], 30, axis=0)
    found = looked_at(frames)
    assert all(np.isfinite(getattr(found, field.name)).all() for field in fields(found))
    assert found.rmsip[0] == 0 and found.cosine_content[0] > 0.8


def components_of(part: np.ndarray, count: int) -> np.ndarray:
    """Principal components in the space of all coordinates."""
    return np.linalg.svd(part - part.mean(axis=0), full_matrices=False)[2][:count]


def test_parts_are_those_of_the_coordinates():
    """By singular vectors and covariance matrices of 60 coordinates, without projections."""
    frames = autoregressive(np.random.default_rng(8), 0.8, (301, 60)) * np.geomspace(1, 0.1, 60)
    found = looked_at(frames)
    for k, (_, count, i, j) in enumerate(PAIRS):
        length = 301 // count
        one, other = (frames[n * length : (n + 1) * length] for n in (i, j))
        expected = rmsip(components_of(one, 10), components_of(other, 10))
        assert found.rmsip[k] == pytest.approx(expected, abs=1e-9)
        matrices = (np.cov(part.T, bias=True) for part in (one, other))
        assert found.overlap[k] == pytest.approx(covariance_overlap(*matrices), abs=1e-9)


def test_blocks_are_those_of_the_coordinates():
    """The mean overlap of the first three thirds with all, and the lengths of blocks."""
    frames = autoregressive(np.random.default_rng(9), 0.8, (300, 30)) * np.geomspace(1, 0.1, 30)
    lengths, along, random, _ = block_overlaps(on_components(frames))
    assert lengths.tolist() == [150, 100, 75, 60, 42, 30, 15, 6, 3]
    whole = np.cov(frames.T, bias=True)
    thirds = [np.cov(third.T, bias=True) for third in np.split(frames, 3)]
    expected = np.mean([covariance_overlap(whole, third) for third in thirds])
    assert along[1] == pytest.approx(expected, abs=1e-9)
    assert along.shape == random.shape == lengths.shape


def test_not_all_modes_are_needed():
    """Of 150 coordinates 60 modes, which hold 98 % of the motion: what leaving others out costs."""
    frames = autoregressive(np.random.default_rng(10), 0.8, (400, 150)) * np.geomspace(1, 0.02, 150)
    whole, part = looked_at(frames, 150), looked_at(frames, 60)
    assert np.abs(part.rmsip - whole.rmsip).max() < 0.01
    assert np.abs(part.overlap - whole.overlap).max() < 0.02


def test_turning_the_coordinates_changes_nothing():
    """Nor do units: components turn with them."""
    rng = np.random.default_rng(11)
    frames = autoregressive(rng, 0.8, (100, 30)) * np.geomspace(1, 0.3, 30)
    turn = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    one, other = looked_at(frames), looked_at(10 * frames @ turn)
    for field in fields(Convergence):
        np.testing.assert_allclose(
            getattr(other, field.name), getattr(one, field.name), rtol=1e-6, atol=1e-7
        )


@pytest.mark.parametrize("mode", [1, 2, 5])
def test_cosine_content_of_a_cosine(mode):
    """1 in its own place, with any amplitude and sign; 0 in all others."""
    cosine = np.cos(np.pi * mode * (np.arange(77) + 0.5) / 77)
    found = cosine_content(np.repeat(-3 * cosine[:, None], 6, axis=1))
    np.testing.assert_allclose(found, np.arange(1, 7) == mode, atol=1e-12)
    assert cosine_content(np.zeros((9, 2))).tolist() == [0, 0]


def test_several_trajectories():
    """Cosines and correlations are looked for in each: the seam is no motion.

    Two walks have a cosine each; run together as one, the first component is another curve. Of
    independent runs the numbers of independent frames add up.
    """
    rng = np.random.default_rng(12)
    steps = np.cumsum(rng.standard_normal((2, 400, 300)), axis=1).reshape(800, 300)
    steps[400:] += 200 * np.ones(300) / np.sqrt(300)
    coefficients = on_components(steps)
    together, apart = convergence(coefficients), convergence(coefficients, runs=(400, 400))
    halves = [cosine_content(coefficients[part, :10]) for part in (slice(400), slice(400, None))]
    np.testing.assert_allclose(apart.cosine_content, np.maximum(*halves), rtol=1e-10)
    assert (together.cosine_content != apart.cosine_content).any()
    series = autoregressive(rng, 0.8, (3000, 40))
    runs = np.split(series, [1000])
    assert 3000 / statistical_inefficiency(runs).mean() == pytest.approx(3000 / 9, rel=0.1)


def test_the_same_bits_each_time():
    """The random order is always the same one, and the caller's array is left as it was."""
    coefficients = on_components(np.random.default_rng(13).standard_normal((40, 12)))
    before = coefficients.copy()
    one, other = convergence(coefficients, 0.9), convergence(coefficients, 0.9)
    for field in fields(Convergence):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    np.testing.assert_array_equal(coefficients, before)
    assert one.share == 0.9 and replace(one, share=1.0).share == 1


@pytest.mark.parametrize("n_frames", [12, 13, 20, 35, 36])
def test_few_frames(n_frames):
    """Thirds of F/3 frames have F/3 − 1 modes: no more are compared; all is between 0 and 1."""
    found = looked_at(np.random.default_rng(n_frames).standard_normal((n_frames, 60)))
    assert found.compared == min(10, n_frames // 3 - 1) == len(found.cosine_content)
    for name in ("rmsip", "overlap", "random_rmsip", "block_overlap", "cosine_content"):
        assert ((getattr(found, name) >= 0) & (getattr(found, name) <= 1)).all()
    assert found.independent.min() >= 1 and found.independent.max() <= n_frames


def test_too_few_frames():
    """Of eleven, or of frames without motion, nothing is said."""
    assert convergence(np.random.default_rng(0).standard_normal((11, 5))) is None
    assert convergence(np.empty((50, 0))) is None
