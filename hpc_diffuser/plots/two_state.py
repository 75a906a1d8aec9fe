"""The built-in example of molecules with two shapes."""

from typing import Any

import numpy as np

from hpc_diffuser.plots.canvas import UNMEASURED, new_figure


def two_state_figure(maps: Any) -> Any:
    """The simulated crystal, one molecule, and the crystal without its halos, side by side.

    Parameters
    ----------
    maps : TwoStateMaps
        Of the example.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    figure = new_figure((11.0, 4.4))
    axes = figure.subplots(1, 3, sharey=True)
    masked = np.where(maps.between_halos, maps.simulated, np.nan)
    panels = (
        ("crystal, Bragg peaks removed", maps.simulated),
        ("one molecule that changes its shape", maps.shapes),
        ("crystal, halos masked", masked),
    )
    pixel = maps.h[1] / 2
    edges = [sign * (axis[-1] + pixel) for axis in (maps.h, maps.k) for sign in (-1, 1)]
    for panel, (title, half) in zip(axes, panels, strict=True):
        # Friedel's half, without h = 0, goes before the half that was computed.
        plane = np.concatenate([half[:0:-1, ::-1], half])
        image = panel.imshow(plane.T, origin="lower", extent=edges, vmin=0, vmax=maps.shapes.max())
        image.cmap.set_bad(UNMEASURED)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("h")
    axes[0].set_ylabel("k")
    figure.colorbar(image, ax=axes, extend="max", label="diffuse intensity per molecule", pad=0.01)
    between, everywhere = maps.agreement()
    figure.suptitle(
        "Between its halos a crystal scatters like one molecule that changes its shape "
        f"(CC {between:.2f}; with the halos {everywhere:.2f})",
        fontsize=11,
    )
    return figure
