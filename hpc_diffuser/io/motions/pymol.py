"""A script for PyMOL: arrows as compiled graphics objects, models as states, colours by B."""

from hpc_diffuser.io.motions.scene import COLOURS, ModeScene, Scene

_HEAD = """\
python
# {title}
#     pymol {name}
{notes}
# Click names to switch objects on and off; mplay plays a mode.
import os
from pymol import cmd
from pymol.cgo import CONE, CYLINDER

COLOURS = "{colours}"


def beside(name):
    return os.path.join(os.path.dirname(os.path.abspath(__script__)), name)


def show_molecule(name, file, least, most):
    cmd.load(beside(file), name, quiet=1)
    cmd.dss(name, state=1)
    cmd.hide("everything", name)
    cmd.show("cartoon", name)
    cmd.show("sticks", name + " and organic")
    if cmd.count_atoms(name + " and name C") == 0:
        cmd.set("cartoon_trace_atoms", 1, name)
    cmd.spectrum("b", COLOURS, name, minimum=least, maximum=most)


def show_arrows(name, arrows):
    drawn = []
    for start, tip in arrows:
        neck = [a + 0.75 * (b - a) for a, b in zip(start, tip)]
        drawn += [CYLINDER, *start, *neck, 0.18, *ORANGE, *ORANGE]
        drawn += [CONE, *neck, *tip, 0.45, 0.0, *ORANGE, *ORANGE, 1.0, 0.0]
    cmd.load_cgo(drawn, name)


ORANGE = [0.82, 0.39, 0.17]
"""
_TAIL = """\
cmd.bg_color("white")
cmd.orient("{first}")
cmd.zoom("{first}", 2)
python end
"""


def pymol_script(scene: Scene, name: str) -> bytes:
    """A .pml that loads a scene's files from its own folder.

    The mean structure is `molecule`; of each mode k there are `mode_k`, a state for each model, and
    `arrows_k`. The first mode is shown.

    All of it is one block of Python, in whose comments PyMOL looks for no commands.

    Parameters
    ----------
    scene : Scene
    name : str
        Of the script, for its head.
    """
    colours = " ".join(colour.replace("#", "0x") for colour in COLOURS)
    notes = "\n".join(f"# {note}" for note in scene.notes)
    lines = [
        _HEAD.format(title=scene.title, name=name, notes=notes, colours=colours),
        f'show_molecule("molecule", {scene.mean!r}, {scene.least_A:.4f}, {scene.most_A:.4f})',
    ]
    for mode in scene.modes:
        lines += _mode(mode)
    first = f"mode_{scene.modes[0].number}"
    others = [f"{kind}_{m.number}" for m in scene.modes[1:] for kind in ("mode", "arrows")]
    lines += [f'cmd.disable("{other}")' for other in ("molecule", *others)]
    return "\n".join([*lines, _TAIL.format(first=first)]).encode()


def _mode(mode: ModeScene) -> list[str]:
    ends = ",\n    ".join(
        "([{:.3f}, {:.3f}, {:.3f}], [{:.3f}, {:.3f}, {:.3f}])".format(*start, *tip)
        for start, tip in mode.arrows.tolist()
    )
    number = mode.number
    return [
        f'show_molecule("mode_{number}", {mode.path!r}, 0, {mode.reach_A:.4f})',
        f'show_arrows("arrows_{number}", [\n    {ends},\n])',
    ]
