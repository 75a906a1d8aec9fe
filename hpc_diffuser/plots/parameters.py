"""How well parameters are determined, and how their errors go together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpc_diffuser.interface.checked import numbers_of, texts_of
from hpc_diffuser.plots.canvas import (
    BLUE,
    GREY,
    ORANGE,
    legend_outside,
    new_axes,
    new_figure,
)
from hpc_diffuser.system.arrays import Floats

_MOST_WRITTEN = 12  # parameters whose correlations are written into their fields
_ROW_IN, _EDGES_IN = 0.34, 1.2  # height of a parameter's row, and of what is above and below


def intervals_figure(
    labels: Sequence[str], values: Floats, ends: Floats, bounds: Floats, scatter: Floats
) -> Any:
    """Where parameters lie in their ranges, and beside it how wide their intervals are.

    Parameters
    ----------
    labels, values, ends, bounds, scatter
        As of `plot_intervals`.

    Returns
    -------
    matplotlib Figure
        The widths are on a logarithmic axis: short ones are hidden by their points else.

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    figure = new_figure((10.6, _EDGES_IN + _ROW_IN * max(2, len(labels))))
    places, widths = figure.subplots(1, 2, width_ratios=(5, 3))
    plot_intervals(labels, values, ends, bounds, scatter, places)
    _draw_widths(widths, ends, bounds, scatter)
    widths.set_yticks(range(len(labels)), [])
    beside = widths.secondary_yaxis("right")
    beside.set_yticks(range(len(labels)), map(_in_words, values, *ends))
    beside.tick_params(length=0)
    widths.set_title("at the right: answer (95 % interval)", fontsize=9, loc="right")
    return figure


def _draw_widths(ax: Any, ends: Floats, bounds: Floats, scatter: Floats) -> None:
    """Half the width of every interval, and the scatter, in per cent of the range."""
    breadth = np.diff(bounds, axis=1).ravel()
    rows = np.arange(len(breadth))
    kinds = ((np.diff(ends, axis=0).ravel() / 2, 0.0, "o", BLUE), (scatter, 0.22, "D", GREY))
    for sizes, below, marker, colour in kinds:
        shown = np.where(sizes > 0, 100 * sizes / breadth, np.nan)
        ax.semilogx(shown, rows + below, marker, ms=4, color=colour)
    low, high = ax.get_xlim()
    ax.set(xlim=(min(low, 0.9), max(high, 110)), ylim=(len(breadth) - 0.4, -0.6))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("half width (% of the range)")
    ax.grid(alpha=0.3, axis="x")


def _in_words(value: float, low: float, high: float) -> str:
    return f"{value:.4g} ({low:.4g} to {high:.4g})" if np.isfinite(low) else f"{value:.4g}"


def plot_intervals(
    labels: Sequence[str],
    values: Floats,
    ends: Floats,
    bounds: Floats,
    scatter: Floats,
    ax: Any = None,
) -> Any:
    """Each parameter with its 95 % interval in its range, and the scatter of the search below.

    Parameters
    ----------
    labels : sequence of str
        Of D parameters, each with its unit.
    values : (D,) float
        In the units of the labels, as all that follow.
    ends : (2, D) float
        Of the intervals; NaN where there is none.
    bounds : (D, 2) float
        Of the ranges that were searched.
    scatter : (D,) float
        Of the restarts; NaN where not known.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where matplotlib is not installed.

    Examples
    --------
    >>> values, error = np.array([0.46, 0.31]), np.array([0.02, 0.05])  # Å
    >>> ends = np.array([values - 2 * error, values + 2 * error])
    >>> bounds = np.array([[0, 1], [0, 1]])
    >>> labels, unknown = ["translation (Å)", "mode 1 (Å)"], np.full(2, np.nan)
    >>> ax = hd.plot_intervals(labels, values, ends, bounds, unknown)
    """
    labels = texts_of(labels, "labels")
    values = numbers_of(values, "values", len(labels))
    ends = numbers_of(ends, "ends", 2, len(labels))
    bounds = numbers_of(bounds, "bounds", len(labels), 2)
    scatter = numbers_of(scatter, "scatter", len(labels))
    ax = new_axes(ax, (7.0, _EDGES_IN + _ROW_IN * max(2, len(labels))))
    low, high = bounds.T
    rows, breadth = np.arange(len(labels)), high - low
    middle, (left, right) = (values - low) / breadth, (ends - low) / breadth
    bars = np.maximum([middle - left, right - middle], 0)
    known = np.isfinite(scatter)
    ax.errorbar(
        middle[known],
        rows[known] + 0.22,
        xerr=(scatter / breadth)[known],
        fmt="none",
        ecolor=GREY,
        elinewidth=1.2,
        capsize=2,
        ls="none",
        label="scatter of the restarts, 68 %",
    )
    without = ~np.isfinite(left)
    ax.errorbar(
        np.where(without, np.nan, middle),
        rows,
        xerr=bars,
        fmt="o",
        ms=4,
        color=BLUE,
        capsize=3,
        label="answer, 95 % interval from the data",
    )
    if without.any():
        ax.plot(
            middle[without], rows[without], "x", color=ORANGE, label="no interval: see the table"
        )
    ax.set(xlim=(-0.03, 1.03), ylim=(len(labels) - 0.4, -0.6))
    ax.set_xlabel("place in the range that was searched")
    ax.set_yticks(rows, labels)
    beside = ax.secondary_yaxis("right")
    beside.set_yticks(rows, [f"{a:g} to {b:g}" for a, b in bounds])
    beside.tick_params(length=0)
    beside.set_ylabel("range")
    ax.grid(alpha=0.3, axis="x")
    legend_outside(ax, 3, "outside upper left")
    return ax


def plot_correlation(labels: Sequence[str], correlation: Floats, ax: Any = None) -> Any:
    """Correlations between the errors of parameters, as a square of colours with numbers.

    Parameters
    ----------
    labels : sequence of str
    correlation : (D, D) float
        NaN where there is none.
    ax : matplotlib Axes, optional
        By default those of a new figure, with a scale beside them.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where matplotlib is not installed.

    Examples
    --------
    >>> ax = hd.plot_correlation(["a (Å)", "b (Å)"], np.array([[1, -0.4], [-0.4, 1]]))
    """
    n = len(texts_of(labels, "labels"))
    correlation = numbers_of(correlation, "correlation", n, n)
    side = float(np.clip(2.0 + 0.42 * n, 3.6, 9.0))
    own, ax = ax is None, new_axes(ax, (side + 1.2, side))
    image = ax.imshow(correlation, vmin=-1, vmax=1, cmap="viridis")
    every = range(0, n, 1 + n // 40)
    names = [labels[i] for i in every]
    ax.set_xticks(every, names, rotation=90)
    ax.set_yticks(every, names)
    if n <= _MOST_WRITTEN:
        for (i, j), value in np.ndenumerate(correlation):
            if np.isfinite(value):
                colour = "black" if value > 0.2 else "white"
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    if own:
        ax.figure.colorbar(image, ax=ax, label="correlation of errors", shrink=0.8)
    return ax
