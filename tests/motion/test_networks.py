"""Networks in their crystal: finite differences with explicit images, chains, Einstein crystals."""

from dataclasses import replace
from itertools import combinations_with_replacement, product

import gemmi
import numpy as np
import pytest
from builders import random_structure
from test_modes import rigid_motions

from hpc_diffuser.crystal.contacts import Contacts, crystal_contacts
from hpc_diffuser.motion import elastic_network
from hpc_diffuser.motion.b_shares import fit_shares
from hpc_diffuser.motion.elastic_network import internal_motion, network_hessian
from hpc_diffuser.motion.network_modes import network_modes
from hpc_diffuser.motion.network_options import Network
from hpc_diffuser.motion.slabs import SlabCholesky, slabs
from hpc_diffuser.motion.springs import CLOSEST_A, Neighbours, contact_hessian, sparse_hessian
from hpc_diffuser.system.errors import InputError

MONOCLINIC = ((8.0, 7.0, 9.0, 90.0, 104.0, 90.0), "P 1 21 1")
CUTOFF_A = 6.0


def images_of(displacements: np.ndarray, rest: np.ndarray, crystal: tuple) -> list[tuple]:
    """(places at rest, places now) of all copies but the first, by gemmi's operators, by turns.

    The copy x' = R x + t + n, in fractions of the cell, of atoms at rest and of displaced ones.
    """
    cell, group = gemmi.UnitCell(*crystal[0]), gemmi.SpaceGroup(crystal[1])
    copies = []
    for op, n in product(group.operations(), product((-2, -1, 0, 1, 2), repeat=3)):
        if op == gemmi.Op("x,y,z") and n == (0, 0, 0):
            continue
        placed = []
        for places in (rest, rest + displacements):
            fractions = [cell.fractionalize(gemmi.Position(*p)).tolist() for p in places]
            turned = [np.array(op.apply_to_xyz(f)) + n for f in fractions]
            placed.append([cell.orthogonalize(gemmi.Fractional(*f)).tolist() for f in turned])
        copies.append(tuple(np.array(p) for p in placed))
    return copies


def contact_energy(
    displacements: np.ndarray, rest: np.ndarray, crystal: tuple, together: bool
) -> float:
    """½ Σ (cutoff/r₀)² (r − r₀)² over the contacts of one molecule with all of its images.

    Neighbours that stand still are at rest, and each contact counts in full; where all copies
    move alike it lies between two molecules, and each has half of it.
    """
    energy = 0.0
    for still, moved in images_of(displacements, rest, crystal):
        for a, b in product(range(len(rest)), repeat=2):
            r0 = np.linalg.norm(still[b] - rest[a])
            if r0 >= CUTOFF_A:
                continue
            end = moved[b] if together else still[b]
            r = np.linalg.norm(end - rest[a] - displacements[a])
            share = 0.5 if together else 1.0
            energy += share * 0.5 * (CUTOFF_A / max(r0, CLOSEST_A)) ** 2 * (r - r0) ** 2
    return energy


@pytest.mark.parametrize("together", [False, True])
def test_contacts_are_the_second_derivative_of_their_energy(together):
    """E(+,+) − E(+,−) − E(−,+) + E(−,−) over 4ε², with all images made by gemmi's operators.

    At ε = 1e-3 Å the next term is ε²/r² of springs of up to 9: 1e-6, and rounding 1e-16·50/ε².
    """
    rest, step = np.random.default_rng(3).uniform(0, 5, (3, 3)), 1e-3
    expected = np.empty((9, 9))
    for i, j in combinations_with_replacement(range(9), 2):
        total = 0.0
        for first, second in product((1, -1), repeat=2):
            moved = np.zeros(9)
            moved[i] += first * step
            moved[j] += second * step
            energy = contact_energy(moved.reshape(3, 3), rest, MONOCLINIC, together)
            total += first * second * energy
        expected[i, j] = expected[j, i] = total / (4 * step**2)
    contacts = crystal_contacts(rest, *MONOCLINIC, CUTOFF_A)
    hessian = contact_hessian(Neighbours(contacts, 1.0, together), 3, CUTOFF_A).toarray()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(hessian, expected, atol=1e-5 * np.abs(expected).max())


