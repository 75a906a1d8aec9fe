"""All formats of trajectories and topologies; those that mdtraj cannot write, by hand."""

import bz2
import gzip
import lzma
import pickle
import struct
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest
from builders import write_mdtraj_hdf5

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.io.trajectories.files import read_trajectory as read_all
from hpc_diffuser.system.errors import InputError

BOX = ((30.0, 30.0, 30.0, 90.0, 90.0, 90.0), "P 1")
FRAMES = 3
NUMBERS = {"N": 7, "C": 6, "O": 8, "Cl": 17}
MASSES = {"N": 14.007, "C": 12.011, "O": 15.999, "Cl": 35.45}


def read_trajectory(trajectory: Path, topology: Path, selection: str) -> tuple:
    """The parts that most tests look at."""
    found = read_all(trajectory, topology, selection)
    return found.structure, found.frames, found.rows


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
        "u_A2": np.full((1, 3, 3), np.nan),
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


def test_letters_of_chains(files):
    """Only a PDB has them; A, which the others' chain is called, is not from the file."""
    for topology in ("pdb", "gro", "psf", "prmtop"):
        found = read_all(*files(topology, "nc"))
        assert set(found.structure.chain_ids) == {"A"}
        assert found.lettered == (topology == "pdb")


class Code:
    """What a hostile file would have unpickled."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("units", "change", "message"),
    [
        (b"angstroms", None, "units = .nanometers. or .angstrom., found 'angstroms'"),
        (pickle.dumps(Code(), 0), None, "units = .nanometers. or .angstrom., found"),
        (b"nanometers", np.ravel, r"expected coordinates \(frames, atoms, 3\) of MDTraj's HDF5"),
        (
            b"nanometers",
            lambda x: x[:, 1:],
            r"md.h5 could not be .*: frame 1 has 12 atoms, the topology has 13",
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
    told = "it ends within frame [12]: copy" if trajectory in ("nc", "pdb") else "short or damaged"
    assert_refused(path, top, f"could not be read with topology .*: .*{told}")


@pytest.mark.parametrize("trajectory", ["nc", "pdb"])
def test_cut_within_the_last_frame(files, trajectory):
    """Named by its number, wherever the copy broke off within it."""
    path, top = files("pdb", trajectory)
    content = path.read_bytes()
    for lost in (80, 100, 150):
        path.write_bytes(content[:-lost])
        assert_refused(path, top, f"it ends within frame {FRAMES}: copy it again")


@pytest.mark.parametrize("at", [12, 16])
def test_netcdf_with_a_damaged_header(files, at):
    """Lengths of gigabytes in it: refused in a moment, by whoever comes upon it."""
    path, top = files("pdb", "nc")
    content = bytearray(path.read_bytes())
    content[at : at + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"md.nc could not be .*(copy it again|is damaged)"):
        read_all(path, top, "all")


def test_pdb_of_a_model_without_an_atom(files):
    """In the middle: named by its number, with both counts."""
    path, top = files("pdb", "pdb")
    lines = path.read_text().splitlines(keepends=True)
    atoms = [i for i, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    del lines[atoms[len(atoms) // 2]]
    path.write_text("".join(lines))
    assert_refused(path, top, "frame 2 has 12 atoms, the first one 13: it is damaged")


def test_netcdf_is_read_by_one_library(files, frames, tmp_path, monkeypatch):
    """netCDF4, where somebody has it, would take a file that was cut for a whole one."""
    paths, folder = files("pdb", "nc"), tmp_path / "site"
    folder.mkdir()
    (folder / "netCDF4.py").write_text("raise RuntimeError('netCDF4 is not asked')")
    monkeypatch.syspath_prepend(str(folder))
    found = read_all(*paths, "all")
    np.testing.assert_allclose(found.frames, frames, atol=2e-6)


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


def other_case(path: Path) -> Path:
    """The same file with its ending in capitals."""
    return path.rename(path.with_name(f"{path.stem}{path.suffix.upper()}"))


@pytest.mark.parametrize(
    ("topology", "trajectory"),
    [
        ("pdb", "xtc"),
        ("gro", "trr"),
        ("psf", "dcd"),
        ("prmtop", "nc"),
        ("pdb", "h5"),
        ("gro", "pdb"),
    ],
)
def test_endings_in_capitals(files, frames, topology, trajectory):
    """MD.XTC and TOP.PDB: what other systems and old programs make of names."""
    path, top = map(other_case, files(topology, trajectory))
    _, found, _ = read_trajectory(path, top, "all")
    np.testing.assert_allclose(found, frames, atol=5.1e-3)


@pytest.mark.parametrize("trajectory", ["xtc", "trr", "dcd", "nc", "h5", "pdb", "gro"])
def test_endings_that_lie(files, frames, trajectory):
    """The first bytes tell XTC from DCD; a PDB and a GRO are told by their first lines."""
    path, top = files("psf", trajectory)
    path = path.rename(path.with_suffix(".trr" if trajectory == "xtc" else ".xtc"))
    _, found, _ = read_trajectory(path, top.rename(top.with_suffix(".pdb")), "all")
    np.testing.assert_allclose(found, frames, atol=5.1e-3)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("topology", ["pdb", "gro", "psf", "prmtop"])
def test_packed_files(files, frames, topology, pack):
    """Packed whatever they are called: told by their first bytes."""
    for path in (paths := files(topology, "dcd")):
        path.write_bytes(pack(path.read_bytes()))
    _, found, _ = read_trajectory(*paths, "all")
    np.testing.assert_allclose(found, frames, atol=2e-6)


@pytest.mark.parametrize("topology", ["pdb", "gro", "psf", "prmtop"])
def test_byte_order_marks(files, frames, topology):
    """Skipped, where it would hide the first line: an atom, in a PDB without a heading; UTF-16 is
    named."""
    path, top = files(topology, "dcd")
    text = top.read_text()
    if topology == "pdb":
        text = text[text.index("ATOM") :]
    top.write_text(text, encoding="utf-8-sig")
    np.testing.assert_allclose(read_trajectory(path, top, "all")[1], frames, atol=2e-6)
    top.write_text(text, encoding="utf-16")
    with pytest.raises(InputError, match="UTF-16 text: save it as UTF-8"):
        read_trajectory(path, top, "all")


def test_packed_by_name_alone(files, frames):
    """A file that somebody has unpacked without renaming it."""
    path, top = files("pdb", "dcd")
    _, found, _ = read_trajectory(path, top.rename(top.with_name("top.pdb.gz")), "all")
    np.testing.assert_allclose(found, frames, atol=2e-6)


def test_packed_bomb(files):
    """Zeros by the gigabyte in a file of a megabyte: refused before they fill the disk."""
    path, top = files("pdb", "dcd")
    top.write_bytes(gzip.compress(top.read_bytes() + bytes(1 << 27)))
    assert_refused(path, top, "unpacks to more than such a file can hold")


def test_damaged_packing(files):
    """Cut short: the copy, not its content, is told."""
    path, top = files("pdb", "dcd")
    packed = gzip.compress(top.read_bytes())
    top.write_bytes(packed[: len(packed) // 2])
    assert_refused(path, top, r"top.pdb: its gzip data break off: make it again")


def trr_frame(parts: dict[str, np.ndarray], atoms: int, kind: str = ">f4") -> bytes:
    """GROMACS's TRR, as its documentation lays it out: magic, title, ten sizes, counts, blocks."""
    blocks = {name: parts[name].astype(kind).tobytes() for name in parts}
    names = ("ir", "e", "box", "vir", "pres", "top", "sym", "x", "v", "f")
    sizes = [len(blocks.get(name, b"")) for name in names]
    title = struct.pack(">2i12s", 13, 12, b"GMX_trn_file")
    numbers = struct.pack(">13i", *sizes, atoms, 0, 0)
    data = b"".join(blocks.get(name, b"") for name in ("box", "x", "v", "f"))
    return struct.pack(">i", 1993) + title + numbers + np.zeros(2, kind).tobytes() + data


