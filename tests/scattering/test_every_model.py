"""Every model, through the commands that a user gives: fit, report and simulate."""

import json
import re
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
from conftest import succeeded
from scipy.spatial.transform import Rotation

from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.fit.b_factors import compare_b_factors
from hpc_diffuser.fit.summary import without_stand_ins
from hpc_diffuser.io.maps.native import read_map
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.motion.configurations import mean_square_displacements
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.registry import TERMS

FIT = """\
[structure]
{structure}
[crystal]
file = "model.pdb"
{contacts}[target]
file = "target.h5"
[parameters]
{parameters}
[model]
samples = 8
final_samples = 16
[search]
restarts = 1
evaluations = 3
initial_points = 2
"""
MODES = 'modes = "modes.h5"\nn_modes = 2'
# Parameters to refine, with the names that must come out.
MODELS = {
    "anisotropic": "translation_sigma_A = [0.3, 0.4, [0.1, 0.6]]\ntranslation_correlation = 0.2",
    "libration": "translation_sigma_A = 0.3\nlibration_sigma_deg = [1, 6]\nscrew_correlation = 0.5",
    "uncorrelated": "uncorrelated_sigma_A = [0.1, 0.5]",
    "residual": "translation_sigma_A = 0.1\nresidual_b_fraction = [0.2, 1]",
    "liquid": "llm_sigma_A = [0.1, 0.5]\nllm_gamma_A = [3, 20]",
    "liquid axes": "llm_sigma_A = [0.3, 0.4, [0.1, 0.6]]\nllm_gamma_A = 8\nllm_correlation = 0.2",
    "crystal liquid": "crystal_llm_sigma_A = [0.1, 0.5]\ncrystal_llm_gamma_A = [5, 8]",
    "crystal liquid, modes": "mode_amplitude_A = [0.0, 0.4]\ncrystal_llm_sigma_A = 0.4\n"
    "crystal_llm_gamma_A = 6",
    "correlated": "mode_amplitude_A = 0.2\nmode_correlation = [-0.9, 0.9]",
    "solvent": "translation_sigma_A = 0.3\nk_sol_eA3 = [0.1, 0.4]\nb_sol_A2 = [0, 50]",
    "lattice": "halo_sigma_A = [0.1, 0.5]\nhalo_gamma_A = [5, 40]",
    "springs": "lattice_spring_A = [2, 10]",
    "profile": "translation_sigma_A = 0.3\nhalo_alpha = [1, 5]",
}


def test_a_model_of_every_term():
    """Each word that models are named with has a model here."""
    named = {line.split(" = ")[0] for text in MODELS.values() for line in text.splitlines()}
    missing = [word for word, names in TERMS.items() if not named & set(names)]
    assert not missing, f"give MODELS a model with these terms: {missing}"


def write_fit(folder, model: str, structure: str = MODES) -> str:
    """A config for one model; its name."""
    if model == "correlated":
        structure += "\ncorrelated_modes = 2"
    if model == "crystal liquid":
        structure = 'file = "model.pdb"'
    contacts = "[lattice]\ncontact_A = 12\n" if model == "springs" else ""
    text = FIT.format(structure=structure, parameters=MODELS[model], contacts=contacts)
    (folder / "model.toml").write_text(text)
    return "model.toml"


@pytest.mark.parametrize("model", MODELS)
def test_fit_and_report(call, project, model):
    """Finite CC of work and free set; every parameter in summary and report under its name."""
    succeeded(call("fit", write_fit(project, model), folder=project))
    summary = json.loads((project / "run" / "summary.json").read_text())
    named = {line.split(" = ")[0] for line in MODELS[model].splitlines()}
    assert named <= set(summary["median"])
    assert np.isfinite([summary["cc_work"], summary["cc_free"]]).all()
    text = succeeded(call("report", "--text", "run", folder=project))
    assert "B-factors beside the crystal's, 12 atoms" in text
    told = sum(map(np.size, without_stand_ins(summary["median"]).values()))
    assert text.count("held") == told - len(summary["refined"])


