"""The config file: TOML in, plain frozen data out, every mistake named.

A parameter is held at a number or refined in a range [low, high]. A parameter that is not
given is a motion that is absent (0), except `mode_amplitude_A`, which then is held at the
amplitudes stored with the modes.
"""

import difflib
import tomllib
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from hpc_diffuser.errors import InputError

Range = tuple[float, float]


@dataclass(frozen=True)
class StructureConfig:
    """[structure]: what moves. `modes` (modes.h5), or `file` for a model without modes."""

    modes: Path | None = None
    file: Path | None = None
    n_modes: int | None = None


@dataclass(frozen=True)
class CrystalConfig:
    """[crystal]: overrides what the structure file says."""

    unit_cell: tuple[float, ...] | None = None
    space_group: str | None = None


@dataclass(frozen=True)
class GridConfig:
    """[grid]: where `simulate` computes; a fit takes its target's grid."""

    oversampling: tuple[int, int, int] = (7, 7, 7)
    d_min_A: float = 1.6


@dataclass(frozen=True)
class TargetConfig:
    """[target]: what a fit is compared with, and how."""

    file: Path | None = None
    score: str = "shell-mean"
    weights: str = "none"


@dataclass(frozen=True)
class ParametersConfig:
    """[parameters]: each a range; a held parameter has low = high."""

    mode_amplitude_A: Range | tuple[Range, ...] | None = None
    translation_sigma_A: Range = (0.0, 0.0)
    uncorrelated_sigma_A: Range = (0.0, 0.0)


@dataclass(frozen=True)
class ModelConfig:
    """[model]: how the ensemble is sampled, and how its transform is computed.

    `samples` may be "auto": then as many as `map_error`, 1 − CC of a calculated map, asks for.
    """

    samples: int | str = 128
    map_error: float = 5e-4
    sampler: str = "sobol"
    grid: str = "auto"
    transform: str = "auto"
    seed: int = 1
    final_samples: int = 1024


@dataclass(frozen=True)
class SearchConfig:
    """[search]: the optimisation."""

    method: str = "bayesian"
    restarts: int = 128
    evaluations: int = 100
    initial_points: int = 10


@dataclass(frozen=True)
class RunConfig:
    """[run]: where it is done, and by how many groups of ranks (0: one for each restart)."""

    directory: Path = Path("run")
    groups: int = 0


