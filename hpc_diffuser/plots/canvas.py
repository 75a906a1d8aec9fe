"""Figures and axes: whose they are, how large, in which colours.

What the program draws for its files is nobody's but its own. What a user asks for, by
`hpc_diffuser.plot_…` without axes, is a figure of pyplot's, which a notebook shows.
"""

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec

from hpc_diffuser.system.errors import InputError

# Told apart by colour-blind readers, and in grey by their lightness, markers and lines.
BLUE, ORANGE, GREY, GREEN, PINK = "#1f5fa8", "#d1642b", "#8a8a8a", "#2e8b57", "#c45a9e"
UNMEASURED = "#d9d9d9"
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