HELD = {
    "[0.1, 0.6]": "0.5",
    "[1, 6]": "4",
    "[0.1, 0.5]": "0.4",
    "[0.2, 1]": "1",
    "[3, 20]": "6",
    "[5, 8]": "6",
    "[-0.9, 0.9]": "0.8",
    "[0.1, 0.4]": "0.334",
    "[0, 50]": "20",
    "[5, 40]": "15",
}
# Keys without which the term of a model is gone.
TERM = {
    "anisotropic": "translation_correlation",
    "libration": "(libration|screw)",
    "uncorrelated": "uncorrelated",
    "residual": "residual",
    "liquid": "llm",
    "liquid axes": "llm",
    "crystal liquid": "crystal",
    "correlated": "(mode_correlation|correlated_modes)",
    "solvent": "(k|b)_sol",
    "lattice": "halo",
}


@pytest.mark.parametrize("model", TERM)
def test_simulate(call, project, model):
    """All held: a map without NaN inside the sphere, positive, and other than without the term.

    By more than 1 % of the intensity, rms: ten times what sampling and interpolation leave.
    """
    write_fit(project, model)
    text = (project / "model.toml").read_text()
    for low_high, held in HELD.items():
        text = text.replace(low_high, held)
    text = text[: text.index("[search]")] + "[grid]\noversampling = [3, 3, 3]\nd_min_A = 3\n"
    without = re.sub(f"^{TERM[model]}.*\n", "", text, flags=re.MULTILINE)
    maps = []
    for name, config in (("one", text), ("two", without)):
        (project / f"{name}.toml").write_text(config)
        succeeded(call("simulate", f"{name}.toml", "-o", f"{name}.nxs", folder=project))
        maps.append(read_map(project / f"{name}.nxs").intensity)
    found, other = maps
    assert np.nanmin(found) > -1e-3 * np.nanmax(found)
    assert np.isfinite(found).mean() > 0.4  # a sphere in its box fills π/6
    assert np.nanmean((found - other) ** 2) > 1e-4 * np.nanmean(found**2)


def test_ensemble_of_a_fit(call, project, modes):
    """A multi-model PDB with weights 3 and 1: |F₁ − F₂|² 3/16 and the translation's part.

    With σ held, A − B = 3/16 |F₁ − F₂|², B = |¾F₁ + ¼F₂|²: the calculated map must be
    A − B + (1 − e^{−q²σ²})B, to 1e-3 rms in single precision and three decimals of a PDB.
    """
    states = [modes.structure.positions + s * modes.vectors[0] for s in (0.3, -0.3)]
    crystal = (modes.unit_cell, modes.space_group)
    parts = []
    for number, positions in enumerate(states, 1):
        write_pdb(project / "one.pdb", replace(modes.structure, positions=positions), crystal)
        lines = (project / "one.pdb").read_text().splitlines()
        head = [line for line in lines if line.startswith(("CRYST1", "SCALE"))]
        atoms = [line for line in lines if line.startswith("ATOM")]
        parts += (head if number == 1 else []) + [f"MODEL     {number:4d}", *atoms, "ENDMDL"]
    (project / "two.pdb").write_text("\n".join([*parts, "END"]) + "\n")
    (project / "sim.toml").write_text(
        '[structure]\nensemble = "two.pdb"\nweights = [3, 1]\n'
        "[grid]\noversampling = [3, 3, 3]\nd_min_A = 3\n"
        "[parameters]\ntranslation_sigma_A = 0.3\n"
        '[model]\ngrid = "target"\ntransform = "direct"\n'
    )
    succeeded(call("simulate", "sim.toml", "-o", "two.nxs", folder=project))
    found = read_map(project / "two.nxs")
    grid = found.grid
    indices = np.argwhere(np.isfinite(found.intensity)) - np.array(grid.extent)
    s2 = grid.inverse_d_squared(indices)
    s = indices / np.array(grid.divisions) @ fractionalization(grid.unit_cell)
    factors = form_factors(modes.structure.elements, s2)
    one, two = (np.sum(factors * np.exp(2j * np.pi * s @ x.T), axis=1) for x in states)
    mean = np.abs(0.75 * one + 0.25 * two) ** 2
    expected = 3 / 16 * np.abs(one - two) ** 2 - np.expm1(-4 * np.pi**2 * s2 * 0.09) * mean
    values = found.intensity[tuple((indices + grid.extent).T)]
    assert np.sqrt(np.mean((values - expected) ** 2)) < 5e-3 * np.sqrt(np.mean(expected**2))
    # The same ensemble in a fit.
    write_fit(project, "uncorrelated", 'ensemble = "two.pdb"')
    succeeded(call("fit", "model.toml", folder=project))


TRAJECTORY = 'ensemble = "md.xtc"\ntopology = "model.pdb"\nreference = "model.pdb"'


