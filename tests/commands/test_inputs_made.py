"""What a fit begins with, as a user makes it: modes, simulated maps, targets."""

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest
from builders import atom
from conftest import succeeded
from scipy.spatial.transform import Rotation

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.contacts import crystal_contacts
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.io.maps.native import read_map, read_target, write_map
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.io.structures.files import read_structure, write_pdb
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.in_crystal import crystal_frames
from hpc_diffuser.motion.elastic_network import elastic_network_modes, internal_motion
from hpc_diffuser.motion.springs import Neighbours
from hpc_diffuser.system.storage import sha256

CRYSTAL = ((29.0, 28.0, 31.0, 87.0, 104.0, 97.0), "P 1")
AMPLITUDES_A = np.array([0.5, 0.35, 0.2])
FRAMES = 20


@pytest.fixture(scope="module")
def network() -> np.ndarray:
    """The protein's three lowest elastic-network modes."""
    return elastic_network_modes(build_protein(), 3)[0]


def alternating_b_factors() -> np.ndarray:
    """11 and 9 Å² in turn: equal ones would be told of."""
    return np.resize([11.0, 9.0], len(build_protein()))


@pytest.fixture(scope="module")
def simulation(tmp_path_factory, network) -> Path:
    """A simulation of the package's own protein: reference.pdb, topology.pdb, md.xtc, md.dcd.

    Twenty frames along three elastic-network modes, with uncorrelated coefficients of exactly
    the standard deviations AMPLITUDES_A; then each frame turned and shifted as a whole.
    """
    folder = tmp_path_factory.mktemp("simulation")
    protein = build_protein()
    protein = replace(protein, b_factors_A2=alternating_b_factors())
    write_pdb(folder / "reference.pdb", protein, CRYSTAL)
    # A topology as simulations have it: residues and atoms the same, another frame, no crystal.
    (folder / "topology.pdb").write_text((folder / "reference.pdb").read_text().split("\n", 1)[1])
    rng = np.random.default_rng(5)
    normals = rng.normal(size=(FRAMES, 3))
    orthogonal, _ = np.linalg.qr(normals - normals.mean(axis=0))
    coefficients = orthogonal * np.sqrt(FRAMES) * AMPLITUDES_A
    frames = protein.positions + np.einsum("fm,mnx->fnx", coefficients, network)
    turns = Rotation.random(FRAMES, rng=rng).as_matrix()
    moved = np.einsum("fxy,fny->fnx", turns, frames) + rng.uniform(-20, 20, (FRAMES, 1, 3))
    topology = mdtraj.load_topology(str(folder / "topology.pdb"))
    for name in ("md.xtc", "md.dcd"):
        mdtraj.Trajectory(moved / 10, topology).save(str(folder / name))
    return folder


def trajectory_files(simulation: Path, ending: str = "xtc") -> list:
    """The three files as arguments."""
    return [
        *("--trajectory", simulation / f"md.{ending}"),
        *("--topology", simulation / "topology.pdb"),
        *("--reference", simulation / "reference.pdb"),
    ]


@pytest.fixture(scope="module")
def from_trajectory(program, simulation, tmp_path_factory) -> tuple[Path, str]:
    """A folder with three modes of the simulation in `out/m.h5`, and what was printed."""
    folder = tmp_path_factory.mktemp("modes")
    files = trajectory_files(simulation)
    result = program("modes", *files, "--n-modes", 3, "-o", "out/m.h5", folder=folder)
    assert result.stderr == ""
    return folder / "out", succeeded(result)


def test_modes_from_a_trajectory(from_trajectory, network):
    """The frames' rigid motion is taken out, and the modes and amplitudes come back.

    Superposing on the backbone instead of on all atoms leaves a few per cent of a rotation.
    """
    folder, output = from_trajectory
    assert output.startswith("out/m.h5: modes\natoms        314 ")
    modes = read_modes(folder / "m.h5")
    assert (modes.unit_cell, modes.space_group) == CRYSTAL
    np.testing.assert_allclose(modes.amplitudes_A, AMPLITUDES_A, rtol=0.03)
    overlaps = np.abs(np.einsum("mnx,mnx->m", modes.vectors, network)) / 314
    assert (overlaps > 0.97).all()
    np.testing.assert_allclose(modes.structure.positions, build_protein().positions, atol=0.05)
    np.testing.assert_allclose(modes.crystal_b_A2, alternating_b_factors())  # not the frames'


