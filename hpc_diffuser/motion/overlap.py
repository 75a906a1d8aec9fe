"""How far two sets of modes span one space, and two covariance matrices are of one shape."""

import math

import numpy as np

from hpc_diffuser.system.arrays import Floats

_DEPENDENT = 1e-6  # an eigenvalue of a matrix of diagonal 1; of vectors kept to single precision
_PART = 1e-3  # of a vector's largest part: less is what rounding leaves of none


def rmsip(one: Floats, other: Floats) -> float:
    """Root mean square inner product of two sets of modes: 1 where they span one space, 0 apart.

    Parameters
    ----------
    one, other : (K, D) and (L, D) float
        Orthonormal rows. Where one set has fewer, what it lacks counts as not overlapping.

    Notes
    -----
    √(Σ_ij (a_i·b_j)²/K): Amadei, Ceruso & Di Nola (1999), Proteins 36, 419. Of two spaces of K
    dimensions that chance has laid in D, the square is K/D on average.
    """
    most = max(len(one), len(other))
    return float(min(np.linalg.norm(one @ other.T) / np.sqrt(most), 1.0)) if most else 0.0


def alike(vectors: Floats) -> tuple[int, int] | None:
    """The first two of displacement fields (K, N, 3) that are the same, but for their size.

    None where no two are: where the cosine between them is within 1e-6 of ±1.
    """
    rows = vectors.reshape(len(vectors), math.prod(vectors.shape[1:]))  # also of none
    sizes = np.linalg.norm(rows, axis=1)
    cosines = np.abs(rows @ rows.T) >= (1 - 1e-6) * np.outer(sizes, sizes)
    pairs = np.argwhere(np.triu(cosines, 1))
    return (int(pairs[0, 0]), int(pairs[0, 1])) if len(pairs) else None


def dependent(vectors: Floats) -> tuple[int, ...]:
    """Which of displacement fields (K, N, 3) together make one covariance in more than one way.

    Motions σ_k along fields Δ_k move the atoms by C = Σ_k σ_k² Δ_kΔ_kᵀ, all that a map depends on.
    Of the matrices Δ_kΔ_kᵀ the products are tr(Δ_iΔ_iᵀ Δ_jΔ_jᵀ) = (Δ_i·Δ_j)². Where that Gram
    matrix, of fields of length 1, has an eigenvalue of 0, weights along its eigenvector change
    nothing: as of two fields and the same two turned into each other, of which three products are
    independent and four are not. The first such set, least first; empty where there is none.
    """
    rows = vectors.reshape(len(vectors), math.prod(vectors.shape[1:]))
    sizes = np.linalg.norm(rows, axis=1)
    moving = np.flatnonzero(sizes > 0)
    rows = rows[moving] / sizes[moving, None]
    values, directions = np.linalg.eigh((rows @ rows.T) ** 2)
    if not len(values) or values[0] > _DEPENDENT:
        return ()
    # Of several such sets their vectors are mixed: the least row of a reduced basis is one of them.
    flat = directions[:, values <= _DEPENDENT]
    first = _one_of(flat)
    return tuple(int(i) for i in moving[np.abs(first) > _PART * np.abs(first).max()])


def _one_of(flat: Floats) -> Floats:
    """A vector (K,) of the space that columns (K, F) span, 0 at F − 1 places where it may be."""
    for place in range(len(flat) - 1, -1, -1):
        row = flat[place]
        if flat.shape[1] == 1:
            break
        if np.abs(row).max() > _PART:
            # All that have no part in this place.
            _, _, axes = np.linalg.svd(row[None])
            flat = flat @ axes[1:].T
    one: Floats = flat[:, 0]
    return one


def covariance_overlap(one: Floats, other: Floats) -> float:
    """Overlap of two covariance matrices (D, D): 1 where they are equal, 0 where orthogonal.

    Notes
    -----
    1 − ‖A^½ − B^½‖/√(tr A + tr B): Hess (2002), Phys. Rev. E 65, 031910, Eqs. 10 and 11. Unlike
    the RMSIP it knows how large the motions are, and no number of modes must be chosen.
    """
    return overlap_of_roots(square_root(one), square_root(other))


def overlap_of_roots(one: Floats, other: Floats) -> float:
    """The same of two covariance matrices' square roots (D, D); of two that are 0 it is 1."""
    both = np.sum(one**2) + np.sum(other**2)  # tr A = ‖A^½‖²
    return float(max(1 - np.linalg.norm(one - other) / np.sqrt(both), 0.0)) if both else 1.0


def square_root(covariance: Floats) -> Floats:
    """The symmetric root (D, D) of a covariance matrix (D, D)."""
    variances, axes = np.linalg.eigh(covariance)
    root: Floats = (axes * np.sqrt(np.clip(variances, 0, None))) @ axes.T
    return root


def leading_axes(covariance: Floats, count: int, still: float = 0.0) -> Floats:
    """The directions (K, D) of largest variance, of those that move; K ≤ count, orthonormal rows.

    Parameters
    ----------
    covariance : (D, D) float
    count : int
    still : float
        A variance no larger than this is what rounding leaves of none.
    """
    variances, axes = np.linalg.eigh(covariance)
    moving = int(np.sum(variances > still))
    return np.ascontiguousarray(axes.T[::-1][: min(count, moving)])
