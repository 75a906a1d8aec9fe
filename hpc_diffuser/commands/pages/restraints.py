"""What `restraints` prints: how far a simulation moves beside its crystal, and what is added."""

import numpy as np

from hpc_diffuser.io.restraint_files import Restraints
from hpc_diffuser.motion.restraints import KCAL_A2, rms_fluctuations
from hpc_diffuser.system.arrays import Floats


def page(restraints: Restraints) -> list[str]:
    """Lines about B-factors of the crystal and of trajectories, and the restraints."""
    crystal = restraints.structure.b_factors_A2
    moving = {"trajectory before": restraints.before_b_A2, "trajectory": restraints.trajectory_b_A2}
    lines = [f"{'':18s}  mean B  mean RMSF     CC  median |log B ratio|"]
    lines.append(f"{'crystal':18s} {_sizes(crystal)}")
    for name, b in moving.items():
        if b is not None:
            lines.append(
                f"{name:18s} {_sizes(b)} {_cc(b, crystal):6.3f} {_distance(b, crystal):8.2f}"
            )
    return [*lines, _restrained(restraints)]


def _sizes(b_factors_A2: Floats) -> str:
    rmsf = np.mean(rms_fluctuations(b_factors_A2))
    return f"{np.mean(b_factors_A2):7.2f} Å² {rmsf:6.3f} Å"


def _cc(b: Floats, crystal: Floats) -> float:
    varied = min(np.std(b), np.std(crystal)) > 0
    return float(np.corrcoef(b, crystal)[0, 1]) if varied else float("nan")


def _distance(b: Floats, crystal: Floats) -> float:
    """How far apart, by factors: 0.69 is a factor of two."""
    return float(np.median(np.abs(np.log(np.maximum(b, 1e-6) / crystal))))


def _restrained(restraints: Restraints) -> str:
    k = restraints.constants
    some = k[k > 0]
    if not len(some):
        return f"none of {len(k)} atoms is restrained: none moves more than in the crystal"
    middle, most = np.median(some), some.max()
    return (
        f"{len(some)} of {len(k)} atoms are restrained, by {middle:.4g} kJ/mol/nm² in the median "
        f"({middle * KCAL_A2:.3g} kcal/mol/Å²), {most:.4g} at most ({most * KCAL_A2:.3g})"
    )
