"""Conformations of a molecule in the files of viewers: one row for each ending."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.motions.dcd import dcd_bytes
from hpc_diffuser.io.structures.files import Crystal, pdb_bytes
from hpc_diffuser.system.memory import require_room

_PDB_BYTES = 350  # of an atom of a model, as measured
Files = dict[Path, bytes]


def conformation_files(
    path: Path, structure: Structure, frames: np.ndarray, crystal: Crystal
) -> Files:
    """What is to be written for conformations, by the ending of `path`.

    Parameters
    ----------
    path : Path
        Of one of `ENDINGS`.
    structure : Structure
        Whose atoms they are.
    frames : (F, N, 3) float, Å
    crystal : (unit cell, space group)

    Returns
    -------
    dict of Path → bytes
        What has to be there first comes first.

    Raises
    ------
    InputError
        Where the structure does not fit the PDB format.
    """
    return ENDINGS[path.suffix.lower()](path, structure, frames, crystal)


def _models(path: Path, structure: Structure, frames: np.ndarray, crystal: Crystal) -> Files:
    what = f"a PDB of {len(frames)} models of {len(structure)} atoms"
    require_room(_PDB_BYTES * frames.size / 3, what, "make fewer models, or a .dcd")
    return {path: pdb_bytes(path, structure, crystal, frames=frames)}


def _trajectory(path: Path, structure: Structure, frames: np.ndarray, crystal: Crystal) -> Files:
    """Beside it a PDB of the atoms, which a trajectory does not name."""
    pdb = path.with_name(f"{path.stem}-atoms.pdb")
    return {pdb: pdb_bytes(pdb, structure, crystal), path: dcd_bytes(frames, crystal[0])}


ENDINGS: dict[str, Callable[[Path, Structure, np.ndarray, Crystal], Files]] = {
    ".pdb": _models,
    ".dcd": _trajectory,
}
