"""What is cut out of a map, against brute force over all its voxels."""

from dataclasses import replace

import numpy as np
import pytest
from builders import TRICLINIC, gemmi_inverse_d_squared, laue_mates

from hpc_diffuser.errors import InputError
from hpc_diffuser.lattice import HklGrid, grid_to_resolution
from hpc_diffuser.target import (
    DiffuseMap,
    Target,
    TargetOptions,
    free_set,
    make_target,
    map_from_voxels,
)

OPTIONS = TargetOptions(d_max_A=6.0, d_min_A=2.9, n_shells=5)
CELL_OF = {
    "P 1": TRICLINIC,
    "P 1 21 1": (13.0, 12.0, 11.0, 90.0, 103.0, 90.0),
    "P 41": (12.0, 12.0, 17.0, 90.0, 90.0, 90.0),
    "P 21 21 21": (12.0, 13.0, 14.0, 90.0, 90.0, 90.0),
    "P 6": (12.0, 12.0, 15.0, 90.0, 90.0, 120.0),
    "R 3:H": (12.0, 12.0, 15.0, 90.0, 90.0, 120.0),
    "I 2 3": (12.0, 12.0, 12.0, 90.0, 90.0, 90.0),
}


def random_map(
    divisions: tuple[int, int, int] = (5, 5, 5),
    space_group: str = "P 1",
    with_errors: bool = True,
    missing: float = 0.2,
) -> DiffuseMap:
    """Intensities of 1 to 2 and errors of 0.1 to 0.2, some voxels not measured."""
    rng = np.random.default_rng(0)
    grid = grid_to_resolution(CELL_OF[space_group], divisions, OPTIONS.d_min_A)
    intensity = rng.uniform(1, 2, grid.shape).astype(np.float32)
    intensity[rng.random(grid.shape) < missing] = np.nan
    errors = rng.uniform(0.1, 0.2, grid.shape).astype(np.float32)
    return DiffuseMap(grid, intensity, space_group, errors if with_errors else None)


def all_indices(grid: HklGrid) -> np.ndarray:
    """Every sample of a map, both Friedel mates: (V, 3) int, in the order of the array."""
    return np.argwhere(np.ones(grid.shape, bool)) - np.array(grid.extent)


def wanted(grid: HklGrid, options: TargetOptions) -> np.ndarray:
    """Mask of `all_indices`: in the resolution range and outside all halos.

    The nearest reciprocal-lattice point is looked for among the eight corners of the unit of
    hkl that a sample lies in.
    """
    indices = all_indices(grid)
    hkl = indices / np.array(grid.divisions)
    corners = np.floor(hkl)[:, None] + np.argwhere(np.ones((2, 2, 2)))
    away = np.linalg.norm(hkl[:, None] - corners, axis=-1).min(axis=1)
    s2 = gemmi_inverse_d_squared(indices, grid.unit_cell, grid.divisions)
    in_range = (s2 >= 1 / options.d_max_A**2) & (s2 <= 1 / options.d_min_A**2)
    return in_range & (away > options.halo_radius + 1e-9)


def value(array: np.ndarray, grid: HklGrid, index) -> float:
    """A map's value at a sample index."""
    return float(array[tuple(np.asarray(index) + grid.extent)])


def as_set(indices: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, indices.tolist()))


@pytest.mark.parametrize("divisions", [(5, 5, 5), (7, 7, 7), (2, 4, 6)], ids=str)
def test_target_is_what_lies_between_the_halos(divisions):
    """One of each Friedel pair of which at least one mate is measured, and nothing else."""
    diffuse = random_map(divisions)
    target = make_target(diffuse, OPTIONS)
    measured = np.isfinite(diffuse.intensity.reshape(-1))
    measured |= measured[::-1]  # the mate of a voxel is as far from the other end of the array
    expected = as_set(all_indices(diffuse.grid)[wanted(diffuse.grid, OPTIONS) & measured])
    assert as_set(target.indices) | as_set(-target.indices) == expected
    assert not as_set(target.indices) & as_set(-target.indices)
    assert 100 < len(target.indices) == len(as_set(target.indices))


