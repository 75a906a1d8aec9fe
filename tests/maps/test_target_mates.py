"""Mates in a target, by Friedel and Laue, and the free set that keeps them together."""

from dataclasses import replace

import numpy as np
import pytest
from builders import laue_mates
from random_maps import CELL_OF, OPTIONS, all_indices, as_set, random_map, value, wanted

from hpc_diffuser.crystal.lattice import (
    HklGrid,
    first_of_friedel_pair,
)
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import (
    Target,
    free_set,
    make_target,
    map_from_voxels,
)
from hpc_diffuser.system.errors import InputError


def test_friedel_mates_are_merged():
    """The mean of both mates, (a + b)/2, or the one that was measured.

    Errors of independent measurements: √(σ_a² + σ_b²)/2, or σ_a alone. Stored in single
    precision.
    """
    diffuse = random_map()
    target = make_target(diffuse, OPTIONS)
    n_pairs = 0
    for index, intensity, error in zip(
        target.indices, target.intensity, target.errors, strict=True
    ):
        pair = [value(diffuse.intensity, diffuse.grid, i) for i in (index, -index)]
        spread = [value(diffuse.errors, diffuse.grid, i) for i in (index, -index)]
        here = [i for i in (0, 1) if np.isfinite(pair[i])]
        n_pairs += len(here) == 2
        assert intensity == pytest.approx(sum(pair[i] for i in here) / len(here), rel=1e-6)
        merged = np.sqrt(sum(spread[i] ** 2 for i in here)) / len(here)
        assert error == pytest.approx(merged, rel=1e-6)
    assert 0 < n_pairs < len(target.indices)


@pytest.mark.parametrize("space_group", CELL_OF)
def test_target_is_one_of_each_set_of_mates(space_group):
    """The largest of gemmi's mates, where one is measured, in range, and none is in a halo.

    With only one voxel in a hundred measured there are sets of mates without any.
    """
    diffuse = random_map((4, 4, 4), space_group, missing=0.99)
    grid = diffuse.grid
    usable = as_set(all_indices(grid)[wanted(grid, OPTIONS, space_group)])
    measured = as_set(all_indices(grid)[np.isfinite(diffuse.intensity.reshape(-1))])
    expected = set()
    for index in measured & usable:
        mates = laue_mates(index, space_group)
        if mates <= usable:
            expected.add(max(mates))
    target = make_target(diffuse, OPTIONS)
    assert as_set(target.indices) == expected
    assert 20 < len(target.indices) == len(expected)
    np.testing.assert_array_equal(target.indices, np.unique(target.indices, axis=0))
    assert first_of_friedel_pair(target.indices).all()


@pytest.mark.parametrize("space_group", CELL_OF)
def test_laue_mates_are_merged(space_group):
    """Of n measured mates, each once: Σ I / n and √(Σ σ²) / n, in single precision.

    Without halos, so that axes and planes of symmetry take part: 000, which is its own Friedel
    mate, 0kl in P 2₁2₁2₁.
    """
    diffuse = random_map((3, 3, 3), space_group, missing=0.1)
    target = make_target(diffuse, replace(OPTIONS, d_max_A=np.inf, halo_radius=0.0))
    special = 0
    everything = len(laue_mates((1, 2, 5), space_group))
    for index, intensity, error in zip(
        target.indices, target.intensity, target.errors, strict=True
    ):
        mates = laue_mates(index, space_group)
        special += len(mates) < everything
        values = np.array([value(diffuse.intensity, diffuse.grid, i) for i in mates])
        errors = np.array([value(diffuse.errors, diffuse.grid, i) for i in mates])
        here = np.isfinite(values)
        assert intensity == pytest.approx(values[here].mean(), rel=1e-6)
        assert error == pytest.approx(np.sqrt((errors[here] ** 2).sum()) / here.sum(), rel=1e-6)
    assert special


