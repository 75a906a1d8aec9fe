"""In which ranges weights are to be sought, from what is known before a fit.

A motion of rms u (Å, per atom, in space) has a mean B-factor of 8π²u²/3. What moves the atoms
more than the crystal's B-factors say would have blurred the Bragg data.
"""

import math
from typing import NamedTuple

import numpy as np

from hpc_diffuser.motion.b_shares import B_OF_SQUARE
from hpc_diffuser.motion.registry import BY_NAME, Range
from hpc_diffuser.system.arrays import Floats

_WITHOUT_B_A = 1.0  # of modes of which nothing is known


class Proposed(NamedTuple):
    """A range, and why it is that.

    Attributes
    ----------
    range : (float, float)
    why : str
    """

    range: Range
    why: str


def twice_the_largest_A(amplitudes_A: Floats) -> float:
    """Twice the largest amplitude (M,) of the source ensemble, in Å; 0 of none."""
    return 2 * float(amplitudes_A.max(initial=0.0))


def translation_of_b_A(mean_b_A2: float) -> float:
    """The rms translation along any axis, in Å, that alone would make up a mean B-factor (Å²)."""
    return math.sqrt(mean_b_A2 / (3 * B_OF_SQUARE))


def modes_of_b_A(mean_b_A2: float, n_modes: int) -> float:
    """The upper end, in Å, of ranges in whose middle all modes together make up a mean B (Å²).

    Of one to three modes, where any alone makes it up.

    Parameters
    ----------
    mean_b_A2 : float, Å²
    n_modes : int
    """
    return math.sqrt(mean_b_A2 / B_OF_SQUARE) * min(1.0, 2 / math.sqrt(n_modes))


def mode_range(amplitudes_A: Floats | None, n_modes: int, mean_b_A2: float | None) -> Proposed:
    """One range for the amplitudes of all modes.

    Parameters
    ----------
    amplitudes_A : (M,) float or None
        The source ensemble's, of those that are refined; None where they are not known yet.
    n_modes : int
    mean_b_A2 : float or None
        Of the crystal; None where it is not known.
    """
    ends: list[tuple[float, str]] = []
    if amplitudes_A is not None and amplitudes_A.any():
        ends.append((twice_the_largest_A(amplitudes_A), "twice the largest of the modes file"))
    if mean_b_A2 is not None:
        why = (
            f"all {n_modes} at half of it make up the crystal's mean B, {mean_b_A2:.1f} Å²"
            if n_modes > 3
            else f"one mode alone makes up the crystal's mean B, {mean_b_A2:.1f} Å²"
        )
        ends.append((modes_of_b_A(mean_b_A2, n_modes), why))
    if not ends:
        return Proposed((0.0, _WITHOUT_B_A), "assumed: neither amplitudes nor B-factors are known")
    end, why = min(ends)
    return Proposed((0.0, rounded_up(end)), why)


def translation_range(mean_b_A2: float | None) -> Proposed:
    """As by default, or as far as the crystal's mean B-factor (Å²), if that is farther."""
    usual = BY_NAME["translation_sigma_A"].default_range
    assert usual is not None
    if mean_b_A2 is None:
        return Proposed(usual, "assumed: B-factors are not known")
    alone = translation_of_b_A(mean_b_A2)
    return Proposed(
        (usual[0], max(usual[1], rounded_up(alone))),
        f"{alone:.2f} alone would make up the crystal's mean B, {mean_b_A2:.1f} Å²",
    )


def rounded_up(value: float) -> float:
    """A number above 0, to two digits."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    digits = 1 - math.floor(math.log10(value))
    return round(math.ceil(value / step * (1 - 1e-9)) * step, max(digits, 0))


def mean_b_factor(b_factors_A2: Floats | None) -> float | None:
    """The mean (Å²) of the atoms whose B-factors (N,) are known: not NaN, above 0; None of none."""
    if b_factors_A2 is None:
        return None
    known = b_factors_A2[np.isfinite(b_factors_A2) & (b_factors_A2 > 0)]
    return float(known.mean()) if len(known) else None
