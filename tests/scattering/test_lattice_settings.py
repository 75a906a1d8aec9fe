"""Springs between molecules in settings that are not the usual ones, against crystals by hand.

Axes that are named otherwise, centred and rhombohedral cells, cells whose molecules touch
themselves across twofold axes, samples that are not alike along a, b and c.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from builders import random_structure
from crystals_by_hand import CrystalByHand

from hpc_diffuser.crystal.lattice import centring, distance_to_bragg, grid_to_resolution
from hpc_diffuser.motion.lattice.correlations import Correlations, zone_divisions
from hpc_diffuser.motion.lattice.rigid_lattice import RigidLattice, rigid_lattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

CRYSTALS = {
    "P 1": ((7.6, 8.0, 8.4, 82.0, 101.0, 105.0), (3, 2, 4)),
    "P 1 1 21": ((9.2, 8.0, 10.0, 90.0, 90.0, 104.0), (3, 3, 2)),
    "I 1 2 1": ((14.0, 9.0, 15.0, 90.0, 98.0, 90.0), (2, 3, 2)),
    "A 1 2 1": ((14.0, 9.0, 15.0, 90.0, 98.0, 90.0), (2, 3, 2)),
    "P 21212(a)": ((11.0, 10.0, 11.0, 90.0, 90.0, 90.0), (2, 2, 3)),
    "C 2 2 21": ((17.0, 16.0, 17.0, 90.0, 90.0, 90.0), (2, 2, 2)),
    "R 3:R": ((11.0, 11.0, 11.0, 83.0, 83.0, 83.0), (2, 2, 2)),
    "R 3:H": ((17.0, 17.0, 16.0, 90.0, 90.0, 120.0), (2, 2, 2)),
    "P 65 2 2": ((16.0, 16.0, 26.0, 90.0, 90.0, 120.0), (2, 2, 2)),
    "P 21 3": ((18.0, 18.0, 18.0, 90.0, 90.0, 90.0), (2, 2, 2)),
}
REACH_A, D_MIN = 5.0, 2.5


def molecule(n_atoms=10, radius=3.3):
    structure = random_structure(np.random.default_rng(1), n_atoms, radius, ("C", "N", "O", "S"))
    return replace(structure, positions=structure.positions + np.array([3.0, 2.5, 1.5]))


class Model:
    """What the program makes of a crystal by hand."""

    def __init__(self, crystal: CrystalByHand):
        self.crystal = crystal
        self.lattice = with_covariance_of(crystal)
        none = np.empty((0, len(crystal.structure), 3)), np.empty(0)
        self.modes = Modes(
            crystal.structure, *none, crystal.cell, crystal.group, lattice=self.lattice
        )

    def calculated(self, grid, indices, transform="direct") -> np.ndarray:
        how = Computation(0.3, "target", transform)
        model = forward_model(self.modes, grid, indices, Ranks(), how)
        springs = {"lattice_spring_A": self.crystal.length, "lattice": self.lattice}
        normals = normal_samples("sobol", 256, 3, generator(1))
        return model.internal_motion(Parameters(np.empty(0), **springs), normals)


def with_covariance_of(crystal: CrystalByHand) -> RigidLattice:
    """The lattice, with C(R) of the few cells in place of averages over the Brillouin zone."""
    of = crystal.structure, crystal.cell, crystal.group
    lattice = rigid_lattice(*of, contact_A=crystal.reach_A)
    frames = crystal.own_frames()
    z = crystal.z
    own = np.mean([frames[0, m, :, m] for m in range(z)], axis=0)
    values = frames.reshape(*crystal.cells, 6 * z, 6 * z)
    lattice._covariances[crystal.length,] = own
    found = Correlations(values, lattice.springs.packing.places)
    for divisions in (crystal.cells, zone_divisions(crystal.cells)):
        lattice._correlations[(crystal.length,), divisions] = found
    return lattice


@cache
def by_hand(group: str, rms_A: float = 0.3) -> CrystalByHand:
    cell, cells = CRYSTALS[group]
    return CrystalByHand(molecule(), cell, group, cells, REACH_A, rms_A)


def between_peaks(crystal: CrystalByHand, n: int) -> tuple:
    """Some samples of a crystal, and its grid."""
    grid = grid_to_resolution(crystal.cell, crystal.cells, D_MIN)
    indices = grid.indices_between(7.0, D_MIN)
    lattice = centring(crystal.group, crystal.cell)
    indices = indices[distance_to_bragg(indices, grid.divisions, lattice) > 1e-6]
    return grid, indices[:: max(1, len(indices) // n)]


def same(found, expected, off, cc) -> None:
    scale = found @ expected / (expected @ expected)
    assert scale == pytest.approx(1, abs=off)
    assert np.corrcoef(found, expected)[0, 1] > cc


QUICK = ("P 1", "I 1 2 1", "R 3:R")


@pytest.mark.parametrize(
    "group", [g if g in QUICK else pytest.param(g, marks=pytest.mark.slow) for g in CRYSTALS]
)
def test_pair_sum(group):
    """As exact as in other settings, also where a centred cell has whole hkl without a peak."""
    crystal = by_hand(group)
    model = Model(crystal)
    neighbours = model.lattice.springs.packing.neighbours
    assert crystal.n_pairs == crystal.z * sum(len(n.atoms) for n in neighbours)
    grid, indices = between_peaks(crystal, 80)
    found, expected = model.calculated(grid, indices), crystal.pair_sum(grid, indices)
    same(found, expected, 3e-3, 0.9998)
    absent = (indices % np.array(grid.divisions) == 0).all(axis=1)
    np.testing.assert_allclose(found[absent], expected[absent], rtol=0.04)
