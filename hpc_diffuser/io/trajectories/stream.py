"""A trajectory in its crystal as a stream: whole, superposed, of the crystal's atoms.

Its frames are read in chunks, which are dealt to ranks a round at a time. Neither chunks nor rounds
depend on the number of ranks, and every rank gets a round's results in the chunks' order: what is
made of them has the same bits on any number.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.matching import Match
from hpc_diffuser.crystal.structure import Structure, superpose
from hpc_diffuser.io.structures.files import read_structure
from hpc_diffuser.io.trajectories.distances import distance_note, distances
from hpc_diffuser.io.trajectories.files import FrameRange, Trajectory, TrajectoryReader
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.parts import Parts, find_parts, left_out
from hpc_diffuser.motion.assembling import Brought, bring_together
from hpc_diffuser.motion.wholeness import Torn, make_whole, require_lengths, sample_of
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError

CHUNKS = 64  # of a round: no more ranks than this read at once
_ROUND_BYTES = 64 << 20  # of a round's positions, which every rank holds
_CHUNK_BYTES = 8 << 20  # of what is read for a chunk
_SETTLED_A = 1e-3  # rms, that the mean structure moves by from one superposition to the next
_MOST_PASSES = 20


@dataclass(frozen=True)
class _Looked:
    """What a chunk's frames were like.

    Attributes
    ----------
    rmsd : (F,) float, Å
        To the reference, of the atoms superposed on.
    """

    some: FrameRange
    torn: Torn | None
    brought: list[Brought]
    rmsd: np.ndarray


@dataclass(frozen=True)
class _Plan:
    """All that ranks have to know alike.

    Attributes
    ----------
    found : Trajectory
        With its first frame.
    chunks : list of FrameRange
    used : tuple of str
        Which frames of which file.
    moving : (K,) int
        The atoms to superpose on, of those that are read.
    target : (K, 3) float, Å
        Their places in the crystal.
    stamps : list
        Size and time of each file when it was looked at.
    """

    found: Trajectory
    reference: Structure
    crystal: tuple
    parts: Parts
    chunks: list[FrameRange]
    used: tuple[str, ...]
    moving: np.ndarray
    target: np.ndarray
    stamps: list[tuple[int, int]]


class CrystalStream:
    """The chosen frames of trajectories, superposed on their crystal; see `crystal_stream`.

    Attributes
    ----------
    structure : Structure
        The atoms that were chosen, where they are in the first frame.
    n_frames : int
        How many were chosen.
    crystal : (unit cell, space group)
    crystal_b_A2 : (N,) float, Å²
        The reference's B-factors; NaN of atoms that it lacks.
    crystal_positions : (N, 3) float, Å
        The reference's; NaN of atoms that it lacks.
    places : (N,) int
        Where the atoms stand among all of the topology's, from 0.
    runs : tuple of int
        How many frames were chosen of each file.
    used : tuple of str
        Which frames.
    """

    def __init__(self, files: TrajectoryFiles, reader: TrajectoryReader, plan: _Plan, ranks: Ranks):
        self._files, self._reader, self._plan, self._ranks = files, reader, plan, ranks
        self._target = plan.target
        self._looked: list[_Looked] | None = None
        rows, match, reference = plan.parts.rows, plan.parts.match, plan.reference
        partner = np.full(len(plan.found.structure), -1)
        partner[match.mobile_rows] = match.reference_rows
        kept = partner[rows]
        self.structure = plan.found.structure.select(rows)
        self.n_frames = sum(len(chunk.numbers) for chunk in plan.chunks)
        self.crystal, self.used = plan.crystal, plan.used
        self.runs = tuple(
            sum(len(chunk.numbers) for chunk in plan.chunks if chunk.file == which)
            for which in range(len(files.trajectories))
        )
        self.crystal_b_A2 = np.where(kept >= 0, reference.b_factors_A2[kept], np.nan)
        inside = kept[:, None] >= 0
        self.crystal_positions = np.where(inside, reference.positions[kept], np.nan)
        self.places = plan.found.places[rows]

    def rounds(self, work: Callable[[np.ndarray], np.ndarray], width: int) -> Iterator[np.ndarray]:
        """What `work` makes of every frame, a round of frames at a time, on every rank alike.

        A pass over the trajectory. All ranks go through it together, to its end.

        Parameters
        ----------
        work : callable
            From positions (F, N, 3) in Å, superposed, to (F, width) float, row by row.
        width : int

        Yields
        ------
        (R, width) float
            In the order of the frames.

        Raises
        ------
        InputError
            Naming file and frame that cannot be read, or be a motion of the reference; where a
            file has changed since the beginning.
        """
        rows = self._plan.parts.rows
        yield from self._pass(lambda frames: work(frames[:, rows]), width, _each_frame)

    def settle(self) -> str:
        """Superpose on the frames' own mean from now on, which stays where the crystal's is.

        Each pass superposes on the mean of the last one, until that moves by less than 0.001 Å; a
        line that says how it went.
        """
        passes, moved = 0, np.inf
        while moved >= _SETTLED_A and passes < _MOST_PASSES:
            mean = self._mean_target()
            moved = float(np.sqrt(np.mean(np.sum((mean - self._target) ** 2, axis=1))))
            self._target, passes = mean, passes + 1
        settled = "" if moved < _SETTLED_A else ": not settled"
        return (
            f"superposed on the mean structure, itself on the crystal's: {passes} passes, the last "
            f"moved it by {moved:.1e} Å rms{settled}"
        )

    def _mean_target(self) -> np.ndarray:
        """The mean place of every atom to superpose on, together superposed on the crystal's."""
        moving, total = self._plan.moving, np.zeros(self._target.size)

        def added(frames: np.ndarray) -> np.ndarray:
            return frames[:, moving].sum(axis=0).reshape(1, -1)

        for sums in self._pass(added, total.size, _once):
            total += sums.sum(axis=0)
        mean = (total / self.n_frames).reshape(1, -1, 3)
        return superpose(mean, self._plan.target, np.arange(len(self._target)))[0]

    def notes(self) -> tuple[str, ...]:
        """What was left out, mended and assumed, and how far the frames are from the reference.

        Known after a first pass. All ranks ask; rank 0 is told, the others nothing.
        """
        gathered = self._ranks.gather(self._looked or [])
        if gathered is None:
            return ()
        looked = [each for of_rank in gathered for each in of_rank]
        looked.sort(key=lambda each: (each.some.file, each.some.numbers[0]))
        plan, found = self._plan, self._plan.found
        left = left_out(found, plan.parts.match, plan.parts.rows, plan.reference)
        notes = [*found.notes, *plan.parts.match.notes, *left]
        for which, path in enumerate(self._files.trajectories):
            of_file = [each for each in looked if each.some.file == which]
            notes += _mended_notes(str(path), of_file)
        notes.append(self._distance_note(looked))
        return tuple(notes)

    def _distance_note(self, looked: list[_Looked]) -> str:
        several = len(self._files.trajectories) > 1
        names = [
            f"frame {number + 1}" + f" of {self._files.trajectories[each.some.file]}" * several
            for each in looked
            for number in each.some.numbers
        ]
        rmsd = np.concatenate([each.rmsd for each in looked])
        return distance_note(rmsd, names, self._plan.target)

    def _pass(
        self,
        work: Callable[[np.ndarray], np.ndarray],
        width: int,
        rows_of: Callable[[FrameRange], int],
    ) -> Iterator[np.ndarray]:
        """The same of all atoms that are read; `rows_of` tells how many rows a chunk makes."""
        ranks, chunks, looked = self._ranks, self._plan.chunks, []
        for first in range(0, len(chunks), CHUNKS):
            of_round = chunks[first : first + CHUNKS]
            edges = [len(of_round) * rank // ranks.size for rank in range(ranks.size + 1)]
            parts = [of_round[a:b] for a, b in pairwise(edges)]
            made = [np.empty((0, width))]
            for chunk, frames, seen in self._together(parts[ranks.rank]):
                looked += [seen] if self._looked is None else []
                made.append(np.asarray(work(frames), np.float64).reshape(rows_of(chunk), width))
            lengths = [width * sum(map(rows_of, part)) for part in parts]
            yield ranks.concatenated(np.concatenate(made), lengths).reshape(-1, width)
        if self._looked is None:
            self._looked = looked
        ranks.from_root(self._require_unchanged)

    def _together(
        self, chunks: Sequence[FrameRange]
    ) -> list[tuple[FrameRange, np.ndarray, _Looked]]:
        """This rank's chunks of a round; of what goes wrong, the first in their order is told."""
        error, done = None, []
        try:
            done = [(chunk, *self._superposed(chunk)) for chunk in chunks]
        except InputError as exc:
            error = exc
        told = self._ranks.gather_to_all(error and str(error))
        first = next(filter(None, told), None)
        if first:
            failure = InputError(first)
            failure.known_to_all = True
            raise failure from error
        return done

    def _superposed(self, chunk: FrameRange) -> tuple[np.ndarray, _Looked]:
        """Frames of all atoms that are read: whole, together, superposed; what they were like."""
        plan, source = self._plan, str(self._files.trajectories[chunk.file])
        parts, structure, numbers = plan.parts, plan.found.structure, chunk.numbers + 1
        frames, boxes = self._reader.frames(chunk)
        begin = next(int(x.numbers[0]) for x in plan.chunks if x.file == chunk.file) + 1
        torn = make_whole(frames, boxes, parts.bonds, structure, source, numbers, begin)
        together = frames, boxes, parts.labels, _chosen(parts), structure, plan.reference, source
        brought = bring_together(*together, numbers)
        rmsd = np.empty(0)
        if self._looked is None:
            rmsd = distances(source, frames[:, plan.moving], plan.target, numbers)
        seen = _Looked(chunk, torn, brought, rmsd)
        return superpose(frames, self._target, plan.moving), seen

    def _require_unchanged(self) -> None:
        for path, stamp in zip(self._files.trajectories, self._plan.stamps, strict=True):
            if _stamp(path) != stamp:
                raise InputError(
                    f"{path}: changed while it was read, from {stamp[0]} to {_stamp(path)[0]} "
                    "bytes: wait until the simulation has ended, or read a copy of it"
                )


@contextmanager
def crystal_stream(files: TrajectoryFiles, ranks: Ranks) -> Iterator[CrystalStream]:
    """Trajectories of one topology in their crystal, while they are open.

    Parameters
    ----------
    files : TrajectoryFiles
    ranks : Ranks
        Who reads; all of them call.

    Raises
    ------
    InputError
        For files that cannot be read or do not belong together, frames that are none of theirs,
        molecules that are broken across the periodic box and cannot be mended.
    """
    paths = files.trajectories
    with TrajectoryReader(paths, files.topology, files.selection, files.hydrogens) as reader:
        plan = ranks.from_root(lambda: _plan(files, reader))
        yield CrystalStream(files, reader, plan, ranks)


def _plan(files: TrajectoryFiles, reader: TrajectoryReader) -> _Plan:
    """Look at some frames: which atoms matter, how they are bonded, what they are superposed on."""
    reference, crystal = read_structure(files.reference, files.conformer, files.hydrogens)
    if crystal is None:
        raise InputError(f"{files.reference}: no unit cell: expected a crystal structure")
    stamps = [_stamp(path) for path in files.trajectories]
    ranges = _chosen_frames(files, reader.counts())
    found = reader.trajectory(_sampled(ranges))
    parts = find_parts(found, reference)
    if _sample_was_torn(files, _sampled(ranges), found, parts):
        # Equal chains and ligands of whole molecules can be told by where they lie.
        parts = find_parts(found, reference)
    moving = parts.match.mobile_rows[parts.backbone]
    target = reference.positions[parts.match.reference_rows[parts.backbone]]
    size = _chunk_frames(len(parts.rows), *reader.n_atoms(), sum(len(x.numbers) for x in ranges))
    return _Plan(
        replace(found, frames=found.frames[:1], boxes=found.boxes[:1]),
        reference,
        crystal,
        parts,
        [chunk for each in ranges for chunk in _chunks(each, size)],
        tuple(_described(files, each) for each in ranges),
        moving,
        target,
        stamps,
    )


def _chosen_frames(files: TrajectoryFiles, counts: list[int]) -> list[FrameRange]:
    """The frames of every file that are asked for."""
    ranges = []
    for which, count in enumerate(counts):
        path = files.trajectories[which]
        if files.first > count:
            raise InputError(f"--first {files.first}: {path} has {count} frames: expected fewer")
        last = count if files.last is None else min(files.last, count)
        if last < files.first:
            raise InputError(f"--last {files.last} comes before --first {files.first}")
        ranges.append(FrameRange(which, np.arange(files.first - 1, last, files.stride)))
    return ranges


def _described(files: TrajectoryFiles, some: FrameRange) -> str:
    first, last = some.numbers[[0, -1]] + 1
    by = f", every {files.stride}." if files.stride > 1 else ""
    name = files.trajectories[some.file].name
    return f"{name}: {len(some.numbers)} frames, {first} to {last}{by}"


def _sampled(ranges: list[FrameRange]) -> list[FrameRange]:
    """Some of all the frames, evenly over all files."""
    of_file = np.repeat([each.file for each in ranges], [len(each.numbers) for each in ranges])
    numbers = np.concatenate([each.numbers for each in ranges])
    sample = sample_of(len(numbers))
    of_file, numbers = of_file[sample], numbers[sample]
    return [FrameRange(int(i), numbers[of_file == i]) for i in np.unique(of_file)]


def _sample_was_torn(
    files: TrajectoryFiles, sample: list[FrameRange], found: Trajectory, parts: Parts
) -> bool:
    """Make the sampled frames whole, in place; whether any was torn."""
    torn, begin = False, 0
    structure, bonds = found.structure, parts.bonds
    for some in sample:
        rows = slice(begin, begin + len(some.numbers))
        source, begin = str(files.trajectories[some.file]), rows.stop
        frames, boxes = found.frames[rows], found.boxes[rows]
        mended = make_whole(frames, boxes, bonds, structure, source, some.numbers + 1)
        torn |= mended is not None
    require_lengths(found.frames, bonds, structure, str(files.trajectories[0]))
    return torn


def _chunk_frames(n_kept: int, n_read: int, n_atoms: int, n_frames: int) -> int:
    """How many frames a chunk has: by the bytes that it and its round take, shared by all ranks."""
    of_round = _ROUND_BYTES // (CHUNKS * 24 * n_kept)
    of_chunk = _CHUNK_BYTES // max(24 * n_read, 12 * n_atoms)
    return max(1, min(of_round, of_chunk, -(-n_frames // CHUNKS)))


def _chunks(some: FrameRange, size: int) -> list[FrameRange]:
    starts = range(0, len(some.numbers), size)
    return [FrameRange(some.file, some.numbers[i : i + size]) for i in starts]


def _chosen(parts: Parts) -> Match:
    match, chosen = parts.match, parts.chosen
    rows = match.mobile_rows[chosen], match.reference_rows[chosen]
    return Match(*rows, match.backbone[chosen])


def _mended_notes(source: str, looked: list[_Looked]) -> list[str]:
    """What was mended in a file's frames: molecules, and where they lay."""
    n_frames = sum(len(each.some.numbers) for each in looked)
    notes = []
    torn = [each.torn for each in looked if each.torn]
    if torn:
        notes.append(
            f"{source}: molecules with atoms in several images of the periodic box were made "
            f"whole in {sum(each.frames for each in torn)} of {n_frames} frames: the first is "
            f"frame {torn[0].first}, where the {torn[0].bond} was {torn[0].length_A:.1f} Å "
            "long"
        )
    brought: dict[tuple[str, str], list[Brought]] = {}
    for each in looked:
        for one in each.brought:
            brought.setdefault((one.fragment, one.beside), []).append(one)
    for (fragment, beside), ones in brought.items():
        notes.append(
            f"{source}: {fragment} was in another image of the periodic box than {beside} in "
            f"{sum(one.frames for one in ones)} of {n_frames} frames, the first is frame "
            f"{ones[0].first}: brought beside it"
        )
    return notes


def _each_frame(chunk: FrameRange) -> int:
    return len(chunk.numbers)


def _once(chunk: FrameRange) -> int:
    return 1


def _stamp(path: Path) -> tuple[int, int]:
    """Size in bytes, and the time of the last change."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns
