"""Scores of many runs, a line for each."""

from collections.abc import Sequence
from typing import Any

from hpc_diffuser.interface.checked import numbers_of, texts_of
from hpc_diffuser.plots.canvas import BLUE, ORANGE, new_axes

_LINE_IN, _MOST_IN = 0.22, 20.0  # height of a run's line, and of the figure
_MOST_NAMES = 80  # of more runs, names would lie on each other
_MOST_LETTERS = 34  # of a name; of longer ones the middle is left out


def plot_scores_of_runs(
    names: Sequence[str],
    cc_work: Sequence[float | None],
    cc_free: Sequence[float | None],
    cc_translation: Sequence[float | None],
    ax: Any | None = None,
) -> Any:
    """CC_work, CC_free and that of translation alone, of run after run.

    Parameters
    ----------
    names : sequence of str
    cc_work, cc_free, cc_translation : sequences of float or None
        None where undefined.
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
    >>> ax = hd.plot_scores_of_runs(["a", "b"], [0.71, 0.64], [0.70, 0.62], [0.30, None])
    """
    names = texts_of(names, "names")
    height = min(1.4 + _LINE_IN * max(3, len(names)), _MOST_IN)
    axes = new_axes(ax, (9.0, height))
    places = list(range(len(names)))
    kinds = (
        (cc_work, "CC_work", BLUE, "o", BLUE),
        (cc_free, "CC_free", ORANGE, "s", "none"),
        (cc_translation, "translation alone, CC_work", "black", "|", "black"),
    )
    for values, label, colour, marker, inside in kinds:
        known = numbers_of(values, label, len(names))
        axes.plot(known, places, marker, color=colour, mfc=inside, ms=6, label=label)
    labels = [_shortened(name) for name in names] if len(names) <= _MOST_NAMES else []
    axes.set_yticks(places if labels else [], labels, fontsize=9)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel="correlation coefficient")
    axes.grid(alpha=0.3)
    axes.figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return axes


def _shortened(name: str) -> str:
    """Both ends of a long name, which tell runs apart."""
    if len(name) <= _MOST_LETTERS:
        return name
    half = (_MOST_LETTERS - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
