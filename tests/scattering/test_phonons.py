"""The transform to first order in motion, of every transform, against sums over atoms."""

import numpy as np
import pytest
from builders import TRICLINIC, random_structure, s_vectors

from hpc_diffuser.crystal.atom_factors import atom_factors
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.kernels.gradients import AT_ONCE
from hpc_diffuser.scattering.dressing import (
    DRESSING_ERROR,
    _normal_points,
    copies_needed,
    dressing_copies,
    field_covariances,
    points_needed,
)
from hpc_diffuser.scattering.exact_sums import CHUNK
from hpc_diffuser.scattering.shapes import DRAWING_ERROR
from hpc_diffuser.scattering.slab import slab
from hpc_diffuser.scattering.transform import TRANSFORMS

D_MIN = 2.2
# Relative rms of F in a molecule of few atoms, as in test_transform.py, and what copies add to it;
# of a square it is twice that.
ERRORS = {"direct": 3e-6, "density": 2 * DRAWING_ERROR + DRESSING_ERROR}
every_transform = pytest.mark.parametrize("name", TRANSFORMS)


class Case:
    """A molecule that moves along random fields, and its transform at some samples by hand."""

    def __init__(self, name, rms_A=0.3, n_fields=5, factors=None):
        rng = np.random.default_rng(3)
        self.structure = structure = random_structure(np.random.default_rng(2), 37)
        fields = rng.normal(size=(n_fields, len(structure), 3))
        fields *= rms_A / np.sqrt(np.mean(np.sum(fields**2, axis=(0, 2))))
        self.fields = fields
        grid = grid_to_resolution(TRICLINIC, (3, 2.5, 5), D_MIN)
        self.slab = slab(grid, D_MIN, np.arange(grid.extent[0] + 1))
        self.transform = TRANSFORMS[name](structure, self.slab, factors)
        self.phonons = self.transform.phonons(fields)
        indices = grid.indices_between(np.inf, D_MIN)[::30]
        self.rows = self.slab.position_of(indices)
        self.s = s_vectors(grid, indices)
        factors = factors or atom_factors(structure)
        amplitudes = factors.at(np.sum(self.s**2, axis=1))[:, factors.kind] * factors.occupancies
        self.q = 2 * np.pi * self.s
        self.amplitudes = amplitudes
        along = np.einsum("vi,mni->mvn", self.q, fields)
        waves = self.waves(structure.positions) * np.exp(-0.5 * np.sum(along**2, axis=0))
        self.dimmed = waves
        self.mean = waves.sum(axis=1)
        self.first_order = 1j * np.sum(waves * along, axis=2)

    def waves(self, positions):
        """f_a e^{iq·r_a} about the transform's origin: (V, N)."""
        return self.amplitudes * np.exp(1j * self.q @ (positions - self.transform.origin).T)

    def squares(self, first, last):
        """Σ|H_i|² of some fields: (V,)."""
        sums = self.phonons.sums()
        self.phonons.add_squares(first, last, sums)
        return sums.values[0, self.rows]

    def remainders(self, moved, normals):
        """Σ|F − m − Σ z_i H_i|²: (V,)."""
        sums = self.phonons.sums()
        self.phonons.add_remainders(moved, normals, 1.0, sums)
        return sums.values[0, self.rows]


def off(found, expected):
    """Rms difference over the rms of what is expected."""
    return np.sqrt(np.mean(np.abs(found - expected) ** 2) / np.mean(np.abs(expected) ** 2))


@every_transform
@pytest.mark.parametrize("rms_A", [0.1, 0.3, 0.8])
def test_mean_and_first_order(name, rms_A):
    """m and Σ|H_i|² as their sums over atoms say, for all fields, and for some of them."""
    case = Case(name, rms_A)
    real, imaginary = case.phonons.mean
    assert off((real + 1j * imaginary)[case.rows], case.mean) < ERRORS[name]
    squares = np.abs(case.first_order) ** 2
    found = case.squares(0, 5)
    assert off(found, squares.sum(axis=0)) < 2 * ERRORS[name]
    found = case.squares(1, 3)
    assert off(found, squares[1:3].sum(axis=0)) < 2 * ERRORS[name]


@every_transform
def test_dressed(name):
    """Of atoms that are blurred and weighted, of either sign: as their sum says."""
    case = Case(name)
    weights = np.stack([np.ones(37), case.structure.positions[:, 1]])
    found = case.transform.dressed(field_covariances(case.fields), weights)[:, case.rows]
    for own, of_atoms in zip(found, weights, strict=True):
        assert off(own, np.sum(case.dimmed * of_atoms, axis=1)) < ERRORS[name]


@every_transform
def test_remainders(name):
    """|F − m − Σ z_i H_i|² term by term; small against |F|², so the error is of that."""
    case = Case(name)
    normals = np.random.default_rng(5).normal(size=(6, 5))
    moved = case.structure.positions + np.tensordot(normals, case.fields, 1)
    rest = [
        case.waves(positions).sum(axis=1) - case.mean - z @ case.first_order
        for positions, z in zip(moved, normals, strict=True)
    ]
    found = case.remainders(moved, normals)
    assert off(found, np.sum(np.abs(rest) ** 2, axis=0)) < 5 * ERRORS[name]


@every_transform
def test_solvent_and_b_factors(name):
    """Whatever an atom scatters: its dressing is of motion alone."""
    structure = random_structure(np.random.default_rng(2), 37)
    b = np.random.default_rng(4).uniform(0, 20, 37)
    case = Case(name, factors=atom_factors(structure, b_factors_A2=b))
    real, imaginary = case.phonons.mean
    assert off((real + 1j * imaginary)[case.rows], case.mean) < ERRORS[name]
    squares = np.sum(np.abs(case.first_order) ** 2, axis=0)
    assert off(case.squares(0, 5), squares) < 2 * ERRORS[name]


