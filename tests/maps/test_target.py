"""What is cut out of a map, against brute force over all its voxels."""

from dataclasses import replace

import numpy as np
import pytest
from builders import TRICLINIC, gemmi_inverse_d_squared
from hypothesis import given, settings
from hypothesis import strategies as st
from random_maps import OPTIONS, all_indices, as_set, random_map, value, wanted

from hpc_diffuser.crystal.lattice import (
    HklGrid,
    distance_to_bragg,
    grid_to_resolution,
)
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import (
    TargetOptions,
    cut_map,
    make_target,
    map_from_voxels,
    outside_halos,
)
from hpc_diffuser.system.errors import InputError


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


def test_halos_may_be_ellipsoids():
    """(x/0.4)² + (y/0.4)² + (z/0.5)² > 1 about the nearest of the eight corners around."""
    diffuse = random_map((5, 5, 4), missing=0)
    target = make_target(diffuse, replace(OPTIONS, halo_radius=(0.4, 0.4, 0.5)))
    indices = all_indices(diffuse.grid)
    hkl = indices / (5, 5, 4)
    corners = np.floor(hkl)[:, None] + np.argwhere(np.ones((2, 2, 2)))
    away = (((hkl[:, None] - corners) / (0.4, 0.4, 0.5)) ** 2).sum(axis=-1).min(axis=1)
    anywhere = wanted(diffuse.grid, replace(OPTIONS, halo_radius=0.0))
    expected = as_set(indices[anywhere & (away > 1 + 1e-9)])
    assert as_set(target.indices) | as_set(-target.indices) == expected
    # 2/5 and 2/4 along the axes are on the surface, and go; two of them together are outside.
    assert not as_set(target.indices % (5, 5, 4)) & {(2, 0, 0), (0, 3, 0), (0, 0, 2)}
    assert (2, 2, 0) in as_set(target.indices % (5, 5, 4))


@settings(max_examples=25, deadline=None)
@given(radius=st.floats(0.05, 0.9), divisions=st.tuples(*[st.integers(1, 8)] * 3))
def test_sphere_is_the_ellipsoid_of_equal_radii(radius, divisions):
    """And outside it is where the distance to the nearest whole numbers is larger."""
    grid = HklGrid(TRICLINIC, divisions, (9, 9, 9))
    indices = all_indices(replace(grid, extent=(4, 5, 6)))
    outside = outside_halos(indices, grid, radius)
    np.testing.assert_array_equal(outside, outside_halos(indices, grid, (radius,) * 3))
    away = distance_to_bragg(indices, divisions)
    apart = np.abs(away - radius) > 1e-8
    np.testing.assert_array_equal(outside[apart], (away > radius)[apart])


def test_weak_voxels_are_left_out():
    """Merged I/σ at least 14: the same voxels as chosen from the target without the cut-off."""
    diffuse = random_map()
    everything = make_target(diffuse, OPTIONS)
    cut = cut_map(diffuse, replace(OPTIONS, min_i_over_sigma=14.0))
    strong = everything.intensity / everything.errors >= 14
    assert 0 < strong.sum() < len(strong)
    np.testing.assert_array_equal(cut.target.indices, everything.indices[strong])
    assert cut.left_out["I/sigma below 14"] == (~strong).sum()


def test_outliers_are_left_out():
    """A voxel of 100 among those of 1 to 2, whose standard deviation is then larger too."""
    diffuse = random_map(missing=0)
    everything = make_target(diffuse, OPTIONS)
    far = everything.indices[[10, 400]]
    for mate in (*far, *-far):
        diffuse.intensity[tuple(mate + diffuse.grid.extent)] = 100.0
    cut = cut_map(diffuse, replace(OPTIONS, outliers=4.0))
    assert as_set(everything.indices) - as_set(cut.target.indices) == as_set(far)
    assert cut.left_out["beyond 4 standard deviations of their shell"] == 2
    assert len(make_target(diffuse, OPTIONS).indices) == len(everything.indices)


