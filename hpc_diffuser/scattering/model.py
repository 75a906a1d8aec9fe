"""The forward model of a crystal on a group of ranks: parameters in, intensity out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from hpc_diffuser.crystal.lattice import Centring, HklGrid, centring
from hpc_diffuser.crystal.symmetry import grid_operations, laue_expansion
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, values_of
from hpc_diffuser.motion.registry import BY_NAME, FRAME_WEIGHT
from hpc_diffuser.motion.slopes import with_number
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.ordered_sums import sum_over_planes
from hpc_diffuser.scattering.cell_halos import CellHalos
from hpc_diffuser.scattering.crystal_liquid import CrystalLiquid
from hpc_diffuser.scattering.halos import LatticeHalos, empirical_halo, period, zone_positions
from hpc_diffuser.scattering.intensity import Intensity
from hpc_diffuser.scattering.interpolated import molecule_model
from hpc_diffuser.scattering.lattice import LatticeNeighbours
from hpc_diffuser.scattering.mates import Mates
from hpc_diffuser.scattering.models import MoleculeModel
from hpc_diffuser.scattering.molecule import Computation, molecule_moments
from hpc_diffuser.scattering.moments import Moments
from hpc_diffuser.scattering.shapes import can_be_drawn
from hpc_diffuser.system.arrays import Floats, Integers

_STEP = 0.01  # of a parameter, part of it: differences of the whole intensity
_HALO_STEP = 1e-4  # of a halo parameter: differences of its factor
_SOLVENT_STEPS = {"k_sol_eA3": 0.01, "b_sol_A2": 0.5}  # e/Å³, Å²: differences of intensities


@dataclass(frozen=True)
class Crystal:
    """How molecules make a crystal's intensity.

    Attributes
    ----------
    operations : (G, 3, 3) int
        Laue operations, see `symmetry.grid_operations`.
    lattice : Centring
    profile : (n_h, n_k, n_l) float or None
        Empirical halo, see `halos.zone_profile`; needed where `halo_alpha` is not 0.
    in_lattice : callable or None
        Which of the voxels asked for → `LatticeNeighbours`; None without springs.
    make_halos : callable or None
        These, and the voxels with their mates → `CellHalos`; None where molecules of one
        orientation alone are coupled.
    """

    operations: Integers
    lattice: Centring
    profile: Floats | None = None
    in_lattice: Callable[[Integers], LatticeNeighbours] | None = None
    make_halos: Callable[[Integers, Integers], CellHalos] | None = None


class ForwardModel:
    """Diffuse intensity of a crystal: molecules in all orientations, and their lattice's halos.

    Parameters
    ----------
    make : callable
        (V, 3) sample indices, and a grid that holds them → `MoleculeModel`.
    grid : HklGrid
        It holds the samples, and not always their mates: a map may be an asymmetric unit.
    indices : (V, 3) int
        Sample indices, h ≥ 0, sorted, the same on all ranks; no two of them symmetry mates.
    group : Ranks
    crystal : Crystal
    make_liquid : callable or None
        Rows (v,) of the indices → liquid-like motion of the whole crystal, if there is any.

    Attributes
    ----------
    molecule : MoleculeModel
        One molecule, at the voxels and all their mates.
    rows : (v,) int
        Which of the V voxels this rank holds the intensity of.
    scaling : callable or None
        What the intensity (v,) at the voxels `rows` is multiplied by there, (v,), if anything: a
        scale of the data that it is compared with. Of it derivatives know nothing, as it is the
        best there is.
    """

    scaling: Callable[[Floats], Floats] | None = None

    def __init__(
        self,
        make: Callable[[Integers, HklGrid], MoleculeModel],
        grid: HklGrid,
        indices: Integers,
        group: Ranks,
        crystal: Crystal,
        make_liquid: Callable[[Integers], CrystalLiquid] | None = None,
    ):
        grid.require(indices)
        self.group = group
        self._crystal = crystal
        expanded, divisions = indices, grid.divisions
        symmetric = len(crystal.operations) > 2
        if symmetric:
            expanded, mates = laue_expansion(indices, divisions, crystal.operations)
        self.molecule = make(expanded, grid.holding(expanded))
        self.rows = own = self.molecule.rows
        self._mates: Mates | None = None
        if symmetric:
            self._mates = Mates(indices, divisions, crystal.operations, mates, own, group)
            self.rows = self._mates.rows
        self._expanded = expanded
        self._indices = indices
        self._grid, self._d_min = grid, float(1 / np.sqrt(grid.inverse_d_squared(indices).max()))
        self._liquid = make_liquid(self.rows) if make_liquid else None
        self._in_lattice = crystal.in_lattice(self.rows) if crystal.in_lattice else None
        make_halos = crystal.make_halos if self._mates is not None else None
        self._cell_halos = make_halos(self.rows, expanded) if make_halos else None

    def internal_motion(self, parameters: Parameters, normals: Floats) -> Floats:
        """Intensity with the internal motion sampled.

        Parameters
        ----------
        parameters : Parameters
        normals : (S, ·) float
            Standard normal points, the same on all ranks; as many as `n_configurations`.

        Returns
        -------
        (v,) float
            At the voxels `rows`, in electrons² per molecule.
        """
        return self._scaled(self._calculated(parameters, normals))

    def _calculated(self, parameters: Parameters, normals: Floats) -> Floats:
        own = self.of_crystal(self.molecule.internal_motion(parameters, normals), parameters)
        return self._with_pairs(own, parameters, normals)

    def _scaled(self, values: Floats) -> Floats:
        return values if self.scaling is None else values * self.scaling(values)

    def scale_factors(self, parameters: Parameters, normals: Floats) -> Floats:
        """What the intensity is multiplied by at the voxels `rows`: (v,) float."""
        if self.scaling is None:
            return np.ones(len(self.rows))
        return self.scaling(self._calculated(parameters, normals))

    def _factors(self, parameters: Parameters, normals: Floats) -> Floats | float:
        """The same, of slopes; 1 without."""
        return 1.0 if self.scaling is None else self.scale_factors(parameters, normals)

    def estimator_at(self, parameters: Parameters) -> str:
        """Which one computes the moments there."""
        return self.molecule.moments.how(parameters.sampled)

    def steps(self, parameters: Parameters) -> bool:
        """Whether there are slopes along modes and springs; see `Model`. Not of cells' halos."""
        if self._cell_halos is not None and parameters.disorder.halo_sigma_A:
            return False
        return self.molecule.moments.steps(parameters.sampled)

    def expands(self, parameters: Parameters) -> bool:
        """Whether there is a one-phonon order; see `Model`."""
        return self.molecule.moments.expands(parameters.sampled)

    def use_estimator(self, name: str) -> None:
        """From now on compute moments by this one of `moments.ESTIMATORS`, on every rank."""
        self.molecule.moments.estimator = name
        if self._liquid is not None:
            self._liquid.moments.estimator = name

    def rigid(self, parameters: Parameters) -> Floats:
        """Intensity of the mean structure without sampled motion; see above."""
        own = self.of_crystal(self.molecule.rigid(parameters), parameters)
        return self._scaled(self._with_pairs(own, parameters, None))

    def _with_pairs(self, own: Floats, parameters: Parameters, normals: Floats | None) -> Floats:
        """With what moves together in the whole crystal, beside each molecule's own intensity."""
        disorder = parameters.disorder
        if self._cell_halos is not None and self._mates is not None and disorder.halo_sigma_A:
            about = self._cell_halos.middle
            average = self.molecule.average_transform(parameters, normals, about)
            of_halos = disorder.halo_sigma_A, disorder.halo_gamma_A
            own = own + self._cell_halos.intensity(self._mates.of_all(average), *of_halos)
        if not disorder.is_crystal_liquid:
            return own
        if self._liquid is None:
            raise ValueError("liquid-like motion of the crystal: see `Computation.crystal_gamma_A`")
        return own + self._liquid.intensity(parameters, normals)

    def mode_slopes(
        self, parameters: Parameters, normals: Floats, modes: Sequence[int]
    ) -> Iterator[Floats]:
        """Derivatives of the intensity with respect to modes' variances; see `Model`."""
        neighbours = self._neighbours(parameters.disorder)
        factors = self._factors(parameters, normals)
        more: Iterator[Floats | float] = repeat(0.0)
        if self._in_lattice is not None and parameters.lattice_motion is not None:
            of_atoms = self.molecule.moments.factors_of(parameters)
            fields = self.molecule.moments.modes.vectors[list(modes)]
            more = self._in_lattice.mode_slopes(parameters, of_atoms, fields)
        for part in self.molecule.mode_slopes(parameters, modes):
            yield (self._combined(part, neighbours) + next(more)) * factors

    def spring_slopes(self, parameters: Parameters, normals: Floats) -> Iterator[Floats]:
        """Derivatives of the intensity by the lengths of springs; see `Model`."""
        lattice, in_lattice = parameters.lattice, self._in_lattice
        if lattice is None or in_lattice is None:
            raise ValueError("springs between molecules need a model of their lattice")
        neighbours = self._neighbours(parameters.disorder)
        factors = self._factors(parameters, normals)
        changes = lattice.covariance_slopes(parameters.springs)
        parts = self.molecule.rigid_slopes(parameters, normals, changes)
        more = in_lattice.spring_slopes(parameters, self.molecule.moments.factors_of(parameters))
        for part in parts:
            yield (self._combined(part, neighbours) + next(more)) * factors

    def frame_slopes(self, parameters: Parameters, normals: Floats) -> Iterator[Floats]:
        """Derivatives of the intensity by the weights of an ensemble's frames; see `Model`.

        Raises
        ------
        ValueError
            Of what neighbours add as a liquid they are not known.
        """
        if parameters.disorder.is_crystal_liquid:
            raise ValueError("slopes along weights of frames are not those of a liquid crystal")
        neighbours = self._neighbours(parameters.disorder)
        factors = self._factors(parameters, normals)
        more: Iterator[Floats | float] = repeat(0.0)
        if self._in_lattice is not None and parameters.lattice_motion is not None:
            more = self._in_lattice.frame_slopes(parameters, self.molecule.moments.factors)
        for part in self.molecule.frame_slopes(parameters, normals):
            yield (self._combined(part, neighbours) + next(more)) * factors

    def of_crystal(self, part: Intensity, parameters: Parameters) -> Floats:
        """The voxels `rows` from this rank's part of one molecule's intensity."""
        values = self._combined(part, self._neighbours(parameters.disorder))
        if parameters.lattice_motion is None:
            return values
        if self._in_lattice is None:
            raise ValueError("springs between molecules need a model of their lattice")
        return values + self._in_lattice.intensity(parameters, self.molecule.moments.factors)

    def _neighbours(self, disorder: Disorder) -> tuple[Floats | None, Floats | None]:
        """What rigid and average intensity are multiplied by; None where they are not."""
        profile = self._profile(disorder.halo_alpha) if disorder.halo_alpha else None
        if not disorder.halo_sigma_A:
            return profile, None
        return profile, self._lattice_sum(disorder.halo_sigma_A, disorder.halo_gamma_A)

    def _combined(self, part: Intensity, neighbours: tuple[Floats | None, Floats | None]) -> Floats:
        profile, coupled = neighbours
        at_voxels = self.molecule.at_voxels
        if profile is None:
            values: Floats = at_voxels(part.internal + part.rigid)
        else:
            values = at_voxels(part.internal) + profile * at_voxels(part.rigid)
        if coupled is not None:
            values = values + coupled * at_voxels(part.average)
        return values if self._mates is None else self._mates.averaged(values)

    def gradient(
        self, parameters: Parameters, normals: Floats, slope: Floats, names: tuple[str, ...]
    ) -> dict[str, Floats]:
        """Derivatives of an objective by parameters; the exact gradient of what is computed.

        Of the solvent they are central differences of two more evaluations each.

        Parameters
        ----------
        parameters, normals
            As of `internal_motion`.
        slope : (v,) float
            The objective's derivative by the intensity at the voxels `rows`.
        names : tuple of str
            Of the parameters asked for.

        Returns
        -------
        dict of (n,) float64
            By name, as many as the parameter has numbers; the same on all ranks.

        Raises
        ------
        ValueError
            Where the moments are not those of samples alone.
        """
        slope = slope * self._factors(parameters, normals)
        if parameters.disorder.is_crystal_liquid or self._cell_halos is not None:
            return self._by_differences(parameters, normals, slope, names)
        part = self.molecule.internal_motion(parameters, normals)
        disorder = parameters.disorder
        spread = slope if self._mates is None else self._mates.spread(slope)
        internal = rigid = self.molecule.from_voxels(spread)
        average: Floats = np.empty(0)
        if disorder.halo_alpha:
            rigid = self.molecule.from_voxels(self._halo_factor(disorder, False) * spread)
        if disorder.halo_sigma_A:
            average = self.molecule.from_voxels(self._halo_factor(disorder, True) * spread)
        by_parts = Intensity(internal, rigid, average)
        found = self.molecule.gradient(by_parts, parameters, normals, names)
        if self._in_lattice is not None and parameters.lattice_motion is not None:
            factors = self.molecule.moments.factors
            more = self._in_lattice.gradient(parameters, factors, slope, names)
            found = {name: of_one + more.get(name, 0.0) for name, of_one in found.items()}
            if FRAME_WEIGHT.name in names:
                by_frames = self._in_lattice.frame_slopes(parameters, factors)
                parts = [self._total(self._indices[self.rows], slope * own) for own in by_frames]
                found[FRAME_WEIGHT.name] += np.concatenate(parts) / sum(parameters.frame_weight)
        for name in names:
            if BY_NAME[name].term == "halo":
                found[name] = found[name] + self._by_halos(part, spread, disorder, name)
            if BY_NAME[name].term == "sol":
                step = _SOLVENT_STEPS[name]
                found[name] = self._by_difference(parameters, normals, slope, name, 0, step)
        return found

    def _by_differences(
        self, parameters: Parameters, normals: Floats, slope: Floats, names: tuple[str, ...]
    ) -> dict[str, Floats]:
        """All of them by differences of the intensity."""
        values = values_of(parameters)
        found = {}
        for name in names:
            numbers = np.atleast_1d(values[name]).astype(np.float64)
            steps = [_SOLVENT_STEPS.get(name, _STEP * max(abs(n), 0.1)) for n in numbers]
            parts = [
                self._by_difference(parameters, normals, slope, name, place, step)
                for place, step in enumerate(steps)
            ]
            found[name] = np.concatenate(parts)
        return found

    def _by_halos(self, part: Intensity, spread: Floats, disorder: Disorder, name: str) -> Floats:
        """By a parameter of halos as far as it is one of their factor: by differences of that."""
        coupled = name != "halo_alpha"
        if coupled and not disorder.halo_sigma_A:
            return np.zeros(1)
        value = float(getattr(disorder, name))
        step = _HALO_STEP * max(value, 1.0)
        ends = (max(value - step, 0.0), value + step)
        low, high = (self._halo_factor(disorder.with_number(name, e), coupled) for e in ends)
        values = self.molecule.at_voxels(part.average if coupled else part.rigid)
        terms = spread * values * (high - low) / (ends[1] - ends[0])
        return self._total(self._expanded[self.molecule.rows], terms)

    def _halo_factor(self, disorder: Disorder, coupled: bool) -> Floats:
        """What the rigid body's intensity is multiplied with, or the average's, at all mates."""
        if coupled:
            return self._lattice_sum(disorder.halo_sigma_A, disorder.halo_gamma_A)
        return self._profile(disorder.halo_alpha)

    def _by_difference(
        self,
        parameters: Parameters,
        normals: Floats,
        slope: Floats,
        name: str,
        place: int,
        step: float,
    ) -> Floats:
        """By one number, from the intensity to both sides; at an end of its limits to one."""
        value = float(np.atleast_1d(values_of(parameters)[name])[place])
        low_end, high_end = BY_NAME[name].quantity.limits
        ends = (value if value - step < low_end else value - step, min(value + step, high_end))
        low, high = (
            self._calculated(with_number(parameters, name, place, end), normals) for end in ends
        )
        return self._total(self._indices[self.rows], slope * (high - low) / (ends[1] - ends[0]))

    def _total(self, indices: Integers, terms: Floats) -> Floats:
        """The sum of terms at all ranks' voxels: (1,)."""
        return sum_over_planes(self.group, indices[:, 0], terms[:, None])

    def _profile(self, alpha: float) -> Floats:
        if self._crystal.profile is None:
            raise ValueError("an empirical halo needs its profile: see `halos.zone_profile`")
        voxels = self._expanded[self.molecule.rows]
        return empirical_halo(voxels, self._crystal.profile, alpha)

    def _lattice_sum(self, sigma_A: float, gamma_A: float) -> Floats:
        grid, lattice = self._grid, self._crystal.lattice
        divisions = grid.whole_divisions()
        halos = LatticeHalos(grid.unit_cell, divisions, self._d_min, lattice)
        voxels = self._expanded[self.molecule.rows]
        q_squared = 4 * np.pi**2 * grid.inverse_d_squared(voxels)
        positions = zone_positions(voxels, period(divisions, lattice))
        return halos.factor(positions, q_squared, sigma_A, gamma_A)


