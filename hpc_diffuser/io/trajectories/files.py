"""Molecular-dynamics trajectories: what they are of, and their frames, a few or all at once.

The readers themselves run in a child process (`native`), which keeps the files open.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.chains import tell_chains_apart
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.plausible import MOST_COORDINATE_A, check_names
from hpc_diffuser.io.trajectories import native
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.isolated import Isolation, require_file
from hpc_diffuser.system.memory import require_room

_PARENT_BYTES = 16  # of a coordinate that comes in single precision: Å in double, and once more
_NAMES = ("elements", "atom_names", "residue_names", "chain_ids", "insertion_codes")


@dataclass(frozen=True)
class Trajectory:
    """What a trajectory's files hold.

    Attributes
    ----------
    structure : Structure
        Its atoms at the first of these frames, but for water, ions and hydrogens that nobody asks
        for.
    frames : (F, N, 3) float, Å
    boxes : (F, 3, 3) float, Å
        Vectors of the periodic box as rows; 0 or NaN where there is none.
    bonds : (B, 2) int
        Atoms that the topology knows to be bonded.
    rows : (K,) int or None
        The atoms that match the selection, ascending; None without one.
    n_atoms : int
        Of the topology: with those that were not read.
    left_out : tuple of str
        What was not read: "512 water molecules", "3 NA".
    notes : tuple of str
        What was assumed, and frames that hold no coordinates.
    lettered : bool
        Whether the topology names chains; else they are A, B, C, in its order.
    places : (N,) int
        Where its atoms stand among all of the topology's, from 0.
    """

    structure: Structure
    frames: np.ndarray
    boxes: np.ndarray
    bonds: np.ndarray
    rows: np.ndarray | None
    n_atoms: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    lettered: bool
    places: np.ndarray


@dataclass(frozen=True)
class FrameRange:
    """Some frames of one file.

    Attributes
    ----------
    file : int
        Which of the trajectories.
    numbers : (F,) int
        Its frames, ascending, counted from 0.
    """

    file: int
    numbers: np.ndarray


class TrajectoryReader:
    """Trajectories of one topology, open in a process of its own, until it is closed.

    Parameters
    ----------
    trajectories : sequence of Path
        XTC, TRR, DCD, NetCDF, MDTraj's HDF5, GRO, multi-model PDB, by the file's first bytes or
        its ending; packed or not.
    topology : Path
        PDB, GRO, PRMTOP, PSF. Residues of PRMTOP, which has no numbers, count from 1.
    selection : str or None
        In mdtraj's language: atoms that are read besides.
    hydrogens : bool
        Whether they are read, selected or not.

    Raises
    ------
    InputError
        Where a file is missing or empty.
    """

    def __init__(
        self,
        trajectories: Sequence[Path],
        topology: Path,
        selection: str | None = None,
        hydrogens: bool = False,
    ):
        for path in trajectories:
            require_file(path, "trajectory")
        require_file(topology, "topology")
        self.trajectories, self.topology = tuple(trajectories), topology
        self._selected = selection is not None
        self._folder = tempfile.TemporaryDirectory()
        self._words = (selection, hydrogens, self._folder.name)
        self._isolation: Isolation | None = None
        self._outline: dict[str, np.ndarray] | None = None

    def counts(self) -> list[int]:
        """How many frames each trajectory has; of binary formats their headers are looked through.

        Raises
        ------
        InputError
            Where a file cannot be read or ends within a frame, the two do not belong together, an
            element is not known, or the selection is none.
        """
        counts: list[int] = self._found()["counts"].tolist()
        return counts

    def n_atoms(self) -> tuple[int, int]:
        """How many atoms are read, and how many the topology has."""
        found = self._found()
        return len(found["elements"]), int(found["n_atoms"])

    def trajectory(self, some: Sequence[FrameRange]) -> Trajectory:
        """What the files hold, with some of their frames, in this order.

        Raises
        ------
        InputError
            As of `counts` and `frames`.
        """
        found = self._found()
        room = _PARENT_BYTES * 3 * len(found["elements"]) * sum(len(x.numbers) for x in some)
        named = ", ".join(map(str, self.trajectories))
        what = f"{named}, {sum(len(x.numbers) for x in some)} frames of {len(found['elements'])}"
        remedy = "write a trajectory of fewer frames, or of fewer atoms"
        require_room(room, f"{what} atoms,", remedy)
        frames, boxes = map(np.concatenate, zip(*map(self.frames, some), strict=True))
        names = {name: found[name] for name in (*_NAMES, "residue_numbers")}
        n = frames.shape[1]
        structure = Structure(frames[0], **names, occupancies=np.ones(n), b_factors_A2=np.zeros(n))
        structure, notes = _with_chains(structure, self.topology)
        for path, others in zip(self.trajectories, found["others"], strict=True):
            if others:
                notes.append(f"{path}: {others} frames without coordinates are left aside")
        return Trajectory(
            structure,
            frames,
            boxes,
            found["bonds"],
            found["rows"] if self._selected else None,
            int(found["n_atoms"]),
            tuple(found["left_out"].tolist()),
            tuple(notes),
            bool(found["lettered"]),
            found["places"],
        )

    def frames(self, some: FrameRange) -> tuple[np.ndarray, np.ndarray]:
        """Positions (F, N, 3) and boxes (F, 3, 3) of some frames, in Å.

        Raises
        ------
        InputError
            Naming the first frame that cannot be read, or has a coordinate that cannot be.
        """
        try:
            positions, boxes = self._read(some)
        except InputError as exc:
            raise self._of_one_frame(some, exc) from exc
        _check(self.trajectories[some.file], positions, some.numbers)
        return positions, boxes

    def _read(self, some: FrameRange) -> tuple[np.ndarray, np.ndarray]:
        isolation = self._child()
        isolation.subject = self._subject(some.file)
        numbers = [int(number) for number in some.numbers]
        found = isolation.run(native.frames, *self._words, some.file, numbers)
        positions, boxes = (
            10 * found.pop(name).astype(np.float64) for name in ("frames_nm", "boxes_nm")
        )
        return positions, boxes

    def _of_one_frame(self, some: FrameRange, error: InputError) -> InputError:
        """The error with the number of the frame that it is of, found by reading one by one."""
        for number in some.numbers:
            try:
                self._read(FrameRange(some.file, np.array([number])))
            except InputError as exc:
                return InputError(f"frame {number + 1} of {exc}")
        return error

    def _found(self) -> dict[str, np.ndarray]:
        if self._outline is None:
            isolation = self._child()
            isolation.subject = self._subject(0)
            found = isolation.run(native.outline, *self._words)
            for name in _NAMES:
                check_names(found[name], f"{self.topology}: {name}")
            self._outline = found
        return self._outline

    def _subject(self, which: int) -> str:
        return f"{self.trajectories[which]} could not be read with topology {self.topology}"

    def _child(self) -> Isolation:
        """The child; another one where it has crashed."""
        if self._isolation is None or self._isolation.has_ended:
            files = [*self.trajectories, self.topology]
            self._isolation = Isolation(files, self._subject(0))
        return self._isolation

    def close(self) -> None:
        """Let the child go."""
        if self._isolation is not None:
            self._isolation.close()
        self._folder.cleanup()

    def __enter__(self) -> "TrajectoryReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_trajectory(
    trajectory: Path, topology: Path, selection: str | None = None, hydrogens: bool = False
) -> Trajectory:
    """All frames of a trajectory; parameters and errors as of `TrajectoryReader`."""
    with TrajectoryReader([trajectory], topology, selection, hydrogens) as reader:
        every = [FrameRange(i, np.arange(count)) for i, count in enumerate(reader.counts())]
        return reader.trajectory(every)


def _with_chains(structure: Structure, topology: Path) -> tuple[Structure, list[str]]:
    """Copies of a chain under letters of their own; lines that say so."""
    try:
        structure, notes = tell_chains_apart(structure)
    except InputError as exc:
        raise InputError(f"{topology}: {exc}") from exc
    return structure, [f"{topology}: {note}" for note in notes]


def _check(trajectory: Path, frames: np.ndarray, numbers: np.ndarray) -> None:
    """Raise InputError naming the first frame with a coordinate that cannot be."""
    for number, frame in zip(numbers + 1, frames, strict=True):
        if not np.isfinite(frame).all():
            raise InputError(f"{trajectory}: frame {number} has coordinates that are not finite")
        if np.abs(frame).max() > MOST_COORDINATE_A:
            raise InputError(
                f"{trajectory}: frame {number} has coordinates beyond {MOST_COORDINATE_A:g} Å"
            )
