"""Motion modes, and those that are principal components of an ensemble.

A mode is a displacement field Δ with Σ_a |Δ_a|² = N, so that its amplitude, the standard
deviation of the coefficient, is the rms displacement per atom in Å.
"""

from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.convergence import Convergence
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.memory import require_room


@dataclass(frozen=True)
class Modes:
    """A mean structure and the fields along which it moves.

    Attributes
    ----------
    structure : Structure
        Its positions are the ensemble's mean.
    vectors : (M, N, 3) float
        Displacement fields with Σ_a |Δ_a|² = N; M may be 0 (a structure without modes).
    amplitudes_A : (M,) float
        Rms displacement per atom along each mode in the source ensemble.
    unit_cell : 6 floats, Å and degrees
    space_group : str
    frames : (F, N, 3) float, Å, or None
        Conformations that take the modes' place, of which there are none then.
    weights : (F,) float or None
        Of the frames; they add up to 1.
    crystal_b_A2 : (N,) float, Å², or None
        The crystal structure's B-factors of these atoms; NaN where it lacks them.
    convergence : Convergence or None
        Of a trajectory: whether it was long enough.
    """

    structure: Structure
    vectors: Floats
    amplitudes_A: Floats
    unit_cell: tuple[float, ...]
    space_group: str
    frames: Floats | None = None
    weights: Floats | None = None
    crystal_b_A2: Floats | None = None
    convergence: Convergence | None = None

    def __post_init__(self) -> None:
        if (self.frames is None) != (self.weights is None):
            raise ValueError("frames have weights: see `with_frames`")


def with_frames(modes: Modes, frames: Floats, weights: Floats | None = None) -> Modes:
    """The same molecule with conformations (F, N, 3) in Å, weighted alike by default, for modes."""
    n_frames, n_atoms = frames.shape[:2]
    weights = np.ones(n_frames) if weights is None else weights
    return replace(
        modes,
        vectors=np.empty((0, n_atoms, 3)),
        amplitudes_A=np.empty(0),
        frames=frames,
        weights=weights / weights.sum(),
    )


def why_no_b_factors(modes: Modes) -> str | None:
    """Why the crystal's B-factors of these atoms are not known; None where some are."""
    if modes.crystal_b_A2 is None:
        return "the model's file does not hold them, as modes.h5 of this version does"
    if np.isnan(modes.crystal_b_A2).all():
        return "the crystal structure has none of these atoms"
    if not (modes.crystal_b_A2 > 0).any():
        return "the crystal structure's are all 0"
    return None


def effective_b_factors(frames: Floats) -> Floats:
    """B = 8π²⟨u²⟩/3 of every atom over superposed frames (F, N, 3) Å: (N,) Å²."""
    b_factors: Floats = 8 * np.pi**2 / 3 * np.sum(np.var(frames, axis=0), axis=-1)
    return b_factors


def principal_components(frames: Floats, n_modes: int) -> tuple[Floats, Floats]:
    """Principal components of superposed coordinates, largest first.

    The singular value decomposition of the centred frames gives the covariance matrix's
    eigenvectors without ever forming it: its eigenvalues are squares and cannot be negative.

    Parameters
    ----------
    frames : (F, N, 3) float, Å
        Superposed coordinates, F ≥ 2.
    n_modes : int
        At most this many; fewer where the ensemble spans fewer.

    Returns
    -------
    vectors : (M, N, 3) float, Σ_a |Δ_a|² = N
    amplitudes : (M,) float, Å
        Standard deviation of the coefficients over the frames (their population).

    Notes
    -----
    Amadei, Linssen & Berendsen (1993), Proteins 17, 412 ("essential dynamics"), unweighted.
    """
    n_frames, n_atoms = frames.shape[:2]
    if n_frames < 2:
        raise InputError("one frame has no motion: modes need at least two")
    require_room(
        _decomposition_bytes(n_frames, 3 * n_atoms),
        f"the principal components of {n_frames} frames of {n_atoms} atoms",
        "take every second frame or fewer, or --select fewer atoms",
    )
    frames = frames.astype(np.float64)
    centred = (frames - frames.mean(axis=0)).reshape(n_frames, -1)
    _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    amplitudes = singular / np.sqrt(n_frames * n_atoms)
    # What rounding leaves of coordinates that do not move is no motion.
    rounding = 1e-12 * np.linalg.norm(frames) + 1e-10 * singular[0]
    spanned = int(np.sum(singular > rounding))
    if spanned == 0:
        raise InputError("all frames are identical: there is no motion to take modes from")
    kept = min(n_modes, spanned)
    return normalised(vectors[:kept], n_atoms), amplitudes[:kept]


def _decomposition_bytes(rows: int, columns: int) -> float:
    """Memory of a singular value decomposition, as measured (LAPACK's gesdd).

    The matrix in double precision, centred, and two copies for LAPACK; both bases; its work.
    """
    rank = min(rows, columns)
    return 8 * (4 * rows * columns + rank * (rows + columns) + 4 * rank**2)


def normalised(rows: Floats, n_atoms: int) -> Floats:
    """Orthonormal rows (M, 3N) as fields with Σ|Δ|² = N, largest component positive."""
    largest = np.abs(rows).argmax(axis=1)
    signs = np.sign(rows[np.arange(len(rows)), largest])
    fields: Floats = rows * signs[:, None] * np.sqrt(n_atoms)
    return fields.reshape(len(rows), n_atoms, 3)
