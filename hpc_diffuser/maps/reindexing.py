"""Other indices for a map: which of them its lattice allows, and which fit a structure.

A re-indexing is an integer matrix W of determinant ±1: new indices are old ones, as a row, times W.
Lattice vectors stay what they are, s = h B = h W (W⁻¹ B): the new reciprocal metric is
W⁻¹ G* W⁻ᵀ, the new direct one Wᵀ G W.
"""

import re
from dataclasses import replace
from itertools import product

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, along_hkl, cell_text, reciprocal_metric
from hpc_diffuser.maps.diffuse_map import DiffuseMap, measured_planes
from hpc_diffuser.maps.merging import merged_intensity
from hpc_diffuser.maps.statistics import correlation_sums, pooled_cc
from hpc_diffuser.system.arrays import Floats, Integers, Mask
from hpc_diffuser.system.errors import InputError

TOLERANCE = 0.02  # of an edge; of an angle about two degrees
_TERM = re.compile(r"([+-]?[hkl])([+-][hkl])*")


def parse_reindexing(text: str) -> Integers:
    """W (3, 3) int from the new indices in terms of the old ones, as "k,h,-l".

    Raises
    ------
    InputError
        Unless these are three sums of ±h, ±k, ±l, and every lattice point gets one new index.
    """
    terms = text.replace(" ", "").lower().split(",")
    if len(terms) != 3 or not all(_TERM.fullmatch(term) for term in terms):
        raise InputError(
            f're-indexing "{text}": expected three sums of h, k, l with signs, as in "k,h,-l" or '
            '"h,h+k,l"'
        )
    columns = [[_coefficient(term, letter) for letter in "hkl"] for term in terms]
    reindexing = np.array(columns).T
    determinant = round(np.linalg.det(reindexing))
    if abs(determinant) != 1:
        raise InputError(
            f're-indexing "{text}" has determinant {determinant}: expected 1 or -1, so that the '
            "lattice stays the same"
        )
    return reindexing


def _coefficient(term: str, letter: str) -> int:
    signs = re.findall(rf"([+-]?){letter}", term)
    return sum(-1 if sign == "-" else 1 for sign in signs)


def reindexing_text(reindexing: Integers) -> str:
    """What `parse_reindexing` reads, "k,h,-l", of a matrix (3, 3) int."""
    return ",".join(_term(column) for column in reindexing.T)


def _term(column: Integers) -> str:
    parts = [
        ("-" if n < 0 else "+") + letter
        for letter, n in zip("hkl", column, strict=True)
        for _ in range(abs(n))
    ]
    return "".join(parts).removeprefix("+")


def reindexed(diffuse: DiffuseMap, reindexing: Integers) -> DiffuseMap:
    """A map at its new indices: intensity, errors and halves; the space group's name is kept.

    By a matrix W (3, 3) int: the sample at h moves to h W.

    Raises
    ------
    InputError
        Where axes that are added are divided differently.
    """
    grid = HklGrid(
        reindexed_cell(diffuse.grid.unit_cell, reindexing),
        reindexed_divisions(diffuse.grid.whole_divisions(), reindexing),
        _new_extent(diffuse, reindexing),
    )

    def moved(array: Floats) -> Floats:
        new = np.full(grid.shape, np.nan, array.dtype)
        for old, indices in measured_planes(diffuse):
            place = indices @ reindexing + np.array(grid.extent)
            new[tuple(place.T)] = array[old]
        return new

    halves = diffuse.halves
    return replace(
        diffuse,
        grid=grid,
        intensity=moved(diffuse.intensity),
        errors=None if diffuse.errors is None else moved(diffuse.errors),
        halves=None if halves is None else (moved(halves[0]), moved(halves[1])),
    )


def _new_extent(diffuse: DiffuseMap, reindexing: Integers) -> tuple[int, int, int]:
    """That of the turned box; of sums of axes, which make it larger, that of its measured part."""
    if np.abs(reindexing).sum() == 3:
        reach = np.abs(reindexing).T @ diffuse.grid.extent
    else:
        planes = (np.abs(i @ reindexing).max(axis=0) for _, i in measured_planes(diffuse))
        reach = np.max([np.zeros(3, int), *planes], axis=0)
    return along_hkl(int(n) for n in reach)


def reindexed_divisions(
    divisions: tuple[int, int, int], reindexing: Integers
) -> tuple[int, int, int]:
    """Samples per reciprocal-lattice unit along the new axes, by a matrix (3, 3) int.

    Raises
    ------
    InputError
        Where axes that are added are divided differently.
    """
    new = []
    for column in reindexing.T:
        found = {n for n, c in zip(divisions, column, strict=True) if c}
        if len(found) > 1:
            raise InputError(
                f're-indexing "{reindexing_text(reindexing)}" adds axes that have '
                f"{tuple(divisions)} samples per reciprocal-lattice unit along h, k, l: expected "
                "equal ones; resample the map"
            )
        new.append(int(found.pop()))
    return along_hkl(new)


