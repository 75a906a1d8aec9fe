"""Motion modes, and those that are principal components of an ensemble.

A mode is a displacement field Δ with Σ_a |Δ_a|² = N, so that its amplitude, the standard
deviation of the coefficient, is the rms displacement per atom in Å.
"""

from dataclasses import dataclass, replace

import gemmi
import numpy as np

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.convergence import Convergence
from hpc_diffuser.motion.lattice.rigid_lattice import RigidLattice
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.memory import require_room

WEIGHTINGS = ("none", "mass", "electrons")
# Amplitudes beside the largest that are rounding: of frames; of what only their squares tell.
_ROUNDING, _ROUNDING_OF_SQUARES = 1e-10, 1e-6
_DENSE = 3000  # rows of a matrix that a direct solver is quick with


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
    crystal_u_A2 : (N, 3, 3) float, Å², or None
        Its ANISOU records of them; NaN where it has none.
    convergence : Convergence or None
        Of a trajectory: whether it was long enough.
    lattice : RigidLattice or None
        What holds the molecule in its crystal, where that is asked for.
    """

    structure: Structure
    vectors: Floats
    amplitudes_A: Floats
    unit_cell: tuple[float, ...]
    space_group: str
    frames: Floats | None = None
    weights: Floats | None = None
    crystal_b_A2: Floats | None = None
    crystal_u_A2: Floats | None = None
    convergence: Convergence | None = None
    lattice: RigidLattice | None = None

    def __post_init__(self) -> None:
        if (self.frames is None) != (self.weights is None):
            raise ValueError("frames have weights: see `with_frames`")

    def __repr__(self) -> str:
        what = (
            f"{len(self.amplitudes_A)} modes"
            if self.frames is None
            else f"{len(self.frames)} frames"
        )
        return f"Modes({what} of {len(self.structure)} atoms, {self.space_group})"


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
    if modes.crystal_b_A2 is None and modes.frames is not None:
        return "an ensemble does not hold them, the crystal's file does"
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


def principal_components(
    frames: Floats, n_modes: int, scales: Floats | None = None
) -> tuple[Floats, Floats]:
    """Principal components of superposed coordinates, largest first.

    The smaller of two matrices is diagonalised, for its first components alone: the coordinates'
    covariance, or the frames' products (Gram matrix), which has the same eigenvalues.

    Parameters
    ----------
    frames : (F, N, 3) float, Å
        Superposed coordinates, F ≥ 2.
    n_modes : int
        At most this many; fewer where the ensemble spans fewer.
    scales : (N,) float or None
        What each atom's coordinates count, as of `atom_scales`; None: all alike.

    Returns
    -------
    vectors : (M, N, 3) float, Σ_a |Δ_a|² = N
    amplitudes : (M,) float, Å
        Standard deviation of the coefficients over the frames (their population).

    Notes
    -----
    Amadei, Linssen & Berendsen (1993), Proteins 17, 412 ("essential dynamics"). Of scaled
    coordinates s_a x_a the components v are orthonormal, so that the fields Δ ∝ v_a/s_a have
    Σ_a s_a² Δ_ia·Δ_ja = 0 for i ≠ j: with √mass as scale they are orthogonal as kinetic energy
    is, not as displacements are. Their coefficients are uncorrelated all the same.
    """
    n_frames, n_atoms = frames.shape[:2]
    if n_frames < 2:
        raise InputError("one frame has no motion: modes need at least two")
    require_room(
        _decomposition_bytes(n_frames, 3 * n_atoms),
        f"the principal components of {n_frames} frames of {n_atoms} atoms",
        "take every second frame or fewer, or --select fewer atoms",
    )
    rows = frames.reshape(n_frames, -1).astype(np.float64)
    rows *= np.ones(3 * n_atoms) if scales is None else np.repeat(scales, 3)
    size = float(np.linalg.norm(rows))
    rows -= rows.mean(axis=0)
    if n_frames > 3 * n_atoms:
        return components_of_comoment(rows.T @ rows, n_frames, size, n_modes, scales)
    _, states = largest_eigenpairs(rows @ rows.T, n_modes)
    directions = np.linalg.qr((states @ rows).T)[0].T
    singular = np.linalg.norm(rows @ directions.T, axis=0)
    order = np.argsort(-singular, kind="stable")
    kept = order[: _spanned(singular[order], size, _ROUNDING)]
    return displacement_fields(directions[kept], singular[kept] / np.sqrt(n_frames), scales)


def components_of_comoment(
    comoment: Floats, n_frames: int, size: float, n_modes: int, scales: Floats | None = None
) -> tuple[Floats, Floats]:
    """The same of Σ_f (x − x̄)(x − x̄)ᵀ (3N, 3N) of the scaled coordinates of so many frames.

    Parameters
    ----------
    comoment : (3N, 3N) float
        Overwritten.
    n_frames : int
    size : float
        √Σ x² of all the coordinates: what rounding is measured by.
    n_modes, scales
        As of `principal_components`.
    """
    squares, directions = largest_eigenpairs(comoment, n_modes)
    singular = np.sqrt(np.maximum(squares, 0))
    kept = _spanned(singular, size, _ROUNDING_OF_SQUARES)
    return displacement_fields(directions[:kept], singular[:kept] / np.sqrt(n_frames), scales)


def largest_eigenpairs(matrix: Floats, n_pairs: int) -> tuple[Floats, Floats]:
    """The largest eigenvalues (M,) of a symmetric matrix, and its eigenvectors as rows (M, K).

    Of a large one, Lanczos' few, from a fixed start: the same bits in every run.
    """
    # Loaded here: who only looks at modes needs none of it.
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    size = len(matrix)
    n_pairs = min(n_pairs, size)
    if size > _DENSE and n_pairs < size // 20:
        start = np.random.default_rng(1).standard_normal(size)
        values, columns = eigsh(matrix, n_pairs, which="LA", v0=start)
    else:
        some = (size - n_pairs, size - 1)
        values, columns = eigh(matrix, subset_by_index=some, overwrite_a=True, check_finite=False)
    order = np.argsort(-values, kind="stable")
    return values[order], columns[:, order].T


def _spanned(singular: Floats, size: float, rounding: float) -> int:
    """How many directions hold motion: what rounding leaves of still coordinates is none."""
    found = int(np.sum(singular > 1e-12 * size + rounding * singular[0]))
    if found == 0:
        raise InputError("all frames are identical: there is no motion to take modes from")
    return found


def _decomposition_bytes(rows: int, columns: int) -> float:
    """Memory of the decomposition, as measured: coordinates; the smaller matrix and its work."""
    return 8 * (rows * columns + 3 * min(rows, columns) ** 2)


def most_modes(n_frames: int, n_atoms: int) -> int:
    """How many modes so many frames of so many atoms can have."""
    return min(n_frames - 1, 3 * n_atoms)


def atom_scales(structure: Structure, weighting: str) -> Floats | None:
    """What each atom's coordinates count in principal components: (N,) float; None: alike.

    Parameters
    ----------
    structure : Structure
    weighting : {"none", "mass", "electrons"}
        √mass, as in normal modes; the number of electrons, by which displacements change the
        structure factor.
    """
    if weighting == "none":
        return None
    elements = [gemmi.Element(str(symbol)) for symbol in structure.elements]
    if weighting == "mass":
        return np.sqrt([element.weight for element in elements])
    return np.array([float(element.atomic_number) for element in elements])


def displacement_fields(
    directions: Floats, deviations: Floats, scales: Floats | None
) -> tuple[Floats, Floats]:
    """Components of scaled coordinates as displacements: fields (M, N, 3), amplitudes (M,) Å.

    Parameters
    ----------
    directions : (M, 3N) float
        Orthonormal.
    deviations : (M,) float
        Standard deviations along them.
    scales : (N,) float or None
    """
    n_atoms = directions.shape[1] // 3
    if scales is None:
        return normalised(directions, n_atoms), deviations / np.sqrt(n_atoms)
    moved = directions / np.repeat(scales, 3)
    lengths = np.linalg.norm(moved, axis=1)
    return normalised(moved / lengths[:, None], n_atoms), deviations * lengths / np.sqrt(n_atoms)


def projections(
    frames: Floats, mean: Floats, vectors: Floats, scales: Floats | None = None
) -> Floats:
    """Coefficients α of frames along modes, in Å: (F, M) float; x = x̄ + Σ_i α_i Δ_i.

    Parameters
    ----------
    frames : (F, N, 3) float, Å
        Superposed.
    mean : (N, 3) float, Å
    vectors : (M, N, 3) float
    scales : (N,) float or None
        Those that the modes were made with.
    """
    dual = vectors if scales is None else vectors * scales[:, None] ** 2
    dual = dual / np.sum(dual * vectors, axis=(1, 2))[:, None, None]
    found: Floats = (frames - mean).reshape(len(frames), -1) @ dual.reshape(len(dual), -1).T
    return found


def normalised(rows: Floats, n_atoms: int) -> Floats:
    """Rows (M, 3N) of length 1 as fields with Σ|Δ|² = N, largest component positive."""
    largest = np.abs(rows).argmax(axis=1)
    signs = np.sign(rows[np.arange(len(rows)), largest])
    fields: Floats = rows * signs[:, None] * np.sqrt(n_atoms)
    return fields.reshape(len(rows), n_atoms, 3)
