"""Some voxels of a map, and what neighbours on springs add to the intensity there.

G†WG and h†Wh of `lattice`, from the transforms of all molecules of the cell and W at each voxel's
k; their transpose; and how they are dimmed as atoms move more.
"""

from __future__ import annotations

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, first_of_friedel_pair, fractionalization
from hpc_diffuser.kernels.lattice_form import Where, form_slopes, quadratic_forms
from hpc_diffuser.kernels.rounding import large_number, rounded
from hpc_diffuser.motion.lattice.rigid_lattice import RigidLattice
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.lattice_dimming import dimming
from hpc_diffuser.scattering.lattice_pairs import large_pair_products, large_products
from hpc_diffuser.scattering.lattice_transforms import (
    TRANSFORMS,
    AtVoxels,
    FromVoxels,
    RigidTransforms,
)
from hpc_diffuser.scattering.lattice_zone import ALL, Terms, ZonePoints
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

_AT_ONE_VOXEL = 2**10  # molecules of all ranks' voxels, at most, whose scalars are from there


class LatticeSamples:
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
        """Derivatives of the values of `forms` by C, as it blurs atoms: (21, v)."""
        ones, large = (
            np.ones(len(self._hkl)),
            (np.zeros((6, 6)), np.zeros((self._duals.shape[1],) * 2)),
        )
        _, pulls = self._pulls(scalars, tables, ones, large)
        h, to_q = self._hkl[:, None, :, None], self._to_q
        q = h[:, :, 0] * to_q[:, 0] + h[:, :, 1] * to_q[:, 1] + h[:, :, 2] * to_q[:, 2]
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


def _unique(indices: Integers) -> tuple[Integers, Integers]:
    """Sorted samples (E, 3), each once, and where each of those given is: (V,)."""
    low = indices.min(axis=0, initial=0)
    sides = indices.max(axis=0, initial=0) - low + 1
    places = np.ravel_multi_index(tuple((indices - low).T), tuple(sides))
    unique, rows = np.unique(places, return_inverse=True)
    found = np.stack(np.unravel_index(unique, tuple(sides)), axis=1) + low
    return found, rows.reshape(-1)
