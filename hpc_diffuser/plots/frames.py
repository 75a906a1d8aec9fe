"""Weights of an ensemble's frames."""

from collections.abc import Collection
from typing import Any

import numpy as np

from hpc_diffuser.plots.canvas import BLUE, GREY, new_axes
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
