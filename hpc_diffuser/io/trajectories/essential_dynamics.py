"""Essential dynamics of a trajectory that no memory has to hold, on any number of ranks.

Where the frames are fewer than the coordinates, rank 0 keeps them: they are smaller than the
coordinates' covariance. Else ranks share that: each holds bands of its upper triangle, and adds to
them every round of frames. So memory is bounded by the atoms, whatever the number of frames.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.io.trajectories.stream import CrystalStream
from hpc_diffuser.motion.comoments import CoMoments, band_costs, bands
from hpc_diffuser.motion.modes import (
    atom_scales,
    components_of_comoment,
    effective_b_factors,
    principal_components,
    projections,
)
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import share_planes
from hpc_diffuser.system.memory import require_room


@dataclass(frozen=True)
class EssentialDynamics:
    """Principal components of a trajectory, and what they are about.

    Attributes
    ----------
    vectors : (M, N, 3) float, Σ_a |Δ_a|² = N
    amplitudes_A : (M,) float
    mean : (N, 3) float, Å
    b_factors_A2 : (N,) float
        8π²⟨u²⟩/3 of all the motion.
    """

    vectors: np.ndarray
    amplitudes_A: np.ndarray
    mean: np.ndarray
    b_factors_A2: np.ndarray

    def first(self, n_modes: int) -> "EssentialDynamics":
        """With the first modes alone."""
        return replace(
            self, vectors=self.vectors[:n_modes], amplitudes_A=self.amplitudes_A[:n_modes]
        )

    def share_of(self, coefficients: np.ndarray) -> float:
        """What part of all the motion coefficients (F, M) in Å hold: of the mean square."""
        mean_square = 3 / (8 * np.pi**2) * self.b_factors_A2.mean()
        return float(np.mean(np.sum(coefficients**2, axis=1)) / mean_square)


def essential_dynamics(
    stream: CrystalStream, n_modes: int, weighting: str, ranks: Ranks
) -> EssentialDynamics | None:
    """Principal components of a stream's frames, in one pass; on rank 0, None elsewhere.

    Parameters
    ----------
    stream : CrystalStream
    n_modes : int
        At most this many; fewer where the frames span fewer.
    weighting : {"none", "mass", "electrons"}
        As of `atom_scales`.
    ranks : Ranks
        The stream's.

    Raises
    ------
    InputError
        As of `CrystalStream.rounds`; where memory does not hold the covariance.
    """
    scales = atom_scales(stream.structure, weighting)
    if stream.n_frames <= 3 * len(stream.structure):
        return _of_frames(stream, n_modes, scales, ranks)
    return _of_covariance(stream, n_modes, scales, ranks)


def frame_projections(
    stream: CrystalStream, found: EssentialDynamics, weighting: str, ranks: Ranks
) -> np.ndarray | None:
    """Coefficients of all frames along modes, in another pass: (F, M) Å on rank 0; else None.

    Parameters
    ----------
    stream : CrystalStream
        That the modes are of.
    found : EssentialDynamics
        On every rank.
    weighting : str
        That they were made with.
    ranks : Ranks
        The stream's.
    """
    scales, n_modes = atom_scales(stream.structure, weighting), len(found.amplitudes_A)
    rounds = stream.rounds(
        lambda frames: projections(frames, found.mean, found.vectors, scales), n_modes
    )
    kept, begin = np.empty((stream.n_frames if ranks.is_root else 0, n_modes)), 0
    for rows in rounds:
        if ranks.is_root:
            kept[begin : begin + len(rows)] = rows
            begin += len(rows)
    return kept if ranks.is_root else None


def _of_frames(
    stream: CrystalStream, n_modes: int, scales: np.ndarray | None, ranks: Ranks
) -> EssentialDynamics | None:
    """Of frames that rank 0 keeps."""
    n_atoms = len(stream.structure)
    frames = np.empty((stream.n_frames if ranks.is_root else 0, n_atoms, 3))
    begin = 0
    for rows in stream.rounds(lambda some: some.reshape(len(some), -1), 3 * n_atoms):
        if ranks.is_root:
            frames[begin : begin + len(rows)] = rows.reshape(-1, n_atoms, 3)
            begin += len(rows)

    def decomposed() -> EssentialDynamics:
        found = principal_components(frames, n_modes, scales)
        return EssentialDynamics(*found, frames.mean(axis=0), effective_b_factors(frames))

    return _on_root(decomposed, ranks)


def _of_covariance(
    stream: CrystalStream, n_modes: int, scales: np.ndarray | None, ranks: Ranks
) -> EssentialDynamics | None:
    """Of coordinates whose co-moment all ranks hold together."""
    n_columns = 3 * len(stream.structure)
    ranks.from_root(lambda: _require_room(n_columns))
    scale = np.ones(n_columns) if scales is None else np.repeat(scales, 3)
    shares = share_planes(band_costs(n_columns), ranks.size)
    moments = CoMoments(n_columns, shares[ranks.rank].tolist())
    for rows in stream.rounds(lambda frames: frames.reshape(len(frames), -1) * scale, n_columns):
        moments.add(rows)
    whole = _gathered(moments, shares, n_columns, ranks)

    def decomposed() -> EssentialDynamics:
        size = float(np.sqrt(moments.squares.sum() + moments.count * np.sum(moments.mean**2)))
        found = components_of_comoment(whole, moments.count, size, n_modes, scales)
        squares = (moments.squares / scale**2 / moments.count).reshape(-1, 3)
        b_factors = 8 * np.pi**2 / 3 * squares.sum(axis=1)
        return EssentialDynamics(*found, (moments.mean / scale).reshape(-1, 3), b_factors)

    return _on_root(decomposed, ranks)


def _on_root(work: Callable[[], EssentialDynamics], ranks: Ranks) -> EssentialDynamics | None:
    """What rank 0 makes, there alone; its errors are everyone's."""
    kept: list[EssentialDynamics] = []
    ranks.from_root(lambda: kept.append(work()))
    return kept[0] if ranks.is_root else None


def _gathered(
    moments: CoMoments, shares: list[np.ndarray], n_columns: int, ranks: Ranks
) -> np.ndarray:
    """The whole co-moment (K, K) on rank 0, band by band; nothing elsewhere.

    Only its lower triangle, in the order of Fortran, is of use.
    """
    whole = np.zeros((n_columns, n_columns) if ranks.is_root else (0, 0))
    owners = {band: rank for rank, share in enumerate(shares) for band in share.tolist()}
    for band, rows in enumerate(bands(n_columns)):
        part = moments.parts.pop(band, np.empty((0, 0)))
        lengths = [0] * ranks.size
        lengths[owners[band]] = (rows.stop - rows.start) * (n_columns - rows.start)
        found = ranks.concatenated_on_root(part, lengths)
        if found is not None:
            whole[rows, rows.start :] = found.reshape(rows.stop - rows.start, -1)
            whole[rows.start :, rows] = whole[rows, rows.start :].T
    return whole


def _require_room(n_columns: int) -> None:
    """Of rank 0: the co-moment, and what of its upper triangle is its own."""
    require_room(
        8 * 1.5 * n_columns**2,
        f"the covariance of {n_columns // 3} atoms",
        "--select fewer atoms, such as name CA",
    )
