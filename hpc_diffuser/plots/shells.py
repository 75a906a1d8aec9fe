"""Agreement with the measured map against resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hpc_diffuser.fit.cc_text import cc_text
from hpc_diffuser.fit.comparison_table import ModelShellRow
from hpc_diffuser.fit.errors.cc_errors import CCError, CCErrors
from hpc_diffuser.fit.summary import Outcome, ShellRow, Summary
from hpc_diffuser.interface.run import Run
from hpc_diffuser.plots.canvas import BLUE, GREY, ORANGE, finish, known, new_axes, new_figure
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError

if TYPE_CHECKING:
    from hpc_diffuser.fit.halo_models import HaloShell

    Shells: TypeAlias = Sequence[ShellRow] | Sequence[ModelShellRow] | Sequence[HaloShell]

_MOST_TICKS = 12
# Of a decade, the roundest first; finer ones where these are too few.
_ROUND = (
    (8.0, 6.0, 5.0, 4.0, 3.0, 2.5, 2.0, 1.5, 1.0),
    tuple(x / 4 for x in range(39, 3, -1)),
    tuple(x / 20 for x in range(199, 19, -1)),
)


def shells_figure(run: Run | Summary, errors: CCErrors | None = None) -> Any:
    """CC against resolution with its errors, above the voxels of each shell, as a Figure.

    Parameters
    ----------
    run : Run or Summary
        Finished.
    errors : CCErrors or None
        Of the run's map.

    Raises
    ------
    InputError
        Where matplotlib is not installed, or the run is not finished.
    """
    figure = new_figure((7.0, 5.6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    plot_shells(run, upper, errors)
    upper.set_xlabel("")
    plot_voxels(run, lower)
    return figure


def plot_voxels(run: Run | Summary, ax: Any = None) -> Any:
    """Working and free voxels of each resolution shell.

    Parameters
    ----------
    run, ax
        As of `plot_shells`.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where the run is not finished, or matplotlib is not installed.

    Examples
    --------
    >>> ax = hd.plot_voxels(hd.open_run("run"))
    """
    shells, ax = _finished(run).shells, new_axes(ax, (6.4, 2.0))
    middle = middles(shells)
    counts = (
        ([s.voxels_work for s in shells], "working voxels", BLUE, "o"),
        ([s.voxels_free for s in shells], "free voxels", ORANGE, "s"),
    )
    for values, label, colour, marker in counts:
        # None at all has no place on a logarithmic axis.
        ax.semilogy(
            middle, known([n or None for n in values]), marker, ms=4, color=colour, label=label
        )
    label_resolution(ax, middle[0], middle[-1])
    ax.set_ylabel("voxels")
    finish(ax)
    return ax


def plot_shells(run: Run | Summary, ax: Any = None, errors: CCErrors | None = None) -> Any:
    """CC against resolution: the fit's working and free set, and translation alone.

    Parameters
    ----------
    run : Run or Summary
        Finished.
    ax : matplotlib Axes, optional
        By default those of a new figure.
    errors : CCErrors or None
        Of the run's map: bars are 95 % intervals.

    Returns
    -------
    matplotlib Axes
        x is 1/d in Å⁻¹, labelled by d in Å.

    Raises
    ------
    InputError
        Where matplotlib is not installed, or the run is not finished.

    Examples
    --------
    >>> ax = hd.plot_shells(hd.open_run("run"))
    >>> ax.figure.savefig("cc.pdf")
    """
    outcome = _finished(run)
    shells = outcome.shells
    middle = middles(shells)
    ax = new_axes(ax, (6.4, 4.0))
    work, free = (errors.shells_work, errors.shells_free) if errors else (None, None)
    curves: tuple[tuple[list[float | None], CCError | None, str, str, str, str], ...] = (
        ([s.cc for s in shells], work, "fit, working set", BLUE, "-", "o"),
        ([s.cc_free for s in shells], free, "fit, free set", ORANGE, "-", "s"),
        ([s.cc_translation for s in shells], None, "translation alone", GREY, "--", "^"),
    )
    for found, error, label, colour, line, marker in curves:
        draw_ccs(ax, middle, found, error, ls=line, marker=marker, color=colour, label=label)
    draw_ceiling(ax, middle, shells)
    label_resolution(ax, middle[0], middle[-1])
    ax.set_ylabel("correlation coefficient")
    finish(ax, fontsize=10)
    ax.set_title(
        f"CC_work {cc_text(outcome.cc_work, 3)}, CC_free {cc_text(outcome.cc_free, 3)}; "
        f"translation alone {cc_text(outcome.translation_alone.cc_work, 3)}",
        fontsize=10,
    )
    return ax


def _finished(run: Run | Summary) -> Outcome:
    if not isinstance(run, Run | Summary | None):
        raise InputError(f"expected a Run, or its Summary, found a {type(run).__name__}")
    summary = run.summary if isinstance(run, Run) else run
    outcome = summary.outcome if summary else None
    if outcome is None:
        raise InputError("no figure yet: CC by shell comes after the last restart")
    return outcome


def middles(shells: Shells) -> Floats:
    """The middle of each shell (n,) in 1/d, Å⁻¹."""
    ends = [((1 / s.d_max if s.d_max else 0.0), 1 / s.d_min) for s in shells]
    middle: Floats = np.array(ends).mean(axis=1)
    return middle


def draw_ccs(
    ax: Any, middle: Floats, found: Sequence[float | None], error: CCError | None, **style: Any
) -> None:
    """A curve of CCs (n,), with bars where their errors are known.

    Parameters
    ----------
    ax : matplotlib Axes
    middle : (n,) float
    found : sequence of float or None
    error : CCError or None
        Of all shells.
    **style
        Of the line, for matplotlib.
    """
    values = known(found)
    bars = None
    if error is not None:
        bars = np.maximum([values - error.low, error.high - values], 0)
    ax.errorbar(middle, values, bars, ms=4, capsize=2, elinewidth=0.8, **style)


def draw_ceiling(ax: Any, middle: Floats, shells: Shells) -> None:
    """CC* of the half-maps, where it is known of any shell.

    Parameters
    ----------
    ax : matplotlib Axes
    middle : (n,) float, Å⁻¹
    shells : sequence of n ShellRow or ModelShellRow
    """
    stars = known([s.cc_star for s in shells])
    if np.isfinite(stars).any():
        ax.plot(middle, stars, "k:", marker="_", ms=7, lw=1.2, label="CC* of the data")


def label_resolution(ax: Any, low: float, high: float) -> None:
    """Label an x axis of 1/d, Å⁻¹, by round d in Å, between two of its places."""
    ticks = round_resolutions(low, high)
    ax.set_xticks([1 / d for d in ticks], [f"{d:.3g}" for d in ticks])
    ax.set_xlabel("resolution d (Å)")


def round_resolutions(low: float, high: float) -> list[float]:
    """Round numbers of d in Å, about evenly spread in 1/d between two ends in Å⁻¹.

    Between ends so near to each other that none is round, the middle.
    """
    apart = (high - low) / _MOST_TICKS
    first = max(low, apart)
    for coarse in _ROUND:
        decades = (step * 10.0**power for power in (3, 2, 1, 0, -1) for step in coarse)
        found: list[float] = []
        for d in decades:
            if first <= 1 / d <= high and (not found or 1 / d - 1 / found[-1] >= apart):
                found.append(d)
        if len(found) > 2:
            break
    return found or [2 / (low + high)]
