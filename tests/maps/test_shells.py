"""Which range and shells a target gets, and the counts and ceilings beside every CC."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_diffuser.crystal.lattice import HklGrid, grid_to_resolution
from hpc_diffuser.fit.scoring import ceiling, shells_of_both
from hpc_diffuser.io.maps.native import read_target, write_map, write_target
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.shells import (
    LEAST_FREE,
    LEAST_PART,
    LEAST_WORKING,
    few_text,
    reach,
    shells_text,
    sturdy_shells,
)
from hpc_diffuser.maps.statistics import N_SUMS, cc_star, shell_edges
from hpc_diffuser.maps.target import TargetOptions, cut_map, make_target, with_range
from hpc_diffuser.system.errors import InputError

CELL = (20.0, 22.0, 24.0, 90.0, 90.0, 90.0)


def map_of(grid: HklGrid, mask: np.ndarray | None = None, seed: int = 0) -> DiffuseMap:
    """Random intensities with half-maps of signal 1 and noise of variance ½, NaN outside a mask."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=grid.shape)
    one, other = (
        (signal + np.sqrt(0.5) * rng.normal(size=grid.shape)).astype(np.float32) for _ in range(2)
    )
    mask = np.ones(grid.shape, bool) if mask is None else mask
    maps = [np.where(mask, x, np.nan).astype(np.float32) for x in ((one + other) / 2, one, other)]
    return DiffuseMap(grid, maps[0], "P 1", None, (maps[1], maps[2]))


def inverse_d(grid: HklGrid) -> np.ndarray:
    """1/d of every sample of an orthogonal cell, by Pythagoras: an array of the grid's shape."""
    axes = np.meshgrid(
        *(grid.axis(i) / grid.unit_cell[i] for i in range(3)), indexing="ij", sparse=True
    )
    return np.sqrt(sum(axis**2 for axis in axes))


def test_a_sphere_reaches_to_its_end():
    """All voxels to 2.5 Å: the farthest one ends the map, to the last bit."""
    grid = grid_to_resolution(CELL, (3, 3, 3), 2.0)
    s = inverse_d(grid)
    diffuse = map_of(grid, s <= 1 / 2.5)
    assert reach(diffuse.intensity, grid) == pytest.approx(s[s <= 1 / 2.5].max(), rel=1e-12)


def test_corners_of_a_box_are_beyond():
    """A cube of half-edge R: of a shell 3(R/r − 1) + 1 lies inside, 3/4 of it at r = 12/11 R.

    (Six caps of height r − R are cut off a sphere of radius r: 1 − 3(1 − R/r) of its surface is
    left.) The corners, at √3 R, are nearly twice as far.
    """
    grid = HklGrid((20.0, 20.0, 20.0, 90.0, 90.0, 90.0), (4, 4, 4), (40, 40, 40))
    edge = 40 / 80
    found = reach(np.ones(grid.shape, np.float32), grid)
    assert found == pytest.approx(12 / 11 * edge, rel=0.03)


def test_a_wedge_reaches_as_far_as_its_sphere():
    """A quarter of the sphere, as of a few degrees of rotation, is as complete at its end."""
    grid = grid_to_resolution(CELL, (3, 3, 3), 2.0)
    h, k, _ = np.meshgrid(*(grid.axis(i) for i in range(3)), indexing="ij")
    s = inverse_d(grid)
    wedge = (h * k > 0) & (np.abs(h) > np.abs(k)) & (s <= 1 / 2.5)
    assert reach(np.where(wedge, 1, np.nan), grid) == pytest.approx(1 / 2.5, rel=0.02)


def test_stray_voxels_do_not_make_the_range():
    """One voxel in fifty between 2.5 and 2.0 Å is a shell of 2 %: the map ends at 2.5 Å."""
    grid = grid_to_resolution(CELL, (3, 3, 3), 2.0)
    s = inverse_d(grid)
    stray = (s <= 1 / 2.5) | (np.random.default_rng(1).random(grid.shape) < 0.02)
    assert reach(np.where(stray, 1, np.nan), grid) == pytest.approx(1 / 2.5, rel=0.03)


