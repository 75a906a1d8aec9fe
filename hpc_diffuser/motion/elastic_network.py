"""Motion modes without a trajectory: normal modes of an elastic network of the structure."""

import numpy as np
import scipy.linalg
from scipy.spatial.distance import pdist, squareform

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.modes import normalised
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.memory import require_room

_NETWORK_BYTES = 8 * 2 * 3**2  # per pair of atoms: the Hessian and LAPACK's copy of it


def elastic_network_modes(
    structure: Structure, n_modes: int, cutoff_A: float = 10.0
) -> tuple[Floats, Floats]:
    """Lowest internal normal modes of an anisotropic network, scaled to the B-factors.

    Every pair of atoms nearer than `cutoff_A` is joined by a spring of constant (cutoff/r)²,
    stiffer between bonded neighbours; the six rigid-body modes are left out. Amplitudes go
    as 1/√λ (equipartition), scaled so that together they give the mean B-factor
    8π²⟨u²⟩/3 (with all B zero: 0.3 Å rms in all).

    Parameters
    ----------
    structure : Structure
    n_modes : int
    cutoff_A : float, Å

    Returns
    -------
    vectors : (M, N, 3) float, Σ_a |Δ_a|² = N
    amplitudes : (M,) float, Å

    Notes
    -----
    Atilgan et al. (2001), Biophys. J. 80, 505; distance-weighted springs: Yang, Song &
    Jernigan (2009), PNAS 106, 12347.
    """
    n_atoms = len(structure)
    last = min(6 + n_modes, 3 * n_atoms) - 1
    if last < 6:
        raise InputError(f"{n_atoms} atoms have no internal modes: at least three are needed")
    require_room(
        _NETWORK_BYTES * n_atoms**2,
        f"the elastic network of {n_atoms} atoms",
        "give a file of fewer atoms, such as one chain",
    )
    hessian = network_hessian(structure.positions, cutoff_A)
    eigenvalues, columns = scipy.linalg.eigh(hessian, subset_by_index=(0, last))
    if eigenvalues[6] < 1e-6 * np.trace(hessian) / len(hessian):
        raise InputError(
            f"the elastic network falls apart at a cutoff of {cutoff_A} Å: "
            "give one molecule, or a larger cutoff"
        )
    amplitudes = 1 / np.sqrt(eigenvalues[6:])
    mean_b = float(structure.b_factors_A2.mean())
    total_rms = np.sqrt(3 * mean_b / (8 * np.pi**2)) if mean_b > 0 else 0.3
    amplitudes *= total_rms / np.linalg.norm(amplitudes)
    return normalised(columns[:, 6:].T, n_atoms), amplitudes


def network_hessian(positions: Floats, cutoff_A: float) -> Floats:
    """Second derivatives of the network's energy: (3N, 3N), atom-major (x, y, z of each)."""
    distance = squareform(pdist(positions))
    joined = (distance < cutoff_A) & (distance > 0)
    spring = np.zeros_like(distance)
    spring[joined] = (cutoff_A / distance[joined]) ** 2
    # Σ over pairs of spring · n nᵀ with n = r_ab/|r_ab|; the square of |r_ab| divides once.
    per_r2 = np.divide(spring, distance**2, out=np.zeros_like(spring), where=joined)
    hessian = np.empty((len(positions), 3, len(positions), 3))
    for i in range(3):
        delta_i = positions[:, None, i] - positions[None, :, i]
        for j in range(3):
            delta_j = positions[:, None, j] - positions[None, :, j]
            block = -per_r2 * delta_i * delta_j
            np.fill_diagonal(block, -block.sum(axis=1))
            hessian[:, i, :, j] = block
    return hessian.reshape(3 * len(positions), -1)
