"""Merging of Laue mates, and what is said of their agreement, against lists of pairs."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from builders import TRICLINIC, laue_mates
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.maps.diffuse_map import DiffuseMap, values_at
from hpc_diffuser.maps.merging import Merged, merge_mates, merged_intensity

N_SHELLS = 3
CELL_OF = {
    "P 1": TRICLINIC,
    "P 41": (12.0, 12.0, 17.0, 90.0, 90.0, 90.0),
    "P 21 21 21": (12.0, 13.0, 14.0, 90.0, 90.0, 90.0),
    "P 6": (12.0, 12.0, 15.0, 90.0, 90.0, 120.0),
}


def noisy_map(space_group: str, missing: float = 0.3) -> DiffuseMap:
    """Symmetric intensities with noise half as large, two halves, a part not measured."""
    rng = np.random.default_rng(1)
    grid = grid_to_resolution(CELL_OF[space_group], (2, 2, 2), 3.5)
    truth = np.zeros(grid.shape)
    signal = rng.normal(size=grid.shape)
    for index in np.argwhere(np.ones(grid.shape)) - np.array(grid.extent):
        mates = [m for m in laue_mates(index, space_group) if (np.abs(m) <= grid.extent).all()]
        truth[tuple(index + grid.extent)] = 10 + signal[tuple(np.add(max(mates), grid.extent))]
    halves = [truth + 0.7 * rng.normal(size=grid.shape) for _ in range(2)]
    intensity = np.mean(halves, axis=0)
    for array in (intensity, *halves):
        array[rng.random(grid.shape) < missing] = np.nan
    errors = rng.uniform(0.4, 0.6, grid.shape)
    return DiffuseMap(grid, intensity, space_group, errors, tuple(halves))


def merged(diffuse: DiffuseMap) -> tuple[Merged, np.ndarray, np.ndarray]:
    """All of a map to 3.5 Å in three shells; the samples and their shells."""
    operations = grid_operations(diffuse.grid, diffuse.space_group)
    indices = unique_indices(diffuse.grid, np.inf, 3.5, operations)
    shells = np.arange(len(indices)) % N_SHELLS  # any division will do
    return merge_mates(diffuse, indices, operations, shells, N_SHELLS), indices, shells


def mates_values(diffuse: DiffuseMap, array: np.ndarray, index) -> dict[tuple, float]:
    """What is measured at each of an index's mates, by gemmi's operations."""
    mates = laue_mates(index, diffuse.space_group)
    found = {m: values_at(array, np.array(m)).item() for m in mates}
    return {m: value for m, value in found.items() if np.isfinite(value)}


def pooled(pairs: list[list[tuple[float, float]]]) -> float:
    """Pearson CC of pairs after the mean of those in each shell is subtracted."""
    centred = [np.array(p) - np.mean(p, axis=0) for p in pairs if p]
    x, y = np.concatenate(centred).T
    return float(np.sum(x * y) / np.sqrt(np.sum(x**2) * np.sum(y**2)))


@pytest.mark.parametrize("space_group", CELL_OF)
def test_agreement_is_that_of_all_pairs(space_group):
    """Each set of mates as a list, each pair of it in both orders, numpy's Pearson CC.

    P 4₁ and P 6 have samples on axes and planes of symmetry, whose mates are fewer; 000 is its
    own Friedel mate, and no pair. R_int = Σ|I − ⟨I⟩| / Σ⟨I⟩ over sets of two and more.
    """
    diffuse = noisy_map(space_group)
    found, indices, shells = merged(diffuse)
    laue, friedel = ([[] for _ in range(N_SHELLS)] for _ in range(2))
    spread, total, n_measured = np.zeros(N_SHELLS), np.zeros(N_SHELLS), np.zeros(N_SHELLS)
    for index, shell in zip(indices, shells, strict=True):
        values = mates_values(diffuse, diffuse.intensity, index)
        laue[shell] += list(permutations(values.values(), 2))
        mates = {m: tuple(-i for i in m) for m in values if any(m)}
        friedel[shell] += [(values[m], values[n]) for m, n in mates.items() if n in values]
        n_measured[shell] += len(values)
        if len(values) > 1:
            mean = np.mean(list(values.values()))
            spread[shell] += np.sum(np.abs(np.array(list(values.values())) - mean))
            total[shell] += mean * len(values)
    statistics = found.statistics
    for pairs, ccs in ((laue, statistics.cc_laue), (friedel, statistics.cc_friedel)):
        expected = [np.corrcoef(np.array(p).T)[0, 1] for p in pairs] + [pooled(pairs)]
        np.testing.assert_allclose(ccs, expected, rtol=1e-9)
    np.testing.assert_allclose(statistics.r_int[:-1], spread / total, rtol=1e-9)
    assert statistics.r_int[-1] == pytest.approx(spread.sum() / total.sum(), rel=1e-9)
    measured = np.isfinite(found.intensity)
    unique = np.bincount(shells, measured)
    np.testing.assert_array_equal(statistics.unique, [*unique, measured.sum()])
    np.testing.assert_allclose(statistics.multiplicity[:-1], n_measured / unique)
    np.testing.assert_allclose(statistics.completeness[:-1], unique / np.bincount(shells))
    assert statistics.completeness[-1] == pytest.approx(measured.mean())


def test_half_maps_are_merged_alike():
    """CC½: the mean of each half's mates, then numpy's CC where both halves have one."""
    diffuse = noisy_map("P 41", missing=0.8)
    found, indices, shells = merged(diffuse)
    means = np.array(
        [
            [np.mean([*mates_values(diffuse, half, i).values()] or [np.nan]) for i in indices]
            for half in diffuse.halves
        ]
    )
    both = np.isfinite(means).all(axis=0)
    assert not both.all()
    pairs = [means[:, both & (shells == s)].T for s in range(N_SHELLS)]
    expected = [np.corrcoef(p.T)[0, 1] for p in pairs] + [pooled([list(p) for p in pairs])]
    np.testing.assert_allclose(found.statistics.cc_half, expected, rtol=1e-9)
    assert np.isnan(merged(replace(diffuse, halves=None))[0].statistics.cc_half).all()


@pytest.mark.parametrize("space_group", ["P 1", "P 41"])
def test_noise_is_what_lowers_the_correlation(space_group):
    """Signal of variance 1 and noise of 0.7²/2 in each voxel: CC = 1/(1 + 0.245) = 0.80.

    The mates' signal is the same, their noise independent: covariance 1, variance 1.245.
    """
    statistics = merged(noisy_map(space_group))[0].statistics
    assert statistics.cc_laue[-1] == pytest.approx(0.80, abs=0.05)
    assert statistics.cc_friedel[-1] == pytest.approx(0.80, abs=0.05)


def test_symmetric_map_agrees_with_itself():
    """Without noise R_int is 0 and the CCs are 1; with all mates measured all is complete."""
    diffuse = noisy_map("P 41", missing=0.0)
    operations = grid_operations(diffuse.grid, "P 41")
    every = np.argwhere(np.ones(diffuse.grid.shape)) - np.array(diffuse.grid.extent)
    mean = merged_intensity(diffuse.intensity, every, operations).reshape(diffuse.grid.shape)
    statistics = merged(replace(diffuse, intensity=mean))[0].statistics
    np.testing.assert_allclose(statistics.r_int, 0, atol=1e-12)
    np.testing.assert_allclose([statistics.cc_laue, statistics.cc_friedel], 1, rtol=1e-9)
    np.testing.assert_array_equal(statistics.completeness, 1)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.01, 100), offset=st.floats(-50, 50))
def test_scale_and_offset_do_not_matter(scale, offset):
    """CCs are those of a I + b; R_int that of a I."""
    diffuse = noisy_map("P 1")
    one = merged(diffuse)[0].statistics
    other = merged(replace(diffuse, intensity=scale * diffuse.intensity + offset))[0].statistics
    scaled = merged(replace(diffuse, intensity=scale * diffuse.intensity))[0].statistics
    np.testing.assert_allclose(other.cc_laue, one.cc_laue, rtol=1e-6)
    np.testing.assert_allclose(other.cc_friedel, one.cc_friedel, rtol=1e-6)
    np.testing.assert_allclose(scaled.r_int, one.r_int, rtol=1e-9)


def test_nothing_measured():
    """Counts of 0, and no statistics; nothing is divided by zero."""
    diffuse = noisy_map("P 41", missing=1.0)
    found, indices, _ = merged(diffuse)
    assert np.isnan(found.intensity).all() and len(indices)
    assert not found.statistics.unique.any() and not found.statistics.completeness.any()
    for name in ("multiplicity", "r_int", "cc_friedel", "cc_laue", "cc_half"):
        assert np.isnan(getattr(found.statistics, name)).all()


def test_samples_at_a_time_do_not_matter(monkeypatch):
    """In pieces of 7 the means have the same bits; sums are added in another order."""
    diffuse = noisy_map("P 41")
    whole = merged(diffuse)[0]
    monkeypatch.setattr("hpc_diffuser.maps.merging._AT_ONCE", 7)
    parts = merged(diffuse)[0]
    np.testing.assert_array_equal(parts.intensity, whole.intensity)
    np.testing.assert_array_equal(parts.errors, whole.errors)
    np.testing.assert_allclose(parts.statistics.cc_laue, whole.statistics.cc_laue, rtol=1e-9)
