"""A closed loop of weights: a small protein's map of three of twenty frames, with noise."""

from pathlib import Path

import numpy as np

from hpc_diffuser.commands.examples.four_helices import UNIT_CELL, example_modes
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.structures.files import pdb_bytes
from hpc_diffuser.maps.noise import with_noise
from hpc_diffuser.maps.target import make_target
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import with_frames
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import whole_map
from hpc_diffuser.scattering.model import forward_model

N_FRAMES, TRUE = 20, {3: 0.5, 8: 0.3, 15: 0.2}  # frames from 0
TRUE_WEIGHTS = np.array([TRUE.get(i, 0.0) for i in range(N_FRAMES)])
TRUE_TRANSLATION_A = 0.3
CONFIG = """
[structure]
ensemble = "frames.pdb"
weights = "refine"
[target]
file = "target.h5"
[parameters]
translation_sigma_A = [0.1, 0.6]
[prior]
weights = 1e-4
[search]
method = "least-squares"
restarts = 3
"""


def frames_of_example(n_frames: int = N_FRAMES) -> np.ndarray:
    """Conformations (F, N, 3) along the example's modes, 0.7 Å from its structure in all.

    Rounded as a PDB file has them.
    """
    modes = example_modes()
    z = np.random.default_rng(5).normal(0, 0.4, (n_frames, len(modes.vectors)))
    return np.round(modes.structure.positions + np.tensordot(z, modes.vectors, 1), 3)


def write_frames_loop(folder: Path, noise: float = 0.05, n_frames: int = N_FRAMES) -> Path:
    """The ensemble, and a target of its true weights."""
    modes, frames, d_min = example_modes(), frames_of_example(n_frames), 3.5
    crystal = modes.unit_cell, modes.space_group
    path = folder / "frames.pdb"
    path.write_bytes(pdb_bytes(path, modes.structure, crystal, frames=frames))
    grid = grid_to_resolution(UNIT_CELL, (2, 2, 2), d_min)
    indices = grid.indices_between(np.inf, d_min)
    moving = with_frames(modes, frames)
    model = forward_model(moving, grid, indices, Ranks())
    weights = tuple(TRUE_WEIGHTS[:n_frames].tolist())
    truth = Parameters(np.empty(0), Disorder(TRUE_TRANSLATION_A), frame_weight=weights)
    values = model.internal_motion(truth, np.zeros((n_frames, 0)))
    exact = whole_map(model, moving, grid, indices, values)
    noisy = with_noise(exact, noise, d_min, generator(9, 1))
    options = TargetOptions(d_max_A=12.0, d_min_A=d_min, n_shells=4)
    write_target(folder / "target.h5", make_target(noisy, options), {})
    return folder
