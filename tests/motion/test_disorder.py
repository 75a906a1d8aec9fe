"""Guinier's equation in its closed limits, and the pair sum against hand and Monte Carlo."""

import numpy as np
import pytest
from builders import direct_sum, gemmi_form_factors, random_structure

from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.scattering.intensity import SelfTerms
from hpc_diffuser.scattering.intensity import diffuse_intensity as intensity_parts
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

N_ATOMS = 12


@pytest.fixture
def structure():
    return random_structure(np.random.default_rng(0), N_ATOMS)


@pytest.fixture
def s():
    """Twenty scattering vectors between 20 and 2 Å."""
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(20, 3))
    lengths = rng.uniform(0.05, 0.5, 20)
    return directions * (lengths / np.linalg.norm(directions, axis=1))[:, None]


def factors(structure, s) -> np.ndarray:
    """o_a f_a(s): (V, N)."""
    return gemmi_form_factors(structure.elements, np.sum(s**2, axis=1)) * structure.occupancies


def q_squared(s) -> np.ndarray:
    """|q|² = (2π)²|s|²."""
    return 4 * np.pi**2 * np.sum(s**2, axis=1)


def still(n_atoms: int = N_ATOMS) -> np.ndarray:
    """No internal modes."""
    return np.zeros((0, n_atoms, 3))


def random_modes(n_modes: int, n_atoms: int = N_ATOMS, size_A: float = 0.3) -> np.ndarray:
    """Displacements of about `size_A` for each atom and mode."""
    return np.random.default_rng(2).normal(0, size_A, (n_modes, n_atoms, 3))


def diffuse_intensity(variance, b, s_term, q2, disorder) -> np.ndarray:
    """Both parts together, with isotropic translation."""
    translation = q2 * disorder.translation_sigma_A**2
    own = q2 * disorder.own_covariance()
    parts = intensity_parts(variance, b, SelfTerms(s_term, s_term), own, translation, False)
    return parts.internal + parts.rigid


def made_up_moments() -> tuple[np.ndarray, ...]:
    """Variance, |⟨F⟩|², S and q² of six voxels: any positive numbers will do."""
    rng = np.random.default_rng(3)
    return *rng.uniform(1, 100, (3, 6)), rng.uniform(0.5, 15, 6)


def test_guinier_for_all_motions_at_once():
    """e^{−q²σ_u²}(A − S) + S − e^{−q²(σ_t²+σ_u²)}B with A = variance + B, written out."""
    variance, b, s_term, q2 = made_up_moments()
    sigma_t, sigma_u = 0.4, 0.3
    a = variance + b
    expected = (
        np.exp(-q2 * sigma_u**2) * (a - s_term)
        + s_term
        - np.exp(-q2 * (sigma_t**2 + sigma_u**2)) * b
    )
    found = diffuse_intensity(variance, b, s_term, q2, Disorder(sigma_t, sigma_u))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_internal_motion_alone_is_the_variance():
    """σ_t = σ_u = 0 leaves A − S + S − B = A − B."""
    variance, b, s_term, q2 = made_up_moments()
    np.testing.assert_array_equal(diffuse_intensity(variance, b, s_term, q2, Disorder()), variance)


def test_rigid_body():
    """Translation alone: A = B = |F|², so I = |F|²(1 − e^{−q²σ²})."""
    _, b, s_term, q2 = made_up_moments()
    found = diffuse_intensity(np.zeros(6), b, s_term, q2, Disorder(0.46))
    np.testing.assert_allclose(found, b * (1 - np.exp(-q2 * 0.46**2)), rtol=1e-13)


def test_independent_atoms():
    """Uncorrelated motion alone: A = B, so I = e^{−x}(B − S) + S − e^{−x}B = S(1 − e^{−x})."""
    _, b, s_term, q2 = made_up_moments()
    found = diffuse_intensity(np.zeros(6), b, s_term, q2, Disorder(0.0, 0.3))
    np.testing.assert_allclose(found, s_term * (1 - np.exp(-q2 * 0.3**2)), rtol=1e-13)


def test_small_motion_keeps_its_digits():
    """1 − e^{−x} = x − x²/2: 1e-10 at x = 1e-10, which 1 − exp(−x) would get to six digits."""
    _, b, s_term, _ = made_up_moments()
    q2 = np.full(6, 1e-4)
    rigid = diffuse_intensity(np.zeros(6), b, s_term, q2, Disorder(1e-3))
    np.testing.assert_allclose(rigid, b * 1e-10, rtol=1e-9)
    alone = diffuse_intensity(np.zeros(6), b, s_term, q2, Disorder(0.0, 1e-3))
    np.testing.assert_allclose(alone, s_term * 1e-10, rtol=1e-9)


