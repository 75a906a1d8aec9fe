"""Which model explains the halos: CC against resolution with them and without."""

from typing import Any

import numpy as np

from hpc_diffuser.fit.cc_text import cc_text
from hpc_diffuser.fit.halo_models import HaloComparison, HaloModel
from hpc_diffuser.plots.canvas import BLUE, GREEN, GREY, ORANGE, PINK, known, new_figure
from hpc_diffuser.plots.shells import draw_ceiling, label_resolution, middles

_COLOURS = (GREY, ORANGE, BLUE, GREEN, PINK, "black")
_MARKERS = ("o", "^", "s", "D", "v", "P")
_LINES = ("-", "--", "-.", ":")  # of models that agree alike, both are seen


def halos_figure(found: HaloComparison) -> Any:
    """The paper's Fig. 1(f): every model's CC_work by shell, at all voxels and between the halos.

    On the right the scan of the empirical halo's power.

    Parameters
    ----------
    found : HaloComparison

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    figure = new_figure((11.5, 4.2))
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 3, 2), sharey=True)
    panels = ((left, "everywhere", "with the halos"), (middle, "between", "halos masked"))
    for ax, where, title in panels:
        _draw_shells(ax, found, where)
        ax.set_title(title, fontsize=10)
    left.set_ylabel("CC_work")
    _draw_scan(right, found)
    return figure


def _draw_shells(ax: Any, found: HaloComparison, where: str) -> None:
    places = middles(found.shells)
    for i, model in enumerate(found.models):
        agreement = getattr(model, where)
        ax.plot(
            places,
            known(agreement.shells_work),
            color=_COLOURS[i % len(_COLOURS)],
            marker=_MARKERS[i % len(_MARKERS)],
            ls=_LINES[i % len(_LINES)],
            ms=7 - 1.5 * (i % 4),
            label=f"{_name(model)}: {cc_text(agreement.cc_work, 2)}",
        )
    if where == "everywhere":
        draw_ceiling(ax, places, found.shells)
    label_resolution(ax, places[0], places[-1])
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, frameon=False)


def _name(model: HaloModel) -> str:
    alpha = model.refined.get("halo_alpha")
    return model.name if alpha is None else f"{model.name}, α {alpha:.1f}"


def _draw_scan(ax: Any, found: HaloComparison) -> None:
    alphas = np.array([row.alpha for row in found.scan])
    ax.plot(alphas, known([r.everywhere for r in found.scan]), color=ORANGE, label="with the halos")
    ax.plot(
        alphas, known([r.between for r in found.scan]), color=ORANGE, ls="--", label="halos masked"
    )
    ax.set_title("empirical halo", fontsize=10)
    ax.set_xlabel("power α of the target's mean zone")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, frameon=False)