def test_halos_hide_all_mates_on_hexagonal_axes():
    """A sphere in hkl is not sixfold: with a radius of 0.6 voxels go that are outside it.

    In P 6 (h, k) has the mates (k, −h−k) and so on: (1/2, 0), 0.5 from a peak, is a mate of
    (−1/2, 1/2), √½ = 0.71 from all. Of each set one has an even sum of half units, so that at
    l = 0 only peaks would be left, which are masked themselves.
    """
    diffuse = random_map((2, 2, 2), "P 6", missing=0)
    target = make_target(diffuse, replace(OPTIONS, halo_radius=0.6))
    hkl = np.array([np.array(sorted(laue_mates(i, "P 6"))) for i in target.indices]) / 2
    assert np.linalg.norm(hkl - np.rint(hkl), axis=-1).min() > 0.6
    assert (target.indices[:, 2] % 2 == 1).all() and len(target.indices) > 20


def test_mates_beyond_the_edges_of_a_map():
    """In P 4₁, of a map that reaches farther along k than along h, the canonical mates count.

    Sample 0 6 0 has the canonical mate 6 0 0, which the map itself does not hold.
    """
    whole = random_map((4, 4, 4), "P 41", missing=0)
    h, k, l = whole.grid.extent  # noqa: E741
    part = slice(h - 4, h + 5)
    narrow = DiffuseMap(
        HklGrid(whole.grid.unit_cell, (4, 4, 4), (4, k, l)), whole.intensity[part], "P 41"
    )
    target = make_target(narrow, OPTIONS)
    assert target.grid.extent[0] == target.indices[:, 0].max() > 4
    kept = as_set(all_indices(narrow.grid)[wanted(narrow.grid, OPTIONS)])
    assert as_set(target.indices) == {max(laue_mates(i, "P 41")) for i in kept}
    for index, intensity in zip(target.indices, target.intensity, strict=True):
        there = [i for i in laue_mates(index, "P 41") if abs(i[0]) <= 4]
        mean = np.mean([value(narrow.intensity, narrow.grid, i) for i in there])
        assert intensity == pytest.approx(mean, rel=1e-6)


def test_r3_without_its_setting_is_that_of_the_cell():
    """ "R 3" with γ = 120° is R 3:H."""
    diffuse = random_map((4, 4, 4), "R 3:H")
    one, other = (make_target(replace(diffuse, space_group=g), OPTIONS) for g in ("R 3:H", "R 3"))
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_array_equal(one.intensity, other.intensity)
    np.testing.assert_array_equal(one.free, other.free)


@pytest.mark.parametrize(
    "divisions, cell_of, message",
    [((4, 5, 4), "P 41", "mixes h and k"), ((4, 4, 4), "P 1", "does not fit the unit cell")],
)
def test_maps_that_do_not_fit_their_space_group_are_refused(divisions, cell_of, message):
    """Mates between the samples, or no mates at all: group and map are named."""
    diffuse = replace(random_map(divisions, cell_of), space_group="P 41")
    with pytest.raises(InputError, match=f'space group "P 41" {message}'):
        make_target(diffuse, OPTIONS)


@pytest.mark.parametrize("space_group", CELL_OF)
def test_map_from_voxels_holds_all_laue_mates(space_group):
    """A target's voxels make a map again whose target has the same numbers."""
    target = make_target(random_map((4, 4, 4), space_group, with_errors=False), OPTIONS)
    diffuse = map_from_voxels(target.grid, target.indices, target.intensity, space_group)
    for index, number in zip(target.indices, target.intensity, strict=True):
        for mate in laue_mates(index, space_group):
            assert value(diffuse.intensity, target.grid, mate) == number
    again = make_target(diffuse, OPTIONS)
    np.testing.assert_array_equal(again.indices, target.indices)
    np.testing.assert_allclose(again.intensity, target.intensity, rtol=1e-6)


def zones_of(target: Target) -> np.ndarray:
    """Peak whose zone each voxel lies in: (V, 3) int."""
    return np.rint(target.indices / np.array(target.grid.divisions)).astype(int)


