"""How an evaluation is divided among many ranks, counted in one process: parts, bits, imbalance."""

import numpy as np
import pytest
from builders import TRICLINIC, random_structure
from ranks_in_turn import on_ranks

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import parameters_from
from hpc_diffuser.scattering.moments import ESTIMATORS, Moments

GRID = grid_to_resolution(TRICLINIC, (9, 4, 4), 3.0)
INDICES = GRID.indices_between(np.inf, 3.0)[::3]
NORMALS = np.random.default_rng(1).normal(size=(21, 3))
VALUES = {"mode_amplitude_A": [0.3, 0.2, 0.1], "k_sol_eA3": 0.2, "b_sol_A2": 50.0}
PARAMETERS = parameters_from(VALUES)


def modes_of_molecule():
    """Twenty atoms with three modes."""
    structure = random_structure(np.random.default_rng(2), 20)
    vectors = np.random.default_rng(3).normal(size=(3, 20, 3))
    return Modes(structure, vectors, np.ones(3), TRICLINIC, "P 1")


def found_by(group, estimator, transform):
    """Moments, their slopes and the mean structure's, of all ranks' voxels, and who held them."""
    moments = Moments(modes_of_molecule(), GRID, INDICES, group, transform, estimator=estimator)
    found = [*moments.of(PARAMETERS, NORMALS)[:2], *moments.of_mean(PARAMETERS)[1:2]]
    for variance, mean_squared, _ in moments.mode_slopes(PARAMETERS, (0, 2, 1)):
        found += [variance, mean_squared]
    motion = b""
    if estimator == "sampled":
        slopes = (np.cos(moments.rows), np.sin(moments.rows))
        motion = moments.slopes(PARAMETERS, NORMALS, *slopes, True).flat().tobytes()
    return moments.rows, np.stack(found), motion


def gathered(found):
    """From what every rank returns: maps of all voxels, each held once, and what all have."""
    rows = np.concatenate([rows for rows, _, _ in found])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(INDICES)))
    maps = np.concatenate([maps for _, maps, _ in found], axis=1)
    assert len({motion for _, _, motion in found}) == 1
    return maps[:, np.argsort(rows)], found[0][2]


@pytest.mark.parametrize("transform", ["density", "direct"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_same_bits_on_any_number_of_ranks(estimator, transform):
    """Moments, slopes and gradients; 11 is more than there are blocks, or divides anything."""
    one, motion = gathered(on_ranks(1, lambda g: found_by(g, estimator, transform))[0])
    for size in (2, 11) if transform == "density" else (5,):
        many, of_many = gathered(on_ranks(size, lambda g: found_by(g, estimator, transform))[0])
        assert many.tobytes() == one.tobytes()
        assert of_many == motion


def test_same_bits_of_weighted_frames():
    """An ensemble's weights are rounded with its moments."""
    structure = random_structure(np.random.default_rng(2), 20)
    frames = structure.positions + np.random.default_rng(3).normal(0, 0.3, (11, 20, 3))
    weights = np.arange(1.0, 12) / 66
    none = np.empty((0, 20, 3))
    modes = Modes(structure, none, np.empty(0), TRICLINIC, "P 1", frames=frames, weights=weights)
    parameters, normals = parameters_from({}), np.empty((11, 0))

    def work(group):
        moments = Moments(modes, GRID, INDICES, group, "density")
        maps = [*moments.of(parameters, normals)[:2]]
        for variance, mean_squared in moments.frame_slopes(parameters, normals):
            maps += [variance, mean_squared]
        return moments.rows, np.stack(maps), b""

    one, _ = gathered(on_ranks(1, work)[0])
    for size in (2, 7):
        assert gathered(on_ranks(size, work)[0])[0].tobytes() == one.tobytes()
