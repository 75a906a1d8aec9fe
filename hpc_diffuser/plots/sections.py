"""Central sections of maps, with the angles of the reciprocal axes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, reciprocal_metric
from hpc_diffuser.interface.checked import require_kind
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.plots.canvas import UNMEASURED, new_axes, new_figure
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError

AXES = "hkl"
_RINGS_A = (10, 5, 3, 2, 1.5, 1.2)


def plot_section(
    diffuse: DiffuseMap,
    across: str = "l",
    ax: Any = None,
    limits: tuple[float, float] | None = None,
) -> Any:
    """A central section of a map, in Å⁻¹ with the angles of the reciprocal axes.

    Parameters
    ----------
    diffuse : DiffuseMap
    across : {"h", "k", "l"}
        Which of the indices is 0 in it.
    ax : matplotlib Axes, optional
        By default those of a new figure, with a scale beside them.
    limits : (float, float), optional
        Intensities at the ends of the scale; by default all but 1 % at either end.

    Returns
    -------
    matplotlib Axes
        What is not measured is grey.

    Raises
    ------
    InputError
        Where matplotlib is not installed, or nothing is measured in the section.

    Examples
    --------
    >>> ax = hd.plot_section(hd.open_map("map.nxs"), "k")
    """
    if across not in tuple(AXES):
        raise InputError(f'across: expected "h", "k" or "l", found {across!r}')
    require_kind(diffuse, DiffuseMap, "a DiffuseMap, as of hd.open_map")
    axis = AXES.index(across)
    plane = _plane(diffuse, axis)
    low, high = limits or _limits([plane], f"section {across} = 0")
    own = ax is None
    ax = new_axes(ax, (5.6, 4.8))
    image = draw_section(plane, diffuse.grid, axis, ax)
    image.set_clim(low, high)
    if own:
        ax.figure.colorbar(image, ax=ax, extend="both", label="intensity", pad=0.02)
    return ax


def sections_figure(diffuse: DiffuseMap) -> Any:
    """The three central sections of a map on one scale, as a matplotlib Figure.

    Raises
    ------
    InputError
        Where matplotlib is not installed, or nothing is measured in the three sections.
    """
    planes = [_plane(diffuse, i) for i in range(3)]
    low, high = _limits(planes, "sections h = 0, k = 0 and l = 0")
    figure = new_figure((12.0, 4.4))
    panels = figure.subplots(1, 3)
    for panel, i in zip(panels, (2, 1, 0), strict=True):
        image = draw_section(planes[i], diffuse.grid, i, panel)
        image.set_clim(low, high)
    figure.colorbar(image, ax=panels, extend="both", label="intensity", pad=0.01)
    return figure


def draw_section(
    plane: Floats,
    grid: HklGrid,
    across: int,
    ax: Any,
    rings: tuple[float, ...] = _RINGS_A,
    dark: bool = False,
) -> Any:
    """Draw a central section: the two axes that lie in it, circles of equal resolution.

    Parameters
    ----------
    plane : (·, ·) float
        Along the two axes in their order; NaN where not measured.
    grid : HklGrid
    across : int
        0 for h = 0, 1 for k = 0, 2 for l = 0.
    ax : matplotlib Axes
    rings : tuple of float
        Resolutions in Å of the circles.
    dark : bool
        Circles in black with a white edge, to be seen on white too.

    Returns
    -------
    matplotlib AxesImage
        To set its colours and limits.
    """
    from matplotlib.patches import Circle
    from matplotlib.transforms import Affine2D

    u, v = (i for i in range(3) if i != across)
    metric = reciprocal_metric(grid.unit_cell)
    cosine = metric[u, v] / np.sqrt(metric[u, u] * metric[v, v])
    oblique = np.array([[1, cosine, 0], [0, np.sqrt(1 - cosine**2), 0], [0, 0, 1]])
    reach = [(grid.extent[i] + 0.5) / grid.divisions[i] * np.sqrt(metric[i, i]) for i in (u, v)]
    image = ax.imshow(plane.T, origin="lower", extent=(-reach[0], reach[0], -reach[1], reach[1]))
    image.set_transform(Affine2D(oblique) + ax.transData)
    width, height = np.abs(oblique[:2, :2]) @ reach
    ax.set(xlim=(-width, width), ylim=(-height, height), facecolor=UNMEASURED)
    for d in rings:
        if dark or 1 / d < max(width, height):
            _ring(ax, d, Circle, dark)
    ax.set_title(f"{AXES[across]} = 0", fontsize=10)
    ax.set_xlabel(f"along {AXES[u]} (1/Å)")
    ax.set_ylabel(f"{AXES[v]} upwards (1/Å)")
    return image


def _ring(ax: Any, d: float, circle: Any, dark: bool) -> None:
    from matplotlib.patheffects import withStroke

    colour = "black" if dark else "white"
    ax.add_patch(circle((0, 0), 1 / d, fill=False, color=colour, lw=0.6, ls=":"))
    text = ax.annotate(f"{d:.3g} Å", (0, 1 / d), color=colour, fontsize=7, ha="center", va="center")
    if dark:
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _plane(diffuse: DiffuseMap, across: int) -> Floats:
    plane: Floats = np.take(diffuse.intensity, diffuse.grid.extent[across], axis=across)
    return plane


def _limits(planes: list[Floats], what: str) -> tuple[float, float]:
    """Intensities that 1 % are below, and 1 % above."""
    measured = np.concatenate([plane[np.isfinite(plane)] for plane in planes])
    if not len(measured):
        raise InputError(f"no figure: nothing is measured in the {what}")
    low, high = np.percentile(measured, (1, 99))
    return float(low), float(high)


def compared_figure(
    planes: Mapping[str, Floats],
    grid: HklGrid,
    across: int,
    limits: tuple[float, float],
    label: str,
    between: tuple[float, float],
) -> Any:
    """The same central section of several maps beside each other on one scale, as a Figure.

    Parameters
    ----------
    planes : mapping of str → (·, ·) float
        By title; NaN, where masked or not measured, is white.
    grid : HklGrid
    across : int
        0 for h = 0, 1 for k = 0, 2 for l = 0.
    limits : (float, float)
        Intensities at the ends of the scale, the same for all.
    label : str
        What the scale is of.
    between : (float, float)
        Resolutions in Å, of the innermost and the outermost voxels.

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    figure = new_figure((1.4 + 3.6 * len(planes), 4.2))
    panels = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0]
    reach = 1.03 / between[1]
    for panel, (title, plane) in zip(panels, planes.items(), strict=True):
        image = draw_section(plane, grid, across, panel, rings_between(*between), dark=True)
        image.set_clim(*limits)
        panel.set(xlim=(-reach, reach), ylim=(-reach, reach), facecolor="white")
        panel.set_title(title, fontsize=10)
        panel.label_outer()
    figure.colorbar(image, ax=panels, extend="both", label=label, pad=0.01)
    return figure


def rings_between(d_max: float, d_min: float) -> tuple[float, ...]:
    """Resolutions (Å) to draw rings at: the ends of a range, and round ones well inside it."""
    ends = [1 / d for d in (d_max, d_min) if np.isfinite(d)]
    apart = 0.08 / d_min
    inside = [d for d in _RINGS_A if d_min < d < d_max]
    kept = [d for d in inside if min(abs(1 / d - end) for end in ends) > apart]
    return tuple(sorted([*kept, *(1 / end for end in ends)], reverse=True))
