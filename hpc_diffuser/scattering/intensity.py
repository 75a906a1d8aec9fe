"""Diffuse intensity from the moments of an ensemble: Guinier's equation with motion on top."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, copied_factors
from hpc_diffuser.system.arrays import Floats

_SELF_STEPS = 4096
_SLOPE_STEPS = 1024


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

    still: Floats
    dimmed: Floats


def self_terms(factors: AtomFactors, s_squared: Floats, largest: float | None = None) -> SelfTerms:
    """S = Σ_a o_a² f_a², the intensity of independent atoms, with and without the dimming.

    Parameters
    ----------
    factors : AtomFactors
    s_squared : (V,) float, Å⁻²
    largest : float or None
        Of all ranks' |s|², where this one has some: they all interpolate from one table.
    """
    weights = np.bincount(factors.kind, factors.occupancies**2)
    if not factors.b_factors_A2.any():
        still = factors.still(s_squared) ** 2 @ weights
        return SelfTerms(still, still)
    # There may be as many kinds as atoms, for a million voxels: sums are functions of |s| alone.
    end = s_squared.max(initial=0) if largest is None else largest
    table = np.linspace(0, end, _SELF_STEPS)
    bare = factors.still(table)
    dimming = np.exp(-np.outer(table, factors.b_factors_A2) / 4)
    still, dimmed = (f**2 @ weights for f in (bare, bare * dimming))
    return SelfTerms(np.interp(s_squared, table, still), np.interp(s_squared, table, dimmed))


def terms_left(
    factors: AtomFactors, squares_A2: Floats, s_squared: Floats, largest: float | None = None
) -> Floats:
    """S'', of the form factors that motion inside the molecule has dimmed besides: (V,).

    Parameters
    ----------
    factors : AtomFactors
    squares_A2 : (N,) float, Å²
        ⟨|u|²⟩ of every atom by that motion, as if it were alike along all axes.
    s_squared, largest
        As of `self_terms`.
    """
    if not squares_A2.any():
        return self_terms(factors, s_squared, largest).dimmed
    atoms = np.arange(len(squares_A2))
    blurs = 8 * np.pi**2 / 3 * squares_A2
    dimmed = copied_factors(factors, atoms, factors.occupancies, blurs)
    return self_terms(dimmed, s_squared, largest).dimmed


class SelfSlopes:
    """What self-terms gain as residual B-factors fall.

    Parameters
    ----------
    factors : AtomFactors
    s_squared : (v,) float, Å⁻²
    """

    def __init__(self, factors: AtomFactors, s_squared: Floats):
        self._factors, self._s_squared = factors, s_squared
        self._table = np.linspace(0, s_squared.max(initial=0), _SLOPE_STEPS)
        self._squares = factors.at(self._table) ** 2 if factors.b_factors_A2.any() else None

    def of(self, gained: Floats) -> Floats | float:
        """The slope Σ_a f_a² q² g_a of S': (v,), or 0 where no atom has a B-factor to lose.

        Parameters
        ----------
        gained : (N,) float
            g_a, what an atom's own variance along any axis falls by.
        """
        if self._squares is None:
            return 0.0
        weights = self._factors.occupancies**2 * gained
        n_kinds = len(self._factors.elements)
        curve = self._squares @ np.bincount(self._factors.kind, weights, n_kinds)
        slopes: Floats = np.interp(
            self._s_squared, self._table, curve * (4 * np.pi**2) * self._table
        )
        return slopes


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

    internal: Floats
    rigid: Floats
    average: Floats


def diffuse_intensity(
    variance: Floats,
    mean_squared: Floats,
    self_terms: SelfTerms,
    own: Floats,
    translation: Floats,
    coupled: bool,
    liquid: Floats | float = 0.0,
) -> Intensity:
    """Guinier's equation for sampled internal motion with unsampled Gaussian motion on top.

    With A = ⟨|F|²⟩ and B = |⟨F⟩|² over the internal ensemble,

        I_D = e^{−qᵀVq} Σ_{n≥0} (q²σ_l²)ⁿ/n! [(A−S') ∗ Γ_n] + S − e^{−qᵀVq − qᵀUq} B,
        V = σ_l² 1 + U_u, the covariance of what an atom does on its own,

    written with the ensemble's variance A − B, so that no large numbers are subtracted. It comes
    in two parts, because a lattice of molecules changes the second:

        I_D = [e^{−qᵀVq} (A − B + liquid) + S − e^{−qᵀVq} S'] + e^{−qᵀVq} (1 − e^{−qᵀUq}) B.

    Parameters
    ----------
    variance : (V,) float
        A − B.
    mean_squared : (V,) float
        B.
    self_terms : SelfTerms
    own : (V,) float
        qᵀVq, of `Disorder.own_covariance`: q in Å⁻¹, |q| = 2π/d, and V in Å².
    translation : (V,) float
        qᵀUq, likewise.
    coupled : bool
        Whether the lattice couples translations.
    liquid : (V,) float
        The series' terms from n = 1, see `liquid`; 0 without liquid-like motion.

    Returns
    -------
    Intensity
    """
    internal, dimmed, moves = variance + liquid, mean_squared, bool(own.any())
    if moves:
        damping = np.exp(-own)
        internal, dimmed = internal * damping, dimmed * damping
    if self_terms.still is not self_terms.dimmed:
        internal = internal + (self_terms.still - self_terms.dimmed)
    if moves:
        internal -= np.expm1(-own) * self_terms.dimmed
    average = np.exp(-translation) * dimmed if coupled else np.empty(0)
    return Intensity(internal, -np.expm1(-translation) * dimmed, average)


@dataclass(frozen=True)
class DiffuseSlopes:
    """An objective's derivatives by what `diffuse_intensity` is made of, each (V,) float.

    Attributes
    ----------
    variance, mean_squared : (V,) float
        By A − B, also by the liquid-like series, and by B.
    dimmed : (V,) float
        By S'.
    own, translation : (V,) float
        By qᵀVq and qᵀUq.
    """

    variance: Floats
    mean_squared: Floats
    dimmed: Floats
    own: Floats
    translation: Floats


def diffuse_slopes(
    slopes: Intensity,
    variance: Floats,
    mean_squared: Floats,
    self_terms: SelfTerms,
    own: Floats,
    translation: Floats,
    liquid: Floats | float = 0.0,
) -> DiffuseSlopes:
    """The chain rule through `diffuse_intensity`, whose arguments the others are.

    Parameters
    ----------
    slopes : Intensity
        The objective's derivatives by each part of the intensity; none by an average that is
        none.
    """
    damping, left = np.exp(-own), np.exp(-translation)
    by_average = slopes.average if slopes.average.size else 0.0
    by_squared = damping * (by_average * left - slopes.rigid * np.expm1(-translation))
    by_variance = damping * slopes.internal
    return DiffuseSlopes(
        variance=by_variance,
        mean_squared=by_squared,
        dimmed=-by_variance,
        own=-by_variance * (variance + liquid - self_terms.dimmed) - by_squared * mean_squared,
        translation=damping * left * mean_squared * (slopes.rigid - by_average),
    )


def dimming_slopes(factors: AtomFactors, by_dimmed: Floats, s_squared_max: float) -> Floats:
    """By every atom's B-factor, from derivatives by S' = Σ o²f² e^{−Bs²/2}: (N,) float.

    Parameters
    ----------
    factors : AtomFactors
    by_dimmed : (T,) float
        Derivatives by S', gathered at equal steps of |s|² from 0: see `at_steps`.
    s_squared_max : float, Å⁻²
        The last of them.
    """
    table = np.linspace(0, s_squared_max, len(by_dimmed))
    of_kinds = (-table / 2 * by_dimmed) @ factors.at(table) ** 2
    by_atoms: Floats = of_kinds[factors.kind] * factors.occupancies**2
    return by_atoms


def at_steps(s_squared: Floats, values: Floats, s_squared_max: float, n_steps: int) -> Floats:
    """Values (V,) at |s|² gathered at equal steps from 0, linearly: (n_steps + 1,) float."""
    place = s_squared / s_squared_max * n_steps
    below = np.minimum(place.astype(np.int64), n_steps - 1)
    part, n = (place - below) * values, n_steps + 1
    gathered = np.bincount(below, values - part, n) + np.bincount(below + 1, part, n)
    return gathered.astype(np.float64)


def motion_factors(own: Floats, translation: Floats, coupled: bool) -> Intensity:
    """What each part of `diffuse_intensity` has for every e²: A − B or S' inside, B otherwise.

    It is linear in them: a slope of theirs, times these, is a slope of it.
    """
    ones, nothing = np.ones_like(own), np.zeros_like(own)
    return diffuse_intensity(ones, ones, SelfTerms(nothing, nothing), own, translation, coupled)
