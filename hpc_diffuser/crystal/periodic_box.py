"""The periodic boxes of a simulation: which can be one, and what their translations are."""

import numpy as np

_SMALLEST_BOX_A = 12.0  # between opposite faces; what is smaller is a placeholder


def usable(boxes: np.ndarray) -> np.ndarray:
    """Which boxes (F, 3, 3) can be those of a simulation: (F,) bool."""
    return box_heights(boxes) >= _SMALLEST_BOX_A


def box_heights(boxes: np.ndarray) -> np.ndarray:
    """The least distance between opposite faces: (F,) Å; 0 of no box."""
    with np.errstate(all="ignore"):
        volumes = np.abs(np.linalg.det(boxes))
        faces = np.linalg.norm(np.cross(boxes[:, [1, 2, 0]], boxes[:, [2, 0, 1]]), axis=2)
        return np.nan_to_num(volumes / faces.max(axis=1), posinf=0.0)


def translations(vectors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The box's translations in vectors (F, K, 3) that are short but for them: (F, K, 3) Å."""
    shifts = np.zeros_like(vectors)
    good = usable(boxes)
    counts = np.rint(vectors[good] @ np.linalg.inv(boxes[good]))
    shifts[good] = counts @ boxes[good]
    return shifts
