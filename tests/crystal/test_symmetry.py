"""Laue averages against crystals built molecule by molecule from gemmi's operations."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from builders import TRICLINIC, direct_sum, laue_mates, random_structure, s_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.crystal.lattice import (
    HklGrid,
    canonical_mates,
    first_of_friedel_pair,
    fractionalization,
    grid_to_resolution,
    laue_operations,
    laue_zones,
)
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.crystal.symmetry import (
    average_over_mates,
    grid_operations,
    laue_expansion,
    one_of_each_inverse,
    unique_indices,
)
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation, DirectModel
from hpc_diffuser.system.errors import InputError

HEXAGONAL = (18.0, 18.0, 25.0, 90.0, 90.0, 120.0)
RHOMBOHEDRAL = (14.0, 14.0, 14.0, 81.0, 81.0, 81.0)
# Space group → cell of its system; number of molecules in the cell, centring included.
CRYSTALS = {
    "P 1": (TRICLINIC, 1),
    "P 1 21 1": ((13.0, 12.0, 11.0, 90.0, 103.0, 90.0), 2),
    "P 21 21 21": ((17.0, 21.0, 26.0, 90.0, 90.0, 90.0), 4),
    "P 41": ((18.0, 18.0, 25.0, 90.0, 90.0, 90.0), 4),
    "P 43 21 2": ((18.0, 18.0, 25.0, 90.0, 90.0, 90.0), 8),
    "R 3:H": (HEXAGONAL, 9),
    "P 6": (HEXAGONAL, 6),
    "I 2 3": ((23.0, 23.0, 23.0, 90.0, 90.0, 90.0), 24),
    "P 4 3 2": ((23.0, 23.0, 23.0, 90.0, 90.0, 90.0), 24),
}
SIGMA_A = 0.6


def grid_of(space_group: str, extent: int = 40) -> HklGrid:
    """Oversampled as finely as the symmetry allows to differ: 5 along l, or 6 where l mixes."""
    unit_cell = CRYSTALS[space_group][0]
    return HklGrid(unit_cell, (6, 6, 6 if unit_cell[0] == unit_cell[2] else 5), (extent,) * 3)


def random_indices(n: int, reach: int = 40) -> np.ndarray:
    """Samples between the peaks, both Friedel mates possible: (n, 3) int."""
    return np.random.default_rng(1).integers(-reach, reach + 1, (n, 3))


def rigid_body_intensity(structure: Structure, s: np.ndarray) -> np.ndarray:
    """|F(s)|² (1 − exp(−q²σ²)), q = 2π|s|, of one molecule that translates as a whole."""
    q_sigma = 2 * np.pi * SIGMA_A * np.linalg.norm(s, axis=1)
    return np.abs(direct_sum(structure, s)) ** 2 * -np.expm1(-(q_sigma**2))


def copies(structure: Structure, unit_cell, space_group: str) -> list[Structure]:
    """All molecules of a cell: x' = R x + t for gemmi's operations, centring included."""
    to_fractional = fractionalization(unit_cell)
    fractional = structure.positions @ to_fractional.T
    molecules = []
    for op in gemmi.find_spacegroup_by_name(space_group).operations():
        moved = np.array([op.apply_to_xyz(x) for x in fractional.tolist()])
        molecules.append(replace(structure, positions=moved @ np.linalg.inv(to_fractional).T))
    return molecules


def as_set(indices: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, np.asarray(indices).tolist()))


@pytest.mark.parametrize("space_group", CRYSTALS)
def test_molecules_of_a_cell_add_intensities(space_group):
    """Σ over copies of |F_c|² (1 − exp(−q²σ²)) is their number times the Laue average of one.

    A copy at R x + t has F_c(h) = exp(2πi h·t) F(h R) for row vectors h, so its intensity is
    |F(h R)|² times the same Debye-Waller term, as |s| of h R is that of h. Each rotation, with
    its inverse-through-Friedel −R, makes up the Laue class once; G/2 columns of mates stand for
    it, each as often as the others. Double precision throughout: 1e-9.
    """
    unit_cell, n_copies = CRYSTALS[space_group]
    grid, indices = grid_of(space_group), random_indices(25)
    molecule = random_structure(np.random.default_rng(0), 9)
    molecules = copies(molecule, unit_cell, space_group)
    assert len(molecules) == n_copies
    expected = sum(rigid_body_intensity(m, s_vectors(grid, indices)) for m in molecules)
    operations = grid_operations(grid, space_group)
    expanded, mates = laue_expansion(indices, grid.divisions, operations)
    one = rigid_body_intensity(molecule, s_vectors(grid, expanded))
    np.testing.assert_allclose(n_copies * average_over_mates(one, mates), expected, rtol=1e-9)


@pytest.mark.parametrize("space_group", sorted(set(CRYSTALS) - {"P 1"}))
def test_one_molecule_alone_is_not_symmetric(space_group):
    """The average of the test above is not of equal numbers: mates differ by tens of percent."""
    grid, indices = grid_of(space_group), random_indices(25)
    operations = grid_operations(grid, space_group)
    expanded, mates = laue_expansion(indices, grid.divisions, operations)
    molecule = random_structure(np.random.default_rng(0), 9)
    one = rigid_body_intensity(molecule, s_vectors(grid, expanded))[mates]
    assert np.median(one.std(axis=1) / one.mean(axis=1)) > 0.2


@pytest.mark.parametrize("space_group", CRYSTALS)
def test_expansion_is_gemmis_mates(space_group):
    """Each sample's rows are, with their Friedel mates, all that gemmi's operations make of it.

    `expanded` is sorted, without repeats, one of each Friedel pair, and nothing more than needed.
    """
    indices = np.concatenate([random_indices(40), random_indices(20, 2), [[0, 0, 0], [0, 0, 6]]])
    operations = laue_operations(space_group)
    expanded, mates = laue_expansion(indices, (6, 6, 6), operations)
    assert mates.shape == (len(indices), len(operations) // 2)
    for index, rows in zip(indices, mates, strict=True):
        found = expanded[rows]
        assert as_set(found) | as_set(-found) == laue_mates(index, space_group)
        # Special positions: each mate as often as any other.
        assert len(set(np.unique(rows, return_counts=True)[1])) == 1
    np.testing.assert_array_equal(expanded, np.unique(expanded, axis=0))
    assert first_of_friedel_pair(expanded).all()
    assert set(mates.ravel()) == set(range(len(expanded)))


def test_expansion_in_p1_is_the_indices():
    """The Laue class -1 has only Friedel's law: nothing is added, nothing averaged."""
    grid = grid_to_resolution(TRICLINIC, (3, 4, 5), 3.0)
    indices = grid.indices_between(9.0, 3.0)
    expanded, mates = laue_expansion(indices, grid.divisions, laue_operations("P 1"))
    np.testing.assert_array_equal(expanded, indices)
    np.testing.assert_array_equal(mates, np.arange(len(indices))[:, None])
    values = np.random.default_rng(0).random(len(indices))
    np.testing.assert_array_equal(average_over_mates(values, mates), values)


