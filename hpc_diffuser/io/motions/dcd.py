"""DCD, the trajectories of CHARMM, NAMD and VMD: Fortran records in single precision.

Written here rather than by a library, which writes to the path itself: a file is to be the old
one or the new one.
"""

import numpy as np

_TITLE = b"conformations by hpc-diffuser"
_CHARMM = 24  # the version whose layout this is, with the unit cell in front of each frame


def dcd_bytes(frames: np.ndarray, unit_cell: tuple[float, ...]) -> bytes:
    """Conformations as a trajectory.

    Parameters
    ----------
    frames : (F, N, 3) float, Å
    unit_cell : 6 floats, Å and degrees, or none
        Of all frames.
    """
    n_frames, n_atoms = frames.shape[:2]
    control = np.zeros(20, "<i4")
    control[:4] = n_frames, 1, 1, n_frames  # frames, first step, steps between, steps
    control[9:10].view("<f4")[:] = 1.0  # the time between steps, of which there is none
    control[10], control[19] = bool(unit_cell), _CHARMM
    head = [
        b"CORD" + control.tobytes(),
        np.array(1, "<i4").tobytes() + _TITLE.ljust(80),
        np.array(n_atoms, "<i4").tobytes(),
    ]
    cell = [np.tile(_cell(unit_cell), (n_frames, 1))] if unit_cell else []
    axes = [frames[:, :, axis].astype("<f4") for axis in range(3)]
    return b"".join(map(_record, head)) + _records([*cell, *axes])


def _cell(unit_cell: tuple[float, ...]) -> np.ndarray:
    """a, cos γ, b, cos β, cos α, c, as NAMD and VMD write it: (6,) float."""
    a, b, c = unit_cell[:3]
    alpha, beta, gamma = (np.sin(np.radians(90 - angle)) for angle in unit_cell[3:])
    return np.array([a, gamma, b, beta, alpha, c], "<f8")


def _record(data: bytes) -> bytes:
    """With its length before and behind it."""
    length = np.array(len(data), "<i4").tobytes()
    return length + data + length


def _records(parts: list[np.ndarray]) -> bytes:
    """Row by row, a record of each part (F, n)."""
    columns = []
    for part in parts:
        lengths = np.full((len(part), 1), part[0].nbytes, "<i4")
        columns += [lengths, part, lengths]
    as_bytes = [np.ascontiguousarray(column).view(np.uint8) for column in columns]
    return np.concatenate(as_bytes, axis=1).tobytes()
