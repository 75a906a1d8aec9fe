"""Sections on maps, CCs and parameters: of a finished run beside its files; of one that is not."""

import json
import shutil

import numpy as np
import pytest

from hpc_diffuser.fit.errors.cc_errors import cc_errors, difference_error
from hpc_diffuser.interface.run import open_run
from hpc_diffuser.maps.zones import blocks_of
from hpc_diffuser.plots.sections import rings_between
from hpc_diffuser.report.sections.combinations import determined_by_run
from hpc_diffuser.report.sections.correlations import correlations_of_run
from hpc_diffuser.report.sections.maps import sections_of_maps
from hpc_diffuser.report.sections.parameters import parameters_of_run
from hpc_diffuser.report.sections.resolution import shells_of_run

ALL = (
    sections_of_maps,
    shells_of_run,
    parameters_of_run,
    correlations_of_run,
    determined_by_run,
)


@pytest.fixture(scope="module")
def run(finished):
    """The finished run, opened."""
    return open_run(finished / "run")


@pytest.fixture
def content(finished) -> dict:
    return json.loads((finished / "run" / "summary.json").read_text())


@pytest.fixture
def copy(finished, tmp_path):
    """A function that opens the run with a changed summary."""
    shutil.copytree(finished, tmp_path / "copy")
    folder = tmp_path / "copy" / "run"

    def opened(content: dict):
        (folder / "summary.json").write_text(json.dumps(content))
        return open_run(folder)

    return opened


def columns(table):
    """A table's columns by their names."""
    return {c.name: [row[i] for row in table.rows] for i, c in enumerate(table.columns)}


def test_scales_are_regressions(run):
    """Each shell's slope, of the working voxels, is numpy's; and so is the pattern's CC."""
    found = columns(sections_of_maps(run).tables[1])
    target, shells = run.target, run.target.shells()
    for shell in range(target.n_shells):
        own = (shells == shell) & ~target.free
        x, y = run.calculated[own], target.intensity[own].astype(float)
        assert found["scale"][shell] == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-5)
        assert found["mean measured"][shell] == pytest.approx(y.mean())
    assert found["voxels"] == np.bincount(shells).tolist()


def test_sections_are_on_one_scale_with_rings(run):
    """All three panels of a figure, the mask white beside a middle that is not; rings in Å."""
    found = sections_of_maps(run)
    assert [f.name for f in found.figures][:2] == ["section_hk0", "section_hk0_whole"]
    assert len(found.figures) == 6  # P 1
    drawn = found.figures[0].draw()
    *panels, _scale = drawn.axes
    limits = {panel.images[0].get_clim() for panel in panels}
    assert len(panels) == 3 and len(limits) == 1
    low, high = limits.pop()
    assert low == -high
    for panel in panels:
        assert panel.get_facecolor()[:3] == (1, 1, 1)
        assert {"6 Å", "2.5 Å"} <= {text.get_text() for text in panel.texts}
    (row, *_), table = found.tables[0].rows, columns(found.tables[0])
    assert row[0] == "hk0" and f"{table['correlation of whole intensities'][0]:.2f}" in (
        found.figures[1].alternative
    )


def test_rings_are_round_numbers_inside_the_range():
    """Beside its ends, those that are not too near to them; none at infinity."""
    assert rings_between(10.0, 2.5) == pytest.approx((10, 5, 3, 2.5))
    assert rings_between(np.inf, 1.6) == pytest.approx((10, 5, 3, 2, 1.6))
    assert rings_between(3.3, 1.6) == pytest.approx((3.3, 2, 1.6))


def test_ccs_are_those_of_the_summary(run, content):
    """By shell and overall; errors from the run's own maps."""
    scores, by_shell = (columns(t) for t in shells_of_run(run).tables)
    assert scores["value"] == [content["cc_work"], content["cc_free"]]
    for name, key in (("CC_work", "cc"), ("CC_free", "cc_free"), ("d_min (Å)", "d_min")):
        assert by_shell[name] == [shell[key] for shell in content["shells"]]
    target = run.target
    errors = cc_errors(target, run.calculated, blocks_of(target), "shell-mean", "none")
    assert scores["standard error"] == [errors.work.error, errors.free.error]
    assert by_shell["95 % to"] == errors.shells_work.high.tolist()
    assert scores["zones, or blocks of them"] == [errors.zones_work, errors.zones_free]
    assert scores["95 % from"][0] < content["cc_work"] < scores["95 % to"][0]


def test_models_that_are_the_same_do_not_differ(run):
    """The same zones are drawn for both; one that is noisier is less by what its noise says."""
    target, zones = run.target, blocks_of(run.target)
    one = cc_errors(target, run.calculated, zones, "pooled", "none")
    same = cc_errors(target, 3 * run.calculated, zones, "pooled", "none")
    work, free = difference_error(one.resampled, same.resampled)
    assert work.error == pytest.approx(0, abs=1e-9) and free.error == pytest.approx(0, abs=1e-9)


def test_parameters_are_those_of_the_summary(run, content):
    """Answer, errors and intervals by refined parameter; correlations of each two."""
    intervals, found = content["intervals"], parameters_of_run(run)
    assert intervals["missing"] is None
    table = columns(found.tables[0])
    assert table["standard error"] == intervals["standard_errors"]
    assert table["95 % from"] == intervals["low"] and table["95 % to"] == intervals["high"]
    answers = [*content["answer"]["mode_amplitude_A"], content["answer"]["translation_sigma_A"]]
    assert table["answer"] == answers[: len(content["refined"])]
    pairs = columns(correlations_of_run(run).tables[0])["correlation"]
    n = len(content["refined"])
    upper = [intervals["correlation"][i][j] for i in range(n) for j in range(i + 1, n)]
    assert sorted(pairs) == sorted(upper)
    checks = columns(found.tables[1])
    assert checks["68 % to"] == intervals["high_68"]
    assert checks["error by bootstrap"] == intervals["bootstrap_errors"]
    (effective,) = found.tables[2].rows
    assert effective[:3] == tuple(intervals["effective"].values())
    assert f"{effective[0]} voxels count as {effective[1]:.0f} independent" in " ".join(found.words)


