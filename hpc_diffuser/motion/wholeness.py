"""Molecules that a periodic box has torn, made whole where that is certain, else refused.

A simulation program may write every atom, or residue, in whichever image of the box it likes.
Bonds are short beside any box: the atoms at their ends belong into the nearest images of each
other, and a walk along the bonds makes a molecule whole. Whether it did can be checked: no bond is
longer than in the crystal then.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order

from hpc_diffuser.crystal.periodic_box import translations, usable
from hpc_diffuser.crystal.structure import Structure, atom_label
from hpc_diffuser.motion.bonds import Bonds, fragments
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

REMEDY = (
    "write it with whole molecules (gmx trjconv -pbc mol, then -pbc cluster for several chains; "
    "cpptraj autoimage; VMD pbc join)"
)
_OTHER_ATOMS = (
    "the topology has the atoms in another order: give the one that the trajectory was written with"
)
_NO_MOLECULE = "these are no coordinates of this molecule: write the trajectory without this frame"
_OTHER_UNIT = (
    "nm where the format has Å, or the other way round: write it again by the program that made it"
)
_TORN_A = 1.5  # longer than in the crystal by this: no bond; motion and rounding make 0.3 Å
_PERSISTENT_A = 0.7  # in most frames: force fields and crystals differ by 0.2 Å
_CHEMICAL_A = 2.5  # CA and CA are no bond: a peptide that turns changes their distance by 0.9 Å
_MENDED_A = 0.3  # what a mended bond may be off by; or 6 times the others' scatter
_LEAST_WRAP_A = 9.0  # what is torn by less was not torn by a box
_MANY = 0.1  # of the bonds, still torn after mending: not by a box
_SAMPLE = 32  # frames that tell how long bonds usually are
_BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Torn:
    """What was mended: how many frames, and of the first of them a bond.

    Attributes
    ----------
    frames, first : int
        Frames are counted from 1.
    bond : str
        `bond A - B`; of neighbouring CA `distance A - B`.
    length_A : float
    """

    frames: int
    first: int
    bond: str
    length_A: float


@dataclass(frozen=True)
class _Molecules:
    """Bonds with the atoms' names, the file that they are from, and its frames' numbers.

    By frame number `first` the order of atoms is judged: frames after it have the same.
    """

    structure: Structure
    bonds: Bonds
    source: str
    numbers: Integers
    first: int

    def pair(self, index: int) -> str:
        """`bond A - B`; CA and CA of neighbours are none."""
        first, second = (atom_label(self.structure, row) for row in self.bonds.pairs[index])
        what = "bond" if self.bonds.lengths_A[index] < _CHEMICAL_A else "distance"
        return f"{what} {first} - {second}"

    def refusal(self, frame: int, reason: str) -> InputError:
        return InputError(f"{self.source}: frame {self.numbers[frame]}: {reason}")

    def blame(self, frame: int, excess: Floats) -> str:
        """What explains bonds that are too long by (B,) Å, in no image of a box: order or frame."""
        number = self.numbers[frame]
        torn = (excess > _TORN_A) & (self.bonds.lengths_A < _CHEMICAL_A)
        if number == self.first and torn.any():
            return _OTHER_ATOMS
        last = f", or --last {number - 1} of a command that has it" if number > self.first else ""
        order = f", for frame {self.first} is in order" if number > self.first else ""
        return (
            f"the frame is damaged, or atoms have jumped{order}: copy the file again, or leave "
            f"the frame out (cut it out of the file{last})"
        )


def make_whole(
    frames: Floats,
    boxes: Floats,
    bonds: Bonds,
    structure: Structure,
    source: str,
    numbers: Integers | None = None,
    first_number: int | None = None,
) -> Torn | None:
    """Bring the atoms of every molecule into the nearest images of each other.

    Parameters
    ----------
    frames : (F, N, 3) float, Å
        Changed where molecules are torn; of others every bit stays.
    boxes : (F, 3, 3) float, Å
        The periodic box of each frame, its vectors as rows; 0 or NaN: none.
    bonds : Bonds
    structure : Structure
        The atoms' names.
    source : str
        The file, for messages.
    numbers : (F,) int or None
        The frames' numbers in it; by default 1, 2, 3 …
    first_number : int or None
        Of the frame that tells whether the atoms are in order; by default the first of these.

    Returns
    -------
    Torn or None

    Raises
    ------
    InputError
        Naming frame, bond and remedy: where there is no box to mend with, where it does not mend,
        where bonds are too long for a box to be the reason, or in another unit.
    """
    counted = np.arange(len(frames)) + 1 if numbers is None else numbers
    judged = int(counted[0]) if first_number is None else first_number
    molecules = _Molecules(structure, bonds, source, counted, judged)
    count, first = 0, None
    for block in _blocks(frames, len(bonds.pairs)):
        lengths = _lengths(frames[block], bonds)
        _require_unit(lengths, molecules, block.start)
        torn = lengths > bonds.lengths_A + _TORN_A
        where = np.flatnonzero(torn.any(axis=1))
        if not len(where):
            continue
        rows = block.start + where
        if first is None:
            worst = int(np.argmax(lengths[where[0]] - bonds.lengths_A))
            number = int(counted[rows[0]])
            first = number, molecules.pair(worst), float(lengths[where[0], worst])
        for i in where:
            _require_box(lengths[i], boxes[block][i], molecules, block.start + i)
        frames[rows] = _mended(frames[rows], boxes[rows], molecules, rows)
        count += len(where)
    return Torn(count, *first) if first else None


def require_lengths(frames: Floats, bonds: Bonds, structure: Structure, source: str) -> None:
    """Raise InputError for a bond that is longer, or shorter, than the crystal's in most frames.

    By less than a box tears, so that only an exchange of neighbours makes it.

    Parameters
    ----------
    frames : (F, N, 3) float, Å
        Of whole molecules; some tell as well as all.
    bonds, structure, source
        As of `make_whole`.
    """
    bonds = bonds.select(bonds.known & (bonds.lengths_A < _CHEMICAL_A))
    if not len(bonds.pairs):
        return
    lengths = np.median(_lengths(frames[sample_of(len(frames))], bonds), axis=0)
    errors = np.abs(lengths - bonds.lengths_A)
    worst = int(np.argmax(errors))
    if errors[worst] > _PERSISTENT_A:
        named = _Molecules(structure, bonds, source, np.empty(0, int), 1)
        raise InputError(
            f"{source}: the {named.pair(worst)} is {lengths[worst]:.1f} Å long in "
            f"most frames, in the reference {bonds.lengths_A[worst]:.1f} Å: {_OTHER_ATOMS}"
        )


def sample_of(n_frames: int) -> Integers:
    """The frames of so many that tell how long bonds usually are: (S,) int."""
    sample: Integers = np.unique(np.linspace(0, n_frames - 1, _SAMPLE).astype(int))
    return sample


def believed(frames: Floats, boxes: Floats, bonds: Bonds) -> Bonds:
    """Without the topology's bonds that the frames do not have, whichever image atoms are in.

    Between one chain's end and the next one's beginning some readers see a bond.
    """
    some = sample_of(len(frames))
    doubtful = np.flatnonzero(~bonds.known)
    ends = frames[some][:, bonds.pairs[doubtful]]
    steps = ends[:, :, 1] - ends[:, :, 0]
    shifts = translations(steps, boxes[some])
    lengths = np.linalg.norm(steps - shifts, axis=2)
    kept = bonds.known.copy()
    kept[doubtful] = np.median(lengths, axis=0) <= bonds.lengths_A[doubtful] + _TORN_A
    return bonds.select(kept)


def _blocks(frames: Floats, n_bonds: int) -> Iterator[slice]:
    size = max(1, _BLOCK_BYTES // (24 * max(n_bonds, frames.shape[1])))
    return (slice(i, min(i + size, len(frames))) for i in range(0, len(frames), size))


def _lengths(frames: Floats, bonds: Bonds) -> Floats:
    """Of every bond in every frame: (F, B) Å."""
    first, second = bonds.pairs.T
    lengths: Floats = np.linalg.norm(frames[:, second] - frames[:, first], axis=2)
    return lengths


def _require_unit(lengths: Floats, molecules: _Molecules, start: int) -> None:
    """Raise InputError for a frame whose bonds are all ten times too long, or too short."""
    if not lengths.shape[1]:
        return
    low, middle, high = np.quantile(
        lengths / molecules.bonds.lengths_A, (0.1, 0.5, 0.9), axis=1, method="nearest"
    )
    tenfold = ((low > 7) & (high < 14)) | ((low > 0.07) & (high < 0.14))
    wrong = np.flatnonzero(tenfold | (middle < 0.5))
    if not len(wrong):
        return
    bonds = f"its bonds are {middle[wrong[0]]:.3g} times as long as the crystal's"
    likely = _OTHER_UNIT if tenfold[wrong[0]] else _NO_MOLECULE
    raise molecules.refusal(start + wrong[0], f"{bonds}: {likely}")


def _require_box(lengths: Floats, box: Floats, molecules: _Molecules, frame: int) -> None:
    """Raise InputError where a frame's torn bonds cannot be mended, for want of a box."""
    if usable(box[None])[0]:
        return
    excess = lengths - molecules.bonds.lengths_A
    worst = int(np.argmax(excess))
    bond = f"the {molecules.pair(worst)} is {lengths[worst]:.1f} Å long"
    blame = molecules.blame(frame, excess)
    if excess[worst] < _LEAST_WRAP_A or np.mean(excess > _TORN_A) > 0.5:
        raise molecules.refusal(frame, f"{bond}: {blame}")
    edges = np.nan_to_num(np.linalg.norm(box, axis=1))
    tells = f"a box of {_numbers(edges)} Å, which is none" if edges.any() else "no periodic box"
    raise molecules.refusal(
        frame,
        f"{bond}: the molecule is broken across the periodic box, and the file tells {tells}: "
        f"{REMEDY}; or {blame}",
    )


