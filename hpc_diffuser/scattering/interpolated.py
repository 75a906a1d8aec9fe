"""A molecule's intensity from a coarser grid, and whether that is cheaper than its own voxels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hpc_diffuser.crystal.atom_factors import atomic_numbers
from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import share_planes
from hpc_diffuser.scattering.intensity import Intensity
from hpc_diffuser.scattering.interpolation import (
    PAIR_WIDTH_A,
    BandGrid,
    Interpolator,
    choose_band_grid,
    pair_separations,
)
from hpc_diffuser.scattering.models import MoleculeModel
from hpc_diffuser.scattering.molecule import Computation, DirectModel
from hpc_diffuser.scattering.slab import plane_costs
from hpc_diffuser.scattering.volume import Volume, volume_of_all
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

INTERPOLATION_ERROR = 5e-4  # relative rms of the intensity: 1 − CC below 1e-6, sampling's is 1e-4


class InterpolatedModel:
    """The same intensity, computed on a coarse grid and interpolated to the samples asked for.

    Every rank of the group interpolates its share of the target's planes, from the coarse
    intensity of all ranks.

    Parameters
    ----------
    modes, grid, indices, group, how
        As of `DirectModel`, but for any indices.
    band : BandGrid

    Attributes
    ----------
    coarse : DirectModel
        The model on the band grid.
    moments : Moments
        Of the coarse model.
    rows : (v,) int
        Which of the V voxels this rank interpolates.
    """

    def __init__(
        self,
        modes: Modes,
        grid: HklGrid,
        indices: Integers,
        group: Ranks,
        band: BandGrid,
        how: Computation,
    ):
        self.band = band
        self._group = group
        coarse_indices = band.grid.indices_between(np.inf, band.d_min)
        self.coarse = DirectModel(modes, band.grid, coarse_indices, group, how)
        self.moments = self.coarse.moments
        if how.liquid_gamma_A:
            self._volume = self.coarse.volume
        else:
            self._volume = Volume(band.grid, coarse_indices, self.coarse.rows, group)
        planes, voxels = np.unique(indices[:, 0], return_counts=True)
        own = planes[share_planes(voxels, group.size)[group.rank]]
        self.rows: Integers = np.flatnonzero(np.isin(indices[:, 0], own))
        self._interpolator = Interpolator(band, grid, indices[self.rows])

    def internal_motion(self, parameters: Parameters, normals: Floats) -> Intensity:
        """This rank's part of the coarse intensity; see `DirectModel`."""
        return self.coarse.internal_motion(parameters, normals)

    def rigid(self, parameters: Parameters) -> Intensity:
        """The same of the mean structure; see `DirectModel`."""
        return self.coarse.rigid(parameters)

    def mode_slopes(self, parameters: Parameters, modes: Sequence[int]) -> Iterator[Intensity]:
        """Slopes of the coarse intensity; see `DirectModel`."""
        return self.coarse.mode_slopes(parameters, modes)

    def rigid_slopes(
        self, parameters: Parameters, normals: Floats, changes: Floats
    ) -> Iterator[Intensity]:
        """The same along changes of the lattice's C; see `DirectModel`."""
        return self.coarse.rigid_slopes(parameters, normals, changes)

    def frame_slopes(self, parameters: Parameters, normals: Floats) -> Iterator[Intensity]:
        """The same by frames' weights; see `DirectModel`."""
        return self.coarse.frame_slopes(parameters, normals)

    def average_transform(
        self, parameters: Parameters, normals: Floats | None, about_A: Floats
    ) -> Complexes:
        """⟨F⟩ at the voxels `rows`, interpolated; see `MoleculeModel`.

        About the middle it varies more slowly than the intensity.
        """
        coarse = self.coarse.average_transform(parameters, normals, about_A)
        imaginary = self._volume.of(coarse.imag)
        flat = imaginary.reshape(-1)
        flat[: len(flat) // 2] *= -1  # F of a Friedel mate is the conjugate
        real = self._volume.of(coarse.real)
        at_voxels = self._interpolator.at_voxels
        found: Complexes = at_voxels(real) + 1j * at_voxels(imaginary)
        return found

    def at_voxels(self, coarse: Floats) -> Floats:
        """The voxels `rows` from this rank's part of a coarse map."""
        return self._interpolator.at_voxels(self._volume.of(coarse))

    def gradient(
        self, slopes: Intensity, parameters: Parameters, normals: Floats, names: tuple[str, ...]
    ) -> dict[str, Floats]:
        """Of the coarse model; see `MoleculeModel`."""
        return self.coarse.gradient(slopes, parameters, normals, names)

    def from_voxels(self, values: Floats) -> Floats:
        """The transpose of `at_voxels`: each rank gives its voxels and gets its coarse values."""
        return self._volume.folded(volume_of_all(self._group, self._interpolator, values))


def molecule_model(
    modes: Modes, grid: HklGrid, indices: Integers, group: Ranks, how: Computation
) -> MoleculeModel:
    """The cheaper model of one molecule at these samples, or the one asked for.

    Parameters
    ----------
    modes, grid, indices, group, how
        As of `DirectModel`, but for any indices.
    """
    band = computed_band(modes, grid, indices, how)
    if band is None:
        return DirectModel(modes, grid, indices, group, how)
    return InterpolatedModel(modes, grid, indices, group, band, how)


def liquid_margin(gamma_A: float) -> float:
    """How far beyond the resolution limit liquid-like motion needs the intensity: Å⁻¹.

    What is convolved at the limit comes from beyond it, as far as the kernel K_γ is wide: 0.3/γ,
    of which interpolation's own margin makes up for 0.03. That is enough for what varies with
    direction down to γ = 3 Å; shorter ones get no more. The mean over all directions does not
    depend on it: see `liquid_level`.
    """
    return max(0.0, 0.3 / max(gamma_A, 3.0) - 0.03)


def computed_band(
    modes: Modes, grid: HklGrid, indices: Integers, how: Computation
) -> BandGrid | None:
    """The coarse grid that a model is interpolated from; None where it is computed directly."""
    if how.grid == "target" and not how.liquid_gamma_A:
        return None
    d_min = float(1 / np.sqrt(grid.inverse_d_squared(indices).max()))
    direct_cost = plane_costs(grid, d_min)[np.unique(indices[:, 0])].sum()
    if how.liquid_gamma_A:
        d_min = 1 / (1 / d_min + liquid_margin(how.liquid_gamma_A))
    electrons = atomic_numbers(modes.structure)
    positions, spread_A = modes.structure.positions, how.motion_A + PAIR_WIDTH_A
    separations = pair_separations(positions, electrons, spread_A, modes.unit_cell)
    band = choose_band_grid(grid, d_min, separations, INTERPOLATION_ERROR)
    dear = plane_costs(band.grid, band.d_min).sum() > 0.8 * direct_cost
    return None if how.grid == "auto" and dear and not how.liquid_gamma_A else band


def band_bytes(voxels: int) -> list[float]:
    """Bytes of each of the arrays that `computed_band` works with: the limit, h of every voxel."""
    return [8 * voxels, 8 * voxels]


def rows_bytes(voxels: int) -> list[float]:
    """The same of an `InterpolatedModel` that looks which of all voxels are its own."""
    return [voxels, 8 * voxels, 8 * voxels]
