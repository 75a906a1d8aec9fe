"""[model] estimator: what a model may have, what is chosen, and what a run remembers of it."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from launching import launch, write_inputs
from oracles import exact_target

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.fit.config import ModelConfig, load_config
from hpc_diffuser.fit.estimator_choice import (
    Trial,
    cheapest_estimator,
    choice_text,
    named_text,
)
from hpc_diffuser.fit.problem import compare, computation, load_problem, measured_samples
from hpc_diffuser.fit.run.directory import read_convergence, write_convergence
from hpc_diffuser.fit.sampling_error import Convergence, EstimatorError
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.ensemble import Sampler
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.moments import ESTIMATORS
from hpc_diffuser.system.errors import InputError

MODES = example_modes()

EXPANSIONS = ("one-phonon", "control-variate")


def with_model(project, estimator: str, **parameters):
    """The tiny fit's config with an estimator and other ranges."""
    config = load_config(project / "fit.toml")
    return replace(
        config,
        model=replace(config.model, estimator=estimator),
        parameters=replace(config.parameters, **parameters),
    )


@pytest.mark.parametrize("estimator", EXPANSIONS)
def test_it_reaches_the_moments(project, estimator):
    """Maps of the same points differ, but not much."""
    maps = []
    for name in ("sampled", estimator):
        problem = load_problem(with_model(project, name))
        model, _ = compare(problem, Ranks())
        parameters = replace(problem.space.middle, mode_amplitudes_A=np.array([0.05, 0.1]))
        maps.append(model.internal_motion(parameters, problem.normals(64, 0)))
    off = np.sqrt(np.mean((maps[1] - maps[0]) ** 2) / np.mean(maps[0] ** 2))
    assert 1e-6 < off < 0.02


@pytest.mark.parametrize("estimator", EXPANSIONS)
def test_libration_refuses_what_is_of_gaussian_motion(project, estimator):
    """By name, in one line; what is left open samples."""
    config = with_model(project, estimator, libration_sigma_deg=(0.0, 2.0))
    with pytest.raises(InputError, match=f'"{estimator}" is of Gaussian.*libration') as caught:
        load_problem(config)
    assert "\n" not in str(caught.value)
    problem = load_problem(replace(config, model=replace(config.model, estimator="sampled")))
    how = computation(config.model, problem.modes, problem.space)
    assert how.estimator == "sampled"


@pytest.mark.parametrize("estimator", EXPANSIONS)
def test_a_rigid_molecule_has_nothing_to_expand(project, estimator):
    """It may be one of several models that are compared: no error."""
    config = with_model(project, estimator, mode_amplitude_A=None)
    config = replace(config, structure=replace(config.structure, n_modes=0))
    problem = load_problem(config)
    assert computation(config.model, problem.modes, problem.space).estimator == "sampled"


def test_least_squares_measures_where_it_begins(project):
    """In the middle of wide ranges atoms would move by 2 Å, which no expansion holds for."""
    found = {}
    for method in ("bayesian", "least-squares"):
        config = with_model(project, "auto", mode_amplitude_A=(0.0, 3.0))
        config = replace(config, search=replace(config.search, method=method))
        found[method] = measured_samples(load_problem(config), Ranks(), fewer=False)
    assert found["bayesian"].estimators == ()
    assert found["bayesian"].map_error > 10 * found["least-squares"].map_error
    assert found["least-squares"].estimators


@functools.cache
def closed_form(amplitude_A: float) -> Target:
    """The example's target, moving so much along every mode."""
    return exact_target(MODES, moving(amplitude_A))


def trial_of(parameters: Parameters, **options) -> Trial:
    """The example's protein, drawn on a grid, against its closed form."""
    target = closed_form(float(parameters.mode_amplitudes_A[0]))
    how = Computation(grid="target", transform="density")
    model = forward_model(MODES, target.grid, target.indices, Ranks(), how)
    comparison = Comparison(target, model, "pooled", "none")
    return Trial(model, comparison, ModelConfig(**options), Sampler(MODES, False, "sobol", 7))


def moving(amplitude_A: float) -> Parameters:
    """Each of the example's three modes by so much."""
    return Parameters(np.full(3, amplitude_A), Disorder(0.3))


def rows_of(found: Convergence) -> dict[str, EstimatorError]:
    """The candidates by name."""
    return {row.estimator: row for row in found.estimators}


