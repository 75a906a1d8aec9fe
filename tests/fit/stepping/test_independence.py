"""How many independent numbers a target is, of noise whose correlation is known."""

import numpy as np
import pytest
from random_maps import CELL_OF

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import TargetConfig
from hpc_diffuser.fit.stepping.independence import Independence, expected_numbers
from hpc_diffuser.maps.target import Target
from hpc_diffuser.parallel.communicator import Ranks


class Toy:
    """A target and slopes that are alike at so many neighbours along h; one rank."""

    def __init__(self, alike: int, d_min: float = 1.6):
        rng = np.random.default_rng(3)
        grid = grid_to_resolution(CELL_OF["P 1"], (3, 3, 3), d_min)
        self.indices = indices = grid.indices_between(8.0, d_min)
        places = indices.copy()
        places[:, 0] = (indices[:, 0] + 1) // alike  # in threes: those of a zone
        _, numbers = np.unique(places, axis=0, return_inverse=True)
        numbers = numbers.reshape(-1)
        self.fields = rng.normal(size=(6, numbers.max() + 1))[:, numbers]
        edges, free = np.linspace(1 / 8, 1 / d_min, 4), np.zeros(len(indices), bool)
        self.calculated = self.fields[0]
        y = self.fields[0] + self.fields[1]
        self.target = Target(grid, indices, y, None, free, edges, "P 1")
        self.group, self.rows = Ranks(), np.arange(len(indices))

    def measured(self) -> float:
        found = Independence(self.target, TargetConfig(), self)
        columns = enumerate(self.fields[2:])
        assert [i for i, _ in found.beside(columns, 4)] == [0, 1, 2, 3]
        return found.of(self.calculated)


@pytest.mark.parametrize("alike", [1, 3])
def test_so_many_as_differ(alike):
    """Of voxels that are alike in threes, a third; to what a few hundred zones tell."""
    toy = Toy(alike)
    assert toy.measured() * alike / len(toy.indices) == pytest.approx(1, abs=0.25)


def test_few_zones_tell_nothing():
    """A fifteenth at seven samples a unit is expected then, and never more than there are."""
    toy = Toy(1, d_min=6.5)
    assert toy.measured() == expected_numbers(toy.target)
