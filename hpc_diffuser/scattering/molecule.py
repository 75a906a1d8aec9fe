"""One moving molecule on a group of ranks: parameters in, its diffuse intensity out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors
from hpc_diffuser.crystal.lattice import HklGrid, fractionalization
from hpc_diffuser.motion.configurations import rigid_covariance, sampled_squares
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.motion.lattice.rigid_lattice import rest_changes
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.registry import FRAME_WEIGHT
from hpc_diffuser.motion.slopes import liquid_slopes, parameter_slopes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.ordered_sums import sum_over_planes
from hpc_diffuser.scattering.intensity import (
    DiffuseSlopes,
    Intensity,
    SelfTerms,
    diffuse_intensity,
    diffuse_slopes,
    motion_factors,
    terms_left,
)
from hpc_diffuser.scattering.liquid import LiquidMotion, Strength
from hpc_diffuser.scattering.liquid_level import IsotropicLevel
from hpc_diffuser.scattering.moment_slopes import (
    slopes_by_covariances,
    slopes_by_frame_weights,
    slopes_by_motion,
)
from hpc_diffuser.scattering.moments import Moments
from hpc_diffuser.scattering.volume import Volume
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

_LIQUID_STEP = 2e-3  # of σ and γ: differences of the series


@dataclass(frozen=True)
class Computation:
    """How a model is computed.

    Attributes
    ----------
    motion_A : float, Å
        Rms displacement per atom to reckon with: it widens the molecule.
    grid : {"auto", "target", "band-limited"}
        "auto" takes the cheaper one.
    transform : {"auto", "direct", "density"}
    liquid_gamma_A : float, Å
        The shortest correlation length of liquid-like motion, which needs the band-limited grid,
        beyond the target's resolution; 0 without. Also of that of the whole crystal, where
        molecules move inside, or as wholes, besides.
    crystal_gamma_A : float, Å
        The shortest of that of the whole crystal; 0 without.
    halos : {"molecule", "cell"}
        Whether lattice-coupled translation couples molecules of one orientation or of all.
    factors : AtomFactors or None
        At the densest solvent; plain form factors without.
    many_kinds : bool
        Atoms may have B-factors of their own.
    estimator : {"sampled", "one-phonon", "control-variate"}
        Of the moments over the modes.
    """

    motion_A: float = 0.0
    grid: str = "auto"
    transform: str = "auto"
    liquid_gamma_A: float = 0.0
    crystal_gamma_A: float = 0.0
    halos: str = "molecule"
    factors: AtomFactors | None = None
    many_kinds: bool = False
    estimator: str = "sampled"


class DirectModel:
    """Diffuse intensity of a moving molecule, computed at given samples of reciprocal space.

    Parameters
    ----------
    modes : Modes
    grid : HklGrid
    indices : (V, 3) int
        Sample indices, h ≥ 0, sorted, the same on all ranks.
    group : Ranks
    how : Computation
        For liquid-like motion the indices must be all up to some resolution, on a grid fine enough
        for the molecule's Patterson function.

    Attributes
    ----------
    moments : Moments
    rows : (v,) int
        Which of the V voxels this rank holds the intensity of.
    """

    def __init__(
        self,
        modes: Modes,
        grid: HklGrid,
        indices: Integers,
        group: Ranks,
        how: Computation,
    ):
        self.moments = molecule_moments(modes, grid, indices, group, how)
        self.rows: Integers = self.moments.rows
        self._q_squared = 4 * np.pi**2 * self.moments.s_squared
        # q = 2π N⁻¹ M i: a row vector of indices times this is a Cartesian vector in Å⁻¹.
        divisions = np.array(grid.divisions)[:, None]
        self._to_q = 2 * np.pi * fractionalization(grid.unit_cell) / divisions
        self._in_series = how.liquid_gamma_A > 0
        if self._in_series:
            s_squared_max = float(grid.inverse_d_squared(indices).max())
            self.volume = Volume(grid, indices, self.rows, group)
            self._liquid = LiquidMotion(grid, self.moments.indices)
            self._grid, self._s_squared_max = grid, s_squared_max
            self._level = IsotropicLevel(
                modes.structure.positions,
                self.moments.factors,
                2 * np.pi * float(np.sqrt(s_squared_max)),
                self._liquid.places(),
            )

    def internal_motion(self, parameters: Parameters, normals: Floats) -> Intensity:
        """Intensity with the internal motion sampled.

        Parameters
        ----------
        parameters : Parameters
        normals : (S, ·) float
            Standard normal points, the same on all ranks.

        Returns
        -------
        Intensity
            At the voxels `rows`.
        """
        return self._diffuse(self.moments.of(parameters, normals), parameters, True)

    def rigid(self, parameters: Parameters) -> Intensity:
        """Intensity of the mean structure without sampled motion; see above."""
        return self._diffuse(self.moments.of_mean(parameters), parameters, False)

    def mode_slopes(self, parameters: Parameters, modes: Sequence[int]) -> Iterator[Intensity]:
        """Slopes along modes at the voxels `rows`; see `MoleculeModel`."""
        factors = self._motion_factors(parameters)
        for variance, mean_squared, self_slope in self.moments.mode_slopes(parameters, modes):
            yield self._slope(variance - self_slope, mean_squared, factors, parameters.disorder)

    def rigid_slopes(
        self, parameters: Parameters, normals: Floats, changes: Floats
    ) -> Iterator[Intensity]:
        """Slopes along changes of the lattice's C at the voxels `rows`; see `MoleculeModel`."""
        lattice, disorder = parameters.lattice, parameters.disorder
        assert lattice is not None
        rest = rest_changes(lattice.covariance(parameters.springs), changes)
        turning = changes.copy()
        turning[:, :3, :3] -= rest
        variances, squares = self._of_changes(parameters, turning)
        mean_squared, factors = (
            self.moments.of(parameters, normals)[1],
            self._motion_factors(parameters),
        )
        left = np.exp(-self._translation(parameters)) * mean_squared
        left *= np.exp(-self._along_q(disorder.own_covariance()))
        for variance, squared, moved in zip(variances, squares, rest, strict=True):
            slope = self._slope(variance, squared, factors, disorder)
            yield replace(slope, rigid=slope.rigid + left * self._along_q(moved))

    def _of_changes(self, parameters: Parameters, changes: Floats) -> tuple[Floats, Floats]:
        """Slopes of A − B − S' and of B, (P, v) each, along changes (P, 6, 6) of rigid motion.

        Any is a sum of those along fields e_i and e_i + e_j.
        """
        lattice, modes = parameters.lattice, self.moments.modes
        assert lattice is not None
        p = displacements(modes.structure.positions, lattice.springs.centre)
        sizes = np.sqrt(np.mean(np.sum(p**2, axis=1), axis=0))  # of fields, alike in the end
        scaled, fields = changes * np.outer(sizes, sizes), (p / sizes).transpose(2, 0, 1)
        pairs = [(i, j) for i in range(6) for j in range(i)]
        between = np.array([scaled[:, i, j] for i, j in pairs])
        alone = 2 * np.einsum("pii->ip", scaled) - scaled.sum(axis=2).T
        both = np.array([fields[i] + fields[j] for i, j in pairs])
        every = np.concatenate([fields, both]), np.concatenate([alone, between])
        found = np.zeros((2, len(changes), len(self.rows)), np.float32)
        slopes = self.moments.field_slopes(parameters, every[0])
        for (variance, squared, own), shares in zip(slopes, every[1], strict=True):
            for total, share in zip(found.swapaxes(0, 1), shares, strict=True):
                total[0] += np.float32(share) * (variance - own)
                total[1] += np.float32(share) * squared
        return found[0], found[1]

    def frame_slopes(self, parameters: Parameters, normals: Floats) -> Iterator[Intensity]:
        """Slopes along frames' weights at the voxels `rows`; see `MoleculeModel`."""
        factors = self._motion_factors(parameters)
        for variance, mean_squared in self.moments.frame_slopes(parameters, normals):
            yield self._slope(variance, mean_squared, factors, parameters.disorder)

    def _motion_factors(self, parameters: Parameters) -> Intensity:
        disorder = parameters.disorder
        own, translation = self._along_q(disorder.own_covariance()), self._translation(parameters)
        return motion_factors(own, translation, bool(disorder.halo_sigma_A))

    def _slope(
        self, inside: Floats, mean_squared: Floats, factors: Intensity, disorder: Disorder
    ) -> Intensity:
        """Of the intensity, from slopes of A − B − S' and of B: it is linear in them."""
        if disorder.is_liquid:  # of its level the mean structure alone decides
            dimmed = self.moments.self_terms.dimmed
            pairs = self.volume.of((inside + mean_squared) / dimmed)
            shape = self._strength(disorder), disorder.llm_gamma_A
            inside = inside + dimmed * self._liquid.series(pairs, *shape)
        average = factors.average * mean_squared if disorder.halo_sigma_A else np.empty(0)
        return Intensity(factors.internal * inside, factors.rigid * mean_squared, average)

    def average_transform(
        self, parameters: Parameters, normals: Floats | None, about_A: Floats
    ) -> Complexes:
        """⟨F⟩ at the voxels `rows`; see `MoleculeModel`."""
        own = self._along_q(parameters.disorder.own_covariance())
        dimming = np.exp(-(own + self._translation(parameters)) / 2)
        average = self.moments.mean_transform(parameters, normals)
        q = self.moments.indices @ self._to_q
        phases = np.exp(1j * (q @ (self.moments.transform.origin - about_A)))
        found: Complexes = average * (dimming * phases)
        return found

    def at_voxels(self, values: Floats) -> Floats:
        """A map at the voxels `rows`: as it is."""
        return values

    def from_voxels(self, values: Floats) -> Floats:
        """The transpose of `at_voxels`: as it is, too."""
        return values.astype(np.float64)

    def _diffuse(
        self, moments: tuple[Floats, Floats, SelfTerms], parameters: Parameters, moves: bool
    ) -> Intensity:
        variance, mean_squared, self_terms = moments
        disorder = parameters.disorder
        series: Floats | float = 0.0
        if disorder.is_liquid:
            pairs = self._pairs(variance, mean_squared, self_terms)
            series = self._series(pairs, self_terms, disorder)
        if disorder.is_crystal_liquid:
            series = self._inside_series(moments, parameters, moves)
        return diffuse_intensity(
            variance,
            mean_squared,
            self_terms,
            self._along_q(disorder.own_covariance()),
            self._translation(parameters),
            bool(disorder.halo_sigma_A),
            series,
        )

    def _pairs(self, variance: Floats, mean_squared: Floats, self_terms: SelfTerms) -> Floats:
        """What liquid-like motion convolves, on the whole grid: A − S' over S'.

        Over S' the pairs are of points, whose distances the correlation is a function of.
        """
        own = self_terms.dimmed
        return self.volume.of((variance + mean_squared - own) / own)

    def _series(self, pairs: Floats, self_terms: SelfTerms, disorder: Disorder) -> Floats:
        """The liquid-like series from n = 1, at the voxels `rows`."""
        shape = self._strength(disorder), disorder.llm_gamma_A
        series = self_terms.dimmed * self._liquid.series(pairs, *shape)
        series += self._lacking(disorder)
        return series

    def _inside_series(
        self, moments: tuple[Floats, Floats, SelfTerms], parameters: Parameters, moves: bool
    ) -> Floats | float:
        """The series of the whole crystal, of what moves this molecule alone.

        Of pairs it has A − B less S' − S'', every atom with itself; those of the average molecules
        are `crystal_liquid`'s, which has the isotropic level too. Where molecules move as wholes,
        each on its own, they are so but for e^{−qᵀUq}: the atoms of one molecule move together, and
        1 − e^{−qᵀUq} of the average molecule's pairs are left for it.
        """
        variance, mean_squared, self_terms = moments
        own, covariance = self_terms.dimmed, rigid_covariance(parameters)
        squares = sampled_squares(self.moments.modes, parameters.sampled) * moves
        if not squares.any() and not covariance.any():
            return 0.0
        if not self._in_series:
            raise ValueError(
                "motion of a molecule beside the crystal's: see `Computation.liquid_gamma_A`"
            )
        factors, s_squared = self.moments.factors, self.moments.s_squared
        left = terms_left(factors, squares, s_squared, self._s_squared_max)
        u, gamma_A = parameters.disorder.liquid_of_either()
        x = Strength.along(self._grid, self.moments.indices, u, self._s_squared_max)
        series: Floats = np.zeros(len(own))
        if squares.any():
            pairs = self.volume.of((variance - (own - left)) / own)
            series = own * self._liquid.series(pairs, x, gamma_A)
        if covariance.any():
            pairs = self.volume.of((mean_squared - left) / own)
            of_average = own * self._liquid.series(pairs, x, gamma_A)
            level = (factors, self._q_squared, self._along_q(u), u, gamma_A)
            of_average += self._level.lacking_along(*level)
            series = series - np.expm1(-self._along_q(covariance)) * of_average
        return series

    def _strength(self, disorder: Disorder) -> Strength:
        """x = qᵀUq of liquid-like motion, at the voxels `rows`."""
        if not isinstance(disorder.llm_sigma_A, tuple):
            alike = (disorder.llm_sigma_A, self._s_squared_max)
            return Strength.alike(self._grid, self._q_squared, *alike)
        covariance = disorder.liquid_covariance()
        return Strength.along(self._grid, self.moments.indices, covariance, self._s_squared_max)

    def gradient(
        self, slopes: Intensity, parameters: Parameters, normals: Floats, names: tuple[str, ...]
    ) -> dict[str, Floats]:
        """See `MoleculeModel`."""
        variance, mean_squared, self_terms = self.moments.of(parameters, normals)
        disorder = parameters.disorder
        series: Floats | float = 0.0
        found: dict[str, Floats] = {}
        own, translation = self._along_q(disorder.own_covariance()), self._translation(parameters)
        if disorder.is_liquid:
            pairs = self._pairs(variance, mean_squared, self_terms)
            series = self._series(pairs, self_terms, disorder)
        of = (variance, mean_squared, self_terms, own, translation)
        by = diffuse_slopes(slopes, *of, series)
        if disorder.is_liquid:
            found = self._by_liquid(by.variance, pairs, self_terms, parameters, names)
            by = self._through_pairs(by, *of[:3], series, disorder)
        dimming = bool(parameters.residual_b_fraction) or "residual_b_fraction" in names
        motion = slopes_by_motion(self.moments, by, parameters, normals, dimming)
        q = self.moments.indices @ self._to_q
        covariances = slopes_by_covariances(self.moments, q, by.own, by.translation)
        others = parameter_slopes(self.moments.modes, parameters, motion, *covariances, names)
        if FRAME_WEIGHT.name in names:
            weights = slopes_by_frame_weights(self.moments, by, parameters, normals)
            found[FRAME_WEIGHT.name] = weights
        return {name: of_one + found.get(name, 0.0) for name, of_one in others.items()}

    def _by_liquid(
        self,
        by_series: Floats,
        pairs: Floats,
        self_terms: SelfTerms,
        parameters: Parameters,
        names: tuple[str, ...],
    ) -> dict[str, Floats]:
        """By U and γ of liquid-like motion as far as they shape the series."""
        disorder = parameters.disorder
        found: dict[str, Floats] = {}
        alike = not isinstance(disorder.llm_sigma_A, tuple)

        def by_difference(name: str, values: Callable[[Disorder], Floats]) -> Floats:
            value = float(getattr(disorder, name))
            ends = ((1 - _LIQUID_STEP) * value, (1 + _LIQUID_STEP) * value)
            low, high = (values(disorder.with_number(name, end)) for end in ends)
            slope: Floats = (high - low) / (ends[1] - ends[0])
            return slope

        if alike and "llm_sigma_A" in names:
            found["llm_sigma_A"] = by_difference(
                "llm_sigma_A", lambda moved: self._series(pairs, self_terms, moved)
            )
        if "llm_gamma_A" in names:
            # Places in tables of y are rounded: small differences of the series are mostly that.
            shape = self._strength(disorder), disorder.llm_gamma_A
            slope = self._liquid.series_by_gamma(pairs, *shape)
            level = by_difference("llm_gamma_A", self._lacking)
            found["llm_gamma_A"] = self_terms.dimmed * slope + level
        group, planes = self.moments.group, self.moments.indices[:, 0]
        totals = {
            name: sum_over_planes(group, planes, (by_series * slope)[:, None])
            for name, slope in found.items()
        }
        if alike or not {"llm_sigma_A", "llm_correlation"} & set(names):
            return totals
        by_x = by_series * self._series_by_x(pairs, self_terms, disorder)
        q = self.moments.indices @ self._to_q
        by_covariance, _ = slopes_by_covariances(self.moments, q, by_x, np.zeros_like(by_x))
        return totals | liquid_slopes(parameters, by_covariance, names)

    def _series_by_x(self, pairs: Floats, self_terms: SelfTerms, disorder: Disorder) -> Floats:
        """The derivative of the series by x = qᵀUq, at the voxels `rows`."""
        shape = self._strength(disorder), disorder.llm_gamma_A
        slope = self_terms.dimmed * self._liquid.series_by_x(pairs, *shape)
        u, gamma_A = disorder.liquid_covariance(), disorder.llm_gamma_A
        x, factors = self._along_q(u), self.moments.factors
        low, high = (
            self._level.lacking_along(factors, self._q_squared, side * x, u, gamma_A)
            for side in (1 - _LIQUID_STEP, 1 + _LIQUID_STEP)
        )
        slope += np.divide(high - low, 2 * _LIQUID_STEP * x, out=np.zeros(len(x)), where=x > 0)
        return slope

    def _lacking(self, disorder: Disorder) -> Floats:
        """The series' isotropic level, see `IsotropicLevel`."""
        factors, gamma_A = self.moments.factors, disorder.llm_gamma_A
        if not isinstance(disorder.llm_sigma_A, tuple):
            return self._level.lacking(factors, self._q_squared, disorder.llm_sigma_A, gamma_A)
        u = disorder.liquid_covariance()
        return self._level.lacking_along(factors, self._q_squared, self._along_q(u), u, gamma_A)

    def _through_pairs(
        self,
        by: DiffuseSlopes,
        variance: Floats,
        mean_squared: Floats,
        self_terms: SelfTerms,
        series: Floats | float,
        disorder: Disorder,
    ) -> DiffuseSlopes:
        """The same with what the moments, and S', do by the pairs that are convolved."""
        own, shape = self_terms.dimmed, (self._strength(disorder), disorder.llm_gamma_A)
        volume = self.volume.of(by.variance * own)
        by_pairs = self._liquid.series_transposed(volume, *shape) / own
        # Of S' itself, but for the series' level, a few per cent of it.
        by_own = by.variance * (series - self._lacking(disorder)) - by_pairs * (
            variance + mean_squared
        )
        return replace(
            by,
            variance=by.variance + by_pairs,
            mean_squared=by.mean_squared + by_pairs,
            dimmed=by.dimmed + by_own / own,
        )

    def _translation(self, parameters: Parameters) -> Floats:
        """qᵀUq of the translation that is not sampled, with what the lattice couples."""
        disorder = parameters.disorder
        if parameters.lattice_motion is not None:
            return self._along_q(rigid_covariance(parameters))
        left = 1 - parameters.screw_correlation**2 * bool(parameters.libration_sigma_deg)
        coupled = disorder.halo_sigma_A**2
        if not isinstance(disorder.translation_sigma_A, tuple):
            return self._along_q(left * disorder.translation_sigma_A**2 + coupled)
        return self._along_q(left * disorder.translation_covariance() + coupled * np.eye(3))

    def _along_q(self, covariance: float | Floats) -> Floats:
        """qᵀCq at the voxels `rows`: of (3, 3) Å², or of one number for every axis."""
        if not isinstance(covariance, np.ndarray):
            return self._q_squared * covariance
        u = self._to_q @ covariance @ self._to_q.T
        i = self.moments.indices.astype(np.float64)
        squares: Floats = np.einsum("vi,ij,vj->v", i, u, i, optimize=True)
        return squares


def molecule_moments(
    modes: Modes, grid: HklGrid, indices: Integers, group: Ranks, how: Computation
) -> Moments:
    """Moments of the transform of one molecule, as `how` says: see `DirectModel`."""
    options = (how.transform, how.factors, how.many_kinds, how.estimator)
    return Moments(modes, grid, indices, group, *options)
