"""Weights of an ensemble's frames, and what their prior does to them."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from hpc_diffuser.plots.canvas import BLUE, GREY, ORANGE, new_axes
from hpc_diffuser.system.arrays import Floats


def plot_frame_weights(
    weights: Floats, given: Floats, named: Collection[int], ax: Any = None
) -> Any:
    """Weights against the frame's number, beside those that were given.

    Parameters
    ----------
    weights, given : (F,) float
        They add up to 1.
    named : collection of int
        Frames, from 1, that are set off.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (7.2, 3.6))
    number = np.arange(1, len(weights) + 1)
    is_named = np.isin(number, list(named))
    for mask, colour, label in (
        (is_named, BLUE, "carry nine tenths"),
        (~is_named, GREY, "the others"),
    ):
        if mask.any():
            ax.bar(number[mask], weights[mask], 0.9, color=colour, label=label)
    ax.step(number, given, where="mid", color="black", lw=0.9, ls=(0, (4, 2)), label="given")
    ax.set(xlabel="frame", ylabel="weight", xlim=(0.25, len(weights) + 0.75))
    ax.set_ylim(bottom=0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


def plot_entropy_path(
    thetas: Sequence[float],
    cc_work: Sequence[float | None],
    cc_free: Sequence[float | None],
    effective: Sequence[float],
    chosen: float,
    ax: Any = None,
) -> Any:
    """CC_work and CC_free against θ, and how many frames count.

    Parameters
    ----------
    thetas : (W,) float
        One of 0 is drawn half a decade below the least of the others.
    cc_work, cc_free : (W,) float or None
    effective : (W,) float
        Effective numbers of frames.
    chosen : float
        One of the θ.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, (6.4, 4.0))
    theta = np.array(thetas, np.float64)
    least = theta[theta > 0].min(initial=1.0) / np.sqrt(10)
    place = np.where(theta > 0, theta, least)
    curves = ((cc_work, "CC_work", BLUE, "o"), (cc_free, "CC_free", ORANGE, "s"))
    lines = [
        ax.semilogx(place, np.array(values, np.float64), "-", marker=m, color=c, label=label)[0]
        for values, label, c, m in curves
    ]
    ax.axvline(chosen if chosen > 0 else least, color="black", lw=0.9, ls=(0, (6, 3)))
    beside = ax.twinx()
    label = "effective frames (right)"
    lines += beside.plot(place, effective, ":", color=GREY, lw=1.4, label=label)
    beside.set_ylim(bottom=0)
    beside.set_ylabel("effective number of frames")
    ax.set(xlabel="θ, what the relative entropy counts for", ylabel="CC")
    ax.grid(alpha=0.3)
    ax.legend(
        handles=lines, frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=3,
    )  # fmt: skip
    return ax