def test_default_range_is_the_maps_and_the_papers():
    """To the map's own end; from 3.3 Å, or of a coarse map from twice its d_min; as given else."""
    grid = grid_to_resolution(CELL, (3, 3, 3), 2.0)
    s = inverse_d(grid)
    fine, said = with_range(map_of(grid, s <= 1 / 2.2), TargetOptions())
    assert fine.d_max_A == 3.3 and 2.19 < fine.d_min_A <= 1 / s[s <= 1 / 2.2].max() + 1e-12
    assert said[0].startswith("resolution   from 3.3 Å") and "2.2 Å, where the map ends" in said[0]
    coarse, said = with_range(map_of(grid, s <= 1 / 4.0), TargetOptions())
    assert coarse.d_max_A == pytest.approx(2 * coarse.d_min_A) and coarse.d_min_A > 3.99
    assert "the paper's 3.3 Å would leave too little" in said[0]
    given_one = TargetOptions(10.0, 2.5)
    assert with_range(map_of(grid), given_one) == (given_one, ())
    with pytest.raises(InputError, match=r"the map ends at 4 Å: expected --d-max above"):
        with_range(map_of(grid, s <= 1 / 4.0), TargetOptions(d_max_A=3.0))
    with pytest.raises(InputError, match="from 2 to 3 Å there is nothing"):
        with_range(map_of(grid), TargetOptions(2.0, 3.0))
    with pytest.raises(InputError, match="no voxel of the map is measured"):
        with_range(map_of(grid, s > 99), TargetOptions())


counts = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), min_size=1, max_size=25)


@given(counts)
def test_shells_are_joined_until_they_are_sturdy(counts):
    """No voxel is lost; each shell has enough, unless all of them together have not."""
    working, free = np.array(counts).T
    if not (working + free).any():
        return
    starts = sturdy_shells(working, free)
    assert (np.diff(starts) > 0).all()
    assert (working + free)[: starts[0]].sum() == (working + free)[starts[-1] :].sum() == 0
    filled = working + free > 0
    groups = [slice(a, b) for a, b in pairwise(starts)]
    for of_kind, least in ((working, LEAST_WORKING), (free, LEAST_FREE)):
        least = max(least, LEAST_PART * of_kind[filled].mean()) if of_kind.any() else 0
        sums = [of_kind[g].sum() for g in groups]
        assert sum(sums) == of_kind.sum()
        assert len(groups) == 1 or min(sums) >= least


def test_shells_by_hand():
    """Empty at both ends; 195 voxels beside 8268 are fewer than a fifth of the mean; the last too.

    Shells of which nothing has to be said are left alone.
    """
    working = np.array([0, 195, 8268, 9000, 9500, 60, 0, 0])
    free = working // 9
    starts = sturdy_shells(working, free)
    assert starts.tolist() == [1, 3, 4, 6]
    text = shells_text(shell_edges(10.0, 2.0, 8), starts)
    assert text.startswith("3 of the 8 asked for: none measured in 10.00-6.67 Å, left out; none")
    assert "6.67-4.00 Å (2), 3.33-2.50 Å (2)" in text
    assert shells_text(shell_edges(10.0, 2.0, 3), np.arange(4)) == ""
    # Without a free set, nothing is asked of it.
    assert sturdy_shells(np.full(4, 60), np.zeros(4, int)).tolist() == [0, 1, 2, 3, 4]
    assert sturdy_shells(np.full(4, 60), np.array([20, 20, 0, 20])).tolist() == [0, 1, 2, 4]


