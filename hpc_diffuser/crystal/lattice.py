"""Crystal lattices and the grids of Miller indices that diffuse maps are sampled on.

s = h a* + k b* + l c*, |s| = 1/d in Å⁻¹; q = 2πs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

import gemmi
import numpy as np

from hpc_diffuser.system.arrays import Floats, Integers, Mask
from hpc_diffuser.system.errors import InputError

_Number = TypeVar("_Number", int, float)


def fractionalization(unit_cell: tuple[float, ...]) -> Floats:
    """(3, 3) matrix that takes Cartesian Å (PDB convention) to fractional coordinates."""
    return np.array(gemmi.UnitCell(*unit_cell).frac.mat.tolist())


def reciprocal_metric(unit_cell: tuple[float, ...]) -> Floats:
    """(3, 3) matrix G* in Å⁻² with |s|² = hᵀ G* h."""
    m = fractionalization(unit_cell)
    return m @ m.T


def inverse_d_squared(hkl: Floats, unit_cell: tuple[float, ...]) -> Floats:
    """|s|² = 1/d² in Å⁻² at (possibly fractional) Miller indices (..., 3)."""
    s_squared: Floats = np.einsum("...i,ij,...j->...", hkl, reciprocal_metric(unit_cell), hkl)
    return s_squared


def cell_text(unit_cell: Iterable[float]) -> str:
    """A unit cell's six numbers (Å, degrees) as messages tell them."""
    return " ".join(f"{x:g}" for x in unit_cell)


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

    def whole_divisions(self) -> tuple[int, int, int]:
        """The divisions of a map, as ints; raises ValueError where one is no whole number."""
        if any(n != int(n) for n in self.divisions):
            raise ValueError(f"divisions {self.divisions} are those of no map: expected whole ones")
        return along_hkl(int(n) for n in self.divisions)

    def axis(self, i: int) -> Floats:
        """Fractional Miller indices along axis i, 0 to 2 for h, k, l: (2 extent + 1,) float."""
        return np.arange(-self.extent[i], self.extent[i] + 1) / self.divisions[i]

    def metric(self) -> Floats:
        """(3, 3) matrix in Å⁻² with |s|² = iᵀ M i for integer sample indices i."""
        n = np.array(self.divisions)
        return reciprocal_metric(self.unit_cell) / np.outer(n, n)

    def inverse_d_squared(self, indices: Integers) -> Floats:
        """|s|² in Å⁻² at integer sample indices (..., 3)."""
        s_squared: Floats = np.einsum("...i,ij,...j->...", indices, self.metric(), indices)
        return s_squared

    def holding(self, indices: Integers) -> "HklGrid":
        """The grid, enlarged where samples (V, 3) int lie beyond it."""
        ends = zip(self.extent, farthest(indices), strict=True)
        return replace(self, extent=along_hkl(max(pair) for pair in ends))

    def require(self, indices: Integers) -> None:
        """Raise IndexError unless all samples (V, 3) int lie on the grid.

        Their places in arrays are sums with the extent: those of others exist, but are not theirs.
        """
        reach = farthest(indices)
        if any(n > e for n, e in zip(reach, self.extent, strict=True)):
            raise IndexError(f"samples up to {reach} are not on a grid that ends at {self.extent}")

    def indices_between(self, d_max: float, d_min: float) -> Integers:
        """One of each Friedel pair of samples with d_min ≤ d ≤ d_max: (V, 3) int, h ≥ 0, sorted."""
        return np.concatenate(list(self.planes_between(d_max, d_min)))

    def planes_between(self, d_max: float, d_min: float) -> Iterator[Integers]:
        """The same plane by plane, h = 0, 1 ..., each (V, 3) int: never the whole grid of indices.

        Resolution in Å.
        """
        low, high = 1 / d_max**2 * (1 - 1e-12), 1 / d_min**2 * (1 + 1e-12)
        for h in range(self.extent[0] + 1):
            plane = self._plane(h)
            s2 = self.inverse_d_squared(plane)
            yield plane[(s2 >= low) & (s2 <= high) & first_of_friedel_pair(plane)]

    def _plane(self, h: int) -> Integers:
        k, l = np.meshgrid(  # noqa: E741
            *(np.arange(-m, m + 1) for m in self.extent[1:]), indexing="ij"
        )
        return np.stack([np.full_like(k, h), k, l], axis=-1).reshape(-1, 3)


