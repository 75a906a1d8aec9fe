"""One setting of the config, checked: a number, text, a path, a range, a list of models.

`setting` chooses the reader by the setting's name; what is asked of each is in the tables here
and, of a model's parameters, in `motion.registry`.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.motion.registry import BY_NAME, TERMS, Range
from hpc_diffuser.system.errors import InputError

_CHOICES = {
    "target.score": ("shell-mean", "pooled", "likelihood"),
    "target.weights": ("none", "errors"),
    "model.estimator": ("auto", "sampled", "one-phonon", "control-variate"),
    "model.sampler": ("sobol", "random"),
    "model.grid": ("auto", "target", "band-limited"),
    "model.transform": ("auto", "direct", "density"),
    "model.halos": ("molecule", "cell"),
    "search.method": tuple(METHODS),
    "models.positions": ("own", "structure"),
}
MOST_CONTACT_A = 12.0
_LEAST = {
    "structure.n_modes": 0,
    "structure.correlated_modes": 0,
    "target.background_knots": 2,
    "model.seed": 0,
    "model.final_samples": 1,
    "search.restarts": 1,
    "search.evaluations": 1,
    "search.initial_points": 1,
    "run.groups": 0,
}


# No computation comes near these; numbers beyond them are slips of the pen.
_MOST = {"model.seed": 2**31 - 1, "grid.oversampling": 100, "target.background_knots": 200}
_MOST_BY_DEFAULT = 1_000_000
_LEAST_D_MIN_A = 0.1
_MOST_LENGTH_A = 1e4
_SUM_OFF = 1e-3  # of weights that add up to 1, as they are rounded in a file


def setting(name: str, value: Any, folder: Path) -> Any:
    """One setting, checked, as the config's classes hold it.

    Parameters
    ----------
    name : str
        Its section and key, as `grid.d_min_A`.
    value : object
        As TOML says it.
    folder : Path
        Paths are relative to it.

    Raises
    ------
    InputError
        With name, what was expected and what was found.
    """
    section, key = name.split(".")
    if section == "parameters":
        return _parameter(name, value)
    if name in _CHOICES:
        return _choice(name, value)
    if name in _LEAST:
        return _integer(name, value, _LEAST[name])
    if name == "models.bases":
        return _bases(name, value, folder)
    if key in ("modes", "positions", "file", "ensemble", "topology", "reference", "directory"):
        return folder / _path(name, value)
    return _SPECIAL[name](name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise InputError(f"{name} should be text, found {shown(value)}")
    return value


def _space_group(name: str, value: Any) -> str:
    # Loaded here: who reads a config need not know crystals, unless it names one.
    from hpc_diffuser.crystal.lattice import space_group_of

    try:
        space_group_of(_text(name, value), None)
    except InputError as exc:
        message = str(exc)
        raise InputError(message if message.startswith(name) else f"{name}: {message}") from None
    return str(value)


def _path(name: str, value: Any) -> str:
    if max(len(os.fsencode(part)) for part in _text(name, value).split("/")) > 255:
        raise InputError(f"{name} should be a path, found {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value as a message can hold it."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 1e18 else "a huge number"
    return text if len(text) <= 80 else text[:77] + "..."


def _choice(name: str, value: Any) -> str:
    if value not in _CHOICES[name]:
        expected = " or ".join(f'"{c}"' for c in _CHOICES[name])
        raise InputError(f"{name} should be {expected}, found {shown(value)}")
    return value


def _samples(name: str, value: Any) -> int | str:
    if value == "auto":
        return value
    if isinstance(value, str):
        raise InputError(
            f'{name} should be a whole number of at least 1, or "auto", found {shown(value)}'
        )
    return _integer(name, value, 1)


def _integer(name: str, value: Any, least: int) -> int:
    most = _MOST.get(name, _MOST_BY_DEFAULT)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(
            f"{name} should be a whole number of at least {least} and at most {most}, "
            f"found {shown(value)}"
        )
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    raise InputError(f"{name} should be a finite number, found {shown(value)}")


def _positive(name: str, value: Any) -> float:
    if _number(name, value) <= 0:
        raise InputError(f"{name} should be above 0, found {shown(value)}")
    return float(value)


def _unit_cell(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != 6:
        raise InputError(f"{name} should be [a, b, c, alpha, beta, gamma], found {shown(value)}")
    if any(_number(name, v) > _MOST_LENGTH_A for v in value):
        raise InputError(f"{name}: expected edges up to {_MOST_LENGTH_A:g} Å, found {shown(value)}")
    return tuple(_positive(name, v) for v in value)


def _models(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(
            f'{name} should be a list of models, as ["rbt", "rbt+int"], found {shown(value)}'
        )
    return checked_models(name, value)


def _bases(name: str, value: Any, folder: Path) -> tuple[tuple[str, Path], ...]:
    if not isinstance(value, dict) or not value:
        raise InputError(
            f'{name} should name modes files, as {{ network = "network.h5" }}, found {shown(value)}'
        )
    for key in value:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", key):
            raise InputError(
                f"{name}: expected names of letters, digits, - and _, found {shown(key)}"
            )
    return tuple((key, folder / _path(f"{name}.{key}", path)) for key, path in value.items())


def checked_conformer(where: str, value: Any) -> str:
    """A letter or digit of alternate conformers, or "occupancy", as it is; else InputError."""
    letter = isinstance(value, str) and len(value) == 1 and value.isascii() and value.isalnum()
    if not letter and value != "occupancy":
        raise InputError(
            f'{where} should be the letter of a conformer, as "A", or "occupancy", '
            f"found {shown(value)}"
        )
    return value


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} should be true or false, found {shown(value)}")
    return value


def _weights_or_refine(name: str, value: Any) -> tuple[float, ...] | str:
    if value == "refine":
        return str(value)
    if isinstance(value, str):
        raise InputError(
            f'{name} should be a list of numbers above 0, or "refine", found {shown(value)}'
        )
    found = _weights(name, value)
    if not sum(found):
        raise InputError(f"{name} are all 0: expected some frames to count")
    return found


def _given_weights(name: str, value: Any) -> tuple[float, ...]:
    found = _weights(name, value)
    if min(found) == 0:
        raise InputError(
            f"{name} should be above 0, found 0: the prior's logarithm has no slope there"
        )
    if abs(sum(found) - 1) > _SUM_OFF:
        raise InputError(f"{name} should add up to 1, but they add up to {sum(found):.6g}")
    return found


def _weights(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{name} should be a list of numbers, found {shown(value)}")
    found = tuple(_number(name, v) for v in value)
    if min(found) < 0:
        raise InputError(f"{name} cannot be negative, found {shown(min(found))}")
    return found


def _resolution(name: str, value: Any) -> float:
    if _positive(name, value) < _LEAST_D_MIN_A:
        raise InputError(f"{name} should be at least {_LEAST_D_MIN_A} Å, found {shown(value)}")
    return float(value)


def _oversampling(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != 3:
        raise InputError(f"{name} should be three whole numbers [n, n, n], found {shown(value)}")
    return tuple(_integer(name, v, 1) for v in value)


def _weight_or_auto(name: str, value: Any) -> float | str:
    if value == "auto":
        return str(value)
    if isinstance(value, str):
        raise InputError(f'{name} should be a weight, or "auto", found {shown(value)}')
    return _weight(name, value)


def _weight(name: str, value: Any) -> float:
    """Of a penalty; true is 1."""
    if isinstance(value, bool):
        return float(value)
    if _number(name, value) < 0:
        raise InputError(f"{name} is a weight and cannot be negative, found {shown(value)}")
    return float(value)


def _contact(name: str, value: Any) -> float:
    """Å; twelve are three layers of atoms, and beyond them lie others than the neighbours."""
    found = _positive(name, value)
    if found > MOST_CONTACT_A:
        raise InputError(
            f"{name}: expected at most {MOST_CONTACT_A:g} Å, within which atoms of neighbours lie "
            f"that touch (usually 4), found {shown(value)}"
        )
    return found


_SPECIAL = {
    "structure.weights": _weights_or_refine,
    "structure.given_weights": _given_weights,
    "structure.conformer": checked_conformer,
    "structure.hydrogens": _yes_or_no,
    "target.anisotropic_scale": _yes_or_no,
    "crystal.unit_cell": _unit_cell,
    "crystal.space_group": _space_group,
    "grid.oversampling": _oversampling,
    "grid.d_min_A": _resolution,
    "prior.b_factors": _weight,
    "prior.anisou": _weight,
    "prior.amplitudes": _weight_or_auto,
    "prior.tau": _positive,
    "prior.weights": _weight_or_auto,
    "prior.springs": _weight,
    "prior.springs_tau": _positive,
    "lattice.contact_A": _contact,
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
    expected = row.list_lengths
    if not row.several:
        raise InputError(f"{name} should be a number or [low, high], found {shown(value)}")
    if not value:
        raise InputError(
            f"{name} is an empty list: expected a number, [low, high], or one for each"
        )
    if expected and len(value) not in expected:
        lengths = " or ".join(map(str, expected))
        raise InputError(
            f"{name} should be a number, [low, high], or {lengths} of those, found {shown(value)}"
        )
    return tuple(_range(f"{name}[{i}]", v) for i, v in enumerate(value))


def _range(name: str, value: Any) -> Range:
    bounds = value if isinstance(value, list) else [value, value]
    if len(bounds) != 2:
        raise InputError(f"{name} should be a number or [low, high], found {shown(value)}")
    low, high = (_number(name, bound) for bound in bounds)
    quantity = BY_NAME[name.split(".")[1].split("[")[0]].quantity
    (least, most), what = quantity.limits, quantity.what
    if low < least == 0:
        raise InputError(f"{name} is {what} and cannot be negative, found {shown(value)}")
    if not least <= min(low, high) or max(low, high) > most:
        raise InputError(f"{name} is {what}: expected {least:g} to {most:g}, found {shown(value)}")
    if low > high:
        raise InputError(
            f"{name} has its bounds reversed: expected [low, high], or [[a, a], [b, b]] of two "
            f"that are held, found {shown(value)}"
        )
    return low, high


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
                f'each once, as in "rbt+int", found {shown(name)}'
            )
        _, at, basis = name.partition("@")
        if at and "int" not in words:
            raise InputError(f"{where}: {name}: expected a basis of a model with int only")
        other = seen.get((frozenset(words), at + basis))
        if other is not None:
            raise InputError(f"{where}: {other} and {name} are the same model: name it once")
        seen[frozenset(words), at + basis] = name
    return tuple(names)
