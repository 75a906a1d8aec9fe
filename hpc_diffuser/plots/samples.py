"""The error that samples leave in a fit, against their number."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpc_diffuser.interface.checked import numbers_of
from hpc_diffuser.plots.canvas import (
    ABOVE,
    BLUE,
    ORANGE,
    finish,
    label_counts,
    new_axes,
)
from hpc_diffuser.system.errors import InputError


def plot_samples(
    samples: Sequence[int],
    map_errors: Sequence[float],
    objective_errors: Sequence[float],
    ax: Any = None,
) -> Any:
    """Errors of a map and of the objective, with the laws of independent samples.

    Parameters
    ----------
    samples : (S,) int
        Ascending; the last is what the fit uses.
    map_errors : (S,) float
        1 − CC with the map of infinitely many samples.
    objective_errors : (S,) float
        Standard deviation of CC with the target.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where matplotlib is not installed, or there are no numbers, or not as many of each.

    Examples
    --------
    >>> ax = hd.plot_samples([32, 64, 128], [0.02, 0.008, 0.003], [4e-3, 2e-3, 1.1e-3])
    """
    n = numbers_of(samples, "samples", None)
    if not len(n):
        raise InputError("samples: expected one number at least, found none")
    ax = new_axes(ax, (6.4, 4.0))
    curves = (
        (map_errors, -1.0, "of a map: 1 − CC with the limit", BLUE, "o", "1/n"),
        (objective_errors, -0.5, "of the objective: its standard deviation", ORANGE, "s", "1/√n"),
    )
    for errors, power, label, colour, marker, law in curves:
        found = numbers_of(errors, f"errors {label.partition(':')[0]}", len(n))
        if not (found > 0).any():
            continue
        ax.loglog(n, np.where(found > 0, found, np.nan), "-", marker=marker, ms=6, color=colour,
                  label=label)  # fmt: skip
        first = int(np.argmax(found > 0))
        expected = found[first] * (n / n[first]) ** power
        ax.loglog(n, expected, ":", color=colour, lw=1.4, label=f"{law}, of independent samples")
    ax.axvline(
        n[-1], color="black", lw=0.9, ls=(0, (6, 3)), label=f"used in the fit: {samples[-1]}"
    )
    label_counts(ax, samples)
    ax.set(xlabel="samples n", ylabel="error")
    finish(ax, ncols=2, **ABOVE)
    return ax
