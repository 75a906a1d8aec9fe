"""What topologies tell of their atoms: insertion codes, segments, elements, chains."""

from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from builders import peptide_chain
from molecules import SEQUENCE, copies, joined, ligand

from hpc_diffuser.commands.examples.protein import residue_positions
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.structures.files import read_structure, write_pdb
from hpc_diffuser.io.trajectories.files import read_trajectory
from hpc_diffuser.system.errors import InputError

MODES = (
    *("modes", "--trajectory", "md.dcd", "--topology", "top.gro", "--reference", "crystal.pdb"),
    *("-o", "modes.h5", "--n-modes", "2"),
)
CELL = ((90.0, 91.0, 92.0, 90.0, 90.0, 90.0), "P 1")


def gro(path: Path, structure: Structure) -> Path:
    """GROMACS, %5d%-5s%5s%5d%8.3f%8.3f%8.3f in nm."""
    s = structure
    lines = [
        f"{s.residue_numbers[i] % 100000:5d}{s.residue_names[i]:5s}{s.atom_names[i]:>5s}"
        f"{(i + 1) % 100000:5d}" + "".join(f"{x / 10:8.3f}" for x in s.positions[i])
        for i in range(len(s))
    ]
    path.write_text("\n".join(["made", f"{len(s):5d}", *lines, "   9.00000   9.10000   9.20000\n"]))
    return path


def dcd(path: Path, structure: Structure, frames: int = 3) -> Path:
    """So many frames of slightly moved atoms."""
    moved = np.random.default_rng(3).normal(0, 0.05, (frames, len(structure), 3))
    with mdtraj.formats.DCDTrajectoryFile(str(path), "w") as file:
        file.write(structure.positions + moved)
    return path


def read(tmp_path: Path, structure: Structure, topology: Path, selection: str = "all"):
    """The trajectory with this topology."""
    return read_trajectory(dcd(tmp_path / "md.dcd", structure), topology, selection)


def test_elements_of_a_gro(tmp_path):
    """Iron, chlorine, bromine, selenium, nitrogen of a haem; carbon, not calcium; ions."""
    parts = [
        peptide_chain("MGEK", atoms=("N", "CA", "C", "O", "CB", "CD", "HG")),
        ligand("HEM", 5, atoms=("FE", "NA", "NB", "NC", "ND", "CHA", "O1A")),
        ligand("LIG", 6, atoms=("CL1", "BR2", "SE3", "F4", "C5")),
        ligand("CA", 7, atoms=("CA",)),
        ligand("SOL", 8, atoms=("OW", "HW1", "HW2", "MW")),
    ]
    structure = joined(*parts)
    topology = gro(tmp_path / "top.gro", structure)
    found = read(tmp_path, structure, topology, "all")
    text = "N C C O C C H " * 4 + "Fe N N N N C O Cl Br Se F C Ca O H H X"
    assert found.structure.elements.tolist() == text.split()
    heavy = read(tmp_path, structure, topology, "element != H")
    elements = heavy.structure.elements[heavy.rows].tolist()
    assert elements == [e for e in text.split() if e != "H"]


def test_gro_that_ends_with_an_empty_line(tmp_path):
    """Editors leave one."""
    structure = peptide_chain("MGEK")
    topology = gro(tmp_path / "top.gro", structure)
    topology.write_text(topology.read_text() + "\n")
    assert len(read(tmp_path, structure, topology).structure) == 20
    found = read_trajectory(topology, topology)
    assert found.frames.shape == (1, 20, 3)


def test_element_that_a_name_does_not_tell(tmp_path):
    """Cobalt, or a carbon? Refused with the atom, and what to give instead."""
    structure = joined(peptide_chain("MGEK"), ligand("LIG", 5, atoms=("CO", "N1")))
    topology = gro(tmp_path / "top.gro", structure)
    with pytest.raises(InputError) as caught:
        read(tmp_path, structure, topology)
    message = str(caught.value)
    assert f"{topology}: atom LIG5-CO has no known element" in message and "PDB" in message