@dataclass(frozen=True)
class Config:
    """A whole config file; paths are absolute."""

    structure: StructureConfig = field(default_factory=StructureConfig)
    crystal: CrystalConfig = field(default_factory=CrystalConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    parameters: ParametersConfig = field(default_factory=ParametersConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    run: RunConfig = field(default_factory=RunConfig)


_CHOICES = {
    "target.score": ("shell-mean", "pooled"),
    "target.weights": ("none", "errors"),
    "model.sampler": ("sobol", "random"),
    "model.grid": ("auto", "target", "band-limited"),
    "model.transform": ("auto", "direct", "density"),
    "search.method": ("bayesian",),
}
_LEAST = {
    "structure.n_modes": 0,
    "model.seed": 0,
    "model.final_samples": 1,
    "search.restarts": 1,
    "search.evaluations": 1,
    "search.initial_points": 1,
    "run.groups": 0,
}


def load_config(path: Path) -> Config:
    """Read a TOML config.

    Parameters
    ----------
    path : Path
        Paths inside the file are relative to its folder.

    Raises
    ------
    InputError
        Naming file, key, what was found and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path}: {reason}: expected a config file in TOML") from exc
    return parse_config(text, path.resolve().parent, str(path))


def parse_config(text: str, folder: Path, where: str = "config") -> Config:
    """The config in a TOML text; `folder` is what its paths are relative to."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # ValueError: a number of thousands of digits
        raise InputError(f"{where}: not valid TOML: {exc}") from exc
    try:
        config = _section(Config, table, "", folder)
    except InputError as exc:
        raise InputError(f"{where}: {exc}") from exc
    return replace(config, run=replace(config.run, directory=folder / config.run.directory))


def flat_config(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting by its dotted name, as plain JSON values: to compare, to store."""
    flat: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            flat |= flat_config(value, f"{prefix}{f.name}.")
        else:
            flat[prefix + f.name] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _section(kind: type, table: Any, prefix: str, folder: Path) -> Any:
    """A table as a dataclass, its keys checked against the fields."""
    if not isinstance(table, dict):
        raise InputError(f"[{prefix.rstrip('.')}] should be a table, found {_shown(table)}")
    known = {f.name: f for f in fields(kind)}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise InputError(_unknown_key(prefix, key, list(known)))
        section = known[key].default_factory
        if is_dataclass(section):
            values[key] = _section(section, value, f"{key}.", folder)
        else:
            values[key] = _value(prefix + key, value, folder)
    return kind(**values)


def _unknown_key(prefix: str, key: str, known: list[str]) -> str:
    every = [f"{s.name}.{f.name}" for s in fields(Config) for f in fields(s.default_factory)]
    # A right key in a wrong section, a misspelt one, then whatever looks most like it.
    nearest = [name for name in every if name.endswith("." + key)]
    nearest += [prefix + k for k in difflib.get_close_matches(key, known, 1, cutoff=0.5)]
    nearest += difflib.get_close_matches(prefix + key, every, 1, cutoff=0)
    return f'unknown key "{prefix}{key}": did you mean "{nearest[0]}"?'


def _value(name: str, value: Any, folder: Path) -> Any:
    """One setting, checked; the reader is chosen by the setting's section and name."""
    section, key = name.split(".")
    if section == "parameters":
        return _parameter(name, value)
    if name in _CHOICES:
        return _choice(name, value)
    if name in _LEAST:
        return _integer(name, value, _LEAST[name])
    if key in ("modes", "file", "directory"):
        return folder / _text(name, value)
    return _SPECIAL[name](name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{name} should be text, found {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """A value as a message can hold it."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 1e18 else "a huge number"
    return text if len(text) <= 80 else text[:77] + "..."


def _choice(name: str, value: Any) -> str:
    if value not in _CHOICES[name]:
        expected = " or ".join(f'"{c}"' for c in _CHOICES[name])
        raise InputError(f"{name} should be {expected}, found {_shown(value)}")
    return value


def _samples(name: str, value: Any) -> int | str:
    if value == "auto":
        return value
    if isinstance(value, str):
        raise InputError(
            f'{name} should be a whole number of at least 1, or "auto", found {_shown(value)}'
        )
    return _integer(name, value, 1)


def _integer(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise InputError(
            f"{name} should be a whole number of at least {least}, found {_shown(value)}"
        )
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    raise InputError(f"{name} should be a finite number, found {_shown(value)}")


def _positive(name: str, value: Any) -> float:
    if _number(name, value) <= 0:
        raise InputError(f"{name} should be above 0, found {_shown(value)}")
    return float(value)


def _unit_cell(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != 6:
        raise InputError(f"{name} should be [a, b, c, alpha, beta, gamma], found {_shown(value)}")
    return tuple(_positive(name, v) for v in value)


def _oversampling(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != 3:
        raise InputError(f"{name} should be three whole numbers [n, n, n], found {_shown(value)}")
    return tuple(_integer(name, v, 1) for v in value)


_SPECIAL = {
    "crystal.unit_cell": _unit_cell,
    "crystal.space_group": _text,
    "grid.oversampling": _oversampling,
    "grid.d_min_A": _positive,
    "model.samples": _samples,
    "model.map_error": _positive,
}


def _parameter(name: str, value: Any) -> Range | tuple[Range, ...]:
    """A number, [low, high], or for the modes a list of those.

    A list of two numbers is a range; so two modes held at two values are written
    [[0.1, 0.1], [0.2, 0.2]].
    """
    is_pair = (
        isinstance(value, list)
        and len(value) == 2
        and not any(isinstance(bound, list) for bound in value)
    )
    if not isinstance(value, list) or is_pair:
        return _range(name, value)
    if name != "parameters.mode_amplitude_A":
        raise InputError(f"{name} should be a number or [low, high], found {_shown(value)}")
    if not value:
        raise InputError(
            f"{name} is an empty list: expected a number, [low, high], or one for each mode"
        )
    return tuple(_range(f"{name}[{i}]", v) for i, v in enumerate(value))


def _range(name: str, value: Any) -> Range:
    bounds = value if isinstance(value, list) else [value, value]
    if len(bounds) != 2:
        raise InputError(f"{name} should be a number or [low, high], found {_shown(value)}")
    low, high = (_number(name, bound) for bound in bounds)
    if low < 0:
        raise InputError(f"{name} is a length and cannot be negative, found {_shown(value)}")
    if low > high:
        raise InputError(
            f"{name} has its bounds reversed: expected [low, high], found {_shown(value)}"
        )
    return low, high
