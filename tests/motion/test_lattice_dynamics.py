"""Springs between molecules, against a supercell whose energy is a sum over pairs of atoms."""

from itertools import product

import gemmi
import numpy as np
import pytest
from builders import random_structure

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.packing import crystal_packing
from hpc_diffuser.motion.lattice import averages
from hpc_diffuser.motion.lattice.averages import covariance_slopes, mean_covariance, zone_grid
from hpc_diffuser.motion.lattice.rigid import atom_covariances
from hpc_diffuser.motion.lattice.rigid_lattice import (
    RigidLattice,
    RigidMotion,
    rest_changes,
    rigid_motion,
    rigid_motion_slopes,
)
from hpc_diffuser.motion.lattice.springs import contact_springs
from hpc_diffuser.system.errors import InputError

CELLS = {
    "P 1": (13.1, 14.3, 12.7, 82.0, 101.0, 113.0),
    "P 1 21 1": (13.0, 14.0, 17.0, 90.0, 104.0, 90.0),
    "C 1 2 1": (24.0, 13.0, 15.0, 90.0, 98.0, 90.0),
    "P 43 21 2": (19.0, 19.0, 27.0, 90.0, 90.0, 90.0),
    "P 61": (16.0, 16.0, 24.0, 90.0, 90.0, 120.0),
}
REACH_A = 7.0
RNG = np.random.default_rng


def molecule() -> np.ndarray:
    """Twenty atoms, off the special positions."""
    return random_structure(RNG(4), 20, 4.5).positions + np.array([1.0, 2.0, 1.5])


def springs_of(group, centre=(0.0, 0.0, 0.0), positions=None):
    positions = molecule() if positions is None else positions
    return contact_springs(
        crystal_packing(positions, CELLS[group], group, REACH_A), np.array(centre)
    )


def some_stiffness(springs, seed=1):
    """A positive definite K of every interface, that both sides of a twofold axis see alike."""
    roots = RNG(seed).normal(size=(springs.n_interfaces, 6, 6)) * [1, 1, 1, 3, 3, 3]
    return roots @ roots.swapaxes(1, 2) + springs.units


def hessian_of_supercell(group: str, n: int) -> np.ndarray:
    """Second derivatives of the springs' energy by (t, ω) of all molecules of n³ cells.

    By pairs of atoms of all molecules and their images in a periodic supercell; ω is about the
    centre of each molecule's atoms, all in the crystal's frame.
    """
    cell, positions = CELLS[group], molecule()
    to_cartesian = np.linalg.inv(fractionalization(cell))
    fractions = positions @ fractionalization(cell).T
    molecules = []
    for shift in product(range(n), repeat=3):
        for op in gemmi.SpaceGroup(group).operations():
            molecules.append(np.array([op.apply_to_xyz(f) for f in fractions.tolist()]) + shift)
    hessian = np.zeros((6 * len(molecules),) * 2)
    for i, j in product(range(len(molecules)), repeat=2):
        away = molecules[j][None] - molecules[i][:, None]
        for image in product((-n, 0, n), repeat=3):
            if i == j and image == (0, 0, 0):
                continue
            steps = (away + image) @ to_cartesian.T
            for a, b in zip(*np.nonzero(np.linalg.norm(steps, axis=2) < REACH_A), strict=True):
                if np.linalg.norm(steps[a, b]) < 1.0:
                    continue
                middle = molecules[i][a] @ to_cartesian.T + steps[a, b] / 2
                rows = np.zeros((3, len(hessian)))
                for sign, m, moved in ((1, i, np.zeros(3)), (-1, j, np.array(image))):
                    centre = (molecules[m].mean(axis=0) + moved) @ to_cartesian.T
                    for axis, e in enumerate(np.eye(3)):
                        rows[:, 6 * m + axis] += sign * e
                        rows[:, 6 * m + 3 + axis] += sign * np.cross(e, middle - centre)
                hessian += 0.5 * rows.T @ rows  # every pair is met from both sides
    return hessian