def _mended(frames: Floats, boxes: Floats, molecules: _Molecules, numbers: Integers) -> Floats:
    """Frames with every atom in the nearest image of the one it is bonded to."""
    bonds = molecules.bonds
    parents = _parents(frames.shape[1], bonds)
    shifts = translations(frames - frames[:, parents], boxes)
    while (parents[parents] != parents).any():  # sums along the way to the root, by doubling
        shifts += shifts[:, parents]
        parents = parents[parents]
    whole = frames - shifts
    before, after = _lengths(frames, bonds), _lengths(whole, bonds)
    for i, number in enumerate(numbers):
        _require_mended(before[i], after[i], boxes[i], molecules, int(number))
    return whole


def _parents(n_atoms: int, bonds: Bonds) -> Integers:
    """A bonded atom for every atom, on the way to its molecule's root: (N,) int; roots: own."""
    root = n_atoms  # one more, before the first atom of every molecule
    _, firsts = np.unique(fragments(n_atoms, bonds), return_index=True)
    rows = np.concatenate([bonds.pairs[:, 0], np.full(len(firsts), root)])
    columns = np.concatenate([bonds.pairs[:, 1], firsts])
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(root + 1, root + 1))
    _, before = breadth_first_order(graph.tocsr(), root, directed=False)
    return np.where(before[:root] == root, np.arange(n_atoms), before[:root])


