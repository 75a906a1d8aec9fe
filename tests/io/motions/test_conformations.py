"""NMD, DCD and PDB for other programs: read back by gemmi, mdtraj and the formats' descriptions."""

import struct
from dataclasses import replace
from pathlib import Path

import gemmi
import mdtraj
import numpy as np
import pytest
from conftest import UNIT_CELL

from hpc_diffuser.io.motions.conformations import conformation_files
from hpc_diffuser.io.motions.dcd import dcd_bytes
from hpc_diffuser.io.motions.nmd import nmd_bytes
from hpc_diffuser.io.structures.files import pdb_bytes

FRAMES = 7


@pytest.fixture
def frames(modes):
    """Seven conformations around the twelve atoms."""
    shifts = np.random.default_rng(2).normal(size=(FRAMES, 12, 3))
    return modes.structure.positions + shifts


def read_nmd(data: bytes) -> tuple[dict[str, list[str]], list[list[str]]]:
    """A reader by the format's description: words at blanks, one datum a line, many modes."""
    fields, modes = {}, []
    for line in data.decode("ascii").splitlines():
        label, *words = line.split()
        if label == "mode":
            modes.append(words)
        else:
            assert label not in fields
            fields[label] = words
    return fields, modes


def test_nmd(modes):
    """Arrays of length 1, scaled by √eigenvalue: their product is amplitude · Δ in Å."""
    fields, rows = read_nmd(nmd_bytes(modes, "my modes"))
    assert fields["name"] == ["my_modes"]
    assert fields["atomnames"] == ["N", "CA", "C", "O"] * 3
    assert fields["resnames"][::4] == ["ALA", "GLY", "SER"]
    assert fields["chainids"] == ["A"] * 12 and fields["resids"][::4] == ["1", "2", "3"]
    places = np.array(fields["coordinates"], float).reshape(12, 3)
    np.testing.assert_allclose(places, modes.structure.positions, atol=5.1e-4)
    b = np.array(fields["bfactors"], float)
    np.testing.assert_allclose(b, modes.structure.b_factors_A2, atol=5.1e-3)
    for number, words in enumerate(rows, start=1):
        assert words[0] == str(number) and "." in words[1]  # index and scale are told by that
        array = np.array(words[2:], float)
        assert len(array) == 36 and np.linalg.norm(array) == pytest.approx(1, abs=1e-5)
        field = float(words[1]) * array.reshape(12, 3)
        expected = modes.amplitudes_A[number - 1] * modes.vectors[number - 1]
        np.testing.assert_allclose(field, expected, atol=1e-5)


def test_nmd_of_chains_without_letters(modes):
    """Readers part words at blanks: no line rather than one without words."""
    structure = replace(modes.structure, chain_ids=np.full(12, ""))
    fields, _ = read_nmd(nmd_bytes(replace(modes, structure=structure), "x"))
    assert "chainids" not in fields
    mixed = replace(structure, chain_ids=np.array(["A"] * 6 + [""] * 6))
    fields, _ = read_nmd(nmd_bytes(replace(modes, structure=mixed), "x"))
    assert fields["chainids"] == ["A"] * 6 + ["_"] * 6


def test_nmd_leaves_out_what_does_not_move(modes):
    """Programs divide by the scale."""
    still = replace(modes, amplitudes_A=np.array([0.0, 0.2]))
    assert [words[0] for words in read_nmd(nmd_bytes(still, "x"))[1]] == ["2"]


def test_dcd(modes, frames, tmp_path):
    """mdtraj reads positions in single precision, and the unit cell with its angles."""
    path = tmp_path / "a.dcd"
    files = conformation_files(path, modes.structure, frames, (UNIT_CELL, "P 1"))
    assert [p.name for p in files] == ["a-atoms.pdb", "a.dcd"]
    for name, data in files.items():
        name.write_bytes(data)
    found = mdtraj.load(str(path), top=str(tmp_path / "a-atoms.pdb"))
    np.testing.assert_allclose(found.xyz * 10, frames, atol=1e-5)
    np.testing.assert_allclose(found.unitcell_lengths[0] * 10, UNIT_CELL[:3], rtol=1e-6)
    np.testing.assert_allclose(found.unitcell_angles, [UNIT_CELL[3:]] * FRAMES, rtol=1e-6)
    assert [a.name for a in found.topology.atoms] == modes.structure.atom_names.tolist()


@pytest.mark.parametrize("cell", [UNIT_CELL, ()])
def test_dcd_is_made_of_whole_records(frames, cell):
    """Every Fortran record has its length on both sides; CHARMM's numbers are in their places."""
    data, place, records = dcd_bytes(frames, cell), 0, []
    while place < len(data):
        (length,) = struct.unpack_from("<i", data, place)
        assert struct.unpack_from("<i", data, place + 4 + length) == (length,)
        records.append(data[place + 4 : place + 4 + length])
        place += length + 8
    assert len(records[0]) == 84 and records[0][:4] == b"CORD"
    control = struct.unpack("<20i", records[0][4:])
    assert control[:4] == (FRAMES, 1, 1, FRAMES) and control[10] == bool(cell)
    assert struct.unpack("<i", records[2]) == (12,)
    of_frame = ([48] if cell else []) + [48, 48, 48]
    assert list(map(len, records[3:])) == of_frame * FRAMES


def test_dcd_without_a_cell(modes, frames, tmp_path):
    """Readers find none."""
    path = tmp_path / "a.dcd"
    for name, data in conformation_files(path, modes.structure, frames, ((), "P 1")).items():
        name.write_bytes(data)
    found = mdtraj.load(str(path), top=str(tmp_path / "a-atoms.pdb"))
    assert found.unitcell_lengths is None and found.n_frames == FRAMES


def test_models(modes, frames, tmp_path):
    """gemmi and mdtraj read as many models as there are, with the cell, to the last decimal."""
    path = tmp_path / "a.pdb"
    (data,) = conformation_files(path, modes.structure, frames, (UNIT_CELL, "P 1")).values()
    path.write_bytes(data)
    found = gemmi.read_structure(str(path))
    assert len(found) == FRAMES and found.cell.parameters == pytest.approx(UNIT_CELL, abs=0.01)
    places = [[cra.atom.pos.tolist() for cra in model.all()] for model in found]
    np.testing.assert_allclose(places, frames, atol=5.1e-4)
    kinds = {line[:6] for line in data.decode().splitlines() if line[12:16] == " CA "}
    assert kinds == {"ATOM  "} or kinds == {"HETATM"}  # the same in every model
    np.testing.assert_allclose(mdtraj.load(str(path)).xyz * 10, frames, atol=5.2e-4)


def test_anisou(modes):
    """Every component in its column, as gemmi reads it: in 10⁻⁴ Å², cross terms with signs."""
    factors = np.random.default_rng(5).normal(size=(12, 3, 3)) * 0.4
    u = factors @ factors.swapaxes(1, 2)
    crystal = (UNIT_CELL, "P 1")
    data = pdb_bytes(Path("a.pdb"), modes.structure, crystal, covariances_A2=u)
    found = gemmi.read_pdb_string(data.decode())
    read = [np.array(cra.atom.aniso.as_mat33().tolist()) for cra in found[0].all()]
    np.testing.assert_allclose(read, u, atol=5.1e-5)
    line = next(x for x in data.decode().splitlines() if x.startswith("ANISOU"))
    whole = [int(line[i : i + 7]) for i in range(28, 70, 7)]
    order = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]  # U11 U22 U33 U12 U13 U23
    assert whole == [round(1e4 * u[0][place]) for place in order]