@pytest.mark.parametrize("group", ["P 1", "P 1 21 1"])
def test_supercell(group):
    """The eigenvalues of 2³ cells are those of D at 8 points of the Brillouin zone."""
    n = 2
    expected = np.linalg.eigvalsh(hessian_of_supercell(group, n))
    springs = springs_of(group, molecule().mean(axis=0))
    hkl = np.array(list(product(np.arange(n) / n, repeat=3)))
    found = np.linalg.eigvalsh(springs.dynamical_matrices(springs.units, hkl))
    np.testing.assert_allclose(np.sort(found.ravel()), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("group", CELLS)
def test_positive_with_three_zero_modes(group):
    """Whatever the springs: at k = 0 no energy for moving all molecules alike, and for nothing
    else; Hermitian, and conjugate at −k."""
    springs = springs_of(group)
    stiffness = some_stiffness(springs)
    hkl = np.concatenate([np.zeros((1, 3)), RNG(2).uniform(-0.5, 0.5, (20, 3))])
    matrices = springs.dynamical_matrices(stiffness, hkl)
    np.testing.assert_allclose(matrices, matrices.conj().swapaxes(1, 2), atol=1e-9)
    np.testing.assert_allclose(
        springs.dynamical_matrices(stiffness, -hkl), matrices.conj(), atol=1e-9
    )
    levels = np.linalg.eigvalsh(matrices)
    assert np.abs(levels[0, :3]).max() < 1e-9 * levels[0, -1]
    assert levels[0, 3] > 1e-5 * levels[0, -1] and levels[1:].min() > 0


@pytest.mark.parametrize("group", CELLS)
def test_all_molecules_move_alike(group):
    """On the whole grid every molecule has the same covariance in its own frame."""
    springs = springs_of(group)
    stiffness, z = some_stiffness(springs), springs.packing.n_molecules
    # Without the planes of h, k or l = 0 sixfold axes would not leave the grid as it is.
    hkl = np.array(list(product(np.arange(5) / 5, repeat=3)))[1:]
    inverses = np.linalg.inv(springs.dynamical_matrices(stiffness, hkl)).reshape(-1, z, 6, z, 6)
    blocks = np.array([inverses[:, m, :, m].real.mean(axis=0) for m in range(z)])
    np.testing.assert_allclose(blocks, np.tile(blocks[0], (z, 1, 1)), atol=1e-9 * blocks.max())


@pytest.mark.parametrize("group", ["P 1", "P 1 21 1", "P 43 21 2"])
def test_reference_point_does_not_matter(group, monkeypatch):
    """About another centre the atoms move as before."""
    monkeypatch.setattr(averages, "POINTS", (2, 4))
    positions, found = molecule(), []
    for centre in ((0.0, 0.0, 0.0), (11.0, -7.0, 4.0)):
        springs = springs_of(group, centre)
        covariance = mean_covariance(springs, some_stiffness(springs))
        found.append(atom_covariances(covariance, positions, np.array(centre)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10, atol=1e-10 * found[0].max())


@pytest.mark.parametrize("group", ["P 1", "C 1 2 1", "P 43 21 2", "P 61"])
def test_grid_of_the_zone(group):
    """One of each set of mates counts as often as there are; where the grid has such sets."""
    rotations = springs_of(group).packing.rotations
    hkl, weights = zone_grid(6, rotations)
    assert weights.sum() == pytest.approx(1)
    assert len(hkl) == {"P 1": 108, "C 1 2 1": 54, "P 43 21 2": 18, "P 61": 108}[group]
    np.testing.assert_allclose(np.abs(hkl * 6 - 0.5) % 1, 0, atol=1e-12)


@pytest.mark.parametrize("group", ["P 1", "P 1 21 1", "P 43 21 2"])
def test_slopes(group, monkeypatch):
    """By springs, against central differences."""
    monkeypatch.setattr(averages, "POINTS", (2, 4))
    springs = springs_of(group)
    stiffness = some_stiffness(springs)
    by = RNG(3).normal(size=(6, 6))
    by = by + by.T
    found = covariance_slopes(springs, stiffness, by)
    for place in [(0, 0, 0), (springs.n_interfaces - 1, 5, 5), (1, 2, 4)]:
        change = np.zeros_like(stiffness)
        change[place] = change[place[0], place[2], place[1]] = 1e-5 * stiffness[place[0]].trace()
        ends = [
            np.sum(by * mean_covariance(springs, stiffness + sign * change)) for sign in (-1, 1)
        ]
        expected = (ends[1] - ends[0]) / (2 * change[place])
        slope = np.sum(found * change) / change[place]
        assert slope == pytest.approx(expected, rel=1e-6, abs=1e-9 * np.abs(found).max()), place


def test_slopes_of_the_motion_s_parts():
    """Through rotation's factor, screw and what is left, against central differences."""
    root = RNG(5).normal(size=(6, 6))
    covariance = root @ root.T
    by = RigidMotion(*RNG(6).normal(size=(3, 3, 3)))

    def total(changed):
        found = rigid_motion(changed)
        return sum(np.sum(getattr(by, x) * getattr(found, x)) for x in ("turn", "screw", "rest"))

    found = rigid_motion_slopes(rigid_motion(covariance), by)
    np.testing.assert_allclose(found, found.T)
    for i, j in product(range(6), repeat=2):
        change = np.zeros((6, 6))
        change[i, j] = change[j, i] = 1e-5
        expected = (total(covariance + change) - total(covariance - change)) / 2e-5
        assert np.sum(found * change) / 1e-5 == pytest.approx(expected, rel=1e-6), (i, j)


@pytest.mark.parametrize("alike", [True, False])
def test_changes_along_lengths(alike, monkeypatch):
    """C, and what of the translation no rotation takes along, against central differences."""
    monkeypatch.setattr(averages, "POINTS", (2, 4))
    lattice = RigidLattice(springs_of("P 1 21 1"))
    lengths = 1.3 if alike else tuple(np.linspace(0.8, 1.5, lattice.springs.n_interfaces).tolist())
    slopes = lattice.covariance_slopes(lengths)
    rest = rest_changes(lattice.covariance(lengths), slopes)
    ends = []
    for step in (-1e-4, 1e-4):
        moved = np.atleast_1d(lengths).copy()
        moved[0] += step
        ends.append(lattice.covariance(float(moved[0]) if alike else tuple(moved.tolist())))
    np.testing.assert_allclose(slopes[0], (ends[1] - ends[0]) / 2e-4, rtol=1e-5, atol=1e-7)
    before, after = (rigid_motion(end).rest for end in ends)
    np.testing.assert_allclose(rest[0], (after - before) / 2e-4, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("alike", [True, False])
def test_slopes_by_lengths(alike, monkeypatch):
    """Through stiffness and C at once, against central differences."""
    monkeypatch.setattr(averages, "POINTS", (2, 4))
    lattice = RigidLattice(springs_of("P 1 21 1"))
    n = lattice.springs.n_interfaces
    lengths = 1.3 if alike else tuple(np.linspace(0.8, 1.5, n).tolist())
    by_c, by_k = RNG(3).normal(size=(6, 6)), RNG(4).normal(size=(n, 6, 6))
    by_c = by_c + by_c.T

    def total(changed):
        stiffness = lattice.stiffness(changed)
        return np.sum(by_k * stiffness) + np.sum(by_c * mean_covariance(lattice.springs, stiffness))

    found = lattice.length_slopes(lengths, by_c, by_k)
    assert found.shape == ((1,) if alike else (n,))
    for place in {0, len(found) - 1}:
        ends = []
        for step in (-1e-5, 1e-5):
            moved = np.atleast_1d(lengths).copy()
            moved[place] += step
            ends.append(total(float(moved[0]) if alike else tuple(moved.tolist())))
        assert found[place] == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-6)


def test_a_hinge_is_refused():
    """Single atoms turn as they like."""
    packing = crystal_packing(np.zeros((1, 3)), (6.0, 6.0, 6.0, 90.0, 90.0, 90.0), "P 1", 6.5)
    with pytest.raises(InputError, match="without a spring that resists"):
        contact_springs(packing, np.zeros(3))


def test_mean_b_of_triclinic_lysozyme(data):
    """Figures of an independent implementation: one stiffness of 1 kT/Å² a pair."""
    model = gemmi.read_structure(str(data / "lysozyme" / "6o2h.pdb"))[0]
    atoms = [
        (a.pos.tolist(), a.altloc in "\0A" and gemmi.find_tabulated_residue(r.name).is_amino_acid())
        for r in model["A"]
        for a in r
        if not r.is_water() and a.element.name != "H"
    ]
    positions, own = (np.array(column) for column in zip(*atoms, strict=True))
    cell = (27.424, 32.134, 34.513, 88.66, 108.46, 111.88)
    springs = contact_springs(crystal_packing(positions, cell, "P 1"), positions.mean(axis=0))

    def mean_b(covariance):
        atoms_move = atom_covariances(covariance, positions[own], springs.centre)
        return 8 * np.pi**2 / 3 * np.trace(atoms_move, axis1=1, axis2=2).mean()

    for n, expected in {4: 0.447, 8: 0.474, 16: 0.487, 24: 0.4915}.items():
        hkl, weights = zone_grid(n, springs.packing.rotations)
        inverses = np.linalg.inv(springs.dynamical_matrices(springs.units, hkl)).real
        assert mean_b(np.tensordot(weights, inverses, 1)) == pytest.approx(expected, abs=6e-4)
    assert mean_b(mean_covariance(springs, springs.units)) == pytest.approx(0.500, abs=6e-4)
