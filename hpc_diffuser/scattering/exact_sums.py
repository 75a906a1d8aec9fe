"""Sums over configurations, or over modes, that may be divided anywhere: see `kernels.rounding`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors
from hpc_diffuser.kernels.rounding import large_number
from hpc_diffuser.system.arrays import Floats

# Configurations that are made, and drawn in one box, together. Who computes only some of them makes
# all: then each has the bits that it has anywhere.
CHUNK = 8
_MARGIN = 2.0  # for what is drawn with shapes that have the factors up to a limit only
_DEVIATIONS = 8.0  # that an atom is never away from its mean by
_S_SQUARED = np.linspace(0.0, 1.0, 51)  # Å⁻², where factors are looked at


@dataclass(frozen=True)
class ExactSums:
    """Running sums.

    Attributes
    ----------
    large : (K,) float64
        What terms are rounded with.
    values : (K, V) float64
        Changed in place by those who add.
    """

    large: Floats
    values: Floats

    @classmethod
    def of(cls, bounds: Sequence[float], size: int) -> ExactSums:
        """Zeros: K sums, none of whose parts is larger than its bound, at so many values."""
        large = np.array([large_number(bound) for bound in bounds])
        return cls(large, np.zeros((len(bounds), size)))


def largest_transform(factors: AtomFactors) -> float:
    """What |F| is never larger than, in electrons."""
    of_kinds = np.abs(factors.still(_S_SQUARED)).max(axis=0)
    return _MARGIN * float(np.sum(of_kinds[factors.kind] * np.abs(factors.occupancies)))


def moment_bounds(factors: AtomFactors, weight: float) -> tuple[float, float, float]:
    """Of Σ w Re D, Σ w Im D and Σ w |D|², D = F − F₀, with Σ |w| = weight."""
    away = 2 * largest_transform(factors)
    return weight * away, weight * away, weight * away**2


def expansion_bound(factors: AtomFactors, fields: Floats, d_min: float) -> float:
    """Of Σ |H_i|² and of the mean |R|², with fields (M, N, 3) in Å: see `transform.Phonons`.

    |H_i| ≤ q ΣF |Δ_i|, and |R| ≤ |F| + |m| + q ΣF |Σ_i z_i Δ_i|.
    """
    squares = np.square(fields).sum(axis=2)
    farthest_A = float(np.sqrt(squares.sum(axis=0).max(initial=0)))
    all_fields = squares.max(axis=1, initial=0).sum()
    q, most = 2 * np.pi / d_min, largest_transform(factors)
    remainder = (most * (2 + _DEVIATIONS * q * farthest_A)) ** 2
    return float((most * q) ** 2 * all_fields + remainder)
