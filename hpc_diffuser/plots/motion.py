"""What a molecule's motion consists of."""

from collections.abc import Mapping
from typing import Any

from hpc_diffuser.interface.checked import numbers_of, require_kind
from hpc_diffuser.plots.canvas import new_axes

_HATCHES = ("", "//", "..", "\\\\", "xx", "--", "++")


def plot_shares(shares: Mapping[str, float], ax: Any = None) -> Any:
    """Parts of the mean square displacement, as bars.

    Parameters
    ----------
    shares : mapping of str → float
        By what moves, each from 0 to 1.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where matplotlib is not installed.

    Examples
    --------
    >>> ax = hd.plot_shares({"translation": 0.6, "modes": 0.4})
    """
    require_kind(shares, Mapping, "shares: a mapping of names to numbers")
    numbers_of(list(shares.values()), "shares", None)
    ax = new_axes(ax, (6.0, 0.8 + 0.35 * len(shares)))
    names, values = list(shares), [100 * share for share in shares.values()]
    bars = ax.barh(names, values, height=0.65, color="#9fbfdf", edgecolor="#1f3f5f")
    for bar, hatch in zip(bars, _HATCHES, strict=False):
        bar.set_hatch(hatch)
    ax.bar_label(bars, [f"{value:.1f} %" for value in values], padding=3, fontsize=9)
    ax.invert_yaxis()
    ax.set_xlim(0, max(100.0, max(values, default=0.0)) * 1.12)
    ax.set_xlabel("part of the mean square displacement (%)")
    ax.grid(alpha=0.3, axis="x")
    ax.set_axisbelow(True)
    return ax
