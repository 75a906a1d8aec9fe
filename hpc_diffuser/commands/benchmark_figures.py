"""Figures of `bench` beside earlier ones, and beside which machine those are of."""

import os
from pathlib import Path
from typing import Any

from hpc_diffuser.fit.run.directory import cpu_model, versions
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.storage import read_json

MACHINE = "machine"
_OF_EVERY_BENCH = "core_seconds_per_evaluation"


def this_machine() -> dict[str, Any]:
    """What figures depend on beside the config: processor, cores and versions."""
    cores = len(os.sched_getaffinity(0))
    return {"processor": cpu_model(), "cores": cores, "versions": versions()}


def read_figures(path: Path) -> dict[str, Any]:
    """What `bench --json` wrote.

    Raises
    ------
    InputError
        Where the file holds anything else.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get(_OF_EVERY_BENCH), int | float):
        raise InputError(f"{path}: expected the figures that `hpc-diffuser bench --json` writes")
    return found


def comparison_text(now: dict[str, Any], before: dict[str, Any]) -> str:
    """Each figure, the earlier one and their ratio, a line each; then where machines differ.

    Parameters
    ----------
    now, before : dict
        As of `benchmark.bench`, or as read from its JSON.
    """
    new, old = _flat(now), _flat(before)
    lines = [f"{'':54s} {'now':>10s} {'before':>10s} {'ratio':>7s}"]
    for name in [*new, *(name for name in old if name not in new)]:
        if not name.startswith(f"{MACHINE} "):
            lines.append(_line(name, new.get(name), old.get(name)))
    return "\n".join([*lines, *_machine_lines(new, old)])


def _flat(figures: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Figures of figures under names of their own: "wall_seconds_by_ranks 2"."""
    flat: dict[str, Any] = {}
    for key, value in figures.items():
        name = f"{prefix} {key}".strip()
        flat |= _flat(value, name) if isinstance(value, dict) else {name: value}
    return flat


def _line(name: str, new: Any, old: Any) -> str:
    ratio = ""
    if isinstance(new, int | float) and isinstance(old, int | float) and old:
        ratio = f"{new / old:.3f}"
    return f"{name:54s} {_text(new):>10s} {_text(old):>10s} {ratio:>7s}".rstrip()


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _machine_lines(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """Where the figures were measured on other machines, or by other versions."""
    names = [name for name in new if name.startswith(f"{MACHINE} ")]
    if not any(name in old for name in names):
        return ["the earlier figures do not tell their machine"]
    return [
        f"{name.removeprefix(f'{MACHINE} ')}: {new[name]}, before {old.get(name, 'not told')}"
        for name in names
        if new[name] != old.get(name)
    ]
