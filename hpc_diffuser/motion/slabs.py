"""A network's Hessian slab by slab, factorised: for molecules whose whole matrix is too large.

Atoms are sorted along the molecule's longest axis and cut into slabs as thick as a spring is long,
so that only neighbouring slabs are joined: the matrix is block-tridiagonal, and so are its
Cholesky factors. Memory goes as Σ n² over slabs of n atoms instead of N².
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import scipy.linalg
from scipy.linalg.blas import dgemm, dsyrk
from scipy.linalg.lapack import dpotri
from scipy.sparse import csr_array

from hpc_diffuser.system.arrays import Floats, Integers


class SlabCholesky:
    """H = L Lᵀ of a symmetric positive-definite block-tridiagonal matrix.

    With blocks D_i on the diagonal and B_i to the left of it, S_1 = D_1 and
    S_i = D_i − B_i S_{i−1}⁻¹ B_iᵀ (block elimination; Golub & Van Loan, Matrix Computations, 4.5).

    Parameters
    ----------
    matrix : (n, n) sparse
        Rows sorted by slab.
    ends : sequence of int
        Where each slab's rows end; the last is n.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where the matrix is not positive definite.
    """

    def __init__(self, matrix: csr_array, ends: list[int]) -> None:
        self._slabs = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        self._left: list[csr_array] = []
        self._factors: list[Floats] = []
        for i, own in enumerate(self._slabs):
            schur = matrix[own, own].toarray(order="F")
            if i:
                self._left.append(matrix[own, self._slabs[i - 1]])
                half = self._lower(i - 1, self._left[-1].T.toarray(order="F"), overwrite=True)
                schur = dsyrk(-1.0, half, beta=1, c=schur, trans=1, lower=1, overwrite_c=1)
                del half
            factor = scipy.linalg.cholesky(schur, lower=True, overwrite_a=True, check_finite=False)
            self._factors.append(factor)

    def solve(self, right: Floats) -> Floats:
        """H⁻¹ b of vectors (n, K), or one (n,)."""
        found = np.array(right, dtype=np.float64)
        for i, own in enumerate(self._slabs):
            if i:
                found[own] -= self._left[i - 1] @ self._upper(i - 1, found[self._slabs[i - 1]])
            found[own] = self._lower(i, found[own])
        for i in reversed(range(len(self._slabs))):
            own = self._slabs[i]
            if i + 1 < len(self._slabs):
                found[own] -= self._lower(i, self._left[i].T @ found[self._slabs[i + 1]])
            found[own] = self._upper(i, found[own])
        return found

    def diagonal_of_inverse(self) -> Floats:
        """Diagonal (n,) of H⁻¹. Its memory is that of the factors, which it uses up.

        From the last slab down, G_i = S_i⁻¹ + W G_{i+1} Wᵀ with W = S_i⁻¹ B_{i+1}ᵀ (Takahashi's
        equations: Lin et al. 2011, ACM TOMS 37, 40).
        """
        found = [np.diag(g).copy() for g in self._inverse_blocks()]
        return np.concatenate(found[::-1])

    def _inverse_blocks(self) -> Iterator[Floats]:
        # In place wherever it can be: three blocks of the largest slab, beside the factors.
        below: Floats | None = None
        while self._factors:
            i = len(self._factors) - 1
            if below is not None:
                coupled = self._lower(i, self._left[i].T.toarray(order="F"), overwrite=True)
                coupled = self._upper(i, coupled, overwrite=True)
                carried = dgemm(1.0, below, coupled, trans_b=1)
            own, info = dpotri(self._factors.pop(), lower=1, overwrite_c=1)
            if info:
                raise np.linalg.LinAlgError("not positive definite")
            _fill_upper(own)
            if below is not None:
                below = None
                own = dgemm(1.0, coupled, carried, beta=1, c=own, overwrite_c=1)
                del coupled, carried
            yield own
            below = own

    def _lower(self, i: int, right: Floats, overwrite: bool = False) -> Floats:
        return _triangular(self._factors[i], right, 0, overwrite)

    def _upper(self, i: int, right: Floats, overwrite: bool = False) -> Floats:
        return _triangular(self._factors[i], right, 1, overwrite)


def _triangular(
    factor: Floats, right: Floats, transposed: Literal[0, 1], overwrite: bool
) -> Floats:
    found: Floats = scipy.linalg.solve_triangular(
        factor, right, lower=True, trans=transposed, overwrite_b=overwrite, check_finite=False
    )
    return found


def _fill_upper(lower: Floats) -> None:
    """Make a matrix symmetric of which the lower triangle is known."""
    for row in range(len(lower)):
        lower[row, row + 1 :] = lower[row + 1 :, row]


def slabs(positions: Floats, thickness_A: float) -> tuple[Integers, list[int]]:
    """Atoms sorted along the longest axis, and where slabs of at least a thickness end.

    Returns
    -------
    order : (N,) int
        Rows of the atoms.
    ends : list of int
        Numbers of atoms up to each slab's end; the last is N.
    """
    centred = positions - positions.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    order = np.argsort(along, kind="stable")
    along = along[order] - along.min()
    count = max(1, int(along[-1] / thickness_A))
    # Equal slabs, each at least as thick as asked for, and none empty.
    edges = along[-1] / count * np.arange(1, count)
    ends = [*np.searchsorted(along, edges).tolist(), len(order)]
    return order, sorted(set(ends) - {0})
