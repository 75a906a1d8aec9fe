"""The answer of made-up restarts: median, spread, best, and who is left out and why."""

import json

import numpy as np
import pytest

from hpc_diffuser.config import ParametersConfig
from hpc_diffuser.parameters import SearchSpace, search_space
from hpc_diffuser.search.history import History, new_history
from hpc_diffuser.summary import failed_restarts, summarise

N_EVALUATIONS = 6
LAYOUT = (("mode_amplitude_A", 2), ("translation_sigma_A", None), ("uncorrelated_sigma_A", None))
CCS = [0.600, 0.601, 0.599, 0.602, 0.598]  # median 0.6, median absolute deviation 0.001


@pytest.fixture
def space() -> SearchSpace:
    """Two modes and the translation refined, uncorrelated motion held at 0.1 Å."""
    config = ParametersConfig(
        mode_amplitude_A=(0.0, 0.6),
        translation_sigma_A=(0.1, 0.8),
        uncorrelated_sigma_A=(0.1, 0.1),
    )
    return search_space(config, np.zeros(2))


def history(answer, cc: float, n: int = N_EVALUATIONS) -> History:
    """A search whose third evaluation found `answer` with a CC; the others are 0.1 worse."""
    points = np.random.default_rng(0).uniform(0, 1, (n, len(answer)))
    objectives = np.full(n, 1 - cc + 0.1)
    points[2], objectives[2] = answer, 1 - cc
    return History(points, objectives, new_history(len(answer)).hedge)


def answers(n: int) -> np.ndarray:
    """Answers of n restarts, spread differently along the three refined parameters."""
    rng = np.random.default_rng(1)
    return np.array([0.2, 0.3, 0.4]) + rng.normal(size=(n, 3)) * np.array([0.01, 0.03, 0.02])


def test_median_over_restarts(space):
    """The median of each parameter on its own; what is held, as it is held."""
    found = answers(5)
    histories = {r: history(found[r], CCS[r]) for r in range(5)}
    median = summarise(space, histories, 5, N_EVALUATIONS)["median"]
    expected = np.sort(found, axis=0)[2]
    assert median == {
        "mode_amplitude_A": expected[:2].tolist(),
        "translation_sigma_A": expected[2],
        "uncorrelated_sigma_A": 0.1,
    }


def test_spread_is_half_the_central_68_percent(space):
    """For 2001 normal answers it is their standard deviation to 1/√2001: five of these.

    (68.26 % lie within one standard deviation.) Of what is held there is none.
    """
    found = answers(2001)
    histories = {r: history(found[r], 0.6) for r in range(2001)}
    spread = summarise(space, histories, 2001, N_EVALUATIONS)["spread"]
    widths = np.array([*spread["mode_amplitude_A"], spread["translation_sigma_A"]])
    np.testing.assert_allclose(widths, [0.01, 0.03, 0.02], rtol=5 / np.sqrt(2001))
    assert spread["uncorrelated_sigma_A"] == 0


def test_spread_of_equal_answers_is_zero(space):
    """Restarts that agree to the bit."""
    histories = {r: history([0.2, 0.3, 0.4], 0.6) for r in range(4)}
    summary = summarise(space, histories, 4, N_EVALUATIONS)
    assert summary["spread"]["mode_amplitude_A"] == [0, 0]
    assert summary["spread"]["translation_sigma_A"] == 0


def test_best_restart(space):
    """The one with the highest CC: its own parameters, and its number."""
    found = answers(5)
    histories = {r: history(found[r], CCS[r]) for r in range(5)}
    best = summarise(space, histories, 5, N_EVALUATIONS)["best"]
    assert best["restart"] == 3
    assert best["cc_work"] == pytest.approx(0.602, abs=1e-12)
    assert [*best["mode_amplitude_A"], best["translation_sigma_A"]] == found[3].tolist()


