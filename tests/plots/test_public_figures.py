"""The examples in the help of figures: each draws, and shows what it says."""

import doctest
import inspect

import numpy as np
import pytest
from matplotlib import pyplot

import hpc_diffuser as hd

PLAIN = (
    "plot_intervals",
    "plot_correlation",
    "plot_deviations",
    "plot_combinations",
    "plot_samples",
    "plot_shares",
    "plot_residue_matrix",
    "plot_scores_of_runs",
)


@pytest.fixture(autouse=True)
def no_screen():
    """Figures are drawn to memory, and none is left open."""
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def run_example(name: str) -> dict:
    """The names that the example leaves."""
    names: dict = {"hd": hd, "np": np}
    for example in doctest.DocTestParser().get_examples(inspect.getdoc(getattr(hd, name)) or ""):
        exec(example.source, names)
    return names


@pytest.mark.parametrize("name", PLAIN)
def test_examples_of_plain_arrays(name):
    """Axes with data, on a figure that a notebook shows."""
    ax = run_example(name)["ax"]
    assert ax.has_data() and ax.figure.number in pyplot.get_fignums()
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", ["plot_voxels", "plot_histograms"])
def test_examples_of_a_run(name, finished, monkeypatch):
    """A finished run's: one panel for each refined parameter, one point for each shell."""
    monkeypatch.chdir(finished)
    names = run_example(name)
    if name == "plot_histograms":
        assert len(names["panels"]) == len(names["run"].refined)
    else:
        shells = hd.open_run("run").outcome.shells
        assert len(names["ax"].lines[0].get_xdata()) == len(shells)


def test_deviations_far_beyond_the_ranges_are_drawn(recwarn):
    """All of them worse than nothing known, as of weak data: the line for that is in view."""
    ax = hd.plot_deviations(np.array([9e4, 2e6, 4e8]), np.array([0.1, 0.5, 0.9]))
    ax.figure.canvas.draw()
    assert not recwarn.list and ax.get_ylim()[0] < 0.28 < 4e8 < ax.get_ylim()[1]
