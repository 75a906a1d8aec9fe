"""Every restart of a search: where it ended, and how it came there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpc_diffuser.fit.courses import DEVIATES, FAILED, FINISHED, RUNNING, Restart, searches_cc
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.summary import AS_GOOD
from hpc_diffuser.interface.checked import numbers_of, texts_of
from hpc_diffuser.plots.canvas import (
    ABOVE,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    finish,
    legend_outside,
    new_axes,
    new_figure,
)

# Clusters in their order; from the last one on all look alike.
_CLUSTERS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PINK, "D"))
_LINES = {
    FINISHED: (BLUE, "-"),
    DEVIATES: (ORANGE, "--"),
    FAILED: ("#555555", ":"),
    RUNNING: (GREY, "-"),
}
_LEAST = 1e-4  # of what CC lacks: less is drawn there
MOST_HISTOGRAMS = 24  # in a figure


def plot_restarts(
    restarts: Sequence[Restart],
    names: Sequence[str],
    bounds: np.ndarray,
    answer: Mapping[int, float] | None = None,
    truth: Mapping[int, float] | None = None,
    ax: Any = None,
) -> Any:
    """Every restart as a point within the bounds of each parameter.

    Parameters
    ----------
    restarts : sequence of Restart
    names : sequence of str
        Of the refined parameters, each with its unit.
    bounds : (D, 2) float
    answer, truth : mapping of int → float, optional
        By the parameter's place: the answer of the fit; what the data were simulated with.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (7.5, 1.3 + 0.34 * len(names)))
    low, high = np.asarray(bounds).reshape(-1, 2).T
    rows = np.arange(len(names))
    ax.hlines(rows, 0, 1, color="#cccccc", lw=0.8, zorder=1)
    for look, label, shown in _groups(restarts):
        points = np.array([r.point for r in shown])
        shift = [0.6 * (((r.number * 0.618034) % 1) - 0.5) for r in shown]
        y = rows[None] + np.array(shift)[:, None]
        ax.scatter((points - low) / (high - low), y, s=16, linewidths=0.9, label=label, **look)
    _ticks(ax, answer, low, high, "|", "answer", 16)
    _ticks(ax, truth, low, high, "*", "true value", 7)
    for row in rows:
        ends = ((-0.012, low[row], "right"), (1.012, high[row], "left"))
        for x, end, side in ends:
            ax.text(x, row, f"{end:g}", ha=side, va="center", fontsize=7, color="#444444")
    ax.set_yticks(rows, names)
    ax.set(xlim=(-0.09, 1.09), ylim=(len(names) - 0.4, -0.6))
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["lower\nbound", "¼", "½", "¾", "upper\nbound"])
    ax.tick_params(axis="y", length=0)
    ax.legend(ncols=4, frameon=False, fontsize=8, **ABOVE)
    return ax


def _ticks(
    ax: Any,
    values: Mapping[int, float] | None,
    low: np.ndarray,
    high: np.ndarray,
    marker: str,
    label: str,
    size: float,
) -> None:
    if values:
        rows = list(values)
        x = (np.array(list(values.values())) - low[rows]) / (high[rows] - low[rows])
        ax.plot(x, rows, marker, color="black", ms=size, mew=1.6, label=label, zorder=4)


def _groups(restarts: Sequence[Restart]) -> list[tuple[dict[str, Any], str, list[Restart]]]:
    """How each cluster looks, those that failed, and those not finished; none that is empty."""
    last = len(_CLUSTERS)
    groups = []
    for number, (colour, marker) in enumerate(_CLUSTERS, start=1):
        shown = [r for r in restarts if r.cluster and min(r.cluster, last) == number]
        further = "further clusters" if any((r.cluster or 0) > last for r in shown) else ""
        label = further or ("best cluster" if number == 1 else f"cluster {number}")
        groups.append(({"color": colour, "marker": marker, "zorder": 3}, label, shown))
    hollow = {"facecolors": "none", "zorder": 2}
    failed = [r for r in restarts if r.state == FAILED]
    groups.append(({**hollow, "edgecolors": "#555555", "marker": "X"}, FAILED, failed))
    running = [r for r in restarts if r.state == RUNNING]
    groups.append(({**hollow, "edgecolors": GREY, "marker": "o"}, RUNNING, running))
    return [(look, f"{label} ({len(shown)})", shown) for look, label, shown in groups if shown]