def farthest(indices: Integers) -> tuple[int, int, int]:
    """The largest |h|, |k| and |l| of samples (V, 3) int."""
    ends = indices.max(axis=0, initial=0), -indices.min(axis=0, initial=0)
    return along_hkl(np.maximum(*ends).tolist())


def along_hkl(numbers: Iterable[_Number]) -> tuple[_Number, _Number, _Number]:
    """Three numbers, of h, k and l, as a tuple of these."""
    h, k, l = numbers  # noqa: E741
    return h, k, l


def grid_to_resolution(
    unit_cell: tuple[float, ...], divisions: tuple[float, float, float], d_min: float
) -> HklGrid:
    """The smallest symmetric grid that holds the sphere of resolution `d_min` (Å)."""
    # The sphere's largest h is at s ∥ a: h = s·a = a/d_min.
    reach = np.array(unit_cell[:3]) / d_min * np.array(divisions)
    h, k, l = (int(n) for n in np.floor(reach * (1 + 1e-12)))  # noqa: E741
    return HklGrid(tuple(unit_cell), along_hkl(divisions), (h, k, l))


def first_of_friedel_pair(indices: Integers) -> Mask:
    """Mask of the indices (..., 3) that come first of the pair (hkl, -h-k-l); 000 included."""
    h, k, l = np.moveaxis(indices, -1, 0)  # noqa: E741
    first: Mask = (h > 0) | ((h == 0) & ((k > 0) | ((k == 0) & (l >= 0))))
    return first


@dataclass(frozen=True)
class Centring:
    """Where a cell has lattice points, all of whose molecules have one orientation.

    Attributes
    ----------
    steps : int
        Into which the cell's edges are divided: 2 for A, B, C, F, I; 3 for R on hexagonal axes.
    points : tuple of 3 ints
        In these steps, the origin first: 000 and 111 for I.
    """

    steps: int = 1
    points: tuple[tuple[int, int, int], ...] = ((0, 0, 0),)

    def allows(self, hkl: Floats | Integers) -> Mask:
        """Mask of the integer hkl (..., 3) with a Bragg peak: the others are extinct everywhere."""
        phases = np.asarray(hkl).astype(np.int64) @ np.array(self.points).T
        allowed: Mask = (phases % self.steps == 0).all(axis=-1)
        return allowed


PRIMITIVE = Centring()


