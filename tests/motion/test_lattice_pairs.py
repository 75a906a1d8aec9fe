"""Neighbours' second order, against the square that it stands for; derivatives by differences."""

from dataclasses import replace

import numpy as np
import pytest
from builders import random_structure

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.packing import crystal_packing
from hpc_diffuser.motion.lattice.averages import mean_covariance
from hpc_diffuser.motion.lattice.correlations import (
    Correlations,
    correlation_slopes,
    lattice_correlations,
    zone_divisions,
)
from hpc_diffuser.motion.lattice.pairs import pair_basis, pair_slopes, pair_table
from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.motion.lattice.springs import contact_springs

CELLS = {
    "P 1": (13.1, 14.3, 12.7, 82.0, 101.0, 113.0),
    "P 1 21 1": (13.0, 14.0, 17.0, 90.0, 104.0, 90.0),
}
CENTRE = np.array([1.5, 2.5, 1.0])


def molecule():
    structure = random_structure(np.random.default_rng(4), 20, 4.5)
    return replace(structure, positions=structure.positions + np.array([1.0, 2.0, 1.5]))


def springs_of(group, moved=0.0):
    packing = crystal_packing(molecule().positions + moved, CELLS[group], group, 7.0)
    return contact_springs(packing, CENTRE + moved)


def correlations_of(springs, stiffness, divisions=(3, 2, 4)) -> Correlations:
    covariance = mean_covariance(springs, stiffness)
    return lattice_correlations(springs, stiffness, covariance, divisions)


def test_grid_of_the_zone():
    """That of the map, or several points for each of its; not more than twelve."""
    assert zone_divisions((7, 5, 3)) == (7, 10, 9)
    assert zone_divisions((1, 8, 30)) == (7, 8, 12)


@pytest.mark.parametrize("group", CELLS)
def test_correlations(group):
    """C(0) is the extrapolated one where molecules touch; C(−R) is the transpose of C(R)."""
    springs = springs_of(group)
    values = correlations_of(springs, springs.units).values
    middle = np.concatenate([n.points for n in springs.packing.firsts()]).mean(axis=0)
    p = displacements(middle, CENTRE)
    expected = p @ mean_covariance(springs, springs.units) @ p.T
    np.testing.assert_allclose(p @ values[0, 0, 0, :6, :6] @ p.T, expected, rtol=1e-9)
    mirrored = values[[0, 2, 1]][:, [0, 1]][:, :, [0, 3, 2, 1]].swapaxes(3, 4)
    np.testing.assert_allclose(mirrored, values, atol=1e-12 * np.abs(values).max())


@pytest.mark.parametrize("group", CELLS)
def test_the_square(group):
    """With all combinations W is the sum of ½ (g_aᵀ C(R) g_b)² e^{−ik·R} of any two atoms."""
    springs, structure = springs_of(group), molecule()
    found = correlations_of(springs, springs.units)
    basis = pair_basis(structure, CENTRE, found, kept=21)
    hkl = np.array([[1 / 3, 0.5, 0.25], [0.0, 0.0, 0.5]])
    table = pair_table(basis.forms, found, hkl)
    p = displacements(structure.positions[:2], CENTRE)
    a, b = p[0].T @ [0.4, 1.1, -0.7], p[1].T @ [0.8, -0.2, 0.5]
    h_a, h_b = (np.einsum("i,sij,j->s", g, basis.duals, g) for g in (a, b))
    z, r = springs.packing.n_molecules, len(basis.forms)
    assert r == 20  # of 21: q · (r × q) = 0
    for m, n in np.ndindex(z, z):
        blocks = found.values[..., 6 * m : 6 * m + 6, 6 * n : 6 * n + 6]
        squares = 0.5 * np.einsum("i,xyzij,j->xyz", a, blocks, b) ** 2
        squares[0, 0, 0] *= m != n
        for k, own in zip(hkl, table, strict=True):
            cells = np.stack(np.indices(squares.shape), axis=-1)
            expected = np.sum(squares * np.exp(-2j * np.pi * cells @ k))
            block = own[r * m : r * (m + 1), r * n : r * (n + 1)]
            assert h_a @ block @ h_b == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_between_points():
    """Halfway between two points of the grid W is their mean."""
    springs = springs_of("P 1")
    found = correlations_of(springs, springs.units)
    forms = pair_basis(molecule(), CENTRE, found).forms
    ends = pair_table(forms, found, np.array([[1 / 3, 0.5, 0.25], [1 / 3, 0.5, 0.5]]))
    middle = pair_table(forms, found, np.array([[-2 / 3, 1.5, 0.375]]))
    np.testing.assert_allclose(middle[0], ends.mean(axis=0), atol=1e-9 * np.abs(ends).max())


def test_between_points_of_molecules_of_any_cell():
    """Many cells away W is the same, but for phases that go around as e^{ik·(r_m − r_n)}."""
    edges = np.linalg.inv(fractionalization(CELLS["P 1 21 1"])).T
    hkl, tables = np.array([[0.4, 0.1, 0.6], [0.05, 0.5, 0.9]]), []
    for cells in ((0, 0, 0), (11, -8, 7)):
        springs = springs_of("P 1 21 1", np.array(cells) @ edges)
        found, at = correlations_of(springs, springs.units), springs.packing.places
        forms = pair_basis(molecule(), CENTRE, found).forms
        phases = np.exp(2j * np.pi * ((at - at[:, None]) @ hkl.T)).transpose(2, 0, 1)
        phases = phases.repeat(len(forms), axis=1).repeat(len(forms), axis=2)
        tables.append(pair_table(forms, found, hkl) * phases)
    np.testing.assert_allclose(*tables, atol=1e-9 * np.abs(tables[0]).max())


@pytest.mark.parametrize("group", CELLS)
def test_slopes(group):
    """Of W by springs, against central differences."""
    springs, rng = springs_of(group), np.random.default_rng(5)
    roots = rng.normal(size=(springs.n_interfaces, 6, 6)) * [1, 1, 1, 3, 3, 3]
    stiffness = roots @ roots.swapaxes(1, 2) + springs.units
    found = correlations_of(springs, stiffness)
    forms = pair_basis(molecule(), CENTRE, found, kept=4).forms
    hkl = np.array([[1 / 3, 0.5, 0.25], [0.0, 0.0, 0.6]])
    by = rng.normal(size=(2, *pair_table(forms, found, hkl).shape[1:], 2)) @ [1, 1j]
    by = by + by.conj().swapaxes(1, 2)
    slopes = correlation_slopes(springs, stiffness, pair_slopes(forms, found, hkl, by))

    def objective(own):
        table = pair_table(forms, correlations_of(springs, own), hkl)
        return np.einsum("kij,kji->", by, table).real

    for place in [(0, 0, 0), (springs.n_interfaces - 1, 5, 5), (1, 2, 4)]:
        change = np.zeros_like(stiffness)
        change[place] = change[place[0], place[2], place[1]] = 1e-5 * stiffness[place[0]].trace()
        ends = [objective(stiffness + sign * change) for sign in (-1, 1)]
        assert np.sum(slopes * change) == pytest.approx(
            (ends[1] - ends[0]) / 2, rel=1e-5, abs=1e-8 * np.abs(slopes * change.max()).max()
        )