def test_chain_at_k_0():
    """Two atoms by turns 2 and 3 Å apart along a: phonons of a diatomic chain at k = 0.

    Springs k₁ = (10/2)²... with a cutoff of 4 Å only neighbours are joined: k₁ = (4/2)² = 4 inside
    the molecule and k₂ = (4/3)² to the next one. All copies moving alike, the acoustic phonon
    has λ = 0 and the optical one, (1, −1)/√2, λ = 2 (k₁ + k₂); mass 1 (Kittel, ch. 4).
    """
    positions = np.array([[0.0, 0, 0], [2, 0, 0]])
    contacts = crystal_contacts(positions, (5, 50, 50, 90, 90, 90), "P 1", 4.0)
    around = contact_hessian(Neighbours(contacts, 1.0, together=True), 2, 4.0).toarray()
    along = (network_hessian(positions, 4.0) + around)[::3, ::3]
    np.testing.assert_allclose(np.linalg.eigvalsh(along), [0, 2 * (4 + 16 / 9)], atol=1e-12)


def test_chain_with_neighbours_that_stand_still():
    """The same, its ends tied to the ground by k₂: λ = k₂ for both alike, 2 k₁ + k₂ against."""
    positions = np.array([[0.0, 0, 0], [2, 0, 0]])
    contacts = crystal_contacts(positions, (5, 50, 50, 90, 90, 90), "P 1", 4.0)
    around = contact_hessian(Neighbours(contacts, 0.5), 2, 4.0).toarray()
    along = (network_hessian(positions, 4.0) + around)[::3, ::3]
    np.testing.assert_allclose(np.linalg.eigvalsh(along), [8 / 9, 8 + 8 / 9], atol=1e-12)


def test_rotating_copies_push_alike():
    """On opposite sides of a twofold axis along b, 3 Å from it: x → −x for the copy.

    Of r = x_a − x_b' = 2 x_a the spring's energy is ½ k (2u)², of which each atom has half:
    λ = 2k along x, with k = (6/6)² = 1; along b both move alike, and nothing is stretched.
    """
    positions, cell = np.array([[3.0, 0, 0]]), (60.0, 60.0, 60.0, 90.0, 90.0, 90.0)
    contacts = crystal_contacts(positions, cell, "P 1 2 1", 7.0)
    hessian = contact_hessian(Neighbours(contacts, 36 / 49, together=True), 1, 7.0).toarray()
    np.testing.assert_allclose(hessian, np.diag([2.0, 0, 0]), atol=1e-12)


def einstein(stiffness: np.ndarray) -> Contacts:
    """Every atom between six fixed neighbours 1 cutoff away along ±x, ±y, ±z, weighted."""
    n = len(stiffness)
    steps = np.concatenate([np.eye(3), -np.eye(3)]) * CUTOFF_A
    atoms = np.repeat(np.arange(n), 6)
    return Contacts(atoms, atoms, np.tile(steps, (n, 1)), np.tile(np.eye(3), (6 * n, 1, 1)))


def test_einstein_crystal(monkeypatch):
    """No springs inside (all atoms farther apart than the cutoff): ⟨|u|²⟩ = 3/(2k), but for what
    goes with the six rigid motions.

    Each atom between two springs k per axis has H = 2k·1, whose inverse inside is P/2k with P the
    projection onto internal motion: Σ_a ⟨|u_a|²⟩ = (3N − 6)/2k, and atom by atom the diagonal of P.
    """
    positions = np.array(list(product((0.0, 9.0, 18.0), repeat=3)))
    around = Neighbours(einstein(np.ones(27)), 0.7)
    rigid = np.linalg.qr(rigid_motions(positions).reshape(6, -1).T)[0]
    inside = 1 - np.sum(rigid**2, axis=1)
    expected = inside.reshape(-1, 3).sum(axis=1) / 1.4
    for atoms in (elastic_network.DENSE_ATOMS, 10):
        monkeypatch.setattr(elastic_network, "DENSE_ATOMS", atoms)
        motion = internal_motion(positions, 5, around, CUTOFF_A)
        np.testing.assert_allclose(motion.squares, expected, rtol=1e-10)
        np.testing.assert_allclose(motion.stiffness, 1.4, rtol=1e-10)
        assert motion.squares.sum() == pytest.approx((3 * 27 - 6) / 1.4)


@pytest.fixture(scope="module")
def molecule():
    """300 atoms in a rod of 40 x 12 x 12 Å, and a cell for it."""
    structure = random_structure(np.random.default_rng(5), 300)
    scaled = structure.positions / 5.0 * np.array([20.0, 6.0, 6.0])
    turn = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))[0]
    return replace(structure, positions=scaled @ turn.T)


