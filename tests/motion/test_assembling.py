"""Chains and ligands in different images of the periodic box, brought beside each other."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.matching import Match
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.assembling import bring_together
from hpc_diffuser.system.errors import InputError

FRAMES = 5
DODECAHEDRON = np.array([[70.0, 0, 0], [0, 70, 0], [35, 35, 70 * np.sqrt(0.5)]])


def joined(parts: list[Structure]) -> Structure:
    """One structure of several."""
    names = parts[0].__dataclass_fields__
    return Structure(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


@pytest.fixture(scope="module")
def crystal() -> Structure:
    """Two chains that touch, a ligand between them of three atoms, in this order."""
    first = build_protein()
    width = np.ptp(first.positions[:, 0]) + 2
    second = replace(
        first,
        positions=first.positions + np.array([width, 3, 0]),
        chain_ids=np.full(len(first), "B"),
    )
    ligand = first.select(np.arange(3))
    ligand = replace(
        ligand,
        positions=first.positions[np.argmax(first.positions[:, 0])] + np.eye(3) * 1.5,
        residue_names=np.full(3, "LIG"),
        residue_numbers=np.full(3, 301),
    )
    return joined([first, second, ligand])


@pytest.fixture(scope="module")
def labels(crystal) -> np.ndarray:
    """Fragments: the first chain, the second, the ligand."""
    return np.select([crystal.residue_names == "LIG", crystal.chain_ids == "B"], [2, 1], 0)


@pytest.fixture(scope="module")
def same(crystal) -> Match:
    """Every atom is in the crystal, under its own row."""
    rows = np.arange(len(crystal))
    return Match(rows, rows, np.isin(crystal.atom_names, ("N", "CA", "C", "O")))


@pytest.fixture
def frames(crystal) -> np.ndarray:
    """Turned anyhow, every atom moved a little, and the second chain as a whole by up to 3 Å."""
    rng = np.random.default_rng(2)
    moved = crystal.positions + rng.normal(scale=0.2, size=(FRAMES, len(crystal), 3))
    moved[:, crystal.chain_ids == "B"] += rng.uniform(-1.7, 1.7, (FRAMES, 1, 3))
    return np.einsum("fab,fnb->fna", Rotation.random(FRAMES, rng=3).as_matrix(), moved)


def boxes() -> np.ndarray:
    """One for each frame."""
    return np.tile(DODECAHEDRON, (FRAMES, 1, 1))


def mend(frames, boxes, labels, same, crystal) -> list[str]:
    """Of the structure that it is compared with: "fragment beside other: frames, first"."""
    brought = bring_together(frames, boxes, labels, same, crystal, crystal, "md.xtc")
    return [f"{x.fragment} beside {x.beside}: {x.frames}, {x.first}" for x in brought]


def test_together_already(frames, labels, same, crystal):
    """Not a bit changes, whether there is a box or none."""
    before = frames.copy()
    for box in (boxes(), np.zeros((FRAMES, 3, 3))):
        assert mend(frames, box, labels, same, crystal) == []
        np.testing.assert_array_equal(frames, before)


def test_fragments_in_other_images(frames, labels, same, crystal):
    """Chain and ligand by different translations in each frame; the oracle: before that.

    All is relative to the first chain, which is the first of the two largest.
    """
    broken = frames.copy()
    rng = np.random.default_rng(4)
    for fragment in (1, 2):
        steps = rng.integers(-2, 3, (FRAMES, 3))
        steps[0], steps[1] = (1, 0, 0), (0, 0, 0)
        broken[:, labels == fragment] += (steps @ DODECAHEDRON)[:, None]
    notes = mend(broken, boxes(), labels, same, crystal)
    np.testing.assert_allclose(broken, frames, atol=1e-9)
    assert len(notes) == 2
    assert any("B/" in note and note.endswith(", 1") for note in notes)
    assert any(note.startswith("A/LIG 301 beside ") for note in notes)


@pytest.mark.parametrize("fragment", [1, 2])
def test_no_box_to_bring_them_together(frames, labels, same, crystal, fragment):
    """Refused: frame, fragment, how far away it is, the remedy, and how to do without it."""
    frames[3, labels == fragment] += DODECAHEDRON[0]
    with pytest.raises(InputError) as caught:
        mend(frames, np.zeros((FRAMES, 3, 3)), labels, same, crystal)
    message = str(caught.value)
    name = {1: "B/", 2: "A/LIG 301"}[fragment]
    assert message.startswith(f"md.xtc: frame 4: {name}") and "gmx trjconv" in message
    assert "--select" in message
    away = float(message.split(" lies ")[1].split()[0])
    assert away == pytest.approx(70, abs=5)


def test_ligand_that_left(frames, labels, same, crystal):
    """Half a box away from its place: no image is beside it, which one is meant is not certain."""
    frames[2, labels == 2] += DODECAHEDRON[0] / 2
    with pytest.raises(InputError, match=r"frame 3: A/LIG 301 lies .* in the nearest image"):
        mend(frames, boxes(), labels, same, crystal)


def test_ligand_that_moved(frames, labels, same, crystal):
    """By 14 Å, of 49 between faces of the box: no image is meant, none is a remedy."""
    frames[2, labels == 2] += DODECAHEDRON[0] / 5
    with pytest.raises(
        InputError, match=r"frame 3: A/LIG 301 lies .* it has left its place"
    ) as told:
        mend(frames, boxes(), labels, same, crystal)
    assert "trjconv" not in str(told.value) and "--select" in str(told.value)


@pytest.mark.parametrize("image", [False, True])
def test_ligand_beside_a_tail_that_moves(frames, labels, same, crystal, image):
    """Its nearest neighbours swing by 25 Å, the protein does not: where it is, is where it was.

    In another image of the box it is brought back there.
    """
    places = crystal.positions
    far = np.linalg.norm(places - places[labels == 2].mean(axis=0), axis=1)
    tail = (far < np.partition(far[labels == 0], 24)[24] + 0.1) & (labels == 0)
    single = labels != 1
    crystal, labels, tail = crystal.select(single), labels[single], tail[single]
    rows = np.arange(len(crystal))
    same = Match(rows, rows, same.backbone[single])
    frames = frames[:, single]
    frames[:, tail] += [20.0, 15.0, 0.0]
    moved = frames.copy()
    moved[1:3, labels == 2] += DODECAHEDRON[2] * image
    mend(moved, boxes(), labels, same, crystal)
    np.testing.assert_allclose(moved, frames, atol=1e-9)


def test_atom_apart_from_its_residue(frames, labels, same, crystal):
    """A metal in a ligand is named as an atom: no residue is in another image than itself."""
    labels = np.where(np.arange(len(labels)) == len(labels) - 1, 3, labels)
    frames[1:, labels == 3] += DODECAHEDRON[1]
    (note,) = mend(frames, boxes(), labels, same, crystal)
    metal = f"A/LIG 301/{crystal.atom_names[-1]}"
    assert note.startswith(f"{metal} beside ")


def test_single_atoms(crystal):
    """Of a model without bonds every atom is a fragment of its own: still brought together."""
    carbons = crystal.select(np.flatnonzero(crystal.atom_names == "CA"))
    rows = np.arange(len(carbons))
    same = Match(rows, rows, np.ones(len(carbons), bool))
    frames = np.tile(carbons.positions, (FRAMES, 1, 1))
    assert mend(frames, np.zeros((FRAMES, 3, 3)), rows, same, carbons) == []
