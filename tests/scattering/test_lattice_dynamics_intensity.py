"""Lattice dynamics against crystals that are made and summed by hand.

A periodic crystal of n³ cells has the springs' exact covariance ⟨ξ_m(R) ξ_k(0)ᵀ⟩, the mean of
D⁻¹(k) e^{ik·R} over its n³ points k, but for the translation of all at k = 0. To first order in
rotation the displacements of all atoms are Gaussian, and the intensity is the sum over all pairs of
atoms of all molecules; with exact rotations it is the mean over crystals that are drawn.
"""

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from builders import gemmi_form_factors, random_structure, s_vectors
from scipy.spatial.transform import Rotation

from hpc_diffuser.crystal.lattice import (
    distance_to_bragg,
    fractionalization,
    grid_to_resolution,
)
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.kernels.lattice_form import quadratic_forms
from hpc_diffuser.motion.lattice.correlations import Correlations, zone_divisions
from hpc_diffuser.motion.lattice.pairs import PairBasis, pair_basis, pair_table
from hpc_diffuser.motion.lattice.rigid import atom_covariances, displacements
from hpc_diffuser.motion.lattice.rigid_lattice import RigidLattice, rigid_lattice
from hpc_diffuser.motion.lattice.springs import contact_springs
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering import lattice as lattice_module
from hpc_diffuser.scattering.lattice import LatticeNeighbours
from hpc_diffuser.scattering.lattice_zone import ZonePoints, zone_matrices
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

CELLS = {
    "P 1": (7.6, 8.0, 8.4, 82.0, 101.0, 105.0),
    "P 1 21 1": (9.2, 8.0, 10.0, 90.0, 104.0, 90.0),
}
N = 6
D_MIN = 2.0


