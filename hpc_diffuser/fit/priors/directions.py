"""The penalty on motion beyond the crystal's ANISOU records, in any direction.

Of an atom that the model moves by U = ⟨u uᵀ⟩ and the crystal by U⁰ = LLᵀ, the ratio of both in
direction n, nᵀUn/nᵀU⁰n, is between the least and the largest eigenvalue of L⁻¹UL⁻ᵀ. With these
three, λ_k,

    P = ½ Σ_a ⅓ Σ_k r_ak²,   r_ak = max(0, λ_ak − 1) / `TOLERANCE`,

which is the penalty on B-factors where both move alike in all directions. An eigenvalue's slope is
x_kᵀ (dU/dφ) x_k, x_k = L⁻ᵀv_k of its eigenvector v_k.
"""

from collections.abc import Iterable

import numpy as np

from hpc_diffuser.crystal.structure import Structure, atom_label
from hpc_diffuser.fit.priors.penalty import TOLERANCE, Penalty
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.system.errors import InputError

_B_OF_U = 8 * np.pi**2  # B in Å² of the mean square displacement along one axis


def beyond(u_A2: np.ndarray, crystal_A2: np.ndarray, slopes: Iterable[np.ndarray] = ()) -> Penalty:
    """The penalty, and its slopes.

    Parameters
    ----------
    u_A2, crystal_A2 : (N, 3, 3) float, Å²
        The model's, and the crystal's, which are positive definite.
    slopes : D of (N, 3, 3) float
        Of the model's in φ of each parameter.
    """
    whitening = np.linalg.inv(np.linalg.cholesky(crystal_A2))
    ratios, axes = np.linalg.eigh(whitening @ u_A2 @ whitening.transpose(0, 2, 1))
    residuals = np.maximum(ratios - 1, 0) / (TOLERANCE * np.sqrt(3))
    some = np.flatnonzero(residuals.any(axis=1))
    x = whitening[some].transpose(0, 2, 1) @ axes[some]
    moves = residuals[some] > 0
    columns = [
        np.einsum("aik,aij,ajk->ak", x, dU[some], x)[moves] / (TOLERANCE * np.sqrt(3))
        for dU in slopes
    ]
    jacobian = np.array(columns).reshape(len(columns), int(moves.sum()))
    # Sums of numpy's own order, not of a matrix product: the same bits with any threads.
    gradient = (jacobian * residuals[some][moves]).sum(axis=1)
    matrix = np.einsum("ia,ja->ij", jacobian, jacobian)
    return Penalty(float((residuals**2).sum() / 2), gradient, matrix)


def crystal_covariances(modes: Modes) -> tuple[np.ndarray, np.ndarray]:
    """The crystal's ⟨u uᵀ⟩, and which atoms it is known of: (N, 3, 3) Å², mask (N,).

    Of an atom without a record it is that of its B-factor, alike in all directions.
    """
    records, b = modes.crystal_u_A2, modes.crystal_b_A2
    if records is None or b is None:
        raise ValueError("the crystal's ANISOU records are not known: see `require_records`")
    of_b = np.nan_to_num(b)[:, None, None] / _B_OF_U * np.eye(3)
    found = np.where(np.isfinite(records), records, of_b)
    return found, np.trace(found, axis1=1, axis2=2) > 0


def require_records(modes: Modes) -> None:
    """Raise InputError unless the crystal has ANISOU records of these atoms, all of them sound."""
    records = modes.crystal_u_A2
    if records is None or not np.isfinite(records).any():
        raise InputError(
            'prior.anisou: expected [crystal] file = "crystal.pdb" with ANISOU records, beyond '
            "which the model must not move; this has none of the model's atoms: use "
            "prior.b_factors"
        )
    _require_positive(modes.structure, np.where(np.isfinite(records), records, np.eye(3)))


def _require_positive(structure: Structure, u_A2: np.ndarray) -> None:
    least = np.linalg.eigvalsh(u_A2)[:, 0]
    if least.min() <= 0:
        raise InputError(
            f"prior.anisou: the ANISOU record of {atom_label(structure, int(least.argmin()))} has "
            f"a mean square of {least.min():.2g} Å² in some direction: expected all above 0: "
            "correct the crystal's file, or use prior.b_factors"
        )
