"""Settings that play no part: every key of the config has a row, or always an effect."""

import numpy as np
import pytest
from config_text import FOLDER, KEYS
from conftest import tiny_modes

from hpc_diffuser.fit.comparison import model_config
from hpc_diffuser.fit.config import ParametersConfig, PriorConfig, load_config, parse_config
from hpc_diffuser.fit.config_needs import (
    ELSEWHERE,
    NEEDS,
    require_effect,
    require_effect_in_simulation,
    without_effect,
)
from hpc_diffuser.fit.inputs import load_modes
from hpc_diffuser.fit.priors.prior import prior_of
from hpc_diffuser.fit.problem import compare, load_problem
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.motion.registry import PARAMETERS
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError

# Whatever else the config says, these say what a fit is of, or what it does.
ALWAYS = {
    *("structure.modes", "structure.file", "structure.ensemble"),
    *("crystal.file", "crystal.unit_cell", "crystal.space_group"),
    *("target.file", "target.score", "target.weights", "target.anisotropic_scale"),
    *("models.compare", "model.grid", "model.transform", "model.seed"),
    *("search.method", "search.restarts", "search.evaluations"),
    *("run.directory", "run.groups", "run.patience_s"),
}
MODES, RIGID = '[structure]\nmodes = "m.h5"\n', '[structure]\nfile = "m.pdb"\n'
STILL = '[structure]\nmodes = "m.h5"\nn_modes = 0\n'
FRAMES = '[structure]\nensemble = "m.pdb"\nweights = "refine"\n'
SPRINGS = "[parameters]\nlattice_spring_A = [0.0, 4.0]\n"
HALOS = "[parameters]\nhalo_sigma_A = [0.1, 0.4]\nhalo_gamma_A = 20\n"
CORRELATED = "[parameters]\nmode_correlation = [-0.5, 0.5]\n"
LIKELY = 'score = "likelihood"\n'
BASES = '[models]\ncompare = ["int"]\nbases = {other = "other.h5"}\n'
# Of each key a config in which it plays no part, and one in which it does.
CASES = {
    "structure.conformer": (MODES + 'conformer = "B"', RIGID + 'conformer = "B"'),
    "structure.hydrogens": (
        MODES + "hydrogens = true",
        MODES + 'hydrogens = true\n[crystal]\nfile = "m.cif"',
    ),
    "structure.weights": (FRAMES + "n_modes = 0", FRAMES),
    "structure.n_modes": (RIGID + "n_modes = 0", MODES + "n_modes = 0"),
    "structure.correlated_modes": (
        MODES + "correlated_modes = 2",
        MODES + "correlated_modes = 2\n" + CORRELATED,
    ),
    "grid.oversampling": (MODES + "[grid]\noversampling = [3, 3, 3]", None),
    "grid.d_min_A": (MODES + "[grid]\nd_min_A = 2.0", None),
    "target.background_knots": (
        MODES + "[target]\nbackground_knots = 5",
        MODES + "[target]\nbackground_knots = 5\n" + LIKELY,
    ),
    "parameters.mode_amplitude_A": (
        STILL + "[parameters]\nmode_amplitude_A = [0, 1]",
        MODES + "[parameters]\nmode_amplitude_A = [0, 1]",
    ),
    "prior.tau": (MODES + "[prior]\ntau = 1", MODES + "[prior]\ntau = 1\namplitudes = 2"),
    "prior.springs_tau": (
        MODES + "[prior]\nsprings_tau = 2",
        MODES + "[prior]\nsprings_tau = 2\nsprings = 1",
    ),
    "lattice.file": (
        MODES + '[lattice]\nfile = "m.pdb"',
        MODES + SPRINGS + '[lattice]\nfile = "m.pdb"',
    ),
    "lattice.contact_A": (
        RIGID + "[lattice]\ncontact_A = 5",
        RIGID + SPRINGS + "[lattice]\ncontact_A = 5",
    ),
    "models.bases": (MODES + BASES, MODES + BASES.replace('"int"', '"int", "int@other"')),
    "models.positions": (
        MODES + '[models]\ncompare = ["int"]\npositions = "structure"',
        MODES + BASES + 'positions = "structure"',
    ),
    "model.estimator": (
        RIGID + '[model]\nestimator = "sampled"',
        MODES + '[model]\nestimator = "sampled"',
    ),
    "model.samples": (
        FRAMES + "[model]\nsamples = 64",
        FRAMES + "[parameters]\nlibration_sigma_deg = [0, 4]\n[model]\nsamples = 64",
    ),
    "model.final_samples": (
        STILL + "[model]\nfinal_samples = 64",
        RIGID + SPRINGS + "[model]\nfinal_samples = 64",
    ),
    "model.sampler": (RIGID + '[model]\nsampler = "random"', MODES + '[model]\nsampler = "random"'),
    "model.map_error": (
        MODES + '[model]\nmap_error = 1e-3\nestimator = "sampled"',
        MODES + "[model]\nmap_error = 1e-3",
    ),
    "model.halos": (MODES + '[model]\nhalos = "cell"', MODES + HALOS + '[model]\nhalos = "cell"'),
    "search.initial_points": (
        MODES + '[search]\nmethod = "least-squares"\ninitial_points = 5',
        MODES + '[search]\nmethod = "bayesian+least-squares"\ninitial_points = 5',
    ),
}
REFUSED = [key for key, need in NEEDS.items() if need.refused]


