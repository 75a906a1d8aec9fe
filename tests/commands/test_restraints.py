"""The command `restraints`: from files to files, by parsers of their formats' descriptions."""

import csv
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from hpc_diffuser.commands import restraints
from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.in_crystal import crystal_frames
from hpc_diffuser.system.errors import InputError

CRYSTAL = ((60.0, 61.0, 62.0, 90.0, 95.0, 90.0), "P 1")
FRAMES = 400
KT = 1.380649e-23 * 6.02214076e23 * 300 / 1000  # kJ/mol
FILES = ("--trajectory", "md.dcd", "--topology", "top.pdb", "--reference", "crystal.pdb")
HEAD = """\
; by hand
#include "force-field.ff/forcefield.itp"
#ifdef FLEXIBLE
[ moleculetype ]
Wrong 3
[ atoms ]
 1 X 1 ALA X 1 0 1
#else
#include "protein.itp"
#endif
[ system ]
a protein \\
in water
[ molecules ]
Protein 1
SOL  2
"""


def with_hydrogens(protein: Structure) -> tuple[Structure, np.ndarray]:
    """A hydrogen after each CA, and two waters at the end; rows of the protein's own atoms."""
    rows = np.repeat(np.arange(len(protein)), 1 + (protein.atom_names == "CA"))
    again = np.flatnonzero(np.diff(rows, prepend=-1) == 0)
    grown = protein.select(rows)
    for name, value in (("elements", "H"), ("atom_names", "HA")):
        getattr(grown, name)[again] = value
    grown.positions[again] += 0.6
    own = np.setdiff1d(np.arange(len(rows)), again)
    water = protein.select(np.zeros(2, int))
    water = replace(
        water,
        positions=np.array([[25.0, 25, 25], [-25, 25, 25]]),
        elements=np.array(["O", "O"]),
        atom_names=np.array(["O", "O"]),
        residue_names=np.array(["HOH", "HOH"]),
        residue_numbers=np.array([201, 202]),
    )
    names = protein.__dataclass_fields__
    joined = {n: np.concatenate([getattr(grown, n), getattr(water, n)]) for n in names}
    return Structure(**joined), own


def write_top(folder: Path, structure: Structure) -> None:
    """GROMACS's topology of it: the protein in an include, water in the force field's."""
    lines = ["[ moleculetype ]", "; name nrexcl", "Protein 3", "[ atoms ]"]
    for i, (_, number, _, atom) in enumerate(structure.names()[:-2]):
        name = structure.residue_names[i]
        lines.append(f"{i + 1:6d} opls_1 {number} {name} {atom} {i + 1} 0.0 12.0 ; qtot 0")
    lines += ["#ifdef POSRES", '#include "posre.itp"', "#endif"]
    (folder / "protein.itp").write_text("\n".join(lines) + "\n")
    (folder / "topol.top").write_text(HEAD)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> tuple[Path, Structure, np.ndarray, np.ndarray]:
    """A folder of files: atoms in wells of their own; the crystal's atoms, their rows, wells.

    The wells are of 0.3 to 0.9 Å², so that no bond breaks, the crystal of 0.35 to 0.7 Å².
    """
    folder = tmp_path_factory.mktemp("simulated")
    protein = build_protein()
    crystal = replace(protein, b_factors_A2=np.round(np.linspace(0.35, 0.7, len(protein)), 2))
    structure, own = with_hydrogens(protein)
    rng = np.random.default_rng(5)
    wells = np.full(len(structure), 0.5)
    wells[own] = rng.permutation(np.linspace(0.3, 0.9, len(own)))
    sigma = np.sqrt(wells / (8 * np.pi**2))[:, None]
    frames = structure.positions + sigma * rng.normal(size=(FRAMES, len(structure), 3))
    write_pdb(folder / "top.pdb", structure, CRYSTAL)
    write_pdb(folder / "crystal.pdb", crystal, CRYSTAL)
    topology = mdtraj.load_topology(str(folder / "top.pdb"))
    mdtraj.Trajectory(frames / 10, topology).save(str(folder / "md.dcd"))
    write_top(folder, structure)
    return folder, crystal, own, wells[own]