def centring(space_group: str, unit_cell: tuple[float, ...] | None = None) -> Centring:
    """Of a space group; raises InputError where gemmi does not know it. See `laue_operations`."""
    vectors = np.array(space_group_of(space_group, unit_cell).operations().cen_ops)
    step = np.gcd.reduce([gemmi.Op.DEN, *vectors.ravel()])
    points = sorted(along_hkl(vector) for vector in (vectors // step).tolist())
    return Centring(int(gemmi.Op.DEN // step), tuple(points))


def nearest_bragg(hkl: Floats, lattice: Centring = PRIMITIVE) -> Floats:
    """The Bragg peak nearest to each fractional hkl, by the length of hkl: (..., 3) float.

    Half-way samples go to the even neighbour, which keeps Friedel mates in mated zones.
    """
    nearest = np.rint(hkl)
    extinct = ~lattice.allows(nearest)
    samples, around = hkl[extinct], nearest[extinct]
    found, least = around.copy(), np.full(len(around), np.inf)
    for offset in product((-1, 0, 1), repeat=3):
        other = around + offset
        distance = np.linalg.norm(samples - other, axis=-1)
        closer = lattice.allows(other) & (distance < least - 1e-9)
        found[closer], least[closer] = other[closer], distance[closer]
    nearest[extinct] = found
    return nearest


def distance_to_bragg(
    indices: Integers, divisions: tuple[float, float, float], lattice: Centring = PRIMITIVE
) -> Floats:
    """Distance, in reciprocal-lattice units, of samples (..., 3) to the nearest Bragg peak."""
    hkl = indices / np.array(divisions)
    distance: Floats = np.linalg.norm(hkl - nearest_bragg(hkl, lattice), axis=-1)
    return distance


def brillouin_zone(
    indices: Integers, divisions: tuple[float, float, float], lattice: Centring = PRIMITIVE
) -> Integers:
    """Integer hkl (..., 3) of the Bragg peaks whose zones samples (..., 3) int lie in.

    A zone is a parallelepiped, if the lattice is primitive.
    """
    return nearest_bragg(indices / np.array(divisions), lattice).astype(np.int64)


def laue_operations(space_group: str, unit_cell: tuple[float, ...] | None = None) -> Integers:
    """(G, 3, 3) integer matrices W: the intensity at h equals that at h W.

    The cell (Å, degrees) decides between hexagonal and rhombohedral axes where the name leaves
    it open ("R 3"); without one they are hexagonal.

    Raises
    ------
    InputError
        Where gemmi does not know the space group.
    """
    group = space_group_of(space_group, unit_cell)
    rotations = np.array([op.rot for op in group.operations()]) // gemmi.Op.DEN
    return np.unique(np.concatenate([rotations, -rotations]), axis=0)


def space_group_of(name: str, unit_cell: tuple[float, ...] | None) -> gemmi.SpaceGroup:
    """Of a name and, where that leaves axes open, a cell (Å, degrees).

    Raises
    ------
    InputError
        Where gemmi does not know the space group.
    """
    alpha, gamma = (unit_cell[3], unit_cell[5]) if unit_cell else (0.0, 0.0)
    group = gemmi.find_spacegroup_by_name(name, alpha, gamma)
    if group is None:
        raise InputError(f'space group "{name}" is unknown: write it like "P 21 21 21"')
    return group


def canonical_mates(indices: Integers, operations: Integers) -> Integers:
    """Each of the integer indices (Z, 3) replaced by the largest of its Laue mates.

    Largest in lexicographic order, which makes it the first of its Friedel pair too. One
    operation after the other: maps have millions of voxels.
    """
    best = indices
    for operation in operations:
        mates = indices @ operation
        best = np.where(_larger(mates, best)[:, None], mates, best)
    return best


def asymmetric_unit(indices: Integers, operations: Integers) -> Integers:
    """Those of the integer indices (Z, 3) that are their own canonical mates.

    Each operation works on what the former ones left: much less than `canonical_mates` does.
    """
    for operation in operations:
        indices = indices[~_larger(indices @ operation, indices)]
    return indices


def _larger(these: Integers, those: Integers) -> Mask:
    """Mask (Z,): these indices come after those in lexicographic order."""
    h, k, l = (these[:, i] - those[:, i] for i in range(3))  # noqa: E741
    later: Mask = (h > 0) | ((h == 0) & ((k > 0) | ((k == 0) & (l > 0))))
    return later


def laue_zones(
    indices: Integers,
    divisions: tuple[int, int, int],
    operations: Integers,
    lattice: Centring = PRIMITIVE,
) -> Integers:
    """Brillouin zone of each sample (V, 3), the same for all Laue mates of the sample.

    Trigonal and hexagonal axes do not map parallelepipeds onto each other: the zone is that of
    the sample's canonical mate, itself replaced by its canonical mate.
    """
    common = int(np.lcm.reduce(divisions))
    mates = canonical_mates(indices * (common // np.array(divisions)), operations)
    return canonical_mates(brillouin_zone(mates, (common,) * 3, lattice), operations)
