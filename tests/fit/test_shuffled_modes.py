"""The control of a comparison: the same weights on the same modes in other orders."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import with_little_to_do

from hpc_diffuser.commands.pages.comparison import comparison_text
from hpc_diffuser.fit import comparison
from hpc_diffuser.fit.comparison import model_config, shuffled_modes, shuffled_orders
from hpc_diffuser.fit.comparison_table import (
    ModelComparison,
    ModelRow,
    Shuffled,
)
from hpc_diffuser.fit.config import (
    load_config,
)
from hpc_diffuser.fit.problem import FINAL, compare, load_problem
from hpc_diffuser.parallel.communicator import Ranks


@pytest.fixture(scope="module")
def inputs(inputs, tmp_path_factory) -> Path:
    """The project with little to do."""
    return with_little_to_do(inputs, tmp_path_factory.mktemp("short") / "project")


@pytest.mark.parametrize(("n_modes", "n_orders"), [(0, 0), (1, 0), (2, 1), (3, 5), (10, 8)])
def test_orders(n_modes, n_orders):
    """3! − 1 = 5 of three weights, 8 of many: all different, none the modes' own; by the seed."""
    weights = [0.1 * (i + 1) for i in range(n_modes)]
    orders = shuffled_orders(weights, 3)
    assert len({tuple(order) for order in orders}) == len(orders) == n_orders
    for order in orders:
        assert sorted(order) == list(range(n_modes))
        assert list(order) != list(range(n_modes))
    np.testing.assert_array_equal(orders, shuffled_orders(weights, 3))
    if n_modes == 10:
        assert np.any(np.array(orders) != shuffled_orders(weights, 4))


@pytest.mark.parametrize(
    ("weights", "n_orders"),
    [
        ([0.2, 0.0, 0.0], 2),
        ([0.0, 0.0], 0),
        ([0.3] * 5, 0),
        ([0.0] * 11 + [0.2], 8),
        ([0.1, 0.1, 0.2, 0.2], 5),
    ],
)
def test_orders_with_equal_weights(weights, n_orders):
    """Of the n!/Πmᵢ! arrangements of weights of which mᵢ are equal, all but the fit's: up to 8.

    The one weight above 0 of three has two other places; 4!/(2!·2!) = 6.
    """
    given = [tuple(weights[i] for i in order) for order in shuffled_orders(weights, 3)]
    assert len(set(given)) == len(given) == n_orders
    assert tuple(weights) not in given


def control(folder: Path, weights_A: list[float]) -> tuple[Shuffled | None, object]:
    """The control of an answer with these weights and a translation; and its problem."""
    own = model_config(load_config(folder / "fit.toml"), "rbt+int")
    median = {"mode_amplitude_A": weights_A, "translation_sigma_A": 0.4}
    found = shuffled_modes(load_problem, own, median, Ranks())
    return found, (load_problem(own), comparison.parameters_from(median))


def score_of(problem, parameters, normals) -> tuple[float, float]:
    """CC_work and CC_free with the final samples."""
    model, comparison = compare(problem, Ranks())
    score = comparison.score(model.internal_motion(parameters, normals))
    return score.cc_work, score.cc_free


def test_the_fit_itself_is_no_other_order(inputs):
    """Equal weights have one order; one at 0 and one above it have one other, not the fit's."""
    assert control(inputs, [0.3, 0.3])[0] is None
    found, (problem, parameters) = control(inputs, [0.45, 0.0])
    normals = problem.normals(problem.config.model.final_samples, FINAL)
    own = score_of(problem, parameters, normals)
    assert found.orders == 1
    assert (found.cc_work.largest, found.cc_free.largest) != own


def test_shuffled_weights_are_shuffled_modes(inputs):
    """Σ z_i w_π(i) Δ_i is the sum with Δ and z in the other order: Σ z_π(i) w_i Δ_π(i), π = π⁻¹."""
    found, (problem, parameters) = control(inputs, [0.45, 0.1])
    normals = problem.normals(problem.config.model.final_samples, FINAL)
    exchanged = replace(problem.modes, vectors=problem.modes.vectors[::-1])
    work, free = score_of(replace(problem, modes=exchanged), parameters, normals[:, ::-1])
    assert found.cc_work.largest == pytest.approx(work, abs=1e-6)
    assert found.cc_free.mean == pytest.approx(free, abs=1e-6)
    own, _ = score_of(problem, parameters, normals)
    assert own > work + 0.005  # the truth is 0.4 and 0.2 Å


def test_one_mode_has_no_other_order(inputs):
    """The control is left out, and the table says so."""
    own = load_config(inputs / "fit.toml")
    median = {"mode_amplitude_A": [0.3], "translation_sigma_A": 0.4}
    assert shuffled_modes(load_problem, own, median, Ranks()) is None
    row = ModelRow(
        name="int",
        refined=("mode 1",),
        cc_work=0.5,
        cc_free=None,
        median={"mode_amplitude_A": [0.3]},
        answer={"mode_amplitude_A": [0.3]},
        answer_is="made up",
        at_upper_bound=("mode 1",),
        warnings=("mode 1 is at the upper bound of its range: widen it, and fit again",),
        b_factors=None,
        shuffled_modes=None,
    )
    text = comparison_text(ModelComparison(models=(row,), ceiling=None, shells=()))
    assert "int       none: these weights have one order only" in text
    assert "int          1   0.5000     none   modes 0.300 Å" in text
    assert text.startswith(f"Warnings\n  1. int: {row.warnings[0]}\n\nModel")
