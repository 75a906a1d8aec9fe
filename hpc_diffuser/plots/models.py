"""Several models of one target against each other."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from hpc_diffuser.fit.cc_errors import CCErrors
from hpc_diffuser.fit.comparison_table import ModelComparison
from hpc_diffuser.plots.canvas import BLUE, GREEN, GREY, ORANGE, PINK, new_axes, new_figure
from hpc_diffuser.plots.shells import draw_ccs, draw_ceiling, label_resolution, middles

NO_ERRORS: Mapping[str, CCErrors] = MappingProxyType({})
# Told apart without colour too: together the three repeat after 84 models only.
_COLOURS = (GREY, BLUE, ORANGE, GREEN, PINK, "black")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("--", "-", "-.", ":")


def models_figure(comparison: ModelComparison, errors: Mapping[str, CCErrors] = NO_ERRORS) -> Any:
    """CC_work and CC_free of all models against resolution, as a matplotlib Figure.

    Parameters
    ----------
    comparison : ModelComparison
    errors : mapping of str → CCErrors
        By the models' names, as far as they are known.

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    figure = new_figure((11.0, 4.2))
    panels = figure.subplots(1, 2)
    for panel, free in zip(panels, (False, True), strict=True):
        plot_model_shells(comparison, free, panel, errors)
    return figure


def plot_model_shells(
    comparison: ModelComparison,
    free: bool = False,
    ax: Any = None,
    errors: Mapping[str, CCErrors] = NO_ERRORS,
) -> Any:
    """CC of all models against resolution.

    Parameters
    ----------
    comparison : ModelComparison
    free : bool
        CC_free in place of CC_work.
    ax : matplotlib Axes, optional
        By default those of a new figure.
    errors : mapping of str → CCErrors
        By the models' names, as far as they are known: bars are 95 % intervals.

    Returns
    -------
    matplotlib Axes
        x is 1/d in Å⁻¹, labelled by d in Å.

    Raises
    ------
    InputError
        Where matplotlib is not installed.

    Examples
    --------
    >>> ax = hd.plot_model_shells(hd.open_comparison("run").table)
    """
    ax, shells = new_axes(ax, (6.4, 4.0)), comparison.shells
    middle = middles(shells)
    # A little to the side each, so that bars do not hide each other.
    apart = 0.08 * np.diff(middle).min(initial=0.01)
    for i, model in enumerate(comparison.models):
        found = [(s.cc_free if free else s.cc)[model.name] for s in shells]
        overall = model.cc_free if free else model.cc_work
        known = errors.get(model.name)
        within = None if known is None else (known.shells_free if free else known.shells_work)
        draw_ccs(
            ax,
            middle + apart * (i - (len(comparison.models) - 1) / 2),
            found,
            within,
            ls=_LINES[i % len(_LINES)],
            marker=_MARKERS[i % len(_MARKERS)],
            color=_COLOURS[i % len(_COLOURS)],
            label=f"{model.name}, {'undefined' if overall is None else f'{overall:.3f}'}",
        )
    draw_ceiling(ax, middle, shells)
    label_resolution(ax, middle[0], middle[-1])
    ax.set_ylabel(f"CC_{'free' if free else 'work'}")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=8)
    return ax
