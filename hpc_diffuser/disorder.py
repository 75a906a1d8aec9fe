"""Diffuse intensity from an ensemble's moments, and the closed form that it must agree with."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Disorder:
    """Gaussian motions that are not sampled, because their effect is known exactly.

    Attributes
    ----------
    translation_sigma_A : float, Å
        Rms displacement of the whole molecule along any axis (rigid-body translation).
    uncorrelated_sigma_A : float, Å
        Rms displacement of every atom on its own along any axis.
    """

    translation_sigma_A: float = 0.0
    uncorrelated_sigma_A: float = 0.0


def diffuse_intensity(
    variance: np.ndarray,
    mean_squared: np.ndarray,
    self_term: np.ndarray,
    q_squared: np.ndarray,
    disorder: Disorder,
) -> np.ndarray:
    """Guinier's equation for sampled internal motion with unsampled Gaussian motion on top.

    With A = ⟨|F|²⟩ and B = |⟨F⟩|² over the internal ensemble and S = Σf²,

        I_D = e^{−q²σ_u²} (A − S) + S − e^{−q²(σ_t²+σ_u²)} B,

    written with the ensemble's variance A − B, so that no large numbers are subtracted.

    Parameters
    ----------
    variance : (V,) float
        A − B.
    mean_squared : (V,) float
        B.
    self_term : (V,) float
        S, the intensity of independent atoms.
    q_squared : (V,) float, Å⁻²
        |q|² = 4π²/d².
    disorder : Disorder

    Returns
    -------
    (V,) float
        In electrons² per molecule.
    """
    translation = q_squared * disorder.translation_sigma_A**2
    uncorrelated = q_squared * disorder.uncorrelated_sigma_A**2
    correlated = variance - np.expm1(-translation) * mean_squared
    if disorder.uncorrelated_sigma_A == 0:
        return correlated
    return np.exp(-uncorrelated) * correlated - np.expm1(-uncorrelated) * self_term


def pair_sum_intensity(
    positions: np.ndarray,
    form_factors: np.ndarray,
    s_vectors: np.ndarray,
    displacements: np.ndarray,
    disorder: Disorder,
) -> np.ndarray:
    """The exact diffuse intensity of Gaussian motions, as a sum over pairs of atoms.

        I_D(q) = Σ_ab f_a f_b cos q·(r_a−r_b) e^{−½ qᵀ(U_a+U_b)q} (e^{qᵀC_ab q} − 1),
        C_ab = Σ_i Δ_ia Δ_ibᵀ + σ_t² 1 + δ_ab σ_u² 1,  U_a = C_aa.

    Independent of everything fast: it costs atoms² per voxel and is the oracle of the tests.

    Parameters
    ----------
    positions : (N, 3) float, Å
    form_factors : (V, N) float
        f_a at each s.
    s_vectors : (V, 3) float, Å⁻¹
        Cartesian scattering vectors, |s| = 1/d.
    displacements : (M, N, 3) float, Å
        Modes times the standard deviation of their coefficients.
    disorder : Disorder

    Returns
    -------
    (V,) float
    """
    intensity = np.empty(len(s_vectors))
    for v, s in enumerate(s_vectors):
        q = 2 * np.pi * s
        q2 = q @ q
        along_q = displacements @ q  # (M, N): q·Δ
        covariance = along_q.T @ along_q + q2 * disorder.translation_sigma_A**2
        covariance[np.diag_indices_from(covariance)] += q2 * disorder.uncorrelated_sigma_A**2
        u = np.diag(covariance)
        amplitude = form_factors[v] * np.exp(-0.5 * u + 1j * (positions @ q))
        intensity[v] = np.einsum(
            "a,ab,b->", amplitude.conj(), np.expm1(covariance), amplitude, optimize=True
        ).real
    return intensity