def test_expansion_of_nothing():
    """No samples have no mates."""
    nothing = np.empty((0, 3), np.int64)
    expanded, mates = laue_expansion(nothing, (1, 1, 1), laue_operations("P 41"))
    assert mates.shape == (0, 4)
    assert average_over_mates(np.empty(0), mates).shape == (0,)
    assert expanded.shape == (0, 3)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(CRYSTALS)),
    st.lists(st.tuples(*[st.integers(-9, 9)] * 3), min_size=1, max_size=8),
)
def test_average_is_the_same_at_all_mates(space_group, samples):
    """The average over Laue mates is Laue symmetric, whatever is averaged: here a hash of hkl."""
    operations = laue_operations(space_group)
    indices = np.array(samples)
    mates_too = np.concatenate([indices @ operation for operation in operations])
    expanded, mates = laue_expansion(mates_too, (6, 6, 6), operations)
    values = np.modf(np.sin(expanded @ [12.9898, 78.233, 37.719]) * 43758.5453)[0]
    average = average_over_mates(values, mates).reshape(len(operations), len(indices))
    np.testing.assert_allclose(average, np.broadcast_to(average[0], average.shape), atol=1e-12)


def test_average_is_in_double_precision():
    """Of 2²⁴ and three times 1 the mean is 2²² + 3/4: float32 sums would lose all three ones."""
    values = np.array([2**24, 1], np.float32)
    average = average_over_mates(values, np.array([[0, 1, 1, 1]]))
    assert average.dtype == np.float64
    assert average[0] == 2**22 + 0.75


