"""How far the model moves, in all and by each motion; and that beside the crystal's B-factors.

Bragg and diffuse data come from the same motion. B = 8π²⟨u²⟩ of the mean square displacement along
one axis, 8π²⟨|u|²⟩/3 of that in space.
"""

import numpy as np

from hpc_diffuser.crystal.structure import atom_label
from hpc_diffuser.fit.summary import BFactors, MotionSize, MotionSizes
from hpc_diffuser.motion.configurations import mean_square_displacements, residual_b_factors
from hpc_diffuser.motion.lattice.rigid_lattice import turn_deg
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, parameters_from, values_of
from hpc_diffuser.motion.registry import FRAME_WEIGHT, MOTIONS, PARAMETERS

EXCESS = 1.1  # of the crystal's B-factors: more is told
RESIDUAL = "residual B"  # of no motion of the model's own: what the others leave
B_OF_SQUARE = 8 * np.pi**2 / 3  # B in Å² of ⟨|u|²⟩


def model_b_factors(modes: Modes, parameters: Parameters) -> np.ndarray:
    """B = 8π²⟨|u|²⟩/3 of every atom by all of the model's motions: (N,) Å²."""
    b = B_OF_SQUARE * mean_square_displacements(modes, parameters)
    return b + residual_b_factors(modes, parameters) if parameters.residual_b_fraction else b


def compare_b_factors(modes: Modes, parameters: Parameters) -> BFactors | None:
    """Over the atoms that the crystal structure has; None without one."""
    if modes.crystal_b_A2 is None:
        return None
    known = np.isfinite(modes.crystal_b_A2) & (modes.crystal_b_A2 > 0)
    if not known.any():
        return None
    ours, crystal = model_b_factors(modes, parameters)[known], modes.crystal_b_A2[known]
    varied = min(np.std(ours), np.std(crystal)) > 1e-9 * np.mean(crystal)
    farthest = np.flatnonzero(known)[np.argmax(ours - crystal)]
    return BFactors(
        atoms=int(known.sum()),
        cc=float(np.corrcoef(ours, crystal)[0, 1]) if varied else None,
        mean_ratio=float(ours.mean() / crystal.mean()),
        mean_A2=float(ours.mean()),
        crystal_mean_A2=float(crystal.mean()),
        moves_more=float(np.mean(ours > EXCESS * crystal)),
        farthest_beyond=atom_label(modes.structure, int(farthest)),
    )


def motion(modes: Modes, parameters: Parameters) -> MotionSizes:
    """How far the model's atoms move, in all and by each motion that there is, alone."""
    kinds = {
        name: float(B_OF_SQUARE * np.mean(squares))
        for name, squares in _squares_by_kind(modes, parameters).items()
    }
    if parameters.residual_b_fraction:
        kinds[RESIDUAL] = float(np.mean(residual_b_factors(modes, parameters)))
    total = float(np.mean(model_b_factors(modes, parameters)))
    lattice = modes.lattice if np.any(parameters.lattice_spring_A) else None
    return MotionSizes(
        rms_A=_rms(total),
        mean_b_A2=total,
        kinds={name: MotionSize(rms_A=_rms(b), mean_b_A2=b) for name, b in kinds.items() if b > 0},
        turn_deg=None if lattice is None else turn_deg(lattice.covariance(parameters.springs)),
    )


def _rms(mean_b_A2: float) -> float:
    """In space, in Å."""
    return float(np.sqrt(mean_b_A2 / B_OF_SQUARE))


def _squares_by_kind(modes: Modes, parameters: Parameters) -> dict[str, np.ndarray]:
    """⟨|u|²⟩ of every atom by each motion alone: (N,) Å² each; of frames, which no parameter holds.

    They add up to that of all, but for what a screw adds.
    """
    every = values_of(parameters)
    still = {"mode_amplitude_A": np.zeros_like(parameters.mode_amplitudes_A)}
    still |= {name: every[name] for name in (FRAME_WEIGHT.name,) if name in every}
    always = mean_square_displacements(modes, parameters_from(still))

    def alone(motion: str) -> np.ndarray:
        own = {row.name: every[row.name] for row in PARAMETERS if row.motion == motion}
        return mean_square_displacements(modes, parameters_from(still | own, parameters.lattice))

    inside = alone("modes")
    others = {name: alone(name) - always for name in MOTIONS if name not in ("modes", RESIDUAL)}
    return {"modes" if modes.frames is None else "conformations": inside, **others}
