"""Phonons of a lattice of rigid molecules: frequencies along a direction, velocities of sound.

With M of a molecule's mass and moment of inertia, ω² are the eigenvalues of M^{−½} D(k) M^{−½}, D
being in kT: frequencies go with √T. A molecule weighs what its model's atoms do. The solvent that
it carries makes it slower.
"""

import gemmi
import numpy as np

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.motion.lattice.springs import Springs
from hpc_diffuser.motion.restraints import GAS_CONSTANT
from hpc_diffuser.system.arrays import Complexes, Floats

ROOM_K = 298.0
_PER_PS = 100.0  # Da Å²/ps² of 1 kJ/mol
_SMALL = 1e-3  # reciprocal-lattice units: there ω is proportional to k
_M_PER_S = 100.0  # of 1 Å/ps


def mass_matrix(structure: Structure, centre: Floats) -> Floats:
    """M of a rigid body for ξ = (t, ω) about a centre: (6, 6) Da, Da Å and Da Å²."""
    masses = np.array([gemmi.Element(str(e)).weight for e in structure.elements])
    p = displacements(structure.positions, centre)
    found: Floats = np.einsum("a,aki,akj->ij", masses * structure.occupancies, p, p)
    return found


def frequencies(
    springs: Springs, stiffness: Floats, masses: Floats, hkl: Floats, temperature_K: float
) -> Floats:
    """Frequencies of all phonons at some k: (k, 6Z) THz, ascending.

    Parameters
    ----------
    springs, stiffness
        As of `Springs.dynamical_matrices`.
    masses : (6, 6) float
        As of `mass_matrix`.
    hkl : (k, 3) float
    temperature_K : float
    """
    levels = np.linalg.eigvalsh(weighted_matrices(springs, stiffness, masses, hkl))
    squares = levels * GAS_CONSTANT * temperature_K * _PER_PS
    found: Floats = np.sqrt(np.maximum(squares, 0.0)) / (2 * np.pi)
    return found


def weighted_matrices(
    springs: Springs, stiffness: Floats, masses: Floats, hkl: Floats
) -> Complexes:
    """M^{−½} D(k) M^{−½}: (k, 6Z, 6Z) complex, of which ω² are the eigenvalues, in kT."""
    whole = np.kron(np.eye(springs.packing.n_molecules), mass_root(masses))
    return whole @ springs.dynamical_matrices(stiffness, hkl) @ whole


def mass_root(masses: Floats) -> Floats:
    """M^{−½} of a molecule: (6, 6)."""
    levels, axes = np.linalg.eigh(masses)
    root: Floats = (axes / np.sqrt(levels)) @ axes.T
    return root


def frequency_THz(level: float, temperature_K: float) -> float:
    """Of one eigenvalue of `weighted_matrices`."""
    return float(np.sqrt(level * GAS_CONSTANT * temperature_K * _PER_PS) / (2 * np.pi))


def sound_velocities(
    springs: Springs,
    stiffness: Floats,
    masses: Floats,
    unit_cell: tuple[float, ...],
    temperature_K: float,
) -> Floats:
    """Of the three acoustic phonons along a*, b* and c*: (3, 3) m/s, ascending in each row."""
    hkl = _SMALL * np.eye(3)
    wave_numbers = 2 * np.pi * np.linalg.norm(hkl @ fractionalization(unit_cell), axis=1)
    found = frequencies(springs, stiffness, masses, hkl, temperature_K)[:, :3]
    velocities: Floats = 2 * np.pi * found / wave_numbers[:, None] * _M_PER_S
    return velocities


def dispersion(
    springs: Springs, stiffness: Floats, masses: Floats, temperature_K: float, n_points: int = 41
) -> tuple[Floats, Floats]:
    """Frequencies along a*, b* and c* from the zone's centre to its edge.

    Returns
    -------
    along : (n,) float
        From 0 to ½, in reciprocal-lattice units.
    found : (3, n, 6Z) float, THz
    """
    along = np.linspace(0, 0.5, n_points)
    hkl = (along[None, :, None] * np.eye(3)[:, None]).reshape(-1, 3)
    found = frequencies(springs, stiffness, masses, hkl, temperature_K)
    return along, found.reshape(3, n_points, -1)
