"""Molecules torn by a periodic box: whole again where that is certain, else refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.matching import Match, match_atoms
from hpc_diffuser.crystal.periodic_box import usable
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.bonds import Bonds, expected_bonds, fragments
from hpc_diffuser.motion.wholeness import believed, make_whole, require_lengths
from hpc_diffuser.system.errors import InputError

FRAMES = 4
BOXES = {
    "cubic": np.diag([40.0, 40.0, 40.0]),
    "oblong": np.diag([25.0, 60.0, 33.0]),
    # Rhombic dodecahedron and truncated octahedron as GROMACS stores them.
    "dodecahedron": np.array([[40.0, 0, 0], [0, 40, 0], [20, 20, 40 * np.sqrt(0.5)]]),
    "octahedron": 40
    * np.array(
        [
            [1, 0, 0],
            [1 / 3, np.sqrt(8) / 3, 0],
            [-1 / 3, np.sqrt(2) / 3, np.sqrt(6) / 3],
        ]
    ),
    "triclinic": np.array([[34.0, 0, 0], [-9.0, 31.0, 0], [12.0, -7.0, 38.0]]),
}


@pytest.fixture(scope="module")
def protein() -> Structure:
    """A small protein of standard geometry."""
    return build_protein()


@pytest.fixture(scope="module")
def bonds(protein) -> Bonds:
    """By its own distances."""
    match = match_atoms(protein, protein)
    return expected_bonds(protein, np.empty((0, 2), int), match, protein)


@pytest.fixture
def frames(protein) -> np.ndarray:
    """Frames in which every atom moves a little, and all by much."""
    rng = np.random.default_rng(1)
    steps = rng.normal(scale=0.1, size=(FRAMES, len(protein), 3))
    return protein.positions + steps + rng.uniform(-99, 99, (FRAMES, 1, 3))


def wrapped(frames: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Every atom by itself in the box: fractional coordinates from 0 to 1."""
    return frames - np.floor(frames @ np.linalg.inv(boxes)) @ boxes


def about_first(frames: np.ndarray) -> np.ndarray:
    """All positions from the first atom's: the molecule, wherever it lies."""
    return frames - frames[:, :1]


def test_bonds_of_a_protein(protein, bonds):
    """As many as a tree of its atoms has, and one more for each ring, along with the CA trace.

    One molecule: N − 1 bonds join N atoms; every ring of its side chains closes with one more.
    """
    assert len(np.unique(fragments(len(protein), bonds))) == 1
    names = protein.atom_names[bonds.pairs]
    trace = (names == "CA").all(axis=1)
    assert trace.sum() == len(set(protein.residue_numbers.tolist())) - 1
    lengths = np.linalg.norm(np.diff(protein.positions[bonds.pairs], axis=1)[:, 0], axis=1)
    np.testing.assert_allclose(bonds.lengths_A, lengths)
    assert lengths[~trace].max() < 2.1 and abs(np.median(lengths[trace]) - 3.8) < 0.1
    assert bonds.known.all()


@pytest.mark.parametrize("shape", BOXES)
def test_wrapped_atom_by_atom(frames, bonds, protein, shape):
    """Any box: the molecule comes back, to rounding, in every frame; the first torn bond is told.

    The oracle is the molecule before it was broken.
    """
    boxes = np.tile(BOXES[shape], (FRAMES, 1, 1)) * np.linspace(1, 1.04, FRAMES)[:, None, None]
    broken = wrapped(frames, boxes)
    torn = make_whole(broken, boxes, bonds, protein, "md.xtc")
    np.testing.assert_allclose(about_first(broken), about_first(frames), atol=1e-9)
    assert torn.frames == FRAMES and torn.first == 1 and torn.length_A > 20
    assert torn.bond.count("/") == 4 and " - " in torn.bond


def test_wrapped_by_residue(frames, bonds, protein):
    """Whole residues in the box: as programs do that wrap by the first atom of each."""
    boxes = np.tile(BOXES["dodecahedron"], (FRAMES, 1, 1))
    _, first, residue = np.unique(protein.residue_numbers, return_index=True, return_inverse=True)
    shifts = wrapped(frames[:, first], boxes) - frames[:, first]
    broken = frames + shifts[:, residue]
    assert make_whole(broken, boxes, bonds, protein, "md.xtc").frames == FRAMES
    np.testing.assert_allclose(about_first(broken), about_first(frames), atol=1e-9)


