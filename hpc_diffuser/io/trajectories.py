"""Molecular-dynamics trajectories, through mdtraj; the only module that imports it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.structure import Structure

NON_HYDROGEN = "element != H"


def read_trajectory(trajectory: Path, topology: Path) -> tuple[Structure, np.ndarray, "Selector"]:
    """All frames of a trajectory.

    Parameters
    ----------
    trajectory : Path
        XTC, TRR, DCD, NetCDF, HDF5, multi-model PDB: what mdtraj knows by the file's ending.
    topology : Path
        PDB, GRO, PRMTOP, PSF.

    Returns
    -------
    structure : Structure
        The atoms, at the first frame; Å.
    frames : (F, N, 3) float, Å
    select : callable
        Rows of the atoms that match a selection in mdtraj's language.

    Raises
    ------
    InputError
        Where a file cannot be read, the two do not belong together, or a coordinate is not
        finite.
    """
    import mdtraj

    for path in (trajectory, topology):
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: empty file")
    try:
        with _silent_libraries():
            loaded = mdtraj.load(str(trajectory), top=str(topology))
    except Exception as exc:  # mdtraj raises whatever its parsers raise
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise InputError(
            f"{trajectory} could not be read with topology {topology}: {reason}"
        ) from exc
    if not np.isfinite(loaded.xyz).all():
        frame = int((~np.isfinite(loaded.xyz)).any(axis=(1, 2)).argmax())
        raise InputError(f"{trajectory}: frame {frame + 1} has coordinates that are not finite")
    frames = loaded.xyz.astype(np.float64) * 10  # nm → Å
    return _structure(loaded.topology, frames[0], topology), frames, Selector(loaded.topology)


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """The readers' C code prints to standard output and error, beside the errors it raises."""
    sys.stdout.flush()
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    for stream, _ in kept:
        os.dup2(nothing, stream)
    try:
        yield
    finally:
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nothing)


class Selector:
    """Atoms by a selection in mdtraj's language."""

    def __init__(self, topology: object):
        self._topology = topology

    def __call__(self, selection: str) -> np.ndarray:
        """Rows of the selected atoms: (K,) int, ascending."""
        try:
            rows = self._topology.select(selection)
        except Exception as exc:  # a syntax error, from one of several parsers
            raise InputError(
                f'selection "{selection}" is not in mdtraj\'s language '
                f"({str(exc).splitlines()[0]}); an example: name CA and resid 0 to 50"
            ) from exc
        if not len(rows):
            raise InputError(f'selection "{selection}" matches no atom')
        return np.sort(rows)


def _structure(topology: object, positions: np.ndarray, path: Path) -> Structure:
    atoms = list(topology.atoms)
    for atom in atoms:
        if atom.element is None or atom.element.symbol == "VS":
            raise InputError(f"{path}: atom {atom} has no known element")
    return Structure(
        positions=positions,
        elements=np.array([a.element.symbol for a in atoms]),
        atom_names=np.array([a.name for a in atoms]),
        residue_names=np.array([a.residue.name for a in atoms]),
        residue_numbers=np.array([a.residue.resSeq for a in atoms]),
        chain_ids=np.array([_chain_id(a.residue.chain) for a in atoms]),
        occupancies=np.ones(len(atoms)),
        b_factors_A2=np.zeros(len(atoms)),
    )


def _chain_id(chain: object) -> str:
    """A chain's letter; formats without one count A, B, C."""
    return (chain.chain_id or "").strip() or chr(ord("A") + chain.index % 26)
