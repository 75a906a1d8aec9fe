"""The command `modes`: motion modes of a trajectory, or of an elastic network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.structures.files import read_structure, write_pdb
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.in_crystal import crystal_frames
from hpc_diffuser.motion.convergence import FEWEST_FRAMES, SPACE, Convergence, convergence
from hpc_diffuser.motion.modes import Modes, effective_b_factors, principal_components
from hpc_diffuser.motion.network_modes import network_modes
from hpc_diffuser.motion.network_options import Network
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log


def modes_from_trajectory(
    files: TrajectoryFiles, n_modes: int, tell: Callable[[str], None] = log
) -> Modes:
    """Principal components of a trajectory in the crystal frame, about its mean structure.

    Parameters
    ----------
    files : TrajectoryFiles
    n_modes : int
    tell : callable
        Given, line by line, what was left out, mended and assumed; by default to standard error.
    """
    found = crystal_frames(files)
    for note in found.notes:
        tell(note)
    frames = found.positions
    vectors, amplitudes = principal_components(frames, max(n_modes, SPACE))
    mean = replace(
        found.structure, positions=frames.mean(axis=0), b_factors_A2=effective_b_factors(frames)
    )
    enough = _convergence(frames, mean.positions, vectors[:SPACE])
    if enough is None:
        tell(
            f"{files.trajectory}: {len(frames)} frames: too few to tell whether it is long enough "
            f"({FEWEST_FRAMES} at least)"
        )
    return Modes(
        mean,
        vectors[:n_modes],
        amplitudes[:n_modes],
        *found.crystal,
        crystal_b_A2=found.crystal_b_A2,
        convergence=enough,
    )


def _convergence(frames: Floats, mean: Floats, vectors: Floats) -> Convergence | None:
    """Whether the frames are enough, by their coefficients along the first modes."""
    n_frames, n_atoms = frames.shape[:2]
    away = (frames - mean).reshape(n_frames, -1)
    coefficients = away @ vectors.reshape(len(vectors), -1).T / n_atoms
    share = float(np.sum(coefficients**2) * n_atoms / np.sum(away**2))
    return convergence(coefficients, share)


def modes_from_network(
    reference: Path,
    n_modes: int,
    conformer: str = "A",
    hydrogens: bool = False,
    network: Network | None = None,
    tell: Callable[[str], None] = log,
) -> Modes:
    """Elastic-network modes of a crystal structure, as large as its B-factors say.

    Parameters
    ----------
    reference : Path
    n_modes : int
    conformer, hydrogens
        As of `read_structure`.
    network : Network or None
        None: as by default.
    tell : callable
        Given, line by line, what was found and fitted; by default to standard error.

    Raises
    ------
    InputError
        Without a unit cell, and as of `network_modes`.
    """
    structure, crystal = read_structure(reference, conformer, hydrogens)
    if crystal is None:
        raise InputError(
            f"{reference}: no unit cell: expected a crystal structure; its neighbours, and the "
            "diffuse map, need one: add a CRYST1 record"
        )
    try:
        vectors, amplitudes, notes = network_modes(
            structure, crystal, n_modes, network or Network()
        )
    except InputError as exc:
        raise InputError(f"{reference}: {exc}") from exc
    for note in notes:
        tell(note)
    return Modes(structure, vectors, amplitudes, *crystal, crystal_b_A2=structure.b_factors_A2)


def save_modes(path: Path, modes: Modes, inputs: list[Path], provenance: dict[str, str]) -> Path:
    """Write modes.h5 and, beside it, the mean structure as PDB; the PDB's path.

    Raises
    ------
    InputError
        Where that would replace one of the `inputs`.
    """
    pdb = path.with_name(f"{path.stem}-mean.pdb")
    for output in (path, pdb):
        if output.resolve() in {source.resolve() for source in inputs}:
            raise InputError(f"{output} is an input, and would be replaced: give another --output")
    write_modes(path, modes, provenance)
    write_pdb(pdb, modes.structure, (modes.unit_cell, modes.space_group))
    return pdb
