"""What models of a crystal, and of one of its molecules, offer on the ranks of a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.intensity import Intensity
from hpc_diffuser.scattering.moments import Moments
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

Found_co = TypeVar("Found_co", covariant=True)


class Diffuse(Protocol[Found_co]):
    """Diffuse intensity of what moves.

    A `Found_co` is, of a crystal, (v,) float at the voxels `rows`, in electrons² per molecule; of a
    molecule, an `Intensity` in electrons² at the voxels that this rank computes. Derivatives are
    one after the other, and all ranks go through them together.

    Attributes
    ----------
    rows : (v,) int
        Which of the V voxels asked for this rank holds the intensity of; every voxel is one
        rank's.
    """

    rows: Integers

    def internal_motion(self, parameters: Parameters, normals: Floats) -> Found_co:
        """Intensity with the internal motion sampled.

        Parameters
        ----------
        parameters : Parameters
        normals : (S, ·) float
            Standard normal points, the same on all ranks; see `ensemble.ensemble_points`.

        Returns
        -------
        Found_co
        """
        ...

    def rigid(self, parameters: Parameters) -> Found_co:
        """Intensity of the mean structure without sampled motion; see above."""
        ...

    def frame_slopes(self, parameters: Parameters, normals: Floats) -> Iterator[Found_co]:
        """Derivatives of the intensity by the weights of an ensemble's frames: exact.

        Parameters
        ----------
        parameters, normals
            As of `internal_motion`.

        Yields
        ------
        Found_co
            ∂I/∂w of one frame after the other, where all weights add up to 1: what one gains, the
            others lose in proportion.
        """
        ...


class Model(Diffuse[Floats], Protocol):
    """Diffuse intensity of a crystal.

    All that scoring, the number of samples, a search, `simulate` and the final map ask of a
    model; `model.ForwardModel` is one. Another kind of crystal offers the same.

    Attributes
    ----------
    group : Ranks
    """

    group: Ranks

    def expands(self, parameters: Parameters) -> bool:
        """Whether there is a one-phonon order: not of frames, rotations, or motion too large."""
        ...

    def steps(self, parameters: Parameters) -> bool:
        """Whether `mode_slopes` and `spring_slopes` are known: of springs, with rotations too."""
        ...

    def mode_slopes(
        self, parameters: Parameters, normals: Floats, modes: Sequence[int]
    ) -> Iterator[Floats]:
        """Derivatives of the intensity with respect to the variances of some modes.

        What a search steps by: to one-phonon order, that is exact for small motion, and at
        0.3-0.5 Å they correlate with the exact ones as 0.9 to 0.99.

        Parameters
        ----------
        parameters : Parameters
            That `moments.can_be_stepped`: with frames or rotations but a lattice's there are none.
        normals : (S, ·) float
            As of `internal_motion`; the first order needs none of them.
        modes : sequence of int
            Which ones; not among the correlated.

        Yields
        ------
        (v,) float
            ∂I/∂σ² of one mode after the other at the voxels `rows`, electrons²/Å²; at σ = 0 it is
            that of the mode that begins to move.
        """
        ...

    def spring_slopes(self, parameters: Parameters, normals: Floats) -> Iterator[Floats]:
        """Derivatives of the intensity by the numbers of springs, in the same approximation.

        What neighbours add is exact but for its dimming: of lengths that of all atoms alike, of
        shapes atom by atom but for high powers of their distances.

        Parameters
        ----------
        parameters, normals
            As of `internal_motion`.

        Yields
        ------
        (v,) float
            ∂I/∂ℓ of one length after the other at the voxels `rows`.
        """
        ...


class MoleculeModel(Diffuse[Intensity], Protocol):
    """Diffuse intensity of one moving molecule.

    What both ways of computing it offer: at the voxels asked for, or on a coarse grid that these
    are interpolated from. A rank computes a part of the voxels, and in the end holds another.

    Attributes
    ----------
    moments : Moments
        Of the transform, at the voxels that this rank computes.
    """

    moments: Moments

    def mode_slopes(self, parameters: Parameters, modes: Sequence[int]) -> Iterator[Intensity]:
        """What more motion along each of some modes does to the intensity, to first order.

        Parameters
        ----------
        parameters : Parameters
            That `moments.can_be_stepped`.
        modes : sequence of int
            Uncorrelated ones.

        Yields
        ------
        Intensity
            Its derivative with respect to the mode's variance, electrons²/Å², at the voxels that
            this rank computes.
        """
        ...

    def rigid_slopes(
        self, parameters: Parameters, normals: Floats, changes: Floats
    ) -> Iterator[Intensity]:
        """What changes of the lattice's covariance do to the intensity, to first order.

        The translation that goes along with no rotation is exact.

        Parameters
        ----------
        parameters, normals
            As of `internal_motion`.
        changes : (P, 6, 6) float
            Of C, symmetric.

        Yields
        ------
        Intensity
            One after the other, at the voxels that this rank computes.
        """
        ...

    def average_transform(
        self, parameters: Parameters, normals: Floats | None, about_A: Floats
    ) -> Complexes:
        """⟨F⟩ dimmed by all motion, about a point (3,) of the molecule's middle, at `rows`: (v,).

        Of the mean structure where there are no normals. All ranks call it.
        """
        ...

    def at_voxels(self, values: Floats) -> Floats:
        """A map at the voxels `rows`, (v,), from this rank's part of a computed one."""
        ...

    def from_voxels(self, values: Floats) -> Floats:
        """The transpose of `at_voxels`, which all ranks call: from (v,) to this rank's part."""
        ...

    def gradient(
        self, slopes: Intensity, parameters: Parameters, normals: Floats, names: tuple[str, ...]
    ) -> dict[str, Floats]:
        """An objective's derivatives by the parameters that the molecule moves by.

        The exact gradient of the intensity as it is sampled and computed; all ranks call it.

        Parameters
        ----------
        slopes : Intensity
            The objective's derivatives by the intensity of `internal_motion`.
        parameters, normals
            As of `internal_motion`.
        names : tuple of str
            Of the parameters asked for; those of the solvent are left at 0.

        Returns
        -------
        dict of (n,) float64
            By name, as many as the parameter has numbers; the same on all ranks.
        """
        ...
