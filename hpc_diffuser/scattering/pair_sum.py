"""The closed form that diffuse intensity must agree with: a sum over all pairs of atoms."""

import numpy as np

from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.system.arrays import Floats


def pair_sum_intensity(
    positions: Floats,
    form_factors: Floats,
    s_vectors: Floats,
    displacements: Floats,
    disorder: Disorder,
    b_factors_A2: Floats | float = 0.0,
) -> Floats:
    """The exact diffuse intensity of Gaussian motions, as a sum over pairs of atoms.

        I_D(q) = Σ_ab f_a f_b cos q·(r_a−r_b) (e^{qᵀ(C_ab − ½U_a − ½U_b)q} − e^{−½ qᵀ(U_a+U_b)q}),
        C_ab = Σ_i Δ_ia Δ_ibᵀ + U + U_l e^{−r_ab/γ} + δ_ab (U_u + B_a/8π² 1),  U_a = C_aa.

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
    uncorrelated = np.broadcast_to(disorder.uncorrelated_sigma_A, 3)
    residual = np.asarray(b_factors_A2) / (8 * np.pi**2)
    common = disorder.translation_covariance()
    of_liquid, liquid = disorder.liquid_covariance(), None
    if disorder.is_liquid:
        distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
        liquid = np.exp(-distances / disorder.llm_gamma_A)
    for v, s in enumerate(s_vectors):
        q = 2 * np.pi * s
        q2 = q @ q
        along_q = displacements @ q  # (M, N): q·Δ
        covariance = along_q.T @ along_q + q @ common @ q
        if liquid is not None:
            covariance += (q @ of_liquid @ q) * liquid
        own = np.sum((q * uncorrelated) ** 2) + q2 * residual
        covariance[np.diag_indices_from(covariance)] += own
        amplitude = form_factors[v] * np.exp(1j * (positions @ q))
        pairs = _correlated(covariance)
        intensity[v] = np.einsum("a,ab,b->", amplitude.conj(), pairs, amplitude, optimize=True).real
    return intensity


def _correlated(covariance: Floats) -> Floats:
    """e^{C_ab − ½(C_aa + C_bb)} − e^{−½(C_aa + C_bb)}: (N, N).

    No exponent is above 0, however far atoms move; where C is small, nothing is lost in the
    difference.
    """
    half = 0.5 * np.diag(covariance)
    both = half[:, None] + half
    small = np.exp(-both) * np.expm1(np.minimum(covariance, 1.0))
    return np.where(covariance < 1, small, np.exp(np.minimum(covariance - both, 0)) - np.exp(-both))
