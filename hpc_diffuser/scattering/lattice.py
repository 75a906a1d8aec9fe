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

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors
from hpc_diffuser.crystal.lattice import (
    HklGrid,
    first_of_friedel_pair,
    fractionalization,
)
from hpc_diffuser.kernels.lattice_form import Where, form_slopes, quadratic_forms
from hpc_diffuser.kernels.rounding import large_number, rounded
from hpc_diffuser.motion.configurations import independent_fields
from hpc_diffuser.motion.ensemble import weights_of
from hpc_diffuser.motion.lattice.correlations import PARTS
from hpc_diffuser.motion.lattice.rigid import atom_covariances, displacements
from hpc_diffuser.motion.lattice.rigid_lattice import Lengths, RigidLattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.slopes import NeighbourSlopes, neighbour_slopes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.lattice_dimming import dimming
from hpc_diffuser.scattering.lattice_frames import FrameTransforms
from hpc_diffuser.scattering.lattice_pairs import (
    NeighbourPairs,
    large_pair_products,
    large_products,
)
from hpc_diffuser.scattering.lattice_transforms import (
    TRANSFORMS,
    AtVoxels,
    FromVoxels,
    RigidTransforms,
)
from hpc_diffuser.scattering.lattice_zone import (
    ALL,
    Terms,
    ZonePoints,
    parts_of_voxels,
    points_of_voxels,
    zone_changes,
    zone_matrices,
    zone_slopes,
)
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

_AT_ONE_VOXEL = 2**10  # molecules of all ranks' voxels, at most, whose scalars are from there


class _Samples:
    """Some voxels, where the transforms of all molecules are for each, and their k.

    With the terms that are taken there, and what they count in a voxel.
    """

    def __init__(
        self,
        lattice: RigidLattice,
        transforms: RigidTransforms,
        grid: HklGrid,
        indices: Integers,
        zone_divisions: tuple[int, int, int],
        duals: Floats,
        terms: Terms = ALL,
        share: float = 1.0,
    ):
        self._duals, self.terms, self.share = duals, terms, share
        packing = lattice.springs.packing
        self._hkl = indices / np.array(grid.divisions)
        of_molecules = [indices @ rotation for rotation in packing.rotations]
        self._mated = np.stack([~first_of_friedel_pair(own) for own in of_molecules], axis=1)
        signed = [
            np.where(mated[:, None], -own, own)
            for own, mated in zip(of_molecules, self._mated.T, strict=True)
        ]
        expanded, rows = _unique(np.concatenate(signed))
        self._grid, self._transforms = grid, transforms
        self._expanded = expanded.astype(np.int16)
        self._rows = np.ascontiguousarray(rows.reshape(len(signed), -1).T.astype(np.int32))
        self._at_voxels = AtVoxels(transforms, grid.holding(expanded), expanded)
        to_fraction = fractionalization(grid.unit_cell)
        self._to_q = np.ascontiguousarray(2 * np.pi * to_fraction @ packing.turns)
        middle = to_fraction @ transforms.middle
        self._places = packing.rotations @ middle + packing.translations
        self.points = ZonePoints.of(indices, zone_divisions, packing.centring)

    @property
    def _where(self) -> Where:
        return self._rows, self._mated, self._hkl, self._to_q, self._places

    def scalars(self, volumes: list[tuple[Floats, Floats]]) -> Complexes:
        """F, S and Q at the voxels, for `forms`."""
        return self._at_voxels.of(volumes)

    def forms(self, scalars: Complexes, tables: tuple[Complexes, Complexes]) -> Floats:
        """G†WG of the cell to first and h†Wh to second order: (v,)."""
        values = np.empty(len(self._hkl))
        points = self.points.rows, self.points.turned
        quadratic_forms(scalars, self._duals, self._where, tables, *points, values)
        return values

    def dimming(
        self, scalars: Complexes, tables: tuple[Complexes, Complexes], squares: Floats
    ) -> Floats:
        """Derivatives of the values of `forms` by C, as it blurs atoms: (v, 6, 6)."""
        ones, large = (
            np.ones(len(self._hkl)),
            (np.zeros((6, 6)), np.zeros((self._duals.shape[1],) * 2)),
        )
        _, pulls = self._pulls(scalars, tables, ones, large)
        q = np.einsum("vr,mrs->vms", self._hkl, self._to_q)
        return dimming(scalars.T[self._rows], pulls, q, squares)

    def along_q(self, covariance: Floats) -> Floats:
        """qᵀUq of U (3, 3) Å² in the frame of a molecule, the mean over all: (v,)."""
        of_all = np.einsum("mri,ij,msj->rs", self._to_q, covariance, self._to_q)
        squares = np.einsum("vr,rs,vs->v", self._hkl, of_all, self._hkl, optimize=True)
        mean: Floats = squares / len(self._to_q)
        return mean

    def slopes(
        self,
        volumes: list[tuple[Floats, Floats]],
        tables: tuple[Complexes, Complexes],
        by_values: Floats,
        n_all: int,
        group: Ranks,
    ) -> tuple[list[tuple[Floats, Complexes]], list[tuple[Floats, Floats]]]:
        """The transpose of `intensity`, of all ranks.

        Parameters
        ----------
        volumes, tables
            As of `scalars` and `forms`.
        by_values : (v,) float
            An objective's derivatives by the values at this rank's voxels.
        n_all : int
            Voxels of all ranks.
        group : Ranks

        Returns
        -------
        two of (points (K, 3), by_matrices (K, n, n))
            By W of either order at all ranks' k, on every rank; see `zone_slopes`.
        by_volumes : 10 pairs of (H, K, L)
        """
        scalars, by_values = self._at_voxels.of(volumes), by_values.astype(np.float64)
        largest = self._largest(scalars, by_values, group)
        large = large_products(largest, n_all), large_pair_products(largest, self._duals, n_all)
        products, pulls = self._pulls(scalars, tables, by_values, large)
        by_volumes = FromVoxels(self._transforms, self._grid, self._expanded, group).volumes(
            self._by_scalars(pulls, group)
        )
        return [_of_all_points(self.points.hkl, own, group) for own in products], by_volumes

    def _pulls(
        self,
        scalars: Complexes,
        tables: tuple[Complexes, Complexes],
        by_values: Floats,
        large: tuple[Floats, Floats],
    ) -> tuple[tuple[Complexes, Complexes], Complexes]:
        """Derivatives by W of either order, and by each molecule's scalars: of `form_slopes`."""
        order = np.argsort(self.points.rows, kind="stable")
        starts = np.searchsorted(self.points.rows[order], np.arange(len(self.points.hkl) + 1))
        products = np.empty(tables[0].shape, complex), np.empty(tables[1].shape, complex)
        pulls = np.empty((*self._rows.shape, TRANSFORMS), np.complex64)
        at = (order, starts), self.points.turned, by_values, large
        form_slopes(scalars, self._duals, self._where, tables, *at, products, pulls)
        return products, pulls

    def _largest(self, scalars: Complexes, by_values: Floats, group: Ranks) -> list[float]:
        """Of all ranks the largest of slopes, of q, and of each of F, S and Q."""
        q = np.linalg.norm(self._hkl @ self._to_q[0], axis=1)
        sizes = np.abs(scalars).max(axis=1, initial=0.0).tolist()
        own = [float(np.abs(by_values).max(initial=0.0)), float(q.max(initial=0.0)), *sizes]
        found: list[float] = np.max(group.gather_to_all(own), axis=0).tolist()
        return found

    def _by_scalars(self, pulls: Complexes, group: Ranks) -> Complexes:
        """By F, S and Q at this rank's expanded voxels, multiples of a step: (10, E)."""
        found, rows = np.empty((TRANSFORMS, len(self._expanded)), complex), self._rows.reshape(-1)
        most = [float(np.abs(pulls[..., j]).max(initial=0.0)) for j in range(TRANSFORMS)]
        bounds = np.max(group.gather_to_all(most), axis=0) * _AT_ONE_VOXEL
        for j, bound in enumerate(bounds):
            own = pulls[..., j].reshape(-1).astype(complex)
            real, imaginary = (rounded(part, large_number(bound)) for part in (own.real, own.imag))
            found[j].real = np.bincount(rows, real, len(self._expanded))
            found[j].imag = np.bincount(rows, imaginary, len(self._expanded))
        return found