class Supercell:
    """A periodic crystal of 6 x 6 x 6 cells, whose atoms move by `rms_A`."""

    def __init__(self, group: str, rms_A: float, n_atoms: int = 10):
        self.group, self.cell = group, CELLS[group]
        structure = random_structure(np.random.default_rng(1), n_atoms, 3.3, ("C", "N", "O", "S"))
        positions = structure.positions + np.array([1.0, 2.0, 1.5])
        self.structure = replace(structure, positions=positions, occupancies=np.ones(n_atoms))
        self.lattice = rigid_lattice(self.structure, self.cell, group)
        springs = self.lattice.springs
        self.centre, self.packing = springs.centre, springs.packing
        self.z = self.packing.n_molecules
        self.hkl = np.array(list(product(np.arange(N) / N, repeat=3)))
        inverses = self._inverses(springs.dynamical_matrices(springs.units, self.hkl))
        blocks = inverses.reshape(-1, self.z, 6, self.z, 6)
        own = np.mean([blocks[:, m, :, m].real.mean(axis=0) for m in range(self.z)], axis=0)
        moved = np.trace(atom_covariances(own, positions, self.centre), axis1=1, axis2=2).mean()
        self.length = rms_A / np.sqrt(moved)
        self.inverses, self.covariance = inverses * self.length**2, own * self.length**2
        # Those of the small crystal, in place of averages over the Brillouin zone.
        self.lattice._covariances[self.length,] = self.covariance
        for divisions in ((N,) * 3, (2 * N,) * 3):
            self.lattice._correlations[(self.length,), divisions] = self.correlations()

    def correlations(self) -> Correlations:
        """C(R) of all cells."""
        cells = np.array(list(product(range(N), repeat=3)))
        waves = np.exp(2j * np.pi * cells @ self.hkl.T) / len(self.hkl)
        values = np.einsum("rk,kij->rij", waves, self.inverses).real
        return Correlations(values.reshape(N, N, N, *values.shape[1:]), self.packing.places)

    @staticmethod
    def _inverses(matrices: np.ndarray) -> np.ndarray:
        found = np.empty_like(matrices)
        found[1:] = np.linalg.inv(matrices[1:])
        levels, vectors = np.linalg.eigh(matrices[0])
        kept = levels > 1e-8 * levels[-1]
        found[0] = (vectors[:, kept] / levels[kept]) @ vectors[:, kept].conj().T
        return found

    def modes(self) -> Modes:
        none = np.empty((0, len(self.structure), 3)), np.empty(0)
        return Modes(self.structure, *none, self.cell, self.group, lattice=self.lattice)

    def samples(self, every: int) -> tuple:
        """Some samples between the Bragg peaks."""
        grid = grid_to_resolution(self.cell, (N,) * 3, D_MIN)
        indices = unique_indices(grid, 8.0, D_MIN, grid_operations(grid, self.group))
        between = indices[distance_to_bragg(indices, grid.divisions) > 1e-6]
        return grid, between[::every]

    def calculated(self, grid, indices) -> np.ndarray:
        """The model's, with the small crystal's covariance."""
        how = Computation(0.3, "target", "direct")
        model = forward_model(self.modes(), grid, indices, Ranks(), how)
        parameters = Parameters(np.empty(0), lattice_spring_A=self.length, lattice=self.lattice)
        return model.internal_motion(parameters, normal_samples("sobol", 256, 3, generator(1)))

    def scattering(self, grid, indices):
        """q, form factors, molecules at their places, and P of their atoms."""
        s = s_vectors(grid, indices)
        factors = gemmi_form_factors(self.structure.elements, np.sum(s**2, axis=1))
        to_cartesian = np.linalg.inv(fractionalization(self.cell))
        shifts = self.packing.translations @ to_cartesian.T
        turns = self.packing.turns
        places = [self.structure.positions @ t.T + x for t, x in zip(turns, shifts, strict=True)]
        p = displacements(self.structure.positions, self.centre)
        return 2 * np.pi * s, factors, places, [t @ p for t in turns]

    def pair_sum(self, grid, indices) -> np.ndarray:
        """All pairs of atoms of all molecules of the crystal, to first order in rotation."""
        q, factors, places, p = self.scattering(grid, indices)
        cells = np.array(list(product(range(N), repeat=3)))
        phases = np.exp(2j * np.pi * cells @ self.hkl.T) / len(self.hkl)
        blocks = self.inverses.reshape(-1, self.z, 6, self.z, 6)
        between = np.einsum("rk,kminj->rminj", phases, blocks).real
        found = np.zeros(len(q))
        for v in range(len(q)):
            waves = np.exp(2j * np.pi * cells @ (indices[v] / np.array(grid.divisions)))
            along = [np.einsum("i,aij->aj", q[v], own) for own in p]
            for m, k in product(range(self.z), repeat=2):
                own, other = (
                    np.einsum("ai,ij,aj->a", along[x], between[0, x, :, x], along[x])
                    for x in (m, k)
                )
                c = np.einsum("ai,rij,bj->rab", along[m], between[:, m, :, k], along[k])
                pairs = np.exp(-0.5 * (own[:, None] + other)) * np.expm1(c)
                f, g = (factors[v] * np.exp(1j * places[x] @ q[v]) for x in (m, k))
                found[v] += np.einsum("r,a,rab,b->", waves, f, pairs, g.conj()).real
        return found / self.z

    def inside(self) -> np.ndarray:
        """⟨u uᵀ⟩ of what atoms do inside their molecule: (N, 3, 3)."""
        return np.zeros((len(self.structure), 3, 3))

    def scattered(self, factors, q, atoms, frames):
        """Of molecules with atoms at (R, N, 3), turned by (R, 3, 3): their mean, (R, V).

        And what motion inside adds to the intensity of all of them, (V,).
        """
        return np.einsum("va,rav->rv", factors, np.exp(1j * atoms @ q.T)), 0.0

    def drawn(self, grid, indices, n_crystals: int) -> np.ndarray:
        """The mean over crystals whose molecules are moved and turned, and summed.

        What they scatter to first order, whose mean is known, takes most of the noise away.
        """
        q, factors, places, p = self.scattering(grid, indices)
        cells = np.array(list(product(range(N), repeat=3)))
        hkl = indices / np.array(grid.divisions)
        waves = np.exp(2j * np.pi * cells @ hkl.T)
        turns = self.packing.turns
        shifts = [
            x[0] - t @ (self.structure.positions[0]) for x, t in zip(places, turns, strict=True)
        ]
        centres = [t @ self.centre + x for t, x in zip(turns, shifts, strict=True)]
        first_order = []
        for place, own, turn in zip(places, p, turns, strict=True):
            u = own @ self.covariance @ own.swapaxes(1, 2) + turn @ self.inside() @ turn.T
            dimmed = factors * np.exp(1j * q @ place.T - 0.5 * np.einsum("vi,aij,vj->va", q, u, q))
            first_order.append(1j * np.einsum("va,vi,aij->vj", dimmed, q, own))
        every = np.concatenate(first_order, axis=1)
        points = {tuple(h): i for i, h in enumerate(np.rint(self.hkl * N).astype(int).tolist())}
        k = [points[tuple(i)] for i in (indices % N).tolist()]
        expected = np.einsum("vi,vij,vj->v", every.conj(), self.inverses[k], every).real
        levels, vectors = np.linalg.eigh(self.inverses)
        roots = (vectors * np.sqrt(np.maximum(levels, 0))[:, None]) @ vectors.conj().swapaxes(1, 2)
        stream, found = np.random.default_rng(3), []
        for _ in range(n_crystals):
            normals = stream.normal(size=(N, N, N, 6 * self.z))
            waves_of = np.fft.fftn(normals, axes=(0, 1, 2)).reshape(-1, 6 * self.z)
            moved = np.einsum("kij,kj->ki", roots, waves_of).reshape(N, N, N, -1)
            moved = np.fft.ifftn(moved, axes=(0, 1, 2)).real.reshape(-1, self.z, 6)
            whole, linear, added = np.zeros((3, len(q)), complex)
            for m in range(self.z):
                body = (self.structure.positions - self.centre) @ turns[m].T
                turned = Rotation.from_rotvec(moved[:, m, 3:] @ turns[m].T).as_matrix()
                atoms = np.einsum("rij,aj->rai", turned, body)
                atoms += centres[m] + (moved[:, m, :3] @ turns[m].T)[:, None]
                single, own = self.scattered(factors, q, atoms, turned @ turns[m])
                whole, added = whole + np.sum(waves * single, axis=0), added + own
                linear += np.einsum("rv,vj,rj->v", waves, first_order[m], moved[:, m])
            found.append([np.abs(whole) ** 2 + added.real, np.abs(linear) ** 2])
        whole, linear = np.array(found).swapaxes(0, 1) / len(cells)
        away = linear - linear.mean(axis=0)
        share = np.mean(away * (whole - whole.mean(axis=0)), axis=0) / np.mean(away**2, axis=0)
        return (whole.mean(axis=0) - share * (linear.mean(axis=0) - expected)) / self.z


