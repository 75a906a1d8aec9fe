"""Several models of one target against each other."""

from typing import Any

from hpc_diffuser.fit.comparison_table import ModelComparison
from hpc_diffuser.plots.canvas import BLUE, GREEN, GREY, ORANGE, PINK, new_axes, new_figure
from hpc_diffuser.plots.shells import label_resolution

# Told apart without colour too: the three have no common period.
_COLOURS = (GREY, BLUE, ORANGE, GREEN, PINK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("--", "-", "-.", ":")


def models_figure(comparison: ModelComparison) -> Any:
    """CC_work and CC_free of all models against resolution, as a matplotlib Figure.

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    figure = new_figure((11.0, 4.2))
    panels = figure.subplots(1, 2, sharey=True)
    for panel, free in zip(panels, (False, True), strict=True):
        plot_model_shells(comparison, free, panel)
    return figure


def plot_model_shells(comparison: ModelComparison, free: bool = False, ax: Any = None) -> Any:
    """CC of all models against resolution.

    Parameters
    ----------
    comparison : ModelComparison
    free : bool
        CC_free in place of CC_work.
    ax : matplotlib Axes, optional
        By default those of a new figure.

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
    middle = [((1 / s.d_max if s.d_max else 0.0) + 1 / s.d_min) / 2 for s in shells]
    for i, model in enumerate(comparison.models):
        found = [(s.cc_free if free else s.cc)[model.name] for s in shells]
        overall = model.cc_free if free else model.cc_work
        ax.plot(
            middle,
            [float("nan") if cc is None else cc for cc in found],
            _LINES[i % len(_LINES)],
            marker=_MARKERS[i % len(_MARKERS)],
            ms=4,
            color=_COLOURS[i % len(_COLOURS)],
            label=f"{model.name}, {'undefined' if overall is None else f'{overall:.3f}'}",
        )
    label_resolution(ax, middle[0], middle[-1])
    ax.set_ylabel(f"CC_{'free' if free else 'work'}")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=8)
    return ax
