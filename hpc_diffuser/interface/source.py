"""What a calculation is of: a config file, the same as a dictionary, or a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hpc_diffuser.fit.config import Config, config_of_table, load_config
from hpc_diffuser.fit.config_values import setting
from hpc_diffuser.fit.run.begun import begun_config
from hpc_diffuser.interface.checked import path_of
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.parameters import Value
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.system.errors import InputError

Source: TypeAlias = str | Path | Mapping[str, Any] | Config | Run


def open_config(source: Source) -> Config:
    """All settings of a calculation, checked, those that are not given by default.

    Parameters
    ----------
    source : str, Path, dict, Config or Run
        A config file; its content as a dictionary of sections, paths relative to the working
        directory; a run, whose inputs are looked for.

    Returns
    -------
    Config
        Paths are absolute; a parameter is (low, high), equal where it is held.

    Raises
    ------
    InputError
        Naming the key, what was expected and what was found; of a run, an input that is gone.

    Examples
    --------
    >>> config = hd.open_config({"structure": {"modes": "modes.h5"}, "grid": {"d_min_A": 3.0}})
    >>> config.grid.d_min_A
    3.0
    """
    if isinstance(source, Config):
        return source
    if isinstance(source, Run):
        return begun_config(source.directory, source.manifest, source.files)
    if isinstance(source, Mapping):
        return config_of_table(_as_table(source), Path.cwd())
    return load_config(path_of(source, "a config, its file or a run"))


def _as_table(source: Mapping[str, Any]) -> dict[str, Any]:
    """As TOML would have it: lists and plain numbers, of tuples, arrays and paths."""
    return {str(key): _as_toml(value) for key, value in source.items()}


def _as_toml(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _as_table(value)
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, tuple | list):
        return [_as_toml(inside) for inside in value]
    return str(value) if isinstance(value, Path) else value


def with_values(config: Config, values: Mapping[str, Value]) -> Config:
    """The config with some of its parameters held at values.

    Parameters
    ----------
    config : Config
    values : mapping of float, or list of float
        By parameter name, in the parameter's unit; as a run's `answer` has them.

    Raises
    ------
    InputError
        For an unknown name, or a value beyond the parameter's limits.
    """
    held = {name: _held(name, value) for name, value in values.items()}
    return replace(config, parameters=replace(config.parameters, **held))


def _held(name: str, value: Value) -> Any:
    if name not in BY_NAME:
        raise InputError(f"parameters.{name}: expected one of {', '.join(BY_NAME)}")
    plain = _as_toml(value)
    pairs = [[v, v] for v in plain] if isinstance(plain, list) else plain
    # An empty list is of a model without modes.
    return None if pairs == [] else setting(f"parameters.{name}", pairs, Path())
