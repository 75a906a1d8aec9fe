"""Crystal lattices and the grids of Miller indices that diffuse maps are sampled on.

s = h a* + k b* + l c*, |s| = 1/d in Å⁻¹; q = 2πs.
"""

from dataclasses import dataclass

import gemmi
import numpy as np

from hpc_diffuser.errors import InputError


def fractionalization(unit_cell: tuple[float, ...]) -> np.ndarray:
    """(3, 3) matrix that takes Cartesian Å (PDB convention) to fractional coordinates."""
    return np.array(gemmi.UnitCell(*unit_cell).frac.mat.tolist())


def reciprocal_metric(unit_cell: tuple[float, ...]) -> np.ndarray:
    """(3, 3) matrix G* in Å⁻² with |s|² = hᵀ G* h."""
    m = fractionalization(unit_cell)
    return m @ m.T


def inverse_d_squared(hkl: np.ndarray, unit_cell: tuple[float, ...]) -> np.ndarray:
    """|s|² = 1/d² in Å⁻² at (possibly fractional) Miller indices (..., 3)."""
    return np.einsum("...i,ij,...j->...", hkl, reciprocal_metric(unit_cell), hkl)


def check_unit_cell(unit_cell: tuple[float, ...], where: str) -> None:
    """Raise InputError unless the six numbers (Å, degrees) span a volume."""
    expected = f"{where}: expected a, b, c > 0 in Å and three possible angles in degrees"
    if len(unit_cell) != 6 or not np.all(np.isfinite(unit_cell)) or min(unit_cell) <= 0:
        raise InputError(f"{expected}, found {list(unit_cell)}")
    cosines = np.cos(np.radians(unit_cell[3:]))
    gram = 1 + 2 * np.prod(cosines) - np.sum(cosines**2)
    if max(unit_cell[3:]) >= 180 or gram <= 1e-6:
        raise InputError(f"{expected}, found {list(unit_cell)}")