def reindexed_cell(unit_cell: tuple[float, ...], reindexing: Integers) -> tuple[float, ...]:
    """Edges and angles (6 numbers, Å and degrees) of the new axes, by a matrix (3, 3) int."""
    metric = reindexing.T @ _direct_metric(unit_cell) @ reindexing
    edges = np.sqrt(np.diag(metric))
    cosines = np.array([metric[i, j] / (edges[i] * edges[j]) for i, j in ((1, 2), (0, 2), (0, 1))])
    return tuple(round(float(x), 9) for x in (*edges, *np.degrees(np.arccos(cosines))))


def same_lattice(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Edges equal to 2 %, and angles as much."""
    return bool(_alike(_direct_metric(one)[None], _direct_metric(other))[0])


def compatible_reindexings(
    map_cell: tuple[float, ...], structure_cell: tuple[float, ...]
) -> list[Integers]:
    """All W, (3, 3) int of −1, 0 and 1, after which a map's cell is the structure's, to 2 %.

    Cells in Å and degrees.

    Of W and −W, which Friedel's law makes the same, the one that keeps the hand of the axes.
    Simple ones come first.
    """
    every = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    every = every[np.rint(np.linalg.det(every)) == 1]
    metrics = every.transpose(0, 2, 1) @ _direct_metric(map_cell) @ every
    return sorted(every[_alike(metrics, _direct_metric(structure_cell))], key=_complexity)


def distinct_reindexings(reindexings: list[Integers], operations: Integers) -> list[Integers]:
    """The first of each set that a Laue class makes the same: of all W R, R of the class.

    W (3, 3) int, and the class's operations (G, 3, 3) int.
    """
    distinct, seen = [], set()
    for reindexing in reindexings:
        if reindexing.tobytes() not in seen:
            distinct.append(reindexing)
            seen |= {(reindexing @ operation).tobytes() for operation in operations}
    return distinct


def reindexing_cc(
    diffuse: DiffuseMap,
    reindexing: Integers,
    operations: Integers,
    indices: Integers,
    calculated: Floats,
    shells: Integers,
) -> float:
    """CC of a re-indexed map with a calculated one, pooled after shell means are subtracted.

    The map is not moved: what it has at new indices h R lies at h R W⁻¹.

    Parameters
    ----------
    diffuse : DiffuseMap
        With its old indices.
    reindexing : (3, 3) int
    operations : (G, 3, 3) int
        Of the Laue class, for new indices.
    indices : (V, 3) int
        New sample indices, one of each set of Laue mates.
    calculated : (V,) float
        Average over Laue mates.
    shells : (V,) int
    """
    back = np.rint(np.linalg.inv(reindexing)).astype(np.int64)
    measured = merged_intensity(diffuse.intensity, indices, operations @ back)
    there = np.isfinite(measured) & np.isfinite(calculated)
    n_shells = int(shells.max()) + 1
    sums = correlation_sums(measured[there], calculated[there], None, shells[there], n_shells)
    return pooled_cc(sums)


def _direct_metric(unit_cell: tuple[float, ...]) -> Floats:
    return np.linalg.inv(reciprocal_metric(unit_cell))


def _alike(metrics: Floats, metric: Floats) -> Mask:
    """Mask (M,) of the direct metrics (M, 3, 3) that are another one, within the tolerance."""
    edges = np.sqrt(np.diag(metric))
    change = np.abs(metrics - metric) / np.outer(edges, edges)
    alike: Mask = change.max(axis=(1, 2)) <= 2 * TOLERANCE
    return alike


def _complexity(reindexing: Integers) -> tuple[int, int, int, str]:
    """Few terms, then few signs, then axes in place."""
    return (
        int(np.abs(reindexing).sum()),
        int((reindexing < 0).sum()),
        -int((np.diag(reindexing) != 0).sum()),
        reindexing_text(reindexing),
    )


def in_crystal(
    diffuse: DiffuseMap, crystal: tuple[tuple[float, ...], str], of_map: bool = False
) -> DiffuseMap:
    """A map with exactly this cell and space group, a structure's or a measured map's.

    Raises
    ------
    InputError
        Where its own cell is another one, beyond 2 %.
    """
    unit_cell, space_group = crystal
    if not same_lattice(diffuse.grid.unit_cell, unit_cell):
        raise _other_cell(diffuse.grid.unit_cell, unit_cell, of_map)
    grid = replace(diffuse.grid, unit_cell=unit_cell)
    return replace(diffuse, grid=grid, space_group=space_group)


def _other_cell(
    found: tuple[float, ...], expected: tuple[float, ...], of_map: bool = False
) -> InputError:
    if of_map:
        return InputError(
            f"unit cell {cell_text(found)} is not the measured map's {cell_text(expected)}: "
            "expected them to agree to 2 %: give the map that is calculated for this crystal"
        )
    return InputError(
        f"unit cell {cell_text(found)} is not the structure's {cell_text(expected)}: expected "
        "them to agree to 2 %; correct --cell or --structure, or try --reindex search"
    )
