"""A script for ChimeraX, and the arrows that it opens in the format BILD.

Written by the documented syntax of both.
"""

import numpy as np

from hpc_diffuser.io.motions.scene import COLOURS, Scene
from hpc_diffuser.system.arrays import Floats

_ORANGE = "0.82 0.39 0.17"


def chimerax_script(scene: Scene, arrow_files: tuple[str, ...]) -> bytes:
    """A .cxc for a session without other models: it opens a scene's files from its own folder.

    Model 1 is the mean structure; of the k-th mode that is shown, 2k is a trajectory and 2k + 1 its
    arrows. The first mode is shown, and played.

    Parameters
    ----------
    scene : Scene
    arrow_files : tuple of str
        Of each mode, as of `bild`.
    """
    lines = [f"# {scene.title}", *(f"# {note}" for note in scene.notes)]
    lines += [
        f'open "{scene.mean}"',
        *_coloured(1, scene.least_A, scene.most_A),
    ]
    for k, (mode, file) in enumerate(zip(scene.modes, arrow_files, strict=True), start=1):
        lines += [
            f'open "{mode.path}" coordsets true',
            *_coloured(2 * k, 0.0, mode.reach_A),
            f'open "{file}"',
        ]
    hidden = [1, *range(4, 2 * len(scene.modes) + 2)]
    lines += [f"hide #{','.join(map(str, hidden))} models", "set bgColor white", "view #2"]
    first = scene.modes[0]
    lines += [_key(0.0, first.reach_A), f"coordset #2 1,{first.n_models} loop 20 pauseFrames 3"]
    return "\n".join([*lines, ""]).encode()


def bild(arrows: Floats) -> bytes:
    """Arrows (k, 2, 3) Å in the format BILD."""
    lines = [f".color {_ORANGE}"]
    for start, tip in arrows.tolist():
        places = " ".join(f"{x:.3f}" for x in (*start, *tip))
        lines.append(f".arrow {places} 0.18 0.45 0.75")
    return "\n".join([*lines, ""]).encode()


def _coloured(number: int, least: float, most: float) -> list[str]:
    values = np.linspace(least, most, len(COLOURS))
    palette = ":".join(f"{v:.4f},{c}" for v, c in zip(values, COLOURS, strict=True))
    return [
        f"hide #{number} atoms",
        f"show #{number} cartoons",
        f"show #{number} & ligand atoms",
        f"color byattribute a:bfactor #{number} target ac palette {palette}",
    ]


def _key(least: float, most: float) -> str:
    """The colours' legend, in Å: numbers at its ends."""
    labels = [f"{least:.1f}", *[""] * (len(COLOURS) - 2), f"{most:.1f}"]
    return " ".join(["key", *(f"{c}:{t}" for c, t in zip(COLOURS, labels, strict=True))])
