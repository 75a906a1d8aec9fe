"""The range that is worth fitting: of maps whose mates agree as far as is known."""

import numpy as np
import pytest

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.statistics import inverse_d_planes
from hpc_diffuser.maps.usable_range import usable_range

CELL = (40.0, 40.0, 40.0, 90.0, 90.0, 90.0)
END_A = 2.3


def friedel_map(noise, begins_A=np.inf) -> DiffuseMap:
    """Friedel mates of variance 1 in common, and `noise(s)` (Å⁻¹) their own; of P 1."""
    grid = grid_to_resolution(CELL, (2, 2, 2), END_A)
    random, s = np.random.default_rng(1), np.stack([*inverse_d_planes(grid)])
    common = random.normal(size=grid.shape)
    own = noise(s) * random.normal(size=grid.shape)
    values = (common + common[::-1, ::-1, ::-1]) / np.sqrt(2) + own
    values[(s > 1 / END_A) | (s < 1 / begins_A)] = np.nan
    return DiffuseMap(grid, values.astype(np.float32), "P 1")


def test_ends_where_mates_no_longer_agree():
    """The CC of mates is 1 / (1 + noise²): 0.8 to 0.3 Å⁻¹, 0.2 beyond; a shell is 0.01 wide."""
    found = usable_range(friedel_map(lambda s: np.where(s < 0.3, 0.5, 2.0)))
    assert found.d_max_A == 10.0
    assert 1 / found.d_min_A == pytest.approx(0.3, abs=0.01)
    assert found.high == "beyond, mates or halves agree to less than CC 0.5"


def test_a_bad_shell_on_the_way_ends_nothing():
    """As an ice ring leaves one."""
    found = usable_range(friedel_map(lambda s: np.where(abs(s - 0.3) < 0.01, 9.0, 0.5)))
    assert found.d_min_A == pytest.approx(END_A, abs=0.02) and "agree so far" in found.high


@pytest.mark.parametrize(
    "begins_A, d_max_A, said",
    [(30, 10, "reaches 10 Å"), (6, 6, "where the map begins"), (3.0, 3.3, "no further down")],
)
def test_begins_as_the_map_does(begins_A, d_max_A, said):
    """At 10 Å, where it is measured, or at the paper's 3.3 Å."""
    found = usable_range(friedel_map(lambda s: 0.3, begins_A))
    assert 1 / found.d_max_A == pytest.approx(1 / d_max_A, abs=0.011) and said in found.low


def test_nothing_agrees():
    """The map's end, and it is said."""
    found = usable_range(friedel_map(lambda s: 30.0))
    assert found.d_min_A == pytest.approx(END_A, abs=0.02) and "agree nowhere" in found.high


def test_no_mates():
    """Half of the sphere in P 1: there is nothing to compare."""
    full = friedel_map(lambda s: 0.3)
    values = full.intensity.copy()
    values[: values.shape[0] // 2 + 1] = np.nan
    found = usable_range(DiffuseMap(full.grid, values, "P 1"))
    assert found.d_min_A == pytest.approx(END_A, abs=0.02) and "no mates or halves" in found.high
