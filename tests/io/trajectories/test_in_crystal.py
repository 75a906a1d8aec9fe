"""Trajectories in their crystals: of which atoms, whole, and no motion that cannot be."""

from collections.abc import Callable
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.structure import Structure, superpose
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.io.trajectories.in_crystal import CrystalFrames, TrajectoryFiles, crystal_frames
from hpc_diffuser.system.errors import InputError

CRYSTAL = ((60.0, 61.0, 62.0, 90.0, 95.0, 90.0), "P 1")
BOX = np.array([[62.0, 0, 0], [0, 62, 0], [31, 31, 62 * np.sqrt(0.5)]])
FRAMES = 6


def joined(*parts: Structure) -> Structure:
    """One structure of several."""
    names = parts[0].__dataclass_fields__
    return Structure(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def molecules(name: str, atoms: dict[str, str], count: int, first: int, chain: str) -> Structure:
    """Molecules of one kind, numbered from `first`, 4 Å apart far from the protein."""
    n = len(atoms)
    step = np.repeat(np.arange(count), n)
    return Structure(
        positions=np.stack(
            [-25 + 4.0 * step, np.full(n * count, -30.0), np.tile(range(n), count)]
        ).T.astype(float),
        elements=np.tile(list(atoms.values()), count),
        atom_names=np.tile(list(atoms), count),
        residue_names=np.full(n * count, name),
        residue_numbers=first + step,
        chain_ids=np.full(n * count, chain),
        occupancies=np.ones(n * count),
        b_factors_A2=np.full(n * count, 20.0),
    )


WATER = molecules("HOH", {"O": "O", "H1": "H", "H2": "H", "M": "H"}, 7, 201, "A")
SALT = joined(
    molecules("NA", {"NA": "Na"}, 3, 301, "A"), molecules("CL", {"CL": "Cl"}, 2, 311, "A")
)
LIGAND = replace(
    molecules("LIG", {"C1": "C", "C2": "C", "O3": "O"}, 1, 401, "A"),
    positions=np.array([[0.0, 0, 0], [1.5, 0, 0], [2.2, 1.2, 0]]),
)


@pytest.fixture(scope="module")
def protein() -> Structure:
    """The package's own, of 64 residues; B-factors that differ."""
    protein = build_protein()
    return replace(protein, b_factors_A2=np.linspace(9, 31, len(protein)))


@pytest.fixture
def moving() -> Callable[[Structure], np.ndarray]:
    """Frames of a structure: every atom moved by 0.1 Å, water and ions by 9, all turned."""

    def move(structure: Structure) -> np.ndarray:
        rng = np.random.default_rng(8)
        scale = np.where(np.isin(structure.residue_names, ("HOH", "NA", "CL")), 9.0, 0.1)
        steps = rng.normal(size=(FRAMES, len(structure), 3)) * scale[:, None]
        turns = Rotation.random(FRAMES, rng=9).as_matrix()
        return np.einsum("fab,fnb->fna", turns, structure.positions + steps)

    return move


@pytest.fixture
def read(tmp_path) -> Callable[..., CrystalFrames]:
    """Write a simulation and its reference, and read them: `read(structure, frames, crystal)`."""

    def crystal(
        structure: Structure,
        frames: np.ndarray,
        reference: Structure,
        boxes: np.ndarray | None = None,
        **options,
    ) -> CrystalFrames:
        write_pdb(tmp_path / "top.pdb", structure, CRYSTAL)
        write_pdb(tmp_path / "crystal.pdb", reference, CRYSTAL)
        topology = mdtraj.load_topology(str(tmp_path / "top.pdb"))
        trajectory = mdtraj.Trajectory(frames / 10, topology)
        if boxes is not None:
            trajectory.unitcell_vectors = (boxes / 10).astype(np.float32)
        trajectory.save(str(tmp_path / "md.dcd"))
        names = ("md.dcd", "top.pdb", "crystal.pdb")
        return crystal_frames(TrajectoryFiles(*(tmp_path / name for name in names), **options))

    return crystal


def expected(frames: np.ndarray, reference: Structure) -> np.ndarray:
    """The frames of the reference's own atoms on it, by its backbone."""
    backbone = np.flatnonzero(np.isin(reference.atom_names, ("N", "CA", "C", "O")))
    return superpose(frames, reference.positions[backbone], backbone)


def boxes() -> np.ndarray:
    """A rhombic dodecahedron for each frame, as under pressure coupling."""
    return BOX * np.linspace(1, 1.02, FRAMES)[:, None, None]


def note(found: CrystalFrames, start: str) -> str:
    """The one line that begins like this."""
    (line,) = (line for line in found.notes if line.startswith(start))
    return line


def test_water_and_ions_are_left_out(read, protein, moving):
    """Of a solvated system the modes are of what the crystal has, a ligand too; the rest is said.

    Its own water is the crystal's, too: never of the modes. 7 waters of 4 atoms and 5 ions.
    """
    structure = joined(protein, LIGAND, WATER, SALT)
    frames = moving(structure)
    found = read(structure, frames, joined(protein, LIGAND, WATER.select(np.arange(4))))
    n = len(protein) + 3
    assert found.structure.names() == structure.select(np.arange(n)).names()
    on = expected(frames[:, :n], joined(protein, LIGAND))
    np.testing.assert_allclose(found.positions, on, atol=1e-4)
    assert note(found, "left out") == (
        f"left out of {len(structure)} atoms: 7 water molecules, 3 NA, 2 CL"
    )
    np.testing.assert_allclose(found.crystal_b_A2[:-3], protein.b_factors_A2, atol=0.005)


def test_a_selection_means_what_it_says(read, protein, moving):
    """Water and hydrogens, if that is asked for; what the crystal lacks has no B-factor."""
    structure = joined(protein, WATER)
    frames = moving(structure)
    found = read(structure, frames, protein, selection="all")
    assert len(found.structure) == len(structure)
    assert np.isnan(found.crystal_b_A2).sum() == len(WATER)
    assert not any(line.startswith("left out") for line in found.notes)
    assert np.isnan(found.crystal_positions[len(protein) :]).all()
    alone = read(structure, frames, protein, selection="name CA")
    assert set(alone.structure.atom_names) == {"CA"}
    carbons = structure.atom_names[: len(protein)] == "CA"
    every = expected(frames[:, : len(protein)], protein)[:, carbons]
    np.testing.assert_allclose(alone.positions, every, atol=1e-4)


def test_places_are_the_topologys(read, protein, moving):
    """With water before the protein, and atoms that the crystal lacks: where each one stands."""
    structure, crystal = joined(WATER, protein), protein.select(np.arange(3, len(protein)))
    found = read(structure, moving(structure), crystal)
    assert structure.select(found.places).names() == found.structure.names()
    np.testing.assert_allclose(found.crystal_positions, crystal.positions, atol=1e-3)


def test_what_the_crystal_lacks_is_left_out(read, protein, moving):
    """A tail, and the end of a side chain that has no density: said, with the residues.

    So is what the simulation lacks.
    """
    tail = protein.residue_numbers <= 2
    last = np.flatnonzero(~np.isin(protein.atom_names, ("N", "CA", "C", "O")) & ~tail)[-1]
    modelled = ~tail
    modelled[last] = False
    frames = moving(protein)
    found = read(protein, frames, joined(protein.select(modelled), LIGAND))
    assert found.structure.names() == protein.select(modelled).names()
    line = note(found, "left out")
    residue = f"A/{protein.residue_names[last]} {protein.residue_numbers[last]}"
    assert line.startswith(f"left out of {len(protein)} atoms: {tail.sum() + 1} of A/")
    assert residue in line
    assert note(found, "atoms not in") == "atoms not in the trajectory: 1 LIG"


def with_hydrogen(protein: Structure, row: int) -> Structure:
    """One hydrogen more, 1 Å from an atom, listed after it."""
    both = protein.select(np.insert(np.arange(len(protein)), row + 1, row))
    both.elements[row + 1], both.atom_names[row + 1] = "H", "HA"
    both.positions[row + 1] += [0, 0, 1.0]
    return both


def test_hydrogens_of_the_crystals_atoms(read, protein, moving):
    """Asked for, they come along although the crystal has none; else they are left out."""
    row = int(np.flatnonzero(protein.atom_names == "CA")[10])
    structure = with_hydrogen(protein, row)
    frames = moving(structure)
    assert len(read(structure, frames, protein, hydrogens=True).structure) == len(protein) + 1
    without = read(structure, frames, protein)
    assert len(without.structure) == len(protein)
    assert note(without, "left out") == f"left out of {len(structure)} atoms: 1 hydrogens"


@pytest.mark.parametrize("torn", [False, True])
def test_hydrogens_of_a_ligand_without_bonds(read, protein, moving, torn):
    """A PDB tells no bonds of ligands: the nearest heavy atom of the residue, in any image."""
    hydrogens = replace(
        LIGAND.select(np.array([0, 1])),
        positions=LIGAND.positions[:2] + np.array([0, 0, 1.09]),
        elements=np.array(["H", "H"]),
        atom_names=np.array(["H1", "H2"]),
    )
    structure = joined(protein, LIGAND, hydrogens)
    frames, box = moving(structure), boxes()
    written = frames.copy()
    if torn:
        written[:, -1] += box[:, 0]
    crystal = joined(protein, LIGAND.select(np.array([0, 1])))
    found = read(structure, written, crystal, box, hydrogens=True)
    n = len(protein)
    kept = [*range(n + 2), n + 3, n + 4]
    assert found.structure.atom_names[n:].tolist() == ["C1", "C2", "H1", "H2"]
    on = superpose(frames, protein.positions[backbone(protein)], backbone(protein))
    np.testing.assert_allclose(found.positions, on[:, kept], atol=2e-3)
    assert note(found, "left out").endswith("atoms: 1 of A/LIG 401")


def backbone(structure: Structure) -> np.ndarray:
    """Rows of N, CA, C, O."""
    return np.flatnonzero(np.isin(structure.atom_names, ("N", "CA", "C", "O")))


def test_ions_of_both_files(read, protein, moving):
    """Said once, with what to do; not as if the trajectory had none."""
    zinc = molecules("ZN", {"ZN": "Zn"}, 1, 501, "A")
    zinc = replace(zinc, positions=protein.positions[:1] + np.array([2.0, 0, 0]))
    both = joined(protein, zinc)
    frames = moving(both)
    found = read(both, frames, both)
    assert note(found, "left out") == f"left out of {len(both)} atoms: 1 ZN"
    assert note(found, "ions").endswith('as in "protein or resname ZN"')
    assert not any("not in the trajectory" in line for line in found.notes)
    chosen = read(both, frames, both, selection="protein or resname ZN")
    assert len(chosen.structure) == len(both) and not np.isnan(chosen.crystal_b_A2).any()


def dimer(protein: Structure) -> Structure:
    """Two chains of it side by side."""
    width = np.ptp(protein.positions[:, 0]) + 3
    beside = protein.positions + np.array([width, 0, 0])
    return joined(protein, replace(protein, positions=beside, chain_ids=np.full(len(protein), "B")))


@pytest.mark.parametrize("broken", ["atoms", "residues", "a chain", "chain and atoms"])
def test_broken_molecules_are_made_whole(read, protein, moving, broken):
    """A dimer in a dodecahedron, whichever way it is written: as before it was broken."""
    structure = dimer(protein)
    whole, box = moving(structure), boxes()
    frames = whole.copy()
    if "chain" in broken:
        frames[2:, structure.chain_ids == "B"] += (box[2:, 2] - box[2:, 0])[:, None]
    if broken == "residues":
        places = structure.residue_numbers + 1000 * (structure.chain_ids == "B")
        _, first, residue = np.unique(places, return_index=True, return_inverse=True)
        at = frames[:, first]
        frames -= (np.floor(at @ np.linalg.inv(box)) @ box)[:, residue]
    elif "atoms" in broken:
        frames -= np.floor(frames @ np.linalg.inv(box)) @ box
    found = read(structure, frames, structure, box)
    np.testing.assert_allclose(found.positions, expected(whole, structure), atol=2e-3)
    told = "made whole" if broken != "a chain" else "in another image of the periodic box"
    assert any(told in line and "frame" in line for line in found.notes)


def test_broken_copies_in_another_order(read, protein, moving):
    """Chains Y and X are B and A of the crystal: told by where they lie, once they are whole."""
    crystal = dimer(protein)
    crystal = replace(crystal, b_factors_A2=np.linspace(9, 31, len(crystal)).round(2))
    n = len(protein)
    rows = np.roll(np.arange(2 * n), n)
    letters = np.repeat(["X", "Y"], n)
    structure = replace(crystal.select(rows), chain_ids=letters)
    whole, box = moving(structure), boxes()
    frames = whole - np.floor(whole @ np.linalg.inv(box)) @ box
    found = read(structure, frames, crystal, box)
    np.testing.assert_allclose(found.positions, expected(whole, crystal.select(rows)), atol=2e-3)
    np.testing.assert_allclose(found.crystal_b_A2, crystal.b_factors_A2[rows], atol=0.005)
    assert note(found, "equal chains").endswith("X is B, Y is A")


@pytest.mark.parametrize("names", [("CA",), ("CA", "CB")])
@pytest.mark.parametrize("crystal", ["all", "CA"])
def test_trace_alone(read, protein, moving, names, crystal):
    """A coarse trajectory, or one of CA atoms only, is superposed on these."""
    structure = protein.select(np.isin(protein.atom_names, names))
    carbons = protein.select(protein.atom_names == "CA")
    frames = moving(structure)
    found = read(structure, frames, protein if crystal == "all" else carbons)
    kept = np.isin(structure.atom_names, names if crystal == "all" else "CA")
    trace = structure.atom_names == "CA"
    oracle = superpose(frames, carbons.positions, np.flatnonzero(trace))[:, kept]
    np.testing.assert_allclose(found.positions, oracle, atol=2e-3)  # a PDB has 3 decimals
    assert note(found, "superposed").startswith("superposed on 64 backbone atoms of 64 residues")


def test_broken_without_a_box(read, protein, moving):
    """Refused; and left out of the selection, a chain in another image does not matter."""
    structure = dimer(protein)
    frames = moving(structure)
    frames[3, structure.chain_ids == "B"] += BOX[0]
    with pytest.raises(InputError, match=r"md\.dcd: frame 4: B/.* lies 6.\.. Å from its place"):
        read(structure, frames, structure)
    alone = read(structure, frames, structure, selection="chainid 0")
    n = len(protein)
    np.testing.assert_allclose(alone.positions, expected(frames[:, :n], protein), atol=1e-4)
    frames[4, : n // 2] += BOX[1]
    with pytest.raises(InputError, match=r"frame 5: the bond .* broken across the periodic box"):
        read(structure, frames, structure, selection="chainid 0")


def test_mirror_image(read, protein, moving):
    """An axis turned round: no bond tells, the superposition does."""
    frames = moving(protein)
    frames[2:, :, 1] *= -1
    with pytest.raises(InputError, match=r"md\.dcd: frame 3: rmsd .* its mirror image fits to 0\."):
        read(protein, frames, protein)


def test_unfolded(read, protein, moving):
    """Drawn out by turns about bonds, which keep all their lengths: no motion about the crystal."""
    frames = moving(protein)
    frames[5] = stretched(protein)
    with pytest.raises(InputError, match=r"frame 6: rmsd of .* as of another structure"):
        read(protein, frames, protein)


def stretched(protein: Structure) -> np.ndarray:
    """The chain turned about the bond CA-C of every fifth residue to where it is longest."""
    best = protein.positions
    for number in range(10, 60, 5):
        at = protein.residue_numbers == number
        beyond = (protein.residue_numbers > number) | (at & (protein.atom_names == "O"))
        carbon, carbonyl = (best[at & (protein.atom_names == name)][0] for name in ("CA", "C"))
        axis = (carbonyl - carbon) / np.linalg.norm(carbonyl - carbon)
        turned = np.tile(best, (12, 1, 1))
        for i, places in enumerate(turned):
            turn = Rotation.from_rotvec(i * np.pi / 6 * axis)
            places[beyond] = turn.apply(best[beyond] - carbonyl) + carbonyl
        best = max(turned, key=lambda places: np.linalg.norm(places - places.mean(axis=0)))
    return best


def test_large_motion_is_told(read, protein, moving):
    """Beyond what folded proteins do, but possible: the rmsd, its frame, and a caution.

    The first and the median frame move by 0.1 Å in each direction: √3/10 = 0.17 Å rms.
    """
    frames = moving(protein)
    found = read(protein, frames, protein)
    line = note(found, "rmsd to the reference")
    assert line.startswith("rmsd to the reference 0.1") and "largest 0.1" in line
    assert line.endswith(
        f"of {np.isin(protein.atom_names, ('N', 'CA', 'C', 'O')).sum()} backbone atoms"
    )
    half = protein.residue_numbers > 40
    pivot = protein.positions[np.flatnonzero(half)[0]]
    turn = Rotation.from_rotvec([0, 0, 1.2])
    frames[4] = protein.positions
    frames[4, half] = turn.apply(protein.positions[half] - pivot) + pivot
    line = note(read(protein, frames, protein), "rmsd to the reference")
    assert "in frame 5" in line and line.endswith("look whether these frames are meant")
