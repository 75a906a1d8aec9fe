"""Models of any two terms, and any three: each runs, or is refused in one line.

What is refused says in two ways how the same atoms move together. Each model that runs is evaluated
on a tiny target, of the modes, of frames and in a crystal with a screw axis, and its map varies.
"""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from closed_loop import searched
from conftest import tiny_modes, tiny_project

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.fit.comparison import model_config
from hpc_diffuser.fit.config import Config, SearchConfig, parse_config
from hpc_diffuser.fit.problem import compare, load_problem
from hpc_diffuser.fit.stepping.gradient import score_and_gradient
from hpc_diffuser.fit.stepping.slopes import slopes
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.structures.files import pdb_bytes, write_pdb
from hpc_diffuser.maps.target import make_target
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.registry import TERMS
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import whole_map
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.system.errors import InputError

SOURCES = {
    "modes": 'modes = "modes.h5"\nn_modes = 2',
    "frames": 'ensemble = "frames.pdb"',
    "weights": 'ensemble = "frames.pdb"\nweights = "refine"',
}
CONFIG = """\
[structure]
{source}
[crystal]
file = "model.pdb"
[lattice]
contact_A = 12
[target]
file = "target.h5"
[parameters]
{amplitude}
translation_sigma_A = [0.1, 0.5]
libration_sigma_deg = [1.0, 4.0]
screw_correlation = [-0.4, 0.4]
uncorrelated_sigma_A = [0.05, 0.4]
residual_b_fraction = [0.1, 0.9]
llm_sigma_A = [0.1, 0.4]
llm_gamma_A = [4.0, 12.0]
crystal_llm_sigma_A = [0.1, 0.4]
crystal_llm_gamma_A = [6.0, 8.0]
k_sol_eA3 = 0.334
b_sol_A2 = [20.0, 90.0]
{halo}
lattice_spring_A = [1.0, 6.0]
[model]
samples = 4
halos = "{kind}"
[search]
method = "least-squares"
restarts = 1
evaluations = 3
"""
CORRELATED = "halo_sigma_A = [0.1, 0.4]\nhalo_gamma_A = [10.0, 30.0]"
EMPIRICAL = "halo_alpha = [1.0, 4.0]"
# Two of which say in another way what the other says.
REFUSED = {
    frozenset(pair): told
    for pair, told in {
        ("rbt", "lat"): "translation_sigma_A: the springs of the lattice say how",
        ("lib", "lat"): "libration_sigma_deg: the springs of the lattice say how",
        ("halo", "lat"): "halo_sigma_A: the springs of the lattice say how",
        ("llm", "cllm"): "llm_sigma_A: how atoms move with those near to them",
        ("halo", "cllm"): "halo_sigma_A: how atoms move with those near to them",
    }.items()
}
# Of these, slopes along weights of frames are not known.
NOT_BESIDE_WEIGHTS = {"res", "cllm"}
SEARCH = SearchConfig("least-squares", restarts=2, evaluations=40)
QUICK = ("rbt+lib", "llm+lat", "cllm+lat")
PAIRS = ["+".join(pair) for pair in combinations(TERMS, 2)]


def written(folder: Path, space_group: str) -> Path:
    """Modes, frames, a structure with B-factors and a target of a small crystal."""
    tiny_project(folder)
    modes, shift = tiny_modes(), np.array([3.0, 1.0, 5.0])
    away = np.random.default_rng(3).normal(scale=0.3, size=(4, 12, 3))
    if space_group != "P 1":
        structure = replace(modes.structure, positions=modes.structure.positions + shift)
        cell = (18.0, 15.0, 20.0, 90.0, 105.0, 90.0)
        modes = replace(modes, structure=structure, unit_cell=cell, space_group=space_group)
        write_modes(folder / "modes.h5", modes, {})
        write_pdb(folder / "model.pdb", modes.structure, (cell, space_group))
    frames = np.round(modes.structure.positions + away, 3)
    crystal = modes.unit_cell, modes.space_group
    path = folder / "frames.pdb"
    path.write_bytes(pdb_bytes(path, modes.structure, crystal, frames=frames))
    grid = grid_to_resolution(modes.unit_cell, (2, 2, 2), 3.0)
    indices = unique_indices(grid, np.inf, 3.0, grid_operations(grid, space_group))
    model = forward_model(modes, grid, indices, Ranks())
    values = model.rigid(Parameters(np.zeros(2), Disorder(0.4)))
    made = whole_map(model, modes, grid, indices, values)
    options = TargetOptions(d_max_A=6.0, d_min_A=3.0, n_shells=2)
    write_target(folder / "target.h5", make_target(made, options), {})
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Two crystals, by their space groups."""
    return {
        group: written(tmp_path_factory.mktemp("inputs") / "project", group)
        for group in ("P 1", "P 1 21 1")
    }


def config_of(folder: Path, source: str, halo: str = CORRELATED, kind: str = "molecule") -> Config:
    amplitude = "mode_amplitude_A = [0.05, 0.5]" if source == "modes" else ""
    text = CONFIG.format(source=SOURCES[source], amplitude=amplitude, halo=halo, kind=kind)
    return parse_config(text, folder)


def why_refused(name: str, source: str) -> str | None:
    """What a refusal says of a model; None of one that runs."""
    terms = set(name.split("+"))
    told = next((told for pair, told in REFUSED.items() if pair <= terms), None)
    if told is None and source == "weights" and "int" in terms and terms & NOT_BESIDE_WEIGHTS:
        return "structure.weights"
    return told


def refused(config: Config, name: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        load_problem(model_config(config, name))
    assert told in str(caught.value) and "\n" not in str(caught.value)


def evaluated(config: Config, name: str) -> None:
    """A map, its score, the objective's gradient and the slopes that least squares steps by."""
    problem = load_problem(model_config(config, name))
    model, comparison = compare(problem, Ranks())
    normals, point = problem.normals(4, 1), problem.space.bounds.mean(axis=1)
    values = model.internal_motion(problem.space.parameters(point), normals)
    assert np.isfinite(values).all() and values.std() > 0
    score, gradient = score_and_gradient(problem.space, model, comparison, point, normals)
    assert np.isfinite(score.cc_work) and np.isfinite(gradient).all()
    assert len(gradient) == len(point)
    of = (model, problem.modes, problem.space, point, normals)
    for place, slope in slopes(*of):
        assert np.isfinite(slope).all(), problem.space.names[place]


