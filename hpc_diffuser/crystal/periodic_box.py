"""The periodic boxes of a simulation: which can be one, and what their translations are."""

import numpy as np

from hpc_diffuser.system.arrays import Floats, Mask

_SMALLEST_BOX_A = 12.0  # between opposite faces; what is smaller is a placeholder


def usable(boxes: Floats) -> Mask:
    """Which boxes (F, 3, 3) can be those of a simulation: (F,) bool."""
    return box_heights(boxes) >= _SMALLEST_BOX_A


def box_heights(boxes: Floats) -> Floats:
    """The least distance between opposite faces: (F,) Å; 0 of no box."""
    with np.errstate(all="ignore"):
        volumes = np.abs(np.linalg.det(boxes))
        faces = np.linalg.norm(np.cross(boxes[:, [1, 2, 0]], boxes[:, [2, 0, 1]]), axis=2)
        heights: Floats = np.nan_to_num(volumes / faces.max(axis=1), posinf=0.0)
        return heights


def translations(vectors: Floats, boxes: Floats) -> Floats:
    """The box's translations in vectors (F, K, 3) that are short but for them: (F, K, 3) Å."""
    shifts = np.zeros_like(vectors)
    good = usable(boxes)
    counts = np.rint(vectors[good] @ np.linalg.inv(boxes[good]))
    shifts[good] = counts @ boxes[good]
    return shifts