def same_unit_cell(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Equal to 0.1 % in the lengths and 0.1° in the angles."""
    return bool(
        np.allclose(a[:3], b[:3], rtol=1e-3, atol=0) and np.allclose(a[3:], b[3:], rtol=0, atol=0.1)
    )


@dataclass(frozen=True)
class HklGrid:
    """Points (i/n_h, j/n_k, l/n_l) of reciprocal space, |i| ≤ extent, symmetric about 000.

    Attributes
    ----------
    unit_cell : 6 floats, Å and degrees
    divisions : 3 numbers
        Samples per reciprocal-lattice unit along h, k, l ("oversampling", ndiv): whole numbers
        in a map, any in a grid that is only computed on.
    extent : 3 ints
        Largest index of a sample along each axis; arrays have 2·extent + 1 points.
    """

    unit_cell: tuple[float, ...]
    divisions: tuple[float, float, float]
    extent: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Points along h, k, l."""
        h, k, l = self.extent  # noqa: E741
        return 2 * h + 1, 2 * k + 1, 2 * l + 1

    def axis(self, i: int) -> np.ndarray:
        """Fractional Miller indices along axis i."""
        return np.arange(-self.extent[i], self.extent[i] + 1) / self.divisions[i]

    def metric(self) -> np.ndarray:
        """(3, 3) matrix in Å⁻² with |s|² = iᵀ M i for integer sample indices i."""
        n = np.array(self.divisions)
        return reciprocal_metric(self.unit_cell) / np.outer(n, n)

    def inverse_d_squared(self, indices: np.ndarray) -> np.ndarray:
        """|s|² in Å⁻² at integer sample indices (..., 3)."""
        return np.einsum("...i,ij,...j->...", indices, self.metric(), indices)

    def indices_between(self, d_max: float, d_min: float) -> np.ndarray:
        """One of each Friedel pair of samples with d_min ≤ d ≤ d_max: (V, 3) int, h ≥ 0, sorted.

        Computed plane by plane: the whole grid of indices never exists.
        """
        low, high = 1 / d_max**2 * (1 - 1e-12), 1 / d_min**2 * (1 + 1e-12)
        planes = []
        for h in range(self.extent[0] + 1):
            plane = self._plane(h)
            s2 = self.inverse_d_squared(plane)
            planes.append(plane[(s2 >= low) & (s2 <= high) & first_of_friedel_pair(plane)])
        return np.concatenate(planes)

    def _plane(self, h: int) -> np.ndarray:
        k, l = np.meshgrid(  # noqa: E741
            *(np.arange(-m, m + 1) for m in self.extent[1:]), indexing="ij"
        )
        return np.stack([np.full_like(k, h), k, l], axis=-1).reshape(-1, 3)


def grid_to_resolution(
    unit_cell: tuple[float, ...], divisions: tuple[int, int, int], d_min: float
) -> HklGrid:
    """The smallest symmetric grid that holds the sphere of resolution `d_min` (Å)."""
    # The sphere's largest h is at s ∥ a: h = s·a = a/d_min.
    reach = np.array(unit_cell[:3]) / d_min * np.array(divisions)
    h, k, l = (int(n) for n in np.floor(reach * (1 + 1e-12)))  # noqa: E741
    return HklGrid(tuple(unit_cell), tuple(divisions), (h, k, l))


def first_of_friedel_pair(indices: np.ndarray) -> np.ndarray:
    """Mask of the indices (..., 3) that come first of the pair (hkl, -h-k-l); 000 included."""
    h, k, l = np.moveaxis(indices, -1, 0)  # noqa: E741
    return (h > 0) | ((h == 0) & ((k > 0) | ((k == 0) & (l >= 0))))


def distance_to_bragg(indices: np.ndarray, divisions: tuple[int, int, int]) -> np.ndarray:
    """Distance, in reciprocal-lattice units, to the nearest lattice point: a length in hkl."""
    hkl = indices / np.array(divisions)
    return np.linalg.norm(hkl - np.rint(hkl), axis=-1)


def brillouin_zone(indices: np.ndarray, divisions: tuple[int, int, int]) -> np.ndarray:
    """Integer hkl of the Bragg peak whose zone (a parallelepiped) a sample lies in.

    Half-way samples go to the even neighbour, which keeps Friedel mates in mated zones.
    """
    return np.rint(indices / np.array(divisions)).astype(np.int64)


def laue_operations(space_group: str) -> np.ndarray:
    """(G, 3, 3) integer matrices W: the intensity at h equals that at h W.

    Raises
    ------
    InputError
        Where gemmi does not know the space group.
    """
    group = gemmi.find_spacegroup_by_name(space_group)
    if group is None:
        raise InputError(f'space group "{space_group}" is unknown: write it like "P 21 21 21"')
    rotations = np.array([op.rot for op in group.operations()]) // gemmi.Op.DEN
    return np.unique(np.concatenate([rotations, -rotations]), axis=0)


def canonical_mates(indices: np.ndarray, operations: np.ndarray) -> np.ndarray:
    """Each of the integer indices (Z, 3) replaced by the largest of its Laue mates.

    Largest in lexicographic order. One operation after the other: maps have millions of voxels.
    """
    best = indices
    for operation in operations:
        mates = indices @ operation
        # The first index in which two mates differ decides.
        differ = mates != best
        first = differ.argmax(axis=1)[:, None]
        larger = np.take_along_axis(mates, first, 1) > np.take_along_axis(best, first, 1)
        best = np.where(larger, mates, best)
    return best


def laue_zones(
    indices: np.ndarray, divisions: tuple[int, int, int], operations: np.ndarray
) -> np.ndarray:
    """Brillouin zone of each sample (V, 3), the same for all Laue mates of the sample.

    Trigonal and hexagonal axes do not map parallelepipeds onto each other: the zone is that of
    the sample's canonical mate, itself replaced by its canonical mate.
    """
    common = int(np.lcm.reduce(divisions))
    mates = canonical_mates(indices * (common // np.array(divisions)), operations)
    return canonical_mates(brillouin_zone(mates, (common,) * 3), operations)