def test_whole_frames_are_left_alone(frames, bonds, protein):
    """Not a bit changes, with or without a box: also of those between torn frames."""
    before = frames.copy()
    assert make_whole(frames, np.zeros((FRAMES, 3, 3)), bonds, protein, "md.dcd") is None
    np.testing.assert_array_equal(frames, before)
    boxes = np.tile(BOXES["cubic"], (FRAMES, 1, 1))
    frames[2] = wrapped(frames[2:3], boxes[2:3])[0]
    torn = make_whole(frames, boxes, bonds, protein, "md.dcd")
    assert (torn.frames, torn.first) == (1, 3)
    np.testing.assert_array_equal(frames[[0, 1, 3]], before[[0, 1, 3]])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_tree_of_atoms(seed):
    """A random tree with its atoms listed in a random order, each in a random image.

    Each atom sits 1.5 Å from an earlier one; the translations are whole numbers of box vectors.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    steps = rng.normal(size=(n, 3))
    steps *= 1.5 / np.linalg.norm(steps, axis=1, keepdims=True)
    parents = np.array([0, *(rng.integers(0, i) for i in range(1, n))])
    places = np.zeros((n, 3))
    for i in range(1, n):
        places[i] = places[parents[i]] + steps[i]
    order = rng.permutation(n)
    pairs = np.stack([order[1:], order[parents[1:]]], axis=1)
    frame = np.empty((n, 3))
    frame[order] = places
    box = np.diag(rng.uniform(14, 40, 3)) + np.tril(rng.uniform(-6, 6, (3, 3)), -1)
    broken = (frame + rng.integers(-2, 3, (n, 3)) @ box)[None]
    atoms = carbons(n)
    bonds = Bonds(pairs, np.full(n - 1, 1.5), np.ones(n - 1, bool))
    make_whole(broken, box[None], bonds, atoms, "md.xtc")
    np.testing.assert_allclose(about_first(broken)[0], frame - frame[0], atol=1e-9)


def carbons(n: int) -> Structure:
    """Carbon atoms of one residue."""
    return Structure(
        positions=np.zeros((n, 3)),
        elements=np.full(n, "C"),
        atom_names=np.array([f"C{i}" for i in range(n)]),
        residue_names=np.full(n, "LIG"),
        residue_numbers=np.ones(n, int),
        chain_ids=np.full(n, "A"),
        occupancies=np.ones(n),
        b_factors_A2=np.zeros(n),
    )


@pytest.mark.parametrize(
    ("box", "tells"),
    [
        (np.zeros((3, 3)), "no periodic box"),
        (np.full((3, 3), np.nan), "no periodic box"),
        (np.eye(3), "a box of 1.0 1.0 1.0 Å, which is none"),
        (np.diag([40.0, 40.0, 0.0]), "a box of 40.0 40.0 0.0 Å, which is none"),
    ],
    ids=["none", "NaN", "1 Å", "flat"],
)
def test_broken_without_a_box(frames, bonds, protein, box, tells):
    """Refused: file, frame, bond, its length, which programs mend it, what else it may be."""
    true = np.tile(BOXES["cubic"], (FRAMES, 1, 1))
    frames[1:] = wrapped(frames[1:], true[1:])
    with pytest.raises(InputError) as caught:
        make_whole(frames, np.tile(box, (FRAMES, 1, 1)), bonds, protein, "md.dcd")
    message = str(caught.value)
    assert message.startswith("md.dcd: frame 2: the bond A/") and tells in message
    assert "gmx trjconv -pbc mol" in message and "cpptraj autoimage" in message
    assert "or the frame is damaged" in message and "frame 1 is in order" in message
    with pytest.raises(InputError, match="or the topology has the atoms in another order"):
        make_whole(frames[1:], np.tile(box, (FRAMES - 1, 1, 1)), bonds, protein, "md.dcd")
    length = float(message.split(" Å long")[0].split()[-1])
    assert 35 < length < 75  # an edge or a diagonal of the box


@pytest.mark.parametrize("factor", [0.7, 0.97, 1.03, 1.5])
def test_broken_across_another_box(frames, bonds, protein, factor):
    """A box that is not the one it was broken in: the mended bonds would be too long."""
    true = np.tile(BOXES["cubic"], (FRAMES, 1, 1))
    broken = wrapped(frames, true)
    before = broken.copy()
    with pytest.raises(InputError, match=r"frame 1: the (bond|distance) .* in the nearest image"):
        make_whole(broken, factor * true, bonds, protein, "md.xtc")
    np.testing.assert_array_equal(broken, before)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_another_unit(frames, bonds, protein, factor):
    """Nanometres for Å: every bond is ten times too short or too long."""
    frames[2:] *= factor
    boxes = np.tile(BOXES["cubic"], (FRAMES, 1, 1))
    with pytest.raises(InputError, match=r"frame 3: its bonds are .* nm where the format has Å"):
        make_whole(frames, boxes, bonds, protein, "md.xtc")


@pytest.mark.parametrize("boxed", [True, False])
def test_another_order_of_atoms(frames, bonds, protein, boxed):
    """A topology that lists as many atoms, but others: most bonds are none, in any image."""
    order = np.random.default_rng(3).permutation(len(protein))
    boxes = np.tile(BOXES["cubic"], (FRAMES, 1, 1)) * boxed
    with pytest.raises(InputError, match=r"frame 1: .* topology has the atoms in another order"):
        make_whole(frames[:, order], boxes, bonds, protein, "md.xtc")


@pytest.mark.parametrize("boxed", [True, False])
def test_two_atoms_exchanged(frames, bonds, protein, boxed):
    """A few ångströms are no box: the order within a residue is wrong."""
    rows = np.arange(len(protein))
    first, second = np.flatnonzero(protein.residue_numbers == 5)[[0, -1]]
    rows[[first, second]] = second, first
    boxes = np.tile(BOXES["cubic"], (FRAMES, 1, 1)) * boxed
    with pytest.raises(InputError, match=r"frame 1: the bond .* in another order"):
        make_whole(frames[:, rows], boxes, bonds, protein, "md.xtc")


@pytest.mark.parametrize("boxed", [True, False])
def test_neighbours_exchanged(frames, bonds, protein, boxed):
    """CA and CB of a residue under each other's names: N-CA is 2.5 Å, by 1 Å too long."""
    rows = np.arange(len(protein))
    at = protein.residue_numbers == protein.residue_numbers[protein.atom_names == "CB"][2]
    first, second = (np.flatnonzero(at & (protein.atom_names == n))[0] for n in ("CA", "CB"))
    rows[[first, second]] = second, first
    boxes = np.tile(BOXES["cubic"], (FRAMES, 1, 1)) * boxed
    with pytest.raises(InputError, match=r"the bond A/.* Å long .* in another order"):
        make_whole(frames[:, rows], boxes, bonds, protein, "md.xtc")
        require_lengths(frames[:, rows], bonds, protein, "md.xtc")


