"""What a prior's weight does to a fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpc_diffuser.plots.canvas import BLUE, GREY, ORANGE, new_axes

# Along the weight, beside CC in full and in the legend.
_OF_AMPLITUDES = ("weight of the prior on amplitudes", "rms of ln σ/cσ⁰", "rms of ln σ/cσ⁰")
_OF_FRAMES = (
    "θ, what the relative entropy counts for",
    "effective number of frames",
    "effective frames",
)


def plot_prior_path(
    weights: Sequence[float],
    cc_work: Sequence[float | None],
    cc_free: Sequence[float | None],
    beside: Sequence[float],
    chosen: float,
    ax: Any = None,
    of_frames: bool = False,
) -> Any:
    """CC_work and CC_free against the weight, and how far the answer leaves what was expected.

    Parameters
    ----------
    weights : (W,) float
        A weight of 0 is drawn half a decade below the least of the others.
    cc_work, cc_free : (W,) float or None
    beside : (W,) float
        Rms of ln σ/cσ⁰ of amplitudes; of frames' weights, their effective number.
    chosen : float
        One of the weights.
    ax : matplotlib Axes, optional
        By default those of a new figure.
    of_frames : bool
        The prior is that of frames' weights.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (6.4, 4.0))
    w = np.array(weights, np.float64)
    least = w[w > 0].min(initial=1.0) / np.sqrt(10)
    place = np.where(w > 0, w, least)
    curves = ((cc_work, "CC_work", BLUE, "o"), (cc_free, "CC_free", ORANGE, "s"))
    lines = [
        ax.semilogx(place, np.array(values, np.float64), "-", marker=m, color=c, label=label)[0]
        for values, label, c, m in curves
    ]
    at = chosen if chosen > 0 else least
    ax.axvline(at, color="black", lw=0.9, ls=(0, (6, 3)))
    across, what, short = _OF_FRAMES if of_frames else _OF_AMPLITUDES
    right = ax.twinx()
    lines += right.plot(place, beside, ":", color=GREY, lw=1.4, label=f"{short} (right)")
    right.set_ylim(bottom=0)
    right.set_ylabel(what)
    ax.set(xlabel=across, ylabel="CC")
    ax.grid(alpha=0.3)
    ax.legend(
        handles=lines, frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=3,
    )  # fmt: skip
    return ax
