"""Central sections from an asymmetric unit: against mates by gemmi's operations, one by one."""

import numpy as np
import pytest
from builders import laue_mates
from random_maps import CELL_OF, OPTIONS, random_map

from hpc_diffuser.crystal.lattice import laue_operations
from hpc_diffuser.maps.sections import central_sections, distinct_sections, in_plane
from hpc_diffuser.maps.target import make_target


@pytest.mark.parametrize("space_group", CELL_OF)
def test_sections_hold_all_mates(space_group):
    """Every mate of every voxel that lies in the plane, and nothing else."""
    target = make_target(random_map(space_group=space_group), OPTIONS)
    operations = laue_operations(space_group, target.grid.unit_cell)
    values = np.stack([target.intensity, np.arange(len(target.intensity), dtype=float)])
    for across in range(3):
        found = central_sections(target.grid, target.indices, values, operations, across)
        u, v = in_plane(across)
        expected = np.full_like(found, np.nan)
        extent = target.grid.extent
        for row, index in enumerate(target.indices.tolist()):
            for mate in laue_mates(index, space_group):
                i, j = mate[u] + extent[u], mate[v] + extent[v]
                if mate[across] == 0 and 0 <= i < found.shape[1] and 0 <= j < found.shape[2]:
                    expected[:, i, j] = values[:, row]
        assert np.isfinite(expected).any()
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("space_group", "expected"),
    [
        ("P 1", (2, 1, 0)),
        ("P 1 21 1", (2, 1, 0)),
        ("P 21 21 21", (2, 1, 0)),
        ("P 41", (2, 1)),
        ("P 43 21 2", (2, 1)),
        ("P 6", (2, 1)),
        ("R 3:H", (2, 1)),
        ("I 2 3", (2,)),
    ],
)
def test_sections_that_symmetry_makes_equal_are_shown_once(space_group, expected):
    """hk0, h0l and 0kl in a general crystal, two with an axis that turns a onto b, one if cubic."""
    assert distinct_sections(laue_operations(space_group, CELL_OF[space_group])) == expected
