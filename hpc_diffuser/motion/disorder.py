"""Gaussian motions that need no sampling, because their effect on the intensity is exact."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpc_diffuser.system.arrays import Floats


@dataclass(frozen=True)
class Disorder:
    """Gaussian motions that are not sampled, because their effect is known exactly.

    Attributes
    ----------
    translation_sigma_A : float or 3 floats, Å
        Rms displacement of the whole molecule (rigid-body translation): along any axis, or along
        the Cartesian axes x, y, z.
    uncorrelated_sigma_A : float or 3 floats, Å
        Rms displacement of every atom on its own: along any axis, or along x, y, z.
    translation_correlation : 3 floats, or none
        Of y with x, of z with x, of z with y given x; see `correlation_factor`.
    llm_sigma_A : float or 3 floats, Å
        Liquid-like motion: rms displacement of every atom along any axis, or along x, y, z.
    llm_gamma_A : float, Å
        The distance over which the displacements of two atoms lose their correlation, e^{−r/γ}.
    halo_sigma_A, halo_gamma_A : float, Å
        Translation of the molecule along any axis, on top of the other, that is correlated
        between the molecules of a lattice, e^{−R/γ}.
    halo_alpha : float
        Power of the empirical profile that the translation's intensity is multiplied with; 0
        without.
    llm_correlation : 3 floats, or none
        Of liquid-like motion, as `translation_correlation`.
    crystal_llm_sigma_A, crystal_llm_gamma_A, crystal_llm_correlation
        The same of liquid-like motion that does not end at a molecule's surface. Of a list of two
        the first is along x and y.
    """

    translation_sigma_A: float | tuple[float, ...] = 0.0
    uncorrelated_sigma_A: float | tuple[float, ...] = 0.0
    translation_correlation: tuple[float, ...] = ()
    llm_sigma_A: float | tuple[float, ...] = 0.0
    llm_gamma_A: float = 0.0
    halo_sigma_A: float = 0.0
    halo_gamma_A: float = 0.0
    halo_alpha: float = 0.0
    llm_correlation: tuple[float, ...] = ()
    crystal_llm_sigma_A: float | tuple[float, ...] = 0.0
    crystal_llm_gamma_A: float = 0.0
    crystal_llm_correlation: tuple[float, ...] = ()

    def with_number(self, name: str, number: float) -> "Disorder":
        """The same with another value of a parameter that is one number."""
        changed: dict[str, Any] = {name: number}
        return replace(self, **changed)

    def translation_factor(self) -> Floats:
        """(3, 3) L in Å, lower triangular: the translation is L z with z standard normal."""
        return _factor(self.translation_sigma_A, self.translation_correlation)

    def translation_covariance(self) -> Floats:
        """(3, 3) ⟨t tᵀ⟩ in Å²."""
        factor = self.translation_factor()
        return factor @ factor.T

    @property
    def is_liquid(self) -> bool:
        """Whether there is liquid-like motion."""
        return bool(np.any(self.llm_sigma_A))

    def liquid_factor(self) -> Floats:
        """(3, 3) L in Å, lower triangular: of liquid-like motion, as `translation_factor`."""
        return _factor(self.llm_sigma_A, self.llm_correlation)

    def liquid_covariance(self) -> Floats:
        """(3, 3) ⟨v vᵀ⟩ in Å² of every atom by liquid-like motion."""
        factor = self.liquid_factor()
        return factor @ factor.T

    @property
    def is_crystal_liquid(self) -> bool:
        """Whether there is liquid-like motion of the whole crystal."""
        return bool(np.any(self.crystal_llm_sigma_A))

    def crystal_covariance(self) -> Floats:
        """The same of liquid-like motion of the whole crystal."""
        sigmas = self.crystal_llm_sigma_A
        if isinstance(sigmas, tuple) and len(sigmas) == 2:
            sigmas = (sigmas[0], *sigmas)
        factor = _factor(sigmas, self.crystal_llm_correlation)
        return factor @ factor.T

    def liquid_of_either(self) -> tuple[Floats, float]:
        """Covariance (3, 3) in Å² and correlation length in Å of the one that there is."""
        if self.is_crystal_liquid:
            return self.crystal_covariance(), self.crystal_llm_gamma_A
        return self.liquid_covariance(), self.llm_gamma_A

    def own_covariance(self) -> float | Floats:
        """⟨u uᵀ⟩ in Å² of an atom that moves beside its molecule: one number is along every axis.

        By liquid-like and uncorrelated motion.
        """
        if isinstance(self.llm_sigma_A, tuple) or self.is_crystal_liquid:
            uncorrelated = np.square(np.broadcast_to(self.uncorrelated_sigma_A, 3))
            return np.diag(uncorrelated) + self.liquid_covariance() + self.crystal_covariance()
        if isinstance(self.uncorrelated_sigma_A, tuple):
            of_axes: Floats = np.diag(np.square(self.uncorrelated_sigma_A))
            return of_axes + self.llm_sigma_A**2 * np.eye(3)
        return self.llm_sigma_A**2 + self.uncorrelated_sigma_A**2

    def own_mean_square(self) -> float:
        """⟨|u|²⟩ in Å² of every atom by all but `translation_covariance`."""
        uncorrelated, liquid = map(_mean_square, (self.uncorrelated_sigma_A, self.llm_sigma_A))
        of_crystal = float(np.trace(self.crystal_covariance())) if self.is_crystal_liquid else 0.0
        return 3 * (uncorrelated + liquid + self.halo_sigma_A**2) + of_crystal

    def without_translation(self) -> "Disorder":
        """What moves atoms against each other: liquid-like and uncorrelated motion."""
        return Disorder(
            uncorrelated_sigma_A=self.uncorrelated_sigma_A,
            llm_sigma_A=self.llm_sigma_A,
            llm_gamma_A=self.llm_gamma_A,
            llm_correlation=self.llm_correlation,
            crystal_llm_sigma_A=self.crystal_llm_sigma_A,
            crystal_llm_gamma_A=self.crystal_llm_gamma_A,
            crystal_llm_correlation=self.crystal_llm_correlation,
        )


def _factor(sigmas_A: float | tuple[float, ...], partial: tuple[float, ...]) -> Floats:
    """(3, 3) L in Å, lower triangular, of one number for every axis or three with correlations."""
    sigmas = np.broadcast_to(sigmas_A, 3).astype(np.float64)
    return sigmas[:, None] * correlation_factor(partial or (0.0, 0.0, 0.0), 3)


def _mean_square(sigmas_A: float | tuple[float, ...]) -> float:
    """Along an axis, on average, in Å²."""
    if isinstance(sigmas_A, tuple):
        return sum(sigma**2 for sigma in sigmas_A) / 3
    return sigmas_A**2


def correlation_factor(partial: tuple[float, ...] | Floats, n: int) -> Floats:
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
