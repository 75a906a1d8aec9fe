"""All formats of trajectories and topologies; those that mdtraj cannot write, by hand."""

import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.structures import write_pdb
from hpc_diffuser.io.trajectories import read_trajectory
from hpc_diffuser.structure import Structure

BOX = ((30.0, 30.0, 30.0, 90.0, 90.0, 90.0), "P 1")
FRAMES = 3
NUMBERS = {"N": 7, "C": 6, "O": 8, "Cl": 17}
MASSES = {"N": 14.007, "C": 12.011, "O": 15.999, "Cl": 35.45}


@pytest.fixture
def molecule(modes) -> Structure:
    """Three residues of four atoms, and a chloride, which formats call CL, Cl- or CLA."""
    ion = {
        "positions": [[3.0, -2.0, 1.0]],
        "elements": ["Cl"],
        "atom_names": ["CL"],
        "residue_names": ["CL"],
        "residue_numbers": [4],
        "chain_ids": ["A"],
        "occupancies": [1.0],
        "b_factors_A2": [9.0],
        "insertion_codes": [""],
    }
    kept = modes.structure
    return Structure(
        **{f.name: np.append(getattr(kept, f.name), ion[f.name], 0) for f in fields(kept)}
    )


@pytest.fixture
def frames(molecule) -> np.ndarray:
    """Three conformations, in Å: every atom somewhere else in each."""
    steps = np.random.default_rng(4).normal(size=(FRAMES, len(molecule), 3))
    return molecule.positions + steps


def rows_of(molecule: Structure, ion: str) -> list[tuple[int, str, str, str]]:
    """Residue number, residue name, atom name, element; the ion under this name."""
    names = [
        np.where(molecule.elements == "Cl", ion, array)
        for array in (molecule.residue_names, molecule.atom_names)
    ]
    columns = molecule.residue_numbers, *names, molecule.elements
    return list(zip(*(column.tolist() for column in columns), strict=True))


def gro_text(molecule: Structure) -> str:
    """GROMACS, %5d%-5s%5s%5d%8.3f%8.3f%8.3f in nm; the ion as CHARMM's force field names it."""
    lines = [
        f"{number:5d}{residue:5s}{name:>5s}{i:5d}" + "".join(f"{x / 10:8.3f}" for x in place)
        for i, ((number, residue, name, _), place) in enumerate(
            zip(rows_of(molecule, "CLA"), molecule.positions, strict=True), 1
        )
    ]
    return "\n".join(["by hand", f"{len(lines):5d}", *lines, "   3.00000   3.00000   3.00000\n"])


def psf_text(molecule: Structure) -> str:
    """X-PLOR's PSF: I8 A4 A4 A4 A4 A4 charge mass; two bonds."""
    lines = [
        f"{i:8d} PROA {number:<4d} {residue:4s} {name:4s} {name:4s} {0:10.6f}    {MASSES[e]:10.4f}"
        f"           0"
        for i, (number, residue, name, e) in enumerate(rows_of(molecule, "CLA"), 1)
    ]
    head = f"PSF\n\n       1 !NTITLE\n REMARKS by hand\n\n{len(lines):8d} !NATOM\n"
    return (
        head + "\n".join(lines) + "\n\n       2 !NBOND: bonds\n       1       2       2       3\n\n"
    )


