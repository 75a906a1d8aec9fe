"""Trajectories through mdtraj: all frames in Å, the right atoms, clear refusals."""

from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.io.trajectories import files
from hpc_diffuser.system.errors import InputError

CRYSTAL = ((30.0, 30.0, 30.0, 90.0, 90.0, 90.0), "P 1")
FRAMES = 5


def read_trajectory(trajectory: Path, topology: Path, selection: str) -> tuple:
    """The parts that most tests look at."""
    found = files.read_trajectory(trajectory, topology, selection)
    return found.structure, found.frames, found.rows


@pytest.fixture
def topology(tmp_path, modes) -> Path:
    """The twelve atoms as PDB."""
    write_pdb(tmp_path / "topology.pdb", modes.structure, CRYSTAL)
    return tmp_path / "topology.pdb"


@pytest.fixture
def frames(modes) -> np.ndarray:
    """Five conformations, in Å: every atom somewhere else in each."""
    steps = np.random.default_rng(4).normal(size=(FRAMES, 12, 3))
    return modes.structure.positions + steps


@pytest.fixture
def save(tmp_path, topology, frames) -> Callable[..., Path]:
    """Write frames by mdtraj, which counts in nm: `save("t.xtc")`."""

    def write(name: str, positions: np.ndarray = frames) -> Path:
        mdtraj.Trajectory(positions / 10, mdtraj.load_topology(str(topology))).save(
            str(tmp_path / name)
        )
        return tmp_path / name

    return write


# XTC keeps 0.001 nm, PDB 0.001 Å, the others single precision.
@pytest.mark.parametrize(
    ("ending", "precision_A"), [("xtc", 5.1e-3), ("trr", 1e-5), ("dcd", 1e-5), ("pdb", 5.1e-4)]
)
def test_formats(save, topology, frames, ending, precision_A):
    """All frames of what GROMACS, NAMD and the PDB write, from nm to Å, to their precision."""
    _, found, _ = read_trajectory(save(f"t.{ending}"), topology, "all")
    assert found.shape == (FRAMES, 12, 3) and found.dtype == np.float64
    np.testing.assert_allclose(found, frames, atol=precision_A)


def test_structure_is_the_topology_at_the_first_frame(save, topology, frames, modes):
    """Names, numbers, elements of the topology; positions of frame 1, not of the topology."""
    structure, _, _ = read_trajectory(save("t.dcd"), topology, "all")
    assert isinstance(structure, Structure)
    assert structure.names() == modes.structure.names()
    assert structure.elements.tolist() == modes.structure.elements.tolist()
    assert structure.residue_names.tolist() == modes.structure.residue_names.tolist()
    np.testing.assert_allclose(structure.positions, frames[0], atol=1e-5)
    assert (structure.occupancies == 1).all()


def test_one_frame(save, topology, frames):
    """A trajectory of a single frame has the same shape of array."""
    _, found, _ = read_trajectory(save("t.xtc", frames[:1]), topology, "all")
    assert found.shape == (1, 12, 3)


def test_real_trajectory(data):
    """101 frames of 1961 atoms, of which 1001 are no hydrogens; frame 1 is the topology's.

    In the simulation box's frame: within the 0.001 Å of PDB and the 0.01 Å of XTC.
    """
    folder = data / "lysozyme"
    files = folder / "trajectory.xtc", folder / "topology.pdb"
    structure, frames, rows = read_trajectory(*files, "all")
    assert frames.shape == (101, 1961, 3)
    assert len(rows) == 1961
    elements, counts = np.unique(structure.elements, return_counts=True)
    assert dict(zip(elements, counts, strict=True)) == {
        "C": 613,
        "H": 960,
        "N": 193,
        "O": 185,
        "S": 10,
    }
    atoms = (mdtraj.load(str(folder / "topology.pdb")).xyz[0] * 10).astype(float)
    np.testing.assert_allclose(frames[0], atoms, atol=0.011)