def test_modes_write_the_mean_structure(from_trajectory):
    """Beside modes.h5, as PDB: with the crystal, and B = 8π²⟨u²⟩/3 of the frames.

    With Σ|Δ|² = N the mean of ⟨u²⟩ over the atoms is the sum of the squared amplitudes.
    """
    folder, output = from_trajectory
    structure, crystal = read_structure(folder / "m-mean.pdb")
    assert crystal == CRYSTAL and "out/m-mean.pdb" in output
    expected = 8 * np.pi**2 / 3 * np.sum(AMPLITUDES_A**2)
    assert structure.b_factors_A2.mean() == pytest.approx(expected, rel=0.03)


def test_modes_record_where_they_come_from(from_trajectory, simulation):
    """The command and the SHA-256 of every input."""
    with h5py.File(from_trajectory[0] / "m.h5") as file:
        attributes = dict(file.attrs)
    assert attributes["command"].startswith("hpc-diffuser modes --trajectory")
    texts = [value for value in attributes.values() if isinstance(value, str)]
    for name in ("md.xtc", "topology.pdb", "reference.pdb"):
        assert sha256(simulation / name) in texts


def test_modes_of_a_selection(call, simulation, tmp_path):
    """`--select` in mdtraj's language: here the Cα atoms only."""
    succeeded(call("modes", *trajectory_files(simulation), "--select", "name CA", "-o", "m.h5"))
    modes = read_modes(tmp_path / "m.h5")
    assert len(modes.structure) == 64 and set(modes.structure.atom_names) == {"CA"}
    carbons = build_protein().atom_names == "CA"
    np.testing.assert_allclose(modes.crystal_b_A2, alternating_b_factors()[carbons])


def test_output_is_ours_alone(cli, simulation):
    """Libraries that read trajectories have things to say: none of it on our output."""
    result = cli("modes", *trajectory_files(simulation, "dcd"), "--n-modes", 2)
    assert succeeded(result).startswith("modes.h5: modes\n")
    assert result.stderr == ""


def test_modes_from_an_elastic_network(call, simulation, tmp_path):
    """Of a molecule alone, kept modes that give the mean B-factor, 10 Å² of the protein.

    10 = 8π²⟨u²⟩/3 is 0.616 Å rms per atom.
    """
    reference = simulation / "reference.pdb"
    plain = ("--neighbours", "none", "--b-factors", "modes")
    succeeded(call("modes", "--reference", reference, "--n-modes", 4, *plain, "-o", "m.h5"))
    modes = read_modes(tmp_path / "m.h5")
    assert len(modes.amplitudes_A) == 4
    np.testing.assert_allclose(modes.crystal_b_A2, alternating_b_factors())
    assert (np.diff(modes.amplitudes_A) <= 0).all()
    assert np.linalg.norm(modes.amplitudes_A) == pytest.approx(np.sqrt(30 / (8 * np.pi**2)))


def test_shares_of_the_b_factors(call, tmp_path):
    """B-factors that are the network's own, and a translation's, are found to be: and told.

    ⟨|u|²⟩ of all internal modes in 8 Å² and σ_t = 0.3 Å, written to 0.01 Å² of B: the fit gives
    both back, and amplitudes √(8/λN) by the eigenvalues of the network's matrix.
    """
    protein = build_protein()
    around = Neighbours(crystal_contacts(protein.positions, *CRYSTAL, 10.0), 0.3)
    motion = internal_motion(protein.positions, 4, around)
    b = 8 * np.pi**2 * (0.3**2 + 8 * motion.squares / 3)
    write_pdb(tmp_path / "p.pdb", replace(protein, b_factors_A2=b), CRYSTAL)
    page = succeeded(call("modes", "--reference", "p.pdb", "--n-modes", 4, "-o", "m.h5"))
    assert "fitted with a correlation of 1.000" in page
    assert "0.300 Å\n" in page and "springs of 0.3 times" in page
    expected = np.sqrt(8 / motion.stiffness / len(protein))
    np.testing.assert_allclose(read_modes(tmp_path / "m.h5").amplitudes_A, expected, rtol=1e-3)
    with h5py.File(tmp_path / "m.h5") as file:
        told = file.attrs["elastic network"]
    assert "translation" in told and page.count(told) == 1
    again = succeeded(call("info", "m.h5"))
    assert again.endswith(f"{told}\n") and page.startswith(again)


