"""Agreement with the measured map against resolution."""

from typing import Any

from hpc_diffuser.fit.summary import Summary
from hpc_diffuser.interface.run import Run
from hpc_diffuser.plots.canvas import BLUE, GREY, ORANGE, new_axes
from hpc_diffuser.system.errors import InputError


def plot_shells(run: Run | Summary, ax: Any = None) -> Any:
    """CC against resolution: the fit's working and free set, and translation alone.

    Parameters
    ----------
    run : Run or Summary
        Finished.
    ax : matplotlib Axes, optional
        By default those of a new figure.

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
    summary = run.summary if isinstance(run, Run) else run
    outcome = summary.outcome if summary else None
    if outcome is None:
        raise InputError("no figure yet: CC by shell comes after the last restart")
    shells = outcome.shells
    low = [1 / s.d_max if s.d_max else 0.0 for s in shells]
    middle = [(a + 1 / s.d_min) / 2 for a, s in zip(low, shells, strict=True)]
    ax = new_axes(ax, (6.4, 4.0))
    curves = (
        ([s.cc for s in shells], "fit, working set", BLUE, "-", "o"),
        ([s.cc_free for s in shells], "fit, free set", ORANGE, "-", "s"),
        ([s.cc_translation for s in shells], "translation alone", GREY, "--", "^"),
    )
    for found, label, colour, line, marker in curves:
        values = [float("nan") if cc is None else cc for cc in found]
        ax.plot(middle, values, line, marker=marker, ms=4, color=colour, label=label)
    label_resolution(ax, middle[0], middle[-1])
    ax.set_ylabel("correlation coefficient")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    ax.set_title(
        f"CC_work {_text(outcome.cc_work)}, CC_free {_text(outcome.cc_free)}; "
        f"translation alone {_text(outcome.translation_alone.cc_work)}",
        fontsize=10,
    )
    return ax


def label_resolution(ax: Any, low: float, high: float) -> None:
    """Label an x axis of 1/d, Å⁻¹, by d in Å, between two of its places."""
    ticks = [t for t in ax.get_xticks() if low <= t <= high]
    ax.set_xticks(ticks, [f"{1 / t:.2f}" for t in ticks])
    ax.set_xlabel("resolution d (Å)")


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