def test_failed_restart_is_excluded(space):
    """CC 0.5 among 0.6: not in the answer, but named with its CC and that of the others."""
    found = answers(6)
    found[5] = 9.0
    histories = {r: history(found[r], cc) for r, cc in enumerate([*CCS, 0.5])}
    summary = summarise(space, histories, 6, N_EVALUATIONS)
    without = summarise(space, {r: histories[r] for r in range(5)}, 6, N_EVALUATIONS)
    assert [e["restart"] for e in summary["excluded"]] == [5]
    assert "0.5000" in summary["excluded"][0]["reason"]
    for key in ("median", "spread", "best"):
        assert summary[key] == without[key]
    assert summary["restarts_finished"] == 6


def test_threshold_of_failure():
    """Five robust standard deviations of 1.4826 x 0.001 below 0.6: at 0.592587."""
    for cc, failed in ((0.5930, False), (0.5920, True)):
        # The two that are added, above and below, leave median and deviation as they are.
        best_cc = dict(enumerate([*CCS, 0.601, cc]))
        assert np.median(list(best_cc.values())) == 0.6
        assert set(failed_restarts(best_cc)) == ({6} if failed else set())


def test_small_differences_are_no_failure():
    """Restarts that agree to 1e-6: one 0.004 below is still within five times 0.001."""
    ccs = [0.6, 0.600001, 0.6, 0.599999, 0.596]
    assert not failed_restarts(dict(enumerate(ccs)))
    assert set(failed_restarts(dict(enumerate([*ccs, 0.5949])))) == {5}


def test_better_than_the_others_is_no_failure():
    """Only those below the median are left out."""
    assert not failed_restarts(dict(enumerate([*CCS, 0.9])))


@pytest.mark.parametrize("ccs", [[], [0.6], [0.6, 0.1]])
def test_too_few_to_call_one_a_failure(ccs):
    """Of two that differ nobody knows which has failed."""
    assert failed_restarts(dict(enumerate(ccs))) == {}


def test_unfinished_restarts_do_not_count(space):
    """Restarts with fewer evaluations than asked for are counted in these alone."""
    found = answers(3)
    histories = {
        0: history(found[0], 0.6),
        1: history(found[1], 0.9, n=N_EVALUATIONS - 1),
        4: history(found[2], 0.5, n=N_EVALUATIONS),
    }
    summary = summarise(space, histories, 8, N_EVALUATIONS)
    assert summary["restarts"] == 8
    assert summary["restarts_finished"] == 2
    assert summary["evaluations"] == 3 * N_EVALUATIONS - 1
    assert summary["best"]["restart"] == 0
    assert summary["median"]["translation_sigma_A"] == pytest.approx(
        (found[0, 2] + found[2, 2]) / 2, rel=1e-12
    )


def test_before_the_first_restart_is_finished(space):
    """There is no answer yet, only how far the run is."""
    summary = summarise(space, {0: history([0.2, 0.3, 0.4], 0.6, n=3)}, 8, N_EVALUATIONS)
    assert summary["restarts_finished"] == 0
    assert summary["evaluations"] == 3
    assert summary["excluded"] == []
    assert not {"best", "median", "spread"} & set(summary)


def test_summary_is_plain_json(space):
    """It is written as JSON and names what was refined."""
    histories = {r: history(answers(6)[r], cc) for r, cc in enumerate([*CCS, 0.5])}
    summary = summarise(space, histories, 6, N_EVALUATIONS)
    assert json.loads(json.dumps(summary)) == summary
    assert summary["refined"] == ["mode 1", "mode 2", "translation_sigma_A"]


def test_parameters_at_their_upper_bound_are_named():
    """A median in the last hundredth of its range may be cut off: 0.598 of [0, 0.6] is, 0.5 not."""
    space = SearchSpace(LAYOUT, np.zeros(4), np.array([0.6, 0.6, 0.0, 0.0]))
    histories = {
        r: new_history(2).extended(np.array([0.598, 0.5]), 0.1, new_history(2).hedge)
        for r in range(3)
    }
    assert summarise(space, histories, 3, 1)["at_upper_bound"] == ["mode 1"]
