"""Modes against explicit eigenvectors, finite differences and the ensemble's own moments."""

from dataclasses import replace

import numpy as np
import pytest
from builders import random_structure

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.motion import modes as module
from hpc_diffuser.motion.configurations import residual_b_factors
from hpc_diffuser.motion.elastic_network import elastic_network_modes, network_hessian
from hpc_diffuser.motion.modes import effective_b_factors, largest_eigenpairs, principal_components
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.system.errors import InputError

N_ATOMS = 9


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """60 frames of nine atoms, with correlated motion of unequal size along all coordinates."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3 * N_ATOMS, 3 * N_ATOMS)) * np.geomspace(1, 0.05, 3 * N_ATOMS)
    motion = rng.standard_normal((60, 3 * N_ATOMS)) @ mixing.T
    return 20 * rng.normal(size=(N_ATOMS, 3)) + 0.1 * motion.reshape(60, N_ATOMS, 3)


@pytest.fixture(scope="module")
def protein():
    """Forty atoms within reach of each other."""
    return random_structure(np.random.default_rng(1), 40, radius_A=6.0)


def covariance(frames: np.ndarray) -> np.ndarray:
    """(3N, 3N) covariance of the coordinates over the population of frames."""
    return np.cov(frames.reshape(len(frames), -1).T, bias=True)


def rows(vectors: np.ndarray) -> np.ndarray:
    """Modes as rows (M, 3N)."""
    return vectors.reshape(len(vectors), -1)


def assert_orthogonal_with_norm_n(vectors: np.ndarray, n_atoms: int) -> None:
    """Σ_a Δ_i·Δ_j = N δ_ij: orthonormal but for the factor √N."""
    products = rows(vectors) @ rows(vectors).T
    np.testing.assert_allclose(products, n_atoms * np.eye(len(vectors)), atol=1e-10 * n_atoms)


def rigid_motions(positions: np.ndarray) -> np.ndarray:
    """Three translations and three infinitesimal rotations: (6, N, 3)."""
    axes = np.eye(3)
    turning = [np.cross(axis, positions - positions.mean(axis=0)) for axis in axes]
    return np.array([*(np.broadcast_to(axis, positions.shape) for axis in axes), *turning])


def test_principal_components_are_the_eigenvectors_of_the_covariance(frames):
    """Amplitude²·N is the eigenvalue, Δ/√N the eigenvector up to its sign; largest first.

    α = Σ_a x_a·Δ_a/N has the variance Δᵀ C Δ/N² = λN/N² = λ/N.
    """
    vectors, amplitudes = principal_components(frames, 12)
    eigenvalues, columns = np.linalg.eigh(covariance(frames))
    np.testing.assert_allclose(amplitudes**2 * N_ATOMS, eigenvalues[::-1][:12], rtol=1e-9)
    overlaps = rows(vectors) / np.sqrt(N_ATOMS) @ columns[:, ::-1][:, :12]
    np.testing.assert_allclose(np.abs(overlaps), np.eye(12), atol=1e-7)


@pytest.mark.parametrize("dense", [1, 1000])
def test_largest_eigenpairs(monkeypatch, dense):
    """The direct solver's few and Lanczos' are those of the whole matrix; again, the same bits."""
    monkeypatch.setattr(module, "_DENSE", dense)
    mixing = np.random.default_rng(6).normal(size=(300, 300)) * np.geomspace(1, 0.01, 300)
    matrix = mixing @ mixing.T
    values, vectors = largest_eigenpairs(matrix.copy(), 7)
    expected, columns = np.linalg.eigh(matrix)
    np.testing.assert_allclose(values, expected[::-1][:7], rtol=1e-10)
    overlaps = vectors @ columns[:, ::-1][:, :7]
    np.testing.assert_allclose(np.abs(overlaps), np.eye(7), atol=1e-7)
    assert largest_eigenpairs(matrix.copy(), 7)[1].tobytes() == vectors.tobytes()


def test_principal_components_are_normalised(frames):
    """Σ_a |Δ_a|² = N for each, and any two are orthogonal."""
    vectors, amplitudes = principal_components(frames, 27)
    assert vectors.shape == (27, N_ATOMS, 3)
    assert_orthogonal_with_norm_n(vectors, N_ATOMS)
    assert (np.diff(amplitudes) <= 0).all() and amplitudes.min() > 0


def test_coefficients_have_the_amplitudes(frames):
    """Projected on a mode, α = Σ_a Δ_a·(x_a − x̄_a)/N has the amplitude as standard deviation."""
    vectors, amplitudes = principal_components(frames, 8)
    coefficients = (frames - frames.mean(axis=0)).reshape(60, -1) @ rows(vectors).T / N_ATOMS
    np.testing.assert_allclose(coefficients.std(axis=0), amplitudes, rtol=1e-10)


def test_all_components_together_are_all_the_motion(frames):
    """Σ_i amplitude² = Σ_i λ_i/N = trace(C)/N: the mean square displacement per atom."""
    _, amplitudes = principal_components(frames, 27)
    per_atom = np.sum(np.var(frames, axis=0)) / N_ATOMS
    assert np.sum(amplitudes**2) == pytest.approx(per_atom, rel=1e-12)
    assert np.sum(amplitudes**2) == pytest.approx(np.trace(covariance(frames)) / N_ATOMS, rel=1e-9)


def test_largest_component_of_a_mode_is_positive(frames):
    """Eigenvectors have no sign: this convention makes it the same on every machine."""
    vectors, _ = principal_components(frames, 10)
    largest = np.abs(rows(vectors)).argmax(axis=1)
    assert (rows(vectors)[np.arange(10), largest] > 0).all()


def test_order_of_the_frames_does_not_matter(frames):
    """An ensemble has no order."""
    one, other = (principal_components(f, 5) for f in (frames, frames[::-1]))
    np.testing.assert_allclose(one[1], other[1], rtol=1e-10)
    np.testing.assert_allclose(one[0], other[0], atol=1e-7)


@pytest.mark.parametrize("precision", [np.float64, np.float32])
@pytest.mark.parametrize("n_frames", [2, 3, 6])
def test_fewer_frames_than_modes(frames, n_frames, precision):
    """F frames differ from their mean along F − 1 directions, which hold all their motion."""
    few = frames[:n_frames].astype(precision)
    vectors, amplitudes = principal_components(few, 10)
    assert vectors.shape == (n_frames - 1, N_ATOMS, 3)
    assert amplitudes.shape == (n_frames - 1,)
    assert_orthogonal_with_norm_n(vectors, N_ATOMS)
    per_atom = np.sum(np.var(few.astype(np.float64), axis=0)) / N_ATOMS
    assert np.sum(amplitudes**2) == pytest.approx(per_atom, rel=1e-10)


def test_motion_along_one_line():
    """Two states ±0.5 Å along x of all atoms: one mode, Δ = x̂ for each, amplitude 0.5 Å."""
    positions = np.random.default_rng(0).uniform(-9, 9, (N_ATOMS, 3))
    step = np.array([0.5, 0, 0])
    vectors, amplitudes = principal_components(np.stack([positions - step, positions + step]), 5)
    np.testing.assert_allclose(amplitudes, [0.5], rtol=1e-12)
    np.testing.assert_allclose(vectors, [np.tile([1.0, 0, 0], (N_ATOMS, 1))], atol=1e-12)


def test_one_frame_has_no_motion(frames):
    """A message, not an empty basis."""
    with pytest.raises(InputError, match="one frame has no motion"):
        principal_components(frames[:1], 3)


@pytest.mark.parametrize("precision", [np.float64, np.float32])
@pytest.mark.parametrize("n_frames", [2, 3, 5, 7, 10, 50])
def test_identical_frames_have_no_motion(frames, n_frames, precision):
    """What rounding leaves of x − x̄ is no motion, in either precision."""
    with pytest.raises(InputError, match="all frames are identical"):
        principal_components(np.repeat(frames[:1].astype(precision), n_frames, axis=0), 3)


def test_effective_b_factors(frames):
    """8π²⟨u²⟩/3, ⟨u²⟩ the mean square distance of an atom from its mean place."""
    away = frames - frames.mean(axis=0)
    expected = 8 * np.pi**2 / 3 * np.mean(np.sum(away**2, axis=2), axis=0)
    np.testing.assert_allclose(effective_b_factors(frames), expected, rtol=1e-12)


def test_effective_b_factor_by_hand():
    """An atom at ±0.3 Å has ⟨u²⟩ = 0.09 Å²: B = 8π²·0.03 = 2.3687 Å²; one at rest has 0."""
    frames = np.zeros((2, 2, 3))
    frames[:, 0, 1] = 0.3, -0.3
    np.testing.assert_allclose(effective_b_factors(frames), [2.368705, 0], rtol=1e-6)


def network_energy(positions: np.ndarray, rest: np.ndarray, cutoff: float) -> float:
    """½ Σ_pairs (cutoff/r₀)² (r − r₀)², over pairs nearer than the cutoff at rest."""
    energy = 0.0
    for a in range(len(rest)):
        for b in range(a):
            r0 = np.linalg.norm(rest[a] - rest[b])
            if r0 < cutoff:
                r = np.linalg.norm(positions[a] - positions[b])
                energy += 0.5 * (cutoff / r0) ** 2 * (r - r0) ** 2
    return energy


def test_hessian_is_the_second_derivative_of_the_energy():
    """E(+,+) − E(+,−) − E(−,+) + E(−,−) over 4ε², for all pairs of coordinates.

    At ε = 1e-3 Å the next term is ε²/r² of the springs of up to 50: 1e-4.
    """
    rest = np.random.default_rng(3).uniform(-3, 3, (5, 3))
    cutoff, step = 5.0, 1e-3

    def energy(i: int, j: int, sign_i: int, sign_j: int) -> float:
        moved = rest.reshape(-1).copy()
        moved[i] += sign_i * step
        moved[j] += sign_j * step
        return network_energy(moved.reshape(-1, 3), rest, cutoff)

    expected = np.empty((15, 15))
    for i in range(15):
        for j in range(15):
            corners = energy(i, j, 1, 1) - energy(i, j, 1, -1) - energy(i, j, -1, 1)
            expected[i, j] = (corners + energy(i, j, -1, -1)) / (4 * step**2)
    hessian = network_hessian(rest, cutoff)
    np.testing.assert_allclose(hessian, expected, atol=1e-5 * np.abs(expected).max())


def test_hessian_of_two_atoms_by_hand():
    """2 Å apart along x, cutoff 10 Å: one spring of (10/2)² = 25, along x only."""
    hessian = network_hessian(np.array([[0.0, 0, 0], [2, 0, 0]]), 10.0)
    expected = np.zeros((6, 6))
    expected[0, 0] = expected[3, 3] = 25
    expected[0, 3] = expected[3, 0] = -25
    np.testing.assert_allclose(hessian, expected, atol=1e-12)


def test_hessian_leaves_rigid_motions_free(protein):
    """Symmetric, never negative, and 0 for the six motions of a rigid body and no others."""
    hessian = network_hessian(protein.positions, 10.0)
    eigenvalues = np.linalg.eigvalsh(hessian)
    scale = eigenvalues[-1]
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-14 * scale)
    assert np.abs(eigenvalues[:6]).max() < 1e-12 * scale
    assert eigenvalues[6] > 1e-6 * scale
    rigid = rigid_motions(protein.positions).reshape(6, -1)
    assert np.abs(hessian @ rigid.T).max() < 1e-12 * scale * np.abs(rigid).max()


def test_atoms_beyond_the_cutoff_are_not_joined():
    """Three atoms in a row at 0, 4 and 8 Å with a cutoff of 5 Å: no spring between the ends."""
    hessian = network_hessian(np.array([[0.0, 0, 0], [4, 0, 0], [8, 0, 0]]), 5.0)
    assert hessian[0, 6] == 0
    assert hessian[0, 3] == pytest.approx(-((5 / 4) ** 2))


def test_network_modes_are_normalised(protein):
    """Σ_a |Δ_a|² = N for each, and any two are orthogonal."""
    vectors, amplitudes = elastic_network_modes(protein, 8)
    assert vectors.shape == (8, 40, 3) and amplitudes.shape == (8,)
    assert_orthogonal_with_norm_n(vectors, 40)


def test_network_modes_are_internal(protein):
    """Orthogonal to all translations and infinitesimal rotations."""
    vectors, _ = elastic_network_modes(protein, 8)
    rigid = rigid_motions(protein.positions).reshape(6, -1)
    rigid /= np.linalg.norm(rigid, axis=1)[:, None]
    assert np.abs(rows(vectors) @ rigid.T).max() < 1e-8 * np.sqrt(40)


def test_network_modes_are_the_softest(protein):
    """H Δ = λ Δ for eigenvalues 7 to 14; amplitudes go as 1/√λ (equipartition)."""
    vectors, amplitudes = elastic_network_modes(protein, 8)
    hessian = network_hessian(protein.positions, 10.0)
    eigenvalues = np.linalg.eigvalsh(hessian)[6:14]
    np.testing.assert_allclose(
        rows(vectors) @ hessian, eigenvalues[:, None] * rows(vectors), atol=1e-9 * eigenvalues[-1]
    )
    np.testing.assert_allclose(
        amplitudes / amplitudes[0], np.sqrt(eigenvalues[0] / eigenvalues), rtol=1e-8
    )


@pytest.mark.parametrize("n_modes", [1, 8, 114])
def test_network_modes_give_the_mean_b_factor(protein, n_modes):
    """⟨u²⟩ averaged over atoms is Σ amplitude²: 8π²/3 of it is the mean B, for any number."""
    _, amplitudes = elastic_network_modes(protein, n_modes)
    mean_b = 8 * np.pi**2 / 3 * np.sum(amplitudes**2)
    assert mean_b == pytest.approx(protein.b_factors_A2.mean(), rel=1e-10)


def test_network_modes_of_a_sampled_ensemble(protein):
    """Configurations drawn along the modes have the mean B, by the trajectory's formula.

    4000 samples of three coefficients: each variance is off by √(2/4000) = 2 %; 5 of these.
    """
    vectors, amplitudes = elastic_network_modes(protein, 3)
    normals = np.random.default_rng(0).standard_normal((4000, 3))
    frames = protein.positions + np.einsum("sm,mac->sac", normals * amplitudes, vectors)
    mean_b = effective_b_factors(frames).mean()
    assert mean_b == pytest.approx(protein.b_factors_A2.mean(), rel=0.11)


def test_network_modes_without_b_factors(protein):
    """With all B zero: 0.3 Å rms in all."""
    _, amplitudes = elastic_network_modes(replace(protein, b_factors_A2=np.zeros(40)), 8)
    assert np.linalg.norm(amplitudes) == pytest.approx(0.3, rel=1e-12)


def test_no_more_network_modes_than_there_are(protein):
    """3N − 6 internal modes, however many are asked for."""
    vectors, _ = elastic_network_modes(protein, 1000)
    assert len(vectors) == 3 * 40 - 6


def test_two_atoms_have_no_network_modes(protein):
    """Fewer than three atoms have no internal mode beside six rigid ones."""
    with pytest.raises(InputError, match="2 atoms have no internal modes"):
        elastic_network_modes(protein.select(np.array([0, 1])), 3)


def test_network_that_falls_apart(protein):
    """Two halves 100 Å apart move freely against each other: named, with the cutoff."""
    positions = protein.positions.copy()
    positions[20:] += 100
    apart = replace(protein, positions=positions)
    with pytest.raises(InputError, match=r"falls apart at a cutoff of 10\.0 Å"):
        elastic_network_modes(apart, 3)


def test_frames_have_weights():
    """Neither without the other: what lacks weights would be taken for a molecule that is still."""
    modes = example_modes()
    with pytest.raises(ValueError, match="weights"):
        replace(modes, frames=modes.structure.positions[None])
    with pytest.raises(ValueError, match="weights"):
        replace(modes, weights=np.ones(1))


def test_no_residual_of_unknown_b_factors():
    """What is left of B-factors that are not known is an error, not nothing."""
    modes = replace(example_modes(), crystal_b_A2=None)
    parameters = Parameters(modes.amplitudes_A, residual_b_fraction=0.5)
    with pytest.raises(ValueError, match="B-factors are not known"):
        residual_b_factors(modes, parameters)
