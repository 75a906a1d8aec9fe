"""Reciprocal space against gemmi and against brute force over whole boxes of indices."""

import gemmi
import numpy as np
import pytest
from builders import TRICLINIC, gemmi_inverse_d_squared, laue_mates
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.crystal.lattice import (
    HklGrid,
    brillouin_zone,
    canonical_mates,
    check_unit_cell,
    distance_to_bragg,
    first_of_friedel_pair,
    grid_to_resolution,
    inverse_d_squared,
    laue_operations,
    same_unit_cell,
)
from hpc_diffuser.system.errors import InputError

CELLS = [
    TRICLINIC,
    (27.424, 32.134, 34.513, 88.66, 108.46, 111.88),
    (20.0, 20.0, 31.0, 90.0, 90.0, 120.0),
    (15.0, 11.0, 23.0, 90.0, 97.3, 90.0),
]
# Space group → order of its Laue class: -1, 2/m, mmm, 4/m, -3, 6/m, m-3, m-3m.
LAUE_ORDERS = {
    "P 1": 2,
    "P 1 21 1": 4,
    "C 1 2 1": 4,
    "P 21 21 21": 8,
    "P 41": 8,
    "R 3:H": 6,
    "P 6": 12,
    "P 61 2 2": 24,
    "I 2 3": 24,
    "P 4 3 2": 48,
}
CELL_OF = {
    "R 3:H": (9.0, 9.0, 14.0, 90.0, 90.0, 120.0),
    "P 6": (9.0, 9.0, 14.0, 90.0, 90.0, 120.0),
    "P 61 2 2": (9.0, 9.0, 14.0, 90.0, 90.0, 120.0),
    "P 41": (9.0, 9.0, 14.0, 90.0, 90.0, 90.0),
    "I 2 3": (9.0, 9.0, 9.0, 90.0, 90.0, 90.0),
    "P 4 3 2": (9.0, 9.0, 9.0, 90.0, 90.0, 90.0),
    "P 21 21 21": (8.0, 9.0, 11.0, 90.0, 90.0, 90.0),
    "P 1 21 1": (8.0, 9.0, 11.0, 90.0, 103.0, 90.0),
    "C 1 2 1": (8.0, 9.0, 11.0, 90.0, 103.0, 90.0),
    "P 1": (8.0, 9.0, 11.0, 80.0, 103.0, 94.0),
}


def box(extent: tuple[int, int, int]) -> np.ndarray:
    """Every index of a box symmetric about 000: (V, 3) int."""
    axes = np.meshgrid(*(np.arange(-m, m + 1) for m in extent), indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, 3)


def as_set(indices) -> set[tuple[int, ...]]:
    return set(map(tuple, np.asarray(indices).tolist()))


@pytest.mark.parametrize("unit_cell", CELLS, ids=str)
def test_resolution_agrees_with_gemmi(unit_cell):
    """|s|² = hᵀG*h of 200 indices, to rounding: 1e-12."""
    hkl = np.random.default_rng(0).integers(-12, 13, (200, 3))
    np.testing.assert_allclose(
        inverse_d_squared(hkl, unit_cell), gemmi_inverse_d_squared(hkl, unit_cell), rtol=1e-12
    )


@pytest.mark.parametrize("divisions", [(1, 1, 1), (7, 7, 7), (2, 3, 5)], ids=str)
def test_resolution_between_the_peaks_agrees_with_gemmi(divisions):
    """Sample i is at h = i/n: as far out as peak i of the cell with n times the edges."""
    indices = np.random.default_rng(0).integers(-30, 31, (200, 3))
    expected = gemmi_inverse_d_squared(indices, TRICLINIC, divisions)
    grid = HklGrid(TRICLINIC, divisions, (30, 30, 30))
    np.testing.assert_allclose(grid.inverse_d_squared(indices), expected, rtol=1e-12)
    hkl = indices / np.array(divisions)
    np.testing.assert_allclose(inverse_d_squared(hkl, TRICLINIC), expected, rtol=1e-12)


