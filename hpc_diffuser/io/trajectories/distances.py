"""How far a trajectory's frames are from the crystal structure, and whether that can be motion."""

import numpy as np

from hpc_diffuser.system.errors import InputError

_UNRELATED = 0.8  # rmsd by radius of gyration: two folds of one size 1.1 to 1.4, a mirror image 0.9
_FAR_A, _FAR = 5.0, 0.4  # more than folded proteins move; of small ones by radius of gyration
_MIRROR_A = 1.5  # rmsd above which a mirror image that fits twice as well is one


def distances(
    source: str, frames: np.ndarray, target: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """How far frames are from the reference, if that can be motion: rmsd (F,) Å.

    Parameters
    ----------
    source : str
        The file, for messages.
    frames : (F, K, 3) float, Å
        Not superposed.
    target : (K, 3) float, Å
    numbers : (F,) int
        The frames' numbers in the file, from 1.

    Raises
    ------
    InputError
        Naming the first frame for which it cannot.
    """
    rmsd, mirrored = _rmsd(frames, target)
    size = _radius(target)
    mirror = (rmsd > _MIRROR_A) & (mirrored < rmsd / 2)
    wrong = np.flatnonzero(mirror | (rmsd > _UNRELATED * size))
    if len(wrong):
        frame = wrong[0]
        why = (
            f"its mirror image fits to {mirrored[frame]:.1f} Å: an axis of the coordinates is "
            "turned round"
            if mirror[frame]
            else f"as of another structure, whose radius of gyration is {size:.1f} Å too: give "
            "the reference of this simulation, and a topology with the trajectory's order of "
            "atoms; molecules that unfold have no modes in a crystal"
        )
        raise InputError(
            f"{source}: frame {numbers[frame]}: rmsd of {rmsd[frame]:.1f} Å to the reference: {why}"
        )
    return rmsd


def distance_note(rmsd: np.ndarray, names: list[str], target: np.ndarray) -> str:
    """A line about how far all frames are from the reference.

    Parameters
    ----------
    rmsd : (F,) float, Å
    names : list of str
        The frames', as "frame 7".
    target : (K, 3) float, Å
    """
    worst = int(np.argmax(rmsd))
    text = (
        f"rmsd to the reference {rmsd[0]:.2f} Å in the first frame, median {np.median(rmsd):.2f}, "
        f"largest {rmsd[worst]:.2f} in {names[worst]}, of {len(target)} backbone atoms"
    )
    if rmsd[worst] > min(_FAR_A, _FAR * _radius(target)):
        text += ": more than a folded protein moves: look whether these frames are meant"
    return text


def _radius(target: np.ndarray) -> float:
    """Of gyration, in Å."""
    return float(np.sqrt(np.mean(np.sum((target - target.mean(axis=0)) ** 2, axis=1))))


def _rmsd(frames: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of frames, and of their mirror images, superposed on the target: (F,) Å each.

    Σ|y − Rx|² = Σ|x|² + Σ|y|² − 2 tr(R Σ x yᵀ), whose largest trace over rotations is the sum of
    the singular values, the least with the sign of the determinant (Kabsch 1976).
    """
    there = target - target.mean(axis=0)
    here = frames - frames.mean(axis=1, keepdims=True)
    u, singular, vt = np.linalg.svd(np.einsum("ka,fkb->fab", there, here))
    sign = np.sign(np.linalg.det(u @ vt))
    squares = np.sum(there**2) + np.sum(here**2, axis=(1, 2))
    traces = (singular[:, 0] + singular[:, 1] + side * sign * singular[:, 2] for side in (1, -1))
    found = (np.sqrt(np.maximum(squares - 2 * t, 0) / len(target)) for t in traces)
    rmsd, mirrored = found
    return rmsd, mirrored
