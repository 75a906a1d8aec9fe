"""A run directory: what a run began with, how far its restarts are, what came out."""

import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpc_diffuser import __version__
from hpc_diffuser.config import Config, flat_config
from hpc_diffuser.convergence import Convergence
from hpc_diffuser.errors import ChangedError, InputError
from hpc_diffuser.io.checkpoints import checkpoint_path, read_checkpoint
from hpc_diffuser.io.storage import read_json, sha256, write_bytes, write_json
from hpc_diffuser.search.history import History

# May differ when a run is resumed: they say how much is done and where, not what.
_FREE = (
    "search.restarts",
    "search.evaluations",
    "model.final_samples",
    "run.groups",
    "run.directory",
    "grid.oversampling",
    "grid.d_min_A",
)
_SAMPLING = "hpc-diffuser/sampling"
_INPUTS = ("structure.modes", "structure.file", "target.file")


def input_hashes(config: Config) -> dict[str, str]:
    """SHA-256 of every input file, by the config's key."""
    settings = flat_config(config)
    return {key: sha256(Path(settings[key])) for key in _INPUTS if settings[key]}


def begin_or_resume(config: Config, config_text: str) -> None:
    """Write the manifest of a new run, or check that an old one is the same.

    Raises
    ------
    ChangedError
        Naming every setting and input that differs, as `key: old → new`.
    """
    directory = config.run.directory
    path = directory / "manifest.json"
    manifest = _manifest(config)
    if path.exists():
        _refuse_differences(read_manifest(directory), manifest, directory)
    write_bytes(directory / "config.toml", config_text.encode())
    write_json(path, manifest)


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a run directory, or InputError."""
    path = directory / "manifest.json"
    if not path.exists():
        raise InputError(f"{directory}: not a run directory: it has no manifest.json")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != "hpc-diffuser/run":
        raise InputError(f"{path}: not a manifest of hpc-diffuser")
    if not all(isinstance(manifest.get(section), dict) for section in ("settings", "inputs")):
        raise InputError(f"{path}: the manifest is damaged: give another [run] directory")
    return manifest


def read_histories(directory: Path, n_restarts: int) -> dict[int, History]:
    """The histories of all restarts that have begun."""
    paths = {r: checkpoint_path(directory, r) for r in range(n_restarts)}
    return {r: read_checkpoint(path) for r, path in paths.items() if path.exists()}


def write_convergence(directory: Path, found: Convergence) -> None:
    """Keep what is known of the samples: a resumed run goes on with the same."""
    write_json(directory / "sampling.json", {"format": _SAMPLING, **asdict(found)})


def read_convergence(directory: Path) -> Convergence | None:
    """What `write_convergence` kept; None where there is nothing yet."""
    path = directory / "sampling.json"
    if not path.exists():
        return None
    stored = read_json(path)
    try:
        if stored.pop("format") != _SAMPLING:
            raise ValueError
        return Convergence(
            int(stored["samples"]), float(stored["map_error"]), float(stored["objective_error"])
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise InputError(
            f"{path}: damaged: remove it, and it is measured again when the run goes on"
        ) from exc


def _manifest(config: Config) -> dict[str, Any]:
    packages = ("numpy", "scipy", "numba", "scikit-optimize", "scikit-learn", "gemmi")
    return {
        "format": "hpc-diffuser/run",
        "version": 1,
        "program": __version__,
        "settings": {k: v for k, v in flat_config(config).items() if k not in _INPUTS},
        "inputs": input_hashes(config),
        "packages": {name: version(name) for name in packages},
        "machine": platform.machine(),
    }


def _refuse_differences(old: dict[str, Any], new: dict[str, Any], directory: Path) -> None:
    changes = []
    for section in ("settings", "inputs"):
        for key in sorted({*old[section], *new[section]} - {*_FREE}):
            before, after = old[section].get(key), new[section].get(key)
            if before != after:
                changes.append(f"{key}: {_short(before)} → {_short(after)}")
    if changes:
        raise ChangedError(
            f"{directory} was begun with other settings or inputs ({'; '.join(changes)}): "
            "restore them to resume, or give another [run] directory"
        )


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else text[:12] + "…"