def test_a_bootstrap_without_minima_is_no_check(copy, content):
    """None at all says so; a few are counted."""
    n = len(content["refined"])
    none = {"bootstrap_errors": [None] * n, "bootstrap_without": 500}
    said = parameters_of_run(copy(content | {"intervals": content["intervals"] | none}))
    assert "more than half of 500 drawings none was found" in " ".join(said.words)
    few = content["intervals"] | {"bootstrap_errors": [0.1] * n, "bootstrap_without": 3}
    said = parameters_of_run(copy(content | {"intervals": few}))
    assert "In 3 of 500 drawings no minimum was found" in " ".join(said.words)


def test_combinations_are_those_of_the_summary(run, content):
    """Deviations and all parts; how many parameters are known how well, counted anew."""
    found, intervals = determined_by_run(run), content["intervals"]
    told = columns(found.tables[0])
    said = intervals["combinations"]
    assert told["standard deviation (parts of the ranges)"] == [one["deviation"] for one in said]
    assert told["standard deviation (parts of the ranges)"] == sorted(
        told["standard deviation (parts of the ranges)"]
    )
    assert columns(found.tables[1])["part"] == [part for one in said for part in one["parts"]]
    assert np.linalg.norm([one["parts"] for one in said], axis=1) == pytest.approx(1)
    answers = [*content["answer"]["mode_amplitude_A"], content["answer"]["translation_sigma_A"]]
    errors = [*content["standard_errors"]["mode_amplitude_A"]]
    errors.append(content["standard_errors"]["translation_sigma_A"])
    pairs = zip(errors, answers, strict=True)
    well = sum(error <= 0.1 * answer for error, answer in pairs if error is not None)
    n = len(intervals["known"])
    assert f"Of {n} parameters, {well} are known to 10 % of themselves" in found.words[0]


def test_a_prior_has_its_share(copy, content):
    """Beside each combination; how many parameters are left to the data."""
    intervals = content["intervals"]
    shared = [one | {"prior_share": 0.25} for one in intervals["combinations"]]
    changed = intervals | {"combinations": shared, "determined": 2.25}
    found = determined_by_run(copy(content | {"intervals": changed}))
    assert columns(found.tables[0])["prior's share"] == [0.25] * len(shared)
    assert "the data determine 2.2, the prior the rest" in " ".join(found.words)
    pytest.importorskip("matplotlib")
    assert len(found.figures[0].draw().axes) == 2  # with a scale of shares


def test_a_prior_is_told_beside_the_answer(copy, content):
    """By its weight and its part of the objective; without one nothing is said."""
    told = " ".join(parameters_of_run(copy(content)).words)
    assert "there is a prior" not in told
    prior = {"amplitudes": 0.0, "tau": 1.0, "scale_of_source": None}
    prior |= {"b_factors": 15.0, "of_b_factors": 0.0123, "of_amplitudes": 0.0}
    told = " ".join(parameters_of_run(copy(content | {"prior": prior})).words)
    assert "there is a prior on B-factors, of weight 15, 0.012 of the objective" in told


def test_what_has_no_intervals_says_why(copy, content):
    """An older summary, a run without a final map, one whose objective has no minimum."""
    older = {k: v for k, v in content.items() if k != "intervals"}
    said = parameters_of_run(copy(older))
    assert said.words[0].startswith("No intervals: the summary was written by a version")
    assert len(said.tables) == 1 and not said.figures
    flat = {"zones": 99, "samples": 8, "missing": "at the answer there is no minimum along mode 1"}
    said = parameters_of_run(copy(content | {"intervals": flat}))
    assert said.words[0].startswith("No intervals: at the answer there is no minimum along mode 1.")
    assert correlations_of_run(copy(content | {"intervals": flat})) is None
    assert determined_by_run(copy(content | {"intervals": flat})) is None
    running = {k: v for k, v in content.items() if k != "answer"}
    said = parameters_of_run(copy(running))
    assert not said.tables and "once the last restart is finished" in said.words[0]


def test_a_run_without_a_map_has_no_sections(copy, content):
    """Nothing is said of maps and CCs that are not there yet."""
    running = copy({k: v for k, v in content.items() if k != "answer"})
    (running.directory / "calculated.h5").unlink()
    assert sections_of_maps(running) is None
    assert shells_of_run(running) is None


def test_without_its_target_a_run_still_tells_its_ccs(copy, content, finished):
    """As summary.json has them, and why there are no errors."""
    moved = copy(content)
    (moved.directory.parent / "target.h5").unlink()
    manifest = moved.directory / "manifest.json"
    manifest.write_text(manifest.read_text().replace(str(finished), "/nowhere"))
    moved = open_run(moved.directory)
    found = shells_of_run(moved)
    assert found.words[0].startswith("Without errors of the CCs: ")
    (table,) = found.tables
    assert columns(table)["CC_work"] == [shell["cc"] for shell in content["shells"]]
    assert set(columns(table)["standard error"]) == {None}


@pytest.mark.parametrize("section", ALL)
def test_every_figure_can_be_drawn(run, section):
    """With labels, and an alternative text of its own."""
    for figure in section(run).figures:
        drawn = figure.draw()
        drawn.draw_without_rendering()
        assert drawn.axes[0].get_ylabel() or drawn.axes[0].get_yticklabels()
        assert figure.alternative and figure.alternative != figure.caption
