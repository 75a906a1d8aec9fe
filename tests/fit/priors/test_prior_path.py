"""The prior's weight by CC_free: the path's points are minima, stored, resumed, and chosen from."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.priors.choice import WEIGHTS, PathPoint, PriorPath
from hpc_diffuser.fit.priors.path import Follower
from hpc_diffuser.fit.priors.prior import Penalty
from hpc_diffuser.fit.priors.weight import prior_path, with_weight
from hpc_diffuser.fit.problem import load_problem
from hpc_diffuser.fit.run.checkpoints import read_restart
from hpc_diffuser.fit.scoring import Score
from hpc_diffuser.fit.search.linearised import Linearised
from hpc_diffuser.interface.run import open_run
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.report.sections.prior import weight_of_prior


def test_every_point_is_the_minimum_with_its_weight():
    """A sum of squares that is not linear, with a quadratic penalty: scipy finds the same."""
    rng = np.random.default_rng(0)
    j, wanted, towards = rng.normal(size=(9, 3)), rng.normal(1, 0.3, 9), np.array([0.8, 0.5, 0.6])

    def residuals(phi: np.ndarray) -> np.ndarray:
        return j @ phi + 0.2 * (j @ phi) ** 2 - wanted

    def data(phi: np.ndarray) -> float:
        return float(np.sum(residuals(phi) ** 2) / 2)

    def penalty(point: np.ndarray, weight: float) -> Penalty:
        away = np.sqrt(point**2 + 0.1) - towards
        slope = 1 / (2 * np.sqrt(point**2 + 0.1))
        value = float(weight * np.sum(away**2) / 2)
        return Penalty(value, weight * away * slope, weight * np.diag(slope**2))

    def linearise(point: np.ndarray) -> Linearised:
        phi = point**2
        jacobian = j * (1 + 0.4 * (j @ phi))[:, None]
        matrix = jacobian.T @ jacobian
        gradient = jacobian.T @ residuals(phi)
        return Linearised(gradient, matrix, np.zeros(3), np.diag(matrix), 1.0)

    def evaluate(point: np.ndarray) -> tuple[Score, float]:
        return Score(0.5, 0.5, np.empty(0), np.empty(0)), data(point**2)

    bounds = np.array([[0.0, 2.0]] * 3)
    follower = Follower(Ranks(), evaluate, linearise, penalty, bounds, np.ones(3, bool))
    weights = (0.0, 0.1, 10.0, 1e3)
    found = list(follower.follow(towards, weights))
    assert [weight for weight, *_ in found] == list(weights)
    for weight, here, evaluations, converged in found:
        assert converged
        total = lambda p, w=weight: data(p**2) + penalty(p, w).value  # noqa: E731
        best = min(
            (minimize(total, start, bounds=bounds) for start in (here.point, towards)),
            key=lambda m: m.fun,
        )
        assert total(here.point) == pytest.approx(best.fun, rel=1e-3, abs=1e-6)
        assert evaluations <= 30
    assert data(found[0][1].point ** 2) < data(found[-1][1].point ** 2)


def path_of(cc_free: list[float | None]) -> PriorPath:
    return PriorPath(
        tuple(
            PathPoint(
                weight=float(i),
                cc_work=0.5,
                cc_free=cc,
                objective=0.5,
                deviation=0.1,
                scale_of_source=1.0,
                evaluations=3,
                point=(0.1,),
            )
            for i, cc in enumerate(cc_free)
        )
    )


def test_the_strongest_of_those_that_are_as_good():
    assert path_of([0.5, 0.6, 0.7, 0.65]).chosen.weight == 2
    assert path_of([0.5, 0.7, 0.69990, 0.65]).chosen.weight == 2
    assert path_of([None, 0.1]).chosen.weight == 1


@pytest.fixture
def by_path(project: Path, edit) -> Path:
    """The project, searched by least squares with a prior whose weight is left open."""
    edit(project / "fit.toml", "restarts = 2", 'method = "least-squares"\nrestarts = 3')
    edit(project / "fit.toml", "[target]", '[prior]\namplitudes = "auto"\n[target]')
    return project


def test_a_fit_chooses_the_weight(by_path, call):
    """The path is kept, its weight is that of the search, and a part of it is gone on with."""
    result = call("fit", "fit.toml", folder=by_path)
    assert result.returncode == 0, result.stderr
    path = open_run(by_path / "run").prior_path
    assert path is not None and path.complete
    assert [p.weight for p in path.points] == list(WEIGHTS)
    summary = json.loads((by_path / "run" / "summary.json").read_text())
    weight = path.chosen.weight
    assert (summary["prior"] or {"amplitudes": 0.0})["amplitudes"] == weight
    deviations = [p.deviation for p in path.points]
    assert deviations[-1] < 0.01 and deviations[-1] <= min(deviations) + 1e-9
    assert "prior: weight" in result.stderr
    config = parse_config((by_path / "fit.toml").read_text(), by_path)
    problem = load_problem(config)
    kept: list[PriorPath] = []
    again = prior_path(problem, Ranks(), PriorPath(path.points[:7]), kept.append)
    assert again == path and len(kept) == len(WEIGHTS) - 7
    assert with_weight(problem, path.chosen).config.prior.amplitudes == weight
    begun = read_restart(by_path / "run", 2)[0].points[0]
    np.testing.assert_array_equal(begun, path.chosen.point)
    contents = weight_of_prior(open_run(by_path / "run"))
    assert next(row[0] for row in contents.tables[0].rows) == 0
    assert f"{weight:.3g}" in contents.words[0]
    axes = contents.figures[0].draw().axes
    assert [len(line.get_xdata()) for line in axes[0].lines[:2]] == [len(WEIGHTS)] * 2


@pytest.mark.slow
def test_a_short_test_follows_no_path(by_path, call):
    """`--test` takes the middle weight."""
    result = call("fit", "fit.toml", "--test", folder=by_path)
    assert result.returncode == 0, result.stderr