def test_network_options_are_of_no_trajectory(call):
    """Refused in one line before anything is read."""
    files = ("--trajectory", "t.xtc", "--topology", "t.pdb", "--reference", "m.pdb")
    result = call("modes", *files, "--neighbours", "none")
    assert result.returncode == 65 and "are of an elastic network" in result.stderr


def test_conformer_and_hydrogens_of_the_reference(call, tmp_path):
    """A network of what they say: four of eight carbons have a B, 0.5 Å off, one a hydrogen."""
    lines = [atom(9, "H", (1, 1, 2), "H", number=1)]
    for i in range(1, 9):
        for letter, off, share in (("A", 0, 0.4), ("B", 0.5, 0.6)) if i < 5 else ((" ", 0, 1),):
            place = (2 * i, i * i % 5 + off, i % 3)
            lines.append(atom(i, "CA", place, "C", "ALA", i, letter, share))
    cell = "CRYST1   30.000   30.000   30.000  90.00  90.00  90.00 P 1           1\n"
    (tmp_path / "m.pdb").write_text(cell + "".join(lines))
    by_occupancy = ("--conformer", "occupancy", "--hydrogens")
    for options, moved, atoms in (((), 0, 8), (by_occupancy, 4, 9)):
        succeeded(call("modes", "--reference", "m.pdb", "--n-modes", 2, *options, "-o", "m.h5"))
        structure = read_modes(tmp_path / "m.h5").structure
        assert (structure.positions[:, 1] % 1 == 0.5).sum() == moved
        assert len(structure) == atoms


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--conformer", "AB"), "--conformer should be the letter of a conformer"),
        (
            ("--hydrogens", "--select", "all", "--trajectory", "t.xtc", "--topology", "t.pdb"),
            "the selection says what is kept",
        ),
    ],
)
def test_options_of_the_reference_that_are_none(call, options, message):
    """Refused in one line before anything is read."""
    result = call("modes", "--reference", "m.pdb", *options)
    assert result.returncode == 65 and message in result.stderr
    assert len(result.stderr.splitlines()) == 1


SIMULATE = """\
[structure]
modes = "modes.h5"
[grid]
oversampling = [3, 3, 3]
d_min_A = 2.5
[parameters]
translation_sigma_A = 0.4
[model]
samples = 512
"""


@pytest.fixture(scope="module")
def simulated(program, inputs, tmp_path_factory) -> tuple[Path, str]:
    """The folder with the simulated map `new.nxs`, and what was printed."""
    folder = Path(shutil.copytree(inputs, tmp_path_factory.mktemp("simulate") / "project"))
    (folder / "simulate.toml").write_text(SIMULATE)
    result = program("simulate", "simulate.toml", "-o", "new.nxs", folder=folder)
    assert result.stderr == ""
    return folder, succeeded(result)


def test_simulate(simulated, diffuse):
    """Modes at their ensemble's amplitudes: the map of the closed form, to 2 % rms."""
    folder, output = simulated
    assert output.startswith("new.nxs: native map\n")
    found = read_map(folder / "new.nxs")
    assert found.grid == diffuse.grid
    np.testing.assert_array_equal(np.isfinite(found.intensity), np.isfinite(diffuse.intensity))
    difference = np.nanstd(found.intensity - diffuse.intensity)
    assert difference < 0.02 * np.nanstd(diffuse.intensity)


def test_simulate_records_where_the_map_comes_from(simulated):
    """The command, the config's text and the SHA-256 of every input, on /entry."""
    folder, _ = simulated
    with h5py.File(folder / "new.nxs") as file:
        attributes = dict(file["entry"].attrs)
    assert attributes["command"].startswith("hpc-diffuser simulate")
    assert attributes["config"] == SIMULATE
    assert sha256(folder / "modes.h5") in attributes.values()