def test_a_single_shell_may_be_thin_and_is_told():
    """9 free voxels of 394: no shell of them has 10, and it is said; none at all were not asked."""
    assert "385 working and 9 free voxels" in few_text(385, 9)
    assert "49 working and 10 free voxels" in few_text(49, 10)
    assert few_text(50, 10) == few_text(50, 0) == ""
    grid = grid_to_resolution(CELL, (1, 1, 1), 4.0)
    options = TargetOptions(12.0, 4.0, halo_radius=0, free_fraction=0.02, n_shells=5)
    cut = cut_map(map_of(grid), options)
    working, free = cut.target.counts()[:, 0]
    assert len(cut.target.shell_edges) == 2 and 0 < free < LEAST_FREE
    assert any(f"{working} working and {free} free voxels are all" in line for line in cut.said)


def test_target_has_no_thin_shells_and_says_so():
    """A range to 1.8 Å of a map that ends at 2.5 Å, from 20 Å: what is left out and joined."""
    grid = grid_to_resolution(CELL, (3, 3, 3), 1.8)
    s = inverse_d(grid)
    cut = cut_map(map_of(grid, s <= 1 / 2.5), TargetOptions(20.0, 1.8, halo_radius=0.4))
    counts = cut.target.counts()
    assert counts.sum() == len(cut.target.indices)
    assert (counts[0] >= LEAST_WORKING).all() and (counts[1] >= LEAST_FREE).all()
    assert counts[0].min() >= LEAST_PART * counts[0].mean()
    said = cut.said[0]
    edges = shell_edges(20.0, 1.8, 20)
    beyond = edges[np.searchsorted(edges, s[s <= 1 / 2.5].max())]
    assert f"none measured in {1 / beyond:.2f}-1.80 Å, left out" in said
    assert re.search(r"joined with their neighbours in 20\.00-\d", said)
    assert cut.target.shell_edges[-1] == pytest.approx(beyond)
    # The table is of the same shells: all that is measured, before and after cut-offs.
    np.testing.assert_array_equal(cut.statistics.unique[:-1], counts.sum(axis=0))


def test_cc_half_is_that_of_the_voxels_of_each_shell():
    """numpy's CC of both half-maps at the target's voxels, whose mates are averaged by hand.

    Signal of variance 1 and noise of ½ in each half are both independent in the two mates: their
    means have ½ and ¼, and CC½ = ½/(½ + ¼) = 2/3.
    """
    grid = grid_to_resolution(CELL, (3, 3, 3), 2.2)
    diffuse = map_of(grid, np.random.default_rng(3).random(grid.shape) < 0.8)
    target = make_target(diffuse, TargetOptions(6.0, 2.2, n_shells=4))
    shells = target.shells()
    places = [tuple((sign * target.indices + grid.extent).T) for sign in (1, -1)]
    halves = [np.nanmean([half[p] for p in places], axis=0) for half in diffuse.halves]
    for shell in range(target.n_shells):
        here = shells == shell
        expected = np.corrcoef(halves[0][here], halves[1][here])[0, 1]
        assert target.cc_half()[shell] == pytest.approx(expected, abs=1e-6)
        assert expected == pytest.approx(2 / 3, abs=0.1)
        work = here & ~target.free
        assert target.half_sums[0, shell, 0] == work.sum()
    counts = [[(shells[f] == i).sum() for i in range(4)] for f in (~target.free, target.free)]
    np.testing.assert_array_equal(target.counts(), counts)


def test_cc_star():
    """√(2·0.5/1.5) = 0.8165; 1 of 1; of 0 it is 0, and below there is none."""
    np.testing.assert_allclose(cc_star(np.array([0.5, 1.0, 0.0])), [0.81650, 1, 0], atol=1e-5)
    assert np.isnan(cc_star(np.array([-0.01, -1.0, np.nan]))).all()


def test_half_maps_in_the_file(tmp_path):
    """What is written is read; a file without them, as older ones are, has none."""
    diffuse = map_of(grid_to_resolution(CELL, (3, 3, 3), 2.5))
    target = make_target(diffuse, TargetOptions(6.0, 2.5, n_shells=3))
    write_target(tmp_path / "t.h5", target, {})
    np.testing.assert_array_equal(read_target(tmp_path / "t.h5").half_sums, target.half_sums)
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        del file["entry/half_sums"]
    assert read_target(tmp_path / "t.h5").cc_half() is None
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        file["entry/half_sums"] = np.zeros((2, 2, N_SUMS))
    with pytest.raises(InputError, match="half_sums should be numbers of shape"):
        read_target(tmp_path / "t.h5")


