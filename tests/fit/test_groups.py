"""How many groups the ranks are divided into."""

import itertools

import numpy as np
import pytest

from hpc_diffuser.fit import groups
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.groups import Costs, choose_groups, measured_costs, soonest
from hpc_diffuser.fit.problem import load_problem
from hpc_diffuser.parallel.decomposition import Work

EVEN = (Work(np.ones(5)), 4)


def test_seconds_of_an_evaluation():
    """Proposing is not shared. Five equal blocks, four parts of samples: on 2 ranks 2 each, half;
    on 5 ranks a block each; on 20 ranks a twentieth, and on 40 no less."""
    costs = Costs(1.0, 100.0, *EVEN)
    found = [costs.seconds(n) for n in (1, 2, 5, 20, 40)]
    assert found == pytest.approx([101, 51, 21, 6, 6])


@pytest.mark.parametrize(
    ("proposing", "evaluating", "ranks", "restarts", "expected"),
    [
        # Proposing dear: 3 rounds of 2 s alone beat 128/48 = 3 rounds ... by groups of 2.
        (1.0, 1.0, 96, 128, 64),  # two rounds of the same length with 96 or 64: the fewer
        (0.0, 100.0, 8, 2, 2),  # few restarts: four ranks each
        (100.0, 0.0, 8, 3, 3),  # one round
        (0.0, 100.0, 8, 9, 2),  # alone: 2 rounds of 100 s; two groups of four: 5 of 25 s
        (100.0, 100.0, 8, 9, 5),  # alone: 2 rounds of 200 s; 5 groups of one, the same
    ],
)
def test_soonest(proposing, evaluating, ranks, restarts, expected):
    """The number of groups whose rounds end first, computed by hand in the comments."""
    assert soonest(Costs(proposing, evaluating, *EVEN), ranks, restarts) == expected


def test_soonest_is_the_least_of_all():
    """Against every number of groups, for many cases."""
    for proposing, ranks, restarts in itertools.product((0.0, 1.0, 30.0), (1, 3, 8, 12), (1, 5, 9)):
        costs = Costs(proposing, 10.0, *EVEN)
        chosen = soonest(costs, ranks, restarts)
        walls = {
            n: np.ceil(restarts / n) * costs.seconds(ranks // n)
            for n in range(1, min(ranks, restarts) + 1)
        }
        assert walls[chosen] == min(walls.values())


def test_configured_number(project, edit):
    """What the user says, but no more than there are restarts and ranks."""
    edit(project / "fit.toml", "[run]", "[run]\ngroups = 3")
    problem = load_problem(load_config(project / "fit.toml"))
    assert [choose_groups(problem, ranks, 5) for ranks in (1, 2, 8)] == [1, 2, 3]
    assert choose_groups(problem, 8, 2) == 2


def test_nothing_is_measured_where_it_is_clear(project, monkeypatch):
    """64 restarts on 32 ranks: every rank for itself, whatever things cost."""
    monkeypatch.setattr(groups, "measured_costs", None)
    problem = load_problem(load_config(project / "fit.toml"))
    assert choose_groups(problem, 32, 64) == 32
    assert choose_groups(problem, 1, 7) == 1


def test_costs_are_measured(project):
    """Seconds above zero, and the blocks of the model that will be used."""
    costs = measured_costs(load_problem(load_config(project / "fit.toml")))
    assert costs.proposing > 0 and costs.evaluating > 0 and costs.work.blocks.sum() > 0
