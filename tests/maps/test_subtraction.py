"""A calculated map subtracted from a measured one, against sums over lists of mates."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from builders import laue_mates
from random_maps import CELL_OF, OPTIONS

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.map_score import score_map
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.subtraction import Subtrahend
from hpc_diffuser.maps.target import Target, cut_map, make_target
from hpc_diffuser.system.errors import InputError

WHOLE = replace(OPTIONS, halo_radius=0.0)


@cache
def maps(space_group: str = "P 41") -> tuple[DiffuseMap, DiffuseMap, DiffuseMap]:
    """Data = 3 x model + rest + 50, with errors, halves and gaps; the model; the rest."""
    rng = np.random.default_rng(4)
    grid = grid_to_resolution(CELL_OF[space_group], (3, 3, 3), OPTIONS.d_min_A)
    every = np.argwhere(np.ones(grid.shape)) - np.array(grid.extent)
    first = {tuple(i): max(laue_mates(i, space_group)) for i in every.tolist()}
    model, rest = (symmetric(first, rng.gamma(2.0, size=1 << 15), grid) for _ in range(2))
    halves = [3 * model + rest + 50 + 0.05 * rng.normal(size=grid.shape) for _ in range(2)]
    for half in halves:
        half[rng.random(grid.shape) < 0.2] = np.nan
    errors = rng.uniform(0.1, 0.2, grid.shape)
    whole = np.mean(halves, axis=0)
    data = DiffuseMap(grid, whole, space_group, errors, (halves[0], halves[1]))
    return data, DiffuseMap(grid, model, space_group), DiffuseMap(grid, rest, space_group)


def symmetric(first: dict, numbers: np.ndarray, grid) -> np.ndarray:
    """The same number at all mates."""
    place = {mate: i for i, mate in enumerate(dict.fromkeys(first.values()))}
    return np.array([numbers[place[m]] for m in first.values()]).reshape(grid.shape)


def at(diffuse: DiffuseMap, array: np.ndarray, target: Target) -> np.ndarray:
    """Mean of the measured mates, one voxel after the other, by gemmi's operations."""
    found = []
    for index in target.indices:
        mates = np.array(sorted(laue_mates(index, target.space_group))) + diffuse.grid.extent
        inside = mates[((mates >= 0) & (mates < array.shape)).all(axis=1)]
        found.append(np.nanmean(array[tuple(inside.T)]))
    return np.array(found)


@pytest.mark.parametrize("scale", ["one", "shells"])
@pytest.mark.parametrize("space_group", ["P 1", "P 41"])
def test_what_is_left_is_the_residual_of_a_least_squares_fit(space_group, scale):
    """numpy's solver, with a column of ones for each shell, and one of the model, or one for each.

    The background of the data stays, errors are those of the data, and the half-maps lose as
    much as their mean does.
    """
    data, model, _ = maps(space_group)
    plain = make_target(data, WHOLE)
    cut = cut_map(data, WHOLE, Subtrahend(model, scale))
    x, y = at(model, model.intensity, plain), at(data, data.intensity, plain)
    np.testing.assert_allclose(plain.intensity, y, rtol=1e-6)
    ones = (plain.shells()[:, None] == np.arange(plain.n_shells)).astype(float)
    columns = x[:, None] if scale == "one" else ones * x[:, None]
    weights = np.linalg.lstsq(np.hstack([columns, ones]), y, rcond=None)[0]
    k = weights[: columns.shape[1]]
    np.testing.assert_allclose(cut.subtracted.scales, k, rtol=1e-9)
    np.testing.assert_array_equal(cut.target.indices, plain.indices)
    np.testing.assert_array_equal(cut.target.errors, plain.errors)
    np.testing.assert_allclose(cut.target.intensity, y - columns @ k, rtol=1e-5)
    left = y - np.hstack([columns, ones]) @ weights
    assert cut.subtracted.left == pytest.approx(
        np.sum(left**2) / np.sum((y - ones @ np.linalg.lstsq(ones, y, rcond=None)[0]) ** 2)
    )
    one, other = (at(data, half, plain) - columns @ k for half in data.halves)
    for s, cc in enumerate(cut.target.cc_half()):
        both = (plain.shells() == s) & np.isfinite(one + other)
        assert cc == pytest.approx(np.corrcoef(one[both], other[both])[0, 1], abs=1e-6)
    assert (cut.target.cc_half() < plain.cc_half()).all()