def _of_all_points(hkl: Floats, products: Complexes, group: Ranks) -> tuple[Floats, Complexes]:
    """Sums at all ranks' k (K, 3), exact: they are multiples of a step."""
    lengths = group.gather_to_all(len(hkl))
    n = int(np.prod(products.shape[1:]))
    every = group.concatenated(hkl, [3 * length for length in lengths]).reshape(-1, 3)
    points, rows = np.unique(every, axis=0, return_inverse=True)
    total = np.zeros((len(points), *products.shape[1:]), complex)
    values = group.concatenated(products, [n * length for length in lengths])
    np.add.at(total, rows.reshape(-1), values.reshape(-1, *products.shape[1:]))
    return points, total


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
            _Samples(
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

        def of_places(places: Floats) -> Floats:
            return _at(places, self._lattice, parameters)

        for frame in () if frames is None else frames:
            volumes = self._transforms.of_frames(frame[None], np.ones(1), of_places, factors)
            total: Floats = np.zeros(self._n_rows)
            for samples, mean, own in zip(self._samples, means, tables, strict=True):
                alone = samples.scalars(volumes)
                two_sided = samples.forms(alone, own) - samples.forms(2 * mean - alone, own)
                total += samples.share * two_sided / (2 * self._n_molecules)
            yield total

    def _volumes(self, parameters: Parameters, factors: AtomFactors) -> list[tuple[Floats, Floats]]:
        """F and S on the coarse grid: along modes atoms are blurred, of frames each has its own."""
        modes, weights = self._modes, weights_of(self._modes, parameters.sampled)
        if modes.frames is None or weights is None:
            return self._transforms.volumes(blurring(modes, self._lattice, parameters), factors)

        def of_places(places: Floats) -> Floats:
            return _at(places, self._lattice, parameters)

        return self._transforms.of_frames(modes.frames, weights, of_places, factors)

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
        total = np.zeros((self._n_rows, 6, 6), np.float32)
        parts = zip(self._samples, scalars, self._tables(parameters.springs), strict=True)
        for samples, own, tables in parts:
            found = samples.dimming(own, tables, levers.T @ levers / len(levers))
            total += np.float32(samples.share / self._n_molecules) * found
        return lambda change: np.einsum("vij,ij->v", total, change)

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

        def of_places(places: Floats) -> Floats:
            return _at(places, self._lattice, parameters)

        of = (modes.frames, weights, of_places, factors, by_volumes)
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


def _unique(indices: Integers) -> tuple[Integers, Integers]:
    """Sorted samples (E, 3), each once, and where each of those given is: (V,)."""
    low = indices.min(axis=0, initial=0)
    sides = indices.max(axis=0, initial=0) - low + 1
    places = np.ravel_multi_index(tuple((indices - low).T), tuple(sides))
    unique, rows = np.unique(places, return_inverse=True)
    found = np.stack(np.unravel_index(unique, tuple(sides)), axis=1) + low
    return found, rows.reshape(-1)
