"""The model's total B-factors beside the crystal's: what diffuse and Bragg data must agree on."""

from typing import Any

import numpy as np

from hpc_diffuser.configurations import mean_square_displacements, residual_b_factors
from hpc_diffuser.modes import Modes
from hpc_diffuser.parameters import Parameters
from hpc_diffuser.structure import atom_label

EXCESS = 1.1  # of the crystal's B-factors: more is told


def model_b_factors(modes: Modes, parameters: Parameters) -> np.ndarray:
    """B = 8π²⟨|u|²⟩/3 of every atom by all of the model's motions: (N,) Å²."""
    b = 8 * np.pi**2 / 3 * mean_square_displacements(modes, parameters)
    return b + residual_b_factors(modes, parameters) if parameters.residual_b_fraction else b


def compare_b_factors(modes: Modes, parameters: Parameters) -> dict[str, Any] | None:
    """Plain numbers over the atoms that the crystal structure has; None without one.

    Returns
    -------
    dict or None
        `atoms`; `cc`, None where either does not vary; `mean_ratio`, of the model's mean B to the
        crystal's; `moves_more`, the part of the atoms whose B is over 1.1 times the crystal's;
        `farthest_beyond`, the atom that is it most.
    """
    if modes.crystal_b_A2 is None:
        return None
    known = np.isfinite(modes.crystal_b_A2) & (modes.crystal_b_A2 > 0)
    if not known.any():
        return None
    ours, crystal = model_b_factors(modes, parameters)[known], modes.crystal_b_A2[known]
    varied = min(np.std(ours), np.std(crystal)) > 1e-9 * np.mean(crystal)
    farthest = np.flatnonzero(known)[np.argmax(ours - crystal)]
    return {
        "atoms": int(known.sum()),
        "cc": float(np.corrcoef(ours, crystal)[0, 1]) if varied else None,
        "mean_ratio": float(ours.mean() / crystal.mean()),
        "mean_A2": float(ours.mean()),
        "crystal_mean_A2": float(crystal.mean()),
        "moves_more": float(np.mean(ours > EXCESS * crystal)),
        "farthest_beyond": atom_label(modes.structure, int(farthest)),
    }
