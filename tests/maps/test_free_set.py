"""The free set: how near it is to the working set, and blocks that keep a distance."""

from itertools import product

import numpy as np
import pytest
from builders import laue_mates
from random_maps import CELL_OF, OPTIONS, all_indices, as_set, random_map

from hpc_diffuser.crystal.lattice import HklGrid, grid_to_resolution, laue_operations
from hpc_diffuser.io.maps.native import read_target
from hpc_diffuser.maps.free_set import free_blocks, touching
from hpc_diffuser.maps.target import TargetOptions, cut_map, make_target
from hpc_diffuser.system.errors import InputError

AROUND = [offset for offset in product((-1, 0, 1), repeat=3) if any(offset)]


def everywhere(indices: np.ndarray, space_group: str) -> set[tuple[int, ...]]:
    """The voxels with all their mates, by gemmi's operations."""
    return set().union(*(laue_mates(index, space_group) for index in indices.tolist()))


def neighbours(index) -> set[tuple[int, ...]]:
    """The 26 samples around one."""
    return {tuple(int(i + o) for i, o in zip(index, offset, strict=True)) for offset in AROUND}


@pytest.mark.parametrize("space_group", ["P 1", "P 43 21 2", "P 6"])
def test_free_voxels_beside_working_ones_are_counted(space_group):
    """Neighbour by neighbour in sets of indices, mates included; of single zones it is most."""
    target = make_target(random_map(space_group=space_group), OPTIONS)
    working = everywhere(target.indices[~target.free], space_group)
    beside = [bool(neighbours(i) & working) for i in target.indices[target.free]]
    operations = laue_operations(space_group, target.grid.unit_cell)
    found = touching(target.indices, target.free, operations)
    assert found == pytest.approx(np.mean(beside), abs=1e-12)
    assert 0.5 < found <= 1


# Each group with one of them; the others are slow together.
GROUPS_AND_DIVISIONS = [
    pytest.param(group, divisions, marks=[pytest.mark.slow] if (i - j) % 3 else [])
    for i, group in enumerate(CELL_OF)
    for j, divisions in enumerate([(4, 4, 4), (2, 2, 2), (1, 1, 1)])
]


@pytest.mark.parametrize(("space_group", "divisions"), GROUPS_AND_DIVISIONS, ids=str)
def test_blocks_have_no_working_neighbour(space_group, divisions):
    """None of the 26 samples around a free voxel or its mates is a working voxel or its mate."""
    grid = grid_to_resolution(CELL_OF[space_group], divisions, 1.3 if divisions[0] == 1 else 2.2)
    indices = all_indices(grid)
    ours = indices[[tuple(i) == max(laue_mates(i, space_group)) for i in indices.tolist()]]
    free, rim = free_blocks(ours, grid, space_group, 0.3, 1, 3)
    assert free.any() and rim.sum() > free.sum() and not (free & rim).any()
    assert not free.all() and (~free & ~rim).any()
    working = everywhere(ours[~free & ~rim], space_group)
    for index in sorted(everywhere(ours[free], space_group)):
        assert not neighbours(index) & working


def test_blocks_by_hand():
    """In P 1 at 2 samples per unit: block 0 is |h|, |k|, |l| ≤ 3/2, its inside ≤ 1/2, 1 sample.

    One of two blocks that have an inside here, 0 and (1, 0, 0), whose own is 5 ≤ h ≤ 7; and with
    the latter its Friedel mate.
    """
    grid = HklGrid((30.0, 30.0, 30.0, 90.0, 90.0, 90.0), (2, 2, 2), (8, 3, 3))
    indices = all_indices(grid)
    h, others = indices[:, 0], np.abs(indices[:, 1:]).max(axis=1)
    found = {}
    for seed in range(8):
        free, rim = free_blocks(indices, grid, "P 1", 0.5, seed, 3)
        found[bool(free[(indices == 0).all(axis=1)][0])] = free, rim
    free, rim = found[True]
    np.testing.assert_array_equal(free, (np.abs(h) <= 1) & (others <= 1))
    # Half-way, at 3 and −3 samples, to the even block.
    np.testing.assert_array_equal(free | rim, np.abs(h) <= 3)
    free, rim = found[False]
    np.testing.assert_array_equal(free, (np.abs(h) >= 5) & (np.abs(h) <= 7) & (others <= 1))
    np.testing.assert_array_equal(free | rim, np.abs(h) > 3)


def test_larger_blocks_have_more_inside():
    """N − 2 zones along each axis: at 2 samples per unit 2(N − 2) + 1 of the 2N of a block."""
    grid = HklGrid((40.0, 40.0, 40.0, 90.0, 90.0, 90.0), (2, 2, 2), (45, 45, 45))
    indices = all_indices(grid)
    for size in (3, 5):
        free, rim = free_blocks(indices, grid, "P 1", 1.0, 1, size)
        expected = ((2 * (size - 2) + 1) / (2 * size)) ** 3
        assert free.sum() / (free | rim).sum() == pytest.approx(expected, rel=0.1)
    with pytest.raises(InputError, match=r"blocks of 31 zones .* is none: expected a larger"):
        free_blocks(indices, grid, "P 1", 0.01, 1, 31)


def test_target_with_free_blocks():
    """The rims are in neither set; all other voxels are those of the target with single zones."""
    diffuse = random_map((4, 4, 4), missing=0.05)
    options = TargetOptions(9.0, OPTIONS.d_min_A, n_shells=3, free_fraction=0.4, free_block=3)
    cut, whole = cut_map(diffuse, options), make_target(diffuse, TargetOptions(9.0, 2.9))
    assert cut.left_out["in the rims of free blocks"] == len(whole.indices) - len(
        cut.target.indices
    )
    assert as_set(cut.target.indices) < as_set(whole.indices)
    operations = laue_operations("P 1")
    assert touching(cut.target.indices, cut.target.free, operations) == 0
    assert "none of them touches a working one" in cut.said[-1]
    assert touching(whole.indices, whole.free, operations) > 0.5
    assert cut.target.counts().sum() == len(cut.target.indices)


def test_the_option(call, project):
    """`--free-block 3`: fewer voxels, the file is a target; 2 has nothing inside."""
    options = "--d-max", "6", "--d-min", "2.5", "--free-fraction", "0.3"
    result = call("target", "map.nxs", *options, "-o", "zones.h5", folder=project)
    assert "touch a working one, and are correlated with it: --free-block 3" in result.stdout
    result = call("target", "map.nxs", *options, "--free-block", "3", "-o", "b.h5", folder=project)
    assert result.returncode == 0, result.stderr
    assert "in the rims of free blocks" in result.stdout
    blocks, zones = read_target(project / "b.h5"), read_target(project / "zones.h5")
    assert len(blocks.indices) < len(zones.indices) and blocks.free.any()
    result = call("target", "map.nxs", "--free-block", "2", folder=project)
    assert result.returncode == 65 and "expected 3 or more" in result.stderr