def test_outliers_are_measured_from_their_shell():
    """An intensity that falls steeply has no outliers in shells as steep: numpy's mean and sd."""
    diffuse = random_map(missing=0)
    everything = make_target(diffuse, OPTIONS)
    kept = np.zeros(len(everything.indices), bool)
    for shell in range(5):
        here = everything.shells() == shell
        x = everything.intensity[here].astype(float)
        kept[here] = np.abs(x - x.mean()) <= 1.5 * x.std()
    found = make_target(diffuse, replace(OPTIONS, outliers=1.5))
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(found.indices, everything.indices[kept])


def test_isotropic_background_is_removed():
    """Intensity 3 − |s| on top of noise: what is left is the noise, without its mean by shell."""
    diffuse = random_map(missing=0)
    s2 = gemmi_inverse_d_squared(all_indices(diffuse.grid), TRICLINIC, (5, 5, 5))
    slope = (30 - 20 * np.sqrt(s2)).reshape(diffuse.grid.shape).astype(np.float32)
    options = replace(OPTIONS, remove_isotropic=True)
    one = make_target(diffuse, options)
    other = make_target(replace(diffuse, intensity=diffuse.intensity + slope), options)
    np.testing.assert_allclose(other.intensity, one.intensity, atol=2e-5)
    plain = make_target(diffuse, OPTIONS)
    assert np.corrcoef(one.intensity, plain.intensity)[0, 1] > 0.98
    assert abs(one.intensity.mean()) < 0.01
    np.testing.assert_array_equal(one.errors, plain.errors)


def test_cut_offs_need_something_to_pass():
    """Without errors, and with a bound that no voxel reaches."""
    with pytest.raises(InputError, match=r"no intensity errors, which --min-i-over-sigma needs"):
        make_target(random_map(with_errors=False), replace(OPTIONS, min_i_over_sigma=1.0))
    with pytest.raises(InputError, match=r"every voxel.*\d+ I/sigma below 1000.*relax"):
        make_target(random_map(), replace(OPTIONS, min_i_over_sigma=1000.0))


def test_completeness_is_of_what_the_range_holds():
    """A map that ends at 4 Å in a range to 2.9 Å: the shells beyond have no voxel, and say so.

    With nothing missing, completeness is 1 in whole shells; over all it is the part of the samples
    down to 2.9 Å, where the box has its corners, or of all that the corners reach.
    """
    whole = random_map((4, 4, 4), missing=0)
    grid = grid_to_resolution(TRICLINIC, (4, 4, 4), 4.0)
    edge = tuple(
        slice(e - m, e + m + 1) for e, m in zip(whole.grid.extent, grid.extent, strict=True)
    )
    part = replace(whole, grid=grid, intensity=whole.intensity[edge], errors=whole.errors[edge])
    options = replace(OPTIONS, halo_radius=0.0, n_shells=5)
    statistics = cut_map(part, options).statistics
    assert (cut_map(whole, options).statistics.completeness == 1).all()
    d = 1 / np.sqrt(
        gemmi_inverse_d_squared(all_indices(whole.grid), TRICLINIC, (4, 4, 4)).clip(1e-9)
    )
    inside = (np.abs(all_indices(whole.grid)) <= grid.extent).all(axis=1)
    possible = (d <= 6) & (d >= 2.9)
    assert statistics.completeness[-1] == pytest.approx((inside & possible).sum() / possible.sum())
    assert statistics.completeness[0] == 1 and statistics.completeness[4] < 0.5


def test_slab_does_not_become_a_sphere():
    """3 x 3 x 801 samples, whose sphere would have 4e8: they are looked at, and their mates."""
    grid = HklGrid((300.0, 300.0, 300.0, 90.0, 90.0, 90.0), (1, 1, 1), (1, 1, 400))
    diffuse = DiffuseMap(grid, np.ones(grid.shape, np.float32), "P 4")
    cut = cut_map(diffuse, TargetOptions(10.0, 0.8, halo_radius=0.0))
    # l from 30 to 375, each with (h, k) = (0, 0) and one of the four 1 0 and of the four 1 1.
    assert 3 * 344 <= len(cut.target.indices) <= 3 * 346
    assert cut.statistics.completeness[-1] == 1


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