def test_what_is_refused(folders):
    """Two terms that say the same, in one line."""
    config = config_of(folders["P 1"], "modes")
    for pair, told in REFUSED.items():
        refused(config, "+".join(sorted(pair)), told)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_models_of_three_terms_that_are_refused(folders, source):
    """Those with two that say the same; and where weights are refined, with what has no slopes."""
    config = config_of(folders["P 1"], source)
    for n in (2, 3):
        for terms in combinations(TERMS, n):
            name = "+".join(terms)
            told = why_refused(name, source)
            if told is not None:
                refused(config, name, told)


@pytest.mark.parametrize("name", QUICK)
def test_two_terms(folders, name):
    evaluated(config_of(folders["P 1"], "modes"), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in PAIRS if n not in QUICK])
def test_any_two_terms(folders, name):
    if why_refused(name, "modes") is None:
        evaluated(config_of(folders["P 1"], "modes"), name)


@pytest.mark.parametrize("kind", ["molecule", "cell"])
def test_halos_of_either_kind(folders, kind):
    """Where molecules have two orientations."""
    config = config_of(folders["P 1 21 1"], "modes", kind=kind)
    evaluated(config, "int+halo")
    problem = load_problem(model_config(config, "int+halo"))
    # Slopes along modes are of one molecule's intensity: beside the cell's they are differences.
    assert compare(problem, Ranks())[0].steps(problem.space.middle) == (kind == "molecule")


def test_halos_that_are_refused(folders):
    """Those of the whole cell are not the target's own, and know no weights of frames."""
    folder = folders["P 1 21 1"]
    refused(config_of(folder, "modes", EMPIRICAL, "cell"), "rbt+halo", "halo_alpha takes its halos")
    refused(config_of(folder, "weights", kind="cell"), "int+halo", "weights of frames are not")


def test_halos_of_the_cell_where_there_is_one_orientation(folders, capsys):
    """They are those of molecules, which is told; not where there are two."""
    for group, told in (("P 1", True), ("P 1 21 1", False)):
        load_problem(model_config(config_of(folders[group], "modes", kind="cell"), "rbt+halo"))
        assert ('model.halos = "cell" plays no part' in capsys.readouterr().err) == told


def test_frames_on_springs(folders):
    """Whose weights are held, or refined; beside the crystal's liquid they are held alone."""
    evaluated(config_of(folders["P 1"], "frames"), "int+lat")
    evaluated(config_of(folders["P 1"], "weights"), "int+lat")
    refused(config_of(folders["P 1"], "weights"), "int+cllm", "structure.weights")


@pytest.mark.slow
def test_weights_and_a_spring_are_found(folders):
    """Of a map that the model itself has made, from the given weights and from random ones."""
    config = model_config(config_of(folders["P 1"], "weights"), "int+lat")
    model = replace(config.model, samples=64)
    prior = replace(config.prior, weights=0.0)
    config = replace(config, prior=prior, search=SEARCH, model=model)
    problem, true = load_problem(config), np.array([2.5, 0.5, 0.1, 0.3, 0.1])
    assert problem.space.names[0].startswith("lattice_spring_A")
    model, _ = compare(problem, Ranks())
    values = model.internal_motion(problem.space.parameters(true), problem.normals(256, 1))
    made = replace(problem, target=replace(problem.target, intensity=values.astype(np.float32)))
    for restart in (0, 1):
        history = searched(made, restart)
        found = history.points[history.best]
        np.testing.assert_allclose(found, true, atol=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["frames", "weights"])
def test_frames(folders, source):
    """With every other term."""
    config = config_of(folders["P 1"], source)
    for term in (term for term in TERMS if term != "int"):
        if why_refused(f"int+{term}", source) is None:
            evaluated(config, f"int+{term}")


@pytest.mark.slow
@pytest.mark.parametrize("halo", [CORRELATED, EMPIRICAL])
@pytest.mark.parametrize("group", ["P 1", "P 1 21 1"])
@pytest.mark.parametrize("source", SOURCES)
def test_three_terms(folders, source, group, halo):
    """All that are not refused; of the target's own halos those that have them, on `rbt`."""
    config = config_of(folders[group], source, halo)
    for terms in combinations(TERMS, 3):
        name, with_halos = "+".join(terms), {"halo", "rbt"} <= set(terms)
        if why_refused(name, source) is None and (halo != EMPIRICAL or with_halos):
            evaluated(config, name)