@pytest.fixture
def folder(simulated, tmp_path) -> Path:
    """A copy that a test may change."""
    for path in simulated[0].iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def rows_of(path: Path) -> list[dict[str, str]]:
    """A table's rows by column, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def include(path: Path) -> dict[int, tuple[float, ...]]:
    """Constants by atom of `[ position_restraints ]`: the reference manual's columns i, 1, k, k, k.

    Nothing but comments stands before the section.
    """
    lines = [line.split(";")[0].split() for line in path.read_text().splitlines()]
    filled = [words for words in lines if words]
    assert filled[0] == ["[", "position_restraints", "]"]
    assert all(len(words) == 5 and words[1] == "1" for words in filled[1:])
    return {int(w[0]): tuple(map(float, w[2:])) for w in filled[1:]}


def test_wells_become_restraints(simulated, folder, call):
    """kT/⟨x²⟩ of crystal and trajectory; in the topology's order; hydrogens and water free.

    Of 400 frames an atom's well is known to 4 %; superposition takes 6 of 942 degrees of freedom.
    """
    _, crystal, own, wells = simulated
    done = call("restraints", *FILES, "--gromacs", "topol.top", "--scale", "0.5")
    assert done.returncode == 0, done.stderr
    expected = 0.5 * np.maximum(KT * 800 * np.pi**2 * (1 / crystal.b_factors_A2 - 1 / wells), 0.0)
    rows = rows_of(folder / "restraints.csv")
    assert [int(row["index"]) for row in rows] == own.tolist()
    k = np.array([float(row["k_kJ_mol_nm2"]) for row in rows])
    scale = 0.5 * KT * 800 * np.pi**2 / crystal.b_factors_A2
    np.testing.assert_allclose(k, expected, atol=0.15 * scale.max(), rtol=0)
    assert abs(np.mean((k - expected) / scale)) < 0.02
    where = np.array([[float(row[f"{axis}_nm"]) for axis in "xyz"] for row in rows])
    np.testing.assert_allclose(where, crystal.positions / 10, atol=1e-4)
    kcal = np.array([float(row["k_kcal_mol_A2"]) for row in rows])
    np.testing.assert_allclose(kcal, k / 418.4, rtol=1e-6)
    found = include(folder / "restraints.itp")
    assert found.keys() == set((own[k > 0] + 1).tolist())
    for place, value in zip(own.tolist(), k.tolist(), strict=True):
        if value > 0:
            assert found[place + 1] == pytest.approx((value,) * 3, abs=1e-4)


def test_frames_of_several_trajectories(folder, call):
    """One pass over all of them, of the frames that are asked for: NumPy's variance of them."""
    given = ("--trajectory", "md.dcd", "md.dcd", *FILES[2:])
    done = call("restraints", *given, "--first", "11", "--last", "350", "--stride", "3")
    assert done.returncode == 0, done.stderr
    text = (folder / "restraints.csv").read_text()
    assert "frames: " in text and "sha256 trajectory 2: " in text
    files = TrajectoryFiles(*(folder / name for name in FILES[1::2]))
    chosen = crystal_frames(files).positions[10:350:3]
    squares = np.var(np.concatenate([chosen, chosen]), axis=0).sum(axis=1)
    b = [float(row["trajectory_B_A2"]) for row in rows_of(folder / "restraints.csv")]
    np.testing.assert_allclose(b, 8 * np.pi**2 / 3 * squares, rtol=1e-7)


def test_files_say_where_they_are_from(folder, call):
    """Command, checksums, temperature, scale, in comments; by residue the means."""
    command = ("restraints", *FILES, "--gromacs", "topol.top", "--temperature", "310")
    assert call(*command).returncode == 0
    for name in ("restraints.csv", "restraints.itp", "restraints-residues.csv"):
        text = (folder / name).read_text()
        assert "command: hpc-diffuser restraints" in text and "sha256 trajectory: " in text
        assert "temperature (K): 310" in text and "scale: 0.005" in text
    atoms, residues = (rows_of(folder / f"restraints{x}.csv") for x in ("", "-residues"))
    assert len(residues) == 64
    first = [float(row["crystal_B_A2"]) for row in atoms if row["residue"] == "1"]
    assert float(residues[0]["crystal_B_A2"]) == pytest.approx(np.mean(first))
    rmsf = np.sqrt(3 * np.mean(first) / (8 * np.pi**2))
    assert float(residues[0]["crystal_RMSF_A"]) == pytest.approx(rmsf)


