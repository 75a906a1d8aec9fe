"""Crystal symmetry of diffuse intensity: independent molecules add intensities.

With independent motion of the molecules of a cell, the intensity is the sum of theirs. Molecules
related by x' = R x + t have I'(h) = I(h R): the sum is their number times the average of one
molecule's intensity over the Laue mates h W.
"""

import gemmi
import numpy as np

from hpc_diffuser.crystal.lattice import (
    HklGrid,
    asymmetric_unit,
    first_of_friedel_pair,
    laue_operations,
    reciprocal_metric,
    space_group_of,
)
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

# Of the metric: 0.1 % of an edge, 0.06° of an angle.
_TOLERANCE = 2e-3


def grid_operations(grid: HklGrid, space_group: str) -> Integers:
    """The Laue operations W (G, 3, 3) of a grid, which take its sample indices i to i W.

    Raises
    ------
    InputError
        Where the space group is unknown, or does not fit the unit cell or the divisions.
    """
    operations = laue_operations(space_group, grid.unit_cell)
    _check_unit_cell(grid.unit_cell, operations, space_group)
    _check_divisions(grid.divisions, operations, f'space group "{space_group}"')
    return operations


def unique_indices(grid: HklGrid, d_max: float, d_min: float, operations: Integers) -> Integers:
    """One of each set of Laue mates of a grid with d_min ≤ d ≤ d_max (Å): (V, 3) int, sorted.

    It is the canonical one, of which h ≥ 0; sets whose canonical mate is not on the grid are
    left out.
    """
    planes = grid.planes_between(d_max, d_min)
    return np.concatenate([asymmetric_unit(plane, operations) for plane in planes])


def operators(space_group: str, unit_cell: tuple[float, ...] | None) -> tuple[Integers, Floats]:
    """W (Z, 3, 3) and w (Z, 3) of a space group: fractions x of an atom have copies at W x + w.

    Those by centring too, in gemmi's order.

    Raises
    ------
    InputError
        Where gemmi does not know the space group.
    """
    found = list(space_group_of(space_group, unit_cell).operations())
    rotations = np.array([op.rot for op in found]) // gemmi.Op.DEN
    return rotations, np.array([op.tran for op in found]) / gemmi.Op.DEN


def triplet(rotation: Integers, translation: Floats) -> str:
    """An operator W x + w of fractions as `-y,x,z+1/4`, as structure files have them."""
    found = gemmi.Op()
    found.rot = (gemmi.Op.DEN * np.asarray(rotation)).tolist()
    found.tran = np.rint(gemmi.Op.DEN * np.asarray(translation)).astype(int).tolist()
    return str(found.triplet())


def one_of_each_inverse(operations: Integers) -> Integers:
    """Of each two operations W, −W the one whose first element that is not 0 is positive."""
    flat = operations.reshape(-1, 9)
    leading = np.take_along_axis(flat, (flat != 0).argmax(axis=1)[:, None], 1)[:, 0]
    return operations[leading > 0]


def laue_expansion(
    indices: Integers, divisions: tuple[float, float, float], operations: Integers
) -> tuple[Integers, Integers]:
    """Where one molecule's intensity is needed to average it over the Laue mates of samples.

    Parameters
    ----------
    indices : (V, 3) int
        Sample indices.
    divisions : 3 numbers
        Samples per reciprocal-lattice unit.
    operations : (G, 3, 3) int
        Of the Laue class, as `grid_operations` returns them.

    Returns
    -------
    expanded : (E, 3) int
        All Laue mates, one of each Friedel pair: h ≥ 0, sorted, each once.
    mates : (V, G/2) int
        Rows of `expanded`: the mates of each sample. Special positions have some repeatedly.

    Raises
    ------
    InputError
        Where operations mix axes that are divided differently.
    """
    return sample_table(indices, divisions, one_of_each_inverse(operations))