CELL = (30.0, 26.0, 28.0, 80.0, 95.0, 100.0)


@pytest.mark.parametrize("case", ["none", "clamped", "together"])
def test_internal_motion_is_the_covariance_after_superposition(molecule, case):
    """P H⁻¹ P, by inverting H + εRRᵀ outright: all atoms' squares and the softest modes.

    For a molecule alone rigid motions are free and ε any: they are projected out. P 1 copies that
    move alike leave translations free as well.
    """
    positions = molecule.positions
    hessian = network_hessian(positions, 10.0)
    around = None
    if case != "none":
        around = Neighbours(crystal_contacts(positions, CELL, "P 1", 10.0), 0.3, case == "together")
        hessian += contact_hessian(around, 300, 10.0).toarray()
    rigid = np.linalg.qr(rigid_motions(positions).reshape(6, -1).T)[0]
    shifts = np.linalg.qr(rigid_motions(positions)[:3].reshape(3, -1).T)[0]
    free = {"none": rigid, "together": shifts, "clamped": rigid[:, :0]}[case]
    inside = np.eye(900) - rigid @ rigid.T
    covariance = inside @ np.linalg.inv(hessian + 30.0 * free @ free.T) @ inside
    motion = internal_motion(positions, 8, around)
    expected = np.diag(covariance).reshape(-1, 3).sum(axis=1)
    np.testing.assert_allclose(motion.squares, expected, rtol=1e-8)
    variances, columns = np.linalg.eigh(covariance)
    np.testing.assert_allclose(1 / motion.stiffness, variances[::-1][:8], rtol=1e-8)
    overlaps = motion.vectors.reshape(8, -1) @ columns[:, ::-1][:, :8] / np.sqrt(300)
    np.testing.assert_allclose(np.abs(overlaps), np.eye(8), atol=1e-6)


@pytest.mark.parametrize("clamped", [False, True])
def test_slabs_and_the_whole_matrix_agree(molecule, monkeypatch, clamped):
    """To rounding: modes, stiffness, and every atom's squares."""
    contacts = crystal_contacts(molecule.positions, CELL, "P 1", 10.0)
    around = Neighbours(contacts, 0.3) if clamped else None
    whole = internal_motion(molecule.positions, 12, around)
    monkeypatch.setattr(elastic_network, "DENSE_ATOMS", 100)
    assert len(slabs(molecule.positions, 10.0)[1]) >= 3
    by_slabs = internal_motion(molecule.positions, 12, around)
    np.testing.assert_allclose(by_slabs.stiffness, whole.stiffness, rtol=1e-9)
    np.testing.assert_allclose(by_slabs.vectors, whole.vectors, atol=1e-8)
    np.testing.assert_allclose(by_slabs.squares, whole.squares, rtol=1e-9)


def test_sparse_matrix_is_the_whole_one(molecule):
    """Element by element."""
    sparse = sparse_hessian(molecule.positions, 10.0).toarray()
    whole = network_hessian(molecule.positions, 10.0)
    np.testing.assert_allclose(sparse, whole, atol=1e-13 * np.abs(whole).max())


def test_block_tridiagonal_factors():
    """Solutions and the inverse's diagonal against numpy's, of five blocks of unequal size."""
    rng, ends = np.random.default_rng(2), [3, 4, 9, 11, 17]
    block = np.searchsorted(ends, np.arange(17), side="right")
    matrix = rng.normal(size=(17, 17)) * (np.abs(block[:, None] - block) <= 1)
    matrix = matrix + matrix.T + 20 * np.eye(17)
    factors = SlabCholesky(elastic_network.csr_array(matrix), ends)
    right = rng.normal(size=(17, 2))
    np.testing.assert_allclose(factors.solve(right), np.linalg.solve(matrix, right), rtol=1e-10)
    found = factors.solve(right[:, 0])
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right[:, 0]), rtol=1e-10)
    expected = np.diag(np.linalg.inv(matrix))
    np.testing.assert_allclose(factors.diagonal_of_inverse(), expected, rtol=1e-10)


def test_slabs_are_as_thick_as_asked_for(molecule):
    """Atoms of slabs that are no neighbours lie farther apart than a spring is long."""
    order, ends = slabs(molecule.positions, 10.0)
    placed = molecule.positions[order]
    assert sorted(order) == list(range(300)) and ends[-1] == 300
    for i in range(len(ends) - 2):
        before, after = placed[: ends[i]], placed[ends[i + 1] :]
        assert np.linalg.norm(before[:, None] - after, axis=2).min() >= 10.0


