"""How far residues move, together and against each other, by a model's motions.

All of it is exact for Gaussian motion, of libration and of distances to first order. Of two atoms
i, j with displacements u: ⟨u_i·u_j⟩ is Σ_k f_ki·f_kj over the fields f of modes or frames, and of
liquid-like motion 3σ²e^{−r/γ}.
"""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.motion.configurations import mode_factor, residual_b_factors
from hpc_diffuser.motion.ensemble import weights_of
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.system.arrays import Floats, Integers, Mask

MOST_PROMINENT = 4
_BLOCK_BYTES = 2**26
Pair = tuple[int, int]


def prominent_modes(amplitudes_A: Floats) -> list[int]:
    """The modes that move the molecule most, largest first, counted from 0.

    Those whose share of the modes' mean square displacement, A²/ΣA², is not below the mean share
    of the modes that move at all; at most `MOST_PROMINENT`.

    Parameters
    ----------
    amplitudes_A : (M,) float, Å
    """
    squares = np.square(amplitudes_A)
    moving = squares > 0
    if not moving.any():
        return []
    least = squares[moving].mean() * (1 - 1e-9)  # of modes that are alike none is left out
    order = np.argsort(-squares, kind="stable")
    return [int(row) for row in order if squares[row] >= least][:MOST_PROMINENT]


def rms_by_residue(squares_A2: Floats, of_atom: Integers) -> Floats:
    """Root of the mean square displacement over the atoms of every residue: (n,) Å.

    Parameters
    ----------
    squares_A2 : (N,) float, Å²
        ⟨|u|²⟩ of every atom.
    of_atom : (N,) int
        Its residue, from 0 on; −1 of none.
    """
    rms: Floats = np.sqrt(mean_by_residue(squares_A2, of_atom))
    return rms


def mean_by_residue(values: Floats, of_atom: Integers) -> Floats:
    """Mean over the atoms of every residue whose value is known: (n,) float, NaN where none is.

    Parameters
    ----------
    values : (N,) float
    of_atom : (N,) int
        As of `rms_by_residue`.
    """
    n_residues = int(of_atom.max(initial=-1)) + 1
    known = np.isfinite(values) & (of_atom >= 0)
    count = np.bincount(of_atom[known], minlength=n_residues)
    sums = np.bincount(of_atom[known], values[known], minlength=n_residues)
    means: Floats = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    return means


@dataclass(frozen=True)
class Inside:
    """Motion of atoms within their molecule: without translation, libration and the lattice's.

    Attributes
    ----------
    positions : (n, 3) float, Å
        Of the atoms that are looked at.
    fields : (K, n, 3) float, Å
        Displacements, independent of each other, whose squares add up: of modes, or frames.
    own_A2 : (n, 3) float, Å²
        ⟨u²⟩ along each axis that every atom has on its own.
    liquid_A2 : (3, 3) float, Å²
        ⟨v vᵀ⟩ of every atom by liquid-like motion.
    liquid_gamma_A : float, Å
        Its correlation length.
    """

    positions: Floats
    fields: Floats
    own_A2: Floats
    liquid_A2: Floats
    liquid_gamma_A: float

    @property
    def moves(self) -> bool:
        """Whether there is any."""
        return bool(self.fields.any() or self.own_A2.any() or self.liquid_A2.any())


def inside(modes: Modes, parameters: Parameters, rows: Integers) -> Inside:
    """What atoms do within their molecule.

    Parameters
    ----------
    modes : Modes
    parameters : Parameters
    rows : (n,) int
        Of the atoms, none twice.
    """
    fields: Floats = np.tensordot(mode_factor(parameters.sampled).T, modes.vectors[:, rows], 1)
    weights = weights_of(modes, parameters.sampled)
    if modes.frames is not None and weights is not None:
        of_rows = modes.frames[:, rows]
        away = of_rows - np.average(of_rows, axis=0, weights=weights)
        fields = away * np.sqrt(weights)[:, None, None]
    disorder = parameters.disorder
    own = np.tile(np.square(np.broadcast_to(disorder.uncorrelated_sigma_A, 3)), (len(rows), 1))
    if parameters.residual_b_fraction:
        own = own + residual_b_factors(modes, parameters)[rows, None] / (8 * np.pi**2)
    liquid = disorder.liquid_of_either()
    return Inside(modes.structure.positions[rows], fields, own, *liquid)


