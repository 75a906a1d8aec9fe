"""Where the frames of any trajectory lie along modes that are known already."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.matching import same_atoms
from hpc_diffuser.crystal.structure import Structure, atom_label
from hpc_diffuser.io.trajectories.given import Analysis, TrajectoryFiles
from hpc_diffuser.io.trajectories.stream import crystal_stream
from hpc_diffuser.motion.modes import Modes, atom_scales, projections
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError


@dataclass(frozen=True)
class Projected:
    """Where frames lie along modes.

    Attributes
    ----------
    coefficients : (F, M) float, Å
    numbers : (F,) int
        The frames', in their files, counted from 1.
    runs : tuple of int
        How many of them are of each file, in the files' order.
    """

    coefficients: np.ndarray
    numbers: np.ndarray
    runs: tuple[int, ...]


def projected_frames(
    files: TrajectoryFiles, modes: Modes, analysis: Analysis, tell: Callable[[str], None]
) -> Projected:
    """Coefficients of all frames, superposed and weighted as for the modes, in one pass.

    Parameters
    ----------
    files : TrajectoryFiles
    modes : Modes
    analysis : Analysis
        That they were made with.
    tell : callable
        Given, line by line, what was left out, mended and assumed.

    Returns
    -------
    Projected

    Raises
    ------
    InputError
        As of `crystal_stream`; where the trajectory lacks an atom of the modes.
    """
    with crystal_stream(files, Ranks()) as stream:
        rows = _rows_of(modes.structure, stream.structure, files)
        settled = [stream.settle()] if analysis.superpose == "mean" else []
        mean, vectors = modes.structure.positions, modes.vectors
        scales = atom_scales(modes.structure, analysis.weighting)
        rounds = stream.rounds(
            lambda frames: projections(frames[:, rows], mean, vectors, scales), len(vectors)
        )
        found = np.concatenate(list(rounds))
        for note in (*stream.notes(), *settled):
            tell(note)
        runs = stream.runs
    numbers = [files.first + files.stride * np.arange(count) for count in runs]
    return Projected(found, np.concatenate(numbers), runs)


def _rows_of(own: Structure, structure: Structure, files: TrajectoryFiles) -> np.ndarray:
    """Where the modes' atoms are in a trajectory: (N,) int."""
    rows = same_atoms(own, structure)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise InputError(
            f"{files.trajectories[0]}: has {len(own) - len(missing)} of the modes' {len(own)} "
            f"atoms, but not {atom_label(own, missing[0])}: expected all: give a trajectory of "
            "this molecule, with the options that modes was run with"
        )
    return rows
