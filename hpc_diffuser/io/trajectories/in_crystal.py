"""A trajectory in its crystal, all its frames at once."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.stream import crystal_stream
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.memory import require_room

_BYTES = 48  # of an atom's place: each round's, and all of them together


@dataclass(frozen=True)
class CrystalFrames:
    """The frames of a trajectory in the crystal.

    Attributes
    ----------
    structure : Structure
        The atoms that were chosen.
    positions : (F, N, 3) float, Å
    crystal : (unit cell, space group)
    crystal_b_A2 : (N,) float, Å²
        The reference's B-factors; NaN of atoms that it lacks.
    notes : tuple of str
        What was left out, mended and assumed, and how far the frames are from the reference.
    crystal_positions : (N, 3) float, Å
        The reference's; NaN of atoms that it lacks.
    places : (N,) int
        Where the atoms stand among all of the topology's, from 0.
    """

    structure: Structure
    positions: np.ndarray
    crystal: tuple
    crystal_b_A2: np.ndarray
    notes: tuple[str, ...]
    crystal_positions: np.ndarray
    places: np.ndarray


def crystal_frames(files: TrajectoryFiles) -> CrystalFrames:
    """All frames of a trajectory, superposed on the crystal structure by their backbone.

    Raises
    ------
    InputError
        For files that cannot be read or do not belong together, molecules that are broken across
        the periodic box and cannot be mended, and frames that are no motion of the reference;
        where memory does not hold all of them.
    """
    with crystal_stream(files, Ranks()) as stream:
        n_frames, n_atoms = stream.n_frames, len(stream.structure)
        require_room(
            _BYTES * n_frames * n_atoms,
            f"{n_frames} frames of {n_atoms} atoms",
            "write a trajectory of fewer frames, or of fewer atoms",
        )
        rounds = stream.rounds(lambda frames: frames.reshape(len(frames), -1), 3 * n_atoms)
        positions = np.concatenate(list(rounds)).reshape(n_frames, n_atoms, 3)
        return CrystalFrames(
            stream.structure,
            positions,
            stream.crystal,
            stream.crystal_b_A2,
            stream.notes(),
            stream.crystal_positions,
            stream.places,
        )
