"""What work costs, by clocks that count it: nothing here depends on how fast the machine is."""

import json
from dataclasses import replace

import pytest

from hpc_diffuser.commands.fit_costs import RANKS, fit_costs, predicted_memory
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.evaluation_costs import Timing, stage_costs
from hpc_diffuser.fit.footprint import predict
from hpc_diffuser.fit.groups import measured_costs
from hpc_diffuser.fit.problem import load_problem
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.moments import Moments


def problem_of(folder, method, samples=64, estimator="sampled", parameters=None):
    """The project's problem, searched by a method."""
    config = load_config(folder / "fit.toml")
    model = replace(config.model, samples=samples, estimator=estimator)
    search = replace(config.search, method=method)
    config = replace(config, model=model, search=search)
    return load_problem(replace(config, parameters=parameters or config.parameters))


@pytest.fixture
def counting(monkeypatch):
    """A clock that goes on by 1 for every sample."""
    done, computed = [0], Moments._computed

    def count(self, sampled, normals):
        done[0] += len(normals)
        return computed(self, sampled, normals)

    monkeypatch.setattr(Moments, "_computed", count)
    return lambda: float(done[0])


def test_maps_by_a_clock_that_counts_samples(inputs, counting):
    """Sixteen are timed, as many as a stage has are told; slopes along modes need none."""
    stages, work = stage_costs(problem_of(inputs, "least-squares"), Ranks(), counting)
    assert [stage.samples for stage in stages] == [64, 256, 1024, 1024]
    assert [stage.evaluating for stage in stages] == pytest.approx([64, 256, 1024, 1024])
    assert [stage.parts for stage in stages] == [32, 128, 512, 512]
    assert stages[0].linearising == 0 and work.blocks.sum() > 0


def test_slopes_by_differences(inputs, counting):
    """Two maps for each correlation, and for the mode of it: of as many samples as the map."""
    config = load_config(inputs / "fit.toml")
    structure = replace(config.structure, correlated_modes=2)
    parameters = replace(config.parameters, mode_correlation=(0.2, 0.6))
    config = replace(
        config,
        structure=structure,
        parameters=parameters,
        model=replace(config.model, samples=64, estimator="sampled"),
        search=replace(config.search, method="least-squares"),
    )
    stage, _ = stage_costs(load_problem(config), Ranks(), counting, first_alone=True)
    assert stage[0].linearising == pytest.approx(2 * 3 * 64)
    assert stage[0].step == pytest.approx(7 * 64)


@pytest.mark.parametrize(
    ("method", "restarts", "maps", "beside"),
    [("least-squares", 1, 2, 512), ("least-squares", 3, 3, 512), ("bayesian", 3, 3, 64)],
)
def test_final_maps_and_errors(inputs, counting, method, restarts, maps, beside):
    """At one point or two, and of other samples; at the answer, to both sides of every parameter
    and of every direction of all, of as many samples as a search has in the end."""
    problem = problem_of(inputs, method)
    config = problem.config
    config = replace(
        config,
        search=replace(config.search, restarts=restarts),
        model=replace(config.model, final_samples=512),
    )
    n = int(problem.space.refined.sum())
    found = Timing(replace(problem, config=config), Ranks(), counting).end()
    assert n > 1 and found == pytest.approx(maps * 512 + (1 + 4 * n) * beside)


def test_points_are_moved(inputs, counting):
    """Moments are kept of the last parameters: timed are others, in a search that takes no steps,
    and where nothing is refined."""
    stages, _ = stage_costs(problem_of(inputs, "bayesian"), Ranks(), counting)
    assert [stage.evaluating for stage in stages] == pytest.approx([64])
    config = load_config(inputs / "fit.toml")
    held = replace(config.parameters, mode_amplitude_A=(0.2, 0.2), translation_sigma_A=(0.3, 0.3))
    config = replace(config, parameters=held, search=replace(config.search, evaluations=1))
    config = replace(config, model=replace(config.model, samples=64, estimator="sampled"))
    stages, _ = stage_costs(load_problem(config), Ranks(), counting)
    assert [stage.evaluating for stage in stages] == pytest.approx([64])


def test_groups_count_slopes(inputs, monkeypatch):
    """An evaluation of a search that takes steps is a map and its slopes."""
    ticks = iter(range(1000))
    monkeypatch.setattr("hpc_diffuser.fit.groups.stage_costs", with_clock(lambda: next(ticks)))
    costs = measured_costs(problem_of(inputs, "least-squares", estimator="one-phonon"))
    assert costs.evaluating == 2  # one tick for either
    assert costs.parts == len(problem_of(inputs, "bayesian").modes.vectors)


def with_clock(clock):
    """`stage_costs` by another clock."""

    def costs(problem, group, first_alone):
        return stage_costs(problem, group, clock, first_alone)

    return costs


def test_prediction_of_a_fit(inputs):
    """Stages, and memory as a fit predicts it."""
    problem = problem_of(inputs, "least-squares", 16, "one-phonon")
    result = fit_costs(problem)
    assert result["estimator"] == "one-phonon" and result["samples"] == 0
    assert list(result["samples_by_stage"].values()) == [0, 64, 256, 256]
    assert list(result["core_seconds_of_the_exact_gradient"]) == [1, 2, 3]
    parts = [f"predicted_core_hours_of_{of}" for of in ("the_search", "final_maps_and_errors")]
    whole = result["predicted_core_hours_of_the_fit"]
    assert whole == pytest.approx(sum(result[part] for part in parts))
    assert result["predicted_wall_hours_by_ranks"][1] == pytest.approx(whole)
    memory = predicted_memory(problem)["predicted_memory_MB_per_rank"]
    assert list(memory) == list(RANKS)
    assert memory[2] == pytest.approx(max(predict(problem, 2).of_rank(r) for r in range(2)))


def test_as_users_predict(call, project):
    """Of any model: with libration there is no closed form to measure an error by."""
    text = (project / "fit.toml").read_text()
    text = text.replace("[parameters]", "[parameters]\nlibration_sigma_deg = [0.0, 2.0]")
    (project / "fit.toml").write_text(text)
    result = call("bench", "fit.toml", "--predict", "--json", "bench.json", folder=project)
    assert result.returncode == 0, result.stderr
    found = json.loads((project / "bench.json").read_text())
    assert found["predicted_core_hours_of_the_fit"] > 0
    assert found["estimator"] == "sampled" and "error" not in found
    refused = call("bench", "fit.toml", "--predict", "--png", "errors.png", folder=project)
    assert refused.returncode == 65 and "--png" in refused.stderr