@pytest.mark.parametrize("score", ["shell-mean", "pooled", "likelihood"])
def test_what_is_left_scores_as_the_rest_of_the_model(score):
    """The rest alone is what was measured, less the model: its CC and χ² are of the noise.

    So are they where a background was subtracted from the data before, and most of what is left
    is below 0.
    """
    data, model, rest = maps()
    low = replace(data, intensity=data.intensity - 54, halves=None)
    before = score_map(rest, make_target(data, WHOLE), score, "none")
    plain = make_target(data, WHOLE, Subtrahend(model))
    less = make_target(low, WHOLE, Subtrahend(model))
    assert (plain.intensity > 0).all() and (less.intensity < 0).mean() > 0.8
    plain, less = (score_map(rest, target, score, "none") for target in (plain, less))
    assert plain.cc_work > 0.999 and less.cc_work == pytest.approx(plain.cc_work, abs=1e-5)
    assert before.cc_work < 0.5
    if score == "likelihood":
        assert less.likelihood.chi_squared_work == pytest.approx(
            plain.likelihood.chi_squared_work, rel=1e-3
        )
        assert plain.likelihood.chi_squared_work < 1e-3 * before.likelihood.chi_squared_work


def test_voxels_that_the_model_lacks_are_left_out_and_told():
    """The rest are as before, with the scale of the common ones."""
    data, model, _ = maps("P 1")
    short = np.where(model.intensity > 4, np.nan, model.intensity)
    cut = cut_map(data, WHOLE, Subtrahend(replace(model, intensity=short), name="short.nxs"))
    plain = make_target(data, WHOLE)
    there = at(model, model.intensity, plain) <= 4
    np.testing.assert_array_equal(cut.target.indices, plain.indices[there])
    assert cut.left_out["without a calculated value"] == (~there).sum() > 20
    assert any(line.startswith("subtracted   short.nxs times ") for line in cut.said)


def test_a_finer_model_is_subtracted_at_the_maps_samples():
    """Of 6 samples per unit every second is the map's."""
    data, model, _ = maps("P 1")
    fine_grid = replace(
        model.grid, divisions=(6, 6, 6), extent=tuple(2 * e for e in model.grid.extent)
    )
    fine = np.full(fine_grid.shape, -1e3)
    fine[::2, ::2, ::2] = model.intensity
    one = make_target(data, WHOLE, Subtrahend(model))
    other = make_target(data, WHOLE, Subtrahend(DiffuseMap(fine_grid, fine, "P 1")))
    np.testing.assert_array_equal(one.intensity, other.intensity)


def test_maps_that_do_not_fit_are_refused():
    """Other samples, another range, no variation, one that the data do not resemble."""
    data, model, _ = maps("P 1")
    grid = model.grid
    other = DiffuseMap(replace(grid, divisions=(4, 4, 4)), model.intensity, "P 1")
    nothing = replace(model, intensity=np.where(model.intensity > 1, np.nan, model.intensity))
    wrong = {
        "m: has 4 x 4 x 4 samples .* the target 3 x 3 x 3": other,
        "m: lacks .* voxels that it is to be subtracted from": nothing,
        "m: does not vary within": replace(model, intensity=np.ones(grid.shape)),
        "m: its best scale is below 0": replace(model, intensity=-model.intensity),
    }
    for message, bad in wrong.items():
        with pytest.raises(InputError, match=message):
            cut_map(data, WHOLE, Subtrahend(bad, name="m"))


def test_a_shell_that_the_model_does_not_resemble_stays_as_it_is():
    """Its scale is 0, not negative."""
    data, model, _ = maps("P 1")
    plain = make_target(data, WHOLE)
    s = np.sqrt(
        model.grid.inverse_d_squared(
            np.argwhere(np.ones(model.grid.shape)) - np.array(model.grid.extent)
        )
    ).reshape(model.grid.shape)
    turned = np.where(s < plain.shell_edges[1], -model.intensity, model.intensity)
    cut = cut_map(data, WHOLE, Subtrahend(replace(model, intensity=turned), "shells"))
    assert cut.subtracted.scales[0] == 0 and (cut.subtracted.scales[1:] > 2).all()
    first = plain.shells() == 0
    np.testing.assert_array_equal(cut.target.intensity[first], plain.intensity[first])
    assert "0 in 1" in cut.subtracted.text()


def test_too_little_or_all_explained_is_told():
    """A model with a and c exchanged; the map itself. A common case says nothing."""
    data, model, _ = maps("P 1")
    left = [
        cut_map(data, WHOLE, Subtrahend(of)).subtracted.text().partition("is left")[2]
        for of in (model, replace(model, intensity=model.intensity.transpose(2, 1, 0)), data)
    ]
    assert left[0] == "" and "see --reindex" in left[1] and "of the same data?" in left[2]
