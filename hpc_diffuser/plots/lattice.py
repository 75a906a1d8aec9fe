"""Phonons of a lattice of molecules."""

from typing import Any

import numpy as np

from hpc_diffuser.plots.canvas import BLUE, GREY, new_figure
from hpc_diffuser.system.arrays import Floats

_ACOUSTIC = 3


def plot_dispersion(along: Floats, frequencies: Floats) -> Any:
    """Frequencies along a*, b* and c*, side by side.

    Parameters
    ----------
    along : (n,) float
        From 0 to ½, in reciprocal-lattice units.
    frequencies : (3, n, 6Z) float, THz

    Returns
    -------
    matplotlib Figure
    """
    figure = new_figure((7.5, 3.2))
    every = np.atleast_1d(figure.subplots(1, 3, sharey=True))
    for ax, name, found in zip(every, ("h", "k", "l"), frequencies, strict=True):
        ax.plot(along, found[:, _ACOUSTIC:], color=GREY, lw=0.8)
        ax.plot(along, found[:, :_ACOUSTIC], color=BLUE, lw=1.4)
        ax.set(xlabel=name, xlim=(0, along[-1]))
    every[0].set_ylabel("frequency (THz)")
    every[0].set_ylim(bottom=0)
    return figure