def _require_mended(
    before: Floats, after: Floats, box: Floats, molecules: _Molecules, frame: int
) -> None:
    """Raise InputError unless a frame's bonds are all as long as bonds are."""
    errors = np.abs(after - molecules.bonds.lengths_A)
    moved = np.abs(after - before) > _TORN_A
    scatter = np.sqrt(np.mean(errors[~moved] ** 2)) if (~moved).any() else 0.0
    allowed = np.where(moved, max(_MENDED_A, 6 * scatter), _TORN_A)
    wrong = errors > np.minimum(allowed, _TORN_A)
    wrong &= moved | (after > molecules.bonds.lengths_A)  # unbroken ones may be short
    if not wrong.any():
        return
    excess = before - molecules.bonds.lengths_A
    worst = int(np.argmax(np.where(wrong, errors, 0)))
    blame = molecules.blame(frame, np.where(wrong, errors, 0))
    if wrong.mean() > _MANY or excess[worst] < _LEAST_WRAP_A:
        torn = wrong & (excess > _TORN_A)
        worst = int(np.argmax(np.where(torn, excess, 0) if torn.any() else excess))
        found = f"the {molecules.pair(worst)} is {before[worst]:.1f} Å long"
        raise molecules.refusal(frame, f"{found}: {blame}")
    edges = _numbers(np.linalg.norm(box, axis=1))
    later = bool(molecules.numbers[frame] != molecules.first)
    raise molecules.refusal(
        frame,
        f"the {molecules.pair(worst)} is {before[worst]:.1f} Å long, in the nearest image of its "
        f"box of {edges} Å {after[worst]:.1f} Å: the molecule is broken across another box: "
        f"{REMEDY}" + f"; or {blame}" * later,
    )


def _numbers(values: Floats) -> str:
    return " ".join(f"{x:.1f}" for x in values)
