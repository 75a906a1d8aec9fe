"""Re-indexing, against gemmi's change of basis, lengths that must not change, moved maps."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from builders import TRICLINIC
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hpc_diffuser.crystal.lattice import HklGrid, inverse_d_squared, laue_operations
from hpc_diffuser.maps.diffuse_map import DiffuseMap, values_at
from hpc_diffuser.maps.merging import merged_intensity
from hpc_diffuser.maps.reindexing import (
    compatible_reindexings,
    distinct_reindexings,
    parse_reindexing,
    reindexed,
    reindexed_cell,
    reindexing_cc,
    reindexing_text,
    same_lattice,
)
from hpc_diffuser.system.errors import InputError

TETRAGONAL = (48.5, 48.5, 63.5, 90.0, 90.0, 90.0)
CUBIC = (30.0, 30.0, 30.0, 90.0, 90.0, 90.0)

unimodular = (
    st.lists(st.integers(-1, 1), min_size=9, max_size=9)
    .map(lambda numbers: np.array(numbers).reshape(3, 3))
    .filter(lambda w: abs(round(np.linalg.det(w))) == 1)
)


def random_map(divisions=(2, 2, 2), cell=TRICLINIC, missing: float = 0.2) -> DiffuseMap:
    """A small map with errors and halves, some voxels of which are not measured."""
    rng = np.random.default_rng(3)
    grid = HklGrid(cell, divisions, (3, 4, 5))
    intensity, errors, one, other = rng.uniform(1, 2, (4, *grid.shape)).astype(np.float32)
    intensity[rng.random(grid.shape) < missing] = np.nan
    return DiffuseMap(grid, intensity, "P 1", errors, (one, other))


def test_indices_by_hand():
    """(h,k,l) → (k,h,−l), and (1,2,3) is (2,1,−3); (h,k,l) → (h,h+k,−l): (1,3,−3)."""
    index = np.array([1, 2, 3])
    np.testing.assert_array_equal(index @ parse_reindexing("k,h,-l"), [2, 1, -3])
    np.testing.assert_array_equal(index @ parse_reindexing(" H, h + k ,-L"), [1, 3, -3])
    np.testing.assert_array_equal(index @ parse_reindexing("k-h,-h,l"), [1, -1, 3])


@given(unimodular)
def test_text_and_matrix(reindexing):
    """What is printed is read again as the same; gemmi reads it so too."""
    text, index = reindexing_text(reindexing), [3, -5, 7]
    np.testing.assert_array_equal(parse_reindexing(text), reindexing)
    np.testing.assert_array_equal(index @ reindexing, gemmi.Op(text).apply_to_hkl(index))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("k,h", "three sums"),
        ("k,h,-l,h", "three sums"),
        ("x,y,z", "three sums"),
        ("h,k,", "three sums"),
        ("h,k,2l", "three sums"),
        ("h,k,l+", "three sums"),
        ("h k,l,h", "three sums"),
        ("h,h,l", "determinant 0"),
        ("h+k,h-k,l", "determinant -2"),
        ("", "three sums"),
    ],
)
def test_what_is_no_reindexing(text, message):
    """One line that repeats what was given and says what was expected."""
    with pytest.raises(InputError, match=message) as raised:
        parse_reindexing(text)
    assert f'"{text}"' in str(raised.value) and "expected" in str(raised.value)
    assert "\n" not in str(raised.value)


@given(unimodular, st.lists(st.integers(-9, 9), min_size=3, max_size=3))
def test_lengths_stay(reindexing, index):
    """1/d² of new indices in the new cell is that of the old ones in the old cell."""
    old = inverse_d_squared(np.array(index), TRICLINIC)
    new = inverse_d_squared(np.array(index) @ reindexing, reindexed_cell(TRICLINIC, reindexing))
    assert new == pytest.approx(old, rel=1e-8, abs=1e-15)


def test_cell_by_hand():
    """Swapped axes swap edges and angles, exactly; hexagonal axes turned by 60° stay such."""
    swapped = reindexed_cell(TRICLINIC, parse_reindexing("k,h,-l"))
    assert swapped[:3] == (14.3, 12.1, 10.7)
    np.testing.assert_allclose(swapped[3:], (180 - 101, 180 - 82, 113), rtol=1e-9)
    hexagonal = (12.0, 12.0, 15.0, 90.0, 90.0, 120.0)
    np.testing.assert_allclose(reindexed_cell(hexagonal, parse_reindexing("-k,h+k,l")), hexagonal)


@settings(max_examples=40, deadline=None)
@given(unimodular)
def test_voxels_keep_what_they_hold(reindexing):
    """At hkl W of the new map is what was at hkl, of intensity, errors and both halves."""
    old = random_map()
    new = reindexed(old, reindexing)
    indices = np.argwhere(~np.isnan(old.intensity)) - np.array(old.grid.extent)
    assert np.isfinite(new.intensity).sum() == len(indices)
    assert new.grid.shape == new.intensity.shape == new.errors.shape
    for a, b in zip(
        (old.intensity, old.errors, *old.halves),
        (new.intensity, new.errors, *new.halves),
        strict=True,
    ):
        np.testing.assert_array_equal(values_at(a, indices), values_at(b, indices @ reindexing))


@settings(max_examples=40, deadline=None)
@given(unimodular)
def test_there_and_back(reindexing):
    """W, then W⁻¹: the same map. Only a box that held nothing at its edges may be smaller."""
    old = random_map(missing=0.0)
    again = reindexed(reindexed(old, reindexing), np.rint(np.linalg.inv(reindexing)).astype(int))
    assert again.grid.extent == old.grid.extent and again.space_group == old.space_group
    np.testing.assert_allclose(again.grid.unit_cell, old.grid.unit_cell, rtol=1e-8)
    np.testing.assert_array_equal(again.intensity, old.intensity)


def test_divisions_go_with_their_axes():
    """2, 3, 4 samples along h, k, l: swapping is no matter, adding is refused."""
    old = random_map((2, 3, 4))
    assert reindexed(old, parse_reindexing("l,h,k")).grid.divisions == (4, 2, 3)
    assert reindexed(old, parse_reindexing("l,h,k")).grid.extent == (5, 3, 4)
    with pytest.raises(InputError, match=r'"h,h\+k,l" adds axes.*\(2, 3, 4\).*equal'):
        reindexed(old, parse_reindexing("h,h+k,l"))


def test_map_without_errors():
    """Then there are none afterwards; and a map in which nothing is measured stays so."""
    bare = replace(random_map(missing=1.0), errors=None, halves=None)
    new = reindexed(bare, parse_reindexing("h,h+k,l"))
    assert new.errors is None and new.halves is None and np.isnan(new.intensity).all()


@pytest.mark.parametrize(
    ("cell", "space_group", "proper", "cosets"),
    [
        (TETRAGONAL, "P 41", 8, 2),
        (TETRAGONAL, "P 41 21 2", 8, 1),
        (CUBIC, "P 21 3", 24, 2),
        (CUBIC, "P 21 21 21", 24, 6),
        (CUBIC, "P 1", 24, 24),
        (CUBIC, "P 41", 24, 6),
        ((30.0, 30.0, 50.0, 90.0, 90.0, 120.0), "P 6", 12, 2),
        ((30.0, 30.0, 50.0, 90.0, 90.0, 120.0), "P 31", 12, 4),
        ((30.0, 40.0, 50.0, 90.0, 104.0, 90.0), "P 1 21 1", 2, 1),
        ((27.4, 32.1, 34.5, 88.7, 108.5, 111.9), "P 1", 1, 1),
    ],
)
def test_reindexings_of_lattices(cell, space_group, proper, cosets):
    """As many as the lattice's point group has rotations; over the order of the crystal's class.

    422 has 8 rotations, 432 24, 622 12, 2 has 2. The Laue classes have, as rotations: 4/m 4,
    4/mmm 8, m-3 12, mmm 4, -1 1, 6/m 6, -3 3, 2/m 2.
    """
    allowed = compatible_reindexings(cell, cell)
    assert len(allowed) == proper
    assert all(round(np.linalg.det(w)) == 1 for w in allowed)
    np.testing.assert_array_equal(allowed[0], np.eye(3))
    operations = laue_operations(space_group, cell)
    distinct = distinct_reindexings(allowed, operations)
    assert len(distinct) == cosets
    # Sets {h W R}, of all R of the class, have nothing in common: a fourfold axis of a cube has
    # W R of other matrices than R W.
    sets = [{(w @ r).tobytes() for r in operations} for w in distinct]
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_known_ambiguity_has_its_usual_name():
    """In 4/m on a tetragonal lattice: as it is, or k,h,−l."""
    allowed = compatible_reindexings(TETRAGONAL, TETRAGONAL)
    distinct = distinct_reindexings(allowed, laue_operations("P 41"))
    assert [reindexing_text(w) for w in distinct] == ["h,k,l", "k,h,-l"]


@settings(max_examples=30, deadline=None)
@given(unimodular)
def test_reindexing_is_found_from_the_cells(reindexing):
    """Of a triclinic lattice, the one that was applied (or its negative), and no other."""
    turned = reindexed_cell(TRICLINIC, reindexing)
    back = np.rint(np.linalg.inv(reindexing)).astype(int)
    assume(np.abs(back).max() == 1)
    (found,) = compatible_reindexings(turned, TRICLINIC)
    np.testing.assert_array_equal(found, back * round(np.linalg.det(back)))


def test_two_per_cent():
    """Edges and angles 1 % off are the same lattice, 3 % off are not."""
    for change, same in ((1.01, True), (1.03, False)):
        other = (TETRAGONAL[0] * change, *TETRAGONAL[1:])
        assert same_lattice(other, TETRAGONAL) is same
        assert bool(compatible_reindexings(other, TETRAGONAL)) is same
    assert same_lattice((*TETRAGONAL[:3], 91.0, 90.0, 90.0), TETRAGONAL)
    assert not same_lattice((*TETRAGONAL[:3], 93.0, 90.0, 90.0), TETRAGONAL)


@pytest.mark.parametrize("text", ["h,k,l", "k,h,-l", "-h,k,l", "k,l,h"])
def test_cc_is_that_of_the_moved_map(text):
    """Looked up through W⁻¹, or moved, merged and correlated by numpy: the same.

    One shell, so that the CC after subtracting its mean is Pearson's.
    """
    cell = (12.0, 12.0, 17.0, 90.0, 90.0, 90.0)
    old, reindexing = random_map(cell=cell), parse_reindexing(text)
    operations = laue_operations("P 41")
    indices = np.argwhere(np.ones((3, 4, 6)))
    calculated = np.random.default_rng(4).normal(size=len(indices))
    calculated[5] = np.nan
    shells = np.zeros(len(indices), int)
    found = reindexing_cc(old, reindexing, operations, indices, calculated, shells)
    moved = merged_intensity(reindexed(old, reindexing).intensity, indices, operations)
    there = np.isfinite(moved) & np.isfinite(calculated)
    expected = np.corrcoef(moved[there], calculated[there])[0, 1]
    assert found == pytest.approx(expected, rel=1e-9)