def test_no_diffuse_intensity_at_the_origin():
    """At q = 0 every configuration scatters the same."""
    _, b, s_term, _ = made_up_moments()
    intensity = diffuse_intensity(np.zeros(6), b, s_term, np.zeros(6), Disorder(0.4, 0.3))
    assert not intensity.any()


def test_pair_sum_of_a_rigid_body(structure, s):
    """C_ab = σ² for all pairs: Σ f_a f_b cos(..) e^{−q²σ²}(e^{q²σ²} − 1) = |F|²(1 − e^{−q²σ²})."""
    found = pair_sum_intensity(
        structure.positions, factors(structure, s), s, still(), Disorder(0.46)
    )
    expected = np.abs(direct_sum(structure, s)) ** 2 * (1 - np.exp(-q_squared(s) * 0.46**2))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_pair_sum_of_independent_atoms(structure, s):
    """C_ab = δ_ab u²: only a = b is left, Σ f_a²(1 − e^{−q²u²})."""
    found = pair_sum_intensity(
        structure.positions, factors(structure, s), s, still(), Disorder(0.0, 0.3)
    )
    expected = np.sum(factors(structure, s) ** 2, axis=1) * (1 - np.exp(-q_squared(s) * 0.3**2))
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("opposite", [1, -1])
def test_pair_sum_of_two_atoms_by_hand(opposite):
    """Atoms at ±x/2 move by αA and ±αB along x, q along x, α a standard normal number.

    F = f e^{iq(x/2 + αA)} + g e^{−iq(x/2 ∓ αB)}. With ⟨e^{iqαc}⟩ = e^{−q²c²/2}:
    ⟨|F|²⟩ = f² + g² + 2fg cos(qx) e^{−q²(A∓B)²/2},
    ⟨F⟩ = f e^{iqx/2} e^{−q²A²/2} + g e^{−iqx/2} e^{−q²B²/2}.
    """
    x, a, b, f, g = 3.1, 0.4, 0.25, 6.0, 7.5
    q = 2 * np.pi * np.array([0.1, 0.3, 0.55])
    mean_squared_modulus = (
        f**2 + g**2 + 2 * f * g * np.cos(q * x) * np.exp(-(q**2) * (a - opposite * b) ** 2 / 2)
    )
    mean = f * np.exp(0.5j * q * x - (q * a) ** 2 / 2) + g * np.exp(
        -0.5j * q * x - (q * b) ** 2 / 2
    )
    found = pair_sum_intensity(
        np.array([[x / 2, 0, 0], [-x / 2, 0, 0]]),
        np.tile([f, g], (3, 1)),
        np.stack([q / (2 * np.pi), 0 * q, 0 * q], axis=1),
        np.array([[[a, 0, 0], [opposite * b, 0, 0]]]),
        Disorder(),
    )
    np.testing.assert_allclose(found, mean_squared_modulus - np.abs(mean) ** 2, rtol=1e-12)


