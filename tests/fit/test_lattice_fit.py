"""Springs between molecules through simulate, target and fit: found again, or refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import atom
from conftest import succeeded, tiny_modes, tiny_structure
from scipy.spatial.transform import Rotation

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.inputs import load_modes, tell_contacts
from hpc_diffuser.fit.simulation import tell_large_turns
from hpc_diffuser.fit.space import held_space
from hpc_diffuser.io.structures.files import read_places, write_pdb
from hpc_diffuser.motion.lattice.full_springs import along_axes, contact_axes
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.system.errors import InputError

SIMULATE = """\
[structure]
{structure}
[lattice]
contact_A = 12
[grid]
oversampling = [3, 3, 3]
d_min_A = 2.5
[parameters]
lattice_spring_A = [[3, 3], [5, 5], [4, 4]]
{motion}
[model]
samples = {samples}
"""
FIT = """\
[structure]
{structure}
[lattice]
contact_A = 12
[target]
{target}
[parameters]
lattice_spring_A = {springs}
{motion}
[model]
samples = 32
seed = 5
final_samples = {final}
[search]
{search}
"""
ALONE = 'file = "model.pdb"'
DEFAULTS = {"structure": ALONE, "motion": "", "target": 'file = "kept.h5"', "final": 64}
RNG = np.random.default_rng
STEPS = 'method = "least-squares"\nrestarts = 2\nevaluations = 15'
BAYESIAN = "restarts = 1\nevaluations = 14\ninitial_points = 5"


def made(call, project, structure=ALONE, motion="", samples=64):
    """The map of the twelve atoms on springs with 10 % noise, and a target with its halos."""
    text = SIMULATE.format(structure=structure, motion=motion, samples=samples)
    (project / "lattice.toml").write_text(text)
    succeeded(call("simulate", "lattice.toml", "-o", "moved.nxs", "--noise", "0.1", folder=project))
    limits = ("--halo-radius", "0", "--d-max", "6", "--d-min", "2.5", "--shells", "3")
    succeeded(call("target", "moved.nxs", "-o", "kept.h5", *limits, folder=project))


def fitted(call, project, name="run", **given) -> dict:
    text = FIT.format(**DEFAULTS | given)
    (project / "fit.toml").write_text(text + f'[run]\ndirectory = "{name}"\n')
    succeeded(call("fit", "fit.toml", folder=project))
    return json.loads((project / name / "summary.json").read_text())


@pytest.mark.slow
def test_three_springs_are_found_again(call, project):
    """One for each interface, halos kept, with 10 % noise: to 5 % of the length."""
    made(call, project)
    summary = fitted(call, project, springs="[[1, 9], [1, 9], [1, 9]]", search=STEPS)
    found = summary["answer"]["lattice_spring_A"]
    np.testing.assert_allclose(found, [3, 5, 4], rtol=0.05)
    assert summary["cc_free"] > 0.98
    assert summary["refined"] == [f"lattice_spring_A {i}" for i in (1, 2, 3)]


@pytest.mark.slow
def test_springs_and_modes_are_found_again(call, project):
    """Modes over all voxels, with springs: each to 5 %."""
    moving = 'modes = "modes.h5"\nn_modes = 2'
    made(call, project, moving, "mode_amplitude_A = [[0.4, 0.4], [0.25, 0.25]]")
    given = {"structure": moving, "motion": "mode_amplitude_A = [0.0, 0.8]", "search": STEPS}
    summary = fitted(call, project, springs="[[1, 9], [1, 9], [1, 9]]", **given)
    np.testing.assert_allclose(summary["answer"]["lattice_spring_A"], [3, 5, 4], rtol=0.05)
    np.testing.assert_allclose(summary["answer"]["mode_amplitude_A"], [0.4, 0.25], rtol=0.05)


@pytest.mark.slow
def test_in_stages(call, project):
    """Springs by the halos alone, then modes between them with these springs: docs/lattice.md."""
    moving = 'modes = "modes.h5"\nn_modes = 2'
    made(call, project, moving, "mode_amplitude_A = [[0.4, 0.4], [0.25, 0.25]]")
    limits = ("--d-max", "6", "--d-min", "2.5", "--shells", "3", "--halo-radius", "0.35")
    given = {"structure": moving, "search": STEPS}
    cut = ("target", "moved.nxs", "-o", "kept.h5", *limits)
    succeeded(call(*cut, "--halos-only", folder=project))
    held = "mode_amplitude_A = [[0.4, 0.4], [0.25, 0.25]]"
    first = fitted(call, project, springs="[[1, 9], [1, 9], [1, 9]]", motion=held, **given)
    found = first["answer"]["lattice_spring_A"]
    np.testing.assert_allclose(found, [3, 5, 4], rtol=0.05)
    succeeded(call(*cut, folder=project))
    springs = str([[round(x, 3)] * 2 for x in found])
    free = "mode_amplitude_A = [0.0, 0.8]"
    second = fitted(call, project, springs=springs, motion=free, name="again", **given)
    np.testing.assert_allclose(second["answer"]["mode_amplitude_A"], [0.4, 0.25], rtol=0.1)


@pytest.mark.slow
def test_one_length_by_bayesian_search(call, project):
    """All springs alike: somewhere between those of the crystal."""
    made(call, project)
    summary = fitted(call, project, springs="[1, 9]", search=BAYESIAN)
    assert 3 < summary["answer"]["lattice_spring_A"] < 5
    assert summary["cc_free"] > 0.9


@pytest.mark.slow
def test_springs_of_any_shape(call, project):
    """From those of pairs of atoms: stiffness within its errors, rotation only where it is told."""
    shape = RNG(7).normal(0, 0.4, 63).round(2)
    held = ", ".join(f"[{x}, {x}]" for x in shape)
    made(call, project, motion=f"lattice_shape = [{held}]", samples=1024)
    ranges = "lattice_shape = [-3, 3]\n[prior]\nsprings = 1"
    lengths, likely = "[[3, 3], [5, 5], [4, 4]]", 'file = "kept.h5"\nscore = "likelihood"'
    search = 'method = "least-squares"\nrestarts = 1\nevaluations = 30'
    given = {"springs": lengths, "motion": ranges, "search": search, "final": 512}
    summary = fitted(call, project, target=likely, **given)
    assert summary["cc_free"] > 0.99
    modes = tiny_modes()
    lattice = rigid_lattice(modes.structure, modes.unit_cell, "P 1", contact_A=12.0)
    true = lattice.stiffness((3.0, 5.0, 4.0, *shape.tolist()))
    true = along_axes(contact_axes(lattice.springs.units), true).ravel()
    told = summary["intervals"]["stiffness"]
    found = np.array([one["along_kT_A2"] + one["about_kT_rad2"] for one in told]).ravel()
    errors = np.array([one["along_errors"] + one["about_errors"] for one in told]).ravel()
    z = np.log(found / true) * found / errors
    assert np.mean(np.abs(z) < 2) > 0.85 and np.abs(z).max() < 4, z
    unknown = [one["about_undetermined"] for one in told]
    assert unknown[0] == [False, False, False] and unknown[2] == [True, False, False]
    assert any("about axis 1" in warning for warning in summary["warnings"])


REFUSED = {
    "[[1, 2], [1, 2]]": "lattice_spring_A has 2 entries for the crystal's 3 interfaces, -1 0 0, 0",
    "[1, 2]\ntranslation_sigma_A = 0.3": "translation_sigma_A: the springs of the lattice say how",
    "[1, 2]\nlibration_sigma_deg = 2": "libration_sigma_deg: the springs of the lattice say",
    "[1, 2]\nhalo_sigma_A = 0.2\nhalo_gamma_A = 20": "halo_sigma_A: the springs of the lattice",
    "[1, 2]\nlattice_shape = [-1, 1]": "lattice_shape changes how stiff springs are in all",
    "3\nlattice_shape = [-1, 1]": "lattice_shape has 63 numbers, too many for a search by",
    "3\nlattice_shape = [[0, 0], [0, 1]]": "lattice_shape has 2 entries: expected 63, or one",
    "0\nlattice_shape = [-1, 1]": "lattice_shape means nothing without lattice_spring_A",
    "[1, 2]\n[prior]\nsprings = 1": "prior.springs: no shapes of springs are refined",
    "-1": "lattice_spring_A is a length in Å and cannot be negative",
}


@pytest.mark.parametrize("springs", REFUSED)
def test_what_is_refused(call, project, springs):
    """In one line, before anything is computed; what plays no part may be told before."""
    text = FIT.format(**DEFAULTS, springs=springs, search=BAYESIAN)
    (project / "fit.toml").write_text(text.replace("kept.h5", "target.h5"))
    result = call("fit", "fit.toml", folder=project)
    *before, last = result.stderr.strip().splitlines()
    assert result.returncode == 65 and REFUSED[springs] in last
    assert all("play no part" in line for line in before)


def test_interfaces_are_told(call, project):
    """In the order of a list of lengths, with the pairs of atoms that touch."""
    (project / "lattice.toml").write_text(
        SIMULATE.format(structure=ALONE, motion="", samples=64).replace("[3, 3, 3]", "[1, 1, 1]")
    )
    result = call("simulate", "lattice.toml", "-o", "moved.nxs", folder=project)
    told = "lattice: 3 interfaces, with their pairs of atoms: -1 0 0 (24); 0 -1 0 (12); 0 0 -1"
    assert succeeded(result) and told in result.stderr


TOUCHING = """\
[structure]
file = "model.pdb"
[lattice]
file = "crystal.pdb"
contact_A = 10
[parameters]
lattice_spring_A = 2
"""
SCREWED = ((18.0, 15.0, 20.0, 90.0, 105.0, 90.0), "P 1 21 1")


def lattice_beside(folder, moved, crystal=SCREWED):
    """Springs of a model, by a crystal structure whose atoms are elsewhere."""
    structure = replace(tiny_structure(), chain_ids=np.repeat(["A", "B"], [8, 4]))
    structure = replace(structure, positions=structure.positions + np.array([3.0, 1.0, 5.0]))
    write_pdb(folder / "model.pdb", structure, SCREWED)
    write_pdb(folder / "crystal.pdb", replace(structure, positions=moved(structure)), crystal)
    return load_modes(parse_config(TOUCHING, folder)).lattice.springs


def another_copy(structure, rows=slice(None)):
    """By −x, y + ½, −z and some cells."""
    to_fraction = fractionalization(SCREWED[0])
    fractions = structure.positions @ to_fraction.T * [-1, 1, -1] + [3, -1.5, 2]
    there, found = fractions @ np.linalg.inv(to_fraction).T, structure.positions.copy()
    found[rows] = there[rows]
    return found


def test_contacts_of_another_copy(tmp_path, capfd):
    """A structure that lies elsewhere in the crystal makes the springs that it makes here."""
    here = lattice_beside(tmp_path, lambda own: own.positions)
    assert "another copy" not in capfd.readouterr().err
    there = lattice_beside(tmp_path, another_copy)
    assert "crystal.pdb is another copy of the model: its atoms are taken to -x" in (
        capfd.readouterr().err
    )
    assert there.n_interfaces == here.n_interfaces
    np.testing.assert_allclose(there.units, here.units, rtol=0.02, atol=0.5)  # digits of a PDB


def test_contacts_of_another_crystal_are_refused(tmp_path):
    """Of another origin; of a chain that is beside another copy."""
    with pytest.raises(InputError, match=r"chain A of .*crystal.pdb lies \d+\.\d Å from the model"):
        lattice_beside(tmp_path, lambda own: own.positions + np.array([6.0, 0.0, 5.0]))
    with pytest.raises(InputError, match=r"chain B of .*crystal.pdb lies"):
        lattice_beside(tmp_path, lambda own: another_copy(own, slice(8, 12)))


def test_contacts_of_a_model_that_lies_otherwise_are_refused(tmp_path):
    """Turned about its middle or moved by less than another copy would be; noise is no motion."""
    turn = Rotation.from_euler("xyz", [30, 20, 10], degrees=True).as_matrix()

    def turned(own):
        middle = own.positions.mean(axis=0)
        return (own.positions - middle) @ turn.T + middle

    with pytest.raises(InputError, match=r"turned or shifted .* and 0.0 Å once superposed"):
        lattice_beside(tmp_path, turned)
    with pytest.raises(InputError, match=r"turned or shifted as a whole: its atoms are 1.8 Å rms"):
        lattice_beside(tmp_path, lambda own: own.positions + np.array([1.5, 0.0, 1.0]))
    noise = np.random.default_rng(1).normal(0, 0.8, (12, 3))
    assert lattice_beside(tmp_path, lambda own: own.positions + noise).n_interfaces


def test_contacts_of_another_cell_or_space_group_are_refused(tmp_path, capfd):
    """To half a per cent of its edges it is told; a crystal without a cell is taken to be ours."""

    def made(crystal):
        return lattice_beside(tmp_path, lambda own: own.positions, crystal)

    cell, group = SCREWED
    with pytest.raises(InputError, match=r"unit cell 18.2 15 20 90 105 90, the model 18 15 20"):
        made(((18.2, *cell[1:]), group))
    with pytest.raises(InputError, match='of space group "P 1 2 1", the model of "P 1 21 1"'):
        made((cell, "P 1 2 1"))
    made(((18.05, *cell[1:]), group))
    assert "18.05 15 20 90 105 90: its atoms are taken to touch in" in capfd.readouterr().err
    made(((1.0, 1.0, 1.0, 90.0, 90.0, 90.0), "P 1"))
    assert "crystal.pdb names no unit cell: assumed the model's" in capfd.readouterr().err


def test_which_of_several_models_touches_is_told(tmp_path, capfd):
    lattice_beside(tmp_path, lambda own: own.positions)
    first, *lines = (tmp_path / "crystal.pdb").read_text().splitlines()
    atoms = "\n".join(line for line in lines if line.startswith("ATOM"))
    models = "".join(f"MODEL {i:8d}\n{atoms}\nENDMDL\n" for i in (1, 2))
    (tmp_path / "crystal.pdb").write_text(f"{first}\n{models}END\n")
    load_modes(parse_config(TOUCHING, tmp_path))
    assert "crystal.pdb: assumed the first of 2 models" in capfd.readouterr().err


@pytest.mark.parametrize(("length", "told"), [(3.0, ""), (50.0, "rms about any axis: dynamics")])
def test_large_turns_are_told(capfd, length, told):
    """A length at which a small molecule turns by more than ten degrees."""
    modes = tiny_modes()
    lattice = rigid_lattice(modes.structure, modes.unit_cell, "P 1", contact_A=12)
    config = parse_config(f"[parameters]\nlattice_spring_A = {length}\n", Path())
    space = held_space(config.parameters, modes.amplitudes_A, lattice=lattice)
    tell_large_turns(replace(modes, lattice=lattice), space)
    found = capfd.readouterr().err
    assert told in found if told else not found


def test_several_chains_are_told_to_be_one_body(capfd):
    """Those of the model, in one line."""
    structure = replace(tiny_structure(), chain_ids=np.repeat(["A", "B"], [8, 4]))
    modes = replace(tiny_modes(), structure=structure)
    lattice = rigid_lattice(structure, modes.unit_cell, modes.space_group, contact_A=12)
    tell_contacts(replace(modes, lattice=lattice))
    told = capfd.readouterr().err.splitlines()
    assert "chains A, B move as one body, as they lie in the model" in told[-1]


def test_models_with_springs_and_translation_are_refused(call, project):
    """By their names, as `--models` has them."""
    text = FIT.format(**DEFAULTS, springs="[1, 2]", search=BAYESIAN)
    (project / "fit.toml").write_text(text.replace("kept.h5", "target.h5"))
    result = call("fit", "fit.toml", "--models", "lat,rbt+lat", folder=project)
    assert result.returncode == 65
    assert "model rbt+lat: parameters.translation_sigma_A: the springs of" in result.stderr


def test_places_of_all_conformers(tmp_path):
    """Both of an alternate; no hydrogens, no waters."""
    lines = (
        atom(1, "CA", (1, 2, 3))
        + atom(2, "CB", (2, 2, 3), alternate="A", occupancy=0.4)
        + atom(3, "CB", (9, 2, 3), alternate="B", occupancy=0.6)
        + atom(4, "HA", (1, 2, 4), "H")
        + atom(5, "O", (5, 5, 5), "O", residue="HOH", number=2)
    )
    path = tmp_path / "crystal.pdb"
    path.write_text(lines)
    np.testing.assert_allclose(read_places(path), [[1, 2, 3], [2, 2, 3], [9, 2, 3]])