def test_samples_on_the_surface_of_a_halo_go():
    """At 7 samples per unit the third from a peak is at 3/7: within the halo, as in the paper.

    The next distance that three whole numbers, each at most 3, over 7 have is √10/7.
    """
    target = make_target(random_map((7, 7, 7), missing=0), OPTIONS)
    hkl = target.indices / 7
    away = np.linalg.norm(hkl - np.rint(hkl), axis=1)
    assert away.min() == pytest.approx(np.sqrt(10) / 7, abs=1e-12)


def test_radius_of_zero_masks_nothing():
    """Then even the samples on the peaks stay: all of the resolution range."""
    diffuse = random_map((3, 3, 3), missing=0)
    target = make_target(diffuse, replace(OPTIONS, halo_radius=0.0))
    s2 = gemmi_inverse_d_squared(all_indices(diffuse.grid), TRICLINIC, (3, 3, 3))
    in_range = (s2 >= 1 / OPTIONS.d_max_A**2) & (s2 <= 1 / OPTIONS.d_min_A**2)
    assert 2 * len(target.indices) == in_range.sum()
    assert (target.indices % 3 == 0).all(axis=1).any()


def test_voxels_are_sorted_with_h_not_negative():
    """Ascending h, then k, then l: the order that files and ranks rely on."""
    indices = make_target(random_map(), OPTIONS).indices
    assert indices[:, 0].min() == 0
    np.testing.assert_array_equal(indices, indices[np.lexsort(indices.T[::-1])])


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


def test_map_without_errors():
    """The target has none either; its intensities are the same."""
    bare = make_target(random_map(with_errors=False), OPTIONS)
    assert bare.errors is None
    np.testing.assert_array_equal(bare.intensity, make_target(random_map(), OPTIONS).intensity)


@pytest.mark.parametrize("useless", [0.0, np.nan, np.inf])
def test_voxels_without_a_usable_error_are_left_out(useless):
    """A weight 1/σ² needs a positive number: of two mates with neither, nothing is left."""
    diffuse = random_map(missing=0)
    first = make_target(diffuse, OPTIONS).indices[0]
    errors = diffuse.errors.copy()
    for mate in (first, -first):
        errors[tuple(mate + diffuse.grid.extent)] = useless
    target = make_target(replace(diffuse, errors=errors), OPTIONS)
    assert tuple(first) not in as_set(target.indices)
    assert len(target.indices) == len(make_target(diffuse, OPTIONS).indices) - 1


def test_shells_cover_the_resolution_range():
    """Equally wide in 1/d from 6 to 2.9 Å; each voxel is inside its shell's edges."""
    target = make_target(random_map(), OPTIONS)
    assert target.n_shells == 5
    assert target.d_min == pytest.approx(2.9, rel=1e-12)
    np.testing.assert_allclose(np.diff(target.shell_edges), (1 / 2.9 - 1 / 6) / 5, rtol=1e-12)
    inverse_d = np.sqrt(gemmi_inverse_d_squared(target.indices, TRICLINIC, (5, 5, 5)))
    shells = target.shells()
    assert (inverse_d >= target.shell_edges[shells] - 1e-12).all()
    assert (inverse_d <= target.shell_edges[shells + 1] + 1e-12).all()
    assert set(shells) == set(range(5))


def test_target_reduced_to_some_voxels():
    """Indices or a mask pick rows of everything that is per voxel; the rest stays."""
    target = make_target(random_map(), OPTIONS)
    rows = np.array([3, 10, 11])
    part = target.at(rows)
    for name in ("indices", "intensity", "errors", "free"):
        np.testing.assert_array_equal(getattr(part, name), getattr(target, name)[rows])
    assert part.grid == target.grid and part.space_group == target.space_group
    np.testing.assert_array_equal(part.shells(), target.shells()[rows])
    assert make_target(random_map(with_errors=False), OPTIONS).at(rows).errors is None


