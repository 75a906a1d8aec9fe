"""What rigid motion does to the average transform of a molecule that is an ensemble of frames.

Molecules move inside independently of each other, so that neighbours see the average over frames
with weights w, each atom of each blurred by how the lattice moves it at its own place there,

    F = Σ_f w_f Σ_a f_a e^{−½ qᵀU_fa q} e^{iq·(r_fa − r₀)},

and S likewise. That is the transform of one molecule that has every atom F times, some frames at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, copied_factors
from hpc_diffuser.scattering.lattice_transforms import RigidTransforms
from hpc_diffuser.scattering.transform import Transform
from hpc_diffuser.system.arrays import Complexes, Floats

ATOMS_AT_ONCE = 20000  # of all frames that are drawn together


class FrameTransforms(RigidTransforms):
    """F and S of the average molecule on a coarse grid; made as `RigidTransforms`."""

    def of_frames(
        self,
        frames: Floats,
        weights: Floats,
        blurring: Callable[[Floats], Floats],
        factors: AtomFactors,
    ) -> list[tuple[Floats, Floats]]:
        """As `volumes`, of an ensemble.

        Parameters
        ----------
        frames : (F, N, 3) float, Å
        weights : (F,) float
            They add up to 1.
        blurring : callable
            Places (M, 3) in Å → U (M, 3, 3) in Å² of atoms that are there.
        factors : AtomFactors
            Of the N atoms.
        """
        total: Complexes = np.zeros(0, np.complex64)
        for some in frames_at_once(len(weights), frames.shape[1]):
            found = self._of_some(frames[some], weights[some], blurring, factors)
            total = total + found if total.size else found
        return [self._filled(own) for own in total[:, self._positions]]

    def slopes_of_frames(
        self,
        frames: Floats,
        weights: Floats,
        blurring: Callable[[Floats], Floats],
        factors: AtomFactors,
        volumes: list[tuple[Floats, Floats]],
    ) -> Floats:
        """As `slopes`, of every atom of every frame: (F·N, 3, 3) float64, Å⁻².

        Parameters
        ----------
        frames, weights, blurring, factors
            As of `of_frames`.
        volumes
            As of `slopes`.
        """
        pulls, found = self._pulls(volumes), []
        for some in frames_at_once(len(weights), frames.shape[1]):
            places = frames[some].reshape(-1, 3)
            transform = self._transform_of(frames[some], weights[some], factors)
            of = (blurring(places), self._weights_at(places), pulls)
            found.append(self._summed(transform.dressed_slopes(*of)))
        return np.concatenate(found)

    def _of_some(
        self,
        frames: Floats,
        weights: Floats,
        blurring: Callable[[Floats], Floats],
        factors: AtomFactors,
    ) -> Complexes:
        """The weighted sum over some frames, on the slab."""
        places = frames.reshape(-1, 3)
        transform = self._transform_of(frames, weights, factors)
        return transform.dressed(blurring(places), self._weights_at(places))

    def _transform_of(self, frames: Floats, weights: Floats, factors: AtomFactors) -> Transform:
        """Of every atom of some frames, by their weights."""
        structure, n = self._structure, frames.shape[1]
        atoms = np.tile(np.arange(n), len(frames))
        places = frames.reshape(-1, 3)
        every = replace(structure.select(atoms), positions=places - self.middle)
        shares = factors.occupancies[atoms] * np.repeat(weights, n)
        of_atoms = copied_factors(factors, atoms, shares, np.zeros(n))
        return self._transform.of_atoms(every, of_atoms)


def frames_at_once(n_frames: int, n_atoms: int) -> Iterator[slice]:
    """Frames that are drawn together."""
    step = max(1, ATOMS_AT_ONCE // n_atoms)
    for first in range(0, n_frames, step):
        yield slice(first, first + step)
