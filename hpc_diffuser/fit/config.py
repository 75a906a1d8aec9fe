"""The config file: TOML in, plain frozen data out, every mistake named.

A parameter is held at a number or refined in a range [low, high]. A parameter that is not
given is a motion that is absent (0), except `mode_amplitude_A`, which then is held at the
amplitudes stored with the modes.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.motion.registry import BY_NAME, PARAMETERS, TERMS, Range
from hpc_diffuser.system.errors import InputError


@dataclass(frozen=True)
class StructureConfig:
    """[structure]: what moves.

    `modes` (modes.h5), `file` for a model without modes, or `ensemble`: a PDB file of several
    models, or a trajectory with its `topology` and the crystal structure `reference` that its
    frames are superposed on; with `weights`. `conformer` (a letter, or "occupancy") and
    `hydrogens` say what is taken of PDB and mmCIF files, of that of [crystal] too.
    """

    modes: Path | None = None
    file: Path | None = None
    ensemble: Path | None = None
    topology: Path | None = None
    reference: Path | None = None
    weights: tuple[float, ...] | None = None
    conformer: str = "A"
    hydrogens: bool = False
    n_modes: int | None = None
    correlated_modes: int = 0


@dataclass(frozen=True)
class CrystalConfig:
    """[crystal]: overrides what the structure file says.

    `file` is the crystal structure whose B-factors the model's motions are compared with.
    """

    file: Path | None = None
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


# A field for each row of the registry, in its order. What is not given is absent, 0; but modes.
_RANGES: Any = make_dataclass(
    "_RANGES",
    [
        (row.name, Range | tuple[Range, ...] | None, None if row.several == "modes" else (0.0, 0.0))
        for row in PARAMETERS
    ],
    frozen=True,
)


class ParametersConfig(_RANGES):
    """[parameters]: each a range; a held parameter has low = high.

    Its fields are the names in `motion.registry.PARAMETERS`: (low, high), or a tuple of those for
    the several axes, modes or pairs that a parameter may be a list over; in the unit of the
    parameter. `mode_amplitude_A` is None where the modes' own amplitudes are held.
    """


@dataclass(frozen=True)
class ModelsConfig:
    """[models]: the models that a fit compares, each by its `TERMS`; none for a single fit.

    `bases` are other modes files than that of [structure], by the names that models with modes
    have them by: `rbt+int@name`.
    """

    compare: tuple[str, ...] = ()
    bases: tuple[tuple[str, Path], ...] = ()


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
    """[run]: where it is done, and by how many groups of ranks (0: as many as is fastest).

    `patience_s` is how long a rank waits for another before it ends the job.
    """

    directory: Path = Path("run")
    groups: int = 0
    patience_s: float = 1800.0


@dataclass(frozen=True)
class Config:
    """A whole config file; paths are absolute."""

    structure: StructureConfig = field(default_factory=StructureConfig)
    crystal: CrystalConfig = field(default_factory=CrystalConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    parameters: ParametersConfig = field(default_factory=ParametersConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    run: RunConfig = field(default_factory=RunConfig)


_CHOICES = {
    "target.score": ("shell-mean", "pooled"),
    "target.weights": ("none", "errors"),
    "model.sampler": ("sobol", "random"),
    "model.grid": ("auto", "target", "band-limited"),
    "model.transform": ("auto", "direct", "density"),
    "search.method": tuple(METHODS),
}
_LEAST = {
    "structure.n_modes": 0,
    "structure.correlated_modes": 0,
    "model.seed": 0,
    "model.final_samples": 1,
    "search.restarts": 1,
    "search.evaluations": 1,
    "search.initial_points": 1,
    "run.groups": 0,
}


# No computation comes near these; numbers beyond them are slips of the pen.
_MOST = {"model.seed": 2**31 - 1, "grid.oversampling": 100}
_MOST_BY_DEFAULT = 1_000_000
_LEAST_D_MIN_A = 0.1
_MOST_LENGTH_A = 1e4
_MOST_BYTES = 1 << 20


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
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")  # editors on Windows begin with a byte order mark
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "not UTF-8 text: save it as such"
        raise InputError(f"{path}: {reason}: expected a config file in TOML") from exc
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: more than {_MOST_BYTES} bytes: expected a config file in TOML")
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
    except RecursionError:  # from showing a value
        raise InputError(f"{where}: nested too deeply: expected sections with keys") from None
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


def terms_of(model: str) -> list[str]:
    """The terms in a model's name: rbt and int of `rbt+int@network`."""
    return model.partition("@")[0].split("+")


