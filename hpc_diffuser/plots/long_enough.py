"""Whether the trajectory that modes come from was long enough: its parts, its modes, its blocks."""

from typing import Any

import numpy as np

from hpc_diffuser.interface.checked import require_kind
from hpc_diffuser.motion.convergence import FEWEST_FRAMES, PAIRS, Convergence
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.plots.canvas import BLUE, GREY, ORANGE, finish, label_counts, new_axes, new_figure
from hpc_diffuser.system.errors import InputError


def convergence_figure(modes: Modes) -> Any:
    """All three views beside each other, as a matplotlib Figure.

    Raises
    ------
    InputError
        As of `plot_parts`.
    """
    figure = new_figure((12.0, 4.2))
    panels = figure.subplots(1, 3)
    for plot, panel in zip((plot_parts, plot_cosine_content, plot_blocks), panels, strict=True):
        plot(modes, panel)
    return figure


def plot_parts(modes: Modes, ax: Any = None) -> Any:
    """RMSIP and covariance overlap of halves and thirds, beside frames in random order.

    Parameters
    ----------
    modes : Modes
        Of a trajectory.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where matplotlib is not installed, or nothing is known of the frames.

    Examples
    --------
    >>> ax = hd.plot_parts(hd.open_modes("modes.h5"))
    """
    found, ax = _known(modes), new_axes(ax, (5.0, 4.2))
    places = np.arange(len(PAIRS))
    curves = (
        (found.rmsip, found.random_rmsip, "RMSIP", BLUE, "o"),
        (found.overlap, found.random_overlap, "covariance overlap", ORANGE, "s"),
    )
    for values, random, label, colour, marker in curves:
        ax.plot(places, values, marker, color=colour, label=label)
        ax.plot(places, random, marker, mfc="none", color=colour, label="in random order")
    ax.set_xticks(places, [f"{parts}\n{i + 1}, {j + 1}" for parts, _, i, j in PAIRS])
    ax.set(xlim=(-0.5, len(PAIRS) - 0.5), ylim=(0, 1))
    ax.set_title(f"parts of {found.n_frames} frames, {found.compared} modes", fontsize=10)
    finish(ax)
    return ax


def plot_cosine_content(modes: Modes, ax: Any = None) -> Any:
    """Cosine content, and independent frames, mode by mode.

    Parameters
    ----------
    modes : Modes
        Of a trajectory.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes
        Cosine content on the left, 0 to 1; independent frames on the right.

    Raises
    ------
    InputError
        As of `plot_parts`.

    Examples
    --------
    >>> ax = hd.plot_cosine_content(hd.open_modes("modes.h5"))
    """
    found, ax = _known(modes), new_axes(ax, (5.0, 4.2))
    numbers = np.arange(1, found.compared + 1)
    ax.bar(numbers, found.cosine_content, color=ORANGE, alpha=0.7)
    ax.set(ylim=(0, 1), xlabel="mode")
    ax.set_ylabel("cosine content (bars)", color=ORANGE)
    ax.set_xticks(numbers)
    ax.grid(alpha=0.3)
    beside = ax.twinx()
    beside.plot(numbers, found.independent, "o-", ms=4, color=BLUE)
    beside.set_ylim(0, 1.1 * float(found.independent.max()))
    beside.set_ylabel("independent frames (points)", color=BLUE)
    ax.set_title("first modes", fontsize=10)
    return ax


def plot_blocks(modes: Modes, ax: Any = None) -> Any:
    """Covariance overlap of blocks with all frames, by their length.

    Parameters
    ----------
    modes : Modes
        Of a trajectory.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        As of `plot_parts`.

    Examples
    --------
    >>> ax = hd.plot_blocks(hd.open_modes("modes.h5"))
    """
    found, ax = _known(modes), new_axes(ax, (5.0, 4.2))
    lengths = found.block_lengths
    ax.semilogx(lengths, found.block_overlap, "o-", ms=4, color=BLUE, label="of a block")
    ax.semilogx(
        lengths,
        found.random_block_overlap,
        "o--",
        ms=4,
        mfc="none",
        color=GREY,
        label="of random frames",
    )
    label_counts(ax, lengths[::2])
    ax.set(ylim=(0, 1), xlabel="frames", ylabel="covariance overlap with all frames")
    ax.set_title(f"blocks: worth {found.independent_blocks:.0f} independent frames", fontsize=10)
    finish(ax)
    return ax


def _known(modes: Modes) -> Convergence:
    require_kind(modes, Modes, "Modes, as of hd.open_modes")
    if modes.convergence is None:
        raise InputError(
            f"no figure: modes.h5 says nothing of a trajectory's parts: expected modes of a "
            f"trajectory of {FEWEST_FRAMES} frames or more, made by this version"
        )
    return modes.convergence