def test_simulated_noise(simulated, call):
    """`--noise`: what it adds is as large as the errors it tells; the same again, and recorded."""
    folder, _ = simulated
    for name in ("noisy.nxs", "again.nxs"):
        succeeded(call("simulate", "simulate.toml", "--noise", "0.1", "-o", name, folder=folder))
    exact, noisy, again = (read_map(folder / x) for x in ("new.nxs", "noisy.nxs", "again.nxs"))
    assert exact.errors is None
    there = noisy.errors > 0
    deviates = (noisy.intensity - exact.intensity)[there] / noisy.errors[there]
    assert abs(np.std(deviates) - 1) < 0.05
    np.testing.assert_array_equal(again.intensity, noisy.intensity)
    with h5py.File(folder / "noisy.nxs") as file:
        assert file["entry"].attrs["noise"] == 0.1


@pytest.mark.parametrize(("grid", "error"), [("target", 1e-5), ("auto", 0.01)])
def test_simulate_a_model_without_modes(call, project, grid, error):
    """`file` instead of `modes`: a rigid molecule that moves as a whole, |F|²(1 − e^{−q²σ²}).

    Exact where it is computed on the map's own grid; to 1 % rms where it is interpolated.
    """
    text = SIMULATE.replace('modes = "modes.h5"', 'file = "model.pdb"').replace("512", "4")
    (project / "rigid.toml").write_text(f'{text}grid = "{grid}"\n')
    succeeded(call("simulate", "rigid.toml", "-o", "rigid.nxs", folder=project))
    found = read_map(project / "rigid.nxs")
    structure, _ = read_structure(project / "model.pdb")
    indices, s2, transforms = direct_transforms(found, structure, structure.positions[None])
    expected = np.abs(transforms[0]) ** 2 * -np.expm1(-4 * np.pi**2 * s2 * 0.4**2)
    values = found.intensity[tuple((indices + found.grid.extent).T)]
    assert np.sqrt(np.mean((values - expected) ** 2)) < error * np.std(expected)


def direct_transforms(diffuse, structure, frames):
    """Molecular transforms of frames at a map's voxels, summed atom by atom.

    Returns indices (V, 3), |s|² (V,), F (frames, V).
    """
    grid = diffuse.grid
    indices = np.argwhere(np.isfinite(diffuse.intensity)) - np.array(grid.extent)
    s2 = grid.inverse_d_squared(indices)
    s = indices / np.array(grid.divisions) @ fractionalization(grid.unit_cell)
    factors = form_factors(structure.elements, s2)
    transforms = [np.sum(factors * np.exp(2j * np.pi * s @ x.T), axis=1) for x in frames]
    return indices, s2, np.array(transforms)


def test_simulate_a_trajectory(cli, simulation, from_trajectory, tmp_path):
    """The frames themselves are the ensemble: ⟨|F|²⟩ − |⟨F⟩|² by direct sums, to 1 % rms.

    The modes only say which atoms; their range plays no part.
    """
    (tmp_path / "s.toml").write_text(
        f'[structure]\nmodes = "{from_trajectory[0] / "m.h5"}"\n'
        "[grid]\noversampling = [2, 2, 2]\nd_min_A = 6\n"
        "[parameters]\nmode_amplitude_A = [0.0, 1.0]\n"
    )
    result = cli("simulate", "s.toml", *trajectory_files(simulation), "-o", "map.nxs")
    assert succeeded(result).startswith("map.nxs: native map\n")
    found = read_map(tmp_path / "map.nxs")
    names = ("md.xtc", "topology.pdb", "reference.pdb")
    ensemble = crystal_frames(TrajectoryFiles(*(simulation / n for n in names)))
    atoms, frames = ensemble.structure, ensemble.positions
    indices, _, transforms = direct_transforms(found, atoms, frames)
    expected = np.var(transforms, axis=0)
    values = found.intensity[tuple((indices + found.grid.extent).T)]
    assert np.sqrt(np.mean((values - expected) ** 2)) < 0.01 * np.std(expected)


def test_target(cli, project, target):
    """The options reach the file; every voxel is outside the halos and in the range."""
    options = ("--d-max", 6, "--d-min", 2.5, "--shells", 3)
    output = succeeded(cli("target", "map.nxs", *options, "-o", "new.h5", folder=project))
    assert output.startswith("new.h5: target\n") and "free" in output
    found = read_target(project / "new.h5")
    np.testing.assert_array_equal(found.indices, target.indices)
    np.testing.assert_array_equal(found.free, target.free)
    hkl = found.indices / 3
    assert np.linalg.norm(hkl - np.rint(hkl), axis=1).min() > 3 / 7
    d = found.grid.inverse_d_squared(found.indices) ** -0.5
    assert d.max() <= 6 and d.min() >= 2.5 - 1e-9
    with h5py.File(project / "new.h5") as file:
        assert sha256(project / "map.nxs") in file["entry"].attrs.values()