def zone_mates(zone, space_group: str) -> tuple[int, ...]:
    """The largest of a peak's Laue mates, from gemmi's operations: one name for all of them."""
    return max(laue_mates(zone, space_group))


@pytest.mark.parametrize("space_group", sorted(set(CELL_OF) - {"P 6", "R 3:H", "I 2 3"}))
def test_free_set_is_of_whole_zones_and_their_mates(space_group):
    """The voxels about Laue-equivalent peaks are all free, or all are not.

    Three- and sixfold axes do not map the zones, parallelepipeds, onto each other, and those of
    centred lattices are of another shape (`test_centring.py`). There it is only
    the mates of a voxel that stay together, which the next test asks for everywhere.
    """
    target = make_target(random_map(space_group=space_group), OPTIONS)
    free_of: dict[tuple[int, ...], set[bool]] = {}
    for zone, free in zip(zones_of(target), target.free, strict=True):
        free_of.setdefault(zone_mates(zone, space_group), set()).add(bool(free))
    assert all(len(kinds) == 1 for kinds in free_of.values())
    n_free = sum(kinds == {True} for kinds in free_of.values())
    assert n_free == round(0.1 * len(free_of)) > 0


@pytest.mark.parametrize("divisions", [(5, 5, 5), (4, 4, 4)], ids=str)
@pytest.mark.parametrize("space_group", CELL_OF)
def test_free_voxels_have_free_mates(space_group, divisions):
    """A voxel and its Laue mates have one intensity: none may be fitted where another is free."""
    grid = random_map(divisions, space_group).grid
    indices = grid.indices_between(OPTIONS.d_max_A, OPTIONS.d_min_A)
    free = free_set(indices, grid, space_group, 0.1, 1)
    free_of = dict(zip(map(tuple, indices.tolist()), free, strict=True))
    assert free.any() and not free.all()
    for index, is_free in list(free_of.items()):
        found = {free_of[mate] for mate in laue_mates(index, space_group) & free_of.keys()}
        assert found == {is_free}, index


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3, 1.0])
def test_fraction_of_the_zones(fraction):
    """In P 1 zones come in Friedel pairs: the fraction of pairs, to the nearest whole one."""
    target = make_target(random_map(), replace(OPTIONS, free_fraction=fraction))
    pairs = {max(tuple(z), tuple(-z)) for z in zones_of(target)}
    free = {max(tuple(z), tuple(-z)) for z in zones_of(target)[target.free]}
    assert len(free) == round(fraction * len(pairs))


def test_same_seed_same_free_set():
    """The choice is a function of the seed; another seed chooses otherwise."""
    one, again, other = (
        make_target(random_map(), replace(OPTIONS, seed=seed)).free for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_free_set_of_a_map_does_not_depend_on_its_intensities():
    """Two maps on one grid, as half-data sets are, have one free set."""
    diffuse = random_map(missing=0)
    doubled = replace(diffuse, intensity=2 * diffuse.intensity)
    np.testing.assert_array_equal(
        make_target(diffuse, OPTIONS).free, make_target(doubled, OPTIONS).free
    )


def test_free_set_by_hand():
    """Voxels of peaks 100 and −100 go together in P 1, 010 besides in P 41: of one class, 1/1."""
    grid = HklGrid((9.0, 9.0, 9.0, 90.0, 90.0, 90.0), (4, 4, 4), (6, 6, 6))
    voxels = np.array([[4, 1, 0], [3, 0, 1], [-4, -1, 0], [0, 4, 1], [8, 1, 1]])
    classes = {"P 1": [0, 0, 0, 1, 2], "P 41": [0, 0, 0, 0, 1]}
    for space_group, together in classes.items():
        for seed in range(10):
            free = free_set(voxels, grid, space_group, 1 / len(set(together)), seed)
            assert len({together[i] for i in np.flatnonzero(free)}) == 1
            chosen = together[int(np.flatnonzero(free)[0])]
            np.testing.assert_array_equal(free, np.array(together) == chosen)
