"""The model that a finished run has refined: its molecule, its motions, and how large they are."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hpc_diffuser.fit.comparison import model_config
from hpc_diffuser.fit.config import Config, TargetConfig, flat_config, load_config, parse_config
from hpc_diffuser.fit.config_values import terms_of
from hpc_diffuser.fit.inputs import load_modes
from hpc_diffuser.fit.run.directory import input_hashes, read_manifest
from hpc_diffuser.fit.summary import NAME, Outcome, read_summary
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.motion.registry import TERMS
from hpc_diffuser.system.errors import InputError

_MOLECULE = ("structure.", "crystal.")  # the settings that it comes from


class Refined(NamedTuple):
    """What a run has found.

    Attributes
    ----------
    modes : Modes
        As many as the model has, in the crystal.
    parameters : Parameters
        The answer's.
    answer_is : str
        Which point that is, in words.
    files : tuple of Path
        That the molecule was read from.
    modes_file : Path or None
        That of them which its modes are in.
    """

    modes: Modes
    parameters: Parameters
    answer_is: str
    files: tuple[Path, ...]
    modes_file: Path | None


def read_refined(directory: Path, config_path: Path | None = None) -> Refined:
    """The molecule and the answer of a finished run; it only reads.

    Parameters
    ----------
    directory : Path
    config_path : Path or None
        The config that the run was begun with. By default the copy in the run directory, whose
        paths are relative to the folder in which [run] directory means this directory.

    Raises
    ------
    InputError
        Where the run is not finished, or its inputs are not there, or are others by now.
    """
    manifest = read_manifest(directory)
    outcome = _outcome(directory)
    config, files = _config(directory, config_path, manifest)
    parameters = parameters_from(outcome.answer)
    modes = load_modes(config)
    if modes.frames is None and len(modes.amplitudes_A) != len(parameters.mode_amplitudes_A):
        raise InputError(
            f"{directory}: the answer is of {len(parameters.mode_amplitudes_A)} modes, its config "
            f"of {len(modes.amplitudes_A)}: run hpc-diffuser fit again, which writes it anew"
        )
    return Refined(modes, parameters, outcome.answer_is, files, config.structure.modes)


def _outcome(directory: Path) -> Outcome:
    there = (directory / NAME).exists()
    summary = read_summary(directory) if there else None
    if summary is None or summary.outcome is None:
        done = f"{summary.restarts_finished} of {summary.restarts}" if summary else "none"
        raise InputError(
            f"{directory}: the run is not finished ({done} of its restarts), and has no answer "
            f"yet: run hpc-diffuser fit again to go on; see hpc-diffuser status {directory}"
        )
    return summary.outcome


def _config(
    directory: Path, config_path: Path | None, manifest: dict[str, Any]
) -> tuple[Config, tuple[Path, ...]]:
    """The config whose molecule is the run's, by settings and the inputs' SHA-256; the inputs."""
    expected, reasons = _of_molecule(manifest["settings"]), []
    for config in _candidates(directory, config_path):
        settings = flat_config(config)
        if any(settings.get(key) != value for key, value in expected.items()):
            continue
        try:
            found = input_hashes(replace(config, target=TargetConfig()))
        except InputError as exc:
            reasons.append(str(exc))
            continue
        others = [key for key in found if manifest["inputs"].get(key) != found[key]]
        if not others:
            return config, tuple(Path(settings[key]) for key in found)
        reasons.append(f"{settings[others[0]]}: another file than when the run was begun")
    text = "its config is not in a folder where [run] directory means it"
    if config_path:
        text = f"{config_path}: not the config that it was begun with"
    reason = reasons[-1] if reasons else text
    raise InputError(
        f"{directory}: the molecule is not known: {reason}: put back what the run was begun with, "
        "or give --config CONFIG.toml, that config in its place"
    )


def _candidates(directory: Path, config_path: Path | None) -> Iterator[Config]:
    """What the run's config may mean: a fit's, or, of a comparison, one of its models'."""
    for config in _placed(directory, config_path):
        yield config
        name = directory.resolve().name
        if {*terms_of(name)} <= {*TERMS}:
            yield model_config(config, name)


def _placed(directory: Path, config_path: Path | None) -> Iterator[Config]:
    """The config, in each place in which it leads to the run directory."""
    if config_path is not None:
        yield load_config(config_path)
        return
    path, place = directory / "config.toml", directory.resolve()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path}: not readable: expected the config of the run") from exc
    for folder in place.parents:
        config = parse_config(text, folder, str(path))
        if config.run.directory.resolve() in (place, place.parent):
            yield config


def _of_molecule(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of structure and crystal."""
    return {key: value for key, value in settings.items() if key.startswith(_MOLECULE)}