@pytest.mark.parametrize(
    ("selection", "rows"),
    [
        ("all", list(range(12))),
        ("element != H", list(range(12))),
        ("name CA", [1, 5, 9]),
        ("name CA or name N", [0, 1, 4, 5, 8, 9]),
        ("resid 1", [4, 5, 6, 7]),
        ("resSeq 1 to 2 and element O", [3, 7]),
        ("resname SER and backbone", [8, 9, 10, 11]),
        ("index 11", [11]),
    ],
)
def test_selection_language(save, topology, selection, rows):
    """Mdtraj's language; rows ascend."""
    _, _, found = read_trajectory(save("t.xtc"), topology, selection)
    assert found.tolist() == rows


@pytest.mark.parametrize(
    "selection", ["", "name CA and", "name CA)", "import os", "hydrogen!", 'mass > "a"', "name CA;"]
)
def test_selection_that_is_none(save, topology, selection):
    """A slip in the selection: quoted, in one line, with an example of how it is done."""
    with pytest.raises(InputError) as caught:
        read_trajectory(save("t.xtc"), topology, selection)
    message = str(caught.value)
    assert f'"{selection}"' in message and "an example: name CA" in message
    assert "\n" not in message


def test_selection_of_nothing(save, topology):
    """A selection without atoms is refused."""
    with pytest.raises(InputError, match='selection "name ZN" matches no atom'):
        read_trajectory(save("t.xtc"), topology, "name ZN")


@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd", "pdb"])
def test_topology_of_other_atoms(save, tmp_path, modes, ending):
    """Another number of atoms: both files are named."""
    trajectory = save(f"t.{ending}")
    write_pdb(tmp_path / "other.pdb", modes.structure.select(np.arange(11)), CRYSTAL)
    with pytest.raises(InputError) as caught:
        read_trajectory(trajectory, tmp_path / "other.pdb", "all")
    message = str(caught.value)
    assert str(trajectory) in message and "other.pdb" in message and "\n" not in message


@pytest.mark.parametrize("which", ["trajectory", "topology"])
@pytest.mark.parametrize("kind", ["missing", "empty", "folder", "text"])
def test_unreadable_file(save, topology, which, kind):
    """The trajectory or the topology is missing, empty, a folder, or something else."""
    files = {"trajectory": save("t.xtc"), "topology": topology}
    path = files[which]
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("hello world\n" * 100 if kind == "text" else "")
    with pytest.raises(InputError) as caught:
        read_trajectory(**files, selection="all")
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    if kind in ("missing", "empty"):
        assert {"missing": "no such file", "empty": "empty file"}[kind] in message