def test_every_key_has_a_row_or_always_an_effect():
    """Who adds a key says here, or in the table, what it needs."""
    rows = [*NEEDS, *ELSEWHERE, *ALWAYS]
    assert sorted(rows) == sorted(f"{section}.{key}" for section, key in KEYS)
    assert set(CASES) == set(NEEDS)


@pytest.mark.parametrize("key", CASES)
def test_told_where_it_lacks_what_it_needs(key):
    """In one line; refused where it can only be a mistake. Not where it has what it needs."""
    without, beside = CASES[key]
    config = parse_config(without, FOLDER)
    assert list(without_effect(config, ())) == [key]
    if key in REFUSED:
        with pytest.raises(InputError, match=f"^{key} plays no part without ") as caught:
            require_effect(config)
        assert "\n" not in str(caught.value)
    (told,) = require_effect(config, begun=True)
    assert told.startswith(f"{key} plays no part without ") and "\n" not in told
    if beside is not None:
        assert key not in without_effect(parse_config(beside, FOLDER), ())


STRUCTURE = {
    "structure.positions": 'positions = "p.pdb"',
    "structure.topology": 'topology = "t.pdb"',
    "structure.reference": 'reference = "r.pdb"',
    "structure.given_weights": "given_weights = [0.5, 0.5]",
}
PRIORS = [key for key in ELSEWHERE if key.startswith("prior.")]


@pytest.mark.parametrize("key", STRUCTURE)
def test_settings_that_are_refused_as_the_structure_is_read(key):
    """Before a file is opened."""
    with pytest.raises(InputError, match=key):
        load_modes(parse_config(RIGID + STRUCTURE[key], FOLDER))


@pytest.mark.parametrize("key", PRIORS)
def test_priors_that_are_refused_of_a_model_without_what_they_are_of(key):
    """All is held."""
    prior = PriorConfig(**{key.partition(".")[2]: 1.0})
    space = search_space(ParametersConfig(), tiny_modes().amplitudes_A)
    with pytest.raises(InputError, match=key):
        prior_of(prior, tiny_modes(), space, 100)


def test_the_rest_are_parameters():
    """Whose needs are columns of their registry; see `test_space`."""
    rest = {*ELSEWHERE} - {*STRUCTURE, *PRIORS}
    assert rest == {f"parameters.{row.name}" for row in PARAMETERS} - {*NEEDS}


def test_several_lacking_the_same_are_one_line():
    """As many lines as there are things that lack."""
    text = (
        RIGID + '[model]\nsamples = 7\nsampler = "random"\nfinal_samples = 9\n[grid]\nd_min_A = 3'
    )
    assert require_effect(parse_config(text, FOLDER)) == [
        "grid.d_min_A plays no part without simulate, which alone takes it: a fit computes at its "
        "target's voxels",
        "model.samples, model.sampler, model.final_samples play no part without motion along modes "
        "or rotation, which alone is sampled",
    ]