def test_copies_scatter_as_moving_atoms_do():
    """Σ_k w_k e^{iq·x_k} e^{−Bs²/4} = e^{−½ qᵀUq} for every atom, over the resolution sphere."""
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(50, 3, 3)) * rng.uniform(0.01, 0.25, (50, 1, 1))
    covariances = factors @ factors.swapaxes(1, 2)
    copies = dressing_copies(covariances, 1.6)
    directions = rng.normal(size=(2000, 3))
    s = np.cbrt(rng.uniform(size=(2000, 1))) / 1.6
    s = directions / np.linalg.norm(directions, axis=1)[:, None] * s
    q = 2 * np.pi * s
    for a, covariance in enumerate(covariances):
        own = copies.atoms == a
        waves = np.exp(1j * q @ copies.offsets[own].T) @ copies.weights[own]
        waves = waves * np.exp(-copies.b_factors_A2[a] * np.sum(s**2, axis=1) / 4)
        expected = np.exp(-0.5 * np.einsum("vi,ij,vj->v", q, covariance, q))
        off = np.abs(waves - expected)
        assert np.sqrt(np.mean(off**2)) < 1.2 * DRESSING_ERROR


def test_atoms_that_rest_are_one_copy():
    """And atoms whose motion is alike in all directions are one, with a B-factor."""
    copies = dressing_copies(np.stack([np.zeros((3, 3)), 0.02 * np.eye(3)]), 1.6)
    assert copies.atoms.tolist() == [0, 1] and not copies.offsets.any()
    np.testing.assert_allclose(copies.b_factors_A2, [0, 8 * np.pi**2 * 0.02])
    assert points_needed(np.array([0.0, 0.1, 0.4])).tolist() == [1, 2, 3]


def test_points_of_any_motion():
    """cos(√x z) has its mean e^{−x/2} over the sphere of every smaller x too, where a dozen points
    are enough and where they are not: an atom may move several Å."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    nodes, weights = (nodes + 1) / 2, weights / 2
    squares, volumes = (
        np.outer(nodes**2, nodes**2).ravel(),
        np.outer(3 * nodes**2 * weights, weights),
    )
    for largest in np.geomspace(0.01, 2000, 60):
        points, shares = _normal_points(int(points_needed(largest)))
        for x in (largest * squares, largest / 3 * squares):
            off = np.cos(np.sqrt(x)[:, None] * points) @ shares - np.exp(-x / 2)
            assert np.sqrt(volumes.ravel() @ off**2) < DRESSING_ERROR
    assert copies_needed(np.diag([0.0, 1.0, 4.0])[None], 2 * np.pi) == 3 * 4


@every_transform
def test_many_fields(name):
    """More than are drawn together: the same sums, with nothing kept of each."""
    case = Case(name, n_fields=AT_ONCE + 3)
    squares = np.abs(case.first_order) ** 2
    found = case.squares(0, AT_ONCE + 3)
    assert off(found, squares.sum(axis=0)) < 2 * ERRORS[name]
    normals = np.random.default_rng(5).normal(size=(3, AT_ONCE + 3))
    moved = case.structure.positions + np.tensordot(normals, case.fields, 1)
    rest = [
        case.waves(positions).sum(axis=1) - case.mean - z @ case.first_order
        for positions, z in zip(moved, normals, strict=True)
    ]
    found = case.remainders(moved, normals)
    assert off(found, np.sum(np.abs(rest) ** 2, axis=0)) < 5 * ERRORS[name]


@every_transform
@pytest.mark.parametrize("rms_A", [0.0, 0.3, 0.8])
def test_slopes(name, rms_A):
    """|h|² and Re(m* k) of fields that the molecule does not move along, or no atom at all."""
    case = Case(name, rms_A)
    rng = np.random.default_rng(6)
    fields, released = rng.normal(size=(3, 37, 3)), rng.uniform(0, 0.3, 37)
    found = np.array(list(case.phonons.slopes(fields, released)))[:, :, case.rows]
    along = np.einsum("vi,mni->mvn", case.q, fields)
    alike = np.sum(case.q**2, axis=1)[:, None] * (released * np.sum(fields**2, axis=2))[:, None]
    dimmed = case.dimmed
    first, second = np.sum(dimmed * along, axis=2), -np.sum(dimmed * (along**2 - alike), axis=2)
    assert off(found[:, 0], np.abs(first) ** 2) < 2 * ERRORS[name]
    assert off(found[:, 1], (case.mean.conj() * second).real) < 2 * ERRORS[name]


@every_transform
def test_fields_and_remainders_add_up_in_any_order(name):
    """One by one, backwards, or all together: the same bits, as of numbers without rounding."""
    case = Case(name)
    normals = np.random.default_rng(5).normal(size=(CHUNK, 5))
    moved = case.structure.positions + np.tensordot(normals, case.fields, 1)
    together, apart = case.phonons.sums(), case.phonons.sums()
    case.phonons.add_squares(0, 5, together)
    case.phonons.add_remainders(moved, normals, 1 / CHUNK, together)
    for first in range(0, CHUNK, 2):
        own = slice(first, first + 2)
        case.phonons.add_remainders(moved, normals, 1 / CHUNK, apart, own)
    other = TRANSFORMS[name](case.structure, case.slab).phonons(case.fields)
    for field in reversed(range(5)):
        other.add_squares(field, field + 1, apart)
    assert apart.values.tobytes() == together.values.tobytes()