@pytest.mark.parametrize("wanted", [(0.3, 1.2, 0.05), (0.0, 2.0, 0.02), (0.4, 0.0, 0.0)])
def test_shares_of_b_factors_are_found(molecule, wanted):
    """B made of known shares: σ_t and σ_r come back, and shares are those of the mean.

    B = 8π²σ_t², and of libration 8π²/3 · 2σ_r²r² (`configurations.mean_square_displacements`).
    """
    rng = np.random.default_rng(8)
    squares, lever = rng.uniform(1, 9, 300), np.sum((molecule.positions - 1.0) ** 2, axis=1)
    sigma, degrees, square = wanted
    parts = np.array(
        [
            np.full(300, 8 * np.pi**2 * sigma**2),
            16 * np.pi**2 / 3 * np.radians(degrees) ** 2 * lever,
            8 * np.pi**2 / 3 * square * squares,
        ]
    )
    found = fit_shares(parts.sum(axis=0), squares, molecule.positions, np.ones(3))
    sizes = found.translation_sigma_A, found.libration_sigma_deg, found.square_A2
    np.testing.assert_allclose(sizes, wanted, atol=1e-6)
    shares = found.translation, found.libration, found.internal
    np.testing.assert_allclose(shares, parts.mean(axis=1) / parts.mean(axis=1).sum(), atol=1e-6)
    assert found.cc == pytest.approx(1.0) or (np.isnan(found.cc) and wanted[1:] == (0, 0))


def test_unknown_b_factors_are_left_out(molecule):
    """B of 0: the atom is named, and the fit is that of the others."""
    b = molecule.b_factors_A2.copy()
    b[[7, 11]] = 0
    structure = replace(molecule, b_factors_A2=b)
    vectors, amplitudes, notes = network_modes(structure, (CELL, "P 1"), 3, Network())
    told = next(note for note in notes if "left out of the fit" in note)
    assert "2 atoms" in told and "A/GLY 8/CA, A/GLY 12/CA" in told
    assert any("B-factors    of 298 atoms" in note for note in notes)
    assert vectors.shape == (3, 300, 3) and amplitudes.min() > 0


@pytest.mark.parametrize(("b", "total_A"), [(0.0, 0.3), (20.0, np.sqrt(60 / (8 * np.pi**2)))])
def test_b_factors_that_show_no_internal_motion(molecule, b, total_A):
    """All 0: 0.3 Å rms. All the same: a translation's; kept modes make up the mean then: told."""
    structure = replace(molecule, b_factors_A2=np.full(300, b))
    _, amplitudes, notes = network_modes(structure, (CELL, "P 1"), 3, Network())
    assert np.linalg.norm(amplitudes) == pytest.approx(total_A)
    told = "nothing of the network's motion" if b else "none above 0"
    assert any(told in note for note in notes)


def test_network_without_neighbours_in_reach(molecule):
    """A cell of 200 Å: said, and the modes are those of a molecule alone."""
    far = ((200.0, 200.0, 200.0, 90.0, 90.0, 90.0), "P 1")
    found = network_modes(molecule, far, 3, Network())
    alone = network_modes(molecule, far, 3, Network(neighbours="none"))
    np.testing.assert_array_equal(found[0], alone[0])
    assert "no neighbour within 10 Å" in found[2][0]


def test_large_network_that_falls_apart(molecule, monkeypatch):
    """Slab by slab as well: two halves 100 Å apart, whatever the slab between them is."""
    monkeypatch.setattr(elastic_network, "DENSE_ATOMS", 100)
    positions = molecule.positions.copy()
    positions[150:] += 100
    with pytest.raises(InputError, match=r"falls apart at a cutoff of 10\.0 Å"):
        internal_motion(positions, 3)


def test_neighbours_make_a_molecule_stiffer(molecule):
    """Every mode's stiffness rises with the contacts', and tends to a molecule's alone without.

    Both are eigenvalues of P-projected matrices of which one exceeds the other by a positive
    semi-definite one (Weyl).
    """
    contacts = crystal_contacts(molecule.positions, CELL, "P 1", 10.0)
    rows = [internal_motion(molecule.positions, 5).stiffness]
    for strength in (1e-6, 0.3, 1.0):
        motion = internal_motion(molecule.positions, 5, Neighbours(contacts, strength))
        rows.append(motion.stiffness)
    assert (np.diff(rows, axis=0) > -1e-9).all()
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-4)