def test_target_options(call, project):
    """No halo masked, half of the zones free, another seed."""
    options = ("--d-max", 6, "--d-min", 2.5, "--halo-radius", 0, "--free-fraction", 0.5)
    succeeded(call("target", "map.nxs", *options, "--seed", 2, "-o", "new.h5", folder=project))
    found = read_target(project / "new.h5")
    hkl = found.indices / 3
    assert (np.linalg.norm(hkl - np.rint(hkl), axis=1) == 0).any()
    assert found.free.mean() == pytest.approx(0.5, abs=0.1)


def test_no_r_int_about_a_mean_of_zero(call, project):
    """Σ|I − ⟨I⟩| / Σ⟨I⟩ would be of either sign: left out, and said."""
    diffuse = read_map(project / "map.nxs")
    low = replace(diffuse, intensity=diffuse.intensity - np.nanmax(diffuse.intensity))
    write_map(project / "low.nxs", low, {})
    text = succeeded(call("target", "low.nxs", "--d-max", 6, "-o", "new.h5", folder=project))
    rows = [line.split() for line in text.splitlines() if line.startswith("  overall")]
    assert rows[0][2:] == ["100.0", "%", "2.00", "-", "1.000", "1.000", "-"]
    assert "No R_int: the mean intensity is below 0" in text


def test_target_says_how_mates_agree(call, project):
    """A table by shell, and in the file: of a calculated map, R_int 0 and CC 1, nothing missing."""
    options = ("--d-max", 6, "--d-min", 2.5, "--shells", 3, "--outliers", 2, "--remove-isotropic")
    halo = ("--halo-radius", "0.4,0.4,0.45")
    text = succeeded(call("target", "map.nxs", *options, *halo, "-o", "new.h5", folder=project))
    rows = [line.split() for line in text.splitlines() if line.startswith("  overall")]
    assert rows[0][2:] == ["100.0", "%", "2.00", "0.0000", "1.000", "1.000", "-"]
    assert "beyond 2 standard deviations" in text
    with h5py.File(project / "new.h5") as file:
        attributes = dict(file["entry"].attrs)
    assert attributes["merge R_int"] == pytest.approx(0, abs=1e-6)
    assert attributes["merge CC Friedel mates"] == pytest.approx(1)
    assert attributes["merge completeness by shell"] == "1 1 1"
    assert attributes["target halo_radius"] == "(0.4, 0.4, 0.45)"
    assert int(rows[0][1]) == attributes["merge unique voxels"] > 1000
    assert abs(read_target(project / "new.h5").intensity.mean()) < 1.0


def test_target_less_a_model(call, project):
    """Of any format, without a cell too; told on the page, by `info`, and in the file."""
    diffuse = read_map(project / "map.nxs")
    rest = np.random.default_rng(3).normal(size=diffuse.grid.shape) * np.nanstd(diffuse.intensity)
    write_map(project / "data.nxs", replace(diffuse, intensity=2 * diffuse.intensity + rest), {})
    succeeded(call("convert", "map.nxs", "model.h5", "--to", "diffuser", folder=project))
    options = ("--d-max", 6, "--d-min", 2.5, "--shells", 3, "-o", "less.h5")
    text = succeeded(call("target", "data.nxs", "--subtract", "model.h5", *options, folder=project))
    line = next(line for line in text.splitlines() if line.startswith("subtracted   model.h5"))
    assert float(line.split()[3].rstrip(":")) == pytest.approx(2, abs=0.1)
    assert "Laue mates, before cut-offs and subtraction" in text
    assert line in succeeded(call("info", "less.h5", folder=project)).splitlines()
    with h5py.File(project / "less.h5") as file:
        attributes = dict(file["entry"].attrs)
    assert attributes["sha256 subtracted"] == sha256(project / "model.h5")
    assert attributes["target subtract"] == "model.h5"
    assert float(attributes["subtracted times"]) == pytest.approx(2, abs=0.1)
    found = call("target", "data.nxs", "--subtract-scale", "shells", folder=project)
    assert found.returncode == 65 and "of no use without --subtract" in found.stderr
