"""Restraints of molecular dynamics, and what they did, by residue."""

from typing import Any

import numpy as np

from hpc_diffuser.io.restraint_files import Restraints, by_residue
from hpc_diffuser.plots.canvas import BLUE, GREY, ORANGE, new_figure


def restraints_figure(restraints: Restraints) -> Any:
    """RMSF, B and restraints by residue: the crystal's, the trajectory's, and that before it.

    Parameters
    ----------
    restraints : Restraints

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    labels, found = by_residue(restraints)
    figure = new_figure((8.0, 7.2))
    panels = figure.subplots(3, 1, sharex=True)
    curves = (
        ("crystal", "crystal", BLUE),
        ("before", "trajectory before", GREY),
        ("trajectory", "trajectory", ORANGE),
    )
    number = np.arange(len(labels))
    for panel, column in zip(panels, ("RMSF_A", "B_A2"), strict=False):
        for name, label, colour in curves:
            if (values := found.get(f"{name}_{column}")) is not None:
                panel.plot(number, values, color=colour, lw=1.2, label=label)
    panels[2].bar(number, found["k_kJ_mol_nm2"], color=BLUE, width=0.8)
    names = ("RMSF (Å)", "B (Å²)", "restraint (kJ/mol/nm²)")
    for panel, name in zip(panels, names, strict=True):
        panel.set_ylabel(name)
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    ticks = number[:: max(1, len(labels) // 8)]
    panels[2].set_xticks(ticks, [labels[i] for i in ticks])
    return figure
