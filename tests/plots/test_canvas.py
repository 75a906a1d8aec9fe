"""Whose figures are: the program's own, or those of pyplot, which a notebook shows."""

import sys

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from hpc_diffuser.plots.canvas import for_users, new_axes, new_figure
from hpc_diffuser.plots.files import write_png
from hpc_diffuser.plots.long_enough import plot_blocks, plot_cosine_content, plot_parts
from hpc_diffuser.plots.sections import plot_section, sections_figure
from hpc_diffuser.plots.shells import plot_shells
from hpc_diffuser.system.errors import InputError


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    """Figures of pyplot's are drawn to memory, and none is left open."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def test_axes_that_are_given_are_used(diffuse):
    """And returned; the figure stays the caller's."""
    ax = Figure().subplots()
    assert new_axes(ax) is ax
    assert plot_section(diffuse, ax=ax) is ax and len(ax.figure.axes) == 1


def test_the_programs_own_figures_are_not_pyplots():
    """Else a report of a hundred figures would keep them all."""
    assert type(new_axes(size=(2, 3)).figure) is Figure
    assert pyplot.get_fignums() == []


def test_users_get_figures_that_a_notebook_shows(diffuse):
    """Only while they plot, and with the name and words of the function."""
    plot = for_users(plot_section)
    ax = plot(diffuse, "h")
    assert pyplot.get_fignums() == [ax.figure.number] and plot.__doc__ == plot_section.__doc__
    assert type(new_figure((1, 1))) is Figure
    with pytest.raises(InputError):
        plot(diffuse, "z")
    assert type(new_figure((1, 1))) is Figure


def test_without_matplotlib(monkeypatch):
    """What to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install hpc-diffuser\[report\]"):
        new_axes()


def test_png_of_axes_and_of_figures(tmp_path):
    """Both are taken."""
    ax = new_axes()
    write_png(tmp_path / "a.png", ax)
    write_png(tmp_path / "b.png", ax.figure)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_section_shows_the_maps_plane(diffuse):
    """l = 0 along h and k, what is not measured left out; limits as asked for."""
    image = plot_section(diffuse, "l", limits=(1.0, 2.0)).images[0]
    plane = diffuse.intensity[:, :, diffuse.grid.extent[2]]
    shown = image.get_array()
    assert np.array_equal(np.ma.getmaskarray(shown), np.isnan(plane.T))
    assert np.array_equal(shown.compressed(), plane.T[np.isfinite(plane.T)])
    assert image.get_clim() == (1.0, 2.0)


def test_three_sections_share_a_scale(diffuse):
    """So that they can be compared."""
    images = [ax.images[0] for ax in sections_figure(diffuse).axes if ax.images]
    assert len({image.get_clim() for image in images}) == 1 and len(images) >= 3


def test_shells_of_a_run(finished):
    """Every shell's CC, at the middle of its 1/d; of a run that is not finished there are none."""
    from dataclasses import replace

    from hpc_diffuser.interface.run import open_run

    run = open_run(finished / "run")
    lines = plot_shells(run).lines
    shells = run.summary.outcome.shells
    assert list(lines[0].get_ydata()) == [shell.cc for shell in shells]
    assert list(lines[1].get_ydata()) == [shell.cc_free for shell in shells]
    middle = [(1 / shell.d_max + 1 / shell.d_min) / 2 for shell in shells]
    assert np.allclose(lines[0].get_xdata(), middle)
    with pytest.raises(InputError, match="after the last restart"):
        plot_shells(replace(run.summary, outcome=None))


@pytest.mark.parametrize("plot", [plot_parts, plot_cosine_content, plot_blocks])
def test_modes_without_a_trajectory(plot, modes):
    """There is nothing to show."""
    with pytest.raises(InputError, match="says nothing of a trajectory's parts"):
        plot(modes)