@pytest.mark.parametrize("space_group", CRYSTALS)
def test_operations_and_their_inverses(space_group):
    """One of each W, −W; the identity among them, so that a sample is its own first mate."""
    operations = laue_operations(space_group)
    half = one_of_each_inverse(operations)
    assert len(half) == len(operations) // 2
    assert as_set(np.concatenate([half, -half]).reshape(-1, 9)) == as_set(operations.reshape(-1, 9))
    assert as_set(np.eye(3, dtype=int).reshape(1, 9)) <= as_set(half.reshape(-1, 9))


@pytest.mark.parametrize("space_group", CRYSTALS)
def test_unique_indices_are_canonical_mates(space_group):
    """Of all samples in a range: the set of their canonical mates, h ≥ 0 and first of its pair."""
    grid = grid_to_resolution(CRYSTALS[space_group][0], (2, 2, 2), 4.0)
    operations = grid_operations(grid, space_group)
    found = unique_indices(grid, 9.0, 4.0, operations)
    everything = grid.indices_between(9.0, 4.0)
    np.testing.assert_array_equal(found, np.unique(canonical_mates(everything, operations), axis=0))
    assert first_of_friedel_pair(found).all()
    np.testing.assert_array_equal(laue_expansion(found, (2, 2, 2), operations)[0], everything)


@pytest.mark.parametrize("space_group", sorted(set(CRYSTALS) - {"P 1"}))
@pytest.mark.parametrize("n", [4, 5, 7])
def test_zones_are_the_same_for_all_mates(space_group, n):
    """Every mate that gemmi's operations make, also half-way between peaks, is in one zone."""
    operations = laue_operations(space_group)
    for index in random_indices(60, 3 * n):
        mates = np.array(sorted(laue_mates(index, space_group)))
        assert len(as_set(laue_zones(mates, (n, n, n), operations))) == 1


@pytest.mark.parametrize("name", ["R 3", "R 3:H", "H 3", "R3"])
def test_rhombohedral_groups_on_hexagonal_axes(name):
    """a = b, γ = 120°: threefold axis along c, whatever the name says of the axes."""
    grid = HklGrid(HEXAGONAL, (5, 5, 4), (9, 9, 9))
    np.testing.assert_array_equal(grid_operations(grid, name), laue_operations("R 3:H"))


@pytest.mark.parametrize("name", ["R 3", "R 3:R"])
def test_rhombohedral_groups_on_rhombohedral_axes(name):
    """a = b = c, α = β = γ: the threefold axis permutes h, k, l."""
    grid = HklGrid(RHOMBOHEDRAL, (5, 5, 5), (9, 9, 9))
    operations = grid_operations(grid, name)
    assert as_set(np.array([1, 2, 3]) @ operations) == {
        *((1, 2, 3), (2, 3, 1), (3, 1, 2)),
        *((-1, -2, -3), (-2, -3, -1), (-3, -1, -2)),
    }