def test_work_and_free_are_compared_over_the_same_shells():
    """Of four shells, the second has no free voxel and the third no working one."""
    work, free = np.ones((4, N_SUMS)), np.ones((4, N_SUMS))
    work[2, 0] = free[1, 0] = 0
    np.testing.assert_array_equal(shells_of_both(work, free), [True, False, False, True])
    np.testing.assert_array_equal(shells_of_both(work, 0 * free), [True] * 4)


def test_report_has_counts_and_ceilings(call, project, diffuse):
    """summary.json and the tables: voxels as counted, CC* = √(2CC½/(1+CC½))."""
    noise = np.random.default_rng(5).normal(size=(2, *diffuse.grid.shape)) * np.nanstd(
        diffuse.intensity
    )
    halves = tuple((diffuse.intensity + n).astype(np.float32) for n in noise)
    write_map(project / "halves.nxs", replace(diffuse, halves=halves), {})
    options = "--d-max", "6", "--d-min", "2.5", "--shells", "3", "-o", "target.h5"
    result = call("target", "halves.nxs", *options, folder=project)
    assert result.returncode == 0, result.stderr
    assert "working     free     CC½     CC*" in result.stdout
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 0, result.stderr
    summary = json.loads((project / "run" / "summary.json").read_text())
    target = read_target(project / "target.h5")
    for i, shell in enumerate(summary["shells"]):
        assert [shell["voxels_work"], shell["voxels_free"]] == target.counts()[:, i].tolist()
        assert shell["cc_half"] == pytest.approx(target.cc_half()[i])
        expected = np.sqrt(2 * shell["cc_half"] / (1 + shell["cc_half"]))
        assert shell["cc_star"] == pytest.approx(expected, rel=1e-12)
        row = f"{shell['voxels_work']:8d}{shell['voxels_free']:8d}{shell['cc']:9.4f}"
        assert row in result.stdout and f"{shell['cc_star']:9.4f}" in result.stdout
    assert summary["ceiling"]["cc_half"] == pytest.approx(np.mean(target.cc_half()))
    assert "the data's CC*" in result.stdout


@pytest.mark.parametrize(
    ("halves", "expected"),
    [
        ([0.98, 0.2, 0.1], np.mean([np.sqrt(2 * c / (1 + c)) for c in (0.98, 0.2, 0.1)])),
        ([0.9, 0.9], np.sqrt(1.8 / 1.9)),
        ([0.98, -0.1], np.sqrt(1.96 / 1.98) / 2),
        ([-0.1, -0.2], None),
    ],
)
def test_ceiling_is_the_mean_that_a_perfect_model_has(halves, expected):
    """Signal of variance S, noise N in each half: CC½ = S/(S+N) = c in a shell.

    The truth and the mean of both halves have CC = √(S/(S+N/2)) = √(2c/(1+c)) there; CC_work of
    the truth is the mean of those over the shells: 0.666 of the first three, whose mean CC½, 0.427,
    would promise 0.773. Of all voxels in one CC it is that of their sums.
    """
    sums = np.array([[[100.0, 0.0, 0.0, 1.0, 1.0, c] for c in halves]])
    found = ceiling(SimpleNamespace(half_sums=sums), "shell-mean")
    assert found.cc_half == pytest.approx(np.mean(halves))
    assert found.cc_star == (None if expected is None else pytest.approx(expected))
    pooled, c = ceiling(SimpleNamespace(half_sums=sums), "pooled"), np.mean(halves)
    star = np.sqrt(2 * c / (1 + c)) if c > 0 else None
    assert pooled.cc_star == (None if c < 0 else pytest.approx(star))