def test_pdb_without_elements(tmp_path):
    """Columns 77-78 are empty: by the table, and where that is in doubt by the name's column."""
    structure = joined(
        peptide_chain("MGEK", atoms=("N", "CA", "C", "O", "CD", "HG")),
        ligand("LIG", 5, atoms=("CO", "CL1", "N1")),
        ligand("ZN", 6, atoms=("ZN",)),
    )
    write_pdb(tmp_path / "top.pdb", structure, CELL)
    lines = (tmp_path / "top.pdb").read_text().splitlines()
    lines = [line[:76] if line.startswith(("ATOM", "HETATM")) else line for line in lines]
    cobalt = next(i for i, line in enumerate(lines) if " CO " in line)
    for column, element in (("CO  ", "Co"), (" CO ", "C")):
        lines[cobalt] = lines[cobalt][:12] + column + lines[cobalt][16:]
        (tmp_path / "top.pdb").write_text("\n".join(lines))
        found = read(tmp_path, structure, tmp_path / "top.pdb").structure.elements
        assert found.tolist() == ("N C C O C H " * 4 + f"{element} Cl N Zn").split()


def folded(*chains: Structure) -> Structure:
    """Chains with the geometry of a helix each, side by side."""
    helix = residue_positions(np.full(40, -62.0), np.full(40, -42.0)).reshape(-1, 3)
    return joined(*(replace(c, positions=helix + 20.0 * i) for i, c in enumerate(chains)))


def inserted() -> Structure:
    """Residues 1-10, 10A, 10B, 11 ... of chain A, and 1, 1A, 2 ... of chain B."""
    a = [(i, "") for i in range(1, 11)] + [(10, "A"), (10, "B")] + [(i, "") for i in range(11, 39)]
    b = [(1, ""), (1, "A"), *((i, "") for i in range(2, 40))]
    chains = []
    for letter, places in (("A", a), ("B", b)):
        numbers, codes = zip(*places, strict=True)
        chains.append(peptide_chain(SEQUENCE, letter, numbers=numbers, codes=codes))
    return folded(*chains)


def test_insertion_codes_of_a_pdb(tmp_path):
    """Every residue's, in a topology as in a crystal structure; written and read again."""
    structure = inserted()
    write_pdb(tmp_path / "top.pdb", structure, CELL)
    assert read(tmp_path, structure, tmp_path / "top.pdb").structure.names() == structure.names()
    found, _ = read_structure(tmp_path / "top.pdb")
    assert found.names() == structure.names()
    assert len({tuple(residue) for *residue, _ in found.names()}) == 80


def test_insertion_codes_among_alternates(tmp_path):
    """Atoms that mdtraj counts once; where it counts otherwise, refused."""
    structure = inserted()
    write_pdb(tmp_path / "top.pdb", structure, CELL)
    lines = (tmp_path / "top.pdb").read_text().splitlines(keepends=True)
    row = next(i for i, line in enumerate(lines) if line[12:16] == " CB ")
    first, second = (lines[row][:16] + letter + lines[row][17:] for letter in "AB")
    lines[row] = first + second
    (tmp_path / "top.pdb").write_text("".join(lines))
    assert read(tmp_path, structure, tmp_path / "top.pdb").structure.names() == structure.names()


@pytest.mark.parametrize("reader", ["topology", "structure"])
def test_segments_without_chains(tmp_path, reader):
    """CHARMM leaves the chain's column empty, and names segments in columns 73-76."""
    structure = joined(*copies("A", "B"))
    write_pdb(tmp_path / "top.pdb", structure, CELL)
    lines = (tmp_path / "top.pdb").read_text().splitlines()
    for i, line in enumerate(lines):
        if line.startswith("ATOM"):
            lines[i] = f"{line[:21]} {line[22:72]}PRO{line[21]}{line[76:]}"
    (tmp_path / "top.pdb").write_text("\n".join(line for line in lines if line[:3] != "TER"))
    if reader == "topology":
        found = read(tmp_path, structure, tmp_path / "top.pdb").structure
    else:
        found, _ = read_structure(tmp_path / "top.pdb")
    assert found.chain_ids.tolist() == structure.chain_ids.tolist()


