"""What a rigid molecule's motion does to its transform, at the voxels of a map.

Of atoms that are blurred by all that they move by, U_a,

    F = Σ_a f_a e^{−½ qᵀU_a q} e^{iq·(r_a − r₀)},
    S = Σ_a f_a (r_a − c) e^{−½ qᵀU_a q} e^{iq·(r_a − r₀)},
    Q = Σ_a f_a (r_a − c)(r_a − c)ᵀ e^{−½ qᵀU_a q} e^{iq·(r_a − r₀)},

with r₀ the middle of the molecule: ten transforms that vary slowly, which are computed on a grid
as coarse as the molecule is small, and interpolated.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atomic_numbers
from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import share_planes
from hpc_diffuser.parallel.ordered_sums import sum_in_order
from hpc_diffuser.scattering.interpolation import (
    PAIR_WIDTH_A,
    BandGrid,
    Interpolator,
    atom_distances,
    choose_band_grid,
)
from hpc_diffuser.scattering.slab import BLOCK, plane_costs, slab
from hpc_diffuser.scattering.transform import Transform, choose_transform
from hpc_diffuser.scattering.volume import Volume, volume_of_all
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

_NUMBERS = 2**20  # indices of samples are between −½ and ½ of it
_ERROR = 3e-4  # relative rms of the transforms
TRANSFORMS = 10
_FIRST, _SECOND = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)  # xx, yy, zz, xy, xz, yz
_ATOM_WIDTH_A = PAIR_WIDTH_A / np.sqrt(2)


def rigid_band(modes: Modes, grid: HklGrid, d_min: float, motion_A: float) -> BandGrid:
    """The coarse grid that carries them; see `RigidTransforms`."""
    positions = modes.structure.positions
    still = positions - (positions.min(axis=0) + positions.max(axis=0)) / 2
    electrons, width = atomic_numbers(modes.structure), _ATOM_WIDTH_A + motion_A
    distances = atom_distances(still, electrons, width, modes.unit_cell)
    return choose_band_grid(grid, d_min, distances, _ERROR)


class RigidTransforms:
    """F, S and Q of one molecule on a coarse grid, by all ranks of a group.

    Parameters
    ----------
    modes : Modes
    centre : (3,) float, Å
        c.
    grid : HklGrid
        Of the map.
    d_min : float, Å
        Its resolution limit.
    group : Ranks
    transform : {"auto", "direct", "density"}
    factors : AtomFactors or None
        Those that are hardest to draw.
    motion_A : float, Å
        Rms displacement per atom to reckon with.

    Attributes
    ----------
    band : BandGrid
    middle : (3,) float, Å
        r₀.
    """

    def __init__(
        self,
        modes: Modes,
        centre: Floats,
        grid: HklGrid,
        d_min: float,
        group: Ranks,
        transform: str = "auto",
        factors: AtomFactors | None = None,
        motion_A: float = 0.0,
    ):
        positions = modes.structure.positions
        self.middle: Floats = (positions.min(axis=0) + positions.max(axis=0)) / 2
        still = replace(modes.structure, positions=positions - self.middle)
        self._structure, self._centre = modes.structure, centre
        self._weights = self._weights_at(positions)
        self.band: BandGrid = rigid_band(modes, grid, d_min, motion_A)
        coarse = self.band.grid
        costs = plane_costs(coarse, self.band.d_min)
        blocks = np.add.reduceat(costs, np.arange(0, len(costs), BLOCK))
        own = share_planes(blocks, group.size)[group.rank]
        planes = np.flatnonzero(np.isin(np.arange(len(costs)) // BLOCK, own))
        make = choose_transform(still, coarse, self.band.d_min, transform, factors)
        self._transform: Transform = make(still, slab(coarse, self.band.d_min, planes), factors)
        indices = coarse.indices_between(np.inf, self.band.d_min)
        rows: Integers = np.flatnonzero(np.isin(indices[:, 0], planes))
        self._positions = self._transform.slab.position_of(indices[rows])
        self._volume, self._group = Volume(coarse, indices, rows, group), group

    def _weights_at(self, places: Floats) -> Floats:
        """What atoms at some places (N, 3) count in F, S_x, S_y, S_z, Q_xx, …: (10, N)."""
        levers = places - self._centre
        products = (levers[:, _FIRST] * levers[:, _SECOND]).T
        return np.concatenate([np.ones((1, len(levers))), levers.T, products])

    def volumes(self, covariances: Floats, factors: AtomFactors) -> list[tuple[Floats, Floats]]:
        """Real and imaginary part of F, S_x, S_y, S_z, Q_xx, … on the whole coarse grid.

        Parameters
        ----------
        covariances : (N, 3, 3) float, Å²
            U_a.
        factors : AtomFactors
        """
        transform = self._transform.with_factors(factors)
        found = transform.dressed(covariances, self._weights)[:, self._positions]
        return [self._filled(own) for own in found]

    def slopes(
        self, covariances: Floats, factors: AtomFactors, volumes: list[tuple[Floats, Floats]]
    ) -> Floats:
        """The transpose of `volumes`: an objective's derivatives by U_a, on every rank.

        Parameters
        ----------
        covariances, factors
            As of `volumes`.
        volumes : 10 pairs of (H, K, L) float
            Its derivatives by real and imaginary part of each volume; overwritten.

        Returns
        -------
        (N, 3, 3) float64, Å⁻²
        """
        transform = self._transform.with_factors(factors)
        pulls = self._pulls(volumes)
        return self._summed(transform.dressed_slopes(covariances, self._weights, pulls))

    def _pulls(self, volumes: list[tuple[Floats, Floats]]) -> Complexes:
        """The transpose of `_filled`, at the slab's values: (10, V)."""
        pulls = np.zeros((len(volumes), self._transform.slab.size), np.complex64)
        for own, (real, imaginary) in zip(pulls, volumes, strict=True):
            flat = imaginary.reshape(-1)
            flat[: len(flat) // 2] *= -1
            folded = (self._volume.folded(part) for part in (real, imaginary))
            own.real[self._positions], own.imag[self._positions] = folded
        return pulls

    def _summed(self, of_blocks: Floats) -> Floats:
        """The sum of what all ranks' blocks of planes have, (B, N, 3, 3), on every rank."""
        slab, shape = self._transform.slab, of_blocks.shape[1:]
        keys = slab.h[slab.blocks[:-1]] // BLOCK
        parts = of_blocks.reshape(len(keys), int(np.prod(shape)))
        return sum_in_order(self._group, keys, parts).reshape(shape)

    def _filled(self, values: Complexes) -> tuple[Floats, Floats]:
        """A density is real: F of a Friedel mate is the conjugate."""
        real, imaginary = (self._volume.of(part) for part in (values.real, values.imag))
        flat = imaginary.reshape(-1)
        flat[: len(flat) // 2] *= -1
        return real, imaginary


class FromVoxels:
    """The transpose of `AtVoxels` of all ranks, whose voxels may be the same.

    Parameters
    ----------
    transforms : RigidTransforms
    grid : HklGrid
        Of the map.
    indices : (E, 3) int
        h ≥ 0, sorted: as of this rank's `AtVoxels`.
    group : Ranks
        All of them make one.
    """

    def __init__(self, transforms: RigidTransforms, grid: HklGrid, indices: Integers, group: Ranks):
        self._group, self._lengths = group, group.gather_to_all(len(indices))
        numbers = (indices.astype(np.int64) + _NUMBERS // 2) @ [_NUMBERS**2, _NUMBERS, 1]
        every = group.concatenated(numbers, self._lengths)
        unique, self._rows = np.unique(every, return_inverse=True)
        digits = unique // _NUMBERS**2, unique // _NUMBERS % _NUMBERS, unique % _NUMBERS
        whole = np.stack(digits, axis=1) - _NUMBERS // 2
        planes, voxels = np.unique(whole[:, 0], return_counts=True)
        planes = planes[share_planes(voxels, group.size)[group.rank]]
        self._own = np.isin(whole[:, 0], planes)
        holder = grid.holding(whole)
        self._interpolator = Interpolator(transforms.band, holder, whole[self._own])

    def volumes(self, pulls: Complexes) -> list[tuple[Floats, Floats]]:
        """Derivatives by the volumes, from those by F, S and Q at this rank's voxels.

        Parameters
        ----------
        pulls : (10, E) complex
            Multiples of a step: their sums are exact. See `rounding`.
        """
        return [(self._volume(own.real), self._volume(own.imag)) for own in pulls]

    def _volume(self, values: Floats) -> Floats:
        every = self._group.concatenated(np.ascontiguousarray(values), self._lengths)
        total: Floats = np.bincount(self._rows.reshape(-1), every, len(self._own)).astype(float)
        return volume_of_all(self._group, self._interpolator, total[self._own])


class AtVoxels:
    """The transforms at some voxels, interpolated.

    Parameters
    ----------
    transforms : RigidTransforms
    grid : HklGrid
        That the voxels are on.
    indices : (E, 3) int
        h ≥ 0, sorted.
    """

    def __init__(self, transforms: RigidTransforms, grid: HklGrid, indices: Integers):
        self._interpolator = Interpolator(transforms.band, grid, indices)
        self._n = len(indices)

    def of(self, volumes: list[tuple[Floats, Floats]]) -> Complexes:
        """F, S and Q there: (10, E) complex64."""
        found = np.empty((len(volumes), self._n), np.complex64)
        for own, (real, imaginary) in zip(found, volumes, strict=True):
            own.real = self._interpolator.at_voxels(real)
            own.imag = self._interpolator.at_voxels(imaginary)
        return found