def covariance(moving: Inside) -> Floats:
    """⟨u_i·u_j⟩ of all pairs of atoms: (n, n) Å²."""
    flat = moving.fields.swapaxes(0, 1).reshape(len(moving.positions), -1)
    found: Floats = flat @ flat.T
    if moving.liquid_A2.any():
        found += np.trace(moving.liquid_A2) * _liquid_correlation(moving)
    found[np.diag_indices_from(found)] += moving.own_A2.sum(axis=1)
    return found


def correlation(covariance_A2: Floats) -> Floats:
    """⟨u_i·u_j⟩/√(⟨u_i²⟩⟨u_j²⟩), from −1 to 1: (n, n) float; NaN for atoms that do not move."""
    squares = np.diag(covariance_A2)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(squares > 0, 1 / np.sqrt(squares), np.nan)
    found: Floats = np.clip(covariance_A2 * scale[:, None] * scale, -1, 1)
    return found


def distances(positions: Floats) -> Floats:
    """Between all pairs of (n, 3) Å: (n, n) Å."""
    squares = np.sum(positions**2, axis=1)
    found: Floats = np.sqrt(np.maximum(squares[:, None] + squares - 2 * positions @ positions.T, 0))
    np.fill_diagonal(found, 0.0)
    return found


def distance_changes(moving: Inside) -> Floats:
    """Standard deviation of the distances between all pairs of atoms: (n, n) Å.

    To first order in the displacements: of e·(u_i − u_j), with e the direction between their mean
    positions. No rigid motion of the molecule has a part in it.
    """
    n_atoms = len(moving.positions)
    found = np.empty((n_atoms, n_atoms))
    size = max(1, int(_BLOCK_BYTES // (8 * 24 * max(n_atoms, 1))))
    for start in range(0, n_atoms, size):
        rows = slice(start, start + size)
        found[rows] = _changes(moving, rows)
    return found


def _changes(moving: Inside, rows: slice) -> Floats:
    """The same of some atoms (their rows) with all."""
    away = moving.positions[rows, None] - moving.positions
    lengths = np.linalg.norm(away, axis=2)
    e = away / np.where(lengths > 0, lengths, 1)[:, :, None]
    squares = np.einsum("ijx,ijx->ij", e**2, moving.own_A2[rows, None] + moving.own_A2)
    # Of (e·(f_i − f_j))², summed over the fields, the (3, 3) of each atom and of each pair.
    fields = moving.fields
    each = np.einsum("knx,kny->nxy", fields, fields)
    squares += np.einsum("ijx,ijy,ixy->ij", e, e, each[rows], optimize=True)
    squares += np.einsum("ijx,ijy,jxy->ij", e, e, each, optimize=True)
    for x in range(3):
        for y in range(3):
            both = fields[:, rows, x].T @ fields[:, :, y]
            squares -= 2 * e[:, :, x] * e[:, :, y] * both
    if moving.liquid_A2.any():
        left = -np.expm1(-lengths / moving.liquid_gamma_A)
        squares += 2 * np.einsum("ijx,xy,ijy->ij", e, moving.liquid_A2, e, optimize=True) * left
    found: Floats = np.sqrt(np.where(lengths > 0, np.maximum(squares, 0.0), 0.0))
    return found


def _liquid_correlation(moving: Inside) -> Floats:
    found: Floats = np.exp(-distances(moving.positions) / moving.liquid_gamma_A)
    return found


def largest_pairs(changes: Floats, chain: Integers, most: int, apart: int = 3) -> list[Pair]:
    """Pairs whose distance changes most, each of another part of the matrix.

    Parameters
    ----------
    changes : (n, n) float
        Symmetric.
    chain : (n,) int
        Of which chain every residue is, in its order along it.
    most : int
        How many pairs.
    apart : int
        Left out is what lies fewer than so many residues from a pair before it, at either end.

    Returns
    -------
    list of (int, int)
    """
    left = np.triu(changes, 1)
    found: list[Pair] = []
    while len(found) < most and left.any():
        i, j = (int(k) for k in np.unravel_index(left.argmax(), left.shape))
        found.append((i, j))
        near = [_near(k, chain, apart) for k in (i, j)]
        left[np.ix_(*near)] = 0
        left[np.ix_(*reversed(near))] = 0
    return found


def _near(i: int, chain: Integers, apart: int) -> Mask:
    near: Mask = (np.abs(np.arange(len(chain)) - i) < apart) & (chain == chain[i])
    return near
