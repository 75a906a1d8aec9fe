"""A run directory: what a run began with, how far its restarts are, what came out."""

import os
import platform
import re
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hpc_diffuser import __version__
from hpc_diffuser.fit.config import Config, flat_config
from hpc_diffuser.fit.config_values import terms_of
from hpc_diffuser.fit.priors.choice import PriorPath
from hpc_diffuser.fit.run.checkpoints import read_restart, set_aside
from hpc_diffuser.fit.run.lock import own_record
from hpc_diffuser.fit.sampling_error import Convergence
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.motion.registry import TERMS
from hpc_diffuser.system.errors import ChangedError, InputError
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.records import from_plain, to_plain
from hpc_diffuser.system.storage import read_json, remove_leftovers, sha256, write_bytes, write_json

# May differ when a run is resumed: they say how much is done and where, not what.
_FREE = (
    "search.restarts",
    "search.evaluations",
    "model.final_samples",
    "models.compare",
    "models.bases",
    "models.positions",
    "run.groups",
    "run.directory",
    "run.patience_s",
    "grid.oversampling",
    "grid.d_min_A",
)
_CHECKPOINT = re.compile(r"restart_([0-9]+)(?:\.previous)?\.h5")
_PATH = "prior_path.json"
_ESTIMATOR = "model.estimator"
_HASH = re.compile("[0-9a-f]{64}")
_SAMPLING = "hpc-diffuser/sampling"
_SESSION = "hpc-diffuser/session"
STEPS = 3  # what least squares make of a history: another number where that is changed
_DEFAULTS = flat_config(Config())
SUMS = "exact, in vectors"  # how samples are transformed and added, in the manifest
_INPUTS = (
    "structure.modes",
    "structure.positions",
    "structure.file",
    "structure.ensemble",
    "structure.topology",
    "structure.reference",
    "crystal.file",
    "lattice.file",
    "target.file",
)


def input_hashes(config: Config) -> dict[str, str]:
    """SHA-256 of every input file, by the config's key."""
    return {key: sha256(Path(path)) for key, path in _input_files(config).items()}


def _input_files(config: Config) -> dict[str, str]:
    """The absolute path of every input file, by the config's key."""
    settings = flat_config(config)
    return {key: settings[key] for key in _INPUTS if settings[key]}


def begin_or_resume(config: Config, config_text: str, accept_versions: bool = False) -> Config:
    """Write the manifest of a new run, or check that an old one is the same.

    Parameters
    ----------
    config : Config
    config_text : str
        Kept in the run directory.
    accept_versions : bool
        Go on although the program or its libraries have changed.

    Returns
    -------
    Config
        As the run goes on: with the estimator that it was begun with, where that is left open.

    Raises
    ------
    ChangedError
        Naming every setting and input that differs, as `key: old → new`.
    """
    directory = config.run.directory
    path = directory / "manifest.json"
    old = read_manifest(directory) if path.exists() else None
    if old and config.model.estimator == "auto":
        begun = old["settings"][_ESTIMATOR]
        config = replace(config, model=replace(config.model, estimator=begun))
    manifest = _manifest(config)
    if old:
        _compare(old, manifest, directory, accept_versions)
        _refuse_fewer(old["settings"], config)
    _refuse_beside_comparison(directory)
    write_bytes(directory / "config.toml", config_text.encode())
    write_json(path, manifest)
    return config


def _refuse_fewer(old: dict[str, Any], config: Config) -> None:
    """Raise ChangedError where less is asked for than has been computed.

    So a run that is resumed ends as a new one with its config would, and a finished one keeps its
    answer.
    """
    directory, search = config.run.directory, config.search
    names = map(_CHECKPOINT.fullmatch, os.listdir(directory))
    found = {int(name[1]) for name in names if name}
    begun = {r: len(read_restart(directory, r)[0] or ()) for r in found if r >= search.restarts}
    remedy = "restore it, or give another [run] directory"
    if any(begun.values()):
        raise ChangedError(
            f"{directory}: search.restarts: {old.get('search.restarts')} → {search.restarts}, but "
            f"restart {max(begun)} has begun: restarts may be added, not taken away: {remedy}"
        )
    if old.get("search.evaluations") == search.evaluations:
        return
    longest = max((len(read_restart(directory, r)[0] or ()) for r in found), default=0)
    if longest > search.evaluations:
        raise ChangedError(
            f"{directory}: search.evaluations: {old.get('search.evaluations')} → "
            f"{search.evaluations}, but a restart has {longest}: they may be added, not taken "
            f"away: {remedy}"
        )


