"""What neighbours add to a molecule's intensity where springs couple their rigid motion.

With the intensity of independent molecules in I_ind, exact for their whole rigid motion C = C_mm,

    I = I_ind + G† [D⁻¹(k) − blockdiag C] G + h† W(k) h,   G_t = iqF,   G_r = iS × q,

coherently over all molecules of the cell, k being q but for a reciprocal-lattice vector. F and S
are those of atoms blurred by all their motion, U_a = P_a C P_aᵀ and what they do inside: so the
result does not depend on which point a molecule turns about. The bracket adds up to nothing over a
Brillouin zone, and rises as 1/k² to a Bragg peak, where D⁻¹ is averaged over the voxel.

A voxel that is a whole Brillouin zone has no G of its own: G†D⁻¹G and the last term are averaged
over 4³ points of it, G†CG is taken where I_ind is, at the peak. What is left of I_ind, of second
order and internal, is then that of the peak.

The last term is of second order in the correlation of different molecules, ½ (g_aᵀC(R)g_b)²: see
`motion.lattice.pairs`. W(k) = Σ_R B(R) e^{−ik·R} rises as 1/k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors
from hpc_diffuser.crystal.lattice import (
    HklGrid,
)
from hpc_diffuser.motion.configurations import independent_fields
from hpc_diffuser.motion.ensemble import weights_of
from hpc_diffuser.motion.lattice.correlations import PARTS
from hpc_diffuser.motion.lattice.rigid import atom_covariances, displacements
from hpc_diffuser.motion.lattice.rigid_lattice import Lengths, RigidLattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.slopes import NeighbourSlopes, neighbour_slopes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.lattice_dimming import dimmed_along
from hpc_diffuser.scattering.lattice_frames import FrameTransforms
from hpc_diffuser.scattering.lattice_pairs import (
    NeighbourPairs,
)
from hpc_diffuser.scattering.lattice_samples import LatticeSamples
from hpc_diffuser.scattering.lattice_zone import (
    ALL,
    Terms,
    parts_of_voxels,
    points_of_voxels,
    zone_changes,
    zone_matrices,
    zone_slopes,
)
from hpc_diffuser.system.arrays import Complexes, Floats, Integers


class LatticeNeighbours:
    """What neighbours add to the intensity at some voxels of a map, on the ranks of a group.

    Parameters
    ----------
    modes : Modes
        With its lattice.
    grid : HklGrid
    indices : (V, 3) int
        Of all ranks' voxels.
    rows : (v,) int
        Which of them are this rank's.
    group : Ranks
    transform : {"auto", "direct", "density"}
    factors : AtomFactors or None
        Those that are hardest to draw.
    motion_A : float, Å
        Rms displacement per atom to reckon with.
    """

    def __init__(
        self,
        modes: Modes,
        grid: HklGrid,
        indices: Integers,
        rows: Integers,
        group: Ranks,
        transform: str = "auto",
        factors: AtomFactors | None = None,
        motion_A: float = 0.0,
    ):
        if modes.lattice is None:
            raise ValueError("neighbours are those of a lattice: see `rigid_lattice`")
        self._modes, self._lattice = modes, modes.lattice
        self._divisions, self._n_rows = grid.whole_divisions(), len(rows)
        self._group, self._n_all = group, len(indices)
        # A voxel that is a whole Brillouin zone has no G of its own.
        self._whole = parts_of_voxels(self._divisions) > 1
        fine, parts = points_of_voxels(grid, indices[rows], self._whole)
        of_parts = [Terms(coupled=True, own=False)] * PARTS**3 + [Terms(coupled=False, own=True)]
        _, every = points_of_voxels(grid, indices, self._whole)
        s_squared = max(float(fine.inverse_d_squared(own).max(initial=0.0)) for own in every)
        d_min = 1 / np.sqrt(s_squared)
        self._transforms = FrameTransforms(
            modes, self._lattice.springs.centre, fine, d_min, group, transform, factors, motion_A
        )
        self._pairs = NeighbourPairs(modes, self._lattice, fine.whole_divisions())
        self._samples = [
            LatticeSamples(
                self._lattice,
                self._transforms,
                fine,
                own,
                fine.whole_divisions(),
                self._pairs.duals,
                terms,
                1 / PARTS**3 if self._whole and terms.coupled else 1.0,
            )
            for own, terms in zip(parts, of_parts if self._whole else [ALL], strict=True)
        ]

    def intensity(self, parameters: Parameters, factors: AtomFactors) -> Floats:
        """Per molecule, at this rank's voxels: (v,) float64, electrons².

        Parameters
        ----------
        parameters : Parameters
        factors : AtomFactors
            What atoms scatter with them.
        """
        total: Floats = np.zeros(self._n_rows)
        for values in self._values(parameters, factors):
            total += values
        return total

    def frame_slopes(self, parameters: Parameters, factors: AtomFactors) -> Iterator[Floats]:
        """Derivatives by the weight of each frame, where what it gains the others lose: exact.

        F, S and so G are linear in the weights: dI = 2 Re (G_f − G)†W G, a difference of forms.

        Parameters
        ----------
        parameters, factors
            As of `intensity`.

        Yields
        ------
        (v,) float
        """
        frames, tables = self._modes.frames, list(self._tables(parameters.springs))
        volumes = self._volumes(parameters, factors)
        means = [samples.scalars(volumes) for samples in self._samples]

        for frame in () if frames is None else frames:
            volumes = self._transforms.of_frames(
                frame[None], np.ones(1), self._blur(parameters), factors
            )
            total: Floats = np.zeros(self._n_rows)
            for samples, mean, own in zip(self._samples, means, tables, strict=True):
                alone = samples.scalars(volumes)
                two_sided = samples.forms(alone, own) - samples.forms(2 * mean - alone, own)
                total += samples.share * two_sided / (2 * self._n_molecules)
            yield total

    def _blur(self, parameters: Parameters) -> Callable[[Floats], Floats]:
        """Of places (N, 3) of atoms, what they are blurred by there."""
        return partial(_at, lattice=self._lattice, parameters=parameters)

    def _volumes(self, parameters: Parameters, factors: AtomFactors) -> list[tuple[Floats, Floats]]:
        """F and S on the coarse grid: along modes atoms are blurred, of frames each has its own."""
        modes, weights = self._modes, weights_of(self._modes, parameters.sampled)
        if modes.frames is None or weights is None:
            return self._transforms.volumes(blurring(modes, self._lattice, parameters), factors)

        return self._transforms.of_frames(modes.frames, weights, self._blur(parameters), factors)

    def mode_slopes(
        self, parameters: Parameters, factors: AtomFactors, fields: Floats
    ) -> Iterator[Floats]:
        """What more motion along each of some fields does to the intensity: it dims G.

        By the mean over all atoms, which is what a search steps by; `gradient` is exact.

        Parameters
        ----------
        parameters, factors
            As of `intensity`.
        fields : (M, N, 3) float, Å
            Of unit variance.

        Yields
        ------
        (v,) float
            The derivative by the field's variance.
        """
        values = self._values(parameters, factors)
        for field in fields:
            yield self._dimmed(values, field.T @ field / len(field))

    def spring_slopes(self, parameters: Parameters, factors: AtomFactors) -> Iterator[Floats]:
        """Derivatives by each number of the springs, exact but for the dimming.

        Of lengths that is the mean over all atoms, as of `mode_slopes`; of shapes see `dimming`.

        Parameters
        ----------
        parameters, factors
            As of `intensity`.

        Yields
        ------
        (v,) float
        """
        lattice, lengths_A = self._lattice, parameters.springs
        stiffer, wider = lattice.stiffness_slopes(lengths_A), lattice.covariance_slopes(lengths_A)
        volumes = self._volumes(parameters, factors)
        scalars = [samples.scalars(volumes) for samples in self._samples]
        dimmed = self._dimming_along(parameters, factors, scalars)
        for of_stiffness, of_covariance in zip(stiffer, wider, strict=True):
            total = dimmed(of_covariance)
            pairs = self._pairs.changes(lengths_A, of_stiffness, of_covariance, self._points)
            for samples, own, second in zip(self._samples, scalars, pairs, strict=True):
                about = lattice, lengths_A, samples.points.hkl, self._divisions
                table = zone_changes(*about, of_stiffness, of_covariance, samples.terms)
                forms = samples.forms(own, (table, second * samples.terms.coupled))
                total += samples.share * forms / self._n_molecules
            yield total

    def _dimming_along(
        self, parameters: Parameters, factors: AtomFactors, scalars: list[Complexes]
    ) -> Callable[[Floats], Floats]:
        """What a change of C (6, 6) does to the intensity as it blurs the atoms: (v,)."""
        p = displacements(self._modes.structure.positions, self._lattice.springs.centre)
        if not len(parameters.lattice_shape):
            values = self._values(parameters, factors)
            return lambda change: self._dimmed(values, np.mean(p @ change @ p.swapaxes(1, 2), 0))
        levers = self._modes.structure.positions - self._lattice.springs.centre
        total: Floats = np.zeros((21, self._n_rows), np.float32)
        parts = zip(self._samples, scalars, self._tables(parameters.springs), strict=True)
        for samples, own, tables in parts:
            found = samples.dimming(own, tables, levers.T @ levers / len(levers))
            total += np.float32(samples.share / self._n_molecules) * found
        return lambda change: dimmed_along(total, change)

    @property
    def _points(self) -> list[Floats]:
        """k of each point of the voxels."""
        return [samples.points.hkl for samples in self._samples]

    def _tables(self, lengths_A: Lengths) -> Iterator[tuple[Complexes, Complexes]]:
        """W of first and second order at these."""
        pairs = self._pairs.tables(lengths_A, self._points)
        for samples, second in zip(self._samples, pairs, strict=True):
            at = lengths_A, samples.points.hkl, self._divisions, samples.terms
            yield zone_matrices(self._lattice, *at), second * samples.terms.coupled

    @property
    def _n_molecules(self) -> int:
        return self._lattice.springs.packing.n_molecules

    def _values(self, parameters: Parameters, factors: AtomFactors) -> list[Floats]:
        """What each point of the voxels counts in the intensity: of each (v,)."""
        volumes, found = self._volumes(parameters, factors), list[Floats]()
        tables = self._tables(parameters.springs)
        for samples, own in zip(self._samples, tables, strict=True):
            forms = samples.forms(samples.scalars(volumes), own)
            found.append(samples.share * forms / self._n_molecules)
        return found

    def _dimmed(self, values: list[Floats], blurred: Floats) -> Floats:
        """What the intensity changes by as all atoms are blurred by U (3, 3) more: −qᵀUq of it."""
        total: Floats = np.zeros(self._n_rows)
        for samples, own in zip(self._samples, values, strict=True):
            total -= samples.along_q(blurred) * own
        return total

    def gradient(
        self,
        parameters: Parameters,
        factors: AtomFactors,
        by_values: Floats,
        names: tuple[str, ...],
    ) -> dict[str, Floats]:
        """An objective's derivatives by parameters, of this intensity alone: exact.

        With v = D⁻¹G of the cell, dI = −v† dD v − G† dC G + 2 Re G†W dG, where G changes with all
        that atoms are blurred by; and the same of the second order's h.

        Parameters
        ----------
        parameters, factors
            As of `intensity`.
        by_values : (v,) float
            The objective's derivatives by it.
        names : tuple of str
            Of the parameters asked for; those of the solvent are left at 0.

        Returns
        -------
        dict of (n,) float64
            By name; the same on all ranks.
        """
        lattice, lengths_A = self._lattice, parameters.springs
        volumes = self._volumes(parameters, factors)
        stiffness, covariance = np.zeros((lattice.springs.n_interfaces, 6, 6)), np.zeros((6, 6))
        pulled = [(np.zeros_like(real), np.zeros_like(real)) for real, _ in volumes]
        of_pairs = []
        for samples, tables in zip(self._samples, self._tables(lengths_A), strict=True):
            share = samples.share * by_values / self._n_molecules
            of = (volumes, tables, share, self._n_all, self._group)
            (at, at_pairs), by_volumes = samples.slopes(*of)
            of_pairs.append((at_pairs[0], at_pairs[1] * samples.terms.coupled))
            about = lattice, lengths_A, at[0], self._divisions, at[1]
            for_k = zone_slopes(*about, samples.terms)
            stiffness, covariance = stiffness + for_k[0], covariance + for_k[1]
            for totals, parts in zip(pulled, by_volumes, strict=True):
                for total, part in zip(totals, parts, strict=True):
                    total += part
        points, by_tables = (np.concatenate(own) for own in zip(*of_pairs, strict=True))
        stiffness = stiffness + self._pairs.stiffness_slopes(lengths_A, points, by_tables)
        places, by_atoms = self._by_atoms(parameters, factors, pulled)
        by = NeighbourSlopes(stiffness, covariance, places, by_atoms)
        return neighbour_slopes(self._modes, parameters, by, names)

    def _by_atoms(
        self,
        parameters: Parameters,
        factors: AtomFactors,
        by_volumes: list[tuple[Floats, Floats]],
    ) -> tuple[Floats, Floats]:
        """The transpose of `_volumes`: places of atoms, of all frames, and derivatives by U."""
        modes, weights = self._modes, weights_of(self._modes, parameters.sampled)
        if modes.frames is None or weights is None:
            blurred = blurring(modes, self._lattice, parameters)
            return modes.structure.positions, self._transforms.slopes(blurred, factors, by_volumes)

        of = (modes.frames, weights, self._blur(parameters), factors, by_volumes)
        return modes.frames.reshape(-1, 3), self._transforms.slopes_of_frames(*of)


def _at(places: Floats, lattice: RigidLattice, parameters: Parameters) -> Floats:
    """U of atoms at some places (N, 3) Å by the lattice, and on their own: (N, 3, 3) Å²."""
    covariance = lattice.covariance(parameters.springs)
    total = atom_covariances(covariance, places, lattice.springs.centre)
    own = parameters.disorder.own_covariance()
    blurred: Floats = total + (own if isinstance(own, np.ndarray) else own * np.eye(3))
    return blurred


def blurring(modes: Modes, lattice: RigidLattice, parameters: Parameters) -> Floats:
    """U_a of every atom by all that moves it but residual B-factors: (N, 3, 3) Å².

    By the lattice, to first order in rotation; along modes; on its own.
    """
    fields = independent_fields(modes, parameters.sampled)
    along_modes = np.einsum("mni,mnj->nij", fields, fields)
    blurred: Floats = _at(modes.structure.positions, lattice, parameters) + along_modes
    return blurred