def test_map_from_voxels_holds_both_mates():
    """Each value at its sample and the inverse one, NaN elsewhere."""
    grid = grid_to_resolution(TRICLINIC, (2, 2, 2), 4.0)
    indices = grid.indices_between(9.0, 4.0)
    values = np.arange(1.0, len(indices) + 1)
    diffuse = map_from_voxels(grid, indices, values, "P 1")
    for index, number in zip(indices, values, strict=True):
        assert value(diffuse.intensity, grid, index) == number
        assert value(diffuse.intensity, grid, -index) == number
    assert np.isfinite(diffuse.intensity).sum() == 2 * len(indices)


def zones_of(target: Target) -> np.ndarray:
    """Peak whose zone each voxel lies in: (V, 3) int."""
    return np.rint(target.indices / np.array(target.grid.divisions)).astype(int)


def zone_mates(zone, space_group: str) -> tuple[int, ...]:
    """The largest of a peak's Laue mates, from gemmi's operations: one name for all of them."""
    return max(laue_mates(zone, space_group))


@pytest.mark.parametrize("space_group", sorted(set(CELL_OF) - {"P 6", "R 3:H"}))
def test_free_set_is_of_whole_zones_and_their_mates(space_group):
    """The voxels about Laue-equivalent peaks are all free, or all are not.

    Three- and sixfold axes do not map the zones, parallelepipeds, onto each other. There it is
    only the mates of a voxel that stay together, which the next test asks for everywhere.
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
    target = make_target(random_map(divisions, space_group, missing=0), OPTIONS)
    free_of = dict(zip(map(tuple, target.indices.tolist()), target.free, strict=True))
    assert target.free.any()
    for index, free in list(free_of.items()):
        found = {free_of[mate] for mate in laue_mates(index, space_group) & free_of.keys()}
        assert found == {free}, index


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


def test_infinite_intensities_are_refused():
    """NaN is what masks a voxel."""
    diffuse = random_map()
    diffuse.intensity[3, 3, 3] = np.inf
    with pytest.raises(InputError, match="infinite intensities: expected numbers, NaN"):
        make_target(diffuse, OPTIONS)


def test_halos_that_overlap_everywhere_are_refused():
    """No point is further than √3/2 from the lattice; the message names radius and remedy."""
    with pytest.raises(InputError, match=r"halo radius 0\.9 leaves no voxel.*finer map.*smaller"):
        make_target(random_map(), replace(OPTIONS, halo_radius=0.9))


def test_map_on_the_peaks_alone_is_refused():
    """One sample per unit is a peak itself: every voxel is in a halo."""
    with pytest.raises(InputError, match=r"leaves no voxel at \(1, 1, 1\) samples"):
        make_target(random_map((1, 1, 1)), OPTIONS)


def test_range_without_measured_voxels_is_refused():
    """All NaN: the range is named, and what to change."""
    diffuse = random_map()
    diffuse.intensity[:] = np.nan
    with pytest.raises(InputError, match=r"no unmasked voxel between 6\.0 and 2\.9 Å.*--d-max"):
        make_target(diffuse, OPTIONS)


def test_range_beyond_the_map_is_refused():
    """A map to 2.9 Å has no sample at 1.3 Å: it is the range that is wrong, not the halos."""
    with pytest.raises(InputError, match=r"no unmasked voxel between 1\.3 and 1\.2 Å.*--d-max"):
        make_target(random_map(), replace(OPTIONS, d_max_A=1.3, d_min_A=1.2))


def test_unknown_space_group_is_refused():
    """The free set needs the Laue class."""
    with pytest.raises(InputError, match='space group "P 5" is unknown'):
        make_target(replace(random_map(), space_group="P 5"), OPTIONS)