@cache
def summed(group: str, rms_A: float) -> tuple:
    """A crystal, some of its samples, and their intensity by pairs of atoms."""
    crystal = Supercell(group, rms_A)
    grid, indices = crystal.samples(180)
    return crystal, grid, indices, crystal.pair_sum(grid, indices)


@pytest.mark.slow
@pytest.mark.parametrize("group", CELLS)
@pytest.mark.parametrize(("rms_A", "off", "cc"), [(0.6, 0.015, 0.999), (0.85, 0.025, 0.997)])
def test_pair_sum_of_larger_motion(group, rms_A, off, cc):
    """What lacks is of third order."""
    crystal, grid, indices, expected = summed(group, rms_A)
    scale, found = scale_and_cc(crystal.calculated(grid, indices), expected)
    assert scale == pytest.approx(1, abs=off) and found > cc


def scale_and_cc(found, expected) -> tuple[float, float]:
    scale = found @ expected / (expected @ expected)
    return float(scale), float(np.corrcoef(found, expected)[0, 1])


@pytest.mark.parametrize("group", CELLS)
@pytest.mark.parametrize(("rms_A", "off", "cc"), [(0.05, 2e-4, 1 - 2e-6), (0.3, 3e-3, 0.9999)])
def test_pair_sum(group, rms_A, off, cc):
    """Where the motion is small the formula is exact; at 0.3 Å to second order."""
    crystal, grid, indices, expected = summed(group, rms_A)
    scale, found = scale_and_cc(crystal.calculated(grid, indices), expected)
    assert scale == pytest.approx(1, abs=off) and found > cc


def test_simulated_crystal():
    """With exact rotations, at 0.3 Å: as far as sixty crystals tell."""
    crystal = Supercell("P 1 21 1", 0.3)
    grid, indices = crystal.samples(250)
    expected = crystal.drawn(grid, indices, 60)
    found = crystal.calculated(grid, indices)
    scale, cc = scale_and_cc(found, expected)
    assert scale == pytest.approx(1, abs=0.03) and cc > 0.99
    assert np.linalg.norm(found - expected) < 0.07 * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize("group", CELLS)
@pytest.mark.parametrize(
    ("rms_A", "off", "cc"), [(0.3, 0.01, 0.999), (0.6, 0.02, 0.998), (0.85, 0.03, 0.996)]
)
def test_simulated_crystals(group, rms_A, off, cc):
    """How the difference grows."""
    crystal = Supercell(group, rms_A)
    grid, indices = crystal.samples(60)
    expected = crystal.drawn(grid, indices, 500)
    scale, found = scale_and_cc(crystal.calculated(grid, indices), expected)
    assert scale == pytest.approx(1, abs=off) and found > cc


