"""Figures and axes: whose they are, how large, in which colours; grids, legends, ticks.

What the program draws for its files is nobody's but its own. What a user asks for, by
`hpc_diffuser.plot_…` without axes, is a figure of pyplot's, which a notebook shows.
"""

import functools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, ParamSpec

import numpy as np

from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

# Told apart by colour-blind readers, and in grey by their lightness, markers and lines.
BLUE, ORANGE, GREY, GREEN, PINK = "#1f5fa8", "#d1642b", "#8a8a8a", "#2e8b57", "#c45a9e"
UNMEASURED = "#d9d9d9"
ABOVE = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}  # where a legend is
_PYPLOT: ContextVar[bool] = ContextVar("pyplot", default=False)
_Arguments = ParamSpec("_Arguments")


def new_axes(ax: Any | None = None, size: tuple[float, float] = (7.5, 3.0)) -> Any:
    """The axes that are given, or those of a new figure of this size in inches.

    Raises
    ------
    InputError
        Where matplotlib is not installed, or something else is given.
    """
    if ax is None:
        return new_figure(size).subplots()
    if not hasattr(ax, "get_xlim"):
        raise InputError(f"ax: expected matplotlib Axes, found a {type(ax).__name__}")
    return ax


def new_figure(size: tuple[float, float]) -> Any:
    """An empty matplotlib Figure of this size in inches.

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise InputError(
            "figures need matplotlib: pip install hpc-diffuser[report], or do without the figure"
        ) from exc
    if not _PYPLOT.get():
        return Figure(figsize=size, layout="constrained")
    from matplotlib import pyplot

    return pyplot.figure(figsize=size, layout="constrained")


def finish(ax: Any, **legend: Any) -> None:
    """A light grid, and a legend without a frame.

    Parameters
    ----------
    ax : matplotlib Axes
    **legend
        As of `Axes.legend`; letters of 8 points by default.
    """
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, **{"fontsize": 8} | legend)


def legend_outside(ax: Any, columns: int, place: str = "outside upper center") -> None:
    """A legend of what is drawn on axes, beside all axes of the figure."""
    handles = ax.get_legend_handles_labels()
    ax.figure.legend(*handles, loc=place, ncols=columns, fontsize=8, frameon=False)


def label_counts(ax: Any, counts: Sequence[int] | Integers) -> None:
    """These whole numbers, and no others, along a logarithmic x axis."""
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.minorticks_off()


def known(values: Sequence[float | None]) -> Floats:
    """Numbers (n,) as they are drawn: none is NaN, which leaves a gap."""
    found: Floats = np.array([np.nan if value is None else value for value in values], np.float64)
    return found


def for_users(plot: Callable[_Arguments, Any]) -> Callable[_Arguments, Any]:
    """A function that plots, with new figures of pyplot's, as users of matplotlib expect."""

    @functools.wraps(plot)
    def of_pyplot(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Any:
        before = _PYPLOT.set(True)
        try:
            return plot(*args, **kwargs)
        finally:
            _PYPLOT.reset(before)

    return of_pyplot