def test_small_motion_needs_no_samples():
    """Here 1 − CC of the first order is less than that of 16 samples, for less."""
    parameters = moving(0.05)
    found = cheapest_estimator(trial_of(parameters, samples=16), parameters, parameters)
    rows = rows_of(found)
    assert found.estimator == "one-phonon" and found.samples == 16
    assert found.map_error == rows["one-phonon"].map_error <= rows["sampled"].map_error
    assert rows["one-phonon"].farthest_map_error == rows["one-phonon"].map_error
    assert rows["one-phonon"].cost < 1 == rows["sampled"].cost < rows["control-variate"].cost
    assert f"one-phonon {found.map_error:.1e}" in choice_text(found)


@pytest.mark.parametrize("far_A", [0.4, 8.0], ids=["worse than samples", "no expansion"])
def test_the_upper_ends_count_too(far_A):
    """Good in the middle is not enough."""
    near, far = moving(0.05), moving(far_A)
    found = cheapest_estimator(trial_of(near, samples=64), near, far)
    assert found.estimator == "sampled"
    rows = rows_of(found)
    first, sampled = rows["one-phonon"], rows["sampled"]
    assert first.map_error < sampled.map_error or first.farthest_map_error is None
    if far_A < 1:
        assert first.farthest_map_error > sampled.farthest_map_error


def test_errors_are_those_against_the_closed_form():
    """1 − CC with the pair sum, within a factor of two or three of what is told."""
    parameters = moving(0.2)
    trial = trial_of(parameters, samples=64)
    rows = rows_of(cheapest_estimator(trial, parameters, parameters))
    assert set(rows) == set(ESTIMATORS)
    for name, row in rows.items():
        trial.model.use_estimator(name)
        maps = [trial.model.internal_motion(parameters, trial.draw(64, i)) for i in range(4, 16)]
        lost = np.mean([1 - trial.comparison.score(values).cc_work for values in maps])
        assert 0.4 < row.map_error / lost < 2.5, name


def test_more_accuracy_than_asked_for_is_worth_nothing():
    """Where the samples are good enough nothing dearer is taken; where not, the rest is sampled."""
    parameters = moving(0.3)
    enough = cheapest_estimator(trial_of(parameters, samples=64, map_error=0.01), *[parameters] * 2)
    assert enough.estimator == "sampled"
    strict = cheapest_estimator(trial_of(parameters, samples=64, map_error=1e-8), *[parameters] * 2)
    rows = rows_of(strict)
    costs = {name: row.cost * row.map_error for name, row in rows.items()}
    assert strict.estimator == min({"sampled", "control-variate"}, key=costs.get)


@pytest.mark.slow
def test_as_many_samples_as_the_rest_needs():
    """Left open, the rest takes fewer, and no less accuracy."""
    parameters = moving(0.3)
    found = cheapest_estimator(
        trial_of(parameters, samples="auto", map_error=1e-5), *[parameters] * 2
    )
    rows = rows_of(found)
    assert rows["control-variate"].samples < rows["sampled"].samples
    assert rows["control-variate"].map_error <= 1e-5


def test_large_motions_are_sampled():
    """What has no expansion has no candidates."""
    far = moving(8.0)
    found = cheapest_estimator(trial_of(far, samples=16), far, far)
    assert found.estimator == "sampled" and not found.estimators
    assert "the only one" in choice_text(found)


@pytest.mark.parametrize("estimator", ["sampled", "control-variate"])
def test_the_error_of_a_named_estimator(estimator):
    """As many samples as are asked for, and the error that they leave with it."""
    parameters = moving(0.2)
    found = trial_of(parameters, samples=16).of_named(parameters, estimator)
    assert (found.samples, found.estimator) == (16, estimator)


@pytest.mark.parametrize(
    ("estimator", "amplitude_A", "said"),
    [
        ("one-phonon", 0.2, None),
        ("sampled", 8.0, None),
        ("control-variate", 1.0, None),
        ("one-phonon", 1.0, "higher orders, which it lacks, scatter as much as the first"),
        ("one-phonon", 8.0, "one-phonon only where atoms move little enough"),
        ("control-variate", 8.0, "control-variate only where atoms move little enough"),
    ],
)
def test_a_named_estimator_that_is_not_what_it_seems(estimator, amplitude_A, said):
    """Where another takes its place, and where its own error is as large as the map: told."""
    parameters = moving(amplitude_A)
    told = named_text(estimator, trial_of(moving(0.2)).model, parameters, closed_form(0.2).d_min)
    assert told is None if said is None else said in told


def test_an_older_record_is_of_samples(tmp_path):
    """sampling.json of a version that knew nothing else."""
    write_convergence(tmp_path, Convergence(64, 1e-4, 1e-3))
    path = tmp_path / "sampling.json"
    record = json.loads(path.read_text())
    del record["estimator"], record["estimators"]
    path.write_text(json.dumps(record))
    assert read_convergence(tmp_path) == Convergence(64, 1e-4, 1e-3)


