"""Figures of restarts: what is drawn where; that 128 of them can be."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from made_up_searches import bowl, searches, unit_bounds

from hpc_diffuser.fit.courses import DEVIATES, FAILED, FINISHED, RUNNING, Restart
from hpc_diffuser.fit.search.history import new_history
from hpc_diffuser.fit.search.surrogate import surrogate_of
from hpc_diffuser.plots.restarts import (
    histogram_edges,
    plot_courses,
    plot_histograms,
    plot_restarts,
)
from hpc_diffuser.plots.samples import plot_samples
from hpc_diffuser.plots.surrogate import plot_slice, plot_slices


def restart(number: int, point, state: str = FINISHED, cluster: int | None = 1, cc=0.6) -> Restart:
    """One that has made three evaluations."""
    return Restart(
        number=number,
        evaluations=3,
        cc=cc,
        found_at=2,
        state=state,
        cluster=cluster,
        reason="",
        point=np.asarray(point, dtype=float),
    )


def test_restarts_are_drawn_within_their_bounds():
    """Of a parameter from 2 to 4 the value 3 is in the middle; four groups, each counted."""
    restarts = [
        restart(0, [3.0, 0.0]),
        restart(1, [2.0, 1.0], DEVIATES, 2),
        restart(2, [4.0, 0.5], FAILED, None),
        restart(3, [2.5, 0.25], RUNNING, None),
    ]
    ax = plot_restarts(restarts, ["a (Å)", "b"], np.array([[2, 4], [0, 1]]), {0: 3.5}, {1: 0.75})
    found = [np.asarray(points.get_offsets())[:, 0] for points in ax.collections[1:]]
    np.testing.assert_allclose(found, [[0.5, 0], [0, 1], [1, 0.5], [0.25, 0.25]])
    rows = np.asarray(ax.collections[1].get_offsets())[:, 1]
    assert np.all(np.abs(rows - [0, 1]) < 0.31)
    labels = ax.get_legend_handles_labels()[1]
    groups = ["best cluster (1)", "cluster 2 (1)", "failed (1)", "not finished (1)"]
    assert sorted(labels) == sorted([*groups, "answer", "true value"])
    assert [line.get_xdata().tolist() for line in ax.lines] == [[0.75], [0.75]]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a (Å)", "b"]


def test_many_clusters_share_the_last_look():
    """Six clusters: three of their own look, and the others."""
    restarts = [restart(i, [0.1 * i], DEVIATES if i else FINISHED, i + 1) for i in range(6)]
    labels = plot_restarts(restarts, ["a"], unit_bounds(1)).get_legend_handles_labels()[1]
    assert labels[-1] == "further clusters (3)"


def test_courses_end_at_what_is_lacking():
    """128 restarts; CC 0.6 is the best, of which another's 0.55 lacks 0.05 from its second on."""
    (history,) = searches(lambda x: 0.4 + bowl(x), [[0.5, 0.5]], n=12)
    history.objectives[:3] = [0.9, 0.45, 0.8]
    history.objectives[3:] = 0.9
    best = type(history)(history.points, history.objectives - 0.05, history.hedge)
    histories = dict.fromkeys(range(127), history) | {127: best}
    restarts = [restart(r, [0, 0], cc=0.55) for r in range(127)] + [restart(127, [0, 0], cc=0.6)]
    ax = plot_courses(histories, restarts)
    steps = [line for line in ax.lines if len(line.get_xdata()) == 12]
    assert len(steps) == 128
    np.testing.assert_allclose(steps[0].get_ydata()[1:], 0.05)
    assert ax.get_yscale() == "log" and "0.002: as good" in ax.get_legend_handles_labels()[1]


def test_courses_beside_a_prior_are_of_the_objective():
    """A point of higher CC, and worse by the prior, lacks what its objective is above the least."""
    objectives, cc = np.array([0.9, 0.5, 0.45]), np.array([0.7, 0.6, 0.55])
    history = replace(new_history(2), points=np.zeros((3, 2)), objectives=objectives, cc_work=cc)
    ax = plot_courses({0: history}, [restart(0, [0, 0], cc=0.55)])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.45, 0.05, 1e-4])
    assert ax.get_ylabel() == "objective above the least of all restarts"
    assert ax.get_legend_handles_labels()[1] == [FINISHED]


def test_histogram_has_few_bins():
    """2 ∛n: 4 of 8 restarts, 11 of 128; every restart is in one."""
    rng = np.random.default_rng(0)
    for n, bins in ((8, 4), (128, 11)):
        assert len(histogram_edges(rng.normal(size=n))) == bins + 1
    points = rng.uniform(size=(128, 3))
    panels = plot_histograms(points, points[:, 0] < 0.5, ["a", "b", "c"], unit_bounds(3), {1: 0.3})
    for panel in panels:
        assert sum(bar.get_height() for bar in panel.patches) == 128


def test_equal_answers_have_a_histogram():
    """All at a bound, or all the same."""
    panels = plot_histograms(np.zeros((9, 1)), np.full(9, True), ["a"], unit_bounds(1))
    assert sum(bar.get_height() for bar in panels[0].patches) == 9


def test_slices_show_the_best_point():
    """The highest CC that is expected is where it is, to a tenth of the range."""
    (history,) = searches(lambda x: 0.3 + bowl(x), [[0.5, 0.5, 0.5]])
    surrogate, best = surrogate_of(history, unit_bounds(3)), history.points[history.best]
    ax = plot_slice(surrogate, history.points, best, (0, 2), ["a", "b", "c (Å)"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "c (Å)")
    highest = ax.lines[1]
    np.testing.assert_allclose([*highest.get_xdata(), *highest.get_ydata()], 0.5, atol=0.1)
    assert len(plot_slices(surrogate, history.points, best, [(0, 1), (1, 2)], "abc")) == 2


def test_errors_of_samples_beside_their_laws():
    """From 4 to 16 samples a law of 1/n falls by 4, one of 1/√n by 2; no error is no point."""
    ax = plot_samples([4, 8, 16], [0.8, 0.3, 0.1], [0.04, 0.02, 0.0])
    maps, of_maps, objectives, of_objectives = [line.get_ydata() for line in ax.lines[:4]]
    np.testing.assert_allclose(maps, [0.8, 0.3, 0.1])
    np.testing.assert_allclose(of_maps, [0.8, 0.4, 0.2])
    np.testing.assert_allclose(objectives, [0.04, 0.02, np.nan])
    np.testing.assert_allclose(of_objectives[-1], 0.02)
    assert ax.get_xscale() == ax.get_yscale() == "log"
