"""The command `score`: any map against a target, by the rules of a fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
from builders import laue_mates
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.commands.score import Options, scores
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.map_score import score_data
from hpc_diffuser.io.maps.native import read_map, read_target, write_map, write_target
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import TargetOptions, make_target
from hpc_diffuser.system.errors import InputError

CELL = (12.0, 12.0, 17.0, 90.0, 90.0, 90.0)


def noise(divisions=(4, 4, 4), space_group="P 41", seed=0, d_min=2.5) -> DiffuseMap:
    """Random intensities to a resolution."""
    grid = grid_to_resolution(CELL, divisions, d_min)
    values = np.random.default_rng(seed).normal(size=grid.shape).astype(np.float32)
    return DiffuseMap(grid, values, space_group)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """target.h5 of random numbers in P 41, and another such map, calculated.nxs."""
    folder = tmp_path_factory.mktemp("score")
    target = make_target(noise(), TargetOptions(6.0, 2.5, n_shells=3))
    write_target(folder / "target.h5", target, {})
    write_map(folder / "calculated.nxs", noise(seed=1), {})
    return folder


def scored(folder, diffuse: DiffuseMap, score="shell-mean", weights="none") -> dict:
    """What `scores` says of a map."""
    write_map(folder / "tried.nxs", diffuse, {})
    return score_data(scores(Options(folder / "tried.nxs", folder / "target.h5", score, weights)))


def test_the_map_of_a_fit_has_the_scores_of_its_summary(call, finished, tmp_path):
    """calculated.h5 is in single precision; what else is done to it is the same."""
    result = call(
        "score",
        "run/calculated.h5",
        "target.h5",
        "--json",
        str(tmp_path / "s.json"),
        folder=finished,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "s.json").read_text())
    summary = json.loads((finished / "run" / "summary.json").read_text())
    for key in ("cc_work", "cc_free"):
        assert found[key] == pytest.approx(summary[key], abs=1e-6)
        assert f"{found[key]:9.4f}" in result.stdout
    for ours, theirs in zip(found["shells"], summary["shells"], strict=True):
        for key, value in ours.items():
            assert value == pytest.approx(theirs[key], abs=1e-6), key
    assert found["missing"] == 0


@pytest.mark.parametrize("score", ["shell-mean", "pooled"])
def test_score_is_numpys(folder, score):
    """Laue mates averaged by gemmi's operations, then numpy's CC in each shell, or of all.

    Of all: deviations from the mean of each shell.
    """
    target = read_target(folder / "target.h5")
    diffuse = read_map(folder / "calculated.nxs")
    x = np.array(
        [
            np.mean([diffuse.intensity[tuple(np.array(m) + diffuse.grid.extent)] for m in mates])
            for mates in (laue_mates(i, "P 41") for i in target.indices)
        ]
    )
    y, shells = target.intensity.astype(float), target.shells()
    found = scored(folder, diffuse, score)
    for part, key in ((~target.free, "cc_work"), (target.free, "cc_free")):
        groups = [part & (shells == s) for s in range(target.n_shells)]
        if score == "shell-mean":
            expected = np.mean([np.corrcoef(x[g], y[g])[0, 1] for g in groups])
        else:
            one, other = (np.concatenate([v[g] - v[g].mean() for g in groups]) for v in (x, y))
            expected = np.sum(one * other) / np.sqrt(np.sum(one**2) * np.sum(other**2))
        assert found[key] == pytest.approx(expected, abs=1e-6)
        assert abs(expected) < 0.3


@settings(max_examples=8, deadline=None)
@given(
    scale=st.floats(1e-3, 1e6),
    offset=st.floats(-100, 100),
    score=st.sampled_from(["shell-mean", "pooled"]),
)
def test_scale_and_offset_do_not_matter(folder, scale, offset, score):
    """Pearson's CC after the mean of each shell is subtracted: a I + b scores as I does."""
    diffuse = noise(seed=1)
    one = scored(folder, diffuse, score)
    moved = (scale * (diffuse.intensity.astype(float) + offset)).astype(np.float32)
    other = scored(folder, replace(diffuse, intensity=moved), score)
    assert other["cc_work"] == pytest.approx(one["cc_work"], abs=1e-4)
    assert other["cc_free"] == pytest.approx(one["cc_free"], abs=1e-4)