def forward_model(
    modes: Modes,
    grid: HklGrid,
    indices: Integers,
    group: Ranks,
    how: Computation = Computation(),
    profile: Floats | None = None,
) -> ForwardModel:
    """The model for these samples: directly on their grid, or interpolated from a coarse one.

    Parameters
    ----------
    modes : Modes
    grid : HklGrid
    indices : (V, 3) int
        Sample indices, h ≥ 0, sorted, the same on all ranks; no two of them symmetry mates.
    group : Ranks
    how : Computation
    profile : (n_h, n_k, n_l) float or None
        See `Crystal`.
    """
    lattice = centring(modes.space_group, grid.unit_cell)

    def in_lattice(rows: Integers) -> LatticeNeighbours:
        drawn = how.many_kinds and how.transform == "auto" and can_be_drawn(grid.unit_cell)
        drawing = ("density" if drawn else how.transform, how.factors, how.motion_A)
        return LatticeNeighbours(modes, grid, indices, rows, group, *drawing)

    def make_halos(rows: Integers, expanded: Integers) -> CellHalos:
        return CellHalos(modes, grid, indices, rows, expanded)

    operations = grid_operations(grid, modes.space_group)
    crystal = Crystal(
        operations,
        lattice,
        profile,
        in_lattice if modes.lattice else None,
        make_halos if how.halos == "cell" else None,
    )

    def make(voxels: Integers, holder: HklGrid) -> MoleculeModel:
        return molecule_model(modes, holder, voxels, group, how)

    def moments(holder: HklGrid, peaks: Integers) -> Moments:
        return molecule_moments(modes, holder, peaks, group, how)

    def make_liquid(rows: Integers) -> CrystalLiquid:
        gamma_A = how.crystal_gamma_A
        return CrystalLiquid(modes, grid, indices, rows, group, moments, gamma_A)

    liquid = make_liquid if how.crystal_gamma_A else None
    return ForwardModel(make, grid, indices, group, crystal, liquid)