def test_corrections_go_on_from_a_table(folder, call):
    """F + scale (F_exp − F_MD), also downwards; before and after in the table by residue."""
    assert call("restraints", *FILES, "--scale", "0.1").returncode == 0
    again = ("--previous", "restraints.csv", "-o", "second.csv", "--scale", "0.2")
    done = call("restraints", *FILES, *again, "--png", "second.png")
    assert done.returncode == 0, done.stderr
    first, second = (rows_of(folder / name) for name in ("restraints.csv", "second.csv"))
    for a, b in zip(first, second, strict=True):
        rise = float(b["crystal_F_kJ_mol_nm2"]) - float(b["trajectory_F_kJ_mol_nm2"])
        due = max(float(a["k_kJ_mol_nm2"]) + 0.2 * rise, 0)
        assert float(b["k_kJ_mol_nm2"]) == pytest.approx(due, abs=1e-4)
    assert "before_RMSF_A" in rows_of(folder / "second-residues.csv")[0]
    assert "trajectory before" in done.stdout
    assert (folder / "second.png").read_bytes().startswith(b"\x89PNG")
    assert "written: second.csv, second-residues.csv, second.png\n" in done.stdout


def test_atoms_without_b_factors_are_free(simulated, folder, call):
    """Of 0, and what the crystal lacks: named, and in no file."""
    crystal = simulated[1]
    b = crystal.b_factors_A2.copy()
    b[7] = 0
    lacking = replace(crystal, b_factors_A2=b).select(np.arange(len(crystal) - 1))
    (folder / "crystal.pdb").unlink()
    write_pdb(folder / "crystal.pdb", lacking, CRYSTAL)
    done = call("restraints", *FILES, "--gromacs", "topol.top")
    assert done.returncode == 0, done.stderr
    residue = f"A/{crystal.residue_names[7]} {crystal.residue_numbers[7]}"
    label = f"{residue}/{crystal.atom_names[7]}"
    assert f"left free, because their B-factor is 0 or none: {label}\n" in done.stdout
    assert len(rows_of(folder / "restraints.csv")) == len(crystal) - 2
    selected = call("restraints", *FILES, "--select", "protein")
    last = f"{crystal.residue_names[-1]} {crystal.residue_numbers[-1]}/{crystal.atom_names[-1]}"
    assert f"left free, because the crystal lacks them: A/{last}\n" in selected.stdout


def refused(done) -> str:
    """The one line of an error in the input."""
    assert done.returncode == 65, done.stderr
    return done.stderr.splitlines()[-1]


def test_another_order_is_refused(folder, call, edit):
    """Of the GROMACS topology: the first atom that differs, by both names; nothing is written."""
    text = (folder / "protein.itp").read_text().splitlines()
    text[4], text[5] = text[5], text[4]
    (folder / "protein.itp").unlink()
    (folder / "protein.itp").write_text("\n".join(text) + "\n")
    line = refused(call("restraints", *FILES, "--gromacs", "topol.top"))
    assert "topol.top: atom 1 of the system is" in line and "/CA, and A/" in line
    assert "expected one order of atoms" in line
    assert not list(folder.glob("restraints*"))


TOPS = {
    "share": ("Protein 1", "Protein 2", "2 molecules are of type Protein, and would share"),
    "unknown": ("Protein 1", "SOL 2\nProtein 1", "molecule type SOL, which comes before A/"),
    "short": ("Protein 1", "Protein 0", "molecule type SOL, which comes before A/"),
    "no system": ("[ molecules ]", "[ nothing ]", "no [ molecules ]: expected the topology of"),
    "endless": ("Protein 1", "Protein 999999999999999", "would share"),
    "damaged": ("Protein 1", "Protein one", "line 15, in [ molecules ], has 2 words (Protein one)"),
    "cycle": ("; by hand", '#include "topol.top"', "includes itself"),
}


@pytest.mark.parametrize(("old", "new", "expected"), TOPS.values(), ids=TOPS)
def test_topologies_that_cannot_be_used(folder, call, old, new, expected):
    """Each with what is wrong, and one line."""
    (folder / "topol.top").unlink()
    (folder / "topol.top").write_text(HEAD.replace(old, new))
    assert expected in refused(call("restraints", *FILES, "--gromacs", "topol.top"))