def write_trajectory(folder, modes) -> None:
    """md.xtc: six frames along the modes, each turned and shifted as a whole."""
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=(6, 2)) * modes.amplitudes_A
    frames = modes.structure.positions + np.tensordot(coefficients, modes.vectors, 1)
    turns = Rotation.random(6, rng=rng).as_matrix()
    frames = np.einsum("fxy,fny->fnx", turns, frames) + rng.uniform(-5, 5, (6, 1, 3))
    topology = mdtraj.load_topology(str(folder / "model.pdb"))
    mdtraj.Trajectory(frames / 10, topology).save(str(folder / "md.xtc"))


def test_trajectory_of_a_fit(call, project, modes):
    """Its frames in simulate and fit: the map is that of simulate's own --trajectory.

    Tried out and fitted; its topology and reference are inputs of the run as it is itself.
    """
    write_trajectory(project, modes)
    rest = (
        "[grid]\noversampling = [3, 3, 3]\nd_min_A = 3\n[parameters]\ntranslation_sigma_A = 0.2\n"
        '[model]\ngrid = "target"\ntransform = "direct"\n'
    )
    (project / "one.toml").write_text(f"[structure]\n{TRAJECTORY}\n{rest}")
    (project / "two.toml").write_text(f'[structure]\nfile = "model.pdb"\n{rest}')
    succeeded(call("simulate", "one.toml", "-o", "one.nxs", folder=project))
    files = ("--trajectory", "md.xtc", "--topology", "model.pdb", "--reference", "model.pdb")
    succeeded(call("simulate", "two.toml", *files, "-o", "two.nxs", folder=project))
    one, two = (read_map(project / name).intensity for name in ("one.nxs", "two.nxs"))
    assert np.nanmax(one) > 0
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5 * np.nanmax(two))
    write_fit(project, "uncorrelated", TRAJECTORY)
    succeeded(call("fit", "model.toml", "--test", folder=project))
    succeeded(call("fit", "model.toml", folder=project))
    manifest = json.loads((project / "run" / "manifest.json").read_text())
    inputs = {f"structure.{key}" for key in ("ensemble", "topology", "reference")}
    assert inputs <= set(manifest["inputs"]) and not inputs & set(manifest["settings"])
    with (project / "model.pdb").open("a") as file:
        file.write("REMARK\n")
    assert call("fit", "model.toml", folder=project).returncode == 78


@pytest.mark.parametrize("left_out", ["topology", "reference"])
def test_trajectory_without_its_companions(call, project, modes, left_out):
    """One line says what is needed, also without either."""
    write_trajectory(project, modes)
    lines = TRAJECTORY.splitlines()
    for kept in ([line for line in lines if left_out not in line], lines[:1]):
        result = call("fit", write_fit(project, "uncorrelated", "\n".join(kept)), folder=project)
        assert result.returncode == 65
        assert "md.xtc: a trajectory needs both topology" in result.stderr


def test_halos_of_a_target_that_has_them(call, project):
    """CC with and without halos; α = 0 multiplies by 1: the scan's first row is the rigid body."""
    succeeded(
        call(
            *("target", "map.nxs", "--d-max", "6", "--d-min", "2.5", "--shells", "3"),
            *("--halo-radius", "0", "-o", "target.h5"),
            folder=project,
        )
    )
    succeeded(call("fit", write_fit(project, "profile"), folder=project))
    halos = json.loads((project / "run" / "summary.json").read_text())["halos"]
    scan = halos["alpha_scan"]
    assert scan[0]["alpha"] == 0 and scan[-1]["alpha"] == pytest.approx(8)
    assert scan[0]["cc_with_halos"] > scan[-1]["cc_with_halos"]  # the map has no halos
    assert np.isfinite([row["cc_without_halos"] for row in scan]).all()
    text = succeeded(call("report", "--text", "run", folder=project))
    assert "with halos" in text and "alpha" in text


