"""How many independent voxels a map's voxels are worth, by how their residuals go together.

A voxel v pulls at the objective's gradient by ψ_v = w e_v d_v, residual times derivative (with
what it has in means and scales: `curvature`). Summed over the V voxels, the gradient's covariance
from one data set to another is M = Σ_vv' ⟨ψ_v ψ_v'ᵀ⟩. Were residuals of different voxels
independent, only v = v' would be left, M₀ = Σ_v ψ_v ψ_vᵀ. With autocorrelations r_e of the
residual and r_d of the derivative, at a distance Δ,

    M / M₀ = Σ_Δ r_e(Δ) r_d(Δ)                  (Bartlett 1935, J. R. Stat. Soc. 98, 536)

so that V correlated voxels determine a parameter as V / Σ_Δ r_e r_d independent ones would. Of D
parameters, in the coordinates in which M₀ is 1, the mean over all directions is

    V_eff = V D / tr(M₀⁻¹ M),

whatever the parameters' units are, and however they are combined. M is measured from how zones
disagree, Σ_z g_z g_zᵀ, g_z = Σ_{v in z} ψ_v: all pairs of voxels inside a zone, or a block of
zones, count, and pairs across its faces do not. tr(M₀⁻¹ M) = Σ_z g_zᵀ M₀⁻¹ g_z is a sum over
zones, whose scatter, with that of what their faces share, is its error. No fit of a correlation
length is needed, and a residual that is a model's error, correlated over more than noise is,
counts as what it is.
"""

import numpy as np

from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.intervals import EffectiveVoxels

FEWEST_ZONES = 30  # or blocks of them, whose scatter says something


def effective_voxels(bend: Bend) -> EffectiveVoxels | None:
    """Of the voxels that a score is over; None where single ones are not known, or nothing pulls.

    Parameters
    ----------
    bend : Bend
        In the parameters that have intervals.
    """
    n_zones, of_zones = len(bend.pulls), bend.inflations()
    if of_zones is None or n_zones < 2 or not of_zones.any():
        return None
    inside = of_zones.sum() * n_zones / (n_zones - 1) / len(bend.gradient)
    parts = bend.parts_of_inflation()
    relative = 0.0 if parts is None else np.sqrt(n_zones) * parts.std(ddof=1)
    independent = bend.voxels / (inside * bend.across_faces())
    return EffectiveVoxels(
        voxels=bend.voxels, independent=float(independent), error=float(independent * relative)
    )
