"""What neighbours add to the intensity, dimmed atom by atom as a molecule moves more.

An atom at l from the molecule's centre is moved by t + ω × l, so that q·u = gᵀξ with
g = (q, l × q), and a change dC of ξ's covariance changes its Debye-Waller factor by −½ gᵀdC g. In
F, S and Q that is, of the blocks of dC,

    tt:  −½ qᵀdC q of each,                      whatever l is;
    tr:  dF = −b·S,  dS = −Q b,                  b = q × (dCᵀ q);
    rr:  dF = −½ Σ X_ij Q_ij,                    X = [q]ᵀ dC [q],

with l and l lᵀ in sums that are there already. Those with more powers of l are not: of tr in Q
they count as 0, and of rr in S and Q l lᵀ as its mean over the atoms.
"""

import numpy as np

from hpc_diffuser.motion.lattice.rigid import cross_matrix
from hpc_diffuser.system.arrays import Complexes, Floats

_PACKED = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])  # where Q_ij is among xx, yy, zz, xy, xz, yz
_FIRST, _SECOND = np.triu_indices(6)
_AT_ONCE = 1 << 13  # voxels


def dimming(scalars: Complexes, pulls: Complexes, q: Floats, squares: Floats) -> Floats:
    """Derivatives by C_ij, i ≤ j, as far as it blurs the atoms: (21, v) float32.

    Parameters
    ----------
    scalars : (v, Z, 10) complex64
        F, the three components of S, and of Q: xx, yy, zz, xy, xz, yz, of each molecule.
    pulls : (v, Z, 10) complex64
        The intensity's derivatives by real and imaginary part of these.
    q : (v, Z, 3) float, Å⁻¹
        In each molecule's own frame.
    squares : (3, 3) float, Å²
        The mean of l lᵀ over the atoms.
    """
    found = np.empty((len(_FIRST), len(q)), np.float32)
    for first in range(0, len(q), _AT_ONCE):
        own = slice(first, first + _AT_ONCE)
        whole = np.zeros((len(q[own]), 6, 6))
        # One molecule after the other, and no sums of products: the same bits for any voxels.
        for m in range(q.shape[1]):
            whole += _dimming(scalars[own, m], pulls[own, m], q[own, m], squares)
        found[:, own] = whole[:, _FIRST, _SECOND].T
    return found


def dimmed_along(by_covariance: Floats, change: Floats) -> Floats:
    """What a change of C (6, 6) does, from derivatives of `dimming`: (v,) float64."""
    total: Floats = np.zeros(by_covariance.shape[1])
    for own, i, j in zip(by_covariance, _FIRST, _SECOND, strict=True):
        total += own * np.float64(change[i, j] * (1 if i == j else 2))
    return total


def _dimming(scalars: Complexes, pulls: Complexes, q: Floats, squares: Floats) -> Floats:
    """Of one molecule: (v, 6, 6), symmetric."""
    f, s, of_q = scalars[:, 0], scalars[:, 1:4], scalars[:, 4:][:, _PACKED]
    by_f, by_s = pulls[:, 0], pulls[:, 1:4]
    every = _real(pulls, scalars).sum(axis=1)
    lever = _real(by_f[:, None], s) + _real(by_s[:, None], of_q).sum(axis=2)
    both = _real(by_f[:, None, None], of_q)
    both = both + (every - _real(by_f, f))[:, None, None] * squares
    cross = cross_matrix(q)
    found = np.empty((len(q), 6, 6))
    found[:, :3, :3] = every[:, None, None] * q[:, :, None] * q[:, None]
    found[:, :3, 3:] = q[:, :, None] * np.cross(lever, q)[:, None]
    found[:, 3:, :3] = found[:, :3, 3:].swapaxes(1, 2)
    found[:, 3:, 3:] = cross @ both @ cross.swapaxes(1, 2)
    return -found / 2


def _real(pull: Complexes, change: Complexes) -> Floats:
    """What a value changes by, as a number does, from derivatives by its two parts."""
    found: Floats = pull.real * change.real + pull.imag * change.imag
    return found
