"""What a prior's weight does to a fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpc_diffuser.plots.canvas import BLUE, GREY, ORANGE, new_axes


def plot_prior_path(
    weights: Sequence[float],
    cc_work: Sequence[float | None],
    cc_free: Sequence[float | None],
    deviations: Sequence[float],
    chosen: float,
    ax: Any = None,
) -> Any:
    """CC_work and CC_free against the weight, and how far amplitudes leave their source's.

    Parameters
    ----------
    weights : (W,) float
        A weight of 0 is drawn half a decade below the least of the others.
    cc_work, cc_free : (W,) float or None
    deviations : (W,) float
        Rms of ln σ/cσ⁰.
    chosen : float
        One of the weights.
    ax : matplotlib Axes, optional
        By default those of a new figure.

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
    beside = ax.twinx()
    lines += beside.plot(
        place, deviations, ":", color=GREY, lw=1.4, label="rms of ln σ/cσ⁰ (right)"
    )
    beside.set_ylim(bottom=0)
    beside.set_ylabel("rms of ln σ/cσ⁰")
    ax.set(xlabel="weight of the prior on amplitudes", ylabel="CC")
    ax.grid(alpha=0.3)
    ax.legend(
        handles=lines, frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=3,
    )  # fmt: skip
    return ax