@pytest.mark.parametrize("kind", [">f4", ">f8"])
def test_trr_of_mixed_frames(files, frames, kind):
    """`nstvout` below `nstxout`: frames of velocities alone between those with coordinates."""
    path, top = files("pdb", "trr")
    atoms = frames.shape[1]
    box, velocities = np.diag([3.0, 3.0, 3.0]), np.ones((atoms, 3))
    full = [{"box": box, "x": x / 10, "v": velocities, "f": velocities} for x in frames]
    parts = [full[0], {"v": velocities}, {"box": box, "f": velocities}, *full[1:], {"box": box}]
    path.write_bytes(b"".join(trr_frame(part, atoms, kind) for part in parts))
    found = read_all(path, top, "all")
    np.testing.assert_allclose(found.frames, frames, atol=1e-5)
    np.testing.assert_allclose(found.boxes, np.broadcast_to(10 * box, (FRAMES, 3, 3)), atol=1e-5)
    assert found.notes == (f"{path}: 3 frames without coordinates are left aside",)


def test_trr_of_velocities_alone(files, frames):
    """`nstxout = 0`: there is nothing to read, and what to write is told."""
    path, top = files("pdb", "trr")
    atoms = frames.shape[1]
    path.write_bytes(trr_frame({"v": np.ones((atoms, 3))}, atoms) * 3)
    assert_refused(path, top, "none of its 3 frames holds coordinates.*nstxout")