def fit(call, project, **settings):
    """The tiny fit with settings of [model] in its config; its summary, and the arrays of it."""
    path = project / "fit.toml"
    lines = [f'{key} = "{value}"' for key, value in settings.items()]
    path.write_text(path.read_text().replace("[model]", "\n".join(["[model]", *lines])))
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 0, result.stderr
    return json.loads((project / "run" / "summary.json").read_text()), result.stderr


def test_the_first_order_is_in_no_final_map(call, project):
    """There, samples of the rest make up for it; the summary says so, and what it was."""
    summary, said = fit(call, project, estimator="one-phonon")
    assert "first order alone leaves an error" in said
    assert summary["sampling"]["estimator"] == "one-phonon"
    final = summary["final_map"]
    assert (final["estimator"], final["samples"]) == ("control-variate", 8)
    assert final["map_error"] > 0 and final["first_order_error"] > 0
    # A finished run that is taken up again says the same.
    again = call("fit", "fit.toml", folder=project)
    assert again.returncode == 0
    found = json.loads((project / "run" / "summary.json").read_text())
    assert found["final_map"] == final and found["cc_work"] == summary["cc_work"]


def test_what_is_left_open_is_told_and_kept(call, project):
    """Of atoms as few as these an expansion costs more than their samples."""
    summary, said = fit(call, project, estimator="auto")
    assert "estimator: sampled, by error 1 - CC of a map and cost of: sampled" in said
    assert summary["sampling"]["estimator"] == summary["final_map"]["estimator"] == "sampled"
    assert summary["final_map"]["first_order_error"] is None


def test_an_older_run_goes_on_as_it_was(call, project):
    """Begun without the key in any of its files, and resumed with more to do: the bits of a run
    that was begun with samples by name."""
    path, text = project / "fit.toml", (project / "fit.toml").read_text()
    path.write_text(text.replace("evaluations = 5", "evaluations = 3"))
    fit(call, project, estimator="sampled")
    for name, keys in (
        ("manifest.json", ["model.estimator"]),
        ("sampling.json", ["estimator", "estimators"]),
    ):
        record = json.loads((project / "run" / name).read_text())
        for key in keys:
            del record.get("settings", record)[key]
        (project / "run" / name).write_text(json.dumps(record))
    path.write_text(text)
    resumed, said = fit(call, project)
    assert "estimator:" not in said
    path.write_text(text.replace('directory = "run"', 'directory = "other"'))
    edited = path.read_text().replace("[model]", '[model]\nestimator = "sampled"')
    path.write_text(edited)
    assert call("fit", "fit.toml", folder=project).returncode == 0
    whole = json.loads((project / "other" / "summary.json").read_text())
    same = ("best", "median", "spread", "cc_work", "cc_free", "shells", "final_map")
    assert {key: resumed[key] for key in same} == {key: whole[key] for key in same}


@pytest.mark.parametrize(
    "estimator", ["one-phonon", pytest.param("control-variate", marks=pytest.mark.slow)]
)
def test_least_squares_by_every_estimator(call, project, edit, estimator):
    """Steps need no moments by samples alone; errors are of as many samples as the last stage."""
    edit(project / "fit.toml", "[search]", '[search]\nmethod = "least-squares"')
    summary, _ = fit(call, project, estimator=estimator)
    assert summary["restarts_finished"] == 2 and summary["cc_work"] > 0.9
    sampling, final = summary["sampling"]["samples"], summary["final_map"]["samples"]
    assert sampling < summary["intervals"]["samples"] == min(16 * sampling, final)


RANKS = """
[structure]
modes = "modes.h5"
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [0.0, 0.2]
translation_sigma_A = [0.3, 0.5]
[model]
estimator = "auto"
samples = 16
final_samples = 16
transform = "density"
[search]
restarts = 1
evaluations = 4
initial_points = 3
[run]
groups = 1
"""


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["auto", *EXPANSIONS])
def test_the_same_bits_on_other_ranks(tmp_path, estimator):
    """The choice, the search and the answer, on one rank and on two and three in a group."""
    write_inputs(tmp_path)
    found = []
    for n_ranks in (1, 2, 3):
        config = RANKS.replace('"auto"', f'"{estimator}"') + f'directory = "run{n_ranks}"\n'
        (tmp_path / "fit.toml").write_text(config)
        result = launch(n_ranks, "fit", "fit.toml", folder=tmp_path, warm=True)
        assert result.returncode == 0, result.stderr
        summary = json.loads((tmp_path / f"run{n_ranks}" / "summary.json").read_text())
        kept = ("best", "sampling", "final_map", "shells", "intervals")
        found.append({key: summary[key] for key in kept})
    assert found[1] == found[0] and found[2] == found[0]