@pytest.mark.parametrize("opposite", [1, -1])
def test_pair_sum_of_floppy_atoms_by_hand(opposite):
    """The same two atoms, moving by 10 and 9 Å: e^{q²A²} alone would overflow, at q = 3 Å⁻¹ e⁹⁰⁰.

    ⟨F⟩ is gone; ⟨|F|²⟩ = f² + g² + 2fg cos(qx) e^{−q²(A∓B)²/2}.
    """
    x, a, b, f, g = 3.1, 10.0, 9.0, 6.0, 7.5
    q = np.array([1.0, 3.0, 4.0])
    crossed = np.exp(-(q**2) * (a - opposite * b) ** 2 / 2)
    expected = f**2 + g**2 + 2 * f * g * np.cos(q * x) * crossed
    with np.errstate(over="raise", invalid="raise"):
        found = pair_sum_intensity(
            np.array([[x / 2, 0, 0], [-x / 2, 0, 0]]),
            np.tile([f, g], (3, 1)),
            np.stack([q / (2 * np.pi), 0 * q, 0 * q], axis=1),
            np.array([[[a, 0, 0], [opposite * b, 0, 0]]]),
            Disorder(),
        )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_pair_sum_of_the_smallest_motions(structure, s):
    """Of 1e-6 Å: I = |F|² q²σ², and nothing is lost in e^C − 1."""
    sigma, weights = 1e-6, factors(structure, s)
    found = pair_sum_intensity(structure.positions, weights, s, still(), Disorder(sigma))
    expected = np.abs(direct_sum(structure, s)) ** 2 * q_squared(s) * sigma**2
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_pair_sum_agrees_with_monte_carlo():
    """All motions at once: 200 000 configurations drawn one by one, no formula but Guinier's.

    I = ⟨|F − ⟨F⟩|²⟩, whose standard error is the scatter of |F − ⟨F⟩|² over √n, 0.2 %.
    Four of them at eight voxels are exceeded once in 2000 times; the seed is fixed.
    """
    n_samples, n_atoms = 200_000, 4
    rng = np.random.default_rng(4)
    structure = random_structure(rng, n_atoms, radius_A=3.0)
    s = rng.uniform(-0.2, 0.2, (8, 3))
    modes = random_modes(2, n_atoms, 0.35)
    moved = (
        structure.positions
        + np.einsum("sm,mac->sac", rng.standard_normal((n_samples, 2)), modes)
        + 0.3 * rng.standard_normal((n_samples, 1, 3))
        + 0.25 * rng.standard_normal((n_samples, n_atoms, 3))
    )
    weights = factors(structure, s)
    exact = pair_sum_intensity(structure.positions, weights, s, modes, Disorder(0.3, 0.25))
    for v in range(len(s)):
        amplitudes = np.exp(2j * np.pi * moved @ s[v]) @ weights[v]
        scattered = np.abs(amplitudes - amplitudes.mean()) ** 2
        standard_error = scattered.std() / np.sqrt(n_samples)
        assert standard_error < 4e-3 * exact[v]
        assert abs(scattered.mean() - exact[v]) < 4 * standard_error


def test_two_oracles_agree_on_translation_and_uncorrelated_motion(structure, s):
    """Without modes Guinier's equation needs no sampling: A = B = |F|² of the structure."""
    disorder = Disorder(0.4, 0.2)
    weights = factors(structure, s)
    transform = np.abs(direct_sum(structure, s)) ** 2
    found = diffuse_intensity(
        np.zeros(len(s)), transform, np.sum(weights**2, axis=1), q_squared(s), disorder
    )
    exact = pair_sum_intensity(structure.positions, weights, s, still(), disorder)
    np.testing.assert_allclose(found, exact, rtol=1e-9)


def test_pair_sum_does_not_know_the_origin(structure, s):
    """Moving all atoms together changes no distance, so no intensity."""
    arguments = factors(structure, s), s, random_modes(3), Disorder(0.3, 0.2)
    here = pair_sum_intensity(structure.positions, *arguments)
    there = pair_sum_intensity(structure.positions + np.array([30.0, -7.0, 11.0]), *arguments)
    np.testing.assert_allclose(there, here, rtol=1e-9)


def test_pair_sum_obeys_friedel(structure, s):
    """I(−q) = I(q)."""
    weights = factors(structure, s)
    modes, disorder = random_modes(3), Disorder(0.3, 0.2)
    plus = pair_sum_intensity(structure.positions, weights, s, modes, disorder)
    minus = pair_sum_intensity(structure.positions, weights, -s, modes, disorder)
    np.testing.assert_allclose(minus, plus, rtol=1e-12)


def test_pair_sum_is_a_variance(structure, s):
    """⟨|F|²⟩ − |⟨F⟩|² is never negative, and 0 where nothing moves."""
    weights = factors(structure, s)
    assert (
        pair_sum_intensity(structure.positions, weights, s, random_modes(3), Disorder()).min() > 0
    )
    assert not pair_sum_intensity(structure.positions, weights, s, still(), Disorder()).any()


def test_a_mode_that_moves_all_atoms_alike_is_a_translation(structure, s):
    """Three modes of σ along x, y and z for every atom give q·C·q = q²σ²."""
    sigma = 0.37
    modes = np.broadcast_to(sigma * np.eye(3)[:, None], (3, N_ATOMS, 3))
    weights = factors(structure, s)
    as_modes = pair_sum_intensity(structure.positions, weights, s, modes, Disorder())
    exact = pair_sum_intensity(structure.positions, weights, s, still(), Disorder(sigma))
    np.testing.assert_allclose(as_modes, exact, rtol=1e-9)
