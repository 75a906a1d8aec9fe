"""CC against resolution: round numbers at the axis, models told apart without colour."""

from itertools import pairwise

import numpy as np
import pytest

from hpc_diffuser.fit.comparison_table import ModelComparison, ModelRow, ModelShellRow
from hpc_diffuser.fit.errors.cc_errors import CCError, CCErrors
from hpc_diffuser.plots.models import best_model, models_figure, plot_model_shells, spread_out
from hpc_diffuser.plots.shells import round_resolutions

pytest.importorskip("matplotlib")
NAMES = ("rbt", "llm", "rbt+int", "rbt+llm+int", "llm+sol", "rbt+llm+int+sol")
N_SHELLS = 8


def model(name: str, cc: float) -> ModelRow:
    """A model of which the figure needs name and scores."""
    return ModelRow(
        name=name,
        refined=("a",),
        cc_work=cc,
        cc_free=cc - 0.02,
        median={},
        answer={},
        answer_is="the best restart",
        at_upper_bound=(),
        warnings=(),
        b_factors=None,
        shuffled_modes=None,
    )


@pytest.fixture
def six() -> ModelComparison:
    """Six models whose curves nearly meet at the last shell."""
    edges = np.linspace(0.1, 0.4, N_SHELLS + 1)
    ccs = {name: 0.5 + 0.02 * i - 0.1 * edges[1:] for i, name in enumerate(NAMES)}
    shells = tuple(
        ModelShellRow(
            d_max=1 / edges[i],
            d_min=1 / edges[i + 1],
            voxels_work=90,
            voxels_free=9,
            cc_half=None,
            cc_star=None,
            cc={name: float(cc[i]) for name, cc in ccs.items()},
            cc_free={name: None if i == 2 else float(cc[i]) - 0.05 for name, cc in ccs.items()},
        )
        for i in range(N_SHELLS)
    )
    models = tuple(model(name, 0.5 + 0.02 * i) for i, name in enumerate(NAMES))
    return ModelComparison(models=models, ceiling=None, shells=shells)


def test_a_panel_for_each_model(six):
    """Its own CCs in front, by shell; the best and the others behind; every panel is named."""
    panels = models_figure(six).axes
    assert best_model(six).name == NAMES[-1]
    for name, panel in zip(NAMES, panels, strict=True):
        assert panel.get_title().startswith(name)
        named = dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
        drawn = named["CC_work"][0].get_ydata()
        np.testing.assert_array_equal(drawn, [s.cc[name] for s in six.shells])
        free = named["CC_free"][0].get_ydata()
        expected = np.array([s.cc_free[name] for s in six.shells], float)
        np.testing.assert_array_equal(free, expected)
        assert ("rbt+llm+int+sol, the best: CC_work" in named) == (name != NAMES[-1])


def test_wide_bars_do_not_set_the_scale(six):
    """Bars of a few free voxels may be as long as from -1 to 1; the curves keep their room."""
    ones = np.ones(N_SHELLS)
    wide = CCError(ones, -ones, ones)
    errors = {
        name: CCErrors(
            work=wide,
            free=wide,
            shells_work=CCError(0 * ones, 0.5 * ones, 0.5 * ones),
            shells_free=wide,
            zones_work=9,
            zones_free=9,
            resampled=None,
        )
        for name in NAMES
    }
    low, high = models_figure(six, errors).axes[0].get_ylim()
    values = [cc for s in six.shells for cc in (*s.cc.values(), *s.cc_free.values()) if cc]
    assert min(values) - 0.05 < low < min(values) and max(values) < high < max(values) + 0.05


def test_names_stand_beside_their_curves(six):
    """In the order of the curves' ends, and none on another."""
    ax = plot_model_shells(six)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == [
        f"{m.name}, {m.cc_work:.3f}" for m in six.models
    ]
    assert all(one.y1 <= other.y0 + 1 for one, other in pairwise(boxes))
    assert ax.get_legend() is None


@pytest.mark.parametrize("n", [0, 1, 5, 40])
def test_heights_are_spread(n):
    """In the same order, apart, within 0 and 1; near ones about their mean."""
    rng = np.random.default_rng(n)
    heights = rng.uniform(0, 1, n)
    found = np.array(spread_out(list(heights), 0.05))
    assert np.all((found >= -1e-12) & (found <= 1 + 1e-12))
    order = np.argsort(heights)
    assert np.all(np.diff(found[order]) > min(0.05, 1 / max(n, 1)) - 1e-12)
    assert spread_out([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread_out([0.2, 0.8], 0.1) == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.4, [10, 6, 5, 4, 3, 2.5]),
        (0.3, 0.62, [3, 2.5, 2]),
        (0.0, 0.4, [30, 15, 10, 6, 5, 4, 3, 2.5]),
        (0.25, 0.25, [4]),
    ],
)
def test_resolutions_are_round(low, high, expected):
    """Every one between the ends, and no two near each other."""
    assert round_resolutions(low, high) == pytest.approx(expected)
