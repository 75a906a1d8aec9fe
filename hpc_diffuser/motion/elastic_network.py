"""Motion modes without a trajectory: normal modes of an elastic network of the structure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist, squareform

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.modes import normalised
from hpc_diffuser.motion.slabs import SlabCholesky, slabs
from hpc_diffuser.motion.springs import Neighbours, contact_hessian, ground_hessian, sparse_hessian
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.memory import require_room

CUTOFF_A = 10.0
DENSE_ATOMS = 500  # up to here the whole matrix is about as quick
_NETWORK_BYTES = 8 * 2 * 3**2  # per pair of atoms: the Hessian and LAPACK's copy of it
_PAIR_BYTES = 216, 950  # of a pair of atoms: in the sparse Hessian, and while that is assembled
_SMALL_BYTES = 10e6  # what else there is
_PAIRS = 100  # of an atom within 10 Å in a large protein, each counted once
_FEWER = "give a file of fewer atoms, such as one chain"
_CLAMPED = "take --neighbours clamped, whose matrix is sparse"
_FEWEST = "atoms have no internal modes: at least three are needed"


@dataclass(frozen=True)
class InternalMotion:
    """How a molecule's network moves inside, its translation and rotation left out.

    Where neighbours hold the molecule, these follow the internal motion as they like best: what is
    left is the internal motion of molecules after superposition.

    Attributes
    ----------
    vectors : (M, N, 3) float, Σ_a |Δ_a|² = N
        Of the softest modes.
    stiffness : (M,) float
        Their eigenvalues λ, in the network's force constant: ⟨c²⟩ = kT/λ of a coefficient c.
    squares : (N,) float
        ⟨|u|²⟩ of every atom by all internal modes, in kT over the force constant.
    """

    vectors: Floats
    stiffness: Floats
    squares: Floats


def elastic_network_modes(
    structure: Structure, n_modes: int, cutoff_A: float = CUTOFF_A
) -> tuple[Floats, Floats]:
    """Lowest internal normal modes of an anisotropic network, scaled to the B-factors.

    Every pair of atoms nearer than `cutoff_A` is joined by a spring of constant (cutoff/r)²,
    stiffer between bonded neighbours; the six rigid-body modes are left out. Amplitudes go
    as 1/√λ (equipartition), scaled so that together they give the mean B-factor
    8π²⟨u²⟩/3 (with all B zero: 0.3 Å rms in all).

    Parameters
    ----------
    structure : Structure
    n_modes : int
    cutoff_A : float, Å

    Returns
    -------
    vectors : (M, N, 3) float, Σ_a |Δ_a|² = N
    amplitudes : (M,) float, Å

    Notes
    -----
    Atilgan et al. (2001), Biophys. J. 80, 505; distance-weighted springs: Yang, Song &
    Jernigan (2009), PNAS 106, 12347.
    """
    if len(structure) > DENSE_ATOMS:
        motion = internal_motion(structure.positions, n_modes, None, cutoff_A)
        return motion.vectors, amplitudes_of_mean_b(motion.stiffness, structure.b_factors_A2)
    stiffness, columns = _softest(_whole_hessian(structure.positions, cutoff_A), n_modes, cutoff_A)
    vectors = normalised(columns.T, len(structure))
    return vectors, amplitudes_of_mean_b(stiffness, structure.b_factors_A2)


def amplitudes_of_mean_b(stiffness: Floats, b_factors_A2: Floats) -> Floats:
    """(M,) Å, as 1/√λ, that together give the mean B-factor; 0.3 Å rms in all where that is 0."""
    mean_b = float(b_factors_A2.mean())
    total_rms = np.sqrt(3 * mean_b / (8 * np.pi**2)) if mean_b > 0 else 0.3
    amplitudes: Floats = 1 / np.sqrt(stiffness)
    amplitudes *= total_rms / np.linalg.norm(amplitudes)
    return amplitudes


def internal_motion(
    positions: Floats,
    n_modes: int,
    neighbours: Neighbours | None = None,
    cutoff_A: float = CUTOFF_A,
) -> InternalMotion:
    """The softest internal modes of a network, and how far all of them move every atom.

    Parameters
    ----------
    positions : (N, 3) float, Å
    n_modes : int
        Fewer where there are fewer.
    neighbours : Neighbours or None
        None: a molecule alone.
    cutoff_A : float, Å

    Raises
    ------
    InputError
        For fewer than three atoms, a network that falls apart, and where there is no memory for it.

    Notes
    -----
    Of more than `DENSE_ATOMS` atoms the matrix is factorised slab by slab (`slabs`), which copies
    that move alike do not allow: they join all slabs.
    """
    if len(positions) < 3:
        raise InputError(f"{len(positions)} {_FEWEST}")
    if len(positions) > DENSE_ATOMS and not (neighbours and neighbours.together):
        return _by_slabs(positions, n_modes, neighbours, cutoff_A)
    return _whole(positions, n_modes, neighbours, cutoff_A)


def _whole(
    positions: Floats, n_modes: int, neighbours: Neighbours | None, cutoff_A: float
) -> InternalMotion:
    """By LAPACK, of the whole matrix."""
    n_atoms = len(positions)
    together = bool(neighbours and neighbours.together)
    hessian = _whole_hessian(positions, cutoff_A, _CLAMPED if together else _FEWER)
    rigid = rigid_motions(positions)
    if neighbours:
        contacts = contact_hessian(neighbours, n_atoms, cutoff_A).tocoo()
        hessian[contacts.row, contacts.col] += contacts.data
        _relax(hessian, rigid)
    stiffness, columns = _softest(hessian, n_modes, cutoff_A)
    # Rigid motions are made stiff, so that the inverse exists, and taken out of it again.
    stiff = np.trace(hessian) / len(hessian)
    hessian += stiff * rigid @ rigid.T
    factor = scipy.linalg.cholesky(hessian.T, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    squares = np.diag(inverse) - np.sum(rigid**2, axis=1) / stiff
    return InternalMotion(normalised(columns.T, n_atoms), stiffness, _of_atoms(squares))


def _relax(hessian: Floats, rigid: Floats) -> None:
    """Let rigid motions R follow: H − HR (RᵀHR)⁺ RᵀH, in place.

    Its inverse, inside, is that part of H's own (the Schur complement): what is left of the motion
    after superposition.
    """
    pulled = hessian @ rigid
    hessian -= pulled @ np.linalg.pinv(rigid.T @ pulled, rcond=1e-9, hermitian=True) @ pulled.T


def _by_slabs(
    positions: Floats, n_modes: int, neighbours: Neighbours | None, cutoff_A: float
) -> InternalMotion:
    """By the factors of the block-tridiagonal matrix: `slabs`.

    With R the six rigid motions and P = 1 − RRᵀ, the covariance of the internal motion is P H⁻¹ P.
    A molecule alone is pinned at six coordinates, which changes nothing inside.
    """
    n_atoms = len(positions)
    order, ends = slabs(positions, cutoff_A)
    _require_slabs(n_atoms, np.diff([0, *ends]), len(neighbours.contacts) if neighbours else 0)
    rows = (3 * order[:, None] + np.arange(3)).ravel()
    hessian = sparse_hessian(positions, cutoff_A)
    stiff = hessian.trace() / (3 * n_atoms)
    held = contact_hessian(neighbours, n_atoms, cutoff_A) if neighbours else _pins(positions, stiff)
    hessian = csr_array(hessian + held)[rows][:, rows]
    rigid = rigid_motions(positions)[rows]
    try:
        factors = SlabCholesky(hessian, [3 * end for end in ends])
    except np.linalg.LinAlgError:
        raise _falls_apart(cutoff_A) from None
    del hessian, held

    def covariance(vectors: Floats) -> Floats:
        return _without(rigid, factors.solve(_without(rigid, vectors)))

    stiffness, columns = _largest(covariance, 3 * n_atoms, n_modes)
    if stiffness[0] < 1e-6 * stiff:
        raise _falls_apart(cutoff_A)
    pulled = factors.solve(rigid)
    squares = factors.diagonal_of_inverse() - 2 * np.sum(rigid * pulled, axis=1)
    squares += np.einsum("ni,ij,nj->n", rigid, rigid.T @ pulled, rigid)
    back = np.argsort(rows)
    vectors = normalised(columns[back].T, n_atoms)
    return InternalMotion(vectors, stiffness, _of_atoms(squares[back]))


def _whole_hessian(positions: Floats, cutoff_A: float, remedy: str = _FEWER) -> Floats:
    n_atoms = len(positions)
    if n_atoms < 3:
        raise InputError(f"{n_atoms} {_FEWEST}")
    require_room(
        _NETWORK_BYTES * n_atoms**2,
        f"the elastic network of {n_atoms} atoms",
        remedy,
    )
    return network_hessian(positions, cutoff_A)


def _softest(hessian: Floats, n_modes: int, cutoff_A: float) -> tuple[Floats, Floats]:
    """Eigenvalues (M,) and orthonormal columns (3N, M) above the six of rigid motion."""
    last = min(6 + n_modes, len(hessian)) - 1
    eigenvalues, columns = scipy.linalg.eigh(hessian, subset_by_index=(0, last))
    if eigenvalues[6] < 1e-6 * np.trace(hessian) / len(hessian):
        raise _falls_apart(cutoff_A)
    return eigenvalues[6:], columns[:, 6:]


def _largest(
    covariance: Callable[[Floats], Floats], size: int, n_modes: int
) -> tuple[Floats, Floats]:
    """The same from an operator of the covariance H⁻¹, by Lanczos iterations."""
    operator = LinearOperator((size, size), matvec=covariance, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    count = min(n_modes, size - 7)
    variances, columns = eigsh(operator, k=count, which="LA", v0=start)
    return 1 / variances[::-1], columns[:, ::-1]


def require_one_piece(positions: Floats, cutoff_A: float = CUTOFF_A) -> None:
    """Raise InputError where atoms (N, 3) in Å are pieces that no spring of a network joins."""
    near = KDTree(positions).query_pairs(cutoff_A, output_type="ndarray")
    shape = len(positions), len(positions)
    graph = coo_array((np.ones(len(near), bool), (near[:, 0], near[:, 1])), shape=shape)
    pieces, _ = connected_components(graph, directed=False)
    if pieces > 1:
        raise _falls_apart(cutoff_A)


def _falls_apart(cutoff_A: float) -> InputError:
    return InputError(
        f"the elastic network falls apart at a cutoff of {cutoff_A} Å: "
        "give one molecule, or a larger cutoff"
    )


def _require_slabs(n_atoms: int, sizes: Integers, n_contacts: int) -> None:
    """Raise InputError where there is no memory for the factors."""
    pairs = _PAIRS * n_atoms + n_contacts
    held, assembling = (each * pairs for each in _PAIR_BYTES)
    # 72 bytes: a block of 3 x 3. The factors, and one more block between the largest slabs.
    in_factors = 72.0 * (np.sum(sizes**2) + np.max(sizes[:-1] * sizes[1:], initial=0))
    require_room(
        max(in_factors + held, assembling) + _SMALL_BYTES,
        f"the elastic network of {n_atoms} atoms",
        _FEWER,
    )


def rigid_motions(positions: Floats) -> Floats:
    """The six rigid motions, infinitesimal, as orthonormal columns (3N, 6)."""
    away = positions - positions.mean(axis=0)
    shifts = np.broadcast_to(np.eye(3)[:, None], (3, *positions.shape))
    turns = np.cross(np.eye(3)[:, None], away)
    fields = np.concatenate([shifts, turns]).reshape(6, -1)
    columns: Floats = np.linalg.qr(fields.T)[0]
    return columns


def _pins(positions: Floats, stiff: float) -> csr_array:
    """Springs (3N, 3N) to the ground at six coordinates of three atoms: they hold a rigid body.

    All of one atom, two across the line to the next, one across the plane with the last.
    """
    away = np.linalg.norm(positions - positions.mean(axis=0), axis=1)
    a = int(away.argmax())
    b = int(np.linalg.norm(positions - positions[a], axis=1).argmax())
    line = (positions[b] - positions[a]) / np.linalg.norm(positions[b] - positions[a])
    across = np.cross(positions - positions[a], line)
    c = int(np.linalg.norm(across, axis=1).argmax())
    normal = across[c] / np.linalg.norm(across[c])
    blocks = np.zeros((len(positions), 3, 3))
    blocks[a] += stiff * np.eye(3)
    blocks[b] += stiff * (np.eye(3) - np.outer(line, line))
    blocks[c] += stiff * np.outer(normal, normal)
    return ground_hessian(blocks)


def _without(rigid: Floats, vectors: Floats) -> Floats:
    left: Floats = vectors - rigid @ (rigid.T @ vectors)
    return left


def _of_atoms(squares: Floats) -> Floats:
    """Sums over x, y, z of each atom, of (3N,): (N,)."""
    summed: Floats = squares.reshape(-1, 3).sum(axis=1)
    return summed


def network_hessian(positions: Floats, cutoff_A: float) -> Floats:
    """Second derivatives of the network's energy: (3N, 3N), atom-major (x, y, z of each)."""
    distance = squareform(pdist(positions))
    joined = (distance < cutoff_A) & (distance > 0)
    spring = np.zeros_like(distance)
    spring[joined] = (cutoff_A / distance[joined]) ** 2
    # Σ over pairs of spring · n nᵀ with n = r_ab/|r_ab|; the square of |r_ab| divides once.
    per_r2 = np.divide(spring, distance**2, out=np.zeros_like(spring), where=joined)
    hessian = np.empty((len(positions), 3, len(positions), 3))
    for i in range(3):
        delta_i = positions[:, None, i] - positions[None, :, i]
        for j in range(3):
            delta_j = positions[:, None, j] - positions[None, :, j]
            block = -per_r2 * delta_i * delta_j
            np.fill_diagonal(block, -block.sum(axis=1))
            hessian[:, i, :, j] = block
    return hessian.reshape(3 * len(positions), -1)