@pytest.mark.parametrize("group", CELLS)
def test_the_other_sign(group, monkeypatch):
    """With D(−k) instead of D(k) these tests would fail: the signs are those of the crystal."""
    crystal, grid, indices, expected = summed(group, 0.05)

    def mirrored(*given):
        return zone_matrices(*given).conj()

    monkeypatch.setattr(lattice_module, "zone_matrices", mirrored)
    assert scale_and_cc(crystal.calculated(grid, indices), expected)[1] < 0.98


def neighbours(crystal, grid, indices, rows=None, transform="direct") -> np.ndarray:
    rows = np.arange(len(indices)) if rows is None else rows
    model = LatticeNeighbours(crystal.modes(), grid, indices, rows, Ranks(), transform)
    parameters = Parameters(np.empty(0), lattice_spring_A=crystal.length, lattice=crystal.lattice)
    factors = forward_model(
        crystal.modes(), grid, indices, Ranks(), Computation(0.3, "target", "direct")
    ).molecule.moments.factors
    return model.intensity(parameters, factors)


def by_hand(crystal, grid, indices, centre) -> np.ndarray:
    """G†[D⁻¹ − C]G + h†Wh in double precision, about another centre."""
    lattice = RigidLattice(contact_springs(crystal.packing, np.array(centre)))
    q, factors, places, _ = crystal.scattering(grid, indices)
    covariance = lattice.covariance(crystal.length)
    p = displacements(crystal.structure.positions, centre)
    divisions = zone_divisions((N,) * 3)
    alike = lattice.correlations(1.0, divisions)
    basis = pair_basis(crystal.structure, lattice.springs.centre, alike)
    columns, second = [], []
    for place, turn in zip(places, crystal.packing.turns, strict=True):
        own = turn @ p
        u = own @ covariance @ own.swapaxes(1, 2)
        dimmed = factors * np.exp(1j * q @ place.T - 0.5 * np.einsum("vi,aij,vj->va", q, u, q))
        along = np.einsum("vi,aij->vaj", q, own)
        columns.append(1j * np.einsum("va,vaj->vj", dimmed, along))
        second.append(np.einsum("va,vai,sij,vaj->vs", dimmed, along, basis.duals, along))
    points = ZonePoints.of(indices, (N,) * 3)
    first_order = zone_matrices(lattice, crystal.length, points.hkl, (N,) * 3)
    pairs = pair_table(basis.forms, lattice.correlations(crystal.length, divisions), points.hkl)
    total = np.zeros(len(q))
    for parts, table in ((columns, first_order), (second, pairs)):
        g, own = np.concatenate(parts, axis=1), table[points.rows]
        own = np.where(points.turned[:, None, None], own.conj(), own)
        total += np.einsum("vi,vij,vj->v", g.conj(), own, g).real / crystal.z
    return total


@pytest.mark.parametrize("group", CELLS)
def test_reference_point_does_not_matter(group):
    """Atom-wise Debye-Waller factors: the same about any point; and computed as by hand."""
    crystal = Supercell(group, 0.4)
    crystal.lattice._covariances.clear()
    crystal.lattice._correlations.clear()
    grid, indices = crystal.samples(180)
    one = by_hand(crystal, grid, indices, crystal.centre)
    other = by_hand(crystal, grid, indices, np.array([9.0, -7.0, 4.0]))
    np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-10 * np.abs(one).max())
    for transform, off in (("direct", 1e-3), ("density", 1e-2)):
        found = neighbours(crystal, grid, indices, transform=transform)
        assert np.linalg.norm(found - one) < off * np.linalg.norm(one)


@pytest.mark.parametrize("group", CELLS)
def test_a_voxel_does_not_depend_on_the_others(group):
    """A rank's share has the same bits."""
    crystal = Supercell(group, 0.3)
    grid, indices = crystal.samples(20)
    whole = neighbours(crystal, grid, indices)
    rows = np.flatnonzero(indices[:, 0] % 3 == 1)
    np.testing.assert_array_equal(neighbours(crystal, grid, indices, rows), whole[rows])