def test_displacements_are_those_of_samples(modes):
    """8π²/3⟨|u|²⟩ of every atom from 20000 random displacements: 3 % of each, with libration.

    Rotations by σ = 3° about axes through the centre of mass, to first order ω × r.
    """
    parameters = Parameters(
        np.array([0.2, 0.1]),
        Disorder((0.1, 0.2, 0.3), 0.15, (0.3, 0.1, -0.2), 0.2, 5.0),
        mode_correlation=(0.6,),
        libration_sigma_deg=3.0,
    )
    rng = np.random.default_rng(0)
    n = 20000
    first, second = rng.normal(size=(2, n))
    weights = np.stack([0.2 * first, 0.1 * (0.6 * first + 0.8 * second)], axis=1)
    masses = np.array([{"N": 14.0, "C": 12.0, "O": 16.0}[e] for e in modes.structure.elements])
    lever = modes.structure.positions - np.average(modes.structure.positions, 0, masses)
    turns = np.radians(3.0) * rng.normal(size=(n, 1, 3))
    u = np.tensordot(weights, modes.vectors, 1) + np.cross(turns, lever)
    found = np.sum(np.mean(u**2, axis=0), axis=-1) + 0.14 + 3 * (0.15**2 + 0.2**2)
    np.testing.assert_allclose(mean_square_displacements(modes, parameters), found, rtol=0.03)


def test_residual_b_makes_up_the_crystals(modes):
    """Fraction 1: every atom that moves less than the crystal says then moves as it says."""
    crystal = np.linspace(5, 60, 12)
    with_b = replace(modes, crystal_b_A2=crystal)
    parameters = Parameters(np.array([0.2, 0.1]), Disorder(0.3), residual_b_fraction=1.0)
    found = compare_b_factors(with_b, parameters)
    explained = 8 * np.pi**2 / 3 * mean_square_displacements(modes, parameters)
    assert found.mean_A2 == pytest.approx(np.maximum(crystal, explained).mean())


@pytest.mark.parametrize("screw", [0.9, -0.5])
def test_screws_move_atoms_as_samples_say(modes, screw):
    """⟨|u|²⟩ of 100000 exact rotations with the translation that goes along: 2 % of each atom.

    z normal; R turns by σz, t = c L z + √(1 − c²) L z', L the Cholesky factor of the translation's
    covariance by the textbook's partial correlations.
    """
    sigma, partial, degrees = np.array([0.2, 0.3, 0.4]), (0.8, 0.5, -0.6), 4.0
    a, b, z = partial
    c = z * np.sqrt((1 - a**2) * (1 - b**2)) + a * b
    correlation = np.array([[1, a, b], [a, 1, c], [b, c, 1]])
    factor = np.linalg.cholesky(correlation * np.outer(sigma, sigma))
    rng, n = np.random.default_rng(1), 100_000
    common, own = rng.normal(size=(2, n, 3))
    masses = np.array(
        [{"N": 14.007, "C": 12.011, "O": 15.999}[e] for e in modes.structure.elements]
    )
    lever = modes.structure.positions - np.average(modes.structure.positions, 0, masses)
    turned = Rotation.from_rotvec(np.radians(degrees) * common).as_matrix()
    t = screw * common @ factor.T + np.sqrt(1 - screw**2) * own @ factor.T
    found = [np.mean(np.sum((turned @ r - r + t) ** 2, axis=1)) for r in lever]
    parameters = Parameters(
        np.zeros(2),
        Disorder(tuple(sigma), translation_correlation=partial),
        libration_sigma_deg=degrees,
        screw_correlation=screw,
    )
    np.testing.assert_allclose(mean_square_displacements(modes, parameters), found, rtol=0.02)
    without = mean_square_displacements(modes, replace(parameters, screw_correlation=0.0))
    assert np.abs(without / found - 1).max() > 0.1


def test_screw_of_one_atom_by_hand(modes):
    """Only x and y of the translation are correlated, r: L_yx = r s, and L_xy = 0.

    u = σ z × R + c L z of an atom at R from the centre: ⟨|u|²⟩ = 2σ²R² + Σs² − 2cσ r s_y R_z.
    """
    s, r, c, sigma = np.array([0.3, 0.5, 0.2]), 0.7, 0.8, np.radians(2.0)
    disorder = Disorder(tuple(s), translation_correlation=(r,))
    parameters = Parameters(np.zeros(2), disorder, libration_sigma_deg=2.0, screw_correlation=c)
    masses = np.array(
        [{"N": 14.007, "C": 12.011, "O": 15.999}[e] for e in modes.structure.elements]
    )
    lever = modes.structure.positions - np.average(modes.structure.positions, 0, masses)
    expected = 2 * sigma**2 * np.sum(lever**2, axis=1) + np.sum(s**2)
    expected -= 2 * c * sigma * r * s[1] * lever[:, 2]
    found = mean_square_displacements(modes, parameters)
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # of the masses