def prmtop_text(molecule: Structure) -> str:
    """AMBER's PRMTOP, with the flags that name atoms, residues, elements and bonds."""
    rows = rows_of(molecule, "Cl-")
    first = [i for i, row in enumerate(rows) if i == 0 or row[0] != rows[i - 1][0]]
    pointers = [len(rows)] + [0] * 30

    def flag(name: str, kind: str, cells: list[str], per_line: int) -> str:
        lines = ["".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
        return "\n".join([f"%FLAG {name}", f"%FORMAT({kind})", *(lines or [""]), ""])

    def integers(name: str, values: list[int]) -> str:
        return flag(name, "10I8", [f"{value:8d}" for value in values], 10)

    return (
        "%VERSION  VERSION_STAMP = V0001.000  DATE = 11/25/26  12:00:00\n"
        + flag("TITLE", "20a4", ["by hand"], 1)
        + integers("POINTERS", pointers)
        + flag("ATOM_NAME", "20a4", [f"{row[2]:4s}" for row in rows], 20)
        + integers("ATOMIC_NUMBER", [NUMBERS[row[3]] for row in rows])
        + flag("RESIDUE_LABEL", "20a4", [f"{rows[i][1]:4s}" for i in first], 20)
        + integers("RESIDUE_POINTER", [i + 1 for i in first])
        + integers("BONDS_INC_HYDROGEN", [])
        + integers("BONDS_WITHOUT_HYDROGEN", [0, 3, 1, 3, 6, 1])
    )


TEXTS = {"gro": gro_text, "psf": psf_text, "prmtop": prmtop_text}


def write_mdtraj_hdf5(path: Path, frames: np.ndarray, units: bytes = b"nanometers") -> None:
    """As MDTraj's HDF5 files are laid out: chunked, shuffled, deflated, units as fixed text."""
    with h5py.File(path, "w") as file:
        for name, values, unit in (
            ("coordinates", frames / 10, units),
            ("time", np.arange(len(frames)), b"picoseconds"),
            ("cell_lengths", np.full((len(frames), 3), 3.0), b"nanometers"),
        ):
            data = file.create_dataset(
                name,
                data=values.astype(np.float32),
                maxshape=(None, *values.shape[1:]),
                chunks=(len(frames) + 100, *values.shape[1:]),
                compression=1,
                shuffle=True,
            )
            data.attrs.create("units", unit, dtype=h5py.string_dtype("utf-8", len(unit)))


@pytest.fixture
def files(tmp_path, molecule, frames) -> Callable[[str, str], tuple[Path, Path]]:
    """Write a topology and a trajectory in two formats: `files("psf", "dcd")` in reading order."""

    def write(topology: str, trajectory: str) -> tuple[Path, Path]:
        write_pdb(tmp_path / "top.pdb", molecule, BOX)
        top, path = tmp_path / f"top.{topology}", tmp_path / f"md.{trajectory}"
        if topology in TEXTS:
            top.write_text(TEXTS[topology](molecule))
        if trajectory == "h5":
            write_mdtraj_hdf5(path, frames)
        else:
            atoms = mdtraj.load_topology(str(tmp_path / "top.pdb"))
            mdtraj.Trajectory(frames / 10, atoms).save(str(path))
        return path, top

    return write


# GRO keeps 0.001 nm, PDB 0.001 Å, the others single precision.
@pytest.mark.parametrize(
    ("topology", "trajectory", "precision_A"),
    [
        ("prmtop", "nc", 2e-6),
        ("psf", "dcd", 2e-6),
        ("gro", "trr", 2e-6),
        ("pdb", "h5", 2e-6),
        ("pdb", "gro", 5.1e-3),
        ("gro", "pdb.gz", 5.1e-4),
    ],
)
def test_formats(files, molecule, frames, topology, trajectory, precision_A):
    """All frames to the format's precision; of the topology names, numbers from 1 on, elements.

    Chloride is chlorine: GRO has no elements, and by first letters CLA would be carbon.
    """
    structure, found, rows = read_trajectory(*files(topology, trajectory), "element != H")
    np.testing.assert_allclose(found, frames, atol=precision_A)
    assert rows.tolist() == list(range(13))
    assert structure.elements.tolist() == molecule.elements.tolist()
    np.testing.assert_array_equal(structure.residue_numbers, molecule.residue_numbers)
    assert structure.atom_names[:12].tolist() == molecule.atom_names[:12].tolist()
    assert structure.residue_names[:12].tolist() == molecule.residue_names[:12].tolist()


class Code:
    """What a hostile file would have unpickled."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("units", "change", "message"),
    [
        (b"angstroms", None, "expected coordinates with units = .nanometers., found 'angstroms'"),
        (pickle.dumps(Code(), 0), None, "expected coordinates with units = .nanometers., found"),
        (b"nanometers", np.ravel, r"expected MDTraj's coordinates \(frames, atoms, 3\), found"),
        (
            b"nanometers",
            lambda x: x[:, 1:],
            r"md.h5 could not be .*: 3 frames of 12 atoms, the topology has 13",
        ),
    ],
    ids=["units", "pickle", "rank", "other atoms"],
)
def test_hdf5_of_another_kind(files, frames, units, change, message):
    """Refused; PyTables would unpickle an attribute that begins like one, and run what it says."""
    path, topology = files("pdb", "h5")
    write_mdtraj_hdf5(path, change(frames) if change else frames, units)
    assert_refused(path, topology, message)


@pytest.mark.parametrize(
    ("topology", "trajectory"), [("pdb", "h5"), ("pdb", "nc"), ("pdb", "gro"), ("pdb", "pdb")]
)
def test_cut_trajectory(files, topology, trajectory):
    """A copy that broke off within a frame."""
    path, top = files(topology, trajectory)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.55)])
    assert_refused(path, top, "could not be read with topology .*: .*cut short or damaged")


@pytest.mark.parametrize("topology", ["prmtop", "psf", "gro"])
def test_cut_topology(files, topology):
    """Broken off among the atoms."""
    path, top = files(topology, "dcd")
    text = top.read_text()
    top.write_text(text[: text.index("SER") + 2])
    assert_refused(path, top, f"top.{topology}")


@pytest.mark.parametrize(
    ("topology", "old", "new", "message"),
    [
        ("gro", "   CA    2", "   MW    2", "atom ALA1-MW has no known element"),
        ("prmtop", "       7       6", "       7       0", "atom ALA1-CA has no known element"),
        ("psf", "12.0110", "9.9950", "atom ALA1-CA has the mass of B: expected the masses of"),
    ],
)
def test_atom_of_no_element(files, topology, old, new, message):
    """Virtual sites scatter nothing; masses shifted to hydrogens make boron of carbon."""
    path, top = files(topology, "dcd")
    text = top.read_text()
    assert old in text
    top.write_text(text.replace(old, new, 1))
    assert_refused(path, top, message)


def assert_refused(trajectory: Path, topology: Path, message: str) -> None:
    """One line of this content, which names the file."""
    with pytest.raises(InputError, match=message) as caught:
        read_trajectory(trajectory, topology, "all")
    text = str(caught.value)
    assert "\n" not in text and (str(trajectory) in text or str(topology) in text)