def test_finer_maps_are_scored_at_the_targets_voxels(folder):
    """Of 8 samples per unit every second is the target's: all others may be anything."""
    fine = noise((8, 8, 8), seed=3)
    fine.intensity[:] = np.nan
    coarse = noise(seed=1)
    inside = tuple(
        slice(f % 2 if (f - 2 * c) < 0 else f - 2 * c, None, 2)
        for f, c in zip(fine.grid.extent, coarse.grid.extent, strict=True)
    )
    view = fine.intensity[inside]
    view[tuple(slice(0, n) for n in coarse.grid.shape)] = coarse.intensity
    one, other = scored(folder, coarse), scored(folder, fine)
    assert other["cc_work"] == one["cc_work"] and other["missing"] == 0


def test_a_map_of_other_samples_is_refused(folder):
    """Between the voxels nothing is known; the remedy is named."""
    with pytest.raises(
        InputError, match=r"has 5 x 5 x 5 samples .* the target 4 x 4 x 4: expected"
    ):
        scored(folder, noise((5, 5, 5)))
    with pytest.raises(InputError, match="has 2 x 2 x 2 samples"):
        scored(folder, noise((2, 2, 2)))


def test_a_map_of_another_crystal_is_refused(folder):
    """Its cell differs by more than 2 %."""
    diffuse = noise()
    grid = replace(diffuse.grid, unit_cell=(13.0, 13.0, 17.0, 90.0, 90.0, 90.0))
    with pytest.raises(InputError, match="unit cell 13 13 17 90 90 90 is not"):
        scored(folder, replace(diffuse, grid=grid))


def test_missing_voxels_are_counted_or_refused(folder, call):
    """A set of mates of which one is there is there; too many missing are another target."""
    target = read_target(folder / "target.h5")
    diffuse = noise(seed=1)
    for index in target.indices[:20]:
        for mate in laue_mates(index, "P 41"):
            diffuse.intensity[tuple(np.array(mate) + diffuse.grid.extent)] = np.nan
    for mate in sorted(laue_mates(target.indices[30], "P 41"))[1:]:
        diffuse.intensity[tuple(np.array(mate) + diffuse.grid.extent)] = np.inf
    found = scored(folder, diffuse)
    assert (found["missing"], found["voxels"]) == (20, len(target.indices))
    assert sum(s["voxels_work"] + s["voxels_free"] for s in found["shells"]) == found["voxels"] - 20
    result = call("score", "tried.nxs", "target.h5", folder=folder)
    assert result.returncode == 0 and "; 20 are not in the map" in result.stdout
    write_map(folder / "short.nxs", noise(d_min=3.0), {})
    result = call("score", "short.nxs", "target.h5", folder=folder)
    assert result.returncode == 65 and result.stderr.count("\n") == 1
    assert "short.nxs: lacks " in result.stderr and "make a target of the range" in result.stderr


def test_weights_need_errors_and_maps_that_vary(folder):
    """Told as of a fit; a constant map has no CC."""
    with pytest.raises(InputError, match="the target has none"):
        scored(folder, noise(), weights="errors")
    diffuse = noise()
    with pytest.raises(InputError, match=r"does not vary between 6\.00 and"):
        scored(folder, replace(diffuse, intensity=np.ones_like(diffuse.intensity)))


def test_a_map_without_a_cell_gets_the_targets(folder, call):
    """A diffuser file says neither cell nor space group: scored as the same map in NeXus."""
    to = ("convert", "calculated.nxs", "calculated.h5", "--to", "diffuser")
    assert call(*to, folder=folder).returncode == 0
    one, other = (
        score_data(scores(Options(folder / name, folder / "target.h5", "pooled")))
        for name in ("calculated.nxs", "calculated.h5")
    )
    assert other["cc_work"] == pytest.approx(one["cc_work"], abs=1e-6)
    assert "target.h5 has them" in " ".join(other["said"])