def test_axes_are_fractional_miller_indices():
    """Extent 3 at 2 samples per unit: −3/2 to 3/2 in steps of 1/2, 7 points."""
    grid = HklGrid(TRICLINIC, (2, 1, 4), (3, 1, 5))
    np.testing.assert_array_equal(grid.axis(0), [-1.5, -1, -0.5, 0, 0.5, 1, 1.5])
    assert grid.shape == (7, 3, 11)


@pytest.mark.parametrize("unit_cell", CELLS, ids=str)
@pytest.mark.parametrize("d_range", [(7.77, 4.1), (np.inf, 4.1)], ids=str)
def test_samples_in_a_resolution_range(unit_cell, d_range):
    """Exactly the samples of the box that gemmi puts in the range, one of each Friedel pair.

    The samples found and their inverses are the brute-force set; they have only 000 in common.
    """
    d_max, d_min = d_range
    grid = grid_to_resolution(unit_cell, (2, 3, 1), d_min)
    found = grid.indices_between(d_max, d_min)
    everything = box(grid.extent)
    d = 1 / np.sqrt(np.maximum(gemmi_inverse_d_squared(everything, unit_cell, (2, 3, 1)), 1e-99))
    expected = as_set(everything[(d >= d_min) & (d <= d_max)])
    assert as_set(found) | as_set(-found) == expected
    assert as_set(found) & as_set(-found) == {(0, 0, 0)} & expected
    assert len(found) == len(as_set(found))


def test_samples_are_sorted_with_h_not_negative():
    """Ascending h, then k, then l: the order that files and ranks rely on."""
    found = grid_to_resolution(TRICLINIC, (3, 2, 2), 3.0).indices_between(9.0, 3.0)
    assert found[:, 0].min() == 0
    np.testing.assert_array_equal(found, found[np.lexsort(found.T[::-1])])


def test_samples_on_the_edges_of_the_range_are_inside():
    """d_min ≤ d ≤ d_max: in a cubic cell 100 is at d = a and 200 at d = a/2 exactly."""
    for a in np.round(np.linspace(5, 60, 111), 2):
        cell = (a, a, a, 90.0, 90.0, 90.0)
        found = as_set(grid_to_resolution(cell, (1, 1, 1), a / 2).indices_between(a, a / 2))
        assert {(1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0), (0, 2, 0), (0, 0, 2)} <= found, a


@pytest.mark.parametrize("unit_cell", CELLS, ids=str)
def test_grid_holds_the_sphere(unit_cell):
    """No sample of a box three larger on all sides lies in the sphere but outside the grid."""
    divisions, d_min = (2, 1, 3), 4.3
    extent = np.array(grid_to_resolution(unit_cell, divisions, d_min).extent)
    larger = box(tuple(extent + 3))
    s2 = gemmi_inverse_d_squared(larger, unit_cell, divisions)
    outside = (np.abs(larger) > extent).any(axis=1)
    assert s2[outside].min() > 1 / d_min**2


@pytest.mark.parametrize("unit_cell", CELLS, ids=str)
def test_grid_is_the_smallest(unit_cell):
    """Each outermost plane cuts the sphere: its point nearest 000 is s = (i/n) a/|a|².

    (That point has h = s·a = i/n, and the shortest s of all that have.)
    """
    divisions, d_min = (2, 1, 3), 4.3
    extent = grid_to_resolution(unit_cell, divisions, d_min).extent
    orthogonalization = np.array(gemmi.UnitCell(*unit_cell).orth.mat.tolist())
    for i, edge in enumerate(orthogonalization.T):
        nearest = extent[i] / divisions[i] * edge / (edge @ edge)
        assert np.linalg.norm(nearest) <= 1 / d_min
        assert (extent[i] + 1) / divisions[i] / np.linalg.norm(edge) > 1 / d_min


@given(st.tuples(*[st.integers(-50, 50)] * 3))
def test_one_of_each_friedel_pair_comes_first(index):
    """Of i and −i exactly one, with h ≥ 0; 000 is its own mate and comes first."""
    index = np.array(index)
    first, second = first_of_friedel_pair(np.stack([index, -index]))
    assert first != second or (not index.any() and first)
    assert first or index[0] <= 0