def test_rises_as_the_inverse_square_towards_a_peak():
    """On a line through a Bragg peak, where D is quadratic in k."""
    crystal = Supercell("P 1", 0.3)
    fine = grid_to_resolution(crystal.cell, (60,) * 3, D_MIN)
    steps = np.array([1, 2, 4])
    indices = np.array([[60, 60, 60 + step] for step in steps])
    found = neighbours(crystal, fine, indices)
    slopes = np.diff(np.log(found)) / np.diff(np.log(steps))
    np.testing.assert_allclose(slopes, -2, atol=0.1)


@pytest.mark.parametrize(("rms_A", "off"), [(0.15, 0.01), (0.3, 0.03)])
@pytest.mark.parametrize("group", CELLS)
def test_at_a_peak_it_is_the_average_over_the_voxel(group, rms_A, off):
    """One sample per reciprocal-lattice unit: the mean of what eight are at 64 points of a voxel.

    To first order in C, neighbours' and the molecule's own, and of second order as far as
    neighbours have it; what is left of the molecule's own is that of the peak.
    """
    crystal = Supercell(group, rms_A)
    coarse = grid_to_resolution(crystal.cell, (1, 1, 1), D_MIN)
    indices = np.array([[0, 2, 0], [1, 1, 0], [1, 2, 1], [2, -1, 1], [2, 2, -1], [3, 0, 0]])
    found = crystal.calculated(coarse, indices)
    fine = grid_to_resolution(crystal.cell, (8, 8, 8), 1.5)
    offsets = np.array(list(product((-3, -1, 1, 3), repeat=3)))
    points = np.concatenate([8 * i + offsets for i in indices])
    signs = np.where(points[:, :1] < 0, -1, 1)
    order = np.lexsort((signs * points).T[::-1])
    at_points = np.empty(len(points))
    at_points[order] = crystal.calculated(fine, (signs * points)[order])
    expected = at_points.reshape(-1, 64).mean(axis=1)
    assert np.linalg.norm(found - expected) < off * np.linalg.norm(expected)


def test_forms_of_the_kernel():
    """Both orders against numpy, for three molecules of two atoms each: Σ f (gᵀYg) the second."""
    rng = np.random.default_rng(2)
    z, v, k, r = 3, 5, 4, 4
    levers, weights = rng.normal(size=(2, 3)), rng.normal(size=(7, 2, 2)) @ [1, 1j]
    places_of = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    products = [levers[:, i] * levers[:, j] for i, j in places_of]
    scalars = (np.array([np.ones(2), *levers.T, *products]) @ weights.T).astype(np.complex64)
    rows, mated = rng.integers(0, 7, (v, z), np.int32), rng.random((v, z)) < 0.5
    hkl, to_q, places = rng.normal(size=(v, 3)), rng.normal(size=(z, 3, 3)), rng.random((z, 3))
    roots = [rng.normal(size=(2, k, n * z, n * z)) for n in (6, r)]
    tables = [a + 1j * b + (a - 1j * b).swapaxes(1, 2) for a, b in roots]
    duals = rng.normal(size=(r, 6, 6))
    basis = PairBasis(duals, duals + duals.swapaxes(1, 2))
    points, turned = rng.integers(0, k, v), rng.random(v) < 0.5
    where = rows, mated, hkl, to_q, places

    def forms(first: float, second: float) -> np.ndarray:
        values, used = np.empty(v), (first * tables[0], second * tables[1])
        quadratic_forms(scalars, basis.packed_duals, where, used, points, turned, values)
        return values

    expected = np.zeros((2, v))
    for i in range(v):
        of_cell = [], []
        for m in range(z):
            f = weights[rows[i, m]].conj() if mated[i, m] else weights[rows[i, m]]
            q, phase = hkl[i] @ to_q[m], np.exp(2j * np.pi * hkl[i] @ places[m])
            g = np.concatenate([np.tile(q, (2, 1)), np.cross(levers, q)], axis=1)
            of_cell[0].append(1j * phase * f @ g)
            of_cell[1].append(phase * np.einsum("a,ai,sij,aj->s", f, g, basis.duals, g))
        for order, numbers in enumerate(map(np.concatenate, of_cell)):
            table = tables[order][points[i]]
            matrix = table.conj() if turned[i] else table
            expected[order, i] = (numbers.conj() @ matrix @ numbers).real
    for used, rel in (((1, 0), 1e-5), ((0, 1), 1e-4), ((1, 1), 1e-4)):
        assert forms(*used) == pytest.approx(np.array(used) @ expected, rel=rel), used
