"""Whose the crystal's B-factors are: translation, libration and internal motion of a network.

B_a = 8π² σ_t² + (16π²/3) σ_r² |r_a − c|² + (8π²/3) (kT/κ) ⟨|u_a|²⟩_network: an isotropic
translation moves all atoms alike, an isotropic libration about the centre c as the square of the
distance (2σ²r² in space, to second order in the angle), and one force constant κ scales what the
network does. Three profiles, three weights that are not negative: least squares.

Kundu et al. (2002), Biophys. J. 83, 723, and Hinsen (2008), Bioinformatics 24, 521, on rigid-body
motion and neighbours in B-factors; Lawson & Hanson (1974) for the least squares.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from hpc_diffuser.system.arrays import Floats

B_OF_SQUARE = 8 * np.pi**2 / 3  # B in Å² of ⟨|u|²⟩


@dataclass(frozen=True)
class BShares:
    """What B-factors are made of, by a fit.

    Attributes
    ----------
    translation_sigma_A : float
        Per axis.
    libration_sigma_deg : float
        Per axis, about the centre.
    square_A2 : float
        kT over the force constant: of what the network gives ⟨|u|²⟩ in.
    translation, libration, internal : float
        Shares of the mean fitted B; they add up to 1.
    cc : float
        Pearson correlation of the fitted B with the crystal's; NaN where either is the same for
        all atoms.
    atoms : int
        That were fitted.
    """

    translation_sigma_A: float
    libration_sigma_deg: float
    square_A2: float
    translation: float
    libration: float
    internal: float
    cc: float
    atoms: int


def fit_shares(b_factors_A2: Floats, squares: Floats, positions: Floats, centre: Floats) -> BShares:
    """The shares that fit B-factors best, in the least squares of B.

    Parameters
    ----------
    b_factors_A2 : (N,) float, Å²
        Of which some, at least, are above 0; the others are unknown, and not fitted.
    squares : (N,) float
        ⟨|u|²⟩ of internal motion, in kT over the force constant.
    positions : (N, 3) float, Å
    centre : (3,) float, Å
        Of libration.

    Raises
    ------
    ValueError
        Where no B-factor is above 0.
    """
    known = b_factors_A2 > 0
    if not known.any():
        raise ValueError("no B-factors: expected some above 0")
    b = b_factors_A2[known]
    lever = np.sum((positions - centre) ** 2, axis=1)
    profiles = np.stack([np.full(len(lever), 3.0), 2 * lever, squares], axis=1)[known]
    profiles *= B_OF_SQUARE
    # Scaled to a mean of 1, so that no profile's unit makes it count for nothing.
    scale = profiles.mean(axis=0)
    weights, _ = nnls(profiles / scale, b)
    fitted = profiles / scale @ weights
    variances, shares = weights / scale, weights / weights.sum()
    return BShares(
        translation_sigma_A=float(np.sqrt(variances[0])),
        libration_sigma_deg=float(np.degrees(np.sqrt(variances[1]))),
        square_A2=float(variances[2]),
        translation=float(shares[0]),
        libration=float(shares[1]),
        internal=float(shares[2]),
        cc=correlation(fitted, b),
        atoms=len(b),
    )


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's, of two (N,); NaN where either is the same everywhere."""
    flat = any(np.std(x) <= 1e-9 * np.max(np.abs(x)) for x in (a, b))
    return float("nan") if flat else float(np.corrcoef(a, b)[0, 1])
