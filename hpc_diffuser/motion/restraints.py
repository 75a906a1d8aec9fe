"""Harmonic position restraints that make atoms fluctuate as the crystal's B-factors say.

An atom in a harmonic well of energy ½ F |r − r₀|² fluctuates, by equipartition, by ⟨x²⟩ = kT/F
along each direction, and a B-factor is B = 8π²⟨x²⟩ (Trueblood et al. 1996, Acta Cryst. A52, 770),
so F = 8π² kT/B. The force constants of wells add, as do those of a molecule and of a restraint
where an atom moves independently of the others; where it does not, neighbours restrain it too.
"""

import numpy as np

from hpc_diffuser.system.arrays import Floats

GAS_CONSTANT = 8.31446261815324e-3  # kJ/mol/K
KCAL_A2 = 1 / 418.4  # kcal/mol/Å² of 1 kJ/mol/nm²
_A2_PER_NM2 = 100.0


def force_constants(b_factors_A2: Floats, temperature_K: float) -> Floats:
    """F = 8π² kT/B of the wells in which atoms have these B-factors.

    Parameters
    ----------
    b_factors_A2 : (N,) float, Å²
        Isotropic, 0 or above; NaN where there is none.
    temperature_K : float

    Returns
    -------
    (N,) float, kJ/mol/nm²
        Along each direction, of the energy ½ F |r − r₀|²; infinite for B = 0, NaN for NaN.
    """
    mean_square_nm2 = np.asarray(b_factors_A2, float) / (8 * np.pi**2 * _A2_PER_NM2)
    with np.errstate(divide="ignore"):
        constants: Floats = GAS_CONSTANT * temperature_K / mean_square_nm2
    return constants


def rms_fluctuations(b_factors_A2: Floats) -> Floats:
    """RMSF = (3⟨x²⟩)^½ = (3B/8π²)^½, in space: (N,) Å of (N,) Å²."""
    fluctuations: Floats = np.sqrt(3 * np.asarray(b_factors_A2, float) / (8 * np.pi**2))
    return fluctuations


def updated_restraints(
    previous: Floats, crystal: Floats, trajectory: Floats, scale: float
) -> Floats:
    """max(previous + scale · (F_exp − F_MD), 0): what the next simulation is restrained by.

    Without a restraint before, the first pass is scale · max(F_exp − F_MD, 0).

    Parameters
    ----------
    previous : (N,) float
        Restraints under which the trajectory was made; 0 for an unrestrained one.
    crystal, trajectory : (N,) float
        F_exp and F_MD, as of `force_constants`.
    scale : float
        How much of what lacks is added. In independent wells 1 is exact; in a protein, whose atoms
        restrain each other, far less: 1/200 (Mazumder & Ayyer 2021, bioRxiv 2021.02.11.429988).

    Returns
    -------
    (N,) float
        In the unit of the others.
    """
    constants: Floats = np.maximum(previous + scale * (crystal - trajectory), 0.0)
    return constants