@pytest.mark.parametrize("boxed", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_a_damaged_frame(frames, bonds, protein, boxed, share):
    """Atoms of a later frame anywhere: it is told to be damaged, of whichever frames are read.

    The order of atoms was judged by the first; a length that is told is one that is wrong.
    """
    rng = np.random.default_rng(5)
    rows = rng.permutation(len(protein))[: int(share * len(protein))]
    frames[2, rows] += rng.uniform(-15, 15, (len(rows), 3))
    boxes = np.tile(BOXES["cubic"], (FRAMES, 1, 1)) * boxed
    numbers, first = np.arange(49, 53), 1
    for some in (slice(None), slice(2, None)):
        with pytest.raises(InputError) as caught:
            words = frames[some], boxes[some], bonds, protein, "md.xtc", numbers[some], first
            make_whole(*words)
        message = str(caught.value)
        assert "frame 51: the " in message and "the frame is damaged, or atoms have" in message
        assert "frame 1 is in order: copy the file again, or leave the frame out" in message
        assert "--last 50 of a command" in message and "another order" not in message
        assert float(message.split(" Å long")[0].split()[-1]) > 2.8


@pytest.mark.parametrize("at", [0, 2])
def test_calphas_too_far_apart(protein, bonds, at):
    """No bond, and no sign of another order where all bonds are as they should be."""
    frames = np.tile(protein.positions, (FRAMES, 1, 1))
    trace = bonds.select(bonds.lengths_A > 2.5)
    first, second = trace.pairs[3]
    frames[at, second] += (frames[at, second] - frames[at, first]) * 1.7 / 3.8
    with pytest.raises(InputError) as caught:
        make_whole(frames, np.zeros((FRAMES, 3, 3)), trace, protein, "md.xtc")
    message = str(caught.value)
    assert f"frame {at + 1}: the distance A/" in message and " is 5.5 Å long" in message
    assert "the frame is damaged, or atoms have jumped" in message
    assert ("--last 2" in message) == (at == 2) and "order: give" not in message


def test_a_frame_of_zeros(frames, bonds, protein):
    """As of a simulation that stopped while it wrote: no coordinates of the molecule."""
    frames[1] = 0
    with pytest.raises(InputError, match=r"frame 2: its bonds are 0 times .* no coordinates"):
        make_whole(frames, np.zeros((FRAMES, 3, 3)), bonds, protein, "md.dcd")


def test_a_clash_of_the_crystal_is_no_bond(protein):
    """Atoms of a poor model that lie upon each other, but are not bonded: no length to expect."""
    poor = protein.select(np.arange(len(protein)))
    at = np.flatnonzero(poor.residue_numbers == 7)
    oxygen, carbon = (at[poor.atom_names[at] == name][0] for name in ("O", "CB"))
    poor.positions[oxygen] = poor.positions[carbon] + [0.5, 0, 0]
    match = match_atoms(poor, poor)
    bonds = expected_bonds(poor, np.empty((0, 2), int), match, poor)
    assert sorted((oxygen, carbon)) not in bonds.pairs.tolist()


def test_bonds_that_the_topology_imagines(frames, protein, bonds):
    """From one chain's end to the next one's beginning: dropped, if no frame has it.

    One that the frames have, of atoms that the crystal lacks, is kept, torn or not.
    """
    real = np.flatnonzero(bonds.lengths_A < 2)[0]
    wrong = [0, len(protein) - 1]
    doubtful = Bonds(np.array([bonds.pairs[real], wrong]), np.array([1.5, 1.5]), np.zeros(2, bool))
    boxes = np.tile(BOXES["cubic"], (FRAMES, 1, 1))
    kept = believed(wrapped(frames, boxes), boxes, doubtful)
    np.testing.assert_array_equal(kept.pairs, bonds.pairs[real : real + 1])


def test_no_bond_across_a_gap(protein):
    """A reader that joins residues across a loop which the crystal lacks: no bond, two fragments.

    Nor is a disulphide one that holds for good, whose sulphurs the simulation may keep apart.
    """
    gap = protein.select((protein.residue_numbers < 5) | (protein.residue_numbers > 9))
    match = match_atoms(gap, gap)
    end, start = (
        np.flatnonzero((gap.residue_numbers == number) & (gap.atom_names == name))[0]
        for number, name in ((4, "C"), (10, "N"))
    )
    bonds = expected_bonds(gap, np.array([[end, start]]), match, gap)
    assert len(np.unique(fragments(len(gap), bonds))) == 2


def test_hydrogens_hold_by_the_topology(protein):
    """Atoms that the crystal lacks are bonded where the topology says so."""
    row = np.flatnonzero(protein.atom_names == "CA")[3]
    both = protein.select(np.insert(np.arange(len(protein)), row + 1, row))
    both.elements[row + 1], both.atom_names[row + 1] = "H", "HA"
    match = match_atoms(both.select(both.elements != "H"), protein)
    heavy = np.flatnonzero(both.elements != "H")
    match = Match(heavy[match.mobile_rows], match.reference_rows, match.backbone)
    bonds = expected_bonds(both, np.array([[row, row + 1]]), match, protein)
    assert len(np.unique(fragments(len(both), bonds))) == 1
    assert bonds.lengths_A[~bonds.known] == pytest.approx(0.31 + 0.73, abs=0.01)


def test_usable_boxes():
    """Faces at least 12 Å apart; a flat or skewed box has less than its edges say."""
    skewed = np.array([[40.0, 0, 0], [39.0, 9.0, 0], [0, 0, 40.0]])
    boxes = np.array([np.eye(3), np.diag([13.0, 13, 13]), skewed, np.zeros((3, 3))])
    assert usable(boxes).tolist() == [False, True, False, False]