def test_one_frame_has_no_motion(simulated, folder, call):
    """Fewer than two frames: what was expected."""
    loaded = mdtraj.load(str(folder / "md.dcd"), top=str(folder / "top.pdb"))
    (folder / "md.dcd").unlink()
    loaded[:1].save(str(folder / "md.dcd"))
    line = refused(call("restraints", *FILES))
    assert "md.dcd: one frame has no motion: expected at least two" in line
    loaded[[0, 0, 0]].save(str(folder / "md.dcd"))
    assert "all frames are identical" in refused(call("restraints", *FILES))


def test_tables_of_other_atoms_are_refused(folder, call):
    """A table of a part; one that is none; and an output that is an input."""
    assert call("restraints", *FILES, "--select", "name CA", "-o", "ca.csv").returncode == 0
    line = refused(call("restraints", *FILES, "--previous", "ca.csv"))
    assert "ca.csv: atom " in line and "expected the same atoms" in line
    line = refused(call("restraints", *FILES, "--previous", "topol.top"))
    assert "topol.top: not a table of restraints (CSV)" in line
    line = refused(call("restraints", *FILES, "--previous", "ca.csv", "-o", "ca.csv"))
    assert "would be replaced" in line or "expected the same atoms" in line


def two_chains(folder: Path, simulated) -> None:
    """A GROMACS topology that cuts the protein into two molecule types, after residue 32."""
    text = (folder / "protein.itp").read_text().splitlines()
    atoms = [line.split() for line in text if "opls_1" in line]
    parts = [a for a in atoms if int(a[2]) <= 32], [a for a in atoms if int(a[2]) > 32]
    lines = []
    for name, part in zip(("first", "second"), parts, strict=True):
        lines += ["[ moleculetype ]", f"{name} 3", "[ atoms ]"]
        lines += [" ".join([str(i), *a[1:8]]) for i, a in enumerate(part, 1)]
    (folder / "protein.itp").unlink()
    (folder / "protein.itp").write_text("\n".join(lines) + "\n")
    (folder / "topol.top").unlink()
    (folder / "topol.top").write_text(HEAD.replace("Protein 1", "first 1\nsecond 1"))


def test_each_molecule_type_has_its_include(simulated, folder, call):
    """Atoms counted from 1 in each."""
    two_chains(folder, simulated)
    options = ("--gromacs", "topol.top", "--scale", "1")
    assert call("restraints", *FILES, *options).returncode == 0
    rows = rows_of(folder / "restraints.csv")
    first = max(int(r["index"]) for r in rows if int(r["residue"]) <= 32) + 1
    expected: dict[str, set[int]] = {"first": set(), "second": set()}
    for row in rows:
        index, held = int(row["index"]), float(row["k_kJ_mol_nm2"]) > 0
        if held:
            second = int(row["residue"]) > 32
            expected["second" if second else "first"].add(index + 1 - first * second)
    for name, numbers in expected.items():
        assert include(folder / f"restraints_{name}.itp").keys() == numbers


def test_from_python(folder, monkeypatch):
    """The same by its dataclass, which checks what it is given."""
    monkeypatch.chdir(folder)
    values = dict(zip(("trajectory", "topology", "reference"), FILES[1::2], strict=True))
    restraints.run(restraints.Options(**values, output=Path("python.csv")))
    assert len(rows_of(folder / "python.csv")) == 314
    with pytest.raises(InputError, match="--scale: expected a number above 0"):
        restraints.Options(**values, scale=-1.0)


def test_a_chain_without_restraints_has_an_empty_include(simulated, folder, call):
    """Of two chains one is given: both are named by their types, as pdb2gmx includes them."""
    two_chains(folder, simulated)
    part = ("--select", "resSeq > 32")
    assert call("restraints", *FILES, *part, "--gromacs", "topol.top").returncode == 0
    assert {path.name for path in folder.glob("*.itp")} == {
        "protein.itp",
        "restraints_first.itp",
        "restraints_second.itp",
    }
    assert include(folder / "restraints_second.itp")
    lines = (folder / "restraints_first.itp").read_text().splitlines()
    assert lines and all(line.startswith(";") for line in lines)