@pytest.mark.parametrize("divisions", [(1, 2, 3), (4, 5, 6), (7, 8, 9)], ids=str)
def test_zones_surround_their_peaks(divisions):
    """A sample is at most half a unit from its zone's peak along every axis."""
    indices = box((9, 9, 9))
    away = indices / np.array(divisions) - brillouin_zone(indices, divisions)
    assert np.abs(away).max() <= 0.5


@pytest.mark.parametrize("divisions", [(1, 2, 3), (4, 5, 6), (7, 8, 9)], ids=str)
def test_zones_are_friedel_symmetric(divisions):
    """The zone of −i is the inverse of that of i, also half-way between two peaks."""
    indices = box((9, 9, 9))
    np.testing.assert_array_equal(
        brillouin_zone(-indices, divisions), -brillouin_zone(indices, divisions)
    )


@pytest.mark.parametrize("divisions", [(1, 2, 3), (4, 5, 6), (7, 8, 9)], ids=str)
def test_distance_to_the_nearest_peak(divisions):
    """The shortest of the distances, in hkl, to the 27 lattice points around a sample."""
    indices = np.random.default_rng(0).integers(-20, 21, (300, 3))
    hkl = indices / np.array(divisions)
    peaks = np.rint(hkl)[:, None] + box((1, 1, 1))
    expected = np.linalg.norm(hkl[:, None] - peaks, axis=-1).min(axis=1)
    np.testing.assert_allclose(distance_to_bragg(indices, divisions), expected, atol=1e-14)


@pytest.mark.parametrize("space_group, order", LAUE_ORDERS.items())
def test_order_of_the_laue_class(space_group, order):
    """The number of operations is the order of the point group with inversion added."""
    operations = laue_operations(space_group)
    assert len(operations) == order
    assert as_set(operations.reshape(-1, 9)) >= as_set([np.eye(3).ravel(), -np.eye(3).ravel()])


@pytest.mark.parametrize("space_group", LAUE_ORDERS)
def test_laue_mates_are_at_one_resolution(space_group):
    """Mates h W have the 1/d² of h, in a cell of the crystal system."""
    hkl = np.random.default_rng(0).integers(-9, 10, (50, 3))
    mates = np.einsum("zi,gij->gzj", hkl, laue_operations(space_group))
    resolution = inverse_d_squared(mates, CELL_OF[space_group])
    np.testing.assert_allclose(resolution, np.broadcast_to(resolution[0], resolution.shape))


@pytest.mark.parametrize("space_group", LAUE_ORDERS)
def test_all_laue_mates_have_one_representative(space_group):
    """Of gemmi's mates of any hkl all get the same canonical one, which is among them."""
    operations = laue_operations(space_group)
    for hkl in np.random.default_rng(0).integers(-6, 7, (30, 3)):
        mates = laue_mates(hkl, space_group)
        canonical = as_set(canonical_mates(np.array(sorted(mates)), operations))
        assert canonical == {max(mates)}


@pytest.mark.parametrize("space_group", LAUE_ORDERS)
def test_canonical_mates_are_their_own(space_group):
    """Replacing an index a second time changes nothing."""
    operations = laue_operations(space_group)
    hkl = np.random.default_rng(0).integers(-9, 10, (200, 3))
    canonical = canonical_mates(hkl, operations)
    np.testing.assert_array_equal(canonical_mates(canonical, operations), canonical)


@pytest.mark.parametrize("space_group", LAUE_ORDERS)
def test_as_many_representatives_as_unique_reflections(space_group):
    """In a sphere there are as many as gemmi finds reflections in the asymmetric unit."""
    sphere = grid_to_resolution(CELL_OF[space_group], (1, 1, 1), 2.0).indices_between(20, 2.0)
    both = np.concatenate([sphere, -sphere])
    unit = gemmi.ReciprocalAsu(gemmi.find_spacegroup_by_name(space_group))
    canonical = canonical_mates(both, laue_operations(space_group))
    assert len(as_set(canonical)) == sum(unit.is_in(hkl) for hkl in both.tolist())


