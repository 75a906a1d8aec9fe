"""How well parameters are determined: intervals that their own points would hide are seen."""

import numpy as np
import pytest

from hpc_diffuser.plots.parameters import intervals_figure

pytest.importorskip("matplotlib")
LABELS = ["mode 1 (Å)", "translation (Å)", "libration (°)"]
VALUES = np.array([0.6, 0.4, 3.0])
ENDS = np.array([[0.599, 0.3, np.nan], [0.601, 0.5, np.nan]])
BOUNDS = np.array([[0.0, 2.0], [0.0, 1.0], [0.0, 10.0]])
SCATTER = np.array([0.02, np.nan, 0.0])


def test_short_intervals_have_a_width_of_their_own():
    """Half of 0.002 Å in a range of 2 Å is 0.05 %: on a logarithmic axis, within its limits."""
    _, widths = intervals_figure(LABELS, VALUES, ENDS, BOUNDS, SCATTER).axes
    intervals, scatter = (line.get_xdata() for line in widths.get_lines())
    np.testing.assert_allclose(intervals, [0.05, 10.0, np.nan])
    np.testing.assert_allclose(scatter, [1.0, np.nan, np.nan])
    assert widths.get_xscale() == "log"
    low, high = widths.get_xlim()
    assert low < 0.05 and high > 100


def test_numbers_stand_beside():
    """The answer with its interval; without one, alone, and as a cross."""
    places, widths = intervals_figure(LABELS, VALUES, ENDS, BOUNDS, SCATTER).axes
    (beside,) = widths.child_axes
    texts = [text.get_text() for text in beside.get_yticklabels()]
    assert texts == ["0.6 (0.599 to 0.601)", "0.4 (0.3 to 0.5)", "3"]
    crosses = [line for line in places.get_lines() if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[0.3]]
