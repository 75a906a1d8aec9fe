"""Diffuse intensity from an ensemble's moments, and the closed form that it must agree with."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Disorder:
    """Gaussian motions that are not sampled, because their effect is known exactly.

    Attributes
    ----------
    translation_sigma_A : float or 3 floats, Å
        Rms displacement of the whole molecule (rigid-body translation): along any axis, or along
        the Cartesian axes x, y, z.
    uncorrelated_sigma_A : float, Å
        Rms displacement of every atom on its own along any axis.
    translation_correlation : 3 floats, or none
        Of y with x, of z with x, of z with y given x; see `correlation_factor`.
    llm_sigma_A, llm_gamma_A : float, Å
        Liquid-like motion: rms displacement of every atom along any axis, and the distance over
        which the displacements of two atoms lose their correlation, e^{−r/γ}.
    halo_sigma_A, halo_gamma_A : float, Å
        Translation of the molecule along any axis, on top of the other, that is correlated
        between the molecules of a lattice, e^{−R/γ}.
    halo_alpha : float
        Power of the empirical profile that the translation's intensity is multiplied with; 0
        without.
    """

    translation_sigma_A: float | tuple[float, ...] = 0.0
    uncorrelated_sigma_A: float = 0.0
    translation_correlation: tuple[float, ...] = ()
    llm_sigma_A: float = 0.0
    llm_gamma_A: float = 0.0
    halo_sigma_A: float = 0.0
    halo_gamma_A: float = 0.0
    halo_alpha: float = 0.0

    def translation_factor(self) -> np.ndarray:
        """(3, 3) L in Å, lower triangular: the translation is L z with z standard normal."""
        sigmas = np.broadcast_to(self.translation_sigma_A, 3).astype(np.float64)
        partial = self.translation_correlation or (0.0, 0.0, 0.0)
        return sigmas[:, None] * correlation_factor(partial, 3)

    def translation_covariance(self) -> np.ndarray:
        """(3, 3) ⟨t tᵀ⟩ in Å²."""
        factor = self.translation_factor()
        return factor @ factor.T

    def without_translation(self) -> "Disorder":
        """What moves atoms against each other: liquid-like and uncorrelated motion."""
        return Disorder(
            uncorrelated_sigma_A=self.uncorrelated_sigma_A,
            llm_sigma_A=self.llm_sigma_A,
            llm_gamma_A=self.llm_gamma_A,
        )


def correlation_factor(partial: tuple[float, ...] | np.ndarray, n: int) -> np.ndarray:
    """Cholesky factor of a correlation matrix, from numbers that may be any between −1 and 1.

    Each is a partial correlation: of variable i with variable j, given all before j (Lewandowski,
    Kurowicka & Joe, J. Multivar. Anal. 100, 1989, 2009). So the matrix is always positive
    semi-definite, and a search may take every point of a box.

    Parameters
    ----------
    partial : k(k−1)/2 floats
        Of the first k of n variables, row by row: (2,1), (3,1), (3,2), ...; the others are
        uncorrelated.
    n : int

    Returns
    -------
    (n, n) float
        Lower triangular; its rows have length 1.
    """
    factor = np.eye(n)
    correlated = (1 + int(np.sqrt(1 + 8 * len(partial)))) // 2
    rest = iter(partial)
    for i in range(correlated if len(partial) else 0):
        left = 1.0
        for j in range(i):
            factor[i, j] = next(rest) * np.sqrt(left)
            left = max(left - factor[i, j] ** 2, 0.0)
        factor[i, i] = np.sqrt(left)
    return factor


@dataclass(frozen=True)
class SelfTerms:
    """Every atom with itself, at some voxels.

    Attributes
    ----------
    still : (V,) float
        S = Σf², which no motion dims.
    dimmed : (V,) float
        S', of the form factors that residual B-factors have dimmed.
    """

    still: np.ndarray
    dimmed: np.ndarray


@dataclass(frozen=True)
class Intensity:
    """Diffuse intensity of one molecule, in electrons², by what a lattice of molecules does to it.

    Attributes
    ----------
    internal : (V,) float
        Of atoms that move against each other, which neighbours know nothing of.
    rigid : (V,) float
        Of the molecule moving as a whole: I_D is the sum of both.
    average : (V,) float, or none
        |⟨F⟩|² over all motions: what neighbours that move together scatter in phase. Only where
        the lattice couples translations.
    """

    internal: np.ndarray
    rigid: np.ndarray
    average: np.ndarray


def diffuse_intensity(
    variance: np.ndarray,
    mean_squared: np.ndarray,
    self_terms: SelfTerms,
    q_squared: np.ndarray,
    translation: np.ndarray,
    disorder: Disorder,
    liquid: np.ndarray | float = 0.0,
) -> "Intensity":
    """Guinier's equation for sampled internal motion with unsampled Gaussian motion on top.

    With A = ⟨|F|²⟩ and B = |⟨F⟩|² over the internal ensemble,

        I_D = e^{−q²(σ_l²+σ_u²)} Σ_{n≥0} (q²σ_l²)ⁿ/n! [(A−S') ∗ Γ_n] + S
              − e^{−q²(σ_l²+σ_u²) − qᵀUq} B,

    written with the ensemble's variance A − B, so that no large numbers are subtracted. It comes
    in two parts, because a lattice of molecules changes the second:

        I_D = [e^{−q²(σ_l²+σ_u²)} (A − B + liquid) + S − e^{−q²(σ_l²+σ_u²)} S']
              + e^{−q²(σ_l²+σ_u²)} (1 − e^{−qᵀUq}) B.

    Parameters
    ----------
    variance : (V,) float
        A − B.
    mean_squared : (V,) float
        B.
    self_terms : SelfTerms
    q_squared : (V,) float, Å⁻²
        |q|² = 4π²/d².
    translation : (V,) float
        qᵀUq.
    disorder : Disorder
    liquid : (V,) float
        The series' terms from n = 1, see `liquid`; 0 without liquid-like motion.

    Returns
    -------
    Intensity
    """
    sigma_squared = disorder.llm_sigma_A**2 + disorder.uncorrelated_sigma_A**2
    damping = np.exp(-q_squared * sigma_squared)
    dimmed = mean_squared * damping
    average = np.exp(-translation) * dimmed if disorder.halo_sigma_A else np.empty(0)
    internal = (variance + liquid) * damping + (self_terms.still - self_terms.dimmed)
    internal -= np.expm1(-q_squared * sigma_squared) * self_terms.dimmed
    return Intensity(internal, -np.expm1(-translation) * dimmed, average)


def pair_sum_intensity(
    positions: np.ndarray,
    form_factors: np.ndarray,
    s_vectors: np.ndarray,
    displacements: np.ndarray,
    disorder: Disorder,
    b_factors_A2: np.ndarray | float = 0.0,
) -> np.ndarray:
    """The exact diffuse intensity of Gaussian motions, as a sum over pairs of atoms.

        I_D(q) = Σ_ab f_a f_b cos q·(r_a−r_b) (e^{qᵀ(C_ab − ½U_a − ½U_b)q} − e^{−½ qᵀ(U_a+U_b)q}),
        C_ab = Σ_i Δ_ia Δ_ibᵀ + U + σ_l² e^{−r_ab/γ} 1 + δ_ab (σ_u² + B_a/8π²) 1,  U_a = C_aa.

    Independent of everything fast: it costs atoms² per voxel and is the oracle of the tests.

    Parameters
    ----------
    positions : (N, 3) float, Å
    form_factors : (V, N) float
        f_a at each s.
    s_vectors : (V, 3) float, Å⁻¹
        Cartesian scattering vectors, |s| = 1/d.
    displacements : (M, N, 3) float, Å
        Independent modes times the standard deviation of their coefficients.
    disorder : Disorder
        Without lattice halos.
    b_factors_A2 : (N,) float, Å²
        Of every atom's motion on its own.

    Returns
    -------
    (V,) float
    """
    intensity = np.empty(len(s_vectors))
    own = disorder.uncorrelated_sigma_A**2 + np.asarray(b_factors_A2) / (8 * np.pi**2)
    common = disorder.translation_covariance()
    liquid = None
    if disorder.llm_sigma_A:
        distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
        liquid = disorder.llm_sigma_A**2 * np.exp(-distances / disorder.llm_gamma_A)
    for v, s in enumerate(s_vectors):
        q = 2 * np.pi * s
        q2 = q @ q
        along_q = displacements @ q  # (M, N): q·Δ
        covariance = along_q.T @ along_q + q @ common @ q
        if liquid is not None:
            covariance += q2 * liquid
        covariance[np.diag_indices_from(covariance)] += q2 * own
        amplitude = form_factors[v] * np.exp(1j * (positions @ q))
        pairs = _correlated(covariance)
        intensity[v] = np.einsum("a,ab,b->", amplitude.conj(), pairs, amplitude, optimize=True).real
    return intensity


def _correlated(covariance: np.ndarray) -> np.ndarray:
    """e^{C_ab − ½(C_aa + C_bb)} − e^{−½(C_aa + C_bb)}: (N, N).

    No exponent is above 0, however far atoms move; where C is small, nothing is lost in the
    difference.
    """
    half = 0.5 * np.diag(covariance)
    both = half[:, None] + half
    small = np.exp(-both) * np.expm1(np.minimum(covariance, 1.0))
    return np.where(covariance < 1, small, np.exp(np.minimum(covariance - both, 0)) - np.exp(-both))
