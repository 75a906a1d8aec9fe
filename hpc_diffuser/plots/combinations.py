"""Well and ill determined combinations of parameters: what they are of, and how well known."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpc_diffuser.interface.checked import numbers_of, texts_of
from hpc_diffuser.plots.canvas import BLUE, GREY, new_axes
from hpc_diffuser.system.arrays import Floats

_UNIFORM = 1 / np.sqrt(12)  # standard deviation of a range of length 1 of which nothing is known


def plot_deviations(deviations: Floats, shares: Floats | None = None, ax: Any = None) -> Any:
    """Standard deviation of each combination, in parts of the ranges, on a logarithmic scale.

    Parameters
    ----------
    deviations : (K,) float
        In parts of the ranges that were searched, the best determined first.
    shares : (K,) float or None
        The prior's, from 0 to 1: colours.
    ax : matplotlib Axes, optional
        By default those of a new figure, with a scale beside them where there are shares.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where matplotlib is not installed, or they are no such numbers.

    Examples
    --------
    >>> ax = hd.plot_deviations(np.array([0.002, 0.01, 0.2]))
    """
    deviations = numbers_of(deviations, "deviations", None)
    if shares is not None:
        shares = numbers_of(shares, "shares", len(deviations))
    own, ax = ax is None, new_axes(ax, (6.4, 3.4))
    number = np.arange(1, len(deviations) + 1)
    ax.vlines(
        number, min(deviations.min(), _UNIFORM) / 2, deviations, color=GREY, lw=0.8, alpha=0.5
    )
    if shares is None:
        ax.plot(number, deviations, "o", color=BLUE, ms=5)
    else:
        dots = ax.scatter(number, deviations, c=shares, vmin=0, vmax=1, cmap="viridis", zorder=2)
        if own:
            ax.figure.colorbar(dots, ax=ax, label="prior's share", shrink=0.8)
    ax.axhline(_UNIFORM, color=GREY, ls="--", lw=1)
    ax.text(
        0.99,
        _UNIFORM,
        "nothing known but the range",
        transform=ax.get_yaxis_transform(),
        ha="right",
        va="bottom",
        fontsize=8,
        color=GREY,
    )
    ax.set_yscale("log")
    ends = min(deviations.min(), _UNIFORM) / 2, 2 * max(deviations.max(), _UNIFORM)
    ax.set(ylim=ends, xlim=(0.4, len(deviations) + 0.6))
    ax.set(xlabel="combination", ylabel="standard deviation\n(parts of the ranges)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.3, axis="y")
    return ax


def plot_combinations(labels: Sequence[str], parts: Floats, ax: Any = None) -> Any:
    """Part of each parameter in each combination, as a rectangle of colours.

    Parameters
    ----------
    labels : sequence of str
        Of D parameters.
    parts : (K, D) float
        Directions of length 1, the best determined first.
    ax : matplotlib Axes, optional
        By default those of a new figure, with a scale beside them.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where matplotlib is not installed, or they are no such numbers.

    Examples
    --------
    >>> ax = hd.plot_combinations(["a (Å)", "b (Å)"], np.array([[0.8, 0.6], [-0.6, 0.8]]))
    """
    labels = texts_of(labels, "labels")
    n = len(labels)
    parts = numbers_of(parts, "parts", None, n)
    side = float(np.clip(2.0 + 0.36 * n, 3.2, 9.0))
    own, ax = ax is None, new_axes(ax, (side + 1.8, side))
    image = ax.imshow(parts.T, vmin=-1, vmax=1, cmap="RdBu_r", aspect="auto")
    every = range(0, n, 1 + n // 40)
    ax.set_yticks(every, [labels[i] for i in every])
    combinations = range(0, len(parts), 1 + len(parts) // 20)
    ax.set_xticks(combinations, [str(k + 1) for k in combinations])
    ax.set_xlabel("combination, from the best determined to the worst")
    if own:
        ax.figure.colorbar(image, ax=ax, label="part", shrink=0.8)
    return ax
