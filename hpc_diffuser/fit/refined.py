"""The model that a finished run has refined: its molecule, its motions, and how large they are."""

from pathlib import Path
from typing import NamedTuple

from hpc_diffuser.fit.inputs import load_modes
from hpc_diffuser.fit.run.begun import begun_config, find_inputs, molecule_keys
from hpc_diffuser.fit.run.directory import read_manifest
from hpc_diffuser.fit.summary import Outcome, Summary
from hpc_diffuser.fit.summary_file import NAME, read_summary
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.system.errors import InputError


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
        The config that the run was begun with, beside its inputs; by default they are looked for
        where the run knows them.

    Raises
    ------
    InputError
        Where the run is not finished, or its inputs are not there, or are others by now.
    """
    manifest = read_manifest(directory)
    summary = read_summary(directory) if (directory / NAME).exists() else None
    outcome = finished_outcome(directory, summary)
    files = find_inputs(directory, manifest, molecule_keys(manifest), config_path)
    config = begun_config(directory, manifest, files)
    modes = load_modes(config)
    parameters = parameters_from(outcome.answer, modes.lattice)
    if modes.frames is None and len(modes.amplitudes_A) != len(parameters.mode_amplitudes_A):
        raise InputError(
            f"{directory}: the answer is of {len(parameters.mode_amplitudes_A)} modes, its config "
            f"of {len(modes.amplitudes_A)}: run hpc-diffuser fit again, which writes it anew"
        )
    return Refined(
        modes, parameters, outcome.answer_is, tuple(files.values()), config.structure.modes
    )


def finished_outcome(directory: Path, summary: Summary | None) -> Outcome:
    """What a run has come to, by its summary.

    Raises
    ------
    InputError
        Where it is not finished.
    """
    if summary is None or summary.outcome is None:
        done = f"{summary.restarts_finished} of {summary.restarts}" if summary else "none"
        raise InputError(
            f"{directory}: the run is not finished ({done} of its restarts), and has no answer "
            f"yet: run hpc-diffuser fit again to go on; see hpc-diffuser status {directory}"
        )
    return summary.outcome