def plot_courses(
    histories: Mapping[int, History], restarts: Sequence[Restart], ax: Any = None
) -> Any:
    """What the best of each restart lacks to the best of all, against evaluations.

    In CC, or, where a prior or a likelihood makes the objective another number, in that.

    Parameters
    ----------
    histories : mapping of History
        By restart.
    restarts : sequence of Restart
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (7.5, 4.2))
    of_cc, many = searches_cc(histories), len(restarts) > 20
    lowest = {r.number: histories[r.number].lowest_so_far() for r in restarts}
    best = min(float(found[-1]) for found in lowest.values())
    seen: set[str] = set()
    for restart in restarts:
        colour, line = _LINES[restart.state]
        lacks = np.maximum(lowest[restart.number] - best, _LEAST)
        label = None if restart.state in seen else restart.state
        seen.add(restart.state)
        look = {"color": colour, "lw": 0.7 if many else 1.2, "alpha": 0.45 if many else 0.9}
        ax.step(np.arange(1, len(lacks) + 1), lacks, line, where="post", label=label, **look)
        at = restart.found_at
        ax.plot(at, lacks[at - 1], "o", ms=3 if many else 5, color=colour, zorder=3)
    if of_cc:
        ax.axhline(AS_GOOD, color="black", lw=0.8, ls=(0, (6, 3)), label=f"{AS_GOOD:g}: as good")
    ax.set_yscale("log")
    ax.set_ylim(1.0, 0.8 * _LEAST)
    lacking = "CC below the best" if of_cc else "objective above the least"
    ax.set(xlabel="evaluations of a restart", ylabel=f"{lacking} of all restarts")
    ax.set_xlim(left=0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    finish(ax, ncols=5, **ABOVE)
    return ax


def plot_histograms(
    points: np.ndarray,
    in_best: np.ndarray,
    names: Sequence[str],
    bounds: np.ndarray,
    truth: Mapping[int, float] | None = None,
) -> Any:
    """How the answers of restarts scatter: for each parameter their histogram, with its median.

    Parameters
    ----------
    points : (R, D) float
        Where the restarts ended that have not failed, in the units of the bounds.
    in_best : (R,) bool
        Which of them are in the best cluster.
    names : sequence of str
        Of the D refined parameters.
    bounds : (D, 2) float
    truth : mapping of int → float, optional
        By the parameter's place: what the data were simulated with.

    Returns
    -------
    (…,) array of matplotlib Axes
        One for each of the first `MOST_HISTOGRAMS` parameters.

    Raises
    ------
    InputError
        Where matplotlib is not installed.

    Examples
    --------
    >>> run = hd.open_run("run")
    >>> points = np.array([history.points[history.best] for history in run.histories.values()])
    >>> panels = hd.plot_histograms(points, np.full(len(points), True), run.refined, run.bounds)
    """
    names = texts_of(names, "names")
    points = numbers_of(points, "points", None, len(names))
    in_best = numbers_of(in_best, "in_best", len(points)).astype(bool)
    bounds = numbers_of(bounds, "bounds", len(names), 2)
    shown = min(len(names), MOST_HISTOGRAMS)
    columns = min(4, shown)
    n_rows = -(-shown // columns)
    figure = new_figure((2.1 * columns + 0.4, 1.75 * n_rows + 0.5))
    panels = figure.subplots(n_rows, columns, squeeze=False).ravel()
    for panel in panels[shown:]:
        panel.remove()
    for d, panel in enumerate(panels[:shown]):
        _histogram(panel, points[:, d], in_best, bounds[d], (truth or {}).get(d))
        panel.set_title(names[d], fontsize=9)
        if d % columns == 0:
            panel.set_ylabel("restarts")
    legend_outside(panels[0], 5)
    return panels[:shown]


def histogram_edges(values: np.ndarray) -> np.ndarray:
    """Of 2 ∛n bins (Rice's rule) over what n values span."""
    n_bins = int(np.ceil(2 * len(values) ** (1 / 3)))
    return np.histogram_bin_edges(values, n_bins)


def _histogram(
    panel: Any, values: np.ndarray, in_best: np.ndarray, bounds: np.ndarray, true: float | None
) -> None:
    edges, (low, high) = histogram_edges(values), bounds
    parts = [values[in_best], values[~in_best]]
    labels = ["best cluster", "other clusters"]
    colours, hatches = ["#7fa8d6", "#f2c4a8"], ["", "////"]
    n_parts = 1 + (not in_best.all())
    drawn = panel.hist(
        parts[:n_parts],
        edges,
        stacked=True,
        label=labels[:n_parts],
        color=colours[:n_parts],
        edgecolor="#33475b",
        lw=0.5,
    )
    patches = drawn[2] if n_parts > 1 else [drawn[2]]
    for bars, hatch in zip(patches, hatches, strict=False):
        for bar in bars:
            bar.set_hatch(hatch)
    panel.axvline(np.median(values), color="black", lw=1.3, label="median of all")
    if true is not None:
        panel.axvline(true, color="black", lw=1.3, ls=":", label="true value")
    span = max(edges[-1] - edges[0], 0.02 * (high - low))
    left, right = max(edges[0] - span / 2, low), min(edges[-1] + span / 2, high)
    margin = 0.03 * (right - left)
    for end in (low, high):
        if left <= end <= right:
            panel.axvline(end, color=GREY, lw=3, label="bound" if end == low else None)
    panel.set_xlim(left - margin, right + margin)
    panel.tick_params(labelsize=8)
    panel.locator_params(axis="x", nbins=4)
    panel.locator_params(axis="y", integer=True)
