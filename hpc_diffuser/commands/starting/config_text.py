"""The config that `init` writes: short, each choice with its reason beside it."""

import json
import os
import textwrap
from pathlib import Path
from typing import NamedTuple

from hpc_diffuser.commands.starting.plan import Plan
from hpc_diffuser.fit.config import SearchConfig
from hpc_diffuser.fit.ranges import mode_range, rounded_up, translation_of_b_A, translation_range
from hpc_diffuser.motion.registry import BY_NAME, Range
from hpc_diffuser.system.errors import InputError

_WIDTH = 100  # of a line
_SIMULATED_A = 0.4  # of a translation of which nothing is known


class _Line(NamedTuple):
    """A key with its value as TOML, and what is to be said of it."""

    key: str
    value: str
    comment: str = ""


def config_text(plan: Plan, assumed: list[str]) -> str:
    """The config as TOML.

    Parameters
    ----------
    plan : Plan
    assumed : list of str
        What was taken to be so.

    Raises
    ------
    InputError
        Where a file's name has letters that TOML has no place for.
    """
    head = ["Written by hpc-diffuser init. All keys are in docs/config.md; paths are from here."]
    head += [f"Assumed: {line}" for line in assumed]
    wrapped = [piece for line in head for piece in _wrapped(line)]
    fitted = plan.measured is not None
    sections = {
        "structure": _structure(plan),
        "crystal": _crystal(plan),
        **({"target": _target(plan)} if fitted else {"grid": _grid()}),
        "parameters": _refined(plan) if fitted else _held(plan),
        **({"model": _MODEL, "search": _search(), "run": _run(plan)} if fitted else {}),
    }
    blocks = [_block(name, lines) for name, lines in sections.items() if lines]
    return "\n\n".join(["\n".join(wrapped), *blocks]) + "\n"


def _structure(plan: Plan) -> list[_Line]:
    frames, origin = plan.files.trajectory_files, ""
    if frames:
        origin = f"principal components of {', '.join(map(str, frames.trajectories))}"
    elif not plan.files.modes:
        origin = "those of an elastic network: no trajectory was given"
    return [
        _Line("modes", _path(plan.modes, plan.config), origin),
        _Line("n_modes", str(plan.n_modes), f"of {plan.molecule.most_modes} at most"),
    ]


def _crystal(plan: Plan) -> list[_Line]:
    """What the modes' file does not say, or other files say better."""
    files, (unit_cell, space_group) = plan.files, plan.molecule.crystal
    lines = []
    if files.modes and files.structure:
        lines.append(_Line("file", _path(files.structure, plan.config), "its B-factors"))
    if not plan.molecule.has_crystal:
        lines.append(_Line("unit_cell", str(list(unit_cell)), "the modes name none"))
    other = files.given.space_group not in (None, space_group)
    if other or not plan.molecule.has_crystal:
        name = files.given.space_group or space_group
        lines.append(_Line("space_group", _text(name), "as it was given" if other else ""))
    return lines


def _target(plan: Plan) -> list[_Line]:
    assert plan.measured is not None
    reach = f"{plan.measured.d_max_A:.4g} to {plan.measured.d_min_A:.4g} Å"
    if not plan.measured.is_target:
        reach = f"as hpc-diffuser target makes it, {plan.measured.why}"
    if plan.measured.searched_ways > 1:
        reach += (
            f"; h,k,l are {plan.measured.reindexing} of the map's own, which of the "
            f"{plan.measured.searched_ways} ways fits the structure best"
        )
    return [_Line("file", _path(plan.target, plan.config), reach)]


def _grid() -> list[_Line]:
    return [
        _Line("oversampling", "[7, 7, 7]", "samples per reciprocal-lattice unit"),
        _Line("d_min_A", "1.6", "no map was given: this one is simulated"),
    ]


def _refined(plan: Plan) -> list[_Line]:
    found, n_modes = plan.molecule, plan.n_modes
    amplitudes = None if found.amplitudes_A is None else found.amplitudes_A[:n_modes]
    modes = mode_range(amplitudes, n_modes, found.mean_b_A2)
    translation = translation_range(found.mean_b_A2)
    return [
        _Line("mode_amplitude_A", _range(modes.range), modes.why),
        _Line("translation_sigma_A", _range(translation.range), translation.why),
    ]


def _held(plan: Plan) -> list[_Line]:
    """Of a simulation: the modes' own amplitudes, which need no key."""
    mean_b = plan.molecule.mean_b_A2
    sigma = _SIMULATED_A if mean_b is None else rounded_up(translation_of_b_A(mean_b))
    why = "assumed" if mean_b is None else f"makes up the crystal's mean B, {mean_b:.1f} Å²"
    return [_Line("translation_sigma_A", f"{sigma:g}", f"{why}; modes move as their file says")]


_MODEL = [
    _Line("estimator", '"auto"', "of the modes' motion: what is as good as samples for less"),
    _Line("samples", '"auto"', "as many as motions in the middle of these ranges need"),
]


def _search() -> list[_Line]:
    usual = SearchConfig()
    return [
        _Line("method", f'"{usual.method}"', 'of many modes "least-squares", restarts = 5'),
        _Line(
            "restarts",
            str(usual.restarts),
            "independent searches: begin with fewer, more can follow",
        ),
        _Line("evaluations", str(usual.evaluations), "of each"),
    ]


def _run(plan: Plan) -> list[_Line]:
    return [_Line("directory", _path(plan.run, plan.config))]


def _block(section: str, lines: list[_Line]) -> str:
    """A section; what does not fit beside a key stands above it."""
    head = f"[{section}]"
    if section == "parameters" and any("[" in line.value for line in lines):
        head = f"{head:32s}# a number is held, [low, high] is refined"
    shown = [head]
    for key, value, comment in lines:
        text = f"{key} = {value}"
        row = BY_NAME.get(key)
        if row is not None:
            shown += _wrapped(f"{row.meaning}, {row.quantity.unit}".replace("`", ""))
        beside = f"{text:31s} # {_printable(comment)}"
        if comment and len(beside) > _WIDTH:
            shown += [*_wrapped(comment), text]
        else:
            shown.append(beside if comment else text)
    return "\n".join(shown)


def _wrapped(text: str) -> list[str]:
    """Comment lines."""
    return [f"# {line}" for line in textwrap.wrap(_printable(text), _WIDTH - 2)]


def _printable(text: str) -> str:
    """Names of files may hold letters that comments may not."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _range(of: Range) -> str:
    return f"[{of[0]:g}, {of[1]:g}]"


def _path(path: Path, config: Path) -> str:
    """As TOML text, from the config's folder where it was given from here."""
    return _text(str(path) if path.is_absolute() else os.path.relpath(path, config.parent))


def _text(text: str) -> str:
    """A TOML string, which is JSON's."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{text!r}: expected a name in UTF-8, which a config can hold: rename the file"
        ) from None
    return json.dumps(text, ensure_ascii=False)