def _refuse_beside_comparison(directory: Path) -> None:
    if inside := runs_inside(directory):
        raise ChangedError(
            f"{directory} holds a comparison of models ({', '.join(p.name for p in inside)}): give "
            "a single fit another [run] directory, or go on with --models"
        )


def refuse_beside_fit(directory: Path) -> None:
    """Raise ChangedError where a comparison of models would lie in a single fit's directory."""
    if (directory / "manifest.json").exists():
        raise ChangedError(
            f"{directory} holds a single fit: give a comparison of models another [run] directory, "
            "or go on without --models and [models] compare"
        )


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a run directory, or InputError."""
    path = directory / "manifest.json"
    if not path.exists():
        inside = ", ".join(str(folder) for folder in runs_inside(directory))
        raise InputError(
            f"{directory}: not a run directory: it has no manifest.json"
            + (f"; of a comparison of models, look into {inside}" if inside else "")
        )
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != "hpc-diffuser/run":
        raise InputError(f"{path}: not a manifest of hpc-diffuser")
    if not all(isinstance(manifest.get(section), dict) for section in ("settings", "inputs")):
        raise InputError(f"{path}: the manifest is damaged: give another [run] directory")
    manifest["settings"].setdefault(_ESTIMATOR, "sampled")  # of a version that knew no other
    return manifest


def runs_inside(directory: Path) -> list[Path]:
    """The run directories in a folder: the models of a comparison that have begun."""
    folders = sorted(path.parent for path in directory.glob("*/manifest.json"))
    return [folder for folder in folders if {*terms_of(folder.name)} <= {*TERMS}]


def read_histories(directory: Path, n_restarts: int) -> dict[int, History]:
    """The newest readable histories of all restarts that have begun; changes nothing."""
    newest = {r: read_restart(directory, r)[0] for r in range(n_restarts)}
    return {r: history for r, history in newest.items() if history is not None}


def recover_histories(directory: Path, n_restarts: int, n_refined: int) -> dict[int, History]:
    """The same when nobody else is writing: damaged checkpoints are set aside, with a warning.

    Nothing of the answer is lost with them: what is missing is computed again, to the same bits.

    Parameters
    ----------
    directory : Path
    n_restarts : int
    n_refined : int
        Dimensions of the search: a checkpoint of another search is not of this run.
    """
    remove_leftovers(directory)
    histories = {}
    for restart in range(n_restarts):
        history, damaged = read_restart(directory, restart)
        for path in damaged:
            set_aside(path)
        if history is None:
            continue
        if history.points.shape[1] != n_refined:
            raise InputError(
                f"{directory}: restart {restart} has {history.points.shape[1]} refined parameters, "
                f"the config {n_refined}: its checkpoint is of another run; remove it"
            )
        histories[restart] = history
    return histories


@dataclass(frozen=True, kw_only=True)
class Session:
    """The job that works, or has worked last, on a run: session.json, beside who it is.

    Attributes
    ----------
    began : float
        Unix time.
    ranks, groups : int
    evaluations : int
        From which it has gone on.
    """

    began: float
    ranks: int
    groups: int
    evaluations: int


def write_session(directory: Path, ranks: int, groups: int, evaluations: int) -> None:
    """Keep who works on the run since when, and from how many evaluations on: for `status`."""
    session = Session(began=time.time(), ranks=ranks, groups=groups, evaluations=evaluations)
    owner = {"format": _SESSION, **own_record()}
    write_json(directory / "session.json", owner | to_plain(session))


def read_session(directory: Path) -> Session | None:
    """What `write_session` kept last; None where there is nothing, or nothing readable."""
    try:
        stored = read_json(directory / "session.json")
        session = from_plain(Session, stored)
    except InputError:
        return None
    return session if stored.get("format") == _SESSION else None


def write_convergence(directory: Path, found: Convergence) -> None:
    """Keep what is known of the samples: a resumed run goes on with the same."""
    write_json(directory / "sampling.json", {"format": _SAMPLING, **to_plain(found)})


def write_prior_path(directory: Path, found: PriorPath) -> None:
    """Keep the fits along a path of the prior's weights, as far as it goes."""
    write_json(directory / _PATH, {"format": "hpc-diffuser/prior-path", **to_plain(found)})