def test_no_indices_have_no_mates():
    """An empty selection stays empty."""
    assert canonical_mates(np.empty((0, 3), np.int64), laue_operations("P 41")).shape == (0, 3)


@pytest.mark.parametrize("name", ["P 7", "lysozyme"])
def test_unknown_space_group(name):
    """The message quotes the name and shows how one is written."""
    with pytest.raises(InputError, match=f'"{name}" is unknown.*P 21 21 21'):
        laue_operations(name)


@pytest.mark.parametrize("unit_cell", CELLS, ids=str)
def test_possible_cells_pass(unit_cell):
    """Real cells raise nothing."""
    check_unit_cell(unit_cell, "crystal.unit_cell")


@pytest.mark.parametrize(
    "unit_cell",
    [
        (10.0, 10.0, 10.0, 90.0, 90.0),
        (10.0, 10.0, 10.0, 90.0, 90.0, 90.0, 1.0),
        (),
        (10.0, 0.0, 10.0, 90.0, 90.0, 90.0),
        (10.0, -10.0, 10.0, 90.0, 90.0, 90.0),
        (10.0, 10.0, np.nan, 90.0, 90.0, 90.0),
        (10.0, 10.0, np.inf, 90.0, 90.0, 90.0),
        (10.0, 10.0, 10.0, 90.0, -90.0, 90.0),
        (10.0, 10.0, 10.0, 90.0, 90.0, 180.0),
        (10.0, 10.0, 10.0, 90.0, 90.0, 270.0),
        # One angle larger than the sum of the others; flat; all round more than 360°.
        (10.0, 10.0, 10.0, 60.0, 60.0, 130.0),
        (10.0, 10.0, 10.0, 120.0, 120.0, 120.0),
        (10.0, 10.0, 10.0, 130.0, 130.0, 130.0),
    ],
    ids=str,
)
def test_impossible_cells_are_refused(unit_cell):
    """Where the cell stands is named, and what would have been a cell."""
    with pytest.raises(InputError, match=r"crystal\.unit_cell: expected a, b, c > 0.*found"):
        check_unit_cell(unit_cell, "crystal.unit_cell")


@pytest.mark.parametrize(
    "change, same",
    [
        ((0, 0, 0, 0, 0, 0), True),
        ((0.009, 0, -0.009, 0, 0, 0), True),
        ((0, 0, 0, 0.09, -0.09, 0.09), True),
        ((0.012, 0, 0, 0, 0, 0), False),
        ((0, 0, -0.012, 0, 0, 0), False),
        ((0, 0, 0, 0, 0.12, 0), False),
    ],
)
def test_cells_are_the_same_within_tolerance(change, same):
    """0.1 % of 10 Å is 0.01 Å; angles may differ by 0.1°; in either order."""
    cell = (10.0, 10.0, 10.0, 80.0, 100.0, 110.0)
    other = tuple(a + b for a, b in zip(cell, change, strict=True))
    assert same_unit_cell(cell, other) is same
    assert same_unit_cell(other, cell) is same


@settings(max_examples=50)
@given(st.tuples(*[st.floats(3, 300)] * 3), st.tuples(*[st.floats(91, 119)] * 3))
def test_cells_with_obtuse_angles_below_120_pass(edges, angles):
    """Three angles of less than 120° always span a volume."""
    check_unit_cell((*edges, *angles), "cell")


def test_whole_divisions():
    """As ints, whatever they came as; a grid that is only computed on has none."""
    found = HklGrid(TRICLINIC, (7.0, np.int64(6), 5), (1, 1, 1)).whole_divisions()
    assert found == (7, 6, 5) and {type(n) for n in found} == {int}
    with pytest.raises(ValueError, match=r"7\.5"):
        HklGrid(TRICLINIC, (7.5, 6, 5), (1, 1, 1)).whole_divisions()