def under_one_letter(path: Path, letter: str, ter: bool) -> Structure:
    """A dimer with a ligand each whose chains have one letter, with or without TER records."""
    parts = [joined(chain, ligand("NAG", 201, str(chain.chain_ids[0]))) for chain in copies(*"AB")]
    structure = joined(*parts)
    write_pdb(path, structure, CELL)
    lines = path.read_text().splitlines()
    kept = [line for line in lines if ter or not line.startswith("TER")]
    of_chains = ("ATOM", "HETATM", "TER")
    named = [x[:21] + letter + x[22:] if x.startswith(of_chains) else x for x in kept]
    path.write_text("\n".join(named))
    return structure


@pytest.mark.parametrize("letter", [" ", "X"])
@pytest.mark.parametrize("ter", [True, False])
def test_copies_under_one_letter(tmp_path, capsys, letter, ter):
    """Two chains, each with its ligand, as a topology and as a crystal's structure; and said."""
    structure = under_one_letter(tmp_path / "top.pdb", letter, ter)
    moving = read(tmp_path, structure, tmp_path / "top.pdb")
    found, _ = read_structure(tmp_path / "top.pdb")
    names = ["A", "B"] if letter == " " else ["X", "A"]
    chains = np.where(structure.chain_ids == "A", *names).tolist()
    assert found.chain_ids.tolist() == chains
    np.testing.assert_allclose(found.positions, structure.positions, atol=1e-3)
    assert "MET 1: taken for chains " + ", ".join(names) in capsys.readouterr().err
    if not ter:  # of blank chains mdtraj counts those that TER parts
        assert moving.structure.chain_ids.tolist() == chains
        assert any("residue numbers start again" in note for note in moving.notes)


def test_gro_of_a_dimer(tmp_path, call):
    """From the files: every atom of both copies is matched, and which chains they are is said."""
    structure = folded(*copies("A", "B"))
    write_pdb(tmp_path / "crystal.pdb", structure, CELL)
    gro(tmp_path / "top.gro", structure)
    dcd(tmp_path / "md.dcd", structure)
    result = call(
        "modes",
        "--trajectory",
        "md.dcd",
        "--topology",
        "top.gro",
        "--reference",
        "crystal.pdb",
        "-o",
        "modes.h5",
        "--n-modes",
        "2",
    )
    assert result.returncode == 0, result.stderr
    assert "superposed on 320 backbone atoms of 80 residues" in result.stdout
    assert "taken for chains A, B" in result.stdout


def test_insertion_codes_in_info_and_modes(tmp_path, call):
    """80 residues in both files; they were told as 77."""
    structure = inserted()
    write_pdb(tmp_path / "crystal.pdb", structure, CELL)
    dcd(tmp_path / "md.dcd", structure)
    assert "in 80 residues" in call("info", "crystal.pdb").stdout
    result = call(
        "modes",
        "--trajectory",
        "md.dcd",
        "--topology",
        "crystal.pdb",
        "--reference",
        "crystal.pdb",
        "-o",
        "modes.h5",
        "--n-modes",
        "2",
    )
    assert "superposed on 320 backbone atoms of 80 residues" in result.stdout
    assert "in 80 residues" in call("info", "modes.h5").stdout
    assert read_structure(tmp_path / "modes-mean.pdb")[0].names() == structure.names()


@pytest.mark.parametrize(
    ("kept", "selection"), [(range(1, 16), "resSeq 1 to 15"), (range(11, 31), "index 0 to 199")]
)
def test_selection_of_what_the_crystal_has(tmp_path, call, kept, selection):
    """A crystal of one domain, or of one of two chains: refused, but for a selection of that."""
    simulated = folded(*copies("A", "B")) if "index" in selection else folded(copies("A")[0])
    crystal = simulated.select(
        (simulated.chain_ids == "A") & np.isin(simulated.residue_numbers, kept)
    )
    write_pdb(tmp_path / "crystal.pdb", crystal, CELL)
    gro(tmp_path / "top.gro", simulated)
    dcd(tmp_path / "md.dcd", simulated)
    refused = call(*MODES)
    assert refused.returncode == 65 and "--select" in refused.stderr
    result = call(*MODES, "--select", selection)
    assert result.returncode == 0, result.stderr
    assert f"superposed on {4 * len(kept)} backbone atoms" in result.stdout + result.stderr
