"""What a search has learned of CC, in planes through its best point."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpc_diffuser.fit.couplings import slice_through
from hpc_diffuser.fit.search.surrogate import Surrogate
from hpc_diffuser.plots.canvas import legend_outside, new_axes, new_figure

_LEVELS = 12


def plot_slice(
    surrogate: Surrogate,
    tried: np.ndarray,
    best: np.ndarray,
    pair: tuple[int, int],
    names: Sequence[str],
    levels: np.ndarray | None = None,
    ax: Any = None,
) -> Any:
    """CC that the surrogate expects in the plane of two parameters through a restart's best point.

    Parameters
    ----------
    surrogate : Surrogate
    tried : (E, D) float
        The points that the restart has tried, projected into the plane.
    best : (D,) float
    pair : (int, int)
        The parameters along x and along y.
    names : sequence of str
        Of all parameters, with units.
    levels : (L,) float, optional
        CC of the contours.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (4.2, 3.6))
    i, j = pair
    x, y, cc = slice_through(surrogate, best, i, j)
    levels = np.linspace(cc.min(), cc.max(), _LEVELS) if levels is None else levels
    ax.contourf(x, y, cc, levels=levels, cmap="cividis", extend="both")
    ax.contour(x, y, cc, levels=levels, colors="white", linewidths=0.4)
    ax.plot(
        tried[:, i],
        tried[:, j],
        "o",
        ms=3.5,
        mfc="white",
        mec="black",
        mew=0.6,
        ls="none",
        label="points tried",
        clip_on=False,
    )
    top, left = np.unravel_index(np.argmax(cc), cc.shape)
    ax.plot(x[left], y[top], "D", ms=8, mfc="none", mec="white", mew=1.8, clip_on=False)
    ax.plot(x[left], y[top], "D", ms=9, mfc="none", mec="black", mew=0.8, ls="none",
            label="highest CC expected", clip_on=False)  # fmt: skip
    ax.plot(best[i], best[j], "*", ms=13, mfc="white", mec="black", ls="none",
            label="best point found", clip_on=False)  # fmt: skip
    ax.set(xlabel=names[i], ylabel=names[j])
    return ax


def plot_slices(
    surrogate: Surrogate,
    tried: np.ndarray,
    best: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
) -> Any:
    """`plot_slice` for several pairs side by side, on one scale.

    Parameters
    ----------
    surrogate, tried, best, names
        As of `plot_slice`.
    pairs : sequence of (int, int)

    Returns
    -------
    list of matplotlib Axes
    """
    from matplotlib.ticker import MaxNLocator

    highest = max(slice_through(surrogate, best, i, j)[2].max() for i, j in pairs)
    # Not down to the corners, where the search has hardly been.
    lowest = np.quantile(surrogate.cc(tried), 0.1)
    levels = np.array(MaxNLocator(_LEVELS).tick_values(lowest, highest))
    figure = new_figure((3.7 * len(pairs) + 0.8, 3.9))
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for panel, pair in zip(panels, pairs, strict=True):
        plot_slice(surrogate, tried, best, pair, names, levels, panel)
    figure.colorbar(
        panels[0].collections[0], ax=list(panels), label="CC that is expected", ticks=levels[::2]
    )
    legend_outside(panels[0], 3)
    return list(panels)
