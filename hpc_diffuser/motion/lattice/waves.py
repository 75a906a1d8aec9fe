"""One phonon of a lattice of rigid molecules, as displacements that can be looked at.

Of an eigenvector v of M^{−½} D(k) M^{−½} with the eigenvalue λ, molecule m of the cell at R moves

    ξ(t) = Re[i ε_m e^{i(k·R − ωt)}],   ε = M^{−½} v / √λ,

by that, in its own frame. It is one standard deviation: ε ε† is the branch's share of D⁻¹(k). The
crystal then has kT/4 of elastic energy in every cell, averaged over a period; with two of them kT.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.packing import Packing, Place
from hpc_diffuser.motion.lattice.phonons import frequency_THz, mass_root, weighted_matrices
from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.motion.lattice.springs import Springs
from hpc_diffuser.system.arrays import Complexes, Floats
from hpc_diffuser.system.errors import InputError

_LOOSE = 1e-9  # of the eigenvalues at k, beside the largest


@dataclass(frozen=True)
class Wave:
    """A phonon.

    Attributes
    ----------
    hkl : (3,) float
        k in reciprocal-lattice units.
    branch : int
        From 1, by ascending frequency.
    frequency_THz : float
    motion : (Z, 6) complex, Å and radians
        ε: one standard deviation.
    """

    hkl: Floats
    branch: int
    frequency_THz: float
    motion: Complexes


def phonon(
    springs: Springs,
    stiffness: Floats,
    masses: Floats,
    hkl: Sequence[float],
    branch: int,
    temperature_K: float,
) -> Wave:
    """A phonon of one wave vector and branch.

    Parameters
    ----------
    springs, stiffness, masses, temperature_K
        As of `phonons.frequencies`.
    hkl : 3 floats
    branch : int
        From 1, by ascending frequency.

    Raises
    ------
    InputError
        Where there is no such branch, or no spring resists it: at a Bragg peak the whole crystal
        moves.
    """
    z, k = springs.packing.n_molecules, np.array(hkl, np.float64)
    where = f"wave {' '.join(f'{x:g}' for x in k)}"
    if not 1 <= branch <= 6 * z:
        raise InputError(f"branch {branch} of the {where}: expected one from 1 to {6 * z}")
    levels, vectors = np.linalg.eigh(weighted_matrices(springs, stiffness, masses, k[None])[0])
    level, vector = float(levels[branch - 1]), vectors[:, branch - 1]
    if level < _LOOSE * levels[-1]:
        raise InputError(
            f"branch {branch} of the {where}: moves the whole crystal, which no spring resists: "
            "expected a wave vector between the Bragg peaks, as 0.5,0,0, or a branch above 3"
        )
    motion = vector.reshape(z, 6) @ mass_root(masses) / np.sqrt(level)
    square = np.sum(vector**2)
    # As real as it can be: where molecules are in phase or opposite, it has no imaginary part.
    turned = motion * np.exp(-0.5j * np.angle(square)) if abs(square) > _LOOSE else motion
    return Wave(k, branch, frequency_THz(level, temperature_K), turned)


def around(packing: Packing) -> list[Place]:
    """The molecule of the asymmetric unit, and all that touch it."""
    return [(0, (0, 0, 0)), *(n.place for n in packing.neighbours)]


def in_cells(packing: Packing, cells: tuple[int, int, int]) -> list[Place]:
    """All molecules of so many cells along a, b and c."""
    a, b, c = cells
    every = product(range(a), range(b), range(c))
    return [(m, cell) for cell in every for m in range(packing.n_molecules)]


def wave_frames(
    positions: Floats,
    springs: Springs,
    unit_cell: tuple[float, ...],
    wave: Wave,
    places: Sequence[Place],
    reach: float,
    n_models: int,
) -> tuple[Floats, Floats]:
    """Molecules of a crystal at rest, and through one period of a phonon.

    Parameters
    ----------
    positions : (N, 3) float, Å
        Of the molecule in the asymmetric unit.
    springs, wave
        Of the same crystal.
    unit_cell : 6 floats, Å and degrees
    places : sequence of P (operator, lattice translation)
        Which molecules.
    reach : float
        How many standard deviations large.
    n_models : int

    Returns
    -------
    mean : (P·N, 3) float, Å
    frames : (F, P·N, 3) float, Å
        The last is followed by the first.
    """
    packing, n = springs.packing, len(positions)
    to_cartesian = np.linalg.inv(fractionalization(unit_cell))
    p = displacements(positions, springs.centre)
    times = 1j * np.exp(-2j * np.pi * np.arange(n_models) / n_models)
    mean = np.empty((len(places) * n, 3))
    frames = np.empty((n_models, *mean.shape))
    for i, (m, cell) in enumerate(places):
        own, turn = slice(i * n, (i + 1) * n), packing.turns[m]
        shift = to_cartesian @ (packing.translations[m] + cell)
        mean[own] = positions @ turn.T + shift
        phase = reach * np.exp(2j * np.pi * np.dot(wave.hkl, cell))
        motions = (times[:, None] * phase * wave.motion[m]).real
        frames[:, own] = mean[own] + np.einsum("ij,ajk,fk->fai", turn, p, motions)
    return mean, frames