@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd"])
@pytest.mark.parametrize("fraction", [0.02, 0.15, 0.55, 0.9])
def test_truncated_trajectory(save, topology, ending, fraction):
    """A copy that broke off within a frame: refused, with the frame's number."""
    path = save(f"t.{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(InputError) as caught:
        read_trajectory(path, topology, "all")
    message = str(caught.value)
    assert message.startswith(f"{path} could not be read") and "\n" not in message
    assert f"it ends within frame {int(FRAMES * fraction) + 1}" in message


@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd"])
def test_trajectory_that_ends_between_frames(save, topology, frames, ending):
    """A DCD file's header tells how many there should be; the others are whole with fewer."""
    path = save(f"t.{ending}")
    shorter = len(save(f"s.{ending}", frames[:3]).read_bytes())
    path.write_bytes(path.read_bytes()[:shorter])
    if ending == "dcd":
        with pytest.raises(InputError, match="header promises 5 frames, but it holds 3"):
            read_trajectory(path, topology, "all")
    else:
        assert read_trajectory(path, topology, "all")[1].shape == (3, 12, 3)


@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd"])
def test_anything_after_the_last_frame(save, topology, ending):
    """Bytes that are no frame: refused."""
    path = save(f"t.{ending}")
    path.write_bytes(path.read_bytes() + b"\0\0\0\1" * 100)
    with pytest.raises(InputError, match="could not be read"):
        read_trajectory(path, topology, "all")


@pytest.mark.parametrize("ending", ["xtc", "trr"])
@pytest.mark.parametrize("which", [0, 3])
def test_header_of_a_frame_is_damaged(save, topology, frames, ending, which):
    """Named by its number; of the first it may be no such file at all."""
    path = save(f"t.{ending}")
    at = len(save(f"s.{ending}", frames[:which]).read_bytes()) if which else 0
    content = bytearray(path.read_bytes())
    content[at + 2 : at + 24] = b"\x11" * 22
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_trajectory(path, topology, "all")
    told = (
        rf"frame {which + 1}: expected a frame of {ending.upper()} at byte {at}, found none: it is"
    )
    kind = "" if which else ", or another kind of file"
    assert f"{told} damaged{kind}: copy it again" in str(caught.value)


def test_few_atoms_are_not_compressed(save, tmp_path, modes, frames):
    """XTC stores up to nine atoms as they are, in frames of another layout."""
    write_pdb(tmp_path / "few.pdb", modes.structure.select(np.arange(9)), CRYSTAL)
    few = mdtraj.Trajectory(frames[:, :9] / 10, mdtraj.load_topology(str(tmp_path / "few.pdb")))
    few.save(str(tmp_path / "few.xtc"))
    _, found, _ = read_trajectory(tmp_path / "few.xtc", tmp_path / "few.pdb", "all")
    np.testing.assert_allclose(found, frames[:, :9], atol=5.1e-3)


def test_frames_with_a_box(save, tmp_path, topology, frames):
    """As simulation programs write them: more in each frame than coordinates."""
    loaded = mdtraj.Trajectory(frames / 10, mdtraj.load_topology(str(topology)))
    loaded.unitcell_lengths, loaded.unitcell_angles = np.full((2, FRAMES, 3), [[[3.0]], [[90.0]]])
    for name in ("box.dcd", "box.trr", "box.xtc"):
        loaded.save(str(tmp_path / name))
        _, found, _ = read_trajectory(tmp_path / name, topology, "all")
        np.testing.assert_allclose(found, frames, atol=5.1e-3)


@pytest.mark.parametrize("name", ["t.lh5", "t.gsd", "t.dtr"])
def test_formats_that_may_hold_code(tmp_path, topology, name):
    """PyTables unpickles what it finds in HDF5 files: its formats are not read."""
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"could not be read: expected \.xtc, "):
        read_trajectory(tmp_path / name, topology, "all")


def test_coordinates_beyond_belief(save, topology, frames):
    """Finite, but farther away than any atom."""
    frames[2, 5, 1] = 1e9
    with pytest.raises(InputError, match=r"frame 3 has coordinates beyond 100000 Å"):
        read_trajectory(save("t.trr", frames), topology, "all")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_coordinates_that_are_not_finite(save, topology, frames, bad):
    """An exploded simulation: the file and the first bad frame are named, counted from 1."""
    frames[3, 5, 1] = bad
    with pytest.raises(InputError, match=r"t\.dcd: frame 4 has coordinates that are not finite"):
        read_trajectory(save("t.dcd", frames), topology, "all")


def test_topology_without_an_element(save, tmp_path, topology):
    """An atom of unknown element has no form factor: it is named."""
    trajectory = save("t.xtc")
    lines = topology.read_text().replace(" CA  GLY", " Q1  GLY").splitlines(keepends=True)
    lines = [f"{line[:76]}  \n" if " Q1 " in line else line for line in lines]
    topology.write_text("".join(lines))
    with pytest.raises(InputError, match="Q1 has no known element"):
        read_trajectory(trajectory, topology, "all")


def test_ending_that_mdtraj_does_not_know(tmp_path, topology):
    """The file is named."""
    (tmp_path / "t.weird").write_text("content")
    with pytest.raises(InputError, match=r"t\.weird could not be read"):
        read_trajectory(tmp_path / "t.weird", topology, "all")
