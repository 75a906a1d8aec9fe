"""What is one body on springs, and where it lies: against crystals that are summed by hand.

All of the asymmetric unit moves as one, two chains that touch each other too; where in space it
lies, near the origin or many cells away, says nothing about the crystal.
"""

from dataclasses import replace

import numpy as np
import pytest
from builders import random_structure
from crystals_by_hand import CrystalByHand
from test_lattice_settings import Model, between_peaks, same

from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.motion.lattice.rigid import atom_covariances
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

CELL, REACH_A = (10.0, 9.5, 8.5, 84.0, 99.0, 104.0), 5.0
SPRING_A = 1.5


def to_cartesian(cell) -> np.ndarray:
    return np.linalg.inv(fractionalization(cell))


def two_chains(moved=(0, 0, 0)) -> Structure:
    """A and B of six atoms each, B moved by so many cells along a, b and c."""
    structure = random_structure(np.random.default_rng(1), 12, 2.5, ("C", "N", "O", "S"))
    places = structure.positions + np.repeat([[0.0, 0.0, 0.0], [5.0, 4.5, 1.0]], 6, axis=0)
    places[6:] += to_cartesian(CELL) @ moved
    chains = np.repeat(["A", "B"], 6)
    return replace(structure, positions=places, chain_ids=chains, occupancies=np.ones(12))


def near(one, other) -> int:
    return int(np.sum(np.linalg.norm(one[:, None] - other, axis=2) < REACH_A))


@pytest.mark.parametrize("moved", [(0, 0, 0), (0, 0, -1)])
def test_two_chains_are_one_body(moved):
    """No spring joins them as the file has them; what they are next to in the crystal does.

    With another copy of B it is another body, of the same crystal at rest.
    """
    crystal = CrystalByHand(two_chains(moved), CELL, "P 1", (3, 2, 2), REACH_A, 0.3)
    model, places = Model(crystal), crystal.structure.positions
    neighbours = model.lattice.springs.packing.neighbours
    assert (near(places[:6], places[6:]) > 0) == (moved == (0, 0, 0))
    assert sum(len(n.atoms) for n in neighbours) == crystal.n_pairs
    assert all(n.place != (0, (0, 0, 0)) for n in neighbours)
    grid, indices = between_peaks(crystal, 60)
    same(model.calculated(grid, indices), crystal.pair_sum(grid, indices), 3e-3, 0.9998)


PLACES = {
    # Away from the origin, in cells; in P 1 by no whole numbers.
    "P 1": ((10.0, 9.5, 8.5, 84.0, 99.0, 104.0), (15.3, -7.1, 4.4)),
    "P 1 21 1": ((9.2, 8.0, 10.0, 90.0, 104.0, 90.0), (16.0, -9.0, 7.0)),
    "P 65 2 2": ((16.0, 16.0, 26.0, 90.0, 90.0, 120.0), (-8.0, 5.0, 6.0)),
}


def on_springs(structure: Structure, cell, group) -> Modes:
    lattice = rigid_lattice(structure, cell, group, contact_A=REACH_A)
    none = np.empty((0, len(structure), 3)), np.empty(0)
    return Modes(structure, *none, cell, group, lattice=lattice)


def intensity(modes: Modes, grid, indices, transform: str) -> np.ndarray:
    how = Computation(0.3, "target", transform)
    model = forward_model(modes, grid, indices, Ranks(), how)
    parameters = Parameters(np.empty(0), lattice_spring_A=SPRING_A, lattice=modes.lattice)
    return model.internal_motion(parameters, normal_samples("sobol", 64, 3, generator(1)))


@pytest.mark.parametrize(
    "group", ["P 1", "P 1 21 1", pytest.param("P 65 2 2", marks=pytest.mark.slow)]
)
def test_where_it_lies_does_not_matter(group):
    """Some 150 Å away: the same contacts, T, L and S, motion of atoms, and intensity."""
    cell, cells = PLACES[group]
    one = random_structure(np.random.default_rng(1), 10, 3.3, ("C", "N", "O", "S"))
    one = replace(one, positions=one.positions + np.array([3.0, 2.5, 1.5]))
    step = to_cartesian(cell) @ cells
    assert np.linalg.norm(step) > 90
    near_by, far = (
        on_springs(replace(one, positions=one.positions + x), cell, group) for x in (0.0, step)
    )
    pairs = [
        sorted(sorted(np.round(np.linalg.norm(n.steps, axis=1), 6)) for n in packing.firsts())
        for packing in (m.lattice.springs.packing for m in (near_by, far))
    ]
    assert pairs[0] == pairs[1]
    covariances = [m.lattice.covariance(SPRING_A) for m in (near_by, far)]
    np.testing.assert_allclose(*covariances, atol=1e-9 * covariances[0].max())
    moved = [
        atom_covariances(c, m.structure.positions, m.lattice.springs.centre)
        for c, m in zip(covariances, (near_by, far), strict=True)
    ]
    np.testing.assert_allclose(*moved, rtol=1e-8, atol=1e-9)
    grid = grid_to_resolution(cell, (3, 3, 3), 2.5)
    indices = unique_indices(grid, 8.0, 2.5, grid_operations(grid, group))[::25]
    for transform in ("direct", "density"):
        found = [intensity(m, grid, indices, transform) for m in (near_by, far)]
        off = np.linalg.norm(found[1] - found[0]) / np.linalg.norm(found[0])
        # How atoms are drawn depends on where grid points are beside them, by their last digits.
        assert off < (1e-7 if transform == "direct" else 1e-4)