@pytest.mark.parametrize("useless", [0.0, np.nan, np.inf])
def test_measurements_without_an_error_are_not_merged(useless):
    """Of two mates with one error the other is taken alone: σ = 0 is unknown, not exact."""
    diffuse = random_map(missing=0)
    first = make_target(diffuse, OPTIONS).indices[0]
    place, other = (tuple(mate + diffuse.grid.extent) for mate in (first, -first))
    errors = diffuse.errors.copy()
    errors[place] = useless
    target = make_target(replace(diffuse, errors=errors), OPTIONS)
    np.testing.assert_array_equal(target.indices[0], first)
    assert target.intensity[0] == np.float32(diffuse.intensity[other])
    assert target.errors[0] == np.float32(diffuse.errors[other])
    said = cut_map(replace(diffuse, errors=errors), OPTIONS).said
    assert any(line.startswith("errors       1 measured voxels have none") for line in said)
    assert not any(line.startswith("errors") for line in cut_map(diffuse, OPTIONS).said)


def test_negative_errors_are_refused():
    """Their squares would pass: how many measured voxels have one is told."""
    diffuse = random_map()
    errors = np.where(np.arange(diffuse.errors.size).reshape(diffuse.errors.shape) % 7 == 0, -1, 1)
    wrong = int(np.isfinite(diffuse.intensity[errors < 0]).sum())
    with pytest.raises(InputError, match=f"negative at {wrong} measured voxels"):
        make_target(replace(diffuse, errors=errors.astype(np.float32)), OPTIONS)


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


def test_infinite_intensities_are_refused():
    """NaN is what masks a voxel."""
    diffuse = random_map()
    diffuse.intensity[3, 3, 3] = np.inf
    with pytest.raises(InputError, match="infinite intensities: expected numbers, NaN"):
        make_target(diffuse, OPTIONS)


@pytest.mark.parametrize("space_group", ["P 1", "P 3"])
def test_halos_alone_are_what_is_masked(space_group):
    """Both together are the whole; also where a sphere in hkl is not one of the mates."""
    diffuse = random_map((5, 5, 5), missing=0)
    if space_group == "P 3":
        grid = replace(diffuse.grid, unit_cell=(14.0, 14.0, 16.0, 90.0, 90.0, 120.0))
        diffuse = replace(diffuse, grid=grid, space_group=space_group)
    whole, between, halos = (
        as_set(make_target(diffuse, replace(OPTIONS, d_max_A=np.inf, **of)).indices)
        for of in ({"halo_radius": 0.0}, {}, {"halos_only": True})
    )
    assert halos | between == whole and not halos & between and halos and between


def test_halos_alone_without_a_radius_are_refused():
    with pytest.raises(InputError, match="--halos-only: expected a --halo-radius above 0"):
        make_target(random_map(), replace(OPTIONS, halo_radius=0.0, halos_only=True))


def test_halos_that_overlap_everywhere_are_refused():
    """No point is further than √3/2 from the lattice; the message names radius and remedy."""
    with pytest.raises(InputError, match=r"halo radius 0\.9 leaves no voxel.*finer map.*smaller"):
        make_target(random_map(), replace(OPTIONS, halo_radius=0.9))


def test_map_on_the_peaks_alone_is_refused():
    """One sample per unit is a peak itself: halos cannot be masked, and with radius 0 are not."""
    with pytest.raises(InputError, match=r"one voxel per integer hkl.*--halo-radius 0"):
        make_target(random_map((1, 1, 1)), OPTIONS)
    whole = make_target(random_map((1, 1, 1), missing=0), replace(OPTIONS, halo_radius=0.0))
    assert len(whole.indices) == len(whole.grid.indices_between(6.0, 2.9))


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


def test_limits_of_options():
    """Without a map there is no range where one of its ends is left to the map."""
    assert TargetOptions(d_max_A=3.0, d_min_A=2.0).limits() == (3.0, 2.0)
    with pytest.raises(ValueError, match="with_range"):
        TargetOptions(d_max_A=3.0).limits()
