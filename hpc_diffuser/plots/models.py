"""Several models of one target against each other."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from hpc_diffuser.fit.cc_text import cc_text
from hpc_diffuser.fit.comparison_table import ModelComparison, ModelRow
from hpc_diffuser.fit.errors.cc_errors import CCErrors
from hpc_diffuser.interface.checked import require_kind
from hpc_diffuser.plots.canvas import BLUE, GREEN, GREY, ORANGE, PINK, new_axes, new_figure
from hpc_diffuser.plots.shells import draw_ccs, draw_ceiling, label_resolution, middles
from hpc_diffuser.system.arrays import Floats

NO_ERRORS: Mapping[str, CCErrors] = MappingProxyType({})
# Told apart without colour too: together the three repeat after 84 models only.
_COLOURS = (GREY, BLUE, ORANGE, GREEN, PINK, "black")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("--", "-", "-.", ":")
_APART = 0.055  # between names beside the axes, as a part of their height
_ACROSS, _PANEL_IN = 3, (3.5, 2.5)  # panels in a row, and the size of one
_OTHERS = "#c4c4c4"


def models_figure(comparison: ModelComparison, errors: Mapping[str, CCErrors] = NO_ERRORS) -> Any:
    """CC_work and CC_free against resolution, a panel for each model, as a matplotlib Figure.

    Every panel has the curves of the other models in grey, and that of the best one, broken.

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
    models = comparison.models
    across = min(_ACROSS, len(models))
    down = -(-len(models) // across)
    width, height = _PANEL_IN
    figure = new_figure((0.6 + width * max(across, 2), 0.9 + height * down))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    best = best_model(comparison)
    for model, panel in zip(models, grid.flat, strict=False):
        _draw_panel(panel, comparison, model, best, errors.get(model.name))
    for panel in grid.flat[len(models) :]:
        panel.set_axis_off()
    _label_panels(grid, comparison)
    grid.flat[0].set_ylim(_limits(comparison, errors))
    named = {text: drawn for ax in grid.flat for drawn, text in zip(*_handles(ax), strict=True)}
    figure.legend(
        named.values(), named, loc="outside upper left", ncols=3, fontsize=9, frameon=False
    )
    return figure


def best_model(comparison: ModelComparison) -> ModelRow:
    """The model of the highest CC_free, or CC_work where none has that."""
    free = any(model.cc_free is not None for model in comparison.models)

    def cc(model: ModelRow) -> float:
        value = model.cc_free if free else model.cc_work
        return -1.0 if value is None else value

    return max(comparison.models, key=cc)


def _draw_panel(
    ax: Any, comparison: ModelComparison, model: ModelRow, best: ModelRow, known: CCErrors | None
) -> None:
    """A model's two curves before those of the others."""
    shells = comparison.shells
    middle = middles(shells)
    aside = 0.1 * np.diff(middle).min(initial=0.01)
    for other in comparison.models:
        if other is not model and other is not best:
            values = _of_shells(comparison, other, False)
            ax.plot(middle, values, color=_OTHERS, lw=0.9, label="other models, CC_work", zorder=1)
    draw_ceiling(ax, middle, shells)
    if best is not model:
        label, values = f"{best.name}, the best: CC_work", _of_shells(comparison, best, False)
        ax.plot(middle, values, color="black", ls="--", lw=1.1, label=label, zorder=2)
    kinds: tuple[tuple[bool, str, float, dict[str, Any]], ...] = (
        (True, "CC_free", aside, {"color": ORANGE, "marker": "s", "mfc": "white", "ls": "none"}),
        (False, "CC_work", -aside, {"color": BLUE, "marker": "o", "ls": "-"}),
    )
    for free, label, shift, style in kinds:
        within = None if known is None else (known.shells_free if free else known.shells_work)
        values = _of_shells(comparison, model, free)
        draw_ccs(ax, middle + shift, values, within, label=label, zorder=3 - free / 2, **style)
    said = ", the best by CC_free" if best is model and model.cc_free is not None else ""
    ax.set_title(
        f"{model.name}{said}\nwork {cc_text(model.cc_work, 3)}, free {cc_text(model.cc_free, 3)}",
        fontsize=10,
    )
    ax.grid(alpha=0.3)


def _of_shells(comparison: ModelComparison, model: ModelRow, free: bool) -> list[float | None]:
    return [(s.cc_free if free else s.cc)[model.name] for s in comparison.shells]


def _label_panels(grid: Any, comparison: ModelComparison) -> None:
    """Resolution below the lowest panel of each column, CC at the left."""
    middle, n = middles(comparison.shells), len(comparison.models)
    across = grid.shape[1]
    label_resolution(grid.flat[0], middle[0], middle[-1])
    for place, panel in enumerate(grid.flat):
        lowest = place + across >= n
        panel.tick_params(labelbottom=lowest)
        panel.set_xlabel("resolution d (Å)" if lowest else "")
        panel.set_ylabel("" if place % across else "correlation coefficient")


def _limits(comparison: ModelComparison, errors: Mapping[str, CCErrors]) -> tuple[float, float]:
    """Of all curves and of the bars of CC_work: of a few free voxels bars are wider than that."""
    shells = comparison.shells
    parts = [[s.cc_star for s in shells]]
    parts += [_of_shells(comparison, m, free) for m in comparison.models for free in (False, True)]
    bars = [end for e in errors.values() for end in (e.shells_work.low, e.shells_work.high)]
    values = np.concatenate([np.array(part, float) for part in [*parts, *bars]])
    if not np.isfinite(values).any():
        return 0.0, 1.0
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * max(high - low, 0.01)
    return low - margin, high + margin


def _handles(ax: Any) -> tuple[list[Any], list[str]]:
    """For the legend: in each panel the model's own curves are last, and wanted first."""
    handles, labels = ax.get_legend_handles_labels()
    return handles[::-1], labels[::-1]


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
        Where matplotlib is not installed, or something else is given.

    Examples
    --------
    >>> ax = hd.plot_model_shells(hd.open_comparison("run").table)
    """
    require_kind(comparison, ModelComparison, "the table of a comparison, as comparison.table")
    ax, shells = new_axes(ax, (7.5, 4.0)), comparison.shells
    middle = middles(shells)
    # A little to the side each, so that bars do not hide each other.
    apart = 0.08 * np.diff(middle).min(initial=0.01)
    for i, model in enumerate(comparison.models):
        found = _of_shells(comparison, model, free)
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
            label=f"{model.name}, {cc_text(overall, 3)}",
        )
    draw_ceiling(ax, middle, shells)
    label_resolution(ax, middle[0], middle[-1])
    ax.set_ylabel(f"CC_{'free' if free else 'work'}")
    ax.grid(alpha=0.3)
    _name_curves(ax)
    return ax


def _name_curves(ax: Any) -> None:
    """Every labelled curve by its name, beside its last point."""
    low, high = ax.get_ylim()
    ends = [_end(handle) for handle in ax.get_legend_handles_labels()[0]]
    heights = spread_out([(end.y - low) / (high - low) for end in ends], _APART)
    for end, height in zip(ends, heights, strict=True):
        ax.annotate(
            end.label,
            (end.x, end.y),
            (1.05, height),
            textcoords="axes fraction",
            fontsize=9,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "shrinkB": 4,
                "color": end.colour,
                "ls": end.line,
            },
        )


class _End(NamedTuple):
    """Where a curve ends, and how it is drawn."""

    label: str
    x: float
    y: float
    colour: str
    line: str


def _end(handle: Any) -> _End:
    line = handle[0] if isinstance(handle, tuple) else handle
    x, y = (np.asarray(values, float) for values in line.get_data())
    known = np.flatnonzero(np.isfinite(y))
    last = known[-1] if len(known) else -1
    place = (float(x[last]), float(np.nan_to_num(y[last])))
    return _End(handle.get_label(), *place, line.get_color(), line.get_linestyle())


def spread_out(heights: Sequence[float], apart: float) -> list[float]:
    """Heights in the same order, moved so that none is nearer to another than `apart`.

    Parameters
    ----------
    heights : sequence of n float
        Between 0 and 1.
    apart : float
        Where n of them have no room, they share the height equally.
    """
    n = len(heights)
    steps = min(apart, 1 / max(n, 1)) * np.arange(n)
    order = np.argsort(heights, kind="stable")
    free = np.array(heights, float)[order] - steps
    found = np.empty(n)
    found[order] = np.clip(_rising(free), 0, 1 - steps[-1] if n else 1) + steps
    return [float(height) for height in found]


def _rising(values: Floats) -> Floats:
    """The nearest numbers (n,) that do not fall: what falls becomes a run of equal means."""
    runs: list[tuple[float, int]] = []
    for value in values:
        mean, size = float(value), 1
        while runs and runs[-1][0] > mean:
            before, of = runs.pop()
            mean, size = (before * of + mean * size) / (of + size), of + size
        runs.append((mean, size))
    found: Floats = np.repeat([mean for mean, _ in runs], [size for _, size in runs])
    return found