def read_prior_path(directory: Path) -> PriorPath:
    """What `write_prior_path` kept; empty where there is nothing yet."""
    path = directory / _PATH
    if not path.exists():
        return PriorPath()
    try:
        return from_plain(PriorPath, read_json(path))
    except InputError:
        log(f"{path}: damaged; the path is followed again, to the same numbers")
        return PriorPath()


def read_convergence(directory: Path) -> Convergence | None:
    """What `write_convergence` kept; None where there is nothing yet."""
    path = directory / "sampling.json"
    if not path.exists():
        return None
    try:
        stored = read_json(path)
        found = from_plain(Convergence, stored)
        if stored.get("format") == _SAMPLING:
            return found
    except InputError:
        pass
    log(f"{path}: damaged; it is measured again, to the same numbers")
    return None


def _manifest(config: Config) -> dict[str, Any]:
    steps = METHODS[config.search.method].steps_after is not None
    return {
        "format": "hpc-diffuser/run",
        "version": 1,
        "settings": {k: v for k, v in flat_config(config).items() if k not in _INPUTS},
        "inputs": input_hashes(config),
        "files": _input_files(config),
        "versions": versions(),
        **({"steps": STEPS} if steps else {}),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "sums": SUMS,
    }


def versions() -> dict[str, str]:
    """Of the program and what it computes with: what last bits, and times, may depend on."""
    packages = ("numpy", "scipy", "numba", "scikit-optimize", "scikit-learn", "gemmi", "h5py")
    programs = {"hpc-diffuser": __version__, "Python": platform.python_version()}
    return programs | {name: version(name) for name in packages}


def cpu_model() -> str:
    """As the kernel names it; other models may compute other last bits."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1] for line in lines if line.startswith(("model name", "Model"))]
    return names[0].strip() if names else platform.processor() or platform.machine()


def _compare(
    old: dict[str, Any], new: dict[str, Any], directory: Path, accept_versions: bool
) -> None:
    """Refuse what changes the answer; warn of what may change its last bits."""
    changes = [c for section in ("settings", "inputs") for c in _differences(section, old, new)]
    if changes:
        raise ChangedError(
            f"{directory} was begun with other settings or inputs ({'; '.join(changes)}): "
            "restore them to resume, or give another [run] directory"
        )
    recorded = {name: new["versions"].get(name) for name in old.get("versions", {})}
    versions = _differences("versions", old, {"versions": recorded})
    if versions and not accept_versions:
        raise ChangedError(
            f"{directory} was begun with other versions ({'; '.join(versions)}): restore them to "
            "end with the same bits, or start once with --accept-versions to go on without that"
        )
    if old.get("sums") != new["sums"]:
        log(
            f"{directory} was begun by a version that added numbers in another order: evaluations "
            "from here on differ from its own in their last digits, and so may the answer"
        )
    if old.get("steps", 1) != new.get("steps", 1):
        log(
            f"{directory} was begun with another version of least squares' steps: the evaluations "
            "that were made stay, and it goes on from them by the present rules; it does not end "
            "with the bits of either alone. For those of the present one give another [run] "
            "directory"
        )
    if old.get("cpu") != new["cpu"]:
        log(
            f"{directory} was begun on another processor ({old.get('cpu')}, here {new['cpu']}): "
            "the last bits of the answer may differ"
        )


def _differences(section: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Each setting that differs, as `key: old → new`; what an older version lacks was not set."""
    before, after = old.get(section, {}), new[section]
    if section == "settings":
        before = {key: value for key, value in _DEFAULTS.items() if key in after} | before
    keys = sorted({*before, *after} - {*_FREE})
    return [
        _difference(key, before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _difference(key: str, old: Any, new: Any) -> str:
    """`key: old → new`; of long lists, the first value that differs."""
    if isinstance(old, list) and isinstance(new, list) and max(len(str(old)), len(str(new))) > 24:
        numbered = enumerate(zip_longest(old, new), start=1)
        number, values = next((n, pair) for n, pair in numbered if pair[0] != pair[1])
        return _difference(f"{key}, value {number}", *values)
    return f"{key}: {_shown(old)} → {_shown(new)}"


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return f"{text[:12]}…" if _HASH.fullmatch(text) else text
