"""The forms of lattice dynamics at voxels: against their definition, and the same bits anywhere."""

import numpy as np
import pytest

from hpc_diffuser.kernels.lattice_form import LANES, quadratic_forms
from hpc_diffuser.kernels.lattice_molecule import place_phase

N_K, VOXELS = 5, 4 * LANES + 7
PAIRS = [(i, j) for i in range(6) for j in range(i, 6)]


def case(z: int, r: int) -> tuple:
    """Scalars, duals, where, tables, points, turned of some voxels."""
    rng = np.random.default_rng(10 * z + r)

    def waves(*shape) -> np.ndarray:
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    scalars, duals = waves(10, 300).astype(np.complex64), rng.normal(size=(21, r))
    where = (
        rng.integers(0, 300, (VOXELS, z)).astype(np.int32),
        rng.random((VOXELS, z)) < 0.5,
        rng.normal(size=(VOXELS, 3)),
        rng.normal(size=(z, 3, 3)),
        rng.normal(size=(z, 3)),
    )
    halves = waves(N_K, 6 * z, 6 * z), waves(N_K, r * z, r * z)
    tables = tuple(half + half.conj().swapaxes(1, 2) for half in halves)
    points, turned = rng.integers(0, N_K, VOXELS), rng.random(VOXELS) < 0.5
    return scalars, duals.astype(np.float32), where, tables, points, turned


def expected(scalars, duals, where, tables, points, turned) -> list[float]:
    """G = (qF, S × q) and h = Σ_ij d_ij P_ij of a Hermitian P, of each molecule at its place.

    P's blocks are q qᵀ F, q (S × q)ᵀ and X Q Xᵀ, X v = v × q: what Σ f g gᵀ is for g = (q, r × q).
    W(−k) is the conjugate.
    """
    rows, mated, hkl, to_q, places = where
    found = []
    for v, row in enumerate(rows):
        g, h = [], []
        for m, e in enumerate(row):
            own = scalars[:, e].astype(complex)
            own = own.conj() if mated[v, m] else own
            phase = np.exp(2j * np.pi * hkl[v] @ places[m]) if len(row) > 1 else 1.0
            f, s, (xx, yy, zz, xy, xz, yz) = phase * own[0], phase * own[1:4], phase * own[4:]
            q = hkl[v] @ to_q[m]
            cross = np.cross(np.eye(3), q)  # row i: e_i × q
            turns = cross.T @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ cross
            about = np.cross(s, q)
            products = np.block(
                [[np.outer(q, q) * f, np.outer(q, about)], [np.zeros((3, 3)), turns]]
            )
            g += [*(q * f), *about]
            h += list(np.array([products[i, j] for i, j in PAIRS]) @ duals)
        total = 0.0
        for numbers, table in zip((g, h), tables, strict=True):
            w = table[points[v]].conj() if turned[v] else table[points[v]]
            total += (np.conj(numbers) @ w @ numbers).real
        found.append(total)
    return found


def test_phase_of_a_place():
    """All around the circle, at its quarters and eighths, and many turns away; of one place 1."""
    turns = np.concatenate([np.linspace(-2, 2, 2001), np.arange(-16, 17) / 8, [1e3 / 3, -997.2]])
    places = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    found = np.array([complex(*place_phase(places, 1, (t, 0.3, -0.2))) for t in turns])
    np.testing.assert_allclose(found, np.exp(2j * np.pi * turns), atol=4e-9)
    assert place_phase(places[1:], 0, (0.3, 0.0, 0.0)) == (1.0, 0.0)


@pytest.mark.parametrize(("z", "r"), [(1, 8), (3, 5), (2, 0)])
def test_forms_are_their_definition(z, r):
    """In single precision: each is off by some 1e-6 of the largest terms."""
    given = case(z, r)
    values, right = np.empty(VOXELS), np.array(expected(*given))
    quadratic_forms(*given, values)
    np.testing.assert_allclose(values, right, rtol=1e-5, atol=3e-6 * np.abs(right).max())


def test_a_voxel_has_the_same_bits_beside_any_others():
    """In another order, and few of them: as on other ranks."""
    scalars, duals, where, tables, points, turned = case(3, 8)
    values = np.empty(VOXELS)
    quadratic_forms(scalars, duals, where, tables, points, turned, values)
    for some in (np.random.default_rng(1).permutation(VOXELS), np.arange(9, 40, 3)):
        own = *(x[some] for x in where[:3]), *where[3:]
        found = np.empty(len(some))
        quadratic_forms(scalars, duals, own, tables, points[some], turned[some], found)
        np.testing.assert_array_equal(found, values[some])