SHARED = (
    MODES + '[crystal]\nfile = "m.pdb"\n[lattice]\ncontact_A = 5\n[prior]\nsprings = 1\n'
    "amplitudes = 2\n[parameters]\nlattice_shape = [-1, 1]\nlattice_spring_A = 3\n"
    "mode_amplitude_A = [0, 1]\nhalo_sigma_A = [0.1, 0.4]\nhalo_gamma_A = 20\n"
    '[model]\nhalos = "cell"'
)


@pytest.mark.parametrize(
    ("models", "idle"),
    [
        ("rbt", {"mode_amplitude_A", "amplitudes", "halo_sigma_A", "halo_gamma_A", "halos"}),
        ("rbt halo", {"mode_amplitude_A", "amplitudes"}),
        ("rbt int", {"halo_sigma_A", "halo_gamma_A", "halos"}),
        ("lat", {"mode_amplitude_A", "amplitudes", "halo_sigma_A", "halo_gamma_A", "halos"}),
        ("int lat halo", set()),
    ],
)
def test_a_config_of_several_models(models, idle):
    """What one of them takes is not told; what none takes is, and is no mistake."""
    config = parse_config(SHARED, FOLDER)
    own = [model_config(config, name) for name in models.split()]
    if "lat" not in models:
        idle = idle | {"contact_A", "springs", "lattice_shape", "lattice_spring_A"}
    assert {key.partition(".")[2] for key in without_effect(config, own)} == idle
    assert bool(require_effect(config, own)) == bool(idle)


def test_other_mistakes_are_refused_beside_several_models():
    """Those that no model would take."""
    config = parse_config(RIGID + "[target]\nbackground_knots = 5", FOLDER)
    with pytest.raises(InputError, match="background_knots plays no part without"):
        require_effect(config, [model_config(config, "rbt")])


def test_in_a_simulation():
    """Of what it reads alone: a fit's own settings are left for the fit."""
    fits = '[target]\nbackground_knots = 5\n[search]\nmethod = "least-squares"\ninitial_points = 5'
    plain = parse_config(MODES + "[grid]\nd_min_A = 2.0\n" + fits, FOLDER)
    assert not require_effect_in_simulation(plain)
    with pytest.raises(InputError, match=r"^lattice\.contact_A plays no part"):
        require_effect_in_simulation(parse_config(CASES["lattice.contact_A"][0], FOLDER))
    hydrogens = parse_config(MODES + "hydrogens = true", FOLDER)
    assert not require_effect_in_simulation(hydrogens, trajectory=True)
    assert require_effect_in_simulation(hydrogens)[0].startswith("structure.hydrogens plays no")


@pytest.mark.parametrize("setting", ['[model]\nhalos = "cell"', "[lattice]\ncontact_A = 5"])
def test_the_commands_refuse(call, project, setting):
    """With exit code 65, before anything is written; a run that was begun so goes on."""
    path = project / "fit.toml"
    plain = path.read_text()
    section, line = setting.split("\n")
    text = plain.replace(section, setting) if section in plain else f"{plain}{setting}\n"
    path.write_text(text)
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 65 and result.stderr.count("\n") == 1
    assert f"{section[1:-1]}.{line.partition(' ')[0]} plays no part" in result.stderr
    assert not (project / "run").exists()
    values = [map_of(path), (path.write_text(plain), map_of(path))[1]]
    np.testing.assert_array_equal(*values)
    (project / "run").mkdir()
    (project / "run" / "manifest.json").write_text("{}")
    path.write_text(text)
    result = call("fit", "fit.toml", folder=project)
    assert " plays no part without " in result.stderr and "manifest.json" in result.stderr


def map_of(path) -> np.ndarray:
    """In the middle of the ranges."""
    problem = load_problem(load_config(path))
    model, _ = compare(problem, Ranks())
    return model.internal_motion(problem.space.middle, problem.normals(4, 1))