def sample_table(
    indices: Integers, divisions: tuple[float, float, float], operations: Integers
) -> tuple[Integers, Integers]:
    """Where samples come to lie by operations.

    Parameters
    ----------
    indices : (V, 3) int
    divisions : 3 numbers
    operations : (Z, 3, 3) int
        W: rotations of a space group.

    Returns
    -------
    expanded : (E, 3) int
        As of `laue_expansion`.
    mates : (V, Z) int
        Rows of `expanded`: the samples i W, or their Friedel mates.
    """
    _check_divisions(divisions, operations, "the space group")
    reach = _reach(indices, operations)
    # A table of the box that holds all mates: sorted without sorting G/2 times V indices.
    present = np.zeros((reach[0] + 1) * (2 * reach[1] + 1) * (2 * reach[2] + 1), bool)
    for operation in operations:
        present[_place(indices @ operation, reach)] = True
    row = np.cumsum(present, dtype=np.int32) - np.int32(1)
    mates = np.empty((len(indices), len(operations)), np.int32, order="F")
    for column, operation in enumerate(operations):
        mates[:, column] = row[_place(indices @ operation, reach)]
    shape = (reach[0] + 1, 2 * reach[1] + 1, 2 * reach[2] + 1)
    expanded = np.stack(np.unravel_index(np.flatnonzero(present), shape), axis=1)
    return expanded - np.array([0, reach[1], reach[2]]), mates


def expansion_bytes(voxels: int, mates: int, expanded: int, box: int) -> list[float]:
    """Bytes of each of the arrays that `laue_expansion` works with at once.

    Parameters
    ----------
    voxels, mates, expanded : int
        V, G/2 and E.
    box : int
        Points of the grid that holds the expanded samples, of which its tables are half.
    """
    tables = [box / 2, 2 * box]
    return [*tables, 4 * voxels * mates, 8 * expanded, *[24 * expanded] * 3]


def average_over_mates(values: Floats, mates: Integers) -> Floats:
    """Mean over the mates (V, G/2) of values (E,): (V,) float64.

    One mate after the other: in the same order always, and without a copy of all of them.
    """
    total = np.zeros(len(mates))
    for column in mates.T:
        total += values[column]
    mean: Floats = total / mates.shape[1]
    return mean


def spread_over_mates(values: Floats, mates: Integers, n_expanded: int) -> Floats:
    """The transpose of `average_over_mates`: from values (V,) to (E,) float64.

    No two samples are mates: an operation takes them to different places.
    """
    total = np.zeros(n_expanded)
    for column in mates.T:
        total[column] += values
    spread: Floats = total / mates.shape[1]
    return spread


def _reach(indices: Integers, operations: Integers) -> Integers:
    """Largest |index| of the mates along each axis: (3,) int."""
    reach = np.zeros(3, np.int64)
    for operation in operations if len(indices) else ():
        reach = np.maximum(reach, np.abs(indices @ operation).max(axis=0))
    return reach


def _place(indices: Integers, reach: Integers) -> Integers:
    """Places (V,), in a box of 0 ≤ h, |k| and |l| up to `reach`, of one of each Friedel pair."""
    h, k, l = np.where(first_of_friedel_pair(indices)[:, None], indices, -indices).T  # noqa: E741
    place: Integers = (h * (2 * reach[1] + 1) + k + reach[1]) * (2 * reach[2] + 1) + l + reach[2]
    return place


def _check_unit_cell(unit_cell: tuple[float, ...], operations: Integers, space_group: str) -> None:
    """Raise InputError unless all operations preserve lengths: W G* Wᵀ = G*."""
    metric = reciprocal_metric(unit_cell)
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    change = np.abs(operations @ metric @ operations.transpose(0, 2, 1) - metric) / scale
    if change.max() > _TOLERANCE:
        raise InputError(
            f'space group "{space_group}" does not fit the unit cell {list(unit_cell)}: expected '
            "one that its operations preserve to 0.1 %; correct the cell or the space group, "
            'whose name may need its setting, as in "P 1 1 2" or "R 3:H"'
        )


def _check_divisions(
    divisions: tuple[float, float, float], operations: Integers, whose: str
) -> None:
    """Raise InputError where operations mix axes that are divided differently."""
    mixed = (operations != 0).any(axis=0)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        if mixed[i, j] and divisions[i] != divisions[j]:
            raise InputError(
                f"{whose} mixes {'hkl'[i]} and {'hkl'[j]}: expected as many samples per "
                f"reciprocal-lattice unit along both, found {tuple(divisions)}; resample the map, "
                'or give it space group "P 1"'
            )