def write_netcdf4(path: Path, frames: np.ndarray) -> None:
    """AMBER's convention in NetCDF-4, which is HDF5: angstrom, degrees."""
    edges = np.full((len(frames), 3), 31.0)
    with h5py.File(path, "w") as file:
        file.attrs["Conventions"] = "AMBER"
        for name, values, unit in (
            ("coordinates", frames.astype(np.float32), "angstrom"),
            ("cell_lengths", edges, "angstrom"),
            ("cell_angles", np.full_like(edges, 90.0), "degree"),
        ):
            file.create_dataset(name, data=values).attrs["units"] = unit


def test_netcdf_4(files, frames):
    """A .nc file that holds HDF5: in Å, with its box."""
    path, top = files("pdb", "nc")
    write_netcdf4(path, frames)
    found = read_all(path, top, "all")
    np.testing.assert_allclose(found.frames, frames, atol=2e-6)
    np.testing.assert_allclose(found.boxes, np.tile(31 * np.eye(3), (FRAMES, 1, 1)), atol=1e-4)


def test_netcdf_4_without_coordinates(files, frames):
    """Of velocities, or packed by its program: one line."""
    path, top = files("pdb", "nc")
    with h5py.File(path, "w") as file:
        file["velocities"] = frames
    assert_refused(path, top, "expected coordinates .frames, atoms, 3. of MDTraj's HDF5 or AMBER's")


@pytest.mark.parametrize("trajectory", ["xtc", "trr", "dcd", "nc", "h5", "gro"])
def test_topology_of_more_atoms(files, molecule, trajectory):
    """The water stripped of one of the two: both numbers, and what to do."""
    path, top = files("pdb", trajectory)
    write_pdb(top, molecule.select(np.arange(11)), BOX)
    assert_refused(
        path, top, "frame 1 has 13 atoms, the topology has 11: .*gmx trjconv -dump 0 .*cpptraj"
    )


@pytest.mark.parametrize("trajectory", ["xtc", "trr", "dcd", "nc"])
def test_boxes_of_each_frame(files, frames, trajectory):
    """A box that changes, as under pressure coupling: each frame's own, triclinic, in Å."""
    path, top = files("gro", trajectory)
    loaded = mdtraj.Trajectory(frames / 10, mdtraj.load_topology(str(path.parent / "top.pdb")))
    loaded.unitcell_lengths = np.array([[3.0, 3.1, 3.2], [3.1, 3.2, 3.3], [2.9, 3.0, 3.1]])
    loaded.unitcell_angles = np.tile([60.0, 60.0, 90.0], (FRAMES, 1))
    loaded.save(str(path))
    boxes = read_all(path, top, "all").boxes
    edges = np.linalg.norm(boxes, axis=2)
    np.testing.assert_allclose(edges, 10 * loaded.unitcell_lengths, rtol=1e-5)
    gammas = np.einsum("fx,fx->f", boxes[:, 0], boxes[:, 1]) / edges[:, 0] / edges[:, 1]
    alphas = np.einsum("fx,fx->f", boxes[:, 1], boxes[:, 2]) / edges[:, 1] / edges[:, 2]
    np.testing.assert_allclose([gammas, alphas], [[0.0] * 3, [0.5] * 3], atol=1e-5)


def assert_refused(trajectory: Path, topology: Path, message: str) -> None:
    """One line of this content, which names the file."""
    with pytest.raises(InputError, match=message) as caught:
        read_trajectory(trajectory, topology, "all")
    text = str(caught.value)
    assert "\n" not in text and (str(trajectory) in text or str(topology) in text)
