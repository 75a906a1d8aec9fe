"""What both ways of computing one moving molecule's intensity offer to a model of the crystal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.intensity import Intensity
from hpc_diffuser.scattering.moments import Moments
from hpc_diffuser.system.arrays import Complexes, Floats, Integers


class MoleculeModel(Protocol):
    """Diffuse intensity of one moving molecule, on the ranks of a group.

    What both ways of computing it offer: at the voxels asked for, or on a coarse grid that these
    are interpolated from. A rank computes a part of the voxels, and in the end holds another.

    Attributes
    ----------
    moments : Moments
        Of the transform, at the voxels that this rank computes.
    rows : (v,) int
        Which of the V voxels asked for this rank holds the intensity of; every voxel is one
        rank's.
    """

    moments: Moments
    rows: Integers

    def internal_motion(self, parameters: Parameters, normals: Floats) -> Intensity:
        """Intensity with the internal motion sampled.

        Parameters
        ----------
        parameters : Parameters
        normals : (S, ·) float
            Standard normal points, the same on all ranks; see `ensemble.ensemble_points`.

        Returns
        -------
        Intensity
            In electrons², at the voxels that this rank computes.
        """
        ...

    def rigid(self, parameters: Parameters) -> Intensity:
        """Intensity of the mean structure without sampled motion; see above."""
        ...

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

    def frame_slopes(self, parameters: Parameters, normals: Floats) -> Iterator[Intensity]:
        """What more weight of each of an ensemble's frames does to the intensity; exact.

        Parameters
        ----------
        parameters, normals
            As of `internal_motion`.

        Yields
        ------
        Intensity
            Its derivative by the weight of one frame after the other, where all add up to 1, at
            the voxels that this rank computes.
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