def checked_models(where: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names of models, such as `rbt+llm` or `rbt+int@network`, as they are.

    Parameters
    ----------
    where : str
        The key or option that names them.
    names : sequence of str

    Raises
    ------
    InputError
        For a word that is no term, and for a model that is named twice.
    """
    seen: dict[tuple[frozenset[str], str], str] = {}
    for name in names:
        words = terms_of(name) if isinstance(name, str) else [name]
        if not {*map(str, words)} <= {*TERMS} or len(set(words)) < len(words):
            raise InputError(
                f"{where}: expected models made of the terms {', '.join(TERMS)}, "
                f'each once, as in "rbt+int", found {_shown(name)}'
            )
        _, at, basis = name.partition("@")
        if at and "int" not in words:
            raise InputError(f"{where}: {name}: expected a basis of a model with int only")
        other = seen.get((frozenset(words), at + basis))
        if other is not None:
            raise InputError(f"{where}: {other} and {name} are the same model: name it once")
        seen[frozenset(words), at + basis] = name
    return tuple(names)


def _value(name: str, value: Any, folder: Path) -> Any:
    """One setting, checked; the reader is chosen by the setting's section and name."""
    section, key = name.split(".")
    if section == "parameters":
        return _parameter(name, value)
    if name in _CHOICES:
        return _choice(name, value)
    if name in _LEAST:
        return _integer(name, value, _LEAST[name])
    if name == "models.bases":
        return _bases(name, value, folder)
    if key in ("modes", "file", "ensemble", "topology", "reference", "directory"):
        return folder / _path(name, value)
    return _SPECIAL[name](name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise InputError(f"{name} should be text, found {_shown(value)}")
    return value


def _path(name: str, value: Any) -> str:
    if max(len(os.fsencode(part)) for part in _text(name, value).split("/")) > 255:
        raise InputError(f"{name} should be a path, found {_shown(value)}")
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
    most = _MOST.get(name, _MOST_BY_DEFAULT)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(
            f"{name} should be a whole number of at least {least} and at most {most}, "
            f"found {_shown(value)}"
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
    if any(_number(name, v) > _MOST_LENGTH_A for v in value):
        raise InputError(
            f"{name}: expected edges up to {_MOST_LENGTH_A:g} Å, found {_shown(value)}"
        )
    return tuple(_positive(name, v) for v in value)


def _models(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(
            f'{name} should be a list of models, as ["rbt", "rbt+int"], found {_shown(value)}'
        )
    return checked_models(name, value)


def _bases(name: str, value: Any, folder: Path) -> tuple[tuple[str, Path], ...]:
    if not isinstance(value, dict) or not value:
        raise InputError(
            f'{name} should name modes files, as {{ network = "network.h5" }}, '
            f"found {_shown(value)}"
        )
    for key in value:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", key):
            raise InputError(
                f"{name}: expected names of letters, digits, - and _, found {_shown(key)}"
            )
    return tuple((key, folder / _path(f"{name}.{key}", path)) for key, path in value.items())


def checked_conformer(where: str, value: Any) -> str:
    """A letter or digit of alternate conformers, or "occupancy", as it is; else InputError."""
    letter = isinstance(value, str) and len(value) == 1 and value.isascii() and value.isalnum()
    if not letter and value != "occupancy":
        raise InputError(
            f'{where} should be the letter of a conformer, as "A", or "occupancy", '
            f"found {_shown(value)}"
        )
    return value


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} should be true or false, found {_shown(value)}")
    return value


def _structure_weights(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{name} should be a list of numbers above 0, found {_shown(value)}")
    return tuple(_positive(name, v) for v in value)


def _resolution(name: str, value: Any) -> float:
    if _positive(name, value) < _LEAST_D_MIN_A:
        raise InputError(f"{name} should be at least {_LEAST_D_MIN_A} Å, found {_shown(value)}")
    return float(value)


def _oversampling(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != 3:
        raise InputError(f"{name} should be three whole numbers [n, n, n], found {_shown(value)}")
    return tuple(_integer(name, v, 1) for v in value)


_SPECIAL = {
    "structure.weights": _structure_weights,
    "structure.conformer": checked_conformer,
    "structure.hydrogens": _yes_or_no,
    "crystal.unit_cell": _unit_cell,
    "crystal.space_group": _text,
    "grid.oversampling": _oversampling,
    "grid.d_min_A": _resolution,
    "models.compare": _models,
    "model.samples": _samples,
    "model.map_error": _positive,
    "run.patience_s": _positive,
}


def _parameter(name: str, value: Any) -> Range | tuple[Range, ...]:
    """A number, [low, high], or for modes and axes a list of those.

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
    row = BY_NAME[name.split(".")[1]]
    expected = row.list_length
    if not row.several:
        raise InputError(f"{name} should be a number or [low, high], found {_shown(value)}")
    if not value:
        raise InputError(
            f"{name} is an empty list: expected a number, [low, high], or one for each"
        )
    if expected not in (None, len(value)):
        raise InputError(
            f"{name} should be a number, [low, high], or {expected} of those, found {_shown(value)}"
        )
    return tuple(_range(f"{name}[{i}]", v) for i, v in enumerate(value))


def _range(name: str, value: Any) -> Range:
    bounds = value if isinstance(value, list) else [value, value]
    if len(bounds) != 2:
        raise InputError(f"{name} should be a number or [low, high], found {_shown(value)}")
    low, high = (_number(name, bound) for bound in bounds)
    quantity = BY_NAME[name.split(".")[1].split("[")[0]].quantity
    (least, most), what = quantity.limits, quantity.what
    if low < least == 0:
        raise InputError(f"{name} is {what} and cannot be negative, found {_shown(value)}")
    if not least <= min(low, high) or max(low, high) > most:
        raise InputError(f"{name} is {what}: expected {least:g} to {most:g}, found {_shown(value)}")
    if low > high:
        raise InputError(
            f"{name} has its bounds reversed: expected [low, high], found {_shown(value)}"
        )
    return low, high
