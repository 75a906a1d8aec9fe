"""What a run was begun with: its config, as the manifest keeps it, and the files of its inputs.

The manifest names the files as they lay then. A run that was moved together with them, one that
was moved alone, and one of an older manifest, whose config is beside its inputs, find them too. A
file is what it was if its SHA-256 is.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hpc_diffuser.fit.config import Config, flat_config, load_config, parse_config
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.records import from_plain
from hpc_diffuser.system.storage import sha256

TARGET = "target.file"  # the one input that is no part of the molecule
_REMEDY = (
    "put back what the run was begun with, or give --config CONFIG.toml (in Python open_run(RUN, "
    "config=CONFIG)), the run's config in its place beside its inputs"
)


def begun_config(
    directory: Path, manifest: dict[str, Any], files: Mapping[str, Path] = MappingProxyType({})
) -> Config:
    """The config of a run, from its manifest alone; of a comparison, that of its model.

    Parameters
    ----------
    directory : Path
    manifest : dict
    files : dict of Path
        Of inputs by the config's key, as of `find_inputs`; by default as they lay at the start,
        None where the manifest does not say.

    Raises
    ------
    InputError
        Where the manifest is damaged.
    """
    nested: dict[str, dict[str, Any]] = {}
    for name, value in {**manifest["settings"], **_as_begun(manifest), **files}.items():
        section, _, key = name.partition(".")
        nested.setdefault(section, {})[key] = value
    try:
        config = from_plain(Config, nested)
    except InputError as exc:
        raise InputError(f"{directory / 'manifest.json'}: damaged: {exc}") from exc
    return config


def find_inputs(
    directory: Path, manifest: dict[str, Any], keys: set[str], config_path: Path | None = None
) -> dict[str, Path]:
    """Where a run's inputs lie now, by the config's key, in the manifest's order.

    Parameters
    ----------
    directory : Path
    manifest : dict
    keys : set of str
        Those that are wanted; what the run was begun without is left out.
    config_path : Path or None
        The run's config, beside its inputs, which then are looked for nowhere else.

    Raises
    ------
    InputError
        Naming the first file that is gone or has changed, and what to do.
    """
    found = {}
    for key, digest in manifest["inputs"].items():
        if key in keys:
            places = list(dict.fromkeys(_places(key, directory, manifest, config_path)))
            found[key] = _same(key, str(digest), places, directory)
    return found


def molecule_keys(manifest: dict[str, Any]) -> set[str]:
    """Of the inputs that a run's molecule and its motions come from."""
    return set(manifest["inputs"]) - {TARGET}


def _same(key: str, digest: str, places: list[Path], directory: Path) -> Path:
    """The first of the places where the file is that of the run."""
    there = [path for path in places if path.is_file()]
    for path in there:
        if sha256(path) == digest:
            return path
    if there:
        what = f"{there[0]}: another file than when the run was begun"
    elif places:
        what = f"{places[0]}: gone"
    else:
        what = f"{key}: not known where it lay"
    raise InputError(f"{directory}: {what}: {_REMEDY}")


def _places(
    key: str, directory: Path, manifest: dict[str, Any], config_path: Path | None
) -> Iterator[Path]:
    """Where an input may lie, the most likely first."""
    if config_path is not None:
        yield from _named(key, load_config(config_path))
        return
    place = directory.resolve()
    if (path := _as_begun(manifest).get(key)) is not None:
        began_in = str(manifest["settings"].get("run.directory", place))
        yield Path(os.path.normpath(place / os.path.relpath(path, began_in)))
        yield path
    try:
        text = (directory / "config.toml").read_text(encoding="utf-8-sig")
        configs = [parse_config(text, folder) for folder in place.parents]
    except (OSError, UnicodeDecodeError, InputError):
        return
    for config in configs:
        yield from _named(key, config)


def _named(key: str, config: Config) -> Iterator[Path]:
    """The files that a config names for an input; of a comparison, the modes of every basis."""
    path = flat_config(config).get(key)
    if path:
        yield Path(path)
    if key == "structure.modes":
        yield from (basis for _, basis in config.models.bases)


def _as_begun(manifest: dict[str, Any]) -> dict[str, Path]:
    """Where the inputs lay at the start, as far as the manifest says."""
    files = manifest.get("files")
    files = files if isinstance(files, dict) else {}
    return {key: Path(str(path)) for key, path in files.items() if key in manifest["inputs"]}
