"""Bases of modes compared: overlaps, and the root mean square inner product."""

from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.crystal.matching import same_atoms
from hpc_diffuser.crystal.structure import best_rotations
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.overlap import rmsip
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

_LEAST = 3  # atoms, to be superposed


@dataclass(frozen=True)
class Overlap:
    """Two bases of one molecule, over the atoms that both have.

    Attributes
    ----------
    matrix : (M, K) float
        Cosines between the modes of either, from −1 to 1; a mode's sign means nothing.
    rmsip : float
        Of the spaces that the first `n_compared` of either span: see `overlap.rmsip`.
    n_compared : int
    n_atoms : int
        In common.
    turned_deg : float
        By what the other molecule was turned onto the first one.
    """

    matrix: Floats
    rmsip: float
    n_compared: int
    n_atoms: int
    turned_deg: float


def overlap(modes: Modes, other: Modes, n_compared: int = 10) -> Overlap:
    """Compare two bases, the other one turned as its mean structure fits the first one's best.

    Parameters
    ----------
    modes, other : Modes
    n_compared : int
        How many modes of either the RMSIP is over, at most.

    Raises
    ------
    InputError
        Where they have too few atoms in common to be of one molecule.
    """
    rows, partners = common_atoms(modes, other)
    turn = _turn(other.structure.positions[partners], modes.structure.positions[rows])
    ours = modes.vectors[:, rows].reshape(len(modes.vectors), -1)
    theirs = (other.vectors[:, partners] @ turn.T).reshape(len(other.vectors), -1)
    k = min(n_compared, len(ours), len(theirs))
    cosine = (np.trace(turn) - 1) / 2
    return Overlap(
        _unit(ours) @ _unit(theirs).T,
        rmsip(_orthonormal(ours[:k]), _orthonormal(theirs[:k])),
        k,
        len(rows),
        float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
    )


def carried(modes: Modes, onto: Modes) -> tuple[Modes, int]:
    """Modes as motions of another mean structure of the molecule.

    Parameters
    ----------
    modes : Modes
    onto : Modes
        With the structure to move, its crystal, and its B-factors.

    Returns
    -------
    Modes
        Of the atoms of `onto`, turned as their mean structure fits that one best. The
        displacements along every mode are as before; its amplitude is that over these atoms.
    int
        How many atoms `modes` lacks: they stand still.

    Raises
    ------
    InputError
        As of `common_atoms`.
    """
    rows, partners = common_atoms(onto, modes)
    turn = _turn(modes.structure.positions[partners], onto.structure.positions[rows])
    fields = np.zeros((len(modes.vectors), len(onto.structure), 3))
    fields[:, rows] = modes.vectors[:, partners] @ turn.T
    lengths = np.sqrt(np.sum(fields**2, axis=(1, 2)) / len(onto.structure))
    if np.any(lengths == 0):
        raise InputError("a mode moves none of the atoms of the other structure: leave it out")
    moved = replace(
        modes,
        structure=onto.structure,
        vectors=fields / lengths[:, None, None],
        amplitudes_A=modes.amplitudes_A * lengths,
        unit_cell=onto.unit_cell or modes.unit_cell,
        space_group=onto.space_group if onto.unit_cell else modes.space_group,
        crystal_b_A2=onto.crystal_b_A2,
    )
    return moved, len(onto.structure) - len(rows)


def common_atoms(modes: Modes, other: Modes) -> tuple[Integers, Integers]:
    """Rows of the atoms that two bases have in common, in either: (K,) int.

    Raises
    ------
    InputError
        Where they are not half of the smaller one's.
    """
    partners = same_atoms(modes.structure, other.structure)
    rows = np.flatnonzero(partners >= 0)
    n, m = len(modes.structure), len(other.structure)
    if len(rows) < max(_LEAST, min(n, m) / 2):
        raise InputError(
            f"{len(rows)} atoms in common, of {n} and {m}: expected half of the fewer ones at "
            "least: give bases of one molecule, with the names of its residues and atoms"
        )
    return rows, partners[rows]


def _turn(moving: Floats, target: Floats) -> Floats:
    """The rotation that fits `moving` to `target` best: (3, 3)."""
    moving, target = moving - moving.mean(axis=0), target - target.mean(axis=0)
    turn: Floats = best_rotations((target.T @ moving)[None])[0]
    return turn


def _orthonormal(rows: Floats) -> Floats:
    """Rows that span the same: those of parts of molecules are not orthogonal any more."""
    columns: Floats = np.linalg.qr(rows.T)[0]
    return columns.T


def _unit(rows: Floats) -> Floats:
    """Of length 1; rows that are 0 stay so."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Floats = rows / np.where(lengths > 0, lengths, 1.0)
    return units