@pytest.mark.parametrize(
    "space_group, unit_cell",
    [
        ("P 41", (18.0, 18.1, 25.0, 90.0, 90.0, 90.0)),
        ("P 41", (18.0, 18.0, 25.0, 90.0, 90.0, 90.5)),
        ("P 21 21 21", TRICLINIC),
        ("P 1 21 1", (13.0, 12.0, 11.0, 90.0, 90.0, 103.0)),
        ("I 2 3", (23.0, 23.0, 23.2, 90.0, 90.0, 90.0)),
        ("R 3:H", RHOMBOHEDRAL),
        ("R 3:R", HEXAGONAL),
        ("P 6", (18.0, 18.0, 25.0, 90.0, 90.0, 60.0)),
    ],
)
def test_cells_of_another_system_are_refused(space_group, unit_cell):
    """Operations that change lengths: group and cell are named, and what to do."""
    with pytest.raises(InputError, match=r"does not fit the unit cell.*correct the cell") as error:
        grid_operations(HklGrid(unit_cell, (5, 5, 5), (9, 9, 9)), space_group)
    assert f'"{space_group}"' in str(error.value) and "\n" not in str(error.value)


def test_cells_need_not_fit_exactly():
    """Refined without constraints, a and b may differ by 0.05 %, angles by 0.02°."""
    unit_cell = (18.0, 18.009, 25.0, 90.0, 90.02, 89.98)
    assert len(grid_operations(HklGrid(unit_cell, (5, 5, 5), (9, 9, 9)), "P 41")) == 8


@pytest.mark.parametrize(
    "space_group, divisions, axes",
    [
        ("P 41", (5, 6, 5), "h and k"),
        ("R 3:H", (5, 6, 5), "h and k"),
        ("I 2 3", (5, 5, 6), "h and l"),
        ("P 43 21 2", (6, 5, 5), "h and k"),
    ],
)
def test_divisions_that_operations_mix_are_refused(space_group, divisions, axes):
    """A mate of a sample would lie between samples: the axes are named, and what to do."""
    grid = HklGrid(CRYSTALS[space_group][0], divisions, (9, 9, 9))
    with pytest.raises(InputError, match=rf"mixes {axes}: expected as many.*resample"):
        grid_operations(grid, space_group)
    with pytest.raises(InputError, match=rf"mixes {axes}: expected as many"):
        laue_expansion(random_indices(3), divisions, laue_operations(space_group))


@pytest.mark.parametrize(
    "space_group, divisions", [("P 21 21 21", (3, 4, 5)), ("P 41", (3, 3, 5)), ("P 1", (3, 4, 5))]
)
def test_divisions_that_operations_leave_apart_may_differ(space_group, divisions):
    """Axes that no operation mixes are sampled as one likes."""
    grid = HklGrid(CRYSTALS[space_group][0], divisions, (9, 9, 9))
    assert len(grid_operations(grid, space_group))


@pytest.mark.parametrize("how", [Computation(grid="target"), Computation(grid="band-limited")])
@pytest.mark.parametrize("space_group", CRYSTALS)
def test_model_of_a_crystal(space_group, how):
    """The program's model against every copy of the molecule in the cell, atom by atom.

    Per molecule, so the copies' sum over their number. Single precision leaves 1e-4 rms;
    interpolation is good to 1e-3 where many pairs' errors are independent, which those of twelve
    atoms are not: five times that.
    """
    structure = random_structure(np.random.default_rng(5), 12, radius_A=3.0)
    grid = replace(grid_of(space_group), divisions=(4, 4, 4))
    operations = grid_operations(grid, space_group)
    indices = unique_indices(grid, 9.0, 3.0, operations)
    unit_cell = grid.unit_cell
    modes = Modes(structure, np.empty((0, 12, 3)), np.empty(0), unit_cell, space_group)
    model = forward_model(modes, grid, indices, Ranks(), how)
    assert isinstance(model.molecule, DirectModel) == (how.grid == "target")
    found = model.rigid(Parameters(np.empty(0), Disorder(SIGMA_A)))
    some = np.random.default_rng(6).choice(len(indices), 200, replace=False)
    s = s_vectors(grid, indices[some])
    every = [rigid_body_intensity(copy, s) for copy in copies(structure, unit_cell, space_group)]
    expected = np.mean(every, axis=0)
    error = np.sqrt(np.mean((found[some] - expected) ** 2) / np.mean(expected**2))
    assert error < (1e-4 if how.grid == "target" else 5e-3)
